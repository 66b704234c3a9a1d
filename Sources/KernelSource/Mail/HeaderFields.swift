/// The header of a mail or of a MIME part: fields by name, unfolded (RFC 5322, section 2.2).
struct HeaderFields: Sendable {
    private var fields: [(name: String, value: ArraySlice<UInt8>)] = []

    var isEmpty: Bool { fields.isEmpty }

    /// The first field of a name, in lower case.
    subscript(name: String) -> ArraySlice<UInt8>? { fields.first { $0.name == name }?.value }

    /// Reads fields up to the first line that is none; the rest is the body. An empty line between belongs to neither.
    static func read(_ text: ArraySlice<UInt8>) -> (fields: HeaderFields, body: ArraySlice<UInt8>) {
        var header = HeaderFields()
        var start = text.startIndex
        while start < text.endIndex {
            let stop = text[start...].firstIndex(of: Ascii.newline) ?? text.endIndex
            let next = min(stop + 1, text.endIndex)
            var line = text[start..<stop]
            if line.last == Ascii.carriageReturn { line.removeLast() }
            if line.isEmpty { return (header, text[next...]) }
            if let first = line.first, Ascii.isBlank(first) {
                guard !header.fields.isEmpty else { return (header, text[start...]) }
                header.fields[header.fields.count - 1].value += [Ascii.space] + line.trimmed
            } else if let name = fieldName(line) {
                header.fields.append((name, line[(line.startIndex + name.utf8.count + 1)...].trimmed))
                // A header of a thousand fields is none.
                if header.fields.count > 1000 { return (header, text[next...]) }
            } else {
                return (header, text[start...])
            }
            start = next
        }
        return (header, text[start...])
    }

    /// The name in front of the colon, in lower case.
    private static func fieldName(_ line: ArraySlice<UInt8>) -> String? {
        guard let colon = line.prefix(78).firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else { return nil }
        let name = line[..<colon]
        guard name.allSatisfy({ Ascii.isLetter($0) || Ascii.isDigit($0) || $0 == UInt8(ascii: "-") }) else {
            return nil
        }
        return name.map(Ascii.lowercased).text
    }

    /// A parameter of a structured field: `boundary` of `multipart/mixed; boundary="x"`.
    static func parameter(_ name: String, of field: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        var position = field.firstIndex(of: UInt8(ascii: ";")) ?? field.endIndex
        while position < field.endIndex {
            position += 1
            let nameStart = position
            while position < field.endIndex, field[position] != UInt8(ascii: "="), field[position] != UInt8(ascii: ";")
            {
                position += 1
            }
            let found = field[nameStart..<position].trimmed.map(Ascii.lowercased)
            guard position < field.endIndex, field[position] == UInt8(ascii: "=") else { continue }
            position += 1
            let value: ArraySlice<UInt8>
            if position < field.endIndex, field[position] == UInt8(ascii: "\"") {
                let start = position + 1
                position = start
                while position < field.endIndex, field[position] != UInt8(ascii: "\"") { position += 1 }
                value = field[start..<position]
            } else {
                let start = position
                while position < field.endIndex, field[position] != UInt8(ascii: ";") { position += 1 }
                value = field[start..<position].trimmed
            }
            if found.elementsEqual(name.utf8) { return value }
            while position < field.endIndex, field[position] != UInt8(ascii: ";") { position += 1 }
        }
        return nil
    }
}

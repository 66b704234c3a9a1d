/// Bytes that formats are made of.
enum Ascii {
    static let tab: UInt8 = 0x09
    static let newline: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20

    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A }

    /// What a C identifier consists of.
    static func isName(_ byte: UInt8) -> Bool { isLetter(byte) || isDigit(byte) || byte == UInt8(ascii: "_") }

    static func lowercased(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }

    /// The value of a hexadecimal digit.
    static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}

extension Collection<UInt8> {
    /// The bytes as text; what is not UTF-8 becomes U+FFFD.
    var text: String { String(decoding: self, as: UTF8.self) }

    func hasPrefix(_ prefix: StaticString) -> Bool {
        prefix.withUTF8Buffer { buffer in
            var rest = buffer.makeIterator()
            for byte in self {
                guard let wanted = rest.next() else { return true }
                if wanted != byte { return false }
            }
            return rest.next() == nil
        }
    }

    /// The same for ASCII letters of either case.
    func hasPrefix(ignoringCase prefix: StaticString) -> Bool {
        prefix.withUTF8Buffer { buffer in
            var rest = buffer.makeIterator()
            for byte in self {
                guard let wanted = rest.next() else { return true }
                if Ascii.lowercased(wanted) != Ascii.lowercased(byte) { return false }
            }
            return rest.next() == nil
        }
    }
}

extension ArraySlice<UInt8> {
    /// Without blanks at both ends.
    var trimmed: ArraySlice<UInt8> {
        var slice = self
        while let first = slice.first, Ascii.isBlank(first) || first == Ascii.carriageReturn { slice.removeFirst() }
        while let last = slice.last, Ascii.isBlank(last) || last == Ascii.carriageReturn { slice.removeLast() }
        return slice
    }

    /// Lines without their ends, `\n` or `\r\n`; no empty line behind the last newline.
    func forEachLine(_ body: (ArraySlice<UInt8>) -> Void) {
        var start = startIndex
        while start < endIndex {
            let stop = self[start...].firstIndex(of: Ascii.newline) ?? endIndex
            var last = stop
            if last > start, self[last - 1] == Ascii.carriageReturn { last -= 1 }
            body(self[start..<last])
            start = stop + 1
        }
    }

    var lines: [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        forEachLine { lines.append($0) }
        return lines
    }

    /// Where another text starts.
    func firstRange(of wanted: StaticString) -> Range<Int>? {
        wanted.withUTF8Buffer { wanted -> Range<Int>? in
            guard let head = wanted.first else { return startIndex..<startIndex }
            var position = startIndex
            while let found = self[position...].firstIndex(of: head) {
                if found + wanted.count > endIndex { return nil }
                if self[found..<(found + wanted.count)].elementsEqual(wanted) { return found..<(found + wanted.count) }
                position = found + 1
            }
            return nil
        }
    }
}

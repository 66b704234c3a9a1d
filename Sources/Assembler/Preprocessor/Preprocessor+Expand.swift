extension Preprocessor {
    static func isIdentifierStart(_ byte: UInt8) -> Bool {
        (byte | 0x20) >= UInt8(ascii: "a") && (byte | 0x20) <= UInt8(ascii: "z") || byte == UInt8(ascii: "_")
    }

    /// What an identifier consists of.
    package static func isNameByte(_ byte: UInt8) -> Bool { isIdentifier(byte) }

    static func isIdentifier(_ byte: UInt8) -> Bool { isIdentifierStart(byte) || Byte.isDigit(byte) }

    /// Replaces the macros of a line.
    mutating func expand(_ line: [UInt8]) -> [UInt8] {
        if macros.isEmpty { return line }
        var budget = limits.line_bytes
        return expand(line[...], hidden: [], depth: 0, &budget)
    }

    /// Whether the line ends inside the arguments of a macro.
    func hasOpenCall(_ line: [UInt8]) -> Bool {
        var offset = 0
        while offset < line.count {
            let byte = line[offset]
            if byte == Byte.quote {
                offset = Preprocessor.endOfString(line[...], offset)
            } else if Preprocessor.isIdentifierStart(byte) {
                let start = offset
                while offset < line.count, Preprocessor.isIdentifier(line[offset]) { offset += 1 }
                guard let macro = macros[Array(line[start..<offset])], macro.parameters != nil else { continue }
                var open = offset
                while open < line.count, Byte.isBlank(line[open]) { open += 1 }
                if open < line.count, line[open] == Byte.open, Preprocessor.arguments(line[...], open) == nil {
                    return true
                }
            } else if Byte.isDigit(byte) {
                while offset < line.count, Preprocessor.isIdentifier(line[offset]) { offset += 1 }
            } else {
                offset += 1
            }
        }
        return false
    }

    private static func endOfString(_ text: ArraySlice<UInt8>, _ start: Int) -> Int {
        var offset = start + 1
        while offset < text.endIndex, text[offset] != Byte.quote {
            offset += text[offset] == Byte.backslash ? 2 : 1
        }
        return min(offset + 1, text.endIndex)
    }

    private mutating func expand(
        _ text: ArraySlice<UInt8>, hidden: Set<[UInt8]>, depth: Int, _ budget: inout Int
    ) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var offset = text.startIndex
        while offset < text.endIndex {
            let byte = text[offset]
            let start = offset
            if byte == Byte.quote {
                offset = Preprocessor.endOfString(text, offset)
                out.append(contentsOf: text[start..<offset])
                continue
            }
            if Byte.isDigit(byte) {
                // A number takes its letters with it: `0x10`, `1b`.
                while offset < text.endIndex, Preprocessor.isIdentifier(text[offset]) { offset += 1 }
                out.append(contentsOf: text[start..<offset])
                continue
            }
            guard Preprocessor.isIdentifierStart(byte) else {
                out.append(byte)
                offset += 1
                continue
            }
            while offset < text.endIndex, Preprocessor.isIdentifier(text[offset]) { offset += 1 }
            let name = Array(text[start..<offset])
            guard let macro = macros[name], !hidden.contains(name), depth < limits.expansionDepth, budget > 0 else {
                out.append(contentsOf: name)
                continue
            }
            var arguments: [ArraySlice<UInt8>] = []
            if macro.parameters != nil {
                var open = offset
                while open < text.endIndex, Byte.isBlank(text[open]) { open += 1 }
                guard open < text.endIndex, text[open] == Byte.open, let found = Preprocessor.arguments(text, open)
                else {
                    out.append(contentsOf: name)
                    continue
                }
                arguments = found.values
                offset = found.end
            }
            let replaced = substitute(macro, arguments, hidden: hidden, depth: depth, &budget)
            budget -= replaced.count
            if budget <= 0 {
                if !isStopped {
                    fault(.limitExpandedBytes, "a line of more than \(limits.line_bytes) bytes", line: line - 1)
                }
                isStopped = true
                return out
            }
            out.append(contentsOf: expand(replaced[...], hidden: hidden.union([name]), depth: depth + 1, &budget))
        }
        return out
    }

    /// The arguments of a call, from its parenthesis; nil where it is not closed.
    static func arguments(_ text: ArraySlice<UInt8>, _ open: Int) -> (values: [ArraySlice<UInt8>], end: Int)? {
        var values: [ArraySlice<UInt8>] = []
        var nesting = 0
        var offset = open + 1
        var start = offset
        while offset < text.endIndex {
            let byte = text[offset]
            if byte == Byte.quote {
                offset = endOfString(text, offset)
                continue
            }
            if byte == Byte.open { nesting += 1 }
            if nesting == 0, byte == Byte.comma || byte == Byte.close {
                values.append(trimmed(text[start..<offset]))
                start = offset + 1
                if byte == Byte.close { return (values, offset + 1) }
            }
            if byte == Byte.close { nesting -= 1 }
            offset += 1
        }
        return nil
    }

    private static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var slice = text
        while let first = slice.first, Byte.isBlank(first) { slice.removeFirst() }
        while let last = slice.last, Byte.isBlank(last) { slice.removeLast() }
        return slice
    }

    // MARK: Bodies

    private mutating func substitute(
        _ macro: Macro, _ arguments: [ArraySlice<UInt8>], hidden: Set<[UInt8]>, depth: Int, _ budget: inout Int
    ) -> [UInt8] {
        let parameters = macro.parameters ?? []
        var values = arguments
        if macro.isVariadic, values.count >= parameters.count {
            // The last takes its commas with it.
            let last = parameters.count - 1
            var rest: [UInt8] = []
            for (index, value) in values[last...].enumerated() {
                if index > 0 { rest.append(contentsOf: ", ".utf8) }
                rest.append(contentsOf: value)
            }
            values = Array(values[..<last]) + [rest[...]]
        }
        func value(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
            guard let index = parameters.firstIndex(where: { $0.elementsEqual(name) }) else { return nil }
            return index < values.count ? values[index] : []
        }
        var out: [UInt8] = []
        let body = macro.body
        var offset = 0
        while offset < body.count, out.count <= budget {
            let byte = body[offset]
            if byte == Byte.quote {
                let stop = Preprocessor.endOfString(body[...], offset)
                out.append(contentsOf: body[offset..<stop])
                offset = stop
                continue
            }
            if byte == Byte.hash, offset + 1 < body.count, body[offset + 1] == Byte.hash {
                while let last = out.last, Byte.isBlank(last) { out.removeLast() }
                offset += 2
                while offset < body.count, Byte.isBlank(body[offset]) { offset += 1 }
                let start = offset
                while offset < body.count, Preprocessor.isIdentifier(body[offset]) { offset += 1 }
                let name = body[start..<offset]
                out.append(contentsOf: value(name) ?? name)
                continue
            }
            if byte == Byte.hash, macro.parameters != nil {
                var start = offset + 1
                while start < body.count, Byte.isBlank(body[start]) { start += 1 }
                var stop = start
                while stop < body.count, Preprocessor.isIdentifier(body[stop]) { stop += 1 }
                if stop > start, let text = value(body[start..<stop]) {
                    out.append(contentsOf: Preprocessor.stringified(text))
                    offset = stop
                    continue
                }
            }
            guard Preprocessor.isIdentifierStart(byte) else {
                out.append(byte)
                offset += 1
                continue
            }
            let start = offset
            while offset < body.count, Preprocessor.isIdentifier(body[offset]) { offset += 1 }
            let name = body[start..<offset]
            guard let text = value(name) else {
                out.append(contentsOf: name)
                continue
            }
            var next = offset
            while next < body.count, Byte.isBlank(body[next]) { next += 1 }
            let isPasted = next + 1 < body.count && body[next] == Byte.hash && body[next + 1] == Byte.hash
            // Arguments are expanded on their own, unless they are pasted (6.10.3.1).
            out.append(
                contentsOf: isPasted ? Array(text) : expand(text, hidden: hidden, depth: depth + 1, &budget))
        }
        return out
    }

    /// A string literal of a text: quotes and backslashes of strings in it are escaped (6.10.3.2).
    private static func stringified(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = [Byte.quote]
        var isInString = false
        var wasBlank = false
        for byte in text {
            if !isInString, Byte.isBlank(byte) {
                if !wasBlank { out.append(Byte.space) }
                wasBlank = true
                continue
            }
            wasBlank = false
            if byte == Byte.quote {
                out.append(Byte.backslash)
                isInString.toggle()
            } else if byte == Byte.backslash, isInString {
                out.append(Byte.backslash)
            }
            out.append(byte)
        }
        out.append(Byte.quote)
        return out
    }
}

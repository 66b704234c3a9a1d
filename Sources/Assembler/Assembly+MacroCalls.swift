extension Assembly {
    /// Expands a macro and assembles the result.
    mutating func call(macro index: Int, at start: Int) throws(Fault) {
        let macro = macros[index]
        var arguments = [Argument](repeating: Argument(), count: macro.parameters.count)
        let stop = statementEnd(from: position)
        try macroArguments(macro, &arguments, until: stop, at: start)
        position = stop
        for (index, parameter) in macro.parameters.enumerated() where arguments[index].count == 0 {
            if parameter.hasDefault {
                arguments[index] = Argument(start: parameter.defaultStart, end: parameter.defaultEnd, isDefault: true)
            } else if parameter.isRequired {
                let name = String(decoding: parameter.name, as: UTF8.self)
                throw fail(.missingArgument, "macro `\(names.string(macro.name))` needs `\(name)`", at: start)
            }
        }
        var newFrame = Frame(
            body: macro.body, pieces: macro.pieces, arguments: arguments, isMacro: true, isExpanded: true)
        let text = try expand(&newFrame)
        let parent = pushExpansion("macro `\(names.string(macro.name))`")
        macroDepth += 1
        run(text, file: macro.file, line: macro.line, expansion: parent, frame: newFrame)
        macroDepth -= 1
        exitRequested = false
    }

    mutating func pushExpansion(_ name: String) -> Int32 {
        expansions.append(Expansion(name: name, file: file, line: line, parent: expansion))
        return Int32(truncatingIfNeeded: expansions.count - 1)
    }

    /// Puts the arguments into the pieces. The arguments are ranges of the current text.
    mutating func expand(_ newFrame: inout Frame) throws(Fault) -> [UInt8] {
        let counter = Array(String(expansionCount).utf8)
        expansionCount += 1
        newFrame.counterLength = counter.count
        var total = 0
        for piece in newFrame.pieces { total += piece.length(newFrame) }
        expandedBytes += total
        if expandedBytes > limits.expanded_bytes {
            throw stop(.limitExpandedBytes, "more than \(limits.expanded_bytes) bytes after expansion", at: position)
        }
        var text: [UInt8] = []
        text.reserveCapacity(total)
        for piece in newFrame.pieces {
            switch piece.parameter {
            case Piece.literal: text.append(contentsOf: newFrame.body[piece.start..<piece.end])
            case Piece.counter: text.append(contentsOf: counter)
            case Piece.empty: break
            default:
                let argument = newFrame.arguments[piece.parameter]
                if argument.isDefault {
                    text.append(contentsOf: newFrame.body[argument.start..<argument.end])
                } else {
                    text.append(contentsOf: bytes[argument.start..<argument.end])
                }
            }
        }
        return text
    }

    private mutating func macroArguments(
        _ macro: Macro, _ arguments: inout [Argument], until stop: Int, at start: Int
    ) throws(Fault) {
        var next = 0
        var sawKeyword = false
        while true {
            skipBlanks()
            guard position < stop else { return }
            if let keyword = keyword(until: stop) {
                guard let index = macro.parameters.firstIndex(where: { $0.name.elementsEqual(bytes[keyword.range]) })
                else {
                    let name = String(decoding: bytes[keyword.range], as: UTF8.self)
                    throw fail(
                        .unknownArgument, "macro `\(names.string(macro.name))` has no parameter `\(name)`",
                        at: keyword.range.lowerBound)
                }
                position = keyword.value
                arguments[index] = argument(until: stop)
                sawKeyword = true
            } else {
                if sawKeyword {
                    throw fail(.mixedArguments, "an argument without a name follows one with a name", at: position)
                }
                guard next < macro.parameters.count else {
                    throw fail(
                        .tooManyArguments,
                        "macro `\(names.string(macro.name))` takes \(macro.parameters.count) arguments", at: position)
                }
                if macro.parameters[next].isVariadic {
                    var last = stop
                    while last > position, Byte.isBlank(bytes[last - 1]) { last -= 1 }
                    arguments[next] = Argument(start: position, end: last, isGiven: true)
                    position = stop
                    return
                }
                arguments[next] = argument(until: stop)
                next += 1
            }
            skipBlanks()
            if position < stop, bytes[position] == Byte.comma { position += 1 }
        }
    }

    /// `name=` at the position: the range of the name, and where the value starts.
    private func keyword(until stop: Int) -> (range: Range<Int>, value: Int)? {
        guard Byte.isNameStart(bytes[position]) else { return nil }
        var offset = position
        while offset < stop, Byte.isName(bytes[offset]) { offset += 1 }
        guard offset < stop, bytes[offset] == Byte.equal, byte(at: offset + 1) != Byte.equal else { return nil }
        return (position..<offset, offset + 1)
    }

    /// One argument: up to a comma or a blank outside parentheses; the quotes around a string go.
    ///
    /// A blank behind an operator joins, because the GNU assembler's first pass removes it.
    mutating func argument(until stop: Int) -> Argument {
        skipBlanks()
        let start = position
        if start < stop, bytes[start] == Byte.quote {
            var offset = start + 1
            while offset < stop, bytes[offset] != Byte.quote {
                offset += bytes[offset] == Byte.backslash && offset + 1 < stop ? 2 : 1
            }
            position = min(offset + 1, stop)
            return Argument(start: start + 1, end: max(start + 1, min(offset, stop)), isGiven: true)
        }
        var nesting = 0
        var offset = start
        while offset < stop {
            let byte = bytes[offset]
            if nesting == 0, byte == Byte.comma { break }
            if nesting == 0, Byte.isBlank(byte) {
                guard offset > start + 1, isOperator(bytes[offset - 1]) else { break }
                while offset < stop, Byte.isBlank(bytes[offset]) { offset += 1 }
                continue
            }
            if byte == Byte.open { nesting += 1 }
            if byte == Byte.close { nesting -= 1 }
            offset += 1
            if byte == Byte.quote {
                while offset < stop, bytes[offset] != Byte.quote { offset += 1 }
                offset = min(offset + 1, stop)
            }
        }
        position = offset
        var last = offset
        while last > start, Byte.isBlank(bytes[last - 1]) { last -= 1 }
        return Argument(start: start, end: last, isGiven: true)
    }

    private func isOperator(_ byte: UInt8) -> Bool {
        switch byte {
        case Byte.plus, Byte.minus, Byte.star, Byte.slash, UInt8(ascii: "|"), UInt8(ascii: "&"), UInt8(ascii: "^"),
            UInt8(ascii: "<"), UInt8(ascii: ">"), Byte.equal:
            true
        default: false
        }
    }
}

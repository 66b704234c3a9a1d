import Machine

/// How the current text came about: empty for a source, otherwise the body that was expanded.
struct Frame {
    var body: [UInt8] = []
    var pieces: [Piece] = []
    var arguments: [Argument] = []
    var counterLength = 0
    /// Conditionals open when the text began; it may not close them.
    var conditionalBase = 0
    var isMacro = false
    var isExpanded = false
}

extension Assembly {
    /// Assembles one whole text and returns to the current one.
    mutating func run(
        _ text: [UInt8], file newFile: UInt16, line firstLine: Int, expansion newExpansion: Int32, frame newFrame: Frame
    ) {
        guard depth < limits.macro_depth else {
            _ = stop(.limitMacroDepth, "more than \(limits.macro_depth) levels of macros", at: position)
            return
        }
        let saved = (bytes, position, end, line, lineStart, file, expansion, frame)
        depth += 1
        bytes = text
        position = 0
        end = text.count
        line = firstLine
        lineStart = 0
        file = newFile
        expansion = newExpansion
        frame = newFrame
        frame.conditionalBase = conditionals.count
        runStatements()
        if conditionals.count > frame.conditionalBase {
            if let open = conditionals.last, !exitRequested, !isStopped {
                report(.unterminatedConditional, "`.if` without `.endif`", open.location)
            }
            conditionals.removeSubrange(frame.conditionalBase...)
            isSkipping = !(conditionals.last?.isActive ?? true)
        }
        depth -= 1
        (bytes, position, end, line, lineStart, file, expansion, frame) = saved
    }

    private mutating func runStatements() {
        while position < end, !isStopped, !exitRequested {
            let byte = bytes[position]
            if byte == Byte.newline {
                advanceLine()
            } else if byte == Byte.semicolon || Byte.isBlank(byte) {
                position += 1
            } else if isSkipping {
                skippedStatement()
            } else {
                do throws(Fault) {
                    try statement()
                    skipBlanks()
                    if position < end, bytes[position] != Byte.newline, bytes[position] != Byte.semicolon {
                        throw fail(.syntaxError, "unexpected text after the statement", at: position)
                    }
                } catch {
                    position = statementEnd(from: position)
                    hasLockPrefix = false
                    hasRepeatPrefix = false
                    if role == .kernel || role.isRemainder { emitGap() }
                }
            }
        }
        if hasLockPrefix || hasRepeatPrefix {
            report(.invalidPrefix, "prefix without an instruction", prefixLocation)
            hasLockPrefix = false
            hasRepeatPrefix = false
        }
    }

    mutating func advanceLine() {
        position += 1
        line += 1
        lineStart = position
        lineCount += 1
        if lineCount > limits.lines {
            _ = stop(.limitLines, "more than \(limits.lines) lines after expansion", at: position)
        }
    }

    // MARK: Scanning

    @inline(__always)
    mutating func skipBlanks() {
        while position < end, Byte.isBlank(bytes[position]) { position += 1 }
    }

    /// The next byte, or 0 at the end of the text (a zero byte starts nothing).
    @inline(__always)
    var peek: UInt8 { position < end ? bytes[position] : 0 }

    func byte(at offset: Int) -> UInt8 { offset < end ? bytes[offset] : 0 }

    @inline(__always)
    var isAtStatementEnd: Bool {
        position >= end || bytes[position] == Byte.newline || bytes[position] == Byte.semicolon
    }

    /// The end of the statement that contains an offset; separators inside strings do not count.
    func statementEnd(from start: Int) -> Int {
        var offset = start
        while offset < end {
            let byte = bytes[offset]
            if byte == Byte.newline || byte == Byte.semicolon { return offset }
            offset += 1
            if byte == Byte.quote {
                while offset < end, bytes[offset] != Byte.quote, bytes[offset] != Byte.newline {
                    offset +=
                        bytes[offset] == Byte.backslash && offset + 1 < end && bytes[offset + 1] != Byte.newline ? 2 : 1
                }
                if offset < end, bytes[offset] == Byte.quote { offset += 1 }
            } else if byte == Byte.apostrophe, offset < end, bytes[offset] != Byte.newline {
                offset += 1
            }
        }
        return offset
    }

    /// Interns the identifier at the position, which must start one, and moves behind it.
    mutating func identifier() throws(Fault) -> Int {
        let start = position
        var hash = NameTable.seed
        var offset = position
        while offset < end {
            let byte = bytes[offset]
            guard Byte.isName(byte) else { break }
            hash = NameTable.step(hash, byte)
            offset += 1
        }
        position = offset
        return try intern(start, offset, hash)
    }

    private mutating func intern(_ start: Int, _ stop: Int, _ hash: UInt32) throws(Fault) -> Int {
        if stop - start > limits.identifier_bytes {
            throw fail(.limitIdentifier, "identifier longer than \(limits.identifier_bytes) bytes", at: start)
        }
        let isLocal = bytes[start] == Byte.dot && stop > start + 1 && bytes[start + 1] == UInt8(ascii: "L")
        let number = names.intern(bytes, start, stop, hash: hash, scope: isLocal ? scope : 0)
        if number == meanings.count { meanings.append(Meaning()) }
        return number
    }

    /// Interns a known string.
    mutating func name(_ string: String) -> Int {
        let isLocal = string.hasPrefix(".L")
        let number = names.intern(string, scope: isLocal ? scope : 0)
        if number == meanings.count { meanings.append(Meaning()) }
        return number
    }

    /// The column of a byte: in an expansion, that of the byte it came from in the body.
    func column(at offset: Int) -> Int {
        guard frame.isExpanded else { return offset - lineStart + 1 }
        var source = 0
        var output = 0
        for piece in frame.pieces {
            if piece.parameter == Piece.literal {
                let length = piece.end - piece.start
                source = piece.start
                if offset < output + length {
                    source = piece.start + offset - output
                    break
                }
                source = piece.end
                output += length
            } else {
                let length = piece.length(frame)
                source = piece.start
                if offset < output + length { break }
                output += length
                source = piece.end
            }
        }
        var column = 1
        source = min(source, frame.body.count)
        while source > 0, frame.body[source - 1] != Byte.newline {
            source -= 1
            column += 1
        }
        return column
    }
}

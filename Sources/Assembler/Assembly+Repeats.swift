extension Assembly {
    /// `.rept`, `.irp` and `.irpc`: the body is assembled once per number, value or character.
    mutating func repeatBlock(_ directive: Directive, at start: Int) throws(Fault) {
        let startLocation = location(at: start)
        var count = 0
        var parameters: [Parameter] = []
        var values: [Argument] = []
        var failure: Fault?
        do throws(Fault) {
            if directive == .rept {
                let value = try constantExpression()
                if value < 0 { throw fail(.outOfRange, "a repeat count cannot be negative", at: start) }
                count = value > Int64(limits.repeat_count) ? limits.repeat_count + 1 : Int(value)
            } else {
                parameters = [try repeatParameter()]
                values = repeatValues(directive)
                count = values.count
            }
            if count > limits.repeat_count {
                throw fail(.limitRepeat, "more than \(limits.repeat_count) repetitions", at: start)
            }
        } catch {
            failure = error
        }
        let opening: [Directive] = [.rept, .irp, .irpc]
        guard let block = captureBlock(opening: opening, closing: .endRepeat) else {
            report(.unterminatedRepeat, "repeat without `.endr`", startLocation)
            throw Fault()
        }
        if let failure { throw failure }
        let body = Array(bytes[block.start..<block.end])
        var pieces = cut(body, parameters)
        // `\@` counts macro calls; inside a repeat it belongs to the macro around it, which has replaced it already.
        pieces = pieces.map {
            $0.parameter == Piece.counter ? Piece(start: $0.start, end: $0.end, parameter: Piece.literal) : $0
        }
        if directive == .rept { pieces = [Piece(start: 0, end: body.count, parameter: Piece.literal)] }
        let parent = pushExpansion("`\(directive == .rept ? ".rept" : directive == .irp ? ".irp" : ".irpc")`")
        expansions[Int(parent)].line = startLocation.line
        for iteration in 0..<count {
            if isStopped || exitRequested { return }
            lineCount += 1
            var newFrame = Frame(body: body, pieces: pieces, isMacro: false, isExpanded: true)
            if directive != .rept { newFrame.arguments = [values[iteration]] }
            let counter = expansionCount
            let text = try expand(&newFrame)
            expansionCount = counter
            run(text, file: file, line: block.line, expansion: parent, frame: newFrame)
        }
    }

    private mutating func repeatParameter() throws(Fault) -> Parameter {
        skipBlanks()
        guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected a name", at: position) }
        let start = position
        _ = try identifier()
        let parameter = Parameter(name: Array(bytes[start..<position]))
        skipBlanks()
        if peek == Byte.comma { position += 1 }
        return parameter
    }

    private mutating func repeatValues(_ directive: Directive) -> [Argument] {
        let stop = statementEnd(from: position)
        var values: [Argument] = []
        skipBlanks()
        if directive == .irpc {
            let word = argument(until: stop)
            for offset in word.start..<word.end {
                values.append(Argument(start: offset, end: offset + 1, isGiven: true))
            }
        } else {
            while position < stop, values.count <= limits.repeat_count {
                values.append(argument(until: stop))
                skipBlanks()
                if position < stop, bytes[position] == Byte.comma { position += 1 }
                skipBlanks()
            }
        }
        // Without values the body is assembled once with an empty one.
        return values.isEmpty ? [Argument(start: position, end: position)] : values
    }
}

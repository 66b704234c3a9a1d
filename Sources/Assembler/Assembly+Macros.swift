/// A stretch of a macro's body: literal text, or a place where an argument goes.
struct Piece: Sendable {
    static let literal = -1
    /// `\@`: the number of the expansion.
    static let counter = -2
    /// `\()`: nothing.
    static let empty = -3

    var start: Int
    var end: Int
    /// Index of the parameter, or one of the constants above.
    var parameter: Int

    /// Bytes that the piece contributes in a frame.
    func length(_ frame: Frame) -> Int {
        switch parameter {
        case Piece.literal: end - start
        case Piece.counter: frame.counterLength
        case Piece.empty: 0
        default: parameter < frame.arguments.count ? frame.arguments[parameter].count : 0
        }
    }
}

/// The bytes that replace a parameter: a range of the caller's text, or a default.
struct Argument: Sendable {
    var start = 0
    var end = 0
    var isDefault = false
    var isGiven = false
    var count: Int { end - start }
}

/// A parameter of a macro. The default is a range of the macro's body, behind the text that is expanded.
struct Parameter: Sendable {
    var name: [UInt8]
    var defaultStart = 0
    var defaultEnd = 0
    var hasDefault = false
    var isRequired = false
    var isVariadic = false
}

/// A macro: its body is cut into pieces once, so that a call only copies.
struct Macro: Sendable {
    var name: Int
    var parameters: [Parameter]
    /// The body and behind it the defaults.
    var body: [UInt8]
    var pieces: [Piece]
    var file: UInt16
    /// Line of the first line of the body.
    var line: Int
}

extension Assembly {
    // MARK: Definition

    mutating func defineMacro(at start: Int) throws(Fault) {
        guard Byte.isNameStart(peek) else {
            let fault = fail(.syntaxError, "expected the name of a macro", at: position)
            _ = captureBlock(opening: [.macro], closing: .endMacro)
            throw fault
        }
        let startLocation = location(at: start)
        let nameStart = position
        let name = try identifier()
        var defaults: [UInt8] = []
        var parameters: [Parameter] = []
        var failure: Fault?
        do throws(Fault) {
            parameters = try macroParameters(&defaults)
        } catch {
            failure = error
        }
        let nameColumn = nameStart
        var isWanted = true
        switch role {
        case .definitions(let excluded), .remainder(let excluded):
            isWanted = meanings[name].macro < 0 && !excluded.contains(names.string(name))
        case .kernel:
            // Each file of a kernel is assembled on its own: it may define what another has defined.
            if meanings[name].macro >= 0, macros[Int(meanings[name].macro)].file != file { meanings[name].macro = -1 }
        case .listing: break
        }
        if meanings[name].macro >= 0, failure == nil, isWanted {
            failure = fail(.duplicateMacro, "macro `\(names.string(name))` is already defined", at: nameColumn)
        }
        guard let block = captureBlock(opening: [.macro], closing: .endMacro) else {
            report(.unterminatedMacro, "`.macro` without `.endm`", startLocation)
            throw Fault()
        }
        if !isWanted { return }
        if let failure { throw failure }
        var body = Array(bytes[block.start..<block.end])
        let pieces = cut(body, parameters)
        let offset = body.count
        body.append(contentsOf: defaults)
        for index in parameters.indices {
            parameters[index].defaultStart += offset
            parameters[index].defaultEnd += offset
        }
        meanings[name].macro = Int32(truncatingIfNeeded: macros.count)
        macros.append(
            Macro(name: name, parameters: parameters, body: body, pieces: pieces, file: file, line: block.line))
    }

    mutating func purgeMacro() throws(Fault) {
        let start = position
        guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected the name of a macro", at: position) }
        let name = try identifier()
        guard meanings[name].macro >= 0 else {
            throw fail(.unknownMacro, "no macro `\(names.string(name))` to remove", at: start)
        }
        meanings[name].macro = -1
    }

    private mutating func macroParameters(_ defaults: inout [UInt8]) throws(Fault) -> [Parameter] {
        var parameters: [Parameter] = []
        while true {
            skipBlanks()
            if peek == Byte.comma {
                position += 1
                continue
            }
            if isAtStatementEnd { return parameters }
            guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected a parameter", at: position) }
            let start = position
            _ = try identifier()
            var parameter = Parameter(name: Array(bytes[start..<position]))
            if parameters.contains(where: { $0.name == parameter.name }) {
                throw fail(.duplicateMacro, "two parameters of one name", at: start)
            }
            if peek == Byte.colon {
                position += 1
                let qualifierStart = position
                while Byte.isName(peek) { position += 1 }
                let qualifier = bytes[qualifierStart..<position]
                if qualifier.elementsEqual("req".utf8) {
                    parameter.isRequired = true
                } else if qualifier.elementsEqual("vararg".utf8) {
                    parameter.isVariadic = true
                } else {
                    throw fail(.syntaxError, "expected `req` or `vararg`", at: qualifierStart)
                }
            }
            skipBlanks()
            if peek == Byte.equal {
                position += 1
                let value = argument(until: statementEnd(from: position))
                parameter.defaultStart = defaults.count
                defaults.append(contentsOf: bytes[value.start..<value.end])
                parameter.defaultEnd = defaults.count
                parameter.hasDefault = true
            }
            parameters.append(parameter)
        }
    }

    /// Moves behind the block that the current statement opens, or to the end of the text: then nil.
    mutating func captureBlock(opening: [Directive], closing: Directive) -> (start: Int, end: Int, line: Int)? {
        position = statementEnd(from: position)
        if peek == Byte.semicolon { position += 1 }
        if peek == Byte.newline { advanceLine() }
        let start = position
        let firstLine = line
        var nesting = 1
        while position < end, !isStopped {
            skipBlanks()
            if peek == Byte.newline {
                advanceLine()
                continue
            }
            if peek == Byte.semicolon {
                position += 1
                continue
            }
            let statementStart = position
            if peek == Byte.dot, let directive = try? directiveName() {
                if opening.contains(directive) { nesting += 1 }
                if directive == closing { nesting -= 1 }
                if nesting == 0 {
                    let stop = statementStart
                    position = statementEnd(from: position)
                    return (start, stop, firstLine)
                }
            }
            position = statementEnd(from: position)
        }
        return nil
    }

    private mutating func directiveName() throws(Fault) -> Directive {
        let start = position
        while Byte.isName(peek) { position += 1 }
        if position - start > 16 { return .none }
        position = start
        let name = try identifier()
        return meanings[name].directive
    }

    /// Cuts a body at `\parameter`, `\@` and `\()`. Other backslashes stay: they may belong to a macro inside.
    func cut(_ body: [UInt8], _ parameters: [Parameter]) -> [Piece] {
        var pieces: [Piece] = []
        var literal = 0
        var offset = 0
        func isName(_ offset: Int) -> Bool { offset < body.count && Byte.isName(body[offset]) }
        while offset < body.count {
            guard body[offset] == Byte.backslash, offset + 1 < body.count else {
                offset += 1
                continue
            }
            let next = body[offset + 1]
            var stop = offset + 2
            var parameter = Piece.literal
            if next == UInt8(ascii: "@") {
                parameter = Piece.counter
            } else if next == Byte.open, offset + 2 < body.count, body[offset + 2] == Byte.close {
                parameter = Piece.empty
                stop = offset + 3
            } else if Byte.isNameStart(next) {
                while isName(stop) { stop += 1 }
                let name = body[(offset + 1)..<stop]
                if let index = parameters.firstIndex(where: { $0.name.elementsEqual(name) }) { parameter = index }
            }
            if parameter == Piece.literal {
                offset += 1
                continue
            }
            if literal < offset { pieces.append(Piece(start: literal, end: offset, parameter: Piece.literal)) }
            pieces.append(Piece(start: offset, end: stop, parameter: parameter))
            literal = stop
            offset = stop
        }
        if literal < body.count { pieces.append(Piece(start: literal, end: body.count, parameter: Piece.literal)) }
        return pieces
    }
}

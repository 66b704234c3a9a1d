import Machine

extension Assembly {
    /// Assembles the statement at the position, which is at its first byte; labels before it included.
    mutating func statement() throws(Fault) {
        if probe != nil, try isPassedOver() { return }
        while true {
            let start = position
            let first = bytes[start]
            if Byte.isDigit(first) {
                try numericLabel()
            } else {
                guard Byte.isNameStart(first) else {
                    throw fail(.syntaxError, "a statement starts with a label, a directive or a mnemonic", at: start)
                }
                let name = try identifier()
                skipBlanks()
                let next = peek
                if next == Byte.colon {
                    position += 1
                    if case .definitions = role {
                        // Labels are no definitions here.
                    } else {
                        try label(name, at: start, isGlobal: false)
                    }
                } else if next == Byte.equal, byte(at: position + 1) != Byte.equal {
                    position += 1
                    return try assign(name, at: start, onlyOnce: false)
                } else {
                    return try operation(name, at: start)
                }
            }
            skipBlanks()
            if isAtStatementEnd { return }
        }
    }

    /// A macro call, directive or instruction.
    private mutating func operation(_ name: Int, at start: Int) throws(Fault) {
        let meaning = meanings[name]
        if case .definitions = role, !Assembly.isDefinition(meaning.directive) || meaning.macro >= 0 {
            position = statementEnd(from: position)
            return
        }
        if meaning.macro >= 0 { return try call(macro: Int(meaning.macro), at: start) }
        if meaning.mnemonic >= 0 {
            // The body that an override replaces counts for its symbols, not for its code.
            if discarding >= 0 {
                position = statementEnd(from: position)
                return
            }
            return try instruction(mnemonics[Int(meaning.mnemonic)], name: name, at: start)
        }
        if meaning.directive != .none { return try directive(meaning.directive, name: name, at: start) }
        let text = names.string(name)
        if case .remainder(let excluded) = role, excluded.contains(text) {
            position = statementEnd(from: position)
            // A row. In the middle of a routine it is code that the sources have in other words.
            if current < 0 || discarding >= 0 { return }
            throw fail(.unknownMacro, "the files that are given have no macro `\(text)`", at: start)
        }
        if isIgnored(text) {
            position = statementEnd(from: position)
            return
        }
        if discarding >= 0 {
            position = statementEnd(from: position)
            return
        }
        if text.hasPrefix(".") {
            throw fail(
                .unknownDirective, "unknown directive `\(text)`\(suggestion(text) { $0.directive != .none })", at: start
            )
        }
        let hint = suggestion(text) { $0.mnemonic >= 0 || $0.macro >= 0 || $0.directive != .none }
        throw fail(.unknownMnemonic, "unknown instruction or macro `\(text)`\(hint)", at: start)
    }

    /// What is taken from a text whose definitions alone are wanted.
    private static func isDefinition(_ directive: Directive) -> Bool {
        switch directive {
        case .set, .macro: true
        default: directive.opensConditional || directive == .elseIf || directive == .otherwise || directive == .endIf
        }
    }

    /// Annotations for tools other than the processor.
    private func isIgnored(_ text: String) -> Bool {
        text.hasPrefix("UNWIND_HINT") || text.hasPrefix("ANNOTATE_") || text.hasPrefix(".cfi_")
            || text.hasPrefix("CFI_")
    }

    mutating func directive(_ directive: Directive, name: Int, at start: Int) throws(Fault) {
        switch directive {
        case .none, .ignored, .warning: position = statementEnd(from: position)
        case .alignment: try align(name, at: start)
        case .global: try markGlobal()
        case .set, .equiv:
            guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected a symbol", at: position) }
            let symbolStart = position
            let symbol = try identifier()
            skipBlanks()
            guard peek == Byte.comma else { throw fail(.syntaxError, "expected `,` and a value", at: position) }
            position += 1
            try assign(symbol, at: symbolStart, onlyOnce: directive == .equiv)
        case .macro: try defineMacro(at: start)
        case .purgeMacro: try purgeMacro()
        case .exitMacro:
            guard macroDepth > 0 else { throw fail(.unmatchedDirective, "`.exitm` outside a macro", at: start) }
            exitRequested = true
        case .endMacro, .endRepeat:
            throw fail(.unmatchedDirective, "`\(names.string(name))` without its beginning", at: start)
        case .rept, .irp, .irpc: try repeatBlock(directive, at: start)
        case .error:
            let text = stringOrRest()
            if discarding < 0 { throw fail(.userError, text, at: start) }
        case .section, .text, .pushSection, .popSection, .previous: try changeSection(directive, name: name, at: start)
        case .data:
            if role == .kernel, section.isExecutable, current >= 0 {
                return try codedInstruction(name, at: start)
            }
            position = statementEnd(from: position)
            if section.isExecutable, discarding < 0 {
                throw fail(.dataInCode, "`\(names.string(name))` places data among instructions", at: start)
            }
        case .exceptionRow: try exceptionRow()
        case .layout:
            position = statementEnd(from: position)
            // Padding moves addresses; what the kernel's own sources do with it has no say in a verdict.
            if role == .kernel { return }
            if section.isExecutable, discarding < 0 {
                throw fail(
                    .layoutDirective, "`\(names.string(name))` moves code in a way that is not modelled", at: start)
            }
        case .unsupported:
            throw fail(.unsupportedDirective, "`\(names.string(name))` is not supported", at: start)
        case .start, .startLocal, .end, .globalLabel, .innerLabel: try linkage(directive, at: start)
        default: try conditional(directive, name: name, at: start)
        }
    }

    /// `.p2align 4`, `.balign 16`: code is not moved, and what no object file can ask for is refused.
    ///
    /// What the kernel's own sources do with it has no say in a verdict.
    private mutating func align(_ name: Int, at start: Int) throws(Fault) {
        if role != .listing || discarding >= 0 {
            position = statementEnd(from: position)
            return
        }
        skipBlanks()
        if isAtStatementEnd { return }
        let value = try constantExpression()
        position = statementEnd(from: position)
        let text = names.string(name)
        let limit = Int64(Assembly.alignment_bytes)
        if text.contains("p2align") {
            let most = Int64(limit.trailingZeroBitCount)
            if value < 0 || value > most {
                throw fail(
                    .outOfRange, "`\(text) \(value)`: an alignment is at most 2^\(most) bytes, a large page", at: start)
            }
        } else if value < 0 || value > limit || value & (value - 1) != 0 {
            throw fail(
                .outOfRange, "`\(text) \(value)`: an alignment is a power of two, at most \(limit) bytes, a large page",
                at: start)
        }
    }

    /// The largest page that kernel text is mapped by.
    private static let alignment_bytes = 2 << 20

    // MARK: Symbols

    mutating func assign(_ name: Int, at start: Int, onlyOnce: Bool) throws(Fault) {
        skipBlanks()
        let value = try expression()
        let index = symbol(name)
        let kind = symbols[index].kind
        let isFixed = kind == .label || kind == .external || kind == .discarded || (onlyOnce && kind != .undefined)
        if isFixed { throw fail(.duplicateSymbol, "`\(names.string(name))` is already defined", at: start) }
        symbols[index].kind = value.isConstant ? .absolute : .expression
        symbols[index].value = value
        symbols[index].location = location(at: start)
    }

    /// The symbol of a name, created undefined if there is none.
    mutating func symbol(_ name: Int) -> Int {
        let known = meanings[name].symbol
        if known >= 0 { return Int(known) }
        let index = symbols.count
        symbols.append(Symbol(name: name))
        meanings[name].symbol = Int32(truncatingIfNeeded: index)
        if outerScope >= 0, names.isLocal(name) {
            let outer = names.intern(name, scope: outerScope)
            if outer == meanings.count { meanings.append(Meaning()) }
            let outerIndex = symbol(outerName: outer)
            symbols[index].outer = Int32(truncatingIfNeeded: outerIndex)
        }
        return index
    }

    private mutating func symbol(outerName name: Int) -> Int {
        let known = meanings[name].symbol
        if known >= 0 { return Int(known) }
        symbols.append(Symbol(name: name))
        meanings[name].symbol = Int32(truncatingIfNeeded: symbols.count - 1)
        return symbols.count - 1
    }

    private mutating func markGlobal() throws(Fault) {
        while true {
            skipBlanks()
            guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected a symbol", at: position) }
            let index = symbol(try identifier())
            symbols[index].isGlobal = true
            skipBlanks()
            guard peek == Byte.comma else { return }
            position += 1
        }
    }

    private mutating func numericLabel() throws(Fault) {
        let start = position
        var value = 0
        while position < end, Byte.isDigit(bytes[position]) {
            if value > 1_000_000 { throw fail(.badNumber, "numeric label too large", at: start) }
            value = value * 10 + Int(bytes[position] - Byte.zero)
            position += 1
        }
        skipBlanks()
        guard peek == Byte.colon else {
            throw fail(.syntaxError, "a statement starts with a label, a directive or a mnemonic", at: start)
        }
        position += 1
        if case .definitions = role { return }
        guard discarding < 0 else { return }
        var entry = numeric[value] ?? (-1, -1)
        var index = Int(entry.ahead)
        if index < 0 {
            index = symbols.count
            symbols.append(Symbol(name: -1))
        }
        entry = (Int32(truncatingIfNeeded: index), -1)
        numeric[value] = entry
        try place(index, at: start)
    }

    /// The symbol that `1b` or `1f` names, or nil for `1b` without a label behind.
    mutating func numericReference(_ value: Int, isAhead: Bool) -> Int? {
        var entry = numeric[value] ?? (-1, -1)
        if !isAhead { return entry.behind >= 0 ? Int(entry.behind) : nil }
        if entry.ahead < 0 {
            entry.ahead = Int32(truncatingIfNeeded: symbols.count)
            symbols.append(Symbol(name: -1))
            numeric[value] = entry
        }
        return Int(entry.ahead)
    }

    /// Gives a symbol the address of the next instruction.
    mutating func place(_ index: Int, at start: Int) throws(Fault) {
        if symbols[index].kind != .undefined {
            let earlier = symbols[index].location
            let place = earlier.line > 0 ? " at \(fileName(earlier.file)):\(earlier.line)" : ""
            let name = symbols[index].name >= 0 ? names.string(symbols[index].name) : ""
            throw fail(.duplicateSymbol, "`\(name)` is already defined\(place)", at: start)
        }
        symbols[index].location = location(at: start)
        guard section.isExecutable else {
            symbols[index].kind = .discarded
            return
        }
        guard current >= 0 else {
            throw fail(.outsideRoutine, "label outside a routine; start one with `ENTRY(name)`", at: start)
        }
        symbols[index].kind = .label
        symbols[index].item = instructions.count
        symbols[index].group = routines[Int(current)].group
    }

    // MARK: Help

    /// The content of a string, or the rest of the statement.
    mutating func stringOrRest() -> String {
        skipBlanks()
        var start = position
        let stop = statementEnd(from: start)
        position = stop
        var last = stop
        while last > start, Byte.isBlank(bytes[last - 1]) { last -= 1 }
        if last - start >= 2, bytes[start] == Byte.quote, bytes[last - 1] == Byte.quote {
            start += 1
            last -= 1
        }
        let text = String(decoding: bytes[start..<last].prefix(200), as: UTF8.self)
        return text.isEmpty ? "`.error`" : text
    }

    /// `; did you mean …?` with the nearest name of a kind, or nothing.
    mutating func suggestion(_ text: String, where isCandidate: (Meaning) -> Bool) -> String {
        // A search through all names: worth it for the first faults, a waste for hundreds of them.
        let isReported = diagnostics.count < 8 && gaps.count < limits.gaps
        guard isReported, text.utf8.count <= 40, hintBudget > 0 else { return "" }
        if let known = hints[text] { return known }
        hintBudget -= meanings.count
        let hint = nearestMeaning(text, where: isCandidate).map { "; did you mean `\($0)`?" } ?? ""
        hints[text] = hint
        return hint
    }

    private func nearestMeaning(_ text: String, where isCandidate: (Meaning) -> Bool) -> String? {
        let wanted = Array(text.utf8)
        var best: (distance: Int, name: String)?
        let limit = max(1, wanted.count / 3)
        for (number, meaning) in meanings.enumerated() where isCandidate(meaning) {
            if abs(names.length(number) - wanted.count) > limit { continue }
            let candidate = names.string(number)
            if candidate == text { continue }
            let distance = editDistance(wanted, Array(candidate.utf8))
            if distance > limit { continue }
            if let known = best, (known.distance, known.name) <= (distance, candidate) { continue }
            best = (distance, candidate)
        }
        return best?.name
    }
}

/// Levenshtein distance, for suggestions.
func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var row = Array(0...right.count)
    for (index, byte) in left.enumerated() {
        var diagonal = row[0]
        row[0] = index + 1
        for (column, other) in right.enumerated() {
            let above = row[column + 1]
            row[column + 1] = min(above + 1, row[column] + 1, diagonal + (byte == other ? 0 : 1))
            diagonal = above
        }
    }
    return row[right.count]
}

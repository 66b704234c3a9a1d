import Machine

extension Assembly {
    /// `ENTRY(name)`, `END(name)`, `GLOBAL(name)` and their `SYM_…` successors.
    mutating func linkage(_ directive: Directive, at start: Int) throws(Fault) {
        guard peek == Byte.open else { throw fail(.syntaxError, "expected `(`", at: position) }
        position += 1
        skipBlanks()
        guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected a name", at: position) }
        let nameStart = position
        let name = try identifier()
        skipBlanks()
        var isGlobal = directive != .startLocal
        if peek == Byte.comma {
            position += 1
            skipBlanks()
            let wordStart = position
            while Byte.isName(peek) { position += 1 }
            if bytes[wordStart..<position].elementsEqual("SYM_L_LOCAL".utf8) { isGlobal = false }
            // Further arguments (alignment) do not change the code.
            while position < end, !isAtStatementEnd, peek != Byte.close { position += 1 }
        }
        guard peek == Byte.close else { throw fail(.syntaxError, "expected `)`", at: position) }
        position += 1
        switch directive {
        case .start, .startLocal: try startRoutine(name, isExplicit: true, isGlobal: isGlobal, at: nameStart)
        case .end: try endRoutine(name, at: nameStart)
        default: try label(name, at: nameStart, isGlobal: isGlobal)
        }
    }

    /// Defines a label: outside a routine, and after an implicit one, it starts an implicit routine.
    mutating func label(_ name: Int, at start: Int, isGlobal: Bool) throws(Fault) {
        let isLocal = names.isLocal(name)
        if discarding >= 0 {
            if discardIsExplicit || isLocal || isGlobal { return }
            lastDiscarded = discarding
            discarding = -1
        }
        let isTopLevel = current < 0 || (!routines[Int(current)].isExplicit && !isGlobal)
        if section.isExecutable, !isLocal, isTopLevel {
            return try startRoutine(name, isExplicit: false, isGlobal: isGlobal, at: start)
        }
        let index = symbol(name)
        if isGlobal { symbols[index].isGlobal = true }
        try place(index, at: start)
    }

    mutating func startRoutine(_ name: Int, isExplicit: Bool, isGlobal: Bool, at start: Int) throws(Fault) {
        guard section.isExecutable else {
            throw fail(.codeOutsideText, "a routine in a section that is not executable", at: start)
        }
        if discarding >= 0 {
            if discardIsExplicit {
                report(.unclosedRoutine, "`\(names.string(discarding))` has no `END`", discardStart)
            }
            lastDiscarded = discarding
            discarding = -1
        }
        if current >= 0 {
            let open = routines[Int(current)]
            if open.name == name, open.isExplicit, open.firstItem == instructions.count, isExplicit, open.isOverride {
                return
            }
            // Two names for the same code: `SYM_CODE_START(a)` and `SYM_CODE_START(b)` in a row.
            if open.isExplicit, isExplicit, role == .kernel, open.firstItem == instructions.count {
                let index = symbol(name)
                if isGlobal { symbols[index].isGlobal = true }
                return try place(index, at: start)
            }
            // The GNU assembler does not ask for an end: ENTRY is a label there.
            if open.isExplicit, role == .kernel {
                closeRoutine()
            } else if open.isExplicit {
                report(
                    .unclosedRoutine, "`\(names.string(open.name))` has no `END` before `\(names.string(name))`",
                    at: start)
                closeRoutine()
            }
        }
        // What the sources of a kernel have said already is not said again.
        let known = meanings[name].symbol
        let isSaid = known >= 0 && symbols[Int(known)].kind == .label
        if case .remainder(let excluded) = role, isSaid || excluded.contains(names.string(name)) {
            closeRoutine()
            discarding = name
            discardIsExplicit = isExplicit
            discardStart = location(at: start)
            return
        }
        if let override = overrides.firstIndex(where: { !$0.isUsed && isSame($0.name, name) }), appliesHere(override) {
            closeRoutine()
            try runOverride(override, name: name, isGlobal: isGlobal, at: start)
            discarding = name
            discardIsExplicit = isExplicit
            discardStart = location(at: start)
            return
        }
        try openRoutine(name, isExplicit: isExplicit, isGlobal: isGlobal, at: start)
    }

    private mutating func openRoutine(
        _ name: Int, isExplicit: Bool, isGlobal: Bool, isOverride: Bool = false, at start: Int
    ) throws(Fault) {
        let placement = input.placements[names.string(name)]
        var continues = false
        if current >= 0 {
            continues = !isExplicit && placement == nil && section.name == sectionAtStart
            let chain = chainStart
            closeRoutine()
            chainStart = chain
        }
        if continues, let last = routines.last {
            groups[Int(last.group)].endItem = instructions.count
        } else {
            groups.append(Group(firstItem: instructions.count, endItem: instructions.count, placement: placement))
            chainStart = Int32(truncatingIfNeeded: routines.count)
        }
        let index = symbol(name)
        if isGlobal { symbols[index].isGlobal = true }
        routines.append(
            RoutineDraft(
                name: name, group: Int32(truncatingIfNeeded: groups.count - 1), firstItem: instructions.count,
                endItem: instructions.count, isExplicit: isExplicit, isOverride: isOverride,
                location: location(at: start)))
        current = Int32(truncatingIfNeeded: routines.count - 1)
        sectionAtStart = section.name
        try place(index, at: start)
    }

    /// Whether an override's name means a routine: `.L` names are interned per file, overrides before any file.
    private func isSame(_ override: Int, _ name: Int) -> Bool {
        override == name || (names.isLocal(name) && names.string(override) == names.string(name))
    }

    mutating func closeRoutine() {
        guard current >= 0 else { return }
        let index = Int(current)
        routines[index].endItem = instructions.count
        groups[Int(routines[index].group)].endItem = instructions.count
        current = -1
    }

    private mutating func endRoutine(_ name: Int, at start: Int) throws(Fault) {
        if discarding >= 0 {
            if discarding == name { discarding = -1 }
            return
        }
        if current < 0 {
            if lastDiscarded == name { return }
            throw fail(.mismatchedEnd, "no routine `\(names.string(name))` is open", at: start)
        }
        let open = routines[Int(current)]
        if open.name == name { return closeRoutine() }
        // The second name of a routine that has two.
        if role == .kernel, meanings[name].symbol >= 0, symbols[Int(meanings[name].symbol)].kind == .label { return }
        if open.isExplicit {
            throw fail(.mismatchedEnd, "the open routine is `\(names.string(open.name))`", at: start)
        }
        if lastDiscarded == name { return closeRoutine() }
        // The labels since then fell through into each other: they are inner labels of the routine that ends here.
        var index = Int(current)
        while index >= Int(chainStart), index >= 0, routines[index].name != name { index -= 1 }
        guard index >= Int(chainStart), index >= 0, routines[index].group == open.group else {
            throw fail(.mismatchedEnd, "no routine `\(names.string(name))` is open", at: start)
        }
        for item in routines[index].firstItem..<instructions.count { owners[item] = Int32(truncatingIfNeeded: index) }
        routines.removeSubrange((index + 1)...)
        current = Int32(truncatingIfNeeded: index)
        closeRoutine()
    }

    // MARK: Overrides

    /// Whether an override says anything here: one whose lines all stand in conditionals that do not hold leaves the
    /// routine as it is. It is asked for once.
    mutating func appliesHere(_ index: Int) -> Bool {
        let source = input.overrides[overrides[index].index]
        let file = addFile("routines/" + source.name)
        let known = diagnostics.count
        let saved = (exitRequested, isStopped, probe)
        probe = Probe()
        run(stripped(source, file: file), file: file, line: 1, expansion: -1, frame: Frame())
        let applies =
            (probe?.foundStatement ?? true) || !(probe?.foundConditional ?? false) || diagnostics.count > known
        // What is wrong is reported when the text is assembled.
        diagnostics.removeSubrange(known...)
        (exitRequested, isStopped, probe) = saved
        if !applies { overrides[index].isUsed = true }
        return applies
    }

    /// Passes over a statement that is looked for and not assembled; false for a conditional, which is.
    mutating func isPassedOver() throws(Fault) -> Bool {
        let start = position
        if bytes[start] == Byte.dot {
            let directive = meanings[try identifier()].directive
            position = start
            if directive.opensConditional || directive == .elseIf || directive == .otherwise || directive == .endIf {
                probe?.foundConditional = true
                return false
            }
        }
        probe?.foundStatement = true
        exitRequested = true
        position = end
        return true
    }

    /// Assembles the text that replaces a routine, as if it stood where the routine starts.
    mutating func runOverride(_ index: Int, name: Int, isGlobal: Bool, at start: Int) throws(Fault) {
        overrides[index].isUsed = true
        let source = input.overrides[overrides[index].index]
        let saved = (numeric, scope, outerScope, macroDepth, section)
        let parent = pushExpansion("override of `\(source.name)`")
        outerScope = scope
        scopeCount += 1
        scope = scopeCount
        numeric = [:]
        macroDepth = 0
        try openRoutine(name, isExplicit: true, isGlobal: isGlobal, isOverride: true, at: start)
        let file = addFile("routines/" + source.name)
        let text = stripped(source, file: file)
        let (instructionsBefore, faultsBefore) = (instructions.count, diagnostics.count)
        run(text, file: file, line: 1, expansion: parent, frame: Frame())
        if instructions.count == instructionsBefore, diagnostics.count == faultsBefore, !isStopped {
            report(
                .emptyRoutine, "`\(source.name)` has no instruction; leave it out to keep the kernel's own",
                Location(file: file, line: 1, column: 1, expansion: -1))
        }
        finishText(isOverride: true)
        (numeric, scope, outerScope, macroDepth, section) = saved
    }

    /// Closes what a text left open.
    mutating func finishText(isOverride: Bool) {
        if current >= 0 {
            let open = routines[Int(current)]
            if open.isExplicit, !(isOverride && open.isOverride) {
                report(.unclosedRoutine, "`\(names.string(open.name))` has no `END`", open.location)
            }
            closeRoutine()
        }
        if discarding >= 0, !isOverride {
            if discardIsExplicit {
                report(.unclosedRoutine, "`\(names.string(discarding))` has no `END`", discardStart)
            }
            discarding = -1
        }
    }

    /// The text of a source without comments; what is wrong with comments and strings is reported.
    mutating func stripped(_ source: SourceText, file: UInt16) -> [UInt8] {
        var stripper = CommentStripper()
        let text = stripper.strip(source.text)
        // Faults come in the order of the text: each line is counted once, and what nobody will see is not located.
        var line = 1
        var lineStart = 0
        var counted = 0
        for fault in stripper.faults.prefix(limits.diagnostics) {
            while counted < fault.offset {
                if text[counted] == Byte.newline {
                    line += 1
                    lineStart = counted + 1
                }
                counted += 1
            }
            report(
                fault.code, fault.message,
                Location(file: file, line: line, column: fault.offset - lineStart + 1, expansion: -1))
        }
        return text
    }

    // MARK: Sections

    mutating func changeSection(_ directive: Directive, name: Int, at start: Int) throws(Fault) {
        let before = section
        switch directive {
        case .popSection:
            guard let outer = sections.popLast() else {
                throw fail(.unmatchedDirective, "`.popsection` without `.pushsection`", at: start)
            }
            section = outer
        case .previous: section = previousSection
        case .text:
            let text = names.string(name)
            section = text == ".text" ? Section() : Section(isExecutable: false, name: name)
        default:
            guard Byte.isNameStart(peek) || peek == Byte.quote else {
                throw fail(.syntaxError, "expected the name of a section", at: position)
            }
            if directive == .pushSection {
                guard sections.count < limits.macro_depth else {
                    throw fail(.limitMacroDepth, "more than \(limits.macro_depth) sections pushed", at: start)
                }
                sections.append(section)
            }
            section = try namedSection()
        }
        previousSection = before
        position = statementEnd(from: position)
        // A routine without END ends where its section does.
        if section.name != sectionAtStart, current >= 0, !routines[Int(current)].isExplicit, section.isExecutable {
            closeRoutine()
        }
    }

    private mutating func namedSection() throws(Fault) -> Section {
        if peek == Byte.quote { position += 1 }
        guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected the name of a section", at: position) }
        let number = try identifier()
        let text = names.string(number)
        let rest = bytes[position..<statementEnd(from: position)]
        var isExecutable = text.contains("text") || text.hasPrefix(".fixup")
        if let quote = rest.lastIndex(of: Byte.quote) {
            let before = rest[..<quote]
            if let flags = before.lastIndex(of: Byte.quote) {
                isExecutable = before[flags...].contains(UInt8(ascii: "x"))
            }
        }
        return text == ".text" ? Section() : Section(isExecutable: isExecutable, name: number)
    }
}

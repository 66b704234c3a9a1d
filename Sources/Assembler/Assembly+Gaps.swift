import Machine

/// Symbols that the sources of a kernel use and nothing defines: functions and data of C that have no model.
extension Assembly {
    /// Gives every such symbol a place, by the way in which it is used.
    ///
    /// - Parameter uses: Symbol and fixup of every use, in the order of the code.
    mutating func fillGaps(_ uses: [(symbol: Int, fixup: Int)], _ offsets: [Int]) {
        guard let gapAddress, !uses.isEmpty else { return }
        var order: [Int] = []
        var bySymbol: [Int: [Int]] = [:]
        for use in uses {
            if bySymbol[use.symbol] == nil { order.append(use.symbol) }
            bySymbol[use.symbol, default: []].append(use.fixup)
        }
        var counts = (words: 0, unknown: 0)
        for symbol in order {
            let own = bySymbol[symbol] ?? []
            let kind = gapKind(own)
            noteUndefined(symbol, fixups[own[0]], kind)
            let place: (perCPU: UInt64, other: UInt64)
            switch kind {
            case .code, .unterminated:
                for index in own {
                    if hasPlace(fixups[index]) {
                        apply(fixups[index], gapAddress, offsets)
                    } else {
                        leaveOut(fixups[index].item)
                    }
                }
                continue
            case .zeroedWord:
                let offset = UInt64(min(counts.words, GapData.words_count - 1)) * GapData.word_bytes
                counts.words += 1
                place = (input.gapData.words.perCPU &+ offset, input.gapData.words.other &+ offset)
            case .unknownData:
                let offset = UInt64(min(counts.unknown, GapData.unknown_count - 1)) * GapData.page_bytes
                counts.unknown += 1
                place = (input.gapData.unknown.perCPU &+ offset, input.gapData.unknown.other &+ offset)
            }
            for index in own {
                let fixup = fixups[index]
                if fixup.kind == .target {
                    apply(fixup, gapAddress, offsets)
                    continue
                }
                if !hasPlace(fixup) {
                    leaveOut(fixup.item)
                    continue
                }
                let isPerCPU = instructions[fixup.item].memory.segment == .gs
                let distance = fixup.value.constant & Int64(GapData.page_bytes - 1)
                apply(fixup, Int64(bitPattern: isPerCPU ? place.perCPU : place.other) &+ distance, offsets)
            }
        }
    }

    /// What the uses of a symbol say that it is.
    private func gapKind(_ own: [Int]) -> Program.Gap.Kind {
        var isFunction = false
        var isData = false
        var decides = false
        for index in own {
            let fixup = fixups[index]
            let instruction = instructions[fixup.item]
            if fixup.kind == .target {
                isFunction = true
            } else if !hasPlace(fixup) {
                isData = true
                decides = true
            } else if fixup.kind == .immediate || instruction.opcode == .lea {
                // An address that is only taken may be that of anything: if it is called, that is a gap as well.
                decides = true
            } else {
                isData = true
                if !isHarmless(instruction, fixup) { decides = true }
            }
        }
        return isFunction || !isData ? .code : decides ? .unknownData : .zeroedWord
    }

    /// An address can stand for what the symbol is: not where it is a distance from a register or a number that is computed with.
    private func hasPlace(_ fixup: Fixup) -> Bool {
        let instruction = instructions[fixup.item]
        switch fixup.kind {
        case .target, .relativeSymbol: return true
        case .relativeConstant: return false
        case .displacement: return instruction.memory.base == .none && instruction.memory.index == .none
        case .immediate:
            return instruction.width == .quad && (instruction.opcode == .mov || instruction.opcode == .push)
        }
    }

    /// Puts in place of an instruction one that says: here stood something that was not understood.
    private mutating func leaveOut(_ item: Int) {
        instructions[item] = Instruction(
            .model, form: .immediate, length: instructions[item].length, immediate: Program.gapModel)
    }

    /// The instruction writes one word, whatever was there, or counts in it and nobody looks at the flags.
    private func isHarmless(_ instruction: Instruction, _ fixup: Fixup) -> Bool {
        let memory = instruction.memory
        guard memory.base == .none || memory.base == .rip, memory.index == .none, fixup.value.node < 0,
            (0...Int64(GapData.word_bytes - 8)).contains(fixup.value.constant)
        else { return false }
        switch instruction.opcode {
        case .mov: return instruction.form == .registerToMemory || instruction.form == .immediateToMemory
        case .pop, .set: return instruction.form == .memory
        case .inc, .dec, .add, .sub, .and, .or, .xor:
            return instruction.form != .memoryToRegister && areFlagsDead(after: fixup.item)
        default: return false
        }
    }

    /// The arithmetic flags are replaced before anything looks at them. Calls do not take flags.
    private func areFlagsDead(after item: Int) -> Bool {
        let group = groups[Int(routines[Int(owners[item])].group)]
        var next = item + 1
        for _ in 0..<96 {
            guard next < group.endItem else { return false }
            let instruction = instructions[next]
            switch instruction.opcode {
            case .add, .sub, .and, .or, .xor, .cmp, .test, .neg, .popf, .call, .iret, .sysret: return true
            case .jmp:
                guard let target = label(of: next), target >= group.firstItem else { return false }
                next = target
            case .jcc, .cmov, .set, .adc, .sbb, .pushf, .ret, .sysexit, .model: return false
            default: next += 1
            }
        }
        return false
    }

    /// The item that a direct branch leads to, if it names a label.
    private func label(of item: Int) -> Int? {
        guard let fixup = fixups.first(where: { $0.item == item && $0.kind == .target }), fixup.value.node < 0,
            fixup.value.symbol >= 0, fixup.value.constant == 0
        else { return nil }
        let symbol = symbols[Int(fixup.value.symbol)]
        return symbol.kind == .label ? symbol.item : nil
    }

    private mutating func noteUndefined(_ index: Int, _ fixup: Fixup, _ kind: Program.Gap.Kind) {
        guard gaps.count < limits.gaps else { return }
        let name = names.string(symbols[index].name)
        let routine = names.string(routines[Int(owners[fixup.item])].name)
        let place = origin(of: kernelPlace(fixup.location) ?? fixup.location)
        let message =
            switch kind {
            case .code, .unterminated: "undefined symbol `\(name)` in routine `\(routine)`"
            case .zeroedWord: "`\(name)`, data in routine `\(routine)`, is not modelled: taken as a zeroed word"
            case .unknownData:
                "`\(name)`, a value in routine `\(routine)`, is not modelled: what needs it has no verdict"
            }
        gaps.append(
            Program.Gap(
                symbol: name, location: "\(fileName(place.file)):\(place.line):\(place.column)", message: message,
                kind: kind))
    }
}

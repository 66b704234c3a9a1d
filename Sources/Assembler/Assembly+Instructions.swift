import Machine

extension Assembly {
    /// Assembles one instruction; the mnemonic has been read.
    mutating func instruction(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        if mnemonic.family == .lockPrefix || mnemonic.family == .repeatPrefix {
            return try prefix(mnemonic, name: name, at: start)
        }
        guard section.isExecutable else {
            throw fail(.codeOutsideText, "an instruction in a section that is not executable", at: start)
        }
        guard current >= 0 else {
            throw fail(.outsideRoutine, "instruction outside a routine; start one with `ENTRY(name)`", at: start)
        }
        if section.name != sectionAtStart {
            throw fail(.codeOutsideText, "code of another section inside a routine; make it a routine", at: start)
        }
        try readOperands(allowPort: mnemonic.family == .input || mnemonic.family == .output)
        switch mnemonic.family {
        case .plain, .flags, .model, .interrupt, .ret, .nop: try simple(mnemonic, name: name, at: start)
        case .arithmetic, .test, .exchange, .bit: try twoOperands(mnemonic, name: name, at: start)
        case .move, .moveAbsolute: try move(mnemonic, name: name, at: start)
        case .extend: try extend(mnemonic, name: name, at: start)
        case .lea, .conditionalMove, .invalidatePCID: try load(mnemonic, name: name, at: start)
        case .push, .pop: try stack(mnemonic, name: name, at: start)
        case .unary, .set, .segmentBase, .verify, .invalidatePage: try oneOperand(mnemonic, name: name, at: start)
        case .shift: try shift(mnemonic, name: name, at: start)
        case .jump, .conditionalJump, .call: try branch(mnemonic, name: name, at: start)
        case .input, .output: try port(mnemonic, name: name, at: start)
        case .invalid: throw fail(.operandMismatch, "`\(names.string(name))` does not exist in 64-bit mode", at: start)
        case .lockPrefix, .repeatPrefix: break
        }
    }

    private mutating func prefix(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        prefixLocation = location(at: start)
        if mnemonic.family == .lockPrefix { hasLockPrefix = true } else { hasRepeatPrefix = true }
        skipBlanks()
        if isAtStatementEnd { return }
        let next = position
        guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected an instruction", at: next) }
        let following = try identifier()
        guard meanings[following].mnemonic >= 0 else {
            throw fail(.unknownMnemonic, "unknown instruction `\(names.string(following))`", at: next)
        }
        let mnemonic = mnemonics[Int(meanings[following].mnemonic)]
        if mnemonic.family == .lockPrefix || mnemonic.family == .repeatPrefix {
            throw fail(.invalidPrefix, "two prefixes on one instruction", at: next)
        }
        skipBlanks()
        try instruction(mnemonic, name: following, at: next)
    }

    // MARK: Checks shared by the families

    mutating func expectOperands(_ count: Int, name: Int, at start: Int) throws(Fault) {
        guard operandCount == count else {
            let text = names.string(name)
            throw fail(.operandCount, "`\(text)` takes \(count) operands, not \(operandCount)", at: start)
        }
        for index in 0..<count where operands[index].isIndirect {
            throw fail(.operandMismatch, "`*` only stands before a branch's operand", at: operands[index].position)
        }
    }

    func mismatch(_ name: Int) -> String { "`\(names.string(name))` does not take such operands" }

    mutating func mismatchFault(_ name: Int, at start: Int) -> Fault {
        fail(.operandMismatch, mismatch(name), at: start)
    }

    /// The size from the suffix and the general registers among the operands, which must agree.
    mutating func width(_ suffix: Width?, _ first: Int, _ second: Int, name: Int, at start: Int) throws(Fault) -> Width
    {
        var width = suffix
        for index in [first, second] where index >= 0 && operands[index].kind == .register {
            guard let own = operands[index].register.width else {
                throw fail(.operandMismatch, mismatch(name), at: operands[index].position)
            }
            if let known = width, known != own {
                throw fail(
                    .sizeMismatch, "the register's size does not match the instruction's", at: operands[index].position)
            }
            width = own
        }
        guard let width else {
            throw fail(
                .ambiguousSize, "the operands have no size; write `\(names.string(name))` with b, w, l or q", at: start)
        }
        return width
    }

    /// Normalizes a constant immediate to its signed value of the given size.
    static func normalized(_ value: Int64, _ width: Width) -> Int64? {
        switch width {
        case .byte: return value >= -0x80 && value <= 0xff ? Int64(Int8(truncatingIfNeeded: value)) : nil
        case .word: return value >= -0x8000 && value <= 0xffff ? Int64(Int16(truncatingIfNeeded: value)) : nil
        case .long:
            return value >= -0x8000_0000 && value <= 0xffff_ffff ? Int64(Int32(truncatingIfNeeded: value)) : nil
        case .quad: return Int64(Int32(truncatingIfNeeded: value)) == value ? value : nil
        }
    }

    /// Puts an immediate into an instruction; one that depends on an address is left to the layout.
    mutating func setImmediate(_ instruction: inout Instruction, _ index: Int, isWide: Bool = false) throws(Fault) {
        let value = operands[index].value
        guard value.isConstant else { return }
        if isWide, instruction.width == .quad {
            instruction.immediate = value.constant
            return
        }
        guard let immediate = Assembly.normalized(value.constant, instruction.width) else {
            throw fail(.outOfRange, "the immediate does not fit the instruction", at: operands[index].position)
        }
        instruction.immediate = immediate
    }

    /// An immediate of one or two bytes that is not sign-extended: vectors, ports, counts.
    mutating func unsignedImmediate(_ index: Int, upTo limit: Int64) throws(Fault) -> Int64 {
        guard operands[index].value.isConstant else {
            throw fail(.notConstant, "this immediate must be a constant", at: operands[index].position)
        }
        let value = operands[index].value.constant
        guard value >= 0, value <= limit else {
            throw fail(.outOfRange, "the immediate must be between 0 and \(limit)", at: operands[index].position)
        }
        return value
    }

    // MARK: Emission

    /// Appends an instruction, with what the layout must still fill in.
    mutating func emit(
        _ instruction: Instruction, _ initialChoice: EncodingChoice = [], memory: Int = -1, immediate: Int = -1,
        target: Int = -1, at start: Int
    ) throws(Fault) {
        guard instructions.count < limits.instructions else {
            throw stop(.limitInstructions, "more than \(limits.instructions) instructions", at: start)
        }
        var instruction = instruction
        var choice = initialChoice
        try applyPrefixes(&instruction, &choice, at: start)
        let item = instructions.count
        if memory >= 0 {
            let operand = operands[memory]
            instruction.memory = operand.memory
            if !operand.value.isConstant {
                choice.insert(.wideDisplacement)
                let kind: Fixup.Kind = operand.memory.base == .rip ? .relativeSymbol : .displacement
                addFixup(item, kind, operand)
            } else if operand.memory.base == .rip {
                addFixup(item, .relativeConstant, operand)
            } else if !choice.contains(.absolute), Assembly.normalized(operand.memory.displacement, .quad) == nil {
                throw fail(.outOfRange, "the displacement does not fit in 32 bits", at: operand.position)
            }
        }
        if immediate >= 0, !operands[immediate].value.isConstant {
            choice.insert(.wideImmediate)
            addFixup(item, .immediate, operands[immediate], isWide: choice.contains(.absolute))
        }
        if target >= 0 {
            addFixup(item, .target, operands[target])
            if instruction.opcode != .call { branches.append(fixups.count - 1) }
        }
        instruction.length = InstructionLength.bytes(instruction, choice)
        instructions.append(instruction)
        lines.append(Program.SourceLine(file: file, line: UInt32(truncatingIfNeeded: line)))
        owners.append(current)
    }

    private mutating func addFixup(_ item: Int, _ kind: Fixup.Kind, _ operand: Operand, isWide: Bool = false) {
        fixups.append(
            Fixup(
                item: item, kind: kind, value: operand.value, isWide: isWide, location: location(at: operand.position)))
    }

    private mutating func applyPrefixes(
        _ instruction: inout Instruction, _ choice: inout EncodingChoice, at start: Int
    ) throws(Fault) {
        guard hasLockPrefix || hasRepeatPrefix else { return }
        let (lock, repeated) = (hasLockPrefix, hasRepeatPrefix)
        hasLockPrefix = false
        hasRepeatPrefix = false
        if lock {
            guard !repeated, Assembly.canLock(instruction) else {
                throw fail(.invalidPrefix, "`lock` needs an instruction that modifies memory", at: start)
            }
            instruction.lock = true
        } else if instruction.opcode == .nop, instruction.form == .none {
            instruction.opcode = .pause
        } else if [.ret, .int3, .int].contains(instruction.opcode) {
            choice.insert(.repeatPrefix)
        } else {
            throw fail(.invalidPrefix, "`rep` is only modelled before `nop`, `ret`, `int3` and `int`", at: start)
        }
    }

    /// Instructions that take `lock` (SDM vol. 2, LOCK), with memory as destination.
    static func canLock(_ instruction: Instruction) -> Bool {
        switch instruction.form {
        case .memory, .registerToMemory, .immediateToMemory: break
        default: return false
        }
        switch instruction.opcode {
        case .add, .adc, .and, .btc, .btr, .bts, .dec, .inc, .neg, .not, .or, .sbb, .sub, .xor, .xchg: return true
        default: return false
        }
    }
}

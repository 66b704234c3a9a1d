import Machine

extension Assembly {
    mutating func move(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        try expectOperands(2, name: name, at: start)
        let (source, destination) = (operands[0], operands[1])
        if mnemonic.family == .moveAbsolute { return try moveAbsolute(mnemonic, name: name, at: start) }
        if source.kind == .register, source.register.width == nil {
            return try moveSpecial(mnemonic, special: 0, other: 1, name: name, at: start)
        }
        if destination.kind == .register, destination.register.width == nil {
            return try moveSpecial(mnemonic, special: 1, other: 0, name: name, at: start)
        }
        let width = try width(mnemonic.width, 0, 1, name: name, at: start)
        var instruction = Instruction(.mov, width: width)
        switch (source.kind, destination.kind) {
        case (.register, .register):
            instruction.form = .registerToRegister
            instruction.source = source.register.general
            instruction.register = destination.register.general
            try emit(instruction, at: start)
        case (.register, .memory):
            instruction.form = .registerToMemory
            instruction.register = source.register.general
            try emit(instruction, absoluteChoice(instruction.register, destination), memory: 1, at: start)
        case (.memory, .register):
            instruction.form = .memoryToRegister
            instruction.register = destination.register.general
            try emit(instruction, absoluteChoice(instruction.register, source), memory: 0, at: start)
        case (.immediate, .register):
            instruction.form = .immediateToRegister
            instruction.register = destination.register.general
            try setImmediate(&instruction, 0, isWide: true)
            try emit(instruction, immediate: 0, at: start)
        case (.immediate, .memory):
            instruction.form = .immediateToMemory
            try setImmediate(&instruction, 0)
            try emit(instruction, memory: 1, immediate: 0, at: start)
        default: throw mismatchFault(name, at: start)
        }
    }

    /// The accumulator reaches addresses beyond 32 bits without a register.
    private func absoluteChoice(_ register: Register, _ operand: Operand) -> EncodingChoice {
        let isFar = operand.value.isConstant && Assembly.normalized(operand.value.constant, .quad) == nil
        let isPlain = operand.memory.base == .none && operand.memory.index == .none
        return register == .rax && isFar && isPlain ? .absolute : []
    }

    private mutating func moveAbsolute(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        let width = try width(mnemonic.width, 0, 1, name: name, at: start)
        var instruction = Instruction(.mov, width: width)
        let memory = operands[0].kind == .memory ? 0 : 1
        if operands[0].kind == .immediate, operands[1].kind == .register, width == .quad {
            instruction.form = .immediateToRegister
            instruction.register = operands[1].register.general
            try setImmediate(&instruction, 0, isWide: true)
            return try emit(instruction, .absolute, immediate: 0, at: start)
        }
        let register = 1 - memory
        guard operands[memory].kind == .memory, operands[memory].isBare, operands[register].kind == .register,
            operands[register].register.general == .rax
        else { throw mismatchFault(name, at: start) }
        instruction.form = memory == 0 ? .memoryToRegister : .registerToMemory
        instruction.register = .rax
        try emit(instruction, .absolute, memory: memory, at: start)
    }

    /// Moves between a general register or memory and a segment, control or debug register.
    private mutating func moveSpecial(_ mnemonic: Mnemonic, special: Int, other: Int, name: Int, at start: Int)
        throws(Fault)
    {
        let (register, operand) = (operands[special].register, operands[other])
        let isLoad = special == 1
        var instruction = Instruction(.mov, special: register.number)
        switch register.kind {
        case .segment:
            instruction.opcode = isLoad ? .movToSegment : .movFromSegment
            if isLoad, register.number == SegmentRegister.cs.rawValue { throw mismatchFault(name, at: start) }
        case .control: instruction.opcode = isLoad ? .movToControl : .movFromControl
        case .debug: instruction.opcode = isLoad ? .movToDebug : .movFromDebug
        default: throw mismatchFault(name, at: start)
        }
        switch operand.kind {
        case .register:
            instruction.form = .register
            instruction.register = operand.register.general
            instruction.width = try width(mnemonic.width, other, -1, name: name, at: start)
            if instruction.width == .byte || (register.kind != .segment && instruction.width != .quad) {
                throw fail(.sizeMismatch, "this register cannot be moved in that size", at: operand.position)
            }
            try emit(instruction, at: start)
        case .memory where register.kind == .segment:
            // The processor transfers 16 bits whatever suffix is written (SDM vol. 2, MOV).
            if let suffix = mnemonic.width, suffix != .word {
                throw fail(.sizeMismatch, "a segment register has 16 bits", at: start)
            }
            instruction.form = .memory
            instruction.width = .word
            try emit(instruction, memory: other, at: start)
        default: throw mismatchFault(name, at: start)
        }
    }

    mutating func extend(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        try expectOperands(2, name: name, at: start)
        guard operands[1].kind == .register, operands[0].kind != .immediate else {
            throw mismatchFault(name, at: start)
        }
        let width = try width(mnemonic.width, 1, -1, name: name, at: start)
        var source = mnemonic.sourceWidth
        if operands[0].kind == .register {
            guard let own = operands[0].register.width else { throw mismatchFault(name, at: start) }
            if let known = source, known != own {
                throw fail(
                    .sizeMismatch, "the register's size does not match the instruction's", at: operands[0].position)
            }
            source = own
        }
        guard let source else {
            throw fail(
                .ambiguousSize, "the source has no size; write `\(names.string(name))` with its suffixes", at: start)
        }
        guard source.rawValue < width.rawValue, source != .long || mnemonic.opcode == .movsx else {
            throw fail(.sizeMismatch, "the destination must be larger than the source", at: start)
        }
        var instruction = Instruction(mnemonic.opcode, width: width, form: .registerToRegister, sourceWidth: source)
        instruction.register = operands[1].register.general
        if operands[0].kind == .register {
            instruction.source = operands[0].register.general
            return try emit(instruction, at: start)
        }
        instruction.form = .memoryToRegister
        try emit(instruction, memory: 0, at: start)
    }

    /// `lea`, `cmovcc`, `lsl`, `invpcid`: to a register, never of a byte.
    mutating func load(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        try expectOperands(2, name: name, at: start)
        guard operands[1].kind == .register, operands[0].kind != .immediate else {
            throw mismatchFault(name, at: start)
        }
        let isMove = mnemonic.family == .conditionalMove
        if operands[0].kind == .register, !isMove { throw mismatchFault(name, at: start) }
        let width = try width(mnemonic.width, isMove ? 0 : -1, 1, name: name, at: start)
        if width == .byte || (mnemonic.opcode == .invpcid && width != .quad) {
            throw fail(.sizeMismatch, "`\(names.string(name))` does not exist in that size", at: operands[1].position)
        }
        var instruction = Instruction(
            mnemonic.opcode, width: width, form: .memoryToRegister, condition: mnemonic.condition)
        instruction.register = operands[1].register.general
        if operands[0].kind == .register {
            instruction.form = .registerToRegister
            instruction.source = operands[0].register.general
            return try emit(instruction, at: start)
        }
        try emit(instruction, memory: 0, at: start)
    }

    mutating func stack(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        try expectOperands(1, name: name, at: start)
        if mnemonic.width == .byte || mnemonic.width == .long {
            throw fail(.sizeMismatch, "`\(names.string(name))` does not exist in 64-bit mode", at: start)
        }
        var instruction = Instruction(mnemonic.opcode, width: mnemonic.width ?? .quad)
        switch operands[0].kind {
        case .register:
            guard let width = operands[0].register.width else { throw mismatchFault(name, at: start) }
            guard width == .quad || width == .word, mnemonic.width == nil || mnemonic.width == width else {
                throw fail(.sizeMismatch, "the stack takes 64-bit registers", at: operands[0].position)
            }
            instruction.width = width
            instruction.form = .register
            instruction.register = operands[0].register.general
            try emit(instruction, at: start)
        case .memory:
            instruction.form = .memory
            try emit(instruction, memory: 0, at: start)
        case .immediate:
            guard mnemonic.opcode == .push else { throw mismatchFault(name, at: start) }
            instruction.form = .immediate
            try setImmediate(&instruction, 0)
            try emit(instruction, immediate: 0, at: start)
        }
    }
}

import Machine

extension Assembly {
    /// Arithmetic, `test`, `xchg` and the bit instructions.
    mutating func twoOperands(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        try expectOperands(2, name: name, at: start)
        // `bt $9, EFLAGS(%rsp)` stands so in kernels; without a byte form the GNU assembler takes the 32-bit one.
        let isUnsizedBit = mnemonic.family == .bit && operands[0].kind == .immediate && operands[1].kind == .memory
        let suffix = mnemonic.width ?? (isUnsizedBit ? .long : nil)
        let width = try width(suffix, 0, 1, name: name, at: start)
        if mnemonic.family == .bit, width == .byte {
            throw fail(.sizeMismatch, "`\(names.string(name))` does not exist in that size", at: start)
        }
        var instruction = Instruction(mnemonic.opcode, width: width)
        switch (operands[0].kind, operands[1].kind) {
        case (.register, .register):
            instruction.form = .registerToRegister
            instruction.source = operands[0].register.general
            instruction.register = operands[1].register.general
            try emit(instruction, at: start)
        case (.register, .memory):
            instruction.form = .registerToMemory
            instruction.register = operands[0].register.general
            if mnemonic.family == .bit { instruction.source = instruction.register }
            try emit(instruction, memory: 1, at: start)
        case (.memory, .register):
            guard mnemonic.family != .bit else { throw mismatchFault(name, at: start) }
            // `test` and `xchg` are symmetric and have one encoding: the register comes first.
            let isSymmetric = mnemonic.family == .test || mnemonic.family == .exchange
            instruction.form = isSymmetric ? .registerToMemory : .memoryToRegister
            instruction.register = operands[1].register.general
            try emit(instruction, memory: 0, at: start)
        case (.immediate, .register), (.immediate, .memory):
            guard mnemonic.family != .exchange else { throw mismatchFault(name, at: start) }
            let isRegister = operands[1].kind == .register
            instruction.form = isRegister ? .immediateToRegister : .immediateToMemory
            if isRegister { instruction.register = operands[1].register.general }
            if mnemonic.family == .bit {
                instruction.immediate = try unsignedImmediate(0, upTo: 255)
                return try emit(instruction, memory: isRegister ? -1 : 1, at: start)
            }
            try setImmediate(&instruction, 0)
            try emit(instruction, memory: isRegister ? -1 : 1, immediate: 0, at: start)
        default: throw mismatchFault(name, at: start)
        }
    }

    /// One register or memory operand: `not`, `setcc`, `rdfsbase`, `verw`, `invlpg`, …
    mutating func oneOperand(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        try expectOperands(1, name: name, at: start)
        var instruction = Instruction(mnemonic.opcode, condition: mnemonic.condition)
        let isRegister = operands[0].kind == .register
        if operands[0].kind == .immediate { throw mismatchFault(name, at: start) }
        switch mnemonic.family {
        case .unary: instruction.width = try width(mnemonic.width, 0, -1, name: name, at: start)
        case .set: instruction.width = try width(.byte, 0, -1, name: name, at: start)
        case .segmentBase:
            guard isRegister else { throw mismatchFault(name, at: start) }
            instruction.width = try width(mnemonic.width, 0, -1, name: name, at: start)
            if instruction.width == .byte || instruction.width == .word {
                throw fail(.sizeMismatch, "a base has 32 or 64 bits", at: operands[0].position)
            }
        case .verify:
            instruction.width = .word
            if isRegister { _ = try width(nil, 0, -1, name: name, at: start) }
            if operands[0].register.kind == .byte, isRegister {
                throw fail(.sizeMismatch, "a selector has 16 bits", at: operands[0].position)
            }
        default: if isRegister { throw mismatchFault(name, at: start) }
        }
        instruction.form = isRegister ? .register : .memory
        if isRegister { instruction.register = operands[0].register.general }
        try emit(instruction, memory: isRegister ? -1 : 0, at: start)
    }

    mutating func shift(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        guard operandCount == 1 || operandCount == 2 else {
            throw fail(.operandCount, "`\(names.string(name))` takes 1 or 2 operands, not \(operandCount)", at: start)
        }
        try expectOperands(operandCount, name: name, at: start)
        let last = operandCount - 1
        let width = try width(mnemonic.width, last, -1, name: name, at: start)
        var instruction = Instruction(mnemonic.opcode, width: width)
        let isRegister = operands[last].kind == .register
        if operands[last].kind == .immediate { throw mismatchFault(name, at: start) }
        if isRegister { instruction.register = operands[last].register.general }
        if last == 0 || operands[0].kind == .immediate {
            instruction.immediate = last == 0 ? 1 : try unsignedImmediate(0, upTo: 255)
            instruction.form = isRegister ? .immediateToRegister : .immediateToMemory
        } else {
            guard operands[0].kind == .register, operands[0].register == RegisterName(.byte, 1) else {
                throw fail(.operandMismatch, "the count is an immediate or `%cl`", at: operands[0].position)
            }
            instruction.source = .rcx
            if !isRegister { instruction.register = .rcx }
            instruction.form = isRegister ? .registerToRegister : .registerToMemory
        }
        try emit(instruction, memory: isRegister ? -1 : last, at: start)
    }

    /// Instructions with at most an immediate, and `nop` with its padding operand.
    mutating func simple(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        var instruction = Instruction(mnemonic.opcode, width: mnemonic.width ?? .quad)
        switch mnemonic.family {
        case .flags:
            if mnemonic.width == .byte || mnemonic.width == .long {
                throw fail(.sizeMismatch, "`\(names.string(name))` does not exist in 64-bit mode", at: start)
            }
            try expectOperands(0, name: name, at: start)
        case .interrupt, .model:
            try expectOperands(1, name: name, at: start)
            guard operands[0].kind == .immediate else { throw mismatchFault(name, at: start) }
            instruction.form = .immediate
            let limit: Int64 = mnemonic.family == .model ? Int64(Int32.max) : 255
            instruction.immediate = try unsignedImmediate(0, upTo: limit)
            if instruction.opcode == .int, instruction.immediate == 3 {
                // The GNU assembler takes the one-byte instruction, which differs in virtual-8086 mode only.
                instruction = Instruction(.int3)
            }
        case .ret:
            if let width = mnemonic.width, width != .quad {
                throw fail(.sizeMismatch, "`\(names.string(name))` does not exist in 64-bit mode", at: start)
            }
            guard operandCount > 0 else { break }
            try expectOperands(1, name: name, at: start)
            guard operands[0].kind == .immediate else { throw mismatchFault(name, at: start) }
            instruction.form = .immediate
            instruction.immediate = try unsignedImmediate(0, upTo: 0xffff)
        case .nop where operandCount > 0:
            try expectOperands(1, name: name, at: start)
            if operands[0].kind == .immediate || mnemonic.width == .byte { throw mismatchFault(name, at: start) }
            instruction.width = try width(mnemonic.width, 0, -1, name: name, at: start)
            let isRegister = operands[0].kind == .register
            if instruction.width == .byte { throw mismatchFault(name, at: start) }
            instruction.form = isRegister ? .register : .memory
            if isRegister { instruction.register = operands[0].register.general }
            return try emit(instruction, memory: isRegister ? -1 : 0, at: start)
        default:
            try expectOperands(0, name: name, at: start)
            if mnemonic.family == .nop, mnemonic.width != nil { throw mismatchFault(name, at: start) }
        }
        try emit(instruction, at: start)
    }

    mutating func branch(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        guard operandCount == 1 else {
            throw fail(.operandCount, "`\(names.string(name))` takes 1 operand, not \(operandCount)", at: start)
        }
        let operand = operands[0]
        if let width = mnemonic.width, width != .quad {
            throw fail(.sizeMismatch, "`\(names.string(name))` does not exist in 64-bit mode", at: start)
        }
        var instruction = Instruction(mnemonic.opcode, condition: mnemonic.condition)
        guard operand.isIndirect else {
            guard operand.kind == .memory, operand.isBare, operand.memory.segment == .none else {
                let hint =
                    operand.kind == .immediate
                    ? "a branch takes its target without `$`" : "write `*` before the operand"
                throw fail(.operandMismatch, hint, at: operand.position)
            }
            instruction.form = .target
            return try emit(instruction, target: 0, at: start)
        }
        guard mnemonic.family != .conditionalJump else {
            throw fail(.operandMismatch, "a conditional jump is direct", at: operand.position)
        }
        switch operand.kind {
        case .register:
            guard operand.register.kind == .quad else {
                throw fail(.sizeMismatch, "a branch takes a 64-bit register", at: operand.position)
            }
            instruction.form = .indirectRegister
            instruction.register = operand.register.general
            try emit(instruction, at: start)
        case .memory:
            instruction.form = .indirectMemory
            try emit(instruction, memory: 0, at: start)
        case .immediate: throw mismatchFault(name, at: start)
        }
    }

    /// `in` and `out`: the port is an immediate or `%dx`, also written `(%dx)`, the data is the accumulator.
    mutating func port(_ mnemonic: Mnemonic, name: Int, at start: Int) throws(Fault) {
        try expectOperands(2, name: name, at: start)
        let (port, data) = mnemonic.family == .input ? (operands[0], operands[1]) : (operands[1], operands[0])
        guard data.kind == .register, data.register.general == .rax, let width = data.register.width, width != .quad
        else {
            throw mismatchFault(name, at: start)
        }
        if let suffix = mnemonic.width, suffix != width {
            throw fail(.sizeMismatch, "the register's size does not match the instruction's", at: data.position)
        }
        var instruction = Instruction(mnemonic.opcode, width: width, register: .rax)
        if port.kind == .immediate {
            instruction.form = .immediateToRegister
            instruction.immediate = try unsignedImmediate(mnemonic.family == .input ? 0 : 1, upTo: 255)
        } else {
            guard port.kind == .register, port.register == RegisterName(.word, 2) else {
                throw mismatchFault(name, at: start)
            }
            instruction.form = .registerToRegister
            instruction.source = mnemonic.family == .input ? .rdx : .rax
            instruction.register = mnemonic.family == .input ? .rax : .rdx
        }
        try emit(instruction, at: start)
    }
}

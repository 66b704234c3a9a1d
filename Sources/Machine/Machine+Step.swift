extension Machine {
    /// Executes one instruction, or reports why it cannot.
    package mutating func step(_ program: Program) -> Outcome {
        if cpu.pendingDebug != 0 && !cpu.stackShadow {
            let bits = cpu.pendingDebug
            cpu.pendingDebug = 0
            return .debugTrap(bits)
        }
        guard cpu.index >= 0 else { return .fault(fetchFault(cpu.outsideRIP)) }
        let index = cpu.index
        let instruction = program.instructions[Int(index)]
        let singleStep = cpu.flags & Flags.trap != 0
        cpu.stackShadow = false
        cpu.interruptShadow = false
        do throws(Fault) {
            let outcome = try execute(instruction, program)
            if case .model = outcome { return outcome }
            stepNumber &+= 1
            cost.instructions &+= 1
            if singleStep && !cpu.stackShadow { cpu.pendingDebug |= 0x4000 }
            // RF is cleared once an instruction completes (SDM vol. 3, 17.3.1.1).
            if cpu.flags & Flags.resume != 0 {
                switch outcome {
                case .returned: break
                default: cpu.flags &= ~Flags.resume
                }
            }
            return outcome
        } catch {
            cpu.index = index
            return .fault(error)
        }
    }

    /// The fault of fetching an instruction where there is no code.
    package func fetchFault(_ address: UInt64) -> Fault {
        if !Machine.isCanonical(address) { return .generalProtection() }
        let isMapped = memory.translate(address) != nil
        return Fault(
            Vector.pageFault, errorCode: 0x10 | (isMapped ? 1 : 0) | (isKernelMode ? 0 : 4), address: address)
    }

    @inline(__always)
    private func effectiveAddress(_ operand: MemoryOperand) -> UInt64 {
        var address = UInt64(bitPattern: operand.displacement) &+ cpu[operand.base]
        if operand.index != .none { address = address &+ cpu[operand.index] &* UInt64(operand.scale) }
        switch operand.segment {
        case .gs: return address &+ cpu.gsBase
        case .fs: return address &+ cpu.fsBase
        default: return address
        }
    }

    @inline(__always)
    private func usesStack(_ operand: MemoryOperand) -> Bool {
        (operand.base == .rsp || operand.base == .rbp) && operand.segment == .none
    }

    @inline(__always)
    private mutating func loadOperand(_ operand: MemoryOperand, _ width: Width) throws(Fault) -> UInt64 {
        try load(effectiveAddress(operand), width, isStack: usesStack(operand))
    }

    @inline(__always)
    private mutating func storeOperand(
        _ value: UInt64, _ operand: MemoryOperand, _ width: Width, owner: Owner
    ) throws(Fault) {
        try store(value, at: effectiveAddress(operand), width, owner: owner, isStack: usesStack(operand))
    }

    /// Writes a register: 32-bit writes clear the upper half, narrower ones keep the rest (SDM vol. 1, 3.4.1.1).
    @inline(__always)
    private mutating func setRegister(_ register: Register, _ value: UInt64, _ width: Width) {
        switch width {
        case .quad: cpu[register] = value
        case .long: cpu[register] = value & 0xFFFF_FFFF
        case .word: cpu[register] = (cpu[register] & ~0xFFFF) | (value & 0xFFFF)
        case .byte: cpu[register] = (cpu[register] & ~0xFF) | (value & 0xFF)
        }
    }

    /// The source operand's value.
    @inline(__always)
    private mutating func source(_ instruction: Instruction) throws(Fault) -> UInt64 {
        switch instruction.form {
        case .registerToRegister: cpu[instruction.source]
        case .registerToMemory, .register, .indirectRegister: cpu[instruction.register]
        case .memoryToRegister, .memory, .indirectMemory: try loadOperand(instruction.memory, instruction.width)
        default: UInt64(bitPattern: instruction.immediate)
        }
    }

    /// The destination operand's present value.
    @inline(__always)
    private mutating func destination(_ instruction: Instruction) throws(Fault) -> UInt64 {
        switch instruction.form {
        case .registerToMemory, .immediateToMemory, .memory:
            try loadOperand(instruction.memory, instruction.width)
        default: cpu[instruction.register]
        }
    }

    @inline(__always)
    private mutating func setDestination(_ instruction: Instruction, _ value: UInt64) throws(Fault) {
        switch instruction.form {
        case .registerToMemory:
            try storeOperand(
                value, instruction.memory, instruction.width,
                owner: Owner(.savedRegister, slot: instruction.register.rawValue, activation: activation))
        case .immediateToMemory, .memory:
            try storeOperand(
                value, instruction.memory, instruction.width, owner: Owner(.data, activation: activation))
        default:
            setRegister(instruction.register, value, instruction.width)
        }
    }

    @inline(__always)
    private func requirePrivilege() throws(Fault) {
        if cpu.cpl != 0 { throw .generalProtection() }
    }

    private mutating func execute(_ instruction: Instruction, _ program: Program) throws(Fault) -> Outcome {
        let width = instruction.width
        let next = cpu.index &+ 1
        switch instruction.opcode {
        case .mov:
            let value = try source(instruction)
            try setDestination(instruction, value)
        case .push:
            switch instruction.form {
            case .register:
                try push(
                    cpu[instruction.register],
                    owner: Owner(.savedRegister, slot: instruction.register.rawValue, activation: activation))
            case .immediate:
                try push(
                    UInt64(bitPattern: instruction.immediate), owner: Owner(.immediate, activation: activation))
            default:
                let address = effectiveAddress(instruction.memory)
                let value = try load(address, .quad, isStack: usesStack(instruction.memory))
                try push(value, owner: ownerForCopy(from: address))
            }
        case .pop:
            let rsp = cpu[.rsp]
            let value = try load(rsp, .quad, isStack: true)
            if instruction.form == .register {
                cpu[.rsp] = rsp &+ 8
                cpu[instruction.register] = value
            } else {
                // The address of a memory destination is computed after RSP was incremented (SDM vol. 2, POP).
                let owner = ownerForCopy(from: rsp)
                cpu[.rsp] = rsp &+ 8
                do throws(Fault) {
                    try storeOperand(value, instruction.memory, .quad, owner: owner)
                } catch {
                    cpu[.rsp] = rsp
                    throw error
                }
            }
        case .test:
            let result = try destination(instruction) & source(instruction) & width.mask
            setLogicFlags(result, width)
        case .cmp:
            let left = try destination(instruction)
            _ = subtract(left, try source(instruction), borrow: 0, width)
        case .add:
            let left = try destination(instruction)
            try setDestinationThenFlags(instruction, left, try source(instruction), .add)
        case .sub:
            let left = try destination(instruction)
            try setDestinationThenFlags(instruction, left, try source(instruction), .sub)
        case .and, .or, .xor:
            let left = try destination(instruction)
            let right = try source(instruction)
            let result =
                switch instruction.opcode {
                case .and: left & right
                case .or: left | right
                default: left ^ right
                }
            try setDestination(instruction, result)
            setLogicFlags(result & width.mask, width)
        case .jcc:
            let taken = holds(instruction.condition)
            if taken { try branch(instruction, program) } else { cpu.index = next }
            return stopAtBranches ? .branch(instruction: next &- 1, taken: taken) : .next
        case .jmp:
            try jumpAnywhere(instruction, program)
            return .next
        case .call:
            let returnAddress = program.addresses[Int(next &- 1)] &+ UInt64(instruction.length)
            let rsp = cpu[.rsp]
            if instruction.form == .target {
                try push(returnAddress, owner: Owner(.returnAddress, activation: activation))
                try branch(instruction, program)
            } else {
                let target = try source(instruction)
                if !Machine.isCanonical(target) { throw .generalProtection() }
                try push(returnAddress, owner: Owner(.returnAddress, activation: activation))
                jump(to: target, program)
            }
            _ = rsp
            return .next
        case .ret:
            let target = try load(cpu[.rsp], .quad, isStack: true)
            if !Machine.isCanonical(target) { throw .generalProtection() }
            cpu[.rsp] = cpu[.rsp] &+ 8 &+ UInt64(bitPattern: instruction.immediate)
            jump(to: target, program)
            return .next
        case .model:
            // C code is not mapped in the user half of the page tables (PTI maps entry text only).
            if cpu.userPageTables {
                throw Fault(Vector.pageFault, errorCode: 0x10, address: program.addresses[Int(cpu.index)])
            }
            return .model(Int(instruction.immediate))
        case .lea:
            setRegister(instruction.register, effectiveAddressWithoutSegment(instruction.memory), width)
        case .nop, .pause: break
        default:
            return try executeUncommon(instruction, program)
        }
        cpu.index = next
        return .next
    }

    @inline(__always)
    private func effectiveAddressWithoutSegment(_ operand: MemoryOperand) -> UInt64 {
        var address = UInt64(bitPattern: operand.displacement) &+ cpu[operand.base]
        if operand.index != .none { address = address &+ cpu[operand.index] &* UInt64(operand.scale) }
        return address
    }

    @inline(__always)
    private mutating func branch(_ instruction: Instruction, _ program: Program) throws(Fault) {
        if instruction.target >= 0 {
            cpu.index = instruction.target
        } else {
            jump(to: UInt64(bitPattern: instruction.immediate), program)
        }
    }

    @inline(__always)
    private mutating func jumpAnywhere(_ instruction: Instruction, _ program: Program) throws(Fault) {
        if instruction.form == .target {
            try branch(instruction, program)
        } else {
            let target = try source(instruction)
            if !Machine.isCanonical(target) { throw .generalProtection() }
            jump(to: target, program)
        }
    }

    // MARK: Flags

    private enum AddSub { case add, sub }

    /// Stores the result before it sets the flags: a store that faults leaves the flags alone.
    @inline(__always)
    private mutating func setDestinationThenFlags(
        _ instruction: Instruction, _ left: UInt64, _ right: UInt64, _ operation: AddSub
    ) throws(Fault) {
        switch operation {
        case .add:
            try setDestination(instruction, left &+ right)
            _ = add(left, right, carry: 0, instruction.width)
        case .sub:
            try setDestination(instruction, left &- right)
            _ = subtract(left, right, borrow: 0, instruction.width)
        }
    }

    @inline(__always)
    func parityFlag(_ result: UInt64) -> UInt64 {
        UInt8(truncatingIfNeeded: result).nonzeroBitCount & 1 == 0 ? Flags.parity : 0
    }

    @inline(__always)
    mutating func setLogicFlags(_ result: UInt64, _ width: Width) {
        var flags = cpu.flags & ~Flags.arithmetic
        if result == 0 { flags |= Flags.zero }
        if result & width.signBit != 0 { flags |= Flags.sign }
        cpu.flags = flags | parityFlag(result)
    }

    @inline(__always)
    mutating func add(_ left: UInt64, _ right: UInt64, carry: UInt64, _ width: Width) -> UInt64 {
        let a = left & width.mask
        let b = right & width.mask
        let (partial, first) = a.addingReportingOverflow(b)
        let (sum, second) = partial.addingReportingOverflow(carry)
        let result = sum & width.mask
        let carried = width == .quad ? (first || second) : (sum > width.mask)
        var flags = cpu.flags & ~Flags.arithmetic
        if carried { flags |= Flags.carry }
        if (a ^ result) & (b ^ result) & width.signBit != 0 { flags |= Flags.overflow }
        if (a ^ b ^ result) & 0x10 != 0 { flags |= Flags.adjust }
        if result == 0 { flags |= Flags.zero }
        if result & width.signBit != 0 { flags |= Flags.sign }
        cpu.flags = flags | parityFlag(result)
        return result
    }

    @inline(__always)
    mutating func subtract(_ left: UInt64, _ right: UInt64, borrow: UInt64, _ width: Width) -> UInt64 {
        let a = left & width.mask
        let b = right & width.mask
        let result = (a &- b &- borrow) & width.mask
        var flags = cpu.flags & ~Flags.arithmetic
        if a < b || (borrow != 0 && a == b) { flags |= Flags.carry }
        if (a ^ b) & (a ^ result) & width.signBit != 0 { flags |= Flags.overflow }
        if (a ^ b ^ result) & 0x10 != 0 { flags |= Flags.adjust }
        if result == 0 { flags |= Flags.zero }
        if result & width.signBit != 0 { flags |= Flags.sign }
        cpu.flags = flags | parityFlag(result)
        return result
    }

    /// Whether a condition holds in the present flags (SDM vol. 1, appendix B).
    @inline(__always)
    package func holds(_ condition: Condition) -> Bool {
        let flags = cpu.flags
        let carry = flags & Flags.carry != 0
        let zero = flags & Flags.zero != 0
        let sign = flags & Flags.sign != 0
        let overflow = flags & Flags.overflow != 0
        return switch condition {
        case .o: overflow
        case .no: !overflow
        case .b: carry
        case .ae: !carry
        case .e: zero
        case .ne: !zero
        case .be: carry || zero
        case .a: !carry && !zero
        case .s: sign
        case .ns: !sign
        case .p: flags & Flags.parity != 0
        case .np: flags & Flags.parity == 0
        case .l: sign != overflow
        case .ge: sign == overflow
        case .le: zero || sign != overflow
        case .g: !zero && sign == overflow
        }
    }
}

extension Machine {
    /// Instructions that are rare in entry code or change system state; kept out of the hot function.
    @inline(never)
    mutating func executeUncommon(_ instruction: Instruction, _ program: Program) throws(Fault) -> Outcome {
        let width = instruction.width
        let next = cpu.index &+ 1
        switch instruction.opcode {
        case .adc, .sbb, .not, .neg, .inc, .dec, .shl, .shr, .sar, .rol, .ror, .bt, .bts, .btr, .btc, .xchg,
            .movzx, .movsx, .cmov, .set:
            try arithmetic(instruction)
        case .pushf:
            // IF, IOPL and AC are pushed as they are; RF and VM are pushed clear (SDM vol. 2, PUSHF).
            try push(
                cpu.flags & ~(Flags.resume | Flags.virtual8086), owner: Owner(.data, activation: activation))
        case .popf:
            let value = try load(cpu[.rsp], .quad, isStack: true)
            cpu[.rsp] = cpu[.rsp] &+ 8
            loadFlags(value)
        case .cld: cpu.flags &= ~Flags.direction
        case .std: cpu.flags |= Flags.direction
        case .clac, .stac:
            // SDM vol. 2, CLAC: #UD if CPL > 0 or SMAP is not there.
            if cpu.cpl != 0 || !traits.smap { throw Fault(Vector.invalidOpcode) }
            if instruction.opcode == .clac {
                cpu.flags &= ~Flags.alignmentCheck
            } else {
                cpu.flags |= Flags.alignmentCheck
            }
        case .cli:
            try requireIOPrivilege()
            cpu.flags &= ~Flags.interrupt
        case .sti:
            try requireIOPrivilege()
            if cpu.flags & Flags.interrupt == 0 { cpu.interruptShadow = true }
            cpu.flags |= Flags.interrupt
        case .lfence, .mfence:
            cost.serialisingInstructions &+= 1
        case .sfence, .clts, .wbinvd, .invpcid, .invlpg, .rdmsr, .wrmsr, .swapgs, .hlt, .movToControl,
            .movFromControl, .movToDebug, .movFromDebug, .in, .out:
            return try privileged(instruction)
        case .verw:
            // Flags as for a writable segment; the buffer clearing has no architectural effect (SDM vol. 2, VERW).
            _ = try load(operandAddress(instruction.memory), .word, isStack: false)
            cpu.flags |= Flags.zero
        case .rdfsbase, .rdgsbase, .wrfsbase, .wrgsbase:
            try baseAccess(instruction)
        case .movFromSegment:
            let value = UInt64(segmentSelector(instruction.special))
            if instruction.form == .memory || instruction.form == .registerToMemory {
                try store(
                    value, at: operandAddress(instruction.memory), .word, owner: Owner(.data, activation: activation))
            } else {
                cpu[instruction.register] =
                    width == .word ? (cpu[instruction.register] & ~0xFFFF) | value : value
            }
        case .movToSegment:
            let selector: UInt64
            if instruction.form == .memory || instruction.form == .memoryToRegister {
                selector = try load(operandAddress(instruction.memory), .word)
            } else {
                selector = cpu[instruction.register]
            }
            try loadSegment(instruction.special, UInt16(truncatingIfNeeded: selector))
        case .cpuid:
            cpu[.rax] = 0
            cpu[.rbx] = 0
            cpu[.rcx] = 0
            cpu[.rdx] = 0
            cost.serialisingInstructions &+= 1
        case .rdtsc, .rdtscp:
            cpu[.rax] = UInt64(stepNumber)
            cpu[.rdx] = 0
            if instruction.opcode == .rdtscp { cpu[.rcx] = 0 }
        case .ud2: throw Fault(Vector.invalidOpcode)
        case .int3:
            cpu.index = next
            return .softwareInterrupt(vector: Vector.breakpoint)
        case .int:
            cpu.index = next
            return .softwareInterrupt(vector: UInt8(truncatingIfNeeded: instruction.immediate))
        case .iret:
            return try interruptReturn(instruction, program)
        case .syscall, .sysret, .sysenter, .sysexit:
            return try fastSystemCall(instruction, program)
        default:
            throw Fault(Vector.invalidOpcode)
        }
        cpu.index = next
        return .next
    }

    func operandAddress(_ operand: MemoryOperand) -> UInt64 {
        var address = UInt64(bitPattern: operand.displacement) &+ cpu[operand.base]
        if operand.index != .none { address = address &+ cpu[operand.index] &* UInt64(operand.scale) }
        switch operand.segment {
        case .gs: address = address &+ cpu.gsBase
        case .fs: address = address &+ cpu.fsBase
        default: break
        }
        return address
    }

    /// CLI and STI need CPL <= IOPL; under Xen PV the guest kernel has IOPL and they do nothing that matters
    /// (facts F4, F16: the live IF stays 1).
    private func requireIOPrivilege() throws(Fault) {
        if cpu.cpl > UInt8((cpu.flags & Flags.iopl) >> 12) { throw .generalProtection() }
    }

    /// POPF as the current privilege allows (SDM vol. 2, POPF).
    private mutating func loadFlags(_ value: UInt64) {
        var loadable = Flags.loadable & ~Flags.resume
        if cpu.cpl != 0 {
            loadable &= ~Flags.iopl
            if cpu.cpl > UInt8((cpu.flags & Flags.iopl) >> 12) { loadable &= ~Flags.interrupt }
        }
        cpu.flags = (cpu.flags & ~loadable) | (value & loadable) | Flags.alwaysOne
    }

    // MARK: Arithmetic

    private mutating func read(_ instruction: Instruction, _ width: Width) throws(Fault) -> UInt64 {
        switch instruction.form {
        case .registerToRegister: cpu[instruction.source]
        case .memoryToRegister, .memory: try load(operandAddress(instruction.memory), width)
        case .register, .registerToMemory: cpu[instruction.register]
        default: UInt64(bitPattern: instruction.immediate)
        }
    }

    private mutating func modify(_ instruction: Instruction, _ width: Width) throws(Fault) -> UInt64 {
        switch instruction.form {
        case .registerToMemory, .immediateToMemory, .memory: try load(operandAddress(instruction.memory), width)
        default: cpu[instruction.register]
        }
    }

    private mutating func write(_ instruction: Instruction, _ value: UInt64, _ width: Width) throws(Fault) {
        switch instruction.form {
        case .registerToMemory, .immediateToMemory, .memory:
            try store(
                value, at: operandAddress(instruction.memory), width, owner: Owner(.data, activation: activation))
        default:
            assign(instruction.register, value, width)
        }
    }

    private mutating func assign(_ register: Register, _ value: UInt64, _ width: Width) {
        switch width {
        case .quad: cpu[register] = value
        case .long: cpu[register] = value & 0xFFFF_FFFF
        case .word: cpu[register] = (cpu[register] & ~0xFFFF) | (value & 0xFFFF)
        case .byte: cpu[register] = (cpu[register] & ~0xFF) | (value & 0xFF)
        }
    }

    private mutating func arithmetic(_ instruction: Instruction) throws(Fault) {
        let width = instruction.width
        switch instruction.opcode {
        case .adc, .sbb:
            let left = try modify(instruction, width)
            let right = try read(instruction, width)
            let carry = cpu.flags & Flags.carry
            let isAdd = instruction.opcode == .adc
            try write(instruction, isAdd ? left &+ right &+ carry : left &- right &- carry, width)
            _ = isAdd ? add(left, right, carry: carry, width) : subtract(left, right, borrow: carry, width)
        case .not:
            try write(instruction, ~(try modify(instruction, width)), width)
        case .neg:
            let value = try modify(instruction, width)
            try write(instruction, 0 &- value, width)
            _ = subtract(0, value, borrow: 0, width)
        case .inc, .dec:
            let value = try modify(instruction, width)
            let isIncrement = instruction.opcode == .inc
            try write(instruction, isIncrement ? value &+ 1 : value &- 1, width)
            let carry = cpu.flags & Flags.carry
            _ = isIncrement ? add(value, 1, carry: 0, width) : subtract(value, 1, borrow: 0, width)
            cpu.flags = (cpu.flags & ~Flags.carry) | carry
        case .shl, .shr, .sar, .rol, .ror:
            try shift(instruction)
        case .bt, .bts, .btr, .btc:
            try bitTest(instruction)
        case .xchg:
            let left = try modify(instruction, width)
            let right =
                instruction.form == .registerToRegister ? cpu[instruction.source] : cpu[instruction.register]
            try write(instruction, right, width)
            assign(
                instruction.form == .registerToRegister ? instruction.source : instruction.register, left, width)
        case .movzx:
            let value = try read(instruction, instruction.sourceWidth) & instruction.sourceWidth.mask
            assign(instruction.register, value, width)
        case .movsx:
            let value = instruction.sourceWidth.signExtend(try read(instruction, instruction.sourceWidth))
            assign(instruction.register, value, width)
        case .cmov:
            let value = try read(instruction, width)
            // A 32-bit CMOV clears the upper half even when the condition is false (SDM vol. 2, CMOVcc).
            assign(instruction.register, holds(instruction.condition) ? value : cpu[instruction.register], width)
        case .set:
            try write(instruction, holds(instruction.condition) ? 1 : 0, .byte)
        default: break
        }
    }

    private mutating func shift(_ instruction: Instruction) throws(Fault) {
        let width = instruction.width
        let bits = width.bits
        let rawCount = instruction.source == .rcx ? cpu[.rcx] : UInt64(bitPattern: instruction.immediate)
        let count = rawCount & (width == .quad ? 63 : 31)
        let value = try modify(instruction, width) & width.mask
        if count == 0 { return }
        var flags = cpu.flags
        let result: UInt64
        var carry: Bool
        switch instruction.opcode {
        case .shl:
            result = count >= 64 ? 0 : (value << count) & width.mask
            carry = count <= bits && (value >> (bits - count)) & 1 != 0
        case .shr:
            result = value >> count
            carry = (value >> (count - 1)) & 1 != 0
        case .sar:
            let extended = Int64(bitPattern: width.signExtend(value))
            result = UInt64(bitPattern: extended >> Int64(min(count, 63))) & width.mask
            carry = (extended >> Int64(min(count - 1, 63))) & 1 != 0
        case .rol:
            let by = count % bits
            result = by == 0 ? value : ((value << by) | (value >> (bits - by))) & width.mask
            carry = result & 1 != 0
        default:
            let by = count % bits
            result = by == 0 ? value : ((value >> by) | (value << (bits - by))) & width.mask
            carry = result & width.signBit != 0
        }
        try write(instruction, result, width)
        let isRotate = instruction.opcode == .rol || instruction.opcode == .ror
        flags &= ~(Flags.carry | Flags.overflow)
        if carry { flags |= Flags.carry }
        let overflow: Bool =
            switch instruction.opcode {
            case .shl, .rol: (result & width.signBit != 0) != carry
            case .shr: value & width.signBit != 0
            case .ror: (result & width.signBit != 0) != (result & (width.signBit >> 1) != 0)
            default: false
            }
        if count == 1 && overflow { flags |= Flags.overflow }
        if !isRotate {
            flags &= ~(Flags.zero | Flags.sign | Flags.parity | Flags.adjust)
            if result == 0 { flags |= Flags.zero }
            if result & width.signBit != 0 { flags |= Flags.sign }
            flags |= parityFlag(result)
        }
        cpu.flags = flags
    }

    private mutating func bitTest(_ instruction: Instruction) throws(Fault) {
        let width = instruction.width
        let usesMemory: Bool =
            switch instruction.form {
            case .registerToMemory, .immediateToMemory: true
            default: false
            }
        var bit: UInt64
        switch instruction.form {
        case .registerToRegister: bit = cpu[instruction.source]
        case .registerToMemory: bit = cpu[instruction.register]
        default: bit = UInt64(bitPattern: instruction.immediate)
        }
        var address = usesMemory ? operandAddress(instruction.memory) : 0
        if instruction.form == .registerToMemory {
            // A register offset reaches beyond the operand, signed (SDM vol. 2, BT).
            let offset = Int64(bitPattern: width.signExtend(bit))
            address = address &+ UInt64(bitPattern: (offset >> 3) & ~Int64(width.rawValue - 1))
        }
        bit &= width.bits - 1
        let value = usesMemory ? try load(address, width) : cpu[instruction.register]
        let mask: UInt64 = 1 << bit
        let isSet = value & mask != 0
        let changed: UInt64? =
            switch instruction.opcode {
            case .bts: value | mask
            case .btr: value & ~mask
            case .btc: value ^ mask
            default: nil
            }
        if let changed {
            if usesMemory {
                try store(changed, at: address, width, owner: Owner(.data, activation: activation))
            } else {
                assign(instruction.register, changed, width)
            }
        }
        cpu.flags = isSet ? cpu.flags | Flags.carry : cpu.flags & ~Flags.carry
    }
}

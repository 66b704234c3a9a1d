import Machine

/// Encodings that the operands alone do not decide.
struct EncodingChoice: OptionSet, Sendable {
    let rawValue: UInt8
    /// The displacement is a symbol's address, so it takes four bytes whatever its value.
    static let wideDisplacement = EncodingChoice(rawValue: 1)
    /// The immediate is a symbol's address.
    static let wideImmediate = EncodingChoice(rawValue: 2)
    /// `movabs`: an immediate or an address of eight bytes.
    static let absolute = EncodingChoice(rawValue: 4)
    /// A `rep` prefix before an instruction that has its own line in the model.
    static let repeatPrefix = EncodingChoice(rawValue: 8)
    /// A direct branch with a one-byte offset.
    static let shortBranch = EncodingChoice(rawValue: 16)
}

/// The length of an instruction, counted the way the GNU assembler chooses among encodings (SDM vol. 2, chapter 2).
struct InstructionLength {
    private var opcodeBytes = 1
    private var immediateBytes = 0
    private var prefixes = 0
    private var needsREX = false
    private var addressBytes = 0

    /// Bytes of the instruction.
    static func bytes(_ instruction: Instruction, _ choice: EncodingChoice = []) -> UInt8 {
        var length = InstructionLength()
        length.measure(instruction, choice)
        let total =
            length.prefixes + (length.needsREX ? 1 : 0) + length.opcodeBytes + length.addressBytes
            + length.immediateBytes
        return UInt8(truncatingIfNeeded: total)
    }

    private mutating func measure(_ instruction: Instruction, _ choice: EncodingChoice) {
        if instruction.lock { prefixes += 1 }
        if choice.contains(.repeatPrefix) { prefixes += 1 }
        switch instruction.opcode {
        case .jmp, .jcc, .call, .ret: measureBranch(instruction, choice)
        case .push, .pop, .pushf, .popf: measureStack(instruction, choice)
        case .mov: measureMove(instruction, choice)
        case .xchg: measureExchange(instruction, choice)
        case .movzx, .movsx, .lea, .cmov, .set: measureTransfer(instruction, choice)
        case .movFromSegment, .movToSegment, .movFromControl, .movToControl, .movFromDebug, .movToDebug:
            measureSpecial(instruction, choice)
        case .add, .sub, .adc, .sbb, .and, .or, .xor, .cmp, .test, .not, .neg, .inc, .dec, .shl, .shr, .sar, .rol, .ror,
            .bt, .bts, .btr, .btc:
            measureArithmetic(instruction, choice)
        default: measureSystem(instruction, choice)
        }
    }

    // MARK: Families

    private mutating func measureBranch(_ instruction: Instruction, _ choice: EncodingChoice) {
        switch instruction.form {
        case .target:
            if choice.contains(.shortBranch) {
                immediateBytes = 1
            } else {
                opcodeBytes = instruction.opcode == .jcc ? 2 : 1
                immediateBytes = 4
            }
        case .immediate: immediateBytes = 2
        case .indirectRegister, .indirectMemory: operand(instruction, choice, register: .none, width: .long)
        default: break
        }
    }

    private mutating func measureStack(_ instruction: Instruction, _ choice: EncodingChoice) {
        if instruction.width == .word { prefixes += 1 }
        switch instruction.form {
        case .register: if instruction.register.rawValue >= 8 { needsREX = true }
        case .immediate:
            let short =
                !choice.contains(.wideImmediate)
                && Int64(Int8(truncatingIfNeeded: instruction.immediate)) == instruction.immediate
            immediateBytes = short ? 1 : (instruction.width == .word ? 2 : 4)
        case .memory: operand(instruction, choice, register: .none, width: .long)
        default: break
        }
    }

    private mutating func measureMove(_ instruction: Instruction, _ choice: EncodingChoice) {
        switch instruction.form {
        case .immediateToRegister where instruction.width == .quad:
            rex(.quad)
            if instruction.register.rawValue >= 8 { needsREX = true }
            let wide =
                !choice.contains(.wideImmediate)
                && Int64(Int32(truncatingIfNeeded: instruction.immediate)) != instruction.immediate
            if wide || choice.contains(.absolute) {
                immediateBytes = 8
            } else {
                addressBytes = 1
                immediateBytes = 4
            }
        case .immediateToRegister:
            size(instruction.width)
            byteRegister(instruction.register, instruction.width)
            immediateBytes = Int(instruction.width.rawValue)
        case .memoryToRegister where choice.contains(.absolute), .registerToMemory where choice.contains(.absolute):
            size(instruction.width)
            segment(instruction.memory)
            immediateBytes = 8
        default:
            if instruction.form == .immediateToMemory { immediateBytes = min(Int(instruction.width.rawValue), 4) }
            ordinary(instruction, choice)
        }
    }

    private mutating func measureExchange(_ instruction: Instruction, _ choice: EncodingChoice) {
        let pair = (instruction.register, instruction.source)
        guard instruction.form == .registerToRegister, instruction.width != .byte, pair.0 == .rax || pair.1 == .rax
        else {
            return ordinary(instruction, choice)
        }
        // 90 is `nop`: `xchg %eax,%eax` clears the upper half and therefore needs the long form.
        if pair == (.rax, .rax) {
            if instruction.width == .word { prefixes += 1 }
            if instruction.width == .long { addressBytes = 1 }
            return
        }
        size(instruction.width)
        if pair.0.rawValue >= 8 || pair.1.rawValue >= 8 { needsREX = true }
    }

    private mutating func measureTransfer(_ instruction: Instruction, _ choice: EncodingChoice) {
        switch instruction.opcode {
        case .lea: ordinary(instruction, choice)
        case .set:
            opcodeBytes = 2
            operand(instruction, choice, register: instruction.register, width: .byte)
        case .movsx where instruction.sourceWidth == .long:
            ordinary(instruction, choice)
        case .movzx, .movsx:
            opcodeBytes = 2
            size(instruction.width)
            if instruction.form == .registerToRegister {
                byteRegister(instruction.source, instruction.sourceWidth)
                if instruction.register.rawValue >= 8 { needsREX = true }
                addressBytes = 1
            } else {
                if instruction.register.rawValue >= 8 { needsREX = true }
                address(instruction.memory, choice)
            }
        default:
            opcodeBytes = 2
            ordinary(instruction, choice)
        }
    }

    private mutating func measureSpecial(_ instruction: Instruction, _ choice: EncodingChoice) {
        switch instruction.opcode {
        case .movFromSegment, .movToSegment:
            // Only the 16-bit store to a register has a prefix; REX.W would change nothing, and is left out.
            if instruction.opcode == .movFromSegment, instruction.form == .register, instruction.width == .word {
                prefixes += 1
            }
            operand(instruction, choice, register: instruction.register, width: .long)
        default:
            opcodeBytes = 2
            addressBytes = 1
            if instruction.register.rawValue >= 8 || instruction.special >= 8 { needsREX = true }
        }
    }

    private mutating func measureArithmetic(_ instruction: Instruction, _ choice: EncodingChoice) {
        switch instruction.opcode {
        case .bt, .bts, .btr, .btc:
            opcodeBytes = 2
            if instruction.form == .immediateToRegister || instruction.form == .immediateToMemory { immediateBytes = 1 }
            ordinary(instruction, choice)
        case .shl, .shr, .sar, .rol, .ror:
            let immediate = instruction.form == .immediateToRegister || instruction.form == .immediateToMemory
            if immediate, instruction.immediate != 1 || choice.contains(.wideImmediate) { immediateBytes = 1 }
            size(instruction.width)
            switch instruction.form {
            case .immediateToRegister, .registerToRegister:
                byteRegister(instruction.register, instruction.width)
                addressBytes = 1
            default: address(instruction.memory, choice)
            }
        case .not, .neg, .inc, .dec: ordinary(instruction, choice)
        default:
            guard instruction.form == .immediateToRegister || instruction.form == .immediateToMemory else {
                return ordinary(instruction, choice)
            }
            let full = min(Int(instruction.width.rawValue), 4)
            let short = Int64(Int8(truncatingIfNeeded: instruction.immediate)) == instruction.immediate
            let canShorten =
                instruction.opcode != .test && instruction.width != .byte && !choice.contains(.wideImmediate)
            immediateBytes = canShorten && short ? 1 : full
            ordinary(instruction, choice)
            let accumulator = instruction.form == .immediateToRegister && instruction.register == .rax
            // The accumulator has a form without ModRM; the sign-extended byte is shorter still.
            if accumulator, immediateBytes == full { addressBytes = 0 }
        }
    }

    private mutating func measureSystem(_ instruction: Instruction, _ choice: EncodingChoice) {
        switch instruction.opcode {
        case .int: immediateBytes = 1
        case .int3, .cli, .sti, .cld, .std, .hlt, .model: break
        case .iret, .sysret, .sysexit:
            opcodeBytes = instruction.opcode == .iret ? 1 : 2
            size(instruction.width)
        case .syscall, .sysenter, .rdmsr, .wrmsr, .wbinvd, .clts, .ud2, .pause, .rdtsc, .cpuid: opcodeBytes = 2
        case .endbr64: opcodeBytes = 4
        case .swapgs, .clac, .stac, .lfence, .mfence, .sfence, .rdtscp: opcodeBytes = 3
        case .rdfsbase, .wrfsbase, .rdgsbase, .wrgsbase:
            prefixes += 1
            opcodeBytes = 2
            ordinary(instruction, choice)
        case .verw:
            opcodeBytes = 2
            operand(instruction, choice, register: instruction.register, width: .long)
        case .lsl:
            opcodeBytes = 2
            ordinary(instruction, choice)
        case .invlpg:
            opcodeBytes = 2
            address(instruction.memory, choice)
        case .invpcid:
            prefixes += 1
            opcodeBytes = 3
            if instruction.register.rawValue >= 8 { needsREX = true }
            address(instruction.memory, choice)
        case .in, .out:
            if instruction.width == .word { prefixes += 1 }
            if instruction.form == .immediateToRegister { immediateBytes = 1 }
        case .nop:
            guard instruction.form != .none else { break }
            opcodeBytes = 2
            ordinary(instruction, choice)
        default: break
        }
    }

    // MARK: Parts

    /// ModRM with everything that hangs on it, sized by the instruction's width.
    private mutating func ordinary(_ instruction: Instruction, _ choice: EncodingChoice) {
        size(instruction.width)
        switch instruction.form {
        case .registerToRegister:
            byteRegister(instruction.register, instruction.width)
            byteRegister(instruction.source, instruction.width)
            addressBytes = 1
        case .register, .immediateToRegister:
            byteRegister(instruction.register, instruction.width)
            addressBytes = 1
        case .registerToMemory, .memoryToRegister:
            byteRegister(instruction.register, instruction.width)
            address(instruction.memory, choice)
        case .memory, .immediateToMemory: address(instruction.memory, choice)
        default: break
        }
    }

    /// ModRM of the one-operand forms whose size does not depend on the width.
    private mutating func operand(
        _ instruction: Instruction, _ choice: EncodingChoice, register: Register, width: Width
    ) {
        switch instruction.form {
        case .register, .indirectRegister:
            byteRegister(instruction.register, width)
            addressBytes = 1
        default: address(instruction.memory, choice)
        }
    }

    private mutating func rex(_ width: Width) {
        if width == .quad { needsREX = true }
    }

    private mutating func size(_ width: Width) {
        if width == .word { prefixes += 1 }
        if width == .quad { needsREX = true }
    }

    /// REX for r8…r15, and for the low bytes of rsp, rbp, rsi and rdi, which without it are ah…bh.
    private mutating func byteRegister(_ register: Register, _ width: Width) {
        let number = register.rawValue
        if register != .none, number >= 8 || (width == .byte && number >= 4) { needsREX = true }
    }

    private mutating func segment(_ memory: MemoryOperand) {
        let stack = memory.base == .rsp || memory.base == .rbp
        if memory.segment != .none, memory.segment != (stack ? .ss : .ds) { prefixes += 1 }
    }

    private mutating func address(_ memory: MemoryOperand, _ choice: EncodingChoice) {
        segment(memory)
        if memory.base == .rip {
            addressBytes = 5
            return
        }
        if memory.base != .none, memory.base.rawValue >= 8 { needsREX = true }
        if memory.index != .none, memory.index.rawValue >= 8 { needsREX = true }
        if memory.base == .none {
            addressBytes = 6
            return
        }
        let low = memory.base.rawValue & 7
        let sib = memory.index != .none || low == Register.rsp.rawValue
        let displacement: Int
        if choice.contains(.wideDisplacement) {
            displacement = 4
        } else if memory.displacement == 0, low != Register.rbp.rawValue {
            displacement = 0
        } else if Int64(Int8(truncatingIfNeeded: memory.displacement)) == memory.displacement {
            displacement = 1
        } else {
            displacement = 4
        }
        addressBytes = 1 + (sib ? 1 : 0) + displacement
    }
}

package import Machine

/// Prints instructions as AT&T text that reads back as the same instruction.
///
/// Sizes are always written as suffixes, so that the text does not depend on its operands.
package struct InstructionPrinter: Sendable {
    private let symbolize: @Sendable (UInt64) -> String?
    private let symbolizeTarget: @Sendable (UInt64, Instruction) -> String?

    /// Takes the name of an address, e.g. `error_entry` or `error_entry+8`; nil prints a number.
    package init(symbolize: @escaping @Sendable (UInt64) -> String? = { _ in nil }) {
        self.symbolize = symbolize
        symbolizeTarget = { address, _ in symbolize(address) }
    }

    /// Takes another name where a branch goes, because its length can depend on which of several labels it names.
    init(
        symbolize: @escaping @Sendable (UInt64) -> String?,
        symbolizeTarget: @escaping @Sendable (UInt64, Instruction) -> String?
    ) {
        self.symbolize = symbolize
        self.symbolizeTarget = symbolizeTarget
    }

    /// The text of an instruction: mnemonic, blank, operands.
    ///
    /// The address matters for `%rip`-relative operands without a symbol: they print as a distance, as the assembler reads them.
    package func text(_ instruction: Instruction, at address: UInt64) -> String {
        let operands = operands(instruction, at: address)
        let mnemonic = mnemonic(instruction)
        let prefix = instruction.lock ? "lock " : ""
        return operands.isEmpty ? prefix + mnemonic : "\(prefix)\(mnemonic) \(operands)"
    }

    // MARK: Mnemonics

    private func mnemonic(_ instruction: Instruction) -> String {
        let name = "\(instruction.opcode)"
        let suffix = Mnemonic.suffix(instruction.width)
        switch instruction.opcode {
        case .mov: return (isAbsolute(instruction) ? "movabs" : "mov") + suffix
        case .movzx: return "movz" + Mnemonic.suffix(instruction.sourceWidth) + suffix
        case .movsx: return "movs" + Mnemonic.suffix(instruction.sourceWidth) + suffix
        case .movFromSegment, .movToSegment, .movFromControl, .movToControl, .movFromDebug, .movToDebug:
            return "mov" + suffix
        case .cmov: return "cmov" + Mnemonic.text(instruction.condition) + suffix
        case .set: return "set" + Mnemonic.text(instruction.condition)
        case .jcc: return "j" + Mnemonic.text(instruction.condition)
        case .ret, .int3, .int: return instruction.length == repeatedLength(instruction) ? "rep \(name)" : name
        case .nop: return instruction.form == .none ? "nop" : "nop" + suffix
        case .jmp, .call, .syscall, .sysenter, .swapgs, .rdmsr, .wrmsr, .cli, .sti, .cld, .std, .clac,
            .stac,
            .lfence, .mfence, .sfence, .verw, .invpcid, .invlpg, .wbinvd, .clts, .hlt, .ud2, .pause, .endbr64, .rdtsc,
            .rdtscp,
            .cpuid,
            .model, .rdfsbase, .wrfsbase, .rdgsbase, .wrgsbase:
            return name
        case .iret, .sysret, .sysexit: return name + suffix
        case .push, .pop, .pushf, .popf, .lea, .xchg, .add, .sub, .adc, .sbb, .and, .or, .xor, .cmp, .test, .not, .neg,
            .inc,
            .dec, .shl, .shr, .sar, .rol, .ror, .bt, .bts, .btr, .btc, .in, .out, .lsl:
            return name + suffix
        }
    }

    private func isAbsolute(_ instruction: Instruction) -> Bool {
        switch instruction.form {
        case .immediateToRegister: return instruction.width == .quad && instruction.length == 10
        case .memoryToRegister, .registerToMemory:
            let memory = instruction.memory
            return memory.base == .none && memory.index == .none && instruction.register == .rax
                && instruction.length == InstructionLength.bytes(instruction, .absolute)
        default: return false
        }
    }

    private func repeatedLength(_ instruction: Instruction) -> UInt8 {
        InstructionLength.bytes(instruction, .repeatPrefix)
    }

    // MARK: Operands

    private func operands(_ instruction: Instruction, at address: UInt64) -> String {
        let width = instruction.width
        let register = name(instruction.register, width)
        switch instruction.opcode {
        case .movFromSegment, .movFromControl, .movFromDebug:
            let destination = instruction.form == .register ? register : memory(instruction, at: address)
            return "\(special(instruction)), \(destination)"
        case .movToSegment, .movToControl, .movToDebug:
            let source = instruction.form == .register ? register : memory(instruction, at: address)
            return "\(source), \(special(instruction))"
        case .in:
            return instruction.form == .registerToRegister
                ? "%dx, \(register)" : "\(number(instruction.immediate)), \(register)"
        case .out:
            let data = name(.rax, width)
            return instruction.form == .registerToRegister
                ? "\(data), %dx" : "\(data), \(number(instruction.immediate))"
        case .movzx, .movsx:
            let isRegister = instruction.form == .registerToRegister
            let source =
                isRegister ? name(instruction.source, instruction.sourceWidth) : memory(instruction, at: address)
            return "\(source), \(register)"
        case .shl, .shr, .sar, .rol, .ror:
            if instruction.form == .registerToRegister { return "%cl, \(register)" }
            if instruction.form == .registerToMemory { return "%cl, \(memory(instruction, at: address))" }
        default: break
        }
        switch instruction.form {
        case .none: return ""
        case .register: return register
        case .memory: return memory(instruction, at: address)
        case .immediate: return immediate(instruction)
        case .registerToRegister: return "\(name(instruction.source, width)), \(register)"
        case .registerToMemory: return "\(register), \(memory(instruction, at: address))"
        case .memoryToRegister: return "\(memory(instruction, at: address)), \(register)"
        case .immediateToRegister: return "\(immediate(instruction)), \(register)"
        case .immediateToMemory: return "\(immediate(instruction)), \(memory(instruction, at: address))"
        case .target:
            let target = UInt64(bitPattern: instruction.immediate)
            return symbolizeTarget(target, instruction) ?? hexadecimal(target)
        case .indirectRegister: return "*" + name(instruction.register, .quad)
        case .indirectMemory: return "*" + memory(instruction, at: address)
        }
    }

    private func name(_ register: Register, _ width: Width) -> String { "%" + RegisterName.text(register, width) }

    private func special(_ instruction: Instruction) -> String {
        switch instruction.opcode {
        case .movFromSegment, .movToSegment:
            "%" + RegisterName.text(SegmentRegister(rawValue: instruction.special) ?? .none)
        case .movFromControl, .movToControl: "%cr\(instruction.special)"
        default: "%dr\(instruction.special)"
        }
    }

    private func immediate(_ instruction: Instruction) -> String {
        let value = instruction.immediate
        let isFar = value < -0x8000 || value > 0xffff
        guard choice(of: instruction).contains(.wideImmediate) || (isFar && takesSymbol(instruction)),
            let symbol = symbolize(UInt64(bitPattern: value))
        else { return number(value) }
        return "$" + symbol
    }

    /// Which of the numbers must have been symbols, judging by the length: a symbol's address takes four bytes.
    private func choice(of instruction: Instruction) -> EncodingChoice {
        let length = instruction.length
        if length == InstructionLength.bytes(instruction) { return [] }
        let absolute: EncodingChoice = isAbsolute(instruction) ? .absolute : []
        if symbolize(UInt64(bitPattern: instruction.memory.displacement)) != nil,
            length == InstructionLength.bytes(instruction, absolute.union(.wideDisplacement))
        {
            return .wideDisplacement
        }
        guard takesSymbol(instruction) else { return [] }
        if length == InstructionLength.bytes(instruction, absolute.union(.wideImmediate)) { return .wideImmediate }
        return [.wideImmediate, .wideDisplacement]
    }

    /// Whether a symbol in place of the immediate leads to the same length.
    private func takesSymbol(_ instruction: Instruction) -> Bool {
        switch instruction.opcode {
        case .int, .ret, .model, .bt, .bts, .btr, .btc, .shl, .shr, .sar, .rol, .ror: return false
        default: break
        }
        let wide: EncodingChoice = isAbsolute(instruction) ? [.absolute, .wideImmediate] : .wideImmediate
        return InstructionLength.bytes(instruction, wide) == instruction.length
            || InstructionLength.bytes(instruction, wide.union(.wideDisplacement)) == instruction.length
    }

    /// Small numbers in decimal, others in hexadecimal with their sign.
    private func number(_ value: Int64) -> String { "$" + plain(value) }

    private func plain(_ value: Int64) -> String {
        if value >= 0, value < 10 { return String(value) }
        if value < 0, value >= -0x8000 { return value > -10 ? String(value) : "-" + hexadecimal(value.magnitude) }
        return hexadecimal(UInt64(bitPattern: value))
    }

    private func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

    private func memory(_ instruction: Instruction, at address: UInt64) -> String {
        let memory = instruction.memory
        var text = ""
        if memory.segment != .none { text += "%" + RegisterName.text(memory.segment) + ":" }
        let absolute = UInt64(bitPattern: memory.displacement)
        if memory.base == .rip {
            let next = address &+ UInt64(instruction.length)
            text += symbolize(absolute) ?? plain(Int64(bitPattern: absolute &- next))
            return text + "(%rip)"
        }
        let isPlain = memory.base == .none
        // With a base, a symbol takes four bytes where the number would take one or none.
        let isWide = !isPlain && choice(of: instruction).contains(.wideDisplacement)
        if isPlain || isWide, let symbol = symbolize(absolute) {
            text += symbol
        } else if memory.displacement != 0 || isPlain {
            text += plain(memory.displacement)
        }
        guard memory.base != .none || memory.index != .none else { return text }
        text += "("
        if memory.base != .none { text += name(memory.base, .quad) }
        if memory.index != .none { text += ", \(name(memory.index, .quad)), \(memory.scale)" }
        return text + ")"
    }
}

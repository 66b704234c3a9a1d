/// Which registers an instruction looks at and which it replaces: bit n is register n, bit 16 the arithmetic flags, bit 17
/// in `uses` the memory operand, bits 18 and 19 the bases that SWAPGS and FS use.
///
/// Storing a register without a change (PUSH, MOV to memory) does not count as looking at it. RSP is left out: whoever
/// compares states compares it always.
package struct Dependence: Sendable, Hashable {
    package var uses: UInt32 = 0
    package var defines: UInt32 = 0

    package static let flags: UInt32 = 1 << 16
    /// The value in memory decides something, it is not only copied as a whole.
    package static let memory: UInt32 = 1 << 17
    package static let kernelGSBase: UInt32 = 1 << 18
    package static let fsBase: UInt32 = 1 << 19
    private static let callerSaved = bits([.rax, .rcx, .rdx, .rsi, .rdi, .r8, .r9, .r10, .r11])
    private static let arguments = bits([.rdi, .rsi, .rdx, .rcx])

    package static func bits(_ registers: [Register]) -> UInt32 { registers.reduce(0) { $0 | bit($1) } }

    private static func bit(_ register: Register) -> UInt32 {
        switch register {
        case .rsp, .rip, .none: 0
        default: 1 << UInt32(register.rawValue)
        }
    }

    package init(_ instruction: Instruction) {
        let register = Dependence.bit(instruction.register)
        let source = Dependence.bit(instruction.source)
        let isWhole = instruction.width == .quad || instruction.width == .long
        let isToRegister: Bool =
            switch instruction.form {
            case .registerToRegister, .memoryToRegister, .immediateToRegister: true
            default: false
            }
        uses = Dependence.bit(instruction.memory.base) | Dependence.bit(instruction.memory.index)
        switch instruction.opcode {
        case .mov:
            if instruction.form == .registerToRegister { uses |= source }
            if isToRegister {
                if isWhole { defines = register } else { uses |= register }
            }
        case .lea, .movzx, .movsx:
            uses |= source
            if isWhole { defines = register } else { uses |= register }
        case .push: break
        case .pop:
            if instruction.form == .register && isWhole { defines = register }
        case .xor where instruction.form == .registerToRegister && instruction.register == instruction.source,
            .sub where instruction.form == .registerToRegister && instruction.register == instruction.source:
            defines = register | Dependence.flags
        // A no-operation of two bytes or more.
        case .xchg where instruction.form == .registerToRegister && instruction.register == instruction.source: break
        case .bt, .bts, .btr, .btc:
            uses |= register | source
            defines = Dependence.flags
        case .add, .sub, .and, .or, .xor, .cmp, .test, .neg:
            uses |= register | source
            defines = Dependence.flags
        case .call, .ret, .jmp:
            uses |= register | source
        case .rdmsr, .rdtsc:
            uses |= Dependence.bit(.rcx) | Dependence.kernelGSBase | Dependence.fsBase
            defines = Dependence.bits([.rax, .rdx])
        case .wrmsr:
            uses |= Dependence.bits([.rax, .rcx, .rdx]) | Dependence.kernelGSBase | Dependence.fsBase
        case .cpuid: defines = Dependence.bits([.rax, .rbx, .rcx, .rdx])
        case .movFromSegment, .movFromControl, .movFromDebug, .rdgsbase:
            if isWhole { defines = register } else { uses |= register }
        case .syscall: uses |= Dependence.bit(.rax)
        case .sysret: uses |= Dependence.bits([.rcx, .r11])
        case .sysexit: uses |= Dependence.bits([.rcx, .rdx])
        case .model:
            uses |= Dependence.arguments
            defines = Dependence.callerSaved | Dependence.flags
        case .swapgs: uses |= Dependence.kernelGSBase
        case .rdfsbase, .wrfsbase, .movToSegment:
            uses |= register | source | Dependence.kernelGSBase | Dependence.fsBase
            if instruction.opcode == .rdfsbase && isWhole { defines = register }
        case .iret, .nop, .pause, .endbr64, .cld, .std, .clac, .stac, .cli, .sti, .lfence, .mfence, .sfence, .int3,
            .int,
            .ud2, .hlt:
            break
        default: uses |= register | source | Dependence.flags
        }
        if instruction.memory.segment == .fs { uses |= Dependence.fsBase }
        if Dependence.looksAtMemory(instruction) { uses |= Dependence.memory }
    }

    /// The instruction goes where the word at RSP says, or takes flags from it.
    static func readsStack(_ instruction: Instruction) -> Bool {
        switch instruction.opcode {
        case .ret, .iret, .popf: true
        default: false
        }
    }

    private static func looksAtMemory(_ instruction: Instruction) -> Bool {
        if readsStack(instruction) { return true }
        switch instruction.form {
        case .memory, .registerToMemory, .memoryToRegister, .immediateToMemory, .indirectMemory: break
        default: return false
        }
        switch instruction.opcode {
        case .lea, .nop, .invlpg, .set, .push, .pop, .movFromSegment: return false
        case .mov: return instruction.form == .memoryToRegister && instruction.width != .quad
        default: return true
        }
    }
}

/// What an instruction does; its operands are in `Instruction`.
package enum Opcode: UInt8, Sendable, Hashable, CaseIterable {
    // Data movement. `mov` covers registers, memory and immediates (also 64-bit ones: `movabs`).
    case mov, movzx, movsx, lea, push, pop, pushf, popf, xchg, cmov, set
    /// Segment, control and debug registers: the special register's number is in `Instruction.special`.
    case movFromSegment, movToSegment, movFromControl, movToControl, movFromDebug, movToDebug
    // Arithmetic and logic.
    case add, sub, adc, sbb, and, or, xor, cmp, test, not, neg, inc, dec
    case shl, shr, sar, rol, ror
    case bt, bts, btr, btc
    // Control flow.
    case jmp, jcc, call, ret
    // Software interrupts and returns from events. `iret` and `sysret` use `width` (quad, long).
    case int3, int, iret, syscall, sysret, sysenter, sysexit
    // System state.
    case swapgs, rdmsr, wrmsr, rdfsbase, wrfsbase, rdgsbase, wrgsbase
    case cli, sti, cld, std, clac, stac
    case lfence, mfence, sfence, verw, lsl, invpcid, invlpg, wbinvd, clts
    case hlt, ud2, nop, pause, endbr64, rdtsc, rdtscp, cpuid, `in`, out
    /// The body of a C function: the machine stops here and the function's model runs (`immediate` is its number).
    case model
}

/// Which operands an instruction has and in which role.
package enum OperandForm: UInt8, Sendable, Hashable {
    case none
    /// `register`.
    case register
    /// `memory`.
    case memory
    /// `immediate`.
    case immediate
    /// `source` to `register`.
    case registerToRegister
    /// `register` to `memory`.
    case registerToMemory
    /// `memory` to `register`.
    case memoryToRegister
    /// `immediate` to `register`.
    case immediateToRegister
    /// `immediate` to `memory`.
    case immediateToMemory
    /// A direct branch: `immediate` is the absolute address, `target` its index in the program (-1: no instruction there).
    case target
    /// A branch through `register`: `*%rax`.
    case indirectRegister
    /// A branch through `memory`: `*8(%rax)`.
    case indirectMemory
}

/// Opcode, form and width in one, for the instructions that make up nearly all of a run.
enum Shortcut: UInt8, Sendable, Hashable {
    /// Executed by the general function.
    case none
    case moveToRegister, load, store, pushRegister, popRegister
    /// Arithmetic to a register, of 32 or 64 bits where it writes one. The right operand is `source + immediate`, one of which is nothing.
    case add, sub, cmp, and, or, xor, test
    case lea, jump, branch, call, ret

    init(_ instruction: Instruction) {
        let isWhole = instruction.width == .quad || instruction.width == .long
        let isToRegister =
            (instruction.form == .registerToRegister && instruction.immediate == 0)
            || (instruction.form == .immediateToRegister && instruction.source == .none)
        switch instruction.opcode {
        case .mov where isWhole && isToRegister: self = .moveToRegister
        case .mov where instruction.width == .quad && instruction.form == .memoryToRegister: self = .load
        case .mov where instruction.width == .quad && instruction.form == .registerToMemory: self = .store
        case .push where instruction.width == .quad && instruction.form == .register: self = .pushRegister
        case .pop where instruction.width == .quad && instruction.form == .register: self = .popRegister
        case .add where isWhole && isToRegister: self = .add
        case .sub where isWhole && isToRegister: self = .sub
        case .cmp where isToRegister: self = .cmp
        case .and where isWhole && isToRegister: self = .and
        case .or where isWhole && isToRegister: self = .or
        case .xor where isWhole && isToRegister: self = .xor
        case .test where isToRegister: self = .test
        case .lea where instruction.width == .quad: self = .lea
        case .jmp where instruction.target >= 0: self = .jump
        case .jcc where instruction.target >= 0: self = .branch
        case .call where instruction.target >= 0: self = .call
        case .ret where instruction.form == .none: self = .ret
        default: self = .none
        }
    }
}

/// One x86-64 instruction: flat and trivially copyable, so that the hot loop neither allocates nor counts references.
///
/// AT&T order is source, destination; `register` is the destination except in `registerToMemory` and one-operand forms.
package struct Instruction: Sendable, Hashable {
    package var opcode: Opcode
    /// Size of the operation. For `movzx` and `movsx` the size of the destination.
    package var width: Width
    package var form: OperandForm
    package var condition: Condition
    package var register: Register
    /// The source of `registerToRegister`, and the bit-offset or count register of bit and shift instructions.
    package var source: Register
    /// Number of the segment, control or debug register of the `movTo…`/`movFrom…` opcodes.
    package var special: UInt8
    /// For `movzx` and `movsx`: size of the source.
    package var sourceWidth: Width
    /// A `lock` prefix was written.
    package var lock: Bool
    /// Length in bytes as the GNU assembler would encode it.
    package var length: UInt8
    /// No instruction follows in memory: execution that runs past this one leaves the known code. Only set in `Program.code`.
    package var isLast = false
    /// The form for the hot loop, decided once when the code is laid out. Only set in `Program.code`.
    var shortcut = Shortcut.none
    /// Index of a direct branch's target in the program, or -1.
    package var target: Int32
    package var immediate: Int64
    package var memory: MemoryOperand

    package init(
        _ opcode: Opcode, width: Width = .quad, form: OperandForm = .none, condition: Condition = .o,
        register: Register = .none, source: Register = .none, special: UInt8 = 0, sourceWidth: Width = .quad,
        lock: Bool = false, length: UInt8 = 0, target: Int32 = -1, immediate: Int64 = 0,
        memory: MemoryOperand = MemoryOperand()
    ) {
        self.opcode = opcode
        self.width = width
        self.form = form
        self.condition = condition
        self.register = register
        self.source = source
        self.special = special
        self.sourceWidth = sourceWidth
        self.lock = lock
        self.length = length
        self.target = target
        self.immediate = immediate
        self.memory = memory
    }
}

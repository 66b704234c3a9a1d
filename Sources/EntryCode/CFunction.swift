package import Machine

/// A C function that entry code calls, and the model that stands for it.
package struct CFunction: Sendable, Hashable {
    package var name: String
    package var model: HandlerModel
    package var size_bytes: UInt64
    /// Vectors of the events that it handles; empty for functions that any event may call.
    package var events: Set<UInt8> = []
    /// It takes the vector from `pt_regs->orig_ax`, which holds the complement.
    package var readsVectorFromOrigAX = false
    /// It finds the number of a system call in `pt_regs->ax` and puts it into `orig_ax` itself (`do_int80_emulation`).
    package var takesNumberFromRAX = false
    /// What RDI, RSI and RDX hold, in this order; empty for the model's usual arguments.
    package var arguments: [Argument] = []
    /// It reads CR2 itself, where no argument holds the fault address.
    package var readsCR2 = false
    /// It does the exit work and returns with interrupts disabled (`irqentry_exit`, Linux 5.8 and later).
    package var disablesInterrupts = false
    /// It is called with interrupts on and leaves them on: the fast path of system calls up to 4.15.
    package var interruptsOn = false
    /// It ends with softirqs, which run with interrupts on (`irq_exit`).
    package var runsSoftirqs = false
    /// The ways in which it may change what a breakpoint of the kernel does; nil for all.
    package var emulates: Set<String>?
    /// The mode that its events come from; nil for either.
    package var origin: Origin?
    /// Lines that it prints when an event arrives that it is not made for.
    package var says: [String] = []
    /// It promises that no breakpoint is enabled while it runs.
    package var needsBreakpointsOff = false
    /// The number of a system call is an int to it; otherwise all of RAX counts.
    package var numberIsInt = false
    /// Bits of the vector that it looks at.
    package var vectorBits: UInt64 = 8
    /// What its argument points at, for models that copy `pt_regs`.
    package var layout = RegistersLayout.returnAddress

    /// An argument of a C function of entry code.
    package enum Argument: String, Sendable, Hashable, CaseIterable {
        case regs
        case errorCode = "error-code"
        /// The fault address.
        case address
        /// The number of a system call.
        case number
        /// The vector, in the low bits.
        case vector
        /// DR6, as far as it says what happened: a bit for each breakpoint, BS.
        case debugStatus = "debug-status"
    }

    package enum Origin: String, Sendable, Hashable, CaseIterable { case user, kernel }

    /// `pt_regs` alone, or with a return address below it.
    package enum RegistersLayout: String, Sendable, Hashable, CaseIterable {
        case returnAddress = "return-address"
        case regs
    }

    /// The register that holds an argument; nil where the function does not get it.
    package func register(of argument: Argument) -> Register? {
        let places: [Register] = [.rdi, .rsi, .rdx, .rcx]
        return arguments.firstIndex(of: argument).flatMap { places.indices.contains($0) ? places[$0] : nil }
    }
}

/// What stands for the body of a C function.
package enum HandlerModel: String, Sendable, Hashable, CaseIterable {
    /// An exception handler: `(pt_regs, error code[, fault address])`.
    case exception
    case nmi
    case interrupt
    /// Runs traced code: may fault, so CR2 may change.
    case trace
    case enterFromUser = "enter-from-user"
    /// No effect beyond what any C function may do.
    case plain
    case syncRegs = "sync-regs"
    case fixupBadIRET = "fixup-bad-iret"
    case exitToUser = "exit-to-user"
    case int80Syscall = "int80-syscall"
    /// `(number, pt_regs)`: the C side of SYSCALL.
    case syscall
    /// `do_fast_syscall_32`: a 32-bit call; the result says whether SYSRET or SYSEXIT may return.
    case fastSyscall = "fast-syscall"
    /// `do_SYSENTER_32`: the same for SYSENTER, which leaves neither RSP nor flags.
    case sysenterCall = "sysenter-call"
    case debugStackSetZero = "debug-stack-set-zero"
    case debugStackReset = "debug-stack-reset"
    /// `preempt_schedule_irq`: another task runs meanwhile. It dies where that is forbidden.
    case preempt
    /// The same if nothing forbids it: it looks by itself.
    case mayPreempt = "may-preempt"
    /// A hypercall with the number of a debug register, and a value.
    case getDebugRegister = "get-debug-register"
    case setDebugRegister = "set-debug-register"
    /// A system call by way of `sys_call_table`: arguments in registers, the result in RAX.
    case tableCall = "table-call"
    case doubleFault = "double-fault"
    case xenEventCheck = "xen-event-check"
    /// Code that was not understood, or a C function without a model: no verdict can be given about what comes here.
    case notUnderstood = "not-understood"

    /// The function is what an event is delivered to, not a helper of the entry code.
    package var isEventHandler: Bool {
        switch self {
        case .exception, .nmi, .interrupt, .doubleFault, .int80Syscall, .syscall, .fastSyscall, .sysenterCall: true
        default: false
        }
    }

    /// The event is a system call: `orig_ax` holds its number.
    package var isSystemCall: Bool {
        switch self {
        case .int80Syscall, .syscall, .fastSyscall, .sysenterCall: true
        default: false
        }
    }
}

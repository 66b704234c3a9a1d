/// What the handler does with the interrupted context.
package enum Probe: String, Sendable, Hashable, CaseIterable {
    /// Returns without a change.
    case `return`
    /// Makes the process run a signal handler: RIP, RSP and argument registers change.
    case signal
    /// As a debugger or sigreturn may: RIP, RSP, RAX and flags change.
    case modifyUserState = "modify-user-state"
    /// Sets SS to a selector beyond the GDT (0x53): the return faults and is reported to the process.
    case sigreturnBadSS = "sigreturn-bad-ss"
    /// Sets CS to a data segment (0x2b).
    case sigreturnBadCS = "sigreturn-bad-cs"
    /// Sets RIP to 0x800000000000.
    case sigreturnBadRIP = "sigreturn-noncanonical-rip"
    /// Sets RIP and RCX to 0x800000000000: nothing but that address forbids SYSRET.
    case sysretBadRIP = "sysret-noncanonical-rip"
    /// Changes a flag and nothing else: what SYSRET would load is not what is asked for.
    case sysretFlags = "sysret-changed-flags"
    /// Sets RCX to RIP with other bits above those of an address: the fault of SYSRET is the kernel's, on Intel.
    case sysretBadRCX = "sysret-noncanonical-rcx"
    /// Changes the upper or the lower half of RCX, which stays an address.
    case sysretRCXUpper = "sysret-rcx-upper-half"
    case sysretRCXLower = "sysret-rcx-lower-half"
    /// Sets RF, which SYSRET does not load: the next instruction is to pass its breakpoint.
    case sysretResume = "sysret-resume-flag"
    /// 32-bit code with SS a 16-bit segment of the LDT: bare metal returns through espfix.
    case sigreturnLDTStack = "sigreturn-16-bit-ss"
    /// Sets SS to a segment of the LDT that is not present: the fault of the IRET comes on the espfix stack (fact F30).
    case sigreturnAbsentSS = "sigreturn-absent-ss"
    /// Sets SS to null: in user mode not even 64-bit code may have that.
    case sigreturnNullSS = "sigreturn-null-ss"
    /// Sets SS to a selector beyond the LDT (0x47).
    case sigreturnBogusSS = "sigreturn-bogus-ss"
    /// Sets CS to a segment of the LDT that is not present.
    case sigreturnAbsentCS = "sigreturn-absent-cs"
    /// 64-bit code with a 16-bit stack segment: it keeps all of RSP (fact F31).
    case sigreturnLDTStack64 = "sigreturn-16-bit-ss-64"
    /// A 32-bit program sets SS to a selector beyond the GDT, and the processor reports the fault of the IRET with the upper
    /// half of RIP cut off, as early K8 did.
    case sigreturnTruncated = "sigreturn-truncated-rip"
    /// Continues at the target of an exception-table entry.
    case fixup
    /// The kernel loads GS with a selector whose descriptor has gone (fact F32); the handler goes by the exception table.
    case loadGS = "load-gs"
    /// Prints an oops and does not return.
    case oops
    /// Makes the breakpoint a call: pushes the return address onto the interrupted stack and continues at the function.
    case emulateCall = "emulate-call"
    /// Continues elsewhere.
    case emulateJump = "emulate-jump"
    /// Pushes a register onto the interrupted stack and continues behind the breakpoint.
    case emulatePush = "emulate-push"
    /// The boot-time self test of call emulation, at the symbol that the table names.
    case selfTest = "self-test"
    /// The program executes INT n itself.
    case softwareInterrupt = "software-interrupt"
    /// The same with a prefix in front, which changes nothing but the instruction's length.
    case prefixedInterrupt = "prefixed-int"
    /// The program executes SYSCALL or SYSENTER where nothing is made for it: it gets a signal.
    case refusedCall = "refused-call"
    /// The host of a guest that does not trust it raises an interrupt with the vector of any gate.
    case hostInterrupt = "host-interrupt"
    /// The call sleeps, and another program runs meanwhile: one that an interrupt has stopped.
    case otherTask = "other-task"
    /// A system call that needs its arguments and nothing else; one with a number that names no call.
    case tableCall = "table-call"
    case unknownCall = "unknown-call"
    /// The task has work before its system calls: context tracking alone, or a tracer.
    case trackedCall = "context-tracking"
    case tracedCall = "syscall-trace"
    /// A signal comes while the kernel handles the event: the way out sets up its handler.
    case pendingSignal = "pending-signal"
    /// The kernel has put off a flush of the user's translations to the return (page-table isolation with PCIDs).
    case pendingFlush = "pending-flush"
    /// The program is single-stepped: TF is set when it enters the kernel. At SYSENTER it has neither NT nor AC set.
    case singleStep = "single-step"
    /// A debugger sets TF while the program is in the kernel.
    case setTrapFlag = "set-trap-flag"
    /// The instruction before loads SS from a word that is watched: its #DB waits for the next instruction to end.
    case movSS = "mov-ss-watchpoint"
    /// The instruction before loads SS and is single-stepped: it has no trap of its own.
    case movSSStep = "mov-ss-single-step"
    /// The program accesses a word that is watched.
    case watchpoint
    /// The program has set NT, and no other flag that SYSENTER lets through; likewise AC.
    case nestedTaskFlag = "nt-alone"
    case alignmentFlag = "ac-alone"
    /// The stack pointer that a fast 32-bit system call passes leads nowhere: -EFAULT instead of the sixth argument.
    case badUserStack = "bad-user-stack"
    /// C calls a routine of the PV kernel's own that masks or unmasks events, or tells what is masked or has faulted. An event
    /// comes at each of its instructions in turn, or not at all.
    case paravirtCall = "paravirt-call"
    /// The same, with flags to restore that have IF clear.
    case paravirtCallMasking = "paravirt-call-masking"
    /// One of the selectors that the interrupted code has loaded has no descriptor any more.
    case badDS = "bad-ds"
    case badES = "bad-es"
    case badFS = "bad-fs"
    case badGS = "bad-gs"
}

extension Probe {
    /// It is about what SYSRET to 64-bit code looks at.
    var isFor64BitSysret: Bool {
        switch self {
        case .sysretBadRIP, .sysretBadRCX, .sysretRCXUpper, .sysretRCXLower, .sysretResume: true
        default: false
        }
    }

    /// The handler does it where it finds the interrupted address in a table.
    var isFoundByAddress: Bool {
        switch self {
        case .fixup, .emulateCall, .emulateJump, .emulatePush, .selfTest: true
        default: false
        }
    }
}

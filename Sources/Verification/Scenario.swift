package import EntryCode
import Machine

/// What was running when the event came.
package enum Context: String, Sendable, Hashable, CaseIterable {
    /// 64-bit user code, with DF, AC, NT and arithmetic flags set: all that entry code must not trust.
    case user
    /// 32-bit user code, likewise: CS 0x23, a stack below 4 GiB.
    case user32 = "user-32"
    /// User code whose RSP points where the kernel keeps something, or nowhere.
    case userTaskStack = "user-rsp-task-stack"
    case userPerCPU = "user-rsp-per-cpu"
    case userExceptionStack = "user-rsp-nmi-stack"
    case userNonCanonical = "user-rsp-noncanonical"
    /// User code with a GS base of its own: the highest that arch_prctl grants; where WRGSBASE is allowed, one in the
    /// kernel's half, and the kernel's very own.
    case userGS = "user-gs-base"
    case userNegativeGS = "user-gs-base-negative"
    case userKernelGS = "user-gs-base-kernel"
    /// 64-bit user code at the end of user memory: behind its last instruction nothing can be mapped.
    case userEnd = "user-end"
    /// Kernel code with interrupts (events) on, RSP a multiple of 16.
    case kernel
    case kernelRSP8 = "kernel-rsp8"
    case kernelEventsOff = "kernel-events-off"
    case kernelEventsOffRSP8 = "kernel-events-off-rsp8"
    /// A device's handler on the interrupt stack, which is in use; the same with interrupts on again (softirq).
    case kernelInterrupt = "kernel-irq"
    case kernelInterruptRSP8 = "kernel-irq-rsp8"
    case kernelSoftirq = "kernel-softirq"
    case kernelSoftirqRSP8 = "kernel-softirq-rsp8"
    /// An NMI's handler: on the NMI's stack, marked as executing, with NMIs blocked.
    case kernelNMI = "kernel-nmi"
    case kernelNMIRSP8 = "kernel-nmi-rsp8"
    /// Kernel code that has used up its stack and pushes: only #DF starts this way.
    case kernelBadStack = "kernel-bad-stack"

    package var isUser: Bool { self == .user || self == .user32 || isHostile }
    /// 64-bit user code with values in RSP or GS base that only a hostile program has.
    package var isHostile: Bool {
        switch self {
        case .userTaskStack, .userPerCPU, .userExceptionStack, .userNonCanonical, .userGS, .userNegativeGS,
            .userKernelGS, .userEnd:
            true
        default: false
        }
    }
    package var eventsOn: Bool {
        isUser || self == .kernel || self == .kernelRSP8 || self == .kernelSoftirq || self == .kernelSoftirqRSP8
    }
    /// The interrupt stack is in use.
    package var isOnInterruptStack: Bool {
        switch self {
        case .kernelInterrupt, .kernelInterruptRSP8, .kernelSoftirq, .kernelSoftirqRSP8: true
        default: false
        }
    }
    /// An NMI is being handled.
    package var isInNMI: Bool { self == .kernelNMI || self == .kernelNMIRSP8 }
    /// RSP modulo 16 is 8 (fact F11: the alignment decides what an emulated push hits).
    package var isMisaligned: Bool {
        switch self {
        case .kernelRSP8, .kernelEventsOffRSP8, .kernelInterruptRSP8, .kernelSoftirqRSP8, .kernelNMIRSP8: true
        default: false
        }
    }
}

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
    /// A signal comes while the kernel handles the event: the way out sets up its handler.
    case pendingSignal = "pending-signal"
    /// The kernel has put off a flush of the user's translations to the return (page-table isolation with PCIDs).
    case pendingFlush = "pending-flush"
    /// The program is single-stepped: TF is set when it enters the kernel.
    case singleStep = "single-step"
    /// A debugger sets TF while the program is in the kernel.
    case setTrapFlag = "set-trap-flag"
    /// The instruction before loads SS from a word that is watched: its #DB waits for the next instruction to end.
    case movSS = "mov-ss-watchpoint"
    /// The instruction before loads SS and is single-stepped: it has no trap of its own.
    case movSSStep = "mov-ss-single-step"
    /// The program accesses a word that is watched.
    case watchpoint
    /// The stack pointer that a fast 32-bit system call passes leads nowhere: -EFAULT instead of the sixth argument.
    case badUserStack = "bad-user-stack"
    /// One of the selectors that the interrupted code has loaded has no descriptor any more.
    case badDS = "bad-ds"
    case badES = "bad-es"
    case badFS = "bad-fs"
    case badGS = "bad-gs"
}

extension Probe {
    /// The handler does it where it finds the interrupted address in a table.
    var isFoundByAddress: Bool {
        switch self {
        case .fixup, .emulateCall, .emulateJump, .emulatePush, .selfTest: true
        default: false
        }
    }
}

/// One way to enter the kernel: platform, event, interrupted context, probe.
package struct Scenario: Sendable, Hashable {
    package var platform: Platform
    /// The entry's symbol in the table.
    package var event: String
    package var vector: UInt8
    package var context: Context
    package var probe: Probe
    /// Why Linux can meet it.
    package var reason: String
    /// Events that come while this one is handled, in their order.
    package var injections: [Injection] = []

    /// `platform/event/context/probe`, then `+event@routine:step` for each nested event.
    package var name: String {
        let own = "\(platform.rawValue)/\(event)/\(context.rawValue)/\(probe.rawValue)"
        return injections.reduce(own) { $0 + "+" + $1.name }
    }
}

/// Which scenarios to run.
package struct ScenarioSelection: Sendable, Hashable {
    package var platforms: [Platform] = Platform.allCases
    /// Patterns with `*` (any run of characters) and `?`; a scenario runs if one matches. Empty: all.
    package var patterns: [String] = []

    package init(platforms: [Platform] = Platform.allCases, patterns: [String] = []) {
        self.platforms = platforms
        self.patterns = patterns
    }

    package func includes(_ name: String) -> Bool {
        patterns.isEmpty || patterns.contains { glob($0, matches: name) }
    }
}

/// Matches a pattern with `*` and `?` in linear time and constant space.
package func glob(_ pattern: String, matches text: String) -> Bool {
    let pattern = Array(pattern.utf8)
    let text = Array(text.utf8)
    var p = 0
    var t = 0
    var star: (pattern: Int, text: Int)?
    while t < text.count {
        if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
            star = (p, t)
            p += 1
        } else if p < pattern.count, pattern[p] == text[t] || pattern[p] == UInt8(ascii: "?") {
            p += 1
            t += 1
        } else if let back = star {
            p = back.pattern + 1
            t = back.text + 1
            star = (back.pattern, back.text + 1)
        } else {
            return false
        }
    }
    while p < pattern.count, pattern[p] == UInt8(ascii: "*") { p += 1 }
    return p == pattern.count
}

extension EntryImage {
    /// Every base scenario of the table on this platform, in the order of the vectors.
    package func scenarios() -> [Scenario] {
        var result: [Scenario] = []
        // Two gates may lead to one entry: the second and later ones carry their vector.
        var named: Set<String> = []
        for (vector, entry) in vectors {
            // PV guests never get #DF (fact F20).
            if platform.isXen && vector == Vector.doubleFault { continue }
            let event = named.insert(entry).inserted ? entry : "\(entry)-vector\(vector)"
            for context in Context.allCases {
                for probe in probes(vector: vector, context: context) {
                    result.append(
                        Scenario(
                            platform: platform, event: event, vector: vector, context: context, probe: probe,
                            reason: reason(vector: vector, context: context, probe: probe)))
                }
            }
        }
        for vector in layout.userOtherInterrupt.keys.sorted() {
            result.append(
                Scenario(
                    platform: platform, event: "vector\(vector)", vector: vector, context: .user,
                    probe: .softwareInterrupt, reason: reason(vector: 0, context: .user, probe: .softwareInterrupt)))
        }
        return result
    }

    private func probes(vector: UInt8, context: Context) -> [Probe] {
        if standIns.contains(vector) { return standInProbes(vector, context) }
        if context == .user32 { return probes32(vector) }
        if context.isHostile { return hostileProbes(vector, context) }
        if context.isOnInterruptStack || context.isInNMI { return innerProbes(vector, context) }
        let isCall = vector == 0x80 && table.options["IA32_EMULATION"] ?? true
        if vector >= 32 && !isCall && !deviceVectors.contains(vector) {
            // A gate of the table that no modelled device raises: programs may try it.
            return (context.isUser ? [.softwareInterrupt] : []) + hostProbes(context)
        }
        if isCall {
            return
                (context.isUser
                ? [.return, .modifyUserState] + selectorProbes + [.singleStep, .setTrapFlag, .movSS, .prefixedInterrupt]
                    + flushProbes
                : []) + hostProbes(context)
        }
        if vector == Vector.doubleFault { return [.oops] }
        if context == .kernelBadStack { return [] }
        if deviceVectors.contains(vector) { return deviceProbes(context) }
        if context.isUser {
            if vector == Vector.nmi { return [.return, .softwareInterrupt] }
            var probes: [Probe] = [
                .return, .signal, .modifyUserState, .sigreturnBadSS, .sigreturnBadCS, .sigreturnBadRIP,
            ]
            // Xen refuses to install 16-bit segments, and there is no espfix there (fact F31).
            if !platform.isXen && table.options["X86_16BIT"] ?? false { probes.append(.sigreturnLDTStack) }
            probes.append(.sigreturnAbsentSS)
            if [Vector.breakpoint, Vector.generalProtection, Vector.pageFault].contains(vector) {
                probes += selectorProbes
            }
            let isProgramsOwn = vector == Vector.breakpoint || vector == Vector.overflow
            probes.append(isProgramsOwn ? .prefixedInterrupt : .softwareInterrupt)
            return probes + debugProbes(vector) + workProbes(vector)
        }
        switch vector {
        case Vector.breakpoint:
            var probes: [Probe] = [.return] + breakpointProbes + [.oops]
            if layout.selfTestSite != nil && layout.selfTestTarget != nil && context.eventsOn {
                probes.append(.selfTest)
            }
            return probes
        case Vector.nmi, Vector.machineCheck, Vector.debug: return [.return]
        case Vector.segmentNotPresent, Vector.generalProtection:
            return [.return, .fixup, .oops] + (layout.loadGS == nil ? [] : [.loadGS])
        case Vector.divideError, Vector.invalidOpcode, Vector.stackSegment, Vector.pageFault, Vector.alignmentCheck:
            return [.return, .fixup, .oops]
        default: return [.return, .oops]
        }
    }

    /// The vector stands for SYSCALL or SYSENTER, from 64-bit or 32-bit code.
    package func isFastSystemCall(_ vector: UInt8) -> Bool {
        standIns.contains(vector) && vector != Platform.failsafeVector && vector != Platform.kvmNMIVector
    }

    var syscallProbes: [Probe] {
        var probes: [Probe] = [
            .return, .signal, .modifyUserState, .sigreturnBadSS, .sigreturnBadCS, .sigreturnBadRIP, .sysretBadRIP,
            .sysretFlags,
        ]
        if !platform.isXen && table.options["X86_16BIT"] ?? false { probes.append(.sigreturnLDTStack) }
        return probes + [.sigreturnAbsentSS] + selectorProbes
    }

    /// Devices interrupt only where interrupts are on.
    private func deviceProbes(_ context: Context) -> [Probe] {
        if context.isUser {
            return [.return, .signal, .modifyUserState, .sigreturnBadSS, .softwareInterrupt]
                + (hasExitFunction ? [.pendingSignal] : []) + flushProbes
        }
        return context.eventsOn ? [.return] : []
    }

    private func reason(vector: UInt8, context: Context, probe: Probe) -> String {
        if let reason = standInReason(vector, probe) { return reason }
        if probe == .return, let reason = innerReason(context) { return reason }
        if context.isHostile && probe == .return { return hostileReason(context) }
        if context == .kernelBadStack { return "a kernel stack overflows: the page fault cannot be delivered" }
        return switch probe {
        case .selfTest: "the kernel tests call emulation at boot (alternative_instructions)"
        case .emulateCall, .emulateJump:
            "code patching answers breakpoints in code that it changes (ftrace, static calls)"
        case .emulatePush: "kprobes emulate instructions that push"
        case .loadGS: "a program removes the descriptor of a selector that it keeps in GS"
        case .fixup: "an exception-table entry or a WARN continues elsewhere"
        case .oops: "the handler must see the context that it reports"
        case .softwareInterrupt: "a program may execute INT with any vector"
        case .prefixedInterrupt: "a program may write prefixes before INT"
        case .refusedCall: "a program may execute any instruction"
        case .hostInterrupt: "the host of a confidential guest may inject an interrupt with any vector"
        case .otherTask: "a system call may sleep"
        case .sigreturnBadSS, .sigreturnBadCS, .sigreturnBadRIP, .sigreturnLDTStack, .sigreturnAbsentSS, .sysretBadRIP,
            .sigreturnNullSS, .sigreturnBogusSS, .sigreturnAbsentCS, .sigreturnLDTStack64:
            "sigreturn and ptrace let a program choose what the kernel returns to"
        case .signal, .modifyUserState, .sysretFlags: "the process gets a signal or is debugged"
        case .pendingSignal: "another process sends a signal meanwhile"
        case .pendingFlush: "the kernel changes the program's memory while its own page tables are loaded"
        case .singleStep, .setTrapFlag, .movSS, .movSSStep, .watchpoint:
            "a debugger steps the program or watches its data"
        case .badUserStack, .badDS, .badES, .badFS, .badGS: "only with a stand-in, see standInReason"
        case .return:
            vector == Vector.nmi || vector == Vector.machineCheck || vector >= 32 && vector != 0x80
                ? "comes at any time"
                : context.isUser ? "any instruction may raise it" : "the handler resolves it or ignores it"
        }
    }
}

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
    /// User code has jumped to an address of the kernel's that entry code compares RIP with, or to what is left of it without its
    /// upper half, where programs may have code; to the page of vsyscalls.
    case userRIPReturn = "user-rip-iret"
    case userRIPTruncated = "user-rip-truncated-iret"
    case userRIPSelectorLoad = "user-rip-gs-change"
    case userRIPRepeat = "user-rip-repeat-nmi"
    case userRIPVsyscall = "user-rip-vsyscall"
    /// 64-bit user code of a task for which no work waits: its system calls may take the fast path (up to 4.15).
    case userIdleTask = "user-idle-task"
    /// Kernel code with interrupts (events) on, RSP a multiple of 16.
    case kernel
    case kernelRSP8 = "kernel-rsp8"
    case kernelEventsOff = "kernel-events-off"
    case kernelEventsOffRSP8 = "kernel-events-off-rsp8"
    /// A hypercall that the kernel makes for a program and that may be preempted.
    case kernelHypercall = "kernel-hypercall"
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

    package var isUser: Bool {
        switch self {
        case .user, .user32, .userIdleTask: true
        default: isHostile
        }
    }
    /// 64-bit user code with values in RSP or GS base that only a hostile program has.
    package var isHostile: Bool {
        switch self {
        case .userTaskStack, .userPerCPU, .userExceptionStack, .userNonCanonical, .userGS, .userNegativeGS,
            .userKernelGS, .userEnd:
            true
        default: hasForeignRIP
        }
    }
    /// RIP is none of the program's own.
    package var hasForeignRIP: Bool {
        switch self {
        case .userRIPReturn, .userRIPTruncated, .userRIPSelectorLoad, .userRIPRepeat, .userRIPVsyscall: true
        default: false
        }
    }
    package var eventsOn: Bool {
        switch self {
        case .kernel, .kernelRSP8, .kernelHypercall, .kernelSoftirq, .kernelSoftirqRSP8: true
        default: isUser
        }
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

/// One way to enter the kernel: platform, event, interrupted context, probe.
package struct Scenario: Sendable, Hashable {
    package var platform: Platform
    /// The entry's symbol in the table; of a call that C makes, the routine.
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
        // What 64-bit programs count on is missed where it is not there; that it is refused as it should be is another question.
        if platform.isXen && standIns.contains(Platform.syscallVector) && table.xen.callbacks["syscall"] == nil {
            result.append(
                Scenario(
                    platform: platform, event: "syscall", vector: Platform.syscallVector, context: .user,
                    probe: .refusedCall, reason: reason(vector: 0, context: .user, probe: .refusedCall)))
        }
        for vector in layout.userOtherInterrupt.keys.sorted() {
            result.append(
                Scenario(
                    platform: platform, event: "vector\(vector)", vector: vector, context: .user,
                    probe: .softwareInterrupt, reason: reason(vector: 0, context: .user, probe: .softwareInterrupt)))
        }
        return result + paravirtScenarios()
    }

    private func probes(vector: UInt8, context: Context) -> [Probe] {
        if standIns.contains(vector) { return standInProbes(vector, context) }
        if context == .user32 { return probes32(vector) }
        if context == .userIdleTask { return [] }
        if context == .kernelHypercall {
            return platform.isXen && deviceVectors.contains(vector) && layout.preemptibleCall != nil ? [.return] : []
        }
        if context.isHostile { return hostileProbes(vector, context) }
        if context.isOnInterruptStack || context.isInNMI { return innerProbes(vector, context) }
        let isCall = vector == 0x80 && hasInt80
        if vector >= 32 && !isCall && !deviceVectors.contains(vector) {
            // A gate of the table that no modelled device raises: programs may try it.
            return (context.isUser ? [.softwareInterrupt] : []) + hostProbes(context)
        }
        if isCall {
            return
                (context.isUser
                ? [.return, .modifyUserState] + selectorProbes + [
                    .singleStep, .setTrapFlag, .movSS, .prefixedInterrupt,
                ]
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

    /// INT 0x80 is a system call.
    var hasInt80: Bool { table.options["IA32_EMULATION"] ?? true }

    /// The vector stands for SYSCALL or SYSENTER, from 64-bit or 32-bit code.
    package func isFastSystemCall(_ vector: UInt8) -> Bool {
        standIns.contains(vector) && vector != Platform.failsafeVector && vector != Platform.kvmNMIVector
    }

    var syscallProbes: [Probe] {
        var probes: [Probe] = [
            .return, .signal, .modifyUserState, .sigreturnBadSS, .sigreturnBadCS, .sigreturnBadRIP, .sysretBadRIP,
            .sysretFlags, .sysretBadRCX, .sysretRCXUpper, .sysretRCXLower, .sysretResume,
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
        case .nestedTaskFlag, .alignmentFlag: "a program may set any flag with POPF, alone"
        case .sigreturnBadSS, .sigreturnBadCS, .sigreturnBadRIP, .sigreturnLDTStack, .sigreturnAbsentSS, .sysretBadRIP,
            .sigreturnNullSS, .sigreturnBogusSS, .sigreturnAbsentCS, .sigreturnLDTStack64, .sysretBadRCX,
            .sysretRCXUpper, .sysretRCXLower, .sysretResume:
            "sigreturn and ptrace let a program choose what the kernel returns to"
        case .sigreturnTruncated: "early K8 cut RIP off where an IRET to 32-bit code faults"
        case .signal, .modifyUserState, .sysretFlags: "the process gets a signal or is debugged"
        case .tableCall, .unknownCall: "any program makes system calls"
        case .trackedCall, .tracedCall: "any program under nohz_full, audit, seccomp or strace"
        case .pendingSignal: "another process sends a signal meanwhile"
        case .pendingFlush:
            "the kernel changes the program's memory while its own page tables are loaded"
        case .singleStep, .setTrapFlag, .movSS, .movSSStep, .watchpoint:
            "a debugger steps the program or watches its data"
        case .badUserStack, .badDS, .badES, .badFS, .badGS: "only with a stand-in, see standInReason"
        case .paravirtCall, .paravirtCallMasking: "the kernel calls it, see paravirtScenarios"
        case .return:
            vector == Vector.nmi || vector == Vector.machineCheck || vector >= 32 && vector != 0x80
                ? "comes at any time"
                : context.isUser ? "any instruction may raise it" : "the handler resolves it or ignores it"
        }
    }
}

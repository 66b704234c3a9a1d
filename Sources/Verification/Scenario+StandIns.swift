import EntryCode
import Machine

/// Scenarios of events that have no vector, and of 32-bit programs.
extension EntryImage {
    /// SYSCALL, SYSENTER, Xen's failsafe callback.
    func standInProbes(_ vector: UInt8, _ context: Context) -> [Probe] {
        if refusedCalls.contains(vector) {
            return context == (vector == Platform.syscallVector ? .user : .user32) ? [.refusedCall] : []
        }
        switch vector {
        case Platform.kvmNMIVector:
            // KVM handles what ended its guest with interrupts off.
            return context == .kernelEventsOff || context == .kernelEventsOffRSP8 ? [.return] : []
        case Platform.failsafeVector:
            // A virtual CPU may be switched out in any code that does not hold the hypervisor.
            return context == .kernelBadStack || context == .user32 || context.isHostile || context.isInNMI
                || context == .userIdleTask || context == .kernelHypercall
                ? [] : [.badDS, .badES, .badFS, .badGS]
        case Platform.syscall32Vector, Platform.sysenterVector:
            // SYSENTER keeps all flags but IF, and what is to clear some of them looks at each (SDM vol. 2).
            let flagProbes: [Probe] = vector == Platform.sysenterVector ? [.nestedTaskFlag, .alignmentFlag] : []
            return context == .user32
                ? syscallProbes.filter { !$0.isFor64BitSysret } + [.badUserStack, .otherTask] + flagProbes
                    + callDebugProbes + flushProbes : []
        default:
            if context == .userEnd { return [.return] }
            if context == .userIdleTask {
                return layout.fastCalls == nil
                    ? [] : [.return, .signal, .modifyUserState, .tableCall, .unknownCall, .pendingSignal]
            }
            if context.isHostile { return isPossible(context) ? [.return, .signal, .movSS] : [] }
            return context == .user
                ? syscallProbes + [.otherTask] + callDebugProbes + flushProbes + callWorkProbes : []
        }
    }

    private var callWorkProbes: [Probe] { layout.callWork == nil ? [] : [.trackedCall, .tracedCall] }

    private var callDebugProbes: [Probe] { [.singleStep, .setTrapFlag, .movSS] }

    /// What a debugger may do around an event from 64-bit code.
    func debugProbes(_ vector: UInt8) -> [Probe] {
        switch vector {
        case Vector.debug: [.singleStep, .setTrapFlag, .movSS, .movSSStep, .watchpoint]
        case Vector.breakpoint, Vector.overflow: [.singleStep, .setTrapFlag, .movSS]
        case Vector.pageFault: [.singleStep, .setTrapFlag]
        default: []
        }
    }

    /// What the host of a guest may do that does not trust it: raise any vector of devices (the TDX module keeps it from
    /// exceptions; Linux commit f4116bfc4462, x86/tdx: Allow 32-bit emulation by default).
    func hostProbes(_ context: Context) -> [Probe] {
        let isTried = [.user, .kernel, .kernelRSP8].contains(context)
        return isTried && table.options["INTEL_TDX_GUEST"] ?? false ? [.hostInterrupt] : []
    }

    var flushProbes: [Probe] { layout.userFlushMask == nil ? [] : [.pendingFlush] }

    /// Work that waits for the return to user mode.
    func workProbes(_ vector: UInt8) -> [Probe] {
        switch vector {
        case Vector.breakpoint, Vector.pageFault, Vector.generalProtection:
            (hasExitFunction ? [.pendingSignal] : []) + flushProbes
        default: []
        }
    }

    /// Selectors that sigreturn can put into a frame (facts F30, F31).
    var selectorProbes: [Probe] {
        let hasEspfix = !platform.isXen && table.options["X86_16BIT"] ?? false
        return [.sigreturnNullSS, .sigreturnBogusSS, .sigreturnAbsentCS] + (hasEspfix ? [.sigreturnLDTStack64] : [])
    }

    /// Whether a program can bring about a context here.
    private func isPossible(_ context: Context) -> Bool {
        switch context {
        case .userNegativeGS, .userKernelGS: table.options["FSGSBASE"] ?? false
        default: !context.hasForeignRIP
        }
    }

    /// Events that find a user's RSP and GS base in the processor, each by another way in.
    func hostileProbes(_ vector: UInt8, _ context: Context) -> [Probe] {
        if context.hasForeignRIP { return foreignRIP(context) != nil && meets(vector, context) ? [.return] : [] }
        guard isPossible(context), context != .userEnd else { return [] }
        switch vector {
        case Vector.debug, Vector.breakpoint: return [.return, .movSS]
        case 0x80 where hasInt80: return [.return, .movSS]
        case Vector.nmi, Vector.machineCheck, Vector.pageFault, Vector.generalProtection: return [.return]
        default: return deviceVectors.contains(vector) ? [.return] : []
        }
    }

    /// Where a program has jumped to in a context that is named after it; nil where the kernel has no such place.
    func foreignRIP(_ context: Context) -> UInt64? {
        let iret = roles["bad_iret"].flatMap { program.address(of: $0) }
        return switch context {
        case .userRIPReturn: iret
        case .userRIPTruncated: iret.map { $0 & 0xFFFF_FFFF }
        case .userRIPSelectorLoad: roles["gs_change"].flatMap { program.address(of: $0) }
        case .userRIPRepeat: platform.isXen ? nil : program.address(of: "repeat_nmi")
        case .userRIPVsyscall: 0xFFFF_FFFF_FF60_0000
        default: nil
        }
    }

    /// What comes before the first instruction there: the page fault of its fetch, or what comes at any boundary.
    private func meets(_ vector: UInt8, _ context: Context) -> Bool {
        switch vector {
        case Vector.pageFault: context != .userRIPRepeat
        case Vector.nmi: context == .userRIPReturn || context == .userRIPRepeat
        case Vector.debug, Vector.machineCheck: context == .userRIPReturn
        default: context == .userRIPReturn && deviceVectors.contains(vector)
        }
    }

    func hostileReason(_ context: Context) -> String {
        if context == .userRIPVsyscall {
            return "a program calls into the page of vsyscalls, which the kernel emulates"
        }
        if context.hasForeignRIP { return "a program may jump to any address" }
        return switch context {
        case .userGS: "arch_prctl sets any base in the user half"
        case .userNegativeGS, .userKernelGS: "WRGSBASE sets any canonical base"
        case .userEnd: "a program may map the last page that the kernel lets it have"
        default: "RSP holds what a program puts there"
        }
    }

    /// What handlers of breakpoints do to the code that they interrupt; up to 5.1 they could only jump.
    var breakpointProbes: [Probe] {
        let ways = functions.first { $0.events.contains(Vector.breakpoint) && $0.emulates != nil }?.emulates
        let all: [(way: String, probe: Probe)] = [
            ("call", .emulateCall), ("jump", .emulateJump), ("push", .emulatePush),
        ]
        return all.filter { ways?.contains($0.way) ?? true }.map(\.probe)
    }

    /// What comes while an interrupt, a softirq or an NMI is handled.
    func innerProbes(_ vector: UInt8, _ context: Context) -> [Probe] {
        switch vector {
        case Vector.breakpoint: return [.return] + breakpointProbes.filter { $0 != .emulateJump }
        case Vector.invalidOpcode, Vector.generalProtection, Vector.pageFault: return [.fixup, .oops]
        case Vector.debug, Vector.machineCheck: return [.return]
        case Vector.nmi: return context.isInNMI ? [] : [.return]
        default: return deviceVectors.contains(vector) && context.eventsOn ? [.return] : []
        }
    }

    func innerReason(_ context: Context) -> String? {
        if context.isInNMI { return "handlers of NMIs are traced, profiled and patched like other code" }
        return context.isOnInterruptStack ? "comes while a device's interrupt is handled" : nil
    }

    /// What a 32-bit program may meet: the ways in are those of 64-bit code, the frames differ.
    func probes32(_ vector: UInt8) -> [Probe] {
        if !hasInt80 { return [] }
        switch vector {
        case 0x80:
            return [.return, .signal, .modifyUserState, .sigreturnBadSS, .sigreturnBadCS] + callDebugProbes
                + [.prefixedInterrupt] + (platform == .bareMetalAMD ? [.sigreturnTruncated] : [])
        case Vector.divideError, Vector.breakpoint, Vector.overflow, Vector.invalidOpcode, Vector.generalProtection:
            return [.return, .signal]
        case Vector.pageFault:
            return [.return, .signal, .modifyUserState, .sigreturnBadSS, .sigreturnBadCS, .sigreturnBadRIP]
        case Vector.debug: return [.return, .singleStep, .movSS]
        case Vector.nmi, Vector.machineCheck: return [.return]
        default: return deviceVectors.contains(vector) ? [.return, .signal] : []
        }
    }

    /// Why Linux can meet an event without a vector; nil for events that have one.
    func standInReason(_ vector: UInt8, _ probe: Probe) -> String? {
        guard standIns.contains(vector) else { return nil }
        if vector == Platform.failsafeVector {
            return "the descriptor of a selector that is loaded goes while the virtual CPU is switched out"
        }
        if vector == Platform.kvmNMIVector {
            return "an NMI ends a guest of KVM: the kernel calls the entry of its handler (vmx_do_nmi_irqoff)"
        }
        if probe == .badUserStack { return "a program may execute the instruction outside the vDSO" }
        guard probe == .return else { return nil }
        return switch vector {
        case Platform.sysenterVector:
            platform.isXen
                ? "the vDSO of 32-bit programs on hosts of Intel" : "the vDSO of 32-bit programs executes SYSENTER"
        case Platform.syscall32Vector:
            platform.isXen
                ? "the vDSO of 32-bit programs on hosts of AMD" : "the vDSO of 32-bit programs executes SYSCALL"
        default: "any program may execute SYSCALL"
        }
    }
}

import EntryCode
import Machine
import XenPV

/// The interrupted context resumes exactly, with the handler's edits and nothing else.
enum Resumption: Invariant {
    static let rule = Rule(
        "resumption",
        statement:
            "The return reads the frame of its event, and every register then holds what was interrupted, as the handler edited it.",
        why: "An exception must be invisible to the code that it interrupts.",
        sources: ["SDM vol. 2, IRET", "SDM vol. 3, 6.14.3", "Xen do_iret", "facts F18, F27, F34"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard run.isHandlingEvent else { return nil }
        switch checkpoint {
        case .returned(let frame):
            for index in 0..<5 {
                let address = frame &+ UInt64(index) &* 8
                guard let read = run.machine.memory.peek(address), read != run.innermost.frameWords[index] else {
                    continue
                }
                let activation = run.innermost
                let name = ["RIP", "CS", "RFLAGS", "RSP", "SS"][index]
                return Finding(
                    rule,
                    "the return at \(run.here) reads \(hexadecimal(read)) as \(name) at \(hexadecimal(address)); \(run.eventName(activation)) (activation \(activation.number)) must resume with \(hexadecimal(activation.frameWords[index]))\(run.frameShift(frame, activation))"
                )
            }
            return nil
        case .leaving: return attempted(run.savedContext(), run.innermost)
        case .resumed: return registers(&run)
        default: return nil
        }
    }

    private static func registers(_ run: inout ScenarioRun) -> Finding? {
        for register in Register.general where run.machine[register] != run.innermost.expected[register] {
            let (cpu, expected) = (run.machine.cpu, run.innermost.expected)
            // A 32-bit program with a 16-bit stack sees the low half of RSP (fact F31).
            if register == .rsp && run.hasSmallStack(expected) && cpu[.rsp] & 0xFFFF_FFFF == expected[.rsp] { continue }
            if run.innermost.mayLose(register, to: cpu[register]) { continue }
            return Finding(
                rule,
                "the interrupted program resumes at \(hexadecimal(expected.rip)) with \(register.name) \(hexadecimal(cpu[register])) instead of \(hexadecimal(expected[register]))"
            )
        }
        let cpu = (flags: run.machine.cpu.flags, cs: run.machine.cpu.cs, ss: run.machine.cpu.ss)
        let expected = (
            flags: run.innermost.expected.flags, cs: run.innermost.expected.cs, ss: run.innermost.expected.ss
        )
        // A frame is compared word by word; of a system call there is none, and SYSRET loads no RF (SDM vol. 2).
        let isCall = run.innermost.event.source == .syscall
        let ignored = (isCall ? 0 : Flags.resume) | Flags.interrupt | Flags.iopl
        if (cpu.flags ^ expected.flags) & Flags.loadable & ~ignored != 0 {
            return Finding(
                rule,
                "the interrupted program resumes with RFLAGS \(hexadecimal(cpu.flags, digits: 8)) instead of \(hexadecimal(expected.flags, digits: 8))"
            )
        }
        let (fsBase, expectedFSBase) = (run.machine.cpu.fsBase, run.innermost.expected.fsBase)
        if fsBase != expectedFSBase {
            return Finding(
                rule,
                "the interrupted program resumes with FS base \(hexadecimal(fsBase)) instead of \(hexadecimal(expectedFSBase)): its thread-local storage is gone"
            )
        }
        let (selectors, expectedSelectors) = (run.machine.cpu.dataSelectors, run.innermost.expected.dataSelectors)
        if selectors != expectedSelectors {
            return Finding(
                rule,
                "the interrupted program resumes with GS, FS, ES and DS \(hexadecimal(selectors)) instead of \(hexadecimal(expectedSelectors))"
            )
        }
        // Xen leaves a system call by SYSRET to its own flat selectors, which are as good (fact F18).
        let isFlat =
            run.hypervisor != nil && run.innermost.event.source == .syscall && cpu.cs == Hypervisor.codeSelector
            && cpu.ss == Hypervisor.stackSelector && expected.cs == 0x33 && expected.ss == 0x2B
        if !run.innermost.expected.isKernelMode && !isFlat && (cpu.cs != expected.cs || cpu.ss != expected.ss) {
            return Finding(
                rule,
                "user code resumes with CS \(hexadecimal(UInt64(cpu.cs), digits: 4)) and SS \(hexadecimal(UInt64(cpu.ss), digits: 4)) instead of \(hexadecimal(UInt64(expected.cs), digits: 4)) and \(hexadecimal(UInt64(expected.ss), digits: 4))"
            )
        }
        if run.machine.cpu.hasUnusableStack, run.machine.descriptor(cpu.cs)?.isLong == false {
            return Finding(
                rule,
                "32-bit code resumes with SS \(hexadecimal(UInt64(cpu.ss), digits: 4)), but the processor still has the null segment that SS held before: SYSRET of AMD loads the selector and nothing else, and the first use of the stack is #SS"
            )
        }
        for (address, value, what) in run.stackExpectations {
            if let found = run.machine.memory.peek(address), found != value {
                return Finding(
                    LiveFrameOverwritten.rule,
                    "the program resumes and finds \(hexadecimal(found)) at \(hexadecimal(address)), where \(what) held \(hexadecimal(value))"
                )
            }
        }
        return nil
    }

    /// The registers of a return to user mode that faults as it was meant to: they are what the program is told.
    static func attempted(_ context: SavedContext, _ activation: Activation) -> Finding? {
        for register in Register.general where register != .rsp && context[register] != activation.expected[register] {
            if activation.mayLose(register, to: context[register]) { continue }
            return Finding(
                rule,
                "the return to user mode is attempted with \(register.name) \(hexadecimal(context[register])) instead of \(hexadecimal(activation.expected[register]))"
            )
        }
        return nil
    }

    static func wrongPlace(_ run: ScenarioRun, _ activation: Activation, _ rip: UInt64) -> Finding {
        Finding(
            rule,
            "the return of \(run.eventName(activation)) (activation \(activation.number)) goes to \(hexadecimal(rip)) in \(run.machine.isKernelMode ? "kernel" : "user") mode instead of \(hexadecimal(activation.expected.rip)) in \(activation.expected.isKernelMode ? "kernel" : "user") mode"
        )
    }

    static func misplacedTrap(_ run: ScenarioRun, _ wanted: UInt64) -> Finding {
        Finding(
            rule,
            "the stepped program gets its #DB at \(run.here) instead of \(run.program.describe(wanted)), behind the first instruction that it executes"
        )
    }

    static func stray(_ run: ScenarioRun) -> Finding {
        Finding(rule, "a return is executed at \(run.here) though no event is being handled")
    }

    /// What C finds after it has loaded GS with a selector that is not there: a null one, and its own GS base (fact F32).
    private static func afterSelectorLoad(_ run: ScenarioRun) -> Finding? {
        let cpu = run.machine.cpu
        if cpu.gs & ~3 != 0 {
            return Finding(rule, "GS holds \(hexadecimal(UInt64(cpu.gs), digits: 4)), whose descriptor is not there")
        }
        if cpu.gsBase != run.layout.perCPUBase {
            return Finding(
                KernelGSBase.rule,
                "the load of a GS selector that is not there returns with GS base \(hexadecimal(cpu.gsBase)) instead of the kernel's \(hexadecimal(run.layout.perCPUBase))"
            )
        }
        if cpu.kernelGSBase != 0 {
            return Finding(
                UserGSBase.rule,
                "the load of a GS selector that is not there leaves \(hexadecimal(cpu.kernelGSBase)) for the program's GS base, with a null selector: that of AMD loads no base"
            )
        }
        for register in [Register.rbx, .rbp, .r12, .r13, .r14, .r15] {
            let wanted = run.interruptedValue(register, isUser: false)
            if cpu[register] == wanted { continue }
            return Finding(
                rule,
                "the load of a GS selector returns to C with \(register.name) \(hexadecimal(cpu[register])) changed")
        }
        if run.eventsAreMasked == run.scenario.context.eventsOn {
            return Finding(
                rule, "the load of a GS selector returns to C with interrupts \(run.eventsAreMasked ? "off" : "on")")
        }
        return nil
    }

    /// What the program itself notices after it resumed: an emulated call that was not made or did not return.
    static func afterwards(_ run: ScenarioRun) -> Finding? {
        if run.scenario.probe == .loadGS { return afterSelectorLoad(run) }
        if run.scenario.probe.isParavirtCall { return ParavirtCall.afterwards(run) }
        let base = run.interruptedRSP
        if run.scenario.probe == .selfTest || run.scenario.probe == .emulateCall {
            let rsp = run.machine.cpu[.rsp]
            if rsp != base {
                return Finding(
                    rule, "the emulated call returns with RSP \(hexadecimal(rsp)) instead of \(hexadecimal(base))")
            }
        }
        if run.scenario.probe == .selfTest {
            let word = run.machine.memory.peek(run.layout.selfTestWord) ?? 0
            if word & 0xFFFF_FFFF != 1 {
                return Finding(rule, "the self test's function was not called: its word holds \(hexadecimal(word))")
            }
        }
        return nil
    }
}

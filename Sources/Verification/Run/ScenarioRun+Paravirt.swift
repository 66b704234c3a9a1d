import EntryCode
import Machine
import XenPV

/// Calls of the routines that stand for STI, CLI and their like in a PV guest.
extension ScenarioRun {
    /// How many runs of full length the runs of one call may take together; a kernel's take a tenth of one.
    private static var runs: UInt32 { 8 }

    /// Runs the call once for each of its instructions, with an event that comes before that instruction, and once without:
    /// the first run that does not hold is the result, and the one that a trace shows.
    mutating func executeParavirtCall(_ scenario: Scenario) -> ScenarioResult {
        let saved = (remaining, machine.memory.tracking.isOn)
        // Where events may nest is seen with the callback's own scenarios.
        remaining = 0
        defer { (remaining, machine.memory.tracking.isOn) = saved }
        var step: UInt32 = 0
        var total: UInt32 = 0
        while true {
            reset(scenario)
            setContext()
            arrival = step
            callParavirtRoutine()
            while ending == nil { advance() }
            let hasCome = arrival == nil
            total += machine.stepNumber
            if total > limits.steps &* ScenarioRun.runs { ending = .stepLimit }
            let result = result()
            if result.verdict != .holds || !hasCome {
                missedInjections = scenario.injections
                return result
            }
            step += 1
        }
    }

    var paravirtRoutine: ParavirtRoutine? { ParavirtRoutine(rawValue: scenario.event) }

    /// The flags that a call of `xen_restore_fl_direct` restores; others get no argument and find the same register.
    var paravirtArgument: UInt64 {
        let others = Flags.alwaysOne | Flags.zero | Flags.direction
        return scenario.probe == .paravirtCall ? others | Flags.interrupt : others
    }

    private mutating func callParavirtRoutine() {
        guard let routine = paravirtRoutine, let address = program.address(of: routine.rawValue),
            let vcpuInfo = hypervisor?.vcpuInfo
        else {
            ending = .halted
            return
        }
        machine.memory.poke(faultAddress, at: vcpuInfo &+ 16)
        // MOV from CR2 gives the same: Xen emulates it from what it has told the guest (pv_inject_event).
        machine.cpu.cr2 = faultAddress
        machine[.rdi] = paravirtArgument
        machine[.rsp] &-= 8
        stopAddress = layout.kernelCode
        machine.memory.poke(layout.kernelCode, at: machine[.rsp], owner: Owner(.returnAddress))
        machine.jump(to: address, program)
    }

    /// An event comes: Xen notes it, and delivers it at once where events are not masked.
    mutating func raisePendingEvent() {
        arrival = nil
        setPending(true)
        deliverPendingEvent()
    }

    /// What Xen does whenever it goes back to the guest (Xen 4.17 `x86_64/entry.S`, `test_guest_events`).
    mutating func deliverPendingEvent() {
        guard scenario.probe.isParavirtCall, hasPendingEvent, !eventsAreMasked, ending == nil else { return }
        deliver(Event(vector: Platform.callbackVector, source: .external), isUnexpected: false)
    }

    /// The handler of the callback clears the note first of all (Linux 6.1 `drivers/xen/events/events_base.c`,
    /// `__xen_evtchn_do_upcall`).
    mutating func takePendingEvent() {
        guard activations.last?.event.source == .external else { return }
        hasTakenEvent = true
        setPending(false)
    }

    var hasPendingEvent: Bool { machine.memory.peek(hypervisor?.vcpuInfo ?? 0).map { $0 & 0xFF != 0 } ?? false }

    private mutating func setPending(_ isPending: Bool) {
        guard let vcpuInfo = hypervisor?.vcpuInfo, let word = machine.memory.peek(vcpuInfo) else { return }
        machine.memory.poke(word & ~0xFF | (isPending ? 1 : 0), at: vcpuInfo, step: machine.stepNumber)
    }
}

/// What the caller of such a routine finds.
enum ParavirtCall {
    static func afterwards(_ run: ScenarioRun) -> Finding? {
        guard let routine = run.paravirtRoutine else { return nil }
        return registers(run, routine) ?? mask(run, routine) ?? event(run, routine) ?? result(run, routine)
    }

    /// All but RAX are the caller's (Linux 6.1 `arch/x86/include/asm/paravirt.h`, `PV_CALLEE_SAVE`).
    private static func registers(_ run: ScenarioRun, _ routine: ParavirtRoutine) -> Finding? {
        let rsp = run.machine.cpu[.rsp]
        if rsp != run.interruptedRSP {
            return Finding(
                Resumption.rule,
                "\(routine.rawValue) returns with RSP \(hexadecimal(rsp)) instead of \(hexadecimal(run.interruptedRSP))"
            )
        }
        for register in Register.general where register != .rsp && register != .rax {
            let wanted =
                register == .rdi ? run.paravirtArgument : run.interruptedValue(register, isUser: false)
            let found = run.machine.cpu[register]
            if found == wanted { continue }
            return Finding(
                Resumption.rule,
                "\(routine.rawValue) returns with \(register.name) \(hexadecimal(found)) instead of \(hexadecimal(wanted)): its callers rely on every register but RAX"
            )
        }
        for (address, value, what) in run.stackExpectations {
            guard let found = run.machine.memory.peek(address), found != value else { continue }
            return Finding(
                LiveFrameOverwritten.rule,
                "\(routine.rawValue) returns, and \(hexadecimal(found)) stands at \(hexadecimal(address)), where \(what) held \(hexadecimal(value))"
            )
        }
        if run.machine.cpu.flags & Flags.direction != 0 {
            return Finding(DirectionFlag.rule, "\(routine.rawValue) returns with DF set")
        }
        return nil
    }

    private static func mask(_ run: ScenarioRun, _ routine: ParavirtRoutine) -> Finding? {
        let wanted: Bool =
            switch routine {
            case .enable: false
            case .disable: true
            case .restoreFlags: run.paravirtArgument & Flags.interrupt == 0
            case .saveFlags, .readFaultAddress, .readFaultAddressDirectly: !run.scenario.context.eventsOn
            }
        if run.eventsAreMasked == wanted { return nil }
        return Finding(
            InterruptFlag.rule,
            "\(routine.rawValue) returns with events \(wanted ? "on" : "masked"); its caller wants them \(wanted ? "masked" : "on")"
        )
    }

    private static func event(_ run: ScenarioRun, _ routine: ParavirtRoutine) -> Finding? {
        guard run.hasPendingEvent, !run.eventsAreMasked else { return nil }
        return Finding(
            Progress.rule,
            "\(routine.rawValue) returns with events on while one is pending that came when they were masked: nothing has asked Xen for it, and it waits for the next"
        )
    }

    private static func result(_ run: ScenarioRun, _ routine: ParavirtRoutine) -> Finding? {
        let rax = run.machine.cpu[.rax]
        switch routine {
        case .saveFlags where (rax & Flags.interrupt != 0) != run.scenario.context.eventsOn:
            return Finding(
                InterruptFlag.rule,
                "\(routine.rawValue) returns \(hexadecimal(rax)), with IF \(rax & Flags.interrupt != 0 ? "set" : "clear"), while events are \(run.scenario.context.eventsOn ? "on" : "masked")"
            )
        case .readFaultAddress, .readFaultAddressDirectly:
            if rax == run.faultAddress { return nil }
            return Finding(
                ErrorCode.rule,
                "\(routine.rawValue) returns \(hexadecimal(rax)) as the fault address; Xen has left \(hexadecimal(run.faultAddress)) in vcpu_info"
            )
        default: return nil
        }
    }
}

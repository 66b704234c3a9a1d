import EntryCode
import Machine

/// Interrupts are off on the way in and out, and afterwards as they were.
enum InterruptFlag: Invariant {
    static let rule = Rule(
        "interrupt-flag", isLatent: true,
        statement:
            "Interrupts (events under Xen) are disabled until the first C code and at the return; the resumed context has its own state, and under Xen the processor's own IF is always on.",
        why:
            "An interrupt in the entry window finds the user's GS base or half a frame; one at the exit is handled too late.",
        sources: [
            "SDM vol. 3, 6.12.1.2 (interrupt gates)", "Linux 5.2 arch/x86/entry/entry_64.S, error_exit",
            "facts F4, F18",
        ])

    /// What was interrupted had interrupts off, and another task runs with them on.
    static func scheduled(_ run: ScenarioRun) -> Finding {
        Finding(
            rule,
            "\(run.here) schedules on the way out of \(run.eventName(run.innermost)) (activation \(run.innermost.number)): the code that it interrupted had \(run.hypervisor == nil ? "interrupts" : "events") disabled, and is preempted"
        )
    }

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        switch checkpoint {
        case .cFunction where run.eventsAreMasked: return nil
        case .returned where run.returnedWithEventsMasked: return nil
        default: break
        }
        guard let activation = run.current else { return nil }
        if case .cFunction = checkpoint, run.functionAtRIP?.interruptsOn == true { return nil }
        let disabled = run.eventsAreMasked
        let name = run.hypervisor == nil ? "interrupts" : "events"
        switch checkpoint {
        case .cFunction where activation.handlerCalls == 0 && !activation.isUnexpected && !disabled:
            let gate =
                activation.enteredWithEventsMasked
                ? "the entry code has enabled them"
                : run.hypervisor == nil
                    ? "its gate is not an interrupt gate"
                    : run.hypervisor?.trapTable[Int(activation.event.vector)]?.masksEvents == true
                        ? "Xen has delivered it without masking them, as its row of the trap table asks"
                        : "its row of the trap table does not ask Xen to mask events"
            return Finding(
                rule, "\(name) are on at \(run.here), in the entry path of \(run.eventName(activation)): \(gate)")
        case .resumed where run.hypervisor != nil && run.machine.cpu.flags & Flags.interrupt == 0:
            return Finding(
                rule,
                "the guest resumes with IF off in the processor's own flags: interrupts of the host wait until the guest gives up the processor"
            )
        case .returned:
            return Finding(
                rule, "\(name) are on at the return from \(run.eventName(activation)) (activation \(activation.number))"
            )
        case .resumed where disabled != activation.expected.eventsMasked:
            return Finding(
                rule,
                "the interrupted program resumes with \(name) \(disabled ? "off" : "on"), it had them \(disabled ? "on" : "off")"
            )
        default: return nil
        }
    }
}

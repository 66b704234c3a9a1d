import EntryCode
import Machine

/// NMIs stay blocked while one is handled and are open again afterwards.
enum NMIMasking: Invariant {
    static let rule = Rule(
        "nmi-masking",
        statement:
            "NMIs are blocked when an NMI handler starts, and when code resumes they are as they were; where they are open, one that comes is delivered.",
        why: "A second NMI restarts at the top of the same IST stack; one that stays blocked is lost for ever.",
        sources: ["SDM vol. 3, 6.7.1", "Linux Documentation/x86/kernel-stacks.rst", "facts F18, F36"])

    static func held(_ run: ScenarioRun, _ event: Event) -> Finding {
        Finding(
            rule,
            "an NMI comes at \(run.here) where NMIs are open, and Xen lets the guest go on without it\(run.hypervisor?.isInMachineCheck == true ? " until its machine check is over" : "")"
        )
    }

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard run.isHandlingEvent else { return nil }
        let blocked = run.hypervisor?.nmiMasked ?? run.machine.cpu.nmiBlocked
        switch checkpoint {
        case .cFunction:
            guard blocked, run.hypervisor == nil, run.innermost.event.source == .nmi, run.modelAtRIP == .exitToUser
            else {
                return nil
            }
            return Finding(
                rule,
                "\(run.here) runs for an NMI: it enables interrupts for its work, and the IRET of the first one opens NMIs while this one's frame is still needed"
            )
        case .handler where run.innermost.event.source == .nmi && !blocked && run.innermost.openNMIs == .no:
            return Finding(rule, "NMIs are open when \(run.here) starts: an IRET was executed on the way")
        case .resumed where blocked != run.innermost.expected.nmiBlocked:
            // Every IRET opens NMIs: that of an exception inside an NMI too, which the NMI entry must be ready for (F36).
            if !blocked && run.innermost.event.source != .nmi && (run.noteOpenNMIs() || run.scenario.context.isInNMI) {
                return nil
            }
            return Finding(
                rule,
                blocked
                    ? "NMIs stay blocked after \(run.eventName(run.innermost)): the return did not release them"
                    : "NMIs are open after \(run.eventName(run.innermost)) though they were blocked before")
        default: return nil
        }
    }
}

import EntryCode
import Machine
import XenPV

/// Entry code itself raises no exception.
enum UnexpectedFault: Invariant {
    static let rule = Rule(
        "unexpected-fault",
        statement:
            "Between an event and the return from it, no instruction raises an exception that its scenario does not ask for.",
        why: "The handler of that exception starts in a state that is neither the user's nor the kernel's.",
        sources: ["SDM vol. 3, 6.15", "facts F13, F15, F17, F20"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? { nil }

    static func finding(_ run: ScenarioRun, vector: UInt8, errorCode: UInt32?) -> Finding {
        let code = errorCode.map { "(\(String($0, radix: 16)))" } ?? ""
        let what = "\(Console.vectorMnemonic(vector))\(Vector.pushesErrorCode(vector) ? code : "")"
        var text = "\(what) at \(run.here)"
        if run.machine.cpu.index >= 0 {
            let opcode = run.program.instructions[Int(run.machine.cpu.index)].opcode
            if run.hypervisor != nil && opcode == .swapgs {
                text += ": a PV kernel runs in ring 3 and Xen does not emulate SWAPGS"
            } else if run.hypervisor != nil && opcode == .iret {
                text += ": a PV kernel runs in ring 3, where IRET cannot return to the ring 0 selector of its frame"
            }
        }
        return Finding(rule, text)
    }

    static func assertion(_ run: ScenarioRun, preemptCount: UInt64) -> Finding {
        let why =
            preemptCount == 0
            ? "with interrupts on"
            : "with preempt_count \(hexadecimal(preemptCount, digits: 8)), in code that must not be preempted"
        return Finding(rule, "\(run.here) is called \(why): BUG_ON(preempt_count() || !irqs_disabled()) raises #UD")
    }

    static func repeated(_ run: ScenarioRun, _ event: Event) -> Finding {
        Finding(
            rule,
            "Xen delivers \(Console.vectorMnemonic(event.vector)) once more at \(run.here), the first instruction of its handler: the exception that it has delivered is still latched"
        )
    }

    static func afterResumption(_ run: ScenarioRun, _ fault: Fault) -> Finding {
        Finding(
            rule,
            "the interrupted program raises \(Console.vectorMnemonic(fault.vector)) at \(run.here) after it resumed")
    }

    static func withoutFixup(_ run: ScenarioRun, _ event: Event, at place: UInt64) -> Finding {
        Finding(
            rule,
            "\(Console.vectorMnemonic(event.vector))(\(String(event.errorCode, radix: 16))) at \(run.program.describe(place)), which has no entry in the exception table"
        )
    }

    static func duringDelivery(
        _ run: ScenarioRun, of event: Event, _ delivered: Event, at point: CausePoint
    ) -> Finding {
        let reason =
            run.machine.idt[Int(event.vector)].isPresent
            ? "its gate, its stack or its handler is not usable" : "the IDT has no gate for vector \(event.vector)"
        return Finding(
            rule,
            "delivery of \(Console.vectorMnemonic(event.vector)) raises \(Console.vectorMnemonic(delivered.vector)) with error code \(hexadecimal(UInt64(delivered.errorCode), digits: 4)): \(reason)",
            at: point)
    }

    static func domainCrash(_ run: ScenarioRun, _ crash: DomainCrash) -> Finding {
        let what: String =
            switch crash.reason {
            case .unhandledVector:
                "no handler is registered for \(Console.vectorMnemonic(crash.vector)) (vector \(crash.vector)) in the trap table handed to Xen"
            case .frameNotWritable:
                "Xen cannot write the exception frame at the guest's stack \(hexadecimal(run.machine.cpu[.rsp]))"
            case .returnFrameNotReadable:
                "the frame of the iret hypercall at \(hexadecimal(run.machine.cpu[.rsp])) cannot be read"
            case .missingCallback: "the callback that Xen needs here is not registered"
            case .hypervisorFault:
                "Xen's own return raises \(Console.vectorMnemonic(crash.vector)) in ring 0 with the guest's stack pointer \(hexadecimal(run.machine.cpu[.rsp]))"
            }
        if crash.reason == .hypervisorFault {
            return Finding(
                rule, "\(what): the guest owns the host, or the host dies, on the way to \(hexadecimal(crash.address))")
        }
        return Finding(rule, "\(what): Xen crashes the domain at \(hexadecimal(crash.address))")
    }
}

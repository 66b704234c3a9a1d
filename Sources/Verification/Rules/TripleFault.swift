import EntryCode
import Machine

/// A double fault always finds a usable stack.
enum TripleFault: Invariant {
    static let rule = Rule(
        "triple-fault",
        statement: "Delivery of #DF does not fault.",
        why: "The processor shuts down: the machine resets without a word.",
        sources: ["SDM vol. 3, 6.15 (#DF)", "fact F25"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? { nil }

    static func finding(_ run: ScenarioRun, during event: Event) -> Finding {
        Finding(
            rule,
            "\(Console.vectorMnemonic(event.vector)) with RSP \(hexadecimal(run.machine.cpu[.rsp])): neither it nor #DF can be delivered"
        )
    }
}

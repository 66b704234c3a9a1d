import EntryCode
import Machine

/// No exception fails to be delivered.
enum DoubleFault: Invariant {
    static let rule = Rule(
        "double-fault",
        statement: "No second exception occurs while one is being delivered.",
        why: "A double fault is an abort: what was interrupted cannot resume, and Linux panics.",
        sources: ["SDM vol. 3, 6.15 (#DF) and table 6-5", "fact F26"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? { nil }

    static func unhandled(_ run: ScenarioRun) -> Finding {
        Finding(
            rule,
            "the #DF that stands for a fault of the IRET on the espfix stack is not turned back into that fault: \(run.here) does not recognise it"
        )
    }

    /// - Parameter place: RIP when the event came.
    static func finding(_ run: ScenarioRun, during event: Event, at point: CausePoint, _ place: UInt64) -> Finding {
        Finding(
            rule,
            "\(Console.vectorMnemonic(event.vector)) at \(run.program.describe(place)) cannot be delivered: its frame cannot be written, and #DF is raised",
            at: point)
    }
}

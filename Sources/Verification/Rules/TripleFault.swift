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

    /// - Parameter place: RIP when the event came.
    static func finding(
        _ run: ScenarioRun, during event: Event, at point: CausePoint? = nil, _ place: UInt64? = nil
    ) -> Finding {
        let mnemonic = Console.vectorMnemonic(event.vector)
        let at = place.map { " at \(run.program.describe($0))" } ?? ""
        let gates = [event.vector, Vector.doubleFault].filter { !run.machine.idt[Int($0)].isPresent }
        let reason =
            gates.isEmpty
            ? "with RSP \(hexadecimal(run.machine.cpu[.rsp])) neither it nor #DF can be delivered"
            : "the IDT has no gate for \(gates.map(Console.vectorMnemonic).joined(separator: " and for "))\(gates.count == 1 ? ", and neither it nor #DF can be delivered" : "")"
        return Finding(rule, "\(mnemonic)\(at): \(reason)", at: point)
    }
}

import EntryCode
import Machine

/// String instructions of C code go upwards.
enum DirectionFlag: Invariant {
    static let rule = Rule(
        "direction-flag", isLatent: true,
        statement: "DF is clear when C code runs.",
        why: "The ABI promises it; with DF set memcpy runs backwards over its neighbours.",
        sources: ["System V AMD64 ABI, 3.2.1", "SDM vol. 1, 3.4.3.2", "fact F22"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard case .cFunction = checkpoint, run.machine.cpu.flags & Flags.direction != 0, run.isHandlingEvent else {
            return nil
        }
        return Finding(rule, "DF is set at \(run.here)\(origin(run)): no CLD on the way")
    }

    private static func origin(_ run: ScenarioRun) -> String {
        run.current.map { $0.interrupted.flags & Flags.direction != 0 } ?? false ? ", as user code left it" : ""
    }
}

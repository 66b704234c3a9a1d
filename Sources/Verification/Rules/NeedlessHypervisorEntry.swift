import EntryCode
import Machine

/// Entry code does not make Xen emulate what it could do itself.
enum NeedlessHypervisorEntry: Invariant {
    static let rule = Rule(
        "needless-hypervisor-entry", severity: .warning,
        statement: "On Xen PV, entry code executes no privileged instruction that Xen must emulate.",
        why: "Each is a #GP into Xen, a decode and a return: some thousand cycles against single digits.",
        sources: ["fact F16", "mail of 15 July 2019 on the int3 self test (A. Cooper)"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? { nil }

    static func finding(_ run: ScenarioRun, instruction: Int32) -> Finding {
        Finding(
            rule,
            "\(run.instructionText(instruction)) raises #GP in ring 3; Xen decodes and emulates it, one more entry into the hypervisor for each event",
            at: CausePoint(step: run.machine.stepNumber, instruction: instruction))
    }
}

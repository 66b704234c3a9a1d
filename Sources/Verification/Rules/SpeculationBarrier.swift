import EntryCode
import Machine

/// A mispredicted branch around SWAPGS meets a barrier before GS is used.
enum SpeculationBarrier: Invariant {
    static let rule = Rule(
        "speculation-barrier", isLatent: true,
        latentConsequence: "nothing crashes: kernel memory can be read through the cache",
        statement:
            "On processors that speculate past SWAPGS, both sides of a branch that decides about it reach a serialising instruction before the first use of GS.",
        why:
            "A processor that mispredicts the branch reads per-CPU data through the user's GS base, and leaves traces in the cache.",
        sources: [
            "CVE-2019-1125",
            "Linux commit 18ec54fdd6d1 (x86/speculation: Prepare entry code for Spectre v1 swapgs mitigations)",
            "Linux Documentation/admin-guide/hw-vuln/spectre.rst", "SDM vol. 3, 8.3 (serialising instructions)",
        ])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? { nil }

    static func finding(_ run: ScenarioRun, branch: Int32, taken: Bool, gadget: Int32) -> Finding {
        Finding(
            rule,
            "a processor that mispredicts \(run.instructionText(branch)) (\(taken ? "taken" : "not taken") here) runs ahead on the \(taken ? "fall-through" : "jump") side to \(run.instructionText(gadget)), which reads through the user's GS base: no LFENCE or other serialising instruction lies between",
            at: CausePoint(step: run.machine.stepNumber, instruction: branch))
    }
}

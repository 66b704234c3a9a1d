import EntryCode
import Machine

/// A mispredicted branch around SWAPGS meets a barrier before GS is used.
enum SpeculationBarrier: Invariant {
    static let rule = Rule(
        "speculation-barrier", isLatent: true,
        latentConsequence: "nothing crashes: kernel memory can be read through the cache",
        statement:
            "On processors that speculate past SWAPGS, both sides of a branch that decides about it reach a serialising instruction before the first use of GS. A kernel that guards its returns does so before the first RET, and takes the guard off for user code.",
        why:
            "A processor that mispredicts the branch reads per-CPU data through the user's GS base, and leaves traces in the cache; a return that user code has trained runs ahead to where that code wants.",
        sources: [
            "CVE-2019-1125", "CVE-2022-29900 and CVE-2022-29901 (Retbleed)",
            "Linux commit a09a6e2399ba (objtool: Add entry UNRET validation)",
            "Linux commit 18ec54fdd6d1 (x86/speculation: Prepare entry code for Spectre v1 swapgs mitigations)",
            "Linux Documentation/admin-guide/hw-vuln/spectre.rst", "SDM vol. 3, 8.3 (serialising instructions)",
        ])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard run.machine.returnGuard != .none, run.isHandlingEvent else { return nil }
        let what =
            run.machine.returnGuard == .restriction
            ? "IBRS is not set in SPEC_CTRL" : "the return predictor has not been untrained"
        if run.machine.unguardedReturn >= 0 {
            let index = run.machine.unguardedReturn
            return Finding(
                guardRule, "\(run.instructionText(index)) returns in the kernel while \(what)",
                at: CausePoint(step: run.machine.stepNumber, instruction: index))
        }
        switch checkpoint {
        case .cFunction where !run.machine.guardsReturns:
            return Finding(guardRule, "\(run.here) runs, and returns, while \(what)")
        case .resumed where run.machine.returnGuard == .restriction:
            let found = run.machine.cpu.speculationControl
            let wanted = run.innermost.expected.speculationControl
            if found == wanted { return nil }
            return Finding(
                guardRule,
                "the interrupted program resumes with \(hexadecimal(found, digits: 2)) in SPEC_CTRL instead of \(hexadecimal(wanted, digits: 2))"
            )
        default: return nil
        }
    }

    private static let guardRule = Rule(
        rule.id, isLatent: true,
        latentConsequence: "nothing crashes: what the kernel runs ahead to is the user's choice, or user code is slow",
        statement: rule.statement, why: rule.why, sources: rule.sources)

    static func finding(_ run: ScenarioRun, branch: Int32, taken: Bool, gadget: Gadget) -> Finding {
        let what =
            switch gadget {
            case .userBase(let index): "\(run.instructionText(index)), which reads through the user's GS base"
            case .unguardedReturn(let index):
                "\(run.instructionText(index)), which returns while IBRS is not set in SPEC_CTRL"
            }
        return Finding(
            rule,
            "a processor that mispredicts \(run.instructionText(branch)) (\(taken ? "taken" : "not taken") here) runs ahead on the \(taken ? "fall-through" : "jump") side to \(what): no LFENCE or other serialising instruction lies between",
            at: CausePoint(step: run.machine.stepNumber, instruction: branch))
    }
}

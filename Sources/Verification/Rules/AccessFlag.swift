import EntryCode
import Machine

/// The user's AC flag does not switch SMAP off in the kernel.
enum AccessFlag: Invariant {
    static let rule = Rule(
        "access-flag", isLatent: true,
        statement: "Where SMAP is on, AC is clear when C code runs.",
        why: "AC is the user's to set; with it set the kernel follows user pointers that SMAP should stop.",
        sources: ["SDM vol. 3, 4.6 (SMAP)", "Linux arch/x86/include/asm/smap.h, ASM_CLAC", "facts F22, F40"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard case .cFunction = checkpoint, run.machine.cpu.flags & Flags.alignmentCheck != 0, run.machine.traits.smap,
            run.isHandlingEvent
        else { return nil }
        return Finding(rule, "AC is set at \(run.here)\(origin(run)): SMAP is off for this entry")
    }

    private static func origin(_ run: ScenarioRun) -> String {
        run.current.map { $0.interrupted.flags & Flags.alignmentCheck != 0 } ?? false ? ", as user code left it" : ""
    }
}

import EntryCode
import Machine

/// The user's NT flag does not reach C code.
enum NestedTaskFlag: Invariant {
    static let rule = Rule(
        "nested-task-flag", isLatent: true,
        latentConsequence:
            "the next IRET before NT is cleared raises #GP: of this call, or of a task that is switched to meanwhile",
        statement: "NT is clear when C code runs.",
        why:
            "NT is the user's to set, and in 64-bit mode an IRET with NT set raises #GP. A switch of tasks takes the flag along.",
        sources: [
            "SDM vol. 2, IRET and SYSENTER", "Linux 6.1 arch/x86/entry/entry_64_compat.S, .Lsysenter_fix_flags",
            "Linux commit 8c7aa698baca (x86_64, entry: Filter RFLAGS.NT on entry from userspace)",
        ])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard case .cFunction = checkpoint, run.machine.cpu.flags & Flags.nestedTask != 0, run.isHandlingEvent else {
            return nil
        }
        return Finding(rule, "NT is set at \(run.here)\(origin(run)): the next IRET raises #GP")
    }

    private static func origin(_ run: ScenarioRun) -> String {
        run.current.map { $0.interrupted.flags & Flags.nestedTask != 0 } ?? false ? ", as user code left it" : ""
    }
}

import EntryCode
import Machine

/// User code runs on the user half of the page tables.
enum UserPageTable: Invariant {
    static let rule = Rule(
        "user-page-table",
        statement:
            "When user code resumes under page-table isolation, CR3 selects the user half; resumed kernel code finds the half it had.",
        why: "Kernel memory that stays mapped in user mode can be read through Meltdown (CVE-2017-5754).",
        sources: ["Linux Documentation/x86/pti.rst", "Linux 5.2 arch/x86/entry/calling.h, SWITCH_TO_USER_CR3_STACK"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard checkpoint == .resumed || checkpoint == .leaving, run.isHandlingEvent else { return nil }
        let cr3 = run.machine.cpu.cr3
        if cr3 == run.innermost.expected.cr3 { return nil }
        let expected = run.innermost.expected
        return Finding(
            rule,
            "\(checkpoint == .leaving ? "the return to user mode is attempted" : "\(expected.isKernelMode ? "kernel" : "user") code resumes") with CR3 \(hexadecimal(cr3)); it was interrupted with \(hexadecimal(expected.cr3))"
        )
    }
}

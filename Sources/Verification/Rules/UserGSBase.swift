import EntryCode
import Machine

/// User code gets its own GS base back, and the kernel's stays out of its reach.
enum UserGSBase: Invariant {
    static let rule = Rule(
        "user-gs-base",
        statement: "When user code resumes, the GS base is the user's and the kernel's is in the other register.",
        why: "With the kernel's base live in user mode the next SWAPGS gives the kernel the user's.",
        sources: ["SDM vol. 2, SWAPGS", "Linux Documentation/x86/entry_64.rst", "fact F35"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard checkpoint == .resumed || checkpoint == .leaving, run.isHandlingEvent,
            !run.innermost.expected.isKernelMode
        else { return nil }
        let cpu = (gsBase: run.machine.cpu.gsBase, kernelGSBase: run.machine.cpu.kernelGSBase)
        let expected = (gsBase: run.innermost.expected.gsBase, kernelGSBase: run.innermost.expected.kernelGSBase)
        if cpu == expected { return nil }
        return Finding(
            rule,
            "\(checkpoint == .leaving ? "the return to user mode is attempted" : "user code resumes") with GS base \(hexadecimal(cpu.gsBase)) and kernel GS base \(hexadecimal(cpu.kernelGSBase)); it was interrupted with \(hexadecimal(expected.gsBase)) and \(hexadecimal(expected.kernelGSBase))"
        )
    }
}

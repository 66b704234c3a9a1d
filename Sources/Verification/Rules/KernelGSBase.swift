import EntryCode
import Machine

/// C code and a resumed kernel find their per-CPU data through the GS base.
enum KernelGSBase: Invariant {
    static let rule = Rule(
        "kernel-gs-base",
        statement:
            "Whenever C code of the kernel runs, and when interrupted kernel code resumes, the GS base is the kernel's.",
        why:
            "Every per-CPU access, current and the stack protector go through GS. With the user's base they read memory that the user chose, or fault without end.",
        sources: [
            "SDM vol. 2, SWAPGS", "Linux Documentation/x86/entry_64.rst, section on swapgs", "facts F15, F26, F35",
        ])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        let base = run.machine.cpu.gsBase
        guard base != run.layout.perCPUBase else { return nil }
        switch checkpoint {
        case .resumed where run.isHandlingEvent && run.innermost.expected.isKernelMode:
            if base == run.innermost.expected.gsBase { return nil }
        case .cFunction: break
        case .fault where run.faultsInKernelCode: break
        default: return nil
        }
        let way = run.current.map { $0.handlerCalls == 0 ? "on the way in" : "on the way out" } ?? "before"
        return Finding(
            rule,
            "at \(run.here) the GS base is \(hexadecimal(base)), the user's, instead of the kernel's \(hexadecimal(run.layout.perCPUBase)): \(run.activationText) has executed SWAPGS once too often or too seldom \(way)"
        )
    }
}

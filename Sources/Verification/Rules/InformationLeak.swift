import EntryCode
import Machine

/// Kernel addresses do not leave the kernel in registers.
enum InformationLeak: Invariant {
    static let rule = Rule(
        "information-leak",
        statement: "No register of resuming user code holds a kernel address that was not there before.",
        why: "One kernel pointer defeats the randomisation of all.",
        sources: ["Linux Documentation/x86/x86_64/mm.rst (espfix area)", "facts F31"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard case .resumed = checkpoint, run.isHandlingEvent, !run.innermost.expected.isKernelMode else {
            return nil
        }
        for register in Register.general {
            let value = run.machine[register]
            guard value != run.innermost.expected[register],
                value >> 47 == 0x1FFFF || run.machine.memory.region(containing: value)?.isKernelStack == true
            else { continue }
            // The espfix stack stands at an address that is no secret: that is what it is for.
            if register == .rsp && run.layout.espfixWindow.contains(value) { continue }
            return Finding(
                rule, "user code resumes with \(hexadecimal(value)) in \(register.name), an address of the kernel")
        }
        return nil
    }
}

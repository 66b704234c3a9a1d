import EntryCode
import Machine

/// User values do not reach the handler in registers.
enum RegisterHygiene: Invariant {
    static let rule = Rule(
        "register-hygiene", isLatent: true,
        statement:
            "When the handler of an event from user mode starts, and C that prepares for it, no register that is not an argument holds the user's value.",
        why: "Values that a user chose in registers that C does not write soon feed speculative gadgets.",
        sources: [
            "Linux 4.16 arch/x86/entry/calling.h, PUSH_AND_CLEAR_REGS (x86/entry/64: Clear extra registers beyond syscall arguments)"
        ])

    private static let registers: [Register] = [.rbx, .rbp, .r8, .r9, .r10, .r11, .r12, .r13, .r14, .r15, .rcx, .rdx]

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        switch checkpoint {
        case .handler where run.isHandlingEvent: break
        // C that prepares for the handler may leave it what it does not use. Tracing is called from thunks, which give back all
        // registers: what they hold is what the handler is looked at for.
        case .cFunction where run.activations.count == 1 && run.innermost.handlerCalls == 0:
            guard let model = run.functionAtRIP?.model, model == .syncRegs || model == .enterFromUser else {
                return nil
            }
        default: return nil
        }
        guard run.innermost.fromUser else { return nil }
        for register in registers {
            let value = run.innermost.interrupted[register]
            if value == 0 || value != run.machine[register] { continue }
            // ECX and EDX of a 32-bit call are arguments of it.
            if run.innermost.isCall32 && (register == .rcx || register == .rdx) { continue }
            return Finding(
                rule,
                "\(register.name) still holds the user's \(hexadecimal(value)) when \(run.here) starts"
            )
        }
        return nil
    }
}

import EntryCode
import Machine

/// The handler sees the interrupted context, every register of it.
enum PtRegsFaithful: Invariant {
    static let rule = Rule(
        "pt-regs-faithful",
        statement: "pt_regs, as the handler receives it, holds every register of the interrupted context in its slot.",
        why: "Handlers decide by pt_regs (user_mode(), the address of a breakpoint, fixups), edit it, and it is what resumes.",
        sources: ["Linux arch/x86/include/asm/ptrace.h, struct pt_regs", "Linux 5.2 arch/x86/entry/calling.h", "facts F2, F34"])

    static func check(_ run: ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard case .handler = checkpoint, let activation = run.current else { return nil }
        let regs = run.machine.cpu[.rdi]
        guard run.machine.memory.translate(regs) != nil else {
            return Finding(rule, "the handler \(run.here) receives \(hexadecimal(regs)) as pt_regs, where no memory is mapped")
        }
        let isSystemCall = run.functionAtRIP?.model == .int80Syscall
        for slot in 0..<PtRegs.count where slot != PtRegs.origAX || isSystemCall {
            let address = regs &+ UInt64(slot) &* 8
            guard let found = run.machine.memory.peek(address) else { continue }
            var wanted =
                slot == PtRegs.origAX
                // The number of an INT 0x80 is 32 bits wide (fact F27).
                ? activation.interrupted[.rax] & 0xFFFF_FFFF
                :
                slot < PtRegs.registers.count
                ? activation.interrupted[PtRegs.registers[slot]] : activation.frameWords[slot - PtRegs.rip]
            // System calls start out with -ENOSYS as their result.
            if isSystemCall && slot == PtRegs.rax { wanted = UInt64(bitPattern: -38) }
            if found == wanted { continue }
            return Finding(
                rule,
                "\(run.here) finds \(hexadecimal(found)) in pt_regs->\(PtRegs.names[slot]) at \(hexadecimal(address)); \(run.eventName(activation)) (activation \(activation.number)) interrupted with \(hexadecimal(wanted))\(run.frameDistance(regs, activation))")
        }
        return nil
    }
}

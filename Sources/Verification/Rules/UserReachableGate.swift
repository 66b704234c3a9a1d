import EntryCode
import Machine

/// INT n reaches exactly the gates that are made for it.
enum UserReachableGate: Invariant {
    static let rule = Rule(
        "user-reachable-gate",
        statement:
            "A program reaches by INT n the breakpoint, overflow and system-call gates, and no other; its SYSCALL and SYSENTER arrive as system calls, or as faults where the kernel offers none. Nothing else arrives as a system call.",
        why:
            "Other stubs expect a frame with an error code, interrupts in a known state, or hardware that raised the event; and a debugger's int3 must not be a protection fault.",
        sources: ["SDM vol. 3, 6.12.1.1 (gate DPL)", "Linux 5.2 arch/x86/kernel/idt.c, SYSG", "facts F20, F24"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard case .handler = checkpoint, let activation = run.current, activation.number == 1 else { return nil }
        if run.modelAtRIP?.isSystemCall == true && activation.event.source == .external {
            return Finding(
                rule,
                "the interrupt with vector \(activation.event.vector) arrives in \(run.here) as a system call, which the interrupted program has not made: the stub cannot tell it from INT \(activation.event.vector)"
            )
        }
        guard run.scenario.context.isUser else { return nil }
        let vector = run.scenario.vector
        if run.scenario.probe == .refusedCall {
            if activation.event.source == .fault { return nil }
            return Finding(
                rule,
                "the program's \(Console.vectorMnemonic(vector)), for which the kernel has registered no entry, reaches \(run.here)"
            )
        }
        if run.scenario.probe == .softwareInterrupt {
            guard activation.event.source == .software else { return nil }
            return Finding(
                rule,
                "INT \(vector) from user mode reaches \(run.here): the gate of vector \(vector) has DPL 3")
        }
        if run.image.isFastSystemCall(vector), activation.event.vector != vector, !activation.isReturnFault,
            activation.event.source == .fault
        {
            return Finding(
                rule,
                "the program's \(Console.vectorMnemonic(vector)) becomes \(Console.vectorMnemonic(activation.event.vector)) with error code \(hexadecimal(UInt64(activation.event.errorCode), digits: 4)): it is refused"
            )
        }
        let isMeant = vector == Vector.breakpoint || vector == Vector.overflow || vector == 0x80
        guard isMeant, activation.event.vector != vector else { return nil }
        return Finding(
            rule,
            "the program's INT \(vector) becomes \(Console.vectorMnemonic(activation.event.vector)) with error code \(hexadecimal(UInt64(activation.event.errorCode), digits: 4)): the gate of vector \(vector) cannot be reached from user mode"
        )
    }
}

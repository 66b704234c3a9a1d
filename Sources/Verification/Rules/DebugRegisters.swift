import EntryCode
import Machine

/// Breakpoints are off where they must be, and what a debugger has set survives.
enum DebugRegisters: Invariant {
    static let rule = Rule(
        "debug-registers", isLatent: true,
        latentConsequence:
            "a breakpoint in a handler that cannot bear one, a watchpoint that is never hit again, or a #DB that is taken for another",
        statement:
            "No breakpoint is enabled while a handler runs that promises so; DR7 is afterwards as it was. The handler of #DB learns from DR6 what happened, and leaves nothing in it.",
        why:
            "From 5.8 on no IST is shifted: a breakpoint inside the handler of #DB overwrites its frame. DR6 keeps its bits until software clears them.",
        sources: [
            "SDM vol. 3, 17.2.3 and 17.2.4 (DR6, DR7)",
            "Linux 6.1 arch/x86/include/asm/debugreg.h, local_db_save and local_db_restore",
            "Linux 6.1 arch/x86/kernel/traps.c, debug_read_clear_dr6",
        ])

    /// Enables of the four breakpoints, local and global.
    private static let enables: UInt64 = 0xFF

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        switch checkpoint {
        case .handler: return inHandler(&run)
        case .resumed: return afterwards(&run)
        default: return nil
        }
    }

    private static func inHandler(_ run: inout ScenarioRun) -> Finding? {
        guard let function = run.functionAtRIP, run.isHandlingEvent, !run.innermost.isUnexpected else { return nil }
        if function.needsBreakpointsOff && run.machine.cpu.dr7 & enables != 0 {
            return Finding(
                rule,
                "\(run.here) runs with \(hexadecimal(run.machine.cpu.dr7, digits: 8)) in DR7: a breakpoint is enabled")
        }
        guard let place = function.register(of: .debugStatus), run.innermost.event.vector == Vector.debug else {
            return nil
        }
        let (found, wanted) = (run.machine[place], run.innermost.event.debugBits)
        if found == wanted { return nil }
        return Finding(
            rule,
            "\(run.here) receives \(hexadecimal(found)) as what DR6 says; #DB came with \(hexadecimal(wanted, digits: 4))"
        )
    }

    private static func afterwards(_ run: inout ScenarioRun) -> Finding? {
        guard run.activations.count == 1 else { return nil }
        let (found, wanted) = (run.machine.cpu.dr7, run.contextDebugControl)
        if found != wanted {
            return Finding(
                rule,
                "the interrupted program resumes with \(hexadecimal(found, digits: 8)) in DR7 instead of \(hexadecimal(wanted, digits: 8))"
            )
        }
        let activation = run.innermost
        guard activation.event.vector == Vector.debug, activation.handlerCalls > 0,
            run.machine.cpu.dr6 != DebugStatus.none
        else { return nil }
        return Finding(
            rule,
            "\(run.eventName(activation)) (activation \(activation.number)) is over, and DR6 still holds \(hexadecimal(run.machine.cpu.dr6, digits: 8)): the next #DB finds its bits"
        )
    }
}

import EntryCode
import Machine

/// What waits for the return to user mode is done there: signals, rescheduling, a flush of the user's translations.
enum ExitWork: Invariant {
    static let rule = Rule(
        Progress.rule.id, isLatent: true,
        latentConsequence: "what was put off to this return waits for the next one, or is forgotten",
        statement: Progress.rule.statement, why: Progress.rule.why, sources: Progress.rule.sources)

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        if case .cFunction = checkpoint {
            guard run.modelAtRIP == .exitToUser, run.functionAtRIP?.origin == .user, run.isHandlingEvent,
                run.innermost.expected.isKernelMode, !run.innermost.isUnexpected
            else { return nil }
            return Finding(
                rule,
                "\(run.here) prepares a return to user mode for \(run.eventName(run.innermost)) (activation \(run.innermost.number)), which came from the kernel"
            )
        }
        guard case .resumed = checkpoint, run.isHandlingEvent else { return nil }
        if run.innermost.isDebuggersTrap, let finding = missedFlushInEntryCode(&run) { return finding }
        guard !run.innermost.expected.isKernelMode else { return nil }
        if let finding = missedFlush(&run) { return finding }
        // NMIs and what has no C function of its own do no work for the program; later kernels do it in the handler.
        let activation = run.innermost
        guard run.image.hasExitFunction, activation.handlerCalls > 0, !activation.didExitWork,
            activation.event.vector != Vector.nmi, activation.event.vector != Vector.doubleFault,
            !activation.isUnexpected, run.targetBehindDoubleFault == nil
        else { return nil }
        return Finding(
            rule,
            "\(run.eventName(activation)) (activation \(activation.number)) returns to user mode without a look at pending work: a signal or a reschedule waits for the next entry"
        )
    }

    /// The handler of a #DB in entry code has put off a flush, and the user's page tables are loaded when it returns.
    private static func missedFlushInEntryCode(_ run: inout ScenarioRun) -> Finding? {
        let activation = run.innermost
        guard run.scenario.probe == .movSS, run.layout.userFlushMask != nil, activation.interrupted.isKernelMode,
            activation.handlerCalls > 0, activation.interrupted.cr3 & run.machine.cpu.userHalfBit != 0,
            !run.machine.cpu.hasFlushedUserHalf
        else { return nil }
        return Finding(
            UserPageTable.rule,
            "\(run.eventName(activation)) (activation \(activation.number)) returns to entry code with the user's page tables, without the flush of their translations that its handler has put off: CR3 was loaded with bit 63 set"
        )
    }

    private static func missedFlush(_ run: inout ScenarioRun) -> Finding? {
        guard let mask = run.pendingFlush, run.activations.count == 1 else { return nil }
        let isNoted = (run.machine.memory.peek(mask.word) ?? 0) & mask.bit != 0
        if run.machine.cpu.hasFlushedUserHalf { return nil }
        return Finding(
            UserPageTable.rule,
            "user code resumes without the flush of its translations that was put off to this return\(isNoted ? "" : ", and the note of it is gone"): CR3 was loaded with bit 63 set"
        )
    }
}

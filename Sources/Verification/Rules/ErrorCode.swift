import EntryCode
import Machine

/// What the processor says about the event reaches the handler: error code and fault address.
enum ErrorCode: Invariant {
    static let rule = Rule(
        "error-code",
        statement:
            "The handler receives the error code that was pushed (0 where there is none; its U bit for page faults of user mode only) and, for page faults, the address that faulted.",
        why:
            "A stub that is wrong about the error code is one word off everywhere. CR2 is overwritten by the next fault, so it must be read before anything that may fault.",
        sources: [
            "SDM vol. 3, 6.13 (error code), 6.15 (#PF: CR2)",
            "Linux commit a0d14b8909de (x86/mm, tracing: Fix CR2 corruption)", "fact F14",
        ])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard case .handler = checkpoint, let activation = run.current, activation.handlerCalls == 0 else { return nil }
        if let shifted = shiftedFrame(&run, activation) { return shifted }
        var wanted = activation.event.pushesErrorCode ? UInt64(activation.event.errorCode) : 0
        // The U bit tells the handler whose fault it is, also where a guest kernel runs in ring 3 (fact F9).
        if activation.event.vector == Vector.pageFault && !activation.fromUser { wanted &= ~4 }
        guard let place = run.functionAtRIP?.register(of: .errorCode) else { return nil }
        let found = run.machine[place]
        if found == wanted || !takesErrorCode(run, activation) { return nil }
        return Finding(
            rule,
            "\(run.here) receives error code \(hexadecimal(found, digits: 4)); \(run.eventName(activation)) came with \(hexadecimal(wanted, digits: 4))"
        )
    }

    /// NMI, system-call and device handlers have pt_regs as their only argument.
    private static func takesErrorCode(_ run: ScenarioRun, _ activation: Activation) -> Bool {
        switch run.modelAtRIP {
        case .int80Syscall, .syscall, .fastSyscall, .sysenterCall, .interrupt, .nmi: false
        default: activation.event.vector != Vector.nmi
        }
    }

    /// A stub of bare metal that Xen enters: the two words that only Xen's frame has are still there when registers are saved
    /// below them.
    private static func withoutThunk(_ run: inout ScenarioRun, _ activation: Activation) -> Finding? {
        let end = activation.frame &- (activation.event.pushesErrorCode ? 8 : 0)
        func isWord(_ address: UInt64, _ slot: FrameSlot) -> Bool {
            guard let owner = run.machine.memory.owner(at: address) else { return false }
            return owner.kind == .hardwareFrame && owner.slot == slot.rawValue && owner.activation == activation.number
        }
        let saved = Owner(.savedRegister, slot: Register.rdi.rawValue, activation: activation.number)
        let isAboveRegisters =
            isWord(end &- 8, .r11) && isWord(end &- 16, .rcx)
            && (3...4).contains { run.machine.memory.owner(at: end &- $0 &* 8) == saved }
        // What was copied to the task's stack meanwhile has taken them along.
        let slot = run.isAtEventHandler ? run.handlerRegisters &+ UInt64(PtRegs.rip) &* 8 : 0
        let isInSlots = slot != 0 && isWord(slot, activation.event.pushesErrorCode ? .r11 : .rcx)
        guard isAboveRegisters || isInSlots else { return nil }
        return Finding(
            activation.event.pushesErrorCode ? rule : PtRegsFaithful.rule,
            "the stub of \(run.eventName(activation)) saves registers below RCX and R11, the two words of Xen's frame that the processor's has not: it is registered with Xen as it is, without a thunk that pops them, and pt_regs is 16 bytes off"
        )
    }

    /// Looks at the two words below the frame's RIP: a stub keeps exactly one word between RIP and the saved RDI.
    ///
    /// Of the rules that break in a shifted frame this is the cause; `ScenarioRun.record` asks for it before it names another.
    static func shiftedFrame(_ run: inout ScenarioRun, _ activation: Activation) -> Finding? {
        guard activation.handlerCalls == 0, activation.event.source != .syscall, run.modelAtRIP != .int80Syscall else {
            return nil
        }
        let below = activation.frame &- 8
        guard let first = run.machine.memory.owner(at: below),
            let second = run.machine.memory.owner(at: below &- 8)
        else { return nil }
        let isPV = run.hypervisor != nil
        let pushed = activation.event.pushesErrorCode
        func isRDI(_ owner: Owner) -> Bool {
            owner.kind == .savedRegister && owner.slot == Register.rdi.rawValue && owner.activation == activation.number
        }
        if isPV, let untouched = withoutThunk(&run, activation) { return untouched }
        if !pushed, isRDI(first), activation.event.source == .software, run.scenario.context.isUser,
            activation.number == 1, Vector.pushesErrorCode(activation.event.vector)
        {
            return Finding(
                UserReachableGate.rule,
                "INT \(activation.event.vector) from user mode enters the stub of \(run.eventName(activation)): the gate of vector \(activation.event.vector) has DPL 3. INT n pushes no error code, the stub takes one for granted: RDI is saved at \(hexadecimal(below)), directly below RIP, and pt_regs is 8 bytes off"
            )
        }
        if !pushed, isRDI(first) {
            return Finding(
                rule,
                "the stub of \(run.eventName(activation)) takes an error code for granted, but the event pushes none: RDI is saved at \(hexadecimal(below)), directly below RIP, and pt_regs is 8 bytes off",
                at: nil)
        }
        let hasErrorCode = first.kind == .hardwareFrame && first.slot == FrameSlot.errorCode.rawValue
        if pushed, hasErrorCode || isPV, second.kind == .immediate, second.activation == activation.number,
            let third = run.machine.memory.owner(at: below &- 16), isRDI(third)
        {
            return Finding(
                rule,
                "the stub of \(run.eventName(activation)) pushes a placeholder at \(hexadecimal(below &- 8)) although the error code is already at \(hexadecimal(below)): pt_regs is 8 bytes off"
            )
        }
        return nil
    }
}

/// The fault address, read too late; latent, because the wrong address is a plausible one.
enum FaultAddress {
    /// Looks at the address that a page-fault handler works with.
    static func check(_ run: inout ScenarioRun, receives argument: UInt64?) -> Finding? {
        guard run.isHandlingEvent, run.innermost.event.vector == Vector.pageFault, let activation = run.current,
            activation.handlerCalls == 0, !activation.isUnexpected
        else { return nil }
        let used = argument ?? CFunctionCall.faultAddress(run.machine, run.hypervisor)
        if used == activation.event.address { return nil }
        let how = argument == nil ? "reads CR2 itself and finds" : "receives"
        let cause =
            used == CFunctionCall.tracedAddress
            ? "traced code ran before and may have faulted, which overwrote CR2" : "CR2 was not read in time"
        return Finding(
            latentRule,
            "\(run.functionAtRIP?.name ?? run.here) \(how) \(hexadecimal(used)) as the fault address; the event's is \(hexadecimal(activation.event.address)): \(cause)"
        )
    }

    private static let latentRule = Rule(
        ErrorCode.rule.id, isLatent: true,
        latentConsequence:
            "the fault is handled at a wrong address: the program faults again, or gets a SIGSEGV that it did not earn",
        statement: ErrorCode.rule.statement, why: ErrorCode.rule.why,
        sources: ErrorCode.rule.sources)
}

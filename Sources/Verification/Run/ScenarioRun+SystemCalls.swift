import EntryCode
import Machine
import XenPV

/// SYSCALL and SYSENTER: the way in, which leaves no frame, and the C side of 32-bit calls.
extension ScenarioRun {
    /// The program's SYSCALL or SYSENTER, with which the scenario begins.
    ///
    /// The processor pushes no frame. What one would hold is what the kernel must build: the five words that `pt_regs`
    /// ends with.
    mutating func executeSystemCall() {
        var interrupted = savedContext()
        let before = machine.cpu
        let index = Int(before.index)
        guard image.program.instructions.indices.contains(index) else {
            ending = .halted
            return
        }
        let vector = scenario.vector
        let isRefused = scenario.probe == .refusedCall
        // Where the instruction itself faults, the fault is the scenario's event.
        eventIsPending = isRefused
        let outcome = recorder == nil ? machine.step(image.program) : recordedStep()
        if isRefused, !executeRefused(vector, outcome, &interrupted, before) { return }
        switch vector {
        case Platform.sysenterVector:
            // Nobody learns where the program was; the vDSO passes RSP in RBP (Linux 5.2 entry_64_compat.S).
            interrupted.rip = 0
            interrupted[.rsp] = interrupted[.rbp]
        case Platform.syscall32Vector:
            interrupted.rip = image.program.addresses[index] &+ UInt64(image.program.instructions[index].length)
            // The vDSO passes RCX in RBP.
            interrupted[.rcx] = interrupted[.rbp]
        default:
            // The program sees RIP behind the instruction, and in RCX and R11 what SYSCALL leaves there (SDM vol. 2).
            interrupted.rip = image.program.addresses[index] &+ UInt64(image.program.instructions[index].length)
            interrupted[.rcx] = interrupted.rip
            interrupted[.r11] = interrupted.flags
        }
        var frame = layout.taskStack.end &- 5 &* 8
        var event = Event(vector: vector, source: .syscall)
        switch outcome {
        case .next: machine.noteInterruption()
        case .paravirtualSyscall, .paravirtualSysenter:
            if recorder != nil { machine.writes.removeAll(keepingCapacity: true) }
            switch enterGuest(vector) {
            case .entered(let delivered, let base):
                frame = base &+ 2 &* 8
                if delivered.source == .fault {
                    // Instead of the callback.
                    event = delivered
                    if delivered.pushesErrorCode { frame &+= 8 }
                }
                // Xen clears DF for SYSRET before it shows the flags (fact F22).
                interrupted.flags = machine.memory.peek(frame &+ 2 &* 8) ?? 0
                if vector == Platform.syscallVector { interrupted[.r11] = interrupted.flags }
            case .crashed(let crash):
                record(UnexpectedFault.domainCrash(self, crash))
                ending = .domainCrash(crash)
                return
            case .held, nil:
                ending = .halted
                return
            }
        default:
            handle(outcome)
            return
        }
        var words: InlineArray<5, UInt64> = InlineArray(repeating: 0)
        words[0] = interrupted.rip
        words[1] = UInt64(interrupted.cs)
        words[2] = interrupted.flags
        words[3] = interrupted[.rsp]
        words[4] = UInt64(interrupted.ss)
        var wanted = interrupted
        if scenario.probe == .unknownCall { wanted[.rax] = UInt64(bitPattern: -38) }
        var activation = Activation(
            number: nextActivation, event: event, interrupted: interrupted,
            expected: wanted, frameWords: words, frame: frame, isUnexpected: event.source == .fault)
        activation.didExitWork = scenario.probe == .unknownCall
        activation.enteredWithEventsMasked = eventsAreMasked
        push(activation)
        recordDelivery(before: before)
    }

    mutating func enterGuest(_ vector: UInt8) -> GuestDelivery? {
        let number = nextActivation
        return switch vector {
        case Platform.sysenterVector: hypervisor?.deliverSysenter(activation: number, &machine, image.program)
        case Platform.syscall32Vector: hypervisor?.deliverSyscall32(activation: number, &machine, image.program)
        default: hypervisor?.deliverSyscall(activation: number, &machine, image.program)
        }
    }

    // MARK: The fast path of 64-bit calls

    /// What such a call returns.
    private static let tableResult: UInt64 = 0x4D2

    /// A number of which no bit may be lost on the way to C: entry code that looks for a call by it has numbers of its own.
    mutating func setCallNumber() {
        guard scenario.vector == Platform.syscallVector, scenario.context.isUser,
            image.functions.contains(where: { $0.model == .syscall && $0.arguments.contains(.number) })
        else { return }
        machine[.rax] |= 0x8123_0405
    }

    /// The task has no work that keeps its call from the fast path, and calls what the probe needs.
    mutating func setFastCall() {
        guard let (work, calls) = layout.fastCalls, scenario.vector == Platform.syscallVector else { return }
        let isOpen = scenario.context == .userIdleTask || image.table.options[calls.option] == false
        if !isOpen { return }
        setContextBytes(0, at: work, size_bytes: 8)
        switch scenario.probe {
        case .unknownCall: break
        case .tableCall, .pendingSignal: machine[.rax] = calls.plain
        default: machine[.rax] = calls.whole
        }
    }

    /// The task has work before its calls, as its `thread_info` says.
    mutating func setCallWork() {
        guard let work = layout.callWork else { return }
        let flags: UInt64
        switch scenario.probe {
        case .trackedCall: flags = work.tracking
        case .tracedCall: flags = work.tracking | work.tracing
        default: return
        }
        setContextBytes(flags, at: layout.taskStack.base &+ work.offset, size_bytes: 4)
    }

    /// The signal that was waiting has been dealt with.
    mutating func takeWork() {
        guard let (work, calls) = layout.fastCalls, let word = machine.memory.peek(work) else { return }
        machine.memory.poke(word & ~calls.signal, at: work, step: machine.stepNumber)
    }

    /// A call from `sys_call_table` that needs no `pt_regs`: its result.
    mutating func makeTableCall() -> UInt64 {
        guard isHandlingEvent, let (work, calls) = layout.fastCalls else { return CFunctionCall.clobber }
        let last = activations.count - 1
        activations[last].handlerCalls += 1
        speculation.isArmed = false
        if let finding = PtRegsFaithful.arguments(&self) { record(finding) }
        activations[last].expected[.rax] = ScenarioRun.tableResult
        if scenario.probe == .pendingSignal {
            let word = machine.memory.peek(work) ?? 0
            machine.memory.poke(word | calls.signal, at: work, step: machine.stepNumber)
        } else {
            // Nothing waits.
            activations[last].didExitWork = true
        }
        return ScenarioRun.tableResult
    }

    // MARK: The C side of 32-bit calls

    /// `do_SYSENTER_32` and `do_fast_syscall_32` up to the call itself (Linux 6.1 `arch/x86/entry/common.c`): the call
    /// looks like an INT 0x80 at the landing pad of the vDSO.
    ///
    /// - Returns: Whether the sixth argument could be read.
    mutating func beginFastCall(_ regs: UInt64, _ model: HandlerModel) -> Bool {
        adoptRegisters(regs)
        if model == .sysenterCall {
            edit(regs, PtRegs.rsp, slot(regs, PtRegs.rbp))
            edit(regs, PtRegs.flags, slot(regs, PtRegs.flags) | Flags.interrupt)
        }
        if hasClearedTrapFlag { edit(regs, PtRegs.flags, slot(regs, PtRegs.flags) | Flags.trap) }
        edit(regs, PtRegs.rip, layout.userLandingPad)
        let base = slot(regs, PtRegs.rbp) & ~0xFFFF_FFFF
        let place = slot(regs, PtRegs.rsp) & 0xFFFF_FFFF
        guard let word = machine.memory.peek(place), machine.memory.translate(place)?.attributes.contains(.user) == true
        else {
            // get_user() leaves 0 where it fails.
            edit(regs, PtRegs.rbp, base)
            edit(regs, PtRegs.rax, UInt64(bitPattern: -14))
            return false
        }
        edit(regs, PtRegs.rbp, base | (word >> ((place & 4) * 8)) & 0xFFFF_FFFF)
        return true
    }

    /// What the entry code has put into slots where the program's own value is lost or means nothing to it.
    ///
    /// `PtRegsFaithful` has looked at them; from now on they are what the program resumes with.
    private mutating func adoptRegisters(_ regs: UInt64) {
        guard !activations.isEmpty else { return }
        let last = activations.count - 1
        let slots = [
            PtRegs.r8, PtRegs.r9, PtRegs.r10, PtRegs.r11, PtRegs.r12, PtRegs.r13, PtRegs.r14, PtRegs.r15, PtRegs.rcx,
        ]
        for slot in slots { activations[last].expected[PtRegs.registers[slot]] = self.slot(regs, slot) }
        let flags = slot(regs, PtRegs.flags)
        activations[last].expected.flags = flags
        activations[last].expected.eventsMasked = flags & Flags.interrupt == 0
        activations[last].frameWords[2] = flags
    }

    /// The same for an INT 0x80 of 32-bit code: R8 to R11, which older stubs fill with nothing.
    mutating func adoptHighRegisters(_ regs: UInt64) {
        let last = activations.count - 1
        guard last >= 0, activations[last].isCall32, !activations[last].isFastCall32 else { return }
        for slot in [PtRegs.r8, PtRegs.r9, PtRegs.r10, PtRegs.r11] where self.slot(regs, slot) == 0 {
            activations[last].expected[PtRegs.registers[slot]] = 0
        }
    }

    /// What `do_fast_syscall_32` returns: SYSRET gives what `pt_regs` asks for.
    func fastCallResult(_ regs: UInt64, isComplete: Bool) -> UInt64 {
        let fits =
            slot(regs, PtRegs.cs) == 0x23 && slot(regs, PtRegs.ss) == 0x2B
            && slot(regs, PtRegs.rip) == layout.userLandingPad
            && slot(regs, PtRegs.flags) & (Flags.resume | Flags.trap) == 0
        return isComplete && fits ? 1 : 0
    }

    private func slot(_ regs: UInt64, _ slot: Int) -> UInt64 {
        machine.memory.peek(regs &+ UInt64(slot) &* 8) ?? 0
    }
}

extension Activation {
    /// A system call from 32-bit code that keeps neither RIP nor all registers: SYSENTER or SYSCALL.
    var isFastCall32: Bool { event.source == .syscall && event.vector != Platform.syscallVector }

    /// A system call from 32-bit code, by INT 0x80 or faster.
    var isCall32: Bool {
        isFastCall32 || event.vector == 0x80 && event.source == .software && interrupted.cs == 0x23
    }

    /// Whether a register of the program may hold this after a 32-bit call.
    ///
    /// SYSRET puts RIP into RCX and the flags into R11, and R8 to R15 need not come back: 32-bit code does not have
    /// them. They must not hold anything of the kernel's, however.
    func mayLose(_ register: Register, to value: UInt64) -> Bool {
        guard isCall32 else { return false }
        switch register {
        case .rcx: return isFastCall32 && value == expected.rip
        case .r11: return value == 0 || isFastCall32 && value == expected.flags
        case .r8, .r9, .r10: return value == 0
        // C preserves them, and so they are as the entry code has left them: cleared or not.
        case .r12, .r13, .r14, .r15: return value == 0 || value == interrupted[register]
        default: return false
        }
    }
}

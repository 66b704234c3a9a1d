import EntryCode
import Machine

/// The handler sees the interrupted context, every register of it.
enum PtRegsFaithful: Invariant {
    static let rule = Rule(
        "pt-regs-faithful",
        statement:
            "pt_regs, as the handler receives it, holds every register of the interrupted context in its slot; for an event from user mode it is the one that task_pt_regs() finds.",
        why:
            "Handlers decide by pt_regs (user_mode(), the address of a breakpoint, fixups), edit it, and it is what resumes.",
        sources: [
            "Linux arch/x86/include/asm/ptrace.h, struct pt_regs", "Linux 5.2 arch/x86/entry/calling.h",
            "Linux 5.2 arch/x86/include/asm/processor.h, task_pt_regs",
            "Linux 5.2 arch/x86/kernel/signal.c, do_signal (orig_ax)",
            "Linux 5.2 arch/x86/kernel/irq.c, do_IRQ (orig_ax)",
            "facts F2, F34",
        ])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        guard case .handler = checkpoint, let activation = run.current else { return nil }
        let regs = run.handlerRegisters
        guard run.machine.memory.translate(regs) != nil else {
            return Finding(
                rule, "the handler \(run.here) receives \(hexadecimal(regs)) as pt_regs, where no memory is mapped")
        }
        if let shifted = shifted(&run, activation, regs) { return shifted }
        // C that fills in the number itself gets the frame of any other event.
        let isSystemCall = run.modelAtRIP?.isSystemCall == true && run.functionAtRIP?.takesNumberFromRAX != true
        for slot in 0..<PtRegs.count where slot != PtRegs.origAX || isSystemCall {
            let address = regs &+ UInt64(slot) &* 8
            guard let found = run.machine.memory.peek(address) else { continue }
            var wanted =
                slot == PtRegs.origAX
                // The number of an INT 0x80 is 32 bits wide (fact F27).
                ? activation.interrupted[.rax] & (run.modelAtRIP == .syscall ? .max : 0xFFFF_FFFF)
                : slot < PtRegs.registers.count
                    ? activation.interrupted[PtRegs.registers[slot]] : activation.frameWords[slot - PtRegs.rip]
            // System calls start out with -ENOSYS as their result.
            if isSystemCall && slot == PtRegs.rax { wanted = UInt64(bitPattern: -38) }
            if found == wanted || isFree(slot, found, activation, run) { continue }
            return Finding(
                rule,
                "\(run.here) finds \(hexadecimal(found)) in pt_regs->\(PtRegs.names[slot]) at \(hexadecimal(address)); \(run.eventName(activation)) (activation \(activation.number)) interrupted with \(hexadecimal(wanted))\(run.frameDistance(regs, activation))"
            )
        }
        if run.modelAtRIP == .syscall, let wrong = number(&run, activation) { return wrong }
        if !isSystemCall, let wrong = marker(&run, activation, regs) { return wrong }
        return misplacedForTask(&run, activation, regs)
    }

    /// Slots that a 32-bit system call may fill as it likes: what SYSENTER loses, and what 32-bit code does not have.
    private static func isFree(_ slot: Int, _ found: UInt64, _ activation: Activation, _ run: ScenarioRun) -> Bool {
        guard activation.isCall32 else { return false }
        let model = run.modelAtRIP
        switch slot {
        // Nothing, or the program's; R8 is where the entry code keeps RSP, R11 where SYSCALL leaves the flags.
        case PtRegs.r11...PtRegs.r8 where found == 0 || slot == PtRegs.r8 && found == activation.interrupted[.rsp],
            PtRegs.r11
        where found == activation.interrupted.flags && activation.event.vector == Platform.syscall32Vector,
            PtRegs.r15...PtRegs.r12 where found == 0:
            return true
        case PtRegs.rip, PtRegs.rsp:
            // do_SYSENTER_32 sets both; do_fast_syscall_32 the first only.
            return activation.event.vector == Platform.sysenterVector
                && (slot == PtRegs.rip || model == .sysenterCall)
        case PtRegs.flags:
            guard activation.event.vector == Platform.sysenterVector else { return false }
            // What is pushed is what SYSENTER, or Xen (fact F22), has left of them; arithmetic flags are the caller's to
            // lose, and the switch of CR3 comes before the push.
            let lostByXen = run.hypervisor == nil ? 0 : Flags.trap | Flags.nestedTask | Flags.alignmentCheck
            // do_debug may have taken TF away on the way; C puts it back.
            let lostByHandler = run.hasClearedTrapFlag ? Flags.trap : 0
            let lost = lostByHandler | Flags.interrupt | Flags.resume | Flags.iopl | Flags.arithmetic | lostByXen
            return (found ^ activation.interrupted.flags) & ~lost == 0
                && (model == .sysenterCall || found & Flags.interrupt != 0)
        default: return false
        }
    }

    /// The number that `do_syscall_64` gets: RAX, or from 5.13 on its low half (fact F27).
    private static func number(_ run: inout ScenarioRun, _ activation: Activation) -> Finding? {
        guard let place = run.functionAtRIP?.register(of: .number) else { return nil }
        let (found, wanted) = (run.machine[place], activation.interrupted[.rax])
        // The upper half of a register is nobody's where the argument is an int (System V AMD64 ABI).
        let mask: UInt64 = run.functionAtRIP?.numberIsInt == true ? 0xFFFF_FFFF : .max
        if (found ^ wanted) & mask == 0 { return nil }
        return Finding(
            rule,
            "\(run.here) receives \(hexadecimal(found)) as the number of the system call; the program asked for \(hexadecimal(wanted))"
        )
    }

    /// The arguments of a call that is made without C between it and the program: the fourth moves from R10 to RCX
    /// (System V AMD64 ABI, A.2.1).
    static func arguments(_ run: inout ScenarioRun) -> Finding? {
        let places: [(Register, Register)] = [
            (.rdi, .rdi), (.rsi, .rsi), (.rdx, .rdx), (.rcx, .r10), (.r8, .r8), (.r9, .r9),
        ]
        for (place, source) in places where run.machine[place] != run.innermost.interrupted[source] {
            return Finding(
                rule,
                "\(run.here) receives \(hexadecimal(run.machine[place])) in \(place.name); the program passed \(hexadecimal(run.innermost.interrupted[source])) in \(source.name)"
            )
        }
        return nil
    }

    /// Events from user mode leave their registers where signals, ptrace and fork look for them.
    private static func misplacedForTask(
        _ run: inout ScenarioRun, _ activation: Activation, _ regs: UInt64
    ) -> Finding? {
        // #DF stays on its own stack: nothing returns from it but the fault that it stands for.
        guard activation.fromUser, activation.event.vector != Vector.doubleFault else { return nil }
        let place = run.image.layout.taskStack.end &- UInt64(PtRegs.count) &* 8
        if regs == place { return nil }
        return Finding(
            rule,
            "\(run.here) receives pt_regs at \(hexadecimal(regs)); for an event from user mode task_pt_regs() looks at \(hexadecimal(place)), the top of the task stack"
        )
    }

    /// `orig_ax` of an event that is no system call: negative, or the complement of the vector for handlers that ask.
    private static func marker(_ run: inout ScenarioRun, _ activation: Activation, _ regs: UInt64) -> Finding? {
        let address = regs &+ UInt64(PtRegs.origAX) &* 8
        guard let found = run.machine.memory.peek(address) else { return nil }
        let vector = UInt64(activation.event.vector)
        if let place = run.functionAtRIP?.register(of: .vector), activation.event.source == .external {
            let bits = run.functionAtRIP?.vectorBits ?? 8
            let number = run.machine[place] & (bits < 64 ? 1 << bits &- 1 : .max)
            if number != vector {
                return Finding(
                    rule,
                    "\(run.here) receives \(hexadecimal(number)) as the vector; the interrupt has vector \(hexadecimal(vector))"
                )
            }
        }
        if run.functionAtRIP?.readsVectorFromOrigAX == true, activation.event.source == .external, ~found != vector {
            return Finding(
                rule,
                "\(run.here) finds \(hexadecimal(found)) in pt_regs->orig_ax at \(hexadecimal(address)) and takes it for vector \(hexadecimal(~found)); the interrupt has vector \(hexadecimal(vector)), whose complement is \(hexadecimal(~vector))"
            )
        }
        guard activation.fromUser, found >> 63 == 0 else { return nil }
        return Finding(
            rule,
            "\(run.here) finds \(hexadecimal(found)) in pt_regs->orig_ax at \(hexadecimal(address)): only a system call has a number there; a signal would restart one that was never made"
        )
    }

    /// The five words of the frame stand in other slots than their own: one fault explains every slot.
    private static func shifted(_ run: inout ScenarioRun, _ activation: Activation, _ regs: UInt64) -> Finding? {
        guard let words = distance(of: regs &+ UInt64(PtRegs.rip) &* 8, &run, activation), words != 0 else {
            return nil
        }
        let found = run.machine.memory.peek(regs &+ UInt64(PtRegs.rip) &* 8) ?? 0
        return Finding(
            rule,
            "\(run.here) finds \(hexadecimal(found)) in pt_regs->ip; \(run.eventName(activation)) (activation \(activation.number)) interrupted at \(hexadecimal(activation.frameWords[0])): the frame of the event stands \(abs(words) * 8) bytes \(words > 0 ? "above" : "below") the slots ip to ss"
        )
    }

    /// What a stub has pushed so far does not fit the frame: the word that will be pt_regs->cs is another one.
    ///
    /// Of the rules that then break this is the cause; `ScenarioRun.record` asks for it before it names another.
    static func misplaced(_ run: inout ScenarioRun, _ activation: Activation) -> Finding? {
        guard activation.handlerCalls == 0, run.modelAtRIP?.isSystemCall != true else { return nil }
        let saved = Owner(.savedRegister, slot: Register.rdi.rawValue, activation: activation.number)
        for index in 1...24 as ClosedRange<UInt64> {
            let address = activation.frame &- index &* 8
            guard run.machine.memory.owner(at: address) == saved else { continue }
            // Above a return address RDI only waits there: the code moves the frame to another stack.
            if run.machine.memory.owner(at: address &+ 8)?.kind == .returnAddress { return nil }
            guard let words = distance(of: address &+ 16, &run, activation), words != 0 else { return nil }
            return Finding(
                rule,
                "the stub of \(run.eventName(activation)) saves RDI at \(hexadecimal(address)); the words above it become pt_regs->orig_ax, ip, cs, flags, sp and ss, but the frame of the event stands \(abs(words) * 8) bytes \(words > 0 ? "above" : "below") them"
            )
        }
        return nil
    }

    /// How many words above a place that should hold RIP the frame's RIP, CS and RFLAGS are found; nil if nowhere near.
    private static func distance(of slot: UInt64, _ run: inout ScenarioRun, _ activation: Activation) -> Int? {
        for words in [0, 1, -1, 2, -2, 3, -3] {
            let place = slot &+ UInt64(bitPattern: Int64(words)) &* 8
            if run.machine.memory.peek(place) == activation.frameWords[0],
                run.machine.memory.peek(place &+ 8) == activation.frameWords[1],
                run.machine.memory.peek(place &+ 16) == activation.frameWords[2]
            {
                return words
            }
        }
        return nil
    }
}

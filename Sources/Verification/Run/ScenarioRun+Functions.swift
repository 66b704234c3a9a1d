import EntryCode
import Machine
import XenPV

extension ScenarioRun {
    /// Runs the model of the C function at RIP.
    mutating func runFunction(_ number: Int) {
        guard image.functions.indices.contains(number) else {
            ending = number == Program.gapModel ? .notUnderstood : .halted
            return
        }
        if image.functions[number].model == .notUnderstood {
            ending = .notUnderstood
            return
        }
        check(.cFunction)
        guard recorder != nil else {
            runBody(image.functions[number])
            dropWatchedAccess()
            return
        }
        let before = machine.cpu
        machine.writes.removeAll(keepingCapacity: true)
        runBody(image.functions[number])
        dropWatchedAccess()
        recorder?.amend(before: before, machine: machine)
    }

    private mutating func runBody(_ function: CFunction) {
        do throws(Fault) {
            let stackPointer = machine[.rsp]
            try CFunctionCall.enter(
                &machine, currentTaskOffset: layout.currentTaskOffset, stack_bytes: layout.functionStack_bytes)
            dropWatchedAccess()
            var body = Body(
                function: function, registers: 0, errorCode: 0, stackPointer: stackPointer,
                isHandler: function.model.isEventHandler)
            if body.isHandler {
                guard try beginHandler(&body) else { return }
            }
            guard visitNestedEvents(in: body) else { return }
            try finishBody(body)
        } catch {
            handleFault(error)
        }
    }

    /// `prepare_exit_to_usermode`: a signal that has come meanwhile is set up in `pt_regs`.
    private mutating func doExitWork() {
        guard !activations.isEmpty else { return }
        let last = activations.count - 1
        let isFirst = !activations[last].didExitWork
        activations[last].didExitWork = true
        guard scenario.probe == .pendingSignal, isFirst, last == 0 else { return }
        takeWork()
        let regs = machine[.rdi]
        guard machine.memory.translate(regs) != nil else { return }
        signal(regs)
    }

    /// Lets nested events come inside a C function; false where one of them did not come back to it.
    private mutating func visitNestedEvents(in body: Body) -> Bool {
        if remaining == 0 && plan.isEmpty { return true }
        let index = machine.cpu.index
        machine[.rsp] = body.stackPointer &- CFunctionCall.frame_bytes
        // All that may come with interrupts off may come with them on as well.
        if startsSoftirqs(body) { setSoftirqs(running: true) }
        suspended.append((activations.count, body))
        considerNestedEvents(in: body)
        suspended.removeLast()
        guard ending == nil, machine.cpu.index == index else { return false }
        machine[.rsp] = body.stackPointer
        return true
    }

    /// The rest of a C function that a nested event has interrupted.
    mutating func finish(_ body: Body) {
        machine[.rsp] = body.stackPointer
        do throws(Fault) {
            try finishBody(body)
        } catch {
            handleFault(error)
        }
    }

    /// `irq_exit` of an interrupt that came neither in another one nor in a softirq: what waits for it runs now, with
    /// interrupts on (Linux 6.1 `kernel/softirq.c`, `__irq_exit_rcu`).
    private func startsSoftirqs(_ body: Body) -> Bool {
        guard body.function.runsSoftirqs, !scenario.context.isOnInterruptStack, !scenario.context.isInNMI,
            activations.last?.event.source == .external
        else { return false }
        return !activations.dropLast().contains { $0.event.source == .external || $0.event.source == .nmi }
    }

    private mutating func finishBody(_ body: Body) throws(Fault) {
        if startsSoftirqs(body) { setSoftirqs(running: false) }
        if body.isHandler {
            try finishHandler(body)
            return
        }
        switch body.function.model {
        case .exitToUser: doExitWork()
        case .preempt, .mayPreempt: if !schedule(body.function) { return }
        case .tableCall:
            CFunctionCall.leave(&machine, result: makeTableCall())
            return
        default: break
        }
        // Tracing may fault at any time; it matters to events that have a fault address to lose.
        let mayFault = activations.last?.event.vector == Vector.pageFault
        let result = try EntryHelpers.run(body.function, &machine, &hypervisor, layout, tracingMayFault: mayFault)
        CFunctionCall.leave(&machine, result: result)
        // A hypercall without effect, but for what Xen does whenever it goes back to the guest.
        if body.function.model == .xenEventCheck { deliverPendingEvent() }
    }

    /// Begins the handler that the event was meant for, or that the kernel fell into; false where it is over already.
    private mutating func beginHandler(_ body: inout Body) throws(Fault) -> Bool {
        let function = body.function
        let model = function.model
        let regs = handlerRegisters
        let isFirstCall = activations.last?.handlerCalls == 0
        if function.disablesInterrupts || model.isSystemCall, !activations.isEmpty {
            activations[activations.count - 1].didExitWork = true
        }
        if isFirstCall {
            if check(.handler), hardCause != nil, Progress.wrongHandler(&self) != nil {
                // What it makes of the event is its own affair: the scenario's handler is not there to ask.
                printWrongHandler(regs)
                ending = .wrongHandler(functionAtRIP?.name ?? "")
                return false
            }
            // 5.3 hands the address over as third argument; before and after, the C handler reads CR2 itself.
            let handsOver = image.table.options["READ_CR2_IN_ENTRY"] ?? false
            let place = function.register(of: .address) ?? (handsOver && !function.readsCR2 ? .rdx : nil)
            let address = place.map { machine[$0] }
            if let finding = FaultAddress.check(&self, receives: address) {
                record(finding)
            }
        }
        speculation.isArmed = false
        if !activations.isEmpty { activations[activations.count - 1].handlerCalls += 1 }
        if activations.last?.event.source == .nmi { owesNMI = false }
        if scenario.probe.isParavirtCall { takePendingEvent() }
        switch activations.last?.event.vector {
        // Both handlers begin by reading what happened, and clear it.
        case Vector.machineCheck: machine.cpu.machineCheckInProgress = false
        case Vector.debug where function.register(of: .debugStatus) == nil: machine.cpu.dr6 = DebugStatus.none
        default: break
        }
        if let finding = Progress.handledTwice(&self) { record(finding) }
        guard let activation = activations.last else {
            try handleNoEvent(function, regs)
            return false
        }
        if activation.handlerCalls > limits.recurrences {
            // The event's own return leads back to its handler.
            ending = .endlessRecursion(vector: activation.event.vector, address: activation.interrupted.rip)
            return false
        }
        // user_mode(regs)
        let cs = try machine.load(regs &+ UInt64(PtRegs.cs) &* 8, .quad)
        let fromUser = cs & 3 != 0
        let errorCode = function.register(of: .errorCode).map { machine[$0] } ?? 0
        body.registers = regs
        body.errorCode = errorCode
        if model == .doubleFault, activation.isUnexpected || scenario.probe != .oops || activation.isInjected {
            if try rewriteEspfixFault(regs) {
                CFunctionCall.leave(&machine)
                return false
            }
            if targetBehindDoubleFault != nil {
                record(DoubleFault.unhandled(self))
                endUnexpectedly(activation, regs: regs, errorCode: errorCode, fromUser: fromUser)
                return false
            }
        }
        if activation.isUnexpected {
            endUnexpectedly(activation, regs: regs, errorCode: errorCode, fromUser: fromUser)
            return false
        }
        if activation.fromUser && !fromUser && diesInKernelMode(function) {
            // What the stub has made of the frame says that the kernel did it, and nothing in the kernel claims it.
            endUnexpectedly(activation, regs: regs, errorCode: errorCode, fromUser: fromUser)
            return false
        }
        if activation.isDebuggersTrap {
            handleDebuggersTrap(regs, fromUser: fromUser)
            if function.disablesInterrupts { CFunctionCall.setInterrupts(enabled: false, &machine, &hypervisor) }
            CFunctionCall.leave(&machine)
            return false
        }
        let flags = try machine.load(regs &+ UInt64(PtRegs.flags) &* 8, .quad)
        // cond_local_irq_enable(); handlers that run on their own stacks leave interrupts alone.
        let enables =
            model == .exception && activation.event.vector != Vector.debug
            && activation.event.vector != Vector.breakpoint && activation.event.vector != Vector.machineCheck
        if enables && flags & Flags.interrupt != 0 {
            CFunctionCall.setInterrupts(enabled: true, &machine, &hypervisor)
        }
        return true
    }

    /// Handlers that end in `die()` where `pt_regs` shows kernel mode and no table has the address (Linux 5.2
    /// `arch/x86/kernel/traps.c`, `do_trap_no_signal`, `do_int3`). Page faults, #DB, #MC and #NM are more patient.
    private func diesInKernelMode(_ function: CFunction) -> Bool {
        guard function.model == .exception, function.origin == nil, function.events.count == 1,
            let vector = function.events.first
        else { return false }
        switch vector {
        case Vector.debug, Vector.pageFault, Vector.machineCheck, Vector.deviceNotAvailable: return false
        default: return vector < 32 && vector != Vector.virtualization
        }
    }

    /// A handler is called though no event is unfinished: a return has led back into a stub. It believes `pt_regs`.
    private mutating func handleNoEvent(_ function: CFunction, _ regs: UInt64) throws(Fault) {
        guard function.events.count == 1, let vector = function.events.first, function.model == .exception else {
            ending = .halted
            return
        }
        let cs = try machine.load(regs &+ UInt64(PtRegs.cs) &* 8, .quad)
        let errorCode = function.register(of: .errorCode).map { machine[$0] } ?? 0
        if cs & 3 != 0 {
            ending = .processKilled(vector: vector, errorCode: errorCode)
        } else if diesInKernelMode(function) || vector == Vector.pageFault {
            printOops(regs: regs, errorCode: errorCode, vector: vector)
            ending = .oops(vector: vector, errorCode: errorCode)
        } else {
            ending = .halted
        }
    }

    private mutating func finishHandler(_ body: Body) throws(Fault) {
        guard let activation = activations.last else {
            ending = .halted
            return
        }
        let model = body.function.model
        if body.function.disablesInterrupts { CFunctionCall.setInterrupts(enabled: false, &machine, &hypervisor) }
        var isComplete = true
        if model == .fastSyscall || model == .sysenterCall { isComplete = beginFastCall(body.registers, model) }
        if model == .int80Syscall { adoptHighRegisters(body.registers) }
        if model.isSystemCall {
            if body.function.takesNumberFromRAX {
                let number = try machine.load(body.registers &+ UInt64(PtRegs.rax) &* 8, .quad) & 0xFFFF_FFFF
                edit(body.registers, PtRegs.origAX, number)
            }
            // No such call: ENOSYS. The result of SYSCALL is one that the stub has not put there already.
            if isComplete { edit(body.registers, PtRegs.rax, UInt64(bitPattern: model == .syscall ? -9 : -38)) }
            CFunctionCall.setInterrupts(enabled: body.function.interruptsOn, &machine, &hypervisor)
        }
        if !activation.isInjected { try act(body.registers, activation, errorCode: body.errorCode) }
        guard ending == nil else { return }
        if model == .fastSyscall || model == .sysenterCall {
            CFunctionCall.leave(&machine, result: fastCallResult(body.registers, isComplete: isComplete))
        } else {
            CFunctionCall.leave(&machine)
        }
    }

    /// Does to the interrupted context what the scenario's probe says.
    private mutating func act(
        _ regs: UInt64, _ activation: Activation, errorCode: UInt64
    ) throws(Fault) {
        if activation.isReturnFault {
            // SIGSEGV for a target that cannot be returned to.
            signal(regs)
            return
        }
        if scenario.probe.isFoundByAddress {
            // The tables of breakpoints and of faults that are expected are searched for pt_regs->ip.
            let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
            if rip != activation.interrupted.rip {
                let cs = try machine.load(regs &+ UInt64(PtRegs.cs) &* 8, .quad)
                endUnexpectedly(activation, regs: regs, errorCode: errorCode, fromUser: cs & 3 != 0)
                return
            }
        }
        switch scenario.probe {
        case .setTrapFlag:
            let flags = try machine.load(regs &+ UInt64(PtRegs.flags) &* 8, .quad)
            edit(regs, PtRegs.flags, flags | Flags.trap)
        case .singleStep, .movSS, .movSSStep, .watchpoint: break
        case .pendingSignal, .pendingFlush, .tableCall, .unknownCall: break
        case .return, .nestedTaskFlag, .alignmentFlag, .badUserStack, .badDS, .badES, .badFS, .badGS: break
        case .prefixedInterrupt, .hostInterrupt: break
        case .otherTask: runOtherTask()
        case .signal, .refusedCall: signal(regs)
        case .softwareInterrupt:
            if activation.event.vector == Vector.generalProtection { signal(regs) }
        case .modifyUserState:
            edit(regs, PtRegs.rip, layout.userSignal)
            edit(regs, PtRegs.rsp, userStackPointer &- 0x800)
            edit(regs, PtRegs.rax, 0x7777)
            edit(regs, PtRegs.r11, 0x8888)
            edit(regs, PtRegs.flags, Flags.alwaysOne | Flags.interrupt | Flags.carry)
        case .sigreturnBadSS, .sigreturnTruncated:
            edit(regs, PtRegs.ss, 0x53)
            expectsReturnFault = true
        case .sigreturnBadCS:
            edit(regs, PtRegs.cs, 0x2B)
            expectsReturnFault = true
        case .sigreturnBadRIP:
            edit(regs, PtRegs.rip, 0x0000_8000_0000_0000)
            expectsReturnFault = true
        case .sysretFlags:
            let flags = try machine.load(regs &+ UInt64(PtRegs.flags) &* 8, .quad)
            edit(regs, PtRegs.flags, flags ^ Flags.carry)
        case .sysretBadRCX, .sysretRCXUpper, .sysretRCXLower:
            let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
            let change: UInt64 =
                switch scenario.probe {
                case .sysretBadRCX: 0x1234 << 48
                case .sysretRCXUpper: 0x10 << 32
                default: 0x10
                }
            edit(regs, PtRegs.rcx, rip ^ change)
        case .sysretResume:
            let flags = try machine.load(regs &+ UInt64(PtRegs.flags) &* 8, .quad) | Flags.resume
            edit(regs, PtRegs.flags, flags)
            edit(regs, PtRegs.r11, flags)
        case .sysretBadRIP:
            edit(regs, PtRegs.rip, 0x0000_8000_0000_0000)
            edit(regs, PtRegs.rcx, 0x0000_8000_0000_0000)
            expectsReturnFault = true
        case .sigreturnLDTStack:
            edit(regs, PtRegs.ss, 0x07)
            edit(regs, PtRegs.cs, 0x23)
            edit(regs, PtRegs.rsp, layout.userStackPointer & 0xFFFF_FFFF)
        case .sigreturnAbsentSS:
            edit(regs, PtRegs.ss, 0x0F)
            expectsReturnFault = true
        case .sigreturnNullSS:
            edit(regs, PtRegs.ss, 0)
            expectsReturnFault = true
        case .sigreturnBogusSS:
            edit(regs, PtRegs.ss, 0x47)
            expectsReturnFault = true
        case .sigreturnAbsentCS:
            edit(regs, PtRegs.cs, 0x17)
            expectsReturnFault = true
        case .sigreturnLDTStack64:
            edit(regs, PtRegs.ss, 0x07)
            edit(regs, PtRegs.cs, 0x33)
        case .paravirtCall, .paravirtCallMasking: break
        case .loadGS:
            let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
            guard let fixup = layout.fixups[rip] else {
                record(UnexpectedFault.withoutFixup(self, activation.event, at: rip))
                printOops(regs: regs, errorCode: errorCode, vector: activation.event.vector)
                ending = .oops(vector: activation.event.vector, errorCode: errorCode)
                return
            }
            edit(regs, PtRegs.rip, fixup)
        case .fixup:
            edit(regs, PtRegs.rip, layout.kernelFixup)
        case .emulateJump:
            edit(regs, PtRegs.rip, layout.emulatedFunction)
        case .emulateCall, .selfTest:
            let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
            let target = scenario.probe == .selfTest ? layout.selfTestTarget ?? 0 : layout.emulatedFunction
            // The call's return address: behind the five bytes that the CALL would have had.
            try emulatePush(regs, rip &+ 4, what: "the return address of the emulated call")
            edit(regs, PtRegs.rip, target)
            stopAddress = rip &+ 4
        case .emulatePush:
            let value = try machine.load(regs &+ UInt64(PtRegs.rbp) &* 8, .quad)
            try emulatePush(regs, value, what: "the register of the emulated push")
        case .oops:
            // Nobody reads the console of an oops that the scenario asked for, unless something else broke before it.
            if hardCause != nil || recorder != nil {
                printOops(regs: regs, errorCode: errorCode, vector: activation.event.vector)
            }
            ending = .expectedOops
        }
    }

    /// Pushes onto the interrupted stack, as `int3_emulate_push` does (Linux 5.2 `arch/x86/include/asm/text-patching.h`).
    private mutating func emulatePush(_ regs: UInt64, _ value: UInt64, what: String) throws(Fault) {
        let rsp = try machine.load(regs &+ UInt64(PtRegs.rsp) &* 8, .quad) &- 8
        edit(regs, PtRegs.rsp, rsp)
        try machine.store(value, at: rsp, .quad, owner: Owner(.emulatedPush))
        stackExpectations.append((rsp, value, what))
    }

    private mutating func signal(_ regs: UInt64) {
        edit(regs, PtRegs.rip, layout.userSignal)
        edit(regs, PtRegs.rsp, (userStackPointer &- 0x600) & ~15 &- 8)
        edit(regs, PtRegs.cs, scenario.context == .user32 ? 0x23 : 0x33)
        edit(regs, PtRegs.ss, 0x2B)
        edit(regs, PtRegs.rdi, 11)
        edit(regs, PtRegs.rsi, userStackPointer &- 0x580)
        edit(regs, PtRegs.rdx, userStackPointer &- 0x500)
        edit(regs, PtRegs.rax, 0)
        let flags = activations.last.map { $0.expected.flags } ?? Flags.alwaysOne
        edit(
            regs, PtRegs.flags,
            (flags & ~(Flags.direction | Flags.resume | Flags.trap | Flags.alignmentCheck)) | Flags.interrupt)
    }

    private var userStackPointer: UInt64 {
        scenario.context == .user32 ? layout.userStackPointer32 : layout.userStackPointer
    }

    /// Writes a slot of pt_regs and notes that the return must honour it.
    mutating func edit(_ regs: UInt64, _ slot: Int, _ value: UInt64) {
        let address = regs &+ UInt64(slot) &* 8
        let owner = machine.memory.owner(at: address) ?? .free
        machine.memory.poke(value, at: address, owner: owner, step: machine.stepNumber)
        if machine.isTracing { machine.writes.append((address, value, .quad)) }
        guard !activations.isEmpty else { return }
        let last = activations.count - 1
        if slot < PtRegs.registers.count {
            activations[last].expected[PtRegs.registers[slot]] = value
            return
        }
        guard slot >= PtRegs.rip else { return }
        activations[last].frameWords[slot - PtRegs.rip] = value
        switch slot {
        case PtRegs.rip: activations[last].expected.rip = value
        case PtRegs.cs:
            activations[last].expected.cs = UInt16(truncatingIfNeeded: value)
        case PtRegs.flags:
            activations[last].expected.flags = value
            activations[last].expected.eventsMasked = value & Flags.interrupt == 0
        case PtRegs.rsp: activations[last].expected[.rsp] = value
        default: activations[last].expected.ss = UInt16(truncatingIfNeeded: value)
        }
    }

    /// What Linux does with an exception that nothing asked for: an oops in kernel mode, a signal in user mode.
    private mutating func endUnexpectedly(
        _ activation: Activation, regs: UInt64, errorCode: UInt64, fromUser: Bool
    ) {
        let vector = activation.event.vector
        if fromUser && vector != Vector.doubleFault && vector != Vector.machineCheck {
            ending = .processKilled(vector: vector, errorCode: errorCode)
            return
        }
        printOops(regs: regs, errorCode: errorCode, vector: vector)
        ending = .oops(vector: vector, errorCode: errorCode)
    }

    /// The espfix part of `do_double_fault` (Linux 5.2 `arch/x86/kernel/traps.c`): a fault of the IRET on the read-only
    /// espfix stack became #DF; it is turned back into a #GP on the stack of TSS.sp0.
    private mutating func rewriteEspfixFault(_ regs: UInt64) throws(Fault) -> Bool {
        guard let role = image.roles["bad_iret"], let iret = program.address(of: role),
            let handler = image.roles["general_protection"].flatMap({ program.address(of: $0) })
        else { return false }
        let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
        let rsp = try machine.load(regs &+ UInt64(PtRegs.rsp) &* 8, .quad)
        let cs = try machine.load(regs &+ UInt64(PtRegs.cs) &* 8, .quad)
        guard rip == iret, cs & 3 == 0, layout.espfixWindow.contains(rsp) else { return false }
        let sp0 = try CFunctionCall.perCPU(layout.entryStackTopOffset, &machine)
        let slots = sp0 &- 6 &* 8
        try CFunctionCall.copy(words: 5, from: rsp, to: slots &+ 8, &machine)
        try machine.store(0, at: slots, .quad, owner: Owner(.data, activation: machine.activation))
        edit(regs, PtRegs.rip, handler)
        edit(regs, PtRegs.rsp, slots)
        return true
    }

    /// What a handler prints that got an event of another kind: words of its own, or an oops where its event is one that
    /// kernel code dies of unless the exception table knows the place.
    private mutating func printWrongHandler(_ regs: UInt64) {
        guard let function = functionAtRIP else { return }
        console += function.says
        guard function.model == .exception, function.events.count == 1, let vector = function.events.first,
            (Vector.invalidTSS...Vector.generalProtection).contains(vector),
            let cs = machine.memory.peek(regs &+ UInt64(PtRegs.cs) &* 8), cs & 3 == 0
        else { return }
        printOops(regs: regs, errorCode: function.register(of: .errorCode).map { machine[$0] } ?? 0, vector: vector)
    }

    mutating func printOops(regs: UInt64, errorCode: UInt64, vector: UInt8) {
        console += Console.oops(self, regs: regs, errorCode: errorCode, vector: vector)
    }
}

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
}

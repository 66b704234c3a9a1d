import EntryCode
import Machine
import XenPV

extension ScenarioRun {
    /// Delivers an event and opens its activation.
    mutating func deliver(_ event: Event, isUnexpected: Bool) {
        let before = savedContext()
        let processor = machine.cpu
        if recorder != nil { machine.writes.removeAll(keepingCapacity: true) }
        defer { recordDelivery(before: processor) }
        let number = nextActivation
        if activations.count >= limits.activations {
            ending = .endlessRecursion(vector: event.vector, address: before.rip)
            return
        }
        if hypervisor != nil {
            let isUpcall = event.source == .external
            let isFailsafe = event.vector == Platform.failsafeVector && event.source == .trap
            let delivery =
                isUpcall
                ? hypervisor?.deliverUpcall(activation: number, &machine, image.program)
                : isFailsafe
                    ? hypervisor?.deliverFailedSelectors(activation: number, &machine, image.program)
                    : hypervisor?.deliver(event, activation: number, &machine, image.program)
            switch delivery {
            case .entered(var delivered, let frame):
                // The callbacks have no vector of their own.
                if isUpcall || isFailsafe { delivered = event }
                let slot = frame &+ (isFailsafe ? 48 : 16) &+ (delivered.pushesErrorCode ? 8 : 0)
                open(
                    delivered, frame: slot, interrupted: before,
                    isUnexpected: isUnexpected || isRefusal(of: event, delivered))
                // Selectors without a descriptor are null from now on (fact F39).
                if isFailsafe { activations[activations.count - 1].expected.dataSelectors = machine.cpu.dataSelectors }
            case .held(let event): record(NMIMasking.held(self, event))
            case .crashed(let crash):
                record(UnexpectedFault.domainCrash(self, crash))
                ending = .domainCrash(crash)
            case nil: ending = .halted
            }
            return
        }
        let point = CausePoint(step: machine.stepNumber, instruction: processor.index)
        let place = before.rip
        switch machine.deliver(event, activation: number, image.program) {
        case .entered(let delivered, let frame):
            let slot = frame &+ (delivered.pushesErrorCode ? 8 : 0)
            let isMeant = delivered.vector == Vector.doubleFault && (targetBehindDoubleFault != nil || meansDoubleFault)
            let changed = delivered.vector != event.vector && event.source != .software && !isMeant
            if changed {
                record(
                    delivered.vector == Vector.doubleFault
                        ? DoubleFault.finding(self, during: event, at: point, place)
                        : UnexpectedFault.duringDelivery(self, of: event, delivered, at: point))
            }
            open(
                delivered, frame: slot, interrupted: before,
                isUnexpected: isUnexpected || changed || isRefusal(of: event, delivered))
        case .tripleFault:
            record(TripleFault.finding(self, during: event, at: point, place))
            ending = .tripleFault(vector: event.vector)
        }
    }

    /// An INT n that became another event, where the scenario does not ask for one that is refused.
    @inline(__always)
    private func isRefusal(of event: Event, _ delivered: Event) -> Bool {
        event.source == .software && delivered.vector != event.vector && scenario.probe != .softwareInterrupt
    }

    /// The scenario's event is the #DF of a fault that cannot be delivered.
    @inline(__always)
    private var meansDoubleFault: Bool { scenario.context == .kernelBadStack && activations.isEmpty }

    /// Opens the activation of an event whose frame stands in memory.
    private mutating func open(_ event: Event, frame: UInt64, interrupted before: SavedContext, isUnexpected: Bool) {
        var words: InlineArray<5, UInt64> = InlineArray(repeating: 0)
        for index in 0..<5 { words[index] = machine.memory.peek(frame &+ UInt64(index) &* 8) ?? 0 }
        var interrupted = before
        // INT n goes on behind it, whatever its length. A refused one shows the instruction itself.
        if event.source == .software { words[0] = before.rip }
        interrupted.rip = words[0]
        interrupted[.rsp] = words[3]
        var activation = Activation(
            number: nextActivation, event: event, interrupted: interrupted, expected: interrupted, frameWords: words,
            frame: frame, isUnexpected: isUnexpected)
        activation.enteredWithEventsMasked = eventsAreMasked
        push(activation)
    }

    /// Shows in a trace how the latest event came in, and the frame that it left.
    mutating func recordDelivery(before: Processor) {
        guard recorder != nil, let activation = activations.last else { return }
        let text =
            "\(eventName(activation)) is delivered (activation \(activation.number)), RIP slot at \(hexadecimal(activation.frame))"
        recorder?.deliver(
            text, by: hypervisor == nil ? "processor" : "Xen", step: machine.stepNumber, frame: activation.frame,
            before: before, machine: machine, activation: activation.number)
        let picture = picture("frame of \(eventName(activation)), activation \(activation.number)", words: 12)
        recorder?.pictures.append(picture)
        machine.writes.removeAll(keepingCapacity: true)
    }

    mutating func push(_ activation: Activation) {
        let recurrences = activations.count {
            $0.event.vector == activation.event.vector && $0.interrupted.rip == activation.interrupted.rip
                && $0.interrupted.gsBase == activation.interrupted.gsBase
                && $0.interrupted.cr3 == activation.interrupted.cr3
        }
        activations.append(activation)
        if activation.fromUser { machine.cpu.hasUntrained = false }
        if activation.event.source == .nmi { deliveredNMIs += 1 }
        machine.activation = activation.number
        machine.liveActivations |= 1 << UInt64(min(activation.number, 63))
        nextActivation += 1
        // A #DB that a debugger has brought about comes in entry code, where neither GS nor SPEC_CTRL need be the kernel's.
        let isInEntryCode = activations.count == 2 && path.isEmpty && scenario.probe == .movSS
        speculation.arm(depth: isInEntryCode ? 1 : activations.count)
        // On a stack with a guard page below the recursion itself comes to an end, and so it does on a user's. Xen crashes a
        // domain whose frame cannot be written, wherever the recursion has got by then.
        let endsByItself =
            hypervisor != nil
            || machine.memory.region(containing: activation.frame).map {
                [.exceptionStack, .entryStack, .userStack].contains($0.kind) || image.hasGuard(below: $0.base)
            } ?? false
        if recurrences >= limits.recurrences && !endsByItself {
            ending = .endlessRecursion(vector: activation.event.vector, address: activation.interrupted.rip)
        }
    }

    private mutating func pop() {
        guard let last = activations.popLast() else { return }
        if last.number < 63 { machine.liveActivations &= ~(1 << UInt64(last.number)) }
        machine.activation = activations.last?.number ?? 0
    }

    // MARK: Faults

    mutating func handleFault(_ fault: Fault) {
        if fault.vector == Vector.pageFault,
            layout.unmodelled.contains(where: { fault.address >= $0.base && fault.address < $0.end })
        {
            ending = .notUnderstood
            return
        }
        if eventIsPending {
            // The instruction that the scenario starts with faults by itself.
            eventIsPending = false
            deliver(Event(fault), isUnexpected: false)
            return
        }
        faultAtHand = fault
        defer { faultAtHand = nil }
        if machine.cpu.index >= 0, hypervisor != nil {
            let instruction = image.program.instructions[Int(machine.cpu.index)]
            let index = machine.cpu.index
            if hypervisor?.emulate(instruction, fault, &machine) == true {
                record(NeedlessHypervisorEntry.finding(self, instruction: index))
                return
            }
        }
        if activations.isEmpty && ending == nil && machine.stepNumber > 0 && hardCause == nil
            && !scenario.probe.isParavirtCall
        {
            record(UnexpectedFault.afterResumption(self, fault))
        }
        if isMeantReturnFault() {
            takeMeantReturnFault(fault)
            return
        }
        if !checkFaultingReturn() && !check(.fault) {
            // The sources say where the kernel goes on; the models of C do not.
            let rip = machine.instructionPointer(program)
            if program.exceptionTable.contains(where: { $0.fault == rip }) {
                ending = .notUnderstood
                return
            }
            let finding = UnexpectedFault.finding(self, vector: fault.vector, errorCode: fault.errorCode)
            if let stray = NotUnderstood.insideInstruction(self) {
                // The processor goes on with whatever those bytes say; what led there may be known all the same.
                if hardCause != nil || earlierCause(than: finding) != nil { record(finding) }
                record(stray)
                ending = .notUnderstood
                return
            }
            record(finding)
        }
        deliver(Event(fault), isUnexpected: true)
    }

    /// An IRET that faults has read a frame: which of its words are not those of the event?
    private mutating func checkFaultingReturn() -> Bool {
        guard !activations.isEmpty, hypervisor == nil, machine.cpu.index >= 0,
            program.instructions[Int(machine.cpu.index)].opcode == .iret
        else { return false }
        return check(.returned(frame: machine[.rsp]))
    }

    /// The processor is at an IRET to user mode with the target that a sigreturn probe damaged.
    @inline(__always)
    private mutating func isMeantReturnFault() -> Bool {
        guard expectsReturnFault, machine.cpu.index >= 0,
            image.program.instructions[Int(machine.cpu.index)].opcode == .iret
        else { return false }
        return machine.memory.peek(machine[.rsp] &+ 8).map { $0 & 3 == 3 } ?? false
    }

    /// The fault belongs to the target: what the handler sees must be what could not be returned to.
    private mutating func takeMeantReturnFault(_ fault: Fault) {
        let frame = machine[.rsp]
        guard let expected = activations.last?.expected, let words = activations.last?.frameWords else { return }
        if check(.returned(frame: frame)) {
            deliver(Event(fault), isUnexpected: true)
            return
        }
        check(.leaving)
        expectsReturnFault = false
        pop()
        // On the read-only espfix stack the frame of the fault cannot be written: #DF stands for it (fact F30).
        let isTruncated = scenario.probe == .sigreturnTruncated
        let isOnEspfixStack = layout.espfixWindow.contains(frame)
        if isOnEspfixStack { targetBehindDoubleFault = (expected, words) }
        deliver(Event(fault), isUnexpected: false)
        guard ending == nil, var activation = activations.popLast() else { return }
        if isTruncated {
            let owner = machine.memory.owner(at: activation.frame) ?? .free
            machine.memory.poke(activation.frameWords[0] & 0xFFFF_FFFF, at: activation.frame, owner: owner)
        }
        if isOnEspfixStack && activation.event.vector == Vector.doubleFault {
            activations.append(activation)
            return
        }
        targetBehindDoubleFault = nil
        activation.isReturnFault = true
        activation.interrupted = expected
        activation.expected = expected
        activation.frameWords = words
        activations.append(activation)
    }

    // MARK: Returns

    mutating func handleReturn(_ frame: UInt64, isChecked: Bool = false) {
        guard let activation = activations.last else {
            record(Resumption.stray(self))
            return
        }
        if !isChecked {
            if isJump(frame, activation) { return }
            check(.returned(frame: frame))
        }
        finishReturn(activation)
    }

    /// An IRET to a frame that entry code has built with an address of its own in it: a jump that opens NMIs, and no
    /// return from the event. So the first NMI goes on to repeat itself for one that came meanwhile.
    private func isJump(_ frame: UInt64, _ activation: Activation) -> Bool {
        guard hypervisor == nil, machine.isKernelMode, machine.cpu.index >= 0,
            let owner = machine.memory.owner(at: frame), owner.kind == .immediate
        else { return false }
        return machine.memory.peek(frame) != activation.frameWords[0]
    }

    private mutating func finishReturn(_ activation: Activation) {
        if activation.event.source == .nmi && activation.handlerCalls == 0 && activation.isInjected { owesNMI = true }
        pop()
        let rip = machine.instructionPointer(image.program)
        guard rip == activation.expected.rip, machine.isKernelMode == activation.expected.isKernelMode else {
            if hardCause == nil { record(Resumption.wrongPlace(self, activation, rip)) }
            // In the wrong mode the program goes on without noticing.
            if rip == activation.expected.rip && activations.isEmpty { ending = .resumed }
            return
        }
        // The checks compare with the activation that ended.
        activations.append(activation)
        let saved = machine.activation
        machine.activation = activation.number
        check(.resumed)
        activations.removeLast()
        machine.activation = saved
        if activation.event.vector == Vector.doubleFault, let target = targetBehindDoubleFault {
            continueBehindDoubleFault(target)
            return
        }
        if !activations.isEmpty { return }
        if hardCause == nil && awaitTrap(after: activation) { return }
        if stopAddress == nil || hardCause != nil { ending = .resumed }
    }

    /// The #DF handler has turned the fault of the IRET into the #GP that it stands for, on another stack.
    private mutating func continueBehindDoubleFault(
        _ target: (context: SavedContext, words: InlineArray<5, UInt64>)
    ) {
        targetBehindDoubleFault = nil
        let event = Event(vector: Vector.generalProtection, source: .fault)
        open(event, frame: machine[.rsp] &+ 8, interrupted: target.context, isUnexpected: false)
        activations[activations.count - 1].interrupted = target.context
        activations[activations.count - 1].expected = target.context
        activations[activations.count - 1].frameWords = target.words
        activations[activations.count - 1].isReturnFault = true
    }

    /// The interrupted program arrived where it should.
    mutating func finishInterruptedProgram() {
        if let finding = Resumption.afterwards(self) { record(finding) }
        ending = .resumed
    }

    // MARK: Hypercalls

    mutating func hypercall() {
        if !machine.cpu.guestKernelMode {
            record(UnexpectedFault.finding(self, vector: Vector.invalidOpcode, errorCode: nil))
            ending = .halted
            return
        }
        let number = nextActivation
        let processor = machine.cpu
        if recorder != nil { machine.writes.removeAll(keepingCapacity: true) }
        // Xen reads the frame first; a fault of its IRET may put another one in its place.
        var broke = false
        let isReturn = machine[.rax] == Hypervisor.iretNumber && !activations.isEmpty
        if isReturn {
            let wereMasked = eventsAreMasked
            hypervisor?.eventsWereMaskedAtReturn = wereMasked
            // RIP is behind the SYSCALL already.
            machine.cpu.index -= 1
            broke = check(.returned(frame: machine[.rsp] &+ 32))
            machine.cpu.index += 1
            if let ending = activations.last, ending.number < 63 {
                machine.liveActivations &= ~(1 << UInt64(ending.number))
            }
        }
        guard let result = hypervisor?.hypercall(activation: number, &machine, image.program) else { return }
        switch result {
        case .continue: break
        case .returned(let frame): handleReturn(frame, isChecked: isReturn)
        case .crashed(let crash):
            record(UnexpectedFault.domainCrash(self, crash))
            ending = .domainCrash(crash)
        case .returnFaulted(_, let fault, let delivery):
            let isMeant = expectsReturnFault && !broke
            if !isMeant {
                if !broke { record(UnexpectedFault.finding(self, vector: fault.vector, errorCode: fault.errorCode)) }
                unwantedReturnFaults += 1
                if unwantedReturnFaults > limits.recurrences {
                    ending = .endlessRecursion(vector: fault.vector, address: machine.instructionPointer(program))
                    return
                }
            }
            expectsReturnFault = false
            guard let ended = activations.last else { return }
            pop()
            switch delivery {
            case .entered(let event, let base):
                let isFailsafe = hypervisor?.version.replaysFaultingReturn == false
                let slot = base &+ (isFailsafe ? 48 : 16 + (event.pushesErrorCode ? 8 : 0))
                var context = savedContext()
                context[.rcx] = machine.memory.peek(base) ?? 0
                context[.r11] = machine.memory.peek(base &+ 8) ?? 0
                context.isKernelMode = ended.expected.isKernelMode
                context.cs = UInt16(truncatingIfNeeded: machine.memory.peek(slot &+ 8) ?? 0)
                context.flags = machine.memory.peek(slot &+ 16) ?? 0
                context.ss = UInt16(truncatingIfNeeded: machine.memory.peek(slot &+ 32) ?? 0)
                context.eventsMasked = ended.expected.eventsMasked
                context.gsBase = ended.expected.gsBase
                context.kernelGSBase = ended.expected.kernelGSBase
                context.cr3 = ended.expected.cr3
                context.nmiBlocked = false
                if isMeant, let finding = Resumption.attempted(context, ended) { record(finding) }
                var delivered = event
                // The failsafe stub of Linux supplies an error code of zero (F12, F23).
                if isFailsafe { delivered.errorCode = 0 }
                open(delivered, frame: slot, interrupted: context, isUnexpected: !isMeant)
                recordDelivery(before: processor)
                if isMeant, var activation = activations.popLast() {
                    activation.isReturnFault = true
                    activations.append(activation)
                }
            case .held(let event): record(NMIMasking.held(self, event))
            case .crashed(let crash):
                record(UnexpectedFault.domainCrash(self, crash))
                ending = .domainCrash(crash)
            }
        }
    }
}

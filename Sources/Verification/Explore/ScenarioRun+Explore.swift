import EntryCode
import Machine
import XenPV

extension ScenarioRun {
    /// A C handler that is running: what is left to do when nested events have been looked at.
    struct Body {
        var function: CFunction
        var registers: UInt64
        var errorCode: UInt64
        /// The stack pointer at the function's first instruction.
        var stackPointer: UInt64
        /// The function is a handler of events, not a helper of the entry code.
        var isHandler: Bool
    }

    /// RIP is at the first instruction of a C function; nested events come inside of it.
    @inline(__always)
    var isAtFunction: Bool {
        let index = Int(machine.cpu.index)
        return index >= 0 && index < program.instructions.count && program.instructions[index].opcode == .model
    }

    /// Runs on, with what is looked at noted for the running nested paths: to the next boundary where more may come.
    mutating func exploredRun() -> Outcome {
        let first = machine.stepNumber
        guard first < limits.steps else { return .stepLimit }
        // The interrupted program is over at an address (`advance`).
        let limit = remaining > 0 || activations.isEmpty ? first + 1 : limits.steps
        let outcome = machine.runNoting(image.program, stepLimit: limit, seeksStrange: isProbing > 0)
        explorer?.instructions &+= UInt64(machine.stepNumber &- first)
        if case .stepLimit = outcome, machine.stepNumber < limits.steps { return .next }
        return outcome
    }

    // MARK: Where and what

    /// Injects what the plan says at this boundary, or tries every event that may come here.
    @inline(never)
    mutating func considerNestedEvents(in body: Body? = nil) {
        let place: Place = body.map { $0.mayFault ? .faultingBody : .body } ?? .entryCode
        if let next = plan.first {
            guard next.step == machine.stepNumber else { return }
            let boundary = boundary(place)
            guard admits(next.event, at: boundary) else { return }
            plan.removeFirst()
            path.append(next)
            raise(next.event)
            if let body {
                runNested(above: activations.count - 1)
                // The next may come where this one has returned to.
                if ending == nil, isIn(body) { considerNestedEvents(in: body) }
            } else if ending == nil, !activations.isEmpty, !isAtFunction {
                // The next may come before the first instruction of this one.
                considerNestedEvents()
            }
            return
        }
        guard remaining > 0, hardCause == nil, ending == nil, explorer != nil else { return }
        guard explorer?.goesOn(limits, control) == true else { return }
        explorer?.boundaries += 1
        let boundary = boundary(place)
        guard boundary.admitsAny else { return }
        let processor = processorKey()
        if isSilent > 0, machine.memory.tracking.depth == openNMIDepth, !goesOnWithOpenNMIs(processor) { return }
        let rip = machine.instructionPointer(program)
        for position in nestedEvents.indices {
            if explorer?.cutShortBy != nil { return }
            let event = nestedEvents[position].event
            if admits(event, at: boundary) { attempt(event, nestedEvents[position].symbol, processor, at: rip) }
        }
    }

    /// What of the interrupted code decides which events may come.
    enum Place {
        case entryCode
        case body
        /// A C function that may touch memory that is not there, and may hold a probe.
        case faultingBody
    }

    /// What decides at an instruction boundary which events may come.
    struct Boundary {
        var place: Place
        /// The kernel runs, and no trap of the instruction before waits, which comes first (SDM vol. 3, table 6-2).
        var admitsAny: Bool
        /// Bit n: an event of exception vector n is unfinished.
        var inside: UInt32 = 0
        /// An exception stands between the instructions of an NMI's entry code, or has opened NMIs there.
        var isInNMIEntry = false

        func isInside(_ vector: UInt8) -> Bool { inside >> UInt32(vector) & 1 != 0 }
    }

    private mutating func boundary(_ place: Place) -> Boundary {
        var boundary = Boundary(place: place, admitsAny: machine.acceptsNestedEvents)
        activations.withUnsafeBufferPointer { activations in
            for index in activations.indices {
                let vector = activations[index].event.vector
                if vector < 32 { boundary.inside |= 1 << UInt32(vector) }
                if activations[index].openNMIs == .inEntryCode { boundary.isInNMIEntry = true }
            }
        }
        for index in activations.indices where isInterruptedInEntryCode(index) { boundary.isInNMIEntry = true }
        return boundary
    }

    /// Whether the machine and the kernel allow an event at this boundary.
    private mutating func admits(_ event: NestedEvent, at boundary: Boundary) -> Bool {
        guard boundary.admitsAny else { return false }
        if event.needsCFunction && boundary.place != .faultingBody { return false }
        switch event {
        case .nmi:
            // Linux keeps breakpoints away from its NMI entry, and takes a machine check there for fatal: neither opens NMIs
            // before the first one's frame is safe, nor is there one inside of them when it is not any longer.
            if hypervisor == nil && boundary.isInNMIEntry { return false }
            // Of the NMI that such a scenario starts in nothing is run: whether it repeats is seen where NMIs are the event.
            if scenario.context.isInNMI { return false }
            return hypervisor == nil ? machine.acceptsNMI : hypervisor?.nmiMasked == false
        case .machineCheck:
            // A second one while the first is in progress shuts the processor down (SDM vol. 3, 15.3.1.2).
            return !machine.cpu.machineCheckInProgress && !boundary.isInside(Vector.machineCheck)
        case .debug:
            return !machine.cpu.stackShadow && hypervisor == nil
                && (!boundary.isInside(Vector.debug) || (boundary.place == .faultingBody && nestsDebug))
        case .interrupt, .upcall:
            return !eventsAreMasked && (hypervisor != nil || machine.acceptsInterrupts)
        case .pageFault:
            return !boundary.isInside(Vector.doubleFault) && !boundary.isInside(Vector.machineCheck)
                && !(boundary.isInside(Vector.debug) && interruptsEntryCode(Vector.debug))
        case .virtualization:
            // A host that may take pages away does so at any access, unless the guest refuses to run so (SEPT_VE_DISABLE).
            let isAnywhere = !(image.table.options["SEPT_VE_DISABLE"] ?? true)
            return (isAnywhere || boundary.place == .faultingBody) && !boundary.isInside(Vector.virtualization)
                && !boundary.isInside(Vector.doubleFault) && !boundary.isInside(Vector.machineCheck)
                && !boundary.isInside(Vector.nmi) && !boundary.isInside(Vector.debug)
        case .breakpoint:
            return !boundary.isInside(Vector.breakpoint) && !boundary.isInside(Vector.debug)
                && !boundary.isInside(Vector.machineCheck) && !boundary.isInside(Vector.doubleFault)
        }
    }

    /// One #DB, and no more, may come inside the C handler of another: the entry has stacks for two.
    private var nestsDebug: Bool {
        image.debugNests && innermost.event.vector == Vector.debug && codeKind(at: machine.cpu.index) == .eventHandler
            && activations.count(where: { $0.event.vector == Vector.debug }) == 1
    }

    /// An event of this vector came while entry code ran: its handler keeps away from memory that may be absent.
    private mutating func interruptsEntryCode(_ vector: UInt8) -> Bool {
        for position in activations.indices
        where activations[position].event.vector == vector && activations[position].isInjected {
            switch codeKind(at: program.index(at: activations[position].interrupted.rip)) {
            case .entryCode, .helper: return true
            case .none, .eventHandler: break
            }
        }
        return false
    }

    /// Delivers a nested event here.
    mutating func raise(_ nested: NestedEvent) {
        guard let vector = nested.vector(image) else { return }
        let event: Event =
            switch nested {
            case .nmi: Event(vector: vector, source: .nmi)
            case .machineCheck: Event(vector: vector, source: .trap)
            case .debug: Event(vector: vector, source: .trap, debugBits: DebugStatus.breakpoint0)
            case .interrupt, .upcall: Event(vector: vector, source: .external)
            // A read of user memory that is not there.
            case .pageFault: Event(vector: vector, source: .fault, errorCode: 0, address: nestedFaultAddress)
            case .breakpoint: Event(vector: vector, source: .software)
            case .virtualization: Event(vector: vector, source: .fault)
            }
        let interruptedRSP = machine[.rsp]
        let number = nextActivation
        deliver(event, isUnexpected: false)
        // Xen may have held it.
        guard ending == nil, !activations.isEmpty, nextActivation != number else { return }
        activations[activations.count - 1].isInjected = true
        // On a stack of its own the event carries RSP like any register.
        let hasOwnStack = hypervisor == nil && machine.idt[Int(vector)].ist != 0
        machine.carriedContexts.begin(
            depth: machine.memory.tracking.depth,
            instructionPointer: activations[activations.count - 1].interrupted.rip,
            stackPointer: hasOwnStack ? interruptedRSP : 0)
        if !hasOwnStack { machine.registerUse.looked |= RegisterUse.stackPointer }
    }

    /// What C code reads when it faults: a user page that is not there.
    var nestedFaultAddress: UInt64 { 0x0000_7F00_ABCD_E000 }

    /// Runs until no more than `floor` events are unfinished.
    mutating func runNested(above floor: Int) {
        while ending == nil && activations.count > floor { advance() }
    }

    /// RIP and RSP are where a nested event in a C function returns to.
    mutating func isIn(_ body: Body) -> Bool {
        isAtFunction && machine[.rsp] == body.stackPointer &- CFunctionCall.frame_bytes
    }

    /// Goes on with the C function that a nested event interrupted.
    mutating func leaveAfterNested(_ body: Body) {
        guard isIn(body) else { return }
        if remaining > 0 {
            suspended.append((activations.count, body))
            considerNestedEvents(in: body)
            suspended.removeLast()
        }
        if ending == nil { finish(body) }
    }
}

extension ScenarioRun.Body {
    /// C code of this kind may touch memory that is not there, and may hold a probe.
    var mayFault: Bool {
        switch function.model {
        case .exception, .nmi, .interrupt, .trace, .enterFromUser, .exitToUser, .int80Syscall, .syscall, .fastSyscall,
            .sysenterCall:
            true
        default: false
        }
    }
}

extension Probe {
    /// Stable within a run.
    var hashValueForKey: UInt32 { rawValue.hashValueForKey }
}

extension String {
    fileprivate var hashValueForKey: UInt32 { utf8.reduce(5381) { $0 &* 33 &+ UInt32($1) } }
}

extension Rule {
    /// Stable within a run.
    var hashValueForKey: UInt32 { id.hashValueForKey }
}

extension ScenarioRun {
    /// Prepares for nested events.
    mutating func explore(exhaustively: Bool) {
        var explorer = Explorer()
        explorer.isExhaustive = exhaustively
        self.explorer = explorer
    }

    /// Runs one scenario, then reports those with nested events that do not hold where it does.
    mutating func execute(_ scenario: Scenario, nesting: Int) -> [ScenarioResult] {
        let explores = explorer != nil && nesting > 0
        machine.memory.recordsGivenUpWords = explores || !scenario.injections.isEmpty
        remaining = 0
        machine.memory.tracking.isOn = explores
        if explores { machine.memory.tracking.startLog() }
        var own = execute(scenario)
        guard explores else { return [own] }
        futures = [Future(log: machine.memory.tracking.takeLog(), end: .run, began: 0)]
        explorer?.instructions += own.cost.instructions
        remaining = nesting
        own = execute(scenario)
        guard let explorer else { return [own] }
        own.cutShortBy = explorer.cutShortBy
        if let limit = explorer.cutShortBy, own.verdict == .holds {
            own.verdict = .undecided
            own.limit = limit.rawValue
        }
        let nested = explorer.results.filter { !$0.violations.allSatisfy { own.hasSame($0) } }
        self.explorer?.results.removeAll()
        return [own] + nested
    }
}

extension ScenarioResult {
    /// The violation is also one of the run without the nested event.
    func hasSame(_ violation: Violation) -> Bool {
        violations.contains {
            $0.rule == violation.rule && $0.routine == violation.routine && $0.instruction == violation.instruction
        }
    }
}

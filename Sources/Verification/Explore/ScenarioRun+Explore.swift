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
        guard let runs = explorer?.runs, runs < limits.nestedRuns else {
            explorer?.isExhausted = true
            return
        }
        explorer?.boundaries += 1
        let boundary = boundary(place)
        guard boundary.admitsAny else { return }
        let processor = processorKey(inBody: body != nil)
        for position in nestedEvents.indices {
            let event = nestedEvents[position].event
            if admits(event, at: boundary) { attempt(event, nestedEvents[position].symbol, processor) }
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
        /// An exception has opened NMIs between the instructions of an NMI's entry code.
        var hasOpenedNMIs = false

        func isInside(_ vector: UInt8) -> Bool { inside >> UInt32(vector) & 1 != 0 }
    }

    private mutating func boundary(_ place: Place) -> Boundary {
        var boundary = Boundary(place: place, admitsAny: machine.acceptsNestedEvents)
        activations.withUnsafeBufferPointer { activations in
            for index in activations.indices {
                let vector = activations[index].event.vector
                if vector < 32 { boundary.inside |= 1 << UInt32(vector) }
                if activations[index].openNMIs == .inEntryCode { boundary.hasOpenedNMIs = true }
            }
        }
        return boundary
    }

    /// Whether the machine and the kernel allow an event at this boundary.
    private mutating func admits(_ event: NestedEvent, at boundary: Boundary) -> Bool {
        guard boundary.admitsAny else { return false }
        if event.needsCFunction && boundary.place != .faultingBody { return false }
        switch event {
        case .nmi:
            // Linux keeps breakpoints away from its NMI entry, and takes a machine check there for fatal: neither opens NMIs
            // before the first one's frame is safe.
            if hypervisor == nil && boundary.hasOpenedNMIs { return false }
            // Of the NMI that such a scenario starts in nothing is run: whether it repeats is seen where NMIs are the event.
            if scenario.context.isInNMI { return false }
            return hypervisor == nil ? machine.acceptsNMI : hypervisor?.nmiMasked == false
        case .machineCheck:
            // A second one while the first is in progress shuts the processor down (SDM vol. 3, 15.3.1.2).
            return !machine.cpu.machineCheckInProgress && !boundary.isInside(Vector.machineCheck)
        case .debug:
            return !machine.cpu.stackShadow && !boundary.isInside(Vector.debug) && hypervisor == nil
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

    /// An event of this vector came while entry code ran: its handler keeps away from memory that may be absent.
    private mutating func interruptsEntryCode(_ vector: UInt8) -> Bool {
        for position in activations.indices
        where activations[position].event.vector == vector && activations[position].isInjected {
            let index = Int(program.index(at: activations[position].interrupted.rip))
            guard index >= 0 else { continue }
            let number = Int(program.instructions[index].immediate)
            guard program.instructions[index].opcode == .model, image.functions.indices.contains(number) else {
                return true
            }
            if !image.functions[number].model.isEventHandler { return true }
        }
        return false
    }

    /// Delivers a nested event here.
    private mutating func raise(_ nested: NestedEvent) {
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
        machine.carriedStackPointer = hasOwnStack ? interruptedRSP : 0
        if !hasOwnStack { machine.registerUse.looked |= RegisterUse.stackPointer }
    }

    /// What C code reads when it faults: a user page that is not there.
    var nestedFaultAddress: UInt64 { 0x0000_7F00_ABCD_E000 }

    /// Runs until no more than `floor` events are unfinished.
    private mutating func runNested(above floor: Int) {
        while ending == nil && activations.count > floor { advance() }
    }

    // MARK: Trying one

    /// Tries an event here, unless the state looks like one that was tried.
    ///
    /// First alone, then with what may come inside of it. A try begins with strange values in the registers: a path that
    /// restores them restores any. What is not found transparent so is run again as it is, and followed.
    private mutating func attempt(_ event: NestedEvent, _ symbol: String, _ processor: UInt64) {
        let depth = remaining
        let key = explorer?.key(processor, event, depth, &machine) ?? 0
        if let entry = knownOutcome(key) {
            if machine.memory.tracking.depth > 0 {
                adopt(entry.footprint)
                explorer?.adoptUse(event, depth, &machine)
            }
            return
        }
        path.append(
            Injection(event: event, symbol: symbol, routine: routineName(machine.cpu.index), step: machine.stepNumber))
        defer { path.removeLast() }
        if depth == 1 {
            if let footprint = transparentFootprint(event, depth, inside: 0) {
                keep(.transparent, footprint, event, depth, processor)
            } else {
                tryAsItIs(event, depth, processor, inside: 0)
            }
            return
        }
        // What it will access decides which words those inside of it may take.
        futures.append(Future(log: AccessLog(), end: .interrupted, began: machine.memory.tracking.accesses))
        defer { futures.removeLast() }
        let isTransparent = transparentFootprint(event, depth, inside: 0, isLogged: true) != nil
        if !isTransparent { tryAsItIs(event, depth, processor, inside: 0, isLogged: true) }
        if isTransparent, let footprint = transparentFootprint(event, depth, inside: depth - 1) {
            keep(.transparent, footprint, event, depth, processor)
        } else {
            tryAsItIs(event, depth, processor, inside: depth - 1)
        }
    }

    private mutating func keep(
        _ outcome: Explorer.Outcome, _ footprint: Int32, _ event: NestedEvent, _ depth: Int, _ processor: UInt64
    ) {
        // The registers that its paths look at may be more by now.
        if let key = explorer?.key(processor, event, depth, &machine) { explorer?.keep(outcome, footprint, for: key) }
    }

    /// Runs an event that restores the state of this boundary, whatever the registers hold that it only carries.
    ///
    /// - Parameters:
    ///   - inside: Events that may come inside of it.
    ///   - isLogged: What it accesses becomes the innermost of `futures`.
    /// - Returns: What it needs of memory; nil if it does not restore the state.
    private mutating func transparentFootprint(
        _ event: NestedEvent, _ depth: Int, inside: Int, isLogged: Bool = false
    ) -> Int32? {
        guard let snapshot = beginNested(inside: inside) else { return nil }
        let floor = activations.count
        let carried = explorer?.carriedRegisters(event, depth) ?? 0
        machine.makeStrange(carried)
        let brokeBefore = didBreakInside
        didBreakInside = false
        if isLogged { machine.memory.tracking.startLog() }
        raise(event)
        isProbing += 1
        runNested(above: floor)
        isProbing -= 1
        if isLogged { futures[futures.count - 1].log = machine.memory.tracking.takeLog() }
        // What the event itself does next is nothing to those whose words it has written.
        let own = depth > 1 ? futures.popLast() : nil
        defer { if let own { futures.append(own) } }
        let isBack = !hasBroken(since: snapshot) && !didBreakInside && isBack(at: snapshot, strange: carried)
        // The outer one that is being probed has it inside as well.
        didBreakInside = brokeBefore || (didBreakInside && isProbing > 0)
        var touched: [Int32] = []
        let isSurprised = endNested(event, depth, &touched)
        restore(snapshot)
        let footprint = footprint(&touched)
        return isBack && !isSurprised ? footprint : nil
    }

    /// Runs an event with the registers as they are, and on from there if it leaves or breaks something.
    private mutating func tryAsItIs(
        _ event: NestedEvent, _ depth: Int, _ processor: UInt64, inside: Int, isLogged: Bool = false
    ) {
        guard let snapshot = beginNested(inside: inside) else { return }
        let floor = activations.count
        if isLogged { machine.memory.tracking.startLog() }
        raise(event)
        runNested(above: floor)
        let broke = hasBroken(since: snapshot)
        // Where it ends, what comes after it is nothing to the outcome; nor where all is as it was.
        let own = depth > 1 ? futures.popLast() : nil
        let isSettled = ending != nil || isBack(at: snapshot)
        if let own { futures.append(own) }
        let isBack = !broke && isSettled
        var touched: [Int32] = []
        _ = endNested(event, depth, &touched)
        var isFollowed = false
        if !isBack { isFollowed = followOn(event, inside, processor, snapshot, broke: broke) }
        if isLogged {
            futures[futures.count - 1].log = machine.memory.tracking.takeLog()
            futures[futures.count - 1].end = isBack ? .interrupted : isFollowed ? .run : .unknown
        }
        restore(snapshot)
        let after = depth > 1 ? futures.popLast() : nil
        let footprint = footprint(&touched)
        if let after { futures.append(after) }
        if isProbing > 0 {
            // Whoever is probing learns that something breaks inside, and runs it again to report it.
            if broke { didBreakInside = true }
        } else if broke && isSettled {
            keep(.reported, footprint, event, depth, processor)
        }
    }

    /// Something broke, warnings aside, or the run has ended.
    private func hasBroken(since snapshot: RunSnapshot) -> Bool {
        ending != nil
            || findings.dropFirst(snapshot.findings.count).contains { $0.finding.rule.severity == .violation }
    }

    private mutating func beginNested(inside: Int) -> RunSnapshot? {
        guard machine.memory.tracking.depth < MemoryTracking.levels else { return nil }
        let snapshot = takeSnapshot()
        machine.memory.tracking.begin()
        explorer?.runs += 1
        pathNumber = UInt32(truncatingIfNeeded: explorer?.runs ?? 0)
        explorer?.begin(&machine)
        remaining = inside
        return snapshot
    }

    /// The nested event is over: what its path has looked at is known now. True if that is a register that none before did.
    private mutating func endNested(_ event: NestedEvent, _ depth: Int, _ touched: inout [Int32]) -> Bool {
        machine.memory.tracking.end(into: &touched)
        return explorer?.end(event, depth, &machine) ?? false
    }

    /// The nested event left something behind, or broke something: what comes of it is seen at the end. False if it was
    /// seen before.
    private mutating func followOn(
        _ event: NestedEvent, _ inside: Int, _ processor: UInt64, _ snapshot: RunSnapshot, broke: Bool
    ) -> Bool {
        if broke {
            remaining = 0
        } else {
            let key = Explorer.exactKey(processor, event, inside, &self)
            if explorer?.follows(key) == false { return false }
        }
        runOn()
        reportNested(snapshot)
        return true
    }

    /// Runs to the end, through the C functions that nested events have interrupted.
    private mutating func runOn() {
        while ending == nil {
            if let last = suspended.last, activations.count <= last.floor {
                suspended.removeLast()
                leaveAfterNested(last.body)
            } else {
                advance()
            }
        }
    }

    /// RIP and RSP are where a nested event in a C function returns to.
    private mutating func isIn(_ body: Body) -> Bool {
        isAtFunction && machine[.rsp] == body.stackPointer &- CFunctionCall.frame_bytes
    }

    /// Goes on with the C function that a nested event interrupted.
    private mutating func leaveAfterNested(_ body: Body) {
        guard isIn(body) else { return }
        if remaining > 0 {
            suspended.append((activations.count, body))
            considerNestedEvents(in: body)
            suspended.removeLast()
        }
        if ending == nil { finish(body) }
    }

    /// Keeps what the run with its nested events found and the one without them did not.
    private mutating func reportNested(_ snapshot: RunSnapshot) {
        // With strange registers nothing is reported: what breaks is run again as it is.
        if isProbing > 0 {
            didBreakInside = true
            return
        }
        let known = firstFindings(snapshot)
        var result = result(from: known)
        result.scenario.injections = path
        guard result.verdict == .violated || result.verdict == .undecided else { return }
        explorer?.report(
            result, causes: findings.dropFirst(known).map { ($0.finding.rule.id, $0.at.instruction) })
    }

    /// Findings that were there before the first event was injected.
    private func firstFindings(_ snapshot: RunSnapshot) -> Int { snapshot.findings.count }

    private func routineName(_ index: Int32) -> String {
        guard index >= 0, Int(index) < program.routineOf.count else { return "nowhere" }
        return program.routines[Int(program.routineOf[Int(index)])].name
    }
}

extension ScenarioRun {
    /// Notes that NMIs are open inside the NMI that the innermost event interrupted; false where there is none.
    ///
    /// Such an NMI may be followed by another at once; the one that is handled is not over.
    mutating func noteOpenNMIs() -> Bool {
        guard let outer = activations.dropLast().lastIndex(where: { $0.event.source == .nmi }) else { return false }
        let index = Int(program.index(at: innermost.interrupted.rip))
        let isInC = index >= 0 && program.instructions[index].opcode == .model
        if activations[outer].openNMIs != .inEntryCode { activations[outer].openNMIs = isInC ? .inC : .inEntryCode }
        // Whatever lies between was interrupted with NMIs blocked, and resumes with them open.
        for index in outer..<activations.count - 1 where index > outer {
            activations[index].expected.nmiBlocked = false
        }
        return true
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
        if explorer.isExhausted && own.verdict == .holds {
            own.verdict = .undecided
            own.limit = "nested-runs"
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

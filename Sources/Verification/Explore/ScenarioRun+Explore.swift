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

    /// One instruction, with what it looks at noted for the running nested paths.
    mutating func exploredStep() -> Outcome {
        guard machine.stepNumber < limits.steps else { return .stepLimit }
        let index = Int(machine.cpu.index)
        if index >= 0, index < image.program.dependences.count {
            let dependence = image.program.dependences[index]
            explorer?.note(dependence)
        }
        return machine.step(image.program)
    }

    // MARK: Where and what

    /// Injects what the plan says at this boundary, or tries every event that may come here.
    @inline(never)
    mutating func considerNestedEvents(in body: Body? = nil) {
        if let next = plan.first {
            guard next.step == machine.stepNumber, admits(next.event, in: body) else { return }
            plan.removeFirst()
            path.append(next)
            raise(next.event)
            if body != nil { runNested(above: activations.count - 1) }
            return
        }
        guard remaining > 0, hardCause == nil, ending == nil, let runs = explorer?.runs else { return }
        guard runs < limits.nestedRuns else {
            explorer?.isExhausted = true
            return
        }
        explorer?.boundaries += 1
        let processor = Explorer.processorKey(&self, inBody: body != nil)
        for (event, _, symbol) in nestedEvents where admits(event, in: body) {
            attempt(event, symbol, processor)
        }
    }

    /// Whether the machine and the kernel allow an event at this boundary.
    func admits(_ event: NestedEvent, in body: Body?) -> Bool {
        if event.needsCFunction && body == nil { return false }
        let cpu = machine.cpu
        if hypervisor != nil && !cpu.guestKernelMode { return false }
        if !machine.isKernelMode { return false }
        // A trap of the instruction before comes first (SDM vol. 3, table 6-2).
        if cpu.pendingDebug != 0 { return false }
        switch event {
        case .nmi:
            // Linux keeps breakpoints away from its NMI entry, and takes a machine check there for fatal: neither opens NMIs
            // before the first one's frame is safe.
            if hypervisor == nil && activations.contains(where: { $0.openNMIs == .inEntryCode }) { return false }
            // Of the NMI that such a scenario starts in nothing is run: whether it repeats is seen where NMIs are the event.
            if scenario.context.isInNMI { return false }
            return hypervisor.map { !$0.nmiMasked } ?? cpu.acceptsNMI
        case .machineCheck:
            // A second one while the first is in progress shuts the processor down (SDM vol. 3, 15.3.1.2).
            return !cpu.machineCheckInProgress && !isInside(Vector.machineCheck)
        case .debug:
            return !cpu.stackShadow && !isInside(Vector.debug) && hypervisor == nil
        case .interrupt, .upcall:
            return !eventsAreMasked && (hypervisor != nil || cpu.acceptsInterrupts)
        case .pageFault:
            return body?.mayFault == true && !isInside(Vector.doubleFault) && !isInside(Vector.machineCheck)
                && !interruptsEntryCode(Vector.debug)
        case .virtualization:
            // A host that may take pages away does so at any access, unless the guest refuses to run so (SEPT_VE_DISABLE).
            let isAnywhere = !(image.table.options["SEPT_VE_DISABLE"] ?? true)
            return (isAnywhere || body?.mayFault == true) && !isInside(Vector.virtualization)
                && !isInside(Vector.doubleFault)
                && !isInside(Vector.machineCheck) && !isInside(Vector.nmi) && !isInside(Vector.debug)
        case .breakpoint:
            return body?.mayFault == true && !isInside(Vector.breakpoint) && !isInside(Vector.debug)
                && !isInside(Vector.machineCheck) && !isInside(Vector.doubleFault)
        }
    }

    /// An event of this vector came while entry code ran: its handler keeps away from memory that may be absent.
    private func interruptsEntryCode(_ vector: UInt8) -> Bool {
        activations.contains { activation in
            guard activation.event.vector == vector, activation.isInjected else { return false }
            let index = Int(program.index(at: activation.interrupted.rip))
            guard index >= 0 else { return false }
            let instruction = program.instructions[index]
            let number = Int(instruction.immediate)
            guard instruction.opcode == .model, image.functions.indices.contains(number) else { return true }
            return !image.functions[number].model.isEventHandler
        }
    }

    private func isInside(_ vector: UInt8) -> Bool { activations.contains { $0.event.vector == vector } }

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
        let number = nextActivation
        deliver(event, isUnexpected: false)
        if ending == nil, !activations.isEmpty, nextActivation != number {
            activations[activations.count - 1].isInjected = true
        }
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
    /// First with strange values in the registers: a path that restores them restores any. What is not found transparent
    /// so is run again as it is, and followed.
    private mutating func attempt(_ event: NestedEvent, _ symbol: String, _ processor: UInt64) {
        let depth = remaining
        if let key = explorer?.key(processor, event, depth, &machine), explorer?.outcome(key) != nil { return }
        path.append(
            Injection(event: event, symbol: symbol, routine: routineName(machine.cpu.index), step: machine.stepNumber))
        defer { path.removeLast() }
        if isTransparent(event, depth) {
            if let key = explorer?.key(processor, event, depth, &machine) { explorer?.keep(.transparent, for: key) }
            return
        }
        guard let snapshot = beginNested() else { return }
        let floor = activations.count
        raise(event)
        runNested(above: floor)
        _ = stopTracking(event, depth)
        let broke = findings.count > snapshot.findings.count || ending != nil
        if broke || !isBack(at: snapshot) { followOn(event, depth, processor, snapshot, broke: broke) }
        restore(snapshot)
        if isProbing > 0 {
            // Whoever is probing learns that something breaks inside, and runs it again to report it.
            if broke || didBreakInside { didBreakInside = true }
        } else if broke, let key = explorer?.key(processor, event, depth, &machine) {
            explorer?.keep(.reported, for: key)
        }
    }

    /// Whether an event restores the state of this boundary, whatever the registers hold that it only carries.
    private mutating func isTransparent(_ event: NestedEvent, _ depth: Int) -> Bool {
        guard let snapshot = beginNested() else { return false }
        let floor = activations.count
        let carried = explorer?.carriedRegisters(event, depth) ?? 0
        for number in 0..<16 where carried >> UInt32(number) & 1 != 0 {
            machine.cpu[Register.general[number]] = ScenarioRun.strangeValue(number)
        }
        let brokeBefore = didBreakInside
        didBreakInside = false
        raise(event)
        isProbing += 1
        runNested(above: floor)
        isProbing -= 1
        let isBack =
            findings.count == snapshot.findings.count && ending == nil && !didBreakInside
            && isBack(at: snapshot, strange: carried)
        // The outer one that is being probed has it inside as well.
        didBreakInside = brokeBefore || (didBreakInside && isProbing > 0)
        let isSurprised = stopTracking(event, depth)
        restore(snapshot)
        return isBack && !isSurprised
    }

    /// A value that nothing else has, for each register one.
    static func strangeValue(_ number: Int) -> UInt64 { 0x5EED_0000_0000_0000 | UInt64(number) << 8 | 0x5A }

    private mutating func beginNested() -> RunSnapshot? {
        guard machine.memory.tracking.depth < MemoryTracking.levels else { return nil }
        let snapshot = takeSnapshot()
        machine.memory.tracking.begin(at: machine.stepNumber, live: machine.liveActivations)
        explorer?.runs += 1
        explorer?.begin()
        remaining -= 1
        return snapshot
    }

    /// The nested event is over: what its path has looked at is known now. True if that is a register that none before did.
    private mutating func stopTracking(_ event: NestedEvent, _ depth: Int) -> Bool {
        let footprint = machine.memory.tracking.end()
        return explorer?.end(event, depth, footprint) ?? false
    }

    /// The nested event left something behind, or broke something: what comes of it is seen at the end.
    private mutating func followOn(
        _ event: NestedEvent, _ depth: Int, _ processor: UInt64, _ snapshot: RunSnapshot, broke: Bool
    ) {
        if broke {
            remaining = 0
        } else {
            let key = Explorer.exactKey(processor, event, depth, &self)
            if explorer?.follows(key) == false { return }
        }
        runOn()
        reportNested(snapshot)
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

    /// Goes on with the C function that a nested event interrupted.
    private mutating func leaveAfterNested(_ body: Body) {
        guard isAtFunction, machine[.rsp] == body.stackPointer &- CFunctionCall.frame_bytes else { return }
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
    var hashValueForKey: UInt32 { rawValue.utf8.reduce(5381) { $0 &* 33 &+ UInt32($1) } }
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
        remaining = explorer == nil ? 0 : nesting
        machine.memory.tracking.isOn = remaining > 0
        machine.memory.recordsGivenUpWords = remaining > 0 || !scenario.injections.isEmpty
        var own = execute(scenario)
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

package import EntryCode
package import Machine
package import XenPV

/// How a run ended.
package enum Ending: Sendable, Hashable {
    /// The interrupted program runs again.
    case resumed
    /// A C function handled the event that is made for others.
    case wrongHandler(String)
    /// The kernel printed an oops and the task died; the scenario asked for it.
    case expectedOops
    /// The kernel printed an oops that nothing asked for.
    case oops(vector: UInt8, errorCode: UInt64)
    /// The process was killed by a signal that nothing asked for.
    case processKilled(vector: UInt8, errorCode: UInt64)
    case domainCrash(DomainCrash)
    case tripleFault(vector: UInt8)
    /// The same fault at the same instruction in the same state, again and again.
    case endlessRecursion(vector: UInt8, address: UInt64)
    /// A loop that changes neither registers nor memory.
    case endlessLoop(address: UInt64)
    case halted
    case stepLimit
    /// The code came to what was not understood, or called a C function without a model.
    case notUnderstood
    /// It was not begun: the simulation ended before.
    case notRun
}

/// One violation or warning of a run.
package struct RecordedFinding: Sendable, Hashable {
    package var finding: Finding
    package var at: CausePoint
}

/// Bounds of a run.
package struct RunLimits: Sendable, Hashable {
    /// Instructions of one scenario.
    package var steps: UInt32 = 20_000
    /// Events that have not returned at one time: a stack of 16 KiB holds some seventy page faults.
    package var activations = 128
    /// Occurrences of the same fault in the same state that count as endless.
    package var recurrences = 8
    /// Steps kept in a trace.
    package var traceSteps = 5_000
    /// Nested events that are tried in a whole simulation; each platform, and each mode of it, has its share.
    package var nestedRuns: UInt64 = 10_000_000

    package init() {}
}

/// Runs the scenarios of one image, one after the other, on the same memory.
package struct ScenarioRun: Sendable {
    package let image: EntryImage
    package let limits: RunLimits
    package var machine: Machine
    package var hypervisor: Hypervisor?
    package var scenario: Scenario
    /// Events that have not returned, the innermost last.
    package var activations: [Activation] = []
    package var findings: [RecordedFinding] = []
    /// Index in `findings` of the first one that changed what the machine does.
    package var hardCause: Int?
    /// The latest rule that broke after the hard cause.
    package var laterFinding: Finding?
    package var ending: Ending?
    package var console: [String] = []
    /// Words of the interrupted stack and what they must hold when the program resumes.
    package var stackExpectations: [(address: UInt64, value: UInt64, what: String)] = []
    package var recorder: TraceRecorder?
    /// The fault whose cause is being looked for.
    package var faultAtHand: Fault?

    /// What nested exploration has seen; nil where nothing is injected but by `plan`.
    package var explorer: Explorer?
    /// Events that may still be injected.
    var remaining = 0
    /// C functions that nested events interrupt, each with the number of events that were unfinished in it.
    var suspended: [(floor: Int, body: Body)] = []
    /// Nested events that are being tried with strange values in the registers.
    var isProbing = 0
    /// A nested event of one that is being probed breaks something.
    var didBreakInside = false
    /// Paths that are followed to see whether they break something, which is then run again to be reported.
    var isSilent = 0
    /// Nested paths around the one that goes on with NMIs open.
    var openNMIDepth: UInt32 = 0
    /// The path that goes on with NMIs open has come to where one did before.
    var isCutShort = false
    /// Nested events inside of which others are tried, the innermost last.
    var enclosing: [Enclosing] = []
    /// What the running paths will access, the outermost first.
    var futures: [Future] = []
    /// Tells the innermost nested path from all others.
    var pathNumber: UInt32 = 0
    /// Events that were injected.
    var path: [Injection] = []
    /// Events of the plan whose step the run did not reach.
    package var missedInjections: [Injection] = []
    /// Events to inject, where a scenario names them.
    var plan: [Injection] = []

    var nextActivation: UInt32 = 1
    /// The deliberate damage of a sigreturn probe: the return is meant to fault.
    var expectsReturnFault = false
    /// What could not be returned to while a #DF stands for the fault of the IRET (fact F30).
    var targetBehindDoubleFault: (context: SavedContext, words: InlineArray<5, UInt64>)?
    /// NMIs that came so far.
    var deliveredNMIs = 0
    /// An NMI came while another was handled, and its handler has not run since.
    var owesNMI = false
    /// RSP of the scenario's context.
    var interruptedRSP: UInt64 = 0
    /// Per-CPU words that the context holds otherwise than the kernel at rest.
    var contextWords: [UInt64: UInt64] = [:]
    /// DR7 as the interrupted code has it.
    var contextDebugControl: UInt64 = 0
    /// Where the #DB of a stepped program must come next.
    var awaitedTrap: UInt64?
    /// It has come.
    var hasStepped = false
    /// Where the stepped program resumed.
    var resumedAt: UInt64 = 0
    /// do_debug has taken TF out of a frame of the kernel.
    var hasClearedTrapFlag = false
    /// Faults of IRETs that nothing asked for.
    var unwantedReturnFaults = 0
    var eventIsPending = false
    /// The step before which an event comes while a routine of the PV kernel's runs; nil once it has, and elsewhere.
    var arrival: UInt32?
    /// It has reached its handler.
    var hasTakenEvent = false
    /// Where the program must arrive once it runs again; nil to stop at once.
    var stopAddress: UInt64?
    var speculation: SpeculationMemo
    /// The nested events that the table has entries for.
    let nestedEvents: [(event: NestedEvent, vector: UInt8, symbol: String)]
    /// Whoever may want an end before everything was tried.
    let control: SimulationControl?
    /// Texts of instructions that findings of earlier scenarios named.
    var instructionTexts: [Int32: String] = [:]

    // Lent, not copied: a copy counts references on a dozen arrays.
    package var program: Program { _read { yield image.program } }
    package var layout: ImageLayout { _read { yield image.layout } }

    package init(image: EntryImage, limits: RunLimits = RunLimits(), control: SimulationControl? = nil) {
        self.image = image
        self.limits = limits
        self.control = control
        machine = image.machine
        hypervisor = image.hypervisor
        scenario = Scenario(
            platform: image.platform, event: "", vector: 0, context: .kernel, probe: .return, reason: "")
        nestedEvents = image.nestedEvents
        activations.reserveCapacity(limits.activations + 1)
        speculation = SpeculationMemo(image: image)
    }

    /// The innermost event.
    package var current: Activation? { activations.last }

    var isHandlingEvent: Bool { !activations.isEmpty }

    /// The innermost event, lent: an activation is some 600 bytes, and most checks look at one field. Only while
    /// `isHandlingEvent`.
    var innermost: Activation {
        _read { yield activations[activations.count - 1] }
    }

    /// Runs one scenario from the start.
    package mutating func execute(_ scenario: Scenario) -> ScenarioResult {
        if scenario.probe.isParavirtCall { return executeParavirtCall(scenario) }
        reset(scenario)
        plan = scenario.injections
        setContext()
        raise()
        while ending == nil { advance() }
        // What was to be injected at a step that never came.
        for injection in plan { missedInjections.append(injection) }
        return result()
    }

    mutating func reset(_ scenario: Scenario) {
        self.scenario = scenario
        machine.memory.reset()
        machine.cpu = image.machine.cpu
        machine.idt[Int(Vector.debug)].ist = machine.debugGateIST
        machine.debugTableUsers = 0
        machine.cost = Cost()
        machine.stepNumber = 0
        machine.activation = 0
        machine.liveActivations = 1
        machine.isTracing = recorder != nil
        hypervisor?.nmiMasked = false
        hypervisor?.isInMachineCheck = false
        faultAtHand = nil
        targetBehindDoubleFault = nil
        unwantedReturnFaults = 0
        machine.unguardedReturn = -1
        contextWords.removeAll(keepingCapacity: true)
        awaitedTrap = nil
        hasStepped = false
        hasClearedTrapFlag = false
        deliveredNMIs = 0
        owesNMI = false
        eventIsPending = false
        arrival = nil
        hasTakenEvent = false
        activations.removeAll(keepingCapacity: true)
        path.removeAll(keepingCapacity: true)
        suspended.removeAll(keepingCapacity: true)
        missedInjections.removeAll()
        findings.removeAll(keepingCapacity: true)
        console.removeAll(keepingCapacity: true)
        stackExpectations.removeAll(keepingCapacity: true)
        hardCause = nil
        laterFinding = nil
        ending = nil
        nextActivation = 1
        expectsReturnFault = false
        stopAddress = nil
        recorder?.reset()
    }

    // MARK: The loop

    mutating func advance() {
        let isRunningAgain = activations.isEmpty && machine.stepNumber > 0 && !eventIsPending
        if isRunningAgain, let stopAddress, machine.instructionPointer(image.program) == stopAddress {
            finishInterruptedProgram()
            return
        }
        if let arrival, activations.isEmpty, machine.stepNumber >= arrival { raisePendingEvent() }
        if eventIsPending && isAtSystemCall && image.isFastSystemCall(scenario.vector) {
            executeSystemCall()
            return
        }
        if !activations.isEmpty, remaining > 0 || !plan.isEmpty, !isAtFunction { considerNestedEvents() }
        machine.stopAtBranches = speculation.isArmed && !activations.isEmpty
        let outcome: Outcome
        if recorder != nil {
            outcome = recordedStep()
        } else if explorer != nil && (remaining > 0 || explorer?.isInside == true) {
            outcome = exploredRun()
        } else if let next = plan.first?.step {
            outcome = machine.run(image.program, stepLimit: min(limits.steps, max(next, machine.stepNumber + 1)))
            if case .stepLimit = outcome, machine.stepNumber < limits.steps { return }
        } else if activations.isEmpty {
            outcome = machine.stepNumber < limits.steps ? machine.step(image.program) : .stepLimit
        } else {
            outcome = machine.run(image.program, stepLimit: limits.steps)
        }
        handle(outcome)
    }

    mutating func handle(_ outcome: Outcome) {
        switch outcome {
        case .next: break
        case .branch(let instruction, let taken): checkSpeculation(instruction, taken: taken)
        case .fault(let fault): handleFault(fault)
        case .softwareInterrupt(let vector):
            let isFirst = eventIsPending
            eventIsPending = false
            deliver(Event(vector: vector, source: .software), isUnexpected: !isFirst)
        case .debugTrap(let bits): takeDebugTrap(bits)
        case .model(let number): runFunction(number)
        case .paravirtualSyscall: hypercall()
        case .paravirtualSysenter:
            // Nothing is made for it but the scenario's own, which does not come here.
            machine.cpu.index -= 1
            handleFault(.generalProtection())
        case .returned(let frame): handleReturn(frame)
        case .halted:
            // RIP is behind the HLT, in another routine perhaps.
            let halt = machine.cpu.index - 1
            if image.program.instructions.indices.contains(Int(halt)),
                image.program.instructions[Int(halt)].opcode == .hlt
            {
                machine.cpu.index = halt
            }
            ending = .halted
        case .stepLimit:
            ending = loopsForEver() ? .endlessLoop(address: machine.instructionPointer(program)) : .stepLimit
        }
    }

    /// Whether the code comes back to the same state without having written anything: then it does so for ever.
    private func loopsForEver() -> Bool {
        var copy = machine
        copy.isTracing = true
        copy.stopAtBranches = false
        copy.writes.removeAll()
        for _ in 0..<4_096 {
            guard case .next = copy.step(program), copy.writes.isEmpty else { return false }
            let isSame =
                copy.cpu.index == machine.cpu.index && copy.cpu.flags == machine.cpu.flags
                && copy.cpu.gsBase == machine.cpu.gsBase && copy.cpu.cr3 == machine.cpu.cr3
                && Register.general.allSatisfy { copy.cpu[$0] == machine.cpu[$0] }
            if isSame { return true }
        }
        return false
    }

    mutating func recordedStep() -> Outcome {
        guard machine.stepNumber < limits.steps else { return .stepLimit }
        let before = machine.cpu
        let number = machine.stepNumber
        machine.writes.removeAll(keepingCapacity: true)
        let outcome = machine.step(image.program)
        recorder?.record(
            step: number, before: before, outcome: outcome, machine: machine, program: image.program,
            activation: machine.activation)
        return outcome
    }

    // MARK: Findings

    /// Runs the invariants of a checkpoint; true if one that changes the course of events broke.
    @discardableResult
    mutating func check(_ checkpoint: Checkpoint) -> Bool {
        guard let found = findings(at: checkpoint) else { return false }
        var broke = false
        for finding in found {
            // That no handler ran is no consequence of what the way out did to the frame.
            record(finding, isFirstCause: checkpoint == .resumed && finding.rule.id == Progress.rule.id)
            if !finding.rule.isLatent && finding.rule.severity == .violation { broke = true }
        }
        return broke
    }

    /// What the invariants of a checkpoint find; nil for nothing.
    ///
    @inline(never)
    private mutating func findings(at checkpoint: Checkpoint) -> [Finding]? {
        var found: [Finding]?
        for invariant in InvariantTable.list(checkpoint) {
            guard let finding = invariant.check(&self, at: checkpoint) else { continue }
            if found == nil { found = [finding] } else { found?.append(finding) }
        }
        return found
    }

    /// Records a finding: latent ones once per rule, of the others the first as cause and the last as consequence.
    mutating func record(_ finding: Finding, isFirstCause: Bool = false) {
        let point =
            finding.at ?? CausePoint(step: machine.stepNumber, instruction: machine.cpu.index)
        if finding.rule.isLatent || finding.rule.severity == .warning {
            // Once something has gone wrong, a wrong flag is its consequence.
            if hardCause != nil && finding.rule.severity == .violation { return }
            if !findings.contains(where: { $0.finding.rule.id == finding.rule.id }) {
                findings.append(RecordedFinding(finding: finding, at: point))
            }
            return
        }
        if hardCause != nil {
            laterFinding = finding
            return
        }
        if !isFirstCause, let earlier = earlierCause(than: finding) {
            hardCause = findings.count
            findings.append(RecordedFinding(finding: earlier, at: earlier.at ?? point))
            laterFinding = finding
            return
        }
        hardCause = findings.count
        findings.append(RecordedFinding(finding: finding, at: point))
    }

    /// What made a rule break may have happened long before: a word that was lost, a stub that took the frame for another.
    mutating func earlierCause(than finding: Finding) -> Finding? {
        let causes = [LiveFrameOverwritten.rule.id, ErrorCode.rule.id, PtRegsFaithful.rule.id]
        if finding.rule.id == PtRegsFaithful.rule.id, let overwritten = LiveFrameOverwritten.byFurtherEvent(self) {
            return overwritten
        }
        if causes.contains(finding.rule.id) { return nil }
        if let overwritten = LiveFrameOverwritten.rootCause(self) { return overwritten }
        guard let activation = current, !activation.isUnexpected else { return nil }
        return ErrorCode.shiftedFrame(&self, activation) ?? PtRegsFaithful.misplaced(&self, activation)
    }
}

package import EntryCode
package import Machine

/// What became of a scenario.
package enum Verdict: String, Sendable, Hashable, CaseIterable {
    case holds
    case violated
    /// A limit was reached before the end.
    case undecided
    /// The table cannot be run.
    case invalid
}

/// One broken rule of one scenario, from cause to consequence.
package struct Violation: Sendable, Hashable {
    package var rule: String
    package var severity: Rule.Severity
    package var routine: String
    package var step: UInt32
    package var instruction: String
    package var source: String
    package var explanation: String
    package var consequence: Consequence?
    package var console: [String]
    /// The defect of the kernel itself that this is, where an unmodified table was run.
    package var known: KnownDefect?
}

/// What the machine did next.
package struct Consequence: Sendable, Hashable {
    package var rule: String
    /// The entry's symbol of the vector, where there is one.
    package var vector: String?
    package var errorCode: UInt64?
    package var text: String
}

/// The verdict on one scenario.
package struct ScenarioResult: Sendable {
    package var scenario: Scenario
    package var verdict: Verdict
    /// Violations first, then warnings.
    package var violations: [Violation]
    package var ending: Ending
    package var cost: Cost
    package var steps: UInt32
    /// Which limit made it undecided.
    package var limit: String?
    /// What ended the search for nested events before all were tried, whatever was found until then.
    package var cutShortBy: SearchLimit?
}

extension ScenarioRun {
    /// - Parameter first: Index of the first finding that counts: those before it belong to a run with fewer events.
    mutating func result(from first: Int = 0) -> ScenarioResult {
        let ending = ending ?? .stepLimit
        closeFindings(ending)
        var verdict = Verdict.holds
        let doubtful = image.doubtfulRules
        let counted = findings.dropFirst(first).filter { $0.finding.rule.severity == .violation }
        // Rules about what C expects, for a kernel whose C expects something else: no verdict.
        let isDoubtful = !counted.isEmpty && counted.allSatisfy { doubtful.contains($0.finding.rule.id) }
        if !counted.isEmpty && !isDoubtful {
            verdict = .violated
        } else if isDoubtful || ending == .stepLimit || ending == .notUnderstood {
            verdict = .undecided
        }
        let consequence = hardCause == nil ? nil : self.consequence(ending)
        var violations: [Violation] = []
        for (index, recorded) in findings.enumerated()
        where index >= first && !doubtful.contains(recorded.finding.rule.id) {
            let isHard = index == hardCause
            violations.append(
                violation(recorded, consequence: isHard ? consequence : latentConsequence(recorded), isHard: isHard))
        }
        violations.sort { $0.severity == .violation && $1.severity != .violation }
        return ScenarioResult(
            scenario: scenario, verdict: verdict, violations: violations, ending: ending, cost: machine.cost,
            steps: machine.stepNumber,
            limit: verdict != .undecided
                ? nil : ending == .notUnderstood || isDoubtful ? NotUnderstood.rule.id : "steps")
    }

    /// An ending that no finding explains is a finding of its own.
    private mutating func closeFindings(_ ending: Ending) {
        if hardCause != nil { return }
        switch ending {
        case .resumed, .expectedOops, .stepLimit, .notUnderstood, .notRun, .wrongHandler: break
        case .endlessRecursion(let vector, let address):
            record(
                Finding(
                    Progress.rule,
                    "\(Console.vectorMnemonic(vector)) at \(program.describe(address)) raises itself again, \(limits.recurrences) times in the same state"
                ))
        case .endlessLoop(let address):
            record(Finding(Progress.rule, "the code at \(program.describe(address)) loops for ever in the same state"))
        case .halted:
            record(Finding(Progress.rule, "the processor halts at \(here) with an event unfinished"))
        case .oops(let vector, let code), .processKilled(let vector, let code):
            record(
                UnexpectedFault.finding(self, vector: vector, errorCode: UInt32(truncatingIfNeeded: code)))
        case .domainCrash(let crash): record(UnexpectedFault.domainCrash(self, crash))
        case .tripleFault(let vector): record(TripleFault.finding(self, during: Event(vector: vector, source: .fault)))
        }
    }

    private mutating func violation(_ recorded: RecordedFinding, consequence: Consequence?, isHard: Bool) -> Violation {
        let index = recorded.at.instruction
        var routine = ""
        var source = ""
        if index >= 0, Int(index) < image.program.instructions.count {
            routine = image.program.routines[Int(image.program.routineOf[Int(index)])].name
            let line = image.program.lines[Int(index)]
            let file = image.program.files[Int(line.file)]
            // Stand-ins for C and for interrupted code have no source that a user could open.
            if file.contains("/") { source = "\(file):\(line.line)" }
        }
        return Violation(
            rule: recorded.finding.rule.id, severity: recorded.finding.rule.severity, routine: routine,
            step: recorded.at.step, instruction: plainInstruction(index), source: source,
            explanation: recorded.finding.explanation, consequence: consequence,
            console: isHard ? endingConsole() : [])
    }

    private mutating func plainInstruction(_ index: Int32) -> String {
        guard index >= 0, Int(index) < image.program.instructions.count else { return "" }
        if let known = instructionTexts[index] { return known }
        let instruction = image.program.instructions[Int(index)]
        let text =
            instruction.opcode == .model
            ? "(C function)" : image.text(instruction, at: image.program.addresses[Int(index)])
        instructionTexts[index] = text
        return text
    }

    private func latentConsequence(_ recorded: RecordedFinding) -> Consequence? {
        let rule = recorded.finding.rule
        guard rule.severity == .violation else { return nil }
        return Consequence(rule: rule.id, vector: nil, errorCode: nil, text: rule.latentConsequence)
    }

    private func endingConsole() -> [String] {
        switch ending {
        case .domainCrash(let crash): Console.domainCrash(self, crash)
        case .endlessRecursion, .endlessLoop: ["(the machine hangs without a message)"]
        case .tripleFault: ["(the machine resets without a message)"]
        case .halted: ["(the processor halts without a message)"]
        default: console
        }
    }

    private func consequence(_ ending: Ending) -> Consequence? {
        func symbol(_ vector: UInt8) -> String {
            image.vectors.first { $0.vector == vector }?.entry ?? Console.vectorMnemonic(vector)
        }
        switch ending {
        case .resumed, .expectedOops:
            if let later = laterFinding {
                return Consequence(rule: later.rule.id, vector: nil, errorCode: nil, text: later.explanation)
            }
            guard let cause = hardCause.map({ findings[$0].finding.rule }) else { return nil }
            return Consequence(rule: cause.id, vector: nil, errorCode: nil, text: cause.latentConsequence)
        case .wrongHandler(let name):
            return Consequence(
                rule: Progress.rule.id, vector: nil, errorCode: nil,
                text: "\(name) takes the event for one of its own")
        case .oops(let vector, let code):
            return Consequence(
                rule: vector == Vector.doubleFault ? DoubleFault.rule.id : UnexpectedFault.rule.id,
                vector: symbol(vector),
                errorCode: code, text: "an oops (\(Console.trapName(vector))): the task dies")
        case .processKilled(let vector, let code):
            return Consequence(
                rule: UnexpectedFault.rule.id, vector: symbol(vector), errorCode: code,
                text: "the program gets \(Console.signalName(vector))")
        case .domainCrash(let crash):
            return Consequence(
                rule: UnexpectedFault.rule.id, vector: crash.reason == .unhandledVector ? symbol(crash.vector) : nil,
                errorCode: crash.reason == .unhandledVector && crash.errorCode != .max ? UInt64(crash.errorCode) : nil,
                text: crash.reason == .hypervisorFault ? "Xen itself goes down" : "Xen crashes the domain")
        case .tripleFault(let vector):
            return Consequence(
                rule: TripleFault.rule.id, vector: symbol(vector), errorCode: nil,
                text: "the processor shuts down: the machine resets without a message")
        case .endlessRecursion(let vector, let address):
            return Consequence(
                rule: Progress.rule.id, vector: symbol(vector), errorCode: nil,
                text:
                    "\(Console.vectorMnemonic(vector)) at \(program.describe(address)) recurses without end: the machine hangs without a message"
            )
        case .endlessLoop(let address):
            return Consequence(
                rule: Progress.rule.id, vector: nil, errorCode: nil,
                text: "the code at \(program.describe(address)) loops for ever: the machine hangs without a message")
        case .halted:
            return Consequence(rule: Progress.rule.id, vector: nil, errorCode: nil, text: "the processor halts")
        case .notUnderstood:
            return Consequence(
                rule: NotUnderstood.rule.id, vector: nil, errorCode: nil, text: "code follows that was not understood")
        case .notRun: return nil
        case .stepLimit:
            return Consequence(
                rule: Progress.rule.id, vector: nil, errorCode: nil,
                text: "no end within \(limits.steps) instructions")
        }
    }
}

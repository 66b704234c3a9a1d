import EntryCode
import Machine
package import Verification
import XenPV

/// The machine's counters; the module's name is hidden by its type of the same name.
typealias MachineCost = Cost

extension Report {
    /// Makes the report of a finished simulation.
    ///
    /// - Parameters:
    ///   - request: What was asked for; its limits are part of the report.
    ///   - id: The simulation's id; nil where nothing is kept, then links are left out.
    ///   - elapsed_seconds: Measured by the caller: nothing here reads a clock.
    ///   - created: RFC 3339.
    ///   - timeLimit_seconds: What the simulation might take; nil for any time.
    package init(
        result: SimulationResult, request: SimulationRequest, configuration: Configuration, kernel: String,
        id: String? = nil, elapsed_seconds: Double = 0, created: String? = nil,
        timeLimit_seconds: Int? = nil
    ) {
        self.id = id
        self.configuration = configuration
        self.kernel = kernel
        self.created = created
        xen = result.xen.rawValue
        state = "finished"
        verdict = result.verdict.rawValue
        self.request = Request(
            platforms: request.selection.platforms.map(\.rawValue), scenarios: request.selection.patterns,
            nesting: request.nesting, stopAtFirst: request.stopAtFirst)
        modelVersion = Verification.modelVersion
        limits = Limit.all(of: request.limits)
        if let timeLimit_seconds { limits.append(Limit(name: SearchLimit.time.rawValue, value: timeLimit_seconds)) }
        cutShort = CutShort.all(of: result)
        reasons = result.findings.map(Reason.init)
        violations = []
        warnings = []
        undecided = []
        costs = []
        costs.reserveCapacity(result.results.count)
        summary = Summary()
        summary.scenarios = result.results.count
        summary.nesting = request.nesting
        summary.elapsed_seconds = elapsed_seconds
        for result in result.results { add(result) }
        summary.instructions = Int(clamping: result.instructions)
        summary.states = request.nesting > 0 ? Int(clamping: result.boundaries) : summary.instructions
        summary.nestedRuns = Int(clamping: result.nestedRuns)
        summary.warnings = warnings.count
    }

    private mutating func add(_ result: ScenarioResult) {
        let name = result.scenario.name
        switch result.verdict {
        case .holds: summary.holds += 1
        case .violated: summary.violated += 1
        case .undecided:
            summary.undecided += 1
            undecided.append(Undecided(scenario: name, limit: result.limit ?? ""))
        case .invalid: break
        }
        for violation in result.violations {
            let value = Violation(violation, scenario: name, simulation: id)
            if violation.severity == .warning { warnings.append(value) } else { violations.append(value) }
        }
        costs.append(Cost(result.cost, scenario: name))
    }
}

extension Report.Violation {
    init(_ violation: Verification.Violation, scenario: String, simulation: String?) {
        self.scenario = scenario
        rule = violation.rule
        severity = violation.severity.rawValue
        at = Report.Location(
            routine: violation.routine, step: Int(violation.step), instruction: violation.instruction,
            source: violation.source)
        explanation = violation.explanation
        consequence = violation.consequence.map {
            Report.Consequence(
                rule: $0.rule, vector: $0.vector, errorCode: $0.errorCode.map { "0x" + String($0, radix: 16) },
                text: $0.text)
        }
        console = violation.console.joined(separator: "\n")
        trace = simulation.map { tracePath(simulation: $0, scenario: scenario) }
        known = violation.known.map {
            Report.KnownDefect(
                title: $0.title, why: $0.why, fixedBy: $0.fixedBy, fixedIn: $0.fixedIn, cve: $0.cve)
        }
    }
}

extension Report.Cost {
    init(_ cost: MachineCost, scenario: String) {
        self.scenario = scenario
        instructions = Int(clamping: cost.instructions)
        memoryWords = Int(clamping: cost.memoryWords)
        hypervisorEntries = Int(clamping: cost.hypervisorEntries)
        msrAccesses = Int(clamping: cost.msrAccesses)
        cr3Writes = Int(clamping: cost.cr3Writes)
        serialisingInstructions = Int(clamping: cost.serialisingInstructions)
    }
}

extension Report.CutShort {
    static func all(of result: SimulationResult) -> [Report.CutShort] {
        SearchLimit.allCases.compactMap { limit in
            let count = result.results.count { $0.cutShortBy == limit }
            return count > 0 ? Report.CutShort(limit: limit.rawValue, scenarios: count) : nil
        }
    }
}

extension Report.Reason {
    init(_ finding: ConfigurationFinding) {
        self.init(
            rule: finding.rule, pointer: finding.pointer, message: finding.message, location: finding.location)
    }
}

extension Report.Limit {
    static func all(of limits: RunLimits) -> [Report.Limit] {
        [
            Report.Limit(name: "steps", value: Int(limits.steps)),
            Report.Limit(name: "activations", value: limits.activations),
            Report.Limit(name: "recurrences", value: limits.recurrences),
            Report.Limit(name: "trace_steps", value: limits.traceSteps),
            Report.Limit(name: SearchLimit.nestedRuns.rawValue, value: Int(clamping: limits.nestedRuns)),
        ]
    }
}

/// Path of a scenario's trace; the slashes, `+`, `@` and `:` of a scenario's name stand as they are (RFC 3986, section 3.3).
package func tracePath(simulation: String, scenario: String) -> String {
    "/v1/simulations/\(simulation)/scenarios/\(percentEncoded(scenario))/trace"
}

private func percentEncoded(_ text: String) -> String {
    func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-._~/+@:".utf8.contains(byte)
        }
    }
    if text.utf8.allSatisfy(isPlain) { return text }
    var result = ""
    for byte in text.utf8 {
        if isPlain(byte) {
            result.unicodeScalars.append(Unicode.Scalar(byte))
        } else {
            result += "%" + hexadecimalDigits(UInt64(byte), digits: 2).uppercased()
        }
    }
    return result
}

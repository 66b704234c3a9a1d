import EntryCode
import Testing
import Verification

/// What holds of the tool whatever it is given.
enum Invariants {
    /// Everything that a simulation says.
    static func describe(_ result: SimulationResult) -> [String] {
        ["\(result.verdict) \(result.nestedRuns) \(result.boundaries)"] + result.findings.map { "\($0)" }
            + result.results.map {
                "\($0.scenario.name) \($0.verdict) \($0.steps) \($0.ending) \($0.cost) \($0.violations)"
            }
    }

    /// Steps after which tests take what runs on for a loop: the least limit that they set.
    private static let loopSteps: UInt32 = 2_000

    /// What was found: rule, the chain of events with the routines that they interrupt, and where the cause lies. What breaks
    /// without the nested events too counts once, without them. An endless loop is cut somewhere.
    ///
    /// - Parameter isSound: Only of scenarios that hold without nested events: broken entry code that reads words which are
    ///   nobody's finds there what some event has left.
    static func findings(_ result: SimulationResult, isSound: Bool = false) -> Set<String> {
        var found: Set<String> = []
        var own: [String: Set<String>] = [:]
        for scenario in result.results {
            let injections = scenario.scenario.injections
            let chain = injections.map { "\($0.symbol)@\($0.routine)" }.joined(separator: "+")
            var base = scenario.scenario
            base.injections = []
            for violation in scenario.violations where violation.severity == .violation {
                let isLoop = violation.rule == "progress" && scenario.steps >= loopSteps
                let place = isLoop ? "" : violation.instruction
                let cause = "\(violation.rule) \(violation.routine) '\(place)'"
                if injections.isEmpty { own[base.name, default: []].insert(cause) }
                if isSound && (injections.isEmpty || own[base.name] != nil) { continue }
                if injections.isEmpty || own[base.name]?.contains(cause) != true {
                    found.insert("\(base.platform.rawValue) [\(chain)] \(cause)")
                }
            }
        }
        return found
    }

    /// A limit ended the search for nested events.
    static func isCutShort(_ result: SimulationResult) -> Bool {
        result.isCutShort
    }

    /// A document that is refused says why; one that is read prints and reads as the same table.
    static func read(_ document: JSON, _ seed: UInt64) throws -> EntryTable? {
        let table: EntryTable
        do {
            table = try EntryTable.read(document.bytes)
        } catch {
            #expect(!error.faults.isEmpty, "a table that is refused without a reason, seed \(seed)")
            return nil
        }
        let again = try EntryTable.read(JSON.parse([UInt8](document.text.utf8)).value)
        #expect(again == table, "seed \(seed)")
        var resolved = try EntryTable.read(table.document.bytes)
        resolved.name = table.name
        #expect(resolved.document == table.document, "seed \(seed)")
        let canonical = try JSON.parse(table.document.bytes).value
        #expect(canonical.canonical.bytes == table.document.bytes, "seed \(seed)")
        return table
    }

    /// A report is complete: verdicts agree with what they are made of, limits have names.
    static func check(_ result: SimulationResult, _ request: SimulationRequest, _ seed: UInt64) {
        #expect(
            (result.verdict == .invalid) == result.findings.contains { $0.rule != "unreachable-entry" }, "seed \(seed)")
        for scenario in result.results {
            let name = scenario.scenario.name
            #expect(scenario.steps <= request.limits.steps, "seed \(seed): \(name)")
            #expect(
                (scenario.verdict == .violated)
                    == scenario.violations.contains { $0.severity == .violation && !$0.explanation.isEmpty },
                "seed \(seed): \(name)")
            #expect(
                (scenario.verdict == .undecided) == (scenario.limit != nil), "seed \(seed): \(name) \(scenario.verdict)"
            )
        }
        #expect(Set(result.results.map(\.scenario.name)).count == result.results.count, "seed \(seed): a name twice")
    }

    /// The name of a scenario is enough to run it again, to the same first cause.
    static func checkTrace(
        of scenario: ScenarioResult, _ table: EntryTable, _ request: SimulationRequest, _ seed: UInt64
    ) throws {
        let name = scenario.scenario.name
        guard let (again, trace) = try table.trace(scenario: name, request) else {
            Issue.record("seed \(seed): \(name) is not run again by its name")
            return
        }
        #expect(!trace.steps.isEmpty || scenario.steps == 0, "seed \(seed): \(name)")
        if scenario.scenario.injections.isEmpty {
            if scenario.limit != "nested-runs" { #expect(again.verdict == scenario.verdict, "seed \(seed): \(name)") }
            #expect(again.violations == scenario.violations, "seed \(seed): \(name)")
            #expect(again.steps == scenario.steps, "seed \(seed): \(name)")
            return
        }
        // What broke before the nested event came belongs to the run without it.
        #expect(
            again.verdict == scenario.verdict || again.verdict == .violated,
            "seed \(seed): \(name) was \(scenario.verdict), is \(again.verdict)")
        for violation in scenario.violations {
            let isThere = again.violations.contains {
                $0.rule == violation.rule && $0.step == violation.step && $0.routine == violation.routine
                    && $0.instruction == violation.instruction && $0.explanation == violation.explanation
            }
            #expect(
                isThere,
                "seed \(seed): \(name): \(violation.rule) \(violation.step) \(violation.explanation); again: \(again.violations.map { "\($0.rule) \($0.step) \($0.explanation)" })"
            )
        }
    }
}

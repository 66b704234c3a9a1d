package import EntryCode
import Machine
package import Verification

/// One scenario's row: what was run, why, how it ended.
///
/// What `GET …/scenarios` lists and the store keeps for each scenario of a simulation.
package struct ScenarioRecord: Sendable, Equatable {
    /// `platform/event/context/probe` and nested events.
    package var name: String
    /// First part of the name.
    package var platform: String
    /// Symbol of the entry, second part of the name.
    package var event: String
    /// What was running, third part of the name.
    package var context: String
    /// What the handler does, fourth part of the name.
    package var probe: String
    /// `holds`, `violated` or `undecided`.
    package var verdict: String
    /// Why Linux can meet it.
    package var reason: String
    /// The rule of its first cause; nil where none is violated.
    package var rule: String?
    /// How the run ended: `resumed`, `oops`, `domain-crash` and so on.
    package var ending: String
    /// Instructions until the end.
    package var steps: Int
    /// The limit that left it undecided.
    package var limit: String?
    /// The limit by which not everything was tried, whatever was found; nil where everything was.
    package var cutShort: String?
    /// What it executed.
    package var cost: Report.Cost
    /// Violations, then warnings.
    package var violations: [Report.Violation]
    /// Path of the trace; nil where no service keeps it.
    package var trace: String?

    /// Makes the row of a result.
    ///
    /// - Parameter simulation: Id of the simulation that it belongs to; nil where nothing is kept.
    package init(_ result: ScenarioResult, simulation: String? = nil) {
        let scenario = result.scenario
        let name = scenario.name
        self.name = name
        platform = scenario.platform.rawValue
        event = scenario.event
        context = scenario.context.rawValue
        probe = scenario.probe.rawValue
        verdict = result.verdict.rawValue
        reason = scenario.reason
        rule = result.violations.first { $0.severity == .violation }?.rule
        ending = result.ending.id
        steps = Int(result.steps)
        limit = result.limit
        cutShort = result.cutShortBy?.rawValue
        cost = Report.Cost(result.cost, scenario: name)
        violations = result.violations.map { Report.Violation($0, scenario: name, simulation: simulation) }
        trace = simulation.map { tracePath(simulation: $0, scenario: name) }
    }

    /// Every row of a simulation, in scenario order.
    package static func all(of result: SimulationResult, simulation: String? = nil) -> [ScenarioRecord] {
        result.results.map { ScenarioRecord($0, simulation: simulation) }
    }

    /// A row of a list for people: verdict, name, violated rule; the rule on a line of its own where it does not fit.
    package static func line(name: String, verdict: String, rule: String?) -> String {
        let head = ascii(verdict).padded(9) + " " + ascii(name)
        guard let rule = rule.map({ ascii($0) }) else { return head + "\n" }
        let fits = head.utf8.count + 2 + rule.utf8.count <= textWidth_columns
        return head + (fits ? "  " : "\n" + String(repeating: " ", count: 12)) + rule + "\n"
    }

    /// Rows as newline-delimited JSON.
    package static func ndjson(_ records: [ScenarioRecord]) -> [UInt8] {
        var sink = JSONByteSink(capacity_bytes: records.count * 768)
        for record in records {
            record.write(to: &sink)
            sink.newline()
        }
        return sink.bytes
    }
}

extension ScenarioRecord: JSONWritable {
    /// The row as a tree.
    package var json: JSON { jsonTree }

    /// The row as compact JSON without a newline.
    package var bytes: [UInt8] { jsonBytes(capacity_bytes: 640 + violations.count * 1536) }

    func write<Sink: JSONSink>(to sink: inout Sink) {
        sink.beginObject()
        sink.member("name", name)
        sink.member("platform", platform)
        sink.member("event", event)
        sink.member("context", context)
        sink.member("probe", probe)
        sink.member("verdict", verdict)
        sink.member("reason", reason)
        sink.member("rule", rule)
        sink.member("ending", ending)
        sink.member("steps", steps)
        sink.member("limit", limit)
        sink.member("cut_short", cutShort)
        sink.member("cost", cost)
        sink.member("violations", violations)
        sink.key("links")
        sink.beginObject()
        if let trace { sink.member("trace", trace) }
        sink.endObject()
        sink.endObject()
    }

    /// Reads back what `json` wrote.
    package init(json: JSON) throws(ReportReadError) {
        let row = JSONCursor(json)
        name = try row.string("name")
        platform = try row.string("platform")
        event = try row.string("event")
        context = try row.string("context")
        probe = try row.string("probe")
        verdict = try row.string("verdict")
        reason = try row.string("reason")
        rule = try row.optionalString("rule")
        ending = try row.string("ending")
        steps = try row.integer("steps")
        limit = try row.optionalString("limit")
        cutShort = try row.optionalString("cut_short")
        cost = try Report.Cost(try row.required("cost"), scenario: try row.required("cost").string("scenario"))
        violations = try row.elements("violations", Report.Violation.init(cursor:))
        trace = try row.required("links").optionalString("trace")
    }
}

extension Ending {
    /// Stable word for a kind of ending.
    package var id: String {
        switch self {
        case .resumed: "resumed"
        case .expectedOops: "expected-oops"
        case .oops: "oops"
        case .processKilled: "process-killed"
        case .domainCrash: "domain-crash"
        case .tripleFault: "triple-fault"
        case .endlessRecursion: "endless-recursion"
        case .endlessLoop: "endless-loop"
        case .wrongHandler: "wrong-handler"
        case .halted: "halted"
        case .stepLimit: "step-limit"
        case .notUnderstood: "not-understood"
        case .notRun: "not-run"
        }
    }
}

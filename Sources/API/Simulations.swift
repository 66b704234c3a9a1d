import EntryCode
import HTTPTypes
import Reports
import Store
import Synchronization
import Verification

extension Application {
    /// A fresh id that sorts by time.
    func newSimulationID() -> SimulationID {
        struct Source: RandomNumberGenerator {
            let random: @Sendable () -> UInt64
            mutating func next() -> UInt64 { random() }
        }
        var source = Source(random: environment.random)
        return SimulationID(at: environment.now(), using: &source)
    }

    /// Simulates and makes the report; nil where it was stopped: what came of it is worth nothing.
    func run(
        _ table: EntryTable, digest: Digest, name: String?, id: SimulationID, _ order: SimulationOrder,
        _ control: SimulationControl
    ) -> (report: Report, outcome: SimulationOutcome, result: SimulationResult)? {
        let start = environment.uptime_seconds()
        let result = table.simulate(order.request, kernels: kernels, runner: runner(for: order), control: control)
        let elapsed = environment.uptime_seconds() - start
        if control.reason == .cancelled { return nil }
        let report = Report(
            result: result, request: order.request, configuration: Report.Configuration(id: digest.hex, name: name),
            kernel: table.kernel, id: id.text, elapsed_seconds: elapsed, created: environment.now().rfc3339,
            timeLimit_seconds: limits.simulation_seconds)
        let summary = report.summary
        metrics.countScenarios([
            "holds": summary.holds, "violated": summary.violated, "undecided": summary.undecided,
        ])
        let outcome = SimulationOutcome(
            verdict: StoredVerdict(rawValue: result.verdict.rawValue) ?? .undecided,
            summary: SimulationSummary(
                scenarios: summary.scenarios, holds: summary.holds, violated: summary.violated,
                undecided: summary.undecided, instructions: summary.instructions),
            elapsedSeconds: elapsed, report: report.bytes,
            scenarios: result.results.map { row in
                let record = ScenarioRecord(row, simulation: id.text)
                var further: [String] = []
                for rule in row.violations.map(\.rule) where rule != record.rule && !further.contains(rule) {
                    further.append(rule)
                }
                return NewScenario(
                    name: record.name, platform: record.platform,
                    verdict: StoredVerdict(rawValue: row.verdict.rawValue) ?? .undecided, rule: record.rule,
                    furtherRules: further, record: record.bytes)
            }, finishedAt: environment.now())
        return (report, outcome, result)
    }

    /// Simulates now and keeps configuration, report and scenarios before it answers; throws `no-scenario` and keeps
    /// nothing where nothing was selected.
    ///
    /// `name` is given to the configuration, to one that has a name only with `renames`; the report shows the table's
    /// own where nothing is given: a table that was found by reference keeps the names it has.
    func runAndKeep(
        _ table: EntryTable, _ order: SimulationOrder, scenarios place: Problem.Item.Place, name: String?,
        renames: Bool = false, _ control: SimulationControl
    ) throws(Problem) -> Kept {
        let id = newSimulationID()
        let product = try simulating(control) { () throws(Problem) in
            run(table, digest: table.digest, name: name ?? table.name, id: id, order, control)
        }
        return try keep(
            table, order, scenarios: place, name: name, renames: renames, id: id, product)
    }

    /// Keeps what came of a simulation; throws as `runAndKeep`.
    func keep(
        _ table: EntryTable, _ order: SimulationOrder, scenarios place: Problem.Item.Place, name: String?,
        renames: Bool = false, id: SimulationID,
        _ product: (report: Report, outcome: SimulationOutcome, result: SimulationResult)?
    ) throws(Problem) -> Kept {
        guard let (report, outcome, result) = product else { throw Application.stopped }
        if report.summary.scenarios == 0 && report.verdict != Verdict.invalid.rawValue {
            throw Problem.noScenario(order, scenarios: place)
        }
        // A run on every platform has met every obstacle; after one on some, the others are still to be looked at.
        let isKnownValid =
            report.verdict != Verdict.invalid.rawValue && !order.request.stopAtFirst
            && Set(order.request.selection.platforms) == Set(Platform.allCases)
        let findings = isKnownValid ? [] : obstacles(table)
        do throws(StoreError) {
            try perform(.insertConfiguration(newConfiguration(table, name: name, renames: renames, findings)))
            try perform(
                .insertSimulation(
                    NewSimulation(
                        id: id, configuration: table.digest, request: order.json.text, modelVersion: modelVersion,
                        createdAt: outcome.began), outcome: outcome))
        } catch { throw Problem(error) }
        return Kept(
            id: id, report: report, bytes: outcome.report, records: outcome.scenarios.map(\.record), result: result)
    }

    /// What was simulated and kept.
    struct Kept {
        var id: SimulationID
        var report: Report
        var bytes: [UInt8]
        var records: [[UInt8]]
        var result: SimulationResult
    }

    static let reportFormats: [Format] = [.json, .text, .wide, .csv, .ndjson]

    func reportAnswer(
        _ status: HTTPResponse.Status, _ format: Format, id: SimulationID, report: () throws(Problem) -> Report,
        bytes: [UInt8], records: () throws(Problem) -> [[UInt8]]
    ) throws(Problem) -> Answer {
        let body: [UInt8] =
            switch format {
            case .json: bytes
            case .text: [UInt8](try report().text.utf8)
            case .wide: [UInt8](try report().wide.utf8)
            case .csv: [UInt8](try report().csv.utf8)
            case .ndjson: Array(try records().joined(separator: [0x0A])) + [0x0A]
            }
        return Answer(
            status, format, body,
            fields: [
                .eTag: Application.tag(id, format), .location: "/v1/simulations/\(id.text)",
            ])
    }

    /// The strong tag of a report in a form; a report never changes.
    static func tag(_ id: SimulationID, _ format: Format) -> String {
        "\"\(id.text.suffix(8))-\(format.rawValue)\""
    }

    // MARK: Checks

    func check(_ request: Request) throws(Problem) -> Answer {
        try request.allow(SimulationOrder.parameters + ["name", "base"])
        let format = try request.format(among: Application.reportFormats)
        if case .patch? = BodyKind(request.fields[.contentType]) {
            guard let base = try request.parameter("base") else {
                throw Problem(
                    .invalidParameter, "a patch needs the table that it is for: ?base= with an id or a name",
                    items: [Problem.Item(parameter: "base", code: "missing", message: "an id or a name")])
            }
            return try checkPatch(request, base: base)
        }
        if try request.parameter("base") != nil {
            throw Problem(
                .invalidParameter, "'base' goes with a patch; a whole table is checked without",
                items: [Problem.Item(parameter: "base", code: "contradiction", message: "the body is no patch")])
        }
        let order = try SimulationOrder(query: request, limits: limits)
        let table = try readTable(try jsonBody(request))
        let name = try submittedName(request, table)
        let kept = try runAndKeep(
            table, order, scenarios: .parameter("scenarios"), name: name,
            renames: try request.parameter("name") != nil, control(for: request))
        return try reportAnswer(
            .ok, format, id: kept.id, report: { kept.report }, bytes: kept.bytes, records: { kept.records })
    }

    // MARK: Simulations

    func startSimulation(_ request: Request) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: Application.reportFormats)
        let body = try jsonBody(request)
        let parsed: JSONDocument
        do throws(JSONSyntaxError) {
            parsed = try JSON.parse(body, limits: limits.table.json)
        } catch {
            throw Problem(
                error.code == "json-too-large" ? .contentTooLarge : .malformedJSON,
                "\(error.message) (line \(error.line), column \(error.column), byte \(error.offset_bytes))",
                items: [Problem.Item(pointer: error.pointer, code: error.code, message: error.message)])
        }
        var reader = TableReader(limits: limits.table)
        for pointer in parsed.duplicateKeys {
            reader.fault(pointer, "duplicate-key", "this key already stands in the same object")
        }
        guard let members = reader.object(parsed.value, "", keys: SimulationOrder.bodyKeys) else {
            throw Problem(reader.found)
        }
        let order = SimulationOrder(members: members, limits: limits, &reader)
        var inline: EntryTable?
        var reference: String?
        switch members["configuration"] {
        case .string(let text): reference = text
        case .object:
            do throws(TableFaults) {
                inline = try EntryTable.read(members["configuration"] ?? .null, kernels: kernels, limits: limits.table)
            } catch {
                reader.adopt(error, at: "/configuration")
            }
        case nil:
            reader.fault("", "missing-key", "the key 'configuration' is required: a reference, or a table")
        default:
            reader.fault(
                "/configuration", "wrong-type", "a reference (id, prefix of 8 or more, name) or a table is expected")
        }
        if !reader.faults.isEmpty { throw Problem(reader.found) }

        let table = if let inline { inline } else { try resolve(reference ?? "") }
        let preferences = Preferences(request.fields[.prefer])
        if preferences.respondsAsync || preferences.wait_seconds == 0 || request.isWaitHopeless {
            let applied = preferences.respondsAsync ? "respond-async" : preferences.wait_seconds.map { "wait=\($0)" }
            return try startLater(table, order, name: inline?.name, applied: applied, for: request.client)
        }
        let start = environment.uptime_seconds()
        if let seconds = preferences.wait_seconds, let early = request.answerEarly {
            let outcome = try runAndWait(
                table, order, name: inline?.name, seconds: Double(seconds), request, answerEarly: early)
            switch outcome {
            case .early(let answer): return answer
            case .kept(let kept):
                var answer = try reportAnswer(
                    .created, format, id: kept.id, report: { kept.report }, bytes: kept.bytes,
                    records: { kept.records })
                answer.fields[.preferenceApplied] = "wait=\(seconds)"
                return answer
            }
        }
        let kept = try runAndKeep(
            table, order, scenarios: .pointer("/scenarios"), name: inline?.name, control(for: request))
        var answer = try reportAnswer(
            .created, format, id: kept.id, report: { kept.report }, bytes: kept.bytes, records: { kept.records })
        // A wait that was exceeded was not applied, and must not be said to be (RFC 7240, section 3).
        if let seconds = preferences.wait_seconds, environment.uptime_seconds() - start <= Double(seconds) {
            answer.fields[.preferenceApplied] = "wait=\(seconds)"
        }
        return answer
    }

    func startLater(
        _ table: EntryTable, _ order: SimulationOrder, name: String?, applied: String?, for client: String
    ) throws(Problem) -> Answer {
        // Before anything is promised: a 202 has no way to say it later but by failing.
        if !order.selectsAny(of: table, kernels: kernels) {
            throw Problem.noScenario(order, scenarios: .pointer("/scenarios"))
        }
        let digest = table.digest
        let id = newSimulationID()
        do throws(StoreError) {
            try perform(
                .insertConfiguration(newConfiguration(table, name: name, renames: false, obstacles(table))))
            try perform(
                .insertSimulation(
                    NewSimulation(
                        id: id, configuration: digest, request: order.json.text, modelVersion: modelVersion,
                        createdAt: environment.now())))
        } catch { throw Problem(error) }
        let queue = order.request.nesting > 0 ? longQueue : queue
        let accepted = queue.submit(for: client) { [self] in
            finishLater(id, table, digest, order, name: name ?? table.name)
        }
        if !accepted {
            // Only what has ended can be removed; left queued, it would keep its configuration from being removed.
            _ = try? perform(.cancelSimulation(id, at: environment.now()))
            _ = try? perform(.deleteSimulation(id))
            throw Problem(.overloaded, "too many simulations wait; try again", fields: [.retryAfter: "1"])
        }
        var answer = Application.acceptedAnswer(id, .queued)
        answer.fields[.preferenceApplied] = applied
        return answer
    }

    /// 202: where the result of a simulation will be.
    static func acceptedAnswer(_ id: SimulationID, _ state: StoredState) -> Answer {
        let location = "/v1/simulations/\(id.text)"
        let body = JSON.object([
            JSON.Member("id", .string(id.text)), JSON.Member("state", .string(state.rawValue)),
            JSON.Member("links", .object([JSON.Member("self", .string(location))])),
        ])
        return Answer(.accepted, .json, body.bytes, fields: [.location: location, .retryAfter: "1"])
    }

    func finishLater(
        _ id: SimulationID, _ table: EntryTable, _ digest: Digest, _ order: SimulationOrder, name: String?
    ) {
        let control = control(for: nil)
        let number = running.begin(control, now: environment.uptime_seconds())
        defer { running.end(number) }
        do throws(StoreError) {
            // Before the state says that it runs: who cancels it then finds it.
            running.name(number, id)
            if running.isStopping {
                try perform(.failSimulation(id, failure: "interrupted", at: environment.now()))
                return
            }
            try perform(.startSimulation(id, at: environment.now()))
            let product = run(table, digest: digest, name: name, id: id, order, control)
            try finish(id, product?.outcome)
        } catch { logUnfinished(id, error) }
    }

    /// Keeps what came of a simulation that was kept when it began, unless it was stopped.
    func finish(_ id: SimulationID, _ outcome: SimulationOutcome?) throws(StoreError) {
        guard let outcome else {
            // Either it is cancelled already, or the service stops.
            if running.isStopping {
                try perform(.failSimulation(id, failure: "interrupted", at: environment.now()))
            }
            return
        }
        try perform(.finishSimulation(id, outcome))
    }

    /// A simulation has no result. Cancelled is what its client wanted; else the store is in trouble, and the next start
    /// marks what never ended.
    func logUnfinished(_ id: SimulationID, _ error: StoreError) {
        if error.code == .simulationEnded || error.code == .notFound { return }
        environment.log("simulation \(id.text) ended without a result: \(error.code.rawValue)")
    }
}

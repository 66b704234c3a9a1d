import EntryCode
import HTTPTypes
import Reports
import Store
import Synchronization
import Verification

/// Simulations that are kept, their scenarios and traces.
extension Application {
    func storedSimulation(_ text: String) throws(Problem) -> StoredSimulation {
        guard let id = SimulationID(text) else { throw Problem(.notFound, "there is no such simulation") }
        do throws(StoreError) { return try store.simulation(id) } catch { throw Problem(error) }
    }

    func json(_ simulation: StoredSimulation) -> JSON {
        let id = simulation.id.text
        func count(_ value: Int) -> JSON { .integer(Int64(value)) }
        var members: [JSON.Member] = [
            JSON.Member("id", .string(id)),
            JSON.Member(
                "configuration",
                .object([
                    JSON.Member("id", .string(simulation.configuration.hex)),
                    JSON.Member("name", simulation.configurationName.map { .string($0) } ?? .null),
                ])), JSON.Member("state", .string(simulation.state.rawValue)),
            JSON.Member("verdict", simulation.verdict.map { .string($0.rawValue) } ?? .null),
            JSON.Member(
                "summary",
                .object([
                    JSON.Member("scenarios", count(simulation.summary.scenarios)),
                    JSON.Member("holds", count(simulation.summary.holds)),
                    JSON.Member("violated", count(simulation.summary.violated)),
                    JSON.Member("undecided", count(simulation.summary.undecided)),
                    JSON.Member("instructions", count(simulation.summary.instructions)),
                    JSON.Member("elapsed_seconds", .number(simulation.elapsedSeconds ?? 0)),
                ])), JSON.Member("model", .object([JSON.Member("version", .string(simulation.modelVersion))])),
            JSON.Member("created", .string(simulation.createdAt.rfc3339)),
        ]
        if let finished = simulation.finishedAt { members.append(JSON.Member("finished", .string(finished.rfc3339))) }
        if let progress = progress(of: simulation) { members.append(JSON.Member("progress", progress)) }
        if let failure = simulation.failure { members.append(JSON.Member("failure", .string(failure))) }
        members.append(
            JSON.Member(
                "links",
                .object([
                    JSON.Member("self", .string("/v1/simulations/\(id)")),
                    JSON.Member("scenarios", .string("/v1/simulations/\(id)/scenarios")),
                ])))
        return .object(members)
    }

    func simulation(_ request: Request, _ text: String) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: Application.reportFormats)
        let stored = try storedSimulation(text)
        guard stored.state == .finished else {
            // No report yet, or none to come: its state, in every form that was asked for.
            var fields: HTTPFields = [.cacheControl: "no-store"]
            if !stored.state.isEnd { fields[.retryAfter] = "1" }
            let body = json(stored)
            if format == .json || format == .ndjson { return Answer(.ok, .json, body.bytes, fields: fields) }
            let line =
                "\(stored.id.text) \(stored.state.rawValue)\(stored.failure.map(Application.because) ?? progressText(of: stored))\n"
            return Answer(.ok, .text, [UInt8](line.utf8), fields: fields)
        }
        if format == .ndjson { return try recordStream(of: stored.id, for: request) }
        request.settle()
        let rendering = "\(stored.id.text).\(format.rawValue)"
        if let made = cache.rendering(rendering) {
            var answer = Answer(made.response.status, fields: made.response.headerFields)
            answer.shared = made.body
            answer.rendering = rendering
            return answer
        }
        let bytes: [UInt8]
        do throws(StoreError) { bytes = try store.report(of: stored.id) } catch { throw Problem(error) }
        var answer = try reportAnswer(
            .ok, format, id: stored.id, report: { () throws(Problem) in try Application.report(bytes) }, bytes: bytes,
            records: { [] })
        answer.fields[.cacheControl] = "private, max-age=86400, immutable"
        answer.fields[.location] = nil
        answer.rendering = rendering
        return answer
    }

    /// Why a simulation failed, behind its state.
    static func because(_ failure: String) -> String {
        failure == "interrupted" ? ": interrupted, the service stopped before it ended" : ": \(failure)"
    }

    /// Reads a stored report back.
    static func report(_ bytes: [UInt8]) throws(Problem) -> Report {
        do {
            return try Report(bytes: bytes)
        } catch {
            throw Problem(.internalError, "a stored report cannot be read back")
        }
    }

    /// Every scenario's record of a simulation, in scenario order, a line for each, read while it is sent.
    func recordStream(of id: SimulationID, for request: Request) throws(Problem) -> Answer {
        let rows = limits.streamRows
        @Sendable func page(_ cursor: String?) throws(StoreError) -> (page: RecordStream.Page, next: String?) {
            let page = try store.scenarios(of: id, limit: rows, cursor: cursor)
            return ((page.items.flatMap { $0.record + [0x0A] }, page.next == nil), page.next)
        }
        let first: (page: RecordStream.Page, next: String?)
        // What can be said with a status is said before the first byte.
        do throws(StoreError) { first = try page(nil) } catch { throw Problem(error) }
        let cursor = Mutex(first.next)
        var answer = Answer(.ok, .ndjson, [], fields: [.eTag: Application.tag(id, .ndjson)])
        answer.fields[.cacheControl] = "private, max-age=86400, immutable"
        if first.page.isLast {
            answer.body = first.page.bytes
            return answer
        }
        let held = answers.hold(RecordStream.memory_bytes(first: first.page.bytes.count), for: request.network)
        answer.stream = RecordStream(first: first.page, queue: shortQueue, client: request.client, held: held) {
            guard let place = cursor.withLock({ $0 }), let read = try? page(place) else { return nil }
            cursor.withLock { $0 = read.next }
            return read.page
        }
        return answer
    }

    func listSimulations(_ request: Request) throws(Problem) -> Answer {
        try request.allow(["configuration", "verdict", "state", "limit", "cursor"])
        let format = try request.format(among: [.json, .text, .ndjson])
        let rows = try request.integer("limit", in: 1...limits.pageRowsMaximum) ?? limits.pageRows
        let verdict = try request.choice("verdict", StoredVerdict.self)
        let state = try request.choice("state", StoredState.self)
        var digest: Digest?
        if let reference = try request.parameter("configuration") { digest = try self.digest(reference) }
        let page: Page<StoredSimulation>
        do throws(StoreError) {
            page = try store.simulations(
                configuration: digest, verdict: verdict, state: state, limit: rows, cursor: request.optional("cursor"))
        } catch { throw Problem(error) }
        let text = page.items.map { item in
            "\(item.id.text)  \(item.createdAt.rfc3339)  \(item.state.rawValue)  \(item.verdict?.rawValue ?? "-")  \(item.configurationName ?? String(item.configuration.hex.prefix(16)))\n"
        }.joined()
        return list(request, format, page.items.map(json), next: page.next, text: text)
    }

    func deleteSimulation(_ request: Request, _ text: String) throws(Problem) -> Answer {
        try request.allow([])
        let stored = try storedSimulation(text)
        // Before it is finished it has no tag, and only * matches.
        let tags = stored.state == .finished ? Application.reportFormats.map { Application.tag(stored.id, $0) } : []
        try request.requireMatch(tags)
        do throws(StoreError) {
            if stored.state.isEnd {
                try perform(.deleteSimulation(stored.id))
            } else {
                try perform(.cancelSimulation(stored.id, at: environment.now()))
                running.stop(stored.id)
            }
        } catch { throw Problem(error) }
        forgetAnswers()
        return Answer(.noContent)
    }

    // MARK: Scenarios

    func scenarios(_ request: Request, _ text: String) throws(Problem) -> Answer {
        try request.allow(["verdict", "rule", "platform", "limit", "cursor"])
        let format = try request.format(among: [.json, .text, .ndjson])
        let rows = try request.integer("limit", in: 1...limits.pageRowsMaximum) ?? limits.pageRows
        let verdict = try request.choice("verdict", StoredVerdict.self)
        let platform = try request.choice("platform", Platform.self)
        let rule = try request.parameter("rule")
        if let rule, Rule.named(rule) == nil {
            let nearest = nearestName(to: rule, among: Rule.all.map(\.id)).map { "; did you mean '\($0)'?" } ?? ""
            throw Problem(
                .invalidParameter, "there is no rule of this name; /v1/rules lists them\(nearest)",
                items: [Problem.Item(parameter: "rule", code: "unknown-rule", message: "not the id of a rule")])
        }
        let stored = try storedSimulation(text)
        if stored.state == .finished { request.settle() }
        let page: Page<StoredScenario>
        do throws(StoreError) {
            page = try store.scenarios(
                of: stored.id, verdict: verdict, rule: rule, platform: platform?.rawValue, limit: rows,
                cursor: request.optional("cursor"))
        } catch { throw Problem(error) }
        return list(
            request, format, documents: page.items.map(\.record), next: page.next,
            text: page.items.map {
                ScenarioRecord.line(name: $0.name, verdict: $0.verdict.rawValue, rule: $0.rule)
            }.joined())
    }

    func scenario(_ request: Request, _ text: String, _ name: String) throws(Problem) -> Answer {
        try request.allow([])
        _ = try request.format(among: [.json])
        let stored = try storedSimulation(text)
        let found: StoredScenario
        do throws(StoreError) { found = try store.scenario(of: stored.id, named: name) } catch { throw Problem(error) }
        return Answer(.ok, .json, found.record, fields: [.eTag: "\"\(stored.id.text)-\(found.ordinal)\""])
    }

    func trace(_ request: Request, _ text: String, _ name: String) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.json, .text, .ndjson])
        let stored = try storedSimulation(text)
        if stored.state == .finished { request.settle() }
        // A trace is not kept: the same table and scenario give the same steps again.
        do throws(StoreError) { _ = try store.scenario(of: stored.id, named: name) } catch { throw Problem(error) }
        let table = try storedTable(try findConfiguration(stored.configuration.hex))
        let order = SimulationOrder(stored: stored.request, limits: limits.run)
        let traced: (result: ScenarioResult, trace: TraceRecorder)?
        do throws(InvalidConfiguration) {
            traced = try table.trace(scenario: name, order.request, kernels: kernels)
        } catch { throw Problem(error) }
        guard let traced else { throw Problem(.notFound, "the table has no such scenario any more") }
        let report = TraceReport(traced.result, traced.trace, simulation: stored.id.text)
        let fields: HTTPFields = [.eTag: "\"\(stored.id.text)-trace-\(format.rawValue)-\(modelVersion)\""]
        switch format {
        case .text: return Answer(.ok, format, [UInt8](report.text.utf8), fields: fields)
        case .ndjson: return Answer(.ok, format, report.ndjson, fields: fields)
        default: return Answer(.ok, .json, report.bytes, fields: fields)
        }
    }
}

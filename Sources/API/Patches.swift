import EntryCode
import HTTPTypes
import KernelSource
import Reports
import Store
import Verification

/// A table with a patch applied to it.
struct PatchedTable {
    var base: EntryTable
    var head: EntryTable
    var outcome: PatchOutcome
}

extension Application {
    /// What kind of patch the body is by its declared type.
    @discardableResult
    func requirePatch(_ request: Request) throws(Problem) -> Mail.Form? {
        if case .patch(let form)? = BodyKind(request.fields[.contentType]) { return form }
        throw Problem(
            .unsupportedMediaType, "a patch is sent as one of \(BodyKind.patchTypes)",
            fields: [.acceptPost: BodyKind.patchTypes])
    }

    /// Applies the body to the table that a reference means.
    func patch(_ request: Request, _ reference: String) throws(Problem) -> PatchedTable {
        let form = try requirePatch(request)
        let base = try resolve(reference)
        let body = try plainBody(request, limit_bytes: limits.source.input_bytes)
        let outcome = PatchApplication.apply(
            body, form: form, to: base.document, kernels: kernels, limits: limits.source)
        guard let document = outcome.document else {
            let reason = outcome.notes.first ?? outcome.hunks.first?.reason ?? "it has no hunk that changes the table"
            throw Problem(
                .patchNotApplied, "nothing of the patch was applied: \(reason)",
                items: outcome.hunks.prefix(100).map { hunk in
                    Problem.Item(
                        pointer: "", code: hunk.state.rawValue,
                        message:
                            "\(hunk.path) \(hunk.header), mail \(hunk.mail), line \(hunk.line): \(hunk.reason ?? "")")
                })
        }
        do throws(TableFaults) {
            var head = try EntryTable.read(document, kernels: kernels, limits: limits.table)
            head.name = nil
            return PatchedTable(base: base, head: head, outcome: outcome)
        } catch { throw Problem(error, prefix: "") }
    }

    func applyPatch(_ request: Request, _ reference: String) throws(Problem) -> Answer {
        try request.allow(["name"])
        let format = try request.format(among: [.json, .text])
        let patched = try patch(request, reference)
        let name = try submittedName(request, patched.head)
        let findings = obstacles(patched.head)
        let inserted: InsertedConfiguration
        do throws(StoreError) {
            inserted = try store.perform(
                .insertConfiguration(newConfiguration(patched.head, name: name, renames: true, findings)))
        } catch { throw Problem(error) }
        if name != nil { forgetAnswers() }
        let configuration = inserted.configuration
        let body: [UInt8] =
            format == .text
            ? [UInt8](
                (fitted(
                    patched.outcome.text + findings.map { "  \($0.message) [\($0.rule)]\n" }.joined())
                    + Application.line(configuration)).utf8)
            : JSON.object([
                JSON.Member("configuration", Application.json(configuration, document: nil)),
                JSON.Member("base", .string(patched.base.digest.hex)), JSON.Member("patch", patched.outcome.json),
            ]).bytes
        return Answer(
            inserted.created ? .created : .ok, format, body,
            fields: [.location: "/v1/configurations/\(configuration.digest.hex)"])
    }

    /// `POST /v1/checks?base=…`: the patched table is kept and run, the base is run beside it.
    func checkPatch(_ request: Request, base reference: String) throws(Problem) -> Answer {
        let format = try request.format(among: [.json, .text])
        let order = try SimulationOrder(query: request, limits: limits)
        let patched = try patch(request, reference)
        let name = try submittedName(request, patched.head)
        let control = control(for: request)
        let before = try simulating(control) { () throws(Problem) in
            patched.base.simulate(order.request, kernels: kernels, runner: runner(for: order), control: control)
        }
        let kept = try runAndKeep(
            patched.head, order, scenarios: .parameter("scenarios"), name: name,
            renames: try request.parameter("name") != nil, self.control(for: request))
        let comparison = Comparison(
            base: side(patched.base.name ?? reference, patched.base, before), before,
            head: side(name ?? "\(patched.base.name ?? reference) with the patch", patched.head, kept.result),
            kept.result,
            changes: TableChange.all(from: patched.base.document, to: patched.head.document))
        let body: [UInt8] =
            format == .text
            ? [UInt8]((fitted(patched.outcome.text) + "\n" + comparison.text + "\n" + kept.report.text).utf8)
            : JSON.object([
                JSON.Member("patch", patched.outcome.json), JSON.Member("comparison", comparison.json),
                JSON.Member("report", kept.report.json),
            ]).bytes
        return Answer(.ok, format, body, fields: [.location: "/v1/simulations/\(kept.id.text)"])
    }

    private func side(_ name: String, _ table: EntryTable, _ result: SimulationResult) -> Comparison.Side {
        Comparison.Side(name: name, id: table.digest.hex, table: table, result: result)
    }

    // MARK: Comparisons

    func compare(_ request: Request) throws(Problem) -> Answer {
        try request.allow(SimulationOrder.parameters.filter { $0 != "stop_at_first" } + ["base", "head"])
        let format = try request.format(among: [.json, .text])
        let order = try SimulationOrder(query: request, limits: limits)
        var tables: [(name: String, table: EntryTable)] = []
        for parameter in ["base", "head"] {
            guard let reference = try request.parameter(parameter) else {
                throw Problem(
                    .invalidParameter, "a comparison needs 'base' and 'head'",
                    items: [Problem.Item(parameter: parameter, code: "missing", message: "an id or a name")])
            }
            let table = try resolve(reference)
            tables.append((table.name ?? reference, table))
        }
        var results: [SimulationResult] = []
        for (_, table) in tables {
            let control = control(for: request)
            results.append(
                try simulating(control) { () throws(Problem) in
                    table.simulate(order.request, kernels: kernels, runner: runner(for: order), control: control)
                })
        }
        if results.allSatisfy({ $0.results.isEmpty && $0.verdict != .invalid }) {
            throw Problem.noScenario(order, scenarios: .parameter("scenarios"))
        }
        let comparison = Comparison(
            base: side(tables[0].name, tables[0].table, results[0]), results[0],
            head: side(tables[1].name, tables[1].table, results[1]), results[1],
            changes: TableChange.all(from: tables[0].table.document, to: tables[1].table.document))
        let content = tables.map { "\($0.name) \($0.table.digest.hex)" }.joined(separator: " ") + order.json.text
        return Answer(
            .ok, format, format == .text ? [UInt8](comparison.text.utf8) : comparison.json.bytes,
            fields: [.eTag: "\"\(Digest(of: content.utf8).hex.prefix(32))-\(format.rawValue)-\(modelVersion)\""])
    }
}

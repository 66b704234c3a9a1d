import EntryCode
import HTTPTypes
import KernelSource
import Reports
import Store
import Verification

extension Application {
    static let jsonTypes = "application/json"

    /// The body, expanded where it is encoded; checks that it is JSON by its declared type.
    func jsonBody(_ request: Request) throws(Problem) -> [UInt8] {
        try requireJSON(request)
        return try plainBody(request)
    }

    /// The body without its content coding.
    func plainBody(_ request: Request) throws(Problem) -> [UInt8] {
        switch request.fields[.contentEncoding]?.lowercased() {
        case nil, "identity": return request.body
        case "gzip", "x-gzip": break
        default:
            // RFC 9110, 15.5.16: what would have been accepted.
            throw Problem(
                .unsupportedMediaType, "a body is sent as it is, or with Content-Encoding: gzip",
                fields: [.acceptEncoding: "gzip, identity", .acceptPost: Application.jsonTypes])
        }
        let limit_bytes = limits.table.json.size_bytes
        do throws(Gzip.Failure) {
            return try Gzip.expanded(request.body, limit_bytes: limit_bytes)
        } catch {
            switch error {
            case .damaged:
                throw Problem(.malformedRequest, "the body is not whole gzip data, as its Content-Encoding says")
            case .tooLarge:
                throw Problem(.contentTooLarge, "the body expands to more than the \(limit_bytes) bytes that are read")
            }
        }
    }

    func requireJSON(_ request: Request) throws(Problem) {
        let type =
            (request.fields[.contentType] ?? "").split(separator: ";").first.map { $0.trimmingSpaces.lowercased() }
            ?? ""
        if type == "application/json" || type.hasSuffix("+json") { return }
        let hint =
            type.isEmpty || type == "application/x-www-form-urlencoded"
            ? "; with curl: -H 'Content-Type: application/json'" : ""
        throw Problem(
            .unsupportedMediaType, "an entry table is sent as application/json\(hint)",
            fields: [.acceptPost: BodyKind.acceptedTypes(request.path)])
    }

    func readTable(_ body: [UInt8], prefix: String = "") throws(Problem) -> EntryTable {
        do throws(TableFaults) {
            return try EntryTable.read(body, kernels: kernels, limits: limits.table)
        } catch { throw Problem(error, prefix: prefix) }
    }

    func readTable(_ value: JSON, prefix: String) throws(Problem) -> EntryTable {
        do throws(TableFaults) {
            return try EntryTable.read(value, kernels: kernels, limits: limits.table)
        } catch { throw Problem(error, prefix: prefix) }
    }

    /// What keeps a table from being run on any platform.
    func obstacles(_ table: EntryTable) -> [ConfigurationFinding] {
        var findings: [ConfigurationFinding] = []
        for platform in Platform.allCases {
            do throws(InvalidConfiguration) {
                _ = try table.expand(for: platform, kernels: kernels)
            } catch {
                for finding in error.findings
                where !ConfigurationFinding.warnings.contains(finding.rule) && !findings.contains(finding) {
                    findings.append(finding)
                }
            }
        }
        return findings
    }

    static func json(_ finding: ConfigurationFinding) -> JSON {
        .object([
            JSON.Member("rule", .string(finding.rule)), JSON.Member("pointer", .string(finding.pointer)),
            JSON.Member("message", .string(finding.message)), JSON.Member("location", .string(finding.location)),
        ])
    }

    func newConfiguration(
        _ table: EntryTable, name: String?, renames: Bool, _ findings: [ConfigurationFinding]
    ) -> NewConfiguration {
        NewConfiguration(
            document: table.document.text, name: name, renames: renames, kernel: table.kernel,
            invalidReason: findings.isEmpty ? nil : JSON.array(findings.map(Application.json)).text,
            createdAt: environment.now())
    }

    /// The name that a submission gives: the parameter before the document's own.
    func submittedName(_ request: Request, _ table: EntryTable) throws(Problem) -> String? {
        guard let name = try request.parameter("name") else { return table.name }
        if !EntryTable.isReferenceName(name) {
            throw Problem(
                .invalidParameter,
                "a name has 1 to 100 letters, digits, '.', '_', '-' and is not a number of 8 or more hex digits",
                items: [Problem.Item(parameter: "name", code: "invalid-name", message: "not a name")])
        }
        return name
    }

    func submitConfiguration(_ request: Request) throws(Problem) -> Answer {
        try request.allow(["name"])
        let format = try request.format(among: [.json, .text])
        let table: EntryTable
        var made: TreeImport?
        if let kind = BodyKind(request.fields[.contentType]), kind == .form || kind == .tar {
            let tree = try readTree(request, kind)
            (table, made) = (tree.table, tree.made)
        } else {
            table = try readTable(try jsonBody(request))
        }
        let name = try submittedName(request, table)
        let findings = obstacles(table)
        let inserted: InsertedConfiguration
        do throws(StoreError) {
            inserted = try perform(
                .insertConfiguration(newConfiguration(table, name: name, renames: true, findings)))
        } catch { throw Problem(error) }
        if name != nil { forgetAnswers() }
        let configuration = inserted.configuration
        let location = "/v1/configurations/\(configuration.digest.hex)"
        let text = Application.line(configuration) + fitted(made?.text ?? "")
        return Answer(
            inserted.created ? .created : .ok, format,
            format == .text
                ? [UInt8](text.utf8) : Application.json(configuration, document: nil, tree: made?.json).bytes,
            fields: [.location: location, .eTag: Application.tag(configuration, format)])
    }

    /// The strong tag of a configuration in a form: all that its representation shows and content alone does not fix.
    static func tag(_ configuration: StoredConfiguration, _ format: Format) -> String {
        let moving =
            "\(configuration.name ?? "") \(configuration.createdAt.rfc3339) \(configuration.invalidReason ?? "")"
        return "\"\(configuration.digest.hex.prefix(32))-\(Digest(of: moving.utf8).hex.prefix(16))-\(format.rawValue)\""
    }

    static func json(_ configuration: StoredConfiguration, document: JSON?, tree: JSON? = nil) -> JSON {
        let id = configuration.digest.hex
        var members: [JSON.Member] = [
            JSON.Member("id", .string(id)), JSON.Member("name", configuration.name.map { .string($0) } ?? .null),
            JSON.Member("kernel", .string(configuration.kernel)),
            JSON.Member("state", .string(configuration.isValid ? "valid" : "invalid")),
            JSON.Member("created", .string(configuration.createdAt.rfc3339)),
            JSON.Member("size_bytes", .integer(Int64(configuration.byteCount))),
        ]
        if let reason = configuration.invalidReason, let parsed = try? JSON.parse([UInt8](reason.utf8)).value {
            members.append(JSON.Member("reasons", parsed))
        }
        if let tree { members.append(JSON.Member("import", tree)) }
        if let document { members.append(JSON.Member("document", document)) }
        members.append(
            JSON.Member(
                "links",
                .object([
                    JSON.Member("self", .string("/v1/configurations/\(id)")),
                    JSON.Member("listing", .string("/v1/configurations/\(id)/listing")),
                    JSON.Member("simulations", .string("/v1/simulations?configuration=\(id)")),
                ])))
        return .object(members)
    }

    static func line(_ configuration: StoredConfiguration) -> String {
        "\(configuration.digest.hex.prefix(16))  \(configuration.isValid ? "valid  " : "invalid")  \(configuration.createdAt.rfc3339)  \(configuration.kernel)  \(configuration.name ?? "-")\n"
    }

    /// The table that a shipped name means; nil for any other reference.
    private func shippedTable(_ reference: String) throws(Problem) -> EntryTable? {
        guard let kernel = kernels.kernel(named: reference) else { return nil }
        return try readTable(kernel.document, prefix: "")
    }

    /// A configuration that is kept, by id, prefix or name; a shipped name means the shipped content and no other.
    func findConfiguration(_ reference: String) throws(Problem) -> StoredConfiguration {
        guard let shipped = try shippedTable(reference) else {
            do throws(StoreError) { return try store.findConfiguration(reference) } catch { throw Problem(error) }
        }
        do throws(StoreError) {
            var found = try store.findConfiguration(shipped.digest.hex)
            found.name = reference
            return found
        } catch  where error.code == .notFound {
            throw Problem(
                .notFound, "\(reference) ships with the program and was not used yet; /v1/kernels/\(reference) has it")
        } catch { throw Problem(error) }
    }

    /// The content that a reference means, kept or shipped.
    func digest(_ reference: String) throws(Problem) -> Digest {
        if let shipped = try shippedTable(reference) { return shipped.digest }
        return try findConfiguration(reference).digest
    }

    /// The table that a reference means, kept or shipped.
    func resolve(_ reference: String) throws(Problem) -> EntryTable {
        if let shipped = try shippedTable(reference) { return shipped }
        return try storedTable(try findConfiguration(reference))
    }

    func storedDocument(_ configuration: StoredConfiguration) throws(Problem) -> String {
        do throws(StoreError) { return try store.document(of: configuration.digest) } catch { throw Problem(error) }
    }

    func storedTable(_ configuration: StoredConfiguration) throws(Problem) -> EntryTable {
        var table = try readTable([UInt8](try storedDocument(configuration).utf8))
        table.name = configuration.name
        return table
    }

    func configuration(_ request: Request, _ reference: String) throws(Problem) -> Answer {
        try request.allow([])
        let format = try request.format(among: [.json, .text])
        let found = try findConfiguration(reference)
        let tag = Application.tag(found, format)
        if format == .text { return Answer(.ok, format, [UInt8](Application.line(found).utf8), fields: [.eTag: tag]) }
        let text = try storedDocument(found)
        let document = (try? JSON.parse([UInt8](text.utf8)).value) ?? .null
        return Answer(.ok, format, Application.json(found, document: document).bytes, fields: [.eTag: tag])
    }

    func configurationListing(_ request: Request, _ reference: String) throws(Problem) -> Answer {
        try request.allow(["platform", "routine"])
        let format = try request.format(among: [.text])
        let platform = try request.choice("platform", Platform.self)
        let table = try resolve(reference)
        let routine = try request.parameter("routine")
        let listing: TableListing
        do throws(InvalidConfiguration) {
            listing = try table.listing(for: platform, kernels: kernels)
        } catch { throw Problem(error) }
        guard let text = routine.map({ listing.text(of: $0) }) ?? listing.text else {
            throw Problem(.notFound, "there is no such routine in this table")
        }
        return Answer(
            .ok, format, [UInt8](text.utf8),
            fields: [
                .eTag: "\"\(table.digest.hex.prefix(32))-\(platform?.rawValue ?? "")-\(routine ?? "")-\(modelVersion)\""
            ])
    }

    func listConfigurations(_ request: Request) throws(Problem) -> Answer {
        try request.allow(["name", "kernel", "limit", "cursor"])
        let format = try request.format(among: [.json, .text, .ndjson])
        let rows = try request.integer("limit", in: 1...limits.pageRowsMaximum) ?? limits.pageRows
        let name = try request.parameter("name")
        let meant = try name.flatMap { (name) throws(Problem) in try shippedTable(name)?.digest }
        let page: Page<StoredConfiguration>
        do throws(StoreError) {
            page = try store.configurations(
                name: name, meant: meant, kernel: request.optional("kernel"), limit: rows,
                cursor: request.optional("cursor"))
        } catch { throw Problem(error) }
        return list(
            request, format, page.items.map { Application.json($0, document: nil) }, next: page.next,
            text: page.items.map(Application.line).joined())
    }

    func deleteConfiguration(_ request: Request, _ reference: String) throws(Problem) -> Answer {
        try request.allow([])
        let found = try findConfiguration(reference)
        try request.requireMatch([Format.json, .text].map { Application.tag(found, $0) })
        do throws(StoreError) { try perform(.deleteConfiguration(found.digest)) } catch { throw Problem(error) }
        forgetAnswers()
        return Answer(.noContent)
    }

    /// A page of a list: `items` and `next` in JSON, `Link: rel="next"` besides (RFC 8288).
    func list(_ request: Request, _ format: Format, _ items: [JSON], next: String?, text: String) -> Answer {
        list(request, format, documents: items.map(\.bytes), next: next, text: text)
    }

    /// The same of items that are JSON text already.
    func list(
        _ request: Request, _ format: Format, documents: [[UInt8]], next: String?, text: @autoclosure () -> String
    ) -> Answer {
        var fields: HTTPFields = [:]
        var nextPath: String?
        if let next {
            var pairs = request.query.filter { $0.name != "cursor" }
            pairs.append(("cursor", next))
            let query = pairs.map { "\(percentEncoded($0.name))=\(percentEncoded($0.value))" }.joined(separator: "&")
            let path = request.path + "?" + query
            nextPath = path
            fields[.link] = "<\(path)>; rel=\"next\""
        }
        switch format {
        case .ndjson:
            var body: [UInt8] = []
            body.reserveCapacity(documents.reduce(0) { $0 + $1.count + 1 })
            for document in documents {
                body += document
                body.append(0x0A)
            }
            return Answer(.ok, format, body, fields: fields)
        case .text, .wide, .csv: return Answer(.ok, format, [UInt8](text().utf8), fields: fields)
        case .json:
            var body = [UInt8](#"{"items":["#.utf8)
            var end = [UInt8](#"],"next":"#.utf8)
            end += (nextPath.map { JSON.string($0) } ?? .null).bytes
            end.append(UInt8(ascii: "}"))
            body.reserveCapacity(documents.reduce(body.count + end.count) { $0 + $1.count + 1 })
            for (index, document) in documents.enumerated() {
                if index > 0 { body.append(UInt8(ascii: ",")) }
                body += document
            }
            body += end
            return Answer(.ok, format, body, fields: fields)
        }
    }
}

extension EntryTable {
    /// The identity of its content.
    var digest: Digest { Digest(of: document.text.utf8) }
}

extension Problem {
    /// A table that cannot be run.
    init(_ invalid: InvalidConfiguration) {
        self.init(
            .notRunnable, invalid.findings.first?.message ?? "the table cannot be run",
            items: invalid.findings.map {
                Item(
                    pointer: $0.pointer, code: $0.rule,
                    message: $0.location.isEmpty ? $0.message : "\($0.location): \($0.message)")
            })
    }
}

extension Request {
    /// Throws `precondition-failed` where If-Match has neither `*` nor one of the tags of what is there.
    func requireMatch(_ tags: [String]) throws(Problem) {
        guard let condition = fields[.ifMatch] else { return }
        let matches =
            HTTPFields.matches(condition, "*", weakly: false)
            || tags.contains { HTTPFields.matches(condition, $0, weakly: false) }
        if !matches { throw Problem(.preconditionFailed, "If-Match names another version") }
    }

    /// The value of a parameter where a `StoreError` context does not let a `Problem` through; checked before by `allow`.
    func optional(_ name: String) -> String? { query.first { $0.name == name }?.value }
}

package import EntryCode

extension Report {
    /// Reads back what `json` and `bytes` wrote; members that it does not know are skipped.
    package init(json: JSON) throws(ReportReadError) {
        let root = JSONCursor(json)
        let configuration = try root.required("configuration")
        let request = try root.required("request")
        let model = try root.required("model")
        self.init(
            id: try root.optionalString("id"),
            configuration: Configuration(
                id: try configuration.string("id"), name: try configuration.optionalString("name")),
            kernel: try root.string("kernel"), xen: try root.string("xen"), state: try root.string("state"),
            verdict: try root.string("verdict"),
            request: Request(
                platforms: try request.strings("platforms"), scenarios: try request.strings("scenarios"),
                nesting: try request.integer("nesting"), stopAtFirst: try request.bool("stop_at_first")),
            summary: try Summary(try root.required("summary")),
            violations: try root.elements("violations", Violation.init(cursor:)),
            warnings: try root.elements("warnings", Violation.init(cursor:)),
            undecided: try root.elements("undecided") { (item) throws(ReportReadError) in
                Undecided(scenario: try item.string("scenario"), limit: try item.string("limit"))
            },
            cutShort: try root.optional("cut_short") == nil
                ? []
                : root.elements("cut_short") { (item) throws(ReportReadError) in
                    CutShort(limit: try item.string("limit"), scenarios: try item.integer("scenarios"))
                },
            reasons: try root.elements("reasons") { (item) throws(ReportReadError) in
                Reason(
                    rule: try item.string("rule"), pointer: try item.string("pointer"),
                    message: try item.string("message"), location: try item.string("location"))
            },
            costs: try root.elements("costs") { (item) throws(ReportReadError) in
                try Cost(item, scenario: try item.string("scenario"))
            },
            modelVersion: try model.string("version"), limits: try Self.limits(try model.required("limits")),
            created: try root.optionalString("created"))
    }

    /// Reads back the bytes of a report that was stored.
    package init(bytes: [UInt8]) throws {
        var limits = JSONLimits()
        limits.size_bytes = .max
        limits.values = .max
        try self.init(json: JSON.parse(bytes, limits: limits).value)
    }

    private static func limits(_ cursor: JSONCursor) throws(ReportReadError) -> [Limit] {
        guard let members = cursor.value.objectValue else {
            throw ReportReadError(pointer: cursor.path, message: "expected an object, found \(cursor.value.kindName)")
        }
        var limits: [Limit] = []
        for member in members { limits.append(Limit(name: member.key, value: try cursor.integer(member.key))) }
        return limits
    }
}

extension Report.Summary {
    fileprivate init(_ cursor: JSONCursor) throws(ReportReadError) {
        self.init()
        scenarios = try cursor.integer("scenarios")
        holds = try cursor.integer("holds")
        violated = try cursor.integer("violated")
        undecided = try cursor.integer("undecided")
        instructions = try cursor.integer("instructions")
        states = try cursor.integer("states")
        nesting = try cursor.integer("nesting")
        // Reports of before model 1.4 do not count them.
        nestedRuns = try cursor.optional("nested_runs")?.integer() ?? 0
        elapsed_seconds = try cursor.number("elapsed_seconds")
        warnings = try cursor.integer("warnings")
    }
}

extension Report.Violation {
    init(cursor: JSONCursor) throws(ReportReadError) {
        let at = try cursor.required("at")
        var consequence: Report.Consequence?
        if let next = try cursor.optional("consequence") {
            consequence = Report.Consequence(
                rule: try next.string("rule"), vector: try next.optionalString("vector"),
                errorCode: try next.optionalString("error_code"), text: try next.string("text"))
        }
        self.init(
            scenario: try cursor.string("scenario"), rule: try cursor.string("rule"),
            severity: try cursor.string("severity"),
            at: Report.Location(
                routine: try at.string("routine"), step: try at.integer("step"),
                instruction: try at.string("instruction"), source: try at.string("source")),
            explanation: try cursor.string("explanation"), consequence: consequence,
            console: try cursor.string("console"), trace: try cursor.required("links").optionalString("trace"))
        if let known = try cursor.optional("known") {
            self.known = Report.KnownDefect(
                title: try known.string("title"), why: try known.string("why"),
                fixedBy: try known.strings("fixed_by"), fixedIn: try known.optionalString("fixed_in"),
                cve: try known.strings("cve"))
        }
    }
}

extension Report.Cost {
    init(_ cursor: JSONCursor, scenario: String) throws(ReportReadError) {
        self.init(
            scenario: scenario, instructions: try cursor.integer("instructions"),
            memoryWords: try cursor.integer("memory_words"),
            hypervisorEntries: try cursor.integer("hypervisor_entries"),
            msrAccesses: try cursor.integer("msr_accesses"), cr3Writes: try cursor.integer("cr3_writes"),
            serialisingInstructions: try cursor.integer("serialising_instructions"))
    }
}

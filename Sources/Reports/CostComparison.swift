package import EntryCode
package import Verification

/// What two tables cost in the same scenarios: counts, no cycles.
package struct CostComparison: Sendable {
    /// One scenario of both tables.
    package struct Row: Sendable, Equatable {
        package var base: Report.Cost
        package var head: Report.Cost
        /// The counts do not say what a way costs that does not hold.
        package var baseVerdict: String
        package var headVerdict: String
        package var scenario: String { base.scenario }
        package var isEqual: Bool {
            CostComparison.counts.allSatisfy { base[keyPath: $0.path] == head[keyPath: $0.path] }
        }
    }

    /// One count of a cost.
    package struct Count: Sendable {
        package var key: String
        package var title: String
        package var path: any KeyPath<Report.Cost, Int> & Sendable
    }

    package static let counts = [
        Count(key: "instructions", title: "instructions", path: \.instructions),
        Count(key: "memory_words", title: "memory words", path: \.memoryWords),
        Count(key: "msr_accesses", title: "MSR accesses", path: \.msrAccesses),
        Count(key: "cr3_writes", title: "CR3 writes", path: \.cr3Writes),
        Count(key: "hypervisor_entries", title: "Xen entries", path: \.hypervisorEntries),
        Count(key: "serialising_instructions", title: "serialising", path: \.serialisingInstructions),
    ]

    package var base: String
    package var head: String
    package var rows: [Row] = []
    /// Scenarios that one of the tables does not have.
    package var baseOnly: [String] = []
    package var headOnly: [String] = []

    /// - Parameter base: What the tables are called, and what they came to.
    package init(
        base: (name: String, result: SimulationResult), head: (name: String, result: SimulationResult)
    ) {
        self.base = base.name
        self.head = head.name
        var others: [String: ScenarioResult] = [:]
        for result in head.result.results { others[result.scenario.name] = result }
        for result in base.result.results {
            let name = result.scenario.name
            guard let other = others.removeValue(forKey: name) else {
                baseOnly.append(name)
                continue
            }
            rows.append(
                Row(
                    base: Report.Cost(result.cost, scenario: name), head: Report.Cost(other.cost, scenario: name),
                    baseVerdict: result.verdict.rawValue, headVerdict: other.verdict.rawValue))
        }
        headOnly = head.result.results.map(\.scenario.name).filter { others[$0] != nil }
    }
}

extension CostComparison {
    /// Both costs of each scenario that differs, and the difference; at most 100 columns.
    package var text: String {
        var page = TextPage()
        let changed = rows.filter { !$0.isEqual }
        page.line("\(base) -> \(head): \(counted(rows.count, "scenario")), \(changed.count) cost more or less")
        if !changed.isEmpty {
            page.blank()
            page.verbatim(line("", CostComparison.counts.map(\.title)), indent: 0)
        }
        for row in changed {
            page.line(row.scenario)
            page.verbatim(line("base", row.base) + note(row.baseVerdict), indent: 0)
            page.verbatim(line("head", row.head) + note(row.headVerdict), indent: 0)
            let differences = CostComparison.counts.map { row.head[keyPath: $0.path] - row.base[keyPath: $0.path] }
            page.verbatim(line("difference", differences.map(signed)), indent: 0)
        }
        if !baseOnly.isEmpty || !headOnly.isEmpty { page.blank() }
        for (name, list) in [(base, baseOnly), (head, headOnly)] where !list.isEmpty {
            page.line(
                "\(counted(list.count, "scenario")) of \(name) alone: \(list.joined(separator: ", "))", hanging: 2)
        }
        return page.text
    }

    private func note(_ verdict: String) -> String { verdict == "holds" ? "" : " " + verdict }

    private func signed(_ number: Int) -> String { number > 0 ? "+\(number)" : String(number) }

    private func line(_ head: String, _ cost: Report.Cost) -> String {
        line(head, CostComparison.counts.map { String(cost[keyPath: $0.path]) })
    }

    private func line(_ head: String, _ cells: [String]) -> String {
        "  " + head.padded(10) + cells.map { $0.aligned(13) }.joined()
    }

    /// The same for programs: every scenario, equal ones too.
    package var json: JSON {
        func counts(_ value: (Count) -> Int) -> JSON {
            .object(CostComparison.counts.map { JSON.Member($0.key, .integer(Int64(value($0)))) })
        }
        return .object([
            JSON.Member("base", .string(base)), JSON.Member("head", .string(head)),
            JSON.Member(
                "items",
                .array(
                    rows.map { row in
                        .object([
                            JSON.Member("scenario", .string(row.scenario)),
                            JSON.Member("base", counts { row.base[keyPath: $0.path] }),
                            JSON.Member("head", counts { row.head[keyPath: $0.path] }),
                            JSON.Member(
                                "difference", counts { row.head[keyPath: $0.path] - row.base[keyPath: $0.path] }),
                            JSON.Member(
                                "verdict",
                                .object([
                                    JSON.Member("base", .string(row.baseVerdict)),
                                    JSON.Member("head", .string(row.headVerdict)),
                                ])),
                        ])
                    })), JSON.Member("base_only", .array(baseOnly.map(JSON.string))),
            JSON.Member("head_only", .array(headOnly.map(JSON.string))),
        ])
    }
}

package import EntryCode
package import Verification

/// Two tables, before and after a change: what is different, and what that does to the verdicts.
package struct Comparison: Sendable {
    /// What became of a scenario, in the words that maintainers of Xen know from osstest.
    package enum Outcome: String, Sendable, Hashable, CaseIterable {
        /// Held before, does not now; or breaks all that it broke before, and more.
        case regressed
        case fixed
        /// Violated before and after.
        case stillViolated = "still-violated"
        case holds
        /// Reached a limit, before or after.
        case undecided
        /// Only the new table has the scenario, and it does not hold.
        case newViolated = "new-violated"
        /// Only the new table has the scenario, and it holds.
        case new
        /// Only the old table had it.
        case gone
    }

    package struct Row: Sendable {
        package var scenario: String
        package var outcome: Outcome
        /// Rules that are broken, violations only.
        package var baseRules: [String]
        package var headRules: [String]
        package var base: Report.Cost?
        package var head: Report.Cost?
    }

    /// One of the two tables.
    package struct Side: Sendable {
        package var name: String
        package var id: String
        package var kernel: String
        package var verdict: String
        /// Why it cannot be run.
        package var reasons: [Report.Reason]
        /// Scenarios of which not everything was tried, by limit.
        package var cutShort: [Report.CutShort]

        package init(name: String, id: String, table: EntryTable, result: SimulationResult) {
            self.name = name
            self.id = id
            kernel = table.kernel
            verdict = result.verdict.rawValue
            cutShort = Report.CutShort.all(of: result)
            reasons = result.findings.map {
                Report.Reason(rule: $0.rule, pointer: $0.pointer, message: $0.message, location: $0.location)
            }
        }
    }

    package var base: Side
    package var head: Side
    package var changes: [TableChange]
    package var rows: [Row]
    package var modelVersion: String

    package init(
        base: Side, _ baseResult: SimulationResult, head: Side, _ headResult: SimulationResult,
        changes: [TableChange]
    ) {
        self.base = base
        self.head = head
        self.changes = changes
        modelVersion = Verification.modelVersion
        rows = []
        // A table that cannot be run has no verdicts to compare.
        if baseResult.verdict == .invalid || headResult.verdict == .invalid { return }
        var others: [String: ScenarioResult] = [:]
        for result in headResult.results { others[result.scenario.name] = result }
        let (baseCut, headCut) = (Comparison.cutShort(baseResult), Comparison.cutShort(headResult))
        for result in baseResult.results {
            let other = others.removeValue(forKey: result.scenario.name)
            rows.append(Comparison.row(result.scenario.name, result, other))
            if other == nil, headCut.contains(result.scenario.ownName) { rows[rows.count - 1].outcome = .undecided }
        }
        for result in headResult.results where others[result.scenario.name] != nil {
            rows.append(Comparison.row(result.scenario.name, nil, result))
            if baseCut.contains(result.scenario.ownName) { rows[rows.count - 1].outcome = .undecided }
        }
    }

    /// Scenarios whose nested events were not all tried: that one of those is not there says nothing.
    private static func cutShort(_ result: SimulationResult) -> Set<String> {
        Set(result.results.lazy.filter { $0.cutShortBy != nil }.map(\.scenario.name))
    }

    private static func row(_ name: String, _ base: ScenarioResult?, _ head: ScenarioResult?) -> Row {
        func rules(_ result: ScenarioResult?) -> [String] {
            var found: [String] = []
            for violation in result?.violations ?? []
            where violation.severity == .violation && !found.contains(violation.rule) { found.append(violation.rule) }
            return found
        }
        let (baseRules, headRules) = (rules(base), rules(head))
        let outcome: Outcome =
            switch (base?.verdict, head?.verdict) {
            case (_, nil): .gone
            case (nil, .holds?): .new
            case (nil, _): .newViolated
            case (.undecided?, _), (_, .undecided?): .undecided
            case (.holds?, .holds?): .holds
            case (.holds?, _): .regressed
            case (_, .holds?): .fixed
            default: Set(baseRules).isStrictSubset(of: headRules) ? .regressed : .stillViolated
            }
        return Row(
            scenario: name, outcome: outcome, baseRules: baseRules, headRules: headRules,
            base: base.map { Report.Cost($0.cost, scenario: name) },
            head: head.map { Report.Cost($0.cost, scenario: name) })
    }

    package func count(_ outcome: Outcome) -> Int { rows.count { $0.outcome == outcome } }

    /// Rows of scenarios that both tables run to the end, and whose counts differ.
    package var costChanges: [Row] {
        rows.filter { row in
            guard row.outcome == .holds, let base = row.base, let head = row.head else { return false }
            return CostComparison.counts.contains { base[keyPath: $0.path] != head[keyPath: $0.path] }
        }
    }

    /// In one word: `invalid`, `regressed`, `fixed`, `still-violated`, `undecided` or `holds`.
    package var verdict: String {
        if base.verdict == Verdict.invalid.rawValue || head.verdict == Verdict.invalid.rawValue { return "invalid" }
        for outcome in [Outcome.regressed, .newViolated, .fixed, .stillViolated, .undecided] where count(outcome) > 0 {
            return outcome == .newViolated ? Outcome.regressed.rawValue : outcome.rawValue
        }
        return Outcome.holds.rawValue
    }
}

extension Scenario {
    /// The name without nested events.
    fileprivate var ownName: String {
        if injections.isEmpty { return name }
        var own = self
        own.injections = []
        return own.name
    }
}

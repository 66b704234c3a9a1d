package import EntryCode

extension Comparison {
    /// For programs: every scenario, those that hold too.
    package var json: JSON {
        .object([
            JSON.Member("base", base.json), JSON.Member("head", head.json), JSON.Member("verdict", .string(verdict)),
            JSON.Member(
                "summary",
                .object(
                    [JSON.Member("scenarios", .integer(Int64(rows.count)))]
                        + Outcome.allCases.map { JSON.Member($0.key, .integer(Int64(count($0)))) })),
            JSON.Member("table", .array(changes.map(\.json))),
            JSON.Member("scenarios", .array(rows.map(\.json))),
            JSON.Member("model", .object([JSON.Member("version", .string(modelVersion))])),
        ])
    }
}

extension Comparison.Outcome {
    /// The member of a summary.
    fileprivate var key: String { rawValue.replacing("-", with: "_") }
}

extension Comparison.Side {
    fileprivate var json: JSON {
        .object([
            JSON.Member("name", .string(name)), JSON.Member("id", .string(id)), JSON.Member("kernel", .string(kernel)),
            JSON.Member("verdict", .string(verdict)),
            JSON.Member(
                "cut_short",
                .array(
                    cutShort.map {
                        .object([
                            JSON.Member("limit", .string($0.limit)),
                            JSON.Member("scenarios", .integer(Int64($0.scenarios))),
                        ])
                    })),
            JSON.Member(
                "reasons",
                .array(
                    reasons.map {
                        .object([
                            JSON.Member("rule", .string($0.rule)), JSON.Member("pointer", .string($0.pointer)),
                            JSON.Member("message", .string($0.message)), JSON.Member("location", .string($0.location)),
                        ])
                    })),
        ])
    }
}

extension TableChange {
    /// Texts of sources are not repeated: their paths say what changed.
    package var json: JSON {
        let isText = section == "sources"
        func side(_ value: JSON?) -> JSON { isText ? .bool(value != nil) : value ?? .null }
        return .object([
            JSON.Member("section", .string(section)), JSON.Member("name", .string(name)),
            JSON.Member("base", side(before)), JSON.Member("head", side(after)),
        ])
    }
}

extension Comparison.Row {
    fileprivate var json: JSON {
        func list(_ rules: [String]) -> JSON { .array(rules.map { .string($0) }) }
        var members = [
            JSON.Member("scenario", .string(scenario)), JSON.Member("outcome", .string(outcome.rawValue)),
        ]
        if !baseRules.isEmpty || !headRules.isEmpty {
            members.append(
                JSON.Member(
                    "rules", .object([JSON.Member("base", list(baseRules)), JSON.Member("head", list(headRules))])))
        }
        if let base, let head {
            let differences = CostComparison.counts.compactMap { count -> JSON.Member? in
                let difference = head[keyPath: count.path] - base[keyPath: count.path]
                return difference == 0 ? nil : JSON.Member(count.key, .integer(Int64(difference)))
            }
            if !differences.isEmpty { members.append(JSON.Member("cost", .object(differences))) }
        }
        return .object(members)
    }
}

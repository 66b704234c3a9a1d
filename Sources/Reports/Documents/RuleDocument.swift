package import EntryCode
package import Verification

/// The rules as `GET /v1/rules` and `gatehouse rules` publish them.
package enum RuleDocument {
    /// Every rule, in the order of the interface's documentation.
    package static func list(_ rules: [Rule] = Rule.all) -> JSON {
        .object([JSON.Member("rules", .array(rules.map(one)))])
    }

    /// One rule: id, severity, statement, why, sources.
    package static func one(_ rule: Rule) -> JSON {
        .object([
            JSON.Member("id", .string(rule.id)),
            JSON.Member("severity", .string(rule.severity.rawValue)),
            JSON.Member("statement", .string(rule.statement)),
            JSON.Member("why", .string(rule.why)),
            JSON.Member("sources", .array(rule.sources.map(JSON.string))),
        ])
    }

    /// Rules as text: id and statement of each; one alone with reason and sources.
    package static func text(_ rules: [Rule] = Rule.all) -> String {
        if rules.count == 1, let rule = rules.first { return text(rule) }
        var page = TextPage()
        let width = (rules.map(\.id.utf8.count).max() ?? 0) + 2
        for rule in rules {
            let note = rule.severity == .warning ? " (warning)" : ""
            page.columns(rule.id, rule.statement + note, width: width)
        }
        return page.text
    }

    /// One rule as text, with reason and sources.
    package static func text(_ rule: Rule) -> String {
        var page = TextPage()
        page.line("\(rule.id) (\(rule.severity.rawValue))")
        page.blank()
        page.line(rule.statement, indent: 2)
        page.line("Why: \(rule.why)", indent: 2, hanging: 7)
        for source in rule.sources { page.line("Source: \(source)", indent: 2, hanging: 10) }
        return page.text
    }
}

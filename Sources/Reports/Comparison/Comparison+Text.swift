import EntryCode

extension Comparison {
    /// Columns of a line that somebody can quote once more in a reply.
    package static let width_columns = 72

    /// The comparison as plain text of at most 72 columns, fit to paste into a mail.
    package var text: String {
        var page = ReplyPage()
        page.line("\(base.name) -> \(head.name)")
        page.line("")
        writeChanges(&page)
        page.line("")
        if verdict == "invalid" {
            for side in [base, head] where side.verdict == "invalid" { writeReasons(side, &page) }
            page.line("Nothing can be compared until both can be run.", indent: 0)
            return page.text
        }
        let counts = Outcome.allCases.filter { count($0) > 0 || $0 == .fixed || $0 == .regressed }.map {
            "\(count($0)) \($0.title)"
        }
        page.line("\(rows.count) scenarios: \(counts.joined(separator: ", "))")
        for side in [base, head] {
            for part in side.cutShort {
                page.line(
                    "Not everything was tried with \(side.name): limit '\(part.limit)' in \(part.scenarios) scenarios.",
                    hanging: 2)
            }
        }
        for outcome in [Outcome.regressed, .newViolated, .fixed, .stillViolated, .undecided, .new, .gone] {
            writeRows(outcome, &page)
        }
        writeWarnings(&page)
        writeCosts(&page)
        return page.text
    }

    private func writeChanges(_ page: inout ReplyPage) {
        if changes.isEmpty { return page.line("The tables are the same.") }
        page.line("The table:")
        var section = ""
        for change in changes {
            if change.section != section {
                section = change.section
                page.line(section, indent: 2)
            }
            switch (change.before, change.after) {
            case (let before?, let after?):
                if change.section == "sources" {
                    page.line("~ \(change.name)", indent: 4)
                } else if change.members.isEmpty {
                    page.line(
                        "~ \(change.name): \(Comparison.shown(before)) -> \(Comparison.shown(after))", indent: 4,
                        hanging: 8)
                } else {
                    let parts = change.members.map {
                        "\($0.key) \(Comparison.shown($0.before)) -> \(Comparison.shown($0.after))"
                    }
                    page.line("~ \(change.name): \(parts.joined(separator: ", "))", indent: 4, hanging: 8)
                }
            case (nil, let after?): page.line("+ \(change.name)\(Comparison.detail(after))", indent: 4, hanging: 8)
            case (let before?, nil): page.line("- \(change.name)\(Comparison.detail(before))", indent: 4, hanging: 8)
            case (nil, nil): break
            }
        }
    }

    private static func shown(_ value: JSON?) -> String {
        switch value {
        case nil: "nothing"
        case .string(let text)?: text.utf8.count > 48 ? String(text.prefix(45)) + "..." : text
        case .object?, .array?: "other content"
        case let value?: value.text
        }
    }

    /// The cells of a row that came or went.
    private static func detail(_ row: JSON) -> String {
        guard case .object(let members) = row else { return "" }
        let cells = members.filter { !["symbol", "vector", "native"].contains($0.key) || $0.value.integerValue == nil }
            .filter { $0.key != "symbol" && $0.key != "native" }
            .map { "\($0.key) \(shown($0.value))" }
        return cells.isEmpty ? "" : ": " + cells.joined(separator: ", ")
    }

    private func writeReasons(_ side: Side, _ page: inout ReplyPage) {
        let reasons = side.reasons.filter { !ConfigurationFinding.warnings.contains($0.rule) }
        page.line("\(side.name) cannot be run:")
        for reason in reasons.prefix(20) {
            let place = [reason.pointer, reason.location].first { !$0.isEmpty } ?? "table"
            page.line("\(place): \(reason.message) [\(reason.rule)]", indent: 2, hanging: 4)
        }
        if reasons.count > 20 { page.line("and \(reasons.count - 20) more", indent: 2) }
    }

    private func writeRows(_ outcome: Outcome, _ page: inout ReplyPage) {
        let found = rows.filter { $0.outcome == outcome }
        if found.isEmpty { return }
        page.line("")
        page.line(outcome.title + ":")
        // Scenarios that break the same rules are one group, those of one event on one platform one line.
        var groups: [(rules: String, count: Int, events: [(name: String, scenarios: [String])])] = []
        for row in found {
            let event = row.scenario.split(separator: "/").prefix(2).joined(separator: "/")
            let before = row.baseRules.joined(separator: " ")
            let after = row.headRules.joined(separator: " ")
            let rules =
                switch outcome {
                case .fixed, .gone: before
                case .stillViolated where before != after: "\(before) -> \(after)"
                default: after
                }
            let index = groups.firstIndex { $0.rules == rules } ?? groups.count
            if index == groups.count { groups.append((rules, 0, [])) }
            groups[index].count += 1
            if let place = groups[index].events.firstIndex(where: { $0.name == event }) {
                groups[index].events[place].scenarios.append(row.scenario)
            } else {
                groups[index].events.append((event, [row.scenario]))
            }
        }
        for group in groups.prefix(20) {
            if !group.rules.isEmpty {
                page.line("\(group.rules): \(counted(group.count, "scenario"))", indent: 2, hanging: 4)
            }
            for event in group.events.prefix(8) {
                let more = event.scenarios.count > 1 ? " and \(event.scenarios.count - 1) more" : ""
                page.line("\(event.scenarios.first ?? "")\(more)", indent: 4, hanging: 6)
            }
            if group.events.count > 8 { page.line("and of \(group.events.count - 8) further events", indent: 4) }
        }
        if groups.count > 20 { page.line("and \(groups.count - 20) further groups", indent: 2) }
    }

    /// Warnings about the new table that the old one does not give.
    private func writeWarnings(_ page: inout ReplyPage) {
        let new = head.reasons.filter { reason in
            !base.reasons.contains { $0.rule == reason.rule && $0.message == reason.message }
        }
        if new.isEmpty { return }
        page.line("")
        page.line("new warnings:")
        for reason in new.prefix(20) { page.line("\(reason.message) [\(reason.rule)]", indent: 2, hanging: 4) }
    }

    private func writeCosts(_ page: inout ReplyPage) {
        let changed = costChanges
        if changed.isEmpty { return }
        page.line("")
        page.line(
            "\(counted(changed.count, "scenario")) that hold\(changed.count == 1 ? "s" : "") cost other than before:")
        // Ways that change alike are one line.
        var groups: [(difference: String, names: [String])] = []
        for row in changed {
            guard let base = row.base, let head = row.head else { continue }
            let parts = CostComparison.counts.compactMap { count -> String? in
                let difference = head[keyPath: count.path] - base[keyPath: count.path]
                return difference == 0 ? nil : "\(difference > 0 ? "+" : "")\(difference) \(count.title)"
            }
            let text = parts.joined(separator: ", ")
            if let index = groups.firstIndex(where: { $0.difference == text }) {
                groups[index].names.append(row.scenario)
            } else {
                groups.append((text, [row.scenario]))
            }
        }
        groups.sort { $0.names.count > $1.names.count }
        for group in groups.prefix(12) {
            let more = group.names.count > 1 ? " and \(group.names.count - 1) more" : ""
            page.line(group.difference, indent: 2)
            page.line("\(group.names.first ?? "")\(more)", indent: 4, hanging: 6)
        }
        if groups.count > 12 { page.line("and \(groups.count - 12) further differences", indent: 2) }
    }
}

extension Comparison.Outcome {
    /// In words.
    package var title: String {
        switch self {
        case .stillViolated: "still violated"
        case .newViolated: "new and violated"
        default: rawValue
        }
    }
}

/// Text of at most 72 columns.
struct ReplyPage {
    private(set) var text = ""

    mutating func line(_ content: String, indent: Int = 0, hanging: Int? = nil) {
        var margin = String(repeating: " ", count: indent)
        var line = margin
        var isEmpty = true
        for word in ascii(content).split(whereSeparator: { $0 == " " || $0 == "\n" }) {
            var word = word
            while !word.isEmpty {
                let used = line.utf8.count + (isEmpty ? 0 : 1)
                if used + word.utf8.count <= Comparison.width_columns {
                    line += (isEmpty ? "" : " ") + word
                    isEmpty = false
                    break
                }
                if isEmpty {
                    let part = word.prefix(Comparison.width_columns - line.utf8.count)
                    line += part
                    word = word.dropFirst(part.count)
                }
                text += line + "\n"
                margin = String(repeating: " ", count: hanging ?? indent)
                line = margin
                isEmpty = true
            }
        }
        if !isEmpty { text += line }
        if !isEmpty || content.isEmpty { text += "\n" }
    }
}

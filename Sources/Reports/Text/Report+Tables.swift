extension Report {
    /// A line for each scenario: verdict, instructions, memory words, name, violated rules and warnings.
    package var wide: String {
        var page = TextPage()
        let rules = Self.rulesByScenario(violations)
        let notes = Self.rulesByScenario(warnings)
        let limits = Dictionary(undecided.map { ($0.scenario, $0.limit) }, uniquingKeysWith: { first, _ in first })
        page.line("\(title): \(verdict)", hanging: 2)
        page.verbatim("verdict    instr words scenario", indent: 0)
        for cost in costs {
            let broken = rules[cost.scenario] ?? []
            let verdict = !broken.isEmpty ? "violated" : limits[cost.scenario] != nil ? "undecided" : "holds"
            let head =
                verdict.padded(9) + String(cost.instructions).aligned(7) + String(cost.memoryWords).aligned(6) + " "
            let name = head + ascii(cost.scenario)
            let all = broken + (notes[cost.scenario] ?? []).map { "\($0) (warning)" }
            let tail = all.isEmpty ? "" : "  " + ascii(all.joined(separator: ", "))
            if name.utf8.count + tail.utf8.count <= textWidth_columns {
                page.verbatim(name + tail, indent: 0)
            } else {
                page.verbatim(name, indent: 0)
                if !tail.isEmpty { page.line(String(tail.dropFirst(2)), indent: 25) }
            }
        }
        return page.text
    }

    /// One row for each scenario (RFC 4180), with a header.
    package var csv: String {
        let rules = Self.rulesByScenario(violations)
        let limits = Dictionary(undecided.map { ($0.scenario, $0.limit) }, uniquingKeysWith: { first, _ in first })
        let first = Dictionary(violations.map { ($0.scenario, $0) }, uniquingKeysWith: { first, _ in first })
        var text =
            "scenario,verdict,rule,instructions,memory_words,hypervisor_entries,msr_accesses,cr3_writes,serialising_instructions,routine,instruction\r\n"
        func append(_ field: String) {
            text += csvField(ascii(field))
            text += ","
        }
        for cost in costs {
            let isBroken = rules[cost.scenario] != nil
            let cause = first[cost.scenario]
            append(cost.scenario)
            text += isBroken ? "violated," : limits[cost.scenario] != nil ? "undecided," : "holds,"
            append(cause?.rule ?? "")
            for count in [
                cost.instructions, cost.memoryWords, cost.hypervisorEntries, cost.msrAccesses, cost.cr3Writes,
                cost.serialisingInstructions,
            ] {
                text += String(count)
                text += ","
            }
            append(cause?.at.routine ?? "")
            text += csvField(ascii(cause?.at.instruction ?? ""))
            text += "\r\n"
        }
        return text
    }

    private static func rulesByScenario(_ violations: [Violation]) -> [String: [String]] {
        var result: [String: [String]] = [:]
        for violation in violations where !(result[violation.scenario]?.contains(violation.rule) ?? false) {
            result[violation.scenario, default: []].append(violation.rule)
        }
        return result
    }

    func writePlatforms(to page: inout TextPage) {
        struct Row {
            var platform: String
            var scenarios = 0
            var violated = 0
            var undecided = 0
        }
        let rules = Self.rulesByScenario(violations)
        let undecidedNames = Set(undecided.map(\.scenario))
        var rows: [Row] = []
        for cost in costs {
            let platform = String(scenarioParts(cost.scenario).platform)
            if rows.last?.platform != platform { rows.append(Row(platform: platform)) }
            rows[rows.count - 1].scenarios += 1
            if rules[cost.scenario] != nil {
                rows[rows.count - 1].violated += 1
            } else if undecidedNames.contains(cost.scenario) {
                rows[rows.count - 1].undecided += 1
            }
        }
        if rows.isEmpty { return }
        page.blank()
        page.verbatim("platform            scenarios     holds  violated undecided", indent: 0)
        for row in rows {
            let counts = [row.scenarios, row.scenarios - row.violated - row.undecided, row.violated, row.undecided]
            page.verbatim(row.platform.padded(19) + counts.map { String($0).aligned(10) }.joined(), indent: 0)
        }
    }

    /// Instructions of events that are handled and returned from: probe `return`, unless the run went astray.
    func writeCosts(to page: inout TextPage) {
        struct Row {
            var platform: Substring
            var user: [Int] = []
            var kernel: [Int] = []
        }
        let astray = Set(violations.lazy.filter(\.isNoticed).map(\.scenario)).union(
            undecided.map(\.scenario))
        var rows: [Row] = []
        for cost in costs where !astray.contains(cost.scenario) {
            let parts = scenarioParts(cost.scenario)
            guard parts.probe == "return" else { continue }
            if rows.last?.platform != parts.platform { rows.append(Row(platform: parts.platform)) }
            if parts.context == "user" {
                rows[rows.count - 1].user.append(cost.instructions)
            } else {
                rows[rows.count - 1].kernel.append(cost.instructions)
            }
        }
        if rows.isEmpty { return }
        page.blank()
        page.verbatim("instructions of an event and its return  minimum    median   maximum", indent: 0)
        for row in rows {
            for (context, counts) in [("user", row.user.sorted()), ("kernel", row.kernel.sorted())]
            where !counts.isEmpty {
                let numbers = [counts[0], counts[counts.count / 2], counts[counts.count - 1]]
                page.verbatim(
                    (ascii(String(row.platform)).padded(19) + "from \(context)").padded(38)
                        + numbers.map { String($0).aligned(10) }.joined(), indent: 0)
            }
        }
    }
}

/// A field with quotes where RFC 4180 asks for them.
func csvField(_ text: String) -> String {
    let needsQuotes = text.utf8.contains {
        $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "\"") || $0 == 0x0A || $0 == 0x0D
    }
    if !needsQuotes { return text }
    return "\"" + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}

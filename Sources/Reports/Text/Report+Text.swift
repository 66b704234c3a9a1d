extension Report {
    /// The report for people: verdict, causes, platforms, costs; ASCII, at most 100 columns but for lines of a console, which
    /// can be looked for as they are.
    package var text: String {
        var page = TextPage()
        writeHeadline(to: &page)
        writeReasons(to: &page)
        let (known, rest) = knownDefects
        writeKnown(known, to: &page)
        writeGroups(rest, title: known.isEmpty ? "Violations" : "Other violations", after: known.count, to: &page)
        writeUndecided(to: &page)
        writeGroups(warningGroups, title: "Warnings", to: &page)
        writeWideHint(to: &page)
        writePlatforms(to: &page)
        writeCosts(to: &page)
        return page.text
    }

    private func writeHeadline(to page: inout TextPage) {
        page.line("\(title): \(verdict)", hanging: 2)
        if state != "finished" { page.line("The simulation is \(state).") }
        var facts: [String] = []
        if summary.scenarios > 0 {
            facts.append(
                "\(counted(summary.scenarios, "scenario")): \(summary.holds) hold, \(summary.violated) violated, \(summary.undecided) undecided."
            )
            if summary.warnings > 0 { facts.append("\(counted(summary.warnings, "warning")).") }
        } else {
            facts.append("No scenario ran.")
        }
        let machine = "Entry code of \(kernel), Xen \(xen), model \(modelVersion), nesting \(summary.nesting)"
        let work = "\(counted(summary.instructions, "instruction")) in \(duration(seconds: summary.elapsed_seconds))"
        facts.append(summary.scenarios > 0 ? "\(machine); \(work)." : "\(machine).")
        if let known = knownSentence { facts.append(known) }
        if request.stopAtFirst { facts.append("It stopped at the first violated scenario.") }
        page.line(facts.joined(separator: " "))
        writeCutShort(to: &page)
        if let id { page.line("Simulation \(id).") }
    }

    /// That verdicts stand on less than what was asked for; those that are violated, too.
    private func writeCutShort(to page: inout TextPage) {
        if cutShort.isEmpty { return }
        let parts = cutShort.map { part in
            let bound = limits.first { $0.name == part.limit }.map {
                " of \($0.value)\(part.limit == "time" ? " s" : "")"
            }
            let reached = part.limit == "cancelled" ? "it was stopped" : "limit '\(part.limit)'\(bound ?? "") reached"
            return "in \(counted(part.scenarios, "scenario")) (\(reached))"
        }
        let what = summary.nesting > 0 ? "the search for nested events was cut short" : "the simulation was cut short"
        page.line(
            "Not everything was tried: \(what) \(parts.joined(separator: ", ")). What was not tried there may break more."
        )
    }

    /// How many violations are defects that the kernel is known for; nil where none is.
    private var knownSentence: String? {
        let known = violations.count { $0.known != nil }
        if known == 0 { return nil }
        if known == violations.count { return "Every violation is a known defect of \(kernel)." }
        return "\(known) of \(violations.count) violations are known defects of \(kernel)."
    }

    private func writeReasons(to page: inout TextPage) {
        let (obstacles, warnings) = obstaclesAndWarnings
        write(obstacles, title: "The table cannot be run\(placeOfObstacles):", to: &page)
        write(warnings, title: "Warnings about the table:", to: &page)
    }

    private func write(_ reasons: [Reason], title: String, to page: inout TextPage) {
        if reasons.isEmpty { return }
        page.blank()
        page.line(title, hanging: 2)
        for reason in reasons {
            page.line("\(reason.rule): \(reason.message)", indent: 2, hanging: 4)
            if !reason.pointer.isEmpty { page.line("in the document at \(reason.pointer)", indent: 4) }
            if !reason.location.isEmpty { page.line("at \(reason.location)", indent: 4) }
        }
    }

    /// Each defect that the kernel is known for, once, with what it breaks and one example.
    private func writeKnown(_ defects: [KnownGroup], to page: inout TextPage) {
        if defects.isEmpty { return }
        page.blank()
        page.line("Known defects of \(kernel):")
        for (index, defect) in defects.enumerated() {
            page.blank()
            page.numbered(
                index + 1, "\(defect.known.heading): \(counted(defect.all.scenarios.count, "scenario"))")
            page.line(defect.known.why, indent: 4, hanging: 4)
            page.line(defect.counts.joined(separator: ", "), indent: 4, hanging: 6)
            writeExample(of: defect.all, isKnown: true, to: &page)
        }
    }

    private func writeGroups(_ groups: [ViolationGroup], title: String, after count: Int = 0, to page: inout TextPage) {
        if groups.isEmpty { return }
        page.blank()
        page.line("\(title) by cause:")
        for (index, group) in groups.enumerated() {
            page.blank()
            write(group, number: count + index + 1, to: &page)
        }
    }

    private func write(_ group: ViolationGroup, number: Int, to page: inout TextPage) {
        let head = "\(number).".padded(4)
        page.verbatim(
            head + "\(group.example.rule) on \(group.platform): \(counted(group.scenarios.count, "scenario"))",
            indent: 0)
        writeExample(of: group, isKnown: false, to: &page)
    }

    private func writeExample(of group: ViolationGroup, isKnown: Bool, to page: inout TextPage) {
        let violation = group.example
        page.line(others(group), indent: 4, hanging: 6)
        let at = violation.at
        if !at.routine.isEmpty {
            let source = at.source.isEmpty || at.isCFunction ? "" : " (\(at.source))"
            page.line("at step \(at.step), \(at.routine): \(at.instruction)\(source)", indent: 4, hanging: 6)
        }
        page.line("cause: \(violation.explanation)", indent: 4, hanging: 6)
        if let next = violation.consequence { page.line("then: \(Self.sentence(next))", indent: 4, hanging: 6) }
        if !isKnown, let known = violation.known { page.line("known: \(known.sentence)", indent: 4, hanging: 6) }
        if !violation.console.isEmpty {
            page.line("console:", indent: 4)
            page.console(violation.console, indent: 6)
        }
        if let words = traceWords(violation) { page.hint("trace:", words, indent: 4) }
        let others = group.scenarios.filter { $0 != violation.scenario }
        if others.isEmpty { return }
        let hidden = others.count - Self.othersShown
        let rest = hidden > 0 ? " and \(hidden) more" : ""
        page.line("also: \(others.prefix(Self.othersShown).joined(separator: ", "))\(rest)", indent: 4, hanging: 6)
    }

    /// Names of a group besides its example.
    private static var othersShown: Int { 4 }

    /// Where the names are that groups leave out.
    private func writeWideHint(to page: inout TextPage) {
        let (known, rest) = knownDefects
        let isCut = (known.map(\.all) + rest + warningGroups).contains { $0.scenarios.count > Self.othersShown + 1 }
        guard isCut, let words = wideWords else { return }
        page.blank()
        page.hint("Every scenario and the rules that it breaks:", words, indent: 0)
    }

    private func others(_ group: ViolationGroup) -> String {
        let name = group.example.scenario
        let rest = group.scenarios.count - 1
        if rest == 0 { return name }
        let shown = group.events.prefix(6).joined(separator: ", ")
        let hidden = group.events.count - 6
        let noun = group.events.count == 1 ? "event" : "events"
        return
            "\(name) and \(rest) more \(rest == 1 ? "scenario" : "scenarios") (of \(noun) \(shown)\(hidden > 0 ? " and \(counted(hidden, "other"))" : ""))"
    }

    /// `general_protection, error code 0x0: the kernel reports …`.
    static func sentence(_ consequence: Consequence) -> String {
        var head: [String] = []
        if let vector = consequence.vector { head.append(vector) }
        if let code = consequence.errorCode { head.append("error code \(code)") }
        return (head.isEmpty ? "" : head.joined(separator: ", ") + ": ") + consequence.text
    }

    private func writeUndecided(to page: inout TextPage) {
        if undecided.isEmpty { return }
        page.blank()
        page.line("Undecided:")
        for item in undecided.prefix(20) {
            let bound = limits.first { $0.name == item.limit }.map { " of \($0.value)" } ?? ""
            let reached = item.limit == "cancelled" ? "cancelled" : "limit '\(item.limit)'\(bound) reached"
            page.line("\(item.scenario): \(reached)", indent: 2, hanging: 4)
        }
        if undecided.count > 20 { page.line("and \(undecided.count - 20) more", indent: 2) }
    }
}

extension Report.Location {
    /// The cause is a model of a C function, which has no source line.
    var isCFunction: Bool { instruction == "(C function)" }
}

extension Report.KnownDefect {
    /// `title (CVE-2019-1125; fixed in 5.3 by 18ec54fdd6d1): why`.
    var sentence: String { heading + ". " + why }

    /// Title, numbers and the version that mends it.
    var heading: String {
        var notes = cve
        if !fixedBy.isEmpty || fixedIn != nil {
            notes.append(
                "fixed" + (fixedIn.map { " in \($0)" } ?? "")
                    + (fixedBy.isEmpty ? "" : " by " + fixedBy.joined(separator: ", ")))
        }
        return title + (notes.isEmpty ? "" : " (" + notes.joined(separator: "; ") + ")")
    }
}

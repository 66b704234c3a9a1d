package import EntryCode
package import Verification

/// The catalogue of historic defects, as `GET /v1/defects` and `gatehouse defects` publish it.
package enum DefectDocument {
    /// Every defect in short, oldest first.
    package static func list(_ catalogue: DefectCatalogue = .shipped) -> JSON {
        .object([JSON.Member("items", .array(catalogue.defects.map { .object(summary($0)) }))])
    }

    /// One defect: history, model, links to its tables.
    package static func one(_ defect: Defect) -> JSON {
        func list(_ values: [String]) -> JSON { .array(values.map(JSON.string)) }
        var members = summary(defect)
        members += [
            JSON.Member("affected", .string(defect.affected)), JSON.Member("commits", list(defect.commits)),
            JSON.Member("cve", list(defect.cve)), JSON.Member("xsa", list(defect.xsa)),
            JSON.Member("wrong", .string(defect.wrong)), JSON.Member("right", .string(defect.right)),
            JSON.Member(
                "trigger",
                .object([
                    JSON.Member("event", .string(defect.trigger.event)),
                    JSON.Member("context", .string(defect.trigger.context)),
                    JSON.Member("platform", .string(defect.trigger.platform)),
                    JSON.Member("nested", .string(defect.trigger.nested)),
                    JSON.Member("test", .string(defect.trigger.test)),
                ])), JSON.Member("outcome", .string(defect.outcome)),
        ]
        switch defect.model {
        case .notModelled(let reason): members.append(JSON.Member("not_modelled", .string(reason)))
        case .modelled(let model):
            var parts = [
                JSON.Member("kernel", .string(model.kernel)), JSON.Member("scenarios", list(model.scenarios)),
                JSON.Member("platforms", list(model.platforms.map(\.rawValue))),
                JSON.Member("xen", model.xen.map { .string($0.rawValue) } ?? .null),
                JSON.Member("nesting", .integer(Int64(model.nesting))), JSON.Member("rule", .string(model.rule)),
            ]
            if !model.note.isEmpty { parts.append(JSON.Member("note", .string(model.note))) }
            members.append(JSON.Member("model", .object(parts)))
        }
        return .object(members)
    }

    private static func summary(_ defect: Defect) -> [JSON.Member] {
        var links = [JSON.Member("self", .string("/v1/defects/\(defect.id)"))]
        if defect.modelled != nil {
            for side in DefectSide.allCases {
                links.append(JSON.Member(side.rawValue, .string("/v1/defects/\(defect.id)/\(side.rawValue)")))
            }
        }
        return [
            JSON.Member("id", .string(defect.id)), JSON.Member("title", .string(defect.title)),
            JSON.Member("year", .integer(Int64(defect.year))), JSON.Member("os", .string(defect.os)),
            JSON.Member("layer", .string(defect.layer)), JSON.Member("modelled", .bool(defect.modelled != nil)),
            JSON.Member("rule", defect.modelled.map { .string($0.rule) } ?? .null),
            JSON.Member("links", .object(links)),
        ]
    }

    /// Every defect in two lines, oldest first.
    package static func text(_ catalogue: DefectCatalogue = .shipped) -> String {
        var page = TextPage()
        for defect in catalogue.defects {
            let state = defect.modelled.map { "found by \($0.rule) on \($0.kernel)" } ?? "not modelled"
            page.line("\(defect.year) \(defect.id): \(state)", hanging: 7)
            page.line(defect.title, indent: 7)
        }
        let modelled = catalogue.defects.count { $0.modelled != nil }
        page.blank()
        page.line("\(counted(catalogue.defects.count, "defect")), \(modelled) modelled")
        for fault in catalogue.faults { page.line("fault: \(fault)", hanging: 2) }
        return page.text
    }

    /// One defect as text.
    package static func text(_ defect: Defect) -> String {
        var page = TextPage()
        page.line("\(defect.id) (\(defect.os), \(defect.year))")
        page.line(defect.title, indent: 2)
        page.blank()
        func part(_ name: String, _ text: String) {
            if !text.isEmpty && text != "-" { page.columns("  \(name)", text, width: 14) }
        }
        part("affected", defect.affected)
        part("wrong", defect.wrong)
        part("right", defect.right)
        part("event", defect.trigger.event)
        part("context", defect.trigger.context)
        part("platform", defect.trigger.platform)
        part("nested", defect.trigger.nested)
        part("test", defect.trigger.test)
        part("outcome", defect.outcome)
        part(
            "fixed by", (defect.commits.map { String($0.prefix(12)) } + defect.cve + defect.xsa).joined(separator: ", ")
        )
        page.blank()
        switch defect.model {
        case .notModelled(let reason): part("not modelled", reason)
        case .modelled(let model):
            part("rule", model.rule)
            part("kernel", model.kernel)
            part("scenarios", model.scenarios.joined(separator: ", "))
            if model.platforms != Platform.allCases {
                part("platforms", model.platforms.map(\.rawValue).joined(separator: ", "))
            }
            part("xen", model.xen?.rawValue ?? "")
            if model.nesting > 0 { part("nesting", String(model.nesting)) }
            part("note", model.note)
            part("tables", "gatehouse defects \(defect.id) --broken, or --fixed")
        }
        return page.text
    }
}

/// What running the catalogue came to, as `gatehouse defects --check` prints it.
package enum DefectCheckDocument {
    /// One line for each defect that ran, and what speaks against it.
    package static func text(_ checks: [(defect: Defect, check: DefectCheck)]) -> String {
        var page = TextPage()
        for (defect, check) in checks {
            let rule = defect.modelled?.rule ?? ""
            if check.isConfirmed {
                let scenarios = counted(check.scenarios, "scenario")
                page.columns(
                    "confirmed",
                    "\(defect.id): \(rule) in \(check.found.count) of \(scenarios); the fixed table holds", width: 11)
            } else {
                page.columns("not so", "\(defect.id) (\(rule))", width: 11)
                for fault in check.faults { page.line(fault, indent: 11, hanging: 13) }
            }
        }
        return page.text
    }

    package static func json(_ checks: [(defect: Defect, check: DefectCheck)]) -> JSON {
        .object([
            JSON.Member(
                "items",
                .array(
                    checks.map { defect, check in
                        .object([
                            JSON.Member("id", .string(defect.id)), JSON.Member("confirmed", .bool(check.isConfirmed)),
                            JSON.Member("rule", defect.modelled.map { .string($0.rule) } ?? .null),
                            JSON.Member("scenarios", .integer(Int64(check.scenarios))),
                            JSON.Member("found", .array(check.found.map(JSON.string))),
                            JSON.Member("faults", .array(check.faults.map(JSON.string))),
                        ])
                    }))
        ])
    }
}

import EntryCode
package import Verification

/// Which historic defects are modelled and which are not: `docs/coverage.md`, as `gatehouse coverage` prints it.
package enum CoverageDocument {
    /// The page in Markdown.
    package static func markdown(_ catalogue: DefectCatalogue = .shipped) -> String {
        let modelled = catalogue.defects.filter { $0.modelled != nil }
        var text = """
            # Historic defects: what is modelled and what is not

            Made by `gatehouse coverage` from the files in `defects/`; a test compares. Of \(catalogue.defects.count) defects \
            \(modelled.count) are modelled: the rule finds the broken table in the scenarios named, and the fixed table holds
            there (`gatehouse defects --check`).

            ## Modelled

            | defect | year | rule that finds it | derived from | scenarios |
            |---|---|---|---|---|

            """
        for defect in modelled {
            guard let model = defect.modelled else { continue }
            var scenarios = model.scenarios.map { "`\($0)`" }.joined(separator: " ")
            if model.nesting > 0 { scenarios += " with `--nesting \(model.nesting)`" }
            if let xen = model.xen { scenarios += " on Xen \(xen.rawValue)" }
            let note = model.note.isEmpty ? "" : " " + escaped(model.note)
            text +=
                "| `\(defect.id)`: \(escaped(defect.title)).\(note) | \(defect.year) | `\(model.rule)` | \(model.kernel) | \(scenarios) |\n"
        }
        text += "\n## Rules and the defects that they find\n\n| rule | defects |\n|---|---|\n"
        for rule in Rule.all {
            let found = modelled.filter { $0.modelled?.rule == rule.id }.map { "`\($0.id)`" }
            if !found.isEmpty { text += "| `\(rule.id)` | \(found.joined(separator: ", ")) |\n" }
        }
        text += "\n## Not modelled\n\n| defect | year | why not |\n|---|---|---|\n"
        for defect in catalogue.defects {
            guard case .notModelled(let reason) = defect.model else { continue }
            text += "| `\(defect.id)`: \(escaped(defect.title)) | \(defect.year) | \(escaped(reason)) |\n"
        }
        return text
    }

    /// A bar would end the cell.
    private static func escaped(_ text: String) -> String { text.replacing("|", with: "\\|") }
}

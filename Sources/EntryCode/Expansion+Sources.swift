import Assembler
import Machine

/// Tables with sources of their own.
extension Expansion {
    /// The generation's listings and the rows of the table; or the sources of a tree, around which the listings give what
    /// is missing.
    func codeTexts(rows: SourceText) -> [SourceText] {
        guard let sources else { return generation.listings + [rows] }
        func taken(_ text: SourceText, _ role: SourceText.Role) -> SourceText {
            var copy = text
            copy.role = role
            return copy
        }
        let definitions = generation.listings.map { taken($0, .definitions(without: sources.excluded)) }
        let rest = generation.listings.map { taken($0, .remainder(without: sources.excluded)) }
        return definitions + [taken(generation.tree.macros, .definitions(without: []))] + sources.units + [rows] + rest
    }

    /// What was not understood is a warning with its place; a reference that leads nowhere is an error, unless the
    /// sources had it when they were imported.
    mutating func noteGaps(_ program: Program) {
        guard let sources, let own = table.sources else { return }
        if let conventions = generation.tree.conventions, own.isBefore(conventions.since) {
            findings.append(
                ConfigurationFinding(
                    rule: ConfigurationFinding.notUnderstood, pointer: "",
                    message:
                        "kernels before \(conventions.since.text) hand events to C in other ways, which are not modelled: what breaks \(conventions.rules.sorted().joined(separator: ", ")) alone has no verdict",
                    location: own.files.first { $0.path.hasSuffix("entry_64.S") }?.path ?? ""))
        }
        for problem in sources.problems {
            findings.append(
                ConfigurationFinding(
                    rule: ConfigurationFinding.notUnderstood(isFatal: problem.isFatalAnywhere), pointer: "",
                    message: problem.message, location: "\(problem.file):\(problem.line):\(problem.column)"))
        }
        for gap in program.gaps {
            guard let symbol = gap.symbol else {
                findings.append(
                    ConfigurationFinding(
                        rule: ConfigurationFinding.notUnderstood(isFatal: gap.kind == .unterminated), pointer: "",
                        message: gap.message, location: gap.location))
                continue
            }
            if own.assumed.contains(symbol) {
                if gap.kind == .unknownData {
                    findings.append(
                        ConfigurationFinding(
                            rule: ConfigurationFinding.notUnderstood, pointer: "", message: gap.message,
                            location: gap.location))
                }
                continue
            }
            findings.append(
                ConfigurationFinding(
                    rule: "dangling-reference", pointer: "", message: gap.message, location: gap.location))
        }
    }

    /// Roles that the kernel's own code has under a local name: `gs_change` is `.Lgs_change` there.
    mutating func useLocalNames(_ program: Program) {
        guard sources != nil else { return }
        for (role, name) in generation.roles where program.address(of: name) == nil {
            if program.address(of: ".L" + name) != nil { generation.roles[role] = ".L" + name }
        }
    }
}

extension ConfigurationFinding {
    /// The rule of statements that were not understood.
    package static let notUnderstood = "not-understood"
    /// The rule of sources that no compiler takes.
    package static let unterminated = "unterminated"

    static func notUnderstood(isFatal: Bool) -> String { isFatal ? unterminated : notUnderstood }

    /// Rules whose findings do not keep a table from being run.
    package static let warnings: Set<String> = ["unreachable-entry", notUnderstood]
}

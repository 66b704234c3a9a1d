import ArgumentParser
import EntryCode
import Reports
import Store
import Verification

struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Compare two tables: what changed in them, and per scenario what is fixed, regressed, still violated or holds.",
        discussion: "Exits with 0, with 1 where something regressed, with 2 where one of them cannot be run.")

    @Argument(help: "A file, '-' for standard input, or the name of a shipped table.")
    var base: String

    @Argument(help: "The same, for the table to compare with it.")
    var head: String

    @OptionGroup var selection: SelectionOptions
    @OptionGroup var source: KernelOptions

    @Option(help: "json or text; text has at most 72 columns, to be pasted into a mail.")
    var format: DocumentFormat = .text

    func run() throws {
        if base == "-" && head == "-" { throw CommandError("standard input is one table") }
        let library = try source.library()
        let old = try readTable(base, library)
        let new = try readTable(head, library)
        let (comparison, _, _) = try compare(
            (old.name ?? base, old), (new.name ?? head, new), selection, library)
        try writeOutput(format == .json ? comparison.json.prettyBytes : [UInt8](comparison.text.utf8))
        switch comparison.verdict {
        case "regressed": throw ExitCode(1)
        case "invalid": throw ExitCode(2)
        default: break
        }
    }
}

/// Runs two tables and compares what they came to.
func compare(
    _ base: (name: String, table: EntryTable), _ head: (name: String, table: EntryTable),
    _ selection: SelectionOptions, _ library: KernelLibrary
) throws -> (comparison: Comparison, base: SimulationResult, head: SimulationResult) {
    let before = selection.simulate(base.table, library)
    let after = selection.simulate(head.table, library)
    if before.results.isEmpty && before.verdict != .invalid && after.results.isEmpty && after.verdict != .invalid {
        throw CommandError("no scenario of either table matches")
    }
    func side(_ name: String, _ table: EntryTable, _ result: SimulationResult) -> Comparison.Side {
        Comparison.Side(name: name, id: Digest(of: table.document.text.utf8).hex, table: table, result: result)
    }
    let comparison = Comparison(
        base: side(base.name, base.table, before), before, head: side(head.name, head.table, after), after,
        changes: TableChange.all(from: base.table.document, to: head.table.document))
    return (comparison, before, after)
}

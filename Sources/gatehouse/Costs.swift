import ArgumentParser
import EntryCode
import Reports
import Verification

struct Costs: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare what two tables cost in the same scenarios: counts of what is executed, no cycles.")

    @Argument(help: "A file, '-' for standard input, or the name of a shipped table.")
    var base: String

    @Argument(help: "The same, for the table to compare with it.")
    var head: String

    @OptionGroup var selection: SelectionOptions
    @OptionGroup var source: KernelOptions

    @Option(help: "json or text.")
    var format: DocumentFormat = .text

    func run() throws {
        let library = try source.library()
        var results: [(name: String, result: SimulationResult)] = []
        for argument in [base, head] {
            let table = try readTable(argument, library)
            let result = selection.simulate(table, library)
            if result.results.contains(where: { $0.ending == .notRun }) {
                throw CommandError("\(argument): not every scenario was run; there is nothing to compare")
            }
            if result.verdict == .invalid {
                throw CommandError(
                    "\(argument) cannot be run; 'gatehouse check \(shellWord(argument))' says why")
            }
            results.append((table.name ?? argument, result))
        }
        let comparison = CostComparison(base: results[0], head: results[1])
        if comparison.rows.isEmpty { throw CommandError("no scenario of both tables matches") }
        try writeOutput(format == .json ? comparison.json.prettyBytes : [UInt8](comparison.text.utf8))
    }
}

struct Coverage: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print which historic defects are modelled and which are not, as docs/coverage.md has it.")

    func run() throws { try writeOutput(CoverageDocument.markdown()) }
}

import API
import ArgumentParser
import EntryCode
import Glibc
import Reports
import Store
import Verification

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Simulate a table and report: exit 0 if it holds, 1 if it is violated, 2 otherwise.")

    @Argument(help: "A file, '-' for standard input, or the name of a shipped table.")
    var table: String

    @OptionGroup var selection: SelectionOptions
    @OptionGroup var source: KernelOptions

    @Option(help: "json, text, wide, csv or ndjson.")
    var format: Format = .text

    func run() throws {
        let library = try source.library()
        let entryTable = try readTable(table, library)
        let request = selection.request
        var start = timespec()
        clock_gettime(CLOCK_MONOTONIC, &start)
        let result = entryTable.simulate(request, kernels: library, runner: ConcurrentRunner())
        var end = timespec()
        clock_gettime(CLOCK_MONOTONIC, &end)
        let elapsed = Double(end.tv_sec - start.tv_sec) + Double(end.tv_nsec - start.tv_nsec) / 1e9
        if result.results.isEmpty && result.verdict != .invalid {
            throw CommandError(
                "no scenario matches; 'gatehouse check \(shellWord(table)) --format wide' lists them all")
        }
        var report = Report(
            result: result, request: request,
            configuration: Report.Configuration(
                id: Digest(of: entryTable.document.text.utf8).hex, name: entryTable.name),
            kernel: entryTable.kernel, elapsed_seconds: elapsed)
        report.command = Report.Command(table: table, machine: selection.machineWords, selection: selection.words)
        switch format {
        case .json: try writeOutput(report.json.prettyBytes)
        case .text: try writeOutput(report.text)
        case .wide: try writeOutput(report.wide)
        case .csv: try writeOutput(report.csv)
        case .ndjson: try writeOutput(ScenarioRecord.ndjson(ScenarioRecord.all(of: result)))
        }
        switch result.verdict {
        case .holds: break
        case .violated: throw ExitCode(1)
        case .undecided, .invalid: throw ExitCode(2)
        }
    }
}

extension Format: ExpressibleByArgument {}

import API
import ArgumentParser
import EntryCode
import Glibc
import KernelSource
import Reports
import Store
import Verification

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Simulate a table and report: exit 0 if it holds, 1 if it is violated, 2 otherwise.")

    @Argument(help: "A file, '-' for standard input, or the name of a shipped table.")
    var table: String

    @Option(
        help: ArgumentHelp(
            "A patch to try on it: a diff, a mail, an mbox, or a reply that quotes one; '-' for standard input.",
            valueName: "file"))
    var patch: String?

    @OptionGroup var selection: SelectionOptions
    @OptionGroup var source: KernelOptions

    @Option(help: "json, text, wide, csv or ndjson.")
    var format: Format = .text

    func run() throws {
        let library = try source.library()
        let entryTable = try readTable(table, library)
        if let patch { return try checkPatch(patch, entryTable, library) }
        let request = selection.request
        let start = uptime_seconds()
        let result = selection.simulate(entryTable, library)
        let elapsed = uptime_seconds() - start
        if result.results.isEmpty && result.verdict != .invalid {
            throw CommandError(
                "no scenario matches; 'gatehouse check \(shellWord(table)) --format wide' lists them all")
        }
        var report = Report(
            result: result, request: request,
            configuration: Report.Configuration(
                id: Digest(of: entryTable.document.text.utf8).hex, name: entryTable.name),
            kernel: entryTable.kernel, elapsed_seconds: elapsed, timeLimit_seconds: selection.timeLimit)
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

// MARK: With a patch

extension Check {
    /// Applies the patch, then says what it did, what that changes, and what the new table comes to.
    private func checkPatch(_ path: String, _ base: EntryTable, _ library: KernelLibrary) throws {
        if format != .json && format != .text { throw CommandError("a patch is answered as json or text") }
        let input = try readWhole(path, limit_bytes: SourceLimits().input_bytes)
        let outcome = PatchApplication.apply(input, to: base.document, kernels: library)
        guard let document = outcome.document else {
            try writeOutput(
                format == .json
                    ? JSON.object([JSON.Member("patch", outcome.json)]).prettyBytes
                    : [UInt8](fitted(outcome.text).utf8))
            throw CommandError("\(path): nothing of it was applied to \(table)")
        }
        let head: EntryTable
        do throws(TableFaults) {
            head = try EntryTable.read(document, kernels: library)
        } catch {
            let lines = error.faults.map { printable("\($0.pointer): \($0.message) [\($0.code)]") }
            throw CommandError("\(path) makes no entry table of \(table):\n  " + lines.joined(separator: "\n  "))
        }
        let name = base.name ?? table
        let (comparison, _, result) = try compare(
            (name, base), ("\(name) + \(path)", head), selection, library)
        let report = Report(
            result: result, request: selection.request,
            configuration: Report.Configuration(
                id: Digest(of: head.document.text.utf8).hex, name: comparison.head.name), kernel: head.kernel,
            timeLimit_seconds: selection.timeLimit)
        if format == .json {
            try writeOutput(
                JSON.object([
                    JSON.Member("patch", outcome.json), JSON.Member("comparison", comparison.json),
                    JSON.Member("report", report.json),
                ]).prettyBytes)
        } else {
            try writeOutput(
                fitted(outcome.text) + "\n" + comparison.text
                    + (result.verdict == .invalid ? "" : "\n" + report.text))
        }
        switch result.verdict {
        case .holds: if !outcome.isComplete { throw ExitCode(2) }
        case .violated: throw ExitCode(1)
        case .undecided, .invalid: throw ExitCode(2)
        }
    }
}

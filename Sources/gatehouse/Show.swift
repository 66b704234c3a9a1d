import API
import ArgumentParser
import EntryCode
import Reports
import Verification
import XenPV

struct Listing: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the entry code that a table expands to, in AT&T syntax.",
        discussion: """
            The text can be edited and sent back as 'routines' of a table, whole routines of it or all; unchanged, it \
            changes nothing. What differs between platforms, or before alternatives are applied, stands in '.if' blocks. \
            With --platform the text is that platform's alone, with addresses, and replaces code there only.
            """)

    @Argument(help: "A file, '-' for standard input, or the name of a shipped table.")
    var table: String

    @Argument(help: "Only this routine.")
    var routine: String?

    @Option(help: "Only the code of this platform; otherwise one text for all of them.")
    var platform: Platform?

    @OptionGroup var source: KernelOptions

    func run() throws {
        let library = try source.library()
        let entryTable = try readTable(table, library)
        let listing: TableListing
        do throws(InvalidConfiguration) {
            listing = try entryTable.listing(for: platform, kernels: library)
        } catch {
            throw CommandError(describe(error, platform ?? Platform.allCases.first))
        }
        guard let text = routine.map({ listing.text(of: $0) }) ?? listing.text else {
            let hint = nearestName(to: routine ?? "", among: listing.routines).map { "; did you mean '\($0)'?" } ?? ""
            throw CommandError("there is no routine '\(routine ?? "")' in this table\(hint)")
        }
        try writeOutput(text)
    }
}

/// Why a table cannot be run on a platform; warnings apart.
private func describe(_ invalid: InvalidConfiguration, _ platform: Platform?) -> String {
    func lines(_ findings: [ConfigurationFinding]) -> String {
        findings.map { finding in
            let place = finding.pointer.isEmpty ? finding.location : finding.pointer
            return printable("  \(place.isEmpty ? "(table)" : place): \(finding.message) [\(finding.rule)]") + "\n"
        }.joined()
    }
    let warnings = invalid.findings.filter(\.isWarning)
    return "the table cannot be run\(platform.map { " on \($0.rawValue)" } ?? ""):\n"
        + lines(invalid.findings.filter { !$0.isWarning })
        + (warnings.isEmpty ? "" : "Warnings about the table:\n" + lines(warnings))
}

struct Trace: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show every step of one scenario.")

    @Argument(help: "A file, '-' for standard input, or the name of a shipped table.")
    var table: String

    @Argument(help: "The scenario's name: platform/event/context/probe.")
    var scenario: String

    @Option(help: "Release of Xen: 4.6 or 4.17; otherwise the table's own.")
    var xen: XenVersion?

    @Option(help: "json, text or ndjson.")
    var format: TraceFormat = .text

    @OptionGroup var source: KernelOptions

    func run() throws {
        let library = try source.library()
        let entryTable = try readTable(table, library)
        var request = SimulationRequest()
        request.xen = xen
        let traced: (result: ScenarioResult, trace: TraceRecorder)?
        do throws(InvalidConfiguration) {
            traced = try entryTable.trace(scenario: scenario, request, kernels: library)
        } catch {
            throw CommandError(describe(error, Platform.allCases.first { scenario.hasPrefix($0.rawValue + "/") }))
        }
        guard let traced else {
            throw CommandError(
                "there is no scenario '\(scenario)'; 'gatehouse check \(shellWord(table)) --format wide' lists them")
        }
        let report = TraceReport(traced.result, traced.trace)
        switch format {
        case .json: try writeOutput(report.json.prettyBytes)
        case .text: try writeOutput(report.text)
        case .ndjson: try writeOutput(report.ndjson)
        }
    }
}

struct Kernels: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the entry tables that ship with the program, or print one.")

    @Argument(help: "Print this table as a document to start from.")
    var name: String?

    @Flag(help: "As JSON.")
    var json = false

    @OptionGroup var source: KernelOptions

    func run() throws {
        let library = try source.library()
        guard let name else {
            if json {
                try writeOutput(KernelDocument.list(library).prettyBytes)
            } else {
                try writeOutput(KernelDocument.text(library))
            }
            return
        }
        guard let kernel = library.kernel(named: name) else {
            throw CommandError(
                "no table '\(name)' ships with the program: there are \(library.names.joined(separator: ", "))")
        }
        try writeOutput(kernel.document.prettyBytes)
    }
}

struct Rules: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the invariants, or explain one.")

    @Argument(help: "Only this rule.")
    var id: String?

    @Flag(help: "As JSON.")
    var json = false

    func run() throws {
        var rules = Rule.all
        if let id {
            guard let rule = Rule.named(id) else {
                let hint = nearestName(to: id, among: rules.map(\.id)).map { "; did you mean '\($0)'?" } ?? ""
                throw CommandError("there is no rule '\(id)'\(hint)")
            }
            rules = [rule]
        }
        if json { try writeOutput(document(rules).prettyBytes) } else { try writeOutput(RuleDocument.text(rules)) }
    }
}

extension Rules {
    private func document(_ rules: [Rule]) -> JSON {
        if id != nil, let rule = rules.first { return RuleDocument.one(rule) }
        return RuleDocument.list(rules)
    }
}

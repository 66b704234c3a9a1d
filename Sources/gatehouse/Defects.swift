import API
import ArgumentParser
import EntryCode
import Reports
import Verification

struct Defects: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the historic defects, explain one, print its tables, or run them.")

    @Argument(help: "Only this defect.")
    var id: String?

    @Flag(help: "Print the table with the defect, as a document to submit.")
    var broken = false

    @Flag(help: "Print the table without it.")
    var fixed = false

    @Flag(help: "As JSON.")
    var json = false

    @Flag(
        help:
            "Run both tables: exit 0 if the rule finds the broken one and the fixed one holds, 1 otherwise. Without an id, of every modelled defect."
    )
    var check = false

    @Option(
        name: .customLong("defects"),
        help: ArgumentHelp(
            "Take the defects from this folder, laid out as 'defects' in the source, instead of those that ship.",
            valueName: "folder"))
    var folder: String?

    @OptionGroup var source: KernelOptions

    func validate() throws {
        if (broken || fixed) && id == nil { throw ValidationError("--broken and --fixed need the id of a defect") }
        if [broken, fixed, check].count(where: { $0 }) > 1 {
            throw ValidationError("--broken, --fixed and --check exclude each other")
        }
    }

    func run() throws {
        let kernels = try source.library()
        let catalogue = try folder.map(readCatalogue) ?? .shipped
        if let fault = catalogue.faults.first { throw CommandError("defects: \(fault)") }
        let defect = try id.map { try find($0, in: catalogue) }
        if broken || fixed {
            guard let defect else { return }
            return try printTable(defect, broken ? .broken : .fixed, kernels)
        }
        if check {
            return try runTables(defect.map { [$0] } ?? catalogue.defects.filter { $0.modelled != nil }, kernels)
        }
        switch (defect, json) {
        case (let defect?, true): try writeOutput(DefectDocument.one(defect).prettyBytes)
        case (let defect?, false): try writeOutput(DefectDocument.text(defect))
        case (nil, true): try writeOutput(DefectDocument.list(catalogue).prettyBytes)
        case (nil, false): try writeOutput(DefectDocument.text(catalogue))
        }
    }

    private func find(_ id: String, in catalogue: DefectCatalogue) throws -> Defect {
        if let defect = catalogue[id] { return defect }
        let hint = nearestName(to: id, among: catalogue.defects.map(\.id)).map { "; did you mean '\($0)'?" } ?? ""
        throw CommandError("there is no defect '\(id)'\(hint)")
    }

    private func printTable(_ defect: Defect, _ side: DefectSide, _ kernels: KernelLibrary) throws {
        let document: JSON?
        do throws(DefectFault) {
            document = try defect.document(side, kernels: kernels)
        } catch {
            throw CommandError("\(defect.id): \(error.pointer): \(error.message)")
        }
        guard let document else { throw notModelled(defect) }
        try writeOutput(document.prettyBytes)
    }

    private func runTables(_ defects: [Defect], _ kernels: KernelLibrary) throws {
        var checks: [(defect: Defect, check: DefectCheck)] = []
        for defect in defects {
            guard let check = defect.check(kernels: kernels, runner: ConcurrentRunner()) else {
                throw notModelled(defect)
            }
            checks.append((defect, check))
        }
        if json {
            try writeOutput(DefectCheckDocument.json(checks).prettyBytes)
        } else {
            try writeOutput(DefectCheckDocument.text(checks))
        }
        if !checks.allSatisfy(\.check.isConfirmed) { throw ExitCode(1) }
    }

    private func notModelled(_ defect: Defect) -> CommandError {
        guard case .notModelled(let reason) = defect.model else { return CommandError("\(defect.id) has no tables") }
        return CommandError("\(defect.id) is not modelled: \(reason)")
    }
}

/// Reads a folder of defects.
private func readCatalogue(_ folder: String) throws -> DefectCatalogue {
    var files: [(path: String, text: [UInt8])] = []
    for name in try namesInFolder(folder) where name.hasSuffix(".json") {
        files.append((name, try readWhole("\(folder)/\(name)")))
    }
    return DefectCatalogue(files: files)
}

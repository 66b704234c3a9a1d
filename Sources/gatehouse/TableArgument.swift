import ArgumentParser
import EntryCode
import Glibc
import Reports
import Verification
import XenPV

/// Largest file that is read as an entry table.
let fileLimit_bytes = 2 << 20

/// Reads a table from a file, from standard input (`-`), or by the name of a shipped one.
func readTable(_ argument: String, _ library: KernelLibrary = .shipped) throws -> EntryTable {
    do {
        if argument != "-", let kernel = library.kernel(named: argument) {
            var table = try EntryTable.read(kernel.document, kernels: library)
            table.name = kernel.name
            return table
        }
        return try EntryTable.read(try readFile(argument, library), kernels: library)
    } catch let faults as TableFaults {
        var lines = faults.faults.map { fault in
            // A key may hold a newline: one fault stays one line.
            printable("\(fault.pointer.isEmpty ? "(document)" : fault.pointer): \(fault.message) [\(fault.code)]")
        }
        if faults.count > lines.count { lines.append("(\(faults.count) faults; the rest is not listed)") }
        throw CommandError("\(argument) is not an entry table:\n  " + lines.joined(separator: "\n  "))
    }
}

private func readFile(_ path: String, _ library: KernelLibrary) throws -> [UInt8] {
    let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 {
        let reason = String(cString: strerror(errno))
        let names = library.names
        let hint = nearestName(to: path, among: names).map { "; did you mean '\($0)'?" } ?? ""
        throw CommandError(
            "\(path): \(reason); give a file, '-', or a shipped table (\(names.joined(separator: ", ")))\(hint)")
    }
    defer { if path != "-" { close(descriptor) } }
    return try readAll(descriptor, path)
}

func readAll(_ descriptor: Int32, _ path: String, limit_bytes: Int = fileLimit_bytes) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        if count < 0 { throw CommandError("\(path): \(String(cString: strerror(errno)))") }
        if count == 0 { return bytes }
        bytes += chunk[0..<count]
        if bytes.count > limit_bytes { throw CommandError("\(path): larger than \(limit_bytes) bytes") }
    }
}

extension Platform: ExpressibleByArgument {}
extension XenVersion: ExpressibleByArgument {}

/// Options that choose scenarios.
struct SelectionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Only this platform; may be repeated.", valueName: "name"))
    var platform: [Platform] = []

    @Option(help: ArgumentHelp("Release of Xen: 4.6 or 4.17; otherwise the table's own.", valueName: "version"))
    var xen: XenVersion?

    @Option(help: ArgumentHelp("Only scenarios whose name matches this pattern; may be repeated.", valueName: "glob"))
    var scenarios: [String] = []

    @Option(
        parsing: .unconditional,
        help: "Events that may come while others are handled, at every instruction: 0 to 3.")
    var nesting = 0

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Seconds that a simulation may take; what is not decided by then is undecided. Otherwise any time.",
            valueName: "s"))
    var timeLimit: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Nested events that a simulation tries.", valueName: "n"))
    var nestedRuns = Int(RunLimits().nestedRuns)

    @Flag(help: "Say once a second how far it is; with nested events a terminal is told without.")
    var progress = false

    @Flag(help: "Stop after the first violated scenario.")
    var stopAtFirst = false

    /// The options that say which machine is simulated, as they were given.
    var machineWords: [String] { xen.map { ["--xen", $0.rawValue] } ?? [] }

    /// The options that choose scenarios, as they were given.
    var words: [String] {
        platform.flatMap { ["--platform", $0.rawValue] } + scenarios.flatMap { ["--scenarios", $0] }
            + (stopAtFirst ? ["--stop-at-first"] : [])
    }

    /// Where the parser looks for faults: it shows the usage of the command then.
    func validate() throws {
        if !(0...SimulationRequest.nestingLimit).contains(nesting) {
            throw ValidationError("nesting is 0 to \(SimulationRequest.nestingLimit)")
        }
        if let timeLimit, !(1...86_400).contains(timeLimit) {
            throw ValidationError("time-limit is 1 to 86400 seconds")
        }
        _ = try checkedNestedRuns(nestedRuns)
    }

    var request: SimulationRequest {
        var limits = RunLimits()
        limits.nestedRuns = UInt64(clamping: nestedRuns)
        return SimulationRequest(
            selection: ScenarioSelection(
                platforms: platform.isEmpty ? Platform.allCases : platform, patterns: scenarios),
            xen: xen, stopAtFirst: stopAtFirst, nesting: nesting, limits: limits)
    }
}

/// Where kernels come from.
struct KernelOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Take the kernels from this folder, laid out as 'kernels' in the source, instead of those that ship.",
            valueName: "folder"))
    var kernels: String?

    /// The kernels that ship, or those of the folder; a fault of one of its files is an error.
    func library() throws -> KernelLibrary {
        guard let kernels else { return .shipped }
        var files: [(path: String, text: [UInt8])] = []
        for folder in try namesInFolder(kernels) {
            for name in (try? namesInFolder("\(kernels)/\(folder)")) ?? [] where !name.hasSuffix(".md") {
                let path = "\(kernels)/\(folder)/\(name)"
                files.append(("\(folder)/\(name)", try readWhole(path)))
            }
        }
        let library = KernelLibrary(files: files)
        if let fault = library.faults.first { throw CommandError("\(kernels): \(fault)") }
        if library.kernels.isEmpty { throw CommandError("\(kernels): no folder here holds a kernel.json and a table") }
        return library
    }
}

/// Reads a file of at most the size of a table, or of another limit; `-` is standard input.
func readWhole(_ path: String, limit_bytes: Int = fileLimit_bytes) throws -> [UInt8] {
    let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw CommandError("\(path): \(String(cString: strerror(errno)))") }
    defer { if path != "-" { close(descriptor) } }
    return try readAll(descriptor, path, limit_bytes: limit_bytes)
}

/// Names in a folder in their order, but for hidden ones.
func namesInFolder(_ folder: String) throws -> [String] {
    guard let directory = opendir(folder) else { throw CommandError("\(folder): \(String(cString: strerror(errno)))") }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
}

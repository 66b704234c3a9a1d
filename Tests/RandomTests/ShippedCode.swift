import EntryCode
import Machine
import Reports
import Synchronization
import Testing
import Verification

/// One shipped table expanded for one platform, and its routines as `gatehouse listing` prints them.
struct ShippedCode: Sendable {
    let kernel: Kernel
    let image: EntryImage
    let scenarios: [Scenario]
    /// Routines with an `ENTRY` of their own: name and text without the comments that tell addresses.
    let routines: [(name: String, text: String)]

    /// Expanded once each, by whoever is first.
    static func of(_ kernel: String, _ platform: Platform) throws -> ShippedCode {
        let key = "\(kernel)/\(platform.rawValue)"
        if let known = cache.withLock({ $0[key] }) { return known }
        let made = try ShippedCode(kernel, platform)
        return cache.withLock { known in
            let one = known[key] ?? made
            known[key] = one
            return one
        }
    }

    private static let cache = Mutex<[String: ShippedCode]>([:])

    private init(_ name: String, _ platform: Platform) throws {
        kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        image = try EntryTable.read(kernel.document).expand(for: platform)
        scenarios = image.scenarios()
        routines = ShippedCode.routines(of: image)
    }

    /// The routines of an image that a table may replace: not those that stand for C and for interrupted code.
    static func routines(of image: EntryImage) -> [(name: String, text: String)] {
        var replaceable: Set<String> = []
        for routine in image.program.routines where routine.count > 0 {
            let file = image.program.files[Int(image.program.lines[routine.first].file)]
            if file != "c-functions" && file != "interrupted-code" { replaceable.insert(routine.name) }
        }
        var found: [(name: String, text: String)] = []
        var lines: [Substring] = []
        for line in ListingDocument.text(of: image).split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty {
                lines.removeAll()
                continue
            }
            lines.append(line.firstRange(of: "\t# ").map { line[..<$0.lowerBound] } ?? line)
            guard line.hasPrefix("END("), let first = lines.first, first.hasPrefix("ENTRY(") else { continue }
            let name = String(first.dropFirst(6).dropLast())
            if replaceable.contains(name), line == "END(\(name))" {
                found.append((name, lines.joined(separator: "\n") + "\n"))
            }
            lines.removeAll()
        }
        return found
    }

    /// Routines that the processor comes through in a scenario.
    func routines(of scenario: Scenario) -> [(name: String, text: String)] {
        var run = ScenarioRun(image: image)
        run.recorder = TraceRecorder(image: image, limit: run.limits.traceSteps)
        _ = run.execute(scenario)
        var visited: Set<Substring> = []
        for step in run.recorder?.steps ?? [] { visited.insert(step.symbol.prefix { $0 != "+" }) }
        return routines.filter { visited.contains($0.name[...]) }
    }
}

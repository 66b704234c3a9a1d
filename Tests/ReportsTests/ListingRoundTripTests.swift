import EntryCode
import Machine
import Reports
import Testing
import Verification

/// What a listing prints is a routine that a table can hold: nothing changes by sending it back.
struct ListingRoundTripTests {
    /// Routines of listings and rows; C functions and interrupted code are no part of a table.
    private static func routines(_ image: EntryImage, _ table: EntryTable) -> [String] {
        image.program.routines.filter { routine in
            guard routine.count > 0 else { return false }
            let file = image.program.files[Int(image.program.lines[routine.first].file)]
            return file.contains("/") || file == "entry-table"
        }.map(\.name)
    }

    private static func table(_ kernel: Kernel, with routines: [(name: String, text: String)]) throws -> EntryTable {
        guard case .object(var members) = kernel.document else { throw TableFaults(faults: []) }
        members.append(JSON.Member("routines", .object(routines.map { JSON.Member($0.name, .string($0.text)) })))
        return try EntryTable.read(.object(members))
    }

    @Test("a routine's listing, sent back, is the same code", arguments: KernelLibrary.shipped.names)
    func single(kernel name: String) throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        let table = try EntryTable.read(kernel.document)
        for (number, platform) in Platform.allCases.enumerated() {
            let image = try table.expand(for: platform)
            let names = Self.routines(image, table)
            #expect(names.count > 50)
            #if DEBUG
                // Each platform another share: an expansion without optimisation takes its time.
                let chosen = names.enumerated().filter { $0.offset % 12 == number }.map(\.element)
            #else
                let chosen = names
            #endif
            for routine in chosen {
                let text = try #require(ListingDocument.text(of: image, routine: routine))
                let again: EntryImage
                do {
                    again = try Self.table(kernel, with: [(routine, text)]).expand(for: platform)
                } catch {
                    Issue.record("\(platform.rawValue) \(routine): \(error)")
                    continue
                }
                #expect(
                    again.program.instructions == image.program.instructions
                        && again.program.addresses == image.program.addresses
                        && again.program.symbols == image.program.symbols, "\(platform.rawValue) \(routine)")
            }
        }
    }

    @Test("all of them together give the same verdicts", arguments: KernelLibrary.shipped.names)
    func all(kernel name: String) throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        let table = try EntryTable.read(kernel.document)
        for platform in Platform.allCases {
            let image = try table.expand(for: platform)
            let texts = try Self.routines(image, table).map { routine in
                (routine, try #require(ListingDocument.text(of: image, routine: routine)))
            }
            let again = try Self.table(kernel, with: texts)
            for (nesting, patterns) in [(0, [String]()), (1, ["*/*divide_error/*/return"])] {
                let request = SimulationRequest(
                    selection: ScenarioSelection(platforms: [platform], patterns: patterns), nesting: nesting)
                let (before, after) = (table.simulate(request), again.simulate(request))
                #expect(after.verdict == before.verdict, "\(after.findings)")
                #expect(Self.verdicts(after) == Self.verdicts(before))
            }
        }
    }

    private static func verdicts(_ result: SimulationResult) -> [String] {
        result.results.map {
            // The self test runs before alternatives are applied, and the listing shows the code behind that.
            let steps = $0.scenario.probe == .selfTest ? 0 : $0.steps
            return "\($0.scenario.name) \($0.verdict) \($0.violations.map(\.rule)) \(steps)"
        }
    }

    @Test("a trace says where each instruction of entry code was written", arguments: KernelLibrary.shipped.names)
    func sources(kernel name: String) throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        let table = try EntryTable.read(kernel.document)
        let result = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: ["*/*int3/user/return"])))
        #expect(result.results.count == 3)
        for scenario in result.results {
            let traced = try #require(try table.trace(scenario: scenario.scenario.name, SimulationRequest()))
            let report = TraceReport(traced.result, traced.trace)
            let steps = report.steps.filter { !$0.source.isEmpty && !$0.instruction.hasPrefix("(C function") }
            #expect(steps.count > 40)
            for step in steps where step.symbol.hasPrefix("error_entry+") {
                #expect(step.source.hasPrefix(kernel.generation.name + "/"), "\(step.step) \(step.source)")
            }
            #expect(report.text.contains("  # entry_64.s:"))
        }
    }
}

import EntryCode
import Machine
import Reports
import Testing
import Verification

/// What a listing prints is text that a table can hold: nothing changes by sending it back, anywhere.
struct ListingRoundTripTests {
    private static func table(_ kernel: Kernel, with routines: [(name: String, text: String)]) throws -> EntryTable {
        guard case .object(var members) = kernel.document else { throw TableFaults(faults: []) }
        members.append(JSON.Member("routines", .object(routines.map { JSON.Member($0.name, .string($0.text)) })))
        return try EntryTable.read(.object(members))
    }

    /// The code of a table on every platform, as it boots and once alternatives are applied.
    private static func programs(_ table: EntryTable, _ kernel: Kernel) throws -> [(name: String, program: Program)] {
        var found: [(name: String, program: Program)] = []
        for platform in Platform.allCases {
            for isPatched in kernel.generation.bootsUnpatched ? [true, false] : [true] {
                let image = try table.expand(for: platform, isPatched: isPatched)
                found.append(("\(platform.rawValue)\(isPatched ? "" : " before alternatives")", image.program))
            }
        }
        return found
    }

    private static func isSame(_ one: Program, _ other: Program) -> Bool {
        // Labels within routines are nobody's business but the routine's.
        func symbols(_ program: Program) -> [String: UInt64] { program.symbols.filter { !$0.key.hasPrefix(".L") } }
        return one.instructions == other.instructions && one.addresses == other.addresses
            && one.routines == other.routines && symbols(one) == symbols(other)
    }

    @Test("a routine's listing, sent back, is the same code everywhere", arguments: KernelLibrary.shipped.names)
    func single(kernel name: String) throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        let table = try EntryTable.read(kernel.document)
        let listing = try table.listing()
        let before = try Self.programs(table, kernel)
        #expect(listing.routines.count > 150)
        #if DEBUG
            // An expansion without optimisation takes its time.
            let chosen = listing.routines.enumerated().filter { $0.offset % 24 == 0 }.map(\.element) + ["error_entry"]
        #else
            let chosen = listing.routines
        #endif
        for routine in chosen {
            let text = try #require(listing.text(of: routine))
            do {
                let after = try Self.programs(try Self.table(kernel, with: [(routine, text)]), kernel)
                for (one, other) in zip(before, after) {
                    #expect(Self.isSame(one.program, other.program), "\(routine) on \(one.name)\n\(text)")
                }
            } catch {
                Issue.record("\(routine): \(error)\n\(text)")
            }
        }
    }

    @Test("all of them together give the same results everywhere", arguments: KernelLibrary.shipped.names)
    func all(kernel name: String) throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        let table = try EntryTable.read(kernel.document)
        let listing = try table.listing()
        let texts = try listing.routines.map { ($0, try #require(listing.text(of: $0))) }
        #expect(texts.map(\.1).joined(separator: "\n") == listing.text)
        let again = try Self.table(kernel, with: texts)
        for (one, other) in zip(try Self.programs(table, kernel), try Self.programs(again, kernel)) {
            #expect(Self.isSame(one.program, other.program), "\(one.name)")
        }
        for (nesting, patterns) in [(0, [String]()), (1, ["*/*divide_error/*/return"])] {
            let request = SimulationRequest(selection: ScenarioSelection(patterns: patterns), nesting: nesting)
            let (before, after) = (table.simulate(request), again.simulate(request))
            #expect(after.verdict == before.verdict, "\(after.findings)")
            #expect(after.results.count == before.results.count)
            for (one, other) in zip(before.results, after.results) {
                #expect(Self.described(other) == Self.described(one))
            }
        }
    }

    /// Everything but where instructions were written, and which defects of the kernel itself are known.
    private static func described(_ result: ScenarioResult) -> String {
        var plain = result
        for index in plain.violations.indices {
            plain.violations[index].source = ""
            plain.violations[index].known = nil
        }
        return "\(plain)"
    }

    @Test("the listing of one platform, sent back, changes nothing, and edited changes that platform alone")
    func platformAlone() throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-6.1"))
        let table = try EntryTable.read(kernel.document)
        let before = try Self.programs(table, kernel)
        for platform in Platform.allCases {
            let listing = try table.listing(for: platform)
            #expect(listing.text.hasPrefix("/*\n * Expanded for \(platform.rawValue) alone"))
            let texts = try listing.routines.map { ($0, try #require(listing.text(of: $0))) }
            let same = try Self.programs(try Self.table(kernel, with: texts), kernel)
            for (one, other) in zip(before, same) {
                #expect(Self.isSame(one.program, other.program), "\(platform.rawValue): \(one.name)")
            }
            let edited = try #require(listing.text(of: "error_entry")).replacing(
                ".Lerror_kernelspace:\n", with: ".Lerror_kernelspace:\n\tswapgs\n")
            let changed = try Self.programs(try Self.table(kernel, with: [("error_entry", edited)]), kernel)
            for (one, other) in zip(before, changed) {
                #expect(
                    Self.isSame(one.program, other.program) == !one.name.hasPrefix(platform.rawValue),
                    "\(platform.rawValue): \(one.name)")
            }
        }
    }

    /// Fact F10: the self test runs before alternatives are applied, and a listing has that code, too.
    @Test("an unchanged routine hides nothing of a changed one that runs before alternatives")
    func beforeAlternatives() throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-6.1"))
        let table = try EntryTable.read(kernel.document)
        for listing in [try table.listing(), try table.listing(for: .xenPV)] {
            let changed = try #require(listing.text(of: "error_entry")).replacing(
                ".Lerror_kernelspace:\n", with: ".Lerror_kernelspace:\n\tswapgs\n")
            let request = SimulationRequest(
                selection: ScenarioSelection(platforms: [.xenPV], patterns: ["*/self-test*"]))
            var texts = [("error_entry", changed)]
            let alone = try Self.table(kernel, with: texts).simulate(request)
            #expect(alone.verdict == .violated && alone.results.count == 2)
            texts.append(("asm_exc_int3", try #require(listing.text(of: "asm_exc_int3"))))
            let both = try Self.table(kernel, with: texts).simulate(request)
            #expect(both.results.map(Self.described) == alone.results.map(Self.described))
        }
    }

    @Test("what differs stands in conditionals, and only that")
    func conditionals() throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-5.2"))
        let listing = try EntryTable.read(kernel.document).listing()
        let stub = try #require(listing.text(of: "divide_error"))
        #expect(stub.contains("\n.if !PLATFORM_XEN_PV\n\tclac\n.endif\n"), "\(stub)")
        #expect(stub.split(separator: "\n").count { $0 == "\tcall error_entry" } == 1, "\(stub)")
        let thunk = try #require(listing.text(of: "xen_divide_error"))
        #expect(!thunk.contains(".if"), "\(thunk)")
        #expect(listing.text(of: "no_such_routine") == nil)
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

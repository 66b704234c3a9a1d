import EntryCode
import TestSupport
import Testing
import Verification

/// Nested events: the shortcuts find what trying everything finds, more depth finds more, and names can be run again.
struct NestedTests {
    /// What a simulation found: rule, the chain of events with the routines that they interrupt, and where the cause lies.
    private func findings(_ result: SimulationResult) -> Set<String> {
        var found: Set<String> = []
        for scenario in result.results where scenario.verdict == .violated {
            let chain = scenario.scenario.injections.map { "\($0.symbol)@\($0.routine)" }.joined(separator: "+")
            for violation in scenario.violations where violation.severity == .violation {
                found.insert("\(scenario.scenario.platform.rawValue) \(violation.rule) \(chain) \(violation.routine)")
            }
        }
        return found
    }

    private func simulate(
        _ table: EntryTable, _ patterns: [String], nesting: Int, isExhaustive: Bool = false
    ) -> SimulationResult {
        var request = SimulationRequest(selection: ScenarioSelection(patterns: patterns), nesting: nesting)
        request.isExhaustive = isExhaustive
        return table.simulate(request)
    }

    /// Tables that break when events nest, each with the scenarios that show it.
    private static let broken: [(kernel: String, routine: String, old: String, new: String, pattern: String)] = [
        ("linux-5.3", "paranoid_exit", "\tSWAPGS_UNSAFE_STACK\n", "", "bare-metal-amd/entry_SYSCALL_64/user/return"),
        (
            "linux-5.3", "paranoid_entry", "\ttestl\t%edx, %edx\n\tjs\t.Lparanoid_entry_kernel_gs\n", "",
            "bare-metal-amd/divide_error/kernel/return"
        ),
        // As it is: the way out moves RSP over the frame that it copies.
        ("linux-5.3", "xen_iret", "\tpushq\t$0\n", "\tpushq\t$0\n", "xen-pv/divide_error/user/return"),
    ]

    @Test("shortcuts find what trying every boundary finds", arguments: broken.indices)
    func shortcuts(index: Int) throws {
        let change = Self.broken[index]
        var variant = try Variant(change.kernel)
        try variant.edit(change.routine, change.old, change.new)
        let table = try variant.table()
        let quick = simulate(table, [change.pattern], nesting: 1)
        let thorough = simulate(table, [change.pattern], nesting: 1, isExhaustive: true)
        #expect(findings(quick) == findings(thorough))
        #expect(!findings(quick).isEmpty, "nothing breaks: \(change)")
        #expect(quick.nestedRuns <= thorough.nestedRuns)
    }

    @Test func unchangedEntryCodeHoldsWithEverythingNested() throws {
        let table = try Variant("linux-6.1").table()
        for pattern in ["bare-metal-*/asm_exc_nmi/kernel/return", "bare-metal-intel/entry_SYSCALL_64/user/return"] {
            let result = simulate(table, [pattern], nesting: 1)
            #expect(findings(result) == [])
            // What came was tried; how often is the shortcuts' business.
            #expect(result.boundaries > 100)
            #expect(result.nestedRuns > 0)
        }
    }

    @Test func whatOneEventFindsTwoFind() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("paranoid_exit", "\tSWAPGS_UNSAFE_STACK\n", "")
        let table = try variant.table()
        let pattern = "bare-metal-amd/entry_INT80_compat/user/return"
        let none = findings(simulate(table, [pattern], nesting: 0))
        let one = findings(simulate(table, [pattern], nesting: 1))
        let two = findings(simulate(table, [pattern], nesting: 2))
        #expect(none.isSubset(of: one))
        #expect(one.isSubset(of: two))
        #expect(!one.isEmpty)
    }

    /// The word on the NMI stack belongs to no event, and is what one NMI leaves to the next.
    @Test func anNMIThatLeavesItsMarkIsFoundByTheNext() throws {
        var variant = try Variant("linux-6.1")
        let pattern = "bare-metal-intel/asm_exc_divide_error/kernel/return"
        #expect(findings(simulate(try variant.table(), [pattern], nesting: 2)) == [])
        try variant.edit("asm_exc_nmi", "\tmovq\t$0, 5*8(%rsp)\n", "")
        let table = try variant.table()
        #expect(findings(simulate(table, [pattern], nesting: 1)) == [])
        let two = simulate(table, [pattern], nesting: 2)
        let lost = try #require(two.results.first { !$0.scenario.injections.isEmpty && $0.verdict == .violated })
        #expect(lost.violations.map(\.rule).contains("progress"))
        #expect(lost.scenario.injections.map(\.event) == [.nmi, .nmi])
    }

    /// A machine check between an NMI's own instructions and an NMI inside of it are no business of entry code's.
    @Test func threeEventsInAnNMIHold() throws {
        for (kernel, entry) in [("linux-6.1", "asm_exc_nmi"), ("linux-5.3", "nmi")] {
            let result = simulate(
                try Variant(kernel).table(), ["bare-metal-intel/\(entry)/kernel/return"], nesting: 3)
            #expect(findings(result) == [], "\(kernel)")
            #expect(result.nestedRuns > 1_000)
        }
    }

    /// Up to 5.7 the C handler of #DB may meet another, for which `shift_ist` keeps the stack (`DB1`).
    @Test func aSecondDebugExceptionNeedsAStackOfItsOwn() throws {
        var variant = try Variant("linux-5.3")
        let pattern = "bare-metal-intel/debug/kernel/return"
        #expect(findings(simulate(try variant.table(), [pattern], nesting: 1)) == [])
        try variant.entry("debug", "shift_ist", .null)
        try variant.entry("debug", "ist_offset", .null)
        let one = simulate(try variant.table(), [pattern], nesting: 1)
        #expect(findings(one).contains { $0.contains("live-frame-overwritten") && $0.contains("debug@do_debug") })
    }

    @Test func aNestedScenarioRunsAgainByItsName() throws {
        let table = try Variant("linux-5.3").table()
        let result = simulate(table, ["xen-pv/divide_error/user/return"], nesting: 1)
        let nested = result.results.filter { !$0.scenario.injections.isEmpty }
        // Known of 5.3: the way out of a PV guest moves RSP over the frame that it copies (fixed by 5c8f6a2e316e).
        #expect(!nested.isEmpty)
        for scenario in nested.prefix(4) {
            let traced = try #require(
                try table.trace(scenario: scenario.scenario.name, SimulationRequest()), "\(scenario.scenario.name)")
            #expect(traced.result.verdict == .violated, "\(scenario.scenario.name)")
            #expect(
                traced.result.violations.map(\.rule) == scenario.violations.map(\.rule), "\(scenario.scenario.name)")
        }
        #expect(
            try table.trace(scenario: "xen-pv/divide_error/user/return+nmi@nowhere:99999", SimulationRequest()) == nil)
        #expect(try table.trace(scenario: "xen-pv/divide_error/user/return+nmi", SimulationRequest()) == nil)
    }
}

import EntryCode
import Foundation
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

    /// An interrupt ends with softirqs, in which the next one comes: the interrupt stack is in use all the while.
    @Test(arguments: [
        (
            "linux-6.1", "declare-idtentry/handlers.s", "\tmovb\t$1, PER_CPU_VAR(hardirq_stack_inuse)\n", "",
            "asm_sysvec_apic_timer_interrupt"
        ),
        // The count goes up and down again, and says that the stack is free.
        (
            "linux-5.3", "idtentry/entry_64.s", "\tincl\tPER_CPU_VAR(irq_count)\n\tjnz",
            "\tcmpl\t$-1, PER_CPU_VAR(irq_count)\n\tjnz", "apic_timer_interrupt"
        ),
    ])
    func anInterruptComesInASoftirq(kernel: String, file: String, old: String, new: String, event: String) throws {
        let pattern = "bare-metal-amd/\(event)/kernel/return"
        let kernels = try changed(file, old, new)
        let table = try EntryTable.read(.object([JSON.Member("kernel", .string(kernel))]), kernels: kernels)
        let result = table.simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: [pattern]), nesting: 1), kernels: kernels)
        let isFound = result.results.contains { scenario in
            scenario.scenario.injections.contains { $0.event == .interrupt }
                && scenario.violations.contains { ["live-frame-overwritten", "pt-regs-faithful"].contains($0.rule) }
        }
        #expect(isFound, "\(result.results.filter { $0.verdict == .violated }.map(\.scenario.name).prefix(5))")
        #expect(findings(simulate(try Variant(kernel).table(), [pattern], nesting: 1)) == [])
    }

    /// The link at the top of the interrupt stack is where the entry code of each kernel puts it.
    @Test(arguments: [
        (
            "linux-4.4", "idtentry-4.4/entry_64.s", "\tcmovzq\tPER_CPU_VAR(irq_stack_ptr)",
            "\tmovq\tPER_CPU_VAR(irq_stack_ptr)"
        ),
        ("linux-6.1", "declare-idtentry/handlers.s", "\tjne\t.Lirq_same_stack_\\@\n", ""),
    ])
    func theInterruptStackIsNotStartedAnew(kernel: String, file: String, old: String, new: String) throws {
        let kernels = try changed(file, old, new)
        let table = try EntryTable.read(.object([JSON.Member("kernel", .string(kernel))]), kernels: kernels)
        let result = table.simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["bare-metal-amd/*timer*/kernel-softirq/return"])),
            kernels: kernels)
        #expect(result.results.count == 1)
        #expect(
            result.results.allSatisfy { $0.violations.contains { $0.rule == "live-frame-overwritten" } },
            "\(result.results.map(\.violations))")
    }

    /// A folder of the shipped kernels with a piece of a listing replaced, wherever it stands.
    private func changed(_ file: String, _ old: String, _ new: String) throws -> KernelLibrary {
        let kernels = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../kernels")
        let folder = String(try #require(file.split(separator: "/").first))
        var isThere = false
        let names = try FileManager.default.contentsOfDirectory(atPath: kernels.appending(path: folder).path).sorted()
        let files = try names.map { name -> (path: String, text: [UInt8]) in
            let path = "\(folder)/\(name)"
            let text = String(decoding: try Data(contentsOf: kernels.appending(path: path)), as: UTF8.self)
            guard path == file else { return (path, Array(text.utf8)) }
            isThere = text.contains(old)
            return (path, Array(text.replacing(old, with: new).utf8))
        }
        #expect(isThere, "'\(old)' does not stand in \(file)")
        return KernelLibrary(files: files)
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
        try variant.entry("debug", "ist_offset", 0)
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

import EntryCode
import Testing
import Verification

/// What surrounds entry code: instrumented C, the end of user memory, tasks, KVM, a debugger of the kernel.
struct CircumstanceTests {
    private func set(_ variant: Variant, _ members: [(String, JSON)]) throws -> EntryTable {
        var document = variant.document
        var machine = try #require(document["machine"])
        for (key, value) in members { machine.set(key, value) }
        document.set("machine", machine)
        return try EntryTable.read(document)
    }

    private func violated(_ table: EntryTable, _ patterns: String...) -> [ScenarioResult] {
        let result = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: patterns)))
        #expect(!result.results.isEmpty, "\(patterns): \(result.findings)")
        return result.results.filter { $0.verdict != .holds }
    }

    // MARK: Instrumented C

    @Test("instrumented C needs more than an entry stack of 512 bytes, and no more than a page")
    func instrumented() throws {
        var variant = try Variant("linux-5.8")
        let stack = JSON.object([JSON.Member("base", "0xfffffe0000002000"), JSON.Member("size", 512)])
        var stacks = try #require(variant.document["machine"]?["stacks"])
        stacks.set("entry", stack)
        let small: [(String, JSON)] = [("stacks", stacks)]
        let bad = "bare-metal-amd/asm_exc_divide_error/user/sigreturn-bad-ss"
        #expect(violated(try set(variant, small), bad).isEmpty)
        try variant.option("KCSAN", true)
        #expect(violated(try set(variant, []), "bare-metal-amd/*/user/sigreturn-*").isEmpty)
        let broken = try #require(violated(try set(variant, small), bad).first)
        #expect(broken.violations.first?.rule == "stack-bounds")
        #expect(broken.violations.first?.routine == "fixup_bad_iret")
        #expect(violated(try set(variant, small), "bare-metal-amd/asm_exc_divide_error/*/return").isEmpty)
    }

    // MARK: The end of user memory

    @Test("every kernel returns from a SYSCALL in the last bytes of user memory, guard page or not")
    func userEnd() throws {
        for kernel in ["linux-6.1", "linux-5.3"] {
            for end in ["0x7ffffffff000", "0x800000000000"] {
                let table = try set(try Variant(kernel), [("user_end", .string(end))])
                #expect(violated(table, "*/user-end/*").isEmpty, "\(kernel) \(end)")
            }
        }
    }

    @Test(
        "user memory ends below the hole",
        arguments: ["0x800000001000", "0x7ffffffff800", "0x1000", "0xffff800000000000"])
    func noEnd(_ end: String) throws {
        #expect(throws: TableFaults.self) { try set(try Variant("linux-5.3"), [("user_end", .string(end))]) }
    }

    // MARK: Tasks

    @Test("a null SS survives SYSRET on AMD, in 32-bit code only")
    func stackSegment() throws {
        var variant = try Variant("linux-6.1")
        #expect(violated(try variant.table(), "*/other-task").isEmpty)
        try variant.option("SYSRET_SS_ATTRS", false)
        let broken = violated(try variant.table(), "*/other-task")
        #expect(broken.map(\.scenario.name) == ["bare-metal-amd/entry_SYSCALL_compat/user-32/other-task"])
        #expect(broken.first?.violations.map(\.rule) == ["resumption"])
        // By IRET it gets its segment.
        var iret = variant
        try iret.edit("entry_SYSCALL_compat", "jz\t", "jmp\t")
        #expect(violated(try iret.table(), "bare-metal-amd/entry_SYSCALL_compat/user-32/other-task").isEmpty)
    }

    // MARK: KVM

    @Test("NMIs that KVM hands on reach their handler, nested events included")
    func handedOn() throws {
        var variant = try Variant("linux-6.1")
        let none = try variant.table().simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["*/asm_exc_nmi_noist/*"])))
        #expect(none.results.isEmpty)
        try variant.option("KVM_INTEL", true)
        let result = try variant.table().simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["*/asm_exc_nmi_noist/*"]), nesting: 1))
        #expect(result.verdict == .holds, "\(result.results.first { $0.verdict != .holds }?.violations ?? [])")
        #expect(Set(result.results.map(\.scenario.context)) == [.kernelEventsOff, .kernelEventsOffRSP8])
        // The vector that stands for it is an ordinary one to INT n.
        #expect(try variant.run("bare-metal-intel/vector24/user/software-interrupt").verdict == .holds)
    }

    // MARK: A debugger of the kernel

    /// Linux 6.1: what its breakpoints may be set on (arch/x86/kernel/hw_breakpoint.c, within_cpu_entry).
    @Test(
        "watched words that entry code touches",
        arguments: [
            ("current_task", 0xFFFF_8880_1DA1_FBC0, true), ("hardirq_stack_inuse", 0xFFFF_8880_1DA1_FBE0, true),
            ("the task stack", 0xFFFF_FFFF_8220_3EA0, true),
            ("the second word of __per_cpu_offset", 0xFFFF_FFFF_82F0_0008, true),
            ("__per_cpu_offset", 0xFFFF_FFFF_82F0_0000, false), ("user_pcid_flush_mask", 0xFFFF_8880_1DA1_FC50, false),
            ("x86_spec_ctrl_current", 0xFFFF_8880_1DA1_FBE8, false),
        ] as [(String, UInt64, Bool)])
    func watchpoint(_ name: String, _ address: UInt64, _ holds: Bool) throws {
        let table = try set(
            try Variant("linux-6.1"), [("watchpoint", .string("0x" + String(address, radix: 16)))])
        let broken = violated(
            table, "*/user/return", "*/kernel*/return", "*/user/single-step", "*/user/sigreturn-absent-ss",
            "*/user*/mov-ss*", "*/user/pending-flush", "*/user-32/*")
        #expect(broken.isEmpty == holds, "\(name): \(broken.map(\.scenario.name).prefix(3))")
        #expect(broken.allSatisfy { $0.scenario.platform != .xenPV })
        let rules: Set = ["progress", "live-frame-overwritten"]
        #expect(broken.allSatisfy { rules.contains($0.violations.first?.rule ?? "") })
    }

    @Test("a watchpoint lies in the kernel", arguments: ["0x400000", "0xffffffff82f00004", "0x800000000000"])
    func noWatchpoint(_ place: String) throws {
        #expect(throws: TableFaults.self) { try set(try Variant("linux-6.1"), [("watchpoint", .string(place))]) }
    }
}

import EntryCode
import Testing
import Verification

/// What the console shows is what real consoles show, as far as anybody can know it beforehand.
struct ConsoleTests {
    private func console(_ variant: Variant, _ scenario: String) throws -> [String] {
        let result = try variant.run(scenario)
        return try #require(result.violations.first { !$0.console.isEmpty }, "\(result.violations)").console
    }

    /// The boots `vmap_int3_absent` and `df_noist` show a Xen text address with its symbol, and the guest's without.
    @Test func aDomainCrashIsToldInXensWords() throws {
        var variant = try Variant("linux-6.1")
        try variant.gate(3, "ist", 3)
        let absent = try console(variant, "xen-pv/asm_exc_int3/kernel/self-test")
        #expect(absent.first == "(XEN) d0v0 Unhandled: vec 3, #BP[ffffffff]")
        #expect(absent[1].hasPrefix("(XEN) domain_crash_sync called from entry.S: fault at "))
        #expect(absent[1].hasSuffix(" x86_64/entry.S#create_bounce_frame"))
        let last = try #require(absent.last)
        #expect(last.hasPrefix("(XEN) RIP:    e033:[<ffffffff8") && last.hasSuffix(">]"), "\(last)")
        var bad = try Variant("linux-6.1")
        bad.write("xen_error_entry", "xorl\t%esp, %esp", "pushq\t%rax")
        let lost = try console(bad, "xen-pv/asm_exc_divide_error/kernel/return")
        #expect(lost.first == "(XEN) Pagetable walk from fffffffffffffff8:", "\(lost)")
        #expect(lost.contains { $0.hasSuffix(" x86_64/entry.S#domain_crash_page_fault_6x8") }, "\(lost)")
    }

    @Test func aFrameThatCannotBeReadIsTheReturnsAffair() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("hypercall_iret", "\tsyscall\n", "\txorl\t%esp, %esp\n\tsyscall\n")
        let lines = try console(variant, "xen-pv/int3/kernel/return")
        #expect(lines.first == "(XEN) d0v0 Fault while reading IRET context from guest stack", "\(lines)")
    }

    @Test(
        "a breakpoint that the stub shows as the kernel's, and that nothing claims, is an oops",
        arguments: ["linux-4.4", "linux-4.15"])
    func unclaimedBreakpoint(kernel: String) throws {
        for platform in ["bare-metal-intel", "bare-metal-amd"] {
            let lines = try console(try Variant(kernel), "\(platform)/int3/user/mov-ss-watchpoint")
            #expect(lines.first?.hasPrefix("int3: 0000 [#1] SMP ") == true, "\(lines)")
            #expect(lines.contains { $0.hasPrefix("RIP: 0010:int3+0x") }, "\(lines)")
            #expect(lines.contains { $0.hasPrefix("CPU: 0 PID: 1 Comm: init ") }, "a program runs, no idle task")
        }
    }

    @Test func theIdleTaskIsNamedWhereTheKernelRuns() throws {
        let lines = try console(Variant("linux-5.2"), "xen-pv/int3/kernel/self-test")
        #expect(lines.contains { $0.hasPrefix("CPU: 0 PID: 0 Comm: swapper/0 ") }, "\(lines)")
    }

    /// Kernel text is there, and read-only: the oops says so.
    @Test func aWriteToKernelTextIsAProtectionViolation() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("paranoid_entry", "\tcld\n", "\tcld\n\tmovq\t%rax, error_entry(%rip)\n")
        let lines = try console(variant, "bare-metal-amd/machine_check/kernel/return")
        #expect(lines.contains("#PF: error_code(0x0003) - permissions violation"), "\(lines)")
        try variant.edit("paranoid_entry", "movq\t%rax, error_entry(%rip)", "movq\t%rax, 0x1000")
        let absent = try console(variant, "bare-metal-amd/machine_check/kernel/return")
        #expect(absent.contains("#PF: error_code(0x0002) - not-present page"), "\(absent)")
        #expect(absent.first == "BUG: unable to handle page fault for address: 0000000000001000", "\(absent)")
    }

    @Test("the broken table of movss-bp-ist breaks by its defect alone")
    func theDefectStandsAlone() throws {
        let defect = try #require(DefectCatalogue.shipped["movss-bp-ist"])
        let document = try #require(try defect.document(.broken))
        let result = try EntryTable.read(document.bytes).simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["*/int3/user/*", "*/int3/kernel/self-test"])))
        #expect(!result.results.isEmpty)
        for scenario in result.results where scenario.verdict == .violated {
            #expect(glob("bare-metal-*/int3/user/mov-ss-watchpoint", matches: scenario.scenario.name))
        }
    }
}

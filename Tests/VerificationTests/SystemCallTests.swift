import EntryCode
import Testing
import Verification
import XenPV

/// SYSCALL, SYSRET and what decides between SYSRET and IRET.
struct SystemCallTests {
    private func results(_ variant: Variant, _ pattern: String = "*/entry_SYSCALL_64/*") throws -> [ScenarioResult] {
        try variant.simulate(pattern).results
    }

    /// Every scenario of SYSCALL is violated by this rule where the test says so, and holds elsewhere.
    private func expect(
        _ variant: Variant, _ rule: String, where isBroken: (Scenario) -> Bool,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let all = try results(variant)
        #expect(all.count == 113, sourceLocation: sourceLocation)
        for result in all {
            let found = result.violations.first { $0.severity == .violation }
            #expect(
                found?.rule == (isBroken(result.scenario) ? rule : nil),
                "\(result.scenario.name): \(found?.explanation ?? "holds")", sourceLocation: sourceLocation)
        }
    }

    private func usesSYSRET(_ scenario: Scenario) -> Bool {
        [.return, .movSS, .pendingFlush, .otherTask].contains(scenario.probe)
    }

    @Test("both kernels' system calls hold on every platform", arguments: ["linux-5.2", "linux-5.3"])
    func unmodified(kernel: String) throws {
        for result in try results(try Variant(kernel)) {
            let isKnown = result.violations.allSatisfy { $0.rule == "speculation-barrier" } && kernel == "linux-5.2"
            #expect(result.verdict == .holds || isKnown, "\(result.scenario.name)")
        }
    }

    @Test("SYSRET where nothing was changed, IRET where something was")
    func ways() throws {
        let variant = try Variant("linux-5.3")
        let quick = try variant.run("bare-metal-amd/entry_SYSCALL_64/user/return")
        let edited = try variant.run("bare-metal-amd/entry_SYSCALL_64/user/modify-user-state")
        #expect(quick.cost.serialisingInstructions == 0, "SYSRET does not serialise")
        #expect(edited.cost.serialisingInstructions > 0, "IRET does")
        let guest = try variant.run("xen-pv/entry_SYSCALL_64/user/return")
        #expect(guest.cost.hypervisorEntries == 2, "Xen is there at the entry and at the return")
    }

    @Test("without SWAPGS the scratch word is looked for at the user's GS base")
    func withoutSwap() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSCALL_64", "\tswapgs\n", "")
        try expect(variant, "kernel-gs-base") { $0.platform != .xenPV }
    }

    @Test("without the switch of CR3 the task stack is not mapped")
    func withoutPageTables() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSCALL_64", "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rsp\n", "")
        try expect(variant, "kernel-page-table") { $0.platform == .bareMetalIntel }
    }

    @Test("without the switch back the user runs on the kernel's page tables, after SYSRET only")
    func withoutUserPageTables() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSCALL_64", "\tSWITCH_TO_USER_CR3_STACK scratch_reg=%rdi\n", "")
        try expect(variant, "user-page-table") { $0.platform == .bareMetalIntel && usesSYSRET($0) }
    }

    @Test("SYSRET without SWAPGS")
    func withoutSwapBack() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_64", "\tUSERGS_SYSRET64\n",
            ".if PLATFORM_XEN_PV\n\tjmp\txen_sysret64\n.else\n\tsysretq\n.endif\n")
        try expect(variant, "user-gs-base") { $0.platform != .xenPV && usesSYSRET($0) }
    }

    @Test("SYSRET although RIP was changed")
    func withoutComparison() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_64", "\tcmpq\t%rcx, %r11\n\tjne\tswapgs_restore_regs_and_return_to_usermode\n\n\t/* Intel",
            "\tmovq\t%rcx, %r11\n\n\t/* Intel")
        for result in try results(variant, "*/entry_SYSCALL_64/user/modify-user-state") {
            // The flags were changed too, so it is IRET all the same.
            #expect(result.verdict == .holds, "\(result.scenario.name)")
        }
        for result in try results(variant, "*/entry_SYSCALL_64/user/sigreturn-noncanonical-rip") {
            #expect(result.verdict == .violated, "\(result.scenario.name)")
        }
    }

    @Test("an RCX that is not canonical: Intel faults in the kernel, AMD in user mode (CVE-2012-0217)")
    func withoutCanonicalCheck() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_64", "\tshlq\t$CANONICAL_SHIFT, %rcx\n\tsarq\t$CANONICAL_SHIFT, %rcx\n", "")
        for result in try results(variant, "bare-metal-*/entry_SYSCALL_64/user/sysret-noncanonical-rip") {
            let isIntel = result.scenario.platform == .bareMetalIntel
            #expect((result.verdict == .violated) == isIntel, "\(result.scenario.name)")
        }
    }

    @Test("SYSRET although SS was changed")
    func withoutStackSegmentCheck() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_64", "\tcmpq\t$__USER_DS, SS(%rsp)\n\tjne\tswapgs_restore_regs_and_return_to_usermode\n", "")
        for result in try results(variant, "bare-metal-*/entry_SYSCALL_64/user/sigreturn-bad-ss") {
            #expect(result.verdict == .violated, "\(result.scenario.name)")
        }
    }

    @Test("a PV guest that keeps Xen's selectors shows them to the handler (F7)")
    func withoutSelectors() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("xen_syscall_target", "\tmovq\t$__USER_CS, 1*8(%rsp)\n", "")
        try expect(variant, "pt-regs-faithful") { $0.platform == .xenPV }
    }

    @Test("a PV guest whose thunk does not pop")
    func withoutPops() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("xen_syscall_target", "\tpopq\t%rcx\n\tpopq\t%r11\n", "")
        for result in try results(variant, "xen-pv/entry_SYSCALL_64/*") {
            #expect(result.violations.first?.rule == "pt-regs-faithful", "\(result.scenario.name)")
        }
    }

    @Test("a number that is not kept, and a handler that gets another one")
    func number() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSCALL_64", "\tpushq\t%rax\t\t\t\t/* ORIG_RAX */\n", "\tpushq\t$-1\n")
        try expect(variant, "pt-regs-faithful") { _ in true }
    }

    @Test("a table without a callback for SYSCALL refuses what every program counts on")
    func withoutCallback() throws {
        var variant = try Variant("linux-5.3")
        try variant.setXen(
            "callbacks",
            .object([JSON.Member("event", "xen_hypervisor_callback"), JSON.Member("failsafe", "xen_failsafe_callback")])
        )
        for result in try results(variant, "xen-pv/*") {
            // Without callbacks for 32-bit calls the vDSO does with INT 0x80.
            let isLost = result.scenario.event == "entry_SYSCALL_64"
            let first = result.violations.first { $0.severity == .violation }
            #expect(first?.rule == (isLost ? "user-reachable-gate" : nil), "\(result.scenario.name)")
        }
    }

    @Test("a trace of a system call runs from SYSCALL to the program")
    func trace() throws {
        let table = try Variant("linux-5.3").table()
        for platform in ["bare-metal-intel", "xen-pv"] {
            let found = try table.trace(scenario: "\(platform)/entry_SYSCALL_64/user/return", SimulationRequest())
            #expect(try #require(found).result.verdict == .holds)
            let trace = try #require(found).trace
            #expect(trace.steps.contains { $0.instruction.contains("syscall") })
        }
    }

    @Test("a number that does not reach the handler")
    func lostNumber() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSCALL_64", "\tmovq\t%rax, %rdi\n", "")
        try expect(variant, "pt-regs-faithful") { _ in true }
    }

    @Test("SYSRET although a flag was changed")
    func withoutFlagsCheck() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_64", "\tcmpq\t%r11, EFLAGS(%rsp)\n\tjne\tswapgs_restore_regs_and_return_to_usermode\n", "")
        for result in try results(variant, "*/entry_SYSCALL_64/user/sysret-changed-flags") {
            #expect(result.violations.first?.rule == "resumption", "\(result.scenario.name)")
        }
    }

    @Test("the selectors that a PV stub corrects are not words that it lost")
    func culprit() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_64", "\tcmpq\t$__USER_CS, CS(%rsp)\n\tjne\tswapgs_restore_regs_and_return_to_usermode\n", "")
        let violated = try results(variant, "xen-pv/entry_SYSCALL_64/*").filter { $0.verdict == .violated }
        #expect(!violated.isEmpty)
        for result in violated {
            #expect(result.violations.first?.rule == "resumption", "\(result.scenario.name)")
        }
    }
}

import EntryCode
import Testing
import Verification

/// What waits for the return to user mode, and what must be done before the first RET.
struct ExitWorkTests {
    @Test("an exit that does not look at pending work")
    func withoutWork() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("common_interrupt", "\tcall\tprepare_exit_to_usermode\n", "")
        let result = try variant.simulate("*/page_fault/user/*", "*/page_fault/kernel/*", "*/nmi/user/return")
        #expect(result.results.contains { $0.scenario.probe == .pendingSignal })
        for scenario in result.results {
            let needsWork =
                scenario.scenario.context.isUser && scenario.scenario.event == "page_fault"
            let first = scenario.violations.first { $0.severity == .violation }
            // An INT n that is refused ends at the same exit.
            #expect(first?.rule == (needsWork ? "progress" : nil), "\(scenario.scenario.name)")
        }
    }

    @Test("a flush that was put off is done by the switch of CR3, on the processor that has two halves")
    func flush() throws {
        let result = try Variant("linux-5.3").simulate("*/pending-flush")
        #expect(result.verdict == .holds)
        #expect(Set(result.results.map(\.scenario.platform)) == [.bareMetalIntel])
        #expect(result.results.count >= 6)
    }

    @Test("a switch of CR3 that always keeps the translations")
    func withoutFlush() throws {
        var variant = try Variant("linux-5.3")
        try variant.editMacro("SWITCH_TO_USER_CR3_NOSTACK", in: "entry_SYSCALL_compat") {
            $0.replacing("\tjnc\t.Luser_cr3_keep_tlb", with: "\tjmp\t.Luser_cr3_keep_tlb")
        }
        for scenario in try variant.simulate("bare-metal-intel/entry_SYSENTER_compat/user-32/*").results {
            let isLost = scenario.scenario.probe == .pendingFlush
            #expect(
                scenario.violations.first?.rule == (isLost ? "user-page-table" : nil), "\(scenario.scenario.name)")
        }
    }

    @Test("the return predictor is untrained before the first RET, or C runs on what user code has taught it")
    func untraining() throws {
        var variant = try Variant("linux-5.3")
        try variant.option("CPU_UNRET_ENTRY", true)
        let scenario = "bare-metal-amd/divide_error/user/return"
        #expect(try variant.run(scenario).violations.first?.rule == "speculation-barrier")
        #expect(try variant.run("bare-metal-amd/divide_error/kernel/return").verdict == .holds)
        #expect(try variant.run("bare-metal-intel/divide_error/user/return").verdict == .holds)
        variant.write("zen_untrain_ret", "ret")
        try variant.edit(
            "error_entry", "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n\n.Lerror_entry_from_usermode_after_swapgs:\n",
            "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n\tcall\tzen_untrain_ret\n\n.Lerror_entry_from_usermode_after_swapgs:\n"
        )
        #expect(try variant.run(scenario).verdict == .holds)
    }

    @Test("SPEC_CTRL is written on the way in and again on the way out")
    func restriction() throws {
        let scenario = "bare-metal-intel/divide_error/user/return"
        var variant = try Variant("linux-5.3")
        try variant.option("CPU_IBRS_ENTRY", true)
        #expect(try variant.run(scenario).violations.first?.rule == "speculation-barrier")
        try variant.edit(
            "error_entry", "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n\n.Lerror_entry_from_usermode_after_swapgs:\n",
            "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n\tmovl\t$0x48, %ecx\n\txorl\t%edx, %edx\n\tmovl\t$1, %eax\n\twrmsr\n\n.Lerror_entry_from_usermode_after_swapgs:\n"
        )
        let halfway = try #require(try variant.run(scenario).violations.first)
        #expect(halfway.rule == "speculation-barrier" && halfway.explanation.contains("SPEC_CTRL"))
        try variant.edit(
            "common_interrupt", "GLOBAL(swapgs_restore_regs_and_return_to_usermode)\n",
            "GLOBAL(swapgs_restore_regs_and_return_to_usermode)\n\tmovl\t$0x48, %ecx\n\txorl\t%edx, %edx\n\txorl\t%eax, %eax\n\twrmsr\n"
        )
        #expect(try variant.run(scenario).verdict == .holds)
    }

    @Test("the frame of a kernel with EBX 0 at the failsafe callback (CVE-2018-14678)")
    func modeInRegister() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "error_exit", "\ttestb\t$3, CS(%rsp)\n\tjz\tretint_kernel\n\tjmp\tretint_user\n",
            "\tmovq\tRBX(%rsp), %rbx\n\ttestl\t%ebx, %ebx\n\tjnz\tretint_kernel\n\tjmp\tretint_user\n")
        let result = try variant.simulate("xen-pv/xen_failsafe_callback/kernel*/*")
        #expect(result.results.contains { $0.verdict == .violated })
    }
}

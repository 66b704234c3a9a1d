import EntryCode
import Machine
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

    private func result(_ scenario: String, _ variant: Variant, _ guarded: ReturnGuard) throws -> ScenarioResult {
        let platform: Platform = scenario.hasPrefix("bare-metal-intel") ? .bareMetalIntel : .bareMetalAMD
        var image = try variant.table().expand(for: platform)
        image.machine.returnGuard = guarded
        image.machine.untrainingIndex = image.program.address(of: "zen_untrain_ret").map(image.program.index(at:)) ?? -2
        var run = ScenarioRun(image: image)
        return run.execute(try #require(image.scenarios().first { $0.name == scenario }))
    }

    private static let place =
        "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n\n.Lerror_entry_from_usermode_after_swapgs:\n"

    @Test("the return predictor is untrained before the first RET, or C runs on what user code has taught it")
    func untraining() throws {
        var variant = try Variant("linux-5.3")
        let scenario = "bare-metal-amd/divide_error/user/return"
        #expect(try result(scenario, variant, .untraining).violations.first?.rule == "speculation-barrier")
        #expect(try result("bare-metal-amd/divide_error/kernel/return", variant, .untraining).verdict == .holds)
        variant.write("zen_untrain_ret", "ret")
        try variant.edit("error_entry", Self.place, "\tcall\tzen_untrain_ret\n" + Self.place)
        #expect(try result(scenario, variant, .untraining).verdict == .holds)
    }

    @Test("SPEC_CTRL is written on the way in and again on the way out")
    func restriction() throws {
        let scenario = "bare-metal-intel/divide_error/user/return"
        var variant = try Variant("linux-5.3")
        #expect(try result(scenario, variant, .restriction).violations.first?.rule == "speculation-barrier")
        let write = "\tmovl\t$0x48, %ecx\n\txorl\t%edx, %edx\n\tmovl\t$VALUE, %eax\n\twrmsr\n"
        try variant.edit("error_entry", Self.place, Self.place + write.replacing("VALUE", with: "1"))
        let halfway = try #require(try result(scenario, variant, .restriction).violations.first)
        #expect(halfway.rule == "speculation-barrier" && halfway.explanation.contains("SPEC_CTRL"))
        try variant.edit(
            "common_interrupt", "GLOBAL(swapgs_restore_regs_and_return_to_usermode)\n",
            "GLOBAL(swapgs_restore_regs_and_return_to_usermode)\n" + write.replacing("VALUE", with: "0"))
        #expect(try result(scenario, variant, .restriction).verdict == .holds)
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

import EntryCode
import Testing
import Verification

/// Historic defects of the entry path, expressed as replaced routines of Linux 5.3.
struct EntryRoutineTests {
    /// Events that reach `error_entry` from user mode.
    private static let ordinary = [
        "divide_error", "debug", "int3", "invalid_op", "segment_not_present", "general_protection", "page_fault",
        "machine_check",
    ]

    private func user(_ platform: String, _ rule: String, _ consequence: Expectation.Consequence? = nil)
        -> [Expectation]
    {
        Self.ordinary.map { Expectation("\(platform)/\($0)/user/*", rule, consequence, includesRefused: true) }
    }

    @Test("error_entry without SWAPGS: recursion on the entry stack until #DF (F26)")
    func withoutSwap() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "error_entry",
            "\tSWAPGS\n\tFENCE_SWAPGS_USER_ENTRY\n\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n\n.Lerror_entry_from",
            "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n\n.Lerror_entry_from")
        try expect(
            variant,
            user("bare-metal-*", "kernel-gs-base") + [
                Expectation(
                    "bare-metal-*/nmi/user/software-interrupt", "kernel-gs-base",
                    .rule("double-fault", "double_fault", 0))
            ])
        let result = try variant.run("bare-metal-intel/divide_error/user/return")
        #expect(result.violations.first?.consequence?.rule == "double-fault")
        #expect(result.violations.first?.console.first == "double fault: 0000 [#1] SMP PTI")
    }

    @Test("error_entry without the CR3 switch: the same, on processors with Meltdown only (F26)")
    func withoutPageTables() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "error_entry", "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n\n.Lerror_entry_from", "\n.Lerror_entry_from")
        let result = try variant.simulate("*/divide_error/*", "*/irq_entries_start/*")
        for scenario in result.results {
            let name = scenario.scenario.name
            let rules = scenario.violations.map(\.rule)
            if scenario.scenario.platform != .bareMetalIntel {
                #expect(scenario.verdict == .holds, "\(name)")
            } else if scenario.scenario.event == "divide_error", scenario.scenario.context.isUser {
                #expect(rules.contains("kernel-page-table"), "\(name)")
                #expect(scenario.violations.contains { $0.consequence?.rule == "double-fault" }, "\(name)")
            } else if scenario.scenario.event == "divide_error" {
                // The CR3 write was also what stopped speculation.
                #expect(rules == ["speculation-barrier"], "\(name)")
            }
        }
    }

    @Test("no CLD: DF as the user left it")
    func withoutClearedDirection() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("error_entry", "\tcld\n", "")
        let result = try variant.simulate(
            "*/divide_error/*", "*/entry_INT80_compat/*", "xen-pv/xen_hypervisor_callback/*")
        for scenario in result.results {
            var comesThere = scenario.scenario.context.isUser && scenario.scenario.event != "entry_INT80_compat"
            // What follows a system call comes there, too: the trap of a stepped program, the fault of a PV guest's return.
            switch scenario.scenario.probe {
            case .singleStep, .setTrapFlag: comesThere = comesThere || scenario.scenario.context.isUser
            case .sigreturnBadSS, .sigreturnBadCS, .sigreturnNullSS, .sigreturnBogusSS, .sigreturnAbsentCS:
                comesThere = comesThere || scenario.scenario.platform == .xenPV
            default: break
            }
            #expect((scenario.verdict == .violated) == comesThere, "\(scenario.scenario.name)")
            for violation in scenario.violations where violation.severity == .violation {
                #expect(
                    violation.rule == "direction-flag" && violation.consequence?.vector == nil,
                    "\(scenario.scenario.name)")
            }
        }
    }

    @Test("no CLAC: AC as the user left it, where SMAP is on")
    func withoutClearedAccess() throws {
        var variant = try Variant("linux-5.3")
        variant.write("divide_error", "pushq $-1", "idtentry_part do_divide_error, 0, 0, 0")
        try expect(variant, [Expectation("bare-metal-*/divide_error/user/*", "access-flag", .silent)])
        try variant.option("SMAP", false)
        try expect(variant, [])
    }

    @Test("the result of sync_regs ignored: the handler stays on the entry stack (F6)")
    func withoutStackSwitch() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "error_entry", "\tmovq\t%rax, %rsp\n\tENCODE_FRAME_POINTER\n\tpushq", "\tENCODE_FRAME_POINTER\n\tpushq")
        let result = try variant.simulate("*/divide_error/*")
        for scenario in result.results {
            let isWrong = scenario.scenario.context.isUser && scenario.scenario.platform != .xenPV
            #expect((scenario.verdict == .violated) == isWrong, "\(scenario.scenario.name)")
            if isWrong { #expect(scenario.violations.first?.rule == "stack-bounds", "\(scenario.scenario.name)") }
        }
    }

    @Test("bad-IRET handling: removed, or without its SWAPGS (boots: badiret_noswapgs)")
    func badReturn() throws {
        var removed = try Variant("linux-5.3")
        try removed.edit("error_entry", "\tje\t.Lerror_bad_iret\n", "")
        var unswapped = try Variant("linux-5.3")
        try unswapped.edit("error_entry", ".Lerror_bad_iret:\n\tSWAPGS\n", ".Lerror_bad_iret:\n")
        for (variant, intel) in [(removed, "kernel-page-table"), (unswapped, "kernel-gs-base")] {
            let bad = ["sigreturn-bad-ss", "sigreturn-bad-cs", "sigreturn-noncanonical-rip"]
            let result = try variant.simulate("*/divide_error/*", "*/nmi/*", "*/irq_entries_start/*")
            for scenario in result.results {
                let isBad = bad.contains(scenario.scenario.probe.rawValue) && scenario.scenario.platform != .xenPV
                #expect((scenario.verdict == .violated) == isBad, "\(scenario.scenario.name)")
                guard isBad else { continue }
                let violation = try #require(scenario.violations.first)
                let isIntel = scenario.scenario.platform == .bareMetalIntel
                #expect(violation.rule == (isIntel ? intel : "kernel-gs-base"), "\(scenario.scenario.name)")
                // "stack guard page hit (fault recursion on ENTRY_TRAMPOLINE stack)"
                #expect(violation.consequence?.rule == "double-fault", "\(scenario.scenario.name)")
            }
        }
    }

    @Test("registers pushed in another order than pt_regs")
    func pushOrder() throws {
        var variant = try Variant("linux-5.3")
        try variant.editMacro("PUSH_AND_CLEAR_REGS", in: "error_entry") {
            $0.replacing("\tpushq\t%r8\n", with: "\tpushq\t%R8\n").replacing("\tpushq\t%r9\n", with: "\tpushq\t%r8\n")
                .replacing("\tpushq\t%R8\n", with: "\tpushq\t%r9\n")
        }
        let result = try variant.simulate("*/divide_error/*")
        #expect(result.results.allSatisfy { $0.violations.first?.rule == "pt-regs-faithful" })
        let plain = try #require(result.results.first { $0.scenario.name == "xen-pv/divide_error/user/return" })
        #expect(plain.violations.first?.consequence?.rule == "resumption")
    }

    @Test("registers not cleared: the user's values reach the handler")
    func uncleared() throws {
        var variant = try Variant("linux-5.3")
        try variant.editMacro("PUSH_AND_CLEAR_REGS", in: "error_entry") {
            $0.replacing("\txorl\t%ebx, %ebx\n", with: "")
        }
        let result = try variant.simulate("*/divide_error/*")
        for scenario in result.results {
            #expect((scenario.verdict == .violated) == scenario.scenario.context.isUser, "\(scenario.scenario.name)")
            if scenario.verdict == .violated {
                #expect(scenario.violations.first?.rule == "register-hygiene", "\(scenario.scenario.name)")
                #expect(scenario.violations.first?.explanation.hasPrefix("RBX ") == true)
            }
        }
    }

    @Test("an extra push in a stub; no push; pt_regs pointer off by one word or absent")
    func stubShapes() throws {
        let shapes: [([String], String)] = [
            (["pushq $-1", "pushq $-1", "idtentry_part do_divide_error, 0, 0, 0"], "pt-regs-faithful"),
            (["idtentry_part do_divide_error, 0, 0, 0"], "error-code"),
            (
                [
                    "pushq $-1", "call error_entry", "leaq 8(%rsp), %rdi", "xorl %esi, %esi", "call do_divide_error",
                    "jmp error_exit",
                ],
                "pt-regs-faithful"
            ),
            (
                ["pushq $-1", "call error_entry", "xorl %esi, %esi", "call do_divide_error", "jmp error_exit"],
                "pt-regs-faithful"
            ),
            (
                [
                    "pushq $-1", "call error_entry", "movq %rsp, %rdi", "movl $9, %esi", "call do_divide_error",
                    "jmp error_exit",
                ],
                "error-code"
            ),
        ]
        for (lines, rule) in shapes {
            var variant = try Variant("linux-5.3")
            variant.write("divide_error", "ASM_CLAC", lines.joined(separator: "\n\t"))
            try expect(variant, [Expectation("*/divide_error/*", rule)])
        }
    }

    @Test("a gap of five or seven words shifts pt_regs; one for user mode too costs a copy and nothing else")
    func gaps() throws {
        for words in [5, 7] {
            var variant = try Variant("linux-5.3")
            variant.write(
                "int3", "ASM_CLAC", "pushq $-1", "testb $3, CS-ORIG_RAX(%rsp)", "jnz .Lno_gap", ".rept \(words)",
                "pushq 5*8(%rsp)", ".endr\n.Lno_gap:", "idtentry_part do_int3, 0, 0, 0")
            try expect(variant, [Expectation("*/int3/kernel*", "pt-regs-faithful")])
        }
        var variant = try Variant("linux-5.3")
        variant.write(
            "int3", "ASM_CLAC", "pushq $-1", ".rept 6", "pushq 5*8(%rsp)", ".endr", "idtentry_part do_int3, 0, 0, 0")
        try expect(variant, [])
        let base = try Variant("linux-5.3").run("bare-metal-intel/int3/user/return")
        let copied = try variant.run("bare-metal-intel/int3/user/return")
        // Six words read and written; the test of CS is saved.
        #expect(copied.cost.memoryWords == base.cost.memoryWords + 11)
    }

    @Test("a gap in a paranoid stub works: the interrupted stack is free either way")
    func paranoidGap() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("int3", "paranoid", 1)
        try expect(variant, [])
    }

    @Test("shift_ist that is not undone: the next #DB takes another stack")
    func shiftedStack() throws {
        var variant = try Variant("linux-5.3")
        variant.write(
            "debug", "ASM_CLAC", "pushq $-1", "testb $3, CS-ORIG_RAX(%rsp)", "jnz .Lfrom_user", "call paranoid_entry",
            "movq %rsp, %rdi", "xorl %esi, %esi",
            "subq $DB_STACK_OFFSET, PER_CPU_VAR(cpu_tss_rw + TSS_ist + IST_INDEX_DB*8)", "call do_debug",
            "jmp paranoid_exit\n.Lfrom_user:", "idtentry_part do_debug, 0, 0, 0")
        try expect(
            variant,
            [Expectation("bare-metal-*/debug/kernel*", "stack-bounds", .silent)])
    }

    @Test("paranoid_entry that always swaps, never swaps, or leaves CR3")
    func paranoid() throws {
        var always = try Variant("linux-5.3")
        try always.edit("paranoid_entry", "\tjs\t.Lparanoid_entry_kernel_gs\n", "")
        let result = try always.simulate("bare-metal-*/debug/kernel/return", "bare-metal-*/nmi/kernel/return")
        #expect(result.results.allSatisfy { $0.violations.first?.rule == "kernel-gs-base" })
        #expect(result.results.count == 4)
        // Kernel GS and page tables are loaded already in every base scenario but a #DF from the user's state.
        var never = try Variant("linux-5.3")
        try never.edit("paranoid_entry", "\tSWAPGS\n", "")
        #expect(try never.run("bare-metal-intel/double_fault/user/oops").violations.first?.rule == "kernel-gs-base")
        #expect(
            try never.run("bare-metal-amd/divide_error/user/sigreturn-absent-ss").violations.first?.rule
                == "kernel-gs-base")
        #expect(try never.run("bare-metal-intel/nmi/kernel/return").verdict == .holds)
        var tables = try Variant("linux-5.3")
        try tables.edit("paranoid_entry", "\tSAVE_AND_SWITCH_TO_KERNEL_CR3 scratch_reg=%rax save_reg=%r14\n", "")
        #expect(try tables.run("bare-metal-intel/double_fault/user/oops").violations.first?.rule == "kernel-page-table")
        #expect(try tables.run("bare-metal-amd/double_fault/user/oops").verdict == .holds)
    }

    @Test("#DF not paranoid: error_entry takes the fault on the espfix stack for a bad IRET (F30)")
    func ordinaryDoubleFault() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("double_fault", "paranoid", 0)
        try expect(variant, [Expectation("bare-metal-*/sigreturn-absent-ss", "pt-regs-faithful")])
    }
}

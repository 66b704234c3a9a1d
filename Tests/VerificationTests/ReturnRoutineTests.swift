import EntryCode
import Testing
import Verification

/// Historic defects of the way back, of INT 0x80 and of the Xen routines, as replaced routines of Linux 5.3.
struct ReturnRoutineTests {
    private func check(
        _ variant: Variant, _ patterns: String..., rule: (Scenario) -> String?,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let table = try variant.table()
        let result = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: patterns)))
        #expect(!result.results.isEmpty, "\(result.findings)", sourceLocation: sourceLocation)
        var violated = 0
        for scenario in result.results where !scenario.scenario.isCompound {
            let first = scenario.violations.first { $0.severity == .violation }
            let wanted = rule(scenario.scenario)
            if wanted != nil { violated += 1 }
            #expect(
                first?.rule == wanted && (wanted != nil || scenario.verdict == .holds),
                "\(scenario.scenario.name): \(first?.explanation ?? "holds")", sourceLocation: sourceLocation)
        }
        #expect(violated > 0, "nothing was expected to break", sourceLocation: sourceLocation)
    }

    @Test("DISABLE_INTERRUPTS missing at the exit: on where the handler switched them on")
    func interruptsAtExit() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("error_exit", "\tDISABLE_INTERRUPTS\n", "")
        try check(variant, "*/divide_error/*", "*/int3/*") { scenario in
            // do_int3 leaves interrupts alone; exit work for user mode disables them itself; an oops does not return.
            scenario.event == "divide_error" && !scenario.context.isUser && scenario.context.eventsOn
                && scenario.probe != .oops
                ? "interrupt-flag" : nil
        }
    }

    @Test("registers popped in another order (boot: pop_swap_r12r13)")
    func popOrder() throws {
        var variant = try Variant("linux-5.3")
        try variant.editMacro("POP_REGS", in: "common_interrupt") {
            $0.replacing("popq\t%r12\n", with: "popq\t%R12\n").replacing("popq\t%r13\n", with: "popq\t%r12\n")
                .replacing("popq\t%R12\n", with: "popq\t%r13\n")
        }
        try check(variant, "*/divide_error/*") { scenario in
            // Also where the return faults: the registers are then what the signal frame shows.
            scenario.context.isUser ? "resumption" : nil
        }
    }

    @Test("ORIG_RAX not skipped: the return reads one word too low")
    func missingSkip() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("common_interrupt", "\taddq\t$8, %rsp\t\t\t/* ORIG_RAX */\n", "")
        let result = try variant.simulate(
            "*/divide_error/kernel/return", "*/general_protection/kernel/return", "*/divide_error/user/return")
        for scenario in result.results {
            let name = scenario.scenario.name
            if scenario.scenario.context.isUser {
                #expect(scenario.verdict == .holds, "\(name)")
                continue
            }
            let violation = try #require(scenario.violations.first, "\(name)")
            #expect(violation.rule == "resumption", "\(name)")
            #expect(violation.explanation.contains("RSP is 8 bytes too low"), "\(name)")
            #expect(violation.consequence != nil, "\(name)")
        }
    }

    @Test("the user's CR3 not restored: latent, Intel only")
    func userPageTables() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("common_interrupt", "\tSWITCH_TO_USER_CR3_STACK scratch_reg=%rdi\n", "")
        try check(variant, "*/divide_error/*") { scenario in
            scenario.context.isUser && scenario.platform == .bareMetalIntel
                // The espfix branch switches for itself.
                && scenario.probe != .sigreturnLDTStack ? "user-page-table" : nil
        }
    }

    @Test("SWAPGS forgotten at the exit: the user gets the kernel's GS base")
    func userGSBase() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("common_interrupt", "\tpopq\t%rdi\n\tSWAPGS\n", "\tpopq\t%rdi\n")
        try check(variant, "*/divide_error/*") { scenario in
            guard scenario.context.isUser, scenario.platform != .xenPV else { return nil }
            // The espfix branch swaps once more and runs with the user's base.
            let isEspfix = scenario.probe == .sigreturnLDTStack || scenario.probe == .sigreturnAbsentSS
            return isEspfix ? "kernel-gs-base" : "user-gs-base"
        }
    }

    @Test("SS and RSP copied in the wrong order to the exit stack (boot: syscall_swapsssp)")
    func frameOrder() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "common_interrupt", "\tpushq\t6*8(%rdi)\t\t\t/* SS */\n\tpushq\t5*8(%rdi)\t\t\t/* RSP */\n",
            "\tpushq\t5*8(%rdi)\n\tpushq\t6*8(%rdi)\n")
        try check(variant, "*/divide_error/*") { $0.context.isUser ? "resumption" : nil }
        let result = try variant.run("xen-pv/divide_error/user/return")
        #expect(result.violations.first?.explanation.contains("hypercall_iret") == true)
    }

    @Test("no espfix: 32-bit code on a 16-bit stack sees the kernel's RSP (F31)")
    func espfix() throws {
        var variant = try Variant("linux-5.3")
        try variant.option("X86_ESPFIX64", false)
        try check(variant, "*/divide_error/*") { $0.probe == .sigreturnLDTStack ? "information-leak" : nil }
        let result = try variant.run("bare-metal-amd/divide_error/user/sigreturn-16-bit-ss")
        // Bits 63:16 of the entry stack's address, the user's SP below.
        #expect(result.violations.first?.explanation.contains("0xfffffe000000de58 in RSP") == true)
        // A kernel without 16-bit segments does not need it.
        try variant.option("X86_16BIT", false)
        #expect(try variant.simulate("*/divide_error/*").verdict == .holds)
    }

    @Test("espfix without the second SWAPGS, or without the user's page tables (boot: espfix_noswapback)")
    func espfixExit() throws {
        var swap = try Variant("linux-5.3")
        try swap.edit(
            "native_iret", "\tSWITCH_TO_USER_CR3_STACK scratch_reg=%rdi\n\tSWAPGS\n",
            "\tSWITCH_TO_USER_CR3_STACK scratch_reg=%rdi\n")
        try check(swap, "*/divide_error/*") {
            $0.probe == .sigreturnLDTStack || ($0.probe == .sigreturnAbsentSS && $0.platform != .xenPV)
                ? "user-gs-base" : nil
        }
        var tables = try Variant("linux-5.3")
        try tables.edit("native_iret", "\tSWITCH_TO_USER_CR3_STACK scratch_reg=%rdi\n\tSWAPGS\n", "\tSWAPGS\n")
        try check(tables, "*/divide_error/*") {
            guard $0.platform == .bareMetalIntel else { return nil }
            return $0.probe == .sigreturnLDTStack || $0.probe == .sigreturnAbsentSS ? "user-page-table" : nil
        }
    }

    @Test("the NMI stub: SWAPGS, CR3, CLD, order of registers")
    func nmi() throws {
        let edits: [(String, String, String, Bool)] = [
            ("\tswapgs\n", "", "kernel-gs-base", false), ("\tcld\n", "", "direction-flag", false),
            ("\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rdx\n", "", "kernel-page-table", true),
        ]
        for (old, new, rule, isIntelOnly) in edits {
            var variant = try Variant("linux-5.3")
            try variant.edit("nmi", old, new)
            for platform in [Platform.bareMetalIntel, .bareMetalAMD] {
                let result = try variant.run("\(platform.rawValue)/nmi/user/return")
                let wanted = isIntelOnly && platform == .bareMetalAMD ? nil : rule
                #expect(result.violations.first?.rule == wanted, "\(rule)")
            }
            #expect(try variant.run("xen-pv/nmi/user/return").verdict == .holds)
        }
    }

    @Test("INT 0x80: CLAC, CLD, width of the number, -ENOSYS, R8, SWAPGS")
    func systemCall() throws {
        let edits: [(String, String, String, Bool)] = [
            ("\tASM_CLAC\n", "", "access-flag", false), ("\tcld\n", "", "direction-flag", true),
            // F27: INT 0x80 truncates orig_ax; at the handler RAX is -ENOSYS (boot: int80_noenosys).
            ("\tmovl\t%eax, %eax", "\tnop", "pt-regs-faithful", true),
            ("\tpushq\t$-ENOSYS", "\tpushq\t%rax", "pt-regs-faithful", true),
            // Linux commit 8bb2610bc496: INT 0x80 keeps R8 to R11.
            ("\tpushq\t%r8\n", "\tpushq\t$0\n", "pt-regs-faithful", true),
            ("\tSWAPGS", "\tnop", "kernel-gs-base", false),
        ]
        for (old, new, rule, appliesToXen) in edits {
            var variant = try Variant("linux-5.3")
            try variant.edit("entry_INT80_compat", old, new)
            try check(variant, "*/entry_INT80_compat/*", "*/divide_error/user/*") {
                // 32-bit code has no R8.
                if old.contains("%r8") && $0.context == .user32 { return nil }
                return $0.event == "entry_INT80_compat" && ($0.platform != .xenPV || appliesToXen) ? rule : nil
            }
        }
    }

    @Test("device interrupts: SWAPGS, CR3, CLAC, CLD, copied frame, interrupt stack")
    func deviceInterrupts() throws {
        let edits: [(String, String, String, String, String)] = [
            ("interrupt_entry", "\tSWAPGS\n", "", "kernel-gs-base", "kernel-gs-base"),
            ("interrupt_entry", "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rdi\n", "", "kernel-page-table", ""),
            ("interrupt_entry", "\tASM_CLAC\n", "", "access-flag", "access-flag"),
            ("interrupt_entry", "\tcld\n", "", "direction-flag", "direction-flag"),
            ("interrupt_entry", "\tpushq\t7*8(%rdi)\n", "\tpushq\t6*8(%rdi)\n", "pt-regs-faithful", "pt-regs-faithful"),
            ("common_interrupt", "\tLEAVE_IRQ_STACK\n", "\tpopq %rsp\n", "stack-bounds", "stack-bounds"),
        ]
        for (routine, old, new, intel, amd) in edits {
            var variant = try Variant("linux-5.3")
            try variant.edit(routine, old, new)
            for (platform, rule) in [("bare-metal-intel", intel), ("bare-metal-amd", amd)] {
                let result = try variant.run("\(platform)/irq_entries_start/user/return")
                #expect((result.violations.first?.rule ?? "") == rule, "\(old) on \(platform)")
            }
        }
        var variant = try Variant("linux-5.3")
        try variant.edit("xen_do_hypervisor_callback", "\tLEAVE_IRQ_STACK\n", "\tpopq %rsp\n")
        try check(variant, "xen-pv/*") {
            $0.event == "xen_hypervisor_callback" && $0.probe != .softwareInterrupt ? "stack-bounds" : nil
        }
    }

    @Test("Xen: thunks, frame of the iret hypercall, failsafe callback")
    func xen() throws {
        var swapped = try Variant("linux-5.3")
        swapped.write("xen_divide_error", "popq %r11", "popq %rcx", "jmp divide_error")
        var short = try Variant("linux-5.3")
        short.write("xen_divide_error", "popq %rcx", "jmp divide_error")
        for variant in [swapped, short] {
            try check(variant, "xen-pv/divide_error/*", "xen-pv/invalid_op/*", "bare-metal-amd/divide_error/*") {
                $0.platform == .xenPV && $0.event == "divide_error" && $0.probe != .softwareInterrupt
                    ? "pt-regs-faithful" : nil
            }
        }
        // F18: rax, r11, rcx, flags and five words; the flags word selects SYSRET.
        for (routine, old, new) in [
            ("hypercall_iret", "\tpushq\t%rcx\n\tpushq\t%r11\n", "\tpushq\t%r11\n\tpushq\t%rcx\n"),
            ("xen_iret", "\tpushq\t$0\n", "\tpushq\t$0x100\n"),
            ("xen_iret", "\tpushq\t$0\n", "\tpushq\t$0\n\tpushq\t$0\n"),
        ] {
            var variant = try Variant("linux-5.3")
            try variant.edit(routine, old, new)
            let result = try variant.simulate("xen-pv/divide_error/*/return")
            #expect(result.results.allSatisfy { $0.violations.first?.rule == "resumption" }, "\(routine): \(new)")
        }
        // F23: the failsafe callback must tell a bad IRET from a bad selector, and supply an error code.
        var retry = try Variant("linux-5.3")
        try retry.edit("xen_failsafe_callback", "\tjne\t.Lfailsafe_segment\n", "\tjmp\t.Lfailsafe_segment\n")
        let endless = try retry.run("xen-pv/divide_error/user/sigreturn-bad-ss")
        #expect(endless.violations.contains { $0.consequence?.rule == "progress" })
        var bare = try Variant("linux-5.3")
        try bare.edit("xen_failsafe_callback", "\tpushq\t$0\t\t\t\t/* error code */\n", "")
        #expect(try bare.run("xen-pv/divide_error/user/sigreturn-bad-ss").violations.first?.rule == "pt-regs-faithful")
        // Xen 4.17 does not use it for this.
        #expect(try bare.run("xen-pv/divide_error/user/sigreturn-bad-ss", xen: .v4_17).verdict == .holds)
    }

    @Test("a stub that loops, halts, faults or returns at once")
    func nothingHandled() throws {
        var loop = try Variant("linux-5.3")
        loop.write("divide_error", "jmp divide_error")
        let looped = try loop.run("bare-metal-amd/divide_error/kernel/return")
        #expect(looped.verdict == .violated)
        #expect(looped.violations.first?.rule == "progress")
        var writing = try Variant("linux-5.3")
        writing.write("divide_error", "incq %rax", "jmp divide_error")
        // The state changes with every turn: no end is proven, none was reached.
        let counted = try writing.run("bare-metal-amd/divide_error/kernel/return")
        #expect(counted.verdict == .undecided)
        #expect(counted.limit == "steps")
        var halt = try Variant("linux-5.3")
        halt.write("divide_error", "hlt")
        #expect(try halt.run("bare-metal-amd/divide_error/kernel/return").violations.first?.rule == "progress")
        #expect(try halt.run("xen-pv/divide_error/kernel/return").violations.first?.rule == "unexpected-fault")
        var undefined = try Variant("linux-5.3")
        undefined.write("divide_error", "ud2")
        let fault = try undefined.run("bare-metal-intel/divide_error/user/return")
        #expect(fault.violations.first?.rule == "unexpected-fault")
        #expect(fault.violations.first?.consequence?.rule == "double-fault")
        var back = try Variant("linux-5.3")
        back.write("divide_error", "iretq")
        #expect(try back.run("bare-metal-intel/divide_error/user/return").violations.first?.rule == "progress")
    }

    @Test("CR2 on Xen read from the wrong word")
    func faultAddress() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("xen_read_cr2_direct", "XEN_vcpu_info_arch_cr2", "XEN_vcpu_info_arch_cr2 + 8")
        try check(variant, "*/page_fault/*", "*/divide_error/*") {
            $0.platform == .xenPV && $0.event == "page_fault" && $0.probe != .softwareInterrupt ? "error-code" : nil
        }
    }
}

import EntryCode
import Testing
import Verification

/// Values and situations of which one scenario each knows: what is lost without it.
struct ContextTests {
    /// Rules that are violated in the scenarios of a pattern, by name; those that hold are missing.
    private func broken(_ variant: Variant, _ patterns: String...) throws -> [String: String] {
        let result = try variant.table().simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: patterns)))
        #expect(!result.results.isEmpty, "\(result.findings)")
        var found: [String: String] = [:]
        for scenario in result.results where scenario.verdict != .holds {
            found[scenario.scenario.name] = scenario.violations.first { $0.severity == .violation }?.rule ?? "undecided"
        }
        return found
    }

    // MARK: SYSRET

    @Test("RCX with an address in its low bits only: SYSRET faults in the kernel on Intel, and goes elsewhere on AMD")
    func comparisonOfRCX() throws {
        var variant = try Variant("linux-6.1")
        try variant.edit(
            "entry_SYSCALL_64", "\tcmpq\t%rcx, %r11\n\tjne\tswapgs_restore_regs_and_return_to_usermode\n\n\t/* Intel",
            "\n\t/* Intel")
        #expect(
            try broken(variant, "*/entry_SYSCALL_64/*") == [
                "bare-metal-intel/entry_SYSCALL_64/user/sysret-noncanonical-rcx": "unexpected-fault",
                "bare-metal-amd/entry_SYSCALL_64/user/sysret-noncanonical-rcx": "resumption",
            ])
    }

    @Test("RCX that is not RIP, in either half", arguments: ["linux-4.4", "linux-4.15", "linux-5.3", "linux-6.1"])
    func halvesOfRCX(kernel: String) throws {
        let routine =
            kernel == "linux-4.4" ? "opportunistic_sysret_failed" : "swapgs_restore_regs_and_return_to_usermode"
        var variant = try Variant(kernel)
        let comparison = "\tcmpq\t%rcx, %r11\n\tjne\t\(routine)\n"
        try variant.edit("entry_SYSCALL_64", comparison, "")
        try variant.edit("entry_SYSCALL_64", comparison, "")
        for half in ["upper", "lower"] {
            let name = "bare-metal-amd/entry_SYSCALL_64/user/sysret-rcx-\(half)-half"
            // Old kernels have defects that any event shows.
            #expect(try !Variant(kernel).run(name).violations.map(\.rule).contains("resumption"))
            #expect(try variant.run(name).violations.map(\.rule).contains("resumption"))
        }
    }

    @Test("RF is not for SYSRET to load", arguments: ["linux-5.3", "linux-5.8", "linux-6.1"])
    func resumeFlag(kernel: String) throws {
        var variant = try Variant(kernel)
        try variant.edit("entry_SYSCALL_64", "(X86_EFLAGS_RF|X86_EFLAGS_TF)", "(X86_EFLAGS_TF)")
        let found = try broken(variant, "bare-metal-*/entry_SYSCALL_64/*")
        #expect(
            found == [
                "bare-metal-intel/entry_SYSCALL_64/user/sysret-resume-flag": "resumption",
                "bare-metal-amd/entry_SYSCALL_64/user/sysret-resume-flag": "resumption",
            ])
    }

    // MARK: What was put off

    @Test("a flush that was put off", arguments: ["linux-4.15", "linux-5.3", "linux-5.8", "linux-6.1"])
    func flush(kernel: String) throws {
        #expect(try Variant(kernel).simulate("bare-metal-intel/*/pending-flush").results.count >= 8)
        var variant = try Variant(kernel)
        try variant.editMacro("SWITCH_TO_USER_CR3_NOSTACK", in: "entry_SYSCALL_compat") {
            $0.replacing("\tjnc\t.Luser_cr3_keep_tlb", with: "\tjmp\t.Luser_cr3_keep_tlb")
        }
        let rules = try variant.simulate("bare-metal-intel/entry_SYSENTER_compat/user-32/pending-flush").results
            .flatMap(\.violations).map(\.rule)
        #expect(rules.contains("user-page-table"))
    }

    // MARK: Programs at the kernel's addresses

    @Test("the address of the IRET is looked at before the mode")
    func addressBeforeMode() throws {
        var variant = try Variant("linux-6.1")
        try variant.edit(
            "error_entry", "\ttestb\t$3, CS+8(%rsp)\n",
            "\tcmpq\t$native_irq_return_iret, RIP+8(%rsp)\n\tje\t.Lerror_bad_iret\n\ttestb\t$3, CS+8(%rsp)\n")
        let found = try broken(variant, "*")
        #expect(!found.isEmpty)
        for name in found.keys { #expect(name.contains("/user-rip-iret/"), "\(name)") }
    }

    @Test("the sign of RIP stands for the mode")
    func signOfRIP() throws {
        var variant = try Variant("linux-6.1")
        try variant.edit(
            "error_entry", "\ttestb\t$3, CS+8(%rsp)\n\tjz\t.Lerror_kernelspace\n",
            "\tcmpq\t$0, RIP+8(%rsp)\n\tjl\t.Lerror_kernelspace\n")
        let found = try broken(variant, "bare-metal-intel/asm_exc_page_fault/*")
        #expect(found.keys.contains("bare-metal-intel/asm_exc_page_fault/user-rip-vsyscall/return"))
        #expect(found.keys.contains("bare-metal-intel/asm_exc_page_fault/user-rip-gs-change/return"))
        for name in found.keys { #expect(name.contains("/user-rip-"), "\(name)") }
    }

    @Test("RIP with its upper half cut off")
    func truncated() throws {
        var variant = try Variant("linux-6.1")
        try variant.edit("error_entry", "\tje\t.Lbstep_iret\n", "")
        let found = try broken(variant, "*/entry_INT80_compat/*")
        #expect(Array(found.keys) == ["bare-metal-amd/entry_INT80_compat/user-32/sigreturn-truncated-rip"])
    }

    // MARK: Gates

    @Test("a gate that 32-bit programs count on is missing")
    func withoutGate() throws {
        var variant = try Variant("linux-6.1")
        try variant.removeGate(128)
        let found = try broken(variant, "*/entry_INT80_compat/user/return", "*/entry_INT80_compat/user-32/return")
        #expect(found.count == 6)
        #expect(Set(found.values) == ["user-reachable-gate"])
        try variant.option("IA32_EMULATION", false)
        #expect(try broken(variant, "*").isEmpty)
    }

    @Test("NMI and #DB have exchanged their stacks, and nobody minds")
    func exchangedStacks() throws {
        var variant = try Variant("linux-6.1")
        try variant.gate(1, "ist", 2)
        try variant.gate(2, "ist", 3)
        #expect(try broken(variant, "*").isEmpty)
    }

    @Test("a native stub that Xen enters, and a gate that programs reach, are named as such")
    func causes() throws {
        var variant = try Variant("linux-5.3")
        try variant.changeXen("traps") { $0.filter { $0["native"] != "page_fault" } }
        try variant.gate(13, "dpl", 3)
        let native = try variant.run("xen-pv/page_fault/user/return")
        #expect(native.violations.first?.explanation.contains("RCX and R11") == true, "\(native.violations)")
        let gate = try variant.run("bare-metal-intel/general_protection/user/software-interrupt")
        #expect(gate.violations.first?.rule == "user-reachable-gate")
        #expect(gate.violations.first?.explanation.contains("DPL 3") == true, "\(gate.violations)")
    }

    // MARK: Numbers

    @Test("the upper half of a system call's number, where it counts, and the sign of a vector")
    func widths() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSCALL_64", "\tmovq\t%rax, %rdi\n", "\tmovl\t%eax, %edi\n")
        let found = try broken(variant, "*/entry_SYSCALL_64/user/return")
        #expect(Set(found.values) == ["pt-regs-faithful"] && found.count == 3)
        var short = try Variant("linux-6.1")
        try short.edit("entry_INT80_compat", "\tmovl\t%eax, %eax", "\tmovslq\t%eax, %rax")
        let extended = try broken(short, "*/entry_INT80_compat/user-32/return")
        #expect(Set(extended.values) == ["pt-regs-faithful"] && extended.count == 3, "\(extended)")
        var later = try Variant("linux-6.1")
        try later.edit("entry_SYSCALL_64", "\tmovslq\t%eax, %rsi", "\tmovl\t%eax, %esi")
        #expect(try broken(later, "*/entry_SYSCALL_64/*").isEmpty)
        try later.edit("spurious_interrupt", "\tIDTENTRY_IRQ_BODY __spurious_interrupt\n", spurious)
        let signed = try broken(later, "bare-metal-*/spurious_entries_start/*/return")
        #expect(!signed.isEmpty && Set(signed.values) == ["pt-regs-faithful"], "\(signed)")
    }

    @Test("a system call's number comes to C as the program has it")
    func number() throws {
        for change in ["", "\tmovzwl\t%ax, %esi"] {
            var variant = try Variant("linux-6.1")
            try variant.edit("entry_SYSCALL_64", "\tmovslq\t%eax, %rsi", change)
            let found = try broken(variant, "*/entry_SYSCALL_64/user/return")
            #expect(Set(found.values) == ["pt-regs-faithful"] && found.count == 3, "\(found)")
        }
    }

    @Test("work before a system call of 4.4, by context tracking and by a tracer")
    func workBeforeCalls() throws {
        let probes = ["context-tracking", "syscall-trace"]
        let patterns = probes.map { "bare-metal-*/entry_SYSCALL_64/user/\($0)" }
        func rules(_ variant: Variant) throws -> [String: Set<String>] {
            let result = try variant.table().simulate(
                SimulationRequest(selection: ScenarioSelection(patterns: patterns)))
            return Dictionary(
                uniqueKeysWithValues: result.results.map { ($0.scenario.name, Set($0.violations.map(\.rule))) })
        }
        var variant = try Variant("linux-4.4")
        let own = try rules(variant)
        #expect(own.count == 4 && own.values.allSatisfy { $0 == ["register-hygiene"] }, "\(own)")
        // The way out by SYSRET from all of pt_regs.
        try variant.edit(
            "entry_SYSCALL_64", "\tmovq\tRSP(%rsp), %rsp\n\tUSERGS_SYSRET64\n\nopportunistic_sysret_failed",
            "\tUSERGS_SYSRET64\n\nopportunistic_sysret_failed")
        let broken = try rules(variant)
        #expect(broken.values.allSatisfy { $0.contains("information-leak") }, "\(broken)")
    }

    // MARK: Values that a processor refuses, or that C would see

    @Test("CR3's bit 63 without PCIDs", arguments: [true, false])
    func reservedBit(hasPCID: Bool) throws {
        var variant = try Variant("linux-6.1")
        try variant.option("PCID", hasPCID)
        let change = "\tmovq\t%cr3, %rax\n\tandq\t$~0x1800, %rax\n\tbtsq\t$63, %rax\n\tmovq\t%rax, %cr3\n"
        try variant.edit("error_entry", "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rax\n", change)
        let found = try broken(variant, "bare-metal-intel/asm_exc_divide_error/user/return")
        #expect(found.isEmpty == hasPCID, "\(found)")
    }

    @Test("reserved bits of SPEC_CTRL")
    func reservedBits() throws {
        var variant = try Variant("linux-6.1")
        try variant.editMacro("IBRS_ENTER", in: "error_entry") {
            $0.replacing("\tshrq\t$32, %rdx\n", with: "")
        }
        let found = try broken(variant, "bare-metal-intel/asm_exc_divide_error/user/return")
        #expect(found.count == 1, "\(found)")
    }

    @Test("registers of a program reach C that prepares for the handler", arguments: ["linux-5.3", "linux-6.1"])
    func hygiene(kernel: String) throws {
        var variant = try Variant(kernel)
        try variant.edit("error_entry", "\tENCODE_FRAME_POINTER 8\n", "\tmovq\tR8+8(%rsp), %r8\n")
        let found = try broken(variant, "bare-metal-*/*divide_error/user/return")
        #expect(Set(found.values) == ["register-hygiene"] && found.count == 2, "\(found)")
    }

    @Test(
        "each bit of ESP that the espfix stack's address takes", arguments: ["0xffff8000", "0xfffe0000", "0x7fff0000"])
    func espfixMask(mask: String) throws {
        var variant = try Variant("linux-6.1")
        let pattern = "bare-metal-*/asm_exc_divide_error/user/sigreturn-16-bit-ss"
        #expect(try broken(variant, pattern).isEmpty)
        try variant.edit("common_interrupt_return", "$0xffff0000, %eax", "$\(mask), %eax")
        #expect(try broken(variant, pattern).count == 2)
    }

    @Test("where programs write the GS base, SMAP is no fence")
    func fencesWithFSGSBASE() throws {
        var variant = try Variant("linux-6.1")
        try variant.option("FENCE_SWAPGS", false)
        let pattern = "bare-metal-amd/asm_exc_divide_error/user/return"
        #expect(Array(try broken(variant, pattern).values) == ["speculation-barrier"])
        try variant.option("FSGSBASE", false)
        #expect(try broken(variant, pattern).isEmpty)
    }

    @Test("ENDBR64 is no instruction to a processor without CET")
    func endBranch() throws {
        var variant = try Variant("linux-6.1")
        try variant.edit("error_entry", "\tENCODE_FRAME_POINTER 8\n", "\tendbr64\n")
        #expect(try broken(variant, "*/asm_exc_divide_error/*").isEmpty)
    }

    /// The body with the vector as the stub has pushed it.
    private let spurious = """
        	pushq	%rbx
        	pushq	%r12
        	pushq	%r13
        	movq	%rdi, %rbx
        	movl	%esi, %r12d
        	call	irqentry_enter
        	movl	%eax, %r13d
        	RUN_ON_IRQSTACK_COND __spurious_interrupt, vector=1
        	movq	%rbx, %rdi
        	movl	%r13d, %esi
        	call	irqentry_exit
        	popq	%r13
        	popq	%r12
        	popq	%rbx
        	RET

        """

    // MARK: The fast path of system calls

    @Test("a task without work takes the fast path, whatever the option")
    func fastPath() throws {
        let usual = try Variant("linux-4.15").simulate("*")
        var variant = try Variant("linux-4.15")
        try variant.option("SYSCALL_WORK", false)
        let idle = try variant.simulate("*")
        #expect(idle.results.map(\.verdict) == usual.results.map(\.verdict))
        let quick = try variant.run("bare-metal-amd/entry_SYSCALL_64/user-idle-task/table-call")
        #expect(quick.cost.serialisingInstructions <= 1, "SYSRET, and a fence of the retpoline at most")
    }

    @Test(
        "what can go wrong on it",
        arguments: [
            ("entry_SYSCALL_64", "\tmovq\t%r10, %rcx", "\tnop", "table-call", "pt-regs-faithful"),
            (
                "entry_SYSCALL_64", "\tmovq\tEFLAGS(%rsp), %r11\n\taddq", "\tmovq\tRDX(%rsp), %r11\n\taddq",
                "table-call", "resumption"
            ),
            ("entry_SYSCALL_64", "\tjnz\t.Lfastpath_exit_work\n", "", "pending-signal", "progress"),
            ("entry_SYSCALL_64", "\tja\t.Lfastpath_no_such_call", "\tjae\t.Lfastpath_no_such_call", "table-call", ""),
            ("stub_ptregs_64", "\tpopq\t%rax\n", "", "return", "pt-regs-faithful"),
            (
                "stub_ptregs_64", "\tjne\t.Lptregs_called_from_c\n", "\tje\t.Lptregs_called_from_c\n", "return",
                "progress"
            ),
        ])
    func fastPath(routine: String, old: String, new: String, probe: String, rule: String) throws {
        var variant = try Variant("linux-4.15")
        try variant.edit(routine, old, new)
        let name = "bare-metal-amd/entry_SYSCALL_64/user-idle-task/\(probe)"
        let before = try Variant("linux-4.15").run(name).violations.map(\.rule)
        let rules = try variant.run(name).violations.filter { $0.severity == .violation }.map(\.rule)
        #expect(rules != before, "\(rules)")
        if !rule.isEmpty { #expect(rules.contains(rule), "\(rules)") }
    }

    // MARK: Preemption

    private func preemptible(_ name: String, _ old: String, _ new: String) throws -> Variant {
        var variant = try Variant("linux-5.3")
        try variant.option("PREEMPT", true)
        if !name.isEmpty { try variant.edit(name, old, new) }
        return variant
    }

    @Test("interrupts were off: nobody may run instead")
    func preemptionWithInterruptsOff() throws {
        #expect(try broken(preemptible("", "", ""), "*").isEmpty)
        let variant = try preemptible(
            "common_interrupt", "\tbtl\t$X86_EFLAGS_IF_BIT, EFLAGS(%rsp)\n\tjnc\t.Lretint_no_preempt\n", "")
        let found = try broken(variant, "*")
        #expect(found.values.contains("interrupt-flag"))
        for (name, rule) in found { #expect(rule == "interrupt-flag" || rule == "unexpected-fault", "\(name)") }
    }

    @Test("a spinlock is held, a softirq runs: the kernel's own assertion")
    func preemptionInsideLocks() throws {
        let variant = try preemptible(
            "common_interrupt", "\tcmpl\t$0, PER_CPU_VAR(__preempt_count)\n\tjnz\t.Lretint_no_preempt\n", "")
        let found = try broken(
            variant, "*/page_fault/kernel-rsp8/fixup", "*/apic_timer_interrupt/kernel-softirq/return")
        #expect(found["bare-metal-intel/page_fault/kernel-rsp8/fixup"] == "unexpected-fault", "\(found)")
        #expect(found["bare-metal-amd/apic_timer_interrupt/kernel-softirq/return"] == "unexpected-fault", "\(found)")
    }

    @Test("a task that is switched away from on the stack of #DB")
    func preemptionOnExceptionStack() throws {
        let variant = try preemptible(
            "paranoid_exit", "\tjmp\trestore_regs_and_return_to_kernel\n", "\tjmp\tretint_kernel\n")
        let found = try broken(variant, "bare-metal-*/debug/kernel/return")
        #expect(Set(found.values) == ["stack-bounds"] && found.count == 2, "\(found)")
    }

    @Test("a hypercall that may be preempted is", arguments: ["linux-5.8", "linux-6.1"])
    func preemptibleHypercall(kernel: String) throws {
        let name = try #require(
            try Variant(kernel).table().expand(for: .xenPV).scenarios().first { $0.context == .kernelHypercall }?.name)
        #expect(try Variant(kernel).run(name).verdict == .holds)
        var variant = try Variant(kernel)
        let register = kernel == "linux-6.1" ? "%r12b" : "%bpl"
        try variant.edit(
            "xen_pv_evtchn_do_upcall", "\tmovb\t\(register), PER_CPU_VAR(xen_in_preemptible_hcall)\n", "")
        #expect(try variant.run(name).verdict == (kernel == "linux-6.1" ? .violated : .holds))
    }

    // MARK: Debug registers

    @Test(
        "DR6 and DR7, at the events that may not be interrupted by breakpoints",
        arguments: [
            ("exc_nmi", "\tLOCAL_DB_RESTORE\n", "", "*/asm_*nmi/*"),
            ("exc_debug", "\tLOCAL_DB_RESTORE\n", "", "*/asm_exc_debug/kernel/return"),
            ("exc_debug", "\tLOCAL_DB_SAVE\n", "\txorl\t%eax, %eax\n", "*/asm_exc_debug/kernel/return"),
            ("exc_debug", "\tDEBUG_READ_CLEAR_DR6\n", "\tmovl\t$0x4000, %eax\n", "*/asm_exc_debug/kernel/return"),
            (
                "noist_exc_debug", "\tDEBUG_READ_CLEAR_DR6\n",
                "\tmovq\t%db6, %rax\n\tmovl\t$DR6_RESERVED, %edx\n\tmovq\t%rdx, %db6\n", "*/asm_exc_debug/user/return"
            ),
        ])
    func debugRegisters(routine: String, old: String, new: String, pattern: String) throws {
        var variant = try Variant("linux-6.1")
        try variant.edit(routine, old, new)
        let found = try broken(variant, pattern)
        #expect(!found.isEmpty)
        #expect(Set(found.values) == ["debug-registers"], "\(found)")
    }

    @Test("on AMD a null selector loads no base: what the program had is left")
    func nullSelector() throws {
        var variant = try Variant("linux-6.1")
        try variant.edit("asm_load_gs_index", "\tmovl\t$__USER_DS, %eax\n\tmovl\t%eax, %gs\n", "")
        let found = try broken(variant, "*/load-gs")
        #expect(!found.isEmpty)
        for (name, rule) in found { #expect(name.hasPrefix("bare-metal-amd/") && rule == "user-gs-base", "\(name)") }
    }

    // MARK: Speculation

    @Test("a branch around the write of SPEC_CTRL, mispredicted")
    func guardThatIsPassedBy() throws {
        var variant = try Variant("linux-6.1")
        try variant.editMacro("IBRS_ENTER", in: "paranoid_entry") { $0.replacing("\tlfence\n", with: "") }
        let found = try broken(variant, "*")
        #expect(!found.isEmpty)
        for (name, rule) in found {
            #expect(name.hasPrefix("bare-metal-intel/") && rule == "speculation-barrier", "\(name)")
        }
    }
}

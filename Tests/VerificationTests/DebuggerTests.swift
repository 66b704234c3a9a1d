import EntryCode
import Testing
import Verification

/// Programs that are stepped and watched (facts F28, F29; CVE-2018-8897).
struct DebuggerTests {
    private func deliveries(_ scenario: String) throws -> [String] {
        let found = try Variant("linux-5.3").table().trace(scenario: scenario, SimulationRequest())
        let (result, trace) = try #require(found)
        #expect(result.verdict == .holds, "\(scenario)")
        return trace.steps.map(\.instruction).filter { $0.contains(" is delivered") }
    }

    @Test("the trap of MOV SS comes in the kernel on bare metal, and ends in Xen on PV")
    func postponed() throws {
        for (event, way) in [("int3", "int3"), ("entry_SYSCALL_64", "entry_SYSCALL_64")] {
            let native = try deliveries("bare-metal-intel/\(event)/user/mov-ss-watchpoint")
            #expect(native.count == 2 && native[0].hasPrefix(way) && native[1].hasPrefix("debug "), "\(native)")
            #expect(try deliveries("xen-pv/\(event)/user/mov-ss-watchpoint").count == 1)
        }
    }

    @Test("a stepped system call traps one instruction behind its return, SYSENTER at each of its own")
    func steps() throws {
        #expect(try deliveries("bare-metal-amd/entry_SYSCALL_64/user/single-step").count == 2)
        #expect(try deliveries("bare-metal-intel/entry_INT80_compat/user/single-step").count == 2)
        #expect(try deliveries("xen-pv/entry_SYSCALL_64/user/single-step").count == 2)
        #expect(try deliveries("bare-metal-intel/entry_SYSENTER_compat/user-32/single-step").count > 30)
    }

    @Test("SYSRET although TF is set: the trap comes before the first instruction")
    func sysretWithTrapFlag() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_64",
            "\ttestq\t$(X86_EFLAGS_RF|X86_EFLAGS_TF), %r11\n\tjnz\tswapgs_restore_regs_and_return_to_usermode\n", "")
        for result in try variant.simulate("*/entry_SYSCALL_64/user/*").results {
            // RF goes by the same test, and SYSRET does not load it.
            let isStepped = result.scenario.probe == .singleStep || result.scenario.probe == .sysretResume
            #expect((result.verdict == .violated) == isStepped, "\(result.scenario.name)")
            if isStepped { #expect(result.violations.first?.rule == "resumption") }
        }
    }

    @Test("#BP on the stack of #DB: the postponed trap overwrites its frame (CVE-2018-8897)")
    func sharedStack() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(3, "ist", 3)
        for result in try variant.simulate("bare-metal-*/int3/user/*", "bare-metal-*/int3/user-32/*").results {
            let isHit = result.scenario.probe == .movSS
            #expect((result.verdict == .violated) == isHit, "\(result.scenario.name)")
            if isHit { #expect(result.violations.first?.rule == "live-frame-overwritten", "\(result.violations)") }
        }
    }

    @Test("#DB by the ordinary entry (boot: db_noparanoid): it trusts CS, and finds the user's GS base")
    func ordinaryDebug() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("debug", "shift_ist", .null)
        try variant.entry("debug", "ist_offset", 0)
        try variant.entry("debug", "paranoid", 0)
        let result = try variant.simulate(
            "bare-metal-*/entry_SYSCALL_64/user/mov-ss-watchpoint", "*/entry_SYSENTER_compat/user-32/single-step",
            "bare-metal-*/entry_SYSCALL_64/user/single-step")
        for scenario in result.results {
            let isSafe =
                scenario.scenario.platform == .xenPV
                || scenario.scenario.event == "entry_SYSCALL_64"
                    && scenario.scenario.probe == .singleStep
            #expect((scenario.verdict == .holds) == isSafe, "\(scenario.scenario.name)")
        }
    }

    @Test("GS is not swapped back after a trap at SYSCALL's first instruction (boot: par_nogsrestore)")
    func withoutSwapBack() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("paranoid_exit", "\tSWAPGS_UNSAFE_STACK\n", "")
        for result in try variant.simulate("bare-metal-*/*/user*/mov-ss-watchpoint").results {
            // From user mode #DB leaves another way; only where a trap hits the kernel is paranoid_exit run.
            #expect((result.verdict == .holds) == (result.scenario.event == "debug"), "\(result.scenario.name)")
        }
    }
}

/// Programs with values that an ordinary one does not have, and returns to what cannot run.
struct HostileProgramTests {
    @Test("GS bases in the kernel's half need WRGSBASE")
    func bases() throws {
        var image = try Variant("linux-5.3").table().expand(for: .bareMetalAMD)
        for allowed in [false, true] {
            image.table.options["FSGSBASE"] = allowed
            let scenarios = image.scenarios()
            #expect(scenarios.contains { $0.context == .userNegativeGS } == allowed)
            #expect(scenarios.contains { $0.context == .userKernelGS } == allowed)
            #expect(scenarios.contains { $0.context == .userGS })
        }
    }

    @Test("an entry that takes the sign of the GS base for the mode swaps wrongly once user bases may be negative")
    func signOfBase() throws {
        var image = try Variant("linux-5.3").table().expand(for: .bareMetalAMD)
        image.table.options["FSGSBASE"] = true
        let scenarios = image.scenarios().filter {
            glob("*/entry_SYSCALL_64/user-gs-base*/mov-ss-watchpoint", matches: $0.name)
        }
        #expect(scenarios.count == 3)
        var run = ScenarioRun(image: image)
        for scenario in scenarios {
            // Linux 5.3 does not set CR4.FSGSBASE for that reason.
            let result = run.execute(scenario)
            #expect((result.verdict == .violated) == (scenario.context == .userNegativeGS), "\(scenario.name)")
        }
    }

    @Test("an NMI entry that looks at RSP before it looks at CS takes a program's for a nested NMI")
    func stackPointer() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("nmi", "\tjz\t.Lnmi_from_kernel\n", "\tjmp\t.Lnmi_from_kernel\n")
        let result = try variant.run("bare-metal-amd/nmi/user-rsp-nmi-stack/return")
        #expect(result.violations.first?.rule == "progress", "\(result.violations)")
    }

    @Test("bad selectors come back as the exception that they are (F30)")
    func selectors() throws {
        let table = try Variant("linux-5.3").table()
        for (scenario, event) in [
            ("bare-metal-intel/page_fault/user/sigreturn-absent-cs", "segment_not_present"),
            ("bare-metal-intel/page_fault/user/sigreturn-null-ss", "general_protection"),
            ("bare-metal-intel/page_fault/user/sigreturn-bogus-ss", "double_fault"),
            ("xen-pv/entry_SYSCALL_64/user/sigreturn-absent-cs", "segment_not_present"),
        ] {
            var request = SimulationRequest()
            request.xen = .v4_17
            let (result, trace) = try #require(try table.trace(scenario: scenario, request))
            #expect(result.verdict == .holds)
            let found = trace.steps.map(\.instruction).filter { $0.contains(" is delivered") }
            #expect(found.count == 2 && found[1].hasPrefix(event), "\(found)")
        }
    }

    @Test("without espfix 32-bit code sees the kernel's RSP; 64-bit code loses nothing (F31)")
    func withoutEspfix() throws {
        var variant = try Variant("linux-5.3")
        try variant.option("X86_ESPFIX64", false)
        let result = try variant.simulate("bare-metal-*/page_fault/user/sigreturn-16-bit-ss*")
        for scenario in result.results {
            #expect(
                (scenario.verdict == .violated) == (scenario.scenario.probe == .sigreturnLDTStack),
                "\(scenario.scenario.name)")
        }
    }

    @Test("INT n is refused wherever the kernel has no gate")
    func otherVectors() throws {
        for platform in Platform.allCases {
            let image = try Variant("linux-5.3").table().expand(for: platform)
            let tried = Set(image.scenarios().filter { $0.event.hasPrefix("vector") }.map(\.vector))
            let gates = Set(image.vectors.map(\.vector)).subtracting(image.standIns)
            #expect(tried == Set(UInt8.min...UInt8.max).subtracting(gates))
        }
        var variant = try Variant("linux-5.3")
        try variant.addGate(200, "entry_INT80_compat", dpl: 3)
        let result = try variant.simulate("bare-metal-amd/*vector200/*", "bare-metal-amd/vector201/*")
        #expect(result.results.map(\.verdict) == [.violated, .holds])
    }
}

/// Loads of a GS selector whose descriptor has gone (fact F32).
struct LoadGSTests {
    private func results(_ variant: Variant) throws -> [ScenarioResult] { try variant.simulate("*/load-gs").results }

    @Test("the exception table leads on; GS is null afterwards, the bases are right")
    func holds() throws {
        let all = try results(try Variant("linux-5.3"))
        #expect(all.count == 16)
        for result in all {
            #expect(result.verdict == .holds && result.scenario.platform != .xenPV, "\(result.scenario.name)")
        }
    }

    @Test("the fixup does not swap (boot: badgs_noswapgs)")
    func fixupWithoutSwap() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "native_load_gs_index", "bad_gs:\n\tSWAPGS\t\t\t\t\t/* the entry code had put kernel GS back */\n",
            "bad_gs:\n")
        for result in try results(variant) {
            #expect(result.violations.first?.rule == "kernel-gs-base", "\(result.scenario.name)")
        }
    }

    @Test("error_entry does not know the place (boot: gschange_removed)")
    func unknownPlace() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "error_entry", "\tcmpq\t$gs_change, RIP+8(%rsp)\n\tjne\t.Lerror_entry_done_lfence\n",
            "\tjmp\t.Lerror_entry_done_lfence\n")
        for result in try results(variant) {
            #expect(result.violations.first?.rule == "kernel-gs-base", "\(result.scenario.name)")
        }
    }

    @Test("a kernel without the exception-table entry oopses (boot: loadgs_noextable)")
    func withoutEntry() throws {
        var image = try Variant("linux-5.3").table().expand(for: .bareMetalIntel)
        let scenarios = image.scenarios().filter { $0.probe == .loadGS }
        #expect(scenarios.count == 8)
        #expect(image.layout.fixups.count == 1)
        image.layout.fixups = [:]
        var run = ScenarioRun(image: image)
        for scenario in scenarios {
            let result = run.execute(scenario)
            #expect(result.violations.first?.rule == "unexpected-fault", "\(scenario.name)")
            let isAbsent = scenario.event == "segment_not_present"
            #expect(result.violations.first?.consequence?.errorCode == (isAbsent ? 0x0C : 0x50))
        }
    }
}

/// Events while an interrupt, a softirq or an NMI is handled.
struct InnerContextTests {
    @Test("an interrupt that does not see that the interrupt stack is in use starts at its top again")
    func interruptStack() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "interrupt_entry", "\tENTER_IRQ_STACK old_rsp=%rdi save_ret=1\n",
            """
            \tleaq\t8(%rsp), %rdi
            \tincl\tPER_CPU_VAR(irq_count)
            \tmovq\t%rdi, PER_CPU_VAR(irq_stack_backing_store + IRQ_STACK_SIZE - 8)
            \tmovq\tPER_CPU_VAR(hardirq_stack_ptr), %rsp
            \tpushq\t%rdi
            \tpushq\t-8(%rdi)

            """)
        for result in try variant.simulate("bare-metal-amd/irq_entries_start/kernel*/return").results {
            let isInside = result.scenario.context.isOnInterruptStack
            #expect(
                result.violations.first?.rule == (isInside ? "live-frame-overwritten" : nil), "\(result.scenario.name)")
        }
    }

    @Test("#BP on the stack of NMIs overwrites the frames of the one that is handled")
    func stackOfNMI() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(3, "ist", 2)
        for result in try variant.simulate("bare-metal-amd/int3/kernel*/return").results {
            let isInside = result.scenario.context.isInNMI
            #expect(
                result.violations.first?.rule == (isInside ? "live-frame-overwritten" : nil), "\(result.scenario.name)")
        }
    }

    @Test("the gap is missing wherever a handler pushes (F11)")
    func gap() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("int3", "create_gap", false)
        for result in try variant.simulate("bare-metal-amd/int3/kernel-*/emulate-*").results {
            let scenario = result.scenario
            let isHit = !scenario.context.isMisaligned && scenario.probe != .emulateJump
            #expect((result.verdict == .violated) == isHit, "\(scenario.name)")
        }
    }
}

import EntryCode
import Testing
import Verification

/// SYSENTER and SYSCALL from 32-bit code, as replaced routines of Linux 5.3.
struct FastCallTests {
    @Test("SYSENTER without CLD: a program with DF, but neither NT nor AC, gets through with it")
    func directionFlag() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSENTER_compat", "\tcld\n", "")
        let result = try variant.simulate("bare-metal-intel/entry_SYSENTER_compat/user-32/*")
        for scenario in result.results {
            let isLost = scenario.scenario.probe == .signal
            #expect(
                scenario.violations.first?.rule == (isLost ? "direction-flag" : nil), "\(scenario.scenario.name)")
        }
    }

    /// What changes nothing that SYSRET could not give.
    private static let returnsBySysret: Set<Probe> = [
        .return, .sysretFlags, .movSS, .pendingFlush, .otherTask, .nestedTaskFlag, .alignmentFlag,
    ]

    private static let calls = ["*/entry_SYSENTER_compat/*", "*/entry_SYSCALL_compat/*"]

    private func results(_ variant: Variant, _ patterns: [String] = FastCallTests.calls) throws -> [ScenarioResult] {
        let table = try variant.table()
        let result = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: patterns)))
        #expect(!result.results.isEmpty, "\(result.findings)")
        return result.results
    }

    /// Exactly the scenarios that the test names are violated, by this rule first.
    private func expect(
        _ variant: Variant, _ rule: String, where isBroken: (Scenario) -> Bool,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        var violated = 0
        for result in try results(variant) {
            let found = result.violations.first { $0.severity == .violation }
            let wanted = isBroken(result.scenario) ? rule : nil
            if wanted != nil { violated += 1 }
            #expect(
                found?.rule == wanted, "\(result.scenario.name): \(found?.explanation ?? "holds")",
                sourceLocation: sourceLocation)
        }
        #expect(violated > 0, sourceLocation: sourceLocation)
    }

    private func isSysenter(_ scenario: Scenario) -> Bool { scenario.event == "entry_SYSENTER_compat" }

    @Test("Intel has SYSENTER, AMD has SYSCALL, a guest has both; all of it holds")
    func platforms() throws {
        var found: Set<String> = []
        for result in try results(try Variant("linux-5.3")) {
            #expect(result.verdict == .holds, "\(result.scenario.name)")
            #expect(result.scenario.context == .user32)
            found.insert("\(result.scenario.platform.rawValue) \(result.scenario.event)")
        }
        #expect(
            found == [
                "bare-metal-intel entry_SYSENTER_compat", "bare-metal-amd entry_SYSCALL_compat",
                "xen-pv entry_SYSENTER_compat", "xen-pv entry_SYSCALL_compat",
            ])
        var variant = try Variant("linux-5.3")
        try variant.option("IA32_EMULATION", false)
        let none = try variant.table().simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["*/user-32/*", "*compat*/*"])))
        #expect(none.verdict == .holds && none.results.isEmpty)
    }

    @Test("SYSRET where nothing was changed, IRET where SYSRET cannot do it")
    func ways() throws {
        let variant = try Variant("linux-5.3")
        let quick = try variant.run("bare-metal-amd/entry_SYSCALL_compat/user-32/return")
        let fault = try variant.run("bare-metal-amd/entry_SYSCALL_compat/user-32/bad-user-stack")
        let stepped = try variant.run("bare-metal-amd/entry_SYSCALL_compat/user-32/set-trap-flag")
        #expect(quick.cost.serialisingInstructions == 0, "SYSRET does not serialise")
        #expect(fault.cost.serialisingInstructions > 0, "-EFAULT goes by IRET")
        #expect(stepped.cost.serialisingInstructions > 0, "TF forbids SYSRET")
    }

    @Test("the result of the C function is not looked at: SYSRET to anything")
    func resultIgnored() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSENTER_compat", "\ttestl\t%eax, %eax\n\tjz\tsyscall_32_done\n", "")
        for result in try results(variant, ["bare-metal-intel/entry_SYSENTER_compat/*"]) {
            // SYSRET goes to any 32-bit address with any flags but TF.
            let isHarmless = [
                Probe.return, .sysretFlags, .badUserStack, .movSS, .pendingFlush, .otherTask, .signal, .modifyUserState,
                .nestedTaskFlag, .alignmentFlag,
            ].contains(result.scenario.probe)
            #expect((result.verdict == .holds) == isHarmless, "\(result.scenario.name)")
        }
    }

    @Test("SYSENTER with AC and NT as the user left them: SMAP is off in the kernel")
    func flagsNotFixed() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSENTER_compat", "\tjnz\t.Lsysenter_fix_flags\n", "")
        for result in try results(variant, ["bare-metal-intel/entry_SYSENTER_compat/*"]) {
            // Stepped, it traps outside of SYSENTER's code, too.
            // The one whose program has neither AC nor NT holds.
            let rule: String? =
                switch result.scenario.probe {
                case .singleStep: "unexpected-fault"
                case .signal: nil
                case .nestedTaskFlag: "nested-task-flag"
                default: "access-flag"
                }
            #expect(result.violations.first?.rule == rule, "\(result.scenario.name)")
        }
        #expect(
            try results(variant, ["bare-metal-amd/*compat/*", "xen-pv/*compat/*"]).allSatisfy { $0.verdict == .holds })
        for result in try results(variant, ["bare-metal-intel/entry_SYSENTER_compat/user-32/modify-user-state"]) {
            // NT makes the IRET fault.
            #expect(result.violations.contains { $0.rule == "unexpected-fault" }, "\(result.scenario.name)")
        }
    }

    /// What SYSENTER lets through is looked at flag by flag: a program may have set one of them alone.
    @Test(arguments: ["linux-4.15", "linux-5.3", "linux-5.8", "linux-6.1"])
    func eachFlagAlone(kernel: String) throws {
        let whole = "$(X86_EFLAGS_NT|X86_EFLAGS_AC|X86_EFLAGS_TF)"
        let own = try rulesByProbe(try Variant(kernel))
        /// The rule that breaks in each probe, and does not as shipped.
        func broken(_ mask: String) throws -> [Probe: String] {
            var variant = try Variant(kernel)
            try variant.edit("entry_SYSENTER_compat", whole, mask)
            var found: [Probe: String] = [:]
            for (probe, rules) in try rulesByProbe(variant) {
                found[probe] = rules.subtracting(own[probe] ?? []).sorted().first
            }
            return found
        }
        #expect(try broken("$(X86_EFLAGS_NT|X86_EFLAGS_TF)") == [.alignmentFlag: "access-flag"])
        #expect(try broken("$(X86_EFLAGS_AC|X86_EFLAGS_TF)") == [.nestedTaskFlag: "nested-task-flag"])
        // Of 4.15 a stepped SYSENTER breaks as shipped, and before that (paranoid_exit and the page tables).
        let isStepped = own[.singleStep] == []
        #expect(isStepped == (kernel != "linux-4.15"))
        #expect(
            try broken("$(X86_EFLAGS_NT|X86_EFLAGS_AC)") == (isStepped ? [.singleStep: "unexpected-fault"] : [:]))
    }

    /// Linux 4.4 clears AC in any case, and `do_debug` takes TF away at the first step.
    @Test func onlyNTIsLookedAtWhereTheOthersAreGone() throws {
        var variant = try Variant("linux-4.4")
        let own = try rulesByProbe(variant)
        #expect(!own.values.contains { $0.contains("nested-task-flag") || $0.contains("unexpected-fault") })
        try variant.edit("entry_SYSENTER_compat", "\tjnz\tsysenter_fix_flags\n", "")
        let found = try rulesByProbe(variant)
        #expect(found[.nestedTaskFlag]?.contains("nested-task-flag") == true)
        #expect(found[.alignmentFlag] == own[.alignmentFlag])
        #expect(found[.singleStep] == own[.singleStep])
    }

    private func rulesByProbe(_ variant: Variant) throws -> [Probe: Set<String>] {
        var found: [Probe: Set<String>] = [:]
        for result in try variant.simulate("bare-metal-intel/entry_SYSENTER_compat/user-32/*").results {
            found[result.scenario.probe] = Set(
                result.violations.filter { $0.severity == .violation }.map(\.rule))
        }
        return found
    }

    @Test("IF as SYSENTER leaves it would let the program run with interrupts off")
    func interruptFlag() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSENTER_compat", "\torl\t$X86_EFLAGS_IF, (%rsp)\t\t/* SYSENTER has cleared it */\n", "")
        try expect(variant, "pt-regs-faithful") { $0.platform == .bareMetalIntel && isSysenter($0) }
    }

    @Test("the second argument is in EBP, ECX is the return address")
    func secondArgument() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_compat", "\tpushq\t%rbp\t\t\t\t/* RCX, as the vDSO passes it */\n", "\tpushq\t%rcx\n")
        try expect(variant, "pt-regs-faithful") { $0.event == "entry_SYSCALL_compat" }
    }

    @Test("what C leaves in R10 goes to the program with SYSRET")
    func scratchRegister() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSCALL_compat", "\txorl\t%r10d, %r10d\n\tswapgs\n", "\tswapgs\n")
        try expect(variant, "information-leak") {
            $0.platform != .xenPV && Self.returnsBySysret.contains($0.probe)
        }
    }

    @Test("SYSRET without SWAPGS")
    func withoutSwapBack() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("entry_SYSCALL_compat", "\tswapgs\n\tsysretl\n", "\tsysretl\n")
        try expect(variant, "user-gs-base") {
            $0.platform != .xenPV && Self.returnsBySysret.contains($0.probe)
        }
    }

    @Test("SYSRET on the kernel's page tables")
    func withoutUserPageTables() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "entry_SYSCALL_compat", "\tSWITCH_TO_USER_CR3_NOSTACK scratch_reg=%r8 scratch_reg2=%r9\n", "")
        try expect(variant, "user-page-table") {
            $0.platform == .bareMetalIntel
                && Self.returnsBySysret.contains($0.probe)
        }
    }

    @Test("a PV guest that keeps Xen's selectors shows them to the handler (F7)")
    func withoutSelectors() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("xen_syscall32_target", "\tmovq\t$__USER32_CS, 1*8(%rsp)\n", "")
        try expect(variant, "pt-regs-faithful") { $0.platform == .xenPV && !isSysenter($0) }
    }

    @Test("without the callback a guest has no such calls")
    func withoutCallback() throws {
        let variant = try Variant("linux-5.3")
        var callbacks = try #require(variant.document["xen"]?["callbacks"])
        guard case .object(let members) = callbacks else { return }
        callbacks = .object(members.filter { $0.key != "sysenter" })
        var xen = try #require(variant.document["xen"])
        xen.set("callbacks", callbacks)
        var document = variant.document
        document.set("xen", xen)
        let image = try EntryTable.read(document).expand(for: .xenPV)
        #expect(!image.scenarios().contains { $0.event == "entry_SYSENTER_compat" })
        #expect(image.scenarios().contains { $0.event == "entry_SYSCALL_compat" })
    }
}

/// Xen's failsafe callback (facts F23, F39).
struct FailsafeTests {
    @Test("every selector, from user mode and from the kernel")
    func holds() throws {
        for kernel in ["linux-5.2", "linux-5.3"] {
            let result = try Variant(kernel).simulate("*/xen_failsafe_callback/*")
            #expect(result.verdict == .holds)
            #expect(Set(result.results.map(\.scenario.platform)) == [.xenPV])
            #expect(result.results.contains { $0.scenario.context == .user && $0.scenario.probe == .badGS })
            #expect(result.results.contains { $0.scenario.context == .kernelEventsOffRSP8 })
        }
    }

    @Test("DS and ES are not compared (boot: fs_cat2): a bad selector is taken for a bad IRET")
    func withoutComparison() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "xen_failsafe_callback", "\tjne\t.Lfailsafe_segment\n\tmovl\t%es, %ecx\n", "\tmovl\t%es, %ecx\n")
        try variant.edit(
            "xen_failsafe_callback", "\tjne\t.Lfailsafe_segment\n\tmovl\t%fs, %ecx\n", "\tmovl\t%fs, %ecx\n")
        for result in try variant.simulate("xen-pv/xen_failsafe_callback/*").results {
            let isLost = result.scenario.probe == .badDS || result.scenario.probe == .badES
            #expect(
                result.violations.first { $0.severity == .violation }?.rule == (isLost ? "progress" : nil),
                "\(result.scenario.name)")
        }
    }

    @Test("RCX and R11 come from the frame")
    func registers() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "xen_failsafe_callback",
            "\t/* Xen loaded null instead: go on, the second try will not fault */\n\tmovq\t0*8(%rsp), %rcx\n", "")
        for result in try variant.simulate("xen-pv/xen_failsafe_callback/*").results {
            #expect(result.violations.first?.rule == "resumption", "\(result.scenario.name)")
        }
    }
}

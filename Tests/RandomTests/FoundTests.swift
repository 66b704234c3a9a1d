import EntryCode
import Testing
import Verification

/// What random tables have found wrong with the tool, each as small as it could be made.
struct FoundTests {
    /// A changed routine, and scenarios of which some event was not tried although it breaks.
    private struct Miss: Sendable {
        /// The seed of `RandomNestingTests.shortcuts` that found it.
        var seed: UInt64
        var kernel: String
        var platform: Platform
        var scenarios: [String]
        var routine: String
        var change: @Sendable (inout [String]) -> Void
    }

    private static let misses: [Miss] = [
        // The NMI entry compares a word that Xen filled with RCX.
        Miss(
            seed: 585, kernel: "linux-4.4", platform: .xenPV, scenarios: ["entry_SYSCALL_compat/user-32/return"],
            routine: "common_interrupt"
        ) {
            guard let first = $0.firstIndex(of: "\tmovq %rbx, 0x28(%rsp)"),
                let second = $0.firstIndex(of: "\tcall trace_hardirqs_on_thunk")
            else { return }
            $0.swapAt(first, second)
        },
        // A rule that one scenario has broken before the NMI comes is broken by the NMI in another.
        Miss(
            seed: 2289, kernel: "linux-4.4", platform: .bareMetalAMD,
            scenarios: ["divide_error/kernel/return", "bounds/kernel-events-off-rsp8/return"], routine: "error_exit"
        ) {
            $0.insert("\tstac", at: 4)
            $0[7] = "\tjmp spurious_interrupt_bug"
        },
        // A finding that is latent hides where else the nested event leads.
        Miss(
            seed: 3935, kernel: "linux-5.3", platform: .xenPV,
            scenarios: [
                "page_fault/user/sigreturn-bad-cs", "coprocessor_segment_overrun/user/sigreturn-bad-ss",
                "page_fault/user-rsp-noncanonical/return",
            ], routine: "xen_irq_disable_direct"
        ) { $0.remove(at: 2) },
        // A nested event returns by what a register of the interrupted code holds.
        Miss(
            seed: 8515, kernel: "linux-6.1", platform: .bareMetalIntel,
            scenarios: [
                "asm_exc_general_protection/kernel-events-off/return", "asm_exc_int3/kernel-rsp8/return",
                "asm_exc_bounds/kernel-events-off-rsp8/return", "asm_exc_divide_error/kernel-rsp8/return",
            ], routine: "paranoid_entry"
        ) { $0.removeAll { $0 == "\tmovq 8(%rsp), %rsi" } },
    ]

    @Test("shortcuts have missed", arguments: misses.indices)
    func miss(index: Int) throws {
        let miss = Self.misses[index]
        let code = try ShippedCode.of(miss.kernel, miss.platform)
        let text = try #require(code.routines.first { $0.name == miss.routine }?.text)
        var lines = text.split(separator: "\n").map(String.init)
        let before = lines
        miss.change(&lines)
        #expect(lines != before, "seed \(miss.seed): the change changes nothing")
        var document = code.kernel.document
        document.set(
            "routines",
            .object([JSON.Member(miss.routine, .string(lines.joined(separator: "\n") + "\n"))]))
        try compare(document, miss.scenarios.map { "\(miss.platform.rawValue)/\($0)" }, miss.platform, miss.seed)
    }

    /// A warning of the nested event was taken for a violation that is reported: what else it did was not looked for.
    @Test func seed3503() throws {
        let code = try ShippedCode.of("linux-5.3", .xenPV)
        var document = code.kernel.document
        var rows = try #require(document["entries"]?.arrayValue)
        let row = try #require(rows.firstIndex { $0["symbol"] == "general_protection" })
        rows[row].set("paranoid", 1)
        rows[row].set("shift_ist", "IST_INDEX_DB")
        document.set("entries", .array(rows))
        let scenarios = [
            "xen_hypervisor_callback/user-rsp-nmi-stack/return", "bounds/user/return",
            "simd_coprocessor_error/user/sigreturn-noncanonical-rip", "simd_coprocessor_error/user/modify-user-state",
        ]
        try compare(document, scenarios.map { "xen-pv/\($0)" }, .xenPV, 3503)
    }

    private func compare(_ document: JSON, _ scenarios: [String], _ platform: Platform, _ seed: UInt64) throws {
        let table = try EntryTable.read(document)
        var request = SimulationRequest(
            selection: ScenarioSelection(platforms: [platform], patterns: scenarios), nesting: 1)
        request.limits.steps = 2_000
        let found = Invariants.findings(table.simulate(request))
        request.isExhaustive = true
        let all = Invariants.findings(table.simulate(request))
        #expect(!all.isEmpty, "seed \(seed): nothing breaks")
        #expect(found == all, "seed \(seed): not found \(all.subtracting(found))")
    }

    /// Two gates that lead to one entry gave two nested events of one name.
    @Test func seed3857() throws {
        let code = try ShippedCode.of("linux-6.1", .bareMetalIntel)
        var document = code.kernel.document
        var rows = try #require(document["idt"]?.arrayValue)
        let row = try #require(rows.firstIndex { $0["vector"] == 3 })
        rows[row].set("entry", "asm_exc_page_fault")
        document.set("idt", .array(rows))
        let table = try EntryTable.read(document)
        let request = SimulationRequest(
            selection: ScenarioSelection(patterns: ["bare-metal-intel/asm_exc_coproc_segment_overrun/kernel/return"]),
            nesting: 1)
        let nested = table.simulate(request).results.filter { !$0.scenario.injections.isEmpty }
        #expect(!nested.isEmpty)
        for scenario in nested { try Invariants.checkTrace(of: scenario, table, request, 3857) }
    }

    /// A second nested event at the step at which the first is delivered was never reached.
    @Test func seed22() throws {
        let code = try ShippedCode.of("linux-5.3", .bareMetalAMD)
        let table = try EntryTable.read(code.kernel.document)
        let name = "bare-metal-amd/invalid_op/kernel/return+nmi@invalid_op:0+debug@nmi:0"
        let (result, trace) = try #require(try table.trace(scenario: name, SimulationRequest()))
        #expect(result.verdict == .holds)
        #expect(trace.steps.contains { $0.activation == 3 && $0.symbol.hasPrefix("do_debug+") })
    }

    /// A second nested event in a C function, where the first has returned to, was never reached.
    @Test func seed1032() throws {
        let code = try ShippedCode.of("linux-5.3", .bareMetalAMD)
        var scenario = try #require(code.scenarios.first { $0.name == "bare-metal-amd/nmi/kernel/return" })
        var run = ScenarioRun(image: code.image)
        run.recorder = TraceRecorder(image: code.image, limit: run.limits.traceSteps)
        _ = run.execute(scenario)
        let function = try #require(run.recorder?.steps.first { $0.symbol.hasPrefix("do_nmi+") })
        let names = ["machine_check@do_nmi:\(function.step)", "page_fault@do_nmi:"]
        scenario.injections = try #require(code.image.injections(of: "+\(names[0])")).injections
        _ = run.execute(scenario)
        let last = try #require(run.recorder?.steps.last { $0.activation == 2 })
        scenario.injections = try #require(code.image.injections(of: "+\(names[0])+\(names[1])\(last.step + 1)"))
            .injections
        #expect(run.execute(scenario).verdict == .holds)
        #expect(run.missedInjections.isEmpty)
    }

    /// With two events, what one of them writes next decided whether the word that it had overwritten was still needed.
    @Test func seed4064() throws {
        let code = try ShippedCode.of("linux-5.3", .xenPV)
        // Machine checks are enough.
        var document = code.kernel.document
        let rows = try #require(document["idt"]?.arrayValue)
        document.set("idt", .array(rows.filter { ![1, 2, 3].contains($0["vector"]) }))
        var xen = try #require(document["xen"])
        let traps = try #require(xen["traps"]?.arrayValue)
        xen.set("traps", .array(traps.filter { !["debug", "nmi", "int3"].contains($0["native"]) }))
        document.set("xen", xen)
        let table = try EntryTable.read(document)
        let found = (1...2).map { nesting in
            Invariants.findings(
                table.simulate(
                    SimulationRequest(
                        selection: ScenarioSelection(patterns: ["xen-pv/divide_error/user/return"]), nesting: nesting)))
        }
        #expect(!found[0].isEmpty)
        #expect(found[0].isSubset(of: found[1]), "lost: \(found[0].subtracting(found[1]))")
    }

    /// Followed from inside another event, the interrupted program ran past the address where it is over.
    @Test func seed4036() throws {
        let code = try ShippedCode.of("linux-4.15", .bareMetalAMD)
        let name = "native_load_gs_index"
        var lines = try #require(code.routines.first { $0.name == name }).text.split(separator: "\n").map(String.init)
        lines.removeSubrange(13...15)
        var document = code.kernel.document
        let text = lines.joined(separator: "\n") + "\n"
        document.set("routines", .object([JSON.Member(name, .string(text))]))
        let table = try EntryTable.read(document)
        var request = SimulationRequest(
            selection: ScenarioSelection(patterns: ["bare-metal-amd/general_protection/kernel-rsp8/load-gs"]),
            nesting: 2)
        request.limits.nestedRuns = 800
        let nested = table.simulate(request).results.filter { $0.scenario.injections.count == 2 }
        #expect(!nested.isEmpty)
        for scenario in nested.prefix(4) { try Invariants.checkTrace(of: scenario, table, request, 4036) }
    }
}

import EntryCode
import Testing
import Verification

/// The mail of July 2019: the int3 self test on Xen PV, from the table alone.
struct ReportOf2019Tests {
    static let selfTest = "xen-pv/int3/kernel/self-test"

    @Test("Linux 5.2 on Xen 4.6 prints the lines of the report")
    func report() throws {
        let result = try Variant("linux-5.2").run(Self.selfTest)
        #expect(result.verdict == .violated)
        let violation = try #require(result.violations.first)
        #expect(violation.rule == "live-frame-overwritten")
        #expect(violation.routine == "do_int3")
        // F11: SS stands at align_down(RSP, 16) - 8.
        #expect(violation.explanation.contains("0xffffffff82203e98"))
        #expect(violation.explanation.contains("SS of the exception frame pushed for int3"))
        #expect(violation.explanation.contains("0xffffffff82593507"))
        #expect(violation.consequence?.rule == "unexpected-fault")
        #expect(violation.consequence?.vector == "general_protection")
        // F12: up to Xen 4.6 the failsafe stub supplies the error code.
        #expect(violation.consequence?.errorCode == 0)
        let console = violation.console
        #expect(console.first == "general protection fault: 0000 [#1] SMP NOPTI")
        #expect(console.contains("RIP: e030:int3_magic+0x0/0x7"))
        #expect(console.contains("RSP: 3507:ffffffff82203e98 EFLAGS: 00000246"))
        #expect(console.contains(" alternative_instructions+0x3d/0x12e"))
        #expect(console.contains(" xen_start_kernel+0x571/0x57a"))
    }

    @Test("Xen 4.17 replays the fault: the selector is the error code (F12, F19)")
    func replay() throws {
        let violation = try #require(try Variant("linux-5.2").run(Self.selfTest, xen: .v4_17).violations.first)
        #expect(violation.rule == "live-frame-overwritten")
        #expect(violation.consequence?.errorCode == 0x3504)
        #expect(violation.console.first == "general protection fault: 3504 [#1] SMP NOPTI")
        #expect(violation.console.contains("RSP: 3507:ffffffff82203e98 EFLAGS: 00000246"))
    }

    @Test("at RSP modulo 16 = 8 the push lands in padding (F11)")
    func padding() throws {
        for kernel in ["linux-5.2", "linux-5.3"] {
            for platform in Platform.allCases {
                #expect(try Variant(kernel).run("\(platform.rawValue)/int3/kernel-rsp8/self-test").verdict == .holds)
            }
        }
    }

    @Test("bare metal has the gap and holds")
    func bareMetal() throws {
        for platform in ["bare-metal-intel", "bare-metal-amd"] {
            #expect(try Variant("linux-5.2").run("\(platform)/int3/kernel/self-test").verdict == .holds)
        }
    }

    @Test("what 5.2 violates: int3 on Xen PV, CR2 after tracing, SWAPGS without fences; nothing else")
    func shipped52() throws {
        let result = try Variant("linux-5.2").simulate()
        #expect(result.findings.isEmpty)
        for scenario in result.results {
            let name = scenario.scenario.name
            for violation in scenario.violations where violation.severity == .violation {
                switch violation.rule {
                case "live-frame-overwritten":
                    // A call or push that the handler emulates; RSP a multiple of 16.
                    let isEmulated = ["emulate-call", "emulate-push", "self-test"].contains(
                        scenario.scenario.probe.rawValue)
                    #expect(isEmulated && !scenario.scenario.context.isMisaligned, "\(name)")
                    #expect(name.hasPrefix("xen-pv/int3/kernel"), "\(name)")
                case "error-code":
                    // Linux commit a0d14b8909de, in 5.3: CR2 was read after code that may fault.
                    #expect(name.contains("/page_fault/"), "\(name): \(violation.explanation)")
                    #expect(violation.explanation.contains("traced code ran before"), "\(name)")
                case "speculation-barrier":
                    // CVE-2019-1125: not where SMAP binds speculation (AMD), not under Xen.
                    #expect(name.hasPrefix("bare-metal-intel/"), "\(name)")
                default: Issue.record("\(name): \(violation.rule): \(violation.explanation)")
                }
            }
        }
        let overwritten = result.results.filter { $0.violations.contains { $0.rule == "live-frame-overwritten" } }
        let inner = overwritten.filter { $0.scenario.context.isOnInterruptStack || $0.scenario.context.isInNMI }
        #expect(overwritten.count - inner.count == 5)
        #expect(inner.count == 6)
        #expect(
            result.results.filter { $0.violations.contains { $0.rule == "error-code" } }.allSatisfy {
                $0.verdict == .violated
            })
    }

    @Test("5.3 holds everywhere, on both releases of Xen", arguments: ["4.6", "4.17"])
    func shipped53(release: String) throws {
        let result = try Variant("linux-5.3").simulate(xen: release == "4.6" ? .v4_6 : .v4_17)
        #expect(result.verdict == .holds)
        #expect(result.findings.isEmpty)
        #expect(result.results.allSatisfy { $0.verdict == .holds })
    }

    @Test("5.2 and 5.3 have the same scenarios; none that held in 5.2 is violated in 5.3")
    func difference() throws {
        let old = try Variant("linux-5.2").simulate().results
        let new = try Variant("linux-5.3").simulate().results
        #expect(old.map(\.scenario.name) == new.map(\.scenario.name))
        for (before, after) in zip(old, new) where before.verdict == .holds {
            #expect(after.verdict == .holds, "\(after.scenario.name)")
        }
        // Only CR2, the fences and int3 on Xen PV changed.
        let fixed = zip(old, new).filter { $0.0.verdict == .violated && $0.1.verdict == .holds }
        #expect(!fixed.isEmpty && fixed.count == old.count { $0.verdict == .violated })
    }

    @Test("the patch: int3 by way of xen_int3, xenint3 gone")
    func patch() throws {
        var variant = try Variant("linux-5.2")
        try variant.removeEntry("xenint3")
        try variant.changeXen("thunks") { $0.filter { $0 != "xenint3" } }
        try variant.trap("int3", "entry", "xen_int3")
        try variant.trap("int3", "ist_okay", false)
        let result = try variant.simulate("*/int3/kernel*/*", platforms: [.xenPV])
        #expect(result.verdict == .holds)
        #expect(result.findings.isEmpty)
        #expect(!result.results.isEmpty)
    }

    // MARK: The same defect on bare metal

    /// Linux 5.3 without the gap; the return address of the emulated call moved.
    private func withoutGap(siteOffset: Int64) throws -> Variant {
        var variant = try Variant("linux-5.3")
        try variant.entry("int3", "create_gap", false)
        try variant.selfTest("site_offset", .integer(siteOffset))
        return variant
    }

    @Test(
        "bit 2 of the SS slot set: espfix, then page faults without end (F13)",
        arguments: ["bare-metal-intel", "bare-metal-amd"])
    func espfixPath(platform: String) throws {
        // 0x825934ca + 56 + 5 = ...3507.
        let variant = try withoutGap(siteOffset: 56)
        let name = "\(platform)/int3/kernel/self-test"
        let violation = try #require(try variant.run(name).violations.first)
        #expect(violation.rule == "live-frame-overwritten")
        #expect(violation.consequence?.rule == "progress")
        #expect(violation.console == ["(the machine hangs without a message)"])
        let (_, trace) = try #require(try variant.table().trace(scenario: name, SimulationRequest()))
        // The espfix branch swaps GS, and the access to espfix_waddr faults with the user's base.
        let swap = try #require(
            trace.steps.firstIndex { $0.instruction == "swapgs" && $0.symbol.hasPrefix("native_iret") })
        let fault = try #require(trace.steps[swap...].first { $0.outcome?.hasPrefix("#PF") == true })
        #expect(fault.symbol.hasPrefix("native_iret"))
        #expect(fault.instruction.contains("%gs:"))
    }

    @Test(
        "bit 2 of the SS slot clear: #GP at IRET, bad-IRET path, page faults without end (F13)",
        arguments: ["bare-metal-intel", "bare-metal-amd"])
    func badReturnPath(platform: String) throws {
        // ...3503: bit 2 clear; the error code is the selector without its RPL.
        let variant = try withoutGap(siteOffset: 52)
        let name = "\(platform)/int3/kernel/self-test"
        let violation = try #require(try variant.run(name).violations.first)
        #expect(violation.rule == "live-frame-overwritten")
        #expect(violation.consequence?.rule == "progress")
        let (_, trace) = try #require(try variant.table().trace(scenario: name, SimulationRequest()))
        let fault = try #require(trace.steps.first { $0.instruction == "iretq" && $0.outcome != nil })
        #expect(fault.outcome == "#GP(3500)")
        #expect(trace.steps.contains { $0.symbol.hasPrefix("fixup_bad_iret") })
    }

    @Test("without the gap only emulated pushes at RSP modulo 16 = 0 are lost, on every platform")
    func withoutGapEverywhere() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("int3", "create_gap", false)
        let fault = Expectation.Consequence.rule("unexpected-fault", "general_protection", 0)
        var expectations: [Expectation] = []
        for context in ["kernel", "kernel-events-off"] {
            for probe in ["emulate-call", "emulate-push", "self-test"] where context == "kernel" || probe != "self-test"
            {
                expectations.append(
                    Expectation("bare-metal-*/int3/\(context)/\(probe)", "live-frame-overwritten", .rule("progress")))
                expectations.append(Expectation("xen-pv/int3/\(context)/\(probe)", "live-frame-overwritten", fault))
            }
        }
        try expect(variant, expectations)
    }
}

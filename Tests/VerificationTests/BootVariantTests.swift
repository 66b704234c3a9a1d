import EntryCode
import Testing
import Verification

/// Kernels that were broken on purpose and booted, translated to the table of Linux 5.3.
///
/// Every other scenario of the sample must go on holding.
struct BootVariantTests {
    @Test("invalid_op with an error code: pt_regs is one word off (F14)")
    func missingErrorCode() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("invalid_op", "has_error_code", true)
        try expect(
            variant,
            [
                // RFLAGS in the CS slot makes the entry "from user": the user's GS base, without end.
                Expectation("bare-metal-*/invalid_op/kernel*", "error-code", .rule("progress")),
                // The boot's signal frame: rip=33, cs=0206.
                Expectation("bare-metal-*/invalid_op/user/signal", "error-code", .rule("pt-regs-faithful")),
                Expectation("*/invalid_op/*", "error-code"),
            ])
        let result = try variant.run("bare-metal-intel/invalid_op/user/signal")
        #expect(result.violations.first?.consequence?.text.contains("0x0000000000000033 in pt_regs->ip") == true)
    }

    @Test("page_fault without an error code: the stub pushes a placeholder below it (F14)")
    func extraErrorCode() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("page_fault", "has_error_code", false)
        try expect(
            variant,
            [
                Expectation("bare-metal-*/page_fault/kernel*", "error-code", .rule("progress")),
                Expectation("*/page_fault/*", "error-code"),
            ])
    }

    @Test("general_protection without an error code: its own scenarios and every refused INT n or return")
    func protectionFaultWithoutErrorCode() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("general_protection", "has_error_code", false)
        let result = try variant.simulate("*/general_protection/*", "*/divide_error/user/*")
        for scenario in result.results where scenario.scenario.event == "general_protection" {
            #expect(scenario.violations.first?.rule == "error-code", "\(scenario.scenario.name)")
        }
        for scenario in result.results where scenario.scenario.probe == .softwareInterrupt {
            #expect(scenario.violations.first?.rule == "error-code", "\(scenario.scenario.name)")
        }
        #expect(
            result.results.contains { $0.scenario.name == "xen-pv/divide_error/user/return" && $0.verdict == .holds })
    }

    @Test("int3 gate with DPL 0: #GP(vector * 8 + 2) on bare metal (F24); Xen ignores the DPL of vector 3 (F20)")
    func breakpointGate() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(3, "dpl", 0)
        try expect(
            variant,
            [
                Expectation(
                    "bare-metal-*/int3/user/*", "user-reachable-gate",
                    .rule("unexpected-fault", "general_protection", 0x1A))
            ])
        let result = try variant.run("bare-metal-intel/int3/user/return")
        #expect(result.violations.first?.consequence?.text == "the program gets SIGSEGV")
    }

    @Test("INT 0x80 with DPL 0: #GP(402) on bare metal; Xen has a gate of its own for it (int80_direct_trap)")
    func systemCallGate() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(0x80, "dpl", 0)
        try expect(
            variant,
            [
                Expectation(
                    "bare-metal-*/entry_INT80_compat/user/*", "user-reachable-gate",
                    .rule("unexpected-fault", "general_protection", 0x402))
            ])
    }

    @Test("a gate that user mode must not reach: without and with an error code")
    func openGate() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(6, "dpl", 3)
        try expect(variant, [Expectation("*/invalid_op/user/software-interrupt", "user-reachable-gate", .silent)])
        variant = try Variant("linux-5.3")
        try variant.gate(13, "dpl", 3)
        // INT 13 pushes no error code: the stub is one word off.
        try expect(variant, [Expectation("*/general_protection/user/software-interrupt", "user-reachable-gate")])
    }

    @Test("double_fault without IST: triple fault where the stack is bad (F25)")
    func doubleFaultWithoutStack() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(8, "ist", 0)
        try expect(
            variant,
            [
                Expectation("bare-metal-*/double_fault/kernel-bad-stack/oops", "triple-fault", .rule("triple-fault")),
                // The #DF that stands for a fault on the read-only espfix stack needs a stack as well (F30).
                Expectation("bare-metal-*/sigreturn-absent-ss", "triple-fault", .rule("triple-fault")),
                Expectation("bare-metal-*/sigreturn-bogus-ss", "triple-fault", .rule("triple-fault")),
                // From user mode it runs on the entry trampoline stack, whatever it does there.
                Expectation("bare-metal-*/double_fault/user/oops", "stack-bounds", .silent),
            ])
    }

    @Test("an IST whose slot is empty: #MC becomes #PF at 0xfffffffffffffff8, #DF a triple fault (F25)")
    func emptySlot() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(18, "ist", 5)
        try expect(
            variant,
            [
                Expectation(
                    "bare-metal-*/machine_check/*", "unexpected-fault", .rule("unexpected-fault", "page_fault", 2))
            ])
        variant = try Variant("linux-5.3")
        try variant.gate(8, "ist", 5)
        try expect(
            variant,
            [
                Expectation("bare-metal-*/double_fault/*", "triple-fault", .rule("triple-fault")),
                Expectation("bare-metal-*/sigreturn-absent-ss", "triple-fault", .rule("triple-fault")),
                Expectation("bare-metal-*/sigreturn-bogus-ss", "triple-fault", .rule("triple-fault")),
            ])
    }

    @Test("int3 absent from the rows: Xen enters the native stub, whose frame is two words off")
    func withoutRow() throws {
        var variant = try Variant("linux-5.3")
        try variant.changeXen("traps") { $0.filter { $0["native"] != "int3" } }
        try expect(variant, [Expectation("xen-pv/int3/*", "pt-regs-faithful")])
    }

    @Test("int3 routed to the native stub without its thunk: the words of the boot's console")
    func withoutThunk() throws {
        var variant = try Variant("linux-5.3")
        try variant.trap("int3", "entry", "int3")
        try expect(variant, [Expectation("xen-pv/int3/*", "pt-regs-faithful")])
        let result = try variant.run("xen-pv/int3/kernel/oops")
        // RIP shows RCX, CS R11, RSP the CS word, SS RFLAGS.
        #expect(result.violations.first?.console.first == "int3: 0000 [#1] SMP NOPTI")
        let registers = result.violations.first?.console.first { $0.hasPrefix("RSP: ") }
        #expect(registers?.hasPrefix("RSP: 0246:000000000000e030") == true)
        #expect(result.violations.first?.explanation.contains("16 bytes off") == true)
    }

    @Test("an IST that is not okay: the vector never reaches Xen, and the domain is crashed (F20)")
    func absentFromXen() throws {
        var variant = try Variant("linux-5.3")
        try variant.trap("nmi", "ist_okay", false)
        try expect(
            variant, [Expectation("xen-pv/nmi/*", "unexpected-fault", .rule("unexpected-fault", "nmi"))])
        variant = try Variant("linux-5.3")
        try variant.gate(3, "ist", 3)
        try variant.entry("int3", "paranoid", 1)
        let result = try variant.run("xen-pv/int3/user/return", xen: .v4_17)
        #expect(result.violations.first?.consequence?.text == "Xen crashes the domain")
        #expect(result.violations.first?.console.first == "(XEN) d0v0 Unhandled: vec 3, #BP[ffffffff]")
    }

    @Test("a vector whose gate was taken out of the table still comes")
    func withoutGate() throws {
        var variant = try Variant("linux-5.3")
        try variant.removeGate(3)
        let result = try variant.simulate("*/int3/*")
        #expect(!result.results.isEmpty)
        #expect(result.results.allSatisfy { $0.verdict == .violated && $0.violations.first?.consequence != nil })
        // Vectors that no processor raises are not missed.
        variant = try Variant("linux-5.3")
        try variant.removeGate(9)
        try variant.removeGate(15)
        #expect(try variant.simulate().verdict == .holds)
    }

    @Test("SWAPGS in error_entry on Xen PV: #GP(0) from user mode (F15)")
    func nativeErrorEntry() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("error_entry", "\tSWAPGS\n\tFENCE_SWAPGS_USER_ENTRY", "\tswapgs\n\tFENCE_SWAPGS_USER_ENTRY")
        let fault = Expectation.Consequence.rule("unexpected-fault", "general_protection", 0)
        try expect(
            variant,
            [
                Expectation("xen-pv/divide_error/user/*", "unexpected-fault", fault, includesRefused: true),
                Expectation("xen-pv/debug/user/*", "unexpected-fault", fault, includesRefused: true),
                Expectation("xen-pv/nmi/user/*", "unexpected-fault", fault, includesRefused: true),
                Expectation("xen-pv/int3/user/*", "unexpected-fault", fault),
                Expectation("xen-pv/invalid_op/user/*", "unexpected-fault", fault, includesRefused: true),
                Expectation("xen-pv/segment_not_present/user/*", "unexpected-fault", fault, includesRefused: true),
                Expectation("xen-pv/general_protection/user/*", "unexpected-fault", fault, includesRefused: true),
                Expectation("xen-pv/page_fault/user/*", "unexpected-fault", fault, includesRefused: true),
                Expectation("xen-pv/machine_check/user/*", "unexpected-fault", fault, includesRefused: true),
                Expectation("xen-pv/xen_hypervisor_callback/user/*", "unexpected-fault", fault),
                // The system call has a stub of its own, the fault of its return has not.
                Expectation("xen-pv/entry_INT80_compat/user-32/sigreturn-bad-*", "unexpected-fault", fault),
            ])
    }

    @Test("raw IRET on Xen PV: #GP(e030) to the kernel, no change of mode to the user (F17)")
    func nativeReturn() throws {
        var variant = try Variant("linux-5.3")
        variant.write("xen_iret", "iretq")
        let result = try variant.simulate("xen-pv/*/return")
        // System calls return by SYSRET's way.
        for scenario in result.results where scenario.scenario.event != "entry_SYSCALL_64" {
            let violation = try #require(scenario.violations.first, "\(scenario.scenario.name)")
            if scenario.scenario.context.isUser {
                #expect(violation.rule == "resumption")
                #expect(violation.explanation.contains("in kernel mode"))
            } else {
                #expect(violation.rule == "unexpected-fault")
                #expect(violation.consequence?.errorCode == 0xE030)
                #expect(violation.console.first == "general protection fault: e030 [#1] SMP NOPTI")
            }
        }
        #expect(try variant.simulate(platforms: [.bareMetalIntel, .bareMetalAMD]).verdict == .holds)
    }

    @Test("NMI routed to the bare-metal stub on Xen PV: the handler runs, then #GP(e030) at IRET")
    func nativeNMI() throws {
        var variant = try Variant("linux-5.3")
        try variant.trap("nmi", "entry", "xen_nmi")
        try variant.changeXen("thunks") { $0 + ["nmi"] }
        try expect(
            variant,
            [
                // From user mode the stub's SWAPGS comes first.
                Expectation(
                    "xen-pv/nmi/user/return", "unexpected-fault", .rule("unexpected-fault", "general_protection", 0)),
                Expectation(
                    "xen-pv/nmi/kernel*/return", "unexpected-fault",
                    .rule("unexpected-fault", "general_protection", 0xE030)),
            ])
        let (result, trace) = try #require(
            try variant.table().trace(scenario: "xen-pv/nmi/kernel/return", SimulationRequest()))
        #expect(result.verdict == .violated)
        #expect(trace.steps.contains { $0.symbol.hasPrefix("do_nmi+") })
        #expect(try variant.simulate().findings.map(\.rule) == ["unreachable-entry"])
    }

    @Test("a trap gate: latent, and only where events were on (F4)")
    func trapGate() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(3, "type", "trap")
        try expect(
            variant,
            [
                Expectation("*/int3/user/*", "interrupt-flag", .silent),
                Expectation("*/int3/kernel/*", "interrupt-flag", .silent),
                Expectation("*/int3/kernel-rsp8/*", "interrupt-flag", .silent),
            ])
    }

    @Test("the paranoid stub for #DB on Xen PV: right state, needless entries into Xen (F16)")
    func paranoidDebug() throws {
        var variant = try Variant("linux-5.3")
        try variant.trap("debug", "entry", "xen_debug")
        let result = try variant.simulate("xen-pv/debug/*")
        #expect(result.verdict == .holds)
        for scenario in result.results {
            let warns = scenario.violations.contains {
                $0.rule == "needless-hypervisor-entry" && $0.severity == .warning
            }
            #expect(warns != scenario.scenario.context.isUser, "\(scenario.scenario.name)")
        }
    }
}

import EntryCode
import Testing
import Verification

/// Routines of a PV guest that C calls in place of STI, CLI and their like: what it relies on, with an event at each of
/// their instructions.
struct ParavirtRoutineTests {
    private static let kernels = ["linux-4.4", "linux-4.15", "linux-5.2", "linux-5.3", "linux-5.8", "linux-6.1"]

    private func first(_ variant: Variant, _ scenario: String) throws -> Violation? {
        try variant.run("xen-pv/" + scenario).violations.first { $0.severity == .violation }
    }

    @Test(arguments: kernels) func shippedRoutinesHold(kernel: String) throws {
        let result = try Variant(kernel).simulate("xen-pv/xen_*/paravirt-call*", "xen-pv/xen_*/*/paravirt-call*")
        #expect(result.verdict == .holds)
        var routines = Set(result.results.map(\.scenario.event))
        #expect(routines.isSuperset(of: ["xen_irq_enable_direct", "xen_irq_disable_direct"]))
        routines.subtract(["xen_irq_enable_direct", "xen_irq_disable_direct", "xen_restore_fl_direct"])
        #expect(routines.isSubset(of: ["xen_read_cr2", "xen_read_cr2_direct"]))
        let native = try Variant(kernel).simulate("*/*/kernel/return", platforms: [.bareMetalIntel])
        #expect(!native.results.contains { $0.scenario.event.hasPrefix("xen_") })
    }

    @Test(arguments: kernels) func codeThatCannotRunIsFound(kernel: String) throws {
        let names = Set(
            try Variant(kernel).simulate("xen-pv/xen_*/*/paravirt-call*").results.map(\.scenario.event))
        for name in names.union(["check_events"]) {
            var variant = try Variant(kernel)
            variant.write(name, "ud2")
            let event = name == "check_events" ? "xen_irq_enable_direct" : name
            let found = try first(variant, "\(event)/kernel-events-off/paravirt-call")
            #expect(found?.rule == "unexpected-fault", "\(kernel) \(name)")
            #expect(found?.explanation.contains("after it resumed") == false)
        }
    }

    @Test("an event that comes between the test and the unmasking waits for the next", arguments: kernels)
    func unmaskedTooLate(kernel: String) throws {
        var variant = try Variant(kernel)
        let mask = "\tmovb\t$0, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)\n"
        let test = "\ttestb\t$0xff, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_pending)\n"
        try variant.edit("xen_irq_enable_direct", mask + test, test + mask.replacing("movb", with: "movb"))
        // MOV leaves the flags of the test alone.
        let found = try first(variant, "xen_irq_enable_direct/kernel-events-off/paravirt-call")
        #expect(found?.rule == "progress" && found?.explanation.contains("pending") == true)
        #expect(try first(variant, "xen_irq_enable_direct/kernel/paravirt-call") == nil, "nothing was masked")
    }

    @Test("nobody asks Xen for what is pending", arguments: kernels)
    func neverAsked(kernel: String) throws {
        var variant = try Variant(kernel)
        try variant.edit("xen_irq_enable_direct", "\tcall\tcheck_events\n", "")
        #expect(try first(variant, "xen_irq_enable_direct/kernel-events-off-rsp8/paravirt-call")?.rule == "progress")
    }

    @Test("the hypercall is a C call: what is not saved is lost", arguments: kernels)
    func registersOfTheCaller(kernel: String) throws {
        for register in ["rdi", "r9"] {
            var variant = try Variant(kernel)
            try variant.edit("check_events", "\tpushq\t%\(register)\n", "\tpushq\t$0\n")
            let found = try first(variant, "xen_irq_enable_direct/kernel-events-off/paravirt-call")
            #expect(found?.rule == "resumption" && found?.explanation.contains(register.uppercased()) == true)
        }
        var variant = try Variant(kernel)
        try variant.edit("check_events", "\tpopq\t%rdi\n", "")
        #expect(try first(variant, "xen_irq_enable_direct/kernel-events-off/paravirt-call") != nil)
    }

    @Test func theMaskIsAsTheCallerWantsIt() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("xen_irq_disable_direct", "movb\t$1", "movb\t$0")
        #expect(try first(variant, "xen_irq_disable_direct/kernel/paravirt-call")?.rule == "interrupt-flag")
        try variant.edit("xen_restore_fl_direct", "\tsetz\t", "\tsetnz\t")
        for probe in ["paravirt-call", "paravirt-call-masking"] {
            let found = try first(variant, "xen_restore_fl_direct/kernel-events-off/\(probe)")
            #expect(found?.rule == "interrupt-flag", "\(probe)")
        }
    }

    @Test func aKernelWithSaveFlagsIsAskedForThem() throws {
        var variant = try Variant("linux-6.1")
        variant.write(
            "xen_save_fl_direct", "xorl\t%eax, %eax",
            "testb\t$0xff, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)", "setz\t%al", "shll\t$9, %eax", "RET")
        for context in ["kernel", "kernel-events-off"] {
            #expect(try first(variant, "xen_save_fl_direct/\(context)/paravirt-call") == nil)
        }
        try variant.edit("xen_save_fl_direct", "setz", "setnz")
        #expect(try first(variant, "xen_save_fl_direct/kernel/paravirt-call")?.rule == "interrupt-flag")
    }

    @Test func theFaultAddressIsTheOneOfVcpuInfo() throws {
        for name in ["xen_read_cr2", "xen_read_cr2_direct"] {
            var variant = try Variant("linux-6.1")
            try variant.edit(name, "XEN_vcpu_info_arch_cr2", "XEN_vcpu_info_pending")
            #expect(try first(variant, "\(name)/kernel/paravirt-call")?.rule == "error-code")
        }
    }

    @Test func aTraceShowsTheRunThatBreaks() throws {
        var variant = try Variant("linux-6.1")
        try variant.edit("check_events", "\tpushq\t%rdi\n", "\tpushq\t$0\n")
        let name = "xen-pv/xen_irq_enable_direct/kernel-events-off/paravirt-call"
        let traced = try #require(try variant.table().trace(scenario: name, SimulationRequest()))
        #expect(traced.result.verdict == .violated)
        #expect(
            try first(variant, "xen_irq_enable_direct/kernel-events-off/paravirt-call")
                == traced.result.violations.first)
        #expect(try variant.table().trace(scenario: name + "+asm_exc_nmi@check_events:3", SimulationRequest()) == nil)
    }
}

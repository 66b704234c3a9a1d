import EntryCode
import Testing
import Verification

/// A guest that does not trust its host (TDX): interrupts with any vector, #VE at any access.
struct ConfidentialGuestTests {
    private func guest(_ options: [String: Bool] = [:]) throws -> Variant {
        var variant = try Variant("linux-6.1")
        try variant.option("INTEL_TDX_GUEST", true)
        for (name, value) in options { try variant.option(name, value) }
        return variant
    }

    @Test("only such a guest meets its host's interrupts and #VE")
    func only() throws {
        let table = try Variant("linux-6.1").table()
        let none = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: ["*/host-interrupt"])))
        #expect(none.results.isEmpty)
        let some = try guest().simulate("*/host-interrupt")
        #expect(some.results.allSatisfy { $0.scenario.platform == .bareMetalIntel && $0.scenario.vector == 0x80 })
    }

    @Test("an interrupt with the vector of a system call becomes one")
    func systemCall() throws {
        let result = try guest().run("bare-metal-intel/entry_INT80_compat/user/host-interrupt")
        #expect(result.violations.first?.rule == "user-reachable-gate")
    }

    @Test("other gates of the table are a device's, and hold")
    func devices() throws {
        var variant = try guest()
        try variant.addGate(64, "irq_entry_64", dpl: 0)
        variant.write("irq_entry_64", "pushq $64", "jmp asm_common_interrupt")
        let result = try variant.simulate("bare-metal-intel/irq_entry_64/*/host-interrupt")
        #expect(result.verdict == .holds)
        #expect(Set(result.results.map(\.scenario.context)) == [.user, .kernel, .kernelRSP8])
    }

    @Test("without 32-bit programs vector 128 is no system call: nobody asks for INT 0x80")
    func withoutEmulation() throws {
        var variant = try guest(["IA32_EMULATION": false])
        try variant.removeGate(128)
        try variant.addGate(128, "irq_entry_128", dpl: 0)
        variant.write("irq_entry_128", "pushq $-128", "jmp asm_common_interrupt")
        let result = try variant.simulate("bare-metal-intel/irq_entry_128/*")
        #expect(result.verdict == .holds)
        #expect(Set(result.results.map(\.scenario.probe)) == [.softwareInterrupt, .hostInterrupt])
    }

    private func nested(_ variant: Variant, _ scenario: String) throws -> SimulationResult {
        try variant.table().simulate(SimulationRequest(selection: ScenarioSelection(patterns: [scenario]), nesting: 1))
    }

    @Test("#VE in C code holds; with pages that the host may take it comes behind SYSCALL, on the program's stack")
    func virtualization() throws {
        let scenario = "bare-metal-intel/entry_SYSCALL_64/user-rsp-task-stack/return"
        let ordinary = try guest(["PTI": false])
        #expect(try nested(ordinary, scenario).verdict == .holds)
        #expect(try nested(ordinary, "bare-metal-intel/asm_exc_page_fault/*/return").verdict == .holds)
        let open = try nested(try guest(["PTI": false, "SEPT_VE_DISABLE": false]), scenario)
        #expect(open.verdict == .violated)
        let broken = open.results.filter { $0.verdict == .violated }
        #expect(broken.allSatisfy { $0.scenario.injections.map(\.event) == [.virtualization] })
        #expect(broken.contains { $0.violations.first?.rule == "kernel-gs-base" })
        // The attribute alone means nothing outside of such a guest.
        var other = try Variant("linux-6.1")
        try other.option("SEPT_VE_DISABLE", false)
        #expect(try nested(other, scenario).verdict == .holds)
    }
}

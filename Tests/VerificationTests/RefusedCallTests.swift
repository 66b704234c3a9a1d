import EntryCode
import Machine
import Testing
import Verification
import XenPV

/// SYSCALL and SYSENTER where nothing is made for them, and INT n with a prefix.
struct RefusedCallTests {
    /// Linux 5.3 without some of its callbacks, on a hypervisor with quirks.
    private func guest(without callbacks: [String], _ quirks: Quirk...) throws -> EntryTable {
        let document = try Variant("linux-5.3").document
        var xen = try #require(document["xen"])
        let kept = try #require(xen["callbacks"]?.objectValue).filter { !callbacks.contains($0.key) }
        xen.set("callbacks", .object(kept))
        xen.set("quirks", .array(quirks.map { .string($0.rawValue) }))
        var whole = document
        whole.set("xen", xen)
        return try EntryTable.read(whole)
    }

    private func results(_ table: EntryTable, _ pattern: String) -> [ScenarioResult] {
        table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: [pattern]))).results
    }

    @Test("every shipped kernel survives them where the processor refuses", arguments: KernelLibrary.shipped.names)
    func processors(_ kernel: String) throws {
        let result = try Variant(kernel).simulate("bare-metal-*/sys*/user-32/refused-call")
        #expect(
            result.results.map(\.scenario.name) == [
                "bare-metal-intel/syscall32/user-32/refused-call", "bare-metal-amd/sysenter/user-32/refused-call",
            ])
        // Old kernels have defects that any event shows.
        let known = ["register-hygiene", "speculation-barrier"]
        for scenario in result.results {
            #expect(scenario.ending == .resumed)
            #expect(scenario.violations.allSatisfy { known.contains($0.rule) }, "\(scenario.violations)")
        }
    }

    @Test("a guest that registers everything is refused nothing")
    func registered() throws {
        #expect(results(try Variant("linux-5.3").table(), "xen-pv/*/refused-call").isEmpty)
    }

    @Test("a guest without callbacks gets #UD and #GP, and its programs a signal")
    func refused() throws {
        let found = results(try guest(without: ["syscall", "syscall32", "sysenter"]), "xen-pv/*/refused-call")
        #expect(
            found.map(\.scenario.name).sorted() == [
                "xen-pv/syscall/user/refused-call", "xen-pv/syscall32/user-32/refused-call",
                "xen-pv/sysenter/user-32/refused-call",
            ])
        #expect(found.allSatisfy { $0.verdict == .holds })
        #expect(found.map(\.ending) == [.resumed, .resumed, .resumed])
    }

    @Test("32-bit SYSCALL without a callback of its own goes to the one of 64-bit code")
    func confused() throws {
        let broken = try guest(without: ["syscall32"], .confusesSyscallCallbacks)
        let first = try #require(results(broken, "xen-pv/syscall32/*").first?.violations.first)
        #expect(first.rule == "user-reachable-gate")
        #expect(first.explanation.contains("has registered no entry"))
    }

    @Test("RIP behind the instruction, and the event mask left open", arguments: ["syscall", "syscall32"])
    func byHand(_ call: String) throws {
        let broken = try guest(without: [call], .injectsRefusalsByHand)
        let rules = try #require(results(broken, "xen-pv/\(call)/*").first).violations.map(\.rule)
        #expect(rules.contains("pt-regs-faithful") && rules.contains("interrupt-flag"), "\(rules)")
    }

    @Test("a latched exception comes again at the first instruction of its handler")
    func latched() throws {
        for call in ["syscall", "syscall32", "sysenter"] {
            let broken = try guest(without: [call], .latchesRefusals)
            let result = try #require(results(broken, "xen-pv/\(call)/*").first)
            #expect(result.violations.first?.rule == "unexpected-fault")
            #expect(result.violations.first?.explanation.contains("still latched") == true)
            guard case .oops = result.ending else {
                Issue.record("\(call): \(result.ending)")
                continue
            }
        }
        // With every callback there is nothing to latch.
        let all = try guest(without: [], .latchesRefusals, .injectsRefusalsByHand, .confusesSyscallCallbacks)
        #expect(all.simulate(SimulationRequest(selection: ScenarioSelection(platforms: [.xenPV]))).verdict == .holds)
    }

    @Test("INT n with a prefix resumes behind all of it, everywhere")
    func prefixes() throws {
        let result = try Variant("linux-6.1").simulate("*/prefixed-int")
        #expect(result.verdict == .holds)
        let events = Set(result.results.map(\.scenario.event))
        #expect(events == ["asm_exc_int3", "asm_exc_overflow", "entry_INT80_compat"])
        let platforms = Set(result.results.map(\.scenario.platform))
        #expect(platforms == Set(Platform.allCases))
    }

    @Test("emulation is invisible, unless it takes every INT n for two bytes")
    func emulation() throws {
        let pattern = "xen-pv/entry_INT80_compat/user*/*"
        #expect(results(try guest(without: [], .emulatesInt80), pattern).allSatisfy { $0.verdict == .holds })
        // Where Xen does not emulate, it need not know the length.
        #expect(results(try guest(without: [], .assumesInterruptLength), pattern).allSatisfy { $0.verdict == .holds })
        let broken = try guest(without: [], .emulatesInt80, .assumesInterruptLength)
        for result in results(broken, pattern) {
            let isPrefixed = result.scenario.probe == .prefixedInterrupt
            #expect((result.verdict == .violated) == isPrefixed, "\(result.scenario.name)")
            if isPrefixed { #expect(result.violations.first?.rule == "pt-regs-faithful") }
        }
    }

    @Test("the prefix is one byte of the instruction, and prints")
    func length() throws {
        let image = try Variant("linux-6.1").table().expand(for: .bareMetalIntel)
        for (vector, bytes) in [(Vector.breakpoint, 2), (Vector.overflow, 3), (0x80, 3)] as [(UInt8, UInt8)] {
            let address = try #require(image.layout.userPrefixed[vector])
            let instruction = image.program.instructions[Int(image.program.index(at: address))]
            #expect(instruction.length == bytes)
            #expect(image.text(instruction, at: address).hasPrefix("rep int"))
        }
    }

    @Test("an NMI is held while a machine check is handled, and at no other time")
    func heldNMIs() throws {
        var variant = try Variant("linux-5.3")
        try variant.setXen("quirks", .array([.string(Quirk.holdsNMIsInMachineChecks.rawValue)]))
        func run(_ scenario: String) throws -> SimulationResult {
            try variant.table().simulate(
                SimulationRequest(selection: ScenarioSelection(patterns: [scenario]), nesting: 1))
        }
        let held = try run("xen-pv/machine_check/kernel/return")
        #expect(held.verdict == .violated)
        let causes = held.results.flatMap(\.violations).filter { $0.severity == .violation }
        #expect(causes.allSatisfy { $0.rule == "nmi-masking" && $0.explanation.contains("machine check") })
        #expect(held.results.filter { $0.verdict != .holds }.allSatisfy { $0.scenario.injections.last?.event == .nmi })
        #expect(try run("xen-pv/divide_error/kernel/return").verdict == .holds)
        #expect(try run("bare-metal-amd/machine_check/kernel/return").verdict == .holds)
    }
}

import EntryCode
import KernelSource
import Testing
import Verification

/// Directories with some of the files of Debian's 6.1: what is missing is the shipped kernel's, and nothing is violated by that.
@Suite(.enabled(if: DebianTree.isAvailable, "Debian's package linux-source-6.1 is not installed"))
struct PartialTreeTests {
    private func results(_ made: TreeImport) throws -> [ScenarioResult] {
        let table = try EntryTable.read(made.document)
        let result = table.simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["*/return", "*/sigreturn-bad-cs", "*/oops"])))
        #expect(
            result.verdict == .holds || result.verdict == .undecided,
            "\(result.verdict) \(result.findings.prefix(3)) \(result.results.first { $0.verdict == .violated }?.scenario.name ?? "")"
        )
        return result.results
    }

    @Test(arguments: DebianTree.files)
    func oneFileAlone(_ file: String) throws {
        var tree = KernelTree()
        tree.add(file, try #require(try DebianTree.tree().text(file)))
        let made = try tree.makeTable()
        #expect(made.kernel == "linux-6.1")
        #expect(made.missing.count == 6, "\(made.missing)")
        let results = try results(made)
        // INT 0x80 and the first system vector have stubs that this kernel and the shipped one share no file for.
        let undecided = results.filter { $0.verdict == .undecided }.map(\.scenario.name)
        #expect(
            undecided.allSatisfy { $0.contains("INT80") || $0.contains("int80") || $0.contains("sysvec") },
            "\(undecided.prefix(3))")
    }

    @Test(arguments: DebianTree.files)
    func allButOne(_ file: String) throws {
        var tree = try DebianTree.tree()
        tree.remove(file)
        let made = try tree.makeTable()
        #expect(made.kernel == "linux-6.1" && made.missing == [file], "\(made.kernel) \(made.missing)")
        let undecided = try results(made).filter { $0.verdict == .undecided }.map(\.scenario.name)
        #expect(
            undecided.allSatisfy { $0.contains("INT80") || $0.contains("int80") || $0.contains("sysvec") },
            "\(undecided.prefix(3))")
    }

    @Test func aRowWhoseStubIsMissingIsSaid() throws {
        var tree = KernelTree()
        tree.add("arch/x86/kernel/idt.c", try #require(try DebianTree.tree().text("arch/x86/kernel/idt.c")))
        let made = try tree.makeTable()
        #expect(made.notes.count == 1 && made.notes[0].contains("asm_int80_emulation"), "\(made.notes)")
        let gate = (made.document["idt"]?.arrayValue ?? []).first { $0["vector"] == 128 }
        #expect(gate?["entry"] == "entry_INT80_compat")
    }

    /// What the kernel's own debugging checks, and what only guests of SEV-ES meet.
    @Test(arguments: ["CONFIG_AMD_MEM_ENCRYPT", "CONFIG_GCC_PLUGIN_STACKLEAK", "CONFIG_DEBUG_ENTRY"])
    func choicesOfKconfig(_ symbol: String) throws {
        let made = try DebianTree.tree().makeTable(config: [symbol: true])
        let table = try EntryTable.read(made.document)
        let result = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: ["*/kernel/return"])))
        #expect(!result.results.contains { $0.verdict == .undecided })
        // The check in front of the NMI's return is an IRET more: the kernel has it so.
        let violated = result.results.filter { $0.verdict == .violated }
        #expect(
            violated.allSatisfy { symbol == "CONFIG_DEBUG_ENTRY" && $0.violations.first?.rule == "nmi-masking" },
            "\(violated.first?.scenario.name ?? "") \(violated.first?.violations.first?.rule ?? "")")
        #expect(!result.results.contains { $0.scenario.name.contains("vmm_communication") })
    }
}

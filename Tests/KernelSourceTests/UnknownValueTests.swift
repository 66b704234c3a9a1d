import EntryCode
import KernelSource
import Testing
import Verification

/// Names of C that entry code uses and nothing models: no verdict comes of a guess.
struct UnknownValueTests {
    private static let path = "arch/x86/entry/entry_64.S"

    private func made(_ code: String) throws -> TreeImport {
        try GenerationTree.tree(
            "linux-6.1", Self.path,
            [("ENTRY(entry_SYSCALL_64)\n\tswapgs\n", "ENTRY(entry_SYSCALL_64)\n\tswapgs\n\(code)")]
        ).makeTable()
    }

    private func results(_ made: TreeImport) throws -> [ScenarioResult] {
        let table = try EntryTable.read(made.document)
        let result = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: ["*/return"])))
        #expect(result.verdict != .invalid, "\(result.findings.prefix(3))")
        return result.results
    }

    /// Not mapped for programs: where page tables are isolated nothing is known about the variable's page.
    @Test func aCounterIsAWord() throws {
        let made = try made("\tincl\tPER_CPU_VAR(my_counter)\n\tmovq\t%rsp, my_note(%rip)\n")
        #expect(made.data.count == 2)
        #expect(made.data.allSatisfy { $0.hasPrefix(Self.path + ":") && $0.hasSuffix("taken as a zeroed word") })
        #expect(made.text.contains("data: \(Self.path):"))
        #expect(!made.text.contains("functions without a model: my_counter"))
        let results = try results(made)
        #expect(
            !results.contains { $0.verdict == .violated },
            "\(results.first { $0.verdict == .violated }?.scenario.name ?? "")")
        let calls = results.filter { $0.scenario.name.contains("/entry_SYSCALL_64/") }
        #expect(calls.contains { $0.verdict == .holds })
    }

    @Test(arguments: [
        "\tcmpl\t$0, PER_CPU_VAR(my_state)\n\tjne\t1f\n\tnop\n1:\n",
        "\tincl\tPER_CPU_VAR(my_state)\n\tjz\t1f\n\tud2\n1:\n", "\tmovq\tPER_CPU_VAR(my_state), %rsp\n",
        "\tmovq\tmy_state(%rip), %rsp\n", "\tleaq\tmy_state(%rip), %rsp\n\tmovq\t(%rsp), %rsp\n",
        "\tcall\t*my_state(%rip)\n", "\tjmp\t*my_state(, %rax, 8)\n", "\ttestl\t$my_state, %eax\n\tjz\t1f\n\tud2\n1:\n",
        "\tmovl\tmy_state(%rsp), %eax\n", "\tmovl\t$my_state, %eax\n",
    ])
    func whatDecidesEndsUndecided(_ code: String) throws {
        let made = try made(code)
        #expect(made.assumed.contains("my_state"))
        let results = try results(made)
        #expect(
            !results.contains { $0.verdict == .violated },
            "\(results.first { $0.verdict == .violated }?.scenario.name ?? "")")
        let calls = results.filter {
            $0.scenario.name.contains("bare-metal") && $0.scenario.name.contains("/entry_SYSCALL_64/")
        }
        #expect(!calls.isEmpty && calls.allSatisfy { $0.verdict == .undecided && $0.limit == "not-understood" })
        // Only what comes by there.
        #expect(results.contains { $0.verdict == .holds })
    }

    @Test func aWrongGSIsStillFound() throws {
        let tree = try GenerationTree.tree(
            "linux-6.1", Self.path,
            [
                (
                    "ENTRY(entry_SYSCALL_64)\n\tswapgs\n",
                    "ENTRY(entry_SYSCALL_64)\n\tincl\tPER_CPU_VAR(my_counter)\n\tswapgs\n"
                )
            ])
        let results = try results(try tree.makeTable())
        // A program may have the kernel's own base: then it is the right one.
        let calls = results.filter {
            $0.scenario.name.contains("bare-metal") && $0.scenario.name.hasSuffix("/entry_SYSCALL_64/user/return")
        }
        #expect(calls.count == 2 && calls.allSatisfy { $0.verdict == .violated })
    }

    /// A processor that mispredicts comes to code that was not read; what executes that code alone has no verdict.
    @Test func unreadCodeOnAMispredictedPathBreaksNothing() throws {
        let label = "\n.Lerror_kernelspace:\n"
        let tree = try GenerationTree.tree("linux-6.1", Self.path, [(label, label + "\tvzeroupper\n")])
        let results = try results(try tree.makeTable()).filter {
            $0.scenario.name.hasPrefix("bare-metal-intel/asm_exc_divide_error/")
        }
        func verdict(_ context: String) -> Verdict? {
            results.first { $0.scenario.name.hasSuffix("/\(context)/return") }?.verdict
        }
        #expect(verdict("user") == .holds)
        #expect(verdict("kernel") == .undecided)
    }

    /// `asm/paravirt.h`: a guest of Xen reads its flag where Xen keeps it, PUSHF shows the hypervisor's.
    @Test func theFlagOfAGuestIsNotInRFLAGS() throws {
        let check = "\tpushq\t%rax\n\tSAVE_FLAGS\n\ttestl\t$X86_EFLAGS_IF, %eax\n\tjz\t1f\n\tud2\n1:\n\tpopq\t%rax\n"
        let tree = try GenerationTree.tree(
            "linux-6.1", Self.path, [("ENTRY(xen_error_entry)\n", "ENTRY(xen_error_entry)\n\(check)")])
        let table = try EntryTable.read(try tree.makeTable().document)
        let result = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: ["xen-pv/*/return"])))
        #expect(
            result.verdict == .holds,
            "\(result.results.first { $0.verdict != .holds }?.violations.first?.explanation ?? "")")
    }

    @Test func aCommentWithoutEndIsSaid() throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-6.1"))
        var tree = try GenerationTree.tree(kernel)
        tree.set(Self.path, (tree.text(Self.path) ?? []) + Array("/* nobody closes this\nENTRY(lost)\n".utf8))
        let made = try tree.makeTable()
        #expect(made.notUnderstood.contains { $0.hasPrefix(Self.path + ":") && $0.contains("comment without its end") })
        #expect(!made.notUnderstood.contains { $0.contains("`error_entry`; did you mean `error_entry`") })
    }

    @Test func bytesOfAnotherFileAreSaid() throws {
        let made = try made("\t.incbin \"firmware.bin\"\n")
        #expect(made.notUnderstood.contains { $0.hasPrefix(Self.path + ":") && $0.contains(".incbin") })
    }

    @Test func aChoiceThatNothingAsksForIsSaid() throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-6.1"))
        var tree = try GenerationTree.tree(kernel)
        tree.set(Self.path, (tree.text(Self.path) ?? []) + Array("#ifdef CONFIG_MY_CHOICE\n#endif\n".utf8))
        let made = try tree.makeTable(config: ["CONFIG_MY_CHOCE": true, "CONFIG_MY_CHOICE": true])
        #expect(made.notes == ["nothing in the files looks at CONFIG_MY_CHOCE; did you mean CONFIG_MY_CHOICE?"])
    }

    /// The look for near names is bounded, however many lines are not understood.
    @Test func manyUnknownLinesAreQuick() throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-6.1"))
        var tree = try GenerationTree.tree(kernel)
        let macros = (0..<3000).map { ".macro Z\($0)\nnop\n.endm\n" }.joined()
        let lines = (0..<3000).map { "bogus\($0)\n" }.joined()
        tree.set(
            Self.path, (tree.text(Self.path) ?? []) + Array("\(macros)ENTRY(foo)\n\(lines)END(foo)\n".utf8))
        var made: TreeImport?
        let time = try ContinuousClock().measure { made = try tree.makeTable() }
        #expect(time < .seconds(20), "\(time)")
        #expect(try #require(made).notUnderstood.count >= 500)
    }
}

import EntryCode
import KernelSource
import Testing
import Verification

/// What kernels before 5.2 write in other words, around our own listings.
struct OlderKernelTests {
    private static let path = "arch/x86/entry/entry_64.S"

    private func check(_ document: JSON, _ patterns: [String] = ["*/return", "*/self-test"]) throws -> SimulationResult
    {
        try EntryTable.read(document).simulate(SimulationRequest(selection: ScenarioSelection(patterns: patterns)))
    }

    private func release(_ major: Int, _ minor: Int) -> [UInt8] {
        Array("# a Makefile\nVERSION = \(major)\nPATCHLEVEL = \(minor)\nSUBLEVEL = 1\n".utf8)
    }

    /// 5.0: clobbers of paravirt calls, the interrupt stack under its old name, a routine without END, retpolines by `%reg`.
    @Test func wordsOf50() throws {
        let text = """
            ENTRY(ret_from_fork)
            \tUNWIND_HINT_EMPTY
            \tCALL_NOSPEC %rbx
            \tJMP_NOSPEC r12
            END(ret_from_fork)
            ENTRY(do_softirq_own_stack)
            \tpushq\t%rbp
            \tmov\t%rsp, %rbp
            \tmovq\tPER_CPU_VAR(irq_stack_ptr), %rsp
            \tmovq\t%rbx, PER_CPU_VAR(irq_stack_union)+40
            \tpushq\t$EXCEPTION_STKSZ
            \tpushq\t$DEBUG_STACK
            \tENABLE_INTERRUPTS(CLBR_NONE)
            \tSAVE_FLAGS(CLBR_RAX)
            \tleaveq
            \tret
            ENDPROC(do_softirq_own_stack)

            """
        var tree = try GenerationTree.tree("linux-5.2", Self.path, [("END(native_iret)\n", "")])
        var file = String(decoding: try #require(tree.text(Self.path)), as: UTF8.self)
        #expect(file.contains("DISABLE_INTERRUPTS\n"))
        file = file.replacing("DISABLE_INTERRUPTS\n", with: "DISABLE_INTERRUPTS(CLBR_ANY)\n")
        file = file.replacing("hardirq_stack_ptr", with: "irq_stack_ptr")
        tree.set(Self.path, Array((file + text).utf8))
        tree.add("linux-5.0/Makefile", release(5, 0))
        let made = try tree.makeTable()
        #expect(made.kernel == "linux-5.2")
        #expect(made.document["sources"]?["release"] == "5.0")
        #expect(made.notUnderstood.isEmpty && made.data.isEmpty && made.assumed.isEmpty, "\(made.text)")
        let result = try check(made.document)
        let known = try check(try shipped("linux-5.2"))
        // int3 has no self test before 5.2, and its handler pushes nothing.
        #expect(!result.results.contains { $0.scenario.name.hasSuffix("/self-test") })
        let verdicts = Dictionary(
            known.results.map { ($0.scenario.name, $0.verdict) }, uniquingKeysWith: { one, _ in one })
        #expect(result.results.allSatisfy { verdicts[$0.scenario.name] == $0.verdict })
        let calls = try check(made.document, ["*/int3/kernel/emulate-call"])
        #expect(calls.results.isEmpty)
    }

    /// 3.16 to 4.1: notes for debuggers among the instructions.
    @Test func instructionsWithNotes() throws {
        let code = """
            ENTRY(own)
            \tCFI_STARTPROC simple
            \tCFI_DEF_CFA rsp, SS+8-RIP
            \tpushq_cfi $5
            \tpopq_cfi %rax
            \tpushfq_cfi
            \tpopfq_cfi
            \tsubq $64, %rsp
            \tmovq_cfi rdi, 8
            \tmovq_cfi_restore 8, rdi
            \tGET_THREAD_INFO(%rcx)
            \tmovl TI_flags+THREAD_INFO(%rsp, 16), %edx
            \tLOCK ; btr $3, TI_flags(%rcx)
            \t.byte P6_NOP4
            \tSCHEDULE_USER
            \tLOCKDEP_SYS_EXIT
            \tmovq PER_CPU_VAR(old_rsp), %rsp
            \tmovq PER_CPU_VAR(init_tss + TSS_sp0), %rsp
            \tcall *machine_check_vector(%rip)
            \tCFI_ENDPROC
            END(own)

            """
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-4.4"))
        var tree = try GenerationTree.tree(kernel)
        tree.set(Self.path, (tree.text(Self.path) ?? []) + Array(code.utf8))
        let made = try tree.makeTable()
        #expect(made.kernel == "linux-4.4")
        #expect(made.notUnderstood.isEmpty, "\(made.notUnderstood)")
        #expect(made.assumed == ["schedule_user"], "\(made.assumed)")
        let image = try EntryTable.read(made.document).expand(for: .bareMetalIntel)
        let listing = try #require(image.listing(ofRoutine: "own"))
        #expect(listing.contains("pushq\t$5") || listing.contains("pushq $5"), "\(listing)")
    }

    /// C of kernels before 4.2 expects other things than our models: what breaks by that alone has no verdict.
    @Test func conventionsOfOldC() throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-4.4"))
        var tree = try GenerationTree.tree(kernel)
        let text = try #require(tree.text(Self.path))
        tree.remove(Self.path)
        tree.set("arch/x86/kernel/entry_64.S", text)
        let made = try tree.makeTable()
        #expect(made.kernel == "linux-4.4")
        let result = try check(made.document, ["bare-metal-*/return"])
        let rules = Set(result.results.flatMap { $0.violations.map(\.rule) })
        #expect(rules.isDisjoint(with: ["register-hygiene", "pt-regs-faithful", "error-code", "access-flag"]))
        #expect(result.results.contains { $0.verdict == .undecided && $0.limit == "not-understood" })
        #expect(result.findings.contains { $0.rule == "not-understood" && $0.message.contains("before 4.2") })
        // 4.4 itself is judged.
        let own = try check(try GenerationTree.tree(kernel).makeTable().document, ["bare-metal-*/return"])
        #expect(own.results.contains { $0.violations.first?.rule == "register-hygiene" })
    }

    @Test(arguments: [
        ((3, 16), "linux-4.4"), ((4, 9), "linux-4.4"), ((4, 14), "linux-4.15"), ((4, 19), "linux-4.15"),
        ((5, 0), "linux-5.2"), ((5, 4), "linux-5.3"), ((5, 10), "linux-5.8"), ((5, 15), "linux-6.1"),
        ((6, 12), "linux-6.1"),
    ])
    func theMakefileChoosesTheGeneration(_ version: (Int, Int), _ name: String) throws {
        var tree = KernelTree()
        tree.add("Makefile", release(version.0, version.1))
        tree.add(Self.path, Array("ENTRY(own)\n\tnop\nEND(own)\n".utf8))
        #expect(try tree.makeTable().kernel == name)
    }

    @Test func aGateMayBeAnAddress() throws {
        var tree = KernelTree()
        tree.add(
            "arch/x86/kernel/idt.c",
            Array(
                "static const struct idt_data ist_idts[] = {\n\tISTG(X86_TRAP_MC,\t&machine_check,\tMCE_STACK),\n};\n"
                    .utf8))
        let document = try tree.makeTable(kernel: "linux-4.15").document
        let gate = try #require((document["idt"]?.arrayValue ?? []).first)
        #expect(gate["entry"] == "machine_check" && gate["ist"] == 4)
    }
}

import EntryCode
import KernelSource
import Reports
import Testing
import Verification

/// Trees of every generation: our own listings, laid out as the files of a kernel of that age, with its rows in its words.
struct GenerationTreeTests {
    private func tree(_ kernel: Kernel) throws -> KernelTree { try GenerationTree.tree(kernel) }

    @Test(arguments: ["linux-4.4", "linux-4.15", "linux-5.2", "linux-5.3", "linux-5.8", "linux-6.1"])
    func aTreeOfTheGenerationMakesItsTable(_ name: String) throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        let made = try tree(kernel).makeTable(kernel: name)
        #expect(made.missing.isEmpty, "\(made.missing)")
        #expect(made.notUnderstood.isEmpty, "\(made.notUnderstood.prefix(5))")
        #expect(made.assumed.isEmpty, "\(made.assumed)")
        let changes = TableChange.all(from: try shipped(name), to: made.document).filter { $0.section != "sources" }
        #expect(
            changes.isEmpty,
            "\(changes.prefix(3).map { "\($0.section) \($0.name) \($0.before?.text ?? "") \($0.after?.text ?? "")" })")
        // Every event, by some of its ways: all of them would take minutes in a debug build.
        let request = SimulationRequest(
            selection: ScenarioSelection(patterns: [
                "*/return", "*/self-test", "*/sigreturn-bad-*", "*/oops", "*/fixup",
            ]))
        let own = try EntryTable.read(made.document).simulate(request)
        let known = try EntryTable.read(kernel.document).simulate(request)
        #expect(own.verdict == known.verdict, "\(own.findings.prefix(3))")
        #expect(own.results.map(\.scenario.name) == known.results.map(\.scenario.name))
        for (one, other) in zip(own.results, known.results) {
            #expect(one.violations.map(\.rule) == other.violations.map(\.rule), "\(one.scenario.name)")
        }
    }

    @Test(arguments: ["linux-4.4", "linux-4.15", "linux-5.2", "linux-5.3", "linux-5.8", "linux-6.1"])
    func theGenerationIsRecognised(_ name: String) throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        let made = try tree(kernel).makeTable()
        #expect(KernelLibrary.shipped.kernel(named: made.kernel)?.generation.name == kernel.generation.name)
    }

    /// What kernels before 5.8 write and none of our listings does.
    @Test func wordsOfOlderKernels() throws {
        var tree = KernelTree()
        tree.add(
            "arch/x86/kernel/traps.c",
            Array(
                """
                void __init trap_init(void)
                {
                \tset_intr_gate(X86_TRAP_DE, divide_error);
                \tset_intr_gate_ist(X86_TRAP_NMI, &nmi, NMI_STACK);
                \t/* int4 can be called from all */
                \tset_system_intr_gate(X86_TRAP_OF, &overflow);
                #ifdef CONFIG_X86_32
                \tset_task_gate(X86_TRAP_DF, GDT_ENTRY_DOUBLEFAULT_TSS);
                #else
                \tset_intr_gate_ist(X86_TRAP_DF, &double_fault, DOUBLEFAULT_STACK);
                #endif
                #ifdef CONFIG_X86_MCE
                \tset_intr_gate_ist(X86_TRAP_MC, &machine_check, MCE_STACK);
                #endif
                #ifdef CONFIG_IA32_EMULATION
                \tset_system_intr_gate(IA32_SYSCALL_VECTOR, entry_INT80_compat);
                #endif
                }

                """.utf8))
        tree.add(
            "arch/x86/xen/enlighten.c",
            Array(
                """
                static int cvt_gate_to_trap(int vector, const gate_desc *val, struct trap_info *info)
                {
                \tif (addr == (unsigned long)debug)
                \t\taddr = (unsigned long)xen_debug;
                \telse if (addr == (unsigned long)int3)
                \t\taddr = (unsigned long)xen_int3;
                \telse if (addr == (unsigned long)double_fault) {
                \t\t/* Don't need to handle these */
                \t\treturn 0;
                #ifdef CONFIG_X86_MCE
                \t} else if (addr == (unsigned long)machine_check) {
                \t\t/* the native one */
                \t\t;
                #endif
                \t} else if (addr == (unsigned long)nmi)
                \t\t/*
                \t\t * Use the native version as well.
                \t\t */
                \t\t;
                \telse {
                \t\tif (WARN_ON(val->ist != 0))
                \t\t\treturn 0;
                \t}
                }

                """.utf8))
        let document = try tree.makeTable(kernel: "linux-4.4").document
        let gates = (document["idt"]?.arrayValue ?? []).map { row in
            "\(row["vector"]?.integerValue ?? -1) \(row["entry"]?.stringValue ?? "") \(row["ist"]?.integerValue ?? -1) \(row["dpl"]?.integerValue ?? -1) \(row["option"]?.stringValue ?? "-")"
        }
        #expect(
            gates == [
                "0 divide_error 0 0 -", "2 nmi 2 0 -", "4 overflow 0 3 -", "8 double_fault 1 0 -",
                "18 machine_check 4 0 X86_MCE", "128 entry_INT80_compat 0 3 IA32_EMULATION",
            ])
        #expect(
            (document["xen"]?["traps"]?.arrayValue ?? []).map { row in
                "\(row["native"]?.stringValue ?? "") \(row["entry"]?.stringValue ?? "") \(row["option"]?.stringValue ?? "-")"
            } == [
                "debug xen_debug -", "int3 xen_int3 -", "machine_check machine_check X86_MCE", "nmi nmi -",
            ])
    }
}

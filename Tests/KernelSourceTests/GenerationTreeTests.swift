import EntryCode
import KernelSource
import Reports
import Testing
import Verification

/// Trees of every generation: our own listings, laid out as the files of a kernel of that age, with its rows in its words.
struct GenerationTreeTests {
    /// Blocks of a listing by the name of the routine or macro; what stands between them is left out.
    private func blocks(_ text: String) -> [(name: String, text: String)] {
        var found: [(String, String)] = []
        var open: (name: String, end: String, lines: [Substring])?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if var block = open {
                block.lines.append(line)
                if line.hasPrefix(block.end) {
                    found.append((block.name, block.lines.joined(separator: "\n") + "\n"))
                    open = nil
                } else {
                    open = block
                }
            } else if line.hasPrefix("ENTRY("), let stop = line.firstIndex(of: ")") {
                let name = String(line[line.index(line.startIndex, offsetBy: 6)..<stop])
                open = (name, "END(\(name))", [line])
            } else if line.hasPrefix(".macro ") {
                open = (String(line.split(separator: " ")[1]), ".endm", [line])
            }
        }
        return found
    }

    private func condition(_ option: String?, _ line: String) -> String {
        guard let option else { return line + "\n" }
        let symbol = EntryTable.configSymbols(option).last ?? ""
        return "#ifdef \(symbol) /* \(option) */\n\(line)\n#endif\n"
    }

    private func tree(_ kernel: Kernel) throws -> KernelTree {
        let table = try EntryTable.read(kernel.document)
        let all = kernel.generation.listings.flatMap { blocks(String(decoding: $0.text, as: UTF8.self)) }
        var tree = KernelTree()
        let homes = kernel.generation.tree.homes
        for (path, names) in homes {
            var text = "/* SPDX-License-Identifier: Apache-2.0 */\n#include <linux/linkage.h>\n"
            if path.hasSuffix("entry_64.S") || path.hasSuffix("compat.S") { text += "#include \"calling.h\"\n" }
            if path.hasSuffix(".S") { text += "\t.section .entry.text, \"ax\"\n" }
            var written: Set<String> = []
            for block in all where names.contains(block.name) && written.insert(block.name).inserted {
                text += block.text
            }
            for row in kernel.generation.exceptionTable where names.contains(row.routine) {
                text += "\t_ASM_EXTABLE(\(row.fault), \(row.fixup))\n"
            }
            if names.contains("@entries") {
                for row in table.entries where !row.isInListing {
                    var line: String
                    if let kind = row.kind, let vector = row.vector {
                        // The declarations of a kernel are macros of its own; ours take the name of the stub as well.
                        line = "\(kind) \(vector), \(row.symbol), \(row.handler)"
                        if row.saysErrorCode { line += ", has_error_code=\(row.hasErrorCode ? 1 : 0)" }
                    } else {
                        line = "idtentry \(row.symbol)\t\t\(row.handler)\thas_error_code=\(row.hasErrorCode ? 1 : 0)"
                        if row.paranoid != 0 { line += " paranoid=\(row.paranoid)" }
                        if let shift = row.shiftIST { line += " shift_ist=\(shift) ist_offset=\(row.istOffset)" }
                        if row.createGap { line += " create_gap=1" }
                        if row.readCR2 { line += " read_cr2=1" }
                    }
                    text += condition(row.option, line)
                }
            }
            if path.hasSuffix("/entry_64.S"), homes["arch/x86/include/asm/idtentry.h"] != nil {
                text += "#include <asm/idtentry.h>\n"
            }
            if names.contains("@thunks") { for thunk in table.xen.thunks { text += "xen_pv_trap \(thunk)\n" } }
            // For sources of a kernel the first system vector is the one behind the timer's.
            text = text.replacing("FIRST_SYSTEM_VECTOR + 1", with: "FIRST_SYSTEM_VECTOR")
            tree.add(path, Array(text.utf8))
        }
        var gates = "static const __initconst struct idt_data def_idts[] = {\n"
        for row in table.idt {
            let vector = row.vector == 0x80 ? "IA32_SYSCALL_VECTOR" : "\(row.vector)"
            let stacks = ["", "IST_INDEX_DF", "IST_INDEX_NMI", "IST_INDEX_DB", "IST_INDEX_MCE"]
            let system = row.dpl == 3
            gates += condition(
                row.option,
                row.ist == 0
                    ? "\t\(system ? "SYSG" : "INTG")(\(vector),\t\t\(row.entry)),"
                    : "\t\(system ? "SISTG" : "ISTG")(\(vector),\t\t\(row.entry), \(stacks[Int(row.ist)])),")
        }
        tree.add("arch/x86/kernel/idt.c", Array((gates + "};\n").utf8))
        var traps = "static struct trap_array_entry trap_array[] = {\n"
        for row in table.xen.traps {
            traps += condition(row.option, "\t{ \(row.native),\t\t\(row.entry),\t\(row.istOkay) },")
        }
        tree.add("arch/x86/xen/enlighten_pv.c", Array((traps + "};\n").utf8))
        return tree
    }

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
            (document["xen"]?["traps"]?.arrayValue ?? []).compactMap { $0["entry"]?.stringValue } == [
                "xen_debug", "xen_int3",
            ])
    }
}

import EntryCode
import KernelSource

/// Our own listings, laid out as the files of a kernel of that age, with its rows in its words.
enum GenerationTree {
    /// Blocks of a listing by the name of the routine or macro; what stands between them is left out.
    private static func blocks(_ text: String) -> [(name: String, text: String)] {
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

    private static func condition(_ option: String?, _ line: String) -> String {
        guard let option else { return line + "\n" }
        let symbol = EntryTable.configSymbols(option).last ?? ""
        return "#ifdef \(symbol) /* \(option) */\n\(line)\n#endif\n"
    }

    static func tree(_ kernel: Kernel) throws -> KernelTree {
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

    /// The tree of a shipped kernel with pieces of one file replaced.
    static func tree(_ name: String, _ path: String, _ changes: [(String, String)]) throws -> KernelTree {
        guard let kernel = KernelLibrary.shipped.kernel(named: name) else { return KernelTree() }
        var tree = try tree(kernel)
        var text = String(decoding: tree.text(path) ?? [], as: UTF8.self)
        for (piece, other) in changes { text = text.replacing(piece, with: other, maxReplacements: 1) }
        tree.set(path, Array(text.utf8))
        return tree
    }
}

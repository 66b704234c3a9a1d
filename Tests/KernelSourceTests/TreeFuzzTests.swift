import EntryCode
import KernelSource
import TestSupport
import Testing

/// Damaged trees: an import or a fault, never a trap; what it makes reads as a table.
struct TreeFuzzTests {
    private let files: [(String, String)] = [
        (
            "arch/x86/entry/calling.h",
            """
            #ifdef CONFIG_PAGE_TABLE_ISOLATION
            #define PTI_BIT 12
            .macro SWITCH reg:req
            \tALTERNATIVE "jmp .Lend_\\@", "", X86_FEATURE_PTI
            \tmov %cr3, \\reg
            \tbt $PTI_BIT, \\reg
            .Lend_\\@:
            .endm
            #else
            .macro SWITCH reg:req
            .endm
            #endif
            #define JOIN(a, b...) a##_##b
            #define TEXT(x...) #x

            """
        ),
        (
            "arch/x86/entry/entry_64.S",
            """
            #include "calling.h"
            /* a comment
             * of lines */
            SYM_CODE_START(JOIN(own, entry))
            \tSWITCH %rax
            \t.rept 3
            \tpushq $0
            \t.endr
            \t.irp r, %rax, %rbx
            \tpopq \\r
            \t.endr
            0 :
            \t.byte 0x6a, vector
            \t.byte 0xe9
            \t.long 0b - (. + 4)
            1:\tALTERNATIVE_2 "nop", TEXT(lfence; nop), X86_FEATURE_A, "ud2", X86_FEATURE_B
            \t_ASM_EXTABLE(0b, 1b)
            \tjmp 1b
            SYM_CODE_END(JOIN(own, entry))
            vector = 0x20

            """
        ),
        (
            "arch/x86/include/asm/idtentry.h",
            "DECLARE_IDTENTRY(X86_TRAP_DE, exc_divide_error);\nDECLARE_IDTENTRY_NMI(X86_TRAP_NMI, exc_nmi);\n"
        ),
        (
            "arch/x86/kernel/idt.c",
            "struct idt_data def_idts[] = {\n#if defined(CONFIG_X86_MCE) && !defined(B)\nISTG(X86_TRAP_MC, a, IST_INDEX_MCE),\n#elif 1\nINTG(3, b),\n#endif\n};\n"
        ),
        ("arch/x86/xen/enlighten_pv.c", "trap_array[] = {\nTRAP_ENTRY_REDIR(exc_nmi, true ),\n{ a, b, false },\n};\n"),
    ]

    private let pieces = [
        "#if", "#endif\n", "#else\n", "#define A(", "#define A A A\n", "#include \"entry_64.S\"\n",
        "#include <../entry/calling.h>\n", "\\\n", "\"",
        "/*", "*/", "(", ")", "##", "\\@", ".macro M\nM\n.endm\nM\n", ".rept 100000\n", ".endr\n", "ALTERNATIVE \"",
        "SYM_CODE_START(", "0xffffffffffffffffff",
        "#if (((((1\n", "#if 1/0\n", "TEXT(", "JOIN(", ".byte 0xe9\n", ".long ", "\u{0}",
        "#define B(x) B(B(x)) B(x)\nB(1)\n", "#ifndef X\n#define X\n", "1f",
    ]

    @Test("mutated trees", arguments: 1...6)
    func mutated(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<40 {
            var tree = KernelTree()
            for (path, text) in files where random.chance(90) {
                var bytes = Array(text.utf8)
                for _ in 0..<random.next() % 4 {
                    let place = Int(random.next() % UInt64(bytes.count + 1))
                    switch random.next() % 4 {
                    case 0: if place < bytes.count { bytes[place] = UInt8(truncatingIfNeeded: random.next()) }
                    case 1: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.next() % 40)))
                    default: bytes.insert(contentsOf: Array(random.pick(pieces).utf8), at: place)
                    }
                }
                tree.add(path, bytes)
            }
            do {
                let made = try tree.makeTable(kernel: random.pick(["linux-6.1", "linux-5.2"]))
                #expect(throws: Never.self) { _ = try EntryTable.read(made.document) }
                #expect(!made.text.isEmpty)
            } catch {
                #expect(!error.message.isEmpty && !error.code.isEmpty)
            }
        }
    }
}

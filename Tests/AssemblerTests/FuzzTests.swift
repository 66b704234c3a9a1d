import TestSupport
import Testing

@testable import Assembler

/// Mutated sources: whatever comes out, the assembler returns a program or faults, twice the same.
@Suite struct FuzzTests {
    static let corpus: [[UInt8]] = [
        """
        .macro PUSH rdx=%rdx rest:vararg
        .if \\rdx != 0
        pushq \\rdx; pushq 8*2(%rsp)
        .elseif N == 2
        \\rest
        .else
        .exitm
        .endif
        .Lx\\@: jmp .Lx\\@
        .endm
        ENTRY(first)
        PUSH 1, movq %rax, %rbx
        1: testb $3, CS-ORIG_RAX(%rsp)
        jnz 1b; jz 2f
        .rept 3
        pushq 5*8(%rsp)
        .endr
        2: lock; incl PER_CPU_VAR(cpu + 4)(%rax)
        END(first)
        """,
        """
        a: movabs $0x123456789abc, %rax /* c */
        GLOBAL(b) # comment
        .irp r, rax, rbx
        movq %\\r, 8(%rsp,%rcx,8)
        .endr
        .set x, (a - b) << 2 | ~'c'
        leaq data + x(%rip), %rdi
        .pushsection .rodata, "a"
        .quad 1b
        .popsection
        call *b(,%rax,8)
        END(a)
        SYM_CODE_START_LOCAL_NOALIGN(third)
        .ifc "a","b"
        rep; ret
        .endif
        jmp a
        SYM_CODE_END(third)
        """,
    ].map { Array($0.utf8) }

    private static let tokens = [
        "\\", "\\@", "\\()", ".macro m a\n", ".endm\n", ".rept 3\n", ".endr\n", ".if 1\n", ".endif\n", ".else\n", "\"",
        "'", "(",
        ")", "%", "$", "0x", "1f", "1b", ",", ";", "\n", "END(a)", "ENTRY(a)\n", "m 1\n", "=", ".set y, y+1\n", "/*",
        "*/", "#",
        "-", "<<", "/", "0", "9223372036854775807", "-9223372036854775808", ".exitm\n", ".irpc c,ab\n", "a:", "%rip",
        "lock ",
        "movq ", ".purgem m\n", ".Lx", "\u{0}", "é",
    ].map { Array($0.utf8) }

    private func mutate(_ random: inout SeededRandom) -> [UInt8] {
        var text = random.pick(FuzzTests.corpus)
        for _ in 0..<(1 + random.next() % 12) {
            guard !text.isEmpty else { return text }
            let position = Int(random.next() % UInt64(text.count))
            switch random.next() % 5 {
            case 0: text[position] = UInt8(truncatingIfNeeded: random.next())
            case 1: text.removeSubrange(position..<min(text.count, position + Int(random.next() % 20)))
            case 2: text.insert(contentsOf: random.pick(FuzzTests.tokens), at: position)
            case 3: text.insert(contentsOf: text[position..<min(text.count, position + Int(random.next() % 60))], at: 0)
            default: text.insert(contentsOf: random.pick(FuzzTests.tokens), at: position)
            }
        }
        return text
    }

    private func outcome(_ text: [UInt8], _ override: [UInt8]?) -> String {
        var limits = Limits()
        limits.lines = 5000
        limits.expanded_bytes = 200_000
        let input = AssemblyInput(
            sources: [SourceText(name: "f", bytes: text)], constants: ["N": 2, "CS": 136, "ORIG_RAX": 120],
            externals: ["data": 0xffff_ffff_8200_0000, "cpu": 8], placements: ["third": 0xffff_ffff_8100_0040],
            overrides: override.map { [SourceText(name: "third", bytes: $0)] } ?? [], limits: limits)
        do {
            return listing(of: try assemble(input))
        } catch {
            #expect(!error.diagnostics.isEmpty)
            #expect(error.diagnostics.allSatisfy { $0.line >= 1 && $0.column >= 1 })
            return error.description
        }
    }

    @Test func theCorpusAssembles() {
        for text in FuzzTests.corpus { #expect(outcome(text, nil).contains("ENTRY("), "\(outcome(text, nil))") }
    }

    @Test(arguments: [11, 12, 13, 14] as [UInt64])
    func mutatedSourcesNeverTrap(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var assembled = 0
        for number in 0..<300 {
            let text = mutate(&random)
            let override = random.chance(30) ? mutate(&random) : nil
            let first = outcome(text, override)
            #expect(first == outcome(text, override), "seed \(seed), number \(number)")
            if first.contains("END(") { assembled += 1 }
        }
        // If every mutation failed at once, the layout would not be tested.
        #expect(assembled > 0, "seed \(seed)")
    }

    @Test(arguments: [21, 22] as [UInt64])
    func noiseNeverTraps(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<300 {
            var text: [UInt8] = []
            for _ in 0..<(random.next() % 200) {
                if random.chance(50) {
                    text.append(UInt8(truncatingIfNeeded: random.next()))
                } else {
                    text += random.pick(FuzzTests.tokens)
                }
            }
            let first = outcome(text, nil)
            #expect(first == outcome(text, nil), "seed \(seed)")
        }
    }
}

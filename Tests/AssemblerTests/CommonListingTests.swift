import Machine
import TestSupport
import Testing

@testable import Assembler

/// One listing of several programs gives each of them back.
struct CommonListingTests {
    /// The same source with another value of `V` for each program.
    private func programs(_ source: String, _ count: Int, overrides: [String: String] = [:]) throws -> [Program] {
        try (0..<count).map { try program(source, constants: ["V": Int64($0)], overrides: overrides) }
    }

    private func common(_ programs: [Program], enclosing: String? = nil) -> CommonListing {
        CommonListing(
            programs,
            style: CommonListing.Style(enclosing: enclosing) { set in
                set.indices.map { "V == \($0)" }.joined(separator: " || ")
            })
    }

    private func expectSame(_ source: String, _ count: Int, _ note: String = "") throws {
        let before = try programs(source, count)
        let listing = common(before)
        let names = listing.routines
        var sets = names.map { [$0] }
        sets.append(names)
        for set in sets {
            var overrides: [String: String] = [:]
            for name in set { overrides[name] = try #require(listing.text(of: name)) }
            let after: [Program]
            do {
                after = try programs(source, count, overrides: overrides)
            } catch {
                Issue.record("\(note)\(error)\n\(source)\n\(overrides)")
                continue
            }
            for (one, other) in zip(before, after) {
                #expect(texts(one) == texts(other), "\(note)\(source)\n\(overrides)")
                #expect(one.instructions == other.instructions && one.addresses == other.addresses, "\(note)\(source)")
            }
        }
    }

    @Test func whatDiffersStandsInConditionals() throws {
        let source = """
            ENTRY(r)
            cld
            .if V
            clac
            .endif
            ret
            END(r)
            """
        let text = common(try programs(source, 2)).text
        #expect(text == "ENTRY(r)\n\tcld\n.if V == 1\n\tclac\n.endif\n\tret\nEND(r)\n")
        try expectSame(source, 2)
    }

    @Test func alternativesShareOneConditional() throws {
        let source = """
            ENTRY(r)
            .if V == 0
            nop
            .elseif V == 1
            cli
            .else
            sti
            .endif
            ret
            END(r)
            """
        let text = common(try programs(source, 3)).text
        #expect(
            text == "ENTRY(r)\n.if V == 0\n\tnop\n.elseif V == 1\n\tcli\n.else\n\tsti\n.endif\n\tret\nEND(r)\n",
            "\(text)")
        try expectSame(source, 3)
    }

    @Test func labelsLeadToTheSamePlacesEverywhere() throws {
        // A counted label behind code that differs, a branch past it, and one that leads elsewhere in each program.
        try expectSame(
            """
            .macro skip
            jz .Lover_\\@
            .if V == 1
            lfence
            nop
            .endif
            .Lover_\\@:
            .endm
            .if V
            ENTRY(before)
            skip
            ret
            END(before)
            .endif
            ENTRY(r)
            1: skip
            .if V == 2
            jmp 1b
            2: cli
            .else
            jmp 2f
            GLOBAL(middle)
            nop
            2: nop
            .endif
            jnz 2b
            .Lfixed: jmp .Lfixed
            leaq .Lfixed(%rip), %rax
            jmp 3f
            .if V == 1
            nop
            .endif
            3:
            END(r)
            """, 3)
    }

    @Test func routinesOfSomeProgramsStayTheirs() throws {
        let source = "ENTRY(a)\nret\nEND(a)\n.if V\nENTRY(b)\nhlt\nEND(b)\n.endif\nENTRY(c)\nnop\nret\nEND(c)\n"
        let listing = common(try programs(source, 2))
        #expect(listing.routines == ["a", "b", "c"])
        #expect(listing.text(of: "b") == ".if V == 1\nENTRY(b)\n\thlt\nEND(b)\n.endif\n")
        try expectSame(source, 2)
    }

    @Test func anEnclosingConditionLeavesOthersAlone() throws {
        let source = "ENTRY(a)\nret\nEND(a)\n"
        let text = try #require(common([try program(source)], enclosing: "V == 1").text(of: "a"))
        #expect(text == ".if V == 1\nENTRY(a)\n\tret\nEND(a)\n.endif\n")
        let edited = text.replacing("\tret", with: "\thlt")
        let after = try programs(source, 2, overrides: ["a": edited])
        #expect(after.map(texts) == [["ret"], ["hlt"]])
    }

    @Test("random code with conditionals comes back", arguments: 0..<40)
    func randomCode(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed) &* 0x9E37_79B9 &+ 77)
        var source = ".macro over\njz .Lover_\\@\n.if V & 1\nstc\n.endif\n.Lover_\\@:\n.endm\n"
        source = source.replacing("stc", with: "cld")
        for routine in 0..<3 {
            source += "ENTRY(r\(routine))\n"
            var depth = 0
            for line in 0..<40 {
                switch random.next() % 12 {
                case 0 where depth < 3:
                    source += ".if V \(["==", "!=", "<", ">"][Int(random.next() % 4)]) \(random.next() % 4)\n"
                    depth += 1
                case 1 where depth > 0: source += ".else\n.endif\n"; depth -= 1
                case 2: source += "1:\n"
                case 3 where line > 0: source += "1: jnz 1b\n"
                case 4: source += "jmp 1f\n1: nop\n"
                case 5: source += "over\n"
                case 6: source += ".Ll\(routine)_x\(line): jmp .Ll\(routine)_x\(line)\n"
                case 7: source += "call r\(random.next() % 3)\n"
                case 8: source += ".rept 60\ncli\n.endr\n"
                default: source += ["nop", "cli", "sti", "cld"][Int(random.next() % 4)] + "\n"
                }
            }
            for _ in 0..<depth { source += ".endif\n" }
            source += "ret\nEND(r\(routine))\n"
        }
        try expectSame(source, 4, "seed \(seed): ")
    }
}

/// Texts that replace a routine on some platforms, nowhere, or with nothing.
struct ConditionalOverrideTests {
    private let source = "ENTRY(r)\nret\nEND(r)\nENTRY(s)\nhlt\nEND(s)\n"

    @Test(
        "where no line is left the routine stays",
        arguments: [
            ".if 0\nENTRY(r)\nnop\nEND(r)\n.endif\n", "/* none */\n.if 0\n.if 1\nnop\n.endif\n.elseif 0\ncli\n.endif\n",
            ".if 1\n.if 0\nnop\n.endif\n.else\nnop\n.endif\n",
        ])
    func stays(_ text: String) throws {
        #expect(texts(try program(source, overrides: ["r": text])) == ["ret", "hlt"])
        #expect(texts(try program(source, overrides: ["added": text])) == ["ret", "hlt"])
    }

    @Test func aBranchThatHoldsReplaces() throws {
        let text = ".if 0\nnop\n.else\ncli\n.endif\n"
        #expect(texts(try program(source, overrides: ["r": text])) == ["cli", "hlt"])
    }

    @Test(
        "a routine without an instruction is a fault",
        arguments: [
            "", " \n# nothing\n", "ENTRY(r)\nEND(r)\n", ".set x, 1\n", ".if 1\n.set x, 1\n.endif\n", "label:\n",
        ])
    func empty(_ text: String) {
        #expect(faults(source, overrides: ["r": text]) == ["empty-routine 1:1"])
    }

    @Test(
        "a condition that cannot be known is one fault",
        arguments: [
            (".if NOBODY\nnop\n.endif\n", "undefined-symbol 1:5"), (".if 1\nnop\n", "unterminated-conditional 1:1"),
        ])
    func faulty(_ text: String, _ fault: String) {
        #expect(faults(source, overrides: ["r": text]) == [fault])
    }

    @Test(
        "alignments that no object file can ask for are refused",
        arguments: [
            ".p2align 64", ".p2align 22", ".p2align -1", ".balign 4611686018427387904", ".balign 24", ".align -8",
            ".balign 1 << 62", ".align 4194304",
        ])
    func alignment(_ line: String) {
        #expect(faults("ENTRY(r)\n\(line)\nret\nEND(r)\n").map { $0.prefix(12) } == ["out-of-range"])
    }

    @Test(arguments: [
        ".p2align 4, 0x90", ".p2align 4,,15", ".balign 64", ".align 4096", ".p2align 21", ".balign 0", ".align",
    ])
    func possibleAlignment(_ line: String) throws {
        #expect(try body("\(line)\nret") == ["ret"])
    }
}

import Testing

@testable import Assembler

@Suite struct LimitTests {
    private func limits(_ change: (inout Limits) -> Void) -> Limits {
        var limits = Limits()
        change(&limits)
        return limits
    }

    private func codes(_ source: String, _ limits: Limits) -> [String] {
        faults(source, limits: limits).map { String($0.prefix { $0 != " " }) }
    }

    @Test func sourceBytes() {
        let source = "ENTRY(r)\nnop\nEND(r)"
        #expect(codes(source, limits { $0.source_bytes = source.utf8.count }) == [])
        #expect(codes(source, limits { $0.source_bytes = source.utf8.count - 1 }) == ["limit-source-bytes"])
    }

    @Test func expandedBytesDoublingPerLevel() {
        let source = ".macro m a\n.ifnb \\a\nm \"\\a\\a\"\n.endif\n.endm\nm xxxxxxxx\n"
        #expect(codes(source, limits { $0.expanded_bytes = 100_000 }) == ["limit-expanded-bytes"])
    }

    @Test func lines() {
        #expect(codes(String(repeating: "\n", count: 10), limits { $0.lines = 10 }) == [])
        #expect(codes(String(repeating: "\n", count: 11), limits { $0.lines = 10 }) == ["limit-lines"])
        #expect(codes(".rept 10000\n.rept 10000\n.endr\n.endr", Limits()) == ["limit-lines"])
    }

    @Test func macroDepth() {
        #expect(codes(".macro m\nm\n.endm\nm", Limits()) == ["limit-macro-depth"])
        let nested = String(repeating: ".rept 1\n", count: 5) + String(repeating: ".endr\n", count: 5)
        #expect(codes(nested, limits { $0.macro_depth = 6 }) == [])
        #expect(codes(nested, limits { $0.macro_depth = 5 }) == ["limit-macro-depth"])
        #expect(codes(String(repeating: ".pushsection .text\n", count: 65), Limits()) == ["limit-macro-depth"])
    }

    @Test func repeatCount() {
        #expect(codes(".rept 10\n.endr", limits { $0.repeat_count = 10 }) == [])
        #expect(codes(".rept 11\n.endr", limits { $0.repeat_count = 10 }) == ["limit-repeat"])
        #expect(codes(".rept 0x7fffffffffffffff\n.endr", Limits()) == ["limit-repeat"])
        #expect(codes(".irpc c, 12345\n.endr", limits { $0.repeat_count = 4 }) == ["limit-repeat"])
        #expect(codes(".irp c, 1, 2, 3, 4, 5\n.endr", limits { $0.repeat_count = 4 }) == ["limit-repeat"])
    }

    @Test func expressionDepth() {
        func nested(_ depth: Int) -> String {
            "x = " + String(repeating: "(", count: depth) + "1" + String(repeating: ")", count: depth)
        }
        #expect(codes(nested(127), Limits()) == [])
        #expect(codes(nested(128), Limits()) == ["limit-expression-depth"])
        #expect(codes("x = " + String(repeating: "-", count: 5000) + "1", Limits()) == ["limit-expression-depth"])
        let chain = "ENTRY(r)\nmovq $r" + String(repeating: "-s", count: 300) + ", %rax\ns: nop\nEND(r)"
        #expect(codes(chain, Limits()) == ["limit-expression-depth"])
    }

    @Test func instructions() {
        let source = "ENTRY(r)\n.rept 11\nnop\n.endr\nEND(r)"
        #expect(codes(source, limits { $0.instructions = 11 }) == [])
        #expect(codes(source, limits { $0.instructions = 10 }).first == "limit-instructions")
    }

    @Test func identifierBytes() {
        let name = String(repeating: "a", count: 256)
        #expect(codes("\(name.dropLast()) = 1", Limits()) == [])
        #expect(codes("\(name) = 1", Limits()) == ["limit-identifier"])
    }

    @Test func diagnostics() {
        let source = "ENTRY(r)\n" + String(repeating: "frob\n", count: 200) + "END(r)"
        let found = codes(source, Limits())
        #expect(found.count == 100)
        #expect(found.last == "limit-diagnostics")
        #expect(found.dropLast().allSatisfy { $0 == "unknown-mnemonic" })
    }

    @Test func branchesThatKeepGrowingEnd() throws {
        let source =
            "ENTRY(r)\n" + (0..<400).map { "l\($0): jmp l\($0 + 1)\n.rept 124\nnop\n.endr\njmp l\($0 + 1)\n" }.joined()
            + "l400: nop\nEND(r)"
        #expect(try program(source).instructions.count == 400 * 126 + 1)
    }
}

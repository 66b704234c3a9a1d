import Assembler
import Testing

/// The C preprocessor, by what GNU cpp makes of the same text.
struct PreprocessorTests {
    private func run(_ text: String, _ defines: [String: String] = [:], files: [String: String] = [:]) -> String {
        var preprocessor = Preprocessor { name, _ in files[name].map { (name, Array($0.utf8)) } }
        for (name, value) in defines { preprocessor.define(name, value) }
        let result = preprocessor.process(Array(text.utf8), named: "test.S")
        #expect(result.problems.isEmpty, "\(result.problems)")
        #expect(result.origins.count == result.text.count { $0 == 0x0A })
        return String(decoding: result.text, as: UTF8.self).split(separator: "\n")
            .map { $0.split(whereSeparator: \.isWhitespace).joined(separator: " ") }.filter { !$0.isEmpty }.joined(
                separator: "|")
    }

    @Test(arguments: [
        ("#define A 1\nA AB A\n", "1 AB 1"), ("#define F(x) [x]\nF(1) F (2) F\n", "[1] [2] F"),
        ("#define F(x, y) y x\nF((a, b), \"c, d\")\n", "\"c, d\" (a, b)"),
        ("#define CAT(a, b) a##b\n#define XCAT(a, b) CAT(a, b)\n#define N 3\nCAT(x, N) XCAT(x, N)\n", "xN x3"),
        (
            "#define S(x...) #x\n#define XS(x...) S(x)\n#define N 3\nS(N,  \"q\\\\\") XS(N)\n",
            "\"N, \\\"q\\\\\\\\\\\"\" \"3\""
        ),
        ("#define A B\n#define B A\nA B\n", "A B"), ("#define F(x) x F(x)\nF(1)\n", "1 F(1)"),
        ("#define V(f, ...) f(__VA_ARGS__)\nV(g, 1, 2) V(g)\n", "g(1, 2) g()"), ("#define E\nE x E\n", "x"),
        ("#define asm_x(func) asm_##func func has_error_code=0\nasm_x(exc)\n", "asm_exc exc has_error_code=0"),
        ("$CS 1b 0x1A A1\n", "$3 1b 0x1A A1"), ("jmp .Lx_\\@ // CS\n", "jmp .Lx_\\@"),
        ("a /* CS\n CS */ b\n", "a|b"), ("F(CS)\n# not a directive CS\n", "F(3)"),
        ("#define L \\\n one; \\\n two\nL\n", "one; two"), ("#define G(x) <x>\nG(a\n b)\n", "<a b>"),
        ("#undef CS\nCS\n", "CS"), ("\"CS\" CS\n", "\"CS\" 3"),
    ])
    func macros(_ text: String, _ wanted: String) {
        #expect(
            run(text, ["CS": "3", "A": "1", "B": "1"].filter { text.contains($0.key) && $0.key == "CS" }) == wanted)
    }

    @Test(arguments: [
        ("defined(A) && !defined(B)", true), ("defined A", true), ("IS_ENABLED(CONFIG_X)", false),
        ("IS_ENABLED(A)", true),
        ("A + 1 == 2", true), ("B", false), ("UNKNOWN(3) || 1", true), ("(1 << 4) >= 16 ? 0 : 1", false),
        ("0x10 == 16 && 010 == 8", true),
        ("-1 < 0u", true), ("1 || 1/0", false), ("~0 == -1", true), ("3 % 2 ^ 1", false),
        ("A && (defined(C) || defined(A))", true),
    ])
    func conditions(_ expression: String, _ isTrue: Bool) {
        var preprocessor = Preprocessor()
        preprocessor.define("A", "1")
        let result = preprocessor.process(Array("#if \(expression)\nyes\n#else\nno\n#endif\n".utf8), named: "x")
        #expect(String(decoding: result.text, as: UTF8.self) == (isTrue ? "yes\n" : "no\n"))
    }

    @Test func branchesAndIncludes() {
        let text =
            "#ifdef A\n1\n#elif defined(B)\n2\n#elif 1\n3\n#else\n4\n#endif\n#ifndef A\n5\n#if 0\n6\n#else\n7\n#endif\n#endif\n"
        #expect(run(text, ["A": "1"]) == "1")
        #expect(run(text, ["B": "1"]) == "2|5|7")
        #expect(run(text) == "3|5|7")
        #expect(run("#include \"a.h\"\n#include <gone.h>\nX\n", files: ["a.h": "#define X 9\nfrom_a\n"]) == "from_a|9")
    }

    @Test func linesKeepTheirOrigin() {
        var preprocessor = Preprocessor { name, _ in (name, Array("\n\nin_header\n".utf8)) }
        let result = preprocessor.process(
            Array("one\n#include \"h\"\n/* a\nb */\ntwo \\\nmore\nthree\n".utf8), named: "x.S")
        let lines = String(decoding: result.text, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false)
        let found = zip(lines, result.origins).compactMap { line, origin in
            line.allSatisfy(\.isWhitespace)
                ? nil : "\(line.split(separator: " ")[0]) \(result.files[Int(origin.file)]):\(origin.line)"
        }
        #expect(found == ["one x.S:1", "in_header h:3", "two x.S:5", "three x.S:7"])
    }

    @Test func hostileTextEnds() {
        let texts = [
            "#define A A A A A A A A\n" + (0..<40).map { "#define B\($0) B\($0 + 1) B\($0 + 1)\n" }.joined() + "B0\n",
            "#include \"x\"\n", String(repeating: "#if 1\n", count: 10_000),
            "#define F(x) x x\n" + String(repeating: "F(", count: 5000) + "\n",
            "#if " + String(repeating: "(", count: 100_000) + "\n#endif\n",
            "#if " + String(repeating: "!", count: 100_000) + "1\n#endif\n",
            "\"", "\\", "#", "##\n", "#define\n#define (\n#define F(\n#define G(a,)\nF(\n",
        ]
        for text in texts {
            var preprocessor = Preprocessor { _, _ in ("x", Array("#include \"x\"\n".utf8)) }
            let result = preprocessor.process(Array(text.utf8), named: "x")
            #expect(result.text.count <= PreprocessorLimits().produced_bytes)
        }
    }
}

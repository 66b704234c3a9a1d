import EntryCode
import Testing

/// RFC 8259: what a parser must accept and must refuse, and where it says so.
struct JSONConformanceTests {
    private func parse(_ text: String, limits: JSONLimits = JSONLimits()) throws(JSONSyntaxError) -> JSONDocument {
        try JSON.parse(Array(text.utf8), limits: limits)
    }

    static let accepted: [(String, JSON)] = [
        ("null", .null), (" true\n", true), ("false", false), ("0", 0), ("-0", 0), ("-1", -1), ("1e2", .number(100)),
        ("1E+2", .number(100)), ("1.5", .number(1.5)), ("-0.5e-1", .number(-0.05)),
        ("9223372036854775807", .integer(.max)),
        ("-9223372036854775808", .integer(.min)), ("9223372036854775808", .number(9_223_372_036_854_775_808)),
        ("\"\"", ""), ("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\u{8}\u{C}\n\r\t"), ("\"\\u0041\\u00e9\"", "Aé"),
        ("\"\\ud83d\\ude00\"", "😀"), ("\"\\uD834\\uDD1E\"", "𝄞"), ("\"\\u0000\"", "\u{0}"), ("\"\u{7F}\"", "\u{7F}"),
        ("\"é\"", "é"), ("[]", .array([])), ("[ ]", .array([])), ("[1, 2]", .array([1, 2])), ("{}", .object([])),
        ("{\"a\":1,\"b\":[{}]}", .object([JSON.Member("a", 1), JSON.Member("b", .array([.object([])]))])),
        ("\t\r\n [\n]\r", .array([])), ("{\"\":0}", .object([JSON.Member("", 0)])),
    ]

    @Test("accepts", arguments: accepted)
    func accepts(text: String, value: JSON) throws { #expect(try parse(text).value == value) }

    static let refused: [String] = [
        "", " ", "nul", "nulll", "True", "NaN", "Infinity", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "0x10",
        "1_000",
        "\"", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u123g\"", "\"\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"",
        "\"\\udc00\"", "\"\t\"", "\"\n\"", "'a'", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1,,2]", "{", "}",
        "{\"a\"",
        "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:1}", "{\"a\" 1}", "{,}", "1 2", "{} {}", "[] x",
        "// c\n1", "/* c */ 1", "[1]//", "\u{FEFF}1", "\u{A0}1",
    ]

    @Test("refuses", arguments: refused)
    func refuses(text: String) {
        #expect { _ = try parse(text) } throws: { error in
            (error as? JSONSyntaxError)?.code == "json-syntax"
        }
    }

    @Test("invalid UTF-8: overlong forms, surrogates, stray bytes, cut sequences")
    func encoding() {
        let strings: [[UInt8]] = [
            [0x80], [0xC0, 0xAF], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF0, 0x80, 0x80, 0x80],
            [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xE2, 0x82], [0xC3],
        ]
        for bytes in strings {
            for prefix in ["\"", "\"\\n"] {
                #expect(
                    performing: { _ = try JSON.parse(Array(prefix.utf8) + bytes + [0x22]) },
                    throws: { ($0 as? JSONSyntaxError)?.code == "json-invalid-utf8" })
            }
        }
        #expect(throws: JSONSyntaxError.self) { _ = try JSON.parse([0xEF, 0xBB, 0xBF, 0x31]) }
        #expect(throws: JSONSyntaxError.self) { _ = try JSON.parse([0x31, 0x00]) }
    }

    @Test("says where: line, column, byte, and the value that was being read")
    func position() throws {
        let error = try #require(throws: JSONSyntaxError.self) { _ = try parse("{\n  \"a\": [1, {\"b/c\": tru}]\n}") }
        #expect(error.line == 2)
        #expect(error.column == 20)
        #expect(error.offset_bytes == 21)
        #expect(error.pointer == "/a/1/b~1c")
    }

    @Test("limits: size, depth, values, range of numbers")
    func limits() throws {
        var limits = JSONLimits()
        limits.size_bytes = 4
        #expect(try parse("[1] ", limits: limits).value == .array([1]))
        #expect(throws: JSONSyntaxError.self) { _ = try parse("[1]  ", limits: limits) }
        limits = JSONLimits()
        limits.depth = 3
        #expect(try parse("[[[1]]]", limits: limits).value == .array([.array([.array([1])])]))
        let deep = try #require(throws: JSONSyntaxError.self) { _ = try parse("[[[[1]]]]", limits: limits) }
        #expect(deep.code == "json-too-deep")
        limits = JSONLimits()
        limits.values = 3
        #expect(try parse("[1,2]", limits: limits).value == .array([1, 2]))
        let many = try #require(throws: JSONSyntaxError.self) { _ = try parse("[1,2,3]", limits: limits) }
        #expect(many.code == "json-too-large")
        let huge = try #require(throws: JSONSyntaxError.self) { _ = try parse("1e400") }
        #expect(huge.code == "json-number-range")
        // A hundred thousand brackets neither overflow the stack nor take long.
        #expect(throws: JSONSyntaxError.self) { _ = try parse(String(repeating: "[", count: 100_000)) }
    }

    @Test("repeated keys, by their code points")
    func duplicates() throws {
        #expect(try parse("{\"a\":1,\"b\":{\"x\":1,\"x\":2},\"a\":3}").duplicateKeys == ["/b/x", "/a"])
        #expect(try parse("{\"a\":1,\"\\u0061\":2}").duplicateKeys == ["/a"])
        // Equal to Unicode, two names to JSON (RFC 8259, 8.3).
        #expect(try parse("{\"\u{E9}\":1,\"e\u{301}\":2}").duplicateKeys == [])
        // More than are looked through one by one.
        let many = (0..<40).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
        #expect(try parse("{\(many)}").duplicateKeys == [])
        #expect(try parse("{\(many),\"k3\":1,\"k39\":2,\"k40\":3}").duplicateKeys == ["/k3", "/k39"])
        #expect(try parse("[0,{\"k\":0,\"k\":-0}]").duplicateKeys == ["/1/k"])
    }
}

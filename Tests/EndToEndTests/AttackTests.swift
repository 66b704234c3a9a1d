import Foundation
import Testing

/// Bits from a seed (SplitMix64), so that a failure can be repeated.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Malicious clients against the built service: whatever is sent, it answers and lives.
@Suite(.serialized) struct AttackTests {
    private let folder: Folder
    private let server: RunningServer

    init() throws {
        folder = try Folder()
        server = try RunningServer(database: folder.url.appendingPathComponent("gatehouse.sqlite"))
    }

    /// Sends a body and expects an orderly answer from a service that goes on.
    private func attack(
        _ body: [UInt8], _ label: String, path: String = "/v1/checks?scenarios=*/int3/*",
        _ allowed: Set<Int> = [200, 201, 400, 413, 422], sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let answer = try server.curl(path, post: body)
        #expect(
            allowed.contains(answer.status), "\(label): \(answer.status) \(answer.text.prefix(200))",
            sourceLocation: sourceLocation)
        try #require(server.isRunning, "\(label) ended the service", sourceLocation: sourceLocation)
    }

    private func attack(
        _ body: String, _ label: String? = nil, _ allowed: Set<Int> = [200, 201, 400, 413, 422],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try attack([UInt8](body.utf8), label ?? String(body.prefix(80)), allowed, sourceLocation: sourceLocation)
    }

    private func attack(
        _ body: [UInt8], _ label: String, _ allowed: Set<Int>, sourceLocation: SourceLocation
    ) throws {
        try attack(body, label, path: "/v1/checks?scenarios=*/int3/*", allowed, sourceLocation: sourceLocation)
    }

    /// A table with one routine of the user's own.
    private func routine(_ text: String, name: String = "error_entry") throws -> [UInt8] {
        [UInt8](
            try JSONSerialization.data(withJSONObject: ["kernel": "linux-5.2", "routines": [name: text]]))
    }

    @Test func bytesThatAreNoDocument() throws {
        for body in [
            "", "{", "\u{0}", "[", "null", "1e999", "-", "\"\\ud800\"", "{\"kernel\":\"\\u0000\"}",
            "{\"a\":" + String(repeating: "9", count: 1000) + "}", String(repeating: "[", count: 500_000),
            String(repeating: "{\"a\":", count: 100_000), String(repeating: " ", count: 2_000_000),
            "[" + String(repeating: "1,", count: 300_000) + "1]",
            "{\"kernel\": \"" + String(repeating: "k", count: 900_000) + "\"}",
        ] { try attack(body, nil, [400, 413, 422]) }
        var random = Seeded(state: 1)
        for round in 0..<20 {
            let bytes = (0..<Int.random(in: 1...4000, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            try attack(bytes, "random bytes of round \(round), seed 1", path: "/v1/configurations", [400, 422])
        }
    }

    @Test(arguments: [UInt64(2), 3]) func mutatedDocuments(seed: UInt64) throws {
        let original = try Program.run(["kernels", "linux-5.2"]).output
        var random = Seeded(state: seed)
        let pieces: [[UInt8]] = [
            "null", "true", "-1", "0", "256", "9223372036854775807", "-9223372036854775808", "1e308", "\"\"", "[]",
            "{}",
            "\"0x0\"", "\"0xffffffffffffffff\"", "\"0xfffffffffffff000\"", "\"int3\"", "\"\\u0000\"", "\"error_entry\"",
            ",", "}",
        ].map { [UInt8]($0.utf8) }
        for round in 0..<25 {
            var body = original
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                // A whole value is replaced: from a colon to the end of its line, the comma kept.
                let colons = body.indices.filter { body[$0] == UInt8(ascii: ":") && body[$0 + 1] == UInt8(ascii: " ") }
                guard let start = colons.randomElement(using: &random) else { continue }
                let end = body[start...].firstIndex(of: 10) ?? body.endIndex
                let comma: [UInt8] = body[end - 1] == UInt8(ascii: ",") ? [UInt8(ascii: ",")] : []
                body.replaceSubrange((start + 1)..<end, with: (pieces.randomElement(using: &random) ?? []) + comma)
            }
            try attack(body, "mutation \(round) of seed \(seed)")
        }
    }

    @Test func addressesAtTheEdges() throws {
        let last = "0xfffffffffffff000"
        for machine in [
            #"{"per_cpu_base": "\#(last)"}"#, #"{"per_cpu_base": "0xffffffffff000000"}"#,
            #"{"per_cpu_base": "0xffff800000000000"}"#, #"{"stacks": {"task": {"base": "\#(last)", "size": 16384}}}"#,
            #"{"stacks": {"task": {"base": "\#(last)", "size": 4096}}}"#,
            #"{"stacks": {"task": {"base": "\#(last)", "size": 4095}}}"#,
            #"{"stacks": {"irq": {"base": "\#(last)", "size": 65536}}}"#,
            #"{"stacks": {"nmi": {"base": "\#(last)", "size": 0}}}"#,
            #"{"stacks": {"entry": {"base": "0xfffffffffff00000", "size": 1}}}"#,
            #"{"guards": [{"base": "\#(last)", "size": 16777216}]}"#,
            #"{"guards": [{"base": "0xffffffff82200000", "size": 16777216}]}"#,
            #"{"espfix": {"stack": "0xffffffffffffffff", "waddr": "0x0"}}"#,
            #"{"code": {"text_origin": "\#(last)"}}"#,
            #"{"code": {"int3": {"address": "0xffffffffffffffff", "size": 1048576}}}"#,
            #"{"code": {"error_entry": {"address": "0xffffffff81a00000"}, "int3": {"address": "0xffffffff81a00000"}}}"#,
            #"{"kernel_rsp": {"aligned": "0xfffffffffffffff0", "rsp8": "0xfffffffffffffff8"}}"#,
            #"{"kernel_rsp": {"aligned": "0x0", "rsp8": "0x8"}}"#,
            #"{"self_test": {"routine": "x", "address": "0xffffffffffffffff", "target": "y", "rsp": "0xffffffff82203ea0", "size": 16}}"#,
            #"{"self_test": {"routine": "int3", "address": "0xffffffff81a00000", "target": "int3", "rsp": "0xffffffff82203ea0", "size": 65536, "site_offset": 65531}}"#,
        ] { try attack(#"{"kernel": "linux-5.2", "machine": \#(machine)}"#, machine) }
        // Every stack on the same page, one byte large, and all over each other.
        for size in [1, 4096, 65536] {
            let stacks = ["task", "entry", "irq", "df", "nmi", "db", "db1", "mce"]
                .map { #""\#($0)": {"base": "0xfffffe0000007000", "size": \#(size)}"# }.joined(separator: ", ")
            try attack(
                #"{"kernel": "linux-5.2", "machine": {"stacks": {\#(stacks)}}}"#, "stacks of \(size) in one place")
        }
    }

    @Test func routinesThatDoNotBehave() throws {
        for text in [
            "1: jmp 1b", "call error_entry", "1: push %rax\njmp 1b", "1: pop %rax\njmp 1b", "iretq", "ud2", "int3\nret",
            "hlt",
            "", "xor %esp,%esp\npush %rax\nret", "mov $-1,%rsp\npush %rax\nret", "mov $3,%rsp\npush %rax\nret",
            "mov $-1,%rax\nmov %rax,%cr3\nret", "jmp *%rax", "jmp *8(%rsp)", "push %rsp\npopfq\nret",
            "xchg %rsp,(%rsp)\nret",
            "mov $0xc0000101,%ecx\nxor %eax,%eax\nmov $0x12345678,%edx\nwrmsr\nret", "syscall", "sysretq",
            ".rept 10000\nnop\n.endr\nret", ".rept 10000\n.rept 10000\nnop\n.endr\n.endr",
            ".rept 1000000000000\nnop\n.endr",
            ".rept -1\nnop\n.endr", ".macro m\nm\n.endm\nm", ".macro m a\nm \\a\\a\n.endm\nm xx",
            "mov $" + String(repeating: "(", count: 100_000) + "1,%rax",
            "mov $" + String(repeating: "-", count: 200_000) + "1,%rax",
            "mov $1/0,%rax", "mov $0x8000000000000000/-1,%rax", "mov $0x8000000000000000%-1,%rax",
            "mov $1<<100,%rax\nret",
            ".skip 99999999999", ".skip -1", ".fill 999999999,8,0", ".align 0\n.p2align 64", "\u{0}\u{0}ret",
            "é: jmp é",
            String(repeating: ".if 1\n", count: 10_000), String(repeating: "/*", count: 1000),
            ".set a,b\n.set b,a\nmov $a,%rax",
            String(repeating: "\"", count: 999), "mov 0x7fffffffffffffff(%rax,%rbx,8),%rax", "bts $63,(%rax)\nret",
        ] {
            let label = String(text.prefix(60))
            try attack(try routine(text), label, path: "/v1/checks?scenarios=bare-metal-intel/int3/*", [200, 422])
        }
        // Without an end of its own, code ends at the limit of its steps: undecided or violated, never holding.
        for name in ["error_entry", "do_int3", "int3"] {
            let answer = try server.curl(
                "/v1/checks?scenarios=bare-metal-intel/int3/kernel/return", post: try routine("1: jmp 1b", name: name))
            #expect(answer.status == 200)
            #expect(
                answer.text.contains(#""verdict":"undecided""#) || answer.text.contains(#""verdict":"violated""#)
                    || answer.text.contains(#""verdict":"invalid""#), "\(name): \(answer.text.prefix(300))")
        }
    }

    @Test func namesAndRowsWithoutMeasure() throws {
        let rows = (0..<256).map { #"{"vector": \#($0), "entry": "int3", "ist": 7, "dpl": 3}"# }.joined(separator: ",")
        try attack(#"{"kernel": "linux-5.2", "idt": [\#(rows)]}"#, "256 gates", [200])
        try attack(#"{"kernel": "linux-5.2", "idt": [\#(rows),\#(rows)]}"#, "512 gates", [422])
        try attack(
            #"{"kernel": "linux-5.2", "idt": [], "entries": [], "xen": {"traps": [], "thunks": [], "callbacks": {}}}"#,
            "nothing")
        try attack(#"{"kernel": "linux-5.2", "xen": {"thunks": ["int3", "int3"]}}"#, "a thunk twice", [422])
        try attack(#"{"kernel": "linux-5.2", "xen": {"thunks": ["error_entry", "xen_int3", "do_int3"]}}"#, "odd thunks")
        for symbol in [
            "error_entry", "do_int3", ".macro", "rax", ".", "$", "1", "%rax", "\\u0000", "é", "kernel_interrupted",
        ] {
            try attack(
                #"{"kernel": "linux-5.2", "entries": [{"symbol": "\#(symbol)", "handler": "\#(symbol)", "has_error_code": true}], "idt": [{"vector": 3, "entry": "\#(symbol)"}]}"#,
                "shadowing \(symbol)")
        }
        let many = (0..<256).map { #""r\#($0)": "ret""# }.joined(separator: ",")
        try attack(#"{"kernel": "linux-5.2", "routines": {\#(many)}}"#, "256 routines", [200])
        for name in [
            "error_entry", "do_int3", "kernel_interrupted", "int3_magic", "xen_int3",
            String(repeating: "n", count: 300),
        ] {
            try attack(
                try routine("ret", name: name), "shadowing \(name)", path: "/v1/configurations", [200, 201, 422])
        }
    }

    @Test func targetsFromHell() throws {
        for path in [
            "/..%2f..%2fetc/passwd", "/v1/kernels/%2e%2e%2f", "/%00", "/v1/configurations/%F0%9F%92%A9",
            "/v1/rules/" + String(repeating: "a", count: 8000),
            "/v1/configurations?cursor=" + String(repeating: "A", count: 8000),
            "/v1/configurations?" + String(repeating: "a=1&", count: 2000),
            "/" + String(repeating: "a/", count: 4000),
            "/v1/simulations/x/scenarios/" + String(repeating: "%2F", count: 2000) + "/trace",
            "/v1/kernels/" + String(repeating: "%41", count: 2000), "/v1/configurations?limit=-9223372036854775809",
        ] {
            let answer = try server.curl(path)
            #expect([400, 404].contains(answer.status), "\(path.prefix(60)): \(answer.status)")
        }
        for accept in [
            String(repeating: "text/*,", count: 1500), ";;;,,,q=", "text/plain;q=nan", "*/*;q=-1", "*/*;q=1e999",
        ] {
            #expect(
                [200, 406].contains(try server.curl("/v1/rules", ["-H", "Accept: \(accept)"]).status),
                "\(accept.prefix(30))")
        }
        let pattern = String(repeating: "*a", count: 128)
        #expect(
            try server.curl("/v1/checks?scenarios=\(pattern)", post: [UInt8](#"{"kernel": "linux-5.2"}"#.utf8)).status
                == 422, "it matches nothing, which is found out in linear time")
        #expect(server.isRunning)
    }

    @Test func manyAtOnce() throws {
        let box = AnswerBox()
        let group = DispatchGroup()
        for number in 0..<64 {
            group.enter()
            let body = [UInt8](#"{"kernel": "linux-5.2", "description": "parallel \#(number % 16)"}"#.utf8)
            Thread { [server] in
                let path = number % 2 == 0 ? "/v1/checks?scenarios=xen-pv/int3/kernel/*" : "/v1/configurations"
                let answer = try? server.curl(path, post: body)
                box.add("\(answer?.status ?? -1)")
                group.leave()
            }.start()
        }
        group.wait()
        #expect(box.all.count == 64)
        #expect(box.all.allSatisfy { $0 == "200" || $0 == "201" }, "\(box.all)")
        // 16 contents, however often and by whatever way they came.
        #expect(try server.curl("/v1/configurations?format=ndjson").text.split(separator: "\n").count == 16)
        #expect(try server.curl("/v1/simulations?format=ndjson&limit=1000").text.split(separator: "\n").count == 32)
    }

    @Test func clientsThatLeave() throws {
        let slow = try routine("1: jmp 1b")
        for _ in 0..<6 {
            let answer = try server.curl("/v1/checks", post: slow, ["--max-time", "0.2"])
            #expect(answer.status == 0, "it left before the answer")
        }
        #expect(try server.curl("/livez").status == 200, "what they left behind is worked off")
        server.terminate()
        #expect(server.wait() == 0)
    }
}

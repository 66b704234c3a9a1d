import EntryCode
import HTTPTypes
import Store
import Synchronization
import Testing

@testable import API
@testable import HTTPWire

/// Status, fields and forms that hold for every resource.
struct DisciplineTests {
    @Test(arguments: Carrier.allCases) func methodsAreNamed(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for (method, path, allowed) in [
            ("PUT", "/v1/configurations", "POST, GET, HEAD"), ("PATCH", "/v1/configurations/x", "GET, DELETE, HEAD"),
            ("GET", "/v1/checks", "POST"), ("HEAD", "/v1/checks", "POST"), ("POST", "/livez", "GET, HEAD"),
            ("DELETE", "/v1/kernels/linux-5.2", "GET, HEAD"), ("OPTIONS", "/v1/rules", "GET, HEAD"),
        ] {
            let reply = try stage.send(method, path)
            #expect(reply.status == 405, "\(method) \(path)")
            #expect(reply.fields["allow"] == allowed, "\(method) \(path)")
        }
    }

    @Test(arguments: Carrier.allCases) func unknownPathsAre404(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for path in [
            "/", "/v1", "/v2/checks", "/v1/kernel", "/v1/configurations/a/b", "/..%2f..%2fetc/passwd", "/v1/../v1/x",
            "/v1/kernels/..", "/v1/kernels/%2e%2e%2f%2e%2e", "/%00", "/v1/rules/%0A",
            "/v1/simulations/a/scenarios/trace",
        ] { #expect(try stage.get(path).status == 404, "\(path)") }
    }

    @Test(arguments: Carrier.allCases) func malformedTargetsAre400(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for path in [
            "/v1/kernels/%", "/v1/kernels/%4", "/v1/kernels/%zz", "/v1/kernels/%ff", "/v1/rules?format=%",
            "/v1/rules?%c3=1",
        ] {
            let reply = try stage.get(path)
            #expect(reply.status == 400, "\(path)")
            #expect(reply.json?.text("code") == "malformed-request", "\(path)")
            let text = try stage.get(path, accept: "text/plain")
            #expect(text.fields["content-type"]?.hasPrefix("text/plain") == true, "\(path)")
        }
    }

    @Test(arguments: Carrier.allCases) func errorsAreTextWhereTextIsAskedFor(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let reply = try stage.get("/v1/rules/nothing", accept: "text/plain")
        #expect(reply.text.split(separator: "\n", omittingEmptySubsequences: false).count == 3)
        #expect(reply.text.hasPrefix("404 Not found\n"))
        #expect(
            try stage.get("/v1/rules/nothing", accept: "text/plain, application/json;q=0.1")
                .fields["content-type"] == "application/problem+json")
        let faults = try stage.send(
            "POST", "/v1/configurations", [("Accept", "text/plain"), ("Content-Type", "application/json")],
            [UInt8](#"{"kernel": "linux-5.2", "idt": [5]}"#.utf8))
        #expect(faults.status == 422)
        #expect(faults.text.contains("\n  /idt/0: "))
        // What a client sends comes back in messages; it must not bring lines or escape sequences of its own.
        let injected = try stage.get("/v1/rules?a%0Ab%1B%5B31m=1", accept: "text/plain")
        #expect(injected.status == 400)
        #expect(injected.body.allSatisfy { $0 == 10 || (32..<127).contains($0) })
    }

    @Test(arguments: Carrier.allCases) func acceptChoosesByWeight(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for (accept, type) in [
            ("*/*", "application/json"), ("text/plain", "text/plain; charset=utf-8"),
            ("application/*", "application/json"), ("text/*", "text/plain; charset=utf-8"),
            ("text/plain;q=0.5, application/json;q=0.4", "text/plain; charset=utf-8"),
            ("text/plain;q=0.4, application/json;q=0.5", "application/json"),
            ("text/html, text/plain;q=0.9, */*;q=0.1", "text/plain; charset=utf-8"),
            ("text/html, */*;q=0.1", "application/json"), ("TEXT/PLAIN", "text/plain; charset=utf-8"),
            ("application/json;q=0, */*", "text/plain; charset=utf-8"),
            ("text/plain;q=1.0;foo=bar", "text/plain; charset=utf-8"),
        ] {
            let reply = try stage.get("/v1/rules", accept: accept)
            #expect(reply.status == 200, "\(accept)")
            #expect(reply.fields["content-type"] == type, "\(accept)")
            #expect(reply.fields["vary"] == "Accept")
        }
        for accept in ["text/html", "image/*", "application/json;q=0", "nonsense", "*/*;q=0"] {
            #expect(try stage.get("/v1/rules", accept: accept).status == 406, "\(accept)")
        }
        #expect(
            try stage.get("/v1/rules?format=text", accept: "application/json").text.contains("live-frame-overwritten"))
    }

    @Test(arguments: Carrier.allCases) func headIsGetWithoutABody(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for path in ["/v1/rules", "/livez", "/v1/kernels/linux-5.2", "/v1/kernels/none", "/none", "/v1/rules?x=1"] {
            let get = try stage.get(path)
            let head = try stage.send("HEAD", path)
            #expect(head.status == get.status, "\(path)")
            #expect(head.fields["content-type"] == get.fields["content-type"], "\(path)")
            #expect(head.fields["content-length"] == String(get.body.count), "\(path)")
        }
    }

    @Test(arguments: Carrier.allCases) func bodiesOfOtherTypesAreRefused(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for path in ["/v1/configurations", "/v1/simulations", "/v1/checks"] {
            let accepted = [
                "/v1/configurations": "application/json, multipart/form-data, application/x-tar",
                "/v1/checks": "application/json, text/x-diff, text/plain, message/rfc822, application/mbox",
            ]
            for type in [
                "text/plain", "application/x-www-form-urlencoded", "", "application/jsonx", "multipart/form-data",
            ] where !(accepted[path] ?? "").contains(type) || type.isEmpty {
                let reply = try stage.send(
                    "POST", path, type.isEmpty ? [] : [("Content-Type", type)], [UInt8]("{}".utf8))
                #expect(reply.status == 415, "\(path) \(type)")
                #expect(reply.fields["accept-post"] == accepted[path] ?? "application/json", "\(path) \(type)")
            }
            for coding in ["br", "deflate", "gzip, gzip", "zstd", ""] where !(coding.isEmpty && carrier == .live) {
                let encoded = try stage.post(path, "{}", [("Content-Encoding", coding)])
                #expect(encoded.status == 415, "\(coding)")
                #expect(encoded.fields["accept-encoding"] == "gzip, identity")
            }
            #expect(
                try stage.send("POST", path, [("Content-Type", "Application/JSON; charset=utf-8")], [UInt8]("[]".utf8))
                    .status == 422)
        }
    }

    @Test(arguments: Carrier.allCases) func compressedBodiesAreExpanded(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        func post(_ body: [UInt8], _ coding: String = "gzip") throws -> Reply {
            try stage.send(
                "POST", "/v1/configurations", [("Content-Type", "application/json"), ("Content-Encoding", coding)], body
            )
        }
        let plain = try stage.post("/v1/configurations", table("compressed"))
        let compressed = try gzip([UInt8](table("compressed").utf8))
        for (body, coding) in [
            (compressed, "gzip"), (compressed, "GZIP"), (compressed, "x-gzip"),
            ([UInt8](table("compressed").utf8), "identity"),
            // Members one after the other are one content (RFC 1952, 2.2).
            (
                try gzip([UInt8](#"{"kernel": "linux-5.2", "#.utf8))
                    + gzip([UInt8](#""description": "compressed"}"#.utf8)), "gzip"
            ),
        ] {
            let reply = try post(body, coding)
            #expect(reply.status == 200, "\(coding): \(reply.text)")
            #expect(reply.json?.text("id") == plain.json?.text("id"))
        }
        let order = try gzip([UInt8](#"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#.utf8))
        let simulated = try stage.send(
            "POST", "/v1/simulations", [("Content-Type", "application/json"), ("Content-Encoding", "gzip")], order)
        #expect(simulated.status == 201)
        var flipped = compressed
        flipped[compressed.count / 2] ^= 0xFF
        for damaged in [
            [], [0x1F], Array(compressed.dropLast()), compressed + [0], flipped, [UInt8](table("compressed").utf8),
            Array(compressed.prefix(12)),
        ] {
            let reply = try post(damaged)
            #expect(reply.status == 400, "\(damaged.count)")
            #expect(reply.json?.text("code") == "malformed-request")
        }
        // Far larger than it looks, and one byte too many.
        for size in [64 << 20, (1 << 20) + 1] {
            let bomb = try post(try gzip([UInt8](repeating: 0x20, count: size)))
            #expect(bomb.status == 413)
            #expect(bomb.json?.text("detail")?.contains("1048576 bytes") == true)
        }
        let brim = try post(try gzip([UInt8](repeating: 0x20, count: 1 << 20)))
        #expect(brim.json?.text("code") == "malformed-json", "as many bytes as are read, all of them spaces")
    }

    @Test(arguments: Carrier.allCases) func malformedJSONIsPlaced(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for path in ["/v1/configurations", "/v1/simulations", "/v1/checks"] {
            for body in [
                "", "{", "[1,]", "{\"a\" 1}", "{\"a\": 01}", "nul", "{\"kernel\": \"\u{1}\"}", "\u{feff}{}", "{} {}",
                "'x'",
                "{\"a\": 1e999}", "\"\\ud800\"", String(repeating: "[", count: 100),
            ] {
                let reply = try stage.post(path, body)
                #expect(reply.status == 400, "\(path) \(body.prefix(20))")
                #expect(reply.json?.text("code") == "malformed-json")
                let detail = reply.json?.text("detail") ?? ""
                #expect(detail.contains("line ") && detail.contains("column ") && detail.contains("byte "), "\(detail)")
            }
            let second = try stage.post(path, "{\n  \"kernel\": x\n}")
            #expect(second.json?.text("detail")?.contains("line 2, column 13") == true, "\(second.text)")
            let notUTF8 = try stage.send(
                "POST", path, [("Content-Type", "application/json")], [0x22, 0xFF, 0xFE, 0x22])
            #expect(notUTF8.status == 400)
        }
    }

    @Test(arguments: Carrier.allCases) func largeBodiesAre413(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let large = #"{"kernel": "linux-5.2", "description": ""# + String(repeating: "x", count: 1 << 20) + "\"}"
        for path in ["/v1/configurations", "/v1/simulations", "/v1/checks"] {
            #expect(try stage.post(path, large).status == 413, "\(path)")
        }
    }

    /// By the length that the head announces, before the body comes.
    @Test func largeBodiesAreRefusedByTheirHead() throws {
        let application = try makeApplication()
        defer { try? application.store.close() }
        func refusal(_ path: String, _ length: String?, accept: String = "*/*") -> (status: Int, text: String)? {
            var head = HTTPRequest(method: .post, scheme: "http", authority: "test", path: path)
            head.headerFields[.accept] = accept
            head.headerFields[.contentType] = "application/json"
            head.headerFields[.contentLength] = length
            guard let (response, body) = application.refusal(of: head), case .bytes(let bytes) = body else {
                return nil
            }
            return (response.status.code, String(decoding: bytes, as: UTF8.self))
        }
        for path in ["/v1/configurations", "/v1/simulations", "/v1/checks?format=text"] {
            #expect(refusal(path, "1048576") == nil)
            #expect(refusal(path, nil) == nil)
            #expect(refusal(path, "x") == nil)
            let refused = try #require(refusal(path, "1048577"))
            #expect(refused.status == 413)
            let json = try JSON.parse([UInt8](refused.text.utf8)).value
            #expect(json.text("type") == "/problems#content-too-large")
            #expect(json.text("title") == "Content too large")
            #expect(json.at("status") == 413)
            #expect(json.text("detail") == "the body has 1048577 bytes; at most 1048576 are read")
            #expect(json.text("instance") == String(path.prefix { $0 != "?" }))
        }
        #expect(
            refusal("/v1/checks", "9999999", accept: "text/plain")?.text.hasPrefix("413 Content too large\n") == true)
        #expect(refusal("/nowhere", "9999999")?.status == 404)
        #expect(refusal("/v1/rules", "9999999")?.status == 405)
    }

    /// What the head decides is not kept until the body has come.
    @Test func theHeadDecidesWhatItCan() throws {
        let application = try makeApplication()
        defer { try? application.store.close() }
        func status(_ method: HTTPRequest.Method, _ path: String?, _ type: String?) -> Int? {
            var head = HTTPRequest(method: method, scheme: "http", authority: "test", path: path)
            head.headerFields[.contentType] = type
            head.headerFields[.contentLength] = "10"
            return application.refusal(of: head)?.response.status.code
        }
        let json = "application/json"
        #expect(status(.post, "/nosuch", json) == 404)
        #expect(status(.post, "/v1/rules", json) == 405)
        #expect(status(.put, "/v1/checks", json) == 405)
        #expect(status(.connect, nil, nil) == 501)
        #expect(status(.post, "/%zz", json) == 400)
        for (path, types, others) in [
            ("/v1/configurations", [json, "multipart/form-data; boundary=x", "application/x-tar"], ["text/x-diff"]),
            ("/v1/configurations/a/patches", ["text/x-diff", "application/mbox"], [json]),
            (
                "/v1/checks?base=a", [json, "text/plain", "application/vnd.x+json; charset=utf-8"],
                ["application/x-tar"]
            ),
            ("/v1/simulations", [json], ["text/plain", "application/x-www-form-urlencoded"]),
        ] {
            for type in types { #expect(status(.post, path, type) == nil, "\(path) \(type)") }
            for type in others + ["image/png"] { #expect(status(.post, path, type) == 415, "\(path) \(type)") }
            #expect(status(.post, path, nil) == 415, "\(path)")
        }
    }

    /// RFC 9110 section 9.3.7.
    @Test func optionsOfTheServiceAreAnswered() throws {
        let application = try makeApplication()
        defer { try? application.store.close() }
        let reply = try RouterClient(application: application).send("OPTIONS", "*", [], [])
        #expect(reply.status == 204)
        #expect(reply.fields["allow"]?.contains("POST") == true)
        #expect(try RouterClient(application: application).send("GET", "*", [], []).status == 404)
    }

    /// The wire answers some errors by itself, in the same terms.
    @Test func theWireKnowsTheSameProblems() throws {
        for answer in StandardAnswer.allCases {
            let kind = try #require(ProblemKind(rawValue: answer.code))
            let (response, body) = answer.response(path: "/v1/checks?x=1")
            guard case .bytes(let bytes) = body else { continue }
            let json = try JSON.parse(bytes).value
            #expect(response.status.code == kind.status && json.at("status") == .integer(Int64(kind.status)))
            #expect(json.text("title") == kind.title)
            #expect(json.text("type") == "/problems#\(kind.rawValue)")
            #expect(json.text("instance") == "/v1/checks")
            #expect(json.text("detail")?.isEmpty == false)
        }
    }

    @Test(arguments: Carrier.allCases) func everyFaultHasAPointer(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let body = """
            {"kernel": "linux-5.2", "kernel": "linux-5.2", "entris": [], "options": {"PTII": true, "PTI": 2},
             "entries": [{"symbol": "a b", "handler": "do_x"}, 7, {"symbol": "x"}],
             "idt": [{"vector": 256, "entry": "int3"}, {"vector": 3, "entry": "int3", "ist": 8, "dpl": -1, "type": "call"}],
             "xen": {"version": "4.7", "thunks": ["int3", "int3"], "callbacks": {"evnt": "x"}},
             "machine": {"per_cpu_base": "0xfffffffffffff000", "guards": [{"base": "0x10", "size": 4096}],
                         "stacks": {"task": {"base": "0xfffffffffffff000", "size": 65536}, "tsk": {}}},
             "routines": {"a b": "ret", "error_entry": 5}}
            """
        for (path, prefix, sent) in [
            ("/v1/configurations", "", body), ("/v1/checks", "", body),
            ("/v1/simulations", "/configuration", "{\"configuration\": \(body)}"),
        ] {
            let reply = try stage.post(path, sent)
            #expect(reply.status == 422)
            let pointers = Set((reply.json?["errors"]?.arrayValue ?? []).compactMap { $0.text("pointer") })
            for pointer in [
                "/kernel", "/entris", "/options/PTII", "/options/PTI", "/entries/0/symbol", "/entries/1", "/entries/2",
                "/idt/0/vector", "/idt/1/ist", "/idt/1/dpl", "/idt/1/type", "/xen/version", "/xen/thunks/1",
                "/xen/callbacks/evnt", "/machine/per_cpu_base", "/machine/guards/0/base", "/machine/stacks/task/size",
                "/machine/stacks/tsk", "/routines/a b", "/routines/error_entry",
            ] { #expect(pointers.contains(prefix + pointer), "\(path) \(pointer)") }
            for name in ["entries", "PTI", "event", "task"] {
                #expect(reply.text.contains("did you mean '\(name)'?"), "\(path) \(name)")
            }
        }
        let near = try stage.post("/v1/configurations", #"{"kernel": "linux-5.4"}"#)
        #expect(near.json?.text("errors/0/pointer") == "/kernel")
        #expect(near.json?.text("errors/0/message")?.contains("linux-5.") == true)
    }

    @Test(arguments: Carrier.allCases) func faultsThatAreNotListedAreCounted(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        func table(_ rows: Int) -> String {
            #"{"kernel": "linux-5.2", "idt": [\#([String](repeating: "5", count: rows).joined(separator: ","))]}"#
        }
        for (path, rows, sent, count) in [
            ("/v1/checks", 100, table(100), "100 faults; the first: "),
            ("/v1/checks", 130, table(130), "130 faults, the first 100 of them listed; the first: "),
            (
                "/v1/simulations", 130, #"{"nesting": 9, "configuration": \#(table(130))}"#,
                "131 faults, the first 100 of them listed; the first: "
            ),
        ] {
            let reply = try stage.post(path, sent)
            #expect(reply.status == 422)
            #expect(reply.json?["errors"]?.arrayValue?.count == 100)
            #expect(
                reply.json?.text("detail")?.hasPrefix(count) == true, "\(rows): \(reply.json?.text("detail") ?? "")")
            let text = try stage.post(path, sent, [("Accept", "text/plain")])
            #expect(text.text.contains("\n" + count))
        }
    }

    @Test(arguments: Carrier.allCases) func parametersStandOnceAndAreKnown(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for query in ["cursor=a&cursor=a", "name=a&name=b", "format=json&format=json", "kernel=a&kernel=a"] {
            let reply = try stage.get("/v1/configurations?\(query)")
            #expect(reply.status == 400, "\(query)")
            #expect(reply.json?.text("errors/0/code") == "duplicate-parameter", "\(query)")
        }
        let near = try stage.get("/v1/configurations?kernal=linux-5.2")
        #expect(near.status == 400)
        #expect(near.json?.text("errors/0/message")?.contains("did you mean 'kernel'?") == true)
        let many = try stage.get("/v1/configurations?a=1&b=2&&c")
        #expect(many.json?["errors"]?.arrayValue?.count == 3)
    }
}

/// Requests that are sent again.
struct IdempotencyTests {
    @Test(arguments: Carrier.allCases) func compressionIsNoPartOfTheRequest(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let body = #"{"configuration": "linux-5.3", "scenarios": "\#(selfTest)"}"#
        let first = try stage.post("/v1/simulations", body, [("Idempotency-Key", "compressed")])
        #expect(first.status == 201)
        let again = try stage.send(
            "POST", "/v1/simulations",
            [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Idempotency-Key", "compressed")],
            try gzip([UInt8](body.utf8)))
        #expect(again.status == 201 && again.body == first.body)
    }

    @Test(arguments: Carrier.allCases) func theSameRequestIsAnsweredOnce(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let body = #"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#
        let key = [("Idempotency-Key", "k1")]
        let first = try stage.post("/v1/simulations", body, key)
        let again = try stage.post("/v1/simulations", body, key)
        #expect(first.status == 201 && again.status == 201)
        #expect(again.body == first.body)
        for field in ["location", "etag", "content-type"] {
            #expect(again.fields[field] == first.fields[field], "\(field)")
        }
        #expect(try stage.get("/v1/simulations").json?.at("items")?.arrayValue?.count == 1)
        for (path, other) in [
            ("/v1/simulations", body + " "), ("/v1/checks", body), ("/v1/simulations?format=text", body),
        ] {
            let refused = try stage.post(path, other, key)
            #expect(refused.status == 422, "\(path)")
            #expect(refused.json?.text("code") == "idempotency-mismatch")
        }
        #expect(try stage.post("/v1/simulations", body, [("Idempotency-Key", "k2")]).body != first.body)
    }

    @Test(arguments: Carrier.allCases) func whatFailedMayBeTriedAgain(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let key = [("Idempotency-Key", "k")]
        #expect(try stage.post("/v1/configurations", "{", key).status == 400)
        #expect(try stage.post("/v1/configurations", table("a"), key).status == 201)
        #expect(
            try stage.post("/v1/configurations", table("a"), key).status == 201, "replayed, though it is there already")
        for bad in [String(repeating: "k", count: 256), "a b"] {
            #expect(try stage.post("/v1/configurations", table("b"), [("Idempotency-Key", bad)]).status == 400)
        }
    }

    @Test func keysOfMoreThanADayAgoAreForgotten() throws {
        let milliseconds = Mutex<Int64>(1_558_085_400_000)
        let environment = Environment(
            now: { Timestamp(milliseconds: milliseconds.withLock { $0 }) }, uptime_seconds: { 1 }, random: { 0 },
            log: { _ in })
        let store = try ResultStore.open(.memory, now: environment.now())
        defer { try? store.close() }
        let application = Application(
            store: store, queue: ImmediateQueue(), environment: environment, version: "0.0.0-test")
        let client = RouterClient(application: application)
        func post(_ description: String) throws -> Int {
            try client.send(
                "POST", "/v1/configurations", [("Content-Type", "application/json"), ("Idempotency-Key", "k")],
                [UInt8](table(description).utf8)
            ).status
        }
        #expect(try post("a") == 201)
        milliseconds.withLock { $0 += 86_000_000 }
        #expect(try post("b") == 422, "not a day yet")
        milliseconds.withLock { $0 += 1_000_000 }
        #expect(try post("b") == 201)
    }
}

import EntryCode
import HTTPTypes
import HTTPWire
import Store
import Testing

@testable import API

/// Checks and simulations: reports, their forms, waiting, lists.
struct SimulationTests {
    private static let nominal = #"{"kernel": "linux-5.2"}"#

    @Test(arguments: Carrier.allCases) func theSelfTestOfLinux52IsViolated(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let kernel = try stage.get("/v1/kernels/linux-5.2").text
        let reply = try stage.post("/v1/checks?scenarios=xen-pv/int3/*", kernel)
        #expect(reply.status == 200)
        let report = try #require(reply.json)
        #expect(report.text("verdict") == "violated")
        #expect(report.text("state") == "finished")
        #expect(report.text("configuration/name") == "linux-5.2")
        #expect(report.text("xen") == "4.6", "the machine of the 2019 report")
        let violations = report["violations"]?.arrayValue ?? []
        let violation = try #require(violations.first { $0.text("scenario") == selfTest })
        #expect(violation.text("rule") == "live-frame-overwritten")
        #expect(violation.text("consequence/rule") == "unexpected-fault")
        #expect(violation.text("consequence/vector") == "general_protection")
        #expect(violation.text("consequence/error_code") == "0x0")
        let console = try #require(violation.text("console")).split(separator: "\n")
        #expect(console.contains { $0.hasPrefix("general protection fault: 0000") })
        #expect(console.contains("RIP: e030:int3_magic+0x0/0x7"))
        #expect(console.contains("RSP: 3507:ffffffff82203e98 EFLAGS: 00000246"))
        let trace = try #require(violation.text("links/trace"))
        #expect(try stage.get(trace).status == 200)
        #expect(try stage.get(try #require(reply.fields["location"])).body == reply.body, "what was answered is kept")
    }

    @Test(arguments: Carrier.allCases) func aLaterXenPushesAnErrorCode(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let reply = try stage.post("/v1/checks?scenarios=\(selfTest)&xen=4.17", Self.nominal)
        #expect(reply.json?.text("xen") == "4.17")
        #expect(reply.json?.text("violations/0/consequence/error_code") == "0x3504")
        #expect(reply.json?.text("violations/0/console")?.hasPrefix("general protection fault: 3504") == true)
    }

    @Test(arguments: Carrier.allCases) func linux53Holds(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let reply = try stage.post(
            "/v1/simulations",
            #"{"configuration": "linux-5.3", "scenarios": ["xen-pv/int3/*"], "platforms": ["xen-pv"]}"#)
        #expect(reply.status == 201)
        #expect(reply.json?.text("verdict") == "holds")
        #expect(reply.json?.text("configuration/name") == "linux-5.3", "a report names what was asked for")
        #expect(reply.json?.at("request/platforms") == .array(["xen-pv"]))
        #expect(
            try stage.get("/v1/configurations/linux-5.3").json?.text("id") == reply.json?.text("configuration/id"),
            "a shipped name finds what was kept for it")
    }

    @Test(arguments: Carrier.allCases) func reportsHaveTheKeysOfTheContract(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let reply = try stage.post("/v1/simulations", #"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#)
        let report = try #require(reply.json)
        for pointer in [
            "id", "configuration/id", "configuration/name", "state", "verdict", "summary/scenarios", "summary/holds",
            "summary/violated", "summary/instructions", "summary/states", "summary/nesting", "summary/elapsed_seconds",
            "violations/0/scenario", "violations/0/rule", "violations/0/at/routine", "violations/0/at/step",
            "violations/0/at/instruction", "violations/0/explanation", "violations/0/console",
            "violations/0/links/trace", "costs/0/scenario", "costs/0/instructions", "costs/0/memory_words",
            "costs/0/hypervisor_entries", "costs/0/msr_accesses", "costs/0/cr3_writes", "model/version",
            "model/limits/steps",
        ] { #expect(report.at(pointer) != nil, "\(pointer)") }
        #expect(reply.fields["location"] == "/v1/simulations/\(report.text("id") ?? "")")
        let id = try #require(report.text("configuration/id"))
        #expect(try stage.get("/v1/configurations/\(id)").status == 200, "the table is kept with the report")
    }

    @Test(arguments: Carrier.allCases) func everyFormOfAReport(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let path = try #require(
            try stage.post("/v1/simulations", #"{"configuration": "linux-5.2", "scenarios": "xen-pv/int3/kernel/*"}"#)
                .fields["location"])
        var tags: Set<String> = []
        for (form, type) in [
            ("json", "application/json"), ("text", "text/plain; charset=utf-8"), ("wide", "text/plain; charset=utf-8"),
            ("csv", "text/csv; charset=utf-8"), ("ndjson", "application/x-ndjson"),
        ] {
            let reply = try stage.get("\(path)?format=\(form)")
            #expect(reply.status == 200)
            #expect(reply.fields["content-type"] == type)
            tags.insert(try #require(reply.fields["etag"]))
            let again = try stage.send("GET", "\(path)?format=\(form)", [("If-None-Match", reply.fields["etag"] ?? "")])
            #expect(again.status == 304, "\(form)")
            if form == "text" {
                #expect(reply.text.contains("live-frame-overwritten"))
                // A request that is to be copied stays in one piece.
                #expect(
                    reply.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 100 || $0.contains("GET /v1/") })
                #expect(reply.body.allSatisfy { $0 == 10 || (32..<127).contains($0) }, "plain ASCII")
            }
            if form == "ndjson" {
                let names = try reply.text.split(separator: "\n").map {
                    try JSON.parse([UInt8]($0.utf8)).value.text("name")
                }
                #expect(names.count > 1 && names.contains(selfTest))
                #expect(Set(names).count == names.count)
            }
            if form == "csv" { #expect(reply.text.split(whereSeparator: \.isNewline).count > 2) }
        }
        #expect(tags.count == 5, "a tag for every form")
        for form in ["sarif", "xml", "JSON", ""] {
            #expect(try stage.get("\(path)?format=\(form)").status == 406, "\(form)")
        }
    }

    @Test(arguments: Carrier.allCases) func laterMeansQueuedThenFinished(_ carrier: Carrier) async throws {
        let stage = try Stage(carrier)
        let reply = try stage.post(
            "/v1/simulations", #"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#,
            [("Prefer", "respond-async")])
        #expect(reply.status == 202)
        #expect(reply.fields["preference-applied"] == "respond-async")
        #expect(reply.fields["retry-after"] == "1")
        let location = try #require(reply.fields["location"])
        var last = try stage.get(location)
        var tries = 0
        while last.json?.text("state") != "finished", tries < 600 {
            #expect(last.fields["retry-after"] == "1")
            #expect(last.fields["cache-control"] == "no-store", "an unfinished state must not be kept")
            try await Task.sleep(for: .milliseconds(50))
            last = try stage.get(location)
            tries += 1
        }
        #expect(last.json?.text("verdict") == "violated")
        #expect(last.json?.text("configuration/name") == "linux-5.2")
    }

    @Test func aQueuedSimulationShowsItsStateAndCanBeCancelled() throws {
        let queue = HeldQueue(limit: 1)
        let application = try makeApplication(queue: queue)
        defer { try? application.store.close() }
        let client = RouterClient(application: application)
        let body = [UInt8](#"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#.utf8)
        let fields = [("Content-Type", "application/json"), ("Prefer", "respond-async")]
        let queued = try client.send("POST", "/v1/simulations", fields, body)
        #expect(queued.status == 202)
        let location = try #require(queued.fields["location"])
        #expect(try client.send("GET", location, [], []).json?.text("state") == "queued")
        let id = try #require(client.send("GET", location, [], []).json?.text("configuration/id"))
        #expect(try client.send("DELETE", "/v1/configurations/\(id)", [], []).status == 409)
        let refused = try client.send("POST", "/v1/simulations", fields, body)
        #expect(refused.status == 503, "the queue is full")
        #expect(refused.fields["retry-after"] == "1")
        #expect(try client.send("GET", "/v1/simulations", [], []).json?.at("items")?.arrayValue?.count == 1)
        #expect(try client.send("DELETE", location, [("If-Match", "\"x\"")], []).status == 412, "it has no tag yet")
        #expect(try client.send("DELETE", location, [("If-Match", "*")], []).status == 204)
        #expect(try client.send("GET", location, [], []).json?.text("state") == "cancelled")
        queue.drain()
        #expect(try client.send("GET", location, [], []).json?.text("state") == "cancelled", "it stays so")
        #expect(try client.send("DELETE", location, [], []).status == 204)
        #expect(try client.send("GET", location, [], []).status == 404)
    }

    @Test(arguments: Carrier.allCases) func waitingIsAppliedOrBecomesLater(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let body = #"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#
        let waited = try stage.post("/v1/simulations", body, [("Prefer", "wait=60")])
        #expect(waited.status == 201)
        #expect(waited.fields["preference-applied"] == "wait=60")
        let hurried = try stage.post("/v1/simulations", body, [("Prefer", "wait=0")])
        #expect(hurried.status == 202, "no simulation is done within no time")
        #expect(hurried.fields["preference-applied"] == "wait=0")
        #expect(hurried.fields["location"] != nil)
        #expect(try stage.post("/v1/simulations", body, [("Prefer", "wait=soon")]).fields["preference-applied"] == nil)
    }

    @Test(arguments: Carrier.allCases) func tablesStandInOrders(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let reply = try stage.post(
            "/v1/simulations",
            #"{"configuration": {"kernel": "linux-5.2", "name": "inline-name"}, "scenarios": "\#(selfTest)"}"#)
        #expect(reply.status == 201)
        #expect(reply.json?.text("configuration/name") == "inline-name")
        let faulty = try stage.post(
            "/v1/simulations",
            #"{"configuration": {"kernel": "linux-5.2", "entrys": [], "idt": [{"vector": 300, "entry": "int3"}]}, "nesting": 9}"#
        )
        #expect(faulty.status == 422)
        let pointers = (faulty.json?["errors"]?.arrayValue ?? []).compactMap { $0.text("pointer") }
        #expect(Set(pointers).isSuperset(of: ["/configuration/entrys", "/configuration/idt/0/vector", "/nesting"]))
        #expect(faulty.text.contains("did you mean 'entries'?"))
        for body in ["{}", #"{"configuration": 5}"#, #"{"configuration": null}"#, "[]", "5"] {
            #expect(try stage.post("/v1/simulations", body).status == 422, "\(body)")
        }
        #expect(try stage.post("/v1/simulations", #"{"configuration": "nobody-has-this"}"#).status == 404)
    }

    @Test(arguments: Carrier.allCases) func ordersAreRefusedWithWhatIsKnown(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for (members, pointer, hint) in [
            (#""xen": "4.5""#, "/xen", "\"4.6\" and \"4.17\""), (#""xen": 4.6"#, "/xen", "string"),
            (#""platforms": ["xen"]"#, "/platforms/0", "xen-pv"), (#""platforms": []"#, "/platforms", "xen-pv"),
            (#""platforms": "xen-pv""#, "/platforms", "array"), (#""nesting": 4"#, "/nesting", "3"),
            (#""nesting": -1"#, "/nesting", "0"), (#""stop_at_first": "yes""#, "/stop_at_first", "true or false"),
            (#""stop_at_first": 1"#, "/stop_at_first", "true or false"),
            (#""stop_at_first": null"#, "/stop_at_first", "true or false"),
            (#""scenario": "x""#, "/scenario", "did you mean 'scenarios'?"),
            (#""scenarios": 5"#, "/scenarios", "string"),
        ] {
            let reply = try stage.post("/v1/simulations", #"{"configuration": "linux-5.2", \#(members)}"#)
            #expect(reply.status == 422, "\(members)")
            #expect(reply.json?.text("errors/0/pointer") == pointer, "\(members): \(reply.text)")
            #expect(reply.json?.text("errors/0/message")?.contains(hint) == true, "\(members): \(reply.text)")
        }
        for (query, parameter) in [
            ("xen=4.5", "xen"), ("platforms=xen-pv,sparc", "platforms"), ("nesting=x", "nesting"),
            ("nesting=4", "nesting"), ("stop_at_first=maybe", "stop_at_first"), ("platforms=", "platforms"),
            ("base=x", "base"),
        ] {
            let reply = try stage.post("/v1/checks?\(query)", Self.nominal)
            #expect(reply.status == 400, "\(query)")
            #expect(reply.json?.text("errors/0/parameter") == parameter, "\(query): \(reply.text)")
        }
    }

    @Test(arguments: Carrier.allCases) func aSelectionOfNothingIsNoVerdict(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for (path, body, place) in [
            ("/v1/checks?scenarios=nothing", Self.nominal, "errors/0/parameter"),
            ("/v1/checks?scenarios=xen-pv/*&platforms=bare-metal-amd", Self.nominal, "errors/0/parameter"),
            (
                "/v1/simulations", #"{"configuration": "linux-5.2", "scenarios": ["nothing/*", "x"]}"#,
                "errors/0/pointer"
            ),
        ] {
            for preference in ["wait=60", "respond-async", "wait=0"] {
                let reply = try stage.post(path, body, [("Prefer", preference)])
                #expect(reply.status == 422, "\(path) \(preference)")
                #expect(reply.json?.text("code") == "no-scenario")
                #expect(reply.json?.text(place)?.hasSuffix("scenarios") == true, "\(reply.text)")
                #expect(reply.json?.text("detail")?.contains("/v1/simulations/{id}/scenarios") == true)
            }
        }
        #expect(try stage.get("/v1/simulations").json?.at("items")?.arrayValue?.isEmpty == true)
        #expect(try stage.get("/v1/configurations").json?.at("items")?.arrayValue?.isEmpty == true)
    }

    @Test(arguments: Carrier.allCases) func whatCannotBeRunIsInvalidWhateverIsSelected(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        #expect(try stage.post("/v1/checks?scenarios=nothing", danglingTable).json?.text("verdict") == "invalid")
        let order = #"{"configuration": \#(danglingTable), "scenarios": "nothing"}"#
        #expect(try stage.post("/v1/simulations", order).json?.text("verdict") == "invalid")
        #expect(try stage.post("/v1/simulations", order, [("Prefer", "respond-async")]).status == 202)
        let withoutXen = table("no Xen", #""options": {"XEN_PV": false}"#)
        let xen = try stage.post("/v1/checks?scenarios=nothing&platforms=xen-pv", withoutXen)
        #expect(xen.json?.text("verdict") == "invalid", "\(xen.text)")
        let all = try stage.post("/v1/checks?scenarios=nothing", withoutXen)
        #expect(all.status == 422, "the other platforms run")
    }

    @Test(arguments: Carrier.allCases) func stoppingAtTheFirstViolationStops(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let some = try stage.post("/v1/checks?scenarios=xen-pv/int3/*&stop_at_first=true", Self.nominal)
        let all = try stage.post("/v1/checks?scenarios=xen-pv/int3/*", Self.nominal)
        #expect(some.json?.at("summary/violated") == 1)
        #expect((all.json?.at("summary/violated")?.integerValue ?? 0) > 1)
    }

    @Test(arguments: Carrier.allCases) func simulationsAreListedAndFiltered(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for name in ["linux-5.2", "linux-5.3", "linux-5.2"] {
            try stage.post("/v1/simulations", #"{"configuration": "\#(name)", "scenarios": "\#(selfTest)"}"#)
        }
        func count(_ query: String) throws -> Int? {
            try stage.get("/v1/simulations?\(query)").json?.at("items")?.arrayValue?.count
        }
        #expect(try count("") == 3)
        #expect(try count("verdict=violated") == 2)
        #expect(try count("verdict=holds") == 1)
        #expect(try count("state=finished") == 3)
        #expect(try count("state=queued") == 0)
        let id = try #require(try stage.get("/v1/simulations?verdict=holds").json?.text("items/0/configuration/id"))
        #expect(try count("configuration=\(id)") == 1)
        #expect(try stage.get("/v1/simulations?verdict=maybe").status == 400)
        #expect(try stage.get("/v1/simulations?configuration=nobody").status == 404)
        var path: String? = "/v1/simulations?limit=1"
        var seen: Set<String> = []
        while let here = path, seen.count < 10 {
            let page = try stage.get(here)
            seen.insert(try #require(page.json?.text("items/0/id")))
            path = page.json?.text("next")
        }
        #expect(seen.count == 3)
        #expect(try stage.get("/v1/simulations", accept: "text/plain").text.split(separator: "\n").count == 3)
    }

    @Test(arguments: Carrier.allCases) func removedSimulationsAreGone(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let path = try #require(
            try stage.post("/v1/simulations", #"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#)
                .fields["location"])
        #expect(try stage.get(path).status == 200)
        #expect(try stage.get(path).status == 200, "now from memory")
        #expect(try stage.send("DELETE", path).status == 204)
        #expect(try stage.get(path).status == 404)
        #expect(try stage.send("DELETE", path).status == 404)
        for id in ["x", "0123456789abcdef", "..%2f..", String(repeating: "a", count: 65), "%F0%9F%92%A9"] {
            #expect(try stage.get("/v1/simulations/\(id)").status == 404, "\(id)")
        }
    }

    @Test(arguments: Carrier.allCases) func removalIsConditional(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for form in ["json", "text", "wide", "csv", "ndjson", nil] {
            let path = try #require(
                try stage.post("/v1/simulations", #"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#)
                    .fields["location"])
            let tag = try form.map { try #require(try stage.get("\(path)?format=\($0)").fields["etag"]) } ?? "*"
            for other in ["\"other\"", "W/" + tag, "\"\(tag)\""] where other != "W/*" {
                #expect(try stage.send("DELETE", path, [("If-Match", other)]).status == 412, "\(other)")
            }
            #expect(try stage.get(path).status == 200)
            #expect(try stage.send("DELETE", path, [("If-Match", "\"other\", \(tag)")]).status == 204)
            #expect(try stage.get(path).status == 404)
        }
    }

    @Test func aFailedSimulationSaysWhy() throws {
        let application = try makeApplication(queue: HeldQueue(limit: 1))
        defer { try? application.store.close() }
        let client = RouterClient(application: application)
        let queued = try client.send(
            "POST", "/v1/simulations", [("Content-Type", "application/json"), ("Prefer", "respond-async")],
            [UInt8](#"{"configuration": "linux-5.2", "scenarios": "\#(selfTest)"}"#.utf8))
        let location = try #require(queued.fields["location"])
        let id = try #require(SimulationID(String(location.split(separator: "/").last ?? "")))
        try application.store.perform(.failSimulation(id, failure: "interrupted", at: Timestamp(milliseconds: 1)))
        #expect(try client.send("GET", location, [], []).json?.text("failure") == "interrupted")
        let text = try client.send("GET", location + "?format=text", [], []).text
        #expect(text == "\(id.text) failed: interrupted, the service stopped before it ended\n")
    }

    /// A kept answer must not come back after a removal that ran while it was made.
    @Test func anAnswerMadeBeforeARemovalIsNotKept() throws {
        let application = try makeApplication()
        defer { try? application.store.close() }
        let cache = AnswerCache(limit_bytes: 1 << 20)
        var head = HTTPRequest(method: .get, scheme: "http", authority: "test", path: "/v1/simulations/x")
        head.headerFields[.accept] = "*/*"
        let answer = try #require(PreparedAnswer(HTTPResponse(status: .ok), body: [1, 2, 3]))
        let before = cache.generation
        cache.clear()
        cache.keep(answer, for: head, since: before, template: "x")
        #expect(cache.answer(to: head) == nil)
        cache.keep(answer, for: head, since: cache.generation, template: "x")
        let kept = try #require(cache.answer(to: head))
        #expect(Array(kept.body.bytes) == [1, 2, 3])
        // A connection holds what it sent last: it must learn of a removal too.
        #expect(kept.use())
        cache.clear()
        #expect(!kept.use())
    }

    @Test func whatIsPushedOutOfTheCacheIsNotTakenAnyMore() throws {
        let cache = AnswerCache(limit_bytes: 40)
        func keep(_ path: String) throws -> PreparedAnswer {
            let head = HTTPRequest(method: .get, scheme: "http", authority: "test", path: path)
            let answer = try #require(
                PreparedAnswer(HTTPResponse(status: .ok), body: [UInt8](repeating: 1, count: 10)))
            cache.keep(answer, for: head, since: cache.generation, template: "x")
            return try #require(cache.answer(to: head))
        }
        let kept = try (0..<6).map { try keep("/v1/simulations/\($0)") }
        #expect(kept.map(\.isCurrent) == [false, false, true, true, true, true])
        let again = try keep("/v1/simulations/3")
        #expect(!kept[3].isCurrent && again.isCurrent, "a newer answer takes the place of the older")
    }
}

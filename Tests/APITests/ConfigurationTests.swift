import EntryCode
import Testing

@testable import API
@testable import Store

/// Entry tables: submit, find, list, remove.
struct ConfigurationTests {
    @Test(arguments: Carrier.allCases) func contentIsKeptOnce(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let first = try stage.post("/v1/configurations", table("a"))
        #expect(first.status == 201)
        let id = try #require(first.json?.text("id"))
        #expect(id.utf8.count == 64)
        #expect(first.fields["location"] == "/v1/configurations/\(id)")
        #expect(first.json?.text("state") == "valid")
        let again = try stage.post("/v1/configurations", #"{ "description":"a","kernel" : "linux-5.2"}"#)
        #expect(again.status == 200)
        #expect(again.json?.text("id") == id)
        #expect(again.fields["location"] == "/v1/configurations/\(id)")
        #expect(try stage.post("/v1/configurations", table("b")).status == 201)
    }

    @Test(arguments: Carrier.allCases) func referencesFindIt(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let id = try #require(try stage.post("/v1/configurations?name=mine", table("a")).json?.text("id"))
        for reference in [id, String(id.prefix(8)), String(id.prefix(40)), "mine"] {
            let found = try stage.get("/v1/configurations/\(reference)")
            #expect(found.status == 200, "\(reference)")
            #expect(found.json?.text("id") == id)
            #expect(found.json?.text("name") == "mine")
            #expect(found.json?.text("document/kernel") == "linux-5.2")
            #expect(found.json?.at("document/entries/0/symbol") != nil, "the document is the whole table")
        }
        let absent = id.hasPrefix("0") ? "ffffffff" : "00000000"
        for reference in [
            absent, "nobody", String(repeating: "a", count: 64), "..%2f..%2fetc%2fpasswd", "%00", "a%20b",
        ] {
            #expect(try stage.get("/v1/configurations/\(reference)").status == 404, "\(reference)")
        }
        let short = try stage.get("/v1/configurations/abc")
        #expect(short.status == 404, "too short for an id, and no name")
        #expect(short.json?.text("detail")?.contains("8 digits") == true)
    }

    @Test func anAmbiguousPrefixNamesItsCandidates() throws {
        let application = try makeApplication()
        // Two documents whose digests begin with the same 8 digits cannot be found in reasonable time; the
        // answer to the store's error can.
        let problem = Problem(
            StoreError(
                .ambiguousReference, "several", candidates: [Digest(of: "a".utf8), Digest(of: "b".utf8)]))
        let (response, body) = Application.answer(problem, instance: "/v1/configurations/00000000", asText: false)
        #expect(response.status.code == 409)
        let json = try JSON.parse(body).value
        #expect(json.text("errors/0/message") == Digest(of: "a".utf8).hex)
        #expect(json.text("errors/1/message") == Digest(of: "b".utf8).hex)
        #expect(json.text("errors/1/code") == "candidate")
        try application.store.close()
    }

    @Test(arguments: Carrier.allCases) func aNameMovesToItsLastContent(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let a = try stage.post("/v1/configurations?name=moving", table("a")).json?.text("id")
        let tagBefore = try stage.get("/v1/configurations/\(a ?? "")").fields["etag"]
        let b = try stage.post("/v1/configurations?name=moving", table("b")).json?.text("id")
        #expect(a != b)
        #expect(try stage.get("/v1/configurations/moving").json?.text("id") == b)
        let renamed = try stage.post("/v1/configurations?name=other", table("a"))
        #expect(renamed.status == 200)
        let fresh = try stage.send("GET", "/v1/configurations/\(a ?? "")", [("If-None-Match", tagBefore ?? "")])
        #expect(fresh.status == 200, "the name is part of the answer, so its tag changes with it")
        #expect(fresh.json?.text("name") == "other")
    }

    @Test(arguments: Carrier.allCases) func aShippedNameMeansTheShippedTable(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let missing = try stage.get("/v1/configurations/linux-5.3")
        #expect(missing.status == 404)
        #expect(missing.json?.text("detail")?.contains("/v1/kernels/linux-5.3") == true)
        let upload = try stage.post("/v1/configurations", #"{"kernel": "linux-5.2", "name": "linux-5.3"}"#)
        #expect(upload.status == 201)
        let id = try #require(upload.json?.text("id"))
        #expect(try stage.get("/v1/configurations/linux-5.3").status == 404, "the shipped table was not used yet")
        #expect(try stage.get("/v1/configurations/linux-5.3/listing").status == 200)
        #expect(try stage.get("/v1/simulations?configuration=linux-5.3").json?.at("items")?.arrayValue?.count == 0)
        let order = #"{"configuration": "linux-5.3", "scenarios": "\#(selfTest)"}"#
        let report = try stage.post("/v1/simulations", order)
        #expect(report.json?.text("verdict") == "holds", "the table that ships, and not the upload of its name")
        let shipped = try #require(report.json?.text("configuration/id"))
        #expect(shipped != id)
        let found = try stage.get("/v1/configurations/linux-5.3")
        #expect(found.json?.text("id") == shipped)
        #expect(found.json?.text("name") == "linux-5.3")
        #expect(try stage.get("/v1/configurations/\(id)").json?.text("name") == "linux-5.3", "the upload has its id")
        let listed = try stage.get("/v1/configurations?name=linux-5.3").json?.at("items")?.arrayValue ?? []
        #expect(Set(listed.compactMap { $0.text("id") }) == [id, shipped])
        #expect(
            try stage.get("/v1/simulations?configuration=linux-5.3").json?.text("items/0/configuration/id") == shipped)
        #expect(try stage.send("DELETE", "/v1/configurations/linux-5.3").status == 204)
        #expect(try stage.get("/v1/configurations/\(id)").status == 200)
    }

    @Test(arguments: Carrier.allCases) func whatANameFindsItLists(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let document = #"{"kernel": "linux-5.2", "name": "of-the-document"}"#
        let id = try #require(try stage.post("/v1/configurations?name=mine", document).json?.text("id"))
        for path in ["/v1/checks?scenarios=\(selfTest)", "/v1/checks?scenarios=\(selfTest)&name=second"] {
            #expect(try stage.post(path, document).status == 200)
            for preference in ["wait=60", "respond-async"] {
                let order = #"{"configuration": \#(document), "scenarios": "\#(selfTest)"}"#
                #expect(try stage.post("/v1/simulations", order, [("Prefer", preference)]).status / 100 == 2)
            }
            let found = try stage.get("/v1/configurations/mine")
            #expect(found.json?.text("id") == id)
            #expect(found.json?.text("name") == "mine", "it shows the name that it was asked for by")
            let listed = try stage.get("/v1/configurations?name=mine").json?.at("items")?.arrayValue ?? []
            #expect(listed.map { $0.text("id") } == [id])
            #expect(listed.map { $0.text("name") } == ["mine"])
            #expect(try stage.get("/v1/configurations/of-the-document").status == 404, "nobody gave it this name")
            let last = path.hasSuffix("second") ? "second" : "mine"
            #expect(try stage.get("/v1/configurations/\(id)").json?.text("name") == last)
        }
        let report = try stage.post("/v1/simulations", #"{"configuration": "mine", "scenarios": "\#(selfTest)"}"#)
        #expect(report.json?.text("configuration/name") == "mine")
    }

    @Test(arguments: Carrier.allCases) func badNamesAreRefused(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        for name in [
            "", "deadbeef", "DEADBEEF", "0123456789abcdef", "a%20b", "..", ".", "-a", ".a", "a%2Fb", "%C3%A9",
            String(repeating: "n", count: 101),
        ] {
            let reply = try stage.post("/v1/configurations?name=\(name)", table("a"))
            #expect(reply.status == 400, "'\(name)'")
            #expect(reply.json?.text("errors/0/parameter") == "name", "'\(name)'")
        }
        for name in ["deadbeef", "DEADBEEF", "-a", "a b", ""] {
            let reply = try stage.post("/v1/configurations", #"{"kernel": "linux-5.2", "name": "\#(name)"}"#)
            #expect(reply.status == 422, "'\(name)'")
            #expect(reply.json?.text("errors/0/pointer") == "/name", "'\(name)'")
        }
        #expect(try stage.get("/v1/configurations").json?.at("items")?.arrayValue?.isEmpty == true)
    }

    @Test(arguments: Carrier.allCases) func tagsAnswer304(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let created = try stage.post("/v1/configurations?name=mine", table("a"))
        let tag = try #require(try stage.get("/v1/configurations/mine").fields["etag"])
        #expect(created.fields["etag"] == tag, "a 201 carries the tag of what it made (RFC 9110, 8.8.3)")
        let textTag = try stage.get("/v1/configurations/mine", accept: "text/plain").fields["etag"]
        #expect(textTag != nil && textTag != tag)
        for match in [tag, "W/" + tag, "\"x\", \(tag)", "*"] {
            let reply = try stage.send("GET", "/v1/configurations/mine", [("If-None-Match", match)])
            #expect(reply.status == 304, "\(match)")
            #expect(reply.body.isEmpty)
            #expect(reply.fields["etag"] == tag)
        }
        #expect(try stage.send("GET", "/v1/configurations/mine", [("If-None-Match", "\"x\"")]).status == 200)
        // Of reads as well (RFC 9110 section 13.1.1), and of what has no tag.
        for (match, status) in [(tag, 200), ("\"x\", \(tag)", 200), ("*", 200), ("\"x\"", 412), ("W/" + tag, 412)] {
            #expect(
                try stage.send("GET", "/v1/configurations/mine", [("If-Match", match)]).status == status, "\(match)")
        }
        #expect(try stage.send("GET", "/v1/rules", [("If-Match", "*")]).status == 200)
        #expect(try stage.send("GET", "/v1/rules", [("If-Match", "\"x\"")]).status == 412)
        #expect(try stage.send("GET", "/v1/rules", [("If-None-Match", "*")]).status == 304)
        #expect(try stage.send("GET", "/v1/none", [("If-Match", "*")]).status == 404)
    }

    @Test(arguments: Carrier.allCases) func removalIsConditional(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        try stage.post("/v1/configurations?name=mine", table("a"))
        let simulated = try stage.post(
            "/v1/simulations", #"{"configuration": "mine", "scenarios": "\#(selfTest)"}"#)
        let simulation = try #require(simulated.fields["location"])
        #expect(try stage.get(simulation).status == 200)
        #expect(try stage.send("DELETE", "/v1/configurations/mine", [("If-Match", "\"other\"")]).status == 412)
        let tag = try stage.get("/v1/configurations/mine").fields["etag"] ?? ""
        #expect(try stage.send("DELETE", "/v1/configurations/mine", [("If-Match", "W/" + tag)]).status == 412)
        let removed = try stage.send("DELETE", "/v1/configurations/mine", [("If-Match", tag)])
        #expect(removed.status == 204)
        #expect(removed.body.isEmpty)
        #expect(try stage.get("/v1/configurations/mine").status == 404)
        #expect(try stage.get(simulation).status == 404, "what hangs on it goes with it, also from the cache")
        #expect(try stage.send("DELETE", "/v1/configurations/mine").status == 404)
    }

    @Test(arguments: Carrier.allCases) func invalidTablesAreKeptWithTheirReasons(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let reply = try stage.post("/v1/configurations?name=dangling", danglingTable)
        #expect(reply.status == 201)
        #expect(reply.json?.text("state") == "invalid")
        #expect(reply.json?.text("reasons/0/rule") == "dangling-reference")
        #expect(reply.json?.text("reasons/0/pointer")?.hasPrefix("/") == true)
        #expect(try stage.get("/v1/configurations/dangling").json?.text("state") == "invalid")
        let listing = try stage.get("/v1/configurations/dangling/listing")
        #expect(listing.status == 422)
        #expect(listing.json?.text("code") == "not-runnable")
        let report = try stage.post("/v1/simulations", #"{"configuration": "dangling"}"#)
        #expect(report.status == 201)
        #expect(report.json?.text("verdict") == "invalid")
        #expect(report.json?.at("reasons/0") != nil)
    }

    @Test(arguments: Carrier.allCases) func pagesHaveEveryRowOnceWhileRowsArrive(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        var ids: [String] = []
        for number in 0..<5 {
            ids.append(try #require(try stage.post("/v1/configurations", table("row \(number)")).json?.text("id")))
        }
        var path: String? = "/v1/configurations?limit=2&kernel=linux-5.2"
        var seen: [String] = []
        var pages = 0
        while let here = path {
            let page = try stage.get(here)
            #expect(page.status == 200)
            seen += (page.json?.at("items")?.arrayValue ?? []).compactMap { $0.text("id") }
            path = page.json?.text("next")
            #expect(page.fields["link"] == path.map { "<\($0)>; rel=\"next\"" })
            pages += 1
            try #require(pages < 10)
            try stage.post("/v1/configurations", table("late \(pages)"))
        }
        #expect(seen == ids.reversed(), "newest first, each once, none of those that came later")
        #expect(pages == 3)
    }

    @Test(arguments: Carrier.allCases) func listsFilterAndComeInEveryForm(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        try stage.post("/v1/configurations?name=mine", table("a"))
        try stage.post("/v1/configurations", #"{"kernel": "linux-5.3"}"#)
        #expect(try stage.get("/v1/configurations?name=mine").json?.at("items")?.arrayValue?.count == 1)
        #expect(try stage.get("/v1/configurations?kernel=linux-5.3").json?.at("items")?.arrayValue?.count == 1)
        #expect(try stage.get("/v1/configurations?kernel=none").json?.at("items")?.arrayValue?.count == 0)
        #expect(try stage.get("/v1/configurations?format=text").text.split(separator: "\n").count == 2)
        let lines = try stage.get("/v1/configurations", accept: "application/x-ndjson").text.split(separator: "\n")
        #expect(lines.count == 2)
        for line in lines { #expect(throws: Never.self) { try JSON.parse([UInt8](line.utf8)) } }
    }

    @Test(arguments: Carrier.allCases) func listingsAreText(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        try stage.post("/v1/configurations?name=mine", table("a"))
        let whole = try stage.get("/v1/configurations/mine/listing")
        #expect(whole.status == 200)
        #expect(whole.fields["content-type"]?.hasPrefix("text/plain") == true)
        let xen = try stage.get("/v1/configurations/mine/listing?platform=xen-pv")
        #expect(xen.status == 200 && xen.text != whole.text)
        #expect(xen.text.hasPrefix("/*\n * Expanded for xen-pv alone"))
        #expect(whole.text.contains("\n.if PLATFORM_XEN_PV\n"))
        let one = try stage.get("/v1/configurations/mine/listing?routine=error_entry")
        #expect(one.text.contains("ENTRY(error_entry)") && one.body.count < whole.body.count)
        #expect(try stage.get("/v1/configurations/mine/listing?routine=nothing").status == 404)
        #expect(try stage.get("/v1/configurations/mine/listing?platform=sparc").status == 400)
        #expect(try stage.get("/v1/configurations/nobody/listing").status == 404)
        #expect(try stage.get("/v1/configurations/mine/listing?format=json").status == 406)
    }
}

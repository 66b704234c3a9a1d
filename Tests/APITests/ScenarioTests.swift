import EntryCode
import Testing

/// Scenarios of a simulation and their traces.
struct ScenarioTests {
    private func simulated(_ stage: Stage, _ pattern: String) throws -> String {
        try #require(
            try stage.post("/v1/simulations", #"{"configuration": "linux-5.2", "scenarios": "\#(pattern)"}"#)
                .fields["location"])
    }

    @Test(arguments: Carrier.allCases) func scenariosFilter(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let path = try simulated(stage, "*/int3/kernel/*") + "/scenarios"
        func names(_ query: String) throws -> [String] {
            (try stage.get("\(path)?\(query)").json?.at("items")?.arrayValue ?? []).compactMap { $0.text("name") }
        }
        let all = try names("limit=1000")
        #expect(all.contains(selfTest))
        let xen = try names("platform=xen-pv")
        #expect(!xen.isEmpty && xen == all.filter { $0.hasPrefix("xen-pv/") })
        let violated = try names("verdict=violated&limit=1000")
        #expect(violated.contains(selfTest))
        #expect(try names("verdict=holds&limit=1000").count + violated.count == all.count)
        #expect(try names("rule=live-frame-overwritten").contains(selfTest))
        #expect(try names("rule=triple-fault").isEmpty)
        for (query, parameter) in [
            ("rule=none", "rule"), ("verdict=bad", "verdict"), ("platform=arm", "platform"), ("limit=0", "limit"),
            ("limit=1001", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"), ("limit=", "limit"),
            ("limit=99999999999999999999", "limit"), ("limit=1&limit=2", "limit"),
            ("verdict=holds&verdict=violated", "verdict"),
        ] {
            let reply = try stage.get("\(path)?\(query)")
            #expect(reply.status == 400, "\(query)")
            #expect(reply.json?.text("errors/0/parameter") == parameter, "\(query): \(reply.text)")
        }
        for cursor in ["x", "", "%00", "AAAA", String(repeating: "A", count: 3000)] {
            #expect(try stage.get("\(path)?cursor=\(cursor)").status == 400, "\(cursor)")
        }
        var pages: [String] = []
        var next: String? = "\(path)?limit=3&platform=xen-pv"
        while let here = next {
            let page = try stage.get(here)
            pages += (page.json?.at("items")?.arrayValue ?? []).compactMap { $0.text("name") }
            next = page.json?.text("next")
            try #require(pages.count <= all.count)
        }
        #expect(pages == xen, "pages keep the filter")
        let foreign = try #require(
            try stage.get("\(path)?limit=1").json?.text("next")?.split(separator: "cursor=").last)
        #expect(try stage.get("/v1/simulations?cursor=\(foreign)").status == 400, "a cursor belongs to its list")
    }

    @Test(arguments: Carrier.allCases) func everyRuleOfAScenarioFindsIt(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let path = try simulated(stage, "*/page_fault/user/*") + "/scenarios"
        let all = try stage.get("\(path)?limit=1000").json?.at("items")?.arrayValue ?? []
        var expected: [String: Set<String>] = [:]
        var isMixed = false
        for item in all {
            let rules = (item.at("violations")?.arrayValue ?? []).compactMap { $0.text("rule") }
            if rules.contains(where: { $0 != item.text("rule") }) { isMixed = true }
            for rule in rules { expected[rule, default: []].insert(item.text("name") ?? "") }
        }
        #expect(isMixed, "some scenario has more than its first rule")
        for (rule, names) in expected {
            let found = try stage.get("\(path)?limit=1000&rule=\(rule)").json?.at("items")?.arrayValue ?? []
            #expect(Set(found.compactMap { $0.text("name") }) == names, "\(rule)")
        }
    }

    @Test(arguments: Carrier.allCases) func oneScenarioByItsName(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let path = try simulated(stage, selfTest) + "/scenarios"
        let plain = try stage.get("\(path)/\(selfTest)")
        #expect(plain.status == 200)
        #expect(plain.json?.text("name") == selfTest)
        let encoded = try stage.get("\(path)/\(selfTest.replacing("/", with: "%2F"))")
        #expect(encoded.body == plain.body, "encoded slashes, as generated clients send them")
        #expect(try stage.get("\(path)/xen-pv/int3/kernel").status == 404)
        #expect(try stage.get("\(path)/\(selfTest)/more").status == 404)
        #expect(try stage.get("\(path)?format=ndjson").text.split(separator: "\n").count == 1)
        #expect(try stage.get("\(path)?format=text").text.contains(selfTest))
    }

    @Test(arguments: Carrier.allCases) func tracesShowEveryStep(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let path = try simulated(stage, selfTest) + "/scenarios/\(selfTest)/trace"
        let json = try stage.get(path)
        #expect(json.status == 200)
        let steps = json.json?["steps"]?.arrayValue ?? []
        #expect(steps.count > 50)
        let text = try stage.get(path, accept: "text/plain")
        #expect(text.text.contains("int3_magic") && text.text.contains("do_int3"))
        #expect(text.body.allSatisfy { $0 == 10 || (32..<127).contains($0) })
        let lines = try stage.get(path + "?format=ndjson").text.split(separator: "\n")
        #expect(lines.count >= steps.count)
        for line in lines { #expect(throws: Never.self) { try JSON.parse([UInt8](line.utf8)) } }
        let tag = try #require(json.fields["etag"])
        #expect(try stage.send("GET", path, [("If-None-Match", tag)]).status == 304)
        #expect(tag != text.fields["etag"])
        #expect(try stage.get(path + "?format=csv").status == 406)
        #expect(try stage.get(path.replacing("self-test", with: "no-test")).status == 404)
    }
}

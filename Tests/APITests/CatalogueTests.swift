import EntryCode
import Testing
import Verification

@testable import API

/// What the service says of itself: health, version, kernels, rules, schema, description.
struct CatalogueTests {
    @Test(arguments: Carrier.allCases) func healthIsShortText(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        #expect(try stage.get("/livez").text == "ok\n")
        #expect(try stage.get("/readyz").text == "ok\n")
        let verbose = try stage.get("/readyz?verbose")
        #expect(verbose.status == 200)
        #expect(verbose.text.contains("[+] database readable\n"))
        #expect(verbose.fields["cache-control"] == "no-store")
        #expect(try stage.get("/livez?verbse").status == 400)
    }

    @Test func aStoppingServiceIsNotReady() throws {
        let application = try makeApplication()
        let client = RouterClient(application: application)
        application.startDraining()
        let reply = try client.send("GET", "/readyz", [], [])
        #expect(reply.status == 503)
        #expect(reply.text.contains("[-] accepting work"))
        #expect(try client.send("GET", "/livez", [], []).status == 200)
        try application.store.close()
        #expect(try client.send("GET", "/readyz", [], []).text.contains("[-] database readable"))
    }

    @Test(arguments: Carrier.allCases) func versionAndProblems(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        #expect(try stage.get("/version").json?.text("model/version") == modelVersion)
        #expect(try stage.get("/version", accept: "text/plain").text.hasPrefix("gatehouse "))
        let problems = try stage.get("/problems?format=json")
        #expect(problems.json?.at("items")?.arrayValue?.count == ProblemKind.allCases.count)
        #expect(try stage.get("/problems").text.contains("\ninvalid-document\n  422 "))
    }

    @Test(arguments: Carrier.allCases) func kernelsAreTablesToStartFrom(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let names = try stage.get("/v1/kernels").json?.at("kernels")?.arrayValue?.compactMap { $0.text("name") } ?? []
        #expect(names.contains("linux-5.2") && names.contains("linux-5.3"))
        for name in names {
            let kernel = try stage.get("/v1/kernels/\(name)")
            #expect(kernel.status == 200)
            let kept = try stage.post("/v1/configurations", kernel.text)
            #expect(kept.status == 201, "\(name) is a document that can be submitted as it is: \(kept.text)")
        }
        let near = try stage.get("/v1/kernels/linux-5.22")
        #expect(near.status == 404)
        #expect(near.json?.text("detail")?.contains("did you mean 'linux-5.2'?") == true)
        #expect(try stage.get("/v1/kernels", accept: "text/plain").text.contains("linux-5.2 "))
    }

    @Test(arguments: Carrier.allCases) func rulesAreExplained(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let ids = try stage.get("/v1/rules").json?.at("rules")?.arrayValue?.compactMap { $0.text("id") } ?? []
        #expect(ids == Rule.all.map(\.id))
        let rule = try stage.get("/v1/rules/live-frame-overwritten")
        #expect(rule.json?.text("id") == "live-frame-overwritten")
        #expect(try stage.get("/v1/rules/live-frame-overwritten?format=text").text.contains("live-frame-overwritten"))
        #expect(
            try stage.get("/v1/rules/live-frame-overwriten").json?.text("detail")?
                .contains("did you mean 'live-frame-overwritten'?") == true)
    }

    @Test(arguments: Carrier.allCases) func defectsHaveTablesToSubmit(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let list = try stage.get("/v1/defects")
        #expect(list.status == 200)
        let items = list.json?.at("items")?.arrayValue ?? []
        #expect(items.compactMap { $0.text("id") } == DefectCatalogue.shipped.defects.map(\.id))
        #expect(try stage.get("/v1/defects?format=text").text.contains("xenpv-int3-no-gap: found by"))
        let one = try stage.get("/v1/defects/xenpv-int3-no-gap")
        #expect(one.json?.text("model/rule") == "live-frame-overwritten")
        #expect(try stage.get("/v1/defects/xenpv-int3-no-gap?format=text").text.contains("\n  rule        live-frame"))
        for (side, verdict) in [("broken", "violated"), ("fixed", "holds")] {
            let link = try #require(one.json?.text("links/\(side)"))
            let table = try stage.get(link)
            #expect(table.status == 200)
            let report = try stage.post("/v1/checks?scenarios=xen-pv/int3/kernel/*", table.text)
            #expect(report.json?.text("verdict") == verdict, "\(report.text.prefix(400))")
            #expect(report.json?.text("configuration/name") == "xenpv-int3-no-gap-\(side)")
        }
    }

    @Test func aDefectThatIsNotThereOrNotModelled() throws {
        let stage = try Stage(.router)
        let near = try stage.get("/v1/defects/xenpv-int3-nogap")
        #expect(near.status == 404)
        #expect(near.json?.text("detail")?.contains("did you mean 'xenpv-int3-no-gap'?") == true)
        let other = try #require(DefectCatalogue.shipped.defects.first { $0.modelled == nil }?.id)
        let one = try stage.get("/v1/defects/\(other)")
        #expect(one.json?.text("not_modelled")?.isEmpty == false)
        #expect(one.json?.at("links/broken") == nil)
        for side in ["broken", "fixed"] {
            let table = try stage.get("/v1/defects/\(other)/\(side)")
            #expect(table.status == 404)
            #expect(table.json?.text("detail")?.contains("not modelled") == true)
        }
    }

    /// The stable ids of the contract.
    @Test func theRulesOfTheContractAreThere() {
        let ids = Set(Rule.all.map(\.id))
        for id in [
            "kernel-gs-base", "user-gs-base", "kernel-page-table", "user-page-table", "stack-bounds",
            "live-frame-overwritten", "pt-regs-faithful", "error-code", "resumption", "unexpected-fault",
            "double-fault",
            "triple-fault", "nmi-masking", "interrupt-flag", "access-flag", "direction-flag",
            "nested-task-flag", "user-reachable-gate",
            "register-hygiene", "debug-registers", "speculation-barrier", "information-leak",
            "needless-hypervisor-entry",
            "dangling-reference", "unreachable-entry", "progress",
        ] { #expect(ids.contains(id), "\(id)") }
    }

    @Test(arguments: Carrier.allCases) func theSchemaIsServed(_ carrier: Carrier) throws {
        let schema = try Stage(carrier).get("/schemas/entry-table.json")
        #expect(schema.fields["content-type"] == "application/schema+json")
        #expect(schema.json?.text("$schema") == "https://json-schema.org/draft/2020-12/schema")
        for key in ["kernel", "entries", "idt", "xen", "options", "machine", "routines"] {
            #expect(schema.json?["properties"]?[key] != nil, "\(key)")
        }
    }

    @Test(arguments: Carrier.allCases) func theDescriptionHasEveryRouteAndNoOther(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let document = try #require(try stage.get("/openapi.json").json)
        #expect(document.text("openapi") == "3.1.0")
        var described: Set<String> = []
        var operations: [String] = []
        for path in document["paths"]?.objectValue ?? [] {
            for method in path.value.objectValue ?? [] {
                described.insert("\(method.key.uppercased()) \(path.key)")
                operations.append(try #require(method.value.text("operationId")))
                let named = path.key.split(separator: "/").filter { $0.hasPrefix("{") }.map {
                    $0.dropFirst().dropLast()
                }
                let given = (method.value["parameters"]?.arrayValue ?? []).filter { $0.text("in") == "path" }
                #expect(given.compactMap { $0.text("name") } == named.map(String.init), "\(path.key)")
                #expect(given.allSatisfy { $0.at("required") == true })
                #expect(method.value["responses"]?["default"] != nil, "\(path.key)")
                for parameter in (method.value["parameters"]?.arrayValue ?? []) where parameter.text("in") == "query" {
                    #expect(parameter.text("description")?.isEmpty == false, "\(parameter) of \(path.key)")
                }
            }
        }
        #expect(Set(operations).count == operations.count, "operation ids are unique")
        let application = try makeApplication()
        defer { try? application.store.close() }
        let routes = application.router.routes.map {
            "\($0.method.rawValue) \($0.template.replacing("...", with: ""))"
        }
        #expect(described == Set(routes))
        #expect(described.count == routes.count)
    }

    /// The forms that the description names are offered, and no others.
    @Test func theDescriptionNamesTheFormsOfEveryRoute() throws {
        let stage = try Stage(.router)
        let document = try #require(try stage.get("/openapi.json").json)
        var reports = 0
        for path in document["paths"]?.objectValue ?? [] {
            for method in path.value.objectValue ?? [] {
                let parameters = method.value["parameters"]?.arrayValue ?? []
                guard let format = parameters.first(where: { $0.text("name") == "format" }) else { continue }
                let offered = (format.at("schema/enum")?.arrayValue ?? []).compactMap(\.stringValue)
                if offered.contains("csv") { reports += 1 }
                let here = path.key.replacing("{ref}", with: "x1").replacing("{id}", with: "x1")
                    .replacing("{name}", with: "x")
                for form in Format.allCases.map(\.rawValue) {
                    let reply = try stage.send(method.key.uppercased(), "\(here)?format=\(form)")
                    #expect((reply.status == 406) == !offered.contains(form), "\(method.key) \(path.key) \(form)")
                }
            }
        }
        #expect(reports == 3)
    }

    /// Every query parameter that the description names is taken by its route, and no route takes another.
    @Test func theDescriptionNamesTheParametersThatRoutesTake() throws {
        let stage = try Stage(.router)
        let document = try #require(try stage.get("/openapi.json").json)
        for path in document["paths"]?.objectValue ?? [] {
            for method in path.value.objectValue ?? [] {
                let here = path.key.replacing("{ref}", with: "x1").replacing("{id}", with: "x1").replacing(
                    "{name}", with: "x")
                for parameter in method.value["parameters"]?.arrayValue ?? [] where parameter.text("in") == "query" {
                    let name = try #require(parameter.text("name"))
                    let reply = try stage.send(method.key.uppercased(), "\(here)?\(name)=")
                    #expect(reply.json?.text("code") != "unknown-parameter", "\(path.key) \(name)")
                }
                let reply = try stage.send(method.key.uppercased(), "\(here)?no_such_parameter=1")
                #expect(reply.status == 400, "\(method.key) \(path.key)")
                #expect(reply.json?.text("errors/0/parameter") == "no_such_parameter", "\(method.key) \(path.key)")
            }
        }
    }
}

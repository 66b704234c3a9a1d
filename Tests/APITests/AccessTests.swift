import EntryCode
import Foundation
import HTTPTypes
import HTTPWire
import Store
import Synchronization
import Testing

@testable import API

/// Who may do what, and how often.
struct AccessTests {
    /// A token of each scope, and the list that knows them.
    private func tokens() throws -> (list: TokenList, of: [Scope: String]) {
        var generator = SystemRandomNumberGenerator()
        var lines = "# tokens\n\n"
        var of: [Scope: String] = [:]
        for scope in Scope.allCases {
            let token = NewToken(scope: scope, name: "of \(scope) ünïcode") { generator.next() }
            lines += token.line + "\n"
            of[scope] = token.token
        }
        return (try TokenList(lines), of)
    }

    private func application(_ access: AccessControl) throws -> Application {
        let store = try ResultStore.open(.memory, now: Timestamp(milliseconds: 1_558_085_400_000))
        return Application(
            store: store, queue: ImmediateQueue(), environment: fixedEnvironment(), access: access, version: "0")
    }

    private func head(_ method: String, _ path: String, _ authorization: String? = nil) -> HTTPRequest {
        var head = HTTPRequest(
            method: HTTPRequest.Method(rawValue: method)!, scheme: "http", authority: "a", path: path)
        head.headerFields[.authorization] = authorization
        return head
    }

    private let peer = PeerAddress(host: "192.0.2.1", port: 1)

    private func status(
        _ application: Application, _ method: String, _ path: String, _ authorization: String? = nil
    ) -> Int? {
        application.denial(of: head(method, path, authorization), from: peer)?.response.status.code
    }

    @Test func scopesReachAsFarAsTheySay() throws {
        let (list, of) = try tokens()
        let application = try application(AccessControl(tokens: list))
        for (method, path, needed) in [
            ("GET", "/v1/rules", Scope.read), ("HEAD", "/metrics", .read), ("GET", "/nothing", .read),
            ("GET", "/livez/x", .read), ("POST", "/v1/checks", .submit), ("POST", "/v1/simulations?x=/livez", .submit),
            ("PUT", "/v1/x", .submit), ("DELETE", "/v1/simulations/x", .submit),
            ("DELETE", "/v1/configurations/x", .admin),
            ("DELETE", "/", .admin), ("BREW", "/livez", .submit), ("DELETE", "/livez", .admin),
        ] {
            #expect(status(application, method, path) == 401, "\(method) \(path)")
            for scope in Scope.allCases {
                let found = status(application, method, path, "Bearer \(of[scope] ?? "")")
                #expect(found == (scope >= needed ? nil : 403), "\(method) \(path) with \(scope)")
            }
        }
        for path in ["/livez", "/readyz", "/readyz?verbose"] {
            #expect(status(application, "GET", path) == nil, "probes have no token")
        }
    }

    @Test func whatIsNoTokenIsRefusedWithoutRepeatingIt() throws {
        let (list, of) = try tokens()
        let application = try application(AccessControl(tokens: list))
        let good = try #require(of[.admin])
        let id = good.split(separator: "_")[1]
        for authorization in [
            "", "Bearer", "Bearer ", "Basic \(good)", good, "Bearer gh_\(id)_", "Bearer gh_\(id)_wrongsecret",
            "Bearer \(good)x", "Bearer \(good.dropLast())", "Bearer gh__", "Bearer \(good.uppercased())",
            "Bearer gh_unknown1_" + String(repeating: "s", count: 43), "Bearer " + String(repeating: "g", count: 8000),
        ] {
            let denial = try #require(application.denial(of: head("GET", "/v1/rules", authorization), from: peer))
            #expect(denial.response.status.code == 401)
            #expect(denial.response.headerFields[.requestID]?.count == 16)
            #expect(
                denial.response.headerFields[.wwwAuthenticate] == "Bearer realm=\"gatehouse\", error=\"invalid_token\"")
            guard case .bytes(let body) = denial.body else {
                Issue.record("no body")
                continue
            }
            let text = String(decoding: body, as: UTF8.self)
            #expect(authorization.count < 12 || !text.contains(authorization.suffix(12)), "\(text)")
        }
        #expect(status(application, "GET", "/v1/rules", "bearer  \(good)") == nil, "the scheme has no case")
        let none = try #require(application.denial(of: head("GET", "/v1/rules"), from: peer))
        #expect(none.response.headerFields[.wwwAuthenticate] == "Bearer realm=\"gatehouse\"")
        let scope = try #require(
            application.denial(of: head("DELETE", "/v1/configurations/x", "Bearer \(of[.read] ?? "")"), from: peer))
        #expect(scope.response.headerFields[.wwwAuthenticate]?.contains("scope=\"admin\"") == true)
        #expect(status(application, "GET", "/v1/rules?access_token=\(good)") == 401, "never from a query")
    }

    /// An answer in memory is as protected as any other: the denial comes before the look-up.
    /// A token in a path or a query is a mistake that errors and logs must not spread.
    @Test func noErrorAndNoLogRepeatsAToken() throws {
        let (_, of) = try tokens()
        let token = try #require(of[.admin])
        let records = Mutex<[RequestRecord]>([])
        var environment = fixedEnvironment()
        environment.logRequest = { record in records.withLock { $0.append(record) } }
        let store = try ResultStore.open(.memory, now: Timestamp(milliseconds: 1_558_085_400_000))
        let application = Application(
            store: store, queue: ImmediateQueue(), environment: environment, access: AccessControl(tokens: nil),
            version: "0")
        for path in [
            "/v1/rules/\(token)", "/\(token)", "/v1/rules?format=\(token)", "/v1/rules?\(token)=1",
            "/v1/configurations/\(token)", "/v1/rules/gh%5F\(token.dropFirst(3))",
        ] {
            for accept in ["application/json", "text/plain"] {
                var head = head("GET", path)
                head.headerFields[.accept] = accept
                let answer = application.answer(IncomingRequest(head: head, body: [], peer: peer))
                #expect(answer.response.status.code >= 400, "\(path)")
                let text = String(decoding: answer.body, as: UTF8.self)
                #expect(!text.contains(token.suffix(43)), "\(text)")
                #expect(path.contains("?") || accept == "text/plain" || text.contains("gh_(token)"), "\(text)")
            }
        }
        let paths = records.withLock { $0.map(\.path) }
        #expect(paths.count == 12)
        #expect(!paths.contains { $0.contains(token.suffix(43)) })
    }

    @Test func tokensAreReplaced() throws {
        let (list, of) = try tokens()
        let access = AccessControl(tokens: list)
        let application = try application(access)
        let token = "Bearer \(of[.read] ?? "")"
        #expect(status(application, "GET", "/v1/rules", token) == nil)
        access.replaceTokens(try TokenList(""))
        #expect(status(application, "GET", "/v1/rules", token) == 401)
    }

    @Test func withoutAnythingToDecideNothingIsAsked() throws {
        let application = try application(AccessControl(tokens: nil))
        #expect(application.access == nil)
        #expect(status(application, "DELETE", "/v1/configurations/x") == nil)
    }

    @Test func requestsAreLimitedPerAddressAndPerToken() throws {
        let (list, of) = try tokens()
        var rates = RequestRates(perToken: 2, perAddress: 3)
        rates.burst_seconds = 1
        rates.entries = 2
        let access = AccessControl(tokens: list, rates: rates)
        func decide(_ host: String, _ scope: Scope?, at milliseconds: Int64) -> AccessControl.Decision {
            access.decide(
                authorization: scope.map { "Bearer \(of[$0] ?? "")" }, scope: .read, host: host,
                now: MonotonicTime(milliseconds: milliseconds))
        }
        #expect((0..<3).map { _ in decide("a", .read, at: 0) } == [.allowed, .allowed, .limited(seconds: 1)])
        #expect(decide("a", .admin, at: 0) == .allowed, "another token, but the third request of the address")
        #expect(decide("a", .admin, at: 0) == .limited(seconds: 1))
        #expect(decide("b", .admin, at: 0) == .limited(seconds: 1), "the token is used up wherever it comes from")
        #expect(decide("b", nil, at: 0) == .unauthorized(wasGiven: false))
        #expect(decide("a", .read, at: 1000) == .allowed, "time brings both back")
        for host in 0..<100 { _ = decide("\(host)", nil, at: 1000) }
        #expect(decide("a", .submit, at: 1000) == .allowed)
        let open = AccessControl(tokens: nil, rates: RequestRates(perAddress: 1))
        #expect(!open.isOpen)
        let answers = (0..<7).map { _ in
            open.decide(authorization: nil, scope: .admin, host: "a", now: MonotonicTime(milliseconds: 0))
        }
        #expect(answers == Array(repeating: .allowed, count: 5) + Array(repeating: .limited(seconds: 1), count: 2))
    }

    @Test func limitedRequestsAre429() throws {
        let application = try application(AccessControl(tokens: nil, rates: RequestRates(perAddress: 1)))
        for _ in 0..<5 { #expect(status(application, "GET", "/v1/rules") == nil) }
        let denial = try #require(application.denial(of: head("GET", "/v1/rules"), from: peer))
        #expect(denial.response.status.code == 429)
        #expect(denial.response.headerFields[.retryAfter] == "1")
        #expect(denial.response.headerFields[.requestID]?.count == 16)
    }

    @Test(arguments: [
        ("a read", 1), ("# x\na read abc", 2), ("a write " + String(repeating: "0", count: 64), 1),
        ("a read " + String(repeating: "0", count: 64) + "\na admin " + String(repeating: "1", count: 64), 2),
        ("a read " + String(repeating: "0", count: 63) + "g x", 1), ("a read x y z", 1),
    ])
    func faultsOfAFileNameTheLine(text: String, line: Int) {
        let fault = #expect(throws: TokenList.Fault.self) { try TokenList(text) }
        #expect(fault?.line == line)
        #expect(fault?.description.contains("000") == false, "nothing of the file is repeated")
    }

    @Test func comparisonLooksAtEverything() {
        let bytes = [UInt8](0..<32)
        #expect(TokenList.isEqual(bytes, bytes))
        for index in bytes.indices {
            var other = bytes
            other[index] ^= 1
            #expect(!TokenList.isEqual(bytes, other))
        }
        #expect(!TokenList.isEqual(bytes, Array(bytes.dropLast())))
    }
}

/// Request ids and measurements.
struct OperationTests {
    @Test(arguments: Carrier.allCases) func answersCarryARequestID(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let made = try stage.get("/v1/rules").fields["x-request-id"]
        #expect(made?.count == 16)
        #expect(try stage.get("/v1/rules").fields["x-request-id"] != made)
        let given = try stage.send("GET", "/v1/rules/nothing", [("X-Request-Id", "Abc-1.2_3")])
        #expect(given.fields["x-request-id"] == "Abc-1.2_3")
        #expect(given.json?.text("request_id") == "Abc-1.2_3")
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        #expect(
            try stage.send("GET", "/v1/rules", [("traceparent", "00-\(trace)-00f067aa0ba902b7-01")])
                .fields["x-request-id"] == trace)
        for bad in ["a b", "a\"b", String(repeating: "x", count: 65), "é"] {
            let reply = try stage.send("GET", "/v1/rules", [("X-Request-Id", bad)])
            #expect(reply.fields["x-request-id"]?.count == 16, "\(bad)")
        }
    }

    @Test(arguments: Carrier.allCases) func measurementsAreInTheTextFormat(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        _ = try stage.get("/v1/rules")
        _ = try stage.get("/v1/rules/nothing")
        _ = try stage.get("/no/such/\(UUID().uuidString)")
        try stage.post("/v1/checks?scenarios=\(selfTest)", table("metrics"))
        let reply = try stage.get("/metrics")
        #expect(reply.status == 200)
        #expect(reply.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
        #expect(
            reply.text.contains("gatehouse_http_requests_total{method=\"GET\",route=\"/v1/rules\",status=\"200\"} 1\n"))
        #expect(
            reply.text.contains(
                "gatehouse_http_requests_total{method=\"GET\",route=\"/v1/rules/{id}\",status=\"404\"} 1\n"))
        #expect(
            reply.text.contains("gatehouse_http_requests_total{method=\"GET\",route=\"(none)\",status=\"404\"} 1\n"))
        #expect(reply.text.contains("gatehouse_scenarios_total{verdict=\"violated\"} 1\n"))
        #expect(reply.text.contains("gatehouse_db_write_seconds_count 2\n"))
        var names: Set<String> = []
        for line in reply.text.split(separator: "\n") {
            if line.hasPrefix("# TYPE ") {
                let name = String(line.split(separator: " ")[2])
                #expect(names.insert(name).inserted, "\(name) stands once")
            }
            guard !line.hasPrefix("#") else { continue }
            let parts = line.split(separator: " ")
            #expect(parts.last.flatMap { Double($0) } != nil, "\(line)")
            let name = parts[0].prefix { $0 != "{" }
            #expect(names.contains { name.hasPrefix($0) }, "\(line)")
        }
        if carrier == .live {
            #expect(reply.text.contains("gatehouse_http_guard_trips_total{guard=\"inbound_resets\"} 0\n"))
            #expect(reply.text.contains("gatehouse_connections_open "))
        }
    }

    /// A histogram's buckets grow, and the last is its count.
    @Test func histogramsAddUp() {
        var histogram = DurationHistogram()
        for seconds in [0.0005, 0.001, 0.3, 100] { histogram.add(seconds) }
        var family = MetricFamily("x_seconds", .histogram, "")
        histogram.samples(&family, [], quick: 6)
        let buckets = family.samples.filter { $0.suffix == "_bucket" }.map(\.value)
        #expect(buckets == buckets.sorted())
        #expect(buckets.first == 8)
        #expect(buckets.last == 10)
        #expect(family.samples.last?.value == 10)
    }

    /// What a client invents cannot make new labels.
    @Test func labelsAreBounded() {
        let metrics = APIMetrics()
        for number in 0..<50 { metrics.count(HTTPRequest.Method(rawValue: "M\(number)")!, "(none)", 404) }
        let family = metrics.families.first { $0.name == "gatehouse_http_requests_total" }
        #expect(family?.samples.count == 1)
        #expect(family?.text.contains("method=\"OTHER\"") == true)
    }

    @Test func answersFromMemoryAreCounted() throws {
        let application = try makeApplication()
        let peer = PeerAddress(host: "a", port: 1)
        var check = HTTPRequest(method: .post, scheme: "http", authority: "a", path: "/v1/checks?scenarios=\(selfTest)")
        check.headerFields[.contentType] = "application/json"
        let kept = application.answer(IncomingRequest(head: check, body: [UInt8](table("memory").utf8), peer: peer))
        let path = try #require(kept.response.headerFields[.location])
        var head = HTTPRequest(method: .get, scheme: "http", authority: "a", path: path)
        #expect(application.preparedAnswer(to: head) == nil)
        _ = application.answer(IncomingRequest(head: head, peer: peer))
        #expect(application.preparedAnswer(to: head) != nil)
        let count = application.metrics.families[0].samples.first {
            $0.labels.contains { $0.value == "/v1/simulations/{id}" }
        }
        #expect(count?.value == 2)
        head.headerFields[.requestID] = "mine"
        #expect(application.preparedAnswer(to: head) == nil, "whoever names a request gets the name back")
    }

    @Test(arguments: Carrier.allCases) func readinessNamesItsChecks(_ carrier: Carrier) throws {
        let stage = try Stage(carrier)
        let reply = try stage.get("/readyz?verbose")
        #expect(reply.status == 200)
        #expect(reply.text.contains("[+] accepting work\n"))
        if carrier == .live { #expect(reply.text.contains("[+] disk has room\n")) }
    }
}

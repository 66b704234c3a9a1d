import Glibc
import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Synchronization
import Testing

@testable import HTTPTransport

@Suite struct ServerTests {
    private static let body = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

    @Test func aRequestIsAnsweredOnTheLoop() async throws {
        let harness = try ServerHarness { request, responder in
            var response = HTTPResponse(status: .ok)
            response.headerFields[.contentType] = "text/plain"
            responder.respond(response, body: .bytes(Array("\(request.head.path ?? "") \(request.peer.host)".utf8)))
        }
        let client = try harness.client()
        client.send(.get(1, path: "/hello"))
        #expect(await client.read { $0.responses[1]?.isComplete == true })
        #expect(client.view.responses[1]?.body == Array("/hello 127.0.0.1".utf8))
        #expect(client.view.responses[1]?.fields["date"]?.hasSuffix(" GMT") == true)
        let counters = harness.server.counters
        #expect(counters.requests == 1)
        #expect(counters.requestsInWork == 0)
        #expect(counters.connectionsAccepted == 1)
        #expect(counters.connectionsOpen == 1)
    }

    @Test func aRequestIsAnsweredFromAnotherThread() async throws {
        let harness = try ServerHarness { request, responder in
            Task.detached {
                responder.respond(HTTPResponse(status: .accepted), body: .bytes(request.body.reversed()))
            }
        }
        let client = try harness.client()
        for stream in stride(from: Int32(1), to: 101, by: 2) {
            client.send(.get(stream, method: "POST", ends: false), .data(stream, [1, 2]))
            client.send(.data(stream, [3], ends: true))
        }
        #expect(await client.read { $0.responses.count == 50 && $0.responses.values.allSatisfy(\.isComplete) })
        #expect(client.view.responses.values.allSatisfy { $0.status == "202" && $0.body == [3, 2, 1] })
    }

    /// The answer comes while the body is still to come, and what comes of it is dropped.
    @Test func aHandlerRefusesABodyByItsHead() async throws {
        let handled = Atomic<Int>(0)
        let harness = try ServerHarness(refusedPath: "/refused") { _, responder in
            handled.wrappingAdd(1, ordering: .relaxed)
            responder.respond(HTTPResponse(status: .ok))
        }
        let client = try harness.client()
        client.send(.get(1, path: "/refused", method: "POST", ends: false))
        #expect(await client.read { $0.responses[1]?.isComplete == true })
        #expect(client.view.responses[1]?.status == "413")
        #expect(client.view.responses[1]?.body == Array("refused".utf8))
        client.send(.data(1, [1, 2, 3], ends: true))
        client.send(.get(3, method: "POST", ends: false), .data(3, [1], ends: true))
        client.send(.get(5, path: "/refused"))
        #expect(await client.read { $0.responses[3]?.isComplete == true && $0.responses[5]?.isComplete == true })
        #expect(client.view.responses[3]?.status == "200")
        #expect(client.view.responses[5]?.status == "200", "there is no body to refuse")
        #expect(handled.load(ordering: .relaxed) == 2)
        #expect(harness.server.counters.requests == 3)
        #expect(harness.server.counters.requestsInWork == 0)
    }

    @Test func manyBodiesShareAConnection() async throws {
        let harness = try ServerHarness { _, responder in
            responder.respond(HTTPResponse(status: .ok), body: .bytes(Self.body))
        }
        let client = try harness.client([(4, 1 << 24)])
        client.send(.windowUpdate(0, by: 1 << 24))
        for stream in stride(from: Int32(1), to: 101, by: 2) { client.send(.get(stream)) }
        #expect(await client.read { $0.responses.count == 50 && $0.responses.values.allSatisfy(\.isComplete) })
        #expect(client.view.responses.values.allSatisfy { $0.body == Self.body })
    }

    /// A socket that is full stops the reading of that connection, and nothing is lost.
    @Test func aSlowReaderGetsEverything() async throws {
        let large = (0..<4_000_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        let harness = try ServerHarness { _, responder in
            responder.respond(HTTPResponse(status: .ok), body: .bytes(large))
        }
        let client = try harness.client([(4, 1 << 24)], receiveBytes: 4096)
        client.send(.windowUpdate(0, by: 1 << 24), .get(1))
        #expect(await client.read { $0.responses[1]?.isComplete == true })
        let isWhole = client.view.responses[1]?.body == large
        #expect(isWhole, "compared outside, so that a failure does not print megabytes")
    }

    @Test func aLargeUploadArrivesWhole() async throws {
        let harness = try ServerHarness { request, responder in
            let sum = request.body.reduce(UInt64(0)) { $0 &* 31 &+ UInt64($1) }
            responder.respond(HTTPResponse(status: .ok), body: .bytes(Array("\(request.body.count) \(sum)".utf8)))
        }
        // More than the window of the stream, so it arrives only if consumption is told to the peer.
        let upload = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 11) }
        let client = try harness.client()
        client.send(.get(1, method: "POST", ends: false))
        var window = WireLimits().streamWindowBytes
        var updates = 0
        var offset = 0
        while offset < upload.count {
            if window < 16_000 {
                try #require(await client.read { $0.frames(.windowUpdate).count > updates })
                let frames = client.view.frames(.windowUpdate)
                window += frames[updates...].filter { $0.stream == 1 }.reduce(0) { $0 + Int($1.word(at: 0)) }
                updates = frames.count
                continue
            }
            let end = min(offset + 16_000, upload.count)
            client.send(.data(1, Array(upload[offset..<end]), ends: end == upload.count))
            window -= end - offset
            offset = end
        }
        let sum = upload.reduce(UInt64(0)) { $0 &* 31 &+ UInt64($1) }
        #expect(await client.read { $0.responses[1]?.isComplete == true })
        #expect(client.view.responses[1]?.body == Array("1000000 \(sum)".utf8))
    }

    @Test func aStreamedBodyIsProducedWhileItIsRead() async throws {
        let harness = try ServerHarness { _, responder in
            let pipe = BodyPipe(capacity: 1000)
            responder.respond(HTTPResponse(status: .ok), body: .source(pipe))
            Task.detached {
                for line in 0..<2000 { try await pipe.write(Array("line \(line)\n".utf8)) }
                pipe.finish()
            }
        }
        let client = try harness.client()
        client.send(.get(1))
        #expect(await client.read { $0.responses[1]?.isComplete == true })
        let expected = (0..<2000).map { "line \($0)\n" }.joined()
        #expect(String(decoding: client.view.responses[1]?.body ?? [], as: UTF8.self) == expected)
    }

    @Test func aHandlerLearnsOfAReset() async throws {
        let seen = Box<Responder>()
        let cancelled = Box<Bool>()
        let harness = try ServerHarness { _, responder in
            responder.onCancel { cancelled.put(true) }
            seen.put(responder)
        }
        let client = try harness.client()
        client.send(.get(1))
        let responder = try #require(await seen.wait())
        #expect(!responder.isCancelled)
        client.send(.reset(1))
        #expect(await cancelled.wait() == true)
        #expect(responder.isCancelled)
        #expect(harness.server.counters.requestsInWork == 1, "reset or not, the work goes on until it is answered")
        responder.respond(HTTPResponse(status: .ok))
        #expect(await eventually { harness.server.counters.requestsInWork == 0 })
    }

    @Test func aHandlerLearnsOfAClosedConnection() async throws {
        let seen = Box<Responder>()
        let harness = try ServerHarness { _, responder in seen.put(responder) }
        var client: SocketClient? = try harness.client()
        client?.send(.get(1))
        let responder = try #require(await seen.wait())
        client = nil
        #expect(await eventually { responder.isCancelled })
        let pipe = BodyPipe()
        responder.respond(HTTPResponse(status: .ok), body: .source(pipe))
        #expect(await eventually { pipe.isCancelled })
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 })
    }

    @Test func aForgottenRequestIsAnswered500() async throws {
        let harness = try ServerHarness { _, _ in }
        let client = try harness.client()
        client.send(.get(1))
        #expect(await client.read { $0.responses[1]?.isComplete == true })
        #expect(client.view.responses[1]?.status == "500")
    }

    @Test func severalLoopsShareAPort() async throws {
        let harness = try ServerHarness(threads: 2) { _, responder in
            responder.respond(HTTPResponse(status: .noContent))
        }
        let clients = try (0..<16).map { _ in try harness.client() }
        for client in clients { client.send(.get(1)) }
        for client in clients {
            #expect(await client.read { $0.responses[1]?.isComplete == true })
            #expect(client.view.responses[1]?.status == "204")
        }
        #expect(harness.server.counters.requests == 16)
    }

    @Test func bothLoopbackFamiliesAreServed() throws {
        let server = Server(handler: ClosureHandler { _, responder in responder.respond(HTTPResponse(status: .ok)) })
        let wanted = [SocketAddress("127.0.0.1:0"), SocketAddress("[::1]:0")].compactMap { $0 }
        try server.start(on: wanted)
        #expect(server.addresses.count == 2)
        #expect(server.addresses.allSatisfy { $0.port != 0 && $0.isLoopback })
        server.stop(gracePeriod: .zero)
        #expect(server.addresses.isEmpty)
    }

    @Test func aTakenAddressIsAnError() throws {
        let harness = try ServerHarness { _, _ in }
        let second = Server(handler: ClosureHandler { _, _ in })
        let address = try #require(SocketAddress(host: "127.0.0.1", port: harness.port))
        #expect(throws: ListenError(address: address.description, operation: "bind", code: EADDRINUSE)) {
            try second.start(on: [address])
        }
    }

    @Test(arguments: [
        ("127.0.0.1:80", "127.0.0.1:80"), ("[::1]:8080", "[::1]:8080"), ("::1:80", nil), ("localhost:80", nil),
        ("127.0.0.1", nil), ("[::1:80", nil), ("1.2.3.4:70000", nil), ("", nil),
    ])
    func addressesAreParsed(text: String, expected: String?) {
        #expect(SocketAddress(text)?.description == expected)
    }

    @Test func datesAreThoseOfTheStandard() {
        #expect(Clock.httpDate(wallSeconds: 784_111_777) == Array("Sun, 06 Nov 1994 08:49:37 GMT".utf8))
    }
}

import Glibc
import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Testing

@testable import HTTPTransport

@Suite struct TransportGuardTests {
    private static let ok: @Sendable (IncomingRequest, Responder) -> Void = { _, responder in
        responder.respond(HTTPResponse(status: .ok))
    }

    @Test func connectionsPerAddressAreBounded() async throws {
        let harness = try ServerHarness(limits: { $0.connectionsPerAddress = 2 }, Self.ok)
        let kept = try (0..<2).map { _ in try harness.client() }
        for client in kept {
            client.send(.get(1))
            #expect(await client.read { $0.responses[1]?.isComplete == true })
        }
        let refused = try harness.client()
        #expect(await refused.readToEnd())
        #expect(refused.raw.isEmpty)
        #expect(harness.server.counters.guards[.addressLimit] == 1)
        #expect(harness.server.counters.connectionsOpen == 2)
    }

    @Test func connectionsAreBoundedAndPlacesComeBack() async throws {
        let held = Box<Responder>()
        let harness = try ServerHarness(limits: { $0.connections = 1 }) { request, responder in
            if request.head.path == "/hold" { return held.put(responder) }
            responder.respond(HTTPResponse(status: .ok))
        }
        var first: SocketClient? = try harness.client()
        first?.send(.get(1, path: "/hold"))
        let responder = try #require(await held.wait())
        #expect(try await harness.client().readToEnd(), "a request in work makes no room")
        #expect(harness.server.counters.guards == [.connectionLimit: 1])
        responder.respond(HTTPResponse(status: .ok))
        #expect(await first?.read { $0.responses[1]?.isComplete == true } == true)
        first = nil
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 })
        let next = try harness.client()
        next.send(.get(1))
        #expect(await next.read { $0.responses[1]?.isComplete == true })
    }

    @Test func anAttackerIsToldClosedAndKeptAway() async throws {
        let harness = try ServerHarness(
            limits: {
                $0.wire.controlFrames = .init(burst: 20, perSecond: 1)
                $0.penaltyMilliseconds = 3_600_000
            }, Self.ok)
        let client = try harness.client()
        for _ in 0..<30 { client.send(.ping()) }
        #expect(await client.readToEnd())
        #expect(client.view.goawayCodes == [11])
        #expect(await eventually { harness.server.counters.guards[.controlFrames] == 1 })
        #expect(try await harness.client().readToEnd())
        #expect(harness.server.counters.guards[.penalty] == 1)
    }

    @Test func penaltiesEndAndTheirTableIsBounded() {
        var limits = TransportLimits()
        limits.penaltyMilliseconds = 100
        limits.penaltyEntries = 2
        let admission = Admission(limits: limits)
        let start = MonotonicTime(milliseconds: 0)
        admission.penalize("a", now: start)
        #expect(admission.admit("a", now: MonotonicTime(milliseconds: 99)).refusal == .penalty)
        #expect(admission.admit("b", now: start).refusal == nil)
        #expect(admission.admit("a", now: MonotonicTime(milliseconds: 100)).refusal == nil)
        for host in ["c", "d", "e"] { admission.penalize(host, now: start) }
        #expect(admission.admit("c", now: start).refusal == nil, "the table was emptied when it was full")
        #expect(admission.admit("e", now: start).refusal == .penalty)
    }

    /// What an address has begun counts after its connections are closed, and is forgotten when it is done.
    @Test func sharesOutliveConnections() throws {
        let admission = Admission(limits: TransportLimits())
        let now = MonotonicTime(milliseconds: 0)
        func admit(_ network: String) throws -> NetworkShare {
            guard case .admitted(let share) = admission.admit(network, now: now) else { throw ServerHarness.Refused() }
            return share
        }
        var first: NetworkShare? = try admit("a")
        var place = try first.flatMap { try #require(admission.work.place(for: $0)) }
        admission.release("a")
        #expect(try admit("a") === first)
        admission.release("a")
        _ = place
        place = nil
        weak var old = first
        first = nil
        for number in 0..<200 {
            _ = try admit("n\(number)")
            if number >= 100 { admission.release("n\(number - 100)") }
        }
        #expect(old == nil)
    }

    @Test func placesInWorkAreBounded() {
        let work = Work(limit: 10)
        let shares = (0..<6).map { _ in NetworkShare() }
        var places: [WorkPlace] = []
        let counts = shares.map { share in
            var count = 0
            while let place = work.place(for: share) {
                places.append(place)
                count += 1
            }
            return count
        }
        #expect(counts == [5, 2, 1, 1, 1, 0])
        places = []
        #expect(work.place(for: shares[5]) != nil)
    }

    @Test func workIsBoundedOverClosedConnections() async throws {
        let held = Box<Responder>()
        let harness = try ServerHarness(limits: { $0.requestsInWork = 1 }) { request, responder in
            if request.head.path == "/hold" { return held.put(responder) }
            responder.respond(HTTPResponse(status: .ok))
        }
        var first: SocketClient? = try harness.client()
        first?.send(.get(1, path: "/hold"))
        let responder = try #require(await held.wait())
        first = nil
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 })
        let second = try harness.client()
        second.send(.get(1))
        #expect(await second.read { $0.responses[1]?.isComplete == true })
        #expect(second.view.responses[1]?.status == "503")
        #expect(second.view.responses[1]?.fields["retry-after"] == "1")
        responder.respond(HTTPResponse(status: .ok))
        #expect(await eventually { harness.server.counters.requestsInWork == 0 })
        second.send(.get(3))
        #expect(await second.read { $0.responses[3]?.isComplete == true })
        #expect(second.view.responses[3]?.status == "200")
    }

    /// The socket's own stall: the peer opens every window and then reads nothing.
    @Test func aPeerThatNeverReadsIsClosed() async throws {
        let harness = try ServerHarness(limits: {
            $0.wire.writeProgressMilliseconds = 50
            $0.lingerMilliseconds = 50
        }) { _, responder in
            responder.respond(HTTPResponse(status: .ok), body: .bytes([UInt8](repeating: 1, count: 30_000_000)))
        }
        let client = try harness.client([(4, 1 << 30)], receiveBytes: 4096)
        client.send(.windowUpdate(0, by: 1 << 30), .get(1))
        #expect(await eventually { harness.server.counters.requests == 1 })
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 })
        #expect(harness.server.counters.guards[.writeTimeout] == 1)
    }

    @Test func silenceIsClosed() async throws {
        let harness = try ServerHarness(limits: { $0.wire.prefaceMilliseconds = 1 }, Self.ok)
        let client = try #require(SocketClient(port: harness.port))
        #expect(await client.readToEnd())
        #expect(client.raw.isEmpty)
        #expect(harness.server.counters.guards[.prefaceTimeout] == 1)
    }

    /// More than one read of a request that is refused must not turn the answer into a reset connection.
    @Test func aRefusalArrivesWhileTheBodyIsStillSent() async throws {
        let harness = try ServerHarness(limits: { $0.wire.requestBodyBytes = 1000 }, Self.ok)
        let client = try #require(SocketClient(port: harness.port))
        client.send(Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n".utf8))
        client.send([UInt8](repeating: 65, count: 400_000))
        #expect(await client.readToEnd())
        #expect(String(decoding: client.raw, as: UTF8.self).hasPrefix("HTTP/1.1 413 "))
        #expect(harness.server.counters.guards[.requestBody] == 1)
    }
}

import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Synchronization
import Testing

@testable import HTTPTransport

/// Who gives way when all connections are taken, and how an ending connection ends.
@Suite struct RoomTests {
    private static let ok: @Sendable (IncomingRequest, Responder) -> Void = { _, responder in
        responder.respond(HTTPResponse(status: .ok))
    }
    private static let get = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)

    @Test func halfOpenRequestsKeepNobodyOut() async throws {
        let harness = try ServerHarness(limits: { $0.connections = 8 }, Self.ok)
        let quiet = try #require(SocketClient(port: harness.port, source: 9))
        quiet.send(Self.get)
        #expect(await quiet.read { _ in !quiet.raw.isEmpty })
        // The fuller of two addresses gives way, and its oldest connection first.
        var crowd: [SocketClient] = []
        for source in [2, 2, 2, 2, 3, 3, 3] as [UInt8] {
            let client = try #require(SocketClient(port: harness.port, source: source))
            client.send(Array("GET / HTT".utf8))
            crowd.append(client)
        }
        #expect(await eventually { harness.server.counters.connectionsOpen == 8 })
        let newcomer = try #require(SocketClient(port: harness.port, source: 10))
        newcomer.send(Self.get)
        #expect(await newcomer.read { _ in newcomer.raw.starts(with: Array("HTTP/1.1 200".utf8)) })
        #expect(await crowd[0].readToEnd())
        #expect(harness.server.counters.guards == [.evicted: 1])
        for client in crowd.dropFirst() {
            client.takeWhatCame()
            #expect(!client.isClosed)
        }
        quiet.send(Self.get)
        let before = quiet.raw.count
        #expect(await quiet.read { _ in quiet.raw.count > before }, "who has one connection keeps it")
    }

    /// Requests that nobody answers, from a crowd at one address: another finds a place, and the places come back.
    @Test func oneAddressCannotTakeAllPlacesInWork() async throws {
        let waiting = Mutex<[Responder]>([])
        let harness = try ServerHarness(limits: { $0.requestsInWork = 16 }) { request, responder in
            if request.head.path == "/wait" {
                waiting.withLock { $0.append(responder) }
            } else {
                responder.respond(HTTPResponse(status: .ok))
            }
        }
        func ask(_ source: UInt8, _ path: String) async throws -> (SocketClient, String) {
            let client = try #require(SocketClient(port: harness.port, source: source))
            client.send(Array("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
            if path == "/wait" {
                _ = await eventually { waiting.withLock { $0.count } > 0 }
                return (client, "")
            }
            _ = await client.read { _ in client.raw.count > 12 }
            return (client, String(decoding: client.raw.prefix(12), as: UTF8.self))
        }
        var crowd: [SocketClient] = []
        for _ in 0..<20 { crowd.append(try await ask(2, "/wait").0) }
        #expect(await eventually { harness.server.counters.guards[.requestsInWork] == 12 })
        #expect(waiting.withLock { $0.count } == 8, "half of all")
        for source in [3, 4] as [UInt8] {
            #expect(try await ask(source, "/now").1 == "HTTP/1.1 200")
        }
        #expect(try await ask(2, "/now").1 == "HTTP/1.1 503")
        for responder in waiting.withLock({ $0 }) { responder.respond(HTTPResponse(status: .ok)) }
        waiting.withLock { $0 = [] }
        #expect(try await ask(2, "/now").1 == "HTTP/1.1 200")
    }

    @Test func whoeverHasMostPushesNobodyElseOut() async throws {
        let harness = try ServerHarness(limits: { $0.connections = 4 }, Self.ok)
        let others = try (2..<4).map { try #require(SocketClient(port: harness.port, source: $0)) }
        let own = try (0..<2).map { _ in try #require(SocketClient(port: harness.port, source: 9)) }
        #expect(await eventually { harness.server.counters.connectionsOpen == 4 })
        let third = try #require(SocketClient(port: harness.port, source: 9))
        third.send(Self.get)
        #expect(await third.read { _ in third.raw.starts(with: Array("HTTP/1.1 200".utf8)) })
        #expect(await own[0].readToEnd())
        for client in others {
            client.takeWhatCame()
            #expect(!client.isClosed)
        }
    }

    /// Date is in every answer, those that the wire gives at once among them (RFC 9110 section 6.6.1).
    @Test(arguments: [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        "FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    ])
    func theFirstAnswerHasADate(request: String) async throws {
        let harness = try ServerHarness(Self.ok)
        let client = try #require(SocketClient(port: harness.port))
        client.send(Array(request.utf8))
        #expect(await client.readToEnd())
        let text = String(decoding: client.raw, as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 ") && text.contains("\r\ndate: "), "\(text)")
    }

    /// What comes after a flood was stopped is not read for long.
    @Test func afterAFloodLittleIsRead() async throws {
        let harness = try ServerHarness(
            limits: {
                $0.wire.controlFrames = .init(burst: 20, perSecond: 1)
                $0.lingerMilliseconds = 60_000
                $0.lingerBytesAfterFlood = 256 * 1024
            }, Self.ok)
        let client = try harness.client()
        let pings = (0..<500).flatMap { _ in Frame.ping().bytes }
        var sent = 0
        for _ in 0..<10_000 {
            if !client.offer(pings) {
                client.takeWhatCame()
                if client.isClosed { break }
                try await Task.sleep(for: .milliseconds(1))
            } else {
                sent += pings.count
            }
        }
        #expect(client.isClosed)
        #expect(harness.server.counters.guards[.controlFrames] == 1)
        #expect(harness.server.counters.bytesReceived < 400_000, "\(harness.server.counters.bytesReceived) of \(sent)")
    }

    /// But a client that is still sending what was refused finds its answer.
    @Test func afterARefusalTheRestIsReadUpToABound() async throws {
        let harness = try ServerHarness(
            limits: {
                $0.wire.requestBodyBytes = 1000
                $0.lingerBytes = 1_000_000
                $0.lingerMilliseconds = 60_000
                $0.lingerTotalMilliseconds = 60_000
            }, Self.ok)
        let client = try #require(SocketClient(port: harness.port))
        client.send(Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n".utf8))
        for _ in 0..<9 {
            let isSent = client.send([UInt8](repeating: 65, count: 100_000))
            #expect(isSent)
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(await client.read { _ in String(decoding: client.raw, as: UTF8.self).hasPrefix("HTTP/1.1 413 ") })
        let isSent = client.send([UInt8](repeating: 65, count: 300_000))
        #expect(await client.readToEnd(), "\(isSent)")
    }
}

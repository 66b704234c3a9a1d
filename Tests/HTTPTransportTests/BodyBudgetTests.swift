import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Testing

@testable import HTTPTransport

/// Request bodies of all connections together, against a live server.
@Suite struct BodyBudgetTests {
    private static let ok: @Sendable (IncomingRequest, Responder) -> Void = { _, responder in
        responder.respond(HTTPResponse(status: .ok))
    }

    private func begin(_ harness: ServerHarness, source: UInt8, declares: Int, sends: Int) throws -> SocketClient {
        let client = try #require(SocketClient(port: harness.port, source: source))
        client.send(Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(declares)\r\n\r\n".utf8))
        client.send([UInt8](repeating: 65, count: sends))
        return client
    }

    private func text(_ client: SocketClient) -> String { String(decoding: client.raw, as: UTF8.self) }

    @Test func bodiesOfAllConnectionsAreBounded() async throws {
        let harness = try ServerHarness(threads: 2, limits: { $0.heldBodyBytes = 1_000_000 }, Self.ok)
        // Four addresses fill it with bodies that never end; each by itself is far below what a body may have.
        let crowd = try (2..<6).map { try begin(harness, source: $0, declares: 260_000, sends: 240_000) }
        #expect(await eventually { harness.server.counters.heldBodyBytes == 960_000 })
        let late = try begin(harness, source: 9, declares: 100_000, sends: 0)
        #expect(await late.readToEnd(), "by its head alone")
        #expect(text(late).hasPrefix("HTTP/1.1 503 ") && text(late).contains("\r\nretry-after: 1\r\n"))
        #expect(harness.server.counters.guards == [.heldRequests: 1])
        // One whose length nobody knows is refused when it has grown too large; over HTTP/2 likewise.
        let chunked = try #require(SocketClient(port: harness.port, source: 9))
        chunked.send(Array("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nEA60\r\n".utf8))
        chunked.send([UInt8](repeating: 65, count: 60_000))
        #expect(await chunked.readToEnd())
        #expect(text(chunked).hasPrefix("HTTP/1.1 503 "))
        let other = try #require(SocketClient(port: harness.port, source: 9))
        other.open()
        other.send(.get(1, method: "POST", ends: false))
        for _ in 0..<4 { other.send(.data(1, [UInt8](repeating: 65, count: 15_000))) }
        #expect(await other.read { $0.responses[1]?.isComplete == true })
        #expect(other.view.responses[1]?.status == "503")
        #expect(harness.server.counters.guards == [.heldRequests: 3])
        #expect(harness.server.counters.heldBodyBytes <= 1_000_000)
        // Small requests are served all the while, and everything once there is room.
        other.send(.get(3, method: "POST", ends: false), .data(3, [1, 2, 3], ends: true))
        #expect(await other.read { $0.responses[3]?.isComplete == true })
        #expect(other.view.responses[3]?.status == "200")
        crowd[0].send([UInt8](repeating: 65, count: 20_000))
        #expect(await crowd[0].read { _ in crowd[0].raw.starts(with: Array("HTTP/1.1 200".utf8)) })
        #expect(await eventually { harness.server.counters.heldBodyBytes <= 720_000 })
    }

    @Test func oneAddressGetsHalf() async throws {
        let harness = try ServerHarness(limits: { $0.heldBodyBytes = 1_000_000 }, Self.ok)
        let greedy = try begin(harness, source: 2, declares: 490_000, sends: 480_000)
        #expect(await eventually { harness.server.counters.heldBodyBytes == 480_000 })
        let second = try begin(harness, source: 2, declares: 100_000, sends: 0)
        #expect(await second.readToEnd())
        #expect(text(second).hasPrefix("HTTP/1.1 503 "))
        let other = try begin(harness, source: 3, declares: 100_000, sends: 100_000)
        #expect(await other.read { _ in other.raw.starts(with: Array("HTTP/1.1 200".utf8)) })
        #expect(!greedy.isClosed)
    }

    @Test func aBodyIsHeldUntilItIsAnswered() async throws {
        let held = Box<Responder>()
        let requests = Box<IncomingRequest>()
        let harness = try ServerHarness { request, responder in
            requests.put(request)
            held.put(responder)
        }
        var client: SocketClient? = try begin(harness, source: 2, declares: 50_000, sends: 50_000)
        let responder = try #require(await held.wait())
        #expect(harness.server.counters.heldBodyBytes == 50_000)
        client = nil
        #expect(client == nil)
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 })
        #expect(harness.server.counters.heldBodyBytes == 50_000, "the handler still has it")
        requests.put(
            IncomingRequest(
                head: HTTPRequest(method: .get, scheme: nil, authority: nil, path: nil),
                peer: PeerAddress(host: "", port: 0)))
        responder.respond(HTTPResponse(status: .ok))
        #expect(await eventually { harness.server.counters.heldBodyBytes == 0 })
    }

    @Test func bodiesThatAreGivenUpAreGivenBack() async throws {
        let harness = try ServerHarness(Self.ok)
        var first: SocketClient? = try begin(harness, source: 2, declares: 50_000, sends: 40_000)
        let second = try harness.client()
        second.send(.get(1, method: "POST", ends: false), .data(1, [UInt8](repeating: 1, count: 10_000)))
        #expect(await eventually { harness.server.counters.heldBodyBytes == 50_000 })
        second.send(.reset(1))
        #expect(await eventually { harness.server.counters.heldBodyBytes == 40_000 })
        first = nil
        #expect(first == nil)
        #expect(await eventually { harness.server.counters.heldBodyBytes == 0 })
    }

    @Test func slowUploadsMakeRoomWhenItIsScarce() async throws {
        let harness = try ServerHarness(
            limits: {
                $0.heldBodyBytes = 1_000_000
                $0.tightUploadMilliseconds = 300
            }, Self.ok)
        let slow = try begin(harness, source: 2, declares: 400_000, sends: 300_000)
        #expect(await eventually { harness.server.counters.heldBodyBytes == 300_000 })
        for _ in 0..<5 {
            slow.send([65])
            try await Task.sleep(for: .milliseconds(150))
        }
        #expect(harness.server.counters.guards == [:], "nobody else needs the memory")
        let third = try begin(harness, source: 3, declares: 400_000, sends: 300_000)
        #expect(await slow.readToEnd())
        #expect(text(slow).hasPrefix("HTTP/1.1 503 ") && text(slow).contains("\r\nretry-after: 1\r\n"))
        #expect(harness.server.counters.guards[.slowUpload] != nil)
        #expect(third.raw.isEmpty || text(third).hasPrefix("HTTP/1.1 503 "))
    }
}

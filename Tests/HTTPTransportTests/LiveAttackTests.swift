import Foundation
import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Testing

@testable import HTTPTransport

/// Every attack against a live server, with a client beside it that must notice nothing.
@Suite(.serialized) struct LiveAttackTests {
    private static let large = [UInt8](repeating: 65, count: 4_000_000)

    /// Limits small enough for an attack to end in moments, and a handler with what the attacks ask for.
    private func server() throws -> ServerHarness {
        try ServerHarness(limits: { limits in
            limits.wire.inboundResets = .init(burst: 50, perSecond: 10)
            limits.wire.causedResets = .init(burst: 20, perSecond: 5)
            limits.wire.controlFrames = .init(burst: 200, perSecond: 50)
            limits.wire.smallPieces = .init(burst: 200, perSecond: 50)
            limits.wire.lifetimeErrors = 50
            limits.wire.prefaceMilliseconds = 300
            limits.wire.headMilliseconds = 300
            limits.wire.bodyProgressMilliseconds = 300
            limits.wire.writeProgressMilliseconds = 300
            limits.lingerMilliseconds = 200
        }) { request, responder in
            switch request.head.path {
            case "/hold": responder.onCancel { responder.respond(HTTPResponse(status: .serviceUnavailable)) }
            case "/large": responder.respond(HTTPResponse(status: .ok), body: .bytes(Self.large))
            case "/hidden": Issue.record("a smuggled request was found")
            default: responder.respond(HTTPResponse(status: .ok), body: .bytes(Array("ok".utf8)))
            }
        }
    }

    @Test(arguments: Attack.all.map(\.name)) func attacksEnd(name: String) async throws {
        let attack = try #require(Attack.all.first { $0.name == name })
        let harness = try server()
        let port = harness.port
        let bystander = Bystander(port: port)
        let end = await withCheckedContinuation { continuation in
            Thread { continuation.resume(returning: attack.run(port, 3000)) }.start()
        }
        let seen = bystander.stop()
        let counters = harness.server.counters
        switch end {
        case .goaway(let code): #expect(code != 0, "ended with an error")
        case .status(let status): #expect((400..<600).contains(status))
        case .closed: #expect(["silence", "half a preface", "TLS in the clear"].contains(name), "without a word")
        case .survived, .notConnected: Issue.record("\(name): \(end)")
        }
        let tripped = counters.guards.keys.map(\.rawValue)
        #expect(attack.guards.contains { tripped.contains($0) }, "tripped: \(tripped)")
        #expect(seen.failures == 0)
        #expect(!seen.milliseconds.isEmpty)
        // Not a measurement, which is for the soak: only that nobody waits for the attacker.
        #expect(seen.quantile(0.5) < 100, "median \(seen.quantile(0.5)) ms of \(seen.milliseconds.count)")
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 }, "nothing is left behind")
        #expect(await eventually { harness.server.counters.requestsInWork == 0 })
    }

    @Test func manyConnectionsLeaveRoomForOthers() async throws {
        let harness = try ServerHarness(limits: { $0.connectionsPerAddress = 20 }) { _, responder in
            responder.respond(HTTPResponse(status: .ok), body: .bytes([65]))
        }
        let bystander = Bystander(port: harness.port)
        #expect(await eventually { harness.server.counters.requests > 0 })
        let crowd = (0..<100).compactMap { _ in SocketClient(port: harness.port) }
        #expect(await eventually { harness.server.counters.guards[.addressLimit] == 81 })
        let seen = bystander.stop()
        #expect(seen.failures == 0)
        #expect(crowd.count == 100)
    }
}

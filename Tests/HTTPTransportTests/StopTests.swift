import Glibc
import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Testing

@testable import HTTPTransport

@Suite struct StopTests {
    @Test func aStopAnswersWhatWasAsked() async throws {
        let held = Box<Responder>()
        // The PING is awaited for as long as this test may take on a busy machine.
        let harness = try ServerHarness(limits: { $0.wire.stopPingMilliseconds = 60_000 }) { _, responder in
            held.put(responder)
        }
        let client = try harness.client()
        client.send(.get(1))
        let responder = try #require(await held.wait())
        let server = harness.server
        let stopped = Box<Bool>()
        let stop = Task.detached {
            server.stop(gracePeriod: .seconds(60))
            stopped.put(true)
        }
        #expect(await client.read { !$0.frames(.ping).isEmpty })
        #expect(client.view.frames(.goaway).map { $0.word(at: 0) } == [0x7fff_ffff])
        #expect(SocketClient(port: harness.port) == nil, "nothing more is accepted")
        client.send(.ping(client.view.frames(.ping).last?.payload ?? [], acknowledges: true))
        #expect(await client.read { $0.frames(.goaway).count == 2 })
        #expect(stopped.current == nil)
        responder.respond(HTTPResponse(status: .ok), body: .bytes([1, 2, 3]))
        #expect(await client.readToEnd())
        #expect(client.view.responses[1]?.body == [1, 2, 3])
        #expect(client.view.trailing.isEmpty)
        await stop.value
        #expect(server.counters.connectionsOpen == 0)
    }

    @Test func aStopEndsWithItsGracePeriod() async throws {
        let held = Box<Responder>()
        let harness = try ServerHarness { _, responder in held.put(responder) }
        let client = try harness.client()
        client.send(.get(1))
        let responder = try #require(await held.wait())
        harness.server.stop(gracePeriod: .milliseconds(1))
        #expect(await client.readToEnd())
        #expect(client.view.responses[1]?.status == "503", "who still waits is told")
        #expect(client.view.responses[1]?.fields["retry-after"] == "1")
        #expect(responder.isCancelled)
        let pipe = BodyPipe()
        responder.respond(HTTPResponse(status: .ok), body: .source(pipe))
        #expect(pipe.isCancelled, "an answer after the end is dropped, and its producer told")
    }

    @Test func stopIsIdempotentFromManyThreads() async throws {
        let harness = try ServerHarness { _, responder in responder.respond(HTTPResponse(status: .ok)) }
        let client = try harness.client()
        client.send(.get(1))
        #expect(await client.read { $0.responses[1]?.isComplete == true })
        let server = harness.server
        await withTaskGroup { group in
            for _ in 0..<4 { group.addTask { server.stop(gracePeriod: .zero) } }
        }
        #expect(server.counters.requests == 1, "the totals outlive the threads")
        #expect(server.addresses.isEmpty)
        Server(handler: ClosureHandler { _, _ in }).stop(gracePeriod: .zero)
    }
}

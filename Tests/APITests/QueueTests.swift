import Foundation
import HTTPTransport
import HTTPTypes
import HTTPWire
import Logging
import Service
import Synchronization
import Testing

@testable import API

/// More work than the queue takes.
struct QueueTests {
    /// Keeps the last response.
    private final class Sink: ResponseSink {
        let responses = Mutex<[HTTPResponse]>([])
        func deliver(_ response: HTTPResponse, body: ResponseBody, to exchange: ExchangeID) {
            responses.withLock { $0.append(response) }
        }
    }

    @Test func aFullQueueIs503WithRetryAfter() throws {
        let queue = HeldQueue(limit: 1)
        let application = try makeApplication(queue: queue)
        defer { try? application.store.close() }
        let sink = Sink()
        // The same twice would be one piece of work.
        for (stream, path) in [(1, "/v1/rules"), (3, "/v1/kernels")] as [(Int32, String)] {
            application.handle(
                incoming(path),
                responder: Responder(sink: sink, exchange: ExchangeID(connection: 1, stream: StreamID(stream))))
        }
        let refused = try #require(sink.responses.withLock { $0.first })
        #expect(refused.status == .serviceUnavailable, "the second is answered at once; the first waits")
        #expect(refused.headerFields[.retryAfter] == "1")
        #expect(refused.headerFields[.requestID]?.count == 16)
        queue.drain()
        #expect(sink.responses.withLock { $0.map(\.status.code) } == [503, 200])
    }

    /// While every thread that simulates is taken, what does not simulate is answered, and the rest is refused.
    @Test func aLiveServiceRefusesWhatItCannotQueueAndAnswersTheRest() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "gatehouse-queue-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var configuration = ServiceConfiguration(
            addresses: [try #require(SocketAddress("127.0.0.1:0"))],
            database: folder.appendingPathComponent("gatehouse.sqlite").path)
        configuration.workers = 1
        configuration.queueLimit = 1
        let service = try GatehouseService(
            configuration, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
        defer { service.stop() }
        let address = try #require(service.addresses.first)
        let client = CurlClient(port: try #require(UInt16("\(address)".split(separator: ":").last ?? "")))
        let entered = DispatchSemaphore(value: 0)
        let release = DispatchSemaphore(value: 0)
        #expect(
            service.application.queue.submit {
                entered.signal()
                release.wait()
            })
        entered.wait()
        #expect(service.application.queue.submit {})
        for (method, path, status) in [
            ("GET", "/livez", 200), ("HEAD", "/livez", 200), ("GET", "/livez?verbose", 200), ("GET", "/version", 200),
            ("GET", "/readyz", 200), ("GET", "/v1/rules", 200), ("GET", "/v1/simulations", 200),
            ("GET", "/v1/configurations/nobody", 404), ("DELETE", "/v1/simulations/x", 404), ("GET", "/nowhere", 404),
            ("GET", "/livezz", 404), ("DELETE", "/livez", 405), ("GET", "/version?format=csv", 406),
        ] { #expect(try client.send(method, path, [], []).status == status, "\(method) \(path)") }
        for (method, path) in [
            ("POST", "/v1/checks"), ("POST", "/v1/configurations"), ("GET", "/v1/configurations/x/listing"),
            ("GET", "/v1/configurations/x/%6cisting"), ("GET", "/v1/simulations/x/scenarios/a/b/c/d/trace"),
        ] {
            // A type that the resource does not take would be refused by the head alone.
            let reply = try client.send(method, path, [("Content-Type", "application/json")], [])
            #expect(reply.status == 503, "\(method) \(path)")
            #expect(reply.fields["retry-after"] == "1")
            #expect(reply.fields["content-type"] == "application/problem+json")
            #expect(reply.json?.text("instance") == path)
        }
        release.signal()
        var after = try client.send("GET", "/v1/configurations/x/listing", [], [])
        while after.status == 503 { after = try client.send("GET", "/v1/configurations/x/listing", [], []) }
        #expect(after.status == 404)
    }

    /// The answers that the event loop gives need no queue at all.
    @Test func healthNeedsNoQueue() throws {
        let application = try makeApplication(queue: HeldQueue(limit: 0))
        defer { try? application.store.close() }
        let sink = Sink()
        for (number, path) in ["/livez", "/version", "/v1/rules"].enumerated() {
            let head = HTTPRequest(method: .get, scheme: "http", authority: "test", path: path)
            application.handle(
                IncomingRequest(head: head, body: [], peer: PeerAddress(host: "127.0.0.1", port: 1)),
                responder: Responder(
                    sink: sink, exchange: ExchangeID(connection: 1, stream: StreamID(Int32(2 * number + 1)))))
        }
        #expect(sink.responses.withLock { $0.map(\.status.code) } == [200, 200, 503])
    }

    @Test func aPoolDoesWhatItAcceptedBeforeItCloses() {
        let pool = WorkerPool(threads: 3, limit: 1000)
        let done = Atomic<Int>(0)
        var accepted = 0
        for _ in 0..<500 where pool.submit({ done.wrappingAdd(1, ordering: .relaxed) }) { accepted += 1 }
        pool.close()
        #expect(accepted == 500)
        #expect(done.load(ordering: .relaxed) == accepted)
        #expect(!pool.submit {})
    }
}

import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Synchronization

@testable import HTTPTransport

/// A handler made of a closure.
final class ClosureHandler: RequestHandler {
    private let body: @Sendable (IncomingRequest, Responder) -> Void
    private let refusedPath: String?

    init(refusedPath: String? = nil, _ body: @escaping @Sendable (IncomingRequest, Responder) -> Void) {
        self.refusedPath = refusedPath
        self.body = body
    }

    func refusal(of head: HTTPRequest) -> (response: HTTPResponse, body: ResponseBody)? {
        guard let refusedPath, head.path == refusedPath else { return nil }
        return (HTTPResponse(status: .contentTooLarge), .bytes(Array("refused".utf8)))
    }

    func handle(_ request: IncomingRequest, responder: Responder) {
        body(request, responder)
    }
}

/// A server on a port of the system's choice, stopped when the test ends.
final class ServerHarness {
    let server: Server
    let port: UInt16

    init(
        threads: Int = 1, refusedPath: String? = nil, tls: TLSFiles? = nil,
        limits: (inout TransportLimits) -> Void = { _ in },
        _ handler: @escaping @Sendable (IncomingRequest, Responder) -> Void
    ) throws {
        var all = TransportLimits()
        all.penaltyMilliseconds = 0
        limits(&all)
        server = Server(handler: ClosureHandler(refusedPath: refusedPath, handler), limits: all)
        if let tls { try server.loadTLS(tls) }
        let endpoints = ["127.0.0.1:0"].compactMap { SocketAddress($0) }.map { Endpoint.address($0, isTLS: tls != nil) }
        try server.start(on: endpoints, threads: threads)
        port = server.addresses.first?.port ?? 0
    }

    deinit {
        server.stop(gracePeriod: .zero)
    }

    /// A connected client that has sent its preface.
    func client(_ settings: [(UInt16, UInt32)] = [], receiveBytes: Int32? = nil) throws -> SocketClient {
        guard let client = SocketClient(port: port, receiveBytes: receiveBytes) else { throw Refused() }
        client.open(settings)
        return client
    }

    struct Refused: Error {}
}

/// Hands a value from one thread to another that waits for it.
final class Box<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)

    func put(_ value: Value) {
        self.value.withLock { $0 = value }
    }

    var current: Value? { value.withLock { $0 } }

    /// Waits until there is a value; nil after ten seconds, which fails the test that needs it.
    func wait() async -> Value? {
        for _ in 0..<5000 {
            if let value = current { return value }
            try? await Task.sleep(for: .milliseconds(2))
        }
        return nil
    }
}

/// Waits until `condition` holds; false after ten seconds.
func eventually(_ condition: () -> Bool) async -> Bool {
    for _ in 0..<5000 {
        if condition() { return true }
        try? await Task.sleep(for: .milliseconds(2))
    }
    return false
}

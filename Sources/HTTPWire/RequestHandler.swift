package import HTTPTypes

/// The application behind the connections.
///
/// Implemented by the API layer, called by the transport; stands in this target so that neither imports the other.
package protocol RequestHandler: AnyObject, Sendable {
    /// Answers `request` through `responder`, now or later.
    ///
    /// Called on the connection's event-loop thread: anything slower than some tens of microseconds belongs on
    /// another thread, which answers later. If `responder` is released unanswered, the peer gets a 500.
    func handle(_ request: IncomingRequest, responder: Responder)

    /// The answer to a request that is not allowed; nothing else is then called, and a body is dropped.
    ///
    /// Called on the connection's event-loop thread for every request, before anything else is done for it.
    func denial(of head: HTTPRequest, from peer: PeerAddress) -> (response: HTTPResponse, body: ResponseBody)?

    /// The answer to a request without a body, where it is at hand; `handle` is then not called.
    ///
    /// Called on the connection's event-loop thread for every request: a look-up, no more.
    func preparedAnswer(to head: HTTPRequest) -> PreparedAnswer?

    /// The answer to a request whose body is not worth reading; `handle` is then not called, and the body is dropped.
    ///
    /// Called on the connection's event-loop thread for every request with a body, before any of it is read.
    func refusal(of head: HTTPRequest) -> (response: HTTPResponse, body: ResponseBody)?
}

extension RequestHandler {
    package func denial(of head: HTTPRequest, from peer: PeerAddress) -> (response: HTTPResponse, body: ResponseBody)? {
        nil
    }
    package func preparedAnswer(to head: HTTPRequest) -> PreparedAnswer? { nil }
    package func refusal(of head: HTTPRequest) -> (response: HTTPResponse, body: ResponseBody)? { nil }
}

/// A complete request.
package struct IncomingRequest: Sendable {
    /// Method, path, authority and fields, as validated by the codec.
    package var head: HTTPRequest
    /// The whole body, at most `WireLimits.requestBodyBytes`.
    package var body: [UInt8]
    /// Where the connection came from.
    package var peer: PeerAddress

    /// A request as a test or a codec builds it.
    package init(head: HTTPRequest, body: [UInt8] = [], peer: PeerAddress) {
        self.head = head
        self.body = body
        self.peer = peer
    }
}

/// The address and port of one end of a connection.
package struct PeerAddress: Sendable, Hashable, CustomStringConvertible {
    /// The numeric address, such as `127.0.0.1` or `::1`.
    package var host: String
    /// The port.
    package var port: UInt16

    /// An address from its parts; `host` is numeric and without brackets.
    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// `127.0.0.1:8080` or `[::1]:8080`.
    package var description: String {
        host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// A request's place: which connection of its event loop, and which stream.
package struct ExchangeID: Sendable, Hashable {
    /// The number of the connection, never reused within an event loop.
    package var connection: UInt64
    /// The stream.
    package var stream: StreamID

    /// The exchange on `stream` of `connection`.
    package init(connection: UInt64, stream: StreamID) {
        self.connection = connection
        self.stream = stream
    }
}

/// Where responses go: the event loop that owns the connection, or a test.
package protocol ResponseSink: AnyObject, Sendable {
    /// Delivers `response` for `exchange`; callable from any thread, at most once per exchange.
    func deliver(_ response: HTTPResponse, body: ResponseBody, to exchange: ExchangeID)
}

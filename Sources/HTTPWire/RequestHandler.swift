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
    /// Stands for the memory that the body takes; released with the last copy of the request.
    package var held: (any AnyObject & Sendable)?

    /// A request as a test or a codec builds it.
    package init(
        head: HTTPRequest, body: [UInt8] = [], peer: PeerAddress, held: (any AnyObject & Sendable)? = nil
    ) {
        self.head = head
        self.body = body
        self.peer = peer
        self.held = held
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

    /// What limits per address count as one: an IPv4 address, or the first 64 bits of one of IPv6, which a single subscriber has
    /// whole (RFC 6177).
    package var network: String {
        guard host.utf8.contains(UInt8(ascii: ":")) else { return host }
        // An IPv4 address that a socket for both shows in IPv6's form.
        if host.hasPrefix("::ffff:"), host.utf8.contains(UInt8(ascii: ".")) { return String(host.dropFirst(7)) }
        let halves = host.split(separator: "::", maxSplits: 1, omittingEmptySubsequences: false)
        let left = halves[0].split(separator: ":")
        let right = halves.count > 1 ? halves[1].split(separator: ":") : []
        let gap = Array(repeating: Substring("0"), count: max(0, 8 - left.count - right.count))
        return (left + gap + right).prefix(4).joined(separator: ":") + "::/64"
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

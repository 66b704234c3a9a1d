/// The named reasons for which a connection or a stream is refused; the label of a counter.
///
/// The raw value is the stable name in metrics.
package enum Guard: String, Sendable, CaseIterable {
    /// The peer reset streams faster than `WireLimits.inboundResets`.
    case inboundResets = "inbound_resets"
    /// The peer made us reset streams faster than `WireLimits.causedResets`.
    case causedResets = "caused_resets"
    /// Control frames or frames without effect beyond `WireLimits.controlFrames`.
    case controlFrames = "control_frames"
    /// More stream errors than `WireLimits.lifetimeErrors`.
    case errorBudget = "error_budget"
    /// A header list over the limit, answered with 431.
    case headerList = "header_list"
    /// Header lists over the limit again; the connection was closed.
    case headerListRepeated = "header_list_repeated"
    /// Too many CONTINUATION frames.
    case continuations = "continuations"
    /// Too many acknowledgements waited for a peer that does not read.
    case outboundAcknowledgements = "outbound_acknowledgements"
    /// A connection error that libnghttp2 found: a frame that breaks RFC 9113.
    case protocolError = "protocol_error"
    /// A malformed request, reset as a stream error (RFC 9113 section 8.1.1).
    case malformedRequest = "malformed_request"
    /// A request body over the limit, answered with 413.
    case requestBody = "request_body"
    /// A stream refused because too many requests are still in work.
    case requestsInWork = "requests_in_work"
    /// A request answered with 503 because too many body bytes are held: of its connection, its address or all together.
    case heldRequests = "held_requests"
    /// A request answered with 503 because it came too slowly while body bytes were scarce.
    case slowUpload = "slow_upload"
    /// More DATA frames or chunks of a few bytes than `WireLimits.smallPieces`.
    case smallPieces = "small_pieces"
    /// DATA or HEADERS on a stream that the peer had ended, or more DATA than was under way when we ended the stream.
    case closedStreams = "closed_streams"
    /// More header blocks than were under way on streams that we have reset, or more in them than an honest client's.
    case lateHeaders = "late_headers"
    /// A response replaced by 503 because too many bytes wait for the peer.
    case parkedResponses = "parked_responses"
    /// The preface did not come in time.
    case prefaceTimeout = "preface_timeout"
    /// A header block did not end in time.
    case headTimeout = "head_timeout"
    /// A request body stalled, or came too slowly.
    case bodyTimeout = "body_timeout"
    /// A response was not taken, or too slowly.
    case writeTimeout = "write_timeout"
    /// No stream was open for the idle time.
    case idleTimeout = "idle_timeout"
    /// Bytes that are no request of HTTP/1.1, answered with 4xx or 5xx.
    case malformedHTTP1 = "malformed_http1"
    /// The first byte was that of a TLS record on a cleartext port.
    case tlsOnCleartext = "tls_on_cleartext"
    /// TLS could not be set up.
    case tlsHandshake = "tls_handshake"
    /// The keys of TLS were changed more often than `WireLimits.keyUpdates`.
    case keyUpdates = "key_updates"
    /// The connection limit was reached; a connection without a complete request was closed for a new one.
    case evicted = "evicted"
    /// The connection limit was reached; the new connection was closed.
    case connectionLimit = "connection_limit"
    /// The limit of connections per address was reached; the new connection was closed.
    case addressLimit = "address_limit"
    /// The address is in the penalty table; the new connection was closed.
    case penalty = "penalty"
    /// The process ran out of file descriptors; the new connection was closed.
    case descriptors = "descriptors"

    /// The position in `allCases`, for a flat table of counters.
    package var index: Int {
        Self.allCases.firstIndex(of: self) ?? 0
    }
}

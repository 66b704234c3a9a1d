/// Every limit that one connection enforces, in one place.
///
/// The defaults are meant for a service on a lab network or behind a reverse proxy. Each field has a test that
/// reaches it (`Tests/HTTPWireTests`). Times are milliseconds of the caller's monotonic clock.
package struct WireLimits: Sendable, Equatable {
    /// Streams a peer may have open at once (`SETTINGS_MAX_CONCURRENT_STREAMS`, RFC 9113 section 6.5.2).
    package var concurrentStreams: Int = 100

    /// Requests handed to handlers and not yet answered, streams that the peer already reset included.
    ///
    /// A reset frees the stream for the peer but not the work it started (CVE-2023-44487, CVE-2025-8671), so this
    /// is counted apart. Streams beyond it are refused with `REFUSED_STREAM`.
    package var requestsInWork: Int = 200

    /// Bytes of one header list: name plus value plus 32 per field (RFC 9113 section 10.5.1). Beyond: 431.
    package var headerListBytes: Int = 16 * 1024

    /// Fields of one header list, pseudo-header fields included. Beyond: 431.
    package var headerListFields: Int = 100

    /// Bytes of the request line of HTTP/1. Beyond: 414.
    package var requestLineBytes: Int = 8 * 1024

    /// Requests of one HTTP/1 connection; the last is answered with `connection: close`.
    package var requestsPerConnection: Int = 1_000_000

    /// Header lists over the limit that one connection may send before it is closed.
    package var oversizedHeaderLists: Int = 1

    /// Multiple of the header list limits at which decoding stops and the stream is reset unanswered.
    ///
    /// Between the limit and this multiple the block is still decoded so that a 431 can be sent.
    package var oversizedHeaderFactor: Int = 4

    /// CONTINUATION frames after one HEADERS frame (CVE-2024-28182).
    package var continuations: Int = 8

    /// Entries of one SETTINGS frame.
    package var settingsEntries: Int = 32

    /// Acknowledgements of PING and SETTINGS that may wait for a peer that does not read (CVE-2019-9512, -9515).
    package var outboundAcknowledgements: Int = 100

    /// Bytes of one request body. Beyond: 413, before the body is read when `content-length` says so.
    package var requestBodyBytes: Int = 16 * 1024 * 1024

    /// Bytes of request bodies held for requests of one connection that are not answered yet. Beyond: 503.
    ///
    /// Must exceed `requestBodyBytes`, or one large body alone would never fit.
    package var heldRequestBytes: Int = 32 * 1024 * 1024

    /// Receive window of one stream, bytes.
    package var streamWindowBytes: Int = 256 * 1024

    /// Receive window of the connection, bytes.
    package var connectionWindowBytes: Int = 1024 * 1024

    /// Bytes of finished response bodies that may wait for the peer's window. Beyond: the response becomes a 503.
    package var parkedResponseBytes: Int = 64 * 1024 * 1024

    /// Streams the peer resets: burst, and refill per second (CVE-2023-44487).
    package var inboundResets = Rate(burst: 200, perSecond: 20)

    /// The same inside libnghttp2, by its own clock: a second line that acts only where the first does not.
    package var libraryInboundResets = Rate(burst: 400, perSecond: 40)

    /// Streams the peer makes us reset: burst, and refill per second (CVE-2025-8671).
    package var causedResets = Rate(burst: 200, perSecond: 20)

    /// Control frames and frames without effect: burst, and refill per second (CVE-2019-9512, -9513, -9515, -9518).
    ///
    /// Body bytes that move in either direction earn frames back, so that a client with small windows is not
    /// mistaken for a flood: see `bodyBytesPerControlFrame`.
    package var controlFrames = Rate(burst: 1000, perSecond: 100)

    /// Changes of the keys of TLS 1.3 that a peer makes; each costs it 27 bytes and us two derivations.
    package var keyUpdates = Rate(burst: 32, perSecond: 1)

    /// Body bytes that earn one control frame back.
    package var bodyBytesPerControlFrame: Int = 512

    /// Pieces of a request body of fewer bytes than `smallPieceBytes`: burst, and refill per second.
    ///
    /// A DATA frame or a chunk of one byte costs as much work as one of thousands. Body bytes earn pieces back, one for half of
    /// `smallPieceBytes`, so that a client which sends a text line by line is not mistaken for a flood. Ends the connection.
    package var smallPieces = Rate(burst: 50_000, perSecond: 10_000)

    /// Bytes below which a DATA frame or a chunk counts as small.
    package var smallPieceBytes: Int = 64

    /// Fields, at one for each byte, in header blocks that are decoded and ignored: of trailers on streams that we have reset, and
    /// the rest of blocks whose stream was reset while they came. Beyond: the connection ends.
    package var ignoredFields: Int = 64 * 1024

    /// As many come back with each stream that we reset, to the limit above: what was under way then.
    package var ignoredFieldsPerReset: Int = 8 * 1024

    /// Malformed requests, refused bodies and invalid frames in the life of one connection.
    package var lifetimeErrors: Int = 200

    /// Time from the first moment of the connection to the last byte of the client preface and its SETTINGS.
    package var prefaceMilliseconds: Int64 = 10_000

    /// Time from the first to the last byte of one header block.
    package var headMilliseconds: Int64 = 10_000

    /// Time without a byte of a request body that is under way.
    package var bodyProgressMilliseconds: Int64 = 20_000

    /// Time without a byte after which a stream is reset (`NO_ERROR`) that was answered before its request ended.
    package var unwantedBodyMilliseconds: Int64 = 1_000

    /// The same whether bytes come or not.
    package var unwantedBodyTotalMilliseconds: Int64 = 20_000

    /// Bytes of a request body that are read and dropped after its answer; then the stream is reset.
    ///
    /// A client that looks for the answer only when it has sent everything, as `httpx` does over HTTP/2, would wait for
    /// ever for a window that stays closed.
    package var unwantedBodyBytes: Int = 32 * 1024 * 1024

    /// Time without a byte taken of a response that is ready.
    package var writeProgressMilliseconds: Int64 = 20_000

    /// Slowest rate of either body over each whole progress time, bytes per second.
    package var bodyBytesPerSecond: Int = 256

    /// Time without an open stream.
    package var idleMilliseconds: Int64 = 120_000

    /// Time that an HTTP/1 connection without a request stays in a graceful stop, where its last answer is no older than this.
    package var stopIdleMilliseconds: Int64 = 1_000

    /// Time the peer gets to answer the PING of a graceful stop.
    package var stopPingMilliseconds: Int64 = 1_000

    /// The documented defaults.
    package init() {}

    /// A token bucket's size and refill.
    package struct Rate: Sendable, Equatable {
        /// Tokens of a full bucket.
        package var burst: Int
        /// Tokens that come back per second.
        package var perSecond: Int

        /// A rate of `perSecond` with bursts of `burst`.
        package init(burst: Int, perSecond: Int) {
            self.burst = burst
            self.perSecond = perSecond
        }
    }
}

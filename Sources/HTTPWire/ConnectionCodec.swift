package import HTTPTypes

/// The number of a request on its connection: the stream identifier of RFC 9113 section 5.1.1.
package struct StreamID: Sendable, Hashable, Comparable {
    /// The wire value; odd and positive for a request.
    package let number: Int32

    /// The identifier with the wire value `number`.
    package init(_ number: Int32) {
        self.number = number
    }

    package static func < (left: Self, right: Self) -> Bool { left.number < right.number }
}

/// What a codec tells its owner after it was fed.
package enum ConnectionEvent: Sendable {
    /// A request's head; with `endsRequest` there is no body and no `.end` follows.
    case head(StreamID, ReceivedHead, endsRequest: Bool)
    /// A piece of the body; tell the codec with `consume(stream:count:)` when it may send more.
    case body(StreamID, [UInt8])
    /// The body is complete. Trailer fields are read, counted and dropped.
    case end(StreamID)
    /// The stream ended before its response did; what was begun for it can stop.
    ///
    /// The request still counts as work until it is answered: see `WireLimits.requestsInWork`.
    case cancelled(StreamID)
    /// A guard acted; `closes` when it ended the connection.
    case tripped(Guard, closes: Bool)
}

/// What the owner of the socket should do once the output is written.
package enum CloseDecision: Sendable, Equatable {
    /// Go on.
    case keepOpen
    /// Write what is left, then close.
    case closeAfterFlush
    /// Close without writing.
    case closeNow
}

/// One protocol on one connection, as bytes in, events out and bytes to write.
///
/// Implementations hold no socket, clock, lock or task, and are confined to one thread. HTTP/2 is
/// `HTTP2Connection`, HTTP/1.1 is `HTTP1Connection`. Calls are per read and per request, never per byte.
package protocol ConnectionCodec: AnyObject {
    /// Consumes `bytes`, which arrived at `now`. Feed at most 16 KiB, then write the output: the guards of
    /// libnghttp2 only act on what could be sent.
    func receive(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime)

    /// The next event, in order; nil when all were taken.
    func nextEvent() -> ConnectionEvent?

    /// Appends output until `buffer.isFull` or nothing is ready; bodies are pulled here, as the peer's window allows.
    func writeOutput(into buffer: OutputBuffer, now: MonotonicTime)

    /// Answers `stream`. Ignored when the stream is gone; releases the request's place in either case.
    func respond(to stream: StreamID, _ response: HTTPResponse, body: ResponseBody, now: MonotonicTime)

    /// The same with an answer that was prepared.
    func respond(to stream: StreamID, _ answer: PreparedAnswer, now: MonotonicTime)

    /// Says that a streamed body that was not ready may be asked again.
    func resume(stream: StreamID)

    /// Says that `count` bytes of the request body were used up, so that the peer may send as many more.
    func consume(stream: StreamID, count: Int)

    /// Starts a graceful stop: no new requests, then `closeAfterFlush` once the open ones are answered.
    func beginStop(now: MonotonicTime)

    /// Compares all timers with `now`; call it a few times per second.
    ///
    /// `outputIsBlocked` says that output waits for the socket, whose owner then watches its progress.
    func checkDeadlines(now: MonotonicTime, outputIsBlocked: Bool)

    /// Whether to close, after the output was written.
    var closeDecision: CloseDecision { get }

    /// Whether requests are open or in work.
    var isBusy: Bool { get }

    /// Whether a complete request is in work, or its answer on its way.
    var servesRequest: Bool { get }

    /// Whether more input is of use now.
    var wantsInput: Bool { get }

    /// The value of the `date` field for responses that have none; nil sends no date.
    var date: [UInt8]? { get set }
}

extension ConnectionCodec {
    package var wantsInput: Bool { true }

    package func checkDeadlines(now: MonotonicTime) { checkDeadlines(now: now, outputIsBlocked: false) }

    package func respond(to stream: StreamID, _ answer: PreparedAnswer, now: MonotonicTime) {
        respond(to: stream, answer.response, body: .shared(answer.body), now: now)
    }
}

package import HTTPTypes

/// The server's end of one connection: sniffs the protocol, unless it was negotiated, then is that protocol.
package final class ServerConnection: ConnectionCodec {
    private var limits: WireLimits { scratch.limits }
    private let scratch: WireScratch
    private let opened: MonotonicTime
    private var sniffer = ProtocolSniffer()
    private var sniffed: [UInt8] = []
    private var codec: (any ConnectionCodec)?
    private var ownEvent: ConnectionEvent?
    private var refused = false
    private var stopping = false

    /// The value of the `date` field for responses that have none; nil sends no date. Set by whoever has a clock.
    package var date: [UInt8]? {
        didSet { codec?.date = date }
    }

    /// A cleartext connection accepted at `now`.
    package init(scratch: WireScratch = WireScratch(), now: MonotonicTime) {
        self.scratch = scratch
        opened = now
    }

    /// A protocol that both sides agreed on before its first byte (RFC 7301).
    package enum Negotiated: Sendable, Equatable {
        case http2
        case http1
    }

    /// A connection on which TLS was set up at `now`.
    package init(scratch: WireScratch, negotiated: Negotiated, now: MonotonicTime) {
        self.scratch = scratch
        let limits = scratch.limits
        opened = now
        codec =
            switch negotiated {
            case .http2: HTTP2Connection(scratch: scratch, now: now)
            case .http1: HTTP1Connection(limits: limits, now: now, isSecure: true)
            }
    }

    package func receive(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        if let codec { return codec.receive(bytes, now: now) }
        guard !refused else { return }
        switch sniffer.look(at: bytes) {
        case .undecided:
            // At most 23 bytes: one more and it would be decided.
            sniffed.append(contentsOf: bytes)
        case .http2:
            start(HTTP2Connection(scratch: scratch, now: opened), with: bytes, now: now)
        case .http1:
            start(HTTP1Connection(limits: limits, now: opened), with: bytes, now: now)
        case .tls:
            refuse(.tlsOnCleartext)
        }
    }

    private func start(_ chosen: any ConnectionCodec, with bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        codec = chosen
        chosen.date = date
        if !sniffed.isEmpty {
            sniffed.withUnsafeBytes { chosen.receive($0, now: now) }
            sniffed = []
        }
        chosen.receive(bytes, now: now)
        if stopping { chosen.beginStop(now: now) }
    }

    private func refuse(_ reason: Guard) {
        refused = true
        ownEvent = .tripped(reason, closes: true)
    }

    package func nextEvent() -> ConnectionEvent? {
        if let event = ownEvent {
            ownEvent = nil
            return event
        }
        return codec?.nextEvent()
    }

    package func writeOutput(into buffer: OutputBuffer, now: MonotonicTime) {
        codec?.writeOutput(into: buffer, now: now)
    }

    package func respond(to stream: StreamID, _ response: HTTPResponse, body: ResponseBody, now: MonotonicTime) {
        codec?.respond(to: stream, response, body: body, now: now)
    }

    package func respond(to stream: StreamID, _ answer: PreparedAnswer, now: MonotonicTime) {
        codec?.respond(to: stream, answer, now: now)
    }

    package func resume(stream: StreamID) {
        codec?.resume(stream: stream)
    }

    package func consume(stream: StreamID, count: Int) {
        codec?.consume(stream: stream, count: count)
    }

    package func beginStop(now: MonotonicTime) {
        stopping = true
        codec?.beginStop(now: now)
    }

    package func checkDeadlines(now: MonotonicTime, outputIsBlocked: Bool) {
        if let codec {
            codec.checkDeadlines(now: now, outputIsBlocked: outputIsBlocked)
        } else if !refused, now.since(opened) > limits.prefaceMilliseconds {
            refuse(.prefaceTimeout)
        }
    }

    package var closeDecision: CloseDecision {
        if refused { return .closeNow }
        if let codec { return codec.closeDecision }
        // Nothing was asked yet, so nobody is owed an answer.
        return stopping ? .closeNow : .keepOpen
    }

    package var isBusy: Bool { codec?.isBusy ?? false }

    package var servesRequest: Bool { codec?.servesRequest ?? false }

    /// Whether a client may still be sending a body on it after the last answer.
    package var mayEndBeforeABody: Bool { codec is HTTP1Connection }

    package var wantsInput: Bool { codec?.wantsInput ?? true }
}

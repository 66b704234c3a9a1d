import HTTPTestSupport
import HTTPTypes

@testable import HTTPWire

/// A connection under test with a client's view of it and a clock that only tests move.
final class WireHarness {
    let connection: HTTP2Connection
    let client = ClientView()
    let buffer = OutputBuffer()
    var now: MonotonicTime
    var heads: [(stream: StreamID, request: HTTPRequest, ends: Bool)] = []
    /// The heads as they were handed out.
    var received: [ReceivedHead] = []
    var bodies: [StreamID: [UInt8]] = [:]
    var ended: Set<StreamID> = []
    var cancelled: [StreamID] = []
    var trips: [Guard] = []
    var closingTrips: [Guard] = []
    /// Whether `send` writes the output, as a peer that reads would cause.
    var reads = true

    /// A connection that has the preface and the settings behind it.
    init(_ change: (inout WireLimits) -> Void = { _ in }, settings: [(UInt16, UInt32)] = [], preface: Bool = true) {
        var limits = WireLimits()
        change(&limits)
        now = MonotonicTime(milliseconds: 1_000_000)
        connection = HTTP2Connection(scratch: WireScratch(limits: limits), now: now)
        if preface {
            send(Frame.preface + Frame.settings(settings).bytes + Frame.settingsAcknowledgement.bytes)
        }
    }

    /// Feeds bytes as one read.
    func send(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { connection.receive($0, now: now) }
        drain()
        if reads { read() }
    }

    func send(_ frames: Frame...) {
        for frame in frames { send(frame.bytes) }
    }

    /// Takes all output that is ready.
    func read() {
        while true {
            connection.writeOutput(into: buffer, now: now)
            if buffer.isEmpty { break }
            client.receive(buffer.pending)
            buffer.removeAll()
        }
        drain()
    }

    private func drain() {
        while let event = connection.nextEvent() {
            switch event {
            case .head(let stream, let head, let ends):
                received.append(head)
                heads.append((stream, head.request, ends))
            case .body(let stream, let bytes): bodies[stream, default: []] += bytes
            case .end(let stream): ended.insert(stream)
            case .cancelled(let stream): cancelled.append(stream)
            case .tripped(let reason, let closes):
                trips.append(reason)
                if closes { closingTrips.append(reason) }
            }
        }
    }

    func respond(_ stream: Int32, status: HTTPResponse.Status = .ok, _ body: ResponseBody = .empty) {
        connection.respond(to: StreamID(stream), HTTPResponse(status: status), body: body, now: now)
        if reads { read() }
    }

    /// Moves the clock and looks at the timers.
    func wait(_ milliseconds: Int64) {
        now.milliseconds += milliseconds
        connection.checkDeadlines(now: now)
        read()
    }

    var isClosing: Bool { connection.closeDecision != .keepOpen }
}

/// Error codes of RFC 9113 section 7.
enum Code {
    static let noError: UInt32 = 0
    static let protocolError: UInt32 = 1
    static let internalError: UInt32 = 2
    static let flowControl: UInt32 = 3
    static let refusedStream: UInt32 = 7
    static let enhanceYourCalm: UInt32 = 11
}

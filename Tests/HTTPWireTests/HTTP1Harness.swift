import HTTPTestSupport
import HTTPTypes

@testable import HTTPWire

/// An HTTP/1.1 connection under test, with everything that came out of it and a clock that only tests move.
final class HTTP1Harness {
    let connection: HTTP1Connection
    let buffer = OutputBuffer()
    var now = MonotonicTime(milliseconds: 1_000_000)
    var output: [UInt8] = []
    var heads: [HTTPRequest] = []
    var streams: [StreamID] = []
    var bodies: [[UInt8]] = []
    var ended = 0
    var cancelled = 0
    var trips: [Guard] = []
    /// Answers every request as soon as it is complete, with its number.
    let answers: Bool

    init(answers: Bool = false, _ change: (inout WireLimits) -> Void = { _ in }) {
        var limits = WireLimits()
        change(&limits)
        self.answers = answers
        connection = HTTP1Connection(limits: limits, now: now)
    }

    func send(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { connection.receive($0, now: now) }
        read()
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Takes all output that is ready.
    func read() {
        while true {
            drain()
            connection.writeOutput(into: buffer, now: now)
            if buffer.isEmpty { break }
            output += buffer.pending
            buffer.removeAll()
        }
        drain()
    }

    private func drain() {
        while let event = connection.nextEvent() {
            switch event {
            case .head(let stream, let head, let ends):
                let request = head.request
                heads.append(request)
                streams.append(stream)
                bodies.append([])
                if ends { complete(stream) }
            case .body(_, let bytes): bodies[bodies.count - 1] += bytes
            case .end(let stream):
                ended += 1
                complete(stream)
            case .cancelled: cancelled += 1
            case .tripped(let reason, _): trips.append(reason)
            }
        }
    }

    private func complete(_ stream: StreamID) {
        if answers { respond(stream, .bytes(Array("answer \(heads.count)\r\n".utf8))) }
    }

    func respond(_ stream: StreamID? = nil, status: HTTPResponse.Status = .ok, _ body: ResponseBody = .empty) {
        connection.respond(
            to: stream ?? streams.last ?? StreamID(1), HTTPResponse(status: status), body: body, now: now)
    }

    func respond(_ body: ResponseBody) { respond(nil, status: .ok, body) }

    func wait(_ milliseconds: Int64) {
        now.milliseconds += milliseconds
        connection.checkDeadlines(now: now)
        read()
    }

    var text: String { String(decoding: output, as: UTF8.self) }
    /// The status codes of all answers so far.
    var statuses: [String] {
        text.split(separator: "\r\n", omittingEmptySubsequences: true).filter { $0.hasPrefix("HTTP/1.1 ") }
            .map { String($0.dropFirst(9).prefix(3)) }
    }
    var isClosing: Bool { connection.closeDecision != .keepOpen }
}

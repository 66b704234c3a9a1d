package import HTTPTypes

/// Answers an HTTP/1 client with one explanation and closes; stands where the HTTP/1.1 codec will.
///
/// A text that a person can read, because a bare close shows up as a parse error in `curl` and `requests`.
package final class HTTP1Refusal: ConnectionCodec {
    private static let answer: [UInt8] = {
        let body = "this port speaks HTTP/2 with prior knowledge: curl --http2-prior-knowledge\n"
        return Array(
            """
            HTTP/1.1 505 HTTP Version Not Supported\r
            Connection: close\r
            Content-Type: text/plain\r
            Content-Length: \(body.utf8.count)\r
            \r
            \(body)
            """.utf8)
    }()

    private var written = false
    private var event: ConnectionEvent? = .tripped(.http1, closes: true)

    /// A refusal that was not sent yet.
    package init() {}

    package func receive(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {}

    package func nextEvent() -> ConnectionEvent? {
        defer { event = nil }
        return event
    }

    package func writeOutput(into buffer: OutputBuffer, now: MonotonicTime) {
        if !written { buffer.append(Self.answer) }
        written = true
    }

    package func respond(to stream: StreamID, _ response: HTTPResponse, body: ResponseBody, now: MonotonicTime) {}
    package func resume(stream: StreamID) {}
    package func consume(stream: StreamID, count: Int) {}
    package func beginStop(now: MonotonicTime) {}
    package func checkDeadlines(now: MonotonicTime) {}
    package var closeDecision: CloseDecision { .closeAfterFlush }
    package var isBusy: Bool { false }
}

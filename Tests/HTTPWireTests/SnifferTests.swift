import HTTPTestSupport
import Testing

@testable import HTTPWire

@Suite struct SnifferTests {
    private func decide(_ pieces: [[UInt8]]) -> ProtocolSniffer.Decision {
        var sniffer = ProtocolSniffer()
        var decision = ProtocolSniffer.Decision.undecided
        for piece in pieces { decision = piece.withUnsafeBytes { sniffer.look(at: $0) } }
        return decision
    }

    @Test func everyProperPrefixWaits() {
        for count in 0..<24 { #expect(decide([Array(Frame.preface[..<count])]) == .undecided) }
        #expect(decide([Frame.preface]) == .http2)
    }

    @Test func theFirstDifferentByteDecides() {
        for count in 0..<24 {
            var bytes = Array(Frame.preface[...count])
            bytes[count] ^= 0x20
            #expect(decide([bytes]) == (count >= 16 ? .http2 : .http1), "byte \(count)")
            #expect(decide(bytes.map { [$0] }) == (count >= 16 ? .http2 : .http1), "byte \(count), one at a time")
        }
    }

    @Test(arguments: [("G", ProtocolSniffer.Decision.http1), ("POST", .http1), ("P", .undecided), ("\u{16}", .tls)])
    func shortProbesAreDecidedAtOnce(text: String, expected: ProtocolSniffer.Decision) {
        #expect(decide([Array(text.utf8)]) == expected)
    }

    /// A connection fed in two pieces, split anywhere, says the same.
    @Test func everySplitOfAConversationIsTheSame() {
        let request = Frame.preface + Frame.settings().bytes + Frame.get(1, path: "/x").bytes
        for split in 0...request.count {
            let conversation = Conversation([Array(request[..<split]), Array(request[split...])])
            #expect(conversation.paths == ["/x"], "split at \(split)")
            #expect(conversation.output.starts(with: [0, 0, 24, 4]), "the server's SETTINGS come first")
        }
    }

    @Test func nothingIsWrittenBeforeTheDecision() {
        for count in 0..<24 {
            let conversation = Conversation([Array(Frame.preface[..<count])])
            #expect(conversation.output.isEmpty)
            #expect(conversation.connection.closeDecision == .keepOpen)
        }
    }

    @Test func http1IsServedOnTheSamePort() {
        for text in [
            "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "PUT /x HTTP/1.0\r\n\r\n", "\r\nPOST /x HTTP/1.1\r\nHost:\r\n\r\n",
        ] {
            for pieces in [[Array(text.utf8)], text.utf8.map { [$0] }] {
                let conversation = Conversation(pieces)
                #expect(conversation.paths == ["/x"])
                #expect(conversation.output.isEmpty, "nothing before the answer")
                #expect(conversation.trips.isEmpty)
            }
        }
    }

    @Test(arguments: ["PRI x", "PRI * HTTP/1.1\r\nHost: a\r\n\r\n", "\u{0}\u{1}", "SSH-2.0-OpenSSH\r\n", "PR\r\n"])
    func noiseIsRefusedAsHTTP1(text: String) {
        let conversation = Conversation(text.utf8.map { [$0] } + [Array("\r\n\r\n".utf8)])
        let answer = String(decoding: conversation.output, as: UTF8.self)
        #expect(answer.hasPrefix("HTTP/1.1 4") || answer.hasPrefix("HTTP/1.1 501"), "\(answer)")
        #expect(conversation.connection.closeDecision == .closeAfterFlush)
        #expect(conversation.trips == [.malformedHTTP1])
    }

    @Test func tlsIsClosedInSilence() {
        let conversation = Conversation([[0x16, 3, 1, 0, 200]])
        #expect(conversation.output.isEmpty)
        #expect(conversation.connection.closeDecision == .closeNow)
        #expect(conversation.trips == [.tlsOnCleartext])
    }

    @Test func silenceIsClosedAfterThePrefaceTime() {
        let conversation = Conversation([Array("PRI".utf8)])
        conversation.connection.checkDeadlines(now: MonotonicTime(milliseconds: 10_000))
        #expect(conversation.connection.closeDecision == .keepOpen)
        conversation.connection.checkDeadlines(now: MonotonicTime(milliseconds: 10_001))
        conversation.drain()
        #expect(conversation.connection.closeDecision == .closeNow)
        #expect(conversation.trips == [.prefaceTimeout])
    }

    @Test func aStopBeforeTheFirstByteClosesAtOnce() {
        let conversation = Conversation([])
        conversation.connection.beginStop(now: MonotonicTime(milliseconds: 0))
        #expect(conversation.connection.closeDecision == .closeNow)
    }
}

/// A sniffed connection, fed in pieces, with everything that came out.
private final class Conversation {
    let connection = ServerConnection(now: MonotonicTime(milliseconds: 0))
    var output: [UInt8] = []
    var paths: [String] = []
    var trips: [Guard] = []

    init(_ pieces: [[UInt8]]) {
        for piece in pieces {
            piece.withUnsafeBytes { connection.receive($0, now: MonotonicTime(milliseconds: 0)) }
            drain()
        }
    }

    func drain() {
        let buffer = OutputBuffer()
        connection.writeOutput(into: buffer, now: MonotonicTime(milliseconds: 0))
        output += buffer.pending
        while let event = connection.nextEvent() {
            switch event {
            case .head(_, let head, _): paths.append(head.request.path ?? "")
            case .tripped(let reason, _): trips.append(reason)
            default: break
            }
        }
    }
}

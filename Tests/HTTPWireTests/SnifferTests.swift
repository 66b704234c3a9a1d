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

    @Test func http1IsToldWhatToDo() throws {
        for text in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / HTTP/1.0\r\n\r\n", "PRI x", "\r\n"] {
            let conversation = Conversation(text.utf8.map { [$0] })
            let answer = String(decoding: conversation.output, as: UTF8.self)
            let parts = answer.split(separator: "\r\n\r\n", maxSplits: 1)
            try #require(parts.count == 2)
            #expect(parts[0].hasPrefix("HTTP/1.1 505 HTTP Version Not Supported\r\n"))
            #expect(parts[0].contains("\r\nConnection: close"))
            #expect(parts[0].contains("\r\nContent-Type: text/plain"))
            #expect(parts[0].contains("\r\nContent-Length: \(parts[1].utf8.count)"))
            #expect(parts[1] == "this port speaks HTTP/2 with prior knowledge: curl --http2-prior-knowledge\n")
            #expect(conversation.connection.closeDecision == .closeAfterFlush)
            #expect(conversation.trips == [.http1])
        }
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
        output += buffer.withPending { Array($0) }
        while let event = connection.nextEvent() {
            switch event {
            case .head(_, let request, _): paths.append(request.path ?? "")
            case .tripped(let reason, _): trips.append(reason)
            default: break
            }
        }
    }
}

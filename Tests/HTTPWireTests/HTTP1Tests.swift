import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

/// The language of RFC 9112 that is understood, and the answers in it.
@Suite struct HTTP1Tests {
    private static let get =
        "GET /a?b=c HTTP/1.1\r\nHost: example.org:80\r\nAccept: */*\r\nX-Two:  padded \t\r\nEmpty:\r\n\r\n"

    @Test func aRequestIsTakenApart() throws {
        let wire = HTTP1Harness()
        wire.send(Self.get)
        let request = try #require(wire.heads.first)
        #expect(request.method == .get)
        #expect(request.path == "/a?b=c")
        #expect(request.authority == "example.org:80")
        #expect(request.scheme == "http")
        #expect(request.headerFields[.accept] == "*/*")
        #expect(request.headerFields[HTTPField.Name("x-two")!] == "padded")
        #expect(request.headerFields[HTTPField.Name("empty")!] == "")
        #expect(request.headerFields[HTTPField.Name("host")!] == nil, "it is the authority")
        #expect(wire.connection.isBusy)
        wire.respond(.bytes(Array("hello".utf8)))
        wire.read()
        #expect(wire.text == "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        #expect(!wire.connection.isBusy)
        #expect(!wire.isClosing)
    }

    /// Split anywhere, and in single bytes, a conversation is the same.
    @Test func everySplitIsTheSame() {
        let conversation = Array(
            (Self.get
                + "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n"
                + "0\r\nTrailer: t\r\n\r\n\r\nPOST /q HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
                + "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").utf8)
        func check(_ pieces: [[UInt8]], _ label: String) {
            let wire = HTTP1Harness(answers: true)
            for piece in pieces { wire.send(piece) }
            #expect(wire.heads.map { $0.path ?? "" } == ["/a?b=c", "/p", "/q", "/last"], "\(label)")
            #expect(wire.bodies == [[], Array("abc0123456789".utf8), Array("xyz".utf8), []], "\(label)")
            #expect(wire.statuses == ["200", "200", "200", "200"], "\(label)")
            #expect(wire.trips.isEmpty, "\(label)")
            #expect(wire.isClosing, "\(label)")
        }
        for split in 0...conversation.count {
            check([Array(conversation[..<split]), Array(conversation[split...])], "split at \(split)")
        }
        check(conversation.map { [$0] }, "single bytes")
    }

    @Test func requestsAreServedOneAtATime() {
        let wire = HTTP1Harness()
        wire.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT")
        #expect(wire.heads.count == 1)
        #expect(!wire.connection.wantsInput, "whoever sends ahead is not read")
        wire.respond(.bytes([49]))
        wire.read()
        #expect(wire.heads.count == 2)
        wire.respond(.bytes([50]))
        wire.read()
        #expect(wire.heads.count == 2)
        #expect(wire.connection.wantsInput)
        wire.send("TP/1.1\r\nHost: a\r\n\r\n")
        #expect(wire.heads.map { $0.path ?? "" } == ["/1", "/2", "/3"])
        #expect(Set(wire.streams).count == 3)
    }

    @Test func theSameHeadAgainMeansTheSame() {
        let wire = HTTP1Harness(answers: true)
        for _ in 0..<3 { wire.send(Self.get) }
        wire.send(Array(Self.get.utf8) + Array(Self.get.utf8.dropLast(2)) + Array("More: x\r\n\r\n".utf8))
        #expect(wire.heads.count == 5)
        #expect(wire.heads[..<4].allSatisfy { $0 == wire.heads[0] })
        #expect(wire.heads[4].headerFields[HTTPField.Name("more")!] == "x")
        // A head that begins like the one before, but is longer or shorter.
        let other = HTTP1Harness(answers: true)
        other.send("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n")
        other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(other.heads.map(\.headerFields.count) == [1, 0])
    }

    @Test func targetsHaveFourForms() {
        for (line, path, authority) in [
            ("GET http://b:1/x?y HTTP/1.1", "/x?y", "b:1"), ("GET HTTPS://b HTTP/1.1", "/", "b"),
            ("GET http://b?q HTTP/1.1", "/?q", "b"), ("OPTIONS * HTTP/1.1", "*", "a"), ("GET / HTTP/1.1", "/", "a"),
            ("CONNECT b:443 HTTP/1.1", nil, "b:443"),
        ] as [(String, String?, String)] {
            let wire = HTTP1Harness()
            wire.send(line + "\r\nHost: a\r\n\r\n")
            #expect(wire.heads.first?.path == path, "\(line)")
            #expect(wire.heads.first?.authority == authority, "\(line): the target counts, not Host")
        }
    }

    @Test func upgradesAreIgnored() {
        let wire = HTTP1Harness(answers: true)
        wire.send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        )
        wire.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(wire.statuses == ["200", "200"])
        #expect(wire.heads[0].headerFields.isEmpty)
    }

    @Test func http10IsServedAndClosed() {
        let wire = HTTP1Harness(answers: true)
        wire.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        #expect(wire.text.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(wire.text.contains("\r\nconnection: close\r\n"))
        #expect(wire.isClosing)
        #expect(wire.heads[0].authority == nil)
    }

    @Test func closeIsHeardInEveryForm() {
        for value in ["close", "Close", "keep-alive, close", "close ,x"] {
            let wire = HTTP1Harness(answers: true)
            wire.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: \(value)\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(wire.statuses == ["200"], "\(value)")
            #expect(wire.isClosing)
        }
    }

    @Test func requestsOfAConnectionAreBounded() {
        let wire = HTTP1Harness(answers: true) { $0.requestsPerConnection = 2 }
        for _ in 0..<3 { wire.send(Self.get) }
        #expect(wire.statuses == ["200", "200"])
        #expect(wire.text.contains("connection: close"))
        #expect(wire.isClosing)
    }

    @Test func aBodyIsInvitedOnce() {
        let wire = HTTP1Harness(answers: true)
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        #expect(wire.text == "HTTP/1.1 100 Continue\r\n\r\n")
        wire.send("ab")
        #expect(wire.statuses == ["100", "200"])
        let early = HTTP1Harness(answers: true)
        early.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab")
        #expect(early.statuses == ["200"], "the body is there already")
        let old = HTTP1Harness(answers: true)
        old.send("POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        #expect(old.text.isEmpty, "HTTP/1.0 knows no interim answers")
    }

    @Test func anEarlyAnswerEndsTheConnection() {
        let wire = HTTP1Harness()
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        wire.respond(status: .forbidden)
        wire.read()
        #expect(wire.statuses == ["403"])
        #expect(wire.text.contains("connection: close"))
        #expect(wire.isClosing)
        wire.send(Self.get)
        #expect(wire.heads.count == 1)
    }

    @Test func headAndBodilessAnswers() {
        let wire = HTTP1Harness()
        wire.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        wire.respond(.bytes([1, 2, 3]))
        wire.read()
        #expect(wire.text == "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n")
        wire.send(Self.get)
        wire.respond(status: .noContent)
        wire.read()
        #expect(wire.text.hasSuffix("HTTP/1.1 204 No Content\r\n\r\n"))
        wire.send(Self.get)
        wire.respond(status: .notModified, .bytes([1]))
        wire.read()
        #expect(wire.text.hasSuffix("HTTP/1.1 304 Not Modified\r\n\r\n"))
        wire.send(Self.get)
        wire.respond(status: .ok)
        wire.read()
        #expect(wire.text.hasSuffix("\r\ncontent-length: 0\r\n\r\n"))
    }

    @Test func producedBodiesAreChunkedOrEndWithTheConnection() {
        let wire = HTTP1Harness()
        wire.send(Self.get)
        let source = ScriptedSource([
            .bytes(Array("abc".utf8)), .notNow, .bytes(Array("0123456789".utf8)), .bytes(Array("z".utf8)), .end,
        ])
        wire.respond(.source(source))
        wire.read()
        #expect(wire.text.hasSuffix("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"))
        wire.connection.resume(stream: wire.streams[0])
        wire.read()
        #expect(wire.text.hasSuffix("3\r\nabc\r\na\r\n0123456789\r\n1\r\nz\r\n0\r\n\r\n"))
        #expect(!wire.isClosing)
        let old = HTTP1Harness()
        old.send("GET / HTTP/1.0\r\n\r\n")
        old.respond(.source(ScriptedSource([.bytes(Array("abc".utf8)), .end])))
        old.read()
        #expect(old.text == "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc")
        #expect(old.isClosing)
    }

    @Test func aFailedBodyIsCutOff() {
        let wire = HTTP1Harness()
        wire.send(Self.get)
        wire.respond(.source(ScriptedSource([.bytes(Array("abc".utf8)), .fail])))
        wire.read()
        #expect(wire.text.hasSuffix("3\r\nabc\r\n"))
        #expect(wire.connection.closeDecision == .closeNow)
    }

    @Test func largeBodiesAreWrittenPieceByPiece() {
        let wire = HTTP1Harness()
        wire.send(Self.get)
        let body = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        wire.respond(.bytes(body))
        var largest = 0
        while true {
            wire.connection.writeOutput(into: wire.buffer, now: wire.now)
            if wire.buffer.isEmpty { break }
            largest = max(largest, wire.buffer.count)
            wire.output += wire.buffer.pending
            wire.buffer.removeAll()
        }
        let isWhole = Array(wire.output.suffix(body.count)) == body
        #expect(isWhole)
        #expect(largest <= 80_000)
    }

    @Test func preparedAnswersAreTheSame() throws {
        var response = HTTPResponse(status: .ok)
        response.headerFields[.contentType] = "text/plain"
        let prepared = try #require(PreparedAnswer(response, body: Array("hello".utf8)))
        let wire = HTTP1Harness()
        wire.connection.date = Array("Sun, 06 Nov 1994 08:49:37 GMT".utf8)
        wire.send(Self.get)
        wire.connection.respond(to: wire.streams[0], prepared, now: wire.now)
        wire.read()
        let first = wire.text
        wire.output = []
        wire.send(Self.get)
        wire.connection.respond(to: wire.streams[1], response, body: .bytes(Array("hello".utf8)), now: wire.now)
        wire.read()
        #expect(wire.text == first)
        #expect(
            first.hasSuffix(
                "content-type: text/plain\r\ncontent-length: 5\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello"))
    }

    // MARK: - Timers and stops

    @Test func slowHeadsAreAnswered408() {
        let wire = HTTP1Harness()
        wire.send("GET / HT")
        wire.wait(WireLimits().headMilliseconds)
        #expect(!wire.isClosing)
        wire.send("T")
        wire.wait(1)
        #expect(wire.statuses == ["408"])
        #expect(wire.trips == [.headTimeout])
        #expect(wire.isClosing)
    }

    @Test func slowBodiesAreAnswered408() {
        for piece in ["", "x"] {
            let wire = HTTP1Harness { $0.bodyProgressMilliseconds = 1000 }
            wire.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
            for _ in 0..<12 where !wire.isClosing {
                if !piece.isEmpty { wire.send(piece) }
                wire.wait(500)
            }
            #expect(wire.statuses == ["408"])
            #expect(wire.trips == [.bodyTimeout])
            #expect(wire.cancelled == 1)
        }
    }

    @Test func silenceAndIdlenessAreClosed() {
        let silent = HTTP1Harness()
        silent.wait(WireLimits().prefaceMilliseconds + 1)
        #expect(silent.trips == [.prefaceTimeout])
        #expect(silent.output.isEmpty)
        let idle = HTTP1Harness(answers: true)
        idle.send(Self.get)
        idle.wait(WireLimits().idleMilliseconds)
        #expect(!idle.isClosing)
        idle.wait(1)
        #expect(idle.trips == [.idleTimeout])
        #expect(idle.isClosing)
    }

    @Test func anAnswerThatNobodyTakesIsGivenUp() {
        let wire = HTTP1Harness { $0.writeProgressMilliseconds = 1000 }
        wire.send(Self.get)
        wire.respond(.bytes([UInt8](repeating: 1, count: 1_000_000)))
        wire.connection.writeOutput(into: wire.buffer, now: wire.now)
        for _ in 0..<2 {
            wire.now.milliseconds += 1001
            wire.connection.checkDeadlines(now: wire.now, outputIsBlocked: true)
            #expect(wire.connection.closeDecision == .keepOpen, "the owner of the socket watches it")
        }
        wire.now.milliseconds += 1001
        wire.connection.checkDeadlines(now: wire.now)
        #expect(wire.connection.closeDecision == .closeNow)
    }

    @Test func aStopAnswersWhatWasAsked() {
        let idle = HTTP1Harness()
        idle.connection.beginStop(now: idle.now)
        #expect(idle.connection.closeDecision == .closeAfterFlush)
        let busy = HTTP1Harness()
        busy.send(Self.get)
        busy.connection.beginStop(now: busy.now)
        #expect(busy.connection.closeDecision == .keepOpen)
        busy.respond(.bytes([65]))
        busy.read()
        #expect(busy.text.contains("connection: close"))
        #expect(busy.isClosing)
    }

    @Test func aStopLetsWhoAskedAMomentAgoAskOnceMore() {
        let wire = HTTP1Harness()
        wire.send(Self.get)
        wire.respond(.bytes([65]))
        wire.read()
        wire.now.milliseconds += 900
        wire.connection.beginStop(now: wire.now)
        #expect(wire.connection.closeDecision == .keepOpen)
        #expect(!wire.text.contains("connection: close"))
        wire.send(Self.get)
        wire.respond(.bytes([66]))
        wire.read()
        #expect(wire.text.contains("connection: close"))
        #expect(wire.isClosing)
    }

    @Test func aStopWaitsAMomentAndNoLonger() {
        let wire = HTTP1Harness()
        wire.send(Self.get)
        wire.respond(.bytes([65]))
        wire.read()
        wire.connection.beginStop(now: wire.now)
        wire.now.milliseconds += 1000
        wire.connection.checkDeadlines(now: wire.now)
        #expect(wire.connection.closeDecision == .keepOpen)
        wire.now.milliseconds += 1
        wire.connection.checkDeadlines(now: wire.now)
        #expect(wire.connection.closeDecision == .closeAfterFlush)
        let old = HTTP1Harness()
        old.send(Self.get)
        old.respond(.bytes([65]))
        old.read()
        old.now.milliseconds += 1001
        old.connection.beginStop(now: old.now)
        #expect(old.connection.closeDecision == .closeAfterFlush, "idle for long")
    }

    @Test func answersToOtherRequestsAreIgnored() {
        let wire = HTTP1Harness()
        wire.send(Self.get)
        wire.respond(StreamID(77))
        let pipe = BodyPipe()
        wire.respond(StreamID(77), .source(pipe))
        #expect(pipe.isCancelled)
        wire.read()
        #expect(wire.output.isEmpty)
        wire.respond()
        wire.respond(status: .badRequest)
        wire.read()
        #expect(wire.statuses == ["200"])
    }
}

import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

/// RFC 9113 section by section: what a peer may not do, and what the server must answer.
@Suite struct HTTP2ConformanceTests {
    enum Expectation: Sendable {
        /// GOAWAY with one of these codes; the connection ends.
        case connection([UInt32])
        /// RST_STREAM, or the connection ends, with one of these codes.
        case stream([UInt32])
        /// Nothing is wrong; a PING afterwards is answered.
        case fine
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var section: String
        var name: String
        var bytes: [UInt8]
        var expected: Expectation

        init(_ section: String, _ name: String, _ expected: Expectation, _ frames: Frame...) {
            self.section = section
            self.name = name
            self.expected = expected
            bytes = frames.flatMap(\.bytes)
        }

        var testDescription: String { "\(section) \(name)" }
    }

    private static let protocolError: [UInt32] = [1]
    private static let flowControl: [UInt32] = [3]
    private static let closed: [UInt32] = [5]
    private static let frameSize: [UInt32] = [6]
    private static let compression: [UInt32] = [9]
    private static func open(_ stream: Int32 = 1) -> Frame { .get(stream, method: "POST", ends: false) }
    private static func raw(_ type: UInt8, _ flags: UInt8 = 0, _ stream: Int32 = 0, _ payload: [UInt8] = []) -> Frame {
        var frame = Frame(.data, flags: flags, stream: stream, payload: payload)
        frame.type = type
        return frame
    }
    private static func fields(_ change: (inout [(String, String)]) -> Void) -> Frame {
        var fields = Frame.request()
        change(&fields)
        return .headers(1, fields)
    }

    static let cases: [Case] = [
        Case("4.1", "a frame of an unknown type is ignored", .fine, raw(0x16, 0, 0, [0, 0, 0])),
        Case(
            "4.1", "undefined flags are ignored", .fine,
            Frame(.ping, flags: 0x16, payload: Array(repeating: 7, count: 8))),
        Case("4.1", "the reserved bit is ignored", .fine, raw(6, 0, Int32.min, Array(repeating: 7, count: 8))),
        Case(
            "4.2", "DATA beyond the largest frame", .stream(frameSize), open(),
            .data(1, Array(repeating: 0, count: 16_385))),
        Case(
            "4.2", "HEADERS beyond the largest frame", .connection(frameSize),
            Frame(.headers, flags: 5, stream: 1, payload: Array(repeating: 0, count: 16_385))),
        Case(
            "4.3", "a block that is no HPACK", .connection(compression),
            Frame(.headers, flags: 5, stream: 1, payload: [0x40])),
        Case(
            "4.3", "an index of the table that is not there", .connection(compression),
            Frame(.headers, flags: 5, stream: 1, payload: [0xFF, 0xFF, 0x0F])),
        Case(
            "4.3", "a table larger than was allowed", .connection(compression),
            Frame(.headers, flags: 5, stream: 1, payload: [0x3F, 0xE2, 0x1F] + Frame.block(Frame.request()))),
        Case(
            "4.3", "PRIORITY within a block", .connection(protocolError),
            Frame(.headers, stream: 1, payload: Frame.block(Frame.request())),
            Frame(.priority, stream: 1, payload: [0, 0, 0, 0, 1])),
        Case(
            "4.3", "another stream within a block", .connection(protocolError),
            Frame(.headers, stream: 1, payload: Frame.block(Frame.request())), .get(3)),
        Case("5.1", "DATA on an idle stream", .connection(protocolError + closed), .data(1, [1])),
        Case("5.1", "RST_STREAM on an idle stream", .connection(protocolError), .reset(1)),
        Case("5.1", "WINDOW_UPDATE on an idle stream", .connection(protocolError), .windowUpdate(1, by: 1)),
        Case(
            "5.1", "CONTINUATION on an idle stream", .connection(protocolError),
            Frame(.continuation, flags: 4, stream: 1)),
        Case("5.1", "DATA after the end", .stream(closed), .get(1), .data(1, [1], ends: true)),
        Case("5.1", "HEADERS after the end", .stream(closed), .get(1), .get(1)),
        Case(
            "5.1", "CONTINUATION after the end", .connection(protocolError + closed), .get(1),
            Frame(.continuation, flags: 4, stream: 1)),
        Case("5.1", "HEADERS after a reset", .stream(closed + protocolError), open(), .reset(1), .get(1)),
        Case(
            "5.1", "WINDOW_UPDATE and RST_STREAM after a reset", .fine, open(), .reset(1), .windowUpdate(1, by: 1),
            .reset(1)),
        Case("5.1.1", "an even stream", .connection(protocolError), .get(2)),
        Case("5.1.1", "a smaller stream than before", .connection(protocolError + closed), .get(5), .get(3)),
        Case(
            "5.5", "an unknown frame within a block", .connection(protocolError),
            Frame(.headers, stream: 1, payload: Frame.block(Frame.request())), raw(0x16, 0, 1, [1])),
        Case("6.1", "DATA on the connection", .connection(protocolError), .data(0, [1])),
        Case(
            "6.1", "more padding than payload", .connection(protocolError), open(),
            Frame(.data, flags: 8, stream: 1, payload: [6, 1, 2])),
        Case("6.2", "HEADERS on the connection", .connection(protocolError), .get(0)),
        Case(
            "6.2", "more padding than block", .connection(protocolError),
            Frame(.headers, flags: 0x0D, stream: 1, payload: [255] + Frame.block(Frame.request()))),
        Case(
            "6.2", "padding and priority in order", .fine,
            Frame(
                .headers, flags: 0x2D, stream: 1, payload: [2, 0, 0, 0, 0, 16] + Frame.block(Frame.request()) + [0, 0])),
        Case(
            "6.3", "PRIORITY on the connection", .connection(protocolError),
            Frame(.priority, stream: 0, payload: [0, 0, 0, 1, 16])),
        Case(
            "6.3", "PRIORITY of four bytes", .stream(frameSize), open(),
            Frame(.priority, stream: 1, payload: [0, 0, 0, 1])),
        Case("6.4", "RST_STREAM on the connection", .connection(protocolError), .reset(0)),
        Case(
            "6.4", "RST_STREAM of three bytes", .connection(frameSize), open(),
            Frame(.reset, stream: 1, payload: [0, 0, 0])),
        Case(
            "6.5", "an acknowledgement with a payload", .connection(frameSize), Frame(.settings, flags: 1, payload: [0])
        ),
        Case("6.5", "SETTINGS on a stream", .connection(protocolError), Frame(.settings, stream: 1)),
        Case(
            "6.5", "SETTINGS of seven bytes", .connection(frameSize), Frame(.settings, payload: [0, 3, 0, 0, 0, 1, 0])),
        Case("6.5.2", "ENABLE_PUSH of 2", .connection(protocolError), .settings([(2, 2)])),
        Case("6.5.2", "a window beyond 2^31-1", .connection(flowControl), .settings([(4, 0x8000_0000)])),
        Case("6.5.2", "a frame size below 2^14", .connection(protocolError), .settings([(5, 16_383)])),
        Case("6.5.2", "a frame size beyond 2^24-1", .connection(protocolError), .settings([(5, 1 << 24)])),
        Case("6.5.2", "an unknown setting", .fine, .settings([(0xFF, 1)])),
        Case(
            "6.6", "PUSH_PROMISE from a client", .connection(protocolError), open(),
            Frame(.push, flags: 4, stream: 1, payload: [0, 0, 0, 3] + Frame.block(Frame.request()))),
        Case(
            "6.7", "PING on a stream", .connection(protocolError),
            Frame(.ping, stream: 1, payload: Array(repeating: 0, count: 8))),
        Case("6.7", "PING of six bytes", .connection(frameSize), Frame(.ping, payload: Array(repeating: 0, count: 6))),
        Case("6.7", "an acknowledgement nobody asked for", .fine, .ping(acknowledges: true)),
        Case(
            "6.8", "GOAWAY on a stream", .connection(protocolError),
            Frame(.goaway, stream: 1, payload: Array(repeating: 0, count: 8))),
        Case("6.9", "an increment of 0 on the connection", .connection(protocolError), .windowUpdate(0, by: 0)),
        Case("6.9", "an increment of 0 on a stream", .stream(protocolError), open(), .windowUpdate(1, by: 0)),
        Case("6.9", "WINDOW_UPDATE of three bytes", .connection(frameSize), Frame(.windowUpdate, payload: [0, 0, 1])),
        Case(
            "6.9.1", "a window of the connection beyond 2^31-1", .connection(flowControl),
            .windowUpdate(0, by: 0x7fff_ffff)),
        Case(
            "6.9.1", "a window of a stream beyond 2^31-1", .stream(flowControl), open(),
            .windowUpdate(1, by: 0x7fff_ffff)),
        Case(
            "6.9.2", "SETTINGS that make a window too large", .stream(flowControl), open(),
            .windowUpdate(1, by: 0x7fff_0000), .settings([(4, 0x7fff_ffff)])),
        Case(
            "6.10", "CONTINUATION after the end of a block", .connection(protocolError), open(),
            Frame(.continuation, flags: 4, stream: 1)),
        Case(
            "6.10", "CONTINUATION on the connection", .connection(protocolError),
            Frame(.headers, stream: 1, payload: Frame.block(Frame.request())), Frame(.continuation, flags: 4)),
        Case(
            "6.10", "a block in three pieces", .fine,
            Frame(.headers, flags: 1, stream: 1, payload: Frame.block(Frame.request())),
            Frame(.continuation, stream: 1),
            Frame(.continuation, flags: 4, stream: 1, payload: Frame.block([("x", "y")]))),
        Case("7", "an unknown code of RST_STREAM", .fine, open(), .reset(1, code: 0xFF)),
        Case(
            "8.1", "a second block that does not end the stream", .stream(protocolError), open(),
            .headers(1, [("x", "y")], ends: false)),
        Case("8.2", "a name in upper case", .stream(protocolError), fields { $0.append(("X-Test", "y")) }),
        Case("8.2", "a name with a space", .stream(protocolError), fields { $0.append(("x y", "z")) }),
        Case("8.2", "a value with LF", .stream(protocolError), fields { $0.append(("x", "a\nb")) }),
        Case("8.2", "a value with NUL", .stream(protocolError), fields { $0.append(("x", "a\u{0}b")) }),
        Case("8.2.2", "connection", .stream(protocolError), fields { $0.append(("connection", "keep-alive")) }),
        Case(
            "8.2.2", "transfer-encoding", .stream(protocolError), fields { $0.append(("transfer-encoding", "chunked")) }
        ),
        Case("8.2.2", "te other than trailers", .stream(protocolError), fields { $0.append(("te", "gzip")) }),
        Case("8.2.2", "te: trailers", .fine, fields { $0.append(("te", "trailers")) }),
        Case("8.3", "an unknown pseudo-header field", .stream(protocolError), fields { $0.append((":test", "x")) }),
        Case("8.3", "that of a response", .stream(protocolError), fields { $0.append((":status", "200")) }),
        Case("8.3", "after a regular field", .stream(protocolError), fields { $0.insert(("x", "y"), at: 0) }),
        Case("8.3", "in trailer fields", .stream(protocolError), open(), .headers(1, [(":method", "GET")])),
        Case("8.3.1", "an empty path", .stream(protocolError), .get(1, path: "")),
        Case("8.3.1", "no method", .stream(protocolError), fields { $0.removeAll { $0.0 == ":method" } }),
        Case("8.3.1", "no scheme", .stream(protocolError), fields { $0.removeAll { $0.0 == ":scheme" } }),
        Case("8.3.1", "no path", .stream(protocolError), fields { $0.removeAll { $0.0 == ":path" } }),
        Case("8.3.1", "two methods", .stream(protocolError), fields { $0.append((":method", "GET")) }),
        Case(
            "8.1.1", "less body than content-length", .stream(protocolError),
            .get(1, method: "POST", [("content-length", "5")], ends: false), .data(1, [1], ends: true)),
        Case(
            "8.1.1", "more body than content-length", .stream(protocolError),
            .get(1, method: "POST", [("content-length", "1")], ends: false), .data(1, [1, 2], ends: true)),
        Case(
            "8.1.1", "a length and no body", .stream(protocolError), .get(1, method: "POST", [("content-length", "1")])),
    ]

    @Test(arguments: cases) func isAsTheSectionSays(of example: Case) {
        let wire = WireHarness()
        wire.send(example.bytes)
        let goaways = wire.client.goawayCodes
        switch example.expected {
        case .connection(let codes):
            #expect(goaways.count == 1 && codes.contains(goaways[0]), "\(goaways)")
            #expect(wire.isClosing)
        case .stream(let codes):
            let seen = Array(wire.client.resets.values) + goaways
            #expect(seen.contains { codes.contains($0) }, "\(seen)")
        case .fine:
            #expect(goaways.isEmpty)
            let before = wire.client.frames(.ping).count
            wire.send(.ping([9, 9, 9, 9, 9, 9, 9, 9]))
            #expect(wire.client.frames(.ping).dropFirst(before).last?.payload == Array(repeating: 9, count: 8))
            #expect(!wire.isClosing)
        }
    }

    /// Trailer fields of a request that was refused may be on their way: that is nobody's error (section 5.1).
    @Test func whatCrossesAResetOfOursIsIgnored() {
        let wire = WireHarness { $0.streamWindowBytes = 10 }
        wire.send(.get(1, method: "POST", ends: false), .data(1, [UInt8](repeating: 0, count: 11)))
        #expect(wire.client.resets[1] == Code.flowControl || !wire.client.goawayCodes.isEmpty)
        let refused = WireHarness { $0.requestsInWork = 0 }
        refused.send(.get(1, method: "POST", ends: false))
        #expect(refused.client.resets[1] == Code.refusedStream)
        refused.send(.headers(1, [("x", "y")]))
        #expect(refused.client.goawayCodes.isEmpty)
        refused.send(.headers(1, [("x", "y")]))
        #expect(refused.client.goawayCodes == [5], "but it ended the stream itself the first time")
    }

    @Test func historyIsShortAndExact() {
        var history = StreamHistory()
        #expect(history.sawHeaders(1, isOpen: false) == .fine)
        #expect(history.sawHeaders(1, isOpen: true) == .fine, "trailer fields")
        #expect(history.sawHeaders(7, isOpen: false) == .fine)
        #expect(history.sawHeaders(5, isOpen: false) == .unexpected)
        #expect(history.sawHeaders(1, isOpen: false) == .late)
        history.peerEnded(1)
        #expect(history.sawHeaders(1, isOpen: false) == .closed)
        #expect(history.sawHeaders(7 + 254, isOpen: false) == .fine)
        #expect(history.sawHeaders(7, isOpen: false) == .late, "the oldest that is remembered")
        #expect(history.sawHeaders(7 + 256, isOpen: false) == .fine)
        #expect(history.sawHeaders(7, isOpen: false) == .unexpected, "forgotten")
        #expect(history.sawHeaders(Int32.max, isOpen: false) == .fine)
        #expect(history.sawHeaders(7 + 256, isOpen: false) == .unexpected)
    }

    /// Section 6.9.2: a window that became negative is filled up before anything more is sent.
    @Test func windowsMayBecomeNegative() {
        let wire = WireHarness(settings: [(4, 3)])
        wire.send(.get(1))
        wire.respond(1, .bytes([1, 2, 3, 4, 5, 6]))
        #expect(wire.client.responses[1]?.body == [1, 2, 3])
        wire.send(.settings([(4, 2)]))
        wire.send(.windowUpdate(1, by: 1))
        #expect(wire.client.responses[1]?.body == [1, 2, 3], "the window is 0 now")
        wire.send(.windowUpdate(1, by: 3))
        #expect(wire.client.responses[1]?.body == [1, 2, 3, 4, 5, 6])
    }

    /// Section 6.5.3: every SETTINGS is acknowledged, in order.
    @Test func settingsAreAcknowledged() {
        let wire = WireHarness()
        let before = wire.client.frames(.settings).filter { $0.flags == 1 }.count
        wire.send(.settings([(3, 5)]), .settings())
        #expect(wire.client.frames(.settings).filter { $0.flags == 1 }.count == before + 2)
    }
}

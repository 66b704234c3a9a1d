import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

/// One test per row of the attack table: each limit is reached, and not before.
@Suite struct GuardTests {
    private func stream(_ index: Int) -> Int32 { Int32(index * 2 + 1) }

    @Test func rapidResetEndsTheConnection() {
        let wire = WireHarness { $0.inboundResets = .init(burst: 5, perSecond: 1) }
        for index in 0..<5 { wire.send(.get(stream(index)), .reset(stream(index))) }
        #expect(!wire.isClosing)
        wire.send(.get(stream(5)), .reset(stream(5)))
        #expect(wire.closingTrips == [.inboundResets])
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
        #expect(wire.connection.closeDecision == .closeAfterFlush)
        wire.send(.get(stream(6)))
        #expect(wire.heads.count == 6, "nothing is served after the end")
    }

    @Test func resetsComeBackWithTime() {
        let wire = WireHarness { $0.inboundResets = .init(burst: 2, perSecond: 2) }
        for index in 0..<10 {
            wire.send(.get(stream(index)), .reset(stream(index)))
            wire.respond(stream(index))
            wire.wait(500)
        }
        #expect(!wire.isClosing)
        #expect(wire.heads.count == 10)
    }

    @Test func theLibrarysOwnResetLimitIsASecondLine() {
        let wire = WireHarness { $0.libraryInboundResets = .init(burst: 3, perSecond: 1) }
        for index in 0..<5 { wire.send(.get(stream(index)), .reset(stream(index))) }
        #expect(wire.isClosing)
        #expect(wire.trips.contains(.protocolError))
    }

    /// The attack in one read, without the output ever being drained: the guard must not depend on draining.
    @Test func rapidResetInOneReadIsBounded() {
        let wire = WireHarness()
        wire.reads = false
        var bytes: [UInt8] = []
        for index in 0..<20_000 { bytes += Frame.get(stream(index)).bytes + Frame.reset(stream(index)).bytes }
        wire.send(bytes)
        #expect(wire.closingTrips == [.inboundResets])
        #expect(wire.heads.count <= 201)
    }

    @Test func resetsThatThePeerCausesEndTheConnection() {
        let wire = WireHarness {
            $0.causedResets = .init(burst: 5, perSecond: 1)
            $0.streamWindowBytes = 10
            $0.lifetimeErrors = 1000
        }
        // CVE-2025-8671: a complete request, then a frame that the server must answer with RST_STREAM.
        for index in 0..<8 where !wire.isClosing {
            wire.send(.get(stream(index)), .windowUpdate(stream(index), by: 0x7fff_ffff))
        }
        #expect(wire.closingTrips == [.causedResets])
        #expect(wire.client.goawayCodes.last == Code.enhanceYourCalm)
        #expect(wire.heads.count == 6)
    }

    @Test func workOutlivesTheStreamThatBeganIt() {
        let wire = WireHarness { $0.requestsInWork = 3 }
        for index in 0..<3 { wire.send(.get(stream(index)), .reset(stream(index))) }
        #expect(wire.cancelled.count == 3)
        #expect(wire.connection.openStreams == 0)
        wire.send(.get(stream(3)))
        #expect(wire.client.resets[stream(3)] == Code.refusedStream)
        #expect(wire.trips.contains(.requestsInWork))
        #expect(wire.heads.count == 3)
        wire.respond(stream(0))
        wire.send(.get(stream(4)))
        #expect(wire.heads.count == 4, "an answer into the void frees its place")
    }

    @Test func streamsBeyondTheAnnouncedLimitAreNotOpened() {
        let wire = WireHarness { $0.concurrentStreams = 4 }
        let settings = wire.client.frames(.settings).first { $0.flags == 0 }
        #expect(settings?.payload.starts(with: [0, 3, 0, 0, 0, 4]) == true)
        for index in 0..<6 { wire.send(.get(stream(index))) }
        #expect(wire.heads.count == 4)
    }

    @Test func continuationFloodsEndTheConnection() {
        let wire = WireHarness { $0.continuations = 4 }
        wire.send(Frame(.headers, stream: 1, payload: Frame.block(Frame.request())))
        for _ in 0..<4 { wire.send(Frame(.continuation, stream: 1)) }
        #expect(!wire.isClosing)
        wire.send(Frame(.continuation, stream: 1))
        #expect(wire.closingTrips == [.continuations])
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
    }

    @Test(arguments: [
        Frame.ping(), .settings([(3, 100)]), .windowUpdate(0, by: 1),
        Frame(.priority, stream: 99, payload: [0, 0, 0, 0, 16]), Frame(.unknown, payload: [1, 2, 3]),
        Frame(.unknown),
    ])
    func controlFloodsEndTheConnection(frame: Frame) {
        // The harness has sent two control frames already.
        let wire = WireHarness { $0.controlFrames = .init(burst: 12, perSecond: 1) }
        for _ in 0..<10 { wire.send(frame) }
        #expect(!wire.isClosing)
        wire.send(frame)
        #expect(wire.closingTrips == [.controlFrames])
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
    }

    @Test(arguments: [[UInt8](), [3, 0, 0, 0]])
    func dataFramesWithoutDataEndTheConnection(payload: [UInt8]) {
        let wire = WireHarness { $0.controlFrames = .init(burst: 12, perSecond: 1) }
        wire.send(.get(1, method: "POST", ends: false))
        let frame = Frame(.data, flags: payload.isEmpty ? 0 : Frame.padded, stream: 1, payload: payload)
        for _ in 0..<10 { wire.send(frame) }
        #expect(!wire.isClosing)
        wire.send(frame)
        #expect(wire.closingTrips == [.controlFrames])
    }

    @Test func bodyBytesEarnControlFramesBack() {
        let wire = WireHarness(
            { $0.controlFrames = .init(burst: 12, perSecond: 0) }, settings: [(4, 1024)])
        wire.send(.get(1))
        wire.respond(1, .bytes([UInt8](repeating: 1, count: 60_000)))
        for _ in 0..<58 { wire.send(.windowUpdate(1, by: 1024)) }
        #expect(wire.client.responses[1]?.isComplete == true, "a client with a small window is served")
        #expect(!wire.isClosing)
    }

    @Test func acknowledgementsThatNobodyReadsEndTheConnection() {
        let wire = WireHarness { $0.outboundAcknowledgements = 10 }
        wire.reads = false
        for _ in 0..<9 { wire.send(.ping()) }
        #expect(!wire.isClosing)
        for _ in 0..<3 { wire.send(.ping()) }
        #expect(wire.closingTrips == [.outboundAcknowledgements])
        wire.read()
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
    }

    @Test func tooManySettingsEntriesEndTheConnection() {
        let wire = WireHarness { $0.settingsEntries = 4 }
        wire.send(.settings(Array(repeating: (3, 100), count: 4)))
        #expect(!wire.isClosing)
        wire.send(.settings(Array(repeating: (3, 100), count: 5)))
        #expect(wire.isClosing)
        #expect(wire.client.goawayCodes.count == 1)
        #expect(wire.client.goawayCodes.first != Code.noError)
    }

    @Test func aHeaderListOverItsBytesIsAnswered431ThenFatal() {
        let wire = WireHarness { $0.headerListBytes = 1000 }
        let value = String(repeating: "v", count: 1000)
        wire.send(.get(1, [("x", value)]))
        #expect(wire.client.responses[1]?.status == "431")
        #expect(wire.heads.isEmpty)
        #expect(!wire.isClosing)
        wire.send(.get(3))
        #expect(wire.heads.count == 1)
        wire.send(.get(5, [("x", value)]))
        #expect(wire.closingTrips == [.headerListRepeated])
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
    }

    @Test func aHeaderListOverItsFieldsIsAnswered431() {
        let wire = WireHarness { $0.headerListFields = 20 }
        let fields = (0..<16).map { ("x-\($0)", "v") }
        wire.send(.get(1, fields))
        #expect(wire.heads.count == 1, "four pseudo-header fields and sixteen others are the limit")
        wire.send(.get(3, fields + [("y", "v")]))
        #expect(wire.client.responses[3]?.status == "431")
    }

    /// CVE-2016-6581: one indexed field repeated; decoding must stop, not only storing.
    @Test func aHeaderBombIsNotDecodedToItsEnd() {
        let wire = WireHarness { $0.headerListBytes = 4000 }
        let pseudo = Frame.block(Frame.request())
        let large = Frame.indexingBlock([("x", String(repeating: "v", count: 2000))])
        wire.send(
            Frame(
                .headers, flags: 5, stream: 1,
                payload: pseudo + large + [UInt8](repeating: 0x80 | 62, count: 10_000)))
        #expect(wire.client.resets[1] == Code.internalError)
        #expect(wire.connection.head.listFields < 20)
        #expect(wire.trips.contains(.headerList))
    }

    @Test func trailersCountAsAHeaderList() {
        let wire = WireHarness { $0.headerListBytes = 1000 }
        wire.send(.get(1, method: "POST", ends: false))
        wire.send(.headers(1, [("x", String(repeating: "v", count: 1000))]))
        #expect(wire.client.responses[1]?.status == "431")
        #expect(wire.cancelled == [StreamID(1)])
        wire.respond(1)
        #expect(wire.connection.requestsInWork == 0)
    }

    @Test func aBodyWhoseLengthIsTooLargeIsRefusedUnread() {
        let wire = WireHarness { $0.requestBodyBytes = 100 }
        wire.send(.get(1, path: "/a\"b?c", method: "POST", [("content-length", "101")], ends: false))
        #expect(wire.client.responses[1]?.status == "413")
        let document = String(decoding: wire.client.responses[1]?.body ?? [], as: UTF8.self)
        #expect(document.contains(#""type":"/problems#content-too-large","title":"Content too large","status":413"#))
        #expect(document.contains(#""instance":"/a\"b""#), "the path without its query: \(document)")
        #expect(wire.heads.isEmpty)
        #expect(wire.client.resets[1] == nil, "curl loses an answer that a reset follows at once")
        wire.send(.data(1, [1, 2, 3]))
        wire.wait(WireLimits().unwantedBodyMilliseconds + 1)
        #expect(wire.client.resets[1] == Code.noError, "the answer is complete and the body not wanted")
        wire.send(.get(3, method: "POST", [("content-length", "100")], ends: false))
        #expect(wire.heads.count == 1)
    }

    @Test func aBodyThatGrowsTooLargeIsRefused() {
        let wire = WireHarness { $0.requestBodyBytes = 100 }
        wire.send(.get(1, method: "POST", ends: false), .data(1, [UInt8](repeating: 0, count: 100)))
        #expect(wire.trips.isEmpty)
        wire.send(.data(1, [0], ends: true))
        #expect(wire.client.responses[1]?.status == "413")
        #expect(wire.trips == [.requestBody])
        #expect(wire.cancelled == [StreamID(1)])
        #expect(!wire.ended.contains(StreamID(1)))
        wire.respond(1)
        #expect(wire.connection.requestsInWork == 0)
        #expect(wire.connection.heldRequestBytes == 0)
    }

    @Test func bodiesOfManyRequestsTogetherAreBounded() {
        let wire = WireHarness {
            $0.requestBodyBytes = 100
            $0.heldRequestBytes = 150
        }
        for index in 0..<2 {
            wire.send(.get(stream(index), method: "POST", ends: false))
            wire.send(.data(stream(index), [UInt8](repeating: 0, count: 90)))
        }
        #expect(wire.client.responses[1] == nil)
        #expect(wire.client.responses[3]?.status == "503")
        #expect(wire.trips == [.heldRequests])
    }

    @Test func responsesThatWaitAreBounded() {
        let wire = WireHarness({ $0.parkedResponseBytes = 1000 }, settings: [(4, 0)])
        wire.send(.get(1), .get(3))
        wire.respond(1, .bytes([UInt8](repeating: 1, count: 900)))
        wire.respond(3, .bytes([UInt8](repeating: 1, count: 200)))
        #expect(wire.client.responses[1]?.status == "200")
        #expect(wire.client.responses[3]?.status == "503")
        #expect(wire.trips == [.parkedResponses])
    }

    /// A client that asks for one large report on many streams at once holds one array.
    @Test func theSameBodyOnManyStreamsWaitsOnce() {
        let wire = WireHarness({ $0.parkedResponseBytes = 1000 }, settings: [(4, 0)])
        let body = [UInt8](repeating: 1, count: 900)
        wire.send(.get(1), .get(3), .get(5))
        wire.respond(1, .bytes(body))
        wire.respond(3, .bytes(body))
        wire.respond(5, .bytes([UInt8](repeating: 2, count: 900)))
        #expect(wire.client.responses[3]?.status == "200")
        #expect(wire.client.responses[5]?.status == "503")
        #expect(wire.trips == [.parkedResponses])
        #expect(wire.connection.parkedBytes < 1800)
    }

    @Test func errorsOfALifetimeEndTheConnection() {
        let wire = WireHarness { $0.lifetimeErrors = 3 }
        for index in 0..<3 {
            wire.send(.get(stream(index), [("connection", "close")]))
            wire.wait(60_000)
        }
        #expect(!wire.isClosing)
        wire.send(.get(stream(3), [("connection", "close")]))
        #expect(wire.closingTrips == [.errorBudget])
    }

    @Test(arguments: [
        // Zero increment on the connection, DATA on stream 0, HEADERS on an even stream, a PING of 7 bytes.
        Frame.windowUpdate(0, by: 0), .data(0, [1]), .get(2), Frame(.ping, payload: [1, 2, 3, 4, 5, 6, 7]),
        // An acknowledgement of settings that were not sent.
        Frame(.settings, flags: Frame.acknowledgement),
    ])
    func connectionErrorsEndTheConnection(frame: Frame) {
        let wire = WireHarness()
        wire.send(frame)
        #expect(wire.isClosing)
        #expect(wire.trips.contains(.protocolError))
        #expect(wire.client.goawayCodes.count == 1)
        #expect(wire.client.goawayCodes.first != Code.noError)
    }

    @Test func aWrongPrefaceEndsTheConnection() {
        let wire = WireHarness(preface: false)
        wire.send(Array("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".utf8))
        #expect(wire.client.goawayCodes == [Code.protocolError])
        #expect(wire.connection.closeDecision == .closeAfterFlush)
    }

    @Test func windowSizeGamesAreCharged() {
        let wire = WireHarness({ $0.controlFrames = .init(burst: 50, perSecond: 1) })
        wire.send(.get(1))
        wire.respond(1, .source(ScriptedSource([.notNow])))
        for index in 0..<60 where !wire.isClosing { wire.send(.settings([(4, index % 2 == 0 ? 0 : 65_535)])) }
        #expect(wire.closingTrips == [.controlFrames])
        #expect(wire.cancelled == [], "the request was answered; only its body was not finished")
    }
}

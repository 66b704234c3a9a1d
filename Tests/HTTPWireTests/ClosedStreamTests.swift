import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

/// DATA on streams that are not open any more (RFC 9113 sections 5.1 and 6.1): an error where the peer ended the stream, and
/// bounded where we did.
@Suite struct ClosedStreamTests {
    private static let closed: UInt32 = 5

    @Test func dataAfterTheEndIsAnErrorOnceTheStreamIsClosed() {
        for payload in [[], [UInt8](repeating: 1, count: 16_384)] {
            for ends in [false, true] {
                let wire = WireHarness()
                wire.send(.get(1))
                wire.respond(1)
                #expect(wire.client.responses[1]?.isComplete == true)
                wire.send(.data(1, payload, ends: ends))
                #expect(wire.client.goawayCodes == [Self.closed])
                #expect(wire.closingTrips == [.closedStreams])
            }
        }
    }

    @Test func dataAfterTheEndOfABodyIsAnError() {
        let wire = WireHarness()
        wire.send(.get(1, method: "POST", ends: false), .data(1, [1], ends: true))
        wire.respond(1)
        wire.send(.data(1, []))
        #expect(wire.client.goawayCodes == [Self.closed])
    }

    @Test func dataAfterThePeersResetIsAnErrorAlsoInOneRead() {
        let wire = WireHarness()
        wire.send(Frame.get(1, method: "POST", ends: false).bytes + Frame.reset(1).bytes + Frame.data(1, [1]).bytes)
        #expect(wire.client.goawayCodes == [Self.closed])
        #expect(wire.closingTrips == [.closedStreams])
    }

    @Test func dataOnASkippedStreamIsAnError() {
        let wire = WireHarness()
        wire.send(.get(5), .data(3, [1]))
        #expect(wire.client.goawayCodes == [Self.closed])
    }

    /// What was under way when we reset the stream fits into its window.
    @Test func whatWasUnderWayIsToleratedAndNoMore() {
        let wire = WireHarness {
            $0.unwantedBodyBytes = 0
            $0.streamWindowBytes = 1000
            $0.requestBodyBytes = 10
        }
        wire.send(.get(1, method: "POST", [("content-length", "5000")], ends: false))
        #expect(wire.client.responses[1]?.status == "413")
        wire.send(.data(1, [1]))
        #expect(wire.client.resets[1] == Code.noError, "not a byte is dropped here before that is said")
        for _ in 0..<10 { wire.send(.data(1, [UInt8](repeating: 1, count: 99))) }
        #expect(!wire.isClosing, "990 bytes fit into the window")
        wire.send(.data(1, [UInt8](repeating: 1, count: 11)))
        #expect(wire.client.goawayCodes == [Self.closed])
        #expect(wire.closingTrips == [.closedStreams])
    }

    @Test func emptyFramesOnAStreamThatWeResetAreCharged() {
        let wire = WireHarness {
            $0.unwantedBodyBytes = 0
            $0.requestBodyBytes = 10
            $0.controlFrames = .init(burst: 50, perSecond: 1)
        }
        wire.send(.get(1, method: "POST", [("content-length", "5000")], ends: false), .data(1, [1]))
        for _ in 0..<60 where !wire.isClosing { wire.send(.data(1, [])) }
        #expect(wire.closingTrips == [.closedStreams])
    }

    @Test func theEndOfALateBodyIsItsEnd() {
        let wire = WireHarness { $0.requestsInWork = 0 }
        wire.send(.get(1, method: "POST", ends: false))
        #expect(wire.client.resets[1] == Code.refusedStream)
        wire.send(.data(1, [1], ends: true))
        #expect(!wire.isClosing)
        wire.send(.data(1, [1]))
        #expect(wire.client.goawayCodes == [Self.closed])
    }

    /// The whole request in one read: the reset that says no is not even written when its body is looked at.
    @Test func theBodyOfARefusedRequestIsNobodysFault() {
        let wire = WireHarness { $0.requestsInWork = 0 }
        wire.send(Frame.get(1, method: "POST", ends: false).bytes + Frame.data(1, [1, 2, 3], ends: true).bytes)
        #expect(wire.client.resets[1] == Code.refusedStream)
        #expect(!wire.isClosing)
    }

    @Test func aRequestThatCrossesTheEndOfAStopIsNobodysFault() {
        let wire = WireHarness()
        wire.send(.get(1))
        wire.connection.beginStop(now: wire.now)
        wire.read()
        wire.send(.ping(wire.client.frames(.ping).last?.payload ?? [], acknowledges: true))
        wire.send(.get(3, method: "POST", ends: false), .data(3, [UInt8](repeating: 1, count: 16_000), ends: true))
        #expect(wire.client.goawayCodes.allSatisfy { $0 == Code.noError })
        wire.respond(1)
        #expect(wire.client.responses[1]?.isComplete == true)
    }

    /// Trailer fields that crossed our reset are nobody's fault; a block can follow once, and must end the stream.
    @Test func trailersThatCrossAResetAreToleratedAndNoMore() {
        let wire = WireHarness { $0.requestsInWork = 0 }
        wire.send(.get(1, method: "POST", ends: false), .headers(1, [("a", "b")]))
        #expect(wire.client.resets[1] == Code.refusedStream)
        #expect(!wire.isClosing)
        wire.send(.headers(1, [("a", "b")]))
        #expect(wire.client.goawayCodes == [Self.closed])
        #expect(wire.closingTrips == [.closedStreams])
    }

    @Test func headersWithoutEndOnAStreamThatWeResetAreCharged() {
        let wire = WireHarness { $0.controlFrames = .init(burst: 50, perSecond: 1) }
        wire.send(.get(1, method: "POST", ends: false), .headers(1, [("a", "b")], ends: false))
        #expect(wire.client.resets[1] == Code.protocolError)
        for _ in 0..<40 { wire.send(.headers(1, [], ends: false)) }
        #expect(!wire.isClosing)
        for _ in 0..<20 where !wire.isClosing { wire.send(.headers(1, [], ends: false)) }
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
        #expect(wire.closingTrips == [.lateHeaders])
    }

    /// A reference is a byte on the wire and a field of kilobytes behind it.
    @Test func referencesInIgnoredBlocksAreCharged() {
        let references = [UInt8](repeating: 0x80 | 62, count: 900)
        let late = Frame(.headers, flags: Frame.endHeaders, stream: 1, payload: references)
        let wire = WireHarness {
            $0.ignoredFields = 4000
            $0.ignoredFieldsPerReset = 10
        }
        let large = Frame.indexingBlock([("x", String(repeating: "v", count: 3000))])
        wire.send(
            Frame(
                .headers, flags: Frame.endHeaders, stream: 1,
                payload: Frame.block(Frame.request(method: "POST")) + large))
        wire.send(.headers(1, [("a", "b")], ends: false))
        for _ in 0..<4 { wire.send(late) }
        #expect(!wire.isClosing)
        wire.send(late)
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
        #expect(wire.closingTrips == [.lateHeaders])
    }

    /// CONTINUATION is told to nobody, so a block that is not whole counts for more.
    @Test func ignoredBlocksThatGoOnAreCharged() {
        let wire = WireHarness()
        wire.send(.get(1, method: "POST", ends: false), .headers(1, [("a", "b")], ends: false))
        let references = [UInt8](repeating: 0x82, count: 16_000)
        for _ in 0..<5 where !wire.isClosing {
            wire.send(Frame(.headers, stream: 1, payload: []))
            for _ in 0..<7 where !wire.isClosing { wire.send(Frame(.continuation, stream: 1, payload: references)) }
            if !wire.isClosing { wire.send(Frame(.continuation, flags: Frame.endHeaders, stream: 1)) }
        }
        #expect(wire.closingTrips == [.lateHeaders])
    }

    /// The rest of a block whose stream was refused while it came.
    @Test func blocksOfRefusedRequestsAreCharged() {
        let wire = WireHarness {
            $0.requestsInWork = 0
            $0.ignoredFields = 4000
            $0.ignoredFieldsPerReset = 1000
        }
        let honest = Frame.get(1).payload
        for index in 0..<30 { wire.send(Frame(.headers, flags: 5, stream: Int32(index * 2 + 1), payload: honest)) }
        #expect(!wire.isClosing, "what an honest client sends comes back with each reset")
        let block = honest + [UInt8](repeating: 0x82, count: 2000)
        for index in 30..<40 where !wire.isClosing {
            wire.send(Frame(.headers, flags: 5, stream: Int32(index * 2 + 1), payload: block))
        }
        #expect(wire.closingTrips == [.lateHeaders])
    }

    @Test func headersOfFramesAreFoundWhereverReadsEnd() {
        let frames: [Frame] = [
            .settings([(3, 5)]), .get(1, method: "POST", ends: false), .data(1, [1, 2, 3]), .data(1, []),
            Frame(.data, flags: Frame.padded, stream: 1, payload: [3, 0, 0, 0]), .data(1, [4], ends: true), .get(3),
            .data(0x7fff_ffff, [UInt8](repeating: 0, count: 300)),
        ]
        let bytes = Frame.preface + frames.flatMap(\.bytes)
        func found(in step: Int) -> [FrameScanner.Data] {
            var scanner = FrameScanner()
            var found: [FrameScanner.Data] = []
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + step)
                bytes[start..<end].withUnsafeBytes { piece in
                    var offset = 0
                    while let data = scanner.nextData(in: piece, &offset) { found.append(data) }
                    #expect(offset == piece.count)
                }
                start = end
            }
            return found
        }
        let whole = found(in: bytes.count)
        #expect(whole.map(\.stream.number) == [1, 1, 1, 1, 0x7fff_ffff])
        #expect(whole.map(\.count) == [3, 0, 4, 1, 300])
        #expect(whole.map(\.endsStream) == [false, false, false, true, false])
        #expect(whole.map(\.mayBeNews) == [true, false, false, false, true])
        for step in 1..<40 { #expect(found(in: step) == whole, "\(step)") }
    }
}

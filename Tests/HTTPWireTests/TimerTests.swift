import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

/// Every timer, with a clock that only the test moves: just before the limit nothing happens, just after it does.
@Suite struct TimerTests {
    @Test func thePrefaceAndItsSettingsAreAwaited() {
        let wire = WireHarness({ $0.prefaceMilliseconds = 1000 }, preface: false)
        wire.send(Frame.preface)
        wire.wait(1000)
        #expect(!wire.isClosing)
        wire.wait(1)
        #expect(wire.closingTrips == [.prefaceTimeout])
    }

    @Test func aHeaderBlockMustEnd() {
        let wire = WireHarness { $0.headMilliseconds = 1000 }
        wire.send(Frame(.headers, stream: 1, payload: Frame.block(Frame.request())))
        wire.wait(600)
        wire.send(Frame(.continuation, stream: 1))
        wire.wait(400)
        #expect(!wire.isClosing)
        wire.wait(1)
        #expect(wire.closingTrips == [.headTimeout])
    }

    @Test func aHeadersFrameWithoutItsPayloadTimesOutToo() {
        let wire = WireHarness { $0.headMilliseconds = 1000 }
        wire.send(Array(Frame.get(1).bytes[..<9]))
        wire.wait(1001)
        #expect(wire.closingTrips == [.headTimeout])
    }

    @Test func aCompleteHeadIsNotTimed() {
        let wire = WireHarness { $0.headMilliseconds = 1000 }
        wire.send(.get(1))
        wire.wait(5000)
        #expect(!wire.isClosing)
    }

    @Test func aStalledBodyIsAnswered408() {
        let wire = WireHarness { $0.bodyProgressMilliseconds = 1000 }
        wire.send(.get(1, method: "POST", ends: false), .data(1, [UInt8](repeating: 0, count: 1000)))
        wire.wait(1000)
        #expect(wire.client.responses[1] == nil)
        wire.wait(1)
        #expect(wire.client.responses[1]?.status == "408")
        #expect(wire.trips == [.bodyTimeout])
        #expect(wire.cancelled == [StreamID(1)])
        #expect(!wire.isClosing)
    }

    @Test func aTricklingBodyIsAnswered408() {
        let wire = WireHarness {
            $0.bodyProgressMilliseconds = 1000
            $0.bodyBytesPerSecond = 100
        }
        wire.send(.get(1, method: "POST", ends: false))
        for _ in 0..<10 where wire.client.responses[1] == nil {
            wire.send(.data(1, [1]))
            wire.wait(500)
        }
        #expect(wire.client.responses[1]?.status == "408")
    }

    @Test func aBodyThatWeHoldBackIsNotTimed() {
        let wire = WireHarness {
            $0.bodyProgressMilliseconds = 1000
            $0.streamWindowBytes = 10
        }
        wire.send(.get(1, method: "POST", ends: false), .data(1, [UInt8](repeating: 0, count: 10)))
        wire.wait(5000)
        #expect(wire.client.responses[1] == nil, "the peer may not send, so it cannot be late")
    }

    @Test func aResponseThatIsNotTakenEndsTheConnection() {
        let wire = WireHarness({ $0.writeProgressMilliseconds = 1000 }, settings: [(4, 0)])
        wire.send(.get(1))
        wire.respond(1, .bytes([1, 2, 3]))
        wire.wait(1)
        wire.wait(1001)
        // The first window held the response's header bytes; the second is empty.
        wire.wait(1001)
        #expect(wire.closingTrips == [.writeTimeout])
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
    }

    @Test func aResponseThatIsTakenByteByByteEndsTheConnection() {
        let wire = WireHarness({ $0.writeProgressMilliseconds = 1000 }, settings: [(4, 0)])
        wire.send(.get(1))
        wire.respond(1, .bytes([UInt8](repeating: 1, count: 1000)))
        for _ in 0..<100 where !wire.isClosing {
            wire.send(.windowUpdate(1, by: 1))
            wire.wait(100)
        }
        #expect(wire.closingTrips == [.writeTimeout])
    }

    @Test func aSourceThatIsNotReadyIsNotThePeersFault() {
        let wire = WireHarness {
            $0.writeProgressMilliseconds = 1000
            $0.idleMilliseconds = 1000
        }
        wire.send(.get(1))
        wire.respond(1, .source(ScriptedSource([.notNow, .end])))
        for _ in 0..<20 { wire.wait(1000) }
        #expect(!wire.isClosing)
        wire.connection.resume(stream: StreamID(1))
        wire.wait(1)
        #expect(wire.client.responses[1]?.isComplete == true)
    }

    @Test func anIdleConnectionIsClosedPolitely() {
        let wire = WireHarness { $0.idleMilliseconds = 1000 }
        wire.send(.get(1))
        wire.wait(5000)
        #expect(!wire.isClosing, "a request is in work")
        wire.respond(1)
        wire.wait(1000)
        #expect(!wire.isClosing)
        wire.wait(1)
        #expect(wire.closingTrips == [.idleTimeout])
        #expect(wire.client.goawayCodes == [Code.noError])
        #expect(wire.isClosing)
    }

    // MARK: - Graceful stop

    @Test func aGracefulStopServesWhatWasAskedBeforeThePeerKnew() {
        let wire = WireHarness()
        wire.send(.get(1))
        wire.connection.beginStop(now: wire.now)
        wire.read()
        #expect(wire.client.frames(.goaway).map { $0.word(at: 0) } == [0x7fff_ffff])
        // This request crosses the GOAWAY on its way.
        wire.send(.get(3))
        #expect(wire.heads.count == 2)
        let ping = wire.client.frames(.ping).last
        wire.send(.ping(ping?.payload ?? [], acknowledges: true))
        #expect(wire.client.frames(.goaway).map { $0.word(at: 0) } == [0x7fff_ffff, 3])
        #expect(wire.client.goawayCodes == [Code.noError, Code.noError])
        wire.send(.get(5))
        #expect(wire.heads.count == 2, "streams after the announced last one are ignored")
        #expect(!wire.isClosing)
        wire.respond(1)
        #expect(!wire.isClosing)
        wire.respond(3)
        #expect(wire.client.responses[1]?.status == "200")
        #expect(wire.client.responses[3]?.status == "200")
        #expect(wire.connection.closeDecision == .closeAfterFlush)
    }

    @Test func anIdlePeerIsAskedBeforeItIsClosed() {
        let wire = WireHarness { $0.stopPingMilliseconds = 500 }
        wire.connection.beginStop(now: wire.now)
        wire.read()
        #expect(!wire.isClosing)
        wire.wait(500)
        #expect(!wire.isClosing)
        wire.wait(1)
        #expect(wire.client.frames(.goaway).count == 2)
        #expect(wire.isClosing)
        #expect(wire.trips.isEmpty)
    }

    @Test func aForeignPingDoesNotEndTheStop() {
        let wire = WireHarness()
        wire.connection.beginStop(now: wire.now)
        wire.read()
        wire.send(.ping([0, 0, 0, 0, 0, 0, 0, 0], acknowledges: true))
        #expect(wire.client.frames(.goaway).count == 1)
    }
}

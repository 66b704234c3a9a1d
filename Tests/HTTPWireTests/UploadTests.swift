import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

/// Request bodies: what is read after an answer, how slowly and in how small pieces they may come.
@Suite struct UploadTests {
    /// A client that looks for the answer when it has sent everything gets a window for that.
    @Test func aBodyIsReadOnAfterItsAnswer() {
        let wire = WireHarness {
            $0.streamWindowBytes = 10_000
            $0.unwantedBodyBytes = 50_000
            $0.requestBodyBytes = 100
        }
        wire.send(.get(1, method: "POST", [("content-length", "45000")], ends: false))
        #expect(wire.client.responses[1]?.status == "413")
        var window = 10_000
        for index in 0..<45 {
            let before = wire.client.frames(.windowUpdate).count
            #expect(window >= 1000, "after \(index) pieces")
            wire.send(.data(1, [UInt8](repeating: 1, count: 1000), ends: index == 44))
            window -= 1000
            for frame in wire.client.frames(.windowUpdate).dropFirst(before) where frame.stream == 1 {
                window += Int(frame.word(at: 0))
            }
        }
        #expect(wire.client.resets.isEmpty && wire.client.goawayCodes.isEmpty)
        #expect(!wire.connection.isBusy, "and then the stream is over")
    }

    @Test func noMoreThanTheBoundIsReadAfterAnAnswer() {
        let wire = WireHarness {
            $0.streamWindowBytes = 10_000
            $0.unwantedBodyBytes = 20_000
        }
        wire.send(.get(1, method: "POST", ends: false))
        wire.respond(1, status: .unauthorized)
        for _ in 0..<20 { wire.send(.data(1, [UInt8](repeating: 1, count: 1000))) }
        #expect(wire.client.resets[1] == nil)
        wire.send(.data(1, [1]))
        #expect(wire.client.resets[1] == Code.noError)
        #expect(wire.bodies[StreamID(1)] == nil, "nothing of it is handed out")
        #expect(wire.connection.heldRequestBytes == 0)
    }

    @Test func aBodyThatGoesOnForTooLongAfterItsAnswerIsReset() {
        let wire = WireHarness {
            $0.unwantedBodyMilliseconds = 1000
            $0.unwantedBodyTotalMilliseconds = 5000
        }
        wire.send(.get(1, method: "POST", ends: false))
        wire.respond(1, status: .unauthorized)
        for _ in 0..<5 {
            wire.wait(1000)
            #expect(wire.client.resets[1] == nil)
            wire.send(.data(1, [UInt8](repeating: 1, count: 100)))
        }
        wire.wait(1)
        #expect(wire.client.resets[1] == Code.noError)
    }

    /// Megabytes at once do not earn hours of a byte now and then.
    @Test func theSlowestRateIsThatOfEachWindow() {
        func change(_ limits: inout WireLimits) {
            limits.bodyProgressMilliseconds = 1000
            limits.bodyBytesPerSecond = 100
        }
        let wire = WireHarness(change)
        wire.send(.get(1, method: "POST", ends: false))
        for _ in 0..<15 { wire.send(.data(1, [UInt8](repeating: 1, count: 16_000))) }
        let other = HTTP1Harness(change)
        other.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        other.send([UInt8](repeating: 1, count: 240_000))
        for _ in 0..<8 {
            wire.send(.data(1, [1]))
            wire.wait(300)
            other.send([1])
            other.wait(300)
        }
        #expect(wire.client.responses[1]?.status == "408")
        #expect(wire.trips == [.bodyTimeout])
        #expect(other.statuses == ["408"])
        #expect(other.trips == [.bodyTimeout])
    }

    @Test func aBodyAtTheSlowestRateIsRead() {
        let wire = WireHarness {
            $0.bodyProgressMilliseconds = 1000
            $0.bodyBytesPerSecond = 100
        }
        wire.send(.get(1, method: "POST", ends: false))
        for _ in 0..<100 {
            wire.send(.data(1, [UInt8](repeating: 1, count: 30)))
            wire.wait(250)
        }
        #expect(wire.trips.isEmpty)
    }

    @Test func bodiesInVerySmallPiecesEndTheConnection() {
        let wire = WireHarness { $0.smallPieces = .init(burst: 20, perSecond: 1) }
        wire.send(.get(1, method: "POST", ends: false))
        for _ in 0..<20 { wire.send(.data(1, [1])) }
        #expect(!wire.isClosing)
        // Padding makes a frame no larger.
        wire.send(Frame(.data, flags: Frame.padded, stream: 1, payload: [200, 1] + [UInt8](repeating: 0, count: 200)))
        #expect(wire.closingTrips == [.smallPieces])
        #expect(wire.client.goawayCodes == [Code.enhanceYourCalm])
    }

    @Test func bodiesInVerySmallChunksAreRefused() {
        let wire = HTTP1Harness { $0.smallPieces = .init(burst: 20, perSecond: 1) }
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in 0..<20 { wire.send("1\r\nx\r\n") }
        #expect(wire.trips.isEmpty)
        wire.send("1\r\nx\r\n")
        #expect(wire.trips == [.smallPieces])
        #expect(wire.statuses == ["429"])
        #expect(wire.text.contains("retry-after: 1\r\n"))
        #expect(wire.isClosing)
    }

    /// A text line by line, empty lines among them.
    @Test func bodiesInPiecesThatAreNotVerySmallAreRead() {
        let wire = WireHarness { $0.smallPieces = .init(burst: 20, perSecond: 0) }
        wire.send(.get(1, method: "POST", ends: false))
        let other = HTTP1Harness { $0.smallPieces = .init(burst: 20, perSecond: 0) }
        other.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in 0..<300 {
            for count in [1, 63, 2, 70] {
                wire.send(.data(1, [UInt8](repeating: 1, count: count)))
                other.send("\(String(count, radix: 16))\r\n\(String(repeating: "x", count: count))\r\n")
            }
        }
        #expect(wire.trips.isEmpty && other.trips.isEmpty)
    }

    /// Whoever waits for 100 and gets the answer instead need not send the body (RFC 9110 section 10.1.1).
    @Test func noHundredGoesBeforeAnAnswerThatIsAtHand() {
        let wire = WireHarness()
        wire.reads = false
        wire.send(.get(1, method: "POST", [("expect", "100-continue")], ends: false))
        wire.respond(1, status: .notFound)
        wire.read()
        #expect(wire.client.responses[1]?.informational == [])
        #expect(wire.client.responses[1]?.status == "404")
        wire.reads = true
        wire.send(.get(3, method: "POST", [("expect", "100-continue")], ends: false))
        #expect(wire.client.responses[3]?.informational == ["100"])
        wire.send(.get(5, method: "POST", [("expect", "100-continue")]))
        #expect(wire.client.responses[5] == nil, "there is no body to wait for")
    }
}

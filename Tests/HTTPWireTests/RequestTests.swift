import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

@Suite struct RequestTests {
    @Test func aRequestArrivesWithAllItsParts() throws {
        let wire = WireHarness()
        wire.send(.get(1, path: "/v1/kernels?limit=3", [("accept", "text/plain"), ("x-odd-name", "a b")]))
        let head = try #require(wire.heads.first)
        #expect(head.stream == StreamID(1))
        #expect(head.ends)
        #expect(head.request.method == .get)
        #expect(head.request.path == "/v1/kernels?limit=3")
        #expect(head.request.authority == "test")
        #expect(head.request.scheme == "http")
        #expect(head.request.headerFields[.accept] == "text/plain")
        #expect(head.request.headerFields.map(\.name.canonicalName) == ["accept", "x-odd-name"])
        #expect(wire.connection.isBusy)
    }

    /// Indexed fields take the memo's path: the same, a prefix, an extension and a different list must all be right.
    @Test func repeatedFieldsComeBackFromTheTable() throws {
        let wire = WireHarness()
        let pseudo = Frame.block(Frame.request())
        let fields = [("user-agent", "probe"), ("accept", "*/*"), ("content-length", "0")]
        // Dynamic table after this: 62 = content-length, 63 = accept, 64 = user-agent.
        let blocks: [([UInt8], [String])] = [
            (pseudo + Frame.indexingBlock(fields), ["probe", "*/*", "0"]),
            (pseudo + [0x80 | 64, 0x80 | 63, 0x80 | 62], ["probe", "*/*", "0"]),
            (pseudo + [0x80 | 64, 0x80 | 63], ["probe", "*/*"]),
            (pseudo + [0x80 | 64, 0x80 | 63, 0x80 | 62] + Frame.block([("x-more", "m")]), ["probe", "*/*", "0", "m"]),
            (pseudo + [0x80 | 63, 0x80 | 64], ["*/*", "probe"]),
            (pseudo, []),
            (pseudo + [0x80 | 64, 0x80 | 63, 0x80 | 62], ["probe", "*/*", "0"]),
        ]
        for (index, block) in blocks.enumerated() {
            let stream = Int32(index * 2 + 1)
            wire.send(Frame(.headers, flags: Frame.endHeaders | Frame.endStream, stream: stream, payload: block.0))
            let head = try #require(wire.heads.last)
            #expect(head.stream == StreamID(stream))
            #expect(head.request.headerFields.map(\.value) == block.1, "block \(index)")
        }
        #expect(wire.heads.count == blocks.count)
    }

    /// Pseudo fields too: what repeats the request before is the same object, what differs in anything is read anew.
    @Test func aRepeatedRequestIsKnownAgain() throws {
        let wire = WireHarness()
        let base = Frame.request(path: "/a/b")
        let requests: [(fields: [(String, String)], isRepeated: Bool)] = [
            (base, false), (base, true), (base, true),
            (Frame.request(path: "/a/c"), false), (Frame.request(path: "/a/c"), true),
            (Frame.request(path: "/a"), false), (Frame.request(path: "/a/b"), false),
            (Frame.request(path: "/a/b", method: "HEAD"), false), (base, false),
            ([base[1], base[0]] + base[2...], false), (base, false), (base, true),
            (base.filter { $0.0 != ":authority" } + [("host", "test")], false), (base, false), (base, true),
        ]
        for (index, request) in requests.enumerated() {
            wire.send(.headers(Int32(index * 2 + 1), request.fields))
            let seen = try #require(wire.received.last)
            #expect(wire.received.count == index + 1)
            #expect((wire.received.dropLast().last === seen) == request.isRepeated, "request \(index)")
            func value(_ name: String) -> String? { request.fields.first { $0.0 == name }?.1 }
            #expect(seen.request.path == value(":path"), "request \(index)")
            #expect(seen.request.method.rawValue == value(":method"), "request \(index)")
            #expect(seen.request.authority == "test", "request \(index)")
        }
    }

    /// What was refused once is refused again.
    @Test(arguments: [
        ([(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("host", "u")], "400"),
        ([(":method", "GET"), (":scheme", "http"), (":authority", "a:80:80"), (":path", "/")], "400"),
        ([(":method", "BREW"), (":scheme", "http"), (":authority", "t"), (":path", "/")], "501"),
    ])
    func aRepeatedRequestIsRefusedAgain(fields: [(String, String)], status: String) {
        let wire = WireHarness()
        for stream in [Int32(1), 3, 5] {
            wire.send(.headers(stream, fields))
            #expect(wire.client.responses[stream]?.status == status)
        }
        #expect(wire.heads.isEmpty)
    }

    @Test func aRepeatedRequestWithABadPathIsReset() {
        let wire = WireHarness()
        for stream in [Int32(1), 5] {
            wire.send(.get(stream, path: "/fine"))
            wire.send(.get(stream + 2, path: "/b ad"))
            #expect(wire.client.resets[stream + 2] == Code.protocolError)
        }
        #expect(wire.heads.count == 2)
    }

    /// Each is malformed by RFC 9113 section 8: reset as a stream error, never handed out, connection kept.
    @Test(arguments: [
        [(":method", "GET"), (":scheme", "http"), (":authority", "t")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":path", "/")],
        [(":method", "G T"), (":scheme", "http"), (":authority", "t"), (":path", "/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("Upper", "x")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("bad name", "x")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("", "x")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("a", "x\u{0}y")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("a", "x\ny")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("connection", "close")],
        [
            (":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"),
            ("transfer-encoding", "chunked"),
        ],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("te", "gzip")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), ("a", "b"), (":path", "/")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), (":status", "200")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("content-length", "x")],
        [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/"), ("content-length", "5")],
    ])
    func malformedRequestsAreReset(fields: [(String, String)]) {
        let wire = WireHarness()
        wire.send(.headers(1, fields))
        #expect(wire.heads.isEmpty)
        #expect(wire.client.resets[1] == Code.protocolError)
        #expect(wire.trips.contains(.malformedRequest))
        wire.send(.get(3))
        #expect(wire.heads.count == 1, "the connection goes on")
    }

    @Test func aHostThatContradictsTheAuthorityIsRefused() {
        let wire = WireHarness()
        wire.send(.get(1, [("host", "other")]), .get(3, [("host", "test")]))
        #expect(wire.client.responses[1]?.status == "400")
        #expect(wire.heads.map(\.stream) == [StreamID(3)])
    }

    @Test func aBodyThatContradictsItsLengthIsReset() {
        let wire = WireHarness()
        wire.send(.get(1, method: "POST", [("content-length", "3")], ends: false), .data(1, [1, 2, 3, 4], ends: true))
        #expect(wire.client.resets[1] == Code.protocolError)
        #expect(wire.ended.isEmpty)
        #expect(wire.cancelled == [StreamID(1)])
    }

    @Test func aBodyArrivesWholeAndTrailersAreDropped() {
        let wire = WireHarness()
        wire.send(.get(1, method: "POST", ends: false), .data(1, [1, 2]), .data(1, [3]))
        #expect(wire.ended.isEmpty)
        wire.send(.headers(1, [("x-checksum", "9")]))
        #expect(wire.bodies[StreamID(1)] == [1, 2, 3])
        #expect(wire.ended == [StreamID(1)])
        #expect(wire.heads.count == 1)
    }

    @Test func expectContinueIsAnsweredBeforeTheBody() {
        let wire = WireHarness()
        wire.send(.get(1, method: "POST", [("expect", "100-continue")], ends: false))
        #expect(wire.client.responses[1]?.informational == ["100"])
        wire.send(.data(1, [1], ends: true))
        wire.respond(1)
        #expect(wire.client.responses[1]?.status == "200")
    }

    /// Whatever the bytes, the connection neither traps nor hands out a request that was not sent.
    @Test func noiseAfterThePrefaceNeverTraps() {
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        for _ in 0..<2000 {
            let wire = WireHarness()
            var bytes: [UInt8] = []
            for _ in 0..<200 {
                state ^= state << 13
                state ^= state >> 7
                state ^= state << 17
                bytes.append(UInt8(truncatingIfNeeded: state))
            }
            // Half of them are a HEADERS frame with a noisy block, which reaches the field callbacks.
            if state & 1 == 0 {
                bytes = Frame(.headers, flags: 5, stream: 1, payload: Frame.block(Frame.request()) + bytes).bytes
            }
            wire.send(bytes)
            wire.wait(1)
            #expect(wire.client.trailing.isEmpty, "only whole frames are written")
        }
    }
}

import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

/// Bits from a seed (SplitMix64), so that a failure can be repeated.
private struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Conversations that were bent at random, against the sniffer and both codecs. Whatever comes, nothing traps, limits hold, and
/// what is understood does not depend on how the bytes were cut.
@Suite struct FuzzTests {
    /// What a server made of some bytes.
    private struct Understood: Equatable {
        var heads: [HTTPRequest] = []
        var bodies: [[UInt8]] = []
        var ended = 0
        var decision = CloseDecision.keepOpen
        var output: [UInt8] = []
    }

    private func feed(_ pieces: [[UInt8]], _ label: String) -> Understood {
        let now = MonotonicTime(milliseconds: 0)
        var limits = WireLimits()
        limits.requestBodyBytes = 2000
        limits.controlFrames = .init(burst: 50, perSecond: 1)
        let connection = ServerConnection(scratch: WireScratch(limits: limits), now: now)
        let buffer = OutputBuffer()
        var seen = Understood()
        var open: [StreamID: Int] = [:]
        func drain() {
            while let event = connection.nextEvent() {
                switch event {
                case .head(let stream, let head, let ends):
                    open[stream] = seen.heads.count
                    seen.heads.append(head.request)
                    seen.bodies.append([])
                    if ends { answer(stream) }
                case .body(let stream, let bytes):
                    guard let index = open[stream] else {
                        Issue.record("\(label): a body without its head")
                        continue
                    }
                    seen.bodies[index] += bytes
                    if seen.bodies[index].count > limits.requestBodyBytes {
                        Issue.record("\(label): a body over its limit")
                    }
                    connection.consume(stream: stream, count: bytes.count)
                case .end(let stream):
                    seen.ended += 1
                    answer(stream)
                case .cancelled(let stream): open[stream] = nil
                case .tripped: break
                }
            }
        }
        func answer(_ stream: StreamID) {
            if open[stream] == nil { Issue.record("\(label): an end without its head") }
            connection.respond(to: stream, HTTPResponse(status: .ok), body: .bytes(Array("ok\r\n".utf8)), now: now)
        }
        for piece in pieces {
            piece.withUnsafeBytes { connection.receive($0, now: now) }
            while true {
                drain()
                connection.writeOutput(into: buffer, now: now)
                if buffer.isEmpty { break }
                seen.output += buffer.pending
                buffer.removeAll()
            }
            drain()
        }
        seen.decision = connection.closeDecision
        return seen
    }

    private func bend(_ bytes: [UInt8], _ random: inout Seeded) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: bytes.remove(at: place)
            case 3:
                bytes.insert(
                    contentsOf: [[13], [10], [13, 10], [32], [0], [58], [44]].randomElement(using: &random) ?? [],
                    at: place)
            case 4:
                let end = min(bytes.count, place + Int.random(in: 1...20, using: &random))
                bytes.insert(contentsOf: Array(bytes[place..<end]), at: Int.random(in: 0...bytes.count, using: &random))
            default: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...8, using: &random)))
            }
        }
        return bytes
    }

    private func cut(_ bytes: [UInt8], _ random: inout Seeded) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...min(rest.count, 40), using: &random)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }

    private static let http1: [[UInt8]] = [
        "GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: t\r\n\r\n",
        "GET http://b/x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        "POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    ].map { Array($0.utf8) }

    @Test(arguments: 0..<8) func http1DoesNotDependOnCuts(seed: Int) {
        var random = Seeded(state: UInt64(seed))
        for round in 0..<400 {
            let label = "seed \(seed) round \(round)"
            let count = Int.random(in: 1...4, using: &random)
            let whole = (0..<count).flatMap { _ in Self.http1.randomElement(using: &random) ?? [] }
            let bytes = round % 8 == 0 ? whole : bend(whole, &random)
            var atOnce = feed([bytes], label)
            var inPieces = feed(cut(bytes, &random), label)
            // Whether the client is invited depends on whether its body is there already.
            let invitation = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
            atOnce.output = atOnce.output.replacing(invitation, with: [])
            inPieces.output = inPieces.output.replacing(invitation, with: [])
            #expect(atOnce == inPieces, "\(label): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
            if round % 8 == 0 { #expect(atOnce.heads.count == count && atOnce.decision == .keepOpen, "\(label)") }
        }
    }

    private static let http2: [Frame] = [
        .get(1, path: "/a"), .get(3, method: "POST", ends: false), .data(3, Array("hello".utf8)),
        .data(3, [1], ends: true),
        .ping(), .settings([(4, 100)]), .windowUpdate(0, by: 1000), .windowUpdate(5, by: 1), .reset(3),
        .get(5, [("x", "y")]),
        Frame(.priority, stream: 9, payload: [0, 0, 0, 0, 1]), Frame(.unknown, payload: [1]), .settingsAcknowledgement,
        Frame(.headers, stream: 7, payload: Frame.block(Frame.request())), Frame(.continuation, flags: 4, stream: 7),
    ]

    @Test(arguments: 0..<8) func http2SurvivesAnything(seed: Int) {
        var random = Seeded(state: UInt64(100 + seed))
        var both = 0
        for round in 0..<300 {
            let label = "seed \(seed) round \(round)"
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                let frame = Self.http2.randomElement(using: &random) ?? .ping()
                bytes += round % 2 == 0 ? bend(frame.bytes, &random) : frame.bytes
            }
            if round % 3 == 0 { bytes = bend(bytes, &random) }
            let opening = Frame.preface + Frame.settings().bytes
            let atOnce = feed([opening, bytes], label)
            let inPieces = feed([opening] + cut(bytes, &random), label)
            // Between two pieces a request may be answered, and a frame that follows then meets a stream that is gone, which may
            // be an error of the connection. Where it was none either way, the same was understood.
            if atOnce.decision == .keepOpen && inPieces.decision == .keepOpen {
                #expect(atOnce.heads == inPieces.heads, "\(label)")
                #expect(atOnce.ended == inPieces.ended, "\(label)")
                both += 1
            }
            // What the server writes are whole frames, whatever it was told.
            let view = ClientView()
            view.receive(inPieces.output)
            #expect(view.trailing.isEmpty, "\(label)")
        }
        #expect(both > 15, "enough conversations went on to be compared")
    }

    @Test(arguments: 0..<4) func theSnifferTakesAnything(seed: Int) {
        var random = Seeded(state: UInt64(200 + seed))
        for round in 0..<500 {
            var bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if round % 2 == 0 { bytes = bend(Frame.preface + bytes, &random) }
            let atOnce = feed([bytes], "seed \(seed) round \(round)")
            let inPieces = feed(cut(bytes, &random), "seed \(seed) round \(round)")
            #expect(atOnce.decision == inPieces.decision, "seed \(seed) round \(round): \(bytes)")
            #expect(atOnce.output.isEmpty == inPieces.output.isEmpty, "seed \(seed) round \(round): \(bytes)")
        }
    }
}

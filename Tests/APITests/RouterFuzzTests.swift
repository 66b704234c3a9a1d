import HTTPTypes
import HTTPWire
import Testing

@testable import API

/// Targets, queries and fields at random: every answer is in order, and nothing is an error of the service.
struct RouterFuzzTests {
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

    @Test(arguments: 0..<4) func everythingIsAnswered(seed: Int) throws {
        var random = Seeded(state: UInt64(seed))
        let application = try makeApplication()
        let templates = application.router.routes.map(\.template)
        let pieces = [
            "%", "%4", "%41", "%00", "%2F", "..", ".", "//", "{", "}", "é", "\u{0}", "?", "&", "=", "limit=", "cursor=",
            "format=text", "format=", "verbose", "*", "linux-5.2", "+", "#", ";", "a", "0", "-1", "9223372036854775808",
        ]
        for round in 0..<400 {
            var path = ""
            for part in (templates.randomElement(using: &random) ?? "/").split(separator: "/") {
                path += "/" + (part.hasPrefix("{") ? pieces.randomElement(using: &random) ?? "" : String(part))
            }
            for _ in 0..<Int.random(in: 0...4, using: &random) { path += pieces.randomElement(using: &random) ?? "" }
            let method: HTTPRequest.Method =
                [.get, .head, .post, .delete, .put, .options].randomElement(using: &random) ?? .get
            var head = HTTPRequest(method: method, scheme: "http", authority: "a", path: path)
            if Bool.random(using: &random) {
                head.headerFields[.accept] = ["*/*", "text/plain", "q", "a/b;q=2", ",,,"].randomElement(using: &random)
            }
            if Bool.random(using: &random) {
                head.headerFields[.ifMatch] = ["*", "\"x\"", "x", ","].randomElement(using: &random)
            }
            if Bool.random(using: &random) {
                head.headerFields[.contentType] = ["application/json", "x", ""].randomElement(using: &random)
            }
            if method == .post && Bool.random(using: &random) { head.headerFields[.idempotencyKey] = "key-\(round)" }
            let body = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
            }
            let peer = PeerAddress(host: "127.0.0.1", port: 1)
            let answer = application.answer(IncomingRequest(head: head, body: body, peer: peer))
            #expect(
                answer.response.status.code < 500,
                "seed \(seed) round \(round): \(method) \(path) \(answer.response.status)")
            #expect(method != .head || answer.body.isEmpty)
            _ = application.preparedAnswer(to: head)
            _ = application.refusal(of: head)
        }
    }
}

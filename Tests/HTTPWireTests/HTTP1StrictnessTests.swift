import HTTPTypes
import Testing

@testable import HTTPWire

/// What RFC 9112 forbids, and what two readers of the same bytes could understand differently, is refused and ends the
/// connection; nothing of it reaches a handler, and no second request is found behind it.
@Suite struct HTTP1StrictnessTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var section: String
        var name: String
        var bytes: String
        var status: String

        init(_ section: String, _ name: String, _ bytes: String, _ status: String = "400") {
            self.section = section
            self.name = name
            self.bytes = bytes
            self.status = status
        }

        var testDescription: String { "\(section) \(name)" }
    }

    private static let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    private static func post(_ fields: String, _ body: String = "") -> String {
        "POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n\(body)"
    }

    static let cases: [Case] = [
        Case("2.2", "bare LF line ends", "GET / HTTP/1.1\nHost: a\n\n"),
        Case("2.2", "bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        Case("2.2", "bare CR in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
        Case("2.2", "CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        Case("2.2", "space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        Case("2.2", "two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("2.2", "a space first", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("2.3", "no version", "GET /\r\n\r\n"),
        Case("2.3", "version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n"),
        Case("2.3", "version of one digit", "GET / HTTP/1\r\nHost: a\r\n\r\n"),
        Case("2.3", "version of many digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        Case("2.3", "major version 2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505"),
        Case("2.3", "major version 0", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", "505"),
        Case("3", "two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("3", "space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        Case("3", "tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("3", "space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("3.1", "a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("3.1", "a method nobody knows", "FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", "501"),
        Case("3.1", "a method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "501"),
        Case("3.2", "no Host", "GET / HTTP/1.1\r\n\r\n"),
        Case("3.2", "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        Case("3.2", "a Host that is none", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        Case("3.2", "a Host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
        Case("3.2", "NUL in the target", "GET /\u{0} HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("3.2.1", "a relative target", "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("3.2.2", "an absolute target of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("3.2.2", "an absolute target with a user", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("3.2.4", "an asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case("5.1", "space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        Case("5.1", "tab before the colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"),
        Case("5.1", "no name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        Case("5.1", "no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        Case("5.1", "a name that is no token", "GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n"),
        Case("5.2", "a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
        Case("5.2", "a folded Host", "GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n"),
        Case("5.5", "NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n"),
        Case("5.5", "DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\u{7f}b\r\n\r\n"),
        Case("6.1", "length and coding", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        Case("6.1", "coding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")),
        Case("6.1", "two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        Case("6.1", "chunked twice", post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"), "501"),
        Case("6.1", "another coding", post("Transfer-Encoding: gzip"), "501"),
        Case("6.1", "another coding before chunked", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), "501"),
        Case("6.1", "chunked is not last", post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"), "501"),
        Case("6.1", "a coding that looks like chunked", post("Transfer-Encoding: xchunked", "0\r\n\r\n"), "501"),
        Case("6.1", "a coding in quotes", post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"), "501"),
        Case("6.1", "a hidden coding", post("Transfer-Encoding:\u{b}chunked", "0\r\n\r\n")),
        Case(
            "6.1", "a coding with HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Case("6.2", "two lengths", post("Content-Length: 5\r\nContent-Length: 6", "hello")),
        Case("6.2", "the same length twice", post("Content-Length: 5\r\nContent-Length: 5", "hello")),
        Case("6.2", "a list of lengths", post("Content-Length: 5, 5", "hello")),
        Case("6.2", "a negative length", post("Content-Length: -5")),
        Case("6.2", "a length with a sign", post("Content-Length: +5", "hello")),
        Case("6.2", "a length in hexadecimal", post("Content-Length: 0x5", "hello")),
        Case("6.2", "a length beyond 64 bits", post("Content-Length: 18446744073709551617")),
        Case("6.2", "an empty length", post("Content-Length:")),
        Case("6.2", "a length with a space", post("Content-Length: 1 2", "hello")),
    ]

    static let chunks: [Case] = [
        Case("7.1", "no size", "\r\nabc\r\n0\r\n\r\n"),
        Case("7.1", "a size that is no number", "g\r\nabc\r\n0\r\n\r\n"),
        Case("7.1", "a negative size", "-3\r\nabc\r\n0\r\n\r\n"),
        Case("7.1", "a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        Case("7.1", "a space after the size", "3 \r\nabc\r\n0\r\n\r\n"),
        Case("7.1", "a space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
        Case("7.1", "a size beyond 64 bits", "fffffffffffffffff\r\nabc"),
        Case("7.1", "a size that wraps", "100000003\r\nabc\r\n0\r\n\r\n"),
        Case("7.1", "bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
        Case("7.1", "CR and no LF after the size", "3\rXabc\r\n0\r\n\r\n"),
        Case("7.1", "no CRLF after the data", "3\r\nabcXY0\r\n\r\n"),
        Case("7.1", "bare LF after the data", "3\r\nabc\n0\r\n\r\n"),
        Case("7.1", "more data than said", "3\r\nabcd\r\n0\r\n\r\n"),
        Case("7.1.1", "bare LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        Case("7.1.1", "bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        Case("7.1.2", "a folded trailer", "0\r\nA: b\r\n c\r\n\r\n"),
        Case("7.1.2", "a trailer without colon", "0\r\nA\r\n\r\n"),
        Case("7.1.2", "bare LF at the end", "0\r\n\n"),
    ]

    @Test(arguments: cases) func headsAreRefused(of example: Case) {
        for pieces in [[example.bytes + Self.next], (example.bytes + Self.next).unicodeScalars.map { String($0) }] {
            let wire = HTTP1Harness(answers: true)
            for piece in pieces { wire.send(piece) }
            #expect(wire.statuses == [example.status])
            #expect(wire.heads.isEmpty, "nothing of it was taken for a request")
            #expect(wire.text.contains("\r\nconnection: close\r\n"))
            #expect(wire.connection.closeDecision == .closeAfterFlush)
            #expect(wire.trips == [.malformedHTTP1])
        }
    }

    @Test(arguments: chunks) func chunksAreRefused(of example: Case) {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for pieces in [
            [head + example.bytes + Self.next], (head + example.bytes + Self.next).unicodeScalars.map { String($0) },
        ] {
            let wire = HTTP1Harness(answers: true)
            for piece in pieces { wire.send(piece) }
            #expect(wire.statuses == ["400"])
            #expect(wire.heads.count == 1)
            #expect(wire.ended == 0, "a body that is not well formed never ends")
            #expect(wire.cancelled == 1)
            #expect(wire.connection.closeDecision == .closeAfterFlush)
            #expect(!wire.heads.contains { $0.path == "/smuggled" })
        }
    }

    /// The cases above are refused for what is wrong with them, not for anything else.
    @Test func theSameWithoutTheFaultIsServed() {
        let wire = HTTP1Harness(answers: true)
        wire.send(
            "\r\n" + Self.post("Content-Length: 5\r\nX: a b", "hello")
                + Self.post("Transfer-Encoding: chunked", "0\r\n\r\n"))
        wire.send(Self.next)
        #expect(wire.statuses == ["200", "200", "200"])
        #expect(!wire.isClosing)
    }

    @Test func headsAreBounded() {
        for (head, status) in [
            ("GET /" + String(repeating: "a", count: 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "a", count: 17_000) + "\r\n\r\n", "431"),
            ("GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: a\r\n", count: 100) + "\r\n", "431"),
            ("GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "a", count: 17_000), "431"),
            (String(repeating: "A", count: 17_000), "414"),
        ] {
            let wire = HTTP1Harness()
            wire.send(head)
            #expect(wire.statuses == [status])
            #expect(wire.trips == [.headerList])
            #expect(wire.heads.isEmpty)
            #expect(wire.isClosing)
        }
        let wire = HTTP1Harness(answers: true)
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: a\r\n", count: 99) + "\r\n")
        #expect(wire.statuses == ["200"], "a hundred fields are the limit")
    }

    @Test func chunkedBodiesAreBounded() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        let trailers = HTTP1Harness()
        trailers.send(head + "0\r\n" + String(repeating: "X: a\r\n", count: 101))
        #expect(trailers.statuses == ["431"])
        let extensions = HTTP1Harness()
        for _ in 0..<20 where !extensions.isClosing {
            extensions.send(
                (extensions.heads.isEmpty ? head : "") + "1;" + String(repeating: "a", count: 1000) + "\r\nb\r\n")
        }
        #expect(extensions.statuses == ["431"])
        let large = HTTP1Harness { $0.requestBodyBytes = 10 }
        large.send(head + "b\r\nhello world\r\n0\r\n\r\n")
        #expect(large.statuses == ["413"])
        #expect(large.cancelled == 1)
    }

    @Test func aBodyWhoseLengthIsTooLargeIsRefusedUnread() {
        let wire = HTTP1Harness { $0.requestBodyBytes = 100 }
        wire.send("POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n")
        #expect(wire.statuses == ["413"], "and no 100 before it")
        #expect(wire.text.contains(#""instance":"/x""#))
        #expect(wire.heads.isEmpty)
        #expect(wire.isClosing)
        wire.send([UInt8](repeating: 65, count: 101))
        #expect(wire.statuses == ["413"])
    }
}

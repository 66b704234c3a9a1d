import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

/// Hosts and paths, the same over both protocols (RFC 3986 section 3.2, RFC 9110 section 4.2, RFC 9113 section 8.3.1).
@Suite struct AuthorityTests {
    static let valid = [
        "a", "a:80", "a:", "a:65535", "a:00080", "a-b.c_d~", "127.0.0.1:8080", "1.2.3", "%41b", "a!$&'()*+,;=", "[::1]",
        "[::1]:8080", "[::]", "[fe80::1:2]", "[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7::]", "[::ffff:192.0.2.1]",
        "[1:2:3:4:5:6:192.0.2.1]", "xn--bcher-kva.example",
    ]
    static let invalid = [
        "a:xx", "a:99999", "a:65536", "a:80:80", "a:-1", "a:8 0", "[::1", "::1", "[]", "[::1]x", "[::1]:x", "[:1]",
        "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1::2::3]", "[12345::]", "[::1.2.3]", "[::1.2.3.256]", "[g::]",
        "[1:2:3:4:5:6:7:]", "a@b", "@a", "a/b", "a?b", "a#b", ":80", "a b", "a%4", "a%zz", "a\\b", "a\"b", "<a>",
        "a,b@c",
    ]

    @Test(arguments: valid) func isTaken(host: String) {
        #expect(Authority.isValid(host.utf8))
        let wire = HTTP1Harness(answers: true)
        wire.send("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n")
        #expect(wire.statuses == ["200"])
        let other = WireHarness()
        other.send(.headers(1, [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", "/")]))
        #expect(other.heads.map(\.request.authority) == [host])
    }

    @Test(arguments: invalid) func isRefused(host: String) {
        #expect(!Authority.isValid(host.utf8))
        let wire = HTTP1Harness(answers: true)
        wire.send("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n")
        #expect(wire.statuses == ["400"])
        for field in [":authority", "host"] {
            let other = WireHarness()
            let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
            other.send(.headers(1, field == "host" ? pseudo + [(field, host)] : [(field, host)] + pseudo))
            // What libnghttp2 refuses itself is a malformed request and reset.
            #expect(other.client.responses[1]?.status == "400" || other.client.resets[1] == Code.protocolError)
            #expect(other.heads.isEmpty)
            #expect(!other.isClosing)
        }
    }

    @Test func twoHostFieldsAreRefused() {
        let wire = WireHarness()
        wire.send(.headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a"), ("host", "a")]))
        #expect(wire.client.responses[1]?.status == "400" || wire.client.resets[1] == Code.protocolError)
        #expect(wire.heads.isEmpty)
    }

    @Test(arguments: ["/a#b", "/#", "/\u{e4}", "/a b", "/\u{7f}", "a"]) func pathsThatAreNoneAreRefused(path: String) {
        let wire = HTTP1Harness(answers: true)
        wire.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(wire.statuses == ["400"])
        let other = WireHarness()
        other.send(.get(1, path: path))
        #expect(other.client.resets[1] == Code.protocolError)
        #expect(other.heads.isEmpty)
    }

    @Test func addressesOfOneNetworkCountAsOne() {
        func network(_ host: String) -> String { PeerAddress(host: host, port: 1).network }
        #expect(network("192.0.2.7") == "192.0.2.7")
        #expect(network("::ffff:192.0.2.7") == "192.0.2.7")
        #expect(network("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64")
        #expect(network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::"))
        #expect(network("2001:db8::1") == "2001:db8:0:0::/64")
        #expect(network("2001:db8:1::1") != network("2001:db8:2::1"))
        #expect(network("::1") == "0:0:0:0::/64")
        #expect(network("fe80::1:2:3:4") == "fe80:0:0:0::/64")
        #expect(network("1:2:3:4:5:6:7::") == "1:2:3:4::/64")
    }
}

import HTTPTestSupport
import Testing

@testable import HTTPWire

/// More of RFC 9113 and RFC 7541: cases of public suites, and of attempts to get past them, that `HTTP2ConformanceTests` has not.
@Suite struct HTTP2MoreConformanceTests {
    typealias Case = HTTP2ConformanceTests.Case

    private static let malformed: HTTP2ConformanceTests.Expectation = .stream([1])
    private static let open = Frame.get(1, method: "POST", ends: false)
    private static func request(_ change: (inout [(String, String)]) -> Void) -> Frame {
        var fields = Frame.request()
        change(&fields)
        return .headers(1, fields)
    }
    private static func with(_ name: String, _ value: String) -> Frame { request { $0.append((name, value)) } }
    private static func instead(_ name: String, _ value: String) -> Frame {
        request { fields in
            fields.removeAll { $0.0 == name }
            fields.insert((name, value), at: 0)
        }
    }
    private static func length(_ value: String) -> Frame {
        .get(1, method: "POST", [("content-length", value)], ends: false)
    }
    private static func raw(_ payload: [UInt8]) -> Frame { Frame(.headers, flags: 5, stream: 1, payload: payload) }
    private static var block: [UInt8] { Frame.block(Frame.request()) }

    static let cases: [Case] = [
        Case("4.2", "DATA of the largest size", .fine, open, .data(1, [UInt8](repeating: 0, count: 16_384))),
        Case("5.1", "PRIORITY on an idle stream", .fine, Frame(.priority, stream: 9, payload: [0, 0, 0, 0, 1])),
        Case("5.1", "WINDOW_UPDATE after the end", .fine, .get(1), .windowUpdate(1, by: 1)),
        Case("5.1", "PRIORITY after the end", .fine, .get(1), Frame(.priority, stream: 1, payload: [0, 0, 0, 0, 1])),
        Case("5.1", "RST_STREAM after the end", .fine, .get(1), .reset(1)),
        Case("5.1", "DATA after a reset", .connection([5]), open, .reset(1), .data(1, [1])),
        Case(
            "5.1", "CONTINUATION after a reset", .connection([1]), open, .reset(1),
            Frame(.continuation, flags: 4, stream: 1)),
        Case(
            "6.1", "padding as long as the payload", .connection([1]), open,
            Frame(.data, flags: 8, stream: 1, payload: [1])),
        Case("6.1", "padded DATA without its length", .connection([1, 6]), open, Frame(.data, flags: 8, stream: 1)),
        Case(
            "6.5", "an acknowledgement with a setting", .connection([6]),
            Frame(.settings, flags: 1, payload: [0, 3, 0, 0, 0, 1])),
        Case("6.5", "SETTINGS of five bytes", .connection([6]), Frame(.settings, payload: [0, 3, 0, 0, 0])),
        Case("6.5.2", "ENABLE_CONNECT_PROTOCOL of 2", .connection([1]), .settings([(8, 2)])),
        Case("6.8", "GOAWAY of seven bytes", .connection([6]), Frame(.goaway, payload: [0, 0, 0, 0, 0, 0, 0])),
        Case(
            "6.10", "DATA within a block", .connection([1]), Frame(.headers, stream: 1, payload: block), .data(1, [1])),
        Case(
            "6.10", "CONTINUATION after the last", .connection([1]), Frame(.headers, stream: 1, payload: block),
            Frame(.continuation, flags: 4, stream: 1), Frame(.continuation, flags: 4, stream: 1)),
        Case("8.1", "trailer fields", .fine, open, .headers(1, [("x", "y")])),
        Case("8.1", "connection in trailer fields", malformed, open, .headers(1, [("connection", "close")])),
        Case("8.2.1", "an empty name", malformed, with("", "x")),
        Case("8.2.1", "a colon in a name", malformed, with("a:b", "x")),
        Case("8.2.1", "NUL in a name", malformed, with("a\u{0}b", "x")),
        Case("8.2.1", "DEL in a name", malformed, with("a\u{7f}", "x")),
        Case("8.2.1", "CR in a value", malformed, with("x", "a\rb")),
        Case("8.2.1", "a space before a value", malformed, with("x", " a")),
        Case("8.2.1", "a space after a value", malformed, with("x", "a ")),
        Case("8.2.1", "a tab before a value", malformed, with("x", "\ta")),
        Case("8.2.1", "bytes beyond ASCII in a value", .fine, with("x", "\u{e4}")),
        Case("8.2.2", "keep-alive", malformed, with("keep-alive", "5")),
        Case("8.2.2", "proxy-connection", malformed, with("proxy-connection", "close")),
        Case("8.2.2", "upgrade", malformed, with("upgrade", "h2c")),
        Case("8.2.3", "a cookie in crumbs", .fine, request { $0 += [("cookie", "a=b"), ("cookie", "c=d")] }),
        Case("8.3.1", "two paths", malformed, with(":path", "/")),
        Case("8.3.1", "two schemes", malformed, with(":scheme", "http")),
        Case("8.3.1", "two authorities", malformed, with(":authority", "test")),
        Case("8.3.1", "an empty method", malformed, instead(":method", "")),
        Case("8.3.1", "an empty scheme", malformed, instead(":scheme", "")),
        Case("8.3.1", "a scheme that is none", malformed, instead(":scheme", "ht tp")),
        Case("8.3.1", "a method that is no token", malformed, instead(":method", "G T")),
        Case("8.3.1", "a line break in a method", malformed, instead(":method", "GET\r\nX: y")),
        Case("8.3.1", "a path without a slash", malformed, instead(":path", "a")),
        Case("8.3.1", "a whole URI for a path", malformed, instead(":path", "http://a/")),
        Case("8.3.1", "a fragment in a path", malformed, instead(":path", "/a#b")),
        Case("8.3.1", "bytes beyond ASCII in a path", malformed, instead(":path", "/\u{e4}")),
        Case("8.3.1", "a space in a path", malformed, instead(":path", "/a b")),
        Case("8.3.1", "a control byte in a path", malformed, instead(":path", "/\u{1}")),
        Case("8.3.1", "an asterisk for GET", malformed, instead(":path", "*")),
        Case("8.5", "CONNECT with a path", malformed, instead(":method", "CONNECT")),
        Case("8.5", "CONNECT without an authority", malformed, .headers(1, [(":method", "CONNECT")])),
        Case("8.5", "an extended CONNECT that nobody offered", malformed, with(":protocol", "websocket")),
        Case("8.1.1", "a length with a sign", malformed, length("+4")),
        Case("8.1.1", "a negative length", malformed, length("-1")),
        Case("8.1.1", "a list of lengths", malformed, length("4,4")),
        Case("8.1.1", "a length in hexadecimal", malformed, length("0x4")),
        Case("8.1.1", "a length beyond 64 bits", malformed, length("99999999999999999999999")),
        Case("8.1.1", "an empty length", malformed, length("")),
        Case(
            "8.1.1", "two lengths", malformed,
            .get(1, method: "POST", [("content-length", "4"), ("content-length", "4")], ends: false)),
        Case(
            "8.1.1", "less body than content-length before trailer fields", malformed, length("4"), .data(1, [1]),
            .headers(1, [("x", "y")])),
        Case("7541 2.3.3", "a name's index beyond the table", .connection([9]), raw([0x7F, 0x20, 1, 0x61])),
        Case("7541 4.2", "a change of the table's size after a field", .connection([9]), raw(block + [0x20])),
        Case(
            "7541 5.1", "an integer without end", .connection([9]),
            raw(block + [0xFF] + [UInt8](repeating: 0xFF, count: 12))),
        Case(
            "7541 5.2", "padding of more than seven bits", .connection([9]),
            raw(block + [0, 0x82, 0x1F, 0xFF, 1, 0x61])),
        Case("7541 5.2", "padding of zeros", .connection([9]), raw(block + [0, 0x81, 0x18, 1, 0x61])),
        Case("7541 5.2", "a string that the block cuts off", .connection([9]), raw(block + [0, 0x05, 0x61])),
        Case("7541 6.1", "the index 0", .connection([9]), raw([0x80])),
        Case("7541 6.3", "a change of the table's size before a field", .fine, raw([0x20] + block)),
    ]

    @Test(arguments: cases) func isAsTheSectionSays(of example: Case) {
        HTTP2ConformanceTests().isAsTheSectionSays(of: example)
    }
}

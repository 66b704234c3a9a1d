import Glibc

/// One way to do harm to a listener, from a socket, and the guard that is to stop it.
package struct Attack: Sendable {
    package let name: String
    /// Names of the guards of which one must have acted.
    package let guards: [String]
    /// Runs once against a port with some volume; what the attacker saw of its end.
    package let run: @Sendable (_ port: UInt16, _ volume: Int) -> End

    /// How an attack ended.
    package enum End: Equatable, Sendable {
        /// A GOAWAY with this code, then the end of the connection.
        case goaway(UInt32)
        /// An answer of HTTP/1 with this status, then the end of the connection.
        case status(Int)
        /// The connection was closed without a word.
        case closed
        /// It was let do what it liked.
        case survived
        case notConnected
    }

    private init(_ name: String, _ guards: String..., run: @escaping @Sendable (UInt16, Int) -> End) {
        self.name = name
        self.guards = guards
        self.run = run
    }

    /// Sends preface and settings, then `frames` of each round until the server ends it.
    private static func flood(
        _ name: String, _ guards: String..., settings: [(UInt16, UInt32)] = [], reads: Bool = true,
        setup: @escaping @Sendable () -> [UInt8] = { [] }, frames: @escaping @Sendable (Int) -> [UInt8]
    ) -> Attack {
        let settings = Frame.settings(settings).bytes
        var attack = Attack(name) { port, volume in
            guard let client = SocketClient(port: port) else { return .notConnected }
            client.send(Frame.preface + settings + Frame.settingsAcknowledgement.bytes + setup())
            for round in 0..<volume {
                if !client.offer(frames(round)) {
                    // The server reads no more of this: it has said so, or waits for its output to be taken.
                    client.takeWhatCame()
                    if client.isClosed || !reads { break }
                    usleep(500)
                }
                if reads && round % 16 == 0 { client.takeWhatCame() }
                if client.isClosed { break }
            }
            return end(client)
        }
        attack = Attack(name, guards: guards, run: attack.run)
        return attack
    }

    private init(_ name: String, guards: [String], run: @escaping @Sendable (UInt16, Int) -> End) {
        self.name = name
        self.guards = guards
        self.run = run
    }

    private static func end(_ client: SocketClient, milliseconds: Int = 4000) -> End {
        // One stream of HTTP/2 can be refused while the connection goes on.
        for _ in 0..<(milliseconds / 2) {
            client.takeWhatCame()
            if let refused = client.view.responses.values.first(where: { $0.isComplete && $0.status.hasPrefix("4") }),
                client.view.goawayCodes.isEmpty
            {
                return .status(Int(refused.status) ?? 0)
            }
            if client.isClosed { break }
            usleep(2000)
        }
        let isClosed = client.isClosed
        if let code = client.view.goawayCodes.last { return isClosed ? .goaway(code) : .survived }
        let text = String(decoding: client.raw.prefix(64), as: UTF8.self)
        if text.hasPrefix("HTTP/1.1 "), let status = Int(text.dropFirst(9).prefix(3)) {
            return isClosed ? .status(status) : .survived
        }
        return isClosed ? .closed : .survived
    }

    /// Sends pieces of text as HTTP/1, some milliseconds apart, until the server ends it.
    private static func text(
        _ name: String, _ guards: String..., pause_milliseconds: UInt32 = 0,
        pieces: @escaping @Sendable (Int) -> [String]
    ) -> Attack {
        Attack(name, guards: guards) { port, volume in
            guard let client = SocketClient(port: port) else { return .notConnected }
            for piece in pieces(volume) {
                _ = client.offer(Array(piece.utf8))
                client.takeWhatCame()
                if client.isClosed { break }
                if pause_milliseconds > 0 { usleep(pause_milliseconds * 1000) }
            }
            return end(client)
        }
    }

    /// The head of an upload that the service reads, without the field that ends it.
    private static let upload = "POST /v1/checks HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

    private static func stream(_ round: Int) -> Int32 { Int32(round * 2 + 1) }

    /// Every row of the table of attacks. `/hold` is never answered, `/large` has megabytes.
    package static let all: [Attack] = [
        flood("rapid reset", "inbound_resets") {
            Frame.get(stream($0), path: "/hold").bytes + Frame.reset(stream($0)).bytes
        },
        flood("resets we are made to send", "caused_resets", "error_budget") {
            Frame.get(stream($0), path: "/hold").bytes + Frame.windowUpdate(stream($0), by: 0x7fff_ffff).bytes
        },
        flood("streams beyond the limit", "protocol_error", "caused_resets", "requests_in_work", "error_budget") {
            Frame.get(stream($0), path: "/hold").bytes
        },
        flood(
            "CONTINUATION flood", "continuations",
            setup: { Frame(.headers, stream: 1, payload: Frame.block(Frame.request())).bytes }
        ) { _ in Frame(.continuation, stream: 1).bytes },
        flood("PING flood", "control_frames", "outbound_acknowledgements") { _ in Frame.ping().bytes },
        flood("PING flood, unread", "control_frames", "outbound_acknowledgements", reads: false) { _ in
            Frame.ping().bytes
        },
        flood("SETTINGS flood", "control_frames", "outbound_acknowledgements") { _ in Frame.settings([(3, 100)]).bytes
        },
        flood(
            "window games", "control_frames", "outbound_acknowledgements", setup: { Frame.get(1, path: "/hold").bytes }
        ) {
            Frame.settings([(4, $0 % 2 == 0 ? 0 : 65_535)]).bytes
        },
        flood("empty DATA", "control_frames", setup: { Frame.get(1, method: "POST", ends: false).bytes }) { _ in
            Frame.data(1, []).bytes
        },
        flood("padded DATA", "control_frames", setup: { Frame.get(1, method: "POST", ends: false).bytes }) { _ in
            Frame(.data, flags: Frame.padded, stream: 1, payload: [3, 0, 0, 0]).bytes
        },
        flood("DATA on a closed stream", "closed_streams", "protocol_error", setup: { Frame.get(1).bytes }) { round in
            // The answer closes the stream, which is half closed until then.
            if round == 0 { usleep(50_000) }
            return Frame.data(1, []).bytes
        },
        flood(
            "DATA after a reset", "closed_streams",
            setup: { Frame.get(1, path: "/hold", method: "POST", ends: false).bytes + Frame.reset(1).bytes }
        ) { _ in Frame.data(1, [UInt8](repeating: 1, count: 1000)).bytes },
        flood(
            "HEADERS after our reset", "late_headers",
            // Trailer fields that do not end their stream are malformed, so that the stream is reset.
            setup: {
                Frame.get(1, path: "/hold", method: "POST", ends: false).bytes
                    + Frame.headers(1, [("a", "b")], ends: false).bytes
            }
        ) { _ in Frame.headers(1, [("a", "b")], ends: false).bytes },
        flood(
            "references after our reset", "late_headers",
            setup: {
                let large = Frame.indexingBlock([("x", String(repeating: "v", count: 3900))])
                return Frame.get(1, path: "/hold", method: "POST", ends: false).bytes
                    + Frame.headers(1, [("a", "b")], ends: false).bytes
                    + Frame(.headers, flags: Frame.endHeaders, stream: 1, payload: large).bytes
            }
        ) { _ in
            Frame(
                .headers, flags: Frame.endHeaders, stream: 1, payload: [UInt8](repeating: 0x80 | 62, count: 16_000)
            ).bytes
        },
        flood("HEADERS on a closed stream", "closed_streams", setup: { Frame.get(1).bytes }) { round in
            if round == 0 { usleep(50_000) }
            return Frame.headers(1, [("a", "b")]).bytes
        },
        flood("DATA byte by byte", "small_pieces", setup: { Frame.get(1, method: "POST", ends: false).bytes }) { _ in
            Frame.data(1, [1]).bytes
        },
        text("chunks of one byte", "small_pieces") { volume in
            ["\(upload)Transfer-Encoding: chunked\r\n\r\n"]
                + Array(repeating: "1\r\nx\r\n", count: volume)
        },
        flood("PRIORITY flood", "control_frames") {
            Frame(.priority, stream: stream($0 % 1000 + 10), payload: [0, 0, 0, 0, 16]).bytes
        },
        flood("WINDOW_UPDATE flood", "control_frames") { _ in Frame.windowUpdate(0, by: 1).bytes },
        flood("unknown frames", "control_frames") { _ in Frame(.unknown, payload: [1, 2, 3]).bytes },
        flood("malformed requests", "error_budget", "caused_resets") {
            Frame.get(stream($0), [("connection", "close")]).bytes
        },
        flood("header bomb", "header_list_repeated") { round in
            let large = Frame.indexingBlock([("x", String(repeating: "v", count: 3000))])
            return Frame(
                .headers, flags: 5, stream: stream(round),
                payload: Frame.block(Frame.request()) + large + [UInt8](repeating: 0x80 | 62, count: 8000)
            ).bytes
        },
        flood("slow read", "write_timeout", settings: [(4, 0)], setup: { Frame.get(1, path: "/large").bytes }) { _ in
            usleep(2000)
            return []
        },
        flood(
            "slow upload", "body_timeout",
            setup: {
                Frame.get(
                    1, path: "/v1/checks", method: "POST",
                    [("content-type", "application/json"), ("content-length", "100000")], ends: false
                ).bytes
            }
        ) { round in
            usleep(2000)
            return round % 64 == 0 ? Frame.data(1, [1]).bytes : []
        },
        Attack("silence", guards: ["preface_timeout"]) { port, _ in
            guard let client = SocketClient(port: port) else { return .notConnected }
            return end(client)
        },
        Attack("half a preface", guards: ["preface_timeout"]) { port, _ in
            guard let client = SocketClient(port: port) else { return .notConnected }
            client.send(Array("PRI * HTTP/2.0\r\n".utf8))
            return end(client)
        },
        text("slow head", "head_timeout", pause_milliseconds: 20) { _ in
            ["GET / HTTP/1.1\r\nHost: a\r\n"] + Array(repeating: "X: y\r\n", count: 60)
        },
        text("slow body", "body_timeout", pause_milliseconds: 20) { _ in
            ["\(upload)Content-Length: 1000\r\n\r\n"] + Array(repeating: "x", count: 60)
        },
        text("endless head", "header_list") { _ in
            ["GET / HTTP/1.1\r\nHost: a\r\n"]
                + Array(repeating: "X: " + String(repeating: "y", count: 500) + "\r\n", count: 60)
        },
        text("endless target", "header_list") { _ in Array(repeating: String(repeating: "A", count: 1000), count: 20) },
        text("endless extensions", "header_list") { _ in
            ["\(upload)Transfer-Encoding: chunked\r\n\r\n1;"]
                + Array(repeating: String(repeating: "y", count: 1000), count: 30)
        },
        text("body without end", "request_body") { _ in
            ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n"]
        },
        text("two lengths", "malformed_http1") { _ in
            [
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
            ]
        },
        text("a hidden request in a chunk", "malformed_http1") { _ in
            [
                "\(upload)Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
            ]
        },
        text("a folded field", "malformed_http1") { _ in
            ["GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n"]
        },
        text("noise", "malformed_http1") { _ in ["\u{1}\u{2}\u{3}"] },
        Attack("TLS in the clear", guards: ["tls_on_cleartext"]) { port, _ in
            guard let client = SocketClient(port: port) else { return .notConnected }
            client.send([0x16, 3, 1, 2, 0])
            return end(client)
        },
    ]
}

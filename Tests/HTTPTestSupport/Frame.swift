/// One HTTP/2 frame as it is on the wire (RFC 9113 section 4.1).
package struct Frame: Equatable, Sendable {
    package enum Kind: UInt8, Sendable {
        case data, headers, priority, reset, settings, push, ping, goaway, windowUpdate, continuation
        case unknown = 0xee
    }

    package var type: UInt8
    package var flags: UInt8
    package var stream: Int32
    package var payload: [UInt8]

    package static let endStream: UInt8 = 1
    package static let acknowledgement: UInt8 = 1
    package static let endHeaders: UInt8 = 4
    package static let padded: UInt8 = 8

    package init(_ kind: Kind, flags: UInt8 = 0, stream: Int32 = 0, payload: [UInt8] = []) {
        type = kind.rawValue
        self.flags = flags
        self.stream = stream
        self.payload = payload
    }

    init(type: UInt8, flags: UInt8, stream: Int32, payload: [UInt8]) {
        self.type = type
        self.flags = flags
        self.stream = stream
        self.payload = payload
    }

    /// The bytes of the frame.
    package var bytes: [UInt8] {
        let count = payload.count
        return [UInt8(truncatingIfNeeded: count >> 16), UInt8(truncatingIfNeeded: count >> 8)]
            + [UInt8(truncatingIfNeeded: count), type, flags] + Self.word(UInt32(bitPattern: stream)) + payload
    }

    package static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// The client preface of RFC 9113 section 3.4, without the SETTINGS frame that follows it.
    package static let preface: [UInt8] = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    package static func settings(_ entries: [(UInt16, UInt32)] = []) -> Frame {
        Frame(.settings, payload: entries.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] + word($0.1) })
    }

    package static let settingsAcknowledgement = Frame(.settings, flags: acknowledgement)

    package static func reset(_ stream: Int32, code: UInt32 = 8) -> Frame {
        Frame(.reset, stream: stream, payload: word(code))
    }

    package static func ping(_ payload: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8], acknowledges: Bool = false) -> Frame {
        Frame(.ping, flags: acknowledges ? acknowledgement : 0, payload: payload)
    }

    package static func windowUpdate(_ stream: Int32, by increment: UInt32) -> Frame {
        Frame(.windowUpdate, stream: stream, payload: word(increment))
    }

    package static func data(_ stream: Int32, _ bytes: [UInt8], ends: Bool = false) -> Frame {
        Frame(.data, flags: ends ? endStream : 0, stream: stream, payload: bytes)
    }

    /// A whole header block in one HEADERS frame.
    package static func headers(_ stream: Int32, _ fields: [(String, String)], ends: Bool = true) -> Frame {
        Frame(.headers, flags: endHeaders | (ends ? endStream : 0), stream: stream, payload: block(fields))
    }

    /// A GET with the four pseudo-header fields, and `extra` after them.
    package static func get(
        _ stream: Int32, path: String = "/", method: String = "GET", _ extra: [(String, String)] = [], ends: Bool = true
    ) -> Frame {
        headers(stream, request(path: path, method: method) + extra, ends: ends)
    }

    package static func request(path: String = "/", method: String = "GET") -> [(String, String)] {
        [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)]
    }

    /// Fields as HPACK literals without indexing, new names, no Huffman (RFC 7541 section 6.2.2).
    package static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { [0] + string($0.0) + string($0.1) }
    }

    /// Fields that enter the dynamic table (RFC 7541 section 6.2.1), so that an index can repeat them.
    package static func indexingBlock(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { [0x40] + string($0.0) + string($0.1) }
    }

    private static func string(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8)
        if bytes.count < 127 { return [UInt8(bytes.count)] + bytes }
        var rest = bytes.count - 127
        var prefix: [UInt8] = [127]
        while rest >= 128 {
            prefix.append(UInt8(rest % 128 + 128))
            rest /= 128
        }
        return prefix + [UInt8(rest)] + bytes
    }

    /// The 32-bit word at `offset` of the payload; zero beyond its end.
    package func word(at offset: Int) -> UInt32 {
        guard offset >= 0, offset + 4 <= payload.count else { return 0 }
        return payload[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
}

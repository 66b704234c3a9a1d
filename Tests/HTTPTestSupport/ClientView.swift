import CNghttp2

/// What a client sees of a connection: every frame the server sent, and the responses they make up.
///
/// Frames are taken apart by hand; header blocks are decoded by libnghttp2's HPACK inflater.
package final class ClientView {
    package struct Response: Equatable {
        package var status = ""
        package var fields: [String: String] = [:]
        package var body: [UInt8] = []
        package var isComplete = false
        package var informational: [String] = []
    }

    private let inflater: OpaquePointer?
    private var unread: [UInt8] = []
    package private(set) var frames: [Frame] = []
    package private(set) var responses: [Int32: Response] = [:]
    /// Bytes after the last whole frame; a server must never leave any when it closes.
    package var trailing: [UInt8] { unread }

    package init() {
        var created: OpaquePointer?
        nghttp2_hd_inflate_new(&created)
        inflater = created
    }

    deinit {
        nghttp2_hd_inflate_del(inflater)
    }

    /// Takes bytes that the server wrote.
    package func receive(_ bytes: [UInt8]) {
        unread += bytes
        while unread.count >= 9 {
            let count = Int(unread[0]) << 16 | Int(unread[1]) << 8 | Int(unread[2])
            guard unread.count >= 9 + count else { return }
            let stream = unread[5..<9].reduce(Int32(0)) { $0 << 8 | Int32($1) }
            let frame = Frame(
                type: unread[3], flags: unread[4], stream: stream, payload: Array(unread[9..<9 + count]))
            unread.removeFirst(9 + count)
            frames.append(frame)
            interpret(frame)
        }
    }

    private func interpret(_ frame: Frame) {
        switch Frame.Kind(rawValue: frame.type) {
        case .headers:
            let fields = inflate(frame.payload)
            var response = responses[frame.stream] ?? Response()
            let status = fields.first { $0.0 == ":status" }?.1 ?? ""
            if status.hasPrefix("1") {
                response.informational.append(status)
            } else {
                response.status = status
                for (name, value) in fields { response.fields[name] = value }
            }
            response.isComplete = frame.flags & Frame.endStream != 0
            responses[frame.stream] = response
        case .data:
            responses[frame.stream, default: Response()].body += frame.payload
            if frame.flags & Frame.endStream != 0 { responses[frame.stream]?.isComplete = true }
        default:
            break
        }
    }

    private func inflate(_ block: [UInt8]) -> [(String, String)] {
        var fields: [(String, String)] = []
        block.withUnsafeBufferPointer { buffer in
            var offset = 0
            while true {
                var field = nghttp2_nv()
                var flags: Int32 = 0
                let count = nghttp2_hd_inflate_hd2(
                    inflater, &field, &flags, buffer.baseAddress.map { $0 + offset }, buffer.count - offset, 1)
                guard count >= 0 else { return }
                offset += count
                if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
                    let name = UnsafeBufferPointer(start: field.name, count: field.namelen)
                    let value = UnsafeBufferPointer(start: field.value, count: field.valuelen)
                    fields.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
                }
                if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 { break }
                if count == 0 && flags == 0 { return }
            }
            nghttp2_hd_inflate_end_headers(inflater)
        }
        return fields
    }

    /// The frames of one kind, in order.
    package func frames(_ kind: Frame.Kind) -> [Frame] {
        frames.filter { $0.type == kind.rawValue }
    }

    /// The error codes of the GOAWAY frames, in order.
    package var goawayCodes: [UInt32] { frames(.goaway).map { $0.word(at: 4) } }

    /// The error codes of the RST_STREAM frames by stream.
    package var resets: [Int32: UInt32] {
        Dictionary(frames(.reset).map { ($0.stream, $0.word(at: 0)) }, uniquingKeysWith: { first, _ in first })
    }
}

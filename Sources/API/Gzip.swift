import CZlib

/// Expands bodies that were sent with `Content-Encoding: gzip` (RFC 1952).
enum Gzip {
    enum Failure: Error {
        /// Not gzip, cut off, or followed by something else.
        case damaged
        /// It expands to more than the limit.
        case tooLarge
    }

    /// The content, member after member; never more than `limit_bytes` and one piece are held.
    static func expanded(_ bytes: [UInt8], limit_bytes: Int) throws(Failure) -> [UInt8] {
        // zlib remembers where the structure is, so it must not move.
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        defer { stream.deallocate() }
        // 15 bits of window, and 16 for gzip and nothing else.
        guard inflateInit2_(stream, 15 + 16, zlibVersion(), Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw .damaged
        }
        defer { inflateEnd(stream) }
        return try bytes.withUnsafeBufferPointer { (input) throws(Failure) in
            // Read only, whatever the type says.
            stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
            stream.pointee.avail_in = UInt32(clamping: input.count)
            var output: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: 65_536)
            while true {
                let room = min(piece.count, limit_bytes - output.count + 1)
                let result = piece.withUnsafeMutableBufferPointer { piece in
                    stream.pointee.next_out = piece.baseAddress
                    stream.pointee.avail_out = UInt32(clamping: room)
                    return inflate(stream, Z_NO_FLUSH)
                }
                output += piece[..<(room - Int(stream.pointee.avail_out))]
                if output.count > limit_bytes { throw .tooLarge }
                switch result {
                case Z_OK: break
                case Z_STREAM_END:
                    if stream.pointee.avail_in == 0 { return output }
                    guard inflateReset(stream) == Z_OK else { throw .damaged }
                // Also where the input ends before the member does.
                default: throw .damaged
                }
            }
        }
    }
}

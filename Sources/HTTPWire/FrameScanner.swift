/// Finds the headers of DATA frames in what a peer of HTTP/2 sends, whole or in pieces (RFC 9113 section 4.1).
///
/// libnghttp2 calls nobody for DATA that it drops, so the frames are counted here before it sees them.
struct FrameScanner {
    /// The header of a DATA frame.
    struct Data: Equatable {
        var stream: StreamID
        /// Bytes of its payload, padding included.
        var count: Int
        var endsStream: Bool
        /// A frame of another kind, or one that ended a stream, stood between the last that was found and this.
        var mayBeNews: Bool
    }

    static let headerBytes = 9

    /// Bytes of the client preface or of a payload that are still to come.
    private var skip = 24
    /// What came of a header that is not complete.
    private var partial: UInt64 = 0
    private var partialCount = 0
    private var sawNews = true

    /// The next DATA frame whose header is complete in `bytes`; `offset` moves behind that header, or to the end.
    mutating func nextData(in bytes: UnsafeRawBufferPointer, _ offset: inout Int) -> Data? {
        while offset < bytes.count {
            if skip > 0 {
                let count = min(skip, bytes.count - offset)
                skip -= count
                offset += count
                continue
            }
            if partialCount == 0 && bytes.count - offset >= Self.headerBytes {
                let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                let high = bytes[offset + 8]
                offset += Self.headerBytes
                if let data = header(low, high) { return data }
                continue
            }
            let byte = bytes[offset]
            offset += 1
            partialCount += 1
            if partialCount < Self.headerBytes {
                partial = partial << 8 | UInt64(byte)
                continue
            }
            partialCount = 0
            let low = partial
            partial = 0
            if let data = header(low, byte) { return data }
        }
        return nil
    }

    /// Takes a header apart: eight bytes and the last.
    private mutating func header(_ low: UInt64, _ last: UInt8) -> Data? {
        skip = Int(low >> 40)
        let type = UInt8(truncatingIfNeeded: low >> 32)
        let endsStream = UInt8(truncatingIfNeeded: low >> 24) & 1 != 0
        guard type == 0 else {
            sawNews = true
            return nil
        }
        let stream = UInt32(truncatingIfNeeded: low & 0xFF_FFFF) << 8 | UInt32(last)
        let data = Data(
            stream: StreamID(Int32(stream & 0x7FFF_FFFF)), count: skip, endsStream: endsStream, mayBeNews: sawNews)
        sawNews = endsStream
        return data
    }
}

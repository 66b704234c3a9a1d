import HTTPTypes

/// One answer of HTTP/1 on its way out.
struct HTTP1Writer {
    /// What became of an attempt to write.
    enum Progress {
        case more
        /// The producer of the body has nothing yet.
        case notNow
        case done
        /// The body cannot be completed.
        case broken
    }

    private enum Body {
        case none
        case bytes([UInt8])
        case shared(SharedBytes)
        /// Pieces with their lengths before them.
        case chunks(any BodySource)
        /// Pieces as they are: as many bytes as the length says, or until the connection ends.
        case plain(any BodySource, left: Int?)
    }

    /// The answer to HEAD has no body, and that to HTTP/1.0 no chunks.
    var isHead = false
    var isVersion10 = false
    /// The producer said "not now", so nothing is owed by the peer.
    var isDeferred = false
    private(set) var isBusy = false
    /// The end of the body is the end of the connection.
    private(set) var endsWithConnection = false

    private var head: [UInt8] = []
    private var fields: [UInt8] = []
    private var isHeadWritten = false
    private var body = Body.none
    private var offset = 0

    /// What produces the body, while it is written.
    var source: (any BodySource)? {
        switch body {
        case .chunks(let source), .plain(let source, _): source
        case .none, .bytes, .shared: nil
        }
    }

    mutating func begin(_ answer: PreparedAnswer, date: [UInt8]?, closes: Bool) {
        begin(head: answer.http1Head)
        addFields(date: answer.hasDate ? nil : date, closes: closes)
        body = isHead || answer.body.isEmpty ? .none : .shared(answer.body)
    }

    mutating func begin(_ response: HTTPResponse, body content: ResponseBody, date: [UInt8]?, closes: Bool) {
        let status = response.status.code
        var list = FlatFields(response, status: status)
        let statusForbidsBody = status == 204 || status == 304
        let hasNoBody = isHead || statusForbidsBody
        var isChunked = false
        endsWithConnection = false
        var newBody = Body.none
        switch content {
        case .empty:
            if !hasNoBody && !list.hasContentLength { list.addContentLength(0) }
        case .bytes(let bytes):
            if !statusForbidsBody && !list.hasContentLength { list.addContentLength(bytes.count) }
            if !hasNoBody && !bytes.isEmpty { newBody = .bytes(bytes) }
        case .shared(let bytes):
            if !statusForbidsBody && !list.hasContentLength { list.addContentLength(bytes.count) }
            if !hasNoBody && !bytes.isEmpty { newBody = .shared(bytes) }
        case .source(let source):
            if hasNoBody {
                source.cancel()
            } else if list.hasContentLength {
                newBody = .plain(source, left: response.headerFields[.contentLength].flatMap { Int($0) } ?? 0)
            } else if isVersion10 {
                newBody = .plain(source, left: nil)
                endsWithConnection = true
            } else {
                newBody = .chunks(source)
                isChunked = true
            }
        }
        begin(head: list.http1Head(response.status))
        addFields(date: list.hasDate ? nil : date, closes: closes || endsWithConnection)
        if isChunked { fields.insert(contentsOf: Array("transfer-encoding: chunked\r\n".utf8), at: 0) }
        body = newBody
    }

    private mutating func begin(head: [UInt8]) {
        self.head = head
        fields.removeAll(keepingCapacity: true)
        isBusy = true
        isHeadWritten = false
        isDeferred = false
        offset = 0
    }

    private static let dateName = Array("date: ".utf8)
    private static let close = Array("connection: close\r\n".utf8)

    private mutating func addFields(date: [UInt8]?, closes: Bool) {
        if let date {
            fields += Self.dateName
            fields += date
            fields += [0x0D, 0x0A]
        }
        if closes { fields += Self.close }
        fields += [0x0D, 0x0A]
    }

    /// Writes as much as `buffer` asks for.
    mutating func write(into buffer: OutputBuffer) -> Progress {
        if !isHeadWritten {
            isHeadWritten = true
            buffer.append(head)
            buffer.append(fields)
            head = []
        }
        switch body {
        case .none: return end()
        case .bytes(let bytes):
            let count = min(bytes.count - offset, max(1, buffer.room))
            bytes.withUnsafeBytes { buffer.append(UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + count)])) }
            offset += count
            return offset == bytes.count ? end() : .more
        case .shared(let bytes):
            let count = min(bytes.count - offset, max(1, buffer.softLimit - buffer.count))
            buffer.append(bytes, offset..<(offset + count))
            offset += count
            return offset == bytes.count ? end() : .more
        case .chunks(let source): return writeChunk(of: source, into: buffer)
        case .plain(let source, let left): return writePiece(of: source, left: left, into: buffer)
        }
    }

    private mutating func end() -> Progress {
        body = .none
        isBusy = false
        return .done
    }

    /// Bytes that a producer is asked for at a time.
    private static let pieceBytes = 16 * 1024

    private mutating func writeChunk(of source: any BodySource, into buffer: OutputBuffer) -> Progress {
        if isDeferred { return .notNow }
        return withUnsafeTemporaryAllocation(byteCount: Self.pieceBytes, alignment: 16) { piece in
            let read = source.read(into: piece)
            func append(_ count: Int) {
                guard count > 0 else { return }
                buffer.append(Array("\(String(count, radix: 16))\r\n".utf8))
                buffer.append(UnsafeRawBufferPointer(rebasing: piece[..<count]))
                buffer.append([0x0D, 0x0A])
            }
            switch read {
            case .bytes(let count) where count > 0:
                append(min(count, piece.count))
                return .more
            case .bytes, .notNow:
                isDeferred = true
                return .notNow
            case .last(let count):
                append(min(max(0, count), piece.count))
                buffer.append(Array("0\r\n\r\n".utf8))
                return end()
            case .failed: return .broken
            }
        }
    }

    private mutating func writePiece(of source: any BodySource, left: Int?, into buffer: OutputBuffer) -> Progress {
        if isDeferred { return .notNow }
        return withUnsafeTemporaryAllocation(byteCount: Self.pieceBytes, alignment: 16) { piece in
            let read = source.read(into: piece)
            var left = left
            func append(_ count: Int) {
                let count = min(max(0, count), piece.count, left ?? Int.max)
                buffer.append(UnsafeRawBufferPointer(rebasing: piece[..<count]))
                left = left.map { $0 - count }
            }
            switch read {
            case .bytes(let count) where count > 0:
                append(count)
                body = .plain(source, left: left)
                return .more
            case .bytes, .notNow:
                isDeferred = true
                return .notNow
            case .last(let count):
                append(count)
                // Fewer bytes than were promised: only the end of the connection can say so.
                return (left ?? 0) == 0 ? end() : .broken
            case .failed: return .broken
            }
        }
    }
}

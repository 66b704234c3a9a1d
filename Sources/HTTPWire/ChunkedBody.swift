/// The chunked coding, read strictly (RFC 9112 section 7.1); keeps its place between calls.
///
/// Written here because libhttp-parser, as Debian builds it, takes any byte after the CR of a chunk's size for the LF,
/// and any two bytes after a chunk's data for its end: two readers of one body would disagree about where it ends.
struct ChunkedBody {
    /// What comes next in some bytes.
    enum Step: Equatable {
        /// These bytes are data of the body.
        case data(Range<Int>)
        /// All bytes were looked at.
        case more
        /// The body, trailer fields included, ended before this position.
        case end(Int)
        case fault(StandardAnswer)
    }

    private enum State {
        case size, extensions, sizeEnd, data, dataEnd, dataEndLF
        case trailers(HTTP1HeadScanner)
    }

    private let limits: WireLimits
    private var state = State.size
    private var digits = 0
    private var left = 0
    /// Bytes of extensions, which nobody here understands and everybody must skip.
    private var extensionBytes = 0
    /// Chunks so far that were smaller than `WireLimits.smallPieceBytes`; at most one more with each step.
    private(set) var smallChunks = 0

    init(limits: WireLimits) { self.limits = limits }

    /// The next step from `offset`, which moves behind what was read.
    mutating func next(in bytes: UnsafeRawBufferPointer, _ offset: inout Int) -> Step {
        while offset < bytes.count {
            let byte = bytes[offset]
            switch state {
            case .size:
                if let digit = Self.digit(byte) {
                    digits += 1
                    // Eight digits are more than any body that is read here.
                    guard digits <= 8 else { return .fault(.malformedRequest) }
                    left = left << 4 | digit
                } else if digits > 0 && byte == 0x0D {
                    state = .sizeEnd
                } else if digits > 0 && byte == UInt8(ascii: ";") {
                    state = .extensions
                } else {
                    return .fault(.malformedRequest)
                }
                offset += 1
            case .extensions:
                offset += 1
                extensionBytes += 1
                if byte == 0x0D {
                    state = .sizeEnd
                } else if (byte < 0x20 && byte != 0x09) || byte == 0x7F {
                    return .fault(.malformedRequest)
                }
                if extensionBytes > limits.headerListBytes { return .fault(.headerListTooLarge) }
            case .sizeEnd:
                guard byte == 0x0A else { return .fault(.malformedRequest) }
                offset += 1
                digits = 0
                if left > 0 && left < limits.smallPieceBytes { smallChunks += 1 }
                state = left == 0 ? .trailers(HTTP1HeadScanner(limits: limits, trailers: true)) : .data
            case .data:
                let start = offset
                let count = min(left, bytes.count - offset)
                offset += count
                left -= count
                if left == 0 { state = .dataEnd }
                return .data(start..<offset)
            case .dataEnd:
                guard byte == 0x0D else { return .fault(.malformedRequest) }
                offset += 1
                state = .dataEndLF
            case .dataEndLF:
                guard byte == 0x0A else { return .fault(.malformedRequest) }
                offset += 1
                state = .size
            case .trailers(var scanner):
                // Read, counted and dropped, like those of HTTP/2.
                let outcome = scanner.scan(UnsafeRawBufferPointer(rebasing: bytes[offset...]))
                state = .trailers(scanner)
                switch outcome {
                case .more: offset = bytes.count
                case .complete(let count):
                    offset += count
                    return .end(offset)
                case .fault(let answer): return .fault(answer)
                }
            }
        }
        return .more
    }

    private static func digit(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }
}

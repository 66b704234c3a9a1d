/// The strictness that stands before libhttp-parser: finds the end of a head, or of trailer fields, and refuses what
/// two readers of the same bytes could understand differently.
///
/// RFC 9112 sections 2.2, 3, 5.1, 5.2. Debian's build of the parser takes bare LF as a line end, folded lines, a space
/// before the colon, several spaces in the request line and requests without a version; each of these is how requests
/// are smuggled past a proxy that reads them otherwise. Keeps its place between calls.
struct HTTP1HeadScanner {
    /// What the bytes so far are.
    enum Outcome: Equatable {
        /// A proper part of a head.
        case more
        /// The head ends before this position of the bytes that were just looked at.
        case complete(Int)
        case fault(StandardAnswer)
    }

    private enum State {
        case beforeRequestLine, requestLine, lineStart, name, value
        /// After CR: only LF may follow.
        case lineEnd, leadingEnd, lastEnd
    }

    private let limits: WireLimits
    private var state: State
    /// Bytes of the whole head, line ends included.
    private(set) var count = 0
    private(set) var fields = 0
    private var spaces = 0
    private var sawEmptyLine = false

    /// A scanner at the start of a request, or of trailer fields.
    init(limits: WireLimits, trailers: Bool = false) {
        self.limits = limits
        state = trailers ? .lineStart : .beforeRequestLine
    }

    /// Whether anything of a head has come; an empty line before it is nothing.
    var hasBegun: Bool { state != .beforeRequestLine && state != .leadingEnd }

    mutating func scan(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            count += 1
            switch state {
            case .beforeRequestLine:
                if byte == 0x0D && !sawEmptyLine {
                    state = .leadingEnd
                } else if Self.isToken(byte) {
                    state = .requestLine
                } else {
                    return .fault(.malformedRequest)
                }
            case .leadingEnd:
                // One empty line before a request is ignored: old clients end bodies with it (section 2.2).
                guard byte == 0x0A else { return .fault(.malformedRequest) }
                sawEmptyLine = true
                count = 0
                state = .beforeRequestLine
            case .requestLine:
                if byte == 0x20 {
                    spaces += 1
                } else if byte == 0x0D {
                    // Method, target and version; without the last it is HTTP/0.9.
                    guard spaces == 2 else { return .fault(.malformedRequest) }
                    state = .lineEnd
                } else if byte < 0x20 || byte == 0x7F || (spaces == 0 && !Self.isToken(byte)) {
                    return .fault(.malformedRequest)
                }
                if count > limits.requestLineBytes { return .fault(.targetTooLong) }
            case .lineEnd:
                guard byte == 0x0A else { return .fault(.malformedRequest) }
                state = .lineStart
            case .lineStart:
                if byte == 0x0D {
                    state = .lastEnd
                    continue
                }
                // A space here folds the line into the one before (section 5.2).
                guard Self.isToken(byte) else { return .fault(.malformedRequest) }
                fields += 1
                if fields > limits.headerListFields { return .fault(.headerListTooLarge) }
                state = .name
            case .name:
                if byte == UInt8(ascii: ":") {
                    state = .value
                } else if !Self.isToken(byte) {
                    return .fault(.malformedRequest)
                }
            case .value:
                if byte == 0x0D {
                    state = .lineEnd
                } else if (byte < 0x20 && byte != 0x09) || byte == 0x7F {
                    return .fault(.malformedRequest)
                }
            case .lastEnd:
                guard byte == 0x0A else { return .fault(.malformedRequest) }
                return .complete(index)
            }
            // The same sum as for HTTP/2: name, value and 32 for each field; separators stand for part of the 32.
            if count + fields * 28 > limits.headerListBytes { return .fault(.headerListTooLarge) }
        }
        return .more
    }

    /// RFC 9110 section 5.6.2.
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#")...UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^")...UInt8(ascii: "`"), UInt8(ascii: "|"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }
}

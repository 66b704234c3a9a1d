/// Content-Transfer-Encoding (RFC 2045, section 6). Damaged input decodes as far as it goes: a patch that lost a line
/// says so later, where it matters.
enum TransferEncoding: Sendable {
    case identity, quotedPrintable, base64

    init(_ name: ArraySlice<UInt8>) {
        let name = name.trimmed
        if name.hasPrefix(ignoringCase: "quoted-printable") {
            self = .quotedPrintable
        } else if name.hasPrefix(ignoringCase: "base64") {
            self = .base64
        } else {
            self = .identity
        }
    }

    func decoded(_ body: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        switch self {
        case .identity: body
        case .quotedPrintable: TransferEncoding.quotedPrintable(body)[...]
        case .base64: TransferEncoding.base64(body)[...]
        }
    }

    /// `=XX` is a byte; `=` at the end of a line joins it with the next (6.7). Anything else behind `=` stays as it is.
    static func quotedPrintable(_ body: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(body.count)
        var position = body.startIndex
        while position < body.endIndex {
            let byte = body[position]
            position += 1
            guard byte == UInt8(ascii: "=") else {
                out.append(byte)
                continue
            }
            var next = position
            while next < body.endIndex, Ascii.isBlank(body[next]) { next += 1 }
            if next < body.endIndex, body[next] == Ascii.carriageReturn { next += 1 }
            if next >= body.endIndex { return out }
            if body[next] == Ascii.newline {
                position = next + 1
            } else if position + 1 < body.endIndex, let high = Ascii.hexadecimal(body[position]),
                let low = Ascii.hexadecimal(body[position + 1])
            {
                out.append(high << 4 | low)
                position += 2
            } else {
                out.append(byte)
            }
        }
        return out
    }

    /// Characters outside the alphabet are passed over, as RFC 2045 asks (6.8); padding ends the text.
    static func base64(_ body: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(body.count / 4 * 3)
        var bits: UInt32 = 0
        var count = 0
        for byte in body {
            let value: UInt8
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = byte - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = byte - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"), UInt8(ascii: "-"): value = 62
            case UInt8(ascii: "/"), UInt8(ascii: "_"): value = 63
            case UInt8(ascii: "="): return out
            default: continue
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                out.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return out
    }
}

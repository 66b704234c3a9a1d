/// What may name a host, and the path of a request: stricter than the validators of libnghttp2, which look at single bytes.
enum Authority {
    /// Whether these bytes are a host, or a host and a port, without user information (RFC 3986 section 3.2, RFC 9110 sections
    /// 4.2.1 and 4.2.4).
    static func isValid(_ bytes: some BidirectionalCollection<UInt8>) -> Bool {
        guard bytes.first != UInt8(ascii: "[") else { return isLiteral(bytes) }
        let host = bytes.prefix { $0 != UInt8(ascii: ":") }
        return !host.isEmpty && isName(host) && isPort(bytes[host.endIndex...])
    }

    private static func isLiteral(_ bytes: some BidirectionalCollection<UInt8>) -> Bool {
        guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return false }
        let address = Array(bytes[..<end].dropFirst())
        return isIPv6(address) && isPort(bytes[bytes.index(after: end)...])
    }

    /// Nothing, or a colon and at most a 16-bit number.
    private static func isPort(_ bytes: some BidirectionalCollection<UInt8>) -> Bool {
        guard let first = bytes.first else { return true }
        guard first == UInt8(ascii: ":") else { return false }
        var number = 0
        for byte in bytes.dropFirst() {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte else { return false }
            number = number * 10 + Int(byte - UInt8(ascii: "0"))
            if number > 65_535 { return false }
        }
        return true
    }

    /// `reg-name`, which includes IPv4 addresses; an escape has two digits.
    private static func isName(_ bytes: some BidirectionalCollection<UInt8>) -> Bool {
        var digits = 0
        for byte in bytes {
            if digits > 0 {
                guard isHexadecimal(byte) else { return false }
                digits -= 1
                continue
            }
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: "!"), UInt8(ascii: "$"), UInt8(ascii: "&")...UInt8(ascii: ","),
                UInt8(ascii: ";"), UInt8(ascii: "="):
                break
            case UInt8(ascii: "%"): digits = 2
            default: return false
            }
        }
        return digits == 0
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    /// Eight groups, or fewer with `::` in one place; the last two may be an IPv4 address.
    private static func isIPv6(_ bytes: [UInt8]) -> Bool {
        var groups = 0
        var hasGap = false
        var index = 0
        if bytes.starts(with: [UInt8(ascii: ":"), UInt8(ascii: ":")]) {
            hasGap = true
            index = 2
        }
        while index < bytes.count {
            let rest = bytes[index...]
            let group = rest.prefix(while: isHexadecimal)
            if rest.dropFirst(group.count).first == UInt8(ascii: ".") {
                guard isIPv4(rest) else { return false }
                groups += 2
                break
            }
            guard (1...4).contains(group.count) else { return false }
            groups += 1
            index += group.count
            guard index < bytes.count else { break }
            guard bytes[index] == UInt8(ascii: ":") else { return false }
            index += 1
            if index < bytes.count, bytes[index] == UInt8(ascii: ":") {
                if hasGap { return false }
                hasGap = true
                index += 1
            } else if index == bytes.count {
                return false
            }
        }
        return hasGap ? groups <= 7 : groups == 8
    }

    private static func isIPv4(_ bytes: ArraySlice<UInt8>) -> Bool {
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                guard (1...3).contains(part.count), part.allSatisfy({ 0x30...0x39 ~= $0 }) else { return false }
                return part.reduce(0) { $0 * 10 + Int($1 - 0x30) } <= 255
            }
    }

    /// Whether a path has only bytes that a URI has there: printable ASCII, and no fragment (RFC 3986 section 3.3).
    static func isPath(_ bytes: some Collection<UInt8>) -> Bool {
        bytes.allSatisfy { 0x21...0x7E ~= $0 && $0 != UInt8(ascii: "#") }
    }
}

import COpenSSL

/// A SHA-256 digest: the identity of everything the store keeps by content.
package struct Digest: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The 32 bytes.
    package let bytes: [UInt8]

    /// The digest of some bytes.
    ///
    /// A precondition fails when libcrypto cannot do SHA-256 at all: nothing could be stored then.
    package init(of content: some Sequence<UInt8>) {
        let content = Array(content)
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        var written: UInt32 = 0
        let answer = EVP_Digest(content, content.count, &bytes, &written, EVP_sha256(), nil)
        precondition(answer == 1 && written == Self.byteCount, "libcrypto refused SHA-256")
        self.bytes = bytes
    }

    /// A digest from its 32 bytes; nil for any other number of them.
    package init?(bytes: some Sequence<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// A digest from its 64 hexadecimal digits, in either case; nil for anything else.
    package init?(hex: String) {
        guard let nibbles = Self.nibbles(hex), nibbles.count == Self.byteCount * 2 else { return nil }
        self.bytes = Self.packed(nibbles)
    }

    /// The number of bytes of every digest.
    package static let byteCount = 32

    /// The 64 hexadecimal digits, lower case.
    package var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        var out: [UInt8] = []
        out.reserveCapacity(Self.byteCount * 2)
        for byte in bytes {
            out.append(digits[Int(byte >> 4)])
            out.append(digits[Int(byte & 15)])
        }
        return String(decoding: out, as: UTF8.self)
    }

    package var description: String { hex }

    package static func < (left: Digest, right: Digest) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}

extension Digest {
    /// The values of hexadecimal digits; nil when a character is not one.
    static func nibbles(_ text: String) -> [UInt8]? {
        var out: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): out.append(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): out.append(byte - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): out.append(byte - UInt8(ascii: "A") + 10)
            default: return nil
            }
        }
        return out
    }

    /// The least and the greatest digest that begin with some hexadecimal digits; nil beyond 64 of them.
    static func range(prefix nibbles: [UInt8]) -> (low: [UInt8], high: [UInt8])? {
        guard nibbles.count <= byteCount * 2 else { return nil }
        let rest = byteCount * 2 - nibbles.count
        return (
            packed(nibbles + [UInt8](repeating: 0, count: rest)),
            packed(nibbles + [UInt8](repeating: 15, count: rest))
        )
    }

    private static func packed(_ nibbles: [UInt8]) -> [UInt8] {
        stride(from: 0, to: nibbles.count - 1, by: 2).map { nibbles[$0] << 4 | nibbles[$0 + 1] }
    }
}

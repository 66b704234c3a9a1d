/// The public identity of a simulation: URL-safe text of 16 to 64 characters.
///
/// Identities made here sort by time (the layout of ULID: 48 bits of milliseconds, 80 random ones), so that
/// new rows land at the end of the index.
package struct SimulationID: Hashable, Sendable, CustomStringConvertible {
    /// The text, as it stands in a URL.
    package let text: String

    /// An identity from outside; nil unless it is 16 to 64 letters, digits, `-` or `_` of ASCII.
    package init?(_ text: String) {
        guard (16...64).contains(text.utf8.count), text.utf8.allSatisfy(Self.isURLSafe) else { return nil }
        self.text = text
    }

    /// A new identity: 26 characters.
    package init(at moment: Timestamp, using generator: inout some RandomNumberGenerator) {
        let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
        var out: [UInt8] = []
        let time = UInt64(truncatingIfNeeded: moment.milliseconds) & 0xffff_ffff_ffff
        for shift in stride(from: 45 as UInt64, through: 0, by: -5) { out.append(alphabet[Int(time >> shift & 31)]) }
        for _ in 0..<2 {
            let random = generator.next() as UInt64
            for shift in stride(from: 35 as UInt64, through: 0, by: -5) {
                out.append(alphabet[Int(random >> shift & 31)])
            }
        }
        self.text = String(decoding: out, as: UTF8.self)
    }

    package var description: String { text }

    private static func isURLSafe(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

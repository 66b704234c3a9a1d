/// A place in a list: after the row with some number.
///
/// Rows are numbered in the order they were committed, so that rows added meanwhile neither repeat nor hide
/// one. The text names its list: a cursor of one list is refused by another.
struct Cursor: Equatable {
    enum List: UInt8 {
        case configurations = 1
        case simulations = 2
        case scenarios = 3
    }

    var list: List
    var number: Int64

    init(_ list: List, after number: Int64) {
        self.list = list
        self.number = number
    }

    /// Reads what `text` wrote.
    init(_ text: String, of list: List) throws(StoreError) {
        guard let bytes = Self.decoded(text), bytes.count == 9, bytes.first == list.rawValue else {
            throw StoreError(.invalidCursor, "the cursor is none of this list; begin at the first page")
        }
        self.list = list
        self.number = bytes.dropFirst().reduce(0) { $0 << 8 | Int64($1) }
        // Far below overflow: what follows may add to it.
        guard (0...1 << 62).contains(number) else {
            throw StoreError(.invalidCursor, "the cursor is none of this list; begin at the first page")
        }
    }

    /// Base64url without padding, 12 characters.
    var text: String {
        var bytes = [list.rawValue]
        for shift in stride(from: 56 as Int64, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
        var out: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let word = bytes[start..<start + 3].reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
            for shift in stride(from: 18 as UInt32, through: 0, by: -6) {
                out.append(Self.alphabet[Int(word >> shift & 63)])
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    private static func decoded(_ text: String) -> [UInt8]? {
        guard text.utf8.count == 12 else { return nil }
        var out: [UInt8] = []
        var word: UInt32 = 0
        for (position, byte) in text.utf8.enumerated() {
            guard let value = alphabet.firstIndex(of: byte) else { return nil }
            word = word << 6 | UInt32(value)
            guard position % 4 == 3 else { continue }
            out += [UInt8(word >> 16 & 255), UInt8(word >> 8 & 255), UInt8(word & 255)]
            word = 0
        }
        return out
    }
}

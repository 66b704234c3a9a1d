import EntryCode
import TestSupport
import Testing

struct JSONRoundTripTests {
    /// Any value, down to a depth.
    private func value(_ random: inout SeededRandom, depth: Int) -> JSON {
        switch random.next() % (depth > 0 ? 8 : 6) {
        case 0: return .null
        case 1: return .bool(random.chance(50))
        case 2: return .integer(Int64(truncatingIfNeeded: random.next()))
        case 3: return .integer(Int64(random.next() % 100))
        case 4:
            let number = Double(bitPattern: random.next())
            // A number that is a whole one reads back as an integer: keep to those that are not.
            return number.isFinite && number.rounded() != number ? .number(number) : .number(0.5)
        case 5: return .string(text(&random))
        case 6: return .array((0..<random.next() % 4).map { _ in value(&random, depth: depth - 1) })
        default:
            return .object(
                (0..<random.next() % 4).map { _ in JSON.Member(text(&random), value(&random, depth: depth - 1)) })
        }
    }

    private func text(_ random: inout SeededRandom) -> String {
        let scalars: [Unicode.Scalar] = [
            "a", "\"", "\\", "/", "\n", "\u{0}", "\u{1F}", "\u{7F}", "é", "😀", "\u{FFFF}", "\r", "\t",
        ]
        var text = ""
        for _ in 0..<random.next() % 6 { text.unicodeScalars.append(random.pick(scalars)) }
        return text
    }

    @Test("what is written reads back as the same value, plain and indented")
    func roundTrip() throws {
        var random = SeededRandom(seed: 2019)
        for _ in 0..<3000 {
            let original = value(&random, depth: 4)
            #expect(try JSON.parse(original.bytes).value == original)
            #expect(try JSON.parse(original.prettyBytes).value == original)
        }
    }

    @Test("the canonical form does not depend on the order of keys, and is stable")
    func canonical() throws {
        var random = SeededRandom(seed: 715)
        for _ in 0..<500 {
            guard case .object(let members) = value(&random, depth: 3), Set(members.map(\.key)).count == members.count
            else { continue }
            let shuffled = JSON.object(members.shuffled(using: &random))
            #expect(shuffled.canonical.bytes == JSON.object(members).canonical.bytes)
            #expect(shuffled.canonical.canonical == shuffled.canonical)
        }
    }

    @Test("pointers escape (RFC 6901)")
    func pointers() {
        #expect(pointer("/a", "b/c~d") == "/a/b~1c~0d")
        #expect(pointer("", "") == "/")
    }
}

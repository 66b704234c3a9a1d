import EntryCode
import TestSupport
import Testing

/// Mutated documents: whatever comes in, a table or faults come out, and every pointer points.
struct TableFuzzTests {
    private let strange: [JSON] = [
        .null, true, false, 0, 1, -1, 3, 15, 255, 256, .integer(.max), .integer(.min), .number(0.5), .number(1e300), "",
        "x",
        "int3", "0x0", "0xffffffffffffffff", "0xffffffff82200000", "0xffffffffffffffffff", "IST_INDEX_DB", "\u{0}", "é",
        .array([]), .object([]), .array([.null]), .object([JSON.Member("", .null)]),
    ]

    /// Replaces, removes, repeats or renames something somewhere.
    private func mutate(_ value: JSON, _ random: inout SeededRandom) -> JSON {
        switch value {
        case .array(var elements) where !elements.isEmpty && random.chance(85):
            let index = Int(random.next() % UInt64(elements.count))
            switch random.next() % 8 {
            case 0: elements.remove(at: index)
            case 1: elements.append(elements[index])
            case 2: elements.swapAt(0, index)
            default: elements[index] = mutate(elements[index], &random)
            }
            return .array(elements)
        case .object(var members) where !members.isEmpty && random.chance(85):
            let index = Int(random.next() % UInt64(members.count))
            switch random.next() % 12 {
            case 0: members.remove(at: index)
            case 1: members.append(members[index])
            case 2: members[index].key += "x"
            case 3: members[index].value = random.pick(members).value
            default: members[index].value = mutate(members[index].value, &random)
            }
            return .object(members)
        default: return random.pick(strange)
        }
    }

    @Test("mutated values", arguments: 1...8)
    func values(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let base = try #require(KernelLibrary.shipped.kernel(named: "linux-5.2")).document
        var read = 0
        for _ in 0..<300 {
            var document = base
            for _ in 0...random.next() % 3 { document = mutate(document, &random) }
            do {
                let table = try EntryTable.read(document.bytes)
                read += 1
                // What reads must resolve to a document that reads.
                #expect(throws: Never.self) { _ = try EntryTable.read(table.document) }
            } catch {
                #expect(!error.faults.isEmpty)
                for fault in error.faults {
                    #expect(fault.pointer.isEmpty || fault.pointer.hasPrefix("/"), "\(fault)")
                    #expect(!fault.code.isEmpty && !fault.message.isEmpty)
                }
            }
        }
        #expect(read > 0 && read < 300, "the mutations must reach both outcomes")
    }

    @Test("mutated bytes", arguments: 1...4)
    func bytes(seed: UInt64) throws {
        var random = SeededRandom(seed: seed &* 7919)
        let base = try #require(KernelLibrary.shipped.kernel(named: "linux-5.3")).document.bytes
        for _ in 0..<150 {
            var text = base
            for _ in 0...random.next() % 4 {
                let index = Int(random.next() % UInt64(text.count))
                switch random.next() % 4 {
                case 0: text[index] = UInt8(truncatingIfNeeded: random.next())
                case 1: text.remove(at: index)
                case 2: text.insert(random.pick(Array("{}[]\",:0-e\\u".utf8)), at: index)
                default: text.removeSubrange(index..<min(text.count, index + 40))
                }
            }
            do { _ = try EntryTable.read(text) } catch { #expect(!error.faults.isEmpty) }
        }
    }

    @Test("tables that read expand or say why not", arguments: 1...6)
    func expansion(seed: UInt64) throws {
        var random = SeededRandom(seed: seed &* 104_729)
        let base = try #require(KernelLibrary.shipped.kernel(named: "linux-5.3")).document
        var tried = 0
        for _ in 0..<120 where tried < 6 {
            guard let table = try? EntryTable.read(mutate(base, &random)) else { continue }
            tried += 1
            for platform in Platform.allCases {
                do {
                    let image = try table.expand(for: platform)
                    #expect(!image.program.instructions.isEmpty)
                } catch {
                    #expect(!error.findings.isEmpty)
                }
            }
        }
        #expect(tried > 0)
    }
}

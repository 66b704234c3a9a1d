import EntryCode
import KernelSource
import TestSupport
import Testing

/// Damaged mails and patches: whatever comes in, an outcome comes out, and a table that it makes is a table or is refused.
struct PatchFuzzTests {
    @Test("mutated input", arguments: 1...6)
    func mutated(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let bases = [try fixture("int3-thread.txt"), try fixture("xen-int3.patch")]
        let document = try shipped("linux-5.2")
        let pieces: [[UInt8]] = [
            Array("@@ -1,1 +1,1 @@\n".utf8), Array("@@ -0,0 +1,99999999 @@\n".utf8), Array("--- a/\n".utf8),
            Array("+++ /dev/null\n".utf8), Array(">>>> ".utf8), Array("\r\n".utf8), [0xC3, 0x82], [0xC2], [0], [0xA0],
            Array("\nFrom x Mon Jul 15 09:09:49 2019\n".utf8),
            Array("Content-Type: multipart/mixed; boundary=\n\n".utf8),
            Array("Content-Transfer-Encoding: base64\n".utf8), Array("=\n=".utf8), Array("{ int3, , true }".utf8),
            Array("-idtentry\n".utf8), Array("+DECLARE_IDTENTRY(,)\n".utf8), Array("+ISTG(X86_TRAP_DB, a,".utf8),
            Array("\\ No newline at end of file\n".utf8), Array("diff --git ".utf8), Array("-- \n".utf8),
        ]
        for _ in 0..<150 {
            var input = random.pick(bases)
            for _ in 0...random.next() % 6 {
                let place = Int(random.next() % UInt64(input.count + 1))
                switch random.next() % 5 {
                case 0: input.removeSubrange(place..<min(input.count, place + Int(random.next() % 200)))
                case 1: if place < input.count { input[place] = UInt8(truncatingIfNeeded: random.next()) }
                case 2:
                    let other = random.pick(bases)
                    let start = Int(random.next() % UInt64(other.count))
                    input.insert(contentsOf: other[start..<min(other.count, start + 300)], at: place)
                default: input.insert(contentsOf: random.pick(pieces), at: place)
                }
                if input.isEmpty { input = [0x0A] }
            }
            let form: Mail.Form? = random.chance(30) ? random.pick([.text, .mail, .mbox]) : nil
            let outcome = PatchApplication.apply(input, form: form, to: document)
            #expect(outcome.hunks.allSatisfy { $0.state == .applied || $0.reason != nil })
            #expect(!outcome.text.isEmpty && !outcome.json.bytes.isEmpty)
            if let head = outcome.document {
                #expect(head != document)
                _ = try? EntryTable.read(head)
            }
        }
    }
}

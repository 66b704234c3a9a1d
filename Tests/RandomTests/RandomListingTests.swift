import Assembler
import EntryCode
import Testing
import Verification

/// What is printed of random code reads back as the same code.
struct RandomListingTests {
    @Test(
        "a changed routine's listing, sent back, is the same code", .timeLimit(.minutes(30)),
        arguments: Seeds.range(8))
    func roundTrip(seed: UInt64) throws {
        try Seeds.timed("listing", seed) {
            var random = try RandomTable(seed: seed ^ 0x1157_0000_0000)
            let times = 1 + Int(random.random.next() % 6)
            random.changeRoutine(among: random.code.routines, times: times)
            if random.random.chance(40) { random.inventRoutine(among: random.code.routines) }
            guard let table = try? EntryTable.read(random.whole),
                let image = try? table.expand(for: random.platform)
            else { return }
            let texts = ShippedCode.routines(of: image)
            let changed = Set(random.routines.map(\.name))
            for (name, text) in texts where changed.contains(name) || random.random.chance(1) {
                var document = random.document
                let others = random.routines.filter { $0.name != name }
                document.set(
                    "routines", .object((others + [(name, text)]).map { JSON.Member($0.name, .string($0.text)) }))
                let again: EntryImage
                do {
                    again = try EntryTable.read(document).expand(for: random.platform)
                } catch let error as InvalidConfiguration
                    where error.findings.allSatisfy({ $0.pointer != "/routines/\(name)" && !$0.pointer.isEmpty })
                {
                    // Another changed routine leads to a label of this one that was the kernel's own.
                    continue
                } catch {
                    Issue.record("seed \(seed): \(name): \(error)\n\(text)")
                    continue
                }
                let isSame =
                    again.program.instructions == image.program.instructions
                    && again.program.addresses == image.program.addresses
                #expect(isSame, "seed \(seed): \(name)\n\(text)")
            }
        }
    }
}

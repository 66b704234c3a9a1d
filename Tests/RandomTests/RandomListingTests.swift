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

    @Test(
        "the listing of a changed table for all platforms, sent back, is the same code on each",
        .timeLimit(.minutes(30)), arguments: Seeds.range(4))
    func everyPlatform(seed: UInt64) throws {
        try Seeds.timed("common listing", seed) {
            var random = try RandomTable(seed: seed ^ 0x1158_0000_0000)
            for _ in 0..<1 + random.random.next() % 3 { random.changeRoutine(among: random.code.routines, times: 2) }
            guard let table = try? EntryTable.read(random.whole), let listing = try? table.listing(),
                listing.obstacles.isEmpty
            else { return }
            var document = random.document
            document.set(
                "routines",
                .object(
                    try listing.routines.prefix(256).map {
                        JSON.Member($0, .string(try #require(listing.text(of: $0))))
                    }))
            do {
                let again = try EntryTable.read(document)
                for platform in Platform.allCases {
                    let (one, other) = (try table.expand(for: platform), try again.expand(for: platform))
                    let isSame =
                        one.program.instructions == other.program.instructions
                        && one.program.addresses == other.program.addresses
                    #expect(isSame, "seed \(seed): \(platform.rawValue)")
                }
            } catch let error as InvalidConfiguration
                where error.findings.contains(where: { $0.message.hasPrefix("undefined symbol `.L") })
            {
                // A changed routine leads to a label inside of another one.
                return
            } catch {
                Issue.record("seed \(seed): \(error)")
            }
        }
    }
}

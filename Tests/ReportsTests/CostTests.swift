import EntryCode
import Testing
import Verification

@testable import Reports

/// What two tables cost, side by side.
@Suite struct CostTests {
    /// The price of the paranoid stub on Xen PV, which the mails of July 2019 are about: Linux 5.3 with #DB routed to the
    /// native stub.
    static let paranoid = Sample("linux-5.3", name: "paranoid") { document in
        let xen = document["xen"] ?? .null
        let traps = (xen["traps"]?.arrayValue ?? []).map { row in
            row["native"] == "debug" ? row.setting("entry", "xen_debug") : row
        }
        return document.setting("xen", xen.setting("traps", .array(traps)))
    }

    private func compare(_ base: Sample, _ head: Sample) -> CostComparison {
        CostComparison(base: (base.name, base.result), head: (head.name, head.result))
    }

    @Test func paranoidEntryOnXen() throws {
        let comparison = compare(Fixture.linux53, Self.paranoid)
        let rows = comparison.rows.filter { $0.scenario.hasPrefix("xen-pv/debug/kernel") }
        #expect(rows.count >= 4)
        for row in rows {
            // RDMSR raises #GP in ring 3, and Xen emulates it: one more entry for each event.
            #expect(row.head.msrAccesses == row.base.msrAccesses + 1, "\(row.scenario)")
            #expect(row.head.hypervisorEntries == row.base.hypervisorEntries + 1, "\(row.scenario)")
            #expect(row.head.instructions > row.base.instructions, "\(row.scenario)")
            #expect(row.baseVerdict == "holds" && row.headVerdict == "holds")
        }
        // A stepped or watched program takes a #DB on its way through other events.
        let others = comparison.rows.filter {
            !$0.scenario.hasPrefix("xen-pv/debug/") && $0.scenario.hasSuffix("/return")
        }
        #expect(others.count > 100)
        #expect(others.allSatisfy { $0.isEqual })
        #expect(comparison.baseOnly.isEmpty && comparison.headOnly.isEmpty)
    }

    @Test func textIsPlainAndShowsTheDifference() throws {
        let text = compare(Fixture.linux53, Self.paranoid).text
        expectPlain(text, "costs")
        #expect(text.hasPrefix("linux-5.3 -> paranoid: "))
        let lines = text.split(separator: "\n").map(String.init)
        let index = try #require(lines.firstIndex(of: "xen-pv/debug/kernel/return"))
        #expect(lines[index + 1].hasPrefix("  base "))
        #expect(lines[index + 2].hasPrefix("  head "))
        #expect(lines[index + 3].hasPrefix("  difference "))
        #expect(lines[index + 3].split(separator: " ").map(String.init)[3] == "+1")
        let equal = compare(Fixture.linux53, Fixture.linux53)
        #expect(equal.text.split(separator: "\n").count == 1)
        #expect(equal.text.contains(", 0 cost more or less"))
    }

    @Test func jsonHasEveryScenario() throws {
        let comparison = compare(Fixture.linux53, Fixture.withoutGap)
        let items = try #require(comparison.json["items"]?.arrayValue)
        #expect(items.count == Fixture.linux53.result.results.count)
        for item in items {
            #expect(item.keys == ["scenario", "base", "head", "difference", "verdict"])
            for key in item["difference"]?.keys ?? [] {
                let (base, head) = (item["base"]?[key]?.integerValue, item["head"]?[key]?.integerValue)
                #expect(item["difference"]?[key]?.integerValue == (head ?? 0) - (base ?? 0))
            }
        }
        #expect(items.contains { $0["verdict"]?["head"] == "violated" })
        // 5.2 has an entry for int3 on Xen that 5.3 has not; the scenarios are called after the gate.
        #expect(compare(Fixture.linux52, Fixture.linux53).rows.count == items.count)
    }
}

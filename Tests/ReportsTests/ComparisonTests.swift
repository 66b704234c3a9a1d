import EntryCode
import Testing
import Verification

@testable import Reports

/// What counts as worse, of scenarios that were broken before.
@Suite struct ComparisonTests {
    /// Linux 5.2 with a stub that expects an error code that the event does not push.
    static let worse = Sample("linux-5.2", name: "worse") { document in
        let entries = (document["entries"]?.arrayValue ?? []).map { row in
            row["symbol"] == "divide_error" ? row.setting("has_error_code", true) : row
        }
        return document.setting("entries", .array(entries))
    }

    private func compare(_ base: Sample, _ head: Sample) -> Comparison {
        func side(_ sample: Sample) -> Comparison.Side {
            Comparison.Side(name: sample.name, id: "", table: sample.table, result: sample.result)
        }
        return Comparison(base: side(base), base.result, head: side(head), head.result, changes: [])
    }

    @Test func breakingMoreThanBeforeIsARegression() throws {
        let name = "bare-metal-intel/divide_error/user/return"
        let there = try #require(compare(Fixture.linux52, Self.worse).rows.first { $0.scenario == name })
        #expect(!there.baseRules.isEmpty && Set(there.baseRules).isStrictSubset(of: there.headRules), "\(there)")
        #expect(there.outcome == .regressed)
        let back = try #require(compare(Self.worse, Fixture.linux52).rows.first { $0.scenario == name })
        #expect(back.outcome == .stillViolated)
        let same = compare(Fixture.linux52, Fixture.linux52)
        #expect(same.count(.regressed) == 0 && same.count(.stillViolated) > 0)
    }
}

import EntryCode
import KernelSource
import Reports
import Testing
import Verification

/// The mail of July 2019, and the change that it is about.
struct MissionTests {
    private func compare(_ base: JSON, _ head: JSON) throws -> Comparison {
        func side(_ name: String, _ document: JSON) throws -> (Comparison.Side, SimulationResult) {
            let table = try EntryTable.read(document)
            let result = table.simulate(SimulationRequest())
            return (Comparison.Side(name: name, id: "", table: table, result: result), result)
        }
        let (before, baseResult) = try side("base", base)
        let (after, headResult) = try side("head", head)
        return Comparison(
            base: before, baseResult, head: after, headResult, changes: TableChange.all(from: base, to: head))
    }

    @Test func theQuotedHunkIsReadAndLeavesReferencesDangling() throws {
        let base = try shipped("linux-5.2")
        let outcome = PatchApplication.apply(try fixture("int3-thread.txt"), to: base)
        #expect(outcome.hunks.count == 1)
        let hunk = try #require(outcome.hunks.first)
        #expect(hunk.state == .applied)
        #expect(hunk.path == "arch/x86/entry/entry_64.S")
        #expect(hunk.changes == ["entries: - xenint3"])
        #expect(hunk.notes.contains { $0.contains("cut off") })
        let head = try #require(outcome.document)
        #expect(
            TableChange.all(from: base, to: head).map { "\($0.section) \($0.name) \($0.after == nil)" }
                == ["entries xenint3 true"])
        let comparison = try compare(base, head)
        #expect(comparison.verdict == "invalid")
        #expect(
            comparison.head.reasons.contains { $0.rule == "dangling-reference" && $0.message.contains("`xenint3`") })
        #expect(comparison.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 72 })
    }

    @Test func theWholeChangeMakesTheRowsOfTheNextKernel() throws {
        let base = try shipped("linux-5.2")
        let outcome = PatchApplication.apply(try fixture("xen-int3.patch"), to: base)
        #expect(outcome.isComplete && outcome.count(.applied) == 3)
        let head = try #require(outcome.document)
        let next = try shipped("linux-5.3")
        // What is left between it and 5.3 are the other changes of that release, none of int3.
        let rest = TableChange.all(from: head, to: next).filter { $0.name.contains("int3") }
        #expect(rest.isEmpty, "\(rest)")
        #expect(head["xen"]?["thunks"] == next["xen"]?["thunks"])
        #expect(head["xen"]?["traps"] == next["xen"]?["traps"])
        let comparison = try compare(base, head)
        #expect(comparison.verdict == "fixed")
        #expect(comparison.count(.regressed) == 0 && comparison.count(.newViolated) == 0)
        let fixed = comparison.rows.filter { $0.outcome == .fixed }
        #expect(fixed.contains { $0.scenario == "xen-pv/int3/kernel/self-test" })
        #expect(fixed.allSatisfy { $0.scenario.hasPrefix("xen-pv/int3/") })
        #expect(fixed.allSatisfy { $0.baseRules == ["live-frame-overwritten"] })
        #expect(comparison.text.contains("0 regressed, \(fixed.count) fixed"))
        #expect(comparison.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 72 })
    }

    @Test func theWayBackRegresses() throws {
        let patched = try #require(
            PatchApplication.apply(try fixture("xen-int3.patch"), to: try shipped("linux-5.2")).document)
        let comparison = try compare(patched, try shipped("linux-5.2"))
        #expect(comparison.verdict == "regressed")
        #expect(comparison.count(.fixed) == 0)
    }
}

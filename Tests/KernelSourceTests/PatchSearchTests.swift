import EntryCode
import KernelSource
import Testing
import Verification

/// The search for the place of a hunk: bounded, and never without a look at the lines.
struct PatchSearchTests {
    private static let path = "arch/x86/entry/entry_64.S"

    private func base(_ tail: String) throws -> JSON {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: "linux-6.1"))
        var tree = try GenerationTree.tree(kernel)
        tree.set(Self.path, (tree.text(Self.path) ?? []) + Array(tail.utf8))
        return try tree.makeTable().document
    }

    private func hunk(_ line: Int, _ lines: [String]) -> String {
        let old = lines.count { !$0.hasPrefix("+") }
        let new = lines.count { !$0.hasPrefix("-") }
        return "@@ -\(line),\(old) +\(line),\(new) @@\n" + lines.map { $0 + "\n" }.joined()
    }

    private let head = "--- a/\(path)\n+++ b/\(path)\n"

    /// 150,000 empty lines, and hunks of empty lines with one that is elsewhere: every place fits nearly.
    @Test(arguments: ["-\tnowhere", "-\tswapgs"])
    func emptyLinesAreSearchedInBounds(_ last: String) throws {
        let document = try base(String(repeating: "\n", count: 150_000))
        let lines = [String](repeating: " ", count: 40) + [last, "+\tother"]
        let patch = head + String(repeating: hunk(5000, lines), count: 200)
        var outcome = PatchOutcome()
        let time = ContinuousClock().measure { outcome = PatchApplication.apply(Array(patch.utf8), to: document) }
        #expect(time < .seconds(60), "\(time)")
        #expect(outcome.count(.notApplied) == 200 && outcome.document == nil)
        let reasons = Set(outcome.hunks.compactMap(\.reason))
        #expect(
            reasons.isSubset(of: [
                "the lines that it wants to change are not in the file",
                "its place was not looked for any further: the hunks before it have taken all the lines that are compared for one patch",
            ]), "\(reasons)")
    }

    @Test func theNearestPlaceIsTaken() throws {
        let document = try base("/* a */\n/* x */\n/* b */\n/* c */\n/* x */\n/* d */\n/* e */\n/* x */\n")
        let text = try #require(document["sources"]?["files"]?[Self.path]?.stringValue)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let first = try #require(lines.firstIndex(of: "/* x */")) + 1
        for (at, place) in [
            (first - 5, first), (first + 2, first + 3), (first + 5, first + 6), (first + 400, first + 6),
        ] {
            let outcome = PatchApplication.apply(Array((head + hunk(at, ["-/* x */", "+/* y */"])).utf8), to: document)
            let changed = try #require(outcome.document?["sources"]?["files"]?[Self.path]?.stringValue)
            let other = changed.split(separator: "\n", omittingEmptySubsequences: false)
            #expect(other.firstIndex(of: "/* y */") == place - 1, "\(outcome.text)")
        }
    }

    @Test func aFileWithOtherLinesIsNotDeleted() throws {
        let document = try base("")
        let text = try #require(document["sources"]?["files"]?["arch/x86/kernel/idt.c"]?.stringValue)
        let top = "--- a/arch/x86/kernel/idt.c\n+++ /dev/null\n"
        let wrong = PatchApplication.apply(Array((top + "@@ -1,2 +0,0 @@\n-/* x */\n-foo\n").utf8), to: document)
        #expect(wrong.document == nil)
        #expect(wrong.hunks.first?.state == .notApplied)
        #expect(wrong.hunks.first?.reason?.contains("other lines") == true)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        let right = "@@ -1,\(lines.count) +0,0 @@\n" + lines.map { "-\($0)\n" }.joined()
        let outcome = PatchApplication.apply(Array((top + right).utf8), to: document)
        #expect(outcome.hunks.first?.state == .applied, "\(outcome.text)")
        // What it had is not taken from the shipped generation.
        #expect(outcome.document?["sources"]?["files"]?["arch/x86/kernel/idt.c"] == "")
        #expect(outcome.document?["idt"]?.arrayValue?.isEmpty == true)
    }

    @Test func anUnfinishedConditionIsNoKernel() throws {
        let document = try base("#ifdef CONFIG_SMP\n")
        let table = try EntryTable.read(document)
        let result = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: ["bare-metal-amd/*"])))
        #expect(result.verdict == .invalid)
        #expect(result.findings.contains { $0.rule == "unterminated" }, "\(result.findings)")
    }

    @Test func aNewNameOfAPatchIsC() throws {
        let document = try base("/* x */\n")
        let text = try #require(document["sources"]?["files"]?[Self.path]?.stringValue)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let place = try #require(lines.firstIndex(of: "/* x */")) + 1
        let change = [
            "-/* x */", "+SYM_CODE_START(own_stub)", "+\tcall\tfunction_of_the_patch", "+SYM_CODE_END(own_stub)",
        ]
        let outcome = PatchApplication.apply(Array((head + hunk(place, change)).utf8), to: document)
        let assumed = outcome.document?["sources"]?["assumed"]?.arrayValue ?? []
        #expect(assumed.contains("function_of_the_patch"), "\(outcome.text)")
        #expect(outcome.text.contains("function_of_the_patch comes with the change"), "\(outcome.text)")
    }

    @Test func textThatIsNoneIsNamed() throws {
        let document = try shipped("linux-6.1")
        let patch = head + hunk(10, [" a", "-b", " c"])
        var wide: [UInt8] = [0xFF, 0xFE]
        for unit in patch.utf16 { wide += [UInt8(unit & 0xFF), UInt8(unit >> 8)] }
        #expect(PatchApplication.apply(wide, to: document).notes.contains { $0.contains("UTF-16") })
        let old = Array(patch.replacing("\n", with: "\r").utf8)
        #expect(PatchApplication.apply(old, to: document).notes.contains { $0.contains("CR alone") })
    }
}

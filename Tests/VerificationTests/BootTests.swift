import EntryCode
import Foundation
import Testing
import Verification

/// Every recorded boot, on the table of Linux 6.1 with the boot's change made to it.
struct BootTests {
    @Test("the boots agree with the model, row by row; docs/boots.md says so")
    func rows() throws {
        let book = try BootBook.shared.get()
        #expect(book.rows.count == 81)
        var comparisons: [BootComparison] = []
        for row in book.rows {
            do {
                comparisons.append(try book.compare(row))
            } catch {
                Issue.record("\(row.name) \(row.variant) (\(row.trigger)): \(error)")
            }
        }
        for comparison in comparisons {
            let row = comparison.row
            let plan = comparison.plan
            switch comparison.agreement {
            case .agrees: #expect(plan.differs == nil && plan.model == nil, "\(row.name): no longer differs")
            case .outside: break
            case .differs:
                #expect(
                    plan.differs != nil && plan.model == comparison.found,
                    "\(row.name) \(row.variant) (\(row.trigger)): the boot \(row.outcome); the model \(comparison.found?.rawValue ?? "") (\(comparison.rule)), \(comparison.scenario); not printed: \(comparison.missing)"
                )
            }
            if let rule = plan.rule { #expect(comparison.rule == rule, "\(row.name)") }
        }
        let table = BootTable(comparisons)
        print(table.summary)
        try table.check()
    }

    @Test("what the emulator never raised: #SS of an absent stack segment, whose stub stays on its IST stack, is found")
    func absentStackSegment() throws {
        let book = try BootBook.shared.get()
        let kernel = try BootKernel(try book.kernels(try book.edits("ss_ist_paranoid")))
        for result in try kernel.simulate("bare-metal-intel/*/user/sigreturn-absent-ss") {
            #expect(result.verdict == .violated, "\(result.scenario.name)")
        }
        for result in try kernel.simulate("bare-metal-intel/*/user/sigreturn-bad-ss") {
            #expect(
                result.verdict == .holds || result.scenario.event == "asm_exc_stack_segment", "\(result.scenario.name)")
        }
    }

    @Test("a plan whose edit is nowhere in the kernel's text is refused; every row has a class")
    func editsMustOccur() throws {
        let book = try BootBook.shared.get()
        #expect(throws: (any Error).self) {
            try book.kernels([BootEdit(file: "entry_64.s", old: "no such line", new: "", count: 1)])
        }
        #expect(throws: (any Error).self) {
            try book.kernels([BootEdit(file: "entry_64.s", old: "swapgs", new: "", count: 1)])
        }
        for row in book.rows { #expect(BootClass(row: row) != nil || row.outcome.hasPrefix("as with"), "\(row.name)") }
    }
}

/// The table of agreement.
struct BootTable {
    let comparisons: [BootComparison]

    init(_ comparisons: [BootComparison]) { self.comparisons = comparisons }

    private func count(_ agreement: BootComparison.Agreement) -> Int {
        comparisons.count { $0.agreement == agreement }
    }

    var summary: String {
        "boots: \(count(.agrees)) of \(comparisons.count) rows agree, \(count(.differs)) differ, \(count(.outside)) are out of scope"
    }

    var text: String {
        func cell(_ text: String) -> String { text.replacing("|", with: "\\|") }
        var lines = [
            "# Boots of broken kernels, and what the model says", "",
            "Written by `BootTests` (`RECORD_GOLDEN=1`). The rows are those of `Tests/VerificationTests/Fixtures/boots.json` and",
            "`boots-nested.json`: Linux 6.1.192 under QEMU, on bare metal and as a Xen PV guest. `boot-plans.json` beside them holds",
            "the edits of the 6.1 kernel and the scenarios that stand for a row's trigger. Where a boot dies of what other code does",
            "after the entry code went wrong, the row agrees if the model ends in the wrong state that leads there. Console lines are",
            "those that follow from entry code; the worst of several scenarios is shown.", "",
            "\(count(.agrees)) of \(comparisons.count) rows agree, \(count(.differs)) differ, \(count(.outside)) are out of scope.",
            "",
            "| row | variant | platform | trigger | boot | scenario | model | rule | console lines | |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for comparison in comparisons {
            let row = comparison.row
            let plan = comparison.plan
            var verdict = comparison.agreement.rawValue
            if let reason = plan.outOfScope ?? plan.differs ?? plan.later.map({ "what follows lies outside: \($0)" }) {
                verdict += ": " + reason
            }
            let printed =
                plan.console.isEmpty ? "" : "\(plan.console.count - comparison.missing.count) of \(plan.console.count)"
            let cells = [
                row.name, row.variant, row.platform, row.trigger, row.outcome, comparison.scenario,
                comparison.found.map(\.rawValue) ?? "", comparison.rule, printed, verdict,
            ]
            lines.append("| " + cells.map(cell).joined(separator: " | ") + " |")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// `docs/boots.md` is what this table says.
    func check() throws {
        let file = BootBook.root.appendingPathComponent("docs/boots.md")
        let isRecording = ProcessInfo.processInfo.environment["RECORD_GOLDEN"] == "1"
        if !isRecording, (try? String(contentsOf: file, encoding: .utf8)) == text { return }
        if isRecording { try Data(text.utf8).write(to: file) }
        Issue.record(
            isRecording ? "recorded docs/boots.md; read it, then run again" : "docs/boots.md is not up to date")
    }
}

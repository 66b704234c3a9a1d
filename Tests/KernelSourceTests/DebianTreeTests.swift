import EntryCode
import Foundation
import KernelSource
import Reports
import Testing
import Verification

/// Debian's kernel 6.1, its own sources: the same verdicts as the shipped table.
@Suite(.enabled(if: DebianTree.isAvailable, "Debian's package linux-source-6.1 is not installed"))
struct DebianTreeTests {
    private func side(
        _ document: JSON, _ patterns: [String] = []
    ) throws -> (table: EntryTable, result: SimulationResult) {
        let table = try EntryTable.read(document)
        return (table, table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: patterns))))
    }

    @Test func everythingIsReadAndWhatIsNotIsSaid() throws {
        let made = try DebianTree.tree().makeTable()
        #expect(made.kernel == "linux-6.1")
        #expect(made.read == DebianTree.files.sorted())
        #expect(made.missing.isEmpty && made.notes.isEmpty)
        // Two instructions of xen_save_fl_direct, which no entry calls.
        #expect(made.notUnderstood.count == 2)
        #expect(made.notUnderstood.allSatisfy { $0.hasPrefix("arch/x86/xen/xen-asm.S:") && $0.contains("%ah") })
        #expect(made.absentFeatures == ["X86_FEATURE_RSB_CTXSW"])
        #expect(made.assumed.contains("__switch_to") && !made.assumed.contains("sync_regs"))
    }

    /// The stable series gave INT 0x80 an ordinary stub (6.1.66, commit be5341eb0d43); everything else is as shipped.
    @Test func theTableIsTheShippedOneButForINT80() throws {
        let made = try DebianTree.tree().makeTable()
        let changes = TableChange.all(from: try shipped("linux-6.1"), to: made.document).filter {
            $0.section != "sources"
        }
        #expect(
            changes.map { "\($0.section) \($0.name)" } == [
                "entries entry_INT80_compat", "entries asm_int80_emulation", "idt 128", "xen/traps entry_INT80_compat",
                "xen/traps asm_int80_emulation", "xen/thunks entry_INT80_compat", "xen/thunks asm_int80_emulation",
            ])
    }

    @Test func theTableHasTheRowsOfTheFacts() throws {
        let facts = try JSON.parse(try fixture("entry-tables-6.1.json")).value
        // #VC needs AMD_MEM_ENCRYPT, #CP IBT: the facts are about the text, whatever is configured.
        let table = try EntryTable.read(
            try DebianTree.tree().makeTable(config: ["CONFIG_AMD_MEM_ENCRYPT": true]).document)
        var others: [String] = []
        for row in facts["rows"]?.arrayValue ?? [] {
            let symbol = try #require(row["symbol"]?.stringValue)
            guard let entry = table.entries.first(where: { $0.symbol == symbol }) else {
                others.append(symbol)
                continue
            }
            #expect(entry.handler == row["handler"]?.stringValue, "\(symbol)")
            #expect(
                entry.isInListing ? row["kind"] == "IDTENTRY_NMI" : entry.kind == row["kind"]?.stringValue, "\(symbol)")
            if entry.saysErrorCode {
                #expect(entry.hasErrorCode == (row["has_error_code"]?.integerValue == 1), "\(symbol)")
            }
            let gate = table.idt.first { $0.entry == symbol }
            #expect((gate != nil) == row["in_idt"]?.boolValue, "\(symbol)")
            if let gate {
                #expect(
                    Int64(gate.ist) == row["ist"]?.integerValue && Int64(gate.dpl) == row["dpl"]?.integerValue,
                    "\(symbol)")
                #expect(Int64(gate.vector) == row["vector"]?.integerValue, "\(symbol)")
            }
            let trap = table.xen.traps.first { $0.native == symbol }
            #expect(trap?.entry == row["xen_route"]?.stringValue, "\(symbol)")
            #expect(trap.map { $0.istOkay ? "true" : "false" } == row["xen_ist_okay"]?.stringValue, "\(symbol)")
        }
        #expect(others == ["entry_INT80_compat"])
        let thunks = (facts["xen_pv_thunks"]?.arrayValue ?? []).compactMap(\.stringValue)
        #expect(Set(thunks).symmetricDifference(table.xen.thunks) == ["entry_INT80_compat", "asm_int80_emulation"])
    }

    @Test func everyVerdictIsThatOfTheShippedTable() throws {
        let (_, own) = try side(try DebianTree.tree().makeTable().document)
        let (_, known) = try side(try shipped("linux-6.1"))
        #expect(own.verdict == known.verdict)
        var verdicts: [String: Verdict] = [:]
        for result in known.results { verdicts[result.scenario.name] = result.verdict }
        #expect(own.results.count == known.results.count)
        for result in own.results {
            let name = result.scenario.name.replacing("asm_int80_emulation", with: "entry_INT80_compat")
            #expect(verdicts[name] == result.verdict, "\(name)")
        }
    }

    @Test(arguments: [
        (
            "no gap", "arch/x86/entry/entry_64.S", "\t\t.rept\t6\n\t\tpushq\t5*8(%rsp)\n\t\t.endr\n", "",
            "live-frame-overwritten", "/asm_exc_int3/kernel"
        ),
        (
            "one pop less", "arch/x86/xen/xen-asm.S", "\tpop %r11\n\tjmp  \\name\n", "\tjmp  \\name\n",
            "pt-regs-faithful", "xen-pv/"
        ),
        (
            "GS before SWAPGS", "arch/x86/entry/entry_64.S",
            "\tswapgs\n\tFENCE_SWAPGS_USER_ENTRY\n\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rdx\n\tmovq\t%rsp, %rdx\n\tmovq\tPER_CPU_VAR(cpu_current_top_of_stack), %rsp\n",
            "\tSWITCH_TO_KERNEL_CR3 scratch_reg=%rdx\n\tmovq\t%rsp, %rdx\n\tmovq\tPER_CPU_VAR(cpu_current_top_of_stack), %rsp\n\tswapgs\n\tFENCE_SWAPGS_USER_ENTRY\n",
            "kernel-gs-base", "/asm_exc_nmi/user"
        ),
    ])
    func codeLevelPatchesGetTheirVerdict(
        _ subject: String, _ file: String, _ piece: String, _ other: String, _ rule: String, _ place: String
    ) throws {
        let base = try DebianTree.tree().makeTable().document
        let mail = try DebianTree.mail(subject, file, replacing: piece, with: other)
        let outcome = PatchApplication.apply(mail, to: base)
        #expect(outcome.isComplete && outcome.count(.applied) == 1, "\(outcome.text)")
        let (_, result) = try side(try #require(outcome.document), ["*/return", "*/emulate-call", "*/self-test"])
        #expect(result.verdict == .violated)
        let violated = result.results.filter { $0.verdict == .violated }
        #expect(!violated.isEmpty)
        #expect(violated.contains { $0.violations.first?.rule == rule })
        #expect(violated.allSatisfy { $0.scenario.name.contains(place) })
        // The way back: the same table as before.
        let text = String(decoding: mail, as: UTF8.self)
        let reversed = text.split(separator: "\n", omittingEmptySubsequences: false).map { line -> String in
            if line.hasPrefix("---") || line.hasPrefix("+++") { return String(line) }
            if line.hasPrefix("-") { return "+" + line.dropFirst() }
            if line.hasPrefix("+") { return "-" + line.dropFirst() }
            guard line.hasPrefix("@@") else { return String(line) }
            let parts = line.split(separator: " ")
            return "@@ -\(parts[2].dropFirst()) +\(parts[1].dropFirst()) @@"
        }.joined(separator: "\n")
        let back = PatchApplication.apply(Array(reversed.utf8), to: try #require(outcome.document))
        #expect(back.document == base, "\(back.text)")
        // Once more is once too often.
        let twice = PatchApplication.apply(mail, to: try #require(outcome.document))
        #expect(twice.document == nil)
        #expect(twice.hunks.first?.reason?.contains("already") == true, "\(twice.text)")
    }

    @Test func aSymbolThatAPatchTakesAwayIsMissed() throws {
        let base = try DebianTree.tree().makeTable().document
        let mail = try DebianTree.mail(
            "rename", "arch/x86/entry/entry_64.S", replacing: "SYM_CODE_START_LOCAL(error_return)",
            with: "SYM_CODE_START_LOCAL(error_retrun)")
        let head = try #require(PatchApplication.apply(mail, to: base).document)
        let (_, result) = try side(head, ["*/asm_exc_nmi/*"])
        #expect(result.verdict == .invalid)
        #expect(
            result.findings.contains {
                $0.rule == "dangling-reference" && $0.message.contains("`error_return`")
                    && $0.location.hasPrefix("arch/x86/entry/entry_64.S:")
            }, "\(result.findings)")
    }

    @Test func anUnknownMacroDoesNotSpoilTheRest() throws {
        var tree = try DebianTree.tree()
        let path = "arch/x86/entry/entry_64.S"
        let text = String(decoding: try #require(tree.text(path)), as: UTF8.self)
        let changed = text.replacing(
            "SYM_CODE_START(asm_exc_nmi)\n", with: "SYM_CODE_START(asm_exc_nmi)\n\tNEW_MITIGATION %rax\n")
        tree.set(path, Array(changed.utf8))
        let made = try tree.makeTable()
        #expect(made.notUnderstood.contains { $0.hasPrefix(path + ":") && $0.contains("NEW_MITIGATION") })
        let (_, result) = try side(made.document, ["*/asm_exc_nmi/*", "*/return"])
        #expect(result.verdict == .undecided)
        let undecided = result.results.filter { $0.verdict == .undecided }
        // Only what comes by there has no verdict.
        #expect(undecided.allSatisfy { $0.scenario.name.contains("/asm_exc_nmi/") && $0.limit == "not-understood" })
        #expect(!undecided.isEmpty && result.results.contains { $0.verdict == .holds })
        #expect(result.findings.contains { $0.rule == "not-understood" && $0.location.hasPrefix(path) })
    }

    @Test(arguments: DebianTree.files)
    func oneFileAloneIsEnough(_ file: String) throws {
        var tree = KernelTree()
        tree.add(file, try #require(try DebianTree.tree().text(file)))
        let made = try tree.makeTable(kernel: "linux-6.1")
        #expect(made.read == [file])
        #expect(made.missing.count >= 4 && !made.missing.contains(file))
        let (_, result) = try side(made.document, ["*/asm_exc_divide_error/*"])
        // Rows that name the stub of INT 0x80 that the other files of this kernel have are all that may dangle.
        let fatal = result.findings.filter { !ConfigurationFinding.warnings.contains($0.rule) }
        #expect(fatal.allSatisfy { $0.message.contains("int80") || $0.message.contains("INT80") }, "\(fatal)")
    }

    @Test func optionsStayChoosable() throws {
        let base = try DebianTree.tree().makeTable().document
        var without = base
        var options = try #require(base["options"])
        guard case .object(let members) = options else { return }
        options = .object(members.map { JSON.Member($0.key, $0.key == "PTI" ? false : $0.value) })
        guard case .object(let sections) = without else { return }
        without = .object(sections.map { JSON.Member($0.key, $0.key == "options" ? options : $0.value) })
        let (table, result) = try side(without, ["bare-metal-*/return"])
        #expect(result.verdict == .holds)
        let image = try table.expand(for: .bareMetalIntel)
        let entry = try #require(image.listing(ofRoutine: "error_entry"))
        #expect(!entry.contains("%cr3"))
        #expect(
            try EntryTable.read(base).expand(for: .bareMetalIntel).listing(ofRoutine: "error_entry")?.contains("%cr3")
                == true)
    }
}

import EntryCode
import Testing
import Verification
import XenPV

/// Deviations of the hypervisor that a table names: each is seen by a rule, and changes nothing where it does not apply.
struct QuirkTests {
    static let cases: [(quirk: Quirk, scenario: String, rule: String)] = [
        (.keepsAlignmentCheck, "xen-pv/divide_error/user/return", "unexpected-fault"),
        (.forgetsEventMask, "xen-pv/divide_error/kernel-events-off/return", "interrupt-flag"),
        (.losesSyscallR11, "xen-pv/entry_SYSCALL_64/user/return", "pt-regs-faithful"),
        (.opensEventsForInt80, "xen-pv/entry_INT80_compat/user/return", "interrupt-flag"),
        (.loadsInterruptFlag, "xen-pv/divide_error/kernel-events-off/return", "interrupt-flag"),
        (.keepsDirectionFlag, "xen-pv/entry_SYSCALL_64/user/return", "direction-flag"),
        (.keepsUserBit, "xen-pv/page_fault/kernel/return", "error-code"),
        (.keepsEventMask, "xen-pv/divide_error/kernel/return", "interrupt-flag"),
        (.keepsNMIMask, "xen-pv/nmi/kernel/return", "nmi-masking"),
    ]

    private func table(_ quirks: [String]) throws -> EntryTable {
        var variant = try Variant("linux-5.3")
        try variant.setXen("quirks", .array(quirks.map(JSON.string)))
        return try variant.table()
    }

    @Test("each breaks its rule in one scenario", arguments: cases)
    func found(_ quirk: Quirk, _ scenario: String, _ rule: String) throws {
        let request = SimulationRequest(selection: ScenarioSelection(patterns: [scenario]))
        let broken = try table([quirk.rawValue]).simulate(request)
        #expect(broken.results.count == 1)
        #expect(broken.results.first?.violations.first?.rule == rule)
        #expect(try table([]).simulate(request).verdict == .holds)
    }

    @Test("every quirk is tried here or by the catalogue")
    func complete() throws {
        var tried = Set(Self.cases.map(\.quirk.rawValue))
        for defect in DefectCatalogue.shipped.defects {
            guard let document = try defect.document(.broken) else { continue }
            tried.formUnion((document["xen"]?["quirks"]?.arrayValue ?? []).compactMap(\.stringValue))
        }
        #expect(tried == Set(Quirk.allCases.map(\.rawValue)))
    }

    @Test("bare metal has no hypervisor to differ")
    func bareMetal() throws {
        let request = SimulationRequest(
            selection: ScenarioSelection(platforms: [.bareMetalAMD], patterns: ["*/divide_error/*"]))
        let all = try table(Quirk.allCases.map(\.rawValue)).simulate(request)
        let none = try table([]).simulate(request)
        #expect(all.verdict == .holds)
        #expect(all.results.map(\.cost) == none.results.map(\.cost))
    }

    @Test("an unknown quirk, and one that is named twice, are faults with a pointer")
    func faults() throws {
        func faults(_ quirks: String) -> [String] {
            let text = "{\"kernel\": \"linux-5.3\", \"xen\": {\"quirks\": \(quirks)}}"
            do {
                _ = try EntryTable.read(Array(text.utf8))
                return []
            } catch {
                return error.faults.map { "\($0.pointer) \($0.code)" }
            }
        }
        #expect(faults(#"["keeps-nmi-mask"]"#) == [])
        #expect(faults(#"["keeps-nmi-mask", "keeps-nmi-mask"]"#) == ["/xen/quirks/1 duplicate-quirk"])
        #expect(faults(#"["keeps-nmi"]"#) == ["/xen/quirks/0 unknown-quirk"])
        #expect(faults(#"{"a": 1}"#) == ["/xen/quirks wrong-type"])
    }
}

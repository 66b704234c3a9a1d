import EntryCode
import Foundation
import Testing
import Verification

@testable import Reports

@Suite struct DocumentTests {
    /// The list of `Rules (stable ids)` in the interface.
    static let ids = """
        kernel-gs-base user-gs-base kernel-page-table user-page-table stack-bounds live-frame-overwritten pt-regs-faithful
        error-code resumption unexpected-fault double-fault triple-fault nmi-masking interrupt-flag access-flag direction-flag
        nested-task-flag user-reachable-gate register-hygiene debug-registers speculation-barrier information-leak
        needless-hypervisor-entry
        dangling-reference unreachable-entry progress not-understood
        """.split { $0 == " " || $0 == "\n" }.map(String.init)

    @Test func rulesAreThoseOfTheInterface() throws {
        let rules = try #require(RuleDocument.list()["rules"]?.arrayValue)
        #expect(rules.map { $0["id"]?.stringValue } == Self.ids)
        for rule in rules {
            #expect(rule.keys == ["id", "severity", "statement", "why", "sources"])
            #expect(rule["sources"]?.arrayValue?.isEmpty == false)
        }
        let warnings = rules.filter { $0["severity"] == "warning" }.map { $0["id"]?.stringValue }
        #expect(warnings == ["needless-hypervisor-entry", "unreachable-entry", "not-understood"])
    }

    @Test func ruleTextIsPlainAndNamesEach() {
        expectPlain(RuleDocument.text(), "rules")
        let heads = RuleDocument.text().split(separator: "\n").compactMap {
            $0.first == " " ? nil : $0.split(separator: " ").first
        }
        #expect(heads.map(String.init) == Self.ids)
        for rule in Rule.all {
            let text = RuleDocument.text(rule)
            expectPlain(text, rule.id)
            #expect(text.hasPrefix("\(rule.id) ("))
            #expect(text.contains("\n  Why: "))
            #expect(RuleDocument.text([rule]) == text, "who asks for one rule wants it explained")
            #expect(text.components("Source: ").count == rule.sources.count + 1)
        }
    }

    @Test func kernelsThatShip() throws {
        let kernels = try #require(KernelDocument.list()["kernels"]?.arrayValue)
        #expect(kernels.map { $0["name"]?.stringValue } == KernelLibrary.shipped.names)
        #expect(kernels.contains { $0["name"] == "linux-5.2" })
        for (kernel, row) in zip(KernelLibrary.shipped.kernels, kernels) {
            #expect(row.keys == ["name", "description", "entries", "generation"])
            #expect(row["entries"]?.integerValue.map { $0 > 10 } == true)
            #expect(KernelDocument.one(kernel) == kernel.document)
        }
        expectPlain(KernelDocument.text(), "kernels")
        #expect(KernelDocument.text().contains("linux-5.2 "))
    }

    @Test func kernelFaultsAreShown() {
        let broken = KernelLibrary(files: [(path: "x/kernel.json", text: Array("{".utf8))])
        #expect(KernelDocument.text(broken).contains("fault: x/kernel.json is not JSON"))
    }

    @Test func listingOfOneRoutineIsAPartOfTheWhole() throws {
        let image = try Fixture.linux52.table.expand(for: .xenPV)
        let whole = ListingDocument.text(of: image)
        for name in ListingDocument.routines(of: image) {
            let part = try #require(ListingDocument.text(of: image, routine: name), "\(name)")
            #expect(whole.contains(part), "\(name)")
            let head = try #require(part.split(separator: "\n").first)
            #expect(head.hasPrefix("ENTRY(\(name))") || head.hasPrefix("\(name):"), "\(name)")
            let heads = part.split(separator: "\n").filter { $0.hasPrefix("ENTRY(") || $0.hasSuffix(" bytes") }
            #expect(heads.count == 1, "\(name)")
        }
        let stub = try #require(ListingDocument.text(of: image, routine: "xenint3"))
        #expect(stub.hasSuffix("END(xenint3)\n"))
        #expect(stub.contains("call do_int3"))
        #expect(ListingDocument.text(of: image, routine: "no_such_routine") == nil)
    }

    @Test func listingFitsTheWidth() throws {
        for platform in Platform.allCases {
            let text = ListingDocument.text(of: try Fixture.linux52.table.expand(for: platform))
            for line in text.split(separator: "\n") {
                // Tabs count to the next multiple of 8, as a terminal shows them.
                var column = 0
                for byte in line.utf8 { column = byte == 0x09 ? (column / 8 + 1) * 8 : column + 1 }
                #expect(column <= 100, "\(line)")
            }
        }
    }

    /// `gatehouse coverage > docs/coverage.md` brings it up to date.
    @Test func theCoveragePageIsUpToDate() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "docs/coverage.md")
        #expect(try String(contentsOf: page, encoding: .utf8) == CoverageDocument.markdown())
    }

    @Test func defectsInShortAndOneByOne() throws {
        let catalogue = DefectCatalogue.shipped
        let items = try #require(DefectDocument.list()["items"]?.arrayValue)
        #expect(items.map { $0["id"]?.stringValue } == catalogue.defects.map(\.id))
        expectPlain(DefectDocument.text(), "defects")
        for (defect, item) in zip(catalogue.defects, items) {
            let one = DefectDocument.one(defect)
            #expect(item.keys == ["id", "title", "year", "os", "layer", "modelled", "rule", "links"])
            #expect(Array(one.keys.prefix(item.keys.count)) == item.keys)
            let isModelled = defect.modelled != nil
            #expect(item["links"]?.keys == (isModelled ? ["self", "broken", "fixed"] : ["self"]))
            #expect((one["model"] == nil) == (one["not_modelled"] != nil))
            let text = DefectDocument.text(defect)
            expectPlain(text, defect.id)
            #expect(text.hasPrefix("\(defect.id) ("))
            #expect(text.contains("--broken") == isModelled)
        }
    }

    @Test func checksOfDefects() throws {
        let defect = try #require(DefectCatalogue.shipped["xenpv-int3-no-gap"])
        let good = DefectCheck(scenarios: 3, found: ["a/b/c/d"], faults: [])
        let bad = DefectCheck(scenarios: 3, found: [], faults: ["broken: holds in all of 3 scenarios"])
        let text = DefectCheckDocument.text([(defect, good), (defect, bad)])
        expectPlain(text, "checks")
        #expect(text.hasPrefix("confirmed  xenpv-int3-no-gap: live-frame-overwritten in 1 of 3 scenarios; "))
        #expect(text.contains("\nnot so     xenpv-int3-no-gap (live-frame-overwritten)\n           broken: holds"))
        let items = try #require(DefectCheckDocument.json([(defect, good), (defect, bad)])["items"]?.arrayValue)
        #expect(items.map { $0["confirmed"] } == [true, false])
    }
}

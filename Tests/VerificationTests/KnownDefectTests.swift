import EntryCode
import Testing
import Verification

/// An unmodified table breaks what its kernel is known for, and nothing else; what it is known for, it breaks.
struct KnownDefectTests {
    /// With optimisation everything runs at nesting 1; without it what shows each defect, and a way in of each kind.
    private static let nested = [
        "*/*divide_error/user/return", "*/*divide_error/kernel/return", "*/*page_fault/kernel/return",
        "*/*page_fault/user/return", "*/*int3/user/return", "*/entry_SYSENTER_compat/user-32/return",
        "xen-pv/entry_SYSCALL_64/user/return", "xen-pv/entry_INT80_compat/user/return",
    ]

    @Test("every violation of an unmodified table is a known defect", arguments: KernelLibrary.shipped.names)
    func coverage(kernel name: String) throws {
        let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
        let table = try EntryTable.read(kernel.document)
        var isFound = [Bool](repeating: false, count: kernel.knownDefects.count)
        #if DEBUG
            let selections = [(0, [String]()), (1, Self.nested)]
        #else
            let selections = [(1, [String]())]
        #endif
        for (nesting, patterns) in selections {
            let result = table.simulate(
                SimulationRequest(selection: ScenarioSelection(patterns: patterns), nesting: nesting))
            #expect(result.verdict != .invalid, "\(result.findings)")
            #expect(result.results.count > 10)
            for scenario in result.results {
                #expect(scenario.verdict != .undecided, "\(scenario.scenario.name)")
                for violation in scenario.violations where violation.severity == .violation {
                    #expect(
                        violation.known != nil,
                        "\(scenario.scenario.name): \(violation.rule) at \(violation.routine): \(violation.explanation)"
                    )
                    if violation.known == nil { return }
                    for (index, defect) in kernel.knownDefects.enumerated()
                    where defect.covers(violation, of: scenario.scenario) {
                        isFound[index] = true
                    }
                }
            }
        }
        for (index, defect) in kernel.knownDefects.enumerated() {
            #expect(isFound[index], "nothing breaks by '\(defect.title)'")
        }
    }

    @Test("the ids of fixes and CVEs are such, and rules exist")
    func form() {
        #expect(KernelLibrary.shipped.faults.isEmpty, "\(KernelLibrary.shipped.faults)")
        for defect in KernelLibrary.shipped.kernels.flatMap(\.knownDefects) {
            #expect(!defect.fixedBy.isEmpty, "\(defect.title)")
            for commit in defect.fixedBy {
                #expect(commit.count >= 12 && commit.allSatisfy { $0.isHexDigit && !$0.isUppercase }, "\(commit)")
            }
            for number in defect.cve { #expect(glob("CVE-????-????*", matches: number)) }
            for rule in defect.rules { #expect(Rule.named(rule) != nil, "\(rule)") }
        }
    }

    @Test("a changed table has no known defects: what breaks may be the change's")
    func changed() throws {
        let scenario = "bare-metal-intel/divide_error/user/return"
        #expect(try Variant("linux-5.2").run(scenario).violations.first?.known?.cve == ["CVE-2019-1125"])
        var variant = try Variant("linux-5.2")
        try variant.option("SMAP", false)
        let first = try #require(try variant.run(scenario).violations.first)
        #expect(first.rule == "speculation-barrier" && first.known == nil)
        // In other words, or with a name of its own, it is the same table.
        let short = try EntryTable.read(Array(#"{"kernel": "linux-5.2", "name": "mine"}"#.utf8))
        let result = short.simulate(SimulationRequest(selection: ScenarioSelection(patterns: [scenario])))
        #expect(result.results.first?.violations.first?.known != nil)
    }

    @Test("a file of known defects that is not understood is a fault of the kernel's folder")
    func faults() {
        func faults(_ text: String) -> [String] {
            let files = [
                ("x/kernel.json", "{}"), ("x/linux-1.json", #"{"name": "linux-1", "kernel": "linux-1"}"#),
                ("x/known-defects.json", text),
            ]
            return KernelLibrary(files: files.map { (path: $0.0, text: Array($0.1.utf8)) }).faults
        }
        let good = #"{"title": "t", "why": "w", "rules": ["progress"], "scenarios": ["*"]}"#
        #expect(faults(#"{"linux-1": [\#(good)]}"#).isEmpty)
        #expect(faults(#"{"linux-2": [\#(good)]}"#).first?.contains("linux-2") == true)
        #expect(faults(#"{"linux-1": [{"title": "t"}]}"#).count == 1)
        #expect(faults(#"{"linux-1": [{"titel": "t"}]}"#).first?.contains("titel") == true)
        #expect(faults("[").count == 1)
    }
}

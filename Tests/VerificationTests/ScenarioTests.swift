import EntryCode
import Testing
import Verification

struct ScenarioTests {
    @Test("names are unique, have four parts and say why Linux can meet them")
    func names() throws {
        for kernel in ["linux-5.2", "linux-5.3"] {
            var names: Set<String> = []
            for platform in Platform.allCases {
                for scenario in try Variant(kernel).table().expand(for: platform).scenarios() {
                    #expect(names.insert(scenario.name).inserted, "\(scenario.name)")
                    #expect(scenario.name.split(separator: "/").count == 4)
                    #expect(!scenario.reason.isEmpty)
                }
            }
            #expect(names.count > 900)
        }
    }

    @Test("every gate of the table has scenarios from user mode; kernel contexts come with both alignments (F11)")
    func coverage() throws {
        let table = try Variant("linux-5.3").table()
        for platform in Platform.allCases {
            let scenarios = try table.expand(for: platform).scenarios()
            for row in table.idt where table.applies(row.option) && !(platform.isXen && row.vector == 8) {
                #expect(scenarios.contains { $0.vector == row.vector && $0.context.isUser }, "\(row.entry)")
            }
            for scenario in scenarios where scenario.context == .kernel {
                #expect(
                    scenarios.contains {
                        $0.vector == scenario.vector && $0.context == .kernelRSP8 && $0.probe == scenario.probe
                    })
            }
            // PV guests never get #DF (F20).
            #expect(scenarios.contains { $0.vector == 8 } != platform.isXen)
        }
    }

    @Test("patterns")
    func patterns() {
        let cases: [(String, String, Bool)] = [
            ("*", "", true), ("", "", true), ("", "a", false), ("a?c", "abc", true), ("a?c", "ac", false),
            ("*c", "abc", true), ("a*", "abc", true), ("a*b*c", "aXbYc", true), ("a*b*c", "acb", false),
            ("**", "x", true), ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("xen-pv/int3/*", "xen-pv/int3/kernel/return", true),
            ("xen-pv/int3", "xen-pv/int3/kernel/return", false), ("*.json", "a.jsonx", false),
        ]
        for (pattern, text, matches) in cases {
            #expect(glob(pattern, matches: text) == matches, "\(pattern) on \(text)")
        }
    }

    @Test("selection by platform and pattern")
    func selection() throws {
        let variant = try Variant("linux-5.3")
        let result = try variant.simulate("*/int3/*/return", "*/nmi/user/*", platforms: [.xenPV, .bareMetalAMD])
        #expect(!result.results.isEmpty)
        for scenario in result.results {
            #expect(scenario.scenario.platform != .bareMetalIntel)
            let isWanted =
                scenario.scenario.event == "int3" && scenario.scenario.probe == .return
                || scenario.scenario.event == "nmi" && scenario.scenario.context.isUser
            #expect(isWanted, "\(scenario.scenario.name)")
        }
        // Platforms have one order, whatever the request's.
        #expect(result.results.first?.scenario.platform == .bareMetalAMD)
        let nothing = SimulationRequest(selection: ScenarioSelection(patterns: ["no-such-scenario"]))
        #expect(try variant.table().simulate(nothing).results.isEmpty)
    }

    @Test("the same twice; alone as in company; traced as untraced")
    func deterministic() throws {
        let table = try Variant("linux-5.2").table()
        let first = table.simulate(SimulationRequest())
        let second = table.simulate(SimulationRequest())
        #expect(first.results.map(\.violations) == second.results.map(\.violations))
        #expect(first.results.map(\.cost) == second.results.map(\.cost))
        for index in stride(from: 0, to: first.results.count, by: 37) {
            let result = first.results[index]
            let name = result.scenario.name
            let alone = table.simulate(SimulationRequest(selection: ScenarioSelection(patterns: [name])))
            #expect(alone.results.first?.violations == result.violations, "\(name)")
            #expect(alone.results.first?.cost == result.cost, "\(name)")
            let traced = try #require(try table.trace(scenario: name, SimulationRequest()))
            #expect(traced.result.violations == result.violations, "\(name)")
            #expect(traced.result.steps == result.steps, "\(name)")
            #expect(!traced.trace.steps.isEmpty)
        }
    }

    @Test("stop at the first violation")
    func stopAtFirst() throws {
        let table = try Variant("linux-5.2").table()
        let result = table.simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["xen-pv/int3/*"]), stopAtFirst: true))
        #expect(result.verdict == .violated)
        #expect(result.results.last?.verdict == .violated)
        #expect(result.results.dropLast().allSatisfy { $0.verdict == .holds })
    }

    @Test("a step limit that is reached makes a scenario undecided")
    func stepLimit() throws {
        var limits = RunLimits()
        limits.steps = 50
        let table = try Variant("linux-5.3").table()
        let result = table.simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["xen-pv/int3/user/return"]), limits: limits))
        #expect(result.results.map(\.verdict) == [.undecided])
        #expect(result.results.first?.limit == "steps")
        #expect(result.verdict == .undecided)
    }

    @Test("no such scenario, no such platform")
    func missingTrace() throws {
        let table = try Variant("linux-5.3").table()
        #expect(try table.trace(scenario: "xen-pv/nothing/user/return", SimulationRequest()) == nil)
        #expect(try table.trace(scenario: "mars/int3/user/return", SimulationRequest()) == nil)
    }
}

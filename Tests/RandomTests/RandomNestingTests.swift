import EntryCode
import Testing
import Verification

/// Nested events on routines changed at random: the shortcuts find what trying everything finds, more depth finds more.
struct RandomNestingTests {
    /// A table with a slip in a routine that the scenario, or an event nested in it, comes through.
    private func slip(_ seed: UInt64) throws -> (table: EntryTable, scenario: Scenario, random: RandomTable)? {
        var random = try RandomTable(seed: seed)
        let isShort = { (scenario: Scenario) in
            scenario.probe == .return && !scenario.context.isHostile && !scenario.context.isInNMI
        }
        let scenario = random.scenarios(1, where: isShort)[0]
        let nested = random.scenarios(1) { [1, 2, 14, 18].contains($0.vector) && $0.context == .kernel }
        var candidates = random.code.routines(of: scenario)
        if let first = nested.first, random.random.chance(60) { candidates = random.code.routines(of: first) }
        switch random.random.next() % 8 {
        case 0: random.changeTable()
        case 1: random.changeRoutine(among: candidates, times: 2)
        default: random.changeRoutine(among: candidates, times: 1)
        }
        guard let table = try? EntryTable.read(random.whole) else { return nil }
        return (table, scenario, random)
    }

    private func request(_ scenarios: [Scenario], nesting: Int) -> SimulationRequest {
        var request = SimulationRequest(
            selection: ScenarioSelection(platforms: [scenarios[0].platform], patterns: scenarios.map(\.name)),
            nesting: nesting)
        request.limits.steps = 2_000
        request.limits.nestedRuns = 12_000
        return request
    }

    private func checkTraces(_ result: SimulationResult, _ table: EntryTable, _ request: SimulationRequest, _ seed: UInt64)
        throws
    {
        for scenario in result.results.filter({ !$0.scenario.injections.isEmpty }).prefix(6) {
            try Invariants.checkTrace(of: scenario, table, request, seed)
        }
    }

    @Test("shortcuts find what trying every boundary finds", .timeLimit(.minutes(5)), arguments: Seeds.range(8))
    func shortcuts(seed: UInt64) throws {
        try Seeds.timed("shortcuts", seed) {
            guard let (table, scenario, _) = try slip(seed ^ 0x5407_0000_0000) else { return }
            var request = request([scenario], nesting: 1)
            let quick = table.simulate(request)
            request.isExhaustive = true
            let thorough = table.simulate(request)
            if Invariants.isCutShort(quick) || Invariants.isCutShort(thorough) { return }
            let (found, all) = (Invariants.findings(quick), Invariants.findings(thorough))
            #expect(
                found == all,
                "seed \(seed), \(scenario.name): not found \(all.subtracting(found)), found besides \(found.subtracting(all))")
            request.isExhaustive = false
            try checkTraces(quick, table, request, seed)
        }
    }

    @Test("what n nested events find, n + 1 find", .timeLimit(.minutes(5)), arguments: Seeds.range(6))
    func depth(seed: UInt64) throws {
        try Seeds.timed("depth", seed) {
            guard let (table, scenario, _) = try slip(seed ^ 0xDEE9_0000_0000) else { return }
            var before = table.simulate(request([scenario], nesting: 0))
            for nesting in 1...2 {
                let request = request([scenario], nesting: nesting)
                let after = table.simulate(request)
                if Invariants.isCutShort(after) { return }
                let (fewer, more) = (Invariants.findings(before), Invariants.findings(after))
                #expect(
                    fewer.isSubset(of: more),
                    "seed \(seed), \(scenario.name), nesting \(nesting): lost \(fewer.subtracting(more))")
                var causes: [String: [Violation]] = [:]
                for result in after.results { causes[result.scenario.name] = result.violations }
                for result in before.results {
                    guard let again = causes[result.scenario.name] else { continue }
                    #expect(again == result.violations, "seed \(seed): \(result.scenario.name), nesting \(nesting)")
                }
                try checkTraces(after, table, request, seed)
                before = after
            }
        }
    }
}

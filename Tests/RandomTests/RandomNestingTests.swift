import EntryCode
import Testing
import Verification

/// Nested events on routines changed at random: the shortcuts find what trying everything finds, more depth finds more.
struct RandomNestingTests {
    /// A table with a slip in a routine that the scenario, or an event nested in it, comes through.
    func slip(_ seed: UInt64, scenarios count: Int) throws
        -> (table: EntryTable, scenarios: [Scenario], random: RandomTable)?
    {
        var random = try RandomTable(seed: seed)
        let isAnyProbe = random.random.chance(30)
        let isUser = random.random.chance(50)
        let scenarios = random.scenarios(count) { scenario in
            (isAnyProbe || scenario.probe == .return) && scenario.context.isUser == isUser
        }
        let nested = random.scenarios(1) { [1, 2, 14, 18].contains($0.vector) && $0.context == .kernel }
        var candidates = random.code.routines(of: scenarios[0])
        if let first = nested.first, random.random.chance(60) { candidates = random.code.routines(of: first) }
        switch random.random.next() % 8 {
        case 0: random.changeTable()
        case 1: random.changeRoutine(among: candidates, times: 2)
        default: random.changeRoutine(among: candidates, times: 1)
        }
        guard let table = try? EntryTable.read(random.whole) else { return nil }
        return (table, scenarios, random)
    }

    func request(_ scenarios: [Scenario], nesting: Int) -> SimulationRequest {
        var request = SimulationRequest(
            selection: ScenarioSelection(platforms: [scenarios[0].platform], patterns: scenarios.map(\.name)),
            nesting: nesting)
        request.limits.steps = 2_000
        request.limits.nestedRuns = 3_000
        return request
    }

    private func checkTraces(
        _ result: SimulationResult, _ table: EntryTable, _ request: SimulationRequest, _ seed: UInt64
    )
        throws
    {
        for scenario in result.results.filter({ !$0.scenario.injections.isEmpty }).prefix(6) {
            try Invariants.checkTrace(of: scenario, table, request, seed)
        }
    }

    @Test("shortcuts find what trying every boundary finds", .timeLimit(.minutes(30)), arguments: Seeds.range(3))
    func shortcuts(seed: UInt64) throws {
        try Seeds.timed("shortcuts", seed) {
            guard let (table, scenarios, _) = try slip(seed ^ 0x5407_0000_0000, scenarios: 1 + Int(seed % 4)) else {
                return
            }
            var request = request(scenarios, nesting: 1)
            let quick = table.simulate(request)
            request.isExhaustive = true
            let thorough = table.simulate(request)
            if Invariants.isCutShort(quick) || Invariants.isCutShort(thorough) { return }
            let missed = Invariants.findings(thorough, isSound: true).subtracting(Invariants.findings(quick))
            let added = Invariants.findings(quick, isSound: true).subtracting(Invariants.findings(thorough))
            #expect(missed.isEmpty, "seed \(seed), \(scenarios.map(\.name)): not found")
            #expect(added.isEmpty, "seed \(seed), \(scenarios.map(\.name)): found by the shortcuts alone")
            request.isExhaustive = false
            try checkTraces(quick, table, request, seed)
        }
    }

    @Test("what n nested events find, n + 1 find", .timeLimit(.minutes(30)), arguments: Seeds.range(2))
    func depth(seed: UInt64) throws {
        try Seeds.timed("depth", seed) {
            guard let (table, scenarios, _) = try slip(seed ^ 0xDEE9_0000_0000, scenarios: 1 + Int(seed % 2)) else {
                return
            }
            var before = table.simulate(request(scenarios, nesting: 0))
            for nesting in 1...2 {
                let request = request(scenarios, nesting: nesting)
                let after = table.simulate(request)
                if Invariants.isCutShort(after) { return }
                let (fewer, more) = (Invariants.findings(before), Invariants.findings(after))
                #expect(
                    fewer.isSubset(of: more),
                    "seed \(seed), \(scenarios.map(\.name)), nesting \(nesting): lost \(fewer.subtracting(more))")
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

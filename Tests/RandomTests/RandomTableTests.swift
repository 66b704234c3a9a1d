import EntryCode
import Testing
import Verification

/// Tables and routines changed at random: whatever they do, the tool answers, and answers the same every time.
///
/// `GATEHOUSE_SEEDS=1000 swift test --filter RandomTests` tries more of them.
struct RandomTableTests {
    private func check(_ random: inout RandomTable, _ seed: UInt64, scenarios count: Int) throws {
        guard let table = try Invariants.read(random.whole, seed) else { return }
        let names = random.scenarios(count).map(\.name)
        let isNested = random.random.chance(25)
        var request = SimulationRequest(
            selection: ScenarioSelection(
                platforms: [random.platform], patterns: isNested ? Array(names.prefix(1)) : names),
            nesting: isNested ? 1 : 0)
        if random.random.chance(20) { request.xen = random.random.chance(50) ? .v4_6 : .v4_17 }
        request.limits.nestedRuns = 3_000
        request.limits.steps = random.random.chance(30) ? 20_000 : 2_000
        let result = table.simulate(request)
        let description = Invariants.describe(result)
        #expect(Invariants.describe(table.simulate(request, runner: BackwardRunner())) == description, "seed \(seed)")
        Invariants.check(result, request, seed)
        guard result.verdict != .invalid else { return }
        // A nested event's own names first: they are made while others are tried and undone.
        let broken = result.results.filter { $0.verdict != .holds }
        let nested = broken.filter { !$0.scenario.injections.isEmpty }
        for scenario in nested.prefix(3) + broken.prefix(2) + result.results.prefix(1) {
            try Invariants.checkTrace(of: scenario, table, request, seed)
        }
    }

    @Test("changed rows, routing, options and addresses", .timeLimit(.minutes(30)), arguments: Seeds.range(8))
    func tables(seed: UInt64) throws {
        try Seeds.timed("table", seed) {
            var random = try RandomTable(seed: seed)
            for _ in 0..<1 + random.random.next() % 4 { random.changeTable() }
            try check(&random, seed, scenarios: 12)
        }
    }

    @Test("changed routines", .timeLimit(.minutes(30)), arguments: Seeds.range(8))
    func routines(seed: UInt64) throws {
        try Seeds.timed("routine", seed) {
            var random = try RandomTable(seed: seed ^ 0x5EED_0000_0000)
            let candidates = random.code.routines(of: random.scenarios(1)[0])
            for _ in 0..<1 + random.random.next() % 2 {
                let times = 1 + Int(random.random.next() % 5)
                random.changeRoutine(among: random.random.chance(70) ? candidates : random.code.routines, times: times)
            }
            if random.random.chance(20) { random.changeSource(times: 2) }
            if random.random.chance(20) { random.changeTable() }
            try check(&random, seed, scenarios: 12)
        }
    }

    @Test("routines made of random instructions", .timeLimit(.minutes(30)), arguments: Seeds.range(8))
    func inventions(seed: UInt64) throws {
        try Seeds.timed("invention", seed) {
            var random = try RandomTable(seed: seed ^ 0x1D3A_0000_0000)
            let candidates = random.code.routines(of: random.scenarios(1)[0])
            for _ in 0..<1 + random.random.next() % 3 { random.inventRoutine(among: candidates) }
            try check(&random, seed, scenarios: 12)
        }
    }
}

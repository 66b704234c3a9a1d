import Testing

@testable import Store

@Suite struct SimulationTests {
    let store: ResultStore
    let digest: Digest

    init() throws {
        store = try memoryStore()
        digest = try store.perform(.insertConfiguration(table(1, name: "linux"))).configuration.digest
    }

    @Test func queuedThenRunningThenFinished() throws {
        let queued = try store.perform(.insertSimulation(simulation(1, of: digest)))
        #expect(queued.state == .queued && queued.verdict == nil && queued.finishedAt == nil)
        #expect(queued.configuration == digest && queued.configurationName == "linux")
        #expect(queued.request == #"{"platforms":["xen-pv"]}"# && queued.modelVersion == "1")
        expectError(.notFound) { try store.report(of: simulationID(1)) }
        let running = try store.perform(.startSimulation(simulationID(1), at: moment(5)))
        #expect(running.state == .running && running.startedAt == moment(5))
        let finished = try store.perform(.finishSimulation(simulationID(1), outcome(scenarios(3))))
        #expect(finished.state == .finished && finished.verdict == .violated && finished.finishedAt == moment(50))
        #expect(
            finished.summary
                == SimulationSummary(scenarios: 3, holds: 3, violated: 2, undecided: 1, instructions: 61_234))
        #expect(finished.elapsedSeconds == 0.004)
        #expect(try store.simulation(simulationID(1)) == finished)
        #expect(try store.report(of: simulationID(1)) == Array("{\"report\":true}".utf8))
    }

    @Test func keptWithItsOutcomeAtOnce() throws {
        let kept = try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome(scenarios(300))))
        #expect(kept.state == .finished)
        #expect(try store.scenarios(of: simulationID(1), limit: 1000).items.count == 300)
    }

    @Test func failedAndCancelled() throws {
        for number in 1...2 { try store.perform(.insertSimulation(simulation(number, of: digest))) }
        let failed = try store.perform(.failSimulation(simulationID(1), failure: "out-of-steps", at: moment(7)))
        #expect(failed.state == .failed && failed.failure == "out-of-steps" && failed.finishedAt == moment(7))
        let cancelled = try store.perform(.cancelSimulation(simulationID(2), at: moment(8)))
        #expect(cancelled.state == .cancelled && cancelled.finishedAt == moment(8) && cancelled.failure == nil)
    }

    @Test func nothingFollowsAnEnd() throws {
        try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome([])))
        let id = simulationID(1)
        expectError(.simulationEnded) { try store.perform(.startSimulation(id, at: epoch)) }
        expectError(.simulationEnded) { try store.perform(.cancelSimulation(id, at: epoch)) }
        expectError(.simulationEnded) { try store.perform(.failSimulation(id, failure: "x", at: epoch)) }
        expectError(.simulationEnded) { try store.perform(.finishSimulation(id, outcome([], verdict: .holds))) }
        #expect(try store.simulation(id).verdict == .violated)
        expectError(.notFound) { try store.perform(.startSimulation(simulationID(2), at: epoch)) }
        expectError(.notFound) { try store.perform(.finishSimulation(simulationID(2), outcome([]))) }
    }

    @Test func refusesUnknownConfigurationAndTakenID() throws {
        expectError(.notFound) { try store.perform(.insertSimulation(simulation(1, of: Digest(of: [])))) }
        try store.perform(.insertSimulation(simulation(1, of: digest)))
        expectError(.duplicate) {
            try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome([])))
        }
        #expect(try store.simulation(simulationID(1)).state == .queued)
        var new = simulation(2, of: digest)
        new.request = "not json"
        expectError(.invalidValue) { try store.perform(.insertSimulation(new)) }
    }

    @Test func listsWithFilters() throws {
        let other = try store.perform(.insertConfiguration(table(2))).configuration.digest
        try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome([], verdict: .holds)))
        try store.perform(.insertSimulation(simulation(2, of: other), outcome: outcome([], verdict: .violated)))
        try store.perform(.insertSimulation(simulation(3, of: other), outcome: outcome([], verdict: .holds)))
        try store.perform(.insertSimulation(simulation(4, of: other)))
        func numbers(_ page: Page<StoredSimulation>) -> [SimulationID] { page.items.map(\.id) }
        #expect(try numbers(store.simulations(limit: 10)) == [4, 3, 2, 1].map(simulationID))
        #expect(try numbers(store.simulations(configuration: other, limit: 10)) == [4, 3, 2].map(simulationID))
        #expect(try numbers(store.simulations(verdict: .holds, limit: 10)) == [3, 1].map(simulationID))
        #expect(try numbers(store.simulations(state: .queued, limit: 10)) == [simulationID(4)])
        #expect(try numbers(store.simulations(configuration: other, verdict: .holds, limit: 10)) == [simulationID(3)])
        let first = try store.simulations(configuration: other, limit: 2)
        try store.perform(.insertSimulation(simulation(5, of: other)))
        #expect(try numbers(store.simulations(configuration: other, limit: 2, cursor: first.next)) == [simulationID(2)])
    }

    @Test func deletedOnlyAfterItsEnd() throws {
        try store.perform(.insertSimulation(simulation(1, of: digest)))
        expectError(.simulationRunning) { try store.perform(.deleteSimulation(simulationID(1))) }
        try store.perform(.finishSimulation(simulationID(1), outcome(scenarios(200))))
        try store.perform(.deleteSimulation(simulationID(1)))
        expectError(.notFound) { try store.simulation(simulationID(1)) }
        expectError(.notFound) { try store.scenarios(of: simulationID(1), limit: 1) }
        expectError(.notFound) { try store.perform(.deleteSimulation(simulationID(1))) }
    }

    @Test func pruningIsBoundedAndSparesTheRest() throws {
        var limits = Limits()
        limits.prunedRows = 2
        for number in 1...3 {
            try store.perform(.insertSimulation(simulation(number, of: digest), outcome: outcome(scenarios(2))))
        }
        try store.perform(.insertSimulation(simulation(4, of: digest)))
        #expect(try store.perform(.pruneSimulations(finishedBefore: moment(50), limits: limits)) == 0)
        #expect(try store.perform(.pruneSimulations(finishedBefore: moment(51), limits: limits)) == 2)
        #expect(try store.perform(.pruneSimulations(finishedBefore: moment(51), limits: limits)) == 1)
        #expect(try store.simulations(limit: 10).items.map(\.id) == [simulationID(4)])
    }

    @Test func refusesWhatIsTooLarge() throws {
        var limits = Limits()
        limits.textBytes = 30
        limits.reportBytes = 15
        limits.scenarios = 5
        limits.scenarioBytes = 1000
        let new = simulation(1, of: digest)
        _ = try Write.insertSimulation(new, outcome: outcome(scenarios(5)), limits: limits)
        expectError(.tooLarge) { try Write.insertSimulation(new, outcome: outcome(scenarios(6)), limits: limits) }
        expectError(.tooLarge) {
            try Write.insertSimulation(new, outcome: outcome(scenarios(5, recordBytes: 200)), limits: limits)
        }
        var large = outcome([])
        large.report.append(0)
        expectError(.tooLarge) { try Write.finishSimulation(new.id, large, limits: limits) }
        expectError(.tooLarge) {
            try Write.failSimulation(new.id, failure: String(repeating: "f", count: 31), at: epoch, limits: limits)
        }
    }
}

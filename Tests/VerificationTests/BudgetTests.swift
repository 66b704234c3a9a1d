import Dispatch
import EntryCode
import Synchronization
import Testing
import Verification

/// Ends before everything was tried: by a budget, by a clock that is not the core's, by whoever gave it up.
struct BudgetTests {
    /// The last part first, on two threads.
    private struct BackwardRunner: PartRunner {
        func map<Element: Sendable, Result: Sendable>(
            _ elements: [Element], _ transform: @escaping @Sendable (Element) -> Result
        ) -> [Result] {
            let results = Mutex([Result?](repeating: nil, count: elements.count))
            DispatchQueue.concurrentPerform(iterations: elements.count) { turn in
                let index = elements.count - 1 - turn
                let result = transform(elements[index])
                results.withLock { $0[index] = result }
            }
            return results.withLock { $0.compactMap { $0 } }
        }
    }

    private func request(_ pattern: String, nesting: Int, runs: UInt64? = nil) -> SimulationRequest {
        var request = SimulationRequest(selection: ScenarioSelection(patterns: [pattern]), nesting: nesting)
        if let runs { request.limits.nestedRuns = runs }
        return request
    }

    private func lines(_ result: SimulationResult) -> [String] {
        result.results.map { "\($0.scenario.name) \($0.verdict) \($0.cutShortBy?.rawValue ?? "-") \($0.violations)" }
    }

    @Test func theBudgetIsOfTheWholeSimulation() throws {
        let table = try Variant("linux-6.1").table()
        let request = request("*/asm_exc_int3/*/return", nesting: 2, runs: 600)
        let result = table.simulate(request)
        let own = result.results.filter { $0.scenario.injections.isEmpty }
        #expect(own.count == table.simulate(self.request("*/asm_exc_int3/*/return", nesting: 0)).results.count)
        #expect(result.verdict == .undecided)
        for scenario in own {
            #expect(scenario.verdict == .undecided && scenario.limit == "nested-runs", "\(scenario.scenario.name)")
            #expect(scenario.cutShortBy == .nestedRuns && scenario.steps > 0)
        }
        // What is being tried when the budget is used up runs to its end: some events at a boundary of each part.
        #expect(result.nestedRuns >= 500 && result.nestedRuns < 900, "\(result.nestedRuns)")
        let backward = table.simulate(request, runner: BackwardRunner())
        #expect(lines(backward) == lines(result), "on two threads the same")
        #expect(backward.nestedRuns == result.nestedRuns)
    }

    /// The case that no report told of: a violation does not mean that everything was tried.
    @Test func aViolatedScenarioSaysThatItsSearchWasCutShort() throws {
        let table = try Variant("linux-5.2").table()
        let scenario = "xen-pv/int3/kernel/self-test"
        let some = table.simulate(request(scenario, nesting: 1, runs: 10))
        #expect(some.verdict == .violated && some.isCutShort)
        #expect(some.results.first?.verdict == .violated)
        #expect(some.results.first?.cutShortBy == .nestedRuns)
        #expect(some.results.first?.limit == nil, "it is decided")
        let all = table.simulate(request(scenario, nesting: 1))
        #expect(all.verdict == .violated && !all.isCutShort)
    }

    @Test func oneEventOfEveryKernelIsWithinTheBudget() throws {
        for kernel in ["linux-4.4", "linux-5.3", "linux-6.1"] {
            let result = try Variant(kernel).table().simulate(request("*/*int3*/kernel*/return", nesting: 1))
            #expect(!result.isCutShort && result.nestedRuns > 50, "\(kernel)")
        }
    }

    @Test(arguments: [SearchLimit.time, .cancelled]) func whoAsksForAnEndGetsIt(reason: SearchLimit) throws {
        let table = try Variant("linux-6.1").table()
        let asked = Atomic<Int>(0)
        let control = SimulationControl { progress in
            asked.wrappingAdd(1, ordering: .relaxed).newValue > 40 ? reason : nil
        }
        let clock = ContinuousClock()
        let start = clock.now
        let result = table.simulate(request("*", nesting: 3), control: control)
        #expect(clock.now - start < .seconds(60), "all of it takes hours")
        #expect(control.reason == reason)
        let own = result.results.filter { $0.scenario.injections.isEmpty }
        #expect(own.count == control.progress.scenarios, "each has its row")
        #expect(own.allSatisfy { $0.verdict != .holds }, "nothing was tried to the end")
        #expect(own.allSatisfy { $0.verdict == .violated || $0.limit == reason.rawValue })
        #expect(own.allSatisfy { $0.cutShortBy == reason })
        #expect(own.contains { $0.ending == .notRun } && own.contains { $0.ending != .notRun })
        #expect(control.progress.nestedRuns == result.nestedRuns)
        #expect(result.verdict == .undecided)
    }

    @Test func whatIsStoppedBeforeItBeginsRunsNothing() throws {
        let control = SimulationControl()
        control.stop(.cancelled)
        control.stop(.time)
        let table = try Variant("linux-5.3").table()
        let result = table.simulate(SimulationRequest(), control: control)
        #expect(result.verdict == .undecided && result.instructions == 0)
        #expect(result.results.count > 300)
        #expect(result.results.allSatisfy { $0.ending == .notRun && $0.limit == "cancelled" })
        #expect(control.progress.scenariosDone == 0 && control.progress.scenarios == result.results.count)
    }

    @Test(arguments: [0, 1]) func whoOnlyLooksChangesNothing(nesting: Int) throws {
        let table = try Variant("linux-5.2").table()
        let request = request("*/int3/kernel/*", nesting: nesting)
        let seen = Mutex<[SimulationProgress]>([])
        let control = SimulationControl { progress in
            seen.withLock { $0.append(progress) }
            return nil
        }
        let watched = table.simulate(request, control: control)
        #expect(lines(watched) == lines(table.simulate(request)))
        #expect(!watched.isCutShort)
        let progress = control.progress
        #expect(progress.scenariosDone == progress.scenarios)
        #expect(progress.scenarios == watched.results.count { $0.scenario.injections.isEmpty })
        #expect(progress.nestedRuns == watched.nestedRuns)
        let steps = seen.withLock { $0 }
        #expect(steps.count >= progress.scenarios)
        #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.scenariosDone <= $1.scenariosDone })
    }
}

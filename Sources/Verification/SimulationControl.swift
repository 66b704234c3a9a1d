import Machine
import Synchronization

/// What ended the search for nested events, or kept a scenario from being run, before everything was tried.
package enum SearchLimit: String, Sendable, Hashable, CaseIterable {
    /// The nested events that the request allows (`RunLimits.nestedRuns`).
    case nestedRuns = "nested-runs"
    /// The time that the caller allows.
    case time
    /// The caller does not want it any more.
    case cancelled
}

/// How far a simulation is.
package struct SimulationProgress: Sendable, Hashable {
    /// Scenarios that are known to be run: all of them once every platform is expanded.
    package var scenarios = 0
    package var scenariosDone = 0
    /// Nested events that were tried.
    package var nestedRuns: UInt64 = 0

    package init() {}
}

/// What a running simulation and whoever started it say to each other, on any threads.
///
/// The core reads no clock: who has one gives a closure, which is asked before every scenario and after some boundaries
/// of nested events, less than a millisecond apart. Once it says so, or `stop` was called, nothing more is tried; what is being
/// tried runs to its end, which takes as long as some thousand instructions.
package final class SimulationControl: Sendable {
    private let stopped = Atomic<UInt8>(0)
    private let scenarios = Atomic<Int>(0)
    private let scenariosDone = Atomic<Int>(0)
    private let nestedRuns = Atomic<UInt64>(0)
    private let asked: @Sendable (SimulationProgress) -> SearchLimit?

    /// - Parameter asked: Called on the threads of the simulation; what it answers first counts.
    package init(asking asked: @escaping @Sendable (SimulationProgress) -> SearchLimit? = { _ in nil }) {
        self.asked = asked
    }

    /// Ends the simulation; only the first reason counts.
    package func stop(_ reason: SearchLimit) {
        let code: UInt8 =
            switch reason {
            case .nestedRuns: 1
            case .time: 2
            case .cancelled: 3
            }
        _ = stopped.compareExchange(expected: 0, desired: code, ordering: .relaxed)
    }

    /// Why it is to end; nil while it is not.
    package var reason: SearchLimit? {
        switch stopped.load(ordering: .relaxed) {
        case 0: nil
        case 1: .nestedRuns
        case 2: .time
        default: .cancelled
        }
    }

    package var progress: SimulationProgress {
        var progress = SimulationProgress()
        progress.scenarios = scenarios.load(ordering: .relaxed)
        progress.scenariosDone = scenariosDone.load(ordering: .relaxed)
        progress.nestedRuns = nestedRuns.load(ordering: .relaxed)
        return progress
    }

    // MARK: For the core

    /// Why to end, after the caller was asked.
    func ask() -> SearchLimit? {
        if let reason { return reason }
        if let limit = asked(progress) { stop(limit) }
        return reason
    }

    func add(scenarios count: Int) { scenarios.wrappingAdd(count, ordering: .relaxed) }
    func addScenarioDone() { scenariosDone.wrappingAdd(1, ordering: .relaxed) }
    func add(nestedRuns count: UInt64) { nestedRuns.wrappingAdd(count, ordering: .relaxed) }
}

extension Explorer {
    /// Boundaries between two looks at whether the simulation is to end: a quarter of a millisecond.
    private static var boundariesBetweenLooks: UInt64 { 256 }

    /// Whether nested events are still to be tried; notes why not.
    @inline(__always)
    mutating func goesOn(_ limits: RunLimits, _ control: SimulationControl?) -> Bool {
        if cutShortBy != nil { return false }
        if runs >= limits.nestedRuns {
            cutShortBy = .nestedRuns
            return false
        }
        if let control, boundaries % Explorer.boundariesBetweenLooks == 0 {
            tell(control)
            cutShortBy = control.ask()
        }
        return cutShortBy == nil
    }

    /// Tells how many events were tried since the last time.
    mutating func tell(_ control: SimulationControl) {
        control.add(nestedRuns: runs &- runsTold)
        runsTold = runs
    }
}

extension Scenario {
    /// What becomes of a scenario that is not run.
    func notRun(because limit: SearchLimit) -> ScenarioResult {
        ScenarioResult(
            scenario: self, verdict: .undecided, violations: [], ending: .notRun, cost: Cost(), steps: 0,
            limit: limit.rawValue, cutShortBy: limit)
    }
}

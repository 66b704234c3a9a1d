import EntryCode
import HTTPTypes
import Store
import Synchronization
import Verification

/// Simulations that run or are about to: to be asked how far they are, and to be ended.
final class RunningSimulations: Sendable {
    private struct Entry {
        var control: SimulationControl
        /// On the clock that only goes forward.
        var began_seconds: Double
    }

    private struct State {
        var entries: [Int: Entry] = [:]
        var kept: [SimulationID: Int] = [:]
        var next = 0
        var isStopping = false
    }

    private let state = Mutex(State())

    /// Notes a simulation that begins; one that begins while all are being stopped is stopped at once.
    func begin(_ control: SimulationControl, now: Double) -> Int {
        state.withLock { state in
            state.next += 1
            state.entries[state.next] = Entry(control: control, began_seconds: now)
            if state.isStopping { control.stop(.cancelled) }
            return state.next
        }
    }

    /// The simulation is kept under this id, by which it is found from now on.
    func name(_ number: Int, _ id: SimulationID) { state.withLock { $0.kept[id] = number } }

    func end(_ number: Int) {
        state.withLock { state in
            state.entries[number] = nil
            state.kept = state.kept.filter { $0.value != number }
        }
    }

    /// Ends the simulation of this id, if it runs.
    func stop(_ id: SimulationID) {
        state.withLock { state in
            if let number = state.kept[id] { state.entries[number]?.control.stop(.cancelled) }
        }
    }

    /// Ends all that run, and all that begin from now on.
    func stopAll() {
        state.withLock { state in
            state.isStopping = true
            for entry in state.entries.values { entry.control.stop(.cancelled) }
        }
    }

    var isStopping: Bool { state.withLock { $0.isStopping } }

    var count: Int { state.withLock { $0.entries.count } }

    /// How far a simulation is, and since when it runs; nil where it does not.
    func progress(of id: SimulationID) -> (progress: SimulationProgress, began_seconds: Double)? {
        state.withLock { state in
            guard let number = state.kept[id], let entry = state.entries[number] else { return nil }
            return (entry.control.progress, entry.began_seconds)
        }
    }
}

extension Application {
    /// Ends every simulation: their clients are told to try again, those that nobody waits for count as interrupted.
    package func stopSimulations() { running.stopAll() }

    /// Simulations that run or wait for a thread.
    package var unfinishedSimulations: Int { running.count + longQueue.waiting + queue.waiting }

    /// What a simulation is told from outside: that its time is over, or that its client is gone.
    func control(for request: Request?) -> SimulationControl {
        let uptime = environment.uptime_seconds
        let end = uptime() + Double(limits.simulation_seconds)
        guard let request else { return SimulationControl { _ in uptime() >= end ? .time : nil } }
        return SimulationControl { _ in
            if uptime() >= end { return .time }
            return request.isGivenUp() ? .cancelled : nil
        }
    }

    /// Does something that simulates under a control; throws where it was stopped: what came of it is worth nothing.
    func simulating<Value>(
        _ control: SimulationControl, _ body: () throws(Problem) -> Value
    ) throws(Problem) -> Value {
        let number = running.begin(control, now: environment.uptime_seconds())
        defer { running.end(number) }
        let value = try body()
        if control.reason == .cancelled { throw Application.stopped }
        return value
    }

    /// The client is gone, or the service stops.
    static let stopped = Problem(
        .overloaded, "the simulation was stopped before its end; try again", fields: [.retryAfter: "1"])

    /// A runner for a request: nested events are tried on threads that give way to all others.
    func runner(for order: SimulationOrder) -> any PartRunner {
        order.request.nesting > 0 ? BackgroundRunner() : ConcurrentRunner()
    }

    // MARK: Progress

    /// How far a simulation is, for its document; nil where it does not run.
    func progress(of simulation: StoredSimulation) -> JSON? {
        guard !simulation.state.isEnd, let (progress, began) = running.progress(of: simulation.id) else { return nil }
        return .object([
            JSON.Member("scenarios", .integer(Int64(progress.scenarios))),
            JSON.Member("done", .integer(Int64(progress.scenariosDone))),
            JSON.Member("nested_runs", .integer(Int64(clamping: progress.nestedRuns))),
            JSON.Member("elapsed_seconds", .number(environment.uptime_seconds() - began)),
        ])
    }

    /// The same behind its state in a line for people.
    func progressText(of simulation: StoredSimulation) -> String {
        guard !simulation.state.isEnd, let (progress, _) = running.progress(of: simulation.id) else { return "" }
        let nested = progress.nestedRuns > 0 ? ", \(progress.nestedRuns) nested events tried" : ""
        return ": \(progress.scenariosDone) of \(progress.scenarios) scenarios\(nested)"
    }

    // MARK: Which threads

    /// Whether a request tries nested events on the thread that answers it, which may take as long as is allowed.
    func isLong(_ request: Request) -> Bool {
        switch (request.method, request.segments) {
        case (.post, ["v1", "checks"]), (.get, ["v1", "comparisons"]), (.head, ["v1", "comparisons"]):
            return request.query.contains { $0.name == "nesting" && $0.value != "0" }
        case (.post, ["v1", "simulations"]):
            let preferences = Preferences(request.fields[.prefer])
            if preferences.respondsAsync || preferences.wait_seconds == 0 { return false }
            guard let body = try? jsonBody(request), body.contains(Self.nestingKey) || body.contains(Self.escape),
                let members = try? JSON.parse(body, limits: limits.table.json).value
            else { return false }
            return members["nesting"].map { $0 != .integer(0) } ?? false
        default: return false
        }
    }

    private static let nestingKey = [UInt8]("\"nesting\"".utf8)
    /// A key may be spelt with it.
    private static let escape = UInt8(ascii: "\\")
}

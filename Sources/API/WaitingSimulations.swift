import EntryCode
import HTTPTypes
import Store
import Synchronization
import Verification

/// `Prefer: wait=N` (RFC 7240, section 4.3): the report where it is done within that time, else 202, and it runs on.
extension Application {
    /// What came of a request that waits.
    enum Waited {
        /// It was answered before the simulation was done.
        case early(Answer)
        case kept(Kept)
    }

    /// The state of one such request, shared with the threads that simulate.
    private final class Wait: Sendable {
        enum State: Sendable {
            case waiting
            /// One of the threads keeps the simulation and answers.
            case answering
            case answered(Answer)
        }

        let state = Mutex(State.waiting)
        /// Its number among those that run.
        let number = Mutex<Int?>(nil)

        /// True for one caller.
        func beginAnswer() -> Bool {
            state.withLock { state in
                guard case .waiting = state else { return false }
                state = .answering
                return true
            }
        }

        func end(_ answer: Answer?) {
            // Where it could not be kept, the request is answered at the end as if it had not said how long it waits.
            if let answer { state.withLock { $0 = .answered(answer) } }
        }

        var answer: Answer? {
            state.withLock { state in
                if case .answered(let answer) = state { answer } else { nil }
            }
        }
    }

    /// Simulates; once the time is over, the simulation is kept as one that runs, and the request is answered.
    func runAndWait(
        _ table: EntryTable, _ order: SimulationOrder, name: String?, seconds: Double, _ request: Request,
        answerEarly: @escaping @Sendable (Answer) -> Void
    ) throws(Problem) -> Waited {
        let digest = table.digest
        let id = newSimulationID()
        let wait = Wait()
        let uptime = environment.uptime_seconds
        let start = uptime()
        let end = start + Double(limits.simulation_seconds)
        let control = SimulationControl { [self] progress in
            let now = uptime()
            if now >= end { return .time }
            if wait.answer == nil && request.isGivenUp() { return .cancelled }
            // Whether it is about anything is known once scenarios are.
            if now - start >= seconds, progress.scenarios > 0, wait.beginAnswer() {
                var answer = promise(id, table, digest, order, name: name)
                // Honoured: the answer came when the wait was over, and not when the simulation was.
                answer?.fields[.preferenceApplied] = "wait=\(Int(seconds))"
                if let answer {
                    if let number = wait.number.withLock({ $0 }) { running.name(number, id) }
                    answerEarly(answer)
                }
                wait.end(answer)
            }
            return nil
        }
        let place = running.begin(control, now: start)
        wait.number.withLock { $0 = place }
        defer { running.end(place) }
        let product = run(table, digest: digest, name: name ?? table.name, id: id, order, control)
        if let answer = wait.answer {
            do throws(StoreError) { try finish(id, product?.outcome) } catch { logUnfinished(id, error) }
            return .early(answer)
        }
        return .kept(
            try keep(
                table, order, scenarios: .pointer("/scenarios"), name: name, id: id, product)
        )
    }

    /// Keeps a simulation as one that runs; nil where that does not succeed.
    private func promise(
        _ id: SimulationID, _ table: EntryTable, _ digest: Digest, _ order: SimulationOrder, name: String?
    ) -> Answer? {
        do throws(StoreError) {
            try perform(.insertConfiguration(newConfiguration(table, name: name, renames: false, obstacles(table))))
            try perform(
                .insertSimulation(
                    NewSimulation(
                        id: id, configuration: digest, request: order.json.text, modelVersion: modelVersion,
                        createdAt: environment.now())))
            try perform(.startSimulation(id, at: environment.now()))
            return Application.acceptedAnswer(id, .running)
        } catch {
            environment.log("a simulation that takes longer than its client waits was not kept: \(error.code.rawValue)")
            return nil
        }
    }
}

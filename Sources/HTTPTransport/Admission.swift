import HTTPWire
import Synchronization

/// Who may connect: the limits over all event loops, and the addresses that tripped a guard a moment ago.
///
/// A lock per accepted and per closed connection; none per request.
final class Admission: Sendable {
    private struct State {
        var open = 0
        var byHost: [String: Int] = [:]
        var penalties: [String: MonotonicTime] = [:]
    }

    private let limits: TransportLimits
    private let state = Mutex(State())

    init(limits: TransportLimits) {
        self.limits = limits
    }

    /// Counts a new connection of `host`, or says which guard refuses it.
    func admit(_ host: String, now: MonotonicTime) -> Guard? {
        state.withLock { state in
            if let until = state.penalties[host] {
                if now < until { return .penalty }
                state.penalties[host] = nil
            }
            guard state.open < limits.connections else { return .connectionLimit }
            let count = state.byHost[host] ?? 0
            guard count < limits.connectionsPerAddress else { return .addressLimit }
            state.open += 1
            state.byHost[host] = count + 1
            return nil
        }
    }

    /// A connection of `host` that was admitted is gone.
    func release(_ host: String) {
        state.withLock { state in
            state.open -= 1
            let count = (state.byHost[host] ?? 1) - 1
            state.byHost[host] = count > 0 ? count : nil
        }
    }

    /// Refuses connections of `host` for the penalty time.
    func penalize(_ host: String, now: MonotonicTime) {
        guard limits.penaltyMilliseconds > 0 else { return }
        state.withLock { state in
            // Forgetting is better than growing; the table holds at most moments' worth of offenders.
            if state.penalties.count >= limits.penaltyEntries { state.penalties = [:] }
            state.penalties[host] = MonotonicTime(milliseconds: now.milliseconds + limits.penaltyMilliseconds)
        }
    }
}

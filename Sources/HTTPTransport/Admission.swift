import HTTPWire
import Synchronization

/// Who may connect: the limits over all event loops, and the addresses that tripped a guard a moment ago.
///
/// Addresses are told apart by `PeerAddress.network`. A lock per accepted and per closed connection; none per request.
final class Admission: Sendable {
    private struct State {
        var open = 0
        var shares: [String: NetworkShare] = [:]
        /// When there are as many shares, those that nobody uses any more are dropped.
        var sweepAt = 64
        var penalties: [String: MonotonicTime] = [:]
    }

    private let limits: TransportLimits
    private let state = Mutex(State())
    /// What all connections together may hold of request bodies.
    let bodies: BodyBudget
    /// Who may have how many requests in work.
    let work: Work

    init(limits: TransportLimits) {
        self.limits = limits
        bodies = BodyBudget(limit: limits.heldBodyBytes)
        work = Work(limit: limits.requestsInWork)
    }

    /// What became of a new connection.
    enum Outcome {
        case admitted(NetworkShare)
        case refused(Guard)

        var refusal: Guard? {
            if case .refused(let reason) = self { reason } else { nil }
        }
    }

    /// Counts a new connection of `network`, or says which guard refuses it.
    func admit(_ network: String, now: MonotonicTime) -> Outcome {
        state.withLock { state in
            if let until = state.penalties[network] {
                if now < until { return .refused(.penalty) }
                state.penalties[network] = nil
            }
            let share = state.shares[network] ?? NetworkShare()
            // First, so that an address with all it may have makes nobody else close connections.
            let count = share.connections.load(ordering: .relaxed)
            guard count < limits.connectionsPerAddress else { return .refused(.addressLimit) }
            guard state.open < limits.connections else { return .refused(.connectionLimit) }
            state.open += 1
            share.connections.store(count + 1, ordering: .relaxed)
            if state.shares.count >= state.sweepAt {
                state.shares = state.shares.filter { !$0.value.isUnused }
                state.sweepAt = max(64, state.shares.count * 2)
            }
            state.shares[network] = share
            return .admitted(share)
        }
    }

    /// A connection of `network` that was admitted is gone.
    func release(_ network: String) {
        state.withLock { state in
            state.open -= 1
            guard let share = state.shares[network] else { return }
            share.connections.wrappingSubtract(1, ordering: .relaxed)
            if share.isUnused { state.shares[network] = nil }
        }
    }

    /// Connections of `network` that are open.
    func connections(of network: String) -> Int {
        state.withLock { $0.shares[network]?.connections.load(ordering: .relaxed) ?? 0 }
    }

    /// Refuses connections of `network` for the penalty time.
    func penalize(_ network: String, now: MonotonicTime) {
        guard limits.penaltyMilliseconds > 0 else { return }
        state.withLock { state in
            // Forgetting is better than growing; the table holds at most moments' worth of offenders.
            if state.penalties.count >= limits.penaltyEntries { state.penalties = [:] }
            state.penalties[network] = MonotonicTime(milliseconds: now.milliseconds + limits.penaltyMilliseconds)
        }
    }
}

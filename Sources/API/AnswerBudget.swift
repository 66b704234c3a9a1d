import HTTPWire
import Synchronization

/// How many bytes of finished answers the whole process holds, for peers that have not read them yet and in the cache.
///
/// The limit of one connection says nothing about hundreds of them. One address, or one /64 of IPv6, has at most half of what
/// the others leave: the first half of all, a second a quarter, so that some is left for whoever comes next.
///
/// It is asked before work begins, since what is finished has to go somewhere: answers under way may exceed the limit by one
/// for each thread that makes them.
final class AnswerBudget: Sendable {
    private struct State {
        var held_bytes = 0
        /// By address or network; those that hold nothing are not there.
        var shares: [String: Int] = [:]
    }

    private let limit_bytes: Int
    private let state = Mutex(State())

    init(limit_bytes: Int) { self.limit_bytes = max(0, limit_bytes) }

    /// Bytes held now.
    var held_bytes: Int { state.withLock { $0.held_bytes } }

    /// Whether a network holds as much as it may.
    func isExhausted(for network: String) -> Bool {
        state.withLock { state in
            let own = state.shares[network] ?? 0
            return own >= FairShare.of(limit_bytes, all: state.held_bytes, own: own)
        }
    }

    /// Counts bytes until what is returned is released.
    func hold(_ count_bytes: Int, for network: String) -> HeldAnswer {
        state.withLock { state in
            state.held_bytes += count_bytes
            state.shares[network, default: 0] += count_bytes
        }
        return HeldAnswer(self, count_bytes, network)
    }

    fileprivate func give(_ count_bytes: Int, of network: String) {
        state.withLock { state in
            state.held_bytes -= count_bytes
            let left = (state.shares[network] ?? 0) - count_bytes
            state.shares[network] = left > 0 ? left : nil
        }
    }
}

/// The part of the budget that one body takes; given back when the last who holds the body lets go of this.
final class HeldAnswer: Sendable {
    private let budget: AnswerBudget
    private let count_bytes: Int
    private let network: String

    fileprivate init(_ budget: AnswerBudget, _ count_bytes: Int, _ network: String) {
        self.budget = budget
        self.count_bytes = count_bytes
        self.network = network
    }

    deinit { budget.give(count_bytes, of: network) }
}

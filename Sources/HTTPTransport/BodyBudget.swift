import Synchronization

/// What one address, or one network of IPv6, has open and holds; shared by its connections on all event loops.
final class NetworkShare: Sendable {
    /// Connections open now; written under the lock of `Admission`.
    let connections = Atomic<Int>(0)
    /// Bytes of request bodies held now.
    let heldBytes = Atomic<Int>(0)
    /// Requests in the hands of handlers.
    let requestsInWork = Atomic<Int>(0)

    /// Whether nothing is left of it; what closed connections have begun still counts.
    var isUnused: Bool {
        connections.load(ordering: .relaxed) <= 0 && heldBytes.load(ordering: .relaxed) <= 0
            && requestsInWork.load(ordering: .relaxed) <= 0
    }
}

/// How many bytes of request bodies the whole process holds, over both protocols and all event loops.
///
/// The limits of one connection say nothing about hundreds of them. One address gets half at most, so that it alone cannot keep
/// all others from uploading.
final class BodyBudget: Sendable {
    private let limit: Int
    private let held = Atomic<Int>(0)

    init(limit: Int) { self.limit = max(0, limit) }

    /// Bytes held now.
    var heldBytes: Int { held.load(ordering: .relaxed) }

    /// Whether more than half is taken; slow uploads then have to make room.
    var isTight: Bool { heldBytes > limit / 2 }

    /// Whether `count` bytes more would fit now.
    func hasRoom(for count: Int, of share: NetworkShare) -> Bool {
        count <= limit - heldBytes && count <= limit / 2 - share.heldBytes.load(ordering: .relaxed)
    }

    fileprivate func take(_ count: Int, of share: NetworkShare) -> Bool {
        let all = held.wrappingAdd(count, ordering: .relaxed).newValue
        let own = share.heldBytes.wrappingAdd(count, ordering: .relaxed).newValue
        if all <= limit && own <= limit / 2 { return true }
        give(count, of: share)
        return false
    }

    fileprivate func give(_ count: Int, of share: NetworkShare) {
        held.wrappingSubtract(count, ordering: .relaxed)
        share.heldBytes.wrappingSubtract(count, ordering: .relaxed)
    }
}

/// The part of the budget that one body takes; given back when the last who holds the body lets go of this.
final class HeldBody: Sendable {
    private let budget: BodyBudget
    private let share: NetworkShare
    private let bytes = Atomic<Int>(0)

    init(_ budget: BodyBudget, _ share: NetworkShare) {
        self.budget = budget
        self.share = share
    }

    deinit { budget.give(bytes.load(ordering: .relaxed), of: share) }

    /// Takes `count` bytes more; false, and without effect, when the budget has none.
    func grow(by count: Int) -> Bool {
        guard budget.take(count, of: share) else { return false }
        bytes.wrappingAdd(count, ordering: .relaxed)
        return true
    }
}

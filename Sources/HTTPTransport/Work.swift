import HTTPWire
import Synchronization

/// Requests in the hands of handlers, over all event loops.
///
/// One address has at most half of what the others leave: who comes next finds a place, and an answer other than 503.
final class Work: Sendable {
    private let limit: Int
    private let count = Atomic<Int>(0)

    init(limit: Int) { self.limit = max(1, limit) }

    /// Takes a place for a request until what is returned is released; nil where there is none.
    func place(for share: NetworkShare) -> WorkPlace? {
        let own = share.requestsInWork.load(ordering: .relaxed)
        let all = count.load(ordering: .relaxed)
        guard all < limit, own < max(1, FairShare.of(limit, all: all, own: own)) else { return nil }
        count.wrappingAdd(1, ordering: .relaxed)
        share.requestsInWork.wrappingAdd(1, ordering: .relaxed)
        return WorkPlace(self, share)
    }

    fileprivate func leave(_ share: NetworkShare) {
        count.wrappingSubtract(1, ordering: .relaxed)
        share.requestsInWork.wrappingSubtract(1, ordering: .relaxed)
    }
}

/// The place of one request; given back when it is answered, or nobody is left who could.
final class WorkPlace: Sendable {
    private let work: Work
    private let share: NetworkShare

    fileprivate init(_ work: Work, _ share: NetworkShare) {
        self.work = work
        self.share = share
    }

    deinit { work.leave(share) }
}

package import HTTPWire
import Synchronization

/// Totals of a server at one moment.
package struct CountersSnapshot: Sendable, Equatable {
    /// Connections accepted since the start, refused ones not included.
    package var connectionsAccepted = 0
    /// Connections open now.
    package var connectionsOpen = 0
    /// Requests handed to the handler since the start.
    package var requests = 0
    /// Requests in the hands of the handler now.
    package var requestsInWork = 0
    /// Bytes of request bodies held now.
    package var heldBodyBytes = 0
    /// Bytes received since the start.
    package var bytesReceived = 0
    /// Bytes sent since the start.
    package var bytesSent = 0
    /// How often each guard acted since the start; guards that never did are absent.
    package var guards: [Guard: Int] = [:]

    static func += (left: inout Self, right: Self) {
        left.connectionsAccepted += right.connectionsAccepted
        left.connectionsOpen += right.connectionsOpen
        left.requests += right.requests
        left.requestsInWork += right.requestsInWork
        left.heldBodyBytes += right.heldBodyBytes
        left.bytesReceived += right.bytesReceived
        left.bytesSent += right.bytesSent
        left.guards.merge(right.guards, uniquingKeysWith: +)
    }
}

/// The totals of one event loop: written by its thread, readable by all.
final class LoopCounters: Sendable {
    private let accepted = Atomic<Int>(0)
    private let open = Atomic<Int>(0)
    private let requests = Atomic<Int>(0)
    private let inWork = Atomic<Int>(0)
    private let received = Atomic<Int>(0)
    private let sent = Atomic<Int>(0)
    private let guards = Mutex([Int](repeating: 0, count: Guard.allCases.count))

    func connectionOpened() {
        accepted.wrappingAdd(1, ordering: .relaxed)
        open.wrappingAdd(1, ordering: .relaxed)
    }

    func connectionClosed() {
        open.wrappingSubtract(1, ordering: .relaxed)
    }

    func requestBegan() {
        requests.wrappingAdd(1, ordering: .relaxed)
        inWork.wrappingAdd(1, ordering: .relaxed)
    }

    func requestEnded() {
        inWork.wrappingSubtract(1, ordering: .relaxed)
    }

    func received(_ bytes: Int) {
        received.wrappingAdd(bytes, ordering: .relaxed)
    }

    func sent(_ bytes: Int) {
        sent.wrappingAdd(bytes, ordering: .relaxed)
    }

    func tripped(_ reason: Guard) {
        guards.withLock { $0[reason.index] += 1 }
    }

    var snapshot: CountersSnapshot {
        var snapshot = CountersSnapshot()
        snapshot.connectionsAccepted = accepted.load(ordering: .relaxed)
        snapshot.connectionsOpen = open.load(ordering: .relaxed)
        snapshot.requests = requests.load(ordering: .relaxed)
        snapshot.requestsInWork = inWork.load(ordering: .relaxed)
        snapshot.bytesReceived = received.load(ordering: .relaxed)
        snapshot.bytesSent = sent.load(ordering: .relaxed)
        let counts = guards.withLock { $0 }
        for (reason, count) in zip(Guard.allCases, counts) where count > 0 { snapshot.guards[reason] = count }
        return snapshot
    }
}

import API
import Foundation
import Synchronization

/// A bounded queue of work on a fixed number of threads, fair between clients.
///
/// Clients that wait take turns, each with one piece of work; the pieces of one client are done in their order. One client has at most
/// half of the places, so that none can fill the queue.
package final class WorkerPool: WorkQueue {
    private typealias Work = @Sendable () -> Void

    private struct State {
        /// What waits, by client; those that have nothing are not there.
        var waiting: [String: FirstInFirstOut<Work>] = [:]
        /// Clients with waiting work, the next to be served first; each stands there once.
        var turns = FirstInFirstOut<String>()
        var count = 0
        var isClosed = false
        var running = 0

        mutating func append(_ work: @escaping Work, for client: String) {
            if waiting[client] == nil { turns.append(client) }
            waiting[client, default: FirstInFirstOut()].append(work)
            count += 1
        }

        mutating func next() -> Work? {
            guard let client = turns.popFirst(), let work = waiting[client]?.popFirst() else { return nil }
            if waiting[client]?.isEmpty == false { turns.append(client) } else { waiting[client] = nil }
            count -= 1
            return work
        }
    }

    private let condition = NSCondition()
    private let state = Mutex(State())
    private let limit: Int
    /// Places of one client.
    private let share: Int
    private let threads: Int

    /// - Parameters:
    ///   - name: What its threads are called.
    ///   - threads: Number of threads.
    ///   - limit: Largest number of pieces of work that wait.
    package init(name: String = "worker", threads: Int, limit: Int) {
        self.limit = limit
        share = max(1, limit / 2)
        self.threads = threads
        for index in 0..<threads {
            let thread = Thread { [self] in work() }
            thread.name = "\(name)-\(index)"
            // Simulations keep their state on the heap; parsing recurses to the depth that its limit allows.
            thread.stackSize = 4 << 20
            thread.start()
        }
    }

    package func submit(_ work: @escaping @Sendable () -> Void) -> Bool { submit(for: "", work) }

    package func submit(for client: String, _ work: @escaping @Sendable () -> Void) -> Bool {
        let accepted = state.withLock { state -> Bool in
            guard !state.isClosed, state.count < limit, state.waiting[client]?.count ?? 0 < share else { return false }
            state.append(work, for: client)
            return true
        }
        if accepted {
            condition.lock()
            condition.signal()
            condition.unlock()
        }
        return accepted
    }

    package var waiting: Int { state.withLock { $0.count } }

    package var isBusy: Bool { state.withLock { $0.running + $0.count >= threads } }

    /// Nothing waits and nothing runs.
    package var isIdle: Bool { state.withLock { $0.running == 0 && $0.count == 0 } }

    /// Takes no more work, and returns once what was queued is done.
    package func close() {
        state.withLock { $0.isClosed = true }
        condition.lock()
        condition.broadcast()
        while state.withLock({ $0.running > 0 || $0.count > 0 }) { condition.wait() }
        condition.unlock()
    }

    private func next() -> (@Sendable () -> Void)? {
        state.withLock { state in
            let work = state.next()
            if work != nil { state.running += 1 }
            return work
        }
    }

    private func work() {
        while true {
            condition.lock()
            var piece = next()
            while piece == nil {
                if state.withLock({ $0.isClosed }) {
                    condition.unlock()
                    return
                }
                condition.wait()
                piece = next()
            }
            condition.unlock()
            piece?()
            // Released before the wait, so that what it holds does not outlive it.
            piece = nil
            condition.lock()
            state.withLock { $0.running -= 1 }
            condition.broadcast()
            condition.unlock()
        }
    }
}

/// A queue whose first element goes in constant time.
struct FirstInFirstOut<Element> {
    private var elements: [Element] = []
    private var head = 0

    var count: Int { elements.count - head }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func popFirst() -> Element? {
        guard head < elements.count else { return nil }
        let element = elements[head]
        head += 1
        // What was taken is released at the latest when as much again was.
        if head * 2 >= elements.count {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }
}

import API
import Foundation
import Synchronization

/// A bounded queue of work on a fixed number of threads.
package final class WorkerPool: WorkQueue {
    private struct State {
        var waiting: [@Sendable () -> Void] = []
        var head = 0
        var isClosed = false
        var running = 0
    }

    private let condition = NSCondition()
    private let state = Mutex(State())
    private let limit: Int
    private let threads: Int

    /// - Parameters:
    ///   - name: What its threads are called.
    ///   - threads: Number of threads.
    ///   - limit: Largest number of pieces of work that wait.
    package init(name: String = "worker", threads: Int, limit: Int) {
        self.limit = limit
        self.threads = threads
        for index in 0..<threads {
            let thread = Thread { [self] in work() }
            thread.name = "\(name)-\(index)"
            // Simulations keep their state on the heap; parsing recurses to the depth that its limit allows.
            thread.stackSize = 4 << 20
            thread.start()
        }
    }

    package func submit(_ work: @escaping @Sendable () -> Void) -> Bool {
        let accepted = state.withLock { state -> Bool in
            guard !state.isClosed, state.waiting.count - state.head < limit else { return false }
            state.waiting.append(work)
            return true
        }
        if accepted {
            condition.lock()
            condition.signal()
            condition.unlock()
        }
        return accepted
    }

    package var waiting: Int { state.withLock { $0.waiting.count - $0.head } }

    package var isBusy: Bool { state.withLock { $0.running + $0.waiting.count - $0.head >= threads } }

    /// Takes no more work, and returns once what was queued is done.
    package func close() {
        state.withLock { $0.isClosed = true }
        condition.lock()
        condition.broadcast()
        while state.withLock({ $0.running > 0 || $0.head < $0.waiting.count }) { condition.wait() }
        condition.unlock()
    }

    private func next() -> (@Sendable () -> Void)? {
        state.withLock { state in
            guard state.head < state.waiting.count else { return nil }
            let work = state.waiting[state.head]
            state.head += 1
            if state.head > 256 && state.head * 2 > state.waiting.count {
                state.waiting.removeFirst(state.head)
                state.head = 0
            }
            state.running += 1
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

import Dispatch
import Foundation
import Synchronization
internal import Verification

/// Runs parts on as many threads as there are processors.
package struct ConcurrentRunner: PartRunner {
    package init() {}

    package func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ transform: @escaping @Sendable (Element) -> Result
    ) -> [Result] {
        let results = Mutex([Result?](repeating: nil, count: elements.count))
        DispatchQueue.concurrentPerform(iterations: elements.count) { index in
            let result = transform(elements[index])
            results.withLock { $0[index] = result }
        }
        return results.withLock { $0.compactMap { $0 } }
    }
}

/// Runs parts on threads of its own, at most as many as there are processors, that give way to all others.
///
/// Parts that take minutes must not take the threads of those that take milliseconds.
package struct BackgroundRunner: PartRunner {
    /// Nice value of the threads (setpriority(2)): beside one of 0 they get a tenth of a processor.
    private static var niceness: Int32 { 10 }

    package init() {}

    package func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ transform: @escaping @Sendable (Element) -> Result
    ) -> [Result] {
        let shared = Shared<Result>(count: elements.count)
        let threads = min(elements.count, ProcessInfo.processInfo.activeProcessorCount)
        for _ in 0..<threads {
            let thread = Thread {
                // On Linux 0 is the calling thread alone.
                setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, BackgroundRunner.niceness)
                while let index = shared.next() { shared.keep(transform(elements[index]), at: index) }
                shared.done.signal()
            }
            thread.name = "nested"
            thread.stackSize = 4 << 20
            thread.start()
        }
        for _ in 0..<threads { shared.done.wait() }
        return shared.all
    }

    /// What the threads of one call have in common.
    private final class Shared<Result: Sendable>: Sendable {
        private let results: Mutex<[Result?]>
        private let taken = Atomic<Int>(0)
        private let count: Int
        let done = DispatchSemaphore(value: 0)

        init(count: Int) {
            self.count = count
            results = Mutex([Result?](repeating: nil, count: count))
        }

        /// The next element that nobody has; nil once all are taken.
        func next() -> Int? {
            let index = taken.wrappingAdd(1, ordering: .relaxed).oldValue
            return index < count ? index : nil
        }

        func keep(_ result: Result, at index: Int) { results.withLock { $0[index] = result } }

        var all: [Result] { results.withLock { $0.compactMap { $0 } } }
    }
}

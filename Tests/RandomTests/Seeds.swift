import Dispatch
import Glibc
import Synchronization
import Testing
import Verification

/// How many seeds a test tries: few by default, `GATEHOUSE_SEEDS` where it is set, from `GATEHOUSE_FIRST_SEED` on.
enum Seeds {
    static func range(_ standard: UInt64) -> Range<UInt64> {
        let first = number("GATEHOUSE_FIRST_SEED") ?? 0
        return first..<first + (number("GATEHOUSE_SEEDS") ?? standard)
    }

    private static func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

    private static let isLong = getenv("GATEHOUSE_SEEDS") != nil

    /// Where many seeds are tried, those that take long are named.
    static func timed<Value>(_ what: String, _ seed: UInt64, _ body: () throws -> Value) rethrows -> Value {
        let clock = ContinuousClock()
        let start = clock.now
        defer {
            let time = clock.now - start
            if isLong, time > .seconds(4) { print("slow: \(what), seed \(seed): \(time)") }
        }
        return try body()
    }
}

/// Runs parts on two threads, the last part first.
struct BackwardRunner: PartRunner {
    func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ transform: @escaping @Sendable (Element) -> Result
    ) -> [Result] {
        let results = Mutex([Result?](repeating: nil, count: elements.count))
        DispatchQueue.concurrentPerform(iterations: elements.count) { turn in
            let index = elements.count - 1 - turn
            let result = transform(elements[index])
            results.withLock { $0[index] = result }
        }
        return results.withLock { $0.compactMap { $0 } }
    }
}

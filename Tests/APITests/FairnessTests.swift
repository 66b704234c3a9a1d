import Foundation
import Service
import Synchronization
import Testing

@testable import API

/// Nobody waits for all that somebody else has sent.
@Suite struct FairnessTests {
    /// A pool of one thread that is held until `release`, and the order in which work was done.
    private final class Held: Sendable {
        let pool: WorkerPool
        private let gate = DispatchSemaphore(value: 0)
        private let order = Mutex<[String]>([])

        init(limit: Int) {
            pool = WorkerPool(threads: 1, limit: limit)
            let entered = DispatchSemaphore(value: 0)
            _ = pool.submit { [gate] in
                entered.signal()
                gate.wait()
            }
            entered.wait()
        }

        func submit(_ client: String, _ name: String) -> Bool {
            pool.submit(for: client) { [self] in order.withLock { $0.append(name) } }
        }

        func release() -> [String] {
            gate.signal()
            pool.close()
            return order.withLock { $0 }
        }
    }

    @Test func clientsTakeTurnsAndKeepTheirOrder() {
        let held = Held(limit: 100)
        for number in 1...5 { #expect(held.submit("a", "a\(number)")) }
        for number in 1...2 { #expect(held.submit("b", "b\(number)")) }
        #expect(held.submit("c", "c1"))
        #expect(held.pool.waiting == 8)
        #expect(held.release() == ["a1", "b1", "c1", "a2", "b2", "a3", "a4", "a5"])
        #expect(held.pool.waiting == 0)
    }

    @Test func oneClientHasHalfOfThePlaces() {
        let held = Held(limit: 6)
        #expect((1...5).map { held.submit("a", "a\($0)") } == [true, true, true, false, false])
        #expect((1...2).map { held.submit("b", "b\($0)") } == [true, true])
        #expect(held.submit("c", "c1"))
        #expect(!held.submit("d", "d1"), "the whole queue is bounded as before")
        #expect(held.release() == ["a1", "b1", "c1", "a2", "b2", "a3"])
    }

    @Test func aQueueOfOnePlaceHasOne() {
        let held = Held(limit: 1)
        #expect(held.submit("a", "a1"))
        #expect(!held.submit("b", "b1"))
        #expect(held.release() == ["a1"])
    }

    @Test func manyPiecesKeepTheirOrder() {
        let held = Held(limit: 4000)
        for number in 0..<1000 { #expect(held.submit("a", "\(number)")) }
        #expect(held.release() == (0..<1000).map(String.init))
    }
}

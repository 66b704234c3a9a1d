import Glibc
import Synchronization

/// A client that minds its own business: one request after another, on a thread of its own, with the time of each.
package final class Bystander: Sendable {
    /// What it saw.
    package struct Result: Sendable {
        package var milliseconds: [Double] = []
        /// Answers other than 200, and connections that ended.
        package var failures = 0

        /// The time that this share of the requests did not exceed.
        package func quantile(_ share: Double) -> Double {
            guard !milliseconds.isEmpty else { return .infinity }
            let sorted = milliseconds.sorted()
            return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
        }
    }

    private let result = Mutex(Result())
    private let isStopping = Atomic<Bool>(false)
    private let isDone = Atomic<Bool>(false)
    private let port: UInt16
    private let path: String
    private let pause_microseconds: UInt32

    /// Begins at once to ask for `path`.
    package init(port: UInt16, path: String = "/", pause_microseconds: UInt32 = 1000) {
        self.port = port
        self.path = path
        self.pause_microseconds = pause_microseconds
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Bystander>.fromOpaque(argument).takeRetainedValue().work()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        pthread_detach(thread)
    }

    private func work() {
        let request = Array("GET \(path) HTTP/1.1\r\nHost: bystander\r\n\r\n".utf8)
        var client = SocketClient(port: port)
        while !isStopping.load(ordering: .relaxed) {
            let start = ContinuousClock.now
            let isGood = client.map { $0.send(request) && $0.waitForAnswer() } ?? false
            let time = ContinuousClock.now - start
            let milliseconds = Double(time.components.attoseconds) / 1e15 + Double(time.components.seconds) * 1000
            result.withLock { result in
                result.milliseconds.append(milliseconds)
                if !isGood { result.failures += 1 }
            }
            if !isGood { client = SocketClient(port: port) }
            usleep(pause_microseconds)
        }
        isDone.store(true, ordering: .releasing)
    }

    /// Waits until it has got an answer, and so a connection that it keeps.
    package func waitUntilServed() {
        for _ in 0..<2000 where result.withLock({ $0.milliseconds.count == $0.failures }) { usleep(1000) }
    }

    /// Stops and says what was seen; waits on the caller's thread.
    package func stop() -> Result {
        // At least some requests, however short the time was.
        for _ in 0..<2000 where result.withLock({ $0.milliseconds.count < 5 }) { usleep(1000) }
        isStopping.store(true, ordering: .relaxed)
        while !isDone.load(ordering: .acquiring) { usleep(500) }
        return result.withLock { $0 }
    }
}

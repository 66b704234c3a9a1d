import Dispatch
import GRDB
import Synchronization

/// A fixed set of connections that read, lent one at a time.
final class ReaderPool: Sendable {
    private let idle: Mutex<[DatabaseQueue]>
    private let isClosed = Mutex(false)
    private let available: DispatchSemaphore
    private let count: Int
    private let waitMilliseconds: Int

    init(connections: [DatabaseQueue], waitMilliseconds: Int) {
        self.idle = Mutex(connections)
        self.count = connections.count
        self.available = DispatchSemaphore(value: connections.count)
        self.waitMilliseconds = waitMilliseconds
    }

    /// Runs a body in one read transaction; it must be short, as an old snapshot keeps the log from shrinking.
    ///
    /// Throws `busy` when no connection came free in time, `closed` after `close`.
    func read<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        guard available.wait(timeout: .now() + .milliseconds(waitMilliseconds)) == .success else {
            throw StoreError(.busy, "all readers are at work; try again")
        }
        defer { available.signal() }
        guard !isClosed.withLock({ $0 }), let connection = idle.withLock({ $0.popLast() }) else {
            throw StoreError(.closed, "the store is closed")
        }
        defer { idle.withLock { $0.append(connection) } }
        return try StoreError.translating { try connection.read(body) }
    }

    /// Waits for the readers at work and closes every connection.
    func close() throws(StoreError) {
        guard
            !isClosed.withLock({ closed in
                defer { closed = true }; return closed
            })
        else { return }
        for _ in 0..<count { available.wait() }
        defer { for _ in 0..<count { available.signal() } }
        let connections = idle.withLock { all in
            defer { all = [] }; return all
        }
        try StoreError.translating { for connection in connections { try connection.close() } }
    }
}

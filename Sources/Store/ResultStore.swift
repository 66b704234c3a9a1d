import Foundation
import GRDB
import Synchronization

/// Where configurations, simulations and their reports are kept: one SQLite file.
///
/// Safe from any thread. Reads block the caller for a short query; writes are handed over with `submit`, or with
/// `perform` where blocking is fine. Nothing here may be called from the completion of a write.
/// To be closed before it is dropped: writes still waiting then would outlive the lock on the file.
package final class ResultStore: Sendable {
    /// Where the database is.
    package enum Location: Sendable, Equatable {
        /// A file, made when missing, and `-wal`, `-shm`, `.lock` next to it.
        case file(String)
        /// Memory, gone with the store: for tests.
        case memory
    }

    /// What was found and done while opening.
    package struct Opening: Sendable, Equatable {
        /// The outcome of the check of the file.
        package enum Check: Sendable, Equatable {
            case passed
            /// The time ran out before the check did; run `check` at leisure.
            case unfinished
        }
        package let check: Check
        /// The schema version the file had; nil for a new one.
        package let versionBefore: Int?
        package let version: Int
        /// The copy made before migrating, if there was something to copy.
        package let backup: String?
        /// Simulations a crash had left unfinished, `failed` now with `interrupted`.
        package let interruptedSimulations: Int
    }

    package let limits: Limits
    package let opening: Opening
    let writer: DatabaseQueue
    let queue: WriteQueue
    let path: String?
    private let readers: ReaderPool?
    private let lock: Mutex<FileLock?>
    private let isClosed = Mutex(false)

    /// Opens a database, migrates it, and ends what a crash left unfinished.
    ///
    /// Throws `in-use`, `cannot-open`, `not-a-database`, `corrupt`, `foreign-database`, `newer-database`, `migration-changed`,
    /// `migration-failed`, `disk-full`; the file is unchanged then, or at an earlier schema version with a backup
    /// next to it.
    package static func open(
        _ location: Location, now: Timestamp, limits: Limits = Limits()
    ) throws(StoreError) -> ResultStore {
        try ResultStore(location, now: now, limits: limits, migrations: try Migration.embedded())
    }

    init(_ location: Location, now: Timestamp, limits: Limits, migrations: [Migration]) throws(StoreError) {
        let path: String? = if case .file(let path) = location { path } else { nil }
        self.path = path
        self.limits = limits
        let lock = try path.map { (path) throws(StoreError) in try FileLock(path: path + ".lock") }
        self.lock = Mutex(lock)
        let writer = try StoreError.translating { try Connections.writer(path: path, limits: limits) }
        self.writer = writer
        let migrator = Migrator(migrations: migrations, now: now)
        self.opening = try StoreError.translating {
            try Self.prepare(writer, path: path, migrator: migrator, limits: limits)
        }
        self.readers = try StoreError.translating {
            try path.map { path in
                ReaderPool(
                    connections: try (0..<max(1, limits.readers)).map {
                        try Connections.reader(path: path, number: $0)
                    },
                    waitMilliseconds: limits.readerWaitMilliseconds)
            }
        }
        let keeper = LogKeeper(path: path, limits: limits)
        self.queue = WriteQueue(connection: writer, limits: limits) { db in keeper.shortenIfLong(db) }
    }

    /// Hands a write to the writer without blocking: fit for an event loop.
    ///
    /// The completion is called once, on the writer's thread, after the commit has reached the disk or the write has
    /// failed; it must be quick. Throws `busy` when the queue is full, `closed`; the completion is not called then.
    package func submit<Value>(
        _ write: Write<Value>, completion: @escaping @Sendable (Result<Value, StoreError>) -> Void
    ) throws(StoreError) {
        try queue.submit(write, completion: completion)
    }

    /// Does a write and waits until it is on disk. Throws what the write fails with, `busy`, `closed`.
    @discardableResult
    package func perform<Value>(_ write: Write<Value>) throws(StoreError) -> Value {
        let done = DispatchSemaphore(value: 0)
        let answer = Answer<Value>()
        try queue.submit(write) { result in
            answer.value.withLock { $0 = result }
            done.signal()
        }
        done.wait()
        guard let result = answer.value.withLock({ $0 }) else {
            throw StoreError(.internal, "a write ended without an answer")
        }
        return try result.get()
    }

    /// Writes that wait for the writer and their bytes, for metrics.
    package var queuedWrites: (writes: Int, bytes: Int) { queue.load }

    /// Commits what waits, waits for readers, checkpoints and closes; a second call does nothing.
    ///
    /// Whatever is called later throws `closed`. Where closing itself throws, the lock goes with the store.
    package func close() throws(StoreError) {
        guard
            !isClosed.withLock({ closed in
                defer { closed = true }; return closed
            })
        else { return }
        queue.close()
        try readers?.close()
        try StoreError.translating {
            try writer.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA analysis_limit = 400")
                try db.execute(sql: "PRAGMA optimize")
                if path != nil { try db.checkpoint(.truncate) }
            }
            try writer.close()
        }
        lock.withLock { $0 = nil }
    }

    /// Runs a body in one short read transaction.
    func read<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        if let readers { return try readers.read(body) }
        guard !isClosed.withLock({ $0 }) else { throw StoreError(.closed, "the store is closed") }
        return try StoreError.translating { try writer.read(body) }
    }

    var isShut: Bool { isClosed.withLock { $0 } }
}

/// The place where a blocking write finds its answer.
private final class Answer<Value: Sendable>: Sendable {
    let value = Mutex<Result<Value, StoreError>?>(nil)
}

extension ResultStore {
    private static func prepare(
        _ writer: DatabaseQueue, path: String?, migrator: Migrator, limits: Limits
    ) throws -> Opening {
        let identity = try writer.writeWithoutTransaction { db in try migrator.identify(db) }
        var check = Opening.Check.passed
        var versionBefore: Int?
        var backup: String?
        if case .ours(let version) = identity {
            versionBefore = version
            check = try startCheck(writer, milliseconds: limits.startCheckMilliseconds)
            try writer.writeWithoutTransaction { db in try migrator.compareChecksums(db, version: version) }
        }
        try writer.writeWithoutTransaction { db in try Connections.enterWriteAheadLog(db, inMemory: path == nil) }
        let target = migrator.migrations.count
        if let path, let version = versionBefore, version < target {
            backup = try copyBeforeMigration(path: path, version: version)
        }
        let interrupted = try writer.writeWithoutTransaction { db in
            if versionBefore != target { try migrator.apply(db, from: versionBefore ?? 0) }
            return try endUnfinished(db, now: migrator.now)
        }
        return Opening(
            check: check, versionBefore: versionBefore, version: target, backup: backup,
            interruptedSimulations: interrupted)
    }

    /// Nobody works any more on what was queued, running or claimed when the process ended.
    private static func endUnfinished(_ db: Database, now: Timestamp) throws -> Int {
        var count = 0
        try db.inTransaction(.immediate) {
            try db.execute(
                sql: """
                    UPDATE simulations SET state = 'failed', failure = 'interrupted', finished_at = ?
                    WHERE state IN ('queued', 'running')
                    """,
                arguments: [now.milliseconds])
            count = db.changesCount
            try db.execute(sql: "DELETE FROM idempotency_keys WHERE status IS NULL")
            return .commit
        }
        return count
    }
}

import Dispatch
import GRDB
import Synchronization

/// Gathers writes and commits many at once.
///
/// Whatever arrives while a commit waits for the disk shares the next one: no timer, no delay for a lone write. Each write
/// stands behind a savepoint, so that one that fails leaves its neighbours alone; each is answered after the
/// commit, so that an acknowledged write is on disk.
final class WriteQueue: Sendable {
    /// One waiting write, its type erased.
    struct Job: Sendable {
        let byteCount: Int
        /// Does the work; what it returns answers the caller, after the commit.
        let run: @Sendable (Database) throws -> @Sendable () -> Void
        let fail: @Sendable (StoreError) -> Void
    }

    private struct State {
        var waiting: [Job] = []
        var byteCount = 0
        var isScheduled = false
        var isClosed = false
    }

    private let state = Mutex(State())
    private let connection: DatabaseQueue
    private let limits: Limits
    private let afterGroup: @Sendable (Database) -> Void

    /// - Parameter afterGroup: runs on the writer after a group was answered: the time for checkpoints.
    init(connection: DatabaseQueue, limits: Limits, afterGroup: @escaping @Sendable (Database) -> Void) {
        self.connection = connection
        self.limits = limits
        self.afterGroup = afterGroup
    }

    /// Puts a write into the queue without waiting for anything but a short lock.
    ///
    /// Throws `busy` when the queue is full and `closed` after `close`; the completion is not called then. Otherwise it
    /// is called once, on the writer's thread: it must be quick and must not call into the store.
    func submit<Value>(
        _ write: Write<Value>, completion: @escaping @Sendable (Result<Value, StoreError>) -> Void
    ) throws(StoreError) {
        let job = Job(
            byteCount: write.byteCount,
            run: { db in
                let value = try write.body(db)
                return { completion(.success(value)) }
            },
            fail: { completion(.failure($0)) })
        let (refusal, mustSchedule) = state.withLock { state -> (StoreError?, Bool) in
            if state.isClosed { return (StoreError(.closed, "the store is closed"), false) }
            // A single write above the byte limit passes through an empty queue; its own limits bounded it.
            let isFull =
                state.waiting.count >= limits.queuedWrites
                || !state.waiting.isEmpty && state.byteCount + job.byteCount > limits.queuedBytes
            if isFull { return (StoreError(.busy, "too many writes are waiting; try again"), false) }
            state.waiting.append(job)
            state.byteCount += job.byteCount
            defer { state.isScheduled = true }
            return (nil, !state.isScheduled)
        }
        if let refusal { throw refusal }
        if mustSchedule { schedule() }
    }

    /// The writes that wait and their bytes.
    var load: (writes: Int, bytes: Int) { state.withLock { ($0.waiting.count, $0.byteCount) } }

    /// Refuses new writes, commits and answers those that wait.
    func close() {
        state.withLock { $0.isClosed = true }
        connection.writeWithoutTransaction { db in
            while let group = nextGroup() { commit(group, db) }
        }
    }

    // One group per turn, so that whoever else waits for the connection gets it between two groups.
    private func schedule() {
        connection.asyncWriteWithoutTransaction { [self] db in
            guard let group = nextGroup() else { return }
            commit(group, db)
            afterGroup(db)
            schedule()
        }
    }

    private func nextGroup() -> [Job]? {
        state.withLock { state in
            guard !state.waiting.isEmpty else {
                state.isScheduled = false
                return nil
            }
            let group = Array(state.waiting.prefix(max(1, limits.groupedWrites)))
            state.waiting.removeFirst(group.count)
            for job in group { state.byteCount -= job.byteCount }
            return group
        }
    }

    private func commit(_ group: [Job], _ db: Database) {
        guard group.count > 1 else {
            for job in group { commitAlone(job, db) }
            return
        }
        do {
            for answer in try run(group, db) { answer() }
        } catch {
            abandon(db)
            let error = StoreError(error)
            // After a failed sync nobody knows what reached the disk, and a second try could report success wrongly.
            // Anything else (a full disk that cost the whole transaction) may concern one write only.
            if error.code == .inputOutput {
                for job in group { job.fail(error) }
            } else {
                for job in group { commitAlone(job, db) }
            }
        }
    }

    /// One transaction for all; throws when the transaction as a whole is lost.
    private func run(_ group: [Job], _ db: Database) throws -> [@Sendable () -> Void] {
        var answers: [@Sendable () -> Void] = []
        try db.beginTransaction(.immediate)
        for job in group {
            try db.cachedStatement(sql: "SAVEPOINT request").execute()
            do {
                answers.append(try job.run(db))
            } catch {
                // SQLite itself rolls everything back after some failures; the neighbours are lost with it.
                guard db.isInsideTransaction else { throw error }
                try db.cachedStatement(sql: "ROLLBACK TO request").execute()
                let failure = StoreError(error)
                answers.append { job.fail(failure) }
            }
            try db.cachedStatement(sql: "RELEASE request").execute()
        }
        try db.commit()
        return answers
    }

    private func commitAlone(_ job: Job, _ db: Database) {
        do {
            try db.beginTransaction(.immediate)
            let answer = try job.run(db)
            try db.commit()
            answer()
        } catch {
            abandon(db)
            job.fail(StoreError(error))
        }
    }

    /// Leaves any transaction. A rollback that fails has nothing to tell: SQLite ends the transaction all the same.
    private func abandon(_ db: Database) {
        if db.isInsideTransaction { try? db.rollback() }
    }
}

import Foundation
import GRDB
import Synchronization

extension ResultStore {
    /// Bytes of the write-ahead log on disk; 0 in memory.
    package var writeAheadLogBytes: Int { path.map { LogKeeper.logBytes(path: $0) } ?? 0 }

    /// Copies the log into the database file and empties it; answers whether no reader stood in the way.
    ///
    /// Waits for readers up to `Limits.checkpointWaitMilliseconds`, and writes wait meanwhile.
    @discardableResult
    package func truncateWriteAheadLog() throws(StoreError) -> Bool {
        guard !isShut else { throw StoreError(.closed, "the store is closed") }
        return try StoreError.translating {
            try writer.writeWithoutTransaction { db in
                try LogKeeper.truncate(db, waitMilliseconds: limits.checkpointWaitMilliseconds)
            }
        }
    }

    /// Writes a consistent copy to a path where no file is; readers and writers go on.
    ///
    /// Throws `invalid-value` where a file is there already or the store is in memory, `disk-full`, `input-output`.
    package func backup(to target: String) throws(StoreError) {
        guard let path else { throw StoreError(.invalidValue, "a store in memory has no backup") }
        guard !isShut else { throw StoreError(.closed, "the store is closed") }
        try StoreError.translating { try Self.copy(path: path, to: target) }
    }

    /// Looks through the whole file for damage and broken references; answers what it found, empty when sound.
    ///
    /// Takes seconds on a large file: for the command line and for copies. At most 100 findings.
    package func check() throws(StoreError) -> [String] {
        guard !isShut else { throw StoreError(.closed, "the store is closed") }
        return try StoreError.translating {
            guard let path else { return try writer.unsafeRead(Self.findings) }
            // A connection of its own: this may take long, and the readers have other work.
            let connection = try Connections.reader(path: path, number: limits.readers)
            let findings = try connection.unsafeRead(Self.findings)
            try connection.close()
            return findings
        }
    }

    // Outside a transaction: ending one fails in GRDB after the check has stumbled.
    private static func findings(_ db: Database) throws -> [String] {
        var findings: [String] = []
        do {
            let rows = try String.fetchCursor(db, sql: "PRAGMA integrity_check(100)")
            while let finding = try rows.next() { if finding != "ok" { findings.append(finding) } }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT {
            findings.append("the check could not go on: the file is damaged")
        }
        // References cannot be followed through a damaged file.
        guard findings.isEmpty else { return findings }
        let dangling = try Row.fetchAll(
            db, sql: "SELECT \"table\" AS child, parent FROM pragma_foreign_key_check LIMIT 100")
        return try dangling.map { "a row of \(try $0[text: "child"]) refers to nothing in \(try $0[text: "parent"])" }
    }

    /// Checks the file at start; damage throws `corrupt`.
    static func startCheck(_ writer: DatabaseQueue, milliseconds: Int) throws -> Opening.Check {
        guard milliseconds > 0 else { return .unfinished }
        // Held while interrupting, so that no later statement is hit.
        let isRunning = SharedFlag(true)
        let alarm = DispatchWorkItem {
            isRunning.value.withLock { if $0 { writer.interrupt() } }
        }
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(milliseconds), execute: alarm)
        defer {
            isRunning.value.withLock { $0 = false }
            alarm.cancel()
        }
        do {
            let findings = try writer.writeWithoutTransaction { db in
                try String.fetchAll(db, sql: "PRAGMA quick_check(10)")
            }
            guard findings == ["ok"] else {
                throw StoreError(.corrupt, "the database file is damaged; restore a backup")
            }
            return .passed
        } catch let error as DatabaseError where error.resultCode == .SQLITE_INTERRUPT {
            return .unfinished
        }
    }

    /// Copies the file next to itself under a name that says which version it holds; answers the path.
    static func copyBeforeMigration(path: String, version: Int) throws -> String {
        for number in 1...100 {
            let target = path + ".version-\(version)" + (number == 1 ? "" : "-\(number)") + ".backup"
            guard !FileManager.default.fileExists(atPath: target) else { continue }
            try copy(path: path, to: target)
            return target
        }
        throw StoreError(.cannotOpen, "100 backups of version \(version) lie next to the database; move them away")
    }

    private static func copy(path: String, to target: String) throws {
        guard !FileManager.default.fileExists(atPath: target) else {
            throw StoreError(.invalidValue, "a file is there already; choose another path for the copy")
        }
        let copier = try Connections.copier(path: path)
        try copier.writeWithoutTransaction { db in try db.execute(sql: "VACUUM INTO ?", arguments: [target]) }
        try copier.close()
        try synchronize(target)
    }

    /// Waits until a file and its name are on disk: a backup is worth nothing before.
    private static func synchronize(_ path: String) throws {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        for item in [path, folder] {
            let descriptor = Foundation.open(item, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw StoreError(.inputOutput, "the copy cannot be opened again") }
            defer { _ = Foundation.close(descriptor) }
            guard fsync(descriptor) == 0 else { throw StoreError(.inputOutput, "the copy did not reach the disk") }
        }
    }
}

private final class SharedFlag: Sendable {
    let value: Mutex<Bool>
    init(_ value: Bool) { self.value = Mutex(value) }
}

/// Keeps the write-ahead log from growing without end.
///
/// SQLite's own checkpoint after a commit never waits, and cannot start the log anew while some reader looks at it.
final class LogKeeper: Sendable {
    private let path: String?
    private let limits: Limits
    /// The size at which to try next: after a vain attempt, only when the log has grown by another quarter.
    private let threshold: Mutex<Int>

    init(path: String?, limits: Limits) {
        self.path = path
        self.limits = limits
        self.threshold = Mutex(limits.writeAheadLogBytes)
    }

    /// Forces a truncating checkpoint when the log is above its limit. On the writer, outside a transaction.
    func shortenIfLong(_ db: Database) {
        guard let path else { return }
        let size = Self.logBytes(path: path)
        guard size > threshold.withLock({ $0 }) else { return }
        // A failure is not lost: what is wrong with the file shows in the next commit, and the log keeps everything.
        let isEmpty = (try? Self.truncate(db, waitMilliseconds: limits.checkpointWaitMilliseconds)) ?? false
        threshold.withLock { $0 = isEmpty ? limits.writeAheadLogBytes : size + limits.writeAheadLogBytes / 4 }
    }

    /// A truncating checkpoint; false when a reader kept it from finishing.
    static func truncate(_ db: Database, waitMilliseconds: Int) throws -> Bool {
        try db.execute(sql: "PRAGMA busy_timeout = \(waitMilliseconds)")
        defer { try? db.execute(sql: "PRAGMA busy_timeout = 5000") }
        do {
            try db.checkpoint(.truncate)
            return true
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
            return false
        }
    }

    /// Bytes of the log of a database file; 0 where there is none.
    static func logBytes(path: String) -> Int {
        var information = stat()
        return stat(path + "-wal", &information) == 0 ? Int(information.st_size) : 0
    }
}

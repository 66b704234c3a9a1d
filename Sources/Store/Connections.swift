import Foundation
import GRDB

/// How the store's connections are opened.
///
/// Exactly one connection writes and checkpoints. SQLite before 3.51.3 can damage a database in WAL mode when two
/// connections write or checkpoint in the same instant, and Debian 12 ships 3.40.1.
/// GRDB's `DatabasePool` would keep to that too (its readers are read-only), but after our own settings ran it sets
/// `synchronous` to NORMAL while entering WAL (`Database.setUpWALMode`, 7.10.0), which loses acknowledged commits with
/// the power; and it opens readers with the settings of the writer. Writer and readers are `DatabaseQueue`s
/// instead, each a connection confined to a serial queue.
///
/// GRDB itself turns on foreign keys and extended result codes, and turns off double-quoted strings. Defensive mode
/// is not set: `sqlite3_db_config` is variadic, out of reach of Swift, and guards against hostile SQL only; all SQL
/// here is our own.
enum Connections {
    /// The one connection that writes; the journal mode is set later, see `enterWriteAheadLog`.
    static func writer(path: String?, limits: Limits) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.label = "gatehouse.store.writer"
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            try prepare(db)
            try db.execute(sql: "PRAGMA synchronous = FULL")
            // In pages, 16 MB; SQLite's own 1000 are some ten simulations of 1000 scenarios.
            try db.execute(sql: "PRAGMA wal_autocheckpoint = 4000")
            try db.execute(sql: "PRAGMA journal_size_limit = \(limits.writeAheadLogBytes)")
            if let pages = limits.databasePages { try db.execute(sql: "PRAGMA max_page_count = \(pages)") }
        }
        guard let path else { return try DatabaseQueue(configuration: configuration) }
        return try DatabaseQueue(path: path, configuration: configuration)
    }

    /// A connection that only reads, and never checkpoints.
    static func reader(path: String, number: Int) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.label = "gatehouse.store.reader.\(number)"
        configuration.readonly = true
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            try prepare(db)
            try db.execute(sql: "PRAGMA query_only = ON")
            try db.execute(sql: "PRAGMA wal_autocheckpoint = 0")
        }
        return try DatabaseQueue(path: path, configuration: configuration)
    }

    /// A connection that copies the file: read-only, but with writes allowed to the copy VACUUM attaches.
    static func copier(path: String) throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.label = "gatehouse.store.copier"
        configuration.readonly = true
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            try prepare(db)
            try db.execute(sql: "PRAGMA wal_autocheckpoint = 0")
        }
        return try DatabaseQueue(path: path, configuration: configuration)
    }

    /// Switches the file to write-ahead logging and checks that it took.
    ///
    /// Copies made by VACUUM INTO are in rollback mode, so this is done at every start.
    static func enterWriteAheadLog(_ db: Database, inMemory: Bool) throws {
        let answer = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL") ?? ""
        guard answer == (inMemory ? "memory" : "wal") else {
            throw StoreError(.cannotOpen, "the file system does not allow write-ahead logging (journal mode \(answer))")
        }
    }

    private static func prepare(_ db: Database) throws {
        try db.execute(sql: "PRAGMA mmap_size = 0")
        try db.execute(sql: "PRAGMA trusted_schema = OFF")
        try db.execute(sql: "PRAGMA cell_size_check = ON")
        try db.execute(sql: "PRAGMA temp_store = MEMORY")
    }
}

/// The right to be the only program that has the database open for writing.
///
/// An advisory lock on a file of its own: closing any descriptor of the database file itself would drop the locks
/// SQLite holds on it (POSIX). The kernel releases it when the process ends, however it ends.
final class FileLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock or throws `in-use` or `cannot-open`.
    init(path: String) throws(StoreError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw StoreError(.cannotOpen, "the lock file next to the database cannot be opened; check folder and mode")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            _ = Foundation.close(descriptor)
            throw StoreError(.inUse, "another process has this database open; stop it or go through it")
        }
        self.descriptor = descriptor
    }

    deinit { _ = Foundation.close(descriptor) }
}

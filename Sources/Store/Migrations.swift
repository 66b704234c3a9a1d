import GRDB

/// One numbered SQL file.
struct Migration: Sendable {
    let version: Int
    let name: String
    let sql: String

    var digest: Digest { Digest(of: sql.utf8) }

    /// The files built into the program, in order.
    static func embedded() throws(StoreError) -> [Migration] {
        var all: [Migration] = []
        for file in EmbeddedFiles.all {
            let name = file.path.description
            guard name.hasSuffix(".sql"), let version = Int(name.prefix { $0.isNumber }) else { continue }
            all.append(Migration(version: version, name: name, sql: file.text.description))
        }
        all.sort { $0.version < $1.version }
        guard !all.isEmpty, all.map(\.version) == Array(1...all.count) else {
            throw StoreError(.internal, "the migrations built in are not numbered 1, 2, 3, …")
        }
        return all
    }
}

/// Brings a database to the newest schema, or refuses it untouched.
struct Migrator {
    /// Marks a file as ours (PRAGMA application_id): "GATE".
    static let applicationID: Int32 = 0x4741_5445

    let migrations: [Migration]
    let now: Timestamp

    /// What the file is.
    enum Identity: Equatable {
        case empty
        case ours(version: Int)
    }

    /// Reads who made the file, and throws `foreign-database` or `newer-database` where it is not for us.
    func identify(_ db: Database) throws -> Identity {
        let application = try Int32.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        let objects = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") ?? 0
        if application == 0 && version == 0 && objects == 0 { return .empty }
        guard application == Self.applicationID else {
            throw StoreError(.foreignDatabase, "the file is a database of another program; choose another file")
        }
        guard version <= migrations.count else {
            throw StoreError(
                .newerDatabase,
                "the database has schema version \(version), this program knows \(migrations.count); use the newer program"
            )
        }
        return .ours(version: version)
    }

    /// Throws `migration-changed` unless the files applied to this database are those of this program.
    func compareChecksums(_ db: Database, version: Int) throws {
        let rows = try Row.fetchAll(db, sql: "SELECT version, sha256 FROM schema_migrations ORDER BY version")
        let applied = try rows.map { row in (try row[count: "version"], Digest(bytes: try row[bytes: "sha256"])) }
        guard applied.map(\.0) == Array(1..<(version + 1)) else {
            throw StoreError(.corrupt, "schema version \(version) and the list of applied migrations disagree")
        }
        for (migration, record) in zip(migrations, applied) where record.1 != migration.digest {
            throw StoreError(
                .migrationChanged,
                "\(migration.name) is not the file that was applied to this database; use the program that made it")
        }
    }

    /// Applies what is missing, each file in a transaction of its own.
    func apply(_ db: Database, from version: Int) throws {
        // Off while tables may be rebuilt; the check before each commit takes its place. The setting cannot change inside a
        // transaction.
        try db.execute(sql: "PRAGMA foreign_keys = OFF")
        for migration in migrations where migration.version > version {
            do {
                try db.inTransaction(.immediate) {
                    try db.execute(sql: migration.sql)
                    try db.execute(
                        sql: "INSERT INTO schema_migrations (version, name, sha256, applied_at) VALUES (?, ?, ?, ?)",
                        arguments: [
                            migration.version, migration.name, migration.digest.data, now.milliseconds,
                        ])
                    try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)")
                    try db.execute(sql: "PRAGMA user_version = \(migration.version)")
                    guard try Row.fetchOne(db, sql: "PRAGMA foreign_key_check") == nil else {
                        throw StoreError(.migrationFailed, "\(migration.name) leaves references to nothing")
                    }
                    return .commit
                }
            } catch let error as DatabaseError where error.resultCode == .SQLITE_ERROR {
                throw StoreError(
                    .migrationFailed, "\(migration.name): \(error.message ?? "SQL error")",
                    resultCode: error.extendedResultCode.rawValue)
            }
        }
        try db.execute(sql: "PRAGMA foreign_keys = ON")
    }
}

import Foundation
import GRDB
import Testing

@testable import Store

@Suite struct MigrationTests {
    private let first: Migration
    private let second = Migration(
        version: 2, name: "0002_notes.sql",
        sql: "CREATE TABLE notes (id INTEGER PRIMARY KEY, configuration INTEGER REFERENCES configurations) STRICT;")

    init() throws { first = try #require(try Migration.embedded().first) }

    private func open(_ folder: Folder, _ migrations: [Migration]) throws -> ResultStore {
        try ResultStore(.file(folder.database), now: epoch, limits: Limits(), migrations: migrations)
    }

    /// A closed database at version 1 with one configuration.
    private func oldDatabase() throws -> Folder {
        let folder = try Folder()
        let store = try open(folder, [first])
        try store.perform(.insertConfiguration(table(1)))
        try store.close()
        return folder
    }

    private func backups(_ folder: Folder) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".backup") }.sorted()
    }

    @Test func aNewDatabase() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        #expect(store.opening.versionBefore == nil && store.opening.backup == nil)
        #expect(store.opening.version == (try Migration.embedded().count))
        #expect(store.opening.check == .passed)
        #expect(try backups(folder) == [])
        let kept = try store.read { db in try Data.fetchAll(db, sql: "SELECT sha256 FROM schema_migrations") }
        #expect(kept == (try Migration.embedded().map { $0.digest.data }))
    }

    @Test func anOldDatabaseIsCopiedAndMigrated() throws {
        let folder = try oldDatabase()
        let store = try open(folder, [first, second])
        #expect(store.opening.versionBefore == 1 && store.opening.version == 2)
        #expect(store.opening.backup == folder.database + ".version-1.backup")
        #expect(try store.read { db in try db.tableExists("notes") })
        #expect(try store.configurations(limit: 10).items.count == 1)
        try store.close()
        let copy = try Folder()
        try FileManager.default.copyItem(atPath: folder.database + ".version-1.backup", toPath: copy.database)
        #expect(try open(copy, [first]).configurations(limit: 10).items.count == 1)
        // Up to date now: no further copy.
        #expect(try open(folder, [first, second]).opening.backup == nil)
        #expect(try backups(folder).count == 1)
    }

    @Test func aFailingMigrationLeavesTheOldVersion() throws {
        let folder = try oldDatabase()
        let broken = Migration(
            version: 2, name: "0002_broken.sql", sql: "CREATE TABLE notes (id INTEGER); SELECT nonsense;")
        for _ in 1...2 { expectError(.migrationFailed) { try open(folder, [first, broken]) } }
        #expect(try backups(folder).count == 2)
        let store = try open(folder, [first])
        #expect(try store.read { db in try !db.tableExists("notes") })
        #expect(try store.configurations(limit: 10).items.count == 1)
    }

    @Test func aMigrationMayNotLeaveDanglingReferences() throws {
        let folder = try oldDatabase()
        let dangling = Migration(
            version: 2, name: "0002_dangling.sql", sql: "INSERT INTO names VALUES ('nobody', 4711, 0);")
        expectError(.migrationFailed) { try open(folder, [first, dangling]) }
        let store = try open(folder, [first])
        expectError(.notFound) { try store.findConfiguration("nobody") }
    }

    @Test func aChangedMigrationIsRefused() throws {
        let folder = try oldDatabase()
        let changed = Migration(version: 1, name: first.name, sql: first.sql + "\n-- one comment more\n")
        let error = expectError(.migrationChanged) { try open(folder, [changed]) }
        #expect(error?.message.contains(first.name) == true)
        _ = try open(folder, [first])
    }

    @Test func aNewerDatabaseIsRefused() throws {
        let folder = try Folder()
        try open(folder, [first, second]).close()
        let before = try Data(contentsOf: URL(fileURLWithPath: folder.database))
        expectError(.newerDatabase) { try open(folder, [first]) }
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.database)) == before)
    }

    @Test(arguments: ["PRAGMA application_id = 4711", "CREATE TABLE other (x)", "PRAGMA user_version = 3"])
    func aForeignDatabaseIsRefusedUntouched(sql: String) throws {
        let folder = try Folder()
        let other = try DatabaseQueue(path: folder.database)
        try other.write { db in
            try db.execute(sql: sql)
            if !sql.hasPrefix("CREATE") { try db.execute(sql: "CREATE TABLE some (x)") }
        }
        try other.close()
        let before = try Data(contentsOf: URL(fileURLWithPath: folder.database))
        expectError(.foreignDatabase) { try fileStore(folder) }
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.database)) == before)
    }

    @Test func aListOfMigrationsWithGapsIsDamage() throws {
        let folder = try oldDatabase()
        let other = try DatabaseQueue(path: folder.database)
        try other.write { db in try db.execute(sql: "DELETE FROM schema_migrations") }
        try other.close()
        expectError(.corrupt) { try open(folder, [first]) }
    }

    @Test func foreignKeysHoldAfterMigrating() throws {
        let folder = try oldDatabase()
        let store = try open(folder, [first, second])
        let gate = Write<Void> { db in try db.execute(sql: "INSERT INTO notes (configuration) VALUES (4711)") }
        expectError(.invalidValue) { try store.perform(gate) }
    }
}

import Foundation
import GRDB
import Testing

@testable import Store

@Suite struct FileTests {
    @Test func aFullDiskIsAnErrorAndNothingIsLost() throws {
        let folder = try Folder()
        var limits = Limits()
        limits.databasePages = 100
        let store = try fileStore(folder, limits)
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        let large = outcome(scenarios(1000, recordBytes: 1000))
        let error = expectError(.diskFull) {
            try store.perform(.insertSimulation(simulation(1, of: digest), outcome: large))
        }
        #expect(error?.resultCode == ResultCode.SQLITE_FULL.rawValue)
        expectError(.notFound) { try store.simulation(simulationID(1)) }
        // In one group, the large one fails and the small ones come through.
        let gate = Gate()
        let answers = Shared<[StoreError.Code?]>([])
        try store.submit(gate.write) { _ in }
        gate.waitUntilEntered()
        for (number, outcome) in [(2, outcome([])), (3, large), (4, outcome([]))] {
            try store.submit(.insertSimulation(simulation(number, of: digest), outcome: outcome)) { result in
                let code: StoreError.Code? = if case .failure(let error) = result { error.code } else { nil }
                answers.update { $0.append(code) }
            }
        }
        gate.open()
        try store.perform(.insertConfiguration(table(2)))
        #expect(answers.now == [nil, .diskFull, nil])
        #expect(try store.simulations(limit: 10).items.map(\.id) == [simulationID(4), simulationID(2)])
        try store.close()
        #expect(try fileStore(folder).check() == [])
    }

    @Test func anythingElseIsNoDatabase() throws {
        let folder = try Folder()
        let bytes = Data((0..<8192).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        try bytes.write(to: URL(fileURLWithPath: folder.database))
        expectError(.notADatabase) { try fileStore(folder) }
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.database)) == bytes)
    }

    @Test func aDamagedFileIsRefused() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome(scenarios(500))))
        let rootPage = try store.read { db in
            try Int.fetchOne(db, sql: "SELECT rootpage FROM sqlite_schema WHERE name = 'configurations'")
        }
        try store.close()
        let handle = try #require(FileHandle(forUpdatingAtPath: folder.database))
        try handle.seek(toOffset: UInt64(try #require(rootPage) - 1) * 4096)
        try handle.write(contentsOf: [UInt8](repeating: 0xff, count: 4096))
        try handle.close()
        expectError(.corrupt) { try fileStore(folder) }
        // Without time for the check it opens, and the read is an error, not a crash.
        var limits = Limits()
        limits.startCheckMilliseconds = 0
        let opened = try fileStore(folder, limits)
        #expect(opened.opening.check == .unfinished)
        expectError(.corrupt) { try opened.configurations(limit: 10) }
        expectError(.corrupt) { try opened.perform(.insertConfiguration(table(2))) }
        #expect(try !opened.check().isEmpty)
    }

    @Test func valuesOfAnotherTypeAreDamage() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome(scenarios(3))))
        try store.writer.write { db in
            try db.execute(sql: #"UPDATE scenario_blocks SET directory = '[["n","p","maybe",null,0,1]]'"#)
        }
        expectError(.corrupt) { try store.scenarios(of: simulationID(1), limit: 1) }
        try store.writer.write { db in
            try db.execute(sql: #"UPDATE scenario_blocks SET directory = '[["n",null,"holds",null,0,1]]'"#)
        }
        expectError(.corrupt) { try store.scenarios(of: simulationID(1), limit: 1) }
    }

    @Test func referencesToNothingAreFound() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        try store.perform(.insertConfiguration(table(1, name: "mine")))
        #expect(try store.check() == [])
        try store.writer.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA foreign_keys = OFF; DELETE FROM configurations; PRAGMA foreign_keys = ON")
        }
        #expect(try store.check() == ["a row of names refers to nothing in configurations"])
    }

    @Test func oneProcessAtATime() throws {
        let folder = try Folder()
        var store: ResultStore? = try fileStore(folder)
        expectError(.inUse) { try fileStore(folder) }
        try store?.close()
        store = nil
        _ = try fileStore(folder)
    }

    @Test func aFolderThatIsNotThere() throws {
        let folder = try Folder()
        expectError(.cannotOpen) {
            try ResultStore.open(.file(folder.path + "/none/gatehouse.sqlite"), now: epoch)
        }
        // A folder where the file should be.
        try FileManager.default.createDirectory(atPath: folder.database, withIntermediateDirectories: true)
        expectError(.cannotOpen) { try fileStore(folder) }
    }

    @Test func aBackupIsWholeAndOpensInWriteAheadMode() throws {
        let folder = try Folder()
        let copy = try Folder()
        let store = try fileStore(folder)
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        try store.perform(.insertSimulation(simulation(1, of: digest), outcome: outcome(scenarios(300))))
        try store.backup(to: copy.database)
        expectError(.invalidValue) { try store.backup(to: copy.database) }
        // Bytes 18 and 19 of the header: 1 rollback, 2 write-ahead log.
        func journalBytes() throws -> [UInt8] {
            Array(try Data(contentsOf: URL(fileURLWithPath: copy.database)).dropFirst(18).prefix(2))
        }
        #expect(try journalBytes() == [1, 1])
        let restored = try fileStore(copy)
        #expect(try restored.scenarios(of: simulationID(1), limit: 1000).items.count == 300)
        #expect(restored.opening.check == .passed && restored.opening.versionBefore == 1)
        try restored.perform(.insertConfiguration(table(2)))
        try restored.close()
        #expect(try journalBytes() == [2, 2])
        expectError(.invalidValue) { try memoryStore().backup(to: copy.path + "/other") }
    }
}

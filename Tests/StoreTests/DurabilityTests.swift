import Dispatch
import Foundation
import GRDB
import Testing

@testable import Store

@Suite struct DurabilityTests {
    @Test func theWriterIsSetUp() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        func pragma(_ name: String) throws -> String {
            try store.writer.writeWithoutTransaction { db in try String.fetchOne(db, sql: "PRAGMA \(name)") ?? "" }
        }
        #expect(try pragma("journal_mode") == "wal")
        #expect(try pragma("synchronous") == "2")
        #expect(try pragma("foreign_keys") == "1")
        #expect(try pragma("trusted_schema") == "0")
        #expect(try pragma("cell_size_check") == "1")
        #expect(try pragma("temp_store") == "2")
        #expect(try pragma("mmap_size") == "0")
        #expect(try pragma("busy_timeout") == "5000")
        #expect(try pragma("application_id") == String(Migrator.applicationID))
        #expect(try pragma("user_version") == String(store.opening.version))
        #expect(throws: (any Error).self) {
            try store.writer.read { db in _ = try String.fetchAll(db, sql: #"SELECT "no such column" FROM names"#) }
        }
    }

    @Test func readersOnlyRead() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        let settings = try store.read { db in
            try ["query_only", "wal_autocheckpoint", "foreign_keys", "mmap_size"].map { name in
                try Int.fetchOne(db, sql: "PRAGMA \(name)")
            }
        }
        #expect(settings == [1, 0, 1, 0])
        expectError(.readOnly) { try store.read { db in try db.execute(sql: "DELETE FROM names") } }
    }

    @Test func acknowledgedIsOnDisk() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        for number in 1...20 {
            let digest = try store.perform(.insertConfiguration(table(number))).configuration.digest
            try store.perform(.insertSimulation(simulation(number, of: digest), outcome: outcome(scenarios(150))))
            let copy = try folder.crashCopy()
            let revived = try fileStore(copy)
            #expect(try revived.document(of: digest) == table(number).document)
            #expect(try revived.report(of: simulationID(number)) == outcome([]).report)
            #expect(try revived.scenarios(of: simulationID(number), limit: 1000).items.count == 150)
            #expect(try revived.configurations(limit: 100).items.count == number)
        }
    }

    @Test func aTornLogLosesTheEndOnly() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        for number in 1...5 { try store.perform(.insertConfiguration(table(number))) }
        let size = store.writeAheadLogBytes
        try store.perform(.insertConfiguration(table(6)))
        let copy = try folder.crashCopy()
        let handle = try #require(FileHandle(forUpdatingAtPath: copy.database + "-wal"))
        #expect(store.writeAheadLogBytes > size)
        try handle.truncate(atOffset: UInt64(size) + 1000)
        try handle.close()
        let revived = try fileStore(copy)
        #expect(try revived.configurations(limit: 10).items.count == 5)
        #expect(try revived.check() == [])
    }

    @Test func whatACrashLeftRunningHasFailed() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        for number in 1...2 { try store.perform(.insertSimulation(simulation(number, of: digest))) }
        try store.perform(.startSimulation(simulationID(2), at: moment(2)))
        try store.perform(.insertSimulation(simulation(3, of: digest), outcome: outcome([])))
        let key = try Write.claimIdempotencyKey("key", fingerprint: digest, at: epoch)
        try store.perform(key)
        let copy = try folder.crashCopy()
        let revived = try ResultStore.open(.file(copy.database), now: moment(99))
        #expect(revived.opening.interruptedSimulations == 2)
        for number in 1...2 {
            let simulation = try revived.simulation(simulationID(number))
            #expect(simulation.state == .failed && simulation.failure == "interrupted")
            #expect(simulation.finishedAt == moment(99))
        }
        #expect(try revived.simulation(simulationID(3)).state == .finished)
        #expect(try revived.perform(key) == .claimed)
    }

    @Test func closingEmptiesTheLog() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        try store.perform(.insertConfiguration(table(1)))
        #expect(store.writeAheadLogBytes > 0)
        try store.close()
        try store.close()
        #expect(store.writeAheadLogBytes == 0)
        expectError(.closed) { try store.configurations(limit: 1) }
        expectError(.closed) { try store.perform(.insertConfiguration(table(2))) }
        expectError(.closed) { try store.truncateWriteAheadLog() }
        expectError(.closed) { try store.check() }
        expectError(.closed) { try store.backup(to: folder.path + "/copy") }
        // The database file alone holds everything.
        let copy = try Folder()
        try FileManager.default.copyItem(atPath: folder.database, toPath: copy.database)
        #expect(try fileStore(copy).configurations(limit: 10).items.count == 1)
        #expect(try fileStore(folder).opening.versionBefore == 1)
    }

    @Test func closedStoreInMemory() throws {
        let store = try memoryStore()
        try store.close()
        expectError(.closed) { try store.configurations(limit: 1) }
        expectError(.closed) { try store.perform(.insertConfiguration(table(1))) }
    }

    @Test func theLogIsCutWhenLong() throws {
        var limits = Limits()
        limits.writeAheadLogBytes = 200_000
        let folder = try Folder()
        let store = try fileStore(folder, limits)
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        for number in 1...20 {
            let write = try Write.insertSimulation(
                simulation(number, of: digest), outcome: outcome(scenarios(500, recordBytes: 300)))
            try store.perform(write)
            // Behind what follows the group.
            store.writer.writeWithoutTransaction { _ in }
            #expect(store.writeAheadLogBytes <= limits.writeAheadLogBytes)
        }
    }

    @Test func aReaderHoldsTheLogButNotTheWriter() throws {
        let folder = try Folder()
        var limits = Limits()
        limits.checkpointWaitMilliseconds = 0
        let store = try fileStore(folder, limits)
        try store.perform(.insertConfiguration(table(1)))
        try store.read { db in
            #expect(try Int.fetchOne(db, sql: "SELECT count(*) FROM configurations") == 1)
            let inserted = try store.perform(Write.insertConfiguration(table(2)))
            #expect(inserted.created)
            #expect(try !store.truncateWriteAheadLog())
            #expect(try Int.fetchOne(db, sql: "SELECT count(*) FROM configurations") == 1)
        }
        #expect(try store.truncateWriteAheadLog())
        #expect(store.writeAheadLogBytes == 0)
        let timeout = try store.writer.writeWithoutTransaction { db in try Int.fetchOne(db, sql: "PRAGMA busy_timeout")
        }
        #expect(timeout == 5000)
    }

    @Test func readersAreBounded() throws {
        var limits = Limits()
        limits.readers = 1
        limits.readerWaitMilliseconds = 0
        let folder = try Folder()
        let store = try fileStore(folder, limits)
        _ = try store.read { _ in expectError(.busy) { try store.configurations(limit: 1) } }
        #expect(try store.configurations(limit: 1).items.isEmpty)
    }

    @Test func readersSeeWholeCommitsWhileOthersWrite() throws {
        let folder = try Folder()
        let store = try fileStore(folder)
        let digest = try store.perform(.insertConfiguration(table(1))).configuration.digest
        let answered = DispatchGroup()
        for number in 1...60 {
            answered.enter()
            let write = try Write.insertSimulation(simulation(number, of: digest), outcome: outcome(scenarios(130)))
            try store.submit(write) { result in
                if case .failure(let error) = result { Issue.record(error) }
                answered.leave()
            }
        }
        let seen = Shared(0)
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            do {
                var count = 0
                repeat {
                    let items = try store.simulations(limit: 100).items
                    // Commits become visible in order, and whole.
                    #expect(items.map(\.id) == (0..<items.count).map { simulationID(items.count - $0) })
                    if let newest = items.first {
                        #expect(newest.state == .finished)
                        #expect(try store.scenarios(of: newest.id, limit: 1000).items.count == 130)
                    }
                    count = items.count
                } while count < 60
                seen.update { $0 += 1 }
            } catch { Issue.record(error) }
        }
        answered.wait()
        #expect(seen.now == 4)
    }
}

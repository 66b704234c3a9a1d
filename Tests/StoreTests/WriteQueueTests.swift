import Dispatch
import GRDB
import Testing

@testable import Store

@Suite struct WriteQueueTests {
    /// A queue on a bare database with one table, counting its groups.
    private struct Bench {
        let connection: DatabaseQueue
        let queue: WriteQueue
        let groups = Shared(0)
        let answers = Shared<[String]>([])
        let gate = Gate()
        private let finished = DispatchGroup()

        init(_ limits: Limits = Limits()) throws {
            connection = try DatabaseQueue()
            try connection.write { db in try db.execute(sql: "CREATE TABLE t (x INTEGER UNIQUE) STRICT") }
            queue = WriteQueue(connection: connection, limits: limits) { [groups] _ in groups.update { $0 += 1 } }
        }

        func submit(_ name: String, _ write: Write<Void>) throws {
            finished.enter()
            do {
                try queue.submit(write) { [answers, finished] result in
                    let word = if case .failure(let error) = result { error.code.rawValue } else { "done" }
                    answers.update { $0.append("\(name) \(word)") }
                    finished.leave()
                }
            } catch {
                finished.leave()
                throw error
            }
        }

        /// Fills the queue behind a held writer, lets go, and waits for every answer.
        func together(_ body: () throws -> Void) throws {
            try submit("gate", gate.write)
            gate.waitUntilEntered()
            defer {
                gate.open()
                finished.wait()
                // Behind the last group and what follows it.
                connection.writeWithoutTransaction { _ in }
            }
            try body()
        }

        func insert(_ value: Int) -> Write<Void> {
            Write { db in try db.execute(sql: "INSERT INTO t VALUES (?)", arguments: [value]) }
        }

        var rows: [Int] {
            get throws { try connection.read { db in try Int.fetchAll(db, sql: "SELECT x FROM t ORDER BY x") } }
        }
    }

    @Test func whatWaitsSharesACommit() throws {
        let bench = try Bench()
        try bench.together { for number in 1...10 { try bench.submit("\(number)", bench.insert(number)) } }
        #expect(try bench.rows == Array(1...10))
        #expect(bench.groups.now == 2)
        #expect(bench.answers.now == ["gate done"] + (1...10).map { "\($0) done" })
    }

    @Test func groupsAreBounded() throws {
        var limits = Limits()
        limits.groupedWrites = 4
        let bench = try Bench(limits)
        try bench.together { for number in 1...10 { try bench.submit("\(number)", bench.insert(number)) } }
        #expect(try bench.rows == Array(1...10))
        #expect(bench.groups.now == 1 + 3)
    }

    @Test func aFailureLeavesItsNeighboursAlone() throws {
        let bench = try Bench()
        try bench.together {
            try bench.submit("a", bench.insert(1))
            try bench.submit("twin", bench.insert(1))
            try bench.submit(
                "half",
                Write { db in
                    try db.execute(sql: "INSERT INTO t VALUES (77)")
                    throw StoreError(.notFound, "after half of the work")
                })
            try bench.submit("b", bench.insert(2))
        }
        #expect(try bench.rows == [1, 2])
        #expect(bench.answers.now == ["gate done", "a done", "twin invalid-value", "half not-found", "b done"])
        #expect(bench.groups.now == 2)
    }

    // SQLite rolls the whole transaction back by itself after some failures; a ROLLBACK does the same here.
    @Test func aLostTransactionIsRepeatedOneByOne() throws {
        let bench = try Bench()
        try bench.together {
            try bench.submit("a", bench.insert(1))
            try bench.submit(
                "culprit",
                Write { db in
                    try db.execute(sql: "INSERT INTO t VALUES (77)")
                    try db.execute(sql: "ROLLBACK")
                    throw StoreError(.diskFull, "as if")
                })
            try bench.submit("b", bench.insert(2))
        }
        #expect(try bench.rows == [1, 2])
        #expect(bench.answers.now == ["gate done", "a done", "culprit disk-full", "b done"])
    }

    @Test func afterAFailedSyncNothingIsClaimed() throws {
        let bench = try Bench()
        try bench.together {
            try bench.submit("a", bench.insert(1))
            try bench.submit(
                "culprit",
                Write { db in
                    try db.execute(sql: "ROLLBACK")
                    throw DatabaseError(resultCode: .SQLITE_IOERR_FSYNC)
                })
            try bench.submit("b", bench.insert(2))
        }
        #expect(try bench.rows == [])
        #expect(bench.answers.now == ["gate done", "a input-output", "culprit input-output", "b input-output"])
    }

    @Test func theQueueIsBoundedByCount() throws {
        var limits = Limits()
        limits.queuedWrites = 2
        let bench = try Bench(limits)
        try bench.together {
            try bench.submit("a", bench.insert(1))
            try bench.submit("b", bench.insert(2))
            #expect(bench.queue.load.writes == 2)
            expectError(.busy) { try bench.submit("c", bench.insert(3)) }
        }
        #expect(try bench.rows == [1, 2])
        try bench.connection.write { db in try db.execute(sql: "DELETE FROM t") }
        // Room again.
        try bench.together { try bench.submit("c", bench.insert(3)) }
        #expect(try bench.rows == [3])
    }

    @Test func theQueueIsBoundedByBytes() throws {
        var limits = Limits()
        limits.queuedBytes = 1000
        let bench = try Bench(limits)
        let large = Write<Void>(byteCount: 600) { _ in }
        try bench.together {
            try bench.submit("a", large)
            expectError(.busy) { try bench.submit("b", large) }
            try bench.submit("c", Write(byteCount: 400) { _ in })
            #expect(bench.queue.load.bytes == 1000)
        }
        #expect(bench.queue.load.bytes == 0)
        // One larger than the whole queue still gets through an empty one.
        try bench.together { try bench.submit("d", Write(byteCount: 5000) { _ in }) }
        #expect(bench.answers.now.last == "d done")
    }

    @Test func closingCommitsWhatWaits() throws {
        let bench = try Bench()
        let closer = DispatchGroup()
        try bench.submit("gate", bench.gate.write)
        bench.gate.waitUntilEntered()
        try bench.submit("a", bench.insert(1))
        let queue = bench.queue
        DispatchQueue.global().async(group: closer) { queue.close() }
        bench.gate.open()
        closer.wait()
        #expect(try bench.rows == [1])
        expectError(.closed) { try bench.submit("b", bench.insert(2)) }
    }

    @Test func manyThreadsManyWrites() throws {
        let bench = try Bench()
        try bench.together {
            DispatchQueue.concurrentPerform(iterations: 8) { thread in
                for number in 0..<50 {
                    do { try bench.submit("", bench.insert(thread * 50 + number)) } catch { Issue.record(error) }
                }
            }
        }
        #expect(try bench.rows == Array(0..<400))
        #expect(bench.groups.now == 1 + 4)
    }
}

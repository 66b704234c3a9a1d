import Foundation
import Testing

/// What the service acknowledged survives its death.
@Suite(.serialized) struct DurabilityTests {
    /// A table whose content no other round has.
    private func table(_ number: Int) -> [UInt8] {
        [UInt8](#"{"kernel": "linux-5.2", "description": "number \#(number)"}"#.utf8)
    }

    @Test func anAcknowledgedResultSurvivesAKill() throws {
        let folder = try Folder()
        let database = folder.url.appendingPathComponent("gatehouse.sqlite")
        var kept: [(location: String, body: [UInt8])] = []
        for round in 0..<4 {
            let server = try RunningServer(database: database)
            for (location, body) in kept {
                let again = try server.curl(location)
                #expect(again.status == 200)
                #expect(again.body == body, "\(location) after \(round) kills")
            }
            let order =
                #"{"configuration": {"kernel": "linux-5.2", "description": "\#(round)"}, "scenarios": "xen-pv/int3/*"}"#
            let answer = try server.curl("/v1/simulations", post: [UInt8](order.utf8))
            server.killNow()
            #expect(answer.status == 201)
            kept.append((try #require(answer.field("location")), answer.body))
        }
        let server = try RunningServer(database: database)
        let list = try server.curl("/v1/simulations?format=ndjson")
        #expect(list.text.split(separator: "\n").count == kept.count)
    }

    @Test func everythingAcknowledgedToManyAtOnceSurvives() throws {
        let folder = try Folder()
        let database = folder.url.appendingPathComponent("gatehouse.sqlite")
        var acknowledged: Set<String> = []
        for round in 0..<3 {
            let server = try RunningServer(database: database)
            let answers = AnswerBox()
            let group = DispatchGroup()
            for client in 0..<8 {
                let thread = Thread {
                    for number in 0..<200 {
                        let content = self.table(round * 10_000 + client * 1000 + number)
                        let answer = try? server.curl("/v1/configurations", post: content)
                        guard let answer, answer.status == 201, let location = answer.field("location") else { break }
                        answers.add(location)
                    }
                    group.leave()
                }
                group.enter()
                thread.start()
            }
            // Killed in the middle of the work, after some of it is known to be done.
            while answers.all.count < 10 { usleep(1000) }
            server.killNow()
            group.wait()
            #expect(answers.all.count < 8 * 200, "the kill came in the middle")
            acknowledged.formUnion(answers.all)
            let next = try RunningServer(database: database)
            for location in acknowledged {
                #expect(try next.curl(location).status == 200, "\(location) was acknowledged in some round")
            }
            next.terminate()
            #expect(next.wait() == 0)
        }
    }

    @Test func aStopAnswersWhatIsInWork() throws {
        let folder = try Folder()
        let database = folder.url.appendingPathComponent("gatehouse.sqlite")
        let server = try RunningServer(database: database, ["--grace", "60"])
        let answer = AnswerBox()
        let done = DispatchSemaphore(value: 0)
        // A whole table, with code that runs every scenario to the limit of its steps: long enough to be in work.
        let slow = [UInt8](#"{"kernel": "linux-5.2", "routines": {"error_entry": "1: jmp 1b"}}"#.utf8)
        Thread {
            if let reply = try? server.curl("/v1/checks", post: slow) { answer.add("\(reply.status)") }
            done.signal()
        }.start()
        // The other request tells that the service works; the state of the first is then either in work or answered.
        while try server.curl("/livez").status != 200 { usleep(1000) }
        usleep(200_000)
        server.terminate()
        #expect(server.wait() == 0)
        done.wait()
        #expect(answer.all == ["200"])
        let next = try RunningServer(database: database)
        #expect(try next.curl("/v1/simulations?format=ndjson").text.contains(#""state":"finished""#))
    }

    @Test func aStopRightAfterTheStartIsOrderly() throws {
        let folder = try Folder()
        for _ in 0..<5 {
            let server = try RunningServer(database: folder.url.appendingPathComponent("gatehouse.sqlite"))
            server.terminate()
            #expect(server.wait() == 0)
        }
    }

    @Test func aLaterSimulationThatWasKilledIsSaidToBeInterrupted() throws {
        let folder = try Folder()
        let database = folder.url.appendingPathComponent("gatehouse.sqlite")
        let server = try RunningServer(database: database, ["--workers", "1"])
        let order = [UInt8](
            #"{"configuration": {"kernel": "linux-5.2", "routines": {"error_entry": "1: jmp 1b"}}}"#.utf8)
        let queued = try server.curl("/v1/simulations", post: order, ["-H", "Prefer: respond-async"])
        #expect(queued.status == 202)
        server.killNow()
        let next = try RunningServer(database: database)
        let state = try next.curl(try #require(queued.field("location")))
        #expect(state.status == 200)
        #expect(
            state.text.contains(#""state":"failed""#) || state.text.contains(#""verdict":"violated""#),
            "\(state.text.prefix(300))")
    }

    @Test func twoServicesDoNotShareADatabase() throws {
        let folder = try Folder()
        let database = folder.url.appendingPathComponent("gatehouse.sqlite")
        let server = try RunningServer(database: database)
        let second = try Program.run(["serve", "--listen", "127.0.0.1:0", "--database", database.path])
        #expect(second.status == 2)
        #expect(second.errors.contains("in-use"))
        #expect(server.isRunning)
        let outside = try Program.run(["serve", "--listen", "0.0.0.0:0", "--database", database.path + "2"])
        #expect(outside.status == 2)
        #expect(outside.errors.contains("loopback"))
    }
}

/// Answers that several threads collect.
final class AnswerBox: @unchecked Sendable {
    private let lock = NSLock()
    private var values: [String] = []

    func add(_ value: String) { lock.withLock { values.append(value) } }
    var all: [String] { lock.withLock { values } }
}

import HTTPTypes
import HTTPWire
import Testing

@testable import API

/// Answers that nobody reads.
struct AnswerBudgetTests {
    @Test func aNetworkHasHalfOfWhatOthersLeave() {
        let budget = AnswerBudget(limit_bytes: 1000)
        var held: [HeldAnswer] = []
        for network in ["a", "b", "c"] {
            while !budget.isExhausted(for: network) { held.append(budget.hold(10, for: network)) }
        }
        #expect(budget.held_bytes == 500 + 250 + 130)
        #expect(!budget.isExhausted(for: "d"), "some is left for whoever comes next")
        held.removeAll { _ in true }
        #expect(budget.held_bytes == 0)
        #expect(!budget.isExhausted(for: "a"))
        let all = budget.hold(5000, for: "a")
        #expect(budget.isExhausted(for: "b") && budget.isExhausted(for: "a"))
        _ = all
    }

    /// Lists and streams of a peer that takes nothing come to an end, and others are served meanwhile.
    @Test(arguments: ["/scenarios?limit=1000", "?format=ndjson"])
    func whoDoesNotReadGetsNoMore(_ form: String) throws {
        var limits = APILimits()
        limits.streamRows = 5
        limits.heldAnswers_bytes = 2 << 20
        let application = try makeApplication(limits: limits)
        defer { try? application.store.close() }
        let path = try keepReport(in: application) + form
        let before = application.answers.held_bytes
        let sink = HoldingSink()
        var asked: Int32 = 0
        repeat {
            asked += 1
            application.handle(incoming(path), responder: sink.responder(asked))
        } while sink[asked]?.response.status.code == 200 && asked < 1000
        #expect(sink[asked]?.response.status.code == 503)
        #expect(sink[asked]?.response.headerFields[.retryAfter] == "1")
        #expect(asked > 5)
        #expect((1 << 20...(1 << 20) + 200_000).contains(application.answers.held_bytes))
        #expect(application.answers.isExhausted(for: "192.0.2.1"))
        // Probes are answered all the same, and so are others.
        application.handle(incoming("/livez"), responder: sink.responder(2001))
        application.handle(incoming(path, host: "192.0.2.2"), responder: sink.responder(2002))
        application.handle(incoming("/metrics"), responder: sink.responder(2003))
        application.handle(
            incoming(
                "/v1/checks", [.contentType: "application/json"], method: .post, body: [UInt8](table("more").utf8)),
            responder: sink.responder(2004))
        #expect((2001...2004 as ClosedRange<Int32>).map { sink[$0]?.response.status.code } == [200, 200, 503, 503])
        sink.drop()
        #expect(application.answers.held_bytes == before)
        application.handle(incoming(path), responder: sink.responder(1))
        #expect(sink[1]?.response.status.code == 200)
    }

    /// Errors can be long too: one for each of a hundred names that are not known.
    @Test func errorsCount() throws {
        var limits = APILimits()
        limits.heldAnswers_bytes = 1 << 20
        let application = try makeApplication(limits: limits)
        defer { try? application.store.close() }
        let keys = (0..<100).map { "\"nonsense\($0)\": 1" }.joined(separator: ", ")
        let body = [UInt8](#"{"kernel": "linux-5.2", \#(keys)}"#.utf8)
        let sink = HoldingSink()
        var asked: Int32 = 0
        repeat {
            asked += 1
            application.handle(
                incoming("/v1/checks", [.contentType: "application/json"], method: .post, body: body),
                responder: sink.responder(asked))
        } while sink[asked]?.response.status.code == 422 && asked < 1000
        #expect(sink[asked]?.response.status.code == 503)
        #expect(asked > 5)
        #expect((500_000...600_000).contains(application.answers.held_bytes))
        sink.drop()
        #expect(application.answers.held_bytes == 0)
    }

    /// A hundred readers of the same bytes hold them once.
    @Test func sharedAnswersCountOnce() throws {
        let application = try makeApplication()
        defer { try? application.store.close() }
        let path = try keepReport(in: application)
        let sink = HoldingSink()
        for number: Int32 in 1...100 {
            let other = path + "?" + String(repeating: "&", count: Int(number))
            application.handle(incoming(other), responder: sink.responder(number))
        }
        #expect(sink.statuses == Array(repeating: 200, count: 100))
        guard case .shared(let body)? = sink[1]?.body else {
            Issue.record("the body is not shared")
            return
        }
        #expect(application.answers.held_bytes == body.count)
    }

    /// What the cache keeps counts until it is neither kept nor read.
    @Test func keptAnswersCount() throws {
        let application = try makeApplication()
        defer { try? application.store.close() }
        let path = try keepReport(in: application)
        let sink = HoldingSink()
        application.handle(incoming(path), responder: sink.responder(1))
        let held = application.answers.held_bytes
        #expect(held > 1024)
        sink.drop()
        #expect(application.answers.held_bytes == held, "it is kept")
        var prepared = application.preparedAnswer(to: incoming(path).head)
        #expect(prepared != nil)
        application.forgetAnswers()
        #expect(application.answers.held_bytes == held, "somebody still has it")
        prepared = nil
        #expect(application.answers.held_bytes == 0)
    }
}

import HTTPTypes
import HTTPWire
import Synchronization
import Testing

@testable import API

/// What was answered, by stream, with the bodies held as a connection does whose peer reads nothing.
final class HoldingSink: ResponseSink {
    struct Answered: Sendable {
        var response: HTTPResponse
        var body: ResponseBody
    }

    private let answered = Mutex<[Int32: Answered]>([:])

    func deliver(_ response: HTTPResponse, body: ResponseBody, to exchange: ExchangeID) {
        answered.withLock { $0[exchange.stream.number] = Answered(response: response, body: body) }
    }

    var count: Int { answered.withLock { $0.count } }
    var statuses: [Int] { answered.withLock { $0.sorted { $0.key < $1.key }.map(\.value.response.status.code) } }
    subscript(stream: Int32) -> Answered? { answered.withLock { $0[stream] } }
    func drop() { answered.withLock { $0 = [:] } }

    func responder(_ stream: Int32) -> Responder {
        Responder(sink: self, exchange: ExchangeID(connection: 1, stream: StreamID(stream)))
    }
}

/// A request as a connection hands it over.
func incoming(
    _ path: String, _ fields: HTTPFields = [:], method: HTTPRequest.Method = .get, host: String = "192.0.2.1",
    body: [UInt8] = []
) -> IncomingRequest {
    var head = HTTPRequest(method: method, scheme: "http", authority: "test", path: path)
    head.headerFields = fields
    return IncomingRequest(head: head, body: body, peer: PeerAddress(host: host, port: 1))
}

/// The place of a report that is kept.
func keepReport(in application: Application, scenarios: String = "*/int3/*") throws -> String {
    let kept = application.answer(
        incoming(
            "/v1/checks?scenarios=\(scenarios)", [.contentType: "application/json"], method: .post,
            body: [UInt8](table("kept").utf8)))
    return try #require(kept.response.headerFields[.location])
}

/// Many who ask for the same at once.
struct FlightTests {
    private func shared(_ body: ResponseBody?) -> SharedBytes? {
        if case .shared(let bytes)? = body { return bytes }
        return nil
    }

    /// The queue takes one piece of work: whoever does not join is refused.
    @Test func theSameIsMadeOnceForAll() throws {
        let queue = HeldQueue(limit: 1)
        let application = try makeApplication(queue: queue)
        defer { try? application.store.close() }
        let path = try keepReport(in: application) + "?format=wide"
        let tag = try #require(
            application.answer(incoming(path, method: .head)).response.headerFields[.eTag])
        let sink = HoldingSink()
        let responders = (0..<20).map { sink.responder($0) }
        for (number, responder) in responders.enumerated() {
            var fields: HTTPFields = [.requestID: "request-\(number)"]
            if number == 7 { fields[.ifNoneMatch] = tag }
            application.handle(incoming(path, fields), responder: responder)
        }
        #expect(sink.count == 0)
        // The first of them and another give up; the others must not notice.
        responders[0].markCancelled()
        responders[11].markCancelled()
        queue.drain()
        #expect(sink.statuses == (0..<20).map { $0 == 7 ? 304 : $0 == 0 || $0 == 11 ? 503 : 200 })
        let body = try #require(shared(sink[1]?.body))
        #expect(body.count > 1024)
        for number: Int32 in 1..<20 where number != 7 && number != 11 {
            #expect(shared(sink[number]?.body) === body)
            #expect(sink[number]?.response.headerFields[.requestID] == "request-\(number)")
        }
        #expect(sink[7]?.response.headerFields[.requestID] == "request-7")
        // What was made is kept: another needs no thread, whatever its id and condition.
        application.handle(incoming(path, [.requestID: "later"]), responder: sink.responder(30))
        application.handle(incoming(path, [.ifNoneMatch: tag]), responder: sink.responder(31))
        #expect(shared(sink[30]?.body) === body)
        #expect(sink[30]?.response.headerFields[.requestID] == "later")
        #expect(sink[31]?.response.status.code == 304)
        // Asked for in another way, it is not made again either.
        application.handle(incoming(path + "&"), responder: sink.responder(32))
        queue.drain()
        #expect(shared(sink[32]?.body) === body)
        #expect(application.flights.joined == 0)
    }

    @Test func anErrorIsForAll() throws {
        let queue = HeldQueue(limit: 1)
        let application = try makeApplication(queue: queue)
        defer { try? application.store.close() }
        let sink = HoldingSink()
        for number: Int32 in 0..<3 {
            application.handle(
                incoming("/v1/simulations/nonesuch?format=csv", [.requestID: "id-\(number)"]),
                responder: sink.responder(number))
        }
        queue.drain()
        #expect(sink.statuses == [404, 404, 404])
        for number: Int32 in 0..<3 {
            #expect(sink[number]?.response.headerFields[.requestID] == "id-\(number)")
            guard case .bytes(let body)? = sink[number]?.body else {
                Issue.record("no body")
                continue
            }
            #expect(String(decoding: body, as: UTF8.self).contains("\"request_id\":\"id-\(number)\""))
        }
    }

    @Test func whatIsRemovedMeanwhileIsGone() throws {
        let queue = HeldQueue(limit: 2)
        let application = try makeApplication(queue: queue)
        defer { try? application.store.close() }
        let path = try keepReport(in: application)
        let sink = HoldingSink()
        for number: Int32 in 0..<3 {
            application.handle(incoming(path + "?format=text"), responder: sink.responder(number))
        }
        #expect(application.answer(incoming(path, method: .delete)).response.status == .noContent)
        application.handle(incoming(path + "?format=text"), responder: sink.responder(3))
        queue.drain()
        #expect(sink.statuses == [404, 404, 404, 404])
    }

    /// Each reader of a list that is made while it is sent has its own.
    @Test func streamsAreNotShared() throws {
        let queue = HeldQueue(limit: 8)
        var limits = APILimits()
        limits.streamRows = 5
        let application = try makeApplication(queue: queue, limits: limits)
        defer { try? application.store.close() }
        let path = try keepReport(in: application) + "?format=ndjson"
        let sink = HoldingSink()
        for number: Int32 in 0..<3 { application.handle(incoming(path), responder: sink.responder(number)) }
        for _ in 0..<3 { queue.drain() }
        #expect(sink.statuses == [200, 200, 200])
        let bodies = (0..<3 as Range<Int32>).map { number -> [UInt8]? in
            guard case .source(let source)? = sink[number]?.body else { return nil }
            return (source as? RecordStream)?.collect()
        }
        #expect(bodies[0]?.isEmpty == false)
        #expect(bodies[1] == bodies[0] && bodies[2] == bodies[0])
    }

    // MARK: Who joins whom

    private func waiter(_ sink: HoldingSink, _ stream: Int32, _ client: String) -> Flights.Waiter {
        Flights.Waiter(incoming("/x"), sink.responder(stream), client: client, start: 0)
    }

    @Test func othersAreJoinedOnceTheirAnswerIsSettled() throws {
        let flights = Flights(limit: 10)
        let sink = HoldingSink()
        let key = try #require(Flights.Key(incoming("/x").head))
        let first = try #require(flights.enter(waiter(sink, 1, "a"), key))
        #expect(flights.enter(waiter(sink, 2, "a"), key) == nil)
        let second = try #require(flights.enter(waiter(sink, 3, "b"), key), "not behind what another client has queued")
        #expect(flights.joined == 1)
        #expect(flights.begin(first, with: flights.take(first)))
        let third = try #require(flights.enter(waiter(sink, 4, "a"), key), "it may have been read before this one came")
        flights.open(first)
        #expect(flights.enter(waiter(sink, 5, "c"), key) == nil)
        #expect(!flights.begin(second, with: flights.take(second)), "it has the answer of the first")
        #expect(!flights.begin(third, with: []), "whom nobody waits for makes nothing")
        #expect(flights.end(first).map(\.responder.exchange.stream.number) == [1, 2, 5, 3])
        #expect(flights.joined == 0)
        #expect(flights.enter(waiter(sink, 6, "c"), key) != nil)
        let other = try #require(Flights.Key(incoming("/x", method: .head).head))
        #expect(other != key)
        #expect(Flights.Key(incoming("/x", [.accept: "text/csv"]).head) != key)
        #expect(Flights.Key(incoming("/x", method: .delete).head) == nil)
    }

    @Test func nobodyJoinsWhatWasReadBeforeARemoval() throws {
        let flights = Flights(limit: 10)
        let sink = HoldingSink()
        let key = try #require(Flights.Key(incoming("/x").head))
        let first = try #require(flights.enter(waiter(sink, 1, "a"), key))
        #expect(flights.begin(first, with: flights.take(first)))
        flights.open(first)
        flights.clear()
        let second = try #require(flights.enter(waiter(sink, 2, "a"), key))
        flights.open(first)
        #expect(flights.enter(waiter(sink, 3, "b"), key) != nil)
        #expect(flights.begin(second, with: flights.take(second)))
        #expect(flights.end(first).count == 1)
        #expect(flights.end(second).count == 1)
    }

    @Test func aClientJoinsSoOftenAndNotMore() throws {
        let flights = Flights(limit: 2)
        let sink = HoldingSink()
        let key = try #require(Flights.Key(incoming("/x").head))
        let numbers = (0..<5).compactMap { flights.enter(waiter(sink, $0, "a"), key) }
        #expect(numbers.count == 3, "one that leads, two that join, two that wait for themselves")
        for number in numbers { _ = flights.end(number) }
        #expect(flights.joined == 0)
        #expect(flights.enter(waiter(sink, 9, "a"), key) != nil)
        #expect(flights.enter(waiter(sink, 10, "a"), key) == nil)
    }
}

import HTTPTestSupport
import HTTPTypes
import Testing

@testable import HTTPWire

@Suite struct ResponseTests {
    private func big(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) } }

    @Test func aFinishedBodyIsSentWholeWithItsLength() {
        let wire = WireHarness()
        let body = big(50_000)
        wire.connection.date = Array("Sun, 06 Nov 1994 08:49:37 GMT".utf8)
        wire.send(.get(1))
        wire.respond(1, .bytes(body))
        let response = wire.client.responses[1]
        #expect(response?.status == "200")
        #expect(response?.body == body)
        #expect(response?.fields["content-length"] == "50000")
        #expect(response?.fields["date"] == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(response?.isComplete == true)
        #expect(!wire.connection.isBusy)
        #expect(wire.connection.parkedBytes == 0)
    }

    @Test(arguments: [("HEAD", 200), ("GET", 204), ("GET", 304)])
    func responsesWithoutABodyHaveNone(method: String, status: Int) {
        let wire = WireHarness()
        wire.send(.get(1, method: method))
        wire.respond(1, status: .init(code: status), .bytes([1, 2, 3]))
        let response = wire.client.responses[1]
        #expect(response?.body == [])
        #expect(response?.isComplete == true)
        #expect(response?.fields["content-length"] == (method == "HEAD" ? "3" : nil))
    }

    @Test func connectionFieldsAreLeftOut() {
        let wire = WireHarness()
        wire.send(.get(1))
        var response = HTTPResponse(status: .ok)
        response.headerFields[.connection] = "close"
        response.headerFields[.transferEncoding] = "chunked"
        response.headerFields[.server] = "s"
        wire.connection.respond(to: StreamID(1), response, body: .empty, now: wire.now)
        wire.read()
        let fields = wire.client.responses[1]?.fields ?? [:]
        #expect(fields["server"] == "s")
        #expect(fields["connection"] == nil)
        #expect(fields["transfer-encoding"] == nil)
    }

    @Test func aResponseThatCannotBeSentBecomesA500() {
        let wire = WireHarness()
        wire.send(.get(1), .get(3))
        var response = HTTPResponse(status: .ok)
        response.headerFields[.server] = String(repeating: "x", count: 60_000)
        wire.connection.respond(to: StreamID(1), response, body: .empty, now: wire.now)
        wire.respond(3, status: .continue)
        #expect(wire.client.responses[1]?.status == "500")
        #expect(wire.client.responses[3]?.status == "500")
        #expect(!wire.isClosing)
    }

    @Test func onlyTheFirstAnswerCounts() {
        let wire = WireHarness()
        wire.send(.get(1))
        wire.respond(1, status: .ok)
        wire.respond(1, status: .notFound)
        wire.respond(7, status: .ok)
        #expect(wire.client.responses[1]?.status == "200")
        #expect(wire.client.responses[7] == nil)
        #expect(wire.connection.requestsInWork == 0)
    }

    // MARK: - Flow control

    @Test func aClosedWindowPullsNothingAndAnUpdateResumes() {
        // SETTINGS_INITIAL_WINDOW_SIZE = 0
        let wire = WireHarness(settings: [(4, 0)])
        let source = ScriptedSource([.bytes(Array("hello".utf8)), .end])
        wire.send(.get(1))
        wire.respond(1, .source(source))
        #expect(wire.client.responses[1]?.status == "200")
        #expect(source.reads == 0, "a body is not asked for before the peer has room")
        wire.send(.windowUpdate(1, by: 3))
        #expect(wire.client.responses[1]?.body == Array("hel".utf8))
        #expect(source.largestRequest <= 3)
        wire.send(.windowUpdate(1, by: 100))
        #expect(wire.client.responses[1]?.body == Array("hello".utf8))
        #expect(wire.client.responses[1]?.isComplete == true)
    }

    @Test func aFinishedBodyStopsAtTheWindow() {
        let wire = WireHarness(settings: [(4, 10)])
        let body = big(25)
        wire.send(.get(1))
        wire.respond(1, .bytes(body))
        #expect(wire.client.responses[1]?.body == Array(body[..<10]))
        wire.send(.windowUpdate(1, by: 10))
        #expect(wire.client.responses[1]?.body == Array(body[..<20]))
        wire.send(.windowUpdate(1, by: 10))
        #expect(wire.client.responses[1]?.body == body)
        #expect(wire.client.responses[1]?.isComplete == true)
    }

    @Test func aSourceThatIsNotReadyIsAskedAgainAfterResume() {
        let wire = WireHarness()
        let source = ScriptedSource([.bytes([1]), .notNow, .bytes([2]), .end])
        wire.send(.get(1))
        wire.respond(1, .source(source))
        #expect(wire.client.responses[1]?.body == [1])
        wire.read()
        #expect(source.reads == 2, "not asked again by itself")
        wire.connection.resume(stream: StreamID(1))
        wire.read()
        #expect(wire.client.responses[1]?.body == [1, 2])
        #expect(wire.client.responses[1]?.isComplete == true)
    }

    @Test func aSourceThatFailsResetsItsStreamOnly() {
        let wire = WireHarness()
        wire.send(.get(1))
        wire.respond(1, .source(ScriptedSource([.bytes([1]), .fail])))
        #expect(wire.client.resets[1] == Code.internalError)
        #expect(!wire.isClosing)
    }

    @Test func aResetCancelsTheSource() {
        let wire = WireHarness()
        let source = ScriptedSource([.notNow])
        wire.send(.get(1))
        wire.respond(1, .source(source))
        wire.send(.reset(1))
        #expect(source.wasCancelled)
    }

    @Test func outputStopsAtTheBuffersLimitAndContinues() {
        let wire = WireHarness(settings: [(4, 1 << 20)])
        wire.send(.windowUpdate(0, by: 1 << 20), .get(1))
        wire.reads = false
        let body = big(300_000)
        wire.respond(1, .bytes(body))
        wire.connection.writeOutput(into: wire.buffer, now: wire.now)
        #expect(wire.buffer.count >= wire.buffer.softLimit)
        #expect(wire.buffer.count < wire.buffer.softLimit + 17_000)
        wire.client.receive(wire.buffer.pending)
        wire.buffer.removeAll()
        wire.read()
        #expect(wire.client.responses[1]?.body == body)
    }

    @Test func uploadsAreHeldByTheWindowUntilConsumed() {
        let wire = WireHarness { $0.streamWindowBytes = 40_000 }
        wire.send(.get(1, method: "POST", ends: false))
        wire.send(.data(1, big(16_000)), .data(1, big(16_000)))
        #expect(wire.client.frames(.windowUpdate).filter { $0.stream == 1 }.isEmpty)
        wire.connection.consume(stream: StreamID(1), count: 32_000)
        wire.read()
        #expect(wire.client.frames(.windowUpdate).contains { $0.stream == 1 && $0.word(at: 0) == 32_000 })
    }

    @Test func aPeerThatOverrunsItsWindowIsReset() {
        let wire = WireHarness { $0.streamWindowBytes = 20_000 }
        wire.send(.get(1, method: "POST", ends: false))
        wire.send(.data(1, big(16_000)), .data(1, big(16_000)))
        #expect(wire.client.resets[1] == Code.flowControl)
    }
}

/// A body source that answers from a list.
final class ScriptedSource: BodySource, @unchecked Sendable {
    enum Step {
        case bytes([UInt8])
        case notNow
        case end
        case fail
    }

    private var steps: [Step]
    private(set) var reads = 0
    private(set) var largestRequest = 0
    private(set) var wasCancelled = false

    init(_ steps: [Step]) {
        self.steps = steps
    }

    func attach(wake: @escaping @Sendable () -> Void) {}

    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyRead {
        reads += 1
        largestRequest = max(largestRequest, buffer.count)
        guard let step = steps.first else { return .notNow }
        steps.removeFirst()
        switch step {
        case .bytes(let bytes):
            let count = min(bytes.count, buffer.count)
            buffer.copyBytes(from: bytes[..<count])
            if count < bytes.count { steps.insert(.bytes(Array(bytes[count...])), at: 0) }
            return .bytes(count)
        case .notNow: return .notNow
        case .end: return .last(0)
        case .fail: return .failed
        }
    }

    func cancel() {
        wasCancelled = true
    }
}

import HTTPTypes
import HTTPWire
import Synchronization
import Testing

@testable import API

/// Lists that are longer than what is held of them.
struct RecordStreamTests {
    private func pages(_ count: Int, bytes: Int) -> @Sendable () -> RecordStream.Page? {
        let number = Mutex(0)
        return {
            let page = number.withLock { number -> Int in
                number += 1
                return number
            }
            return (Array(repeating: UInt8(page), count: bytes), page == count)
        }
    }

    /// Reads until the end, loading when it is asked; nil after a failure.
    private func drain(_ stream: RecordStream, _ queue: HeldQueue) -> [UInt8]? {
        var all: [UInt8] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1000, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            switch stream.read(into: buffer) {
            case .bytes(let count): all += buffer[..<count]
            case .last(let count): return all + buffer[..<count]
            case .notNow: queue.drain()
            case .failed: return nil
            }
        }
    }

    @Test func pagesFollowEachOther() {
        let queue = HeldQueue(limit: 1)
        let stream = RecordStream(first: ([0, 0, 0], false), queue: queue, next: pages(5, bytes: 100_000))
        let woken = Atomic<Int>(0)
        stream.attach { woken.wrappingAdd(1, ordering: .relaxed) }
        let all = drain(stream, queue)
        let expected: [UInt8] = [0, 0, 0] + (1...5).flatMap { [UInt8](repeating: UInt8($0), count: 100_000) }
        let isWhole = all == expected
        #expect(isWhole)
        #expect(woken.load(ordering: .relaxed) == 5)
        #expect(RecordStream(first: ([7], false), queue: queue, next: pages(2, bytes: 2)).collect() == [7, 1, 1, 2, 2])
    }

    @Test func failuresCutOff() {
        let queue = HeldQueue(limit: 1)
        #expect(drain(RecordStream(first: ([1], false), queue: queue) { nil }, queue) == nil)
        let full = HeldQueue(limit: 0)
        #expect(drain(RecordStream(first: ([1], false), queue: full, next: pages(2, bytes: 1)), full) == nil)
    }

    @Test(arguments: Carrier.allCases) func aReportsRecordsAreTheSameInAnyForm(_ carrier: Carrier) throws {
        // Small pages, so that a few scenarios are many pages.
        let stage = try Stage(carrier) { $0.streamRows = 5 }
        let report = try stage.post("/v1/checks?scenarios=*/int3/*", table("stream"))
        let location = try #require(report.fields["location"])
        let scenarios = try #require(report.json?.at("summary/scenarios")).integerValue
        let lines = try stage.get(location + "?format=ndjson").text.split(separator: "\n")
        #expect(lines.count == Int(scenarios ?? 0))
        #expect(lines.count > 20)
        let asked = try stage.post("/v1/checks?scenarios=*/int3/*&format=ndjson", table("stream"))
        #expect(asked.text.split(separator: "\n").count == lines.count)
        let head = try stage.send("HEAD", location + "?format=ndjson")
        #expect(head.status == 200)
        let tag = try #require(head.fields["etag"])
        #expect(try stage.send("GET", location + "?format=ndjson", [("If-None-Match", tag)]).status == 304)
    }
}

import HTTPTypes
import Synchronization
import Testing

@testable import HTTPWire

@Suite struct PieceTests {
    private func time(_ milliseconds: Int64) -> MonotonicTime { MonotonicTime(milliseconds: milliseconds) }

    @Test func aBucketGivesItsBurstThenItsRate() {
        var bucket = TokenBucket(.init(burst: 2, perSecond: 10), now: time(0))
        // A rest of 1,000 s fills the bucket, not more; a clock that goes back gives nothing.
        let moments: [Int64] = [0, 0, 0, 99, 100, 100, 1_000_000, 1_000_000, 1_000_000, 5]
        let taken = moments.map { bucket.take(now: time($0)) }
        #expect(taken == [true, true, false, false, true, false, true, true, false, false])
    }

    @Test func anOutputBufferKeepsOrderWhileItGrowsAndMoves() {
        let buffer = OutputBuffer(softLimit: 16)
        var expected: [UInt8] = []
        var seen: [UInt8] = []
        for round in 0..<200 {
            let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: round * 37 % 1500)
            buffer.append(piece)
            expected += piece
            let count = min(buffer.count, round * 53 % 1200)
            seen += Array(buffer.pending[..<count])
            buffer.consume(count)
        }
        seen += buffer.pending
        #expect(seen == expected)
    }

    @Test func sharedBytesLeaveFromWhereTheyLie() {
        let shared = SharedBytes((0..<10_000).map { UInt8(truncatingIfNeeded: $0 * 7) })
        let body = Array(shared.bytes)
        let buffer = OutputBuffer(softLimit: 1 << 20)
        var expected: [UInt8] = []
        var seen: [UInt8] = []
        func append(_ range: Range<Int>) {
            buffer.append(shared, range)
            expected += body[range]
        }
        for round in 0..<300 {
            let own = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: round % 11)
            buffer.append(own)
            expected += own
            let start = round * 31 % 8_900
            append(start..<(start + (round % 5 == 0 ? 17 : 1_100)))
            if round % 3 == 0 {
                let taken: [UInt8] = buffer.withVectors { vectors in
                    vectors.flatMap { vector in
                        Array(UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len))
                    }
                }
                #expect(buffer.pending.starts(with: taken))
                let count = min(taken.count, round * 53 % 4_001)
                seen += taken[..<count]
                buffer.consume(count)
            }
        }
        append(0..<1_100)
        let inPlace: Bool = buffer.withVectors { vectors in
            vectors.contains { vector in
                guard let base = vector.iov_base, let start = shared.bytes.baseAddress else { return false }
                return UnsafeRawPointer(base) >= start && UnsafeRawPointer(base) < start + shared.count
            }
        }
        #expect(inPlace, "nothing was copied")
        let before = buffer.count
        let rest = buffer.takeRest()
        #expect(rest.count == before && buffer.isEmpty && buffer.pending.isEmpty)
        buffer.append([1, 2, 3])
        #expect(buffer.pending == [1, 2, 3], "what was taken out does not come again")
        seen += rest.pending
        #expect(seen == expected)
    }

    @Test func producersStopAtBothLimits() {
        let shared = SharedBytes([UInt8](repeating: 1, count: 4_000))
        let copies = OutputBuffer(softLimit: 100_000, copyLimit: 1_000)
        copies.append([UInt8](repeating: 0, count: 999))
        #expect(!copies.isFull && copies.room == 1)
        copies.append([0])
        #expect(copies.isFull && copies.room == 0)
        let pieces = OutputBuffer(softLimit: 1 << 30, copyLimit: 1_000)
        var count = 0
        while !pieces.isFull {
            pieces.append(shared, 0..<4_000)
            count += 1
        }
        #expect(count == 256, "as many vectors as one call takes")
        let contiguous = OutputBuffer(softLimit: 10_000, isContiguous: true)
        contiguous.append([5])
        contiguous.append(shared, 0..<4_000)
        #expect(contiguous.withPending { $0.count } == 4_001)
        // Out of bounds is cut, not trapped on.
        contiguous.append(shared, 3_999..<9_000)
        #expect(contiguous.count == 4_002)
    }

    // MARK: - BodyPipe

    private func read(_ pipe: BodyPipe, _ count: Int) -> (BodyRead, [UInt8]) {
        var bytes = [UInt8](repeating: 0, count: count)
        let answer = bytes.withUnsafeMutableBytes { pipe.read(into: $0) }
        switch answer {
        case .bytes(let count), .last(let count): return (answer, Array(bytes[..<count]))
        default: return (answer, [])
        }
    }

    @Test func aPipeIsBoundedAndWakesBothEnds() {
        let pipe = BodyPipe(capacity: 4)
        let wakes = Mutex(0)
        let writable = Mutex(0)
        pipe.attach { wakes.withLock { $0 += 1 } }
        #expect(read(pipe, 10).0 == .notNow)
        #expect(pipe.offer([1, 2, 3]) == .accepted)
        #expect(wakes.withLock { $0 } == 1)
        #expect(pipe.offer([4, 5]) == .accepted, "the piece that crosses the capacity is taken")
        #expect(wakes.withLock { $0 } == 1, "nobody asked in between")
        #expect(pipe.offer([6]) == .full)
        pipe.whenWritable { writable.withLock { $0 += 1 } }
        #expect(writable.withLock { $0 } == 0)
        #expect(read(pipe, 2) == (.bytes(2), [1, 2]))
        #expect(writable.withLock { $0 } == 1)
        #expect(pipe.offer([6]) == .accepted)
        pipe.finish()
        #expect(pipe.offer([7]) == .closed)
        #expect(read(pipe, 10) == (.last(4), [3, 4, 5, 6]))
    }

    @Test func aFailedPipeFailsAndACancelledOneRefuses() async {
        let failed = BodyPipe()
        #expect(failed.offer([1]) == .accepted)
        failed.fail()
        #expect(read(failed, 10).0 == .failed)
        let cancelled = BodyPipe()
        cancelled.cancel()
        #expect(cancelled.isCancelled)
        #expect(cancelled.offer([1]) == .closed)
        await #expect(throws: BodyPipe.Closed.self) { try await cancelled.write([1]) }
    }

    @Test func aProducerThatOutrunsTheReaderWaits() async throws {
        let pipe = BodyPipe(capacity: 100)
        let expected = (0..<5000).map { UInt8(truncatingIfNeeded: $0) }
        let producer = Task {
            for start in stride(from: 0, to: expected.count, by: 50) {
                try await pipe.write(Array(expected[start..<start + 50]))
            }
            pipe.finish()
        }
        var seen: [UInt8] = []
        reading: while true {
            let (answer, bytes) = read(pipe, 33)
            seen += bytes
            switch answer {
            case .last: break reading
            case .notNow: await Task.yield()
            default: break
            }
        }
        try await producer.value
        #expect(seen == expected)
    }

    // MARK: - Responder

    private final class Sink: ResponseSink {
        let statuses = Mutex<[Int]>([])
        func deliver(_ response: HTTPResponse, body: ResponseBody, to exchange: ExchangeID) {
            statuses.withLock { $0.append(response.status.code) }
        }
    }

    @Test func aResponderAnswersOnce() {
        let sink = Sink()
        let responder = Responder(sink: sink, exchange: ExchangeID(connection: 1, stream: StreamID(1)))
        #expect(responder.respond(HTTPResponse(status: .ok)))
        #expect(!responder.respond(HTTPResponse(status: .notFound)))
        #expect(sink.statuses.withLock { $0 } == [200])
    }

    @Test func aForgottenResponderAnswers500() {
        let sink = Sink()
        do { _ = Responder(sink: sink, exchange: ExchangeID(connection: 1, stream: StreamID(1))) }
        #expect(sink.statuses.withLock { $0 } == [500])
    }

    @Test func cancellationReachesEarlyAndLateObservers() {
        let responder = Responder(sink: Sink(), exchange: ExchangeID(connection: 1, stream: StreamID(1)))
        let count = Mutex(0)
        responder.onCancel { count.withLock { $0 += 1 } }
        #expect(!responder.isCancelled)
        responder.markCancelled()
        responder.markCancelled()
        #expect(count.withLock { $0 } == 1)
        responder.onCancel { count.withLock { $0 += 10 } }
        #expect(count.withLock { $0 } == 11)
        #expect(responder.isCancelled)
    }
}

import Synchronization

/// A bounded pipe between a producer on any thread and the connection that pulls a response body.
///
/// Holds at most `capacity` bytes and the piece that crossed it. The producer either suspends (`write`), or is told
/// no (`offer`) and calls back when there is room (`whenWritable`).
package final class BodyPipe: BodySource {
    /// What became of an offered piece.
    package enum Offer: Sendable, Equatable {
        /// It was taken.
        case accepted
        /// It was not taken; there is no room now.
        case full
        /// It was not taken; the peer is gone or the body was finished.
        case closed
    }

    /// The peer is gone, or the body was finished before.
    package struct Closed: Error, Equatable {}

    fileprivate struct State {
        var pieces: [[UInt8]] = []
        var first = 0
        var offset = 0
        var waiting = 0
        var finished = false
        var failed = false
        var cancelled = false
        var readerAsked = false
        var wake: (@Sendable () -> Void)?
        var whenWritable: [@Sendable () -> Void] = []

        var isClosed: Bool { finished || failed || cancelled }
    }

    private let capacity: Int
    private let state = Mutex(State())

    /// An empty pipe that holds about `capacity` bytes.
    package init(capacity: Int = 256 * 1024) {
        self.capacity = max(1, capacity)
    }

    /// Whether the peer is gone; a producer may stop.
    package var isCancelled: Bool {
        state.withLock { $0.cancelled }
    }

    /// Takes `bytes` if there is room; never waits.
    package func offer(_ bytes: [UInt8]) -> Offer {
        let (answer, wake) = state.withLock { state -> (Offer, (@Sendable () -> Void)?) in
            if state.isClosed { return (.closed, nil) }
            if bytes.isEmpty { return (.accepted, nil) }
            if state.waiting >= capacity { return (.full, nil) }
            state.pieces.append(bytes)
            state.waiting += bytes.count
            return (.accepted, state.takeWake())
        }
        wake?()
        return answer
    }

    /// Waits for room, then takes `bytes`; throws `Closed` when nobody will read them.
    package func write(_ bytes: [UInt8]) async throws(Closed) {
        while true {
            switch offer(bytes) {
            case .accepted: return
            case .closed: throw Closed()
            case .full:
                await withCheckedContinuation { continuation in
                    whenWritable { continuation.resume() }
                }
            }
        }
    }

    /// Calls `body` once: when there is room again or the pipe is closed, at once if that is so already.
    ///
    /// It may be called on the connection's thread and must not block.
    package func whenWritable(_ body: @escaping @Sendable () -> Void) {
        let now = state.withLock { state -> Bool in
            if state.isClosed || state.waiting < capacity { return true }
            state.whenWritable.append(body)
            return false
        }
        if now { body() }
    }

    /// Ends the body after what was accepted.
    package func finish() {
        close { $0.finished = true }
    }

    /// Ends the stream with an error; what was accepted but not sent is dropped.
    package func fail() {
        close { $0.failed = true }
    }

    private func close(_ change: (inout State) -> Void) {
        let (wake, writers) = state.withLock { state -> ((@Sendable () -> Void)?, [@Sendable () -> Void]) in
            if state.isClosed { return (nil, []) }
            change(&state)
            return (state.takeWake(), state.takeWriters())
        }
        wake?()
        for writer in writers { writer() }
    }

    package func attach(wake: @escaping @Sendable () -> Void) {
        state.withLock { $0.wake = wake }
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyRead {
        let (answer, writers) = state.withLock { state -> (BodyRead, [@Sendable () -> Void]) in
            if state.failed { return (.failed, []) }
            let count = state.take(into: buffer)
            if state.finished && state.waiting == 0 { return (.last(count), []) }
            if count == 0 {
                state.readerAsked = true
                return (.notNow, [])
            }
            return (.bytes(count), state.waiting < capacity ? state.takeWriters() : [])
        }
        for writer in writers { writer() }
        return answer
    }

    package func cancel() {
        let writers = state.withLock { state -> [@Sendable () -> Void] in
            state.cancelled = true
            state.pieces = []
            state.first = 0
            state.waiting = 0
            state.wake = nil
            return state.takeWriters()
        }
        for writer in writers { writer() }
    }
}

extension BodyPipe.State {
    fileprivate mutating func takeWake() -> (@Sendable () -> Void)? {
        guard readerAsked else { return nil }
        readerAsked = false
        return wake
    }

    fileprivate mutating func takeWriters() -> [@Sendable () -> Void] {
        let writers = whenWritable
        whenWritable = []
        return writers
    }

    fileprivate mutating func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var copied = 0
        while copied < buffer.count, first < pieces.count {
            let piece = pieces[first]
            let count = min(piece.count - offset, buffer.count - copied)
            piece.withUnsafeBytes { bytes in
                UnsafeMutableRawBufferPointer(rebasing: buffer[copied...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
            }
            copied += count
            offset += count
            if offset == piece.count {
                pieces[first] = []
                first += 1
                offset = 0
            }
        }
        // Popping from the front one by one would move the whole array each time.
        if first == pieces.count {
            pieces.removeAll(keepingCapacity: true)
            first = 0
        } else if first >= 64 {
            pieces.removeFirst(first)
            first = 0
        }
        waiting -= copied
        return copied
    }
}

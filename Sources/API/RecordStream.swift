import HTTPWire
import Synchronization

/// A body made page by page from the store while it is sent: a list of any length costs the memory of two pages.
///
/// Pages are read on the threads for short requests, one ahead of what the peer has taken.
final class RecordStream: BodySource {
    /// A page's bytes, and whether another follows.
    typealias Page = (bytes: [UInt8], isLast: Bool)

    private struct State {
        var bytes: [UInt8] = []
        var offset = 0
        var isLoading = false
        var isComplete = false
        var hasFailed = false
        var isCancelled = false
        var wake: (@Sendable () -> Void)?
        /// Stands for the memory that it takes.
        var held: HeldAnswer?
    }

    private let state = Mutex(State())
    /// Reads the next page; nil when that fails. Called on one thread at a time.
    private let next: @Sendable () -> Page?
    private let queue: any WorkQueue
    private let client: String
    /// More is loaded when less than this is left.
    private static let lowBytes = 16 * 1024

    /// What a stream that begins with a page of so many bytes takes at most, if the others are like it.
    static func memory_bytes(first count_bytes: Int) -> Int { lowBytes + 2 * count_bytes }

    /// A stream that begins with `first`.
    init(
        first: Page, queue: any WorkQueue, client: String = "", held: HeldAnswer? = nil,
        next: @escaping @Sendable () -> Page?
    ) {
        self.next = next
        self.queue = queue
        self.client = client
        state.withLock { state in
            state.bytes = first.bytes
            state.isComplete = first.isLast
            state.held = held
        }
    }

    func attach(wake: @escaping @Sendable () -> Void) { state.withLock { $0.wake = wake } }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyRead {
        let (answer, mustLoad) = state.withLock { state -> (BodyRead, Bool) in
            if state.hasFailed { return (.failed, false) }
            let count = min(buffer.count, state.bytes.count - state.offset)
            state.bytes.withUnsafeBytes { bytes in
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[state.offset..<(state.offset + count)]))
            }
            state.offset += count
            let left = state.bytes.count - state.offset
            if state.isComplete && left == 0 { return (.last(count), false) }
            let mustLoad = left < Self.lowBytes && !state.isLoading && !state.isComplete
            if mustLoad { state.isLoading = true }
            return (count > 0 ? .bytes(count) : .notNow, mustLoad)
        }
        if mustLoad && !queue.submit(for: client, { [self] in load() }) {
            // Overloaded: this body is cut off, and the peer sees that it is.
            state.withLock { $0.hasFailed = true }
            return .failed
        }
        return answer
    }

    private func load() {
        if state.withLock({ $0.isCancelled }) { return }
        let page = next()
        let wake = state.withLock { state -> (@Sendable () -> Void)? in
            state.isLoading = false
            if let page {
                state.bytes.removeFirst(state.offset)
                state.offset = 0
                state.bytes += page.bytes
                state.isComplete = page.isLast
            } else {
                state.hasFailed = true
            }
            return state.wake
        }
        wake?()
    }

    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            state.bytes = []
            state.offset = 0
            state.wake = nil
            state.held = nil
        }
    }

    /// The whole body at once, for who has no connection to send it on; nil when it failed.
    func collect() -> [UInt8]? {
        var all = state.withLock { Array($0.bytes[$0.offset...]) }
        var isLast = state.withLock { $0.isComplete }
        while !isLast {
            guard let page = next() else { return nil }
            all += page.bytes
            isLast = page.isLast
        }
        return all
    }
}

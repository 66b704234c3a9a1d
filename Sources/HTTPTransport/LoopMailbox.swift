import CLibevent
import Glibc
import HTTPTypes
import HTTPWire
import Synchronization

/// What other threads ask of an event loop.
enum LoopMessage: Sendable {
    case respond(ExchangeID, HTTPResponse, ResponseBody)
    case resume(ExchangeID)
    /// Stop gracefully, but be gone after this many milliseconds.
    case stop(graceMilliseconds: Int64)
}

/// The way into an event loop from any thread.
///
/// Messages that pile up while the loop is busy cost one wake-up together.
final class LoopMailbox: ResponseSink {
    private struct State {
        var messages: [LoopMessage] = []
        var isClosed = false
    }

    private let state = Mutex(State())
    private let wakeup: Descriptor
    private let thread = Atomic<UInt>(0)
    /// Read and written on the loop's thread only: `deliver` compares threads before it looks.
    ///
    /// Strong, and undone by `close`: a weak reference would put every reference count of the loop on the slow path.
    private nonisolated(unsafe) var loop: EventLoop?

    /// An open mailbox; nil when the system has no descriptor for it.
    init?() {
        guard let wakeup = Descriptor(gatehouse_eventfd()) else {
            return nil
        }
        self.wakeup = wakeup
    }

    /// The descriptor that becomes readable when there are messages.
    var descriptor: Int32 { wakeup.number }

    /// Names the loop; called on its thread before anything is delivered.
    func attach(_ loop: EventLoop) {
        self.loop = loop
        thread.store(pthread_self(), ordering: .releasing)
    }

    func deliver(_ response: HTTPResponse, body: ResponseBody, to exchange: ExchangeID) {
        // A handler that answers before it returns needs neither lock nor wake-up.
        if thread.load(ordering: .acquiring) == pthread_self(),
            loop?.answerNow(response, body: body, to: exchange) == true
        {
            return
        }
        post(.respond(exchange, response, body))
    }

    /// Leaves a message; dropped when the loop has ended.
    func post(_ message: LoopMessage) {
        let (mustWake, isClosed) = state.withLock { state in
            if state.isClosed { return (false, true) }
            state.messages.append(message)
            return (state.messages.count == 1, false)
        }
        if isClosed, case .respond(_, _, .source(let source)) = message { source.cancel() }
        if mustWake {
            var one: UInt64 = 1
            _ = write(wakeup.number, &one, MemoryLayout<UInt64>.size)
        }
    }

    /// Takes all messages.
    func take() -> [LoopMessage] {
        var count: UInt64 = 0
        _ = read(wakeup.number, &count, MemoryLayout<UInt64>.size)
        return state.withLock { state in
            let messages = state.messages
            state.messages = []
            return messages
        }
    }

    /// Refuses further messages and forgets the loop, which has ended; called on its thread.
    func close() {
        thread.store(0, ordering: .releasing)
        loop = nil
        let left = state.withLock { state in
            state.isClosed = true
            let messages = state.messages
            state.messages = []
            return messages
        }
        for case .respond(_, _, .source(let source)) in left { source.cancel() }
    }
}

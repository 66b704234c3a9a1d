package import HTTPTypes
import Synchronization

/// The right to answer one request, once, from any thread.
package final class Responder: Sendable {
    /// The request that this answers.
    package let exchange: ExchangeID
    private let sink: any ResponseSink
    /// Stands for the request's place in work; released when it is answered.
    private let place: Mutex<(any AnyObject & Sendable)?>
    private let answered = Atomic<Bool>(false)
    private let cancellation = Mutex(Cancellation())

    private struct Cancellation {
        var isCancelled = false
        var observers: [@Sendable () -> Void] = []
    }

    /// A responder that delivers to `sink`.
    package init(sink: any ResponseSink, exchange: ExchangeID, place: (any AnyObject & Sendable)? = nil) {
        self.sink = sink
        self.place = Mutex(place)
        self.exchange = exchange
    }

    deinit {
        // A handler that forgot its request must not leave the peer waiting, nor the place in work taken.
        if !answered.load(ordering: .relaxed) {
            let (response, body) = StandardAnswer.unanswered.response(path: nil)
            sink.deliver(response, body: body, to: exchange)
        }
    }

    /// Answers the request; false, and without effect, when it was answered before.
    ///
    /// Answer cancelled requests too: that is what frees their place (`WireLimits.requestsInWork`).
    @discardableResult
    package func respond(_ response: HTTPResponse, body: ResponseBody = .empty) -> Bool {
        guard !answered.exchange(true, ordering: .relaxed) else { return false }
        place.withLock { $0 = nil }
        sink.deliver(response, body: body, to: exchange)
        return true
    }

    /// Whether the request was answered.
    package var isAnswered: Bool {
        answered.load(ordering: .relaxed)
    }

    /// Whether the peer gave the request up, or its connection is gone.
    package var isCancelled: Bool {
        cancellation.withLock { $0.isCancelled }
    }

    /// Calls `body` once when the peer gives the request up, at once if it has; on the event-loop thread, so it must not block.
    package func onCancel(_ body: @escaping @Sendable () -> Void) {
        let now = cancellation.withLock { cancellation -> Bool in
            if !cancellation.isCancelled { cancellation.observers.append(body) }
            return cancellation.isCancelled
        }
        if now { body() }
    }

    /// Tells the handler that the request was given up; for the owner of the connection.
    package func markCancelled() {
        let observers = cancellation.withLock { cancellation -> [@Sendable () -> Void] in
            cancellation.isCancelled = true
            let observers = cancellation.observers
            cancellation.observers = []
            return observers
        }
        for observer in observers { observer() }
    }
}

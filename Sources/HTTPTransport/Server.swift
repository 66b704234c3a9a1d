import Glibc
package import HTTPWire
import Synchronization

/// Listeners and event loops: the running service, seen from outside.
package final class Server: Sendable {
    private let limits: TransportLimits
    private let handler: any RequestHandler
    private let admission: Admission
    private let tls = TLSStore()
    private let state = Mutex(State.created)
    /// Held while a stop waits for the threads, so that a second stop returns only when the first has.
    private let stopping = Mutex(())

    private enum State {
        case created
        case running([Thread], addresses: [SocketAddress])
        case stopped(CountersSnapshot)
    }

    private struct Thread {
        let mailbox: LoopMailbox
        let counters: LoopCounters
        let thread: pthread_t
    }

    /// A server that is not started; `handler` is called on its event-loop threads.
    package init(handler: any RequestHandler, limits: TransportLimits = TransportLimits()) {
        self.handler = handler
        self.limits = limits
        admission = Admission(limits: limits)
    }

    /// Binds `addresses` and serves them on `threads` event loops; returns once connections are accepted.
    ///
    /// Port 0 lets the system choose: see `addresses`. A server starts once.
    package func start(on addresses: [SocketAddress], threads: Int = 1) throws(ListenError) {
        try start(on: addresses.map { .address($0, isTLS: false) }, threads: threads)
    }

    /// Reads certificate and key for the connections to come; those that are open keep theirs.
    ///
    /// Before `start` where an endpoint has TLS, and again when the files have changed.
    package func loadTLS(_ files: TLSFiles) throws(TLSError) { tls.replace(try TLSContext(files)) }

    /// The same for any endpoints; those with TLS need `loadTLS` first.
    package func start(on endpoints: [Endpoint], threads: Int = 1) throws(ListenError) {
        // A peer that closes while we write must be an error code, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let isNew = state.withLock { state in
            if case .created = state { true } else { false }
        }
        precondition(isNew, "a server starts once")
        let loopCount = max(1, threads)
        var bound: [SocketAddress] = []
        var listeners: [[Listener]] = Array(repeating: [], count: loopCount)
        for endpoint in endpoints {
            switch endpoint {
            case .address(var target, let isTLS):
                for index in 0..<loopCount {
                    let (socket, actual) = try Descriptor.listening(
                        on: target, backlog: limits.backlog, shared: loopCount > 1)
                    listeners[index].append(Listener(socket: socket, isTLS: isTLS))
                    // The other loops share the port that the system chose for the first.
                    target = actual
                }
                bound.append(target)
            case .inherited(let number, let isTLS):
                // One socket for all loops: whichever is awake first accepts.
                for index in 0..<loopCount {
                    let (socket, actual) = try Descriptor.inherited(number)
                    listeners[index].append(Listener(socket: socket, isTLS: isTLS, isInherited: true))
                    if index == 0 { bound.append(actual) }
                }
            }
        }
        var running: [Thread] = []
        for sockets in listeners {
            guard let thread = startThread(sockets) else { continue }
            running.append(thread)
        }
        if running.count < loopCount {
            for thread in running { Self.stop(thread, graceMilliseconds: 0) }
            throw ListenError(address: "event loops", operation: "thread", code: EAGAIN)
        }
        state.withLock { $0 = .running(running, addresses: bound) }
    }

    /// The addresses that are served, with their real ports; empty before the start and after the stop.
    package var addresses: [SocketAddress] {
        state.withLock { state in
            if case .running(_, let addresses) = state { addresses } else { [] }
        }
    }

    /// The totals so far, over all event loops.
    package var counters: CountersSnapshot {
        state.withLock { state in
            switch state {
            case .created: return CountersSnapshot()
            case .running(let threads, _):
                var total = Self.total(threads)
                total.heldBodyBytes = admission.bodies.heldBytes
                return total
            case .stopped(let last): return last
            }
        }
    }

    /// Stops gracefully and returns when all threads have ended.
    ///
    /// Accepts nothing more, tells every peer (GOAWAY), answers what was asked, and closes what is left after
    /// `gracePeriod`. Idempotent; callable from any thread but those of the event loops; blocks.
    package func stop(gracePeriod: Duration) {
        let (seconds, attoseconds) = gracePeriod.components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        stopping.withLock { _ in
            let running = state.withLock { state -> [Thread] in
                if case .running(let threads, _) = state { return threads }
                return []
            }
            for thread in running { thread.mailbox.post(.stop(graceMilliseconds: milliseconds)) }
            for thread in running { pthread_join(thread.thread, nil) }
            state.withLock { state in
                if case .running(let threads, _) = state { state = .stopped(Self.total(threads)) }
            }
        }
    }

    private static func total(_ threads: [Thread]) -> CountersSnapshot {
        var total = CountersSnapshot()
        for thread in threads { total += thread.counters.snapshot }
        return total
    }

    private static func stop(_ thread: Thread, graceMilliseconds: Int64) {
        thread.mailbox.post(.stop(graceMilliseconds: graceMilliseconds))
        pthread_join(thread.thread, nil)
    }

    /// What a new thread is given; an event loop is made on its own thread and never leaves it.
    private final class Start: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) {
            self.body = body
        }
    }

    private func startThread(_ listeners: [Listener]) -> Thread? {
        guard let mailbox = LoopMailbox() else { return nil }
        let counters = LoopCounters()
        let start = Start { [limits, handler, admission, tls] in
            let loop = EventLoop(
                limits: limits, handler: handler, mailbox: mailbox, admission: admission, counters: counters,
                listeners: listeners, tls: tls)
            loop?.run()
        }
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(start)
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, argument.toOpaque())
        guard result == 0 else {
            argument.release()
            return nil
        }
        return Thread(mailbox: mailbox, counters: counters, thread: thread)
    }
}

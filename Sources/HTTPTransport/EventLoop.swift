import CLibevent
import Glibc
import HTTPTypes
import HTTPWire

/// One thread's listeners and connections.
///
/// Created, used and released on its own thread; other threads reach it through its `LoopMailbox`.
final class EventLoop {
    let limits: TransportLimits
    let handler: any RequestHandler
    let mailbox: LoopMailbox
    let admission: Admission
    let counters: LoopCounters
    let base: EventBase

    /// Where every read of this loop lands: one cache-warm buffer for all connections.
    let input: UnsafeMutableRawBufferPointer
    /// Where every connection produces its output; what the socket does not take moves to the connection.
    let output: OutputBuffer
    /// The same before it is encrypted.
    let plaintext: OutputBuffer
    let scratch: WireScratch
    /// The `date` field of this second.
    private(set) var date: [UInt8] = []
    /// Which second that is, seconds since 1970.
    private(set) var dateSeconds = 0

    var connections: [UInt64: Connection] = [:]
    private var nextConnection: UInt64 = 1
    /// The connection whose request the handler has in hands right now.
    @exclusivity(unchecked) var handling: Connection?

    private var listeners: [Listener]
    private let tls: TLSStore
    private var acceptEvents: [Event] = []
    private var wakeEvent: Event?
    private var tickEvent: Event?
    /// Given up when descriptors run out, to accept one connection and close it.
    private var reserve: Descriptor?
    private var acceptPausedUntil: MonotonicTime?
    /// Set by a graceful stop; what is open then is closed.
    private var stopBy: MonotonicTime?
    /// Set when that has come: the answers that say so are written until then.
    private var lastAnswersBy: MonotonicTime?

    /// Connections whose timers are still to be looked at in this round.
    private var tickQueue: [UInt64] = []
    /// At least as many are looked at each time.
    private static let tickShare = 1024
    /// A graceful stop has begun.
    var isStopping: Bool { stopBy != nil }

    /// Milliseconds between two looks at the timers.
    private static let tickMilliseconds: Int64 = 100

    /// A loop over `listeners`; nil when the system gives no event base.
    init?(
        limits: TransportLimits, handler: any RequestHandler, mailbox: LoopMailbox, admission: Admission,
        counters: LoopCounters, listeners: [Listener], tls: TLSStore
    ) {
        guard let base = EventBase() else { return nil }
        self.base = base
        self.limits = limits
        scratch = WireScratch(limits: limits.wire)
        self.handler = handler
        self.mailbox = mailbox
        self.admission = admission
        self.counters = counters
        self.listeners = listeners
        self.tls = tls
        input = .allocate(byteCount: limits.readBytes, alignment: 64)
        output = OutputBuffer(softLimit: limits.writeBytes, copyLimit: limits.copyBytes)
        plaintext = OutputBuffer(softLimit: limits.encryptBytes, isContiguous: true)
        reserve = Descriptor(Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC))
    }

    deinit {
        input.deallocate()
    }

    /// Serves until a stop message; then releases everything.
    func run() {
        mailbox.attach(self)
        let wake = Event(base, .readable(mailbox.descriptor)) { [unowned self] in readMailbox() }
        wake.activate()
        wakeEvent = wake
        let tick = Event(base, .timer) { [unowned self] in self.tick() }
        tick.activate(everyMilliseconds: Self.tickMilliseconds)
        tickEvent = tick
        for listener in listeners {
            let event = Event(base, .readable(listener.socket.number)) { [unowned self] in accept(from: listener) }
            event.activate()
            acceptEvents.append(event)
        }
        base.dispatch()
        for connection in Array(connections.values) { connection.close() }
        mailbox.close()
        acceptEvents = []
        wakeEvent = nil
        tickEvent = nil
    }

    /// The time, with the `date` field brought up to it.
    func readClock() -> MonotonicTime {
        let seconds = Clock.wallSeconds
        if seconds != dateSeconds {
            dateSeconds = seconds
            date = Clock.httpDate(wallSeconds: seconds)
        }
        return Clock.monotonic
    }

    // MARK: - Accepting

    private func accept(from listener: Listener) {
        let now = readClock()
        // A bound, so that a burst of connections does not starve those that are open.
        for _ in 0..<64 {
            var storage = sockaddr_storage()
            let number = gatehouse_accept(listener.socket.number, &storage)
            guard let socket = Descriptor(number) else {
                if errno == EMFILE || errno == ENFILE { return ranOutOfDescriptors(listener, now) }
                if errno == ECONNABORTED || errno == EINTR { continue }
                return
            }
            guard let peer = SocketAddress(storage) else { continue }
            let network = peer.peer.network
            var outcome = admission.admit(network, now: now)
            if outcome.refusal == .connectionLimit && makeRoom(for: network) {
                outcome = admission.admit(network, now: now)
            }
            switch outcome {
            case .refused(let refusal): counters.tripped(refusal)
            case .admitted(let share):
                open(socket, isTLS: listener.isTLS, peer: peer.peer, share: share, now: now)
            }
        }
    }

    /// Closes a connection of this loop for a new one of `network`; false when none should give way.
    ///
    /// Half-open requests and silence cost an attacker nothing and must not keep others out. First those that are about to ask
    /// nothing, of the address with most connections, which never asked anything, the oldest of them.
    private func makeRoom(for network: String) -> Bool {
        typealias Rank = (Bool, Int, Bool, UInt64)
        var best: (rank: Rank, connection: Connection)?
        for connection in connections.values where connection.isExpendable {
            let count = connection.share.connections.load(ordering: .relaxed)
            let rank: Rank = (connection.isBusy, -count, connection.hasAsked, connection.id)
            if best.map({ Self.precedes(rank, $0.rank) }) ?? true { best = (rank, connection) }
        }
        guard let victim = best?.connection else { return false }
        // Whoever has as many does not push others out.
        let count = victim.share.connections.load(ordering: .relaxed)
        guard victim.peer.network == network || count > admission.connections(of: network) else { return false }
        counters.tripped(.evicted)
        victim.close()
        return true
    }

    private static func precedes(_ left: (Bool, Int, Bool, UInt64), _ right: (Bool, Int, Bool, UInt64)) -> Bool {
        if left.0 != right.0 { return !left.0 }
        if left.1 != right.1 { return left.1 < right.1 }
        if left.2 != right.2 { return !left.2 }
        return left.3 < right.3
    }

    private func open(
        _ socket: Descriptor, isTLS: Bool, peer: PeerAddress, share: NetworkShare, now: MonotonicTime
    ) {
        socket.setOption(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        // What a slow reader does not take must not pile up in the kernel either.
        socket.setOption(Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, Int32(clamping: limits.unsentBytes))
        var session: TLSSession?
        if isTLS {
            session = tls.current.flatMap {
                TLSSession($0, socket: socket.number, output: output, keyUpdates: limits.wire.keyUpdates, now: now)
            }
            // Without a session there is nothing that could be said.
            if session == nil { return admission.release(peer.network) }
        }
        let connection = Connection(
            id: nextConnection, socket: socket, tls: session, peer: peer, share: share, loop: self, now: now)
        connections[nextConnection] = connection
        nextConnection += 1
        counters.connectionOpened()
        connection.start()
    }

    /// Takes the waiting connection with the reserved descriptor, closes it, and pauses: the alternative is to spin on
    /// a listener that stays readable.
    private func ranOutOfDescriptors(_ listener: Listener, _ now: MonotonicTime) {
        counters.tripped(.descriptors)
        reserve = nil
        var storage = sockaddr_storage()
        _ = Descriptor(gatehouse_accept(listener.socket.number, &storage))
        reserve = Descriptor(Glibc.open("/dev/null", O_RDONLY | O_CLOEXEC))
        acceptPausedUntil = MonotonicTime(milliseconds: now.milliseconds + limits.acceptPauseMilliseconds)
        for event in acceptEvents { event.deactivate() }
    }

    /// Forgets a connection; called by the connection when it closed.
    func closed(_ connection: Connection) {
        guard connections.removeValue(forKey: connection.id) != nil else { return }
        admission.release(connection.peer.network)
        counters.connectionClosed()
        if stopBy != nil && connections.isEmpty { base.stop() }
    }

    // MARK: - Timers and messages

    private func tick() {
        let now = readClock()
        if let until = acceptPausedUntil, until < now {
            acceptPausedUntil = nil
            for event in acceptEvents { event.activate() }
        }
        tickConnections(now: now)
        guard let stopBy, stopBy < now else { return }
        if let lastAnswersBy {
            if lastAnswersBy < now { base.stop() }
            return
        }
        // Who still waits is told to come back, and gets a moment to read that.
        lastAnswersBy = MonotonicTime(milliseconds: now.milliseconds + limits.lastAnswerMilliseconds)
        var areAnswered = false
        for connection in Array(connections.values) where connection.answerStopping(now: now) { areAnswered = true }
        if !areAnswered { base.stop() }
    }

    /// Looks at all connections, but where there are thousands at a share of them, so that each is looked at every
    /// second and none of them waits for all the others.
    private func tickConnections(now: MonotonicTime) {
        if tickQueue.isEmpty { tickQueue = Array(connections.keys) }
        let count = min(tickQueue.count, max(Self.tickShare, connections.count / 8))
        let share = tickQueue.suffix(count)
        tickQueue.removeLast(count)
        for id in share { connections[id]?.tick(now: now) }
    }

    private func readMailbox() {
        let now = readClock()
        var touched: [UInt64: Connection] = [:]
        for message in mailbox.take() {
            switch message {
            case .respond(let exchange, let response, let body):
                counters.requestEnded()
                if let connection = connections[exchange.connection] {
                    connection.respond(response, body: body, to: exchange.stream, now: now)
                    touched[exchange.connection] = connection
                } else if case .source(let source) = body {
                    source.cancel()
                }
            case .resume(let exchange):
                guard let connection = connections[exchange.connection] else { continue }
                connection.resume(exchange.stream)
                touched[exchange.connection] = connection
            case .stop(let grace):
                beginStop(now: now, graceMilliseconds: grace)
            }
        }
        // One write for all answers of a connection that came together.
        for connection in touched.values { connection.pump(now: now) }
    }

    private func beginStop(now: MonotonicTime, graceMilliseconds: Int64) {
        guard stopBy == nil else { return }
        stopBy = MonotonicTime(milliseconds: now.milliseconds + graceMilliseconds)
        acceptEvents = []
        acceptPausedUntil = nil
        // Ends the listening now: the thread's start still holds a reference to the descriptors.
        for listener in listeners where !listener.isInherited { shutdown(listener.socket.number, Int32(SHUT_RDWR)) }
        listeners = []
        for connection in Array(connections.values) { connection.beginStop(now: now) }
        if connections.isEmpty { base.stop() }
    }

    /// Takes an answer that the handler gives before it returns; false when it must go through the mailbox.
    func answerNow(_ response: HTTPResponse, body: ResponseBody, to exchange: ExchangeID) -> Bool {
        guard let handling, handling.id == exchange.connection else { return false }
        counters.requestEnded()
        handling.respond(response, body: body, to: exchange.stream, now: handling.now)
        return true
    }
}

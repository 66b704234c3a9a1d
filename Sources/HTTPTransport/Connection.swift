import Glibc
import HTTPTypes
import HTTPWire

/// One accepted socket and the protocol on it; confined to its event loop's thread.
final class Connection {
    let id: UInt64
    let peer: PeerAddress
    /// The connections and bodies of its address.
    let share: NetworkShare
    let socket: Descriptor
    unowned let loop: EventLoop
    var codec: ServerConnection
    let tls: TLSSession?
    /// The time by which TLS must be set up; nil once it is, and for a connection in the clear.
    var handshakeBy: MonotonicTime?
    /// The time of the wake-up that is being served.
    var now: MonotonicTime

    var readEvent: Event?
    var writeEvent: Event?
    /// Output that the socket did not take; while there is any, nothing is read and nothing produced.
    var waiting: OutputBuffer?
    /// Progress of that output is measured from this moment on.
    var waitingSince: MonotonicTime
    var sentWhileWaiting = 0
    var sentSinceStart = 0
    /// Reading goes on when the protocol can use more.
    private var isReadPaused = false
    var isClosed = false
    /// Set when the protocol is over: what is left is written, then discarded bytes are read until the peer closes.
    var endingSince: MonotonicTime?
    var isShutDown = false
    /// What came since, and when last.
    private var lingered = 0
    var lingeredAt: MonotonicTime
    /// A guard against floods or a connection error ended it: what still comes is worth little.
    var wasFlood = false
    /// It had a complete request.
    var hasAsked = false
    /// TLS has failed: what was said about it is on its way, and what comes is not looked at any more.
    var isDrained = false
    private var isPumping = false
    private var dateSeconds = 0

    /// Requests whose body is still coming.
    var uploads: [StreamID: Upload] = [:]
    /// Requests whose handler answers later, to be told of cancellation.
    var pending: [StreamID: Pending] = [:]

    /// The last request whose answer was at hand, and that answer.
    @exclusivity(unchecked) var lastHead: ReceivedHead?
    @exclusivity(unchecked) var lastAnswer: PreparedAnswer?

    struct Upload {
        var head: HTTPRequest
        var body: [UInt8] = []
        let held: HeldBody
        /// How much came since when: looked at while memory for bodies is scarce.
        var windowBegan: MonotonicTime
        var windowBytes = 0
    }

    struct Pending {
        weak var responder: Responder?
    }

    init(
        id: UInt64, socket: Descriptor, tls: TLSSession?, peer: PeerAddress, share: NetworkShare, loop: EventLoop,
        now: MonotonicTime
    ) {
        self.id = id
        self.socket = socket
        self.tls = tls
        self.peer = peer
        self.share = share
        self.loop = loop
        self.now = now
        waitingSince = now
        lingeredAt = now
        codec = ServerConnection(scratch: loop.scratch, now: now)
        if tls != nil {
            handshakeBy = MonotonicTime(milliseconds: now.milliseconds + loop.limits.wire.prefaceMilliseconds)
        }
    }

    /// Begins to read.
    func start() {
        readEvent = Event(loop.base, .readable(socket.number)) { [unowned self] in readable() }
        readEvent?.activate()
    }

    /// Closes the socket at once and tells everyone who works for it.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        readEvent = nil
        writeEvent = nil
        uploads = [:]
        let cancelled = pending
        pending = [:]
        loop.closed(self)
        for entry in cancelled.values { entry.responder?.markCancelled() }
    }

    // MARK: - Reading and writing

    private func readable() {
        let now = loop.readClock()
        if handshakeBy != nil { return shakeHands(now: now) }
        // A few reads per wake-up save polls; each is followed by a flush, as the guards need it.
        for _ in 0..<4 {
            guard let count = receive() else { return }
            loop.counters.received(count)
            if endingSince != nil {
                guard linger(count, now: now) else { return }
                continue
            }
            // Before anything is answered: an answer to a bad head has a date too (RFC 9110 section 6.6.1).
            stampDate()
            codec.receive(UnsafeRawBufferPointer(rebasing: loop.input[..<count]), now: now)
            pump(now: now)
            if isClosed || waiting != nil || isReadPaused { return }
            if count < loop.input.count && tls == nil { return }
        }
        if tls?.hasPending == true, !isDrained { readEvent?.fire() }
    }

    /// Drops what comes after the end; false when that was too much.
    private func linger(_ count: Int, now: MonotonicTime) -> Bool {
        lingered += count
        lingeredAt = now
        let isGenerous = codec.mayEndBeforeABody && !wasFlood
        let limit = isGenerous ? loop.limits.lingerBytes : loop.limits.lingerBytesAfterFlood
        guard lingered > limit else { return true }
        close()
        return false
    }

    private func stampDate() {
        guard dateSeconds != loop.dateSeconds else { return }
        dateSeconds = loop.dateSeconds
        codec.date = loop.date
    }

    /// Reads into the loop's buffer; nil when there is nothing more now, or ever.
    private func receive() -> Int? {
        guard let tls, !isDrained else {
            while true {
                let count = recv(socket.number, loop.input.baseAddress, loop.input.count, 0)
                if count > 0 { return count }
                if count < 0 && errno == EINTR { continue }
                if count == 0 || errno != EAGAIN { close() }
                return nil
            }
        }
        let outcome = tls.read(into: loop.input, now: now)
        // Keys may have been exchanged.
        if outcome != .failed { sendOutput() }
        if isClosed { return nil }
        switch outcome {
        case .done(let count): return count
        case .wantsRead: return nil
        case .ended:
            close()
            return nil
        case .failed:
            if tls.wasFlooded {
                wasFlood = true
                loop.counters.tripped(.keyUpdates)
                loop.admission.penalize(peer.network, now: now)
            }
            drain()
            return nil
        }
    }

    func writable() {
        let now = loop.readClock()
        if handshakeBy != nil {
            self.now = now
            if flushWaiting() { shakeHands(now: now) }
            return
        }
        pump(now: now)
    }

    /// Hands out events and writes output until neither is left, then acts on the protocol's end.
    func pump(now: MonotonicTime) {
        guard !isClosed, !isPumping, !isDrained else { return }
        isPumping = true
        self.now = now
        stampDate()
        // Output can cause events (a guard that counts what was sent) and events output.
        repeat { drainEvents() } while flush() && !isClosed
        drainEvents()
        isPumping = false
        guard !isClosed else { return }
        switch codec.closeDecision {
        case .keepOpen: pauseOrResume()
        case .closeNow: close()
        case .closeAfterFlush: finish()
        }
    }

    /// Reads while the protocol can use it; a client that sends ahead waits for its turn in the network.
    private func pauseOrResume() {
        guard codec.wantsInput == isReadPaused else { return }
        isReadPaused.toggle()
        if isReadPaused {
            readEvent?.deactivate()
        } else if waiting == nil {
            resumeReading()
        }
    }

    func resumeReading() {
        guard !isReadPaused || endingSince != nil else { return }
        readEvent?.activate()
        if tls?.hasPending == true { readEvent?.fire() }
    }

    /// The protocol is over: closes once the last bytes are taken.
    private func finish() {
        if endingSince == nil {
            endingSince = now
            lingeredAt = now
        }
        guard waiting == nil, !isShutDown else { return }
        // Closing with unread input makes the kernel send RST, which can overtake the last answer; so the peer
        // gets an end of file and a moment to close first.
        isShutDown = true
        if let tls {
            tls.sendClose()
            _ = send(loop.output)
            loop.output.removeAll()
            if isClosed { return }
        }
        shutdown(socket.number, Int32(SHUT_WR))
        readEvent?.activate()
    }

    /// Looks at the timers.
    func tick(now: MonotonicTime) {
        guard !isClosed else { return }
        // A connection keeps no answer alive that nobody else keeps, and nothing at all while it is idle.
        if lastHead != nil, lastAnswer?.isCurrent == false || !codec.isBusy {
            lastHead = nil
            lastAnswer = nil
        }
        if let endingSince {
            let limits = loop.limits
            let isHurried = wasFlood || loop.isStopping
            let total = isHurried ? limits.lingerMilliseconds : limits.lingerTotalMilliseconds
            if now.since(lingeredAt) > limits.lingerMilliseconds || now.since(endingSince) > total { close() }
            return
        }
        if let handshakeBy {
            guard handshakeBy < now else { return }
            loop.counters.tripped(.prefaceTimeout)
            return close()
        }
        if waiting != nil, isTakingTooLittle(now: now) {
            loop.counters.tripped(.writeTimeout)
            return close()
        }
        codec.checkDeadlines(now: now, outputIsBlocked: waiting != nil)
        self.now = now
        if !uploads.isEmpty { checkUploads() }
        pump(now: now)
    }

    /// Whether it may be closed to make room: nothing complete was asked that is not answered.
    var isExpendable: Bool { endingSince == nil && waiting == nil && pending.isEmpty && !codec.servesRequest }
    /// Whether it is about to ask something.
    var isBusy: Bool { codec.isBusy }

    func beginStop(now: MonotonicTime) {
        if handshakeBy != nil { return close() }
        codec.beginStop(now: now)
        pump(now: now)
    }
}

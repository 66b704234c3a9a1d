import Glibc
import HTTPTypes
import HTTPWire

/// One accepted socket and the protocol on it; confined to its event loop's thread.
final class Connection {
    let id: UInt64
    let peer: PeerAddress
    /// The connections and bodies of its address.
    let share: NetworkShare
    private let socket: Descriptor
    unowned let loop: EventLoop
    private(set) var codec: ServerConnection
    private let tls: TLSSession?
    /// The time by which TLS must be set up; nil once it is, and for a connection in the clear.
    private var handshakeBy: MonotonicTime?
    /// The time of the wake-up that is being served.
    var now: MonotonicTime

    private var readEvent: Event?
    private var writeEvent: Event?
    /// Output that the socket did not take; while there is any, nothing is read and nothing produced.
    private var waiting: OutputBuffer?
    /// Progress of that output is measured from this moment on.
    private var waitingSince: MonotonicTime
    private var sentWhileWaiting = 0
    private var sentSinceStart = 0
    /// Reading goes on when the protocol can use more.
    private var isReadPaused = false
    var isClosed = false
    /// Set when the protocol is over: what is left is written, then discarded bytes are read until the peer closes.
    private var endingSince: MonotonicTime?
    private var isShutDown = false
    /// What came since, and when last.
    private var lingered = 0
    private var lingeredAt: MonotonicTime
    /// A guard against floods or a connection error ended it: what still comes is worth little.
    var wasFlood = false
    /// It had a complete request.
    var hasAsked = false
    /// TLS has failed: what was said about it is on its way, and what comes is not looked at any more.
    private var isDrained = false
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
        let outcome = tls.read(into: loop.input)
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
            drain()
            return nil
        }
    }

    /// Ends a connection whose TLS has failed once the peer had a moment to read why.
    ///
    /// OpenSSL has an alert to send. Closing with unread input, such as the request that a client of TLS 1.3 sends with its
    /// last flight, makes the kernel send RST, which overtakes the alert.
    private func drain() {
        isDrained = true
        isShutDown = true
        handshakeBy = nil
        endingSince = now
        lingeredAt = now
        if waiting == nil { sendOutput() }
        if isClosed { return }
        waiting = nil
        loop.output.removeAll()
        writeEvent?.deactivate()
        shutdown(socket.number, Int32(SHUT_WR))
        // Whoever works for it works for nobody.
        uploads = [:]
        let cancelled = pending
        pending = [:]
        for entry in cancelled.values { entry.responder?.markCancelled() }
        readEvent?.activate()
    }

    private func writable() {
        let now = loop.readClock()
        if handshakeBy != nil {
            self.now = now
            if flushWaiting() { shakeHands(now: now) }
            return
        }
        pump(now: now)
    }

    /// Sets up TLS, then hands the connection to the protocol that was agreed on.
    private func shakeHands(now: MonotonicTime) {
        guard let tls else { return }
        self.now = now
        let outcome = tls.handshake()
        if outcome != .failed { sendOutput() }
        if isClosed { return }
        switch outcome {
        case .done:
            handshakeBy = nil
            codec = ServerConnection(
                scratch: loop.scratch, negotiated: tls.isHTTP2 ? .http2 : .http1, now: now)
            codec.date = loop.date
            if loop.isStopping { codec.beginStop(now: now) }
            pump(now: now)
            // What came together with the end of the handshake is announced by nobody.
            if !isClosed && waiting == nil { readEvent?.fire() }
        case .wantsRead: break
        case .ended, .failed:
            loop.counters.tripped(.tlsHandshake)
            if tls.wasCleartext { sendCleartextHint() }
            drain()
            readEvent?.fire()
        }
    }

    /// What a person reads who left out the `s` of `https`.
    private func sendCleartextHint() {
        let body = "this port speaks TLS: use https\n"
        let answer = Array(
            """
            HTTP/1.1 400 Bad Request\r
            connection: close\r
            date: \(String(decoding: loop.date, as: UTF8.self))\r
            content-type: text/plain\r
            content-length: \(body.utf8.count)\r
            \r
            \(body)
            """.utf8)
        _ = answer.withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
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

    private func resumeReading() {
        guard !isReadPaused || endingSince != nil else { return }
        readEvent?.activate()
        if tls?.hasPending == true { readEvent?.fire() }
    }

    /// Writes what is ready; true when the turn's share was written and more may be ready.
    private func flush() -> Bool {
        guard flushWaiting() else { return false }
        var wroteSome = false
        let enough = sentSinceStart + loop.limits.turnBytes
        while sentSinceStart < enough {
            if let tls {
                codec.writeOutput(into: loop.plaintext, now: now)
                if loop.plaintext.isEmpty { return wroteSome }
                let outcome = loop.plaintext.withPending { tls.write($0) }
                loop.plaintext.removeAll()
                guard case .done = outcome else {
                    loop.output.removeAll()
                    close()
                    return false
                }
            } else {
                codec.writeOutput(into: loop.output, now: now)
                if loop.output.isEmpty { return wroteSome }
            }
            wroteSome = true
            sendOutput()
            if isClosed || waiting != nil { return false }
        }
        wait(for: loop.output)
        return false
    }

    /// Writes what waits; true when nothing does any more.
    private func flushWaiting() -> Bool {
        guard let waiting else { return true }
        guard send(waiting) else { return false }
        self.waiting = nil
        writeEvent?.deactivate()
        resumeReading()
        return true
    }

    /// Sends what the loop's buffer holds, and keeps what the socket does not take.
    private func sendOutput() {
        guard !loop.output.isEmpty else { return }
        if let waiting {
            waiting.append(loop.output.pending)
            loop.output.removeAll()
        } else if !send(loop.output) {
            if isClosed { loop.output.removeAll() } else { wait(for: loop.output) }
        }
    }

    /// Sends from `buffer`; true when it is empty.
    private func send(_ buffer: OutputBuffer) -> Bool {
        while !buffer.isEmpty {
            guard let count = buffer.withVectors({ sendOnce($0) }) else { return false }
            buffer.consume(count)
            sentWhileWaiting += count
            sentSinceStart += count
            loop.counters.sent(count)
        }
        return true
    }

    /// Bytes that the socket took; nil when it takes none now, or never again.
    private func sendOnce(_ vectors: UnsafeBufferPointer<iovec>) -> Int? {
        var message = msghdr()
        message.msg_iov = UnsafeMutablePointer(mutating: vectors.baseAddress)
        message.msg_iovlen = vectors.count
        while true {
            let count = sendmsg(socket.number, &message, Int32(MSG_NOSIGNAL))
            if count >= 0 { return count }
            if errno == EINTR { continue }
            if errno != EAGAIN { close() }
            return nil
        }
    }

    /// Keeps the rest of `buffer` until the socket is writable, and reads nothing before.
    private func wait(for buffer: OutputBuffer) {
        waiting = buffer.takeRest()
        waitingSince = now
        sentWhileWaiting = 0
        readEvent?.deactivate()
        // Most connections never need it.
        let event = writeEvent ?? Event(loop.base, .writable(socket.number)) { [unowned self] in writable() }
        writeEvent = event
        event.activate()
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

    /// Whether the socket took less than the slowest rate over a whole window of time.
    private func isTakingTooLittle(now: MonotonicTime) -> Bool {
        let elapsed = now.since(waitingSince)
        guard elapsed > loop.limits.wire.writeProgressMilliseconds else { return false }
        if Int64(sentWhileWaiting) < max(1, Int64(loop.limits.wire.bodyBytesPerSecond) * elapsed / 1000) { return true }
        waitingSince = now
        sentWhileWaiting = 0
        return false
    }

    func beginStop(now: MonotonicTime) {
        if handshakeBy != nil { return close() }
        codec.beginStop(now: now)
        pump(now: now)
    }
}

import Glibc
import HTTPTypes
import HTTPWire

/// One accepted socket and the protocol on it; confined to its event loop's thread.
final class Connection {
    let id: UInt64
    let peer: PeerAddress
    private let socket: Descriptor
    private unowned let loop: EventLoop
    private(set) var codec: ServerConnection
    private let tls: TLSSession?
    /// The time by which TLS must be set up; nil once it is, and for a connection in the clear.
    private var handshakeBy: MonotonicTime?
    /// The time of the wake-up that is being served.
    private(set) var now: MonotonicTime

    private var readEvent: Event?
    private var writeEvent: Event?
    /// Output that the socket did not take; while there is any, nothing is read and nothing produced.
    private var waiting: OutputBuffer?
    /// Progress of that output is measured from this moment on.
    private var waitingSince: MonotonicTime
    private var sentWhileWaiting = 0
    /// Reading goes on when the protocol can use more.
    private var isReadPaused = false
    private var isClosed = false
    /// Set when the protocol is over: what is left is written, then discarded bytes are read until the peer closes.
    private var endingSince: MonotonicTime?
    private var isShutDown = false
    private var isPumping = false
    private var dateSeconds = 0

    /// Requests whose body is still coming.
    private var uploads: [StreamID: Upload] = [:]
    /// Requests whose handler answers later, to be told of cancellation.
    private var pending: [StreamID: Pending] = [:]

    private struct Upload {
        var head: HTTPRequest
        var body: [UInt8] = []
    }

    private struct Pending {
        weak var responder: Responder?
    }

    init(
        id: UInt64, socket: Descriptor, tls: TLSSession?, peer: PeerAddress, loop: EventLoop, now: MonotonicTime
    ) {
        self.id = id
        self.socket = socket
        self.tls = tls
        self.peer = peer
        self.loop = loop
        self.now = now
        waitingSince = now
        codec = ServerConnection(scratch: loop.scratch, now: now)
        if tls != nil {
            handshakeBy = MonotonicTime(milliseconds: now.milliseconds + loop.limits.wire.prefaceMilliseconds)
        }
    }

    /// Begins to read.
    func start() {
        readEvent = Event(loop.base, .readable(socket.number)) { [unowned self] in readable() }
        writeEvent = Event(loop.base, .writable(socket.number)) { [unowned self] in writable() }
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
            if endingSince != nil { continue }
            codec.receive(UnsafeRawBufferPointer(rebasing: loop.input[..<count]), now: now)
            pump(now: now)
            if isClosed || waiting != nil || isReadPaused { return }
            if count < loop.input.count && tls == nil { return }
        }
        if tls?.hasPending == true { readEvent?.fire() }
    }

    /// Reads into the loop's buffer; nil when there is nothing more now, or ever.
    private func receive() -> Int? {
        guard let tls else {
            while true {
                let count = recv(socket.number, loop.input.baseAddress, loop.input.count, 0)
                if count > 0 { return count }
                if count < 0 && errno == EINTR { continue }
                if count == 0 || errno != EAGAIN { close() }
                return nil
            }
        }
        switch tls.read(into: loop.input) {
        case .done(let count): return count
        case .wantsRead: return nil
        // Only a renegotiation would want it, and there is none.
        case .wantsWrite: return nil
        case .ended, .failed:
            close()
            return nil
        }
    }

    private func writable() {
        let now = loop.readClock()
        if handshakeBy != nil { return shakeHands(now: now) }
        pump(now: now)
    }

    /// Sets up TLS, then hands the connection to the protocol that was agreed on.
    private func shakeHands(now: MonotonicTime) {
        guard let tls else { return }
        self.now = now
        switch tls.handshake() {
        case .done:
            handshakeBy = nil
            writeEvent?.deactivate()
            readEvent?.activate()
            codec = ServerConnection(
                scratch: loop.scratch, negotiated: tls.isHTTP2 ? .http2 : .http1, now: now)
            if loop.isStopping { codec.beginStop(now: now) }
            pump(now: now)
            // What came together with the end of the handshake is announced by nobody.
            if !isClosed { readEvent?.fire() }
        case .wantsRead:
            writeEvent?.deactivate()
        case .wantsWrite:
            writeEvent?.activate()
        case .ended, .failed:
            loop.counters.tripped(.tlsHandshake)
            if tls.wasCleartext { sendCleartextHint() }
            close()
        }
    }

    /// What a person reads who left out the `s` of `https`.
    private func sendCleartextHint() {
        let body = "this port speaks TLS: use https\n"
        let answer = Array(
            """
            HTTP/1.1 400 Bad Request\r
            connection: close\r
            content-type: text/plain\r
            content-length: \(body.utf8.count)\r
            \r
            \(body)
            """.utf8)
        _ = answer.withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        shutdown(socket.number, Int32(SHUT_WR))
    }

    /// Hands out events and writes output until neither is left, then acts on the protocol's end.
    func pump(now: MonotonicTime) {
        guard !isClosed, !isPumping else { return }
        isPumping = true
        self.now = now
        if dateSeconds != loop.dateSeconds {
            dateSeconds = loop.dateSeconds
            codec.date = loop.date
        }
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
        if let waiting {
            guard send(waiting) else { return false }
            self.waiting = nil
            writeEvent?.deactivate()
            resumeReading()
        }
        var wroteSome = false
        // At most a megabyte per turn, so that one fast reader does not starve the others.
        for _ in 0..<16 {
            codec.writeOutput(into: loop.output, now: now)
            if loop.output.isEmpty { return wroteSome }
            wroteSome = true
            guard send(loop.output) else {
                if !isClosed { wait(for: loop.output) }
                loop.output.removeAll()
                return false
            }
        }
        wait(for: loop.output)
        return false
    }

    /// Sends from `buffer`; true when it is empty.
    private func send(_ buffer: OutputBuffer) -> Bool {
        while !buffer.isEmpty {
            guard let count = buffer.withPending({ sendOnce($0) }) else { return false }
            buffer.consume(count)
            sentWhileWaiting += count
            loop.counters.sent(count)
        }
        return true
    }

    /// Bytes that the socket took; nil when it takes none now, or never again.
    private func sendOnce(_ bytes: UnsafeRawBufferPointer) -> Int? {
        if let tls {
            switch tls.write(bytes) {
            case .done(let count): return count
            case .wantsRead, .wantsWrite: break
            case .ended, .failed: close()
            }
            return nil
        }
        while true {
            let count = Glibc.send(socket.number, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if count >= 0 { return count }
            if errno == EINTR { continue }
            if errno != EAGAIN { close() }
            return nil
        }
    }

    /// Keeps the rest of `buffer` until the socket is writable, and reads nothing before.
    private func wait(for buffer: OutputBuffer) {
        let rest = OutputBuffer(softLimit: buffer.count)
        buffer.withPending { rest.append($0) }
        waiting = rest
        waitingSince = now
        sentWhileWaiting = 0
        readEvent?.deactivate()
        writeEvent?.activate()
    }

    /// The protocol is over: closes once the last bytes are taken.
    private func finish() {
        if endingSince == nil { endingSince = now }
        guard waiting == nil, !isShutDown else { return }
        // Closing with unread input makes the kernel send RST, which can overtake the last answer; so the peer
        // gets an end of file and a moment to close first.
        isShutDown = true
        tls?.sendClose()
        shutdown(socket.number, Int32(SHUT_WR))
        readEvent?.activate()
    }

    /// Looks at the timers.
    func tick(now: MonotonicTime) {
        guard !isClosed else { return }
        if let endingSince {
            if now.since(endingSince) > loop.limits.lingerMilliseconds { close() }
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
        pump(now: now)
    }

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

    // MARK: - Requests and answers

    private func drainEvents() {
        while let event = codec.nextEvent() {
            switch event {
            case .head(let stream, let head, let endsRequest):
                if let (response, body) = loop.handler.denial(of: head, from: peer) {
                    loop.counters.requestBegan()
                    loop.counters.requestEnded()
                    codec.respond(to: stream, response, body: body, now: now)
                } else if endsRequest {
                    dispatch(stream, head, body: [])
                } else if let (response, body) = loop.handler.refusal(of: head) {
                    loop.counters.requestBegan()
                    loop.counters.requestEnded()
                    codec.respond(to: stream, response, body: body, now: now)
                } else {
                    uploads[stream] = Upload(head: head)
                }
            case .body(let stream, let bytes):
                uploads[stream]?.body.append(contentsOf: bytes)
                codec.consume(stream: stream, count: bytes.count)
            case .end(let stream):
                guard let upload = uploads.removeValue(forKey: stream) else { continue }
                dispatch(stream, upload.head, body: upload.body)
            case .cancelled(let stream):
                if uploads.removeValue(forKey: stream) != nil {
                    // No handler has it, so nobody else would free its place.
                    codec.respond(to: stream, HTTPResponse(status: .internalServerError), body: .empty, now: now)
                } else {
                    pending[stream]?.responder?.markCancelled()
                }
            case .tripped(let reason, let closes):
                loop.counters.tripped(reason)
                if closes && reason.isHostile { loop.admission.penalize(peer.host, now: now) }
            }
        }
    }

    private func dispatch(_ stream: StreamID, _ head: HTTPRequest, body: [UInt8]) {
        guard loop.counters.requestsInWork < loop.limits.requestsInWork else {
            loop.counters.tripped(.requestsInWork)
            var response = HTTPResponse(status: .serviceUnavailable)
            response.headerFields[.retryAfter] = "1"
            return codec.respond(to: stream, response, body: .empty, now: now)
        }
        loop.counters.requestBegan()
        if body.isEmpty, let answer = loop.handler.preparedAnswer(to: head) {
            loop.counters.requestEnded()
            return codec.respond(to: stream, answer, now: now)
        }
        let responder = Responder(sink: loop.mailbox, exchange: ExchangeID(connection: id, stream: stream))
        loop.handling = self
        loop.handler.handle(IncomingRequest(head: head, body: body, peer: peer), responder: responder)
        loop.handling = nil
        if !responder.isAnswered { pending[stream] = Pending(responder: responder) }
    }

    /// Passes an answer to the protocol; the caller pumps.
    func respond(_ response: HTTPResponse, body: ResponseBody, to stream: StreamID, now: MonotonicTime) {
        if !pending.isEmpty { pending[stream] = nil }
        if case .source(let source) = body {
            let exchange = ExchangeID(connection: id, stream: stream)
            source.attach { [mailbox = loop.mailbox] in mailbox.post(.resume(exchange)) }
        }
        codec.respond(to: stream, response, body: body, now: now)
    }

    /// Lets the protocol ask a streamed body again; the caller pumps.
    func resume(_ stream: StreamID) {
        codec.resume(stream: stream)
    }
}

extension Guard {
    /// Whether a connection that ended for this reason was an attack, rather than slow, idle or another protocol.
    fileprivate var isHostile: Bool {
        switch self {
        case .inboundResets, .causedResets, .controlFrames, .errorBudget, .headerListRepeated, .continuations,
            .outboundAcknowledgements:
            true
        default:
            false
        }
    }
}

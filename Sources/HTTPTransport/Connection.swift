import Glibc
import HTTPTypes
import HTTPWire

/// One accepted socket and the protocol on it; confined to its event loop's thread.
final class Connection {
    let id: UInt64
    let peer: PeerAddress
    private let socket: Descriptor
    private unowned let loop: EventLoop
    let codec: ServerConnection
    /// The time of the wake-up that is being served.
    private(set) var now: MonotonicTime

    private var readEvent: Event?
    private var writeEvent: Event?
    /// Output that the socket did not take; while there is any, nothing is read and nothing produced.
    private var waiting: OutputBuffer?
    private var waitingSince: MonotonicTime
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

    init(id: UInt64, socket: Descriptor, peer: PeerAddress, loop: EventLoop, now: MonotonicTime) {
        self.id = id
        self.socket = socket
        self.peer = peer
        self.loop = loop
        self.now = now
        waitingSince = now
        codec = ServerConnection(limits: loop.limits.wire, now: now)
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
        // A few reads per wake-up save polls; each is followed by a flush, as the guards need it.
        for _ in 0..<4 {
            let count = recv(socket.number, loop.input.baseAddress, loop.input.count, 0)
            if count == 0 { return close() }
            if count < 0 {
                if errno == EINTR { continue }
                if errno != EAGAIN { close() }
                return
            }
            loop.counters.received(count)
            if endingSince != nil { continue }
            codec.receive(UnsafeRawBufferPointer(rebasing: loop.input[..<count]), now: now)
            pump(now: now)
            if isClosed || waiting != nil || count < loop.input.count { return }
        }
    }

    private func writable() {
        pump(now: loop.readClock())
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
        case .keepOpen: break
        case .closeNow: close()
        case .closeAfterFlush: finish()
        }
    }

    /// Writes what is ready; true when the turn's share was written and more may be ready.
    private func flush() -> Bool {
        if let waiting {
            guard send(waiting) else { return false }
            self.waiting = nil
            writeEvent?.deactivate()
            readEvent?.activate()
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
            let count = buffer.withPending {
                Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EINTR { continue }
                if errno != EAGAIN { close() }
                return false
            }
            buffer.consume(count)
            waitingSince = now
            loop.counters.sent(count)
        }
        return true
    }

    /// Keeps the rest of `buffer` until the socket is writable, and reads nothing before.
    private func wait(for buffer: OutputBuffer) {
        let rest = OutputBuffer(softLimit: buffer.count)
        buffer.withPending { rest.append($0) }
        waiting = rest
        waitingSince = now
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
        if waiting != nil, now.since(waitingSince) > loop.limits.wire.writeProgressMilliseconds {
            loop.counters.tripped(.writeTimeout)
            return close()
        }
        codec.checkDeadlines(now: now)
        pump(now: now)
    }

    func beginStop(now: MonotonicTime) {
        codec.beginStop(now: now)
        pump(now: now)
    }

    // MARK: - Requests and answers

    private func drainEvents() {
        while let event = codec.nextEvent() {
            switch event {
            case .head(let stream, let head, let endsRequest):
                if endsRequest {
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

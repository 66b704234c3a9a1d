import HTTPTypes
import HTTPWire

/// Requests and their bodies, answers and their ends.
extension Connection {
    func drainEvents() {
        let loop = loop
        while let event = codec.nextEvent() {
            switch event {
            case .head(let stream, let head, let endsRequest):
                if let (response, body) = loop.handler.denial(of: head.request, from: peer) {
                    loop.counters.requestBegan()
                    loop.counters.requestEnded()
                    codec.respond(to: stream, response, body: body, now: now)
                } else if endsRequest {
                    dispatch(stream, head, loop)
                } else if let (response, body) = loop.handler.refusal(of: head.request) {
                    loop.counters.requestBegan()
                    loop.counters.requestEnded()
                    codec.respond(to: stream, response, body: body, now: now)
                } else if let length = head.request.headerFields[.contentLength].flatMap({ Int($0) }),
                    !loop.admission.bodies.hasRoom(for: length, of: share)
                {
                    refuseUpload(stream, .heldRequests)
                } else {
                    uploads[stream] = Upload(
                        head: head.request, held: HeldBody(loop.admission.bodies, share), windowBegan: now)
                }
            case .body(let stream, let bytes):
                // Not the upload itself: a second owner of the body would make each piece copy it.
                if let held = uploads[stream]?.held {
                    if held.grow(by: bytes.count) {
                        uploads[stream]?.body.append(contentsOf: bytes)
                        uploads[stream]?.windowBytes += bytes.count
                    } else {
                        refuseUpload(stream, .heldRequests)
                    }
                }
                codec.consume(stream: stream, count: bytes.count)
            case .end(let stream):
                guard let upload = uploads.removeValue(forKey: stream) else { continue }
                dispatch(stream, upload.head, body: upload.body, held: upload.held)
            case .cancelled(let stream):
                if uploads.removeValue(forKey: stream) != nil {
                    // No handler has it, so nobody else would free its place.
                    codec.respond(to: stream, HTTPResponse(status: .internalServerError), body: .empty, now: now)
                } else {
                    pending[stream]?.responder?.markCancelled()
                }
            case .tripped(let reason, let closes):
                loop.counters.tripped(reason)
                guard closes else { continue }
                if reason.isHostile { loop.admission.penalize(peer.network, now: now) }
                if reason.isHostile || reason == .protocolError || reason == .closedStreams { wasFlood = true }
            }
        }
    }

    /// A request without a body, whose answer may be at hand.
    private func dispatch(_ stream: StreamID, _ head: ReceivedHead, _ loop: EventLoop) {
        hasAsked = true
        let answer: PreparedAnswer
        if head === lastHead, let lastAnswer, lastAnswer.use() {
            answer = lastAnswer
        } else if let found = loop.handler.preparedAnswer(to: head.request) {
            lastHead = head
            lastAnswer = found
            answer = found
        } else {
            return dispatch(stream, head.request, body: [])
        }
        loop.counters.requestBegan()
        loop.counters.requestEnded()
        codec.respond(to: stream, answer, now: now)
    }

    private func dispatch(_ stream: StreamID, _ head: HTTPRequest, body: [UInt8], held: HeldBody? = nil) {
        hasAsked = true
        guard let place = loop.admission.work.place(for: share) else {
            loop.counters.tripped(.requestsInWork)
            let (response, body) = StandardAnswer.overloaded.response(path: head.path)
            return codec.respond(to: stream, response, body: body, now: now)
        }
        loop.counters.requestBegan()
        let responder = Responder(
            sink: loop.mailbox, exchange: ExchangeID(connection: id, stream: stream), place: place)
        loop.handling = self
        loop.handler.handle(IncomingRequest(head: head, body: body, peer: peer, held: held), responder: responder)
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

    // MARK: - Bodies

    /// While memory for bodies is scarce, refuses those that come slowly: they hold it for longest.
    func checkUploads() {
        let isTight = loop.admission.bodies.isTight
        for (stream, upload) in uploads {
            let elapsed = now.since(upload.windowBegan)
            guard elapsed > loop.limits.tightUploadMilliseconds else { continue }
            let needed = Int64(loop.limits.tightUploadBytesPerSecond) * elapsed / 1000
            if isTight && Int64(upload.windowBytes) < needed {
                refuseUpload(stream, .slowUpload)
            } else {
                uploads[stream]?.windowBegan = now
                uploads[stream]?.windowBytes = 0
            }
        }
    }

    /// Answers a request with 503 whose body cannot be held, or not any longer.
    private func refuseUpload(_ stream: StreamID, _ reason: Guard) {
        let path = uploads.removeValue(forKey: stream)?.head.path
        loop.counters.tripped(reason)
        let (response, body) = StandardAnswer.overloaded.response(path: path)
        codec.respond(to: stream, response, body: body, now: now)
    }

    /// Answers 503 to everything that is not done when a graceful stop has no more time; false when there is nothing.
    func answerStopping(now: MonotonicTime) -> Bool {
        self.now = now
        if uploads.isEmpty && pending.isEmpty { return false }
        for stream in Array(uploads.keys) + Array(pending.keys) {
            let (response, body) = StandardAnswer.stopping.response(path: uploads[stream]?.head.path)
            codec.respond(to: stream, response, body: body, now: now)
        }
        uploads = [:]
        pump(now: now)
        return true
    }
}

extension Guard {
    /// Whether a connection that ended for this reason was an attack, rather than slow, idle or another protocol.
    fileprivate var isHostile: Bool {
        switch self {
        case .inboundResets, .causedResets, .controlFrames, .errorBudget, .headerListRepeated, .continuations,
            .outboundAcknowledgements, .smallPieces, .lateHeaders:
            true
        default:
            false
        }
    }
}

package import HTTPTypes

/// The server's end of one HTTP/1.1 connection (RFC 9112): one request at a time, each answered before the next is read.
///
/// Bytes in, events out, bytes to write, like `HTTP2Connection`, and with the same limits. Whatever is wrong with the
/// framing of a request is answered and ends the connection, because nobody knows where the next request would begin.
package final class HTTP1Connection: ConnectionCodec {
    let limits: WireLimits
    let isSecure: Bool
    /// The latest time that the owner told.
    @exclusivity(unchecked) var now: MonotonicTime
    /// The value of the `date` field for responses that have none; nil sends no date.
    package var date: [UInt8]?

    // Events, first in first out.
    @exclusivity(unchecked) private var events: [ConnectionEvent] = []
    @exclusivity(unchecked) private var nextEventIndex = 0

    /// What of a request is to be read.
    enum Reading {
        case head
        case length(Int)
        case chunked(ChunkedBody)
        /// The request is complete; the next is read when it was answered.
        case done
        /// Nothing is read any more.
        case never
    }
    @exclusivity(unchecked) var reading = Reading.head
    @exclusivity(unchecked) var scanner: HTTP1HeadScanner
    /// The head so far, where it did not come in one piece.
    @exclusivity(unchecked) private var partialHead: [UInt8] = []
    /// Bytes of later requests, which wait until this one is answered.
    @exclusivity(unchecked) private var backlog: [UInt8] = []
    /// The bytes of the last head and what they mean: a client that repeats itself is not parsed again.
    @exclusivity(unchecked) private var memo: (bytes: [UInt8], head: HTTP1Head, received: ReceivedHead)?
    /// A head of more bytes is not remembered.
    private static let largestMemo = 2048

    // The request that was delivered last.
    @exclusivity(unchecked) var current: HTTP1Head?
    @exclusivity(unchecked) var stream = StreamID(-1)
    private var requests = 0
    /// The handler owes an answer to the current request.
    @exclusivity(unchecked) var isAwaited = false
    /// A request that was answered here while a handler had it.
    var bodyReceived = 0
    /// 100 is to be sent unless the answer comes first.
    var owesContinue = false

    @exclusivity(unchecked) var writer = HTTP1Writer()
    /// After the current answer the connection ends.
    @exclusivity(unchecked) var endsAfterAnswer = false
    /// Everything was said.
    @exclusivity(unchecked) var isOver = false
    /// The answer cannot be completed: cutting it off is the only way to say so.
    var isBroken = false
    var isStopping = false
    /// Until then a connection without a request stays, that had one shortly before the stop began.
    var stopIdleBy: MonotonicTime?

    // Timers.
    let opened: MonotonicTime
    var idleSince: MonotonicTime
    var headBegan: MonotonicTime?
    @exclusivity(unchecked) var bodyPace: BodyPace
    @exclusivity(unchecked) var smallPieces: TokenBucket
    @exclusivity(unchecked) var writeWindowBegan: MonotonicTime
    @exclusivity(unchecked) var writeWindowBytes = 0

    /// A connection on which nothing was read; `opened` is when it was accepted.
    package init(limits: WireLimits = WireLimits(), now: MonotonicTime, isSecure: Bool = false) {
        self.limits = limits
        self.now = now
        self.isSecure = isSecure
        opened = now
        idleSince = now
        bodyPace = BodyPace(began: now)
        smallPieces = TokenBucket(limits.smallPieces, now: now)
        writeWindowBegan = now
        scanner = HTTP1HeadScanner(limits: limits)
    }

    deinit {
        writer.source?.cancel()
    }

    // MARK: - Events

    package func nextEvent() -> ConnectionEvent? {
        guard nextEventIndex < events.count else { return nil }
        let event = events[nextEventIndex]
        nextEventIndex += 1
        if nextEventIndex == events.count {
            events.removeAll(keepingCapacity: true)
            nextEventIndex = 0
        }
        return event
    }

    func emit(_ event: ConnectionEvent) { events.append(event) }

    /// Gives back memory that an idle connection has no use for.
    func trim() {
        if nextEventIndex == 0 && events.isEmpty && events.capacity > 0 { events = [] }
    }

    // MARK: - Reading

    package func receive(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        self.now = now
        if case .done = reading {
            backlog.append(contentsOf: bytes)
            return
        }
        let used = read(bytes)
        if case .done = reading, used < bytes.count {
            backlog.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[used...]))
        }
    }

    /// Whether the owner should go on to read: not while bytes wait that came ahead of their turn.
    package var wantsInput: Bool { backlog.isEmpty }

    /// Reads until the request is complete; the count of bytes that belong to it.
    private func read(_ bytes: UnsafeRawBufferPointer) -> Int {
        var offset = 0
        while offset < bytes.count {
            switch reading {
            case .head: readHead(bytes, &offset)
            case .length(let left):
                let count = min(left, bytes.count - offset)
                reading = count == left ? .done : .length(left - count)
                gotBody(UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)]))
                offset += count
                if case .done = reading { emit(.end(stream)) }
            case .chunked(var body):
                let smallBefore = body.smallChunks
                let step = body.next(in: bytes, &offset)
                reading = .chunked(body)
                if body.smallChunks != smallBefore && !smallPieces.take(now: now) {
                    refuse(.tooManyPieces)
                    continue
                }
                switch step {
                case .data(let range): gotBody(UnsafeRawBufferPointer(rebasing: bytes[range]))
                case .more: break
                case .end:
                    reading = .done
                    emit(.end(stream))
                case .fault(let answer): refuse(answer)
                }
            case .done: return offset
            case .never: return bytes.count
            }
        }
        return offset
    }

    private func readHead(_ bytes: UnsafeRawBufferPointer, _ offset: inout Int) {
        let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
        if let memo, !scanner.hasBegun, memo.bytes.count <= rest.count,
            memo.bytes.withUnsafeBytes({ $0.elementsEqual(rest[..<$0.count]) })
        {
            scanner = HTTP1HeadScanner(limits: limits)
            partialHead = []
            offset += memo.bytes.count
            return deliver(memo.head, memo.received)
        }
        switch scanner.scan(rest) {
        case .more:
            if scanner.hasBegun && headBegan == nil { headBegan = now }
            partialHead.append(contentsOf: rest)
            offset = bytes.count
        case .complete(let count):
            offset += count
            let whole = partialHead + rest[..<count]
            // An empty line before the request is not part of it.
            let head = whole.suffix(scanner.count)
            let fields = scanner.fields
            scanner = HTTP1HeadScanner(limits: limits)
            partialHead = []
            headBegan = nil
            let parsed = head.withUnsafeBytes { HTTP1HeadParser.parse($0, fields: fields, isSecure: isSecure) }
            switch parsed {
            case .success(let parsed):
                let received = ReceivedHead(parsed.request)
                memo = head.count <= Self.largestMemo ? (Array(head), parsed, received) : nil
                deliver(parsed, received)
            case .failure(let fault): refuse(fault.answer)
            }
        case .fault(let answer):
            partialHead = []
            refuse(answer)
        }
    }

    private func deliver(_ head: HTTP1Head, _ received: ReceivedHead) {
        requests += 1
        current = head
        stream = StreamID(stream.number &+ 2)
        writer.isHead = head.request.method == .head
        writer.isVersion10 = head.isVersion10
        if !head.keepsAlive || isStopping || requests >= limits.requestsPerConnection { endsAfterAnswer = true }
        bodyReceived = 0
        bodyPace = BodyPace(began: now)
        switch head.body {
        case .none: reading = .done
        case .length(let count):
            if count > limits.requestBodyBytes { return refuse(.bodyTooLarge) }
            reading = .length(count)
        case .chunked: reading = .chunked(ChunkedBody(limits: limits))
        }
        owesContinue = head.expectsContinue
        isAwaited = true
        emit(.head(stream, received, endsRequest: head.body == .none))
    }

    private func gotBody(_ bytes: UnsafeRawBufferPointer) {
        owesContinue = false
        bodyPace.moved(now: now)
        smallPieces.earn(bytes: bytes.count, perToken: limits.smallPieceBytes / 2)
        bodyReceived += bytes.count
        if bodyReceived > limits.requestBodyBytes { return refuse(.bodyTooLarge) }
        emit(.body(stream, Array(bytes)))
    }

    /// Answers in the wire's own words, reads no more and ends the connection.
    func refuse(_ answer: StandardAnswer) {
        emit(.tripped(answer.cause, closes: true))
        reading = .never
        headBegan = nil
        backlog = []
        endsAfterAnswer = true
        // What was answered before its body had come needs no second answer.
        guard !writer.isBusy else { return }
        if isAwaited {
            isAwaited = false
            emit(.cancelled(stream))
        }
        let path = current?.request.path
        if current == nil { writer.isHead = false }
        let (response, body) = answer.response(path: path)
        begin(response, body: body)
    }

    package func consume(stream: StreamID, count: Int) {}

    // MARK: - Answering

    package func respond(to stream: StreamID, _ response: HTTPResponse, body: ResponseBody, now: MonotonicTime) {
        self.now = now
        guard isAwaited, stream == self.stream else {
            if case .source(let source) = body { source.cancel() }
            return
        }
        begin(response, body: body)
    }

    package func respond(to stream: StreamID, _ answer: PreparedAnswer, now: MonotonicTime) {
        self.now = now
        guard isAwaited, stream == self.stream else { return }
        isAwaited = false
        restartWriteWindow()
        endIfUnread()
        writer.begin(answer, date: date, closes: endsAfterAnswer)
    }

    private func begin(_ response: HTTPResponse, body: ResponseBody) {
        isAwaited = false
        owesContinue = false
        restartWriteWindow()
        endIfUnread()
        var response = response
        var body = body
        if !(200...999).contains(response.status.code) {
            if case .source(let source) = body { source.cancel() }
            (response, body) = StandardAnswer.unanswered.response(path: current?.request.path)
        }
        writer.begin(response, body: body, date: date, closes: endsAfterAnswer)
        // A body of unknown length ends with the connection where chunks are not known.
        if writer.endsWithConnection { endsAfterAnswer = true }
    }

    /// A request that is answered before it was read whole is the last one: its rest is not wanted.
    private func endIfUnread() {
        switch reading {
        case .done, .never: break
        case .head, .length, .chunked:
            reading = .never
            endsAfterAnswer = true
        }
    }

    package func resume(stream: StreamID) {
        if stream == self.stream { writer.isDeferred = false }
    }

    package func writeOutput(into buffer: OutputBuffer, now: MonotonicTime) {
        self.now = now
        if owesContinue && isAwaited {
            owesContinue = false
            buffer.append(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8))
        }
        while writer.isBusy && !buffer.isFull {
            let before = buffer.count
            let progress = writer.write(into: buffer)
            writeWindowBytes += buffer.count - before
            switch progress {
            case .more: continue
            case .notNow: return
            case .broken:
                isBroken = true
                return
            case .done: answered()
            }
        }
    }

    /// The answer was written; the next request, part of which may be there already, is read.
    private func answered() {
        current = nil
        idleSince = now
        if endsAfterAnswer {
            isOver = true
            reading = .never
            backlog = []
            return
        }
        reading = .head
        guard !backlog.isEmpty else { return }
        let waiting = backlog
        backlog = []
        let used = waiting.withUnsafeBytes { read($0) }
        if case .done = reading, used < waiting.count { backlog = Array(waiting[used...]) }
    }

    package var closeDecision: CloseDecision {
        if isBroken { return .closeNow }
        return isOver ? .closeAfterFlush : .keepOpen
    }

    package var isBusy: Bool { current != nil || writer.isBusy }

    package var servesRequest: Bool {
        if writer.isBusy { return true }
        if case .done = reading { return true }
        return false
    }
}

import CNghttp2

/// The server's end of one HTTP/2 connection: a libnghttp2 session, the guards around it, and nothing else.
///
/// Bytes in, events out, bytes to write (RFC 9113). Owns the session; confined to one thread; reads no clock.
/// What libnghttp2 1.52 checks by itself is left to it: framing, HPACK, stream states, field syntax, content-length.
/// What it does not is done here, and each guard has a name in `Guard`.
///
/// The hot properties are `@exclusivity(unchecked)`: they are touched on one thread, no access to one of them spans a
/// call that touches it again, and the run-time checks for that cost a tenth of a small request.
package final class HTTP2Connection: ConnectionCodec {
    /// Shared with all connections of the thread: half a kilobyte that an idle one need not have.
    let scratch: WireScratch
    var limits: WireLimits { scratch.limits }
    /// Nil when there was no memory for a session; the connection is then closed at once.
    let session: OpaquePointer?
    /// The latest time that the owner told.
    @exclusivity(unchecked) var now: MonotonicTime

    /// The value of the `date` field for responses that have none; nil sends no date.
    package var date: [UInt8]?

    // Events, first in first out.
    @exclusivity(unchecked) private var events: [ConnectionEvent] = []
    @exclusivity(unchecked) private var nextEventIndex = 0

    // Streams.
    @exclusivity(unchecked) var slots: [StreamSlot] = []
    @exclusivity(unchecked) var freeSlots: [Int] = []
    /// Streams that closed before their handler answered.
    var orphans: [StreamID] = []
    /// Requests handed out and not answered, orphans included.
    @exclusivity(unchecked) var requestsInWork = 0
    /// The highest request stream that was begun; what a GOAWAY of ours names.
    var lastStream: Int32 = 0
    @exclusivity(unchecked) var history = StreamHistory()
    @exclusivity(unchecked) var head = RequestHead()
    let responseFields: ResponseFields
    /// The buffer that `writeOutput` fills, while it runs.
    @exclusivity(unchecked) var output: OutputBuffer?

    // Guards.
    @exclusivity(unchecked) var inboundResets: TokenBucket
    @exclusivity(unchecked) var causedResets: TokenBucket
    @exclusivity(unchecked) var controlFrames: TokenBucket
    var errorsLeft: Int
    var oversizedHeaderLists = 0
    var parkedBytes = 0
    var heldRequestBytes = 0
    var dataFrameBytes = 0
    @exclusivity(unchecked) var smallPieces: TokenBucket
    @exclusivity(unchecked) var frames = FrameScanner()
    /// Bytes of DATA that may still come for streams that we have reset.
    var lateBytes = 0
    /// Fields that may still come in header blocks which nobody looks at.
    var ignoredFieldsLeft: Int
    /// The latest HEADERS frame.
    @exclusivity(unchecked) var block = nghttp2_frame_hd()
    /// Some slot owes a 100.
    @exclusivity(unchecked) var owesContinue = false
    /// Set once, when the session may not be used any more; the code goes into a last GOAWAY.
    @exclusivity(unchecked) var ending: UInt32?
    private var wroteGoaway = false

    // Timers.
    let opened: MonotonicTime
    var gotSettings = false
    @exclusivity(unchecked) var headBegan: MonotonicTime?
    var idleSince: MonotonicTime
    var writeWindowBegan: MonotonicTime
    var writeWindowBytes = 0

    /// How far a graceful stop has come.
    enum StopStage: Equatable {
        case running
        /// GOAWAY with the highest stream was sent, and a PING whose answer shows that the peer has read it.
        case noticed(MonotonicTime)
        /// GOAWAY with the real last stream was sent; open streams are served.
        case draining
    }
    var stopStage = StopStage.running

    /// A connection whose first byte, the first of the client preface, is still to come.
    package init(scratch: WireScratch = WireScratch(), now: MonotonicTime) {
        self.scratch = scratch
        let limits = scratch.limits
        responseFields = scratch.responseFields
        self.now = now
        opened = now
        idleSince = now
        writeWindowBegan = now
        inboundResets = TokenBucket(limits.inboundResets, now: now)
        causedResets = TokenBucket(limits.causedResets, now: now)
        controlFrames = TokenBucket(limits.controlFrames, now: now)
        smallPieces = TokenBucket(limits.smallPieces, now: now)
        errorsLeft = limits.lifetimeErrors
        ignoredFieldsLeft = limits.ignoredFields
        var created: OpaquePointer?
        HTTP2Callbacks.withCallbacksAndOptions(limits) { callbacks, options in
            // The user data is set below: `self` is not whole yet.
            _ = nghttp2_session_server_new2(&created, callbacks, nil, options)
        }
        session = created
        guard let session else {
            ending = NGHTTP2_INTERNAL_ERROR.rawValue
            return
        }
        nghttp2_session_set_user_data(session, Unmanaged.passUnretained(self).toOpaque())
        submitSettings(session)
    }

    deinit {
        for slot in slots { slot.source?.cancel() }
        nghttp2_session_del(session)
    }

    private func submitSettings(_ session: OpaquePointer) {
        let settings = [
            nghttp2_settings_entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.concurrentStreams),
            nghttp2_settings_entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindowBytes),
            nghttp2_settings_entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerListBytes),
            nghttp2_settings_entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1),
        ]
        _ = nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count)
        _ = nghttp2_session_set_local_window_size(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(clamping: limits.connectionWindowBytes))
    }

    // MARK: - ConnectionCodec

    package func receive(_ bytes: UnsafeRawBufferPointer, now: MonotonicTime) {
        self.now = now
        var fed = 0
        var offset = 0
        while let data = frames.nextData(in: bytes, &offset) {
            if data.mayBeNews {
                // Whether its stream is open is known when all before it was read.
                let start = max(fed, offset - FrameScanner.headerBytes)
                feed(UnsafeRawBufferPointer(rebasing: bytes[fed..<start]))
                fed = start
            }
            guard ending == nil else { return }
            if slot(of: data.stream) == nil && !mayBeLate(data) { return }
        }
        feed(UnsafeRawBufferPointer(rebasing: bytes[fed...]))
    }

    private func feed(_ bytes: UnsafeRawBufferPointer) {
        guard ending == nil, let session, bytes.count > 0,
            let base = bytes.bindMemory(to: UInt8.self).baseAddress
        else { return }
        let count = nghttp2_session_mem_recv(session, base, bytes.count)
        if count < 0 { end(after: Int32(clamping: count)) }
    }

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

    func emit(_ event: ConnectionEvent) {
        events.append(event)
    }

    /// Gives back memory that an idle connection has no use for.
    func trim() {
        guard openStreams == 0, nextEventIndex == 0, events.isEmpty else { return }
        if events.capacity > 0 { events = [] }
        if !slots.isEmpty {
            slots = []
            freeSlots = []
        }
        head.forget()
    }

    package func writeOutput(into buffer: OutputBuffer, now: MonotonicTime) {
        self.now = now
        output = buffer
        defer { output = nil }
        if owesContinue && ending == nil { sendOwedContinues() }
        while ending == nil, let session, !buffer.isFull {
            var data: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &data)
            if count < 0 {
                end(after: Int32(clamping: count))
            } else if count == 0 {
                return
            } else {
                buffer.append(UnsafeRawBufferPointer(start: data, count: count))
            }
        }
        if let ending, !wroteGoaway {
            wroteGoaway = true
            appendGoaway(ending, to: buffer)
        }
    }

    /// Writes a GOAWAY frame by hand (RFC 9113 section 6.8), because a failed session cannot be asked for one.
    ///
    /// `buffer` always ends with a whole frame, so the frame may follow.
    private func appendGoaway(_ code: UInt32, to buffer: OutputBuffer) {
        var frame: [UInt8] = [0, 0, 8, 7, 0, 0, 0, 0, 0]
        for word in [UInt32(bitPattern: lastStream), code] {
            for shift: UInt32 in [24, 16, 8, 0] { frame.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        buffer.append(frame)
    }

    package var closeDecision: CloseDecision {
        if ending != nil { return .closeAfterFlush }
        // After the first GOAWAY of a graceful stop libnghttp2 wants nothing more from an idle peer; we want the PING.
        if case .noticed = stopStage { return .keepOpen }
        guard let session else { return .closeNow }
        let isDone = nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0
        return isDone ? .closeAfterFlush : .keepOpen
    }

    package var isBusy: Bool {
        requestsInWork > 0 || openStreams > 0
    }

    package var servesRequest: Bool {
        !orphans.isEmpty || slots.contains { $0.stream.number != 0 && ($0.requestEnded || $0.isAnswered) }
    }

    /// Streams that are open now.
    var openStreams: Int { slots.count - freeSlots.count }

    package func resume(stream: StreamID) {
        guard ending == nil, let session, let slot = slot(of: stream), slot.isDeferred else { return }
        slot.isDeferred = false
        _ = nghttp2_session_resume_data(session, stream.number)
    }

    package func consume(stream: StreamID, count: Int) {
        guard ending == nil, let session, let slot = slot(of: stream) else { return }
        let used = min(max(0, count), slot.unconsumed)
        guard used > 0 else { return }
        slot.unconsumed -= used
        _ = nghttp2_session_consume(session, stream.number, used)
    }

    // MARK: - Streams

    /// The slot of an open stream.
    func slot(of stream: StreamID) -> StreamSlot? {
        guard let session else { return nil }
        // The user data is the slot's position plus one: an address would need a second owner.
        let number = Int(bitPattern: nghttp2_session_get_stream_user_data(session, stream.number))
        guard number > 0, number <= slots.count else { return nil }
        let slot = slots[number - 1]
        return slot.stream == stream ? slot : nil
    }

    func openSlot(for stream: StreamID) -> StreamSlot {
        let slot: StreamSlot
        if let index = freeSlots.popLast() {
            slot = slots[index]
        } else {
            slot = StreamSlot(index: slots.count)
            slots.append(slot)
        }
        slot.begin(stream, now: now)
        _ = nghttp2_session_set_stream_user_data(
            session, stream.number, UnsafeMutableRawPointer(bitPattern: slot.index + 1))
        return slot
    }
}

extension nghttp2_settings_entry {
    fileprivate init(_ setting: nghttp2_settings_id, _ value: Int) {
        self.init(settings_id: Int32(setting.rawValue), value: UInt32(clamping: value))
    }
}

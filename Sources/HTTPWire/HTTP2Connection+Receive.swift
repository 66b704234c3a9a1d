import CNghttp2
import HTTPTypes

/// What happens when frames arrive. Called by libnghttp2 inside `receive`.
extension HTTP2Connection {
    /// A frame header was read; charges the frames that cost a peer nothing.
    func beganFrame(_ header: nghttp2_frame_hd) -> Int32 {
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            if headBegan == nil { headBegan = now }
            block = header
            let isOpen = slot(of: StreamID(header.stream_id)) != nil
            switch history.sawHeaders(header.stream_id, isOpen: isOpen) {
            case .fine:
                if Self.endsStream(header) { history.peerEnded(header.stream_id) }
                return HTTP2Callbacks.success
            case .late:
                if Self.endsStream(header) { history.peerEnded(header.stream_id) }
                guard controlFrames.take(now: now) else { return trip(.lateHeaders) }
                return ignoreBlock(header)
            case .unexpected: return breach(NGHTTP2_PROTOCOL_ERROR)
            case .closed:
                end(.closedStreams, code: NGHTTP2_STREAM_CLOSED.rawValue)
                return HTTP2Callbacks.fatal
            }
        case NGHTTP2_PRIORITY.rawValue where header.stream_id == 0:
            // libnghttp2 looks at no PRIORITY at all where priorities are switched off.
            return breach(NGHTTP2_PROTOCOL_ERROR)
        case NGHTTP2_CONTINUATION.rawValue:
            return HTTP2Callbacks.success
        case NGHTTP2_DATA.rawValue:
            headBegan = nil
            dataFrameBytes = 0
            if Self.endsStream(header) { history.peerEnded(header.stream_id) }
            return HTTP2Callbacks.success
        case NGHTTP2_RST_STREAM.rawValue:
            headBegan = nil
            history.peerEnded(header.stream_id)
            return inboundResets.take(now: now) ? HTTP2Callbacks.success : trip(.inboundResets)
        default:
            // SETTINGS, PING, PRIORITY, WINDOW_UPDATE, GOAWAY and every unknown type.
            headBegan = nil
            return controlFrames.take(now: now) ? HTTP2Callbacks.success : trip(.controlFrames)
        }
    }

    /// Whether the frame, which is HEADERS or DATA, is the last of its stream.
    private static func endsStream(_ header: nghttp2_frame_hd) -> Bool {
        header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    }

    /// A header block begins: a request, or trailer fields.
    func beganHeaders(_ frame: nghttp2_frame) -> Int32 {
        let isRequest = frame.headers.cat == NGHTTP2_HCAT_REQUEST
        head.begin(isTrailer: !isRequest)
        guard isRequest else { return HTTP2Callbacks.success }
        let stream = StreamID(frame.hd.stream_id)
        lastStream = max(lastStream, stream.number)
        if requestsInWork >= limits.requestsInWork {
            emit(.tripped(.requestsInWork, closes: false))
            lateBytes += limits.streamWindowBytes
            _ = nghttp2_submit_rst_stream(session, 0, stream.number, NGHTTP2_REFUSED_STREAM.rawValue)
            return ignoreBlock(frame.hd) == HTTP2Callbacks.success ? HTTP2Callbacks.temporal : HTTP2Callbacks.fatal
        }
        _ = openSlot(for: stream)
        return HTTP2Callbacks.success
    }

    /// One field of the block, valid by RFC 9113 section 8.2 already.
    func gotField(_ stream: Int32, name: OpaquePointer, value: OpaquePointer) -> Int32 {
        head.count(
            nameBytes: nghttp2_rcbuf_get_buf(name).len, valueBytes: nghttp2_rcbuf_get_buf(value).len)
        if head.listBytes > limits.headerListBytes || head.listFields > limits.headerListFields {
            return gotFieldTooMany()
        }
        if head.isTrailer { return HTTP2Callbacks.success }
        return head.add(name: name, value: value) ? HTTP2Callbacks.success : refuseMalformed(stream)
    }

    /// Resets the stream of a request that libnghttp2 takes and that is none all the same (RFC 9113 section 8.1.1).
    private func refuseMalformed(_ stream: Int32) -> Int32 {
        emit(.tripped(.malformedRequest, closes: false))
        _ = nghttp2_submit_rst_stream(session, 0, stream, NGHTTP2_PROTOCOL_ERROR.rawValue)
        guard ignoreBlock(block) == HTTP2Callbacks.success else { return HTTP2Callbacks.fatal }
        let result = chargeError()
        return result == HTTP2Callbacks.success ? HTTP2Callbacks.temporal : result
    }

    /// Over the header list limit: one 431 is sent, a block many times too large is not even decoded, and a second
    /// offence ends the connection.
    private func gotFieldTooMany() -> Int32 {
        if !head.isTooLarge {
            head.isTooLarge = true
            oversizedHeaderLists += 1
            if oversizedHeaderLists > limits.oversizedHeaderLists { return trip(.headerListRepeated) }
            emit(.tripped(.headerList, closes: false))
        }
        let factor = max(1, limits.oversizedHeaderFactor)
        let isHopeless =
            head.listBytes > limits.headerListBytes * factor || head.listFields > limits.headerListFields * factor
        guard isHopeless else { return HTTP2Callbacks.success }
        return ignoreBlock(block) == HTTP2Callbacks.success ? HTTP2Callbacks.temporal : HTTP2Callbacks.fatal
    }

    /// A frame is complete.
    func gotFrame(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
        let header = frame.pointee.hd
        let endsStream = Self.endsStream(header)
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            headBegan = nil
            guard let slot = slot(of: StreamID(header.stream_id)) else { return HTTP2Callbacks.success }
            if frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST {
                slot.requestEnded = endsStream
                return gotRequestHead(slot)
            }
            if head.isTooLarge { return refuse(slot, .headerListTooLarge) }
            if endsStream { requestEnded(slot) }
        case NGHTTP2_DATA.rawValue:
            if !endsStream && dataFrameBytes < limits.smallPieceBytes {
                if dataFrameBytes == 0 && !controlFrames.take(now: now) { return trip(.controlFrames) }
                if !smallPieces.take(now: now) { return trip(.smallPieces) }
            }
            if endsStream, let slot = slot(of: StreamID(header.stream_id)) { requestEnded(slot) }
        case NGHTTP2_SETTINGS.rawValue:
            gotSettings = true
        case NGHTTP2_PING.rawValue:
            let isAcknowledgement = header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
            if isAcknowledgement { gotPingAcknowledgement(frame.pointee.ping) }
        default:
            break
        }
        return HTTP2Callbacks.success
    }

    private func gotRequestHead(_ slot: StreamSlot) -> Int32 {
        slot.pace = BodyPace(began: now)
        if head.isTooLarge {
            slot.path = head.path
            return refuse(slot, .headerListTooLarge)
        }
        guard let received = head.finish() else { return refuseMalformed(slot.stream.number) }
        slot.path = received.request.path
        slot.isHeadRequest = received.request.method == .head
        if head.hasConflictingHost {
            emit(.tripped(.malformedRequest, closes: false))
            return refuse(slot, .conflictingAuthority)
        }
        if head.hasInvalidAuthority {
            emit(.tripped(.malformedRequest, closes: false))
            return refuse(slot, .invalidAuthority)
        }
        if !head.isRepeated && !HTTP1HeadParser.methods.contains(received.request.method.rawValue) {
            return refuse(slot, .methodUnknown)
        }
        if let length = head.contentLength, length > limits.requestBodyBytes {
            emit(.tripped(.requestBody, closes: false))
            return refuse(slot, .bodyTooLarge)
        }
        if !slot.requestEnded && head.expectsContinue {
            slot.owesContinue = true
            owesContinue = true
        }
        slot.isDelivered = true
        requestsInWork += 1
        emit(.head(slot.stream, received, endsRequest: slot.requestEnded))
        return HTTP2Callbacks.success
    }

    private func requestEnded(_ slot: StreamSlot) {
        slot.requestEnded = true
        if slot.isDelivered && !slot.discardsBody { emit(.end(slot.stream)) }
    }

    /// Body bytes; they stay charged to the peer's window until `consume`.
    func gotData(_ stream: StreamID, _ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
        dataFrameBytes += bytes.count
        guard let session else { return HTTP2Callbacks.success }
        guard let slot = slot(of: stream) else {
            _ = nghttp2_session_consume_connection(session, bytes.count)
            return HTTP2Callbacks.success
        }
        earnControlFrames(bytes: bytes.count)
        smallPieces.earn(bytes: bytes.count, perToken: limits.smallPieceBytes / 2)
        slot.pace.moved(now: now)
        slot.owesContinue = false
        if slot.discardsBody {
            discard(bytes.count, of: slot)
            return HTTP2Callbacks.success
        }
        slot.bodyReceived += bytes.count
        heldRequestBytes += bytes.count
        let tooLarge = slot.bodyReceived > limits.requestBodyBytes
        if tooLarge || heldRequestBytes > limits.heldRequestBytes {
            emit(.tripped(tooLarge ? .requestBody : .heldRequests, closes: false))
            let result = refuse(slot, tooLarge ? .bodyTooLarge : .overloaded)
            discard(bytes.count, of: slot)
            return result
        }
        slot.unconsumed += bytes.count
        if slot.isDelivered { emit(.body(stream, Array(bytes))) }
        return HTTP2Callbacks.success
    }

    /// Drops body bytes that nobody wants any more, and lets the peer send as many again.
    ///
    /// Some clients read an answer only when all of the request was sent. What is dropped is bounded: then the stream is reset.
    private func discard(_ count: Int, of slot: StreamSlot) {
        guard let session else { return }
        slot.discarded += count
        if slot.discarded <= limits.unwantedBodyBytes {
            _ = nghttp2_session_consume(session, slot.stream.number, count)
        } else {
            _ = nghttp2_session_consume_connection(session, count)
            if slot.answeredEarly != nil { resetUnwanted(slot) }
        }
    }

    /// A frame that RFC 9113 forbids. Stream errors are charged; connection errors end the session by themselves.
    func gotInvalidFrame(_ header: nghttp2_frame_hd, _ code: Int32) -> Int32 {
        headBegan = nil
        let isMalformed =
            code == NGHTTP2_ERR_HTTP_HEADER.rawValue || code == NGHTTP2_ERR_HTTP_MESSAGING.rawValue
        emit(.tripped(isMalformed ? .malformedRequest : .protocolError, closes: false))
        return chargeError()
    }

    /// The stream is gone, whether answered, reset or refused.
    func closedStream(_ stream: StreamID) {
        guard let slot = slot(of: stream) else { return }
        release(slot)
    }

    /// Ends what the slot's stream held and frees the slot.
    func release(_ slot: StreamSlot) {
        let stream = slot.stream
        if slot.unconsumed > 0 && ending == nil {
            _ = nghttp2_session_consume_connection(session, slot.unconsumed)
        }
        heldRequestBytes -= slot.bodyReceived
        parkedBytes -= slot.parkedBytes
        if slot.isDelivered && !slot.isAnswered {
            orphans.append(stream)
            emit(.cancelled(stream))
        }
        slot.source?.cancel()
        slot.end()
        freeSlots.append(slot.index)
        if openStreams == 0 { idleSince = now }
    }
}

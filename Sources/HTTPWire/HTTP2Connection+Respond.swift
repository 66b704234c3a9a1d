import CNghttp2
package import HTTPTypes

/// Answers and their way out.
extension HTTP2Connection {
    package func respond(to stream: StreamID, _ response: HTTPResponse, body: ResponseBody, now: MonotonicTime) {
        self.now = now
        guard ending == nil, let slot = slot(of: stream), slot.isDelivered, !slot.isAnswered else {
            forgetOrphan(stream)
            if case .source(let source) = body { source.cancel() }
            return
        }
        answer(slot, response, body: body)
    }

    package func respond(to stream: StreamID, _ answer: PreparedAnswer, now: MonotonicTime) {
        self.now = now
        guard ending == nil, let slot = slot(of: stream), slot.isDelivered, !slot.isAnswered else {
            return forgetOrphan(stream)
        }
        // Rare enough to go the long way: HEAD, and a peer that lets answers pile up.
        guard !slot.isHeadRequest, parkedBytes + answer.body.count <= limits.parkedResponseBytes else {
            return self.answer(slot, answer.response, body: .shared(answer.body))
        }
        requestsInWork -= 1
        slot.isAnswered = true
        dropRest(of: slot)
        let hasBody = !answer.body.isEmpty
        if hasBody {
            slot.shared = answer.body
            slot.parkedBytes = answer.body.count
            parkedBytes += answer.body.count
        }
        // The list is read when it is sent.
        slot.prepared = answer
        let result = responseFields.withList(answer, date: date) { list, count in
            submit(list, count, to: slot, hasBody: hasBody)
        }
        if result != 0 {
            _ = nghttp2_submit_rst_stream(session, 0, slot.stream.number, NGHTTP2_INTERNAL_ERROR.rawValue)
        }
    }

    private func submit(
        _ list: UnsafePointer<nghttp2_nv>?, _ count: Int, to slot: StreamSlot, hasBody: Bool
    ) -> Int32 {
        guard hasBody else { return nghttp2_submit_response(session, slot.stream.number, list, count, nil) }
        var provider = HTTP2Callbacks.dataProvider(slotIndex: slot.index)
        return nghttp2_submit_response(session, slot.stream.number, list, count, &provider)
    }

    private func forgetOrphan(_ stream: StreamID) {
        guard let index = orphans.firstIndex(of: stream) else { return }
        orphans.swapAt(index, orphans.count - 1)
        orphans.removeLast()
        requestsInWork -= 1
    }

    /// Answers in the wire's own words and reads no more of the request; charges the connection for it.
    func refuse(_ slot: StreamSlot, _ answer: StandardAnswer) -> Int32 {
        slot.discardsBody = true
        if !slot.isAnswered {
            let (response, body) = answer.response(path: slot.path)
            let wasDelivered = slot.isDelivered
            self.answer(slot, response, body: body)
            if wasDelivered {
                // The handler knows of the request and will answer into the void, which frees its place.
                requestsInWork += 1
                orphans.append(slot.stream)
                emit(.cancelled(slot.stream))
            }
        }
        return chargeError()
    }

    /// Reads no more of a request that is answered before its end, and gives back what it held.
    private func dropRest(of slot: StreamSlot) {
        slot.owesContinue = false
        guard !slot.requestEnded else { return }
        slot.discardsBody = true
        heldRequestBytes -= slot.bodyReceived
        slot.bodyReceived = 0
    }

    /// Tells those peers to send their bodies who wait for that word and were not answered instead (RFC 9110 section 10.1.1).
    func sendOwedContinues() {
        owesContinue = false
        for slot in slots where slot.stream.number != 0 && slot.owesContinue {
            slot.owesContinue = false
            submitContinue(slot)
        }
    }

    private func submitContinue(_ slot: StreamSlot) {
        responseFields.begin(status: 100)
        responseFields.withList { list, count in
            _ = nghttp2_submit_headers(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), slot.stream.number, nil, list, count, nil)
        }
    }

    private func answer(_ slot: StreamSlot, _ response: HTTPResponse, body: ResponseBody) {
        var response = response
        var body = body
        if parkedBytes + body.finishedCount > limits.parkedResponseBytes, !isParked(body) {
            emit(.tripped(.parkedResponses, closes: false))
            (response, body) = StandardAnswer.tooMuchWaiting.response(path: slot.path)
        }
        var status = response.status.code
        responseFields.begin(response, status: status)
        // 1xx is not a final answer, and an oversized list would fail the whole session while it is sent.
        if !responseFields.fits || !(200...999).contains(status) {
            if case .source(let source) = body { source.cancel() }
            (response, body) = StandardAnswer.unanswered.response(path: slot.path)
            status = response.status.code
            responseFields.begin(response, status: status)
        }
        if slot.isDelivered { requestsInWork -= 1 }
        slot.isAnswered = true
        dropRest(of: slot)
        if let date, !responseFields.hasDate { responseFields.add("date", date) }
        let hasBody = take(body, into: slot, status: status)
        let result = responseFields.withList { list, count in submit(list, count, to: slot, hasBody: hasBody) }
        if result != 0 {
            _ = nghttp2_submit_rst_stream(session, 0, slot.stream.number, NGHTTP2_INTERNAL_ERROR.rawValue)
        }
    }

    /// Whether another stream of the connection waits with the same bytes: then this one costs nothing.
    private func isParked(_ body: ResponseBody) -> Bool {
        func place(_ bytes: [UInt8]) -> UnsafePointer<UInt8>? { bytes.withUnsafeBufferPointer(\.baseAddress) }
        switch body {
        case .shared(let bytes): return slots.contains { $0.parkedBytes > 0 && $0.shared === bytes }
        case .bytes(let bytes):
            let own = place(bytes)
            return slots.contains { $0.parkedBytes > 0 && $0.shared == nil && place($0.bytes) == own }
        case .empty, .source: return false
        }
    }

    /// Stores the body in the slot; false when the response has none (RFC 9110 section 6.4.1).
    private func take(_ body: ResponseBody, into slot: StreamSlot, status: Int) -> Bool {
        let statusForbidsBody = status == 204 || status == 304
        let hasNoBody = slot.isHeadRequest || statusForbidsBody
        switch body {
        case .empty:
            if !hasNoBody && !responseFields.hasContentLength { responseFields.addContentLength(0) }
            return false
        case .bytes, .shared:
            let count = body.finishedCount
            if !statusForbidsBody && !responseFields.hasContentLength { responseFields.addContentLength(count) }
            if hasNoBody || count == 0 { return false }
            slot.parkedBytes = parkedBytes + count > limits.parkedResponseBytes && isParked(body) ? 0 : count
            parkedBytes += slot.parkedBytes
            if case .bytes(let bytes) = body { slot.bytes = bytes }
            if case .shared(let bytes) = body { slot.shared = bytes }
            return true
        case .source(let source):
            if hasNoBody {
                source.cancel()
                return false
            }
            slot.source = source
            return true
        }
    }

    /// Says how many bytes of the body go into the next DATA frame; called when the peer's window is open.
    func readBody(
        _ stream: StreamID, slotIndex: Int, into buffer: UnsafeMutableRawBufferPointer, flags: inout UInt32
    ) -> Int {
        guard slotIndex >= 0, slotIndex < slots.count, slots[slotIndex].stream == stream else {
            return Int(HTTP2Callbacks.temporal)
        }
        let slot = slots[slotIndex]
        guard let source = slot.source else {
            let count = min(buffer.count, slot.bodyCount - slot.offset)
            flags |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
            if slot.offset + count == slot.bodyCount { flags |= NGHTTP2_DATA_FLAG_EOF.rawValue }
            return count
        }
        switch source.read(into: buffer) {
        case .bytes(let count) where count > 0:
            return min(count, buffer.count)
        case .bytes, .notNow:
            slot.isDeferred = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        case .last(let count):
            slot.source = nil
            flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
            return max(0, min(count, buffer.count))
        case .failed:
            slot.source = nil
            return Int(HTTP2Callbacks.temporal)
        }
    }

    /// Puts one DATA frame of a finished body straight into the output.
    func sendData(header: UnsafePointer<UInt8>, count: Int, slotIndex: Int) -> Int32 {
        guard let output, slotIndex >= 0, slotIndex < slots.count else { return HTTP2Callbacks.fatal }
        let slot = slots[slotIndex]
        guard slot.offset + count <= slot.bodyCount else { return HTTP2Callbacks.fatal }
        output.append(UnsafeRawBufferPointer(start: header, count: 9))
        if let shared = slot.shared {
            output.append(shared, slot.offset..<(slot.offset + count))
        } else {
            slot.bytes.withUnsafeBytes { bytes in
                output.append(UnsafeRawBufferPointer(rebasing: bytes[slot.offset..<(slot.offset + count)]))
            }
        }
        slot.offset += count
        return output.isFull ? Int32(NGHTTP2_ERR_PAUSE.rawValue) : HTTP2Callbacks.success
    }

    /// A frame went into the output.
    func sentFrame(_ frame: UnsafePointer<nghttp2_frame>) -> Int32 {
        let header = frame.pointee.hd
        switch UInt32(header.type) {
        case NGHTTP2_RST_STREAM.rawValue:
            // What was under way when the peer learns of it fits into its window.
            lateBytes += limits.streamWindowBytes
            ignoredFieldsLeft = min(limits.ignoredFields, ignoredFieldsLeft + limits.ignoredFieldsPerReset)
            return causedResets.take(now: now) ? HTTP2Callbacks.success : trip(.causedResets)
        case NGHTTP2_GOAWAY.rawValue:
            if frame.pointee.goaway.error_code != NGHTTP2_NO_ERROR.rawValue {
                emit(.tripped(.protocolError, closes: true))
            }
        case NGHTTP2_DATA.rawValue, NGHTTP2_HEADERS.rawValue:
            writeWindowBytes += header.length
            earnControlFrames(bytes: header.length)
            guard header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 else { break }
            if let slot = slot(of: StreamID(header.stream_id)), !slot.requestEnded {
                // The rest of the request is not wanted (RFC 9113 section 8.1). The reset that says so waits a
                // moment: curl 7.88 loses the answer when both come together.
                slot.answeredEarly = now
                slot.discardsBody = true
            }
        default:
            break
        }
        return HTTP2Callbacks.success
    }
}

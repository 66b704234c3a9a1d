import CNghttp2

/// Timers and the graceful stop.
extension HTTP2Connection {
    package func checkDeadlines(now: MonotonicTime, outputIsBlocked: Bool) {
        self.now = now
        guard ending == nil, let session else { return }
        if !gotSettings && now.since(opened) > limits.prefaceMilliseconds {
            return end(.prefaceTimeout, code: NGHTTP2_SETTINGS_TIMEOUT.rawValue)
        }
        if let headBegan, now.since(headBegan) > limits.headMilliseconds {
            return end(.headTimeout, code: NGHTTP2_ENHANCE_YOUR_CALM.rawValue)
        }
        if case .noticed(let since) = stopStage, now.since(since) > limits.stopPingMilliseconds { finishStop() }
        if openStreams == 0 {
            // Whoever comes back at once finds everything as it was.
            if now.since(idleSince) > 1000 { trim() }
            if requestsInWork == 0 && stopStage == .running && now.since(idleSince) > limits.idleMilliseconds {
                stopStage = .draining
                emit(.tripped(.idleTimeout, closes: true))
                _ = nghttp2_session_terminate_session(session, NGHTTP2_NO_ERROR.rawValue)
            }
            restartWriteWindow()
            return
        }
        resetUnwanted()
        checkBodies()
        if ending == nil { outputIsBlocked ? restartWriteWindow() : checkWrites() }
    }

    /// Ends the streams whose peers go on sending a body after the answer.
    private func resetUnwanted() {
        for slot in slots where slot.stream.number != 0 {
            guard let since = slot.answeredEarly else { continue }
            let quiet = min(now.since(since), now.since(slot.pace.progress))
            let isOver =
                quiet > limits.unwantedBodyMilliseconds || now.since(since) > limits.unwantedBodyTotalMilliseconds
            if isOver { resetUnwanted(slot) }
        }
    }

    /// Says that the rest of a request is not wanted (RFC 9113 section 8.1).
    func resetUnwanted(_ slot: StreamSlot) {
        slot.answeredEarly = nil
        _ = nghttp2_submit_rst_stream(session, 0, slot.stream.number, NGHTTP2_NO_ERROR.rawValue)
    }

    /// Answers 408 to request bodies that stalled or trickle.
    ///
    /// A body whose window we hold closed is not the peer's fault and is left alone.
    private func checkBodies() {
        for slot in slots where slot.stream.number != 0 && slot.isDelivered {
            if slot.requestEnded || slot.isAnswered { continue }
            let isTooSlow = slot.pace.isTooSlow(limits, received: slot.bodyReceived, now: now)
            guard isTooSlow, slot.unconsumed < limits.streamWindowBytes else { continue }
            emit(.tripped(.bodyTimeout, closes: false))
            if refuse(slot, .bodyTimeout) != HTTP2Callbacks.success { return }
        }
    }

    /// Ends a connection that takes its responses not at all or too slowly, measured over whole windows of time.
    private func checkWrites() {
        let isAwaited = slots.contains { $0.stream.number != 0 && $0.isWriting && $0.answeredEarly == nil }
        guard isAwaited else { return restartWriteWindow() }
        let elapsed = now.since(writeWindowBegan)
        guard elapsed > limits.writeProgressMilliseconds else { return }
        let needed = max(1, Int64(limits.bodyBytesPerSecond) * elapsed / 1000)
        if Int64(writeWindowBytes) < needed {
            return end(.writeTimeout, code: NGHTTP2_ENHANCE_YOUR_CALM.rawValue)
        }
        restartWriteWindow()
    }

    private func restartWriteWindow() {
        writeWindowBegan = now
        writeWindowBytes = 0
    }

    // MARK: - Graceful stop

    /// The payload of the PING that follows the first GOAWAY.
    private static let stopPing: [UInt8] = Array("gatehous".utf8)

    package func beginStop(now: MonotonicTime) {
        self.now = now
        guard ending == nil, stopStage == .running, let session else { return }
        stopStage = .noticed(now)
        // Streams that the peer opened before it read this are still served (RFC 9113 section 6.8).
        _ = nghttp2_submit_shutdown_notice(session)
        _ = nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), Self.stopPing)
    }

    func gotPingAcknowledgement(_ ping: nghttp2_ping) {
        guard case .noticed = stopStage else { return }
        let isOurs = withUnsafeBytes(of: ping.opaque_data) { $0.elementsEqual(Self.stopPing) }
        if isOurs { finishStop() }
    }

    private func finishStop() {
        guard let session else { return }
        stopStage = .draining
        // Requests that cross this are dropped by libnghttp2, and so are their bodies.
        lateBytes += limits.connectionWindowBytes
        _ = nghttp2_submit_goaway(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nghttp2_session_get_last_proc_stream_id(session),
            NGHTTP2_NO_ERROR.rawValue, nil, 0)
    }
}

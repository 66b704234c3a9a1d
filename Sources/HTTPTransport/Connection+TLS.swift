import Glibc
import HTTPWire

/// How TLS begins, and what becomes of a connection where it fails.
extension Connection {
    /// Sets up TLS, then hands the connection to the protocol that was agreed on.
    func shakeHands(now: MonotonicTime) {
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

    /// Ends a connection whose TLS has failed once the peer had a moment to read why.
    ///
    /// OpenSSL has an alert to send. Closing with unread input, such as the request that a client of TLS 1.3 sends with its
    /// last flight, makes the kernel send RST, which overtakes the alert.
    func drain() {
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
}

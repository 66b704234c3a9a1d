import Glibc
import HTTPWire

/// Output on its way to the socket.
extension Connection {
    /// Writes what is ready; true when the turn's share was written and more may be ready.
    func flush() -> Bool {
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
    func flushWaiting() -> Bool {
        guard let waiting else { return true }
        guard send(waiting) else { return false }
        self.waiting = nil
        writeEvent?.deactivate()
        resumeReading()
        return true
    }

    /// Sends what the loop's buffer holds, and keeps what the socket does not take.
    func sendOutput() {
        guard !loop.output.isEmpty else { return }
        // Keys may be exchanged after the end of the answers; what is said of that cannot be sent any more.
        if isShutDown && !isDrained { return loop.output.removeAll() }
        if let waiting {
            waiting.append(loop.output.pending)
            loop.output.removeAll()
        } else if !send(loop.output) {
            if isClosed { loop.output.removeAll() } else { wait(for: loop.output) }
        }
    }

    /// Sends from `buffer`; true when it is empty.
    func send(_ buffer: OutputBuffer) -> Bool {
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

    /// Whether the socket took less than the slowest rate over a whole window of time.
    func isTakingTooLittle(now: MonotonicTime) -> Bool {
        let elapsed = now.since(waitingSince)
        guard elapsed > loop.limits.wire.writeProgressMilliseconds else { return false }
        if Int64(sentWhileWaiting) < max(1, Int64(loop.limits.wire.bodyBytesPerSecond) * elapsed / 1000) { return true }
        waitingSince = now
        sentWhileWaiting = 0
        return false
    }
}

/// Timers and the graceful stop.
extension HTTP1Connection {
    package func checkDeadlines(now: MonotonicTime, outputIsBlocked: Bool) {
        self.now = now
        guard !isOver, !isBroken else { return }
        if let headBegan, now.since(headBegan) > limits.headMilliseconds { return refuse(.headTimeout) }
        if writer.isBusy { return outputIsBlocked ? restartWriteWindow() : checkWrites() }
        switch reading {
        case .length, .chunked: checkBody()
        case .head where headBegan == nil:
            trim()
            if let stopIdleBy, stopIdleBy < now {
                isOver = true
                reading = .never
                return
            }
            // The first request has as long as a preface of HTTP/2.
            let isFirst = stream.number < 0
            let limit = isFirst ? limits.prefaceMilliseconds : limits.idleMilliseconds
            guard now.since(idleSince) > limit else { return }
            emit(.tripped(isFirst ? .prefaceTimeout : .idleTimeout, closes: true))
            isOver = true
            reading = .never
        case .head, .done, .never: break
        }
    }

    /// Answers 408 to a body that stalled or trickles.
    private func checkBody() {
        if bodyPace.isTooSlow(limits, received: bodyReceived, now: now) { refuse(.bodyTimeout) }
    }

    /// Ends a connection that takes its answer not at all or too slowly, measured over whole windows of time.
    private func checkWrites() {
        guard !writer.isDeferred else { return restartWriteWindow() }
        let elapsed = now.since(writeWindowBegan)
        guard elapsed > limits.writeProgressMilliseconds else { return }
        if Int64(writeWindowBytes) < max(1, Int64(limits.bodyBytesPerSecond) * elapsed / 1000) {
            emit(.tripped(.writeTimeout, closes: true))
            isBroken = true
            return
        }
        restartWriteWindow()
    }

    func restartWriteWindow() {
        writeWindowBegan = now
        writeWindowBytes = 0
    }

    package func beginStop(now: MonotonicTime) {
        self.now = now
        isStopping = true
        endsAfterAnswer = true
        guard current == nil && !writer.isBusy && headBegan == nil else { return }
        // Nothing was asked, so nobody is owed an answer. But who asked a moment ago is about to ask again, or has: the next answer
        // says that it is the last.
        if stream.number > 0 && now.since(idleSince) <= limits.stopIdleMilliseconds {
            stopIdleBy = MonotonicTime(milliseconds: now.milliseconds + limits.stopIdleMilliseconds)
        } else {
            isOver = true
            reading = .never
        }
    }
}

extension StandardAnswer {
    /// The guard that is counted for it.
    var cause: Guard {
        switch self {
        case .bodyTimeout: .bodyTimeout
        case .headTimeout: .headTimeout
        case .bodyTooLarge: .requestBody
        case .headerListTooLarge, .targetTooLong: .headerList
        case .tooManyPieces: .smallPieces
        case .conflictingAuthority, .invalidAuthority, .malformedRequest, .methodUnknown, .codingUnknown,
            .versionNotSupported, .unanswered, .tooMuchWaiting, .overloaded, .stopping:
            .malformedHTTP1
        }
    }
}

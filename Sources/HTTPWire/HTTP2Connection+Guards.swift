import CNghttp2

/// The end of a connection that asked for it.
extension HTTP2Connection {
    /// Ends the connection with `ENHANCE_YOUR_CALM`; the result is for the callback to return.
    func trip(_ reason: Guard) -> Int32 {
        end(reason, code: NGHTTP2_ENHANCE_YOUR_CALM.rawValue)
        return HTTP2Callbacks.fatal
    }

    /// Ends the connection for something that RFC 9113 calls an error of it and libnghttp2 lets pass.
    func breach(_ code: nghttp2_error_code) -> Int32 {
        end(.protocolError, code: code.rawValue)
        return HTTP2Callbacks.fatal
    }

    /// Charges one error to the connection's lifetime budget.
    func chargeError() -> Int32 {
        errorsLeft -= 1
        return errorsLeft < 0 ? trip(.errorBudget) : HTTP2Callbacks.success
    }

    /// Looks at DATA on a stream that is not open, which libnghttp2 1.52 drops without a word or a limit.
    ///
    /// After the peer has ended the stream it is an error (RFC 9113 sections 5.1 and 6.1), here of the connection, as other servers
    /// have it. On a stream that we have reset it may have been under way; false once it cannot have been.
    func mayBeLate(_ data: FrameScanner.Data) -> Bool {
        switch history.sawData(data.stream.number) {
        case .fine: return true
        case .unexpected, .closed: break
        case .late:
            lateBytes -= data.count
            if data.endsStream { history.peerEnded(data.stream.number) }
            if lateBytes >= 0 && controlFrames.take(now: now) { return true }
        }
        end(.closedStreams, code: NGHTTP2_STREAM_CLOSED.rawValue)
        return false
    }

    /// Charges a frame of a header block that is decoded for HPACK's sake and shown to nobody.
    ///
    /// libnghttp2 has no callback for its fields, so that they are charged before: a byte can be a whole field, an index into
    /// HPACK's table (RFC 7541 section 6.1), and none is more than one.
    func ignoreBlock(_ header: nghttp2_frame_hd) -> Int32 {
        ignoredFieldsLeft -= header.length
        // What comes in CONTINUATION is told to nobody, so it counts before it comes.
        let isWhole = header.flags & UInt8(NGHTTP2_FLAG_END_HEADERS.rawValue) != 0
        if !isWhole { ignoredFieldsLeft -= limits.ignoredFields / 2 }
        return ignoredFieldsLeft < 0 ? trip(.lateHeaders) : HTTP2Callbacks.success
    }

    /// Credits body bytes that moved, so that the window updates they cost are not taken for a flood.
    func earnControlFrames(bytes: Int) {
        controlFrames.earn(bytes: bytes, perToken: limits.bodyBytesPerControlFrame)
    }

    /// Ends the connection after libnghttp2 gave up with `result`; any negative result means that it did.
    func end(after result: Int32) {
        guard ending == nil else { return }
        switch result {
        case NGHTTP2_ERR_FLOODED.rawValue:
            end(.outboundAcknowledgements, code: NGHTTP2_ENHANCE_YOUR_CALM.rawValue)
        case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue:
            end(.continuations, code: NGHTTP2_ENHANCE_YOUR_CALM.rawValue)
        case NGHTTP2_ERR_NOMEM.rawValue:
            end(.protocolError, code: NGHTTP2_INTERNAL_ERROR.rawValue)
        default:
            end(.protocolError, code: NGHTTP2_PROTOCOL_ERROR.rawValue)
        }
    }

    /// Ends the connection: a GOAWAY with `code`, and what was begun is cancelled.
    func end(_ reason: Guard, code: UInt32) {
        guard ending == nil else { return }
        ending = code
        emit(.tripped(reason, closes: true))
        for slot in slots where slot.stream.number != 0 { release(slot) }
    }
}

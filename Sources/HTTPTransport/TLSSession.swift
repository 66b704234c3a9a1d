import COpenSSLTLS
import HTTPWire

/// One TLS connection on a socket that does not block; confined to its event loop's thread.
final class TLSSession {
    private let handle: OpaquePointer

    /// What became of a call.
    enum Outcome: Equatable {
        /// Bytes moved; zero for a finished handshake.
        case done(Int)
        case wantsRead
        /// The peer ended the stream.
        case ended
        case failed
    }

    private let transport: TLSTransport

    /// A session on the socket `number`, which puts what is to be sent into `output`; nil without memory.
    init?(
        _ context: TLSContext, socket number: Int32, output: OutputBuffer, keyUpdates: WireLimits.Rate,
        now: MonotonicTime
    ) {
        guard let handle = SSL_new(context.handle) else { return nil }
        transport = TLSTransport(socket: number, output: output, keyUpdates: keyUpdates, now: now)
        guard let channel = transport.makeChannel() else {
            SSL_free(handle)
            return nil
        }
        // One reference serves both directions.
        SSL_set_bio(handle, channel, channel)
        transport.watch(handle)
        SSL_set_accept_state(handle)
        self.handle = handle
    }

    deinit { SSL_free(handle) }

    func handshake() -> Outcome {
        ERR_clear_error()
        transport.begin()
        let result = SSL_do_handshake(handle)
        return result == 1 ? .done(0) : outcome(result)
    }

    /// Whether the failed handshake was a request in the clear.
    var wasCleartext: Bool { gatehouse_tls_was_cleartext() != 0 }

    /// What was negotiated; HTTP/1.1 for a client that offers nothing.
    var isHTTP2: Bool { gatehouse_tls_is_http2(handle) != 0 }

    func read(into buffer: UnsafeMutableRawBufferPointer, now: MonotonicTime) -> Outcome {
        ERR_clear_error()
        transport.begin(now: now)
        let count = SSL_read(handle, buffer.baseAddress, Int32(clamping: buffer.count))
        return count > 0 ? .done(Int(count)) : outcome(count)
    }

    /// Encrypts all of `bytes`.
    func write(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        ERR_clear_error()
        let count = SSL_write(handle, bytes.baseAddress, Int32(clamping: bytes.count))
        return count > 0 ? .done(Int(count)) : outcome(count)
    }

    /// Whether it failed because the peer changed keys too often.
    var wasFlooded: Bool { transport.isFlooded }

    /// Whether bytes were read from the socket and not yet taken: the socket will not announce them again.
    var hasPending: Bool { SSL_has_pending(handle) != 0 }

    /// Says that nothing more will be sent.
    func sendClose() {
        ERR_clear_error()
        _ = SSL_shutdown(handle)
    }

    private func outcome(_ result: Int32) -> Outcome {
        switch SSL_get_error(handle, result) {
        case SSL_ERROR_WANT_READ: .wantsRead
        case SSL_ERROR_ZERO_RETURN: .ended
        default: .failed
        }
    }
}

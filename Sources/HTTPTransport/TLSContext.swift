import COpenSSLTLS
import Glibc
import HTTPWire
import Synchronization

/// Where certificate and key lie, in PEM.
package struct TLSFiles: Sendable, Equatable {
    /// The certificate, followed by those between it and its authority.
    package var certificate: String
    package var key: String
    /// Authorities whose certificates clients must show; nil when clients need none.
    package var clientAuthorities: String?

    package init(certificate: String, key: String, clientAuthorities: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.clientAuthorities = clientAuthorities
    }
}

/// Why TLS cannot be set up; names files and never what is in them.
package struct TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String
}

/// The one owner of an OpenSSL context: the certificate and what is negotiated with it.
///
/// Never changed once it is made, so that all event loops may make sessions from it.
final class TLSContext: @unchecked Sendable {
    fileprivate let handle: OpaquePointer

    /// Reads the files.
    init(_ files: TLSFiles) throws(TLSError) {
        for (what, file) in [
            ("the certificate", files.certificate), ("the key", files.key),
            ("the client authorities", files.clientAuthorities),
        ] {
            // OpenSSL says no more than "system lib" of a file that it cannot open.
            guard let file else { continue }
            let number = open(file, O_RDONLY | O_CLOEXEC)
            guard number >= 0 else {
                throw TLSError(description: "\(what) \(file) cannot be read: \(String(cString: strerror(errno)))")
            }
            close(number)
        }
        ERR_clear_error()
        guard let handle = gatehouse_tls_context() else {
            throw TLSError(description: "TLS cannot be set up: \(String(cString: gatehouse_tls_reason()))")
        }
        self.handle = handle
        func check(_ result: Int32, _ what: String, _ file: String) throws(TLSError) {
            if result == 1 { return }
            throw TLSError(description: "\(what) \(file) cannot be used: \(String(cString: gatehouse_tls_reason()))")
        }
        try check(SSL_CTX_use_certificate_chain_file(handle, files.certificate), "the certificate", files.certificate)
        try check(SSL_CTX_use_PrivateKey_file(handle, files.key, SSL_FILETYPE_PEM), "the key", files.key)
        try check(SSL_CTX_check_private_key(handle), "the key", files.key)
        if let authorities = files.clientAuthorities {
            try check(gatehouse_tls_demand_certificates(handle, authorities), "the client authorities", authorities)
        }
    }

    deinit { SSL_CTX_free(handle) }
}

/// The context for new connections, which a reload replaces.
final class TLSStore: Sendable {
    private let state = Mutex<TLSContext?>(nil)

    var current: TLSContext? { state.withLock { $0 } }

    func replace(_ context: TLSContext) { state.withLock { $0 = context } }
}

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

    /// A session that reads from the socket `number` and puts what is to be sent into `output`, which outlives it; nil
    /// without memory.
    ///
    /// OpenSSL writes to a socket record by record; in a buffer many of them become one call.
    init?(_ context: TLSContext, socket number: Int32, output: OutputBuffer) {
        guard let method = Self.writer, let handle = SSL_new(context.handle) else { return nil }
        guard let reader = BIO_new_socket(number, BIO_NOCLOSE) else {
            SSL_free(handle)
            return nil
        }
        guard let writer = BIO_new(method) else {
            BIO_free(reader)
            SSL_free(handle)
            return nil
        }
        BIO_set_data(writer, Unmanaged.passUnretained(output).toOpaque())
        BIO_set_init(writer, 1)
        SSL_set_bio(handle, reader, writer)
        SSL_set_accept_state(handle)
        self.handle = handle
    }

    deinit { SSL_free(handle) }

    /// What OpenSSL calls a BIO: one that appends to an `OutputBuffer`.
    ///
    /// Made once and only read afterwards, hence `nonisolated(unsafe)`.
    private nonisolated(unsafe) static let writer: OpaquePointer? = {
        guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "output") else { return nil }
        BIO_meth_set_write(method) { writer, bytes, count in
            guard let place = BIO_get_data(writer), let bytes, count > 0 else { return 0 }
            let output = Unmanaged<OutputBuffer>.fromOpaque(place).takeUnretainedValue()
            output.append(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
            return count
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
        return method
    }()

    func handshake() -> Outcome {
        ERR_clear_error()
        let result = SSL_do_handshake(handle)
        return result == 1 ? .done(0) : outcome(result)
    }

    /// Whether the failed handshake was a request in the clear.
    var wasCleartext: Bool { gatehouse_tls_was_cleartext() != 0 }

    /// What was negotiated; HTTP/1.1 for a client that offers nothing.
    var isHTTP2: Bool { gatehouse_tls_is_http2(handle) != 0 }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Outcome {
        ERR_clear_error()
        let count = SSL_read(handle, buffer.baseAddress, Int32(clamping: buffer.count))
        return count > 0 ? .done(Int(count)) : outcome(count)
    }

    /// Encrypts all of `bytes`.
    func write(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        ERR_clear_error()
        let count = SSL_write(handle, bytes.baseAddress, Int32(clamping: bytes.count))
        return count > 0 ? .done(Int(count)) : outcome(count)
    }

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

import COpenSSLTLS
import Glibc
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
    let handle: OpaquePointer

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

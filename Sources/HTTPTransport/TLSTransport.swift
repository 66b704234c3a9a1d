import COpenSSLTLS
import Glibc
import HTTPWire

/// What OpenSSL reads from and writes to for one session: a BIO (BIO_meth_new(3)) over the socket and the output buffer.
///
/// OpenSSL writes to a socket record by record; in a buffer many of them become one call. And it reads on until it has bytes for
/// the application: a peer that sends nothing but key updates faster than keys are derived would keep the thread for itself, so a
/// call gets so many bytes and no more, and key updates are counted (RFC 8446 section 4.6.3).
final class TLSTransport {
    /// Bytes that one call of OpenSSL reads: some records, each of 16 KiB at most.
    private static let bytesPerCall = 64 * 1024

    private let socket: Int32
    private let output: OutputBuffer
    private var bytesLeft = 0
    private var isAtEnd = false
    private var keyUpdates: TokenBucket
    private var now: MonotonicTime
    /// The peer changed keys more often than it may; nothing more is read.
    private(set) var isFlooded = false

    init(socket: Int32, output: OutputBuffer, keyUpdates: WireLimits.Rate, now: MonotonicTime) {
        self.socket = socket
        self.output = output
        self.keyUpdates = TokenBucket(keyUpdates, now: now)
        self.now = now
    }

    /// Starts a call of OpenSSL.
    func begin(now: MonotonicTime? = nil) {
        bytesLeft = Self.bytesPerCall
        if let now { self.now = now }
    }

    /// A BIO on this object, which must outlive it; nil without memory.
    func makeChannel() -> OpaquePointer? {
        guard let method = Self.method, let channel = BIO_new(method) else { return nil }
        BIO_set_data(channel, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(channel, 1)
        return channel
    }

    /// Counts the key updates of the session, which this object must outlive.
    func watch(_ session: OpaquePointer) {
        gatehouse_tls_watch(
            session,
            { isWritten, _, type, bytes, count, _, argument in
                guard isWritten == 0, type == SSL3_RT_HANDSHAKE, let bytes, count > 0,
                    bytes.load(as: UInt8.self) == UInt8(SSL3_MT_KEY_UPDATE), let argument
                else { return }
                Unmanaged<TLSTransport>.fromOpaque(argument).takeUnretainedValue().sawKeyUpdate()
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    private func sawKeyUpdate() {
        if !keyUpdates.take(now: now) { isFlooded = true }
    }

    private func read(into buffer: UnsafeMutableRawPointer, _ count: Int) -> Read {
        if isFlooded { return .failed }
        guard bytesLeft > 0 else { return .later }
        while true {
            let count = recv(socket, buffer, count, 0)
            if count > 0 {
                bytesLeft -= count
                return .bytes(count)
            }
            if count == 0 {
                isAtEnd = true
                return .end
            }
            if errno == EINTR { continue }
            return errno == EAGAIN ? .later : .failed
        }
    }

    private enum Read {
        case bytes(Int)
        case later
        case end
        case failed
    }

    /// Made once and only read afterwards, hence `nonisolated(unsafe)`.
    private nonisolated(unsafe) static let method: OpaquePointer? = {
        guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection") else { return nil }
        BIO_meth_set_write(method) { channel, bytes, count in
            guard let transport = transport(channel), let bytes, count > 0 else { return 0 }
            transport.output.append(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
            return count
        }
        BIO_meth_set_read(method) { channel, buffer, count in
            gatehouse_bio_clear_retry(channel)
            guard let transport = transport(channel), let buffer, count > 0 else { return 0 }
            switch transport.read(into: buffer, Int(count)) {
            case .bytes(let count): return Int32(clamping: count)
            case .end: return 0
            case .failed: return -1
            case .later:
                gatehouse_bio_retry_read(channel)
                return -1
            }
        }
        BIO_meth_set_ctrl(method) { channel, command, _, _ in
            switch command {
            case BIO_CTRL_FLUSH: 1
            case BIO_CTRL_EOF: transport(channel)?.isAtEnd == true ? 1 : 0
            default: 0
            }
        }
        return method
    }()
}

/// The object behind a BIO's data. At file scope, because a C function pointer captures nothing.
private func transport(_ channel: OpaquePointer?) -> TLSTransport? {
    BIO_get_data(channel).map { Unmanaged<TLSTransport>.fromOpaque($0).takeUnretainedValue() }
}

/// Tells HTTP/2 with prior knowledge from HTTP/1 and TLS by the first bytes of a cleartext connection.
///
/// Decides at the first byte that differs from the client preface (RFC 9113 section 3.4) and never sooner: waiting
/// for all 24 bytes hangs on short HTTP/1.0 probes, and speaking first makes HTTP/1 clients save frames as a body.
package struct ProtocolSniffer: Sendable {
    /// What the first bytes are.
    package enum Decision: Sendable, Equatable {
        /// A proper prefix of the preface; wait for more, with a time limit.
        case undecided
        /// The preface, or its first line with a wrong tail, which the HTTP/2 codec refuses in its own words.
        case http2
        /// Something else: HTTP/1, or noise.
        case http1
        /// A TLS record (RFC 8446 section 5.1).
        case tls
    }

    private static let preface: [UInt8] = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    private static let firstLineCount = 16
    private static let tlsHandshake: UInt8 = 0x16

    private var matched = 0
    /// What was decided so far; it never changes back to `.undecided`.
    package private(set) var decision = Decision.undecided

    /// A sniffer that has seen nothing.
    package init() {}

    /// Looks at the next bytes of the connection and decides when they allow it.
    ///
    /// The caller keeps the bytes: all of them, from the first, belong to the codec.
    package mutating func look(at bytes: UnsafeRawBufferPointer) -> Decision {
        for byte in bytes {
            guard decision == .undecided else { break }
            if byte == Self.preface[matched] {
                matched += 1
                if matched == Self.preface.count { decision = .http2 }
            } else if matched == 0 && byte == Self.tlsHandshake {
                decision = .tls
            } else {
                decision = matched >= Self.firstLineCount ? .http2 : .http1
            }
        }
        return decision
    }
}

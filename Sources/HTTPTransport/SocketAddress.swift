import Glibc
import HTTPWire

/// A numeric address and port to listen on, or of a peer.
package struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    /// The numeric host, without brackets.
    package let host: String
    /// The port; zero asks the system to choose one.
    package let port: UInt16
    let isIPv6: Bool

    /// An address from its parts; nil when `host` is not a numeric IPv4 or IPv6 address.
    package init?(host: String, port: UInt16) {
        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, host, &four) == 1 {
            isIPv6 = false
        } else if inet_pton(AF_INET6, host, &six) == 1 {
            isIPv6 = true
        } else {
            return nil
        }
        self.host = host
        self.port = port
    }

    /// Parses `127.0.0.1:8080` or `[::1]:8080`; nil when it is neither.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.first == "[" {
            guard host.last == "]" else { return nil }
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        self.init(host: String(host), port: port)
    }

    /// The address in the form that `init(_:)` reads.
    package var description: String { peer.description }

    /// The address as the wire layer names it.
    var peer: PeerAddress { PeerAddress(host: host, port: port) }

    /// Whether only this machine can reach it.
    package var isLoopback: Bool {
        isIPv6 ? host == "::1" || host.hasPrefix("::ffff:127.") : host.hasPrefix("127.")
    }

    /// The address that a socket of this process is bound to; nil where it is none of TCP.
    package init?(ofSocket number: Int32) {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let named = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(number, $0, &size) }
        }
        guard named == 0 else { return nil }
        self.init(storage)
    }

    /// Calls `body` with the C form of the address.
    func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        var storage = sockaddr_storage()
        let size: Int
        if isIPv6 {
            var six = sockaddr_in6()
            six.sin6_family = sa_family_t(AF_INET6)
            six.sin6_port = port.bigEndian
            inet_pton(AF_INET6, host, &six.sin6_addr)
            size = MemoryLayout<sockaddr_in6>.size
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: six, as: sockaddr_in6.self) }
        } else {
            var four = sockaddr_in()
            four.sin_family = sa_family_t(AF_INET)
            four.sin_port = port.bigEndian
            inet_pton(AF_INET, host, &four.sin_addr)
            size = MemoryLayout<sockaddr_in>.size
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: four, as: sockaddr_in.self) }
        }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(size)) }
        }
    }

    /// The Swift form of what the system filled in; nil for other families.
    init?(_ storage: sockaddr_storage) {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let isSix = Int32(storage.ss_family) == AF_INET6
        guard isSix || Int32(storage.ss_family) == AF_INET else { return nil }
        let port: UInt16 = withUnsafeBytes(of: storage) { bytes in
            if isSix {
                var six = bytes.load(as: sockaddr_in6.self)
                inet_ntop(AF_INET6, &six.sin6_addr, &text, socklen_t(text.count))
                return UInt16(bigEndian: six.sin6_port)
            }
            var four = bytes.load(as: sockaddr_in.self)
            inet_ntop(AF_INET, &four.sin_addr, &text, socklen_t(text.count))
            return UInt16(bigEndian: four.sin_port)
        }
        let end = text.firstIndex(of: 0) ?? text.count
        host = String(decoding: text[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        self.port = port
        isIPv6 = isSix
    }
}

import Foundation
import HTTPTransport

/// A listening socket that the process was started with.
package struct InheritedSocket: Sendable, Hashable {
    package var number: Int32
    package var isTLS: Bool
}

/// What systemd and its like expect of a service: sockets handed over, and a word when it is ready.
package enum Supervisor {
    /// The sockets of `sd_listen_fds(3)`; one whose name contains `tls` or `https` is served with TLS.
    package static func sockets(_ environment: [String: String]) -> [InheritedSocket] {
        // Meant for this process only, and not for what a shell in between was started for.
        guard environment["LISTEN_PID"].flatMap({ Int32($0) }) == getpid(),
            let count = environment["LISTEN_FDS"].flatMap({ Int32($0) }), (1...64).contains(count)
        else { return [] }
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false)
        return (0..<count).map { index in
            let name = names.indices.contains(Int(index)) ? names[Int(index)] : ""
            return InheritedSocket(number: 3 + index, isTLS: name.contains("tls") || name.contains("https"))
        }
    }

    /// Sends a state, as `sd_notify(3)` does; nothing happens where nobody wants to know.
    package static func notify(_ state: String) {
        guard let path = ProcessInfo.processInfo.environment["NOTIFY_SOCKET"] else { return }
        send(state, to: path)
    }

    /// Sends a datagram to a socket of this machine; `@` begins a name that is no file.
    static func send(_ state: String, to path: String) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var name = Array(path.utf8)
        guard !name.isEmpty, name.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
        if name[0] == UInt8(ascii: "@") { name[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let size = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
        let bytes = Array(state.utf8)
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, size)
            }
        }
    }
}

extension ServiceConfiguration {
    /// Everything to listen on.
    var endpoints: [Endpoint] {
        addresses.map { .address($0, isTLS: false) } + tlsAddresses.map { .address($0, isTLS: true) }
            + sockets.map { .inherited($0.number, isTLS: $0.isTLS) }
    }
}

import CLibevent
import Glibc

/// The one owner of a file descriptor; closes it when released.
final class Descriptor: Sendable {
    let number: Int32

    /// Takes over `number`; nil when it is the -1 of a failed call.
    init?(_ number: Int32) {
        guard number >= 0 else { return nil }
        self.number = number
    }

    deinit {
        close(number)
    }

    /// Sets an integer socket option; failure is harmless for those used here.
    func setOption(_ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        _ = setsockopt(number, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }
}

/// A socket that accepts connections.
struct Listener: Sendable {
    var socket: Descriptor
    var isTLS = false
    /// Opened by whoever started the process, who may go on to use it.
    var isInherited = false
}

/// What a server is to listen on.
package enum Endpoint: Sendable, Equatable {
    /// An address, bound by the server.
    case address(SocketAddress, isTLS: Bool)
    /// A listening socket that the process was started with.
    case inherited(Int32, isTLS: Bool)
}

/// Why a server did not start.
package struct ListenError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The address or the number of the socket that was asked for.
    package let address: String
    /// The system call that failed.
    package let operation: String
    /// The system's error number.
    package let code: Int32

    /// Address, call and the system's words.
    package var description: String {
        "\(address): \(operation): \(String(cString: strerror(code)))"
    }
}

extension Descriptor {
    /// A listening socket and the address it is bound to.
    ///
    /// With `shared`, several sockets may listen on the same address, one per event loop (`SO_REUSEPORT`).
    static func listening(
        on address: SocketAddress, backlog: Int, shared: Bool
    ) throws(ListenError) -> (Descriptor, SocketAddress) {
        func failure(_ operation: String) -> ListenError {
            ListenError(address: address.description, operation: operation, code: errno)
        }
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard let socket = Descriptor(socket(address.isIPv6 ? AF_INET6 : AF_INET, kind, 0)) else {
            throw failure("socket")
        }
        socket.setOption(SOL_SOCKET, SO_REUSEADDR, 1)
        if shared { socket.setOption(SOL_SOCKET, SO_REUSEPORT, 1) }
        if address.isIPv6 { socket.setOption(Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
        guard address.withSockaddr({ bind(socket.number, $0, $1) }) == 0 else { throw failure("bind") }
        guard listen(socket.number, Int32(clamping: backlog)) == 0 else { throw failure("listen") }
        guard let bound = socket.localAddress else { throw failure("getsockname") }
        return (socket, bound)
    }

    /// A copy of a listening socket that the process was started with, and its address.
    static func inherited(_ number: Int32) throws(ListenError) -> (Descriptor, SocketAddress) {
        func failure(_ operation: String) -> ListenError {
            ListenError(address: "socket \(number)", operation: operation, code: errno)
        }
        guard let socket = Descriptor(gatehouse_duplicate(number)) else { throw failure("dup") }
        guard let bound = socket.localAddress else { throw failure("getsockname") }
        return (socket, bound)
    }

    /// The address that the socket is bound to; nil where it is none of TCP.
    private var localAddress: SocketAddress? { SocketAddress(ofSocket: number) }
}

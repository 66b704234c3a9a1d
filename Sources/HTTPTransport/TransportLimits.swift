package import HTTPWire

/// Every limit of the listeners and event loops, and those of the protocol on each connection.
package struct TransportLimits: Sendable, Equatable {
    /// The limits of one connection.
    package var wire = WireLimits()

    /// Connections open at once, over all event loops.
    package var connections: Int = 1024

    /// Connections open at once from one address.
    package var connectionsPerAddress: Int = 256

    /// Requests in the hands of handlers, per event loop, those of closed connections included. Beyond: 503.
    ///
    /// A peer that closes its connection frees no work, so a limit per connection alone could be walked around.
    package var requestsInWork: Int = 2048

    /// Bytes read before output is written and guards are looked at: larger reads let an attacker run ahead of them.
    package var readBytes: Int = 16 * 1024

    /// Bytes of output produced at a time; while any of it waits for the socket, the connection is not read.
    package var writeBytes: Int = 64 * 1024

    /// Bytes that the kernel keeps for a peer and has not sent yet; it makes nobody wait who reads.
    package var unsentBytes: Int = 256 * 1024

    /// Connections waiting to be accepted, per listener.
    package var backlog: Int = 512

    /// Time a connection that is ending gets to take its last bytes, milliseconds.
    package var lingerMilliseconds: Int64 = 1_000

    /// Time for which new connections of an address whose connection tripped a guard are refused, milliseconds.
    package var penaltyMilliseconds: Int64 = 1_000

    /// Addresses remembered for the penalty; the table is emptied when it is full.
    package var penaltyEntries: Int = 1024

    /// Pause of accepting after the process ran out of file descriptors, milliseconds.
    package var acceptPauseMilliseconds: Int64 = 100

    /// The documented defaults.
    package init() {}
}

package import HTTPWire

/// Every limit of the listeners and event loops, and those of the protocol on each connection.
package struct TransportLimits: Sendable, Equatable {
    /// The limits of one connection.
    package var wire = WireLimits()

    /// Connections open at once, over all event loops.
    package var connections: Int = 1024

    /// Connections open at once from one address.
    package var connectionsPerAddress: Int = 256

    /// Bytes of request bodies held by the process, from their first byte until they were answered. Beyond: 503.
    ///
    /// One address gets half of it at most.
    package var heldBodyBytes: Int = 256 * 1024 * 1024

    /// While more than half of `heldBodyBytes` is taken, uploads slower than this are answered 503: bytes per second.
    package var tightUploadBytesPerSecond: Int = 16 * 1024

    /// The windows of time over which that is measured, milliseconds.
    package var tightUploadMilliseconds: Int64 = 5_000

    /// Requests in the hands of handlers, those of closed connections included. Beyond: 503.
    ///
    /// One address has half of what the others leave. What is answered from memory takes no place.
    /// A peer that closes its connection frees no work, so a limit per connection alone could be walked around.
    package var requestsInWork: Int = 2048

    /// Bytes read before output is written and guards are looked at: larger reads let an attacker run ahead of them.
    package var readBytes: Int = 16 * 1024

    /// Bytes of output produced at a time; while any of it waits for the socket, the connection is not read.
    package var writeBytes: Int = 512 * 1024

    /// Bytes of them that may be copies; the rest lies in finished answers, which many connections share.
    package var copyBytes: Int = 64 * 1024

    /// Bytes that are encrypted at a time.
    package var encryptBytes: Int = 64 * 1024

    /// Bytes after which other connections have their turn: one fast reader must not starve them.
    package var turnBytes: Int = 1024 * 1024

    /// Bytes that the kernel keeps for a peer and has not sent yet; it makes nobody wait who reads.
    package var unsentBytes: Int = 256 * 1024

    /// Connections waiting to be accepted, per listener.
    package var backlog: Int = 512

    /// Time without a byte that a connection which is ending gets to take its last bytes, milliseconds.
    package var lingerMilliseconds: Int64 = 1_000

    /// The same whether bytes come or not; after a guard against floods `lingerMilliseconds` is all.
    package var lingerTotalMilliseconds: Int64 = 10_000

    /// Bytes that are read and dropped on a connection that is ending, so that a client which is still sending finds the answer.
    package var lingerBytes: Int = 32 * 1024 * 1024

    /// The same after a guard against floods, and over HTTP/2, where streams end before connections: enough for what the windows of HTTP/2 had
    /// under way.
    package var lingerBytesAfterFlood: Int = 1024 * 1024

    /// Time that answers to what was not done before the end of a graceful stop get, milliseconds.
    package var lastAnswerMilliseconds: Int64 = 500

    /// Time for which new connections of an address whose connection tripped a guard are refused, milliseconds.
    package var penaltyMilliseconds: Int64 = 1_000

    /// Addresses remembered for the penalty; the table is emptied when it is full.
    package var penaltyEntries: Int = 1024

    /// Pause of accepting after the process ran out of file descriptors, milliseconds.
    package var acceptPauseMilliseconds: Int64 = 100

    /// The documented defaults.
    package init() {}
}

/// The body of a response.
package enum ResponseBody: Sendable {
    /// No body.
    case empty
    /// A finished body, sent from the array's own storage as the peer's window allows.
    ///
    /// `content-length` is added where the response has none.
    case bytes([UInt8])
    /// The same, from bytes that many answers may share.
    case shared(SharedBytes)
    /// A body that is produced while it is sent.
    case source(any BodySource)

    /// Bytes of a finished body; 0 where it is produced.
    var finishedCount: Int {
        switch self {
        case .bytes(let bytes): bytes.count
        case .shared(let bytes): bytes.count
        case .empty, .source: 0
        }
    }
}

/// A body that is pulled piece by piece as the peer's window allows.
///
/// The codec calls it on the connection's thread only; `attach` comes first, `cancel` last and only when the
/// body was not sent whole.
package protocol BodySource: AnyObject, Sendable {
    /// Hands over the way to say "ask again" after `.notNow`; `wake` may be called from any thread, any number of times.
    func attach(wake: @escaping @Sendable () -> Void)

    /// Writes up to `buffer.count` bytes to the start of `buffer`. Must not block.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyRead

    /// The stream is gone; nothing more will be read.
    func cancel()
}

/// What a `BodySource` answers when it is asked for bytes.
package enum BodyRead: Sendable, Equatable {
    /// This many bytes, at least one; ask again for more.
    case bytes(Int)
    /// This many bytes, zero allowed, and the body is complete.
    case last(Int)
    /// Nothing yet; the source wakes the connection when there is.
    case notNow
    /// The body cannot be completed; the stream is reset with `INTERNAL_ERROR`.
    case failed
}

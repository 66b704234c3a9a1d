import HTTPTypes

/// What a connection remembers of one open stream; reused from stream to stream.
final class StreamSlot {
    /// The position in the connection's table, which libnghttp2 hands back as stream user data.
    let index: Int
    var stream = StreamID(0)
    /// The head went to the handler, which owes an answer.
    var isDelivered = false
    var isAnswered = false
    var isHeadRequest = false
    /// The path of the request, as far as it was read.
    var path: String?
    /// The peer sent END_STREAM.
    var requestEnded = false
    /// Body bytes are counted and thrown away, because the answer does not depend on them any more.
    var discardsBody = false
    /// When the answer was complete although the request was not; the stream is reset when it goes on too long.
    var answeredEarly: MonotonicTime?
    var bodyReceived = 0
    /// Body bytes that were dropped after the answer.
    var discarded = 0
    /// 100 is to be sent unless the answer comes first.
    var owesContinue = false
    /// Body bytes that were handed out and not yet given back to the peer's window.
    var unconsumed = 0
    var pace = BodyPace(began: MonotonicTime(milliseconds: 0))

    /// The rest of a finished response body is `bytes[offset...]`.
    @exclusivity(unchecked) var bytes: [UInt8] = []
    /// The same where it is shared; nothing of it is copied then.
    @exclusivity(unchecked) var shared: SharedBytes?
    var offset = 0
    /// The answer whose field list libnghttp2 reads.
    @exclusivity(unchecked) var prepared: PreparedAnswer?
    /// What of it counts among the connection's waiting bytes: 0 where another stream holds the same storage.
    var parkedBytes = 0
    @exclusivity(unchecked) var source: (any BodySource)?
    /// The source said "not now", so nothing is owed by the peer.
    var isDeferred = false

    init(index: Int) {
        self.index = index
    }

    /// Bytes of a finished response body.
    var bodyCount: Int { shared?.count ?? bytes.count }

    /// Whether a response waits for the peer to take it.
    var isWriting: Bool { isAnswered && !isDeferred }

    func begin(_ stream: StreamID, now: MonotonicTime) {
        self.stream = stream
        isDelivered = false
        isAnswered = false
        isHeadRequest = false
        requestEnded = false
        discardsBody = false
        answeredEarly = nil
        bodyReceived = 0
        discarded = 0
        owesContinue = false
        unconsumed = 0
        pace = BodyPace(began: now)
        offset = 0
        isDeferred = false
    }

    /// Forgets the stream and drops what it holds.
    func end() {
        stream = StreamID(0)
        path = nil
        bytes = []
        shared = nil
        prepared = nil
        parkedBytes = 0
        source = nil
    }
}

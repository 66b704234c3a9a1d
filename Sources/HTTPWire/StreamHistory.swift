/// Which of the latest streams a peer has used, and which it has ended, in a few words of memory.
///
/// libnghttp2 ignores HEADERS on any stream below the latest that is not open. Most often that is right: the trailer fields of a
/// request that was refused are on their way. But a stream that was skipped, or that the peer itself has ended or reset, is an
/// error of the connection (RFC 9113 sections 5.1 and 5.1.1).
struct StreamHistory {
    /// What a frame on a stream would be.
    enum Verdict: Equatable {
        case fine
        /// The stream was skipped, or is older than anything that is remembered.
        case unexpected
        /// The peer has ended or reset it before.
        case closed
        /// It is over, and not by the peer's doing: what comes may have been under way.
        case late
    }

    private var latest: Int32 = -1
    /// Bit n stands for the stream `latest - 2n`.
    private var used: UInt128 = 0
    private var ended: UInt128 = 0

    /// Looks at HEADERS on `stream` and remembers it; `isOpen` says that the stream is.
    mutating func sawHeaders(_ stream: Int32, isOpen: Bool) -> Verdict {
        // Even streams, and that of the connection, are refused by libnghttp2.
        guard stream > 0, stream & 1 == 1 else { return .fine }
        if stream > latest {
            let distance = latest < 0 ? 128 : Int(stream - latest) / 2
            used = distance < 128 ? used << UInt128(distance) : 0
            ended = distance < 128 ? ended << UInt128(distance) : 0
            latest = stream
            used |= 1
            return .fine
        }
        if isOpen { return .fine }
        guard let bit = bit(stream), used & bit != 0 else { return .unexpected }
        return ended & bit != 0 ? .closed : .late
    }

    /// Looks at DATA on `stream`, which is not open.
    func sawData(_ stream: Int32) -> Verdict {
        // Idle and even streams, and that of the connection, are refused by libnghttp2.
        guard stream > 0, stream & 1 == 1, stream <= latest else { return .fine }
        guard let bit = bit(stream) else { return .late }
        if used & bit == 0 { return .unexpected }
        return ended & bit != 0 ? .closed : .late
    }

    /// The peer sent END_STREAM or RST_STREAM.
    mutating func peerEnded(_ stream: Int32) {
        if let bit = bit(stream) { ended |= bit }
    }

    private func bit(_ stream: Int32) -> UInt128? {
        guard stream > 0, stream <= latest else { return nil }
        let distance = (latest - stream) / 2
        return distance < 128 ? 1 << UInt128(distance) : nil
    }
}

/// A bucket of tokens that refills at a constant rate.
///
/// Counts in thousandths of a token, so that a millisecond clock loses nothing.
package struct TokenBucket: Sendable {
    private let capacity: Int64
    private let refillPerMillisecond: Int64
    private var level: Int64
    private var updated: MonotonicTime

    /// A full bucket at `now`.
    package init(_ rate: WireLimits.Rate, now: MonotonicTime) {
        capacity = Int64(rate.burst) * 1000
        // Tokens per second are thousandths per millisecond.
        refillPerMillisecond = Int64(rate.perSecond)
        level = capacity
        updated = now
    }

    /// Takes one token; false when the bucket is empty.
    package mutating func take(now: MonotonicTime) -> Bool {
        let elapsed = now.since(updated)
        if elapsed > 0 {
            updated = now
            let (refill, overflow) = elapsed.multipliedReportingOverflow(by: refillPerMillisecond)
            level = overflow ? capacity : min(capacity, level &+ min(refill, capacity))
        }
        guard level >= 1000 else { return false }
        level -= 1000
        return true
    }

    /// Puts back one token for each `perToken` bytes.
    package mutating func earn(bytes: Int, perToken: Int) {
        earn(thousandths: Int64(bytes) * 1000 / Int64(max(1, perToken)))
    }

    /// Puts back `thousandths` of a token, up to the capacity.
    package mutating func earn(thousandths: Int64) {
        level = min(capacity, level &+ max(0, min(thousandths, capacity)))
    }
}

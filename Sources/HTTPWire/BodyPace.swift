/// Whether a request body comes fast enough, measured over whole windows of time.
///
/// An average from the beginning would let a peer that sent megabytes at once go on with a byte now and then for hours.
struct BodyPace {
    private var windowBegan: MonotonicTime
    private var receivedBefore = 0
    /// When the body last moved, or could first.
    private(set) var progress: MonotonicTime

    /// A body whose head was complete at `began`.
    init(began: MonotonicTime) {
        windowBegan = began
        progress = began
    }

    /// Bytes came.
    mutating func moved(now: MonotonicTime) { progress = now }

    /// Whether nothing came for the progress time, or less than the slowest rate in the window that now ends; `received` counts
    /// from the beginning.
    mutating func isTooSlow(_ limits: WireLimits, received: Int, now: MonotonicTime) -> Bool {
        if now.since(progress) > limits.bodyProgressMilliseconds { return true }
        let elapsed = now.since(windowBegan)
        guard elapsed > limits.bodyProgressMilliseconds else { return false }
        let needed = max(1, Int64(limits.bodyBytesPerSecond) * elapsed / 1000)
        let came = Int64(received - receivedBefore)
        windowBegan = now
        receivedBefore = received
        return came < needed
    }
}

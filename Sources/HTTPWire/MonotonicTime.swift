/// A moment on the caller's monotonic clock, in milliseconds.
///
/// `HTTPWire` reads no clock: whoever feeds bytes also says when they came, which makes every timer testable.
package struct MonotonicTime: Sendable, Comparable {
    /// Milliseconds since an origin of the caller's choice.
    package var milliseconds: Int64

    /// The moment `milliseconds` after the origin.
    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    package static func < (left: Self, right: Self) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is later.
    package func since(_ earlier: Self) -> Int64 {
        milliseconds &- earlier.milliseconds
    }
}

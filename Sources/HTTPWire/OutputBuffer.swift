/// A contiguous buffer of bytes to write, reused from one write to the next.
///
/// Its properties are `@exclusivity(unchecked)` for the reason given at `HTTP2Connection`. Owns its memory. Grows beyond `softLimit` only by the frame that crossed it. Not thread-safe.
package final class OutputBuffer {
    /// Bytes after which producers stop, so that one `send` stays cache-sized.
    package let softLimit: Int
    @exclusivity(unchecked) private var storage: UnsafeMutableRawBufferPointer
    @exclusivity(unchecked) private var head = 0
    @exclusivity(unchecked) private var tail = 0

    /// An empty buffer that asks producers to stop at `softLimit` bytes.
    package init(softLimit: Int = 64 * 1024) {
        self.softLimit = softLimit
        storage = .allocate(byteCount: softLimit + 16 * 1024 + 64, alignment: 64)
    }

    deinit {
        storage.deallocate()
    }

    /// Bytes not yet taken.
    package var count: Int { tail - head }

    /// Whether nothing waits.
    package var isEmpty: Bool { head == tail }

    /// Whether producers should stop.
    package var isFull: Bool { count >= softLimit }

    /// Appends a copy of `bytes`.
    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        reserve(bytes.count)
        UnsafeMutableRawBufferPointer(rebasing: storage[tail...]).copyMemory(from: bytes)
        tail += bytes.count
    }

    /// Appends a copy of `bytes`.
    package func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    /// Calls `body` with the waiting bytes; they are valid only during the call.
    package func withPending<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        body(UnsafeRawBufferPointer(rebasing: storage[head..<tail]))
    }

    /// Drops the first `count` waiting bytes, which were written.
    package func consume(_ count: Int) {
        head = min(tail, head + max(0, count))
        if head == tail {
            head = 0
            tail = 0
        }
    }

    /// Drops everything.
    package func removeAll() {
        head = 0
        tail = 0
    }

    private func reserve(_ count: Int) {
        if tail + count <= storage.count { return }
        let waiting = self.count
        let needed = waiting + count
        if needed <= storage.count {
            // The regions may overlap; `copyMemory` is a memmove.
            storage.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[head..<tail]))
        } else {
            let larger = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(needed, storage.count * 2), alignment: 64)
            larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[head..<tail]))
            storage.deallocate()
            storage = larger
        }
        head = 0
        tail = waiting
    }
}

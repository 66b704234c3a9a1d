package import Glibc

/// Bytes to write, in order: own ones, which were copied, and ranges of shared ones, which were not.
///
/// Its properties are `@exclusivity(unchecked)` for the reason given at `HTTP2Connection`. Owns its memory, which is used again
/// from one write to the next. Grows beyond `softLimit` only by the frame that crossed it. Not thread-safe.
package final class OutputBuffer {
    /// Bytes after which producers stop.
    package let softLimit: Int
    /// Copied bytes after which producers stop: what a peer does not take waits in memory.
    private let copyLimit: Int
    /// Whether all bytes have to lie in one run, as those do that are encrypted.
    package let isContiguous: Bool

    /// A run of bytes: of `shared`, or where that is nil of the buffer's own storage.
    private struct Piece {
        var shared: SharedBytes?
        var start: Int
        var count: Int
    }

    /// Shared bytes in smaller pieces are copied: a vector of its own would cost the kernel more.
    private static let smallestPiece = 1024
    /// As many vectors as one call is given.
    private static let vectors = 256

    @exclusivity(unchecked) private var storage: UnsafeMutableRawBufferPointer
    /// End of what was copied into `storage`.
    @exclusivity(unchecked) private var tail = 0
    @exclusivity(unchecked) private var pieces: [Piece] = []
    /// Pieces before were written.
    @exclusivity(unchecked) private var head = 0
    /// Bytes not yet taken.
    @exclusivity(unchecked) package private(set) var count = 0
    @exclusivity(unchecked) private var scratch: UnsafeMutableBufferPointer<iovec>?

    /// An empty buffer that asks producers to stop at `softLimit` bytes.
    package init(softLimit: Int = 64 * 1024, copyLimit: Int = Int.max, isContiguous: Bool = false) {
        self.softLimit = softLimit
        self.copyLimit = copyLimit
        self.isContiguous = isContiguous
        storage = .allocate(byteCount: isContiguous ? softLimit + 16 * 1024 + 64 : 4096, alignment: 64)
    }

    deinit {
        storage.deallocate()
        scratch?.deallocate()
    }

    /// Whether nothing waits.
    package var isEmpty: Bool { count == 0 }

    /// Whether producers should stop.
    package var isFull: Bool { count >= softLimit || tail >= copyLimit || pieces.count - head >= Self.vectors }

    /// How many bytes of copies producers should append at most.
    package var room: Int { max(0, min(softLimit - count, copyLimit - tail)) }

    /// Appends a copy of `bytes`.
    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        UnsafeMutableRawBufferPointer(rebasing: reserve(bytes.count)).copyMemory(from: bytes)
        appended(bytes.count)
    }

    /// Appends a copy of `bytes`.
    package func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    /// Appends `range` of `shared`, without a copy where that is cheaper; a range out of bounds is cut.
    package func append(_ shared: SharedBytes, _ range: Range<Int>) {
        let range = range.clamped(to: 0..<shared.count)
        guard !isContiguous && range.count >= Self.smallestPiece else {
            return append(UnsafeRawBufferPointer(rebasing: shared.bytes[range]))
        }
        pieces.append(Piece(shared: shared, start: range.lowerBound, count: range.count))
        count += range.count
    }

    /// A copy of all that waits.
    package var pending: [UInt8] {
        var all: [UInt8] = []
        all.reserveCapacity(count)
        for piece in pieces[head...] { all += bytes(of: piece) }
        return all
    }

    /// Calls `body` with the first waiting bytes that lie in one run, all of them where the buffer is contiguous; they
    /// are valid only during the call.
    package func withPending<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        guard head < pieces.count else { return body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return body(bytes(of: pieces[head]))
    }

    /// Calls `body` with the waiting bytes, or as many of them as one call takes; they are valid only during the call.
    package func withVectors<Result>(_ body: (UnsafeBufferPointer<iovec>) -> Result) -> Result {
        let vectors: UnsafeMutableBufferPointer<iovec>
        if let scratch {
            vectors = scratch
        } else {
            vectors = .allocate(capacity: Self.vectors)
            scratch = vectors
        }
        var used = 0
        while used < vectors.count && head + used < pieces.count {
            let run = bytes(of: pieces[head + used])
            vectors.initializeElement(
                at: used, to: iovec(iov_base: UnsafeMutableRawPointer(mutating: run.baseAddress), iov_len: run.count))
            used += 1
        }
        return body(UnsafeBufferPointer(rebasing: vectors[..<used]))
    }

    private func bytes(of piece: Piece) -> UnsafeRawBufferPointer {
        let whole = piece.shared?.bytes ?? UnsafeRawBufferPointer(storage)
        return UnsafeRawBufferPointer(rebasing: whole[piece.start..<(piece.start + piece.count)])
    }

    /// Drops the first `count` waiting bytes, which were written.
    package func consume(_ count: Int) {
        var left = min(max(0, count), self.count)
        self.count -= left
        if self.count == 0 { return removeAll() }
        while left > 0 && head < pieces.count {
            if pieces[head].count > left {
                pieces[head].start += left
                pieces[head].count -= left
                return
            }
            left -= pieces[head].count
            pieces[head].shared = nil
            head += 1
        }
    }

    /// Drops everything.
    package func removeAll() {
        pieces.removeAll(keepingCapacity: true)
        head = 0
        tail = 0
        count = 0
    }

    /// Takes what waits out of the buffer, into one of its own that has no more memory than that needs.
    package func takeRest() -> OutputBuffer {
        let rest = OutputBuffer(softLimit: count)
        for piece in pieces[head...] {
            if let shared = piece.shared {
                rest.append(shared, piece.start..<(piece.start + piece.count))
            } else {
                rest.append(bytes(of: piece))
            }
        }
        removeAll()
        return rest
    }

    /// Free memory of at least `count` bytes behind what was copied.
    private func reserve(_ count: Int) -> Slice<UnsafeMutableRawBufferPointer> {
        if tail + count > storage.count {
            let larger = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(tail + count, storage.count * 2), alignment: 64)
            larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[..<tail]))
            storage.deallocate()
            storage = larger
        }
        return storage[tail...]
    }

    private func appended(_ count: Int) {
        if let last = pieces.indices.last, last >= head, pieces[last].shared == nil {
            pieces[last].count += count
        } else {
            pieces.append(Piece(shared: nil, start: tail, count: count))
        }
        tail += count
        self.count += count
    }
}

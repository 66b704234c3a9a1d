/// What nested exploration notes of memory: which words the running paths have accessed that were there before them, and in
/// which order a path accesses words.
package struct MemoryTracking: Sendable {
    /// Nested paths that are tracked at one time.
    package static let levels = 4

    package var isOn = false
    /// An exclusive sum over the words that were written, owners included: equal for equal memory.
    package var content: UInt64 = 0
    /// Accesses of the running code so far, undone ones not counted.
    package var accesses: UInt32 = 0
    /// Nested paths that are running.
    package private(set) var depth: UInt32 = 0
    /// Accesses are noted one by one.
    package var isLogging = false
    package private(set) var log = AccessLog()
    /// For all running paths, the innermost last: words of before that were accessed, as index times two, odd if read.
    private var touched: [Int32] = []
    /// Where those of each path begin.
    private var starts: InlineArray<4, Int> = .init(repeating: 0)

    package init() {}

    mutating func reset() {
        content = 0
        accesses = 0
        depth = 0
        touched.removeAll(keepingCapacity: true)
        if isLogging { log.clear(first: 0) }
    }

    /// Begins to track a path inside those that run; at most `levels`.
    package mutating func begin() {
        guard depth < MemoryTracking.levels else { return }
        starts[Int(depth)] = touched.count
        depth += 1
    }

    /// Ends the innermost path and hands over what it touched, as index times two, odd if read.
    package mutating func end(into list: inout [Int32]) {
        guard depth > 0 else { return }
        depth -= 1
        let start = starts[Int(depth)]
        list.append(contentsOf: touched[start...])
        touched.removeSubrange(start...)
    }

    /// The innermost path accesses a word that was there before it.
    @inline(__always)
    mutating func touch(_ index: Int, isRead: Bool) {
        touched.append(Int32(truncatingIfNeeded: index << 1 | (isRead ? 1 : 0)))
    }

    // MARK: Log

    /// Starts a log of accesses; `takeLog` ends it.
    package mutating func startLog(reusing old: consuming AccessLog = AccessLog()) {
        log = old
        log.clear(first: accesses)
        isLogging = true
    }

    package mutating func takeLog() -> AccessLog {
        isLogging = false
        let taken = log
        log = AccessLog()
        return taken
    }

    @inline(__always)
    mutating func noteAccess(_ index: Int, isRead: Bool) {
        accesses &+= 1
        if isLogging { log.append(index, isRead: isRead) }
    }

    @inline(__always)
    private static func mix(_ value: UInt64) -> UInt64 {
        var x = value &* 0x9E37_79B9_7F4A_7C15
        x ^= x >> 29
        x = x &* 0xBF58_476D_1CE4_E5B9
        return x ^ (x >> 32)
    }

    @inline(__always)
    mutating func replace(_ index: Int, _ old: (word: UInt64, owner: UInt32), _ new: (word: UInt64, owner: UInt32)) {
        let place = UInt64(truncatingIfNeeded: index) << 32
        content ^= MemoryTracking.mix((place | UInt64(old.owner)) ^ MemoryTracking.mix(old.word))
        content ^= MemoryTracking.mix((place | UInt64(new.owner)) ^ MemoryTracking.mix(new.word))
    }
}

/// Every access of a path to memory, in order.
package struct AccessLog: Sendable {
    /// Number of accesses when the log began.
    private var first: UInt32 = 0
    /// Index of the physical word times two, odd for a read.
    private var entries: [UInt32] = []

    package init() {}

    mutating func clear(first: UInt32) {
        self.first = first
        entries.removeAll(keepingCapacity: true)
    }

    @inline(__always)
    mutating func append(_ index: Int, isRead: Bool) {
        entries.append(UInt32(truncatingIfNeeded: index << 1 | (isRead ? 1 : 0)))
    }

    /// Whether the next access to a word reads it; nil where none comes.
    ///
    /// - Parameter accesses: Accesses that were made when the question is put.
    package func isReadNext(_ index: Int, after accesses: UInt32) -> Bool? {
        var position = Int(accesses &- first)
        let wanted = UInt32(truncatingIfNeeded: index)
        while position >= 0 && position < entries.count {
            let entry = entries[position]
            if entry >> 1 == wanted { return entry & 1 != 0 }
            position += 1
        }
        return nil
    }
}

/// Summaries of memory for nested exploration: what has been written, and which parts of it a nested path reads.
///
/// Pages are sorted into classes, one for each stack. Two states whose summaries agree on every class that a path reads
/// look the same to that path.
package struct MemoryTracking: Sendable {
    /// Number of classes; those beyond share the last one.
    package static let classes = 24
    /// Nested paths that are tracked at one time.
    package static let levels = 4

    package var isOn = false
    /// For each class a sum over the words that were written: owners, and values that code may look at.
    package private(set) var structure = [UInt64](repeating: 0, count: MemoryTracking.classes)
    /// The same with all values.
    package private(set) var content = [UInt64](repeating: 0, count: MemoryTracking.classes)
    /// For each nested path, the outermost first: the step at which it began.
    private var since = [UInt32](repeating: 0, count: MemoryTracking.levels)
    /// Bit n: the path has read or written a word of class n that was there before.
    private var touched = [UInt32](repeating: 0, count: MemoryTracking.levels)
    /// Bit n: it has read the value of a word that `structure` does not contain.
    private var valued = [UInt32](repeating: 0, count: MemoryTracking.levels)
    package private(set) var depth = 0
    /// Activations that had not returned when the innermost path began, as `Machine.liveActivations`.
    private var live: UInt64 = 0
    /// The step at which the innermost path began; 0 for none.
    private(set) var innermostSince: UInt32 = 0

    /// What a path depends on.
    package struct Footprint: Sendable, Hashable {
        package var touched: UInt32 = 0
        package var valued: UInt32 = 0

        package init(touched: UInt32 = 0, valued: UInt32 = 0) {
            self.touched = touched
            self.valued = valued
        }

        package mutating func formUnion(_ other: Footprint) {
            touched |= other.touched
            valued |= other.valued
        }
    }

    package struct Sums: Sendable {
        var structure: [UInt64]
        var content: [UInt64]
    }

    package init() {}

    mutating func reset() {
        for index in 0..<MemoryTracking.classes {
            structure[index] = 0
            content[index] = 0
        }
        depth = 0
        innermostSince = 0
    }

    package var sums: Sums {
        get { Sums(structure: structure, content: content) }
        set {
            structure = newValue.structure
            content = newValue.content
        }
    }

    /// Begins to track a path; at most `levels` at one time.
    package mutating func begin(at step: UInt32, live: UInt64) {
        guard depth < MemoryTracking.levels else { return }
        self.live = live
        since[depth] = step
        touched[depth] = 0
        valued[depth] = 0
        innermostSince = since[depth]
        depth += 1
    }

    /// Ends the innermost path; what it depended on.
    package mutating func end() -> Footprint {
        guard depth > 0 else { return Footprint() }
        depth -= 1
        innermostSince = depth > 0 ? since[depth - 1] : 0
        return Footprint(touched: touched[depth], valued: valued[depth])
    }

    @inline(__always)
    func isLive(_ activation: UInt32) -> Bool { live >> UInt64(min(activation, 63)) & 1 != 0 }

    /// A word was there before the innermost path began: written by an earlier step, or never.
    @inline(__always)
    func isEarlier(_ writer: UInt32, _ owner: UInt32) -> Bool {
        depth > 0 && (writer < innermostSince || owner == 0)
    }

    /// A word of before was accessed: every path that began after it was written depends on it.
    @inline(__always)
    mutating func note(writer: UInt32, isUnwritten: Bool, pageClass: UInt8, wantsValue: Bool) {
        let bit: UInt32 = 1 << UInt32(pageClass & 31)
        var level = depth - 1
        while level >= 0, writer < since[level] || isUnwritten {
            touched[level] |= bit
            if wantsValue { valued[level] |= bit }
            level -= 1
        }
    }

    @inline(__always)
    private static func mix(_ value: UInt64) -> UInt64 {
        var x = value &* 0x9E37_79B9_7F4A_7C15
        x ^= x >> 29
        x = x &* 0xBF58_476D_1CE4_E5B9
        return x ^ (x >> 32)
    }

    @inline(__always)
    mutating func replace(
        _ index: Int, _ old: (word: UInt64, owner: UInt32), _ new: (word: UInt64, owner: UInt32), pageClass: Int
    ) {
        let place = UInt64(truncatingIfNeeded: index) << 32
        let oldPlace = MemoryTracking.mix(place | UInt64(old.owner))
        let newPlace = MemoryTracking.mix(place | UInt64(new.owner))
        let oldFull = MemoryTracking.mix(oldPlace ^ old.word)
        let newFull = MemoryTracking.mix(newPlace ^ new.word)
        content[pageClass] ^= oldFull ^ newFull
        structure[pageClass] ^=
            (Owner(rawValue: old.owner).isOpaque ? oldPlace : oldFull)
            ^ (Owner(rawValue: new.owner).isOpaque ? newPlace : newFull)
    }

    /// Whether anything was written on the stacks that a footprint covers.
    package func hasStackWords(_ footprint: Footprint) -> Bool {
        for index in 2..<MemoryTracking.classes where footprint.touched >> UInt32(index) & 1 != 0 {
            if structure[index] != 0 { return true }
        }
        return false
    }

    /// One number for all that a footprint covers.
    package func summary(_ footprint: Footprint) -> UInt64 {
        var sum: UInt64 = 0
        for index in 0..<MemoryTracking.classes {
            let bit: UInt32 = 1 << UInt32(index)
            if footprint.valued & bit != 0 {
                sum = MemoryTracking.mix(sum ^ content[index] ^ UInt64(index))
            } else if footprint.touched & bit != 0 {
                sum = MemoryTracking.mix(sum ^ structure[index] ^ UInt64(index) << 8)
            }
        }
        return sum
    }
}

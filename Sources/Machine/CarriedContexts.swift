/// RIP and RSP that the running nested events interrupted and carry in their frames: what a path does with them shows
/// whether they count.
package struct CarriedContexts: Sendable {
    /// RIP of each running path, the outermost first; 0 for one that is not watched.
    private var instructionPointers: InlineArray<4, UInt64> = .init(repeating: 0)
    /// RSP where the event has a stack of its own; 0 for the others, which look at it.
    private var stackPointers: InlineArray<4, UInt64> = .init(repeating: 0)
    private var count = 0
    /// What a carried RIP was compared with, by any running path.
    package private(set) var comparands: [UInt64] = []

    package init() {}

    /// An event begins, to be tracked at a depth of `MemoryTracking`.
    package mutating func begin(depth: UInt32, instructionPointer: UInt64, stackPointer: UInt64) {
        guard depth > 0, depth <= MemoryTracking.levels else { return }
        if depth == 1 { comparands.removeAll(keepingCapacity: true) }
        count = Int(depth)
        instructionPointers[count - 1] = instructionPointer
        stackPointers[count - 1] = stackPointer
    }

    /// Back to the paths that run at a depth.
    package mutating func leave(to depth: UInt32) { count = min(count, Int(depth)) }

    /// `RegisterUse.instructionPointer` or `.stackPointer`, or both, if the value is one that is carried.
    @inline(__always)
    func carrier(_ value: UInt64) -> UInt32 {
        var found: UInt32 = 0
        var level = 0
        while level < count {
            if value == instructionPointers[level] && value != 0 { found |= RegisterUse.instructionPointer }
            if value == stackPointers[level] && value != 0 { found |= RegisterUse.stackPointer }
            level += 1
        }
        return found
    }

    mutating func noteComparison(with value: UInt64) {
        if !comparands.contains(value) { comparands.append(value) }
    }
}

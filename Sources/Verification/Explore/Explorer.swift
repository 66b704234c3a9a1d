import Machine

/// What nested exploration has seen: states that look the same to a nested event are tried once.
///
/// A nested path is told apart by what it reads: the processor's state, those registers that some path of the same event
/// has looked at, and the very words of memory that this path has read (`Footprint`).
package struct Explorer: Sendable {
    /// Injected events, each followed to its end.
    package var runs: UInt64 = 0
    /// Instruction boundaries that were looked at.
    package var boundaries: UInt64 = 0
    /// Instructions that were executed, those of paths that were undone included.
    package var instructions: UInt64 = 0
    /// Results of scenarios with nested events that do not hold.
    package var results: [ScenarioResult] = []
    /// Every boundary is tried, whatever is known: what the shortcuts are compared with.
    package var isExhaustive = false
    /// Why nothing more is tried.
    package var cutShortBy: SearchLimit?
    /// Of `runs`, those that whoever waits was told of.
    var runsTold: UInt64 = 0

    /// What became of an event in a state.
    enum Outcome: UInt8, Sendable {
        /// The interrupted state was restored, nothing broke.
        case transparent
        /// As `transparent`, but for NMIs that were blocked and are open now.
        case opensNMIs
        /// Something broke before it returned, and is reported.
        case reported
    }

    /// Paths whose processor state is the same, as a list: each with what it needs of memory.
    struct Entry: Sendable {
        var footprint: Int32
        var outcome: Outcome
        /// The next one; -1 for none.
        var next: Int32
    }

    private var known = StateTable()
    private(set) var entries: [Entry] = []
    var footprints = Footprints()
    /// Registers that paths of each event have looked at.
    private var looked: [UInt32]
    /// What paths of each event have compared the interrupted RIP with: `maximumComparands` places for each.
    private var comparands: [UInt64]
    private var comparandCounts: [Int]
    private static let maximumComparands = 8
    /// Something is known that holds at one place only.
    private var hasReported = false
    /// Words of stacks that are nobody's, and that a path has read all the same: what an event leaves there another finds.
    private(set) var inherited: [Int32] = []
    /// States in every detail from which an event did not return to the same state.
    private var followed: Set<UInt64> = []
    /// What the running paths had looked at before those inside of them began.
    private var suspendedUses: [RegisterUse] = []
    /// What was reported, so that it is reported once.
    private var reported: Set<ReportKey> = []

    private struct ReportKey: Hashable, Sendable {
        var rule: String
        var instruction: Int32
        var places: [String]
    }

    package init() {
        let slots = NestedEvent.allCases.count * 4
        looked = Array(repeating: 0, count: slots)
        comparands = Array(repeating: 0, count: slots * Explorer.maximumComparands)
        comparandCounts = Array(repeating: 0, count: slots)
    }

    private static func slot(_ event: NestedEvent, _ remaining: Int) -> Int {
        Int(event.rawValue) * 4 + min(remaining, 3)
    }

    @inline(__always)
    static func mix(_ sum: UInt64, _ value: UInt64) -> UInt64 {
        var x = (sum ^ value) &* 0x9E37_79B9_7F4A_7C15
        x ^= x >> 31
        return x &* 0xD6E8_FEB8_6659_FD93
    }

    // MARK: Keys

    /// The processor's key with the registers that paths of this event look at.
    ///
    /// - Parameter place: RIP.
    func key(
        _ processor: UInt64, _ event: NestedEvent, _ remaining: Int, _ machine: inout Machine, at place: UInt64
    ) -> UInt64 {
        let slot = Explorer.slot(event, remaining)
        var sum = Explorer.mix(processor, UInt64(slot) << 1 | 1)
        var registers = looked[slot]
        if registers & RegisterUse.instructionPointer != 0 {
            sum = Explorer.mix(sum, place)
        } else {
            sum ^= rank(place, slot) &* 0xC2B2_AE3D_27D4_EB4F
        }
        if registers & Dependence.kernelGSBase != 0 { sum = Explorer.mix(sum, machine.cpu.kernelGSBase) }
        if registers & Dependence.fsBase != 0 { sum = Explorer.mix(sum, machine.cpu.fsBase) }
        if registers & Dependence.flags != 0 { sum = Explorer.mix(sum, machine.cpu.flags & Flags.arithmetic) }
        registers &= 0xFFFF
        while registers != 0 {
            let number = registers.trailingZeroBitCount
            registers &= registers - 1
            sum = Explorer.mix(sum, machine[Register.general[number]] &+ UInt64(number))
        }
        return sum
    }

    /// Where a place lies among those that paths of an event have compared RIP with.
    @inline(__always)
    private func rank(_ place: UInt64, _ slot: Int) -> UInt64 {
        // Among others the same rank is another place.
        var rank = UInt64(comparandCounts[slot]) << 32
        let first = slot * Explorer.maximumComparands
        for position in first..<first + comparandCounts[slot] {
            if comparands[position] < place { rank &+= 2 } else if comparands[position] == place { rank |= 1 }
        }
        return rank
    }

    /// The key of what is known at one place only.
    static func placeKey(_ key: UInt64, _ place: UInt64) -> UInt64 { mix(key, place) }

    /// A key in which everything counts.
    static func exactKey(_ processor: UInt64, _ event: NestedEvent, _ remaining: Int, _ run: inout ScenarioRun)
        -> UInt64
    {
        var sum = mix(processor, UInt64(slot(event, remaining)) << 1)
        sum = mix(sum, run.machine.instructionPointer(run.program))
        // What one event does is found with that event alone, not only behind another that leads to the same state.
        sum = mix(sum, UInt64(run.path.count))
        sum = mix(sum, run.machine.memory.tracking.content)
        sum = mix(sum, run.machine.liveActivations)
        sum = mix(sum, run.machine.cpu.flags)
        for register in Register.general { sum = mix(sum, run.machine[register]) }
        sum = mix(sum, run.machine.cpu.kernelGSBase)
        sum = mix(sum, run.machine.cpu.fsBase)
        sum = mix(sum, run.machine.cpu.cr2)
        sum = mix(sum, UInt64(run.findings.count) << 32 | UInt64(run.scenario.probe.hashValueForKey))
        return sum
    }

    /// First of the paths that began in this state of the processor.
    @inline(__always)
    func firstEntry(_ key: UInt64) -> Int32 { isExhaustive ? -1 : known[key] }

    /// First of what holds at one place only.
    @inline(__always)
    func firstEntry(_ key: UInt64, at place: UInt64) -> Int32 {
        isExhaustive || !hasReported ? -1 : known[Explorer.placeKey(key, place)]
    }

    mutating func keep(_ outcome: Outcome, _ footprint: Int32, for key: UInt64) {
        if outcome == .reported { hasReported = true }
        entries.append(Entry(footprint: footprint, outcome: outcome, next: known[key]))
        known[key] = Int32(truncatingIfNeeded: entries.count - 1)
    }

    /// Notes that a path has read a word that is nobody's. What was found without that knowledge is forgotten; true if it
    /// is new.
    mutating func inherits(_ index: Int32) -> Bool {
        if inherited.contains(index) { return false }
        inherited.append(index)
        known = StateTable()
        return true
    }

    /// Whether the way on from a state was not followed yet; notes that it is now.
    mutating func follows(_ key: UInt64) -> Bool { isExhaustive || followed.insert(key).inserted }

    // MARK: Registers

    mutating func begin(_ machine: inout Machine) {
        suspendedUses.append(machine.registerUse)
        machine.registerUse = RegisterUse()
    }

    /// - Returns: The path has looked at a register that none of this event did before.
    mutating func end(_ event: NestedEvent, _ remaining: Int, _ machine: inout Machine) -> Bool {
        let own = machine.registerUse
        machine.registerUse = suspendedUses.popLast() ?? RegisterUse()
        machine.registerUse.append(own)
        let slot = Explorer.slot(event, remaining)
        let isNew = own.looked & RegisterUse.carriable & ~looked[slot] != 0
        looked[slot] |= own.looked
        for value in machine.carriedContexts.comparands { note(comparand: value, slot) }
        return isNew
    }

    private mutating func note(comparand: UInt64, _ slot: Int) {
        let first = slot * Explorer.maximumComparands
        let end = first + comparandCounts[slot]
        if comparands[first..<end].contains(comparand) { return }
        if comparandCounts[slot] == Explorer.maximumComparands {
            looked[slot] |= RegisterUse.instructionPointer
            return
        }
        comparands[end] = comparand
        comparandCounts[slot] += 1
    }

    /// A path that need not be run again would have looked at these.
    func adoptUse(_ event: NestedEvent, _ remaining: Int, _ machine: inout Machine) {
        machine.registerUse.looked |= looked[Explorer.slot(event, remaining)] & machine.registerUse.inherited
    }

    var isInside: Bool { !suspendedUses.isEmpty }

    /// Registers that no known path of an event looks at, and RSP aside.
    func carriedRegisters(_ event: NestedEvent, _ remaining: Int) -> UInt32 {
        ~looked[Explorer.slot(event, remaining)] & RegisterUse.carriable
    }

    // MARK: Results

    /// Keeps a result that does not hold, once for each rule, cause and chain of places; not where the same comes of some of
    /// its events.
    mutating func report(_ result: ScenarioResult, causes: [(rule: String, instruction: Int32)]) {
        let places = result.scenario.injections.map { "\($0.symbol)@\($0.routine)" }
        var isNew = result.verdict == .undecided
        for cause in causes {
            var key = ReportKey(rule: cause.rule, instruction: cause.instruction, places: places)
            guard reported.insert(key).inserted else { continue }
            let isOfFewer = places.indices.contains { left in
                key.places = places
                key.places.remove(at: left)
                return reported.contains(key)
            }
            if !isOfFewer { isNew = true }
        }
        if isNew { results.append(result) }
    }
}

/// Numbers by keys that are well mixed already: a look-up at every boundary is too often for a general hash.
struct StateTable: Sendable {
    private var keys: [UInt64]
    private var values: [Int32]
    private var count = 0

    init() {
        keys = Array(repeating: 0, count: 1024)
        values = Array(repeating: -1, count: 1024)
    }

    /// The slot that holds a key, or would.
    @inline(__always)
    private func slot(_ key: UInt64) -> Int {
        let mask = keys.count - 1
        var slot = Int(truncatingIfNeeded: key >> 20) & mask
        while values[slot] >= 0 && keys[slot] != key { slot = (slot &+ 1) & mask }
        return slot
    }

    /// -1 for a key that is not there.
    subscript(key: UInt64) -> Int32 {
        get { values[slot(key)] }
        set {
            let place = slot(key)
            if values[place] < 0 { count += 1 }
            keys[place] = key
            values[place] = newValue
            if count * 2 > keys.count { grow() }
        }
    }

    private mutating func grow() {
        let (oldKeys, oldValues) = (keys, values)
        keys = Array(repeating: 0, count: oldKeys.count * 2)
        values = Array(repeating: -1, count: oldKeys.count * 2)
        for index in oldKeys.indices where oldValues[index] >= 0 {
            let place = slot(oldKeys[index])
            keys[place] = oldKeys[index]
            values[place] = oldValues[index]
        }
    }
}

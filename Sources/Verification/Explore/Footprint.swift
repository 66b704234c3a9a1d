import EntryCode
import Machine

extension ScenarioRun {
    /// What is known of an event in this state; nil for nothing.
    mutating func knownOutcome(_ key: UInt64, at place: UInt64) -> Explorer.Entry? {
        if let entry = known(from: explorer?.firstEntry(key) ?? -1) { return entry }
        return known(from: explorer?.firstEntry(key, at: place) ?? -1)
    }

    /// The first of a list of known paths that would find here what it found.
    @inline(__always)
    private mutating func known(from first: Int32) -> Explorer.Entry? {
        var position = first
        while position >= 0, let entry = explorer?.entries[Int(position)] {
            if finds(entry.footprint) { return entry }
            position = entry.next
        }
        return nil
    }

    /// A path with this footprint finds here what it found before.
    private mutating func finds(_ footprint: Int32) -> Bool {
        var done = 0
        while let difference = explorer?.footprints.difference(footprint, &machine, after: done) {
            switch difference {
            case .none: return true
            case .differs: return false
            case .mayBeNeeded(let index, let count):
                let owner = machine.memory.owner(ofWord: index)
                if isNeeded(index, of: owner, at: machine.memory.tracking.accesses) { return false }
                done = count
            }
        }
        return false
    }

    /// Whether somebody needs a word.
    ///
    /// On a stack a word is needed if its owner has not returned and it is not below the owner's stack pointer. Words of
    /// frames and saved registers are needed even there, if the interrupted path reads them: entry code moves RSP over what
    /// it is about to copy. Words that are nobody's are needed where an event looks at what the one before it has left.
    /// Elsewhere everything is needed, but for words that entry code has for scratch.
    ///
    /// - Parameter accesses: Accesses of the interrupted path so far.
    mutating func isNeeded(_ index: Int, of owner: Owner, at accesses: UInt32) -> Bool {
        let isNobodys = owner.rawValue == 0 || !machine.isLive(owner.activation)
        let address = machine.memory.address(ofWord: index)
        if machine.memory.isStack(index) {
            if isNobodys { return explorer?.inherited.contains(Int32(truncatingIfNeeded: index)) != false }
            guard machine.isDead(address, of: owner.activation) else { return true }
            let mayBeRead = owner.kind == .hardwareFrame || owner.kind == .savedRegister
            return mayBeRead && isReadLater(index, after: accesses)
        }
        if let vcpuInfo = hypervisor?.vcpuInfo, address == vcpuInfo &+ 16, !isFaultAddressNeeded { return false }
        return !(isNobodys && layout.scratchWords.contains(address))
    }

    /// The fault address matters to a page fault whose handler has not read it.
    var isFaultAddressNeeded: Bool {
        for index in activations.indices
        where activations[index].event.vector == Vector.pageFault && activations[index].handlerCalls == 0 {
            return true
        }
        return false
    }

    /// Whether the interrupted paths read a word before they write it.
    private mutating func isReadLater(_ index: Int, after accesses: UInt32) -> Bool {
        if explorer?.isExhaustive != false { return true }
        var position = accesses
        for level in futures.indices.reversed() {
            if let isRead = futures[level].log.isReadNext(index, after: position) { return isRead }
            switch futures[level].end {
            case .run: return false
            case .unknown: return true
            case .interrupted: position = futures[level].began
            }
        }
        return true
    }

    // MARK: Recording

    /// What a path that is undone by now needs of memory; the path that it interrupted needs the same of words that were
    /// there before that one.
    ///
    /// - Parameters:
    ///   - touched: Words that it accessed, as index times two, odd if read.
    ///   - isSound: The path has found its way back, so that its reading of a stack word that is nobody's says that one event
    ///     leaves something there to the next.
    /// - Returns: The footprint's number, and whether there was such a word that was not known of.
    mutating func footprint(_ touched: inout [Int32], isSound: Bool) -> (number: Int32, isHeir: Bool) {
        touched.sort()
        var isHeir = false
        var lists = Footprints.Lists()
        let accesses = machine.memory.tracking.accesses
        var position = 0
        while position < touched.count {
            let index = touched[position] >> 1
            var isRead = false
            while position < touched.count, touched[position] >> 1 == index {
                isRead = isRead || touched[position] & 1 != 0
                position += 1
            }
            machine.memory.adoptTouch(Int(index), isRead: isRead)
            let owner = machine.memory.owner(ofWord: Int(index))
            if isRead, isSound, owner.rawValue == 0 || !machine.isLive(owner.activation),
                machine.memory.isStack(Int(index)),
                explorer?.inherits(index) == true
            {
                isHeir = true
            }
            if isRead || isNeeded(Int(index), of: owner, at: accesses) {
                lists.appendWord(index, &machine)
            } else {
                lists.appendSpare(index)
            }
        }
        return (explorer?.footprints.number(of: lists) ?? 0, isHeir)
    }

    /// A path with this footprint would have run here.
    mutating func adopt(_ footprint: Int32) {
        guard explorer?.footprints.adopts(footprint, pathNumber) == true else { return }
        explorer?.footprints.adopt(footprint, &machine)
    }
}

/// What a path that is being explored will access: the log of a run without nested events.
struct Future: Sendable {
    var log: AccessLog
    var end: End
    /// Accesses of the interrupted path when this one began.
    var began: UInt32

    /// What follows the last access of the log.
    enum End: Sendable {
        /// Nothing: the run is over.
        case run
        /// What the interrupted path does next.
        case interrupted
        case unknown
    }
}

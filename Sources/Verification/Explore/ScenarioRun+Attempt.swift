import EntryCode
import Machine

extension ScenarioRun {
    /// A nested event inside of which others are tried.
    struct Enclosing {
        /// The state that it interrupted.
        var snapshot: RunSnapshot
        /// Unfinished events without it.
        var floor: Int
        /// Registers that were given strange values.
        var strange: UInt32
        /// The futures of those that it interrupts.
        var futures: Int
        /// One inside of it has left NMIs open.
        var opensNMIs = false
    }

    /// Tries an event here, unless the state looks like one that was tried.
    ///
    /// First alone, then with what may come inside of it. A try begins with strange values in the registers: a path that
    /// restores them restores any. What is not found transparent so is run again as it is, and followed.
    mutating func attempt(_ event: NestedEvent, _ symbol: String, _ processor: UInt64, at place: UInt64) {
        let depth = remaining
        let key = explorer?.key(processor, event, depth, &machine, at: place) ?? 0
        let entry = knownOutcome(key, at: place)
        if let entry {
            if machine.memory.tracking.depth > 0 {
                adopt(entry.footprint)
                explorer?.adoptUse(event, depth, &machine)
            }
            if entry.outcome != .opensNMIs || depth < 2 { return }
        }
        path.append(
            Injection(event: event, symbol: symbol, routine: routineName(machine.cpu.index), step: machine.stepNumber))
        defer { path.removeLast() }
        if depth == 1 {
            if let found = transparentFootprint(event, depth, inside: 0) {
                keep(found, event, depth, processor, at: place)
            } else {
                tryAsItIs(event, depth, processor, at: place, inside: 0)
            }
            return
        }
        // What it will access decides which words those inside of it may take.
        futures.append(Future(log: AccessLog(), end: .interrupted, began: machine.memory.tracking.accesses))
        defer { futures.removeLast() }
        if entry != nil {
            // All that is left to know is what open NMIs lead to here.
            futures[futures.count - 1].end = .unknown
            followOpenNMIs(event, depth, processor, at: place, inside: depth - 1)
            return
        }
        let isTransparent = transparentFootprint(event, depth, inside: 0, isLogged: true) != nil
        if !isTransparent { tryAsItIs(event, depth, processor, at: place, inside: 0, isLogged: true) }
        if isTransparent, let found = transparentFootprint(event, depth, inside: depth - 1) {
            keep(found, event, depth, processor, at: place)
            if found.outcome == .opensNMIs { followOpenNMIs(event, depth, processor, at: place, inside: depth - 1) }
        } else {
            tryAsItIs(event, depth, processor, at: place, inside: depth - 1)
        }
    }

    private func routineName(_ index: Int32) -> String {
        guard index >= 0, Int(index) < program.routineOf.count else { return "nowhere" }
        return program.routines[Int(program.routineOf[Int(index)])].name
    }

    /// What is known of an event that was tried: how it ended, and what it needs of memory.
    private typealias Found = (outcome: Explorer.Outcome, footprint: Int32)

    private mutating func keep(
        _ found: Found, _ event: NestedEvent, _ depth: Int, _ processor: UInt64, at place: UInt64
    ) {
        // The registers that its paths look at may be more by now.
        guard let key = explorer?.key(processor, event, depth, &machine, at: place) else { return }
        // What is reported names its place.
        let isOfPlace = found.outcome == .reported
        explorer?.keep(found.outcome, found.footprint, for: isOfPlace ? Explorer.placeKey(key, place) : key)
    }

    /// Runs an event that restores the state of this boundary, whatever the registers hold that it only carries.
    ///
    /// - Parameters:
    ///   - inside: Events that may come inside of it.
    ///   - isLogged: What it accesses becomes the innermost of `futures`.
    /// - Returns: What it needs of memory; nil if it does not restore the state.
    private mutating func transparentFootprint(
        _ event: NestedEvent, _ depth: Int, inside: Int, isLogged: Bool = false
    ) -> Found? {
        while true {
            let (found, isHeir) = tryWithStrangeRegisters(event, depth, inside: inside, isLogged: isLogged)
            // It may have changed just what the next would look at.
            if !isHeir { return found }
        }
    }

    private mutating func tryWithStrangeRegisters(
        _ event: NestedEvent, _ depth: Int, inside: Int, isLogged: Bool
    ) -> (found: Found?, isHeir: Bool) {
        guard let snapshot = beginNested(inside: inside) else { return (nil, false) }
        let floor = activations.count
        let carried = explorer?.carriedRegisters(event, depth) ?? 0
        machine.makeStrange(carried)
        let brokeBefore = didBreakInside
        didBreakInside = false
        if isLogged { machine.memory.tracking.startLog() }
        if inside > 0 { enclose(snapshot, strange: carried, depth) }
        raise(event)
        isProbing += 1
        runNested(above: floor)
        isProbing -= 1
        let isOpenInside = inside > 0 && enclosing.popLast()?.opensNMIs == true
        if isLogged { futures[futures.count - 1].log = machine.memory.tracking.takeLog() }
        // What the event itself does next is nothing to those whose words it has written.
        let own = depth > 1 ? futures.popLast() : nil
        defer { if let own { futures.append(own) } }
        let isBroken = hasBroken(since: snapshot) || didBreakInside
        let aftermath = isBroken ? .changed : aftermath(of: snapshot, strange: carried)
        // The outer one that is being probed has it inside as well.
        didBreakInside = brokeBefore || (didBreakInside && isProbing > 0)
        var touched: [Int32] = []
        let isSurprised = endNested(event, depth, &touched)
        restore(snapshot)
        let (footprint, isHeir) = footprint(&touched, isSound: aftermath != .changed)
        if isSurprised { return (nil, isHeir) }
        switch aftermath {
        case .same: return (isOpenInside ? nil : (.transparent, footprint), isHeir)
        case .openNMIs: return ((.opensNMIs, footprint), isHeir)
        case .changed: return (nil, false)
        }
    }

    /// Runs an event with the registers as they are, and on from there if it leaves or breaks something.
    ///
    /// - Parameter isShort: What open NMIs lead to may be found without it (`holdsWithOpenNMIs`).
    private mutating func tryAsItIs(
        _ event: NestedEvent, _ depth: Int, _ processor: UInt64, at place: UInt64, inside: Int,
        isLogged: Bool = false, isShort: Bool = true
    ) {
        guard let snapshot = beginNested(inside: inside) else { return }
        let floor = activations.count
        if isLogged { machine.memory.tracking.startLog() }
        if inside > 0 { enclose(snapshot, strange: 0, depth) }
        raise(event)
        runNested(above: floor)
        if inside > 0 { enclosing.removeLast() }
        let broke = hasBroken(since: snapshot)
        // Where it ends, what comes after it is nothing to the outcome; nor where all is as it was.
        let own = depth > 1 ? futures.popLast() : nil
        let aftermath = ending == nil ? aftermath(of: snapshot) : .same
        if let own { futures.append(own) }
        let isBack = !broke && aftermath == .same
        let isOpened = !broke && aftermath == .openNMIs && isShort
        var touched: [Int32] = []
        var isFollowed = false
        if broke {
            _ = endNested(event, depth, &touched)
            isFollowed = followOn(event, inside, processor, snapshot, broke: true)
        } else {
            // What was changed is the path's own still, to those that come while it goes on.
            if !isBack && !isOpened { isFollowed = followOn(event, inside, processor, snapshot, broke: false) }
            _ = endNested(event, depth, &touched)
        }
        if isLogged {
            futures[futures.count - 1].log = machine.memory.tracking.takeLog()
            futures[futures.count - 1].end = isBack ? .interrupted : isFollowed && ending != nil ? .run : .unknown
        }
        restore(snapshot)
        let after = depth > 1 ? futures.popLast() : nil
        let (footprint, _) = footprint(&touched, isSound: false)
        if let after { futures.append(after) }
        if isProbing > 0 || isSilent > 0 {
            // Whoever is trying it learns that something breaks inside, and runs it again to report it.
            if broke { didBreakInside = true }
        } else if broke && aftermath == .same {
            keep((.reported, footprint), event, depth, processor, at: place)
        }
        if isOpened { followOpenNMIs(event, depth, processor, at: place, inside: inside) }
    }

    /// Something broke, warnings aside, or the run has ended.
    func hasBroken(since snapshot: RunSnapshot) -> Bool {
        ending != nil
            || findings.dropFirst(snapshot.findings.count).contains { $0.finding.rule.severity == .violation }
    }

    private mutating func beginNested(inside: Int) -> RunSnapshot? {
        guard machine.memory.tracking.depth < MemoryTracking.levels, explorer?.cutShortBy == nil else { return nil }
        let snapshot = takeSnapshot()
        machine.memory.tracking.begin()
        explorer?.runs += 1
        pathNumber = UInt32(truncatingIfNeeded: explorer?.runs ?? 0)
        explorer?.begin(&machine)
        remaining = inside
        return snapshot
    }

    /// The nested event is over: what its path has looked at is known now. True if that is a register that none before did.
    private mutating func endNested(_ event: NestedEvent, _ depth: Int, _ touched: inout [Int32]) -> Bool {
        machine.memory.tracking.end(into: &touched)
        let isNew = explorer?.end(event, depth, &machine) ?? false
        machine.carriedContexts.leave(to: machine.memory.tracking.depth)
        return isNew
    }

    /// Those inside of an event that begins now may end where it does.
    private mutating func enclose(_ snapshot: RunSnapshot, strange: UInt32, _ depth: Int) {
        enclosing.append(
            Enclosing(
                snapshot: snapshot, floor: activations.count, strange: strange,
                futures: futures.count - (depth > 1 ? 1 : 0)))
    }

    // MARK: Open NMIs

    /// Follows what NMIs lead to that an event has left open; runs the event as it is where that breaks something.
    private mutating func followOpenNMIs(
        _ event: NestedEvent, _ depth: Int, _ processor: UInt64, at place: UInt64, inside: Int
    ) {
        let own = futures.popLast()
        let holds = holdsWithOpenNMIs(inside)
        if let own { futures.append(own) }
        if holds { return }
        if isProbing > 0 || isSilent > 0 {
            didBreakInside = true
        } else {
            tryAsItIs(event, depth, processor, at: place, inside: inside, isShort: false)
        }
    }
}

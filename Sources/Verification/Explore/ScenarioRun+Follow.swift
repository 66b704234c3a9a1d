import EntryCode
import Machine

/// What comes of nested events that do not restore the state in which they came.
extension ScenarioRun {
    /// The nested event left something behind, or broke something: what comes of it is seen at the end. False if it was
    /// seen before.
    mutating func followOn(
        _ event: NestedEvent, _ inside: Int, _ processor: UInt64, _ snapshot: RunSnapshot, broke: Bool
    ) -> Bool {
        if broke {
            if isProbing > 0 || isSilent > 0 {
                didBreakInside = true
                return true
            }
            remaining = 0
        } else {
            let key = Explorer.exactKey(processor, event, inside, &self)
            if explorer?.follows(key) == false { return false }
        }
        // What comes now is not what would have come without the event. With it alone it has come before, to the end.
        let isForeseen = inside > 0 && futures.last?.end == .run
        if !isForeseen {
            futures.append(Future(log: AccessLog(), end: .unknown, began: machine.memory.tracking.accesses))
        }
        if !rejoins() { reportNested(snapshot) }
        if !isForeseen { futures.removeLast() }
        return true
    }

    /// Runs to the end, through the C functions that nested events have interrupted; true if an event that is being tried
    /// returns on the way and leaves everything as it was.
    private mutating func rejoins() -> Bool {
        var level = enclosing.count
        while ending == nil && !isCutShort {
            if level > 0, activations.count <= enclosing[level - 1].floor {
                level -= 1
                if isBack(at: level) { return true }
            } else if let last = suspended.last, activations.count <= last.floor {
                suspended.removeLast()
                leaveAfterNested(last.body)
            } else {
                advance()
            }
        }
        return false
    }

    /// The event that encloses those that are being followed has returned, and all is as it was.
    private mutating func isBack(at level: Int) -> Bool {
        if hasBroken(since: enclosing[level].snapshot) { return false }
        let all = futures
        defer { futures = all }
        futures.removeLast(futures.count - enclosing[level].futures)
        switch aftermath(of: enclosing[level].snapshot, strange: enclosing[level].strange) {
        case .same: return true
        case .openNMIs:
            // Whoever tries that event looks at what this leads to; a run that is to be reported goes on itself.
            enclosing[level].opensNMIs = isProbing > 0
            return isProbing > 0
        case .changed: return false
        }
    }

    /// Keeps what the run with its nested events found and the one without them did not.
    private mutating func reportNested(_ snapshot: RunSnapshot) {
        // With strange registers nothing is reported: what breaks is run again as it is.
        if isProbing > 0 {
            didBreakInside = true
            return
        }
        guard let result = failure(since: snapshot) else { return }
        if isSilent > 0 {
            didBreakInside = true
            return
        }
        explorer?.report(
            result,
            causes: findings.dropFirst(snapshot.findings.count).map { ($0.finding.rule.id, $0.at.instruction) })
    }

    /// The result of the run if something that was not found before a snapshot does not hold.
    private mutating func failure(since snapshot: RunSnapshot) -> ScenarioResult? {
        var result = result(from: snapshot.findings.count)
        result.scenario.injections = path
        return result.verdict == .violated || result.verdict == .undecided ? result : nil
    }

    // MARK: Open NMIs

    /// Goes on from this boundary with NMIs open, as an exception inside an NMI leaves them, whichever it was; false where
    /// that breaks something.
    mutating func holdsWithOpenNMIs(_ inside: Int) -> Bool {
        let snapshot = takeSnapshot()
        remaining = inside
        if hypervisor == nil { machine.cpu.nmiBlocked = false } else { hypervisor?.nmiMasked = false }
        _ = noteOpenNMIs(before: activations.count)
        let (depth, wasCutShort, brokeBefore) = (openNMIDepth, isCutShort, didBreakInside)
        openNMIDepth = machine.memory.tracking.depth
        (isCutShort, didBreakInside) = (false, false)
        isSilent += 1
        let isOver = rejoins() || isCutShort
        isSilent -= 1
        let holds = !didBreakInside && (isOver || (isProbing == 0 && failure(since: snapshot) == nil))
        (openNMIDepth, isCutShort, didBreakInside) = (depth, wasCutShort, brokeBefore)
        restore(snapshot)
        return holds
    }

    /// At a boundary of a path that goes on with NMIs open: false if one has come by here before.
    mutating func goesOnWithOpenNMIs(_ processor: UInt64) -> Bool {
        let key = Explorer.mix(Explorer.exactKey(processor, .nmi, remaining, &self), 1)
        if explorer?.follows(key) == false {
            isCutShort = true
            return false
        }
        return true
    }

    /// Notes that NMIs are open inside the NMI that the innermost event interrupted; false where there is none.
    mutating func noteOpenNMIs() -> Bool {
        noteOpenNMIs(before: activations.count - 1)
    }

    /// Notes that NMIs are open inside the innermost NMI of the first `count` events; false where there is none.
    ///
    /// Such an NMI may be followed by another at once; the one that is handled is not over.
    private mutating func noteOpenNMIs(before count: Int) -> Bool {
        guard let outer = activations.prefix(count).lastIndex(where: { $0.event.source == .nmi }) else { return false }
        // The NMI's own code, whatever came in between.
        let isInC = currentCodeKind(ofActivation: outer).isC
        if activations[outer].openNMIs != .inEntryCode { activations[outer].openNMIs = isInC ? .inC : .inEntryCode }
        // Whatever lies between was interrupted with NMIs blocked, and resumes with them open.
        for index in outer..<count where index > outer {
            activations[index].expected.nmiBlocked = false
        }
        return true
    }
}

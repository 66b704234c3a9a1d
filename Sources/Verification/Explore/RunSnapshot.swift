import EntryCode
import Machine
import XenPV

/// A run at an instruction boundary, to come back to after a nested event was tried.
///
/// Memory is not copied: the journal undoes what was written since.
struct RunSnapshot {
    let cpu: Processor
    let cost: Cost
    let stepNumber: UInt32
    let activation: UInt32
    let liveActivations: UInt64
    let interruptedAt: [UInt64]
    let softwareInterruptIndex: Int32
    let interruptsWereEnabledAtReturn: Bool
    let debugIST: UInt8
    let debugTableUsers: Int
    let hypervisorNMI: Bool
    let hypervisorMachineCheck: Bool
    let hypervisorMask: Bool
    let activations: [Activation]
    let findings: [RecordedFinding]
    let hardCause: Int?
    let laterFinding: Finding?
    let console: [String]
    let stackExpectations: [(address: UInt64, value: UInt64, what: String)]
    let faultAtHand: Fault?
    let nextActivation: UInt32
    let expectsReturnFault: Bool
    let targetBehindDoubleFault: (context: SavedContext, words: InlineArray<5, UInt64>)?
    let deliveredNMIs: Int
    let owesNMI: Bool
    let unguardedReturn: Int32
    let awaitedTrap: UInt64?
    let hasStepped: Bool
    let resumedAt: UInt64
    let hasClearedTrapFlag: Bool
    let unwantedReturnFaults: Int
    let eventIsPending: Bool
    let stopAddress: UInt64?
    let isSpeculating: Bool
    let remaining: Int
    let suspended: [(floor: Int, body: ScenarioRun.Body)]
    let content: UInt64
    let accesses: UInt32
    let overwrites: [Overwrite]
    let registerUse: RegisterUse
    let pathNumber: UInt32
    let mark: Int
    /// Nested paths that are running, the one that begins here included.
    let depth: UInt32
}

extension ScenarioRun {
    mutating func takeSnapshot() -> RunSnapshot {
        RunSnapshot(
            cpu: machine.cpu, cost: machine.cost, stepNumber: machine.stepNumber, activation: machine.activation,
            liveActivations: machine.liveActivations, interruptedAt: machine.interruptedAt,
            softwareInterruptIndex: machine.softwareInterruptIndex,
            interruptsWereEnabledAtReturn: machine.interruptsWereEnabledAtReturn,
            debugIST: machine.idt[Int(Vector.debug)].ist, debugTableUsers: machine.debugTableUsers,
            hypervisorNMI: hypervisor?.nmiMasked ?? false,
            hypervisorMachineCheck: hypervisor?.isInMachineCheck ?? false,
            hypervisorMask: hypervisor?.eventsWereMaskedAtReturn ?? false, activations: activations,
            findings: findings, hardCause: hardCause, laterFinding: laterFinding, console: console,
            stackExpectations: stackExpectations, faultAtHand: faultAtHand, nextActivation: nextActivation,
            expectsReturnFault: expectsReturnFault, targetBehindDoubleFault: targetBehindDoubleFault,
            deliveredNMIs: deliveredNMIs, owesNMI: owesNMI,
            unguardedReturn: machine.unguardedReturn, awaitedTrap: awaitedTrap, hasStepped: hasStepped,
            resumedAt: resumedAt, hasClearedTrapFlag: hasClearedTrapFlag, unwantedReturnFaults: unwantedReturnFaults,
            eventIsPending: eventIsPending, stopAddress: stopAddress, isSpeculating: speculation.isArmed,
            remaining: remaining, suspended: suspended, content: machine.memory.tracking.content,
            accesses: machine.memory.tracking.accesses, overwrites: machine.memory.overwrites,
            registerUse: machine.registerUse, pathNumber: pathNumber, mark: machine.memory.startJournal(),
            depth: machine.memory.tracking.depth + 1)
    }

    mutating func restore(_ snapshot: RunSnapshot) {
        machine.memory.rollBack(to: snapshot.mark, overwrites: snapshot.overwrites)
        machine.memory.tracking.content = snapshot.content
        machine.memory.tracking.accesses = snapshot.accesses
        machine.cpu = snapshot.cpu
        machine.cost = snapshot.cost
        machine.stepNumber = snapshot.stepNumber
        machine.activation = snapshot.activation
        machine.liveActivations = snapshot.liveActivations
        machine.interruptedAt = snapshot.interruptedAt
        machine.softwareInterruptIndex = snapshot.softwareInterruptIndex
        machine.interruptsWereEnabledAtReturn = snapshot.interruptsWereEnabledAtReturn
        machine.idt[Int(Vector.debug)].ist = snapshot.debugIST
        machine.debugTableUsers = snapshot.debugTableUsers
        hypervisor?.nmiMasked = snapshot.hypervisorNMI
        hypervisor?.isInMachineCheck = snapshot.hypervisorMachineCheck
        hypervisor?.eventsWereMaskedAtReturn = snapshot.hypervisorMask
        activations = snapshot.activations
        findings = snapshot.findings
        hardCause = snapshot.hardCause
        laterFinding = snapshot.laterFinding
        ending = nil
        console = snapshot.console
        stackExpectations = snapshot.stackExpectations
        faultAtHand = snapshot.faultAtHand
        nextActivation = snapshot.nextActivation
        expectsReturnFault = snapshot.expectsReturnFault
        targetBehindDoubleFault = snapshot.targetBehindDoubleFault
        deliveredNMIs = snapshot.deliveredNMIs
        owesNMI = snapshot.owesNMI
        machine.unguardedReturn = snapshot.unguardedReturn
        awaitedTrap = snapshot.awaitedTrap
        hasStepped = snapshot.hasStepped
        resumedAt = snapshot.resumedAt
        hasClearedTrapFlag = snapshot.hasClearedTrapFlag
        unwantedReturnFaults = snapshot.unwantedReturnFaults
        eventIsPending = snapshot.eventIsPending
        stopAddress = snapshot.stopAddress
        speculation.isArmed = snapshot.isSpeculating
        remaining = snapshot.remaining
        suspended = snapshot.suspended
        // What has been looked at stays so; what has been replaced since has not.
        machine.registerUse.inherited = snapshot.registerUse.inherited
        pathNumber = snapshot.pathNumber
    }

    /// What a nested event has left of the state in which it came.
    enum Aftermath {
        /// All of it, as far as anybody needs it.
        case same
        /// All but the blocking of NMIs: its IRET has opened them inside an NMI.
        case openNMIs
        case changed
    }

    /// Compares the state with the one that a nested event interrupted.
    ///
    /// - Parameter strange: Registers that were given strange values in between.
    mutating func aftermath(of snapshot: RunSnapshot, strange: UInt32 = 0) -> Aftermath {
        guard isBackButForMasks(at: snapshot, strange: strange) else { return .changed }
        let isMasked = hypervisor?.nmiMasked ?? machine.cpu.nmiBlocked
        let wasMasked = hypervisor == nil ? snapshot.cpu.nmiBlocked : snapshot.hypervisorNMI
        // Where nothing more can come, it makes no difference that NMIs are open now: no code looks at that.
        if isMasked == wasMasked || (remaining == 0 && wasMasked) { return .same }
        if explorer?.isExhaustive == true { return .changed }
        let isInNMI = scenario.context.isInNMI || activations.contains { $0.event.source == .nmi }
        return wasMasked && isInNMI ? .openNMIs : .changed
    }

    private mutating func isBackButForMasks(at snapshot: RunSnapshot, strange: UInt32) -> Bool {
        guard machine.isSameProcessor(as: snapshot.cpu),
            machine.hasRegisters(of: snapshot.cpu, strange: strange),
            machine.cpu.cr2 == snapshot.cpu.cr2 || !isFaultAddressNeeded,
            machine.idt[Int(Vector.debug)].ist == snapshot.debugIST,
            machine.debugTableUsers == snapshot.debugTableUsers,
            (hypervisor?.isInMachineCheck ?? false) == snapshot.hypervisorMachineCheck,
            owesNMI == snapshot.owesNMI
        else { return false }
        for position in snapshot.mark..<machine.memory.journalCount {
            guard let change = machine.memory.change(at: position, depth: snapshot.depth) else { continue }
            if isNeeded(change.index, of: change.owner, at: snapshot.accesses),
                !isDoneFlush(change.index, change.bits)
            {
                return false
            }
        }
        return true
    }

    /// The change is that of a nested event that has done the flush that the scenario has pending.
    ///
    /// What comes after it is what comes where none is pending: that is a scenario of its own.
    private mutating func isDoneFlush(_ index: Int, _ bits: UInt64) -> Bool {
        guard let mask = pendingFlush, machine.cpu.hasFlushedUserHalf, explorer?.isExhaustive == false else {
            return false
        }
        return bits == mask.bit && machine.memory.address(ofWord: index) == mask.word
    }
}

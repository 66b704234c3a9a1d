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
    let sums: MemoryTracking.Sums
    let overwrites: [Overwrite]
    let registers: [UInt32]
    let mark: Int
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
            remaining: remaining, suspended: suspended, sums: machine.memory.tracking.sums,
            overwrites: machine.memory.overwrites,
            registers: explorer?.registerState ?? [], mark: machine.memory.startJournal())
    }

    mutating func restore(_ snapshot: RunSnapshot) {
        machine.memory.rollBack(to: snapshot.mark, overwrites: snapshot.overwrites)
        machine.memory.tracking.sums = snapshot.sums
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
        explorer?.registerState = snapshot.registers
    }

    /// The nested event left everything as the snapshot has it, as far as anybody needs it.
    ///
    /// - Parameter strange: Registers that were given strange values in between.
    func isBack(at snapshot: RunSnapshot, strange: UInt32 = 0) -> Bool {
        let (now, then) = (machine.cpu, snapshot.cpu)
        // The fault address matters to a page fault whose handler has not read it.
        // Where nothing more can come, it makes no difference that NMIs are open now: no code looks at that.
        let mayOpenNMIs = remaining == 0
        func isSameMask(_ now: Bool, _ then: Bool) -> Bool { now == then || (mayOpenNMIs && then) }
        let needsAddress = activations.contains { $0.event.vector == Vector.pageFault && $0.handlerCalls == 0 }
        guard now.index == then.index, now.index >= 0 || now.outsideRIP == then.outsideRIP,
            (now.flags ^ then.flags) & ~Flags.resume == 0,
            now.cs == then.cs, now.ss == then.ss, now.cpl == then.cpl, now.dataSelectors == then.dataSelectors,
            now.fsBase == then.fsBase, now.gsBase == then.gsBase, now.kernelGSBase == then.kernelGSBase,
            now.cr2 == then.cr2 || !needsAddress, now.cr3 == then.cr3, now.dr6 == then.dr6, now.dr7 == then.dr7,
            now.watchedAddress == then.watchedAddress, isSameMask(now.nmiBlocked, then.nmiBlocked),
            now.pendingDebug == then.pendingDebug, now.machineCheckInProgress == then.machineCheckInProgress,
            now.guestKernelMode == then.guestKernelMode, now.speculationControl == then.speculationControl,
            // Predictors that the nested event has untrained only help.
            now.hasUntrained || !then.hasUntrained,
            machine.idt[Int(Vector.debug)].ist == snapshot.debugIST,
            machine.debugTableUsers == snapshot.debugTableUsers,
            isSameMask(hypervisor?.nmiMasked ?? false, snapshot.hypervisorNMI), owesNMI == snapshot.owesNMI
        else { return false }
        for (number, register) in Register.general.enumerated() {
            let isStrange = strange >> UInt32(number) & 1 != 0
            if now[register] != (isStrange ? ScenarioRun.strangeValue(number) : then[register]) { return false }
        }
        let addressWord = needsAddress ? nil : hypervisor.map { $0.vcpuInfo &+ 16 }
        var isSame = true
        machine.memory.changedWords(since: snapshot.mark, step: snapshot.stepNumber) { address, owner, kind in
            switch kind {
            case .taskStack, .entryStack, .interruptStack, .exceptionStack, .espfix:
                // Nobody's word, or one whose owner is through with it.
                if owner == .free || !machine.isLive(owner.activation) { return true }
                // Below RSP, and no frame: entry code moves RSP above frames that it is about to copy.
                if owner.kind != .hardwareFrame && machine.isDead(address, of: owner.activation) { return true }
            default:
                if address == addressWord { return true }
                if owner == .free || !machine.isLive(owner.activation), layout.scratchWords.contains(address) {
                    return true
                }
            }
            isSame = false
            return false
        }
        return isSame
    }
}

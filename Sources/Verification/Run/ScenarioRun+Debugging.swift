import EntryCode
import Machine

/// Single steps and watchpoints of a program's debugger.
extension ScenarioRun {
    /// RIP is at SYSCALL or SYSENTER.
    var isAtSystemCall: Bool {
        let index = Int(machine.cpu.index)
        guard image.program.instructions.indices.contains(index) else { return true }
        let opcode = image.program.instructions[index].opcode
        return opcode == .syscall || opcode == .sysenter
    }

    /// What a debugger of the kernel watches; 0 for nothing. A PV guest's debug registers are Xen's, and are not modelled.
    private var kernelWatchpoint: UInt64 { hypervisor == nil ? image.table.machine.watchpoint : 0 }

    private var isOnKernelWatchpoint: Bool {
        kernelWatchpoint != 0 && machine.cpu.watchedAddress == kernelWatchpoint
    }

    /// A model of C code touches what stands for the function's data, and not all that the function touches: the kernel's
    /// debugger watches entry code.
    mutating func dropWatchedAccess() {
        if isOnKernelWatchpoint { machine.cpu.pendingDebug &= ~DebugStatus.breakpoint0 }
    }

    /// Arms what the probe asks for: TF, a watchpoint.
    mutating func setDebugging() {
        if kernelWatchpoint != 0 { machine.cpu.watch(kernelWatchpoint) }
        switch scenario.probe {
        case .singleStep: machine.cpu.flags |= Flags.trap
        case .movSSStep:
            machine.cpu.flags |= Flags.trap
            prepareWatchedWord()
        case .movSS, .watchpoint:
            prepareWatchedWord()
            machine.cpu.watch(machine[.rbx], width: .word)
        case .return where [Vector.debug, Vector.nmi, Vector.machineCheck].contains(scenario.vector):
            if kernelWatchpoint == 0 { setIdleBreakpoint() }
        default: break
        }
        if machine.cpu.dr7 & 0xFF != 0, let copy = layout.debugControl {
            setContextBytes(machine.cpu.dr7, at: copy, size_bytes: 8)
        }
        contextDebugControl = machine.cpu.dr7
    }

    /// A debugger watches something that this code does not touch: DR1, eight bytes, writes.
    private mutating func setIdleBreakpoint() { machine.cpu.dr7 |= 2 << 22 | 1 << 20 | 8 }

    private mutating func prepareWatchedWord() {
        let isShort = scenario.context == .user32
        let word = ((isShort ? layout.userStackPointer32 : layout.userStackPointer) | 7) &+ 0x21
        machine[.rbx] = word
        machine.memory.poke(UInt64(machine.cpu.ss), at: word, owner: Owner(.interruptedContext))
    }

    /// The code that a debugged program runs before or as its event; nil where it is the ordinary one.
    var debuggedCode: UInt64? {
        switch scenario.probe {
        case .movSS, .movSSStep: layout.userMovSS[scenario.vector]
        case .watchpoint: layout.userAccess
        case .prefixedInterrupt: layout.userPrefixed[scenario.vector]
        case .singleStep where scenario.vector == Vector.debug: layout.userCode
        default: nil
        }
    }

    /// A debug trap is due: the scenario's event, one that its debugger asked for, or one that nothing did.
    mutating func takeDebugTrap(_ bits: UInt64) {
        let event = Event(vector: Vector.debug, source: .trap, debugBits: bits)
        if isOnKernelWatchpoint && bits & DebugStatus.breakpoint0 != 0 && isHandlingEvent {
            // The kernel itself has touched what its debugger watches.
            deliver(event, isUnexpected: false)
            if isHandlingEvent { activations[activations.count - 1].isDebuggersTrap = true }
            return
        }
        if eventIsPending && scenario.vector == Vector.debug {
            if let finding = misplacedFirstTrap() { record(finding) }
            eventIsPending = false
            hasStepped = true
            deliver(event, isUnexpected: false)
            return
        }
        let place = machine.instructionPointer(program)
        guard isDebuggersTrap(bits, at: place) else {
            record(UnexpectedFault.finding(self, vector: Vector.debug, errorCode: nil))
            deliver(event, isUnexpected: true)
            return
        }
        if activations.isEmpty {
            // Where SYSRET restores TF the trap comes at once: a step too many for nobody but the debugger.
            let isAtReturn = image.sysretTraps && place == resumedAt
            if let awaitedTrap, awaitedTrap != place, !isAtReturn {
                record(Resumption.misplacedTrap(self, awaitedTrap))
            }
            awaitedTrap = nil
            hasStepped = true
        }
        deliver(event, isUnexpected: false)
        if !activations.isEmpty { activations[activations.count - 1].isDebuggersTrap = true }
    }

    /// A load of SS has no trap of its own (fact F29): the first comes behind the instruction after it.
    private func misplacedFirstTrap() -> Finding? {
        guard scenario.probe == .movSS || scenario.probe == .movSSStep, let site = debuggedCode else { return nil }
        let index = Int(program.index(at: site))
        guard index >= 0, program.addresses.indices.contains(index + 2) else { return nil }
        let wanted = program.addresses[index + 2]
        return machine.instructionPointer(program) == wanted ? nil : Resumption.misplacedTrap(self, wanted)
    }

    private func isDebuggersTrap(_ bits: UInt64, at place: UInt64) -> Bool {
        if activations.isEmpty { return awaitedTrap != nil }
        guard activations.count == 1, let activation = activations.first, activation.handlerCalls == 0 else {
            return false
        }
        if bits & DebugStatus.breakpoint0 != 0 {
            // Postponed by MOV SS to the first instruction of what entered the kernel (CVE-2018-8897).
            return scenario.probe == .movSS && place == entryAddress(activation)
        }
        // SYSENTER keeps TF: Linux is stepped through its entry code and ignores it there.
        guard activation.event.vector == Platform.sysenterVector, let entry = sysenterEntry,
            let routine = program.routine(containing: entry)
        else { return false }
        return place &- routine.address < routine.size_bytes
    }

    private var sysenterEntry: UInt64? { image.roles["sysenter_entry"].flatMap { program.address(of: $0) } }

    /// In the code that do_debug knows to be SYSENTER's; up to 4.5 it knows of none.
    private func isSysenterStep(_ place: UInt64) -> Bool {
        guard let entry = sysenterEntry else { return false }
        return place >= entry && place < layout.sysenterEnd
    }

    private func entryAddress(_ activation: Activation) -> UInt64 {
        switch activation.event.vector {
        case Platform.syscallVector where activation.event.source == .syscall: machine.cpu.lstar
        case Platform.syscall32Vector where activation.event.source == .syscall: machine.cpu.cstar
        case Platform.sysenterVector where activation.event.source == .syscall: machine.cpu.sysenterEIP
        default: machine.idt[Int(activation.event.vector)].offset
        }
    }

    /// The program resumes with TF set: its next trap comes behind its next instruction, and not before (fact F28).
    mutating func awaitTrap(after activation: Activation) -> Bool {
        guard !hasStepped, scenario.probe == .singleStep || scenario.probe == .setTrapFlag,
            activation.expected.flags & Flags.trap != 0, !activation.expected.isKernelMode
        else { return false }
        let index = Int(machine.cpu.index)
        guard program.instructions.indices.contains(index) else { return false }
        resumedAt = program.addresses[index]
        awaitedTrap = program.addresses[index] &+ UInt64(program.instructions[index].length)
        return true
    }

    /// What `do_debug` does about a trap that is the debugger's (Linux 5.2 and 6.1 `arch/x86/kernel/traps.c`).
    ///
    /// In SYSENTER's entry code it is ignored; a single step anywhere else in the kernel loses its TF.
    mutating func handleDebuggersTrap(_ regs: UInt64, fromUser: Bool) {
        // A handler may put off a flush as any other code: APEI's of errors unmaps a page (Linux 5.2 drivers/acpi/apei/ghes.c).
        if !fromUser && scenario.probe == .movSS { setPendingFlush() }
        let isStep = isHandlingEvent && innermost.event.debugBits & DebugStatus.singleStep != 0
        let rip = machine.memory.peek(regs &+ UInt64(PtRegs.rip) &* 8) ?? 0
        guard isStep, !fromUser, !isSysenterStep(rip) else { return }
        let flags = machine.memory.peek(regs &+ UInt64(PtRegs.flags) &* 8) ?? 0
        hasClearedTrapFlag = true
        edit(regs, PtRegs.flags, flags & ~Flags.trap)
    }
}

/// An event that waits for delivery.
package struct Event: Sendable, Hashable {
    package enum Source: UInt8, Sendable, Hashable {
        /// Fault-class exception: the saved RIP is that of the faulting instruction and RF is set in the frame.
        case fault
        /// Trap-class exception, machine check or abort.
        case trap
        /// INT n, INT3, INTO: the gate's DPL applies.
        case software
        /// External interrupt.
        case external
        case nmi
        /// SYSCALL: no gate, no frame; RCX and R11 hold what a frame would.
        case syscall
    }

    package var vector: UInt8
    package var source: Source
    package var errorCode: UInt32
    /// For page faults: the address that CR2 takes.
    package var address: UInt64
    /// For #DB: the bits that DR6 takes.
    package var debugBits: UInt64

    package init(
        vector: UInt8, source: Source, errorCode: UInt32 = 0, address: UInt64 = 0, debugBits: UInt64 = 0
    ) {
        self.vector = vector
        self.source = source
        self.errorCode = errorCode
        self.address = address
        self.debugBits = debugBits
    }

    package init(_ fault: Fault) {
        self.init(vector: fault.vector, source: .fault, errorCode: fault.errorCode, address: fault.address)
    }

    /// An error code is part of the event: exceptions only, never software interrupts (SDM vol. 3, 6.13).
    package var pushesErrorCode: Bool {
        switch source {
        case .fault, .trap: Vector.pushesErrorCode(vector)
        case .software, .external, .nmi, .syscall: false
        }
    }
}

/// What became of an event.
package enum Delivery: Sendable, Hashable {
    /// The handler's first instruction is next; `event` is what was delivered in the end.
    case entered(event: Event, frame: UInt64)
    /// Delivery of #DF failed: the processor shuts down.
    case tripleFault(during: Event)
}

extension Machine {
    /// Delivers an event by the bare-metal rules of 64-bit mode (SDM vol. 3, 6.12 to 6.15; APM vol. 2, 8.9).
    ///
    /// A fault during delivery is delivered instead, or becomes #DF, or shuts the processor down. `activation` is the
    /// number that owns the words of the frame.
    package mutating func deliver(_ event: Event, activation newActivation: UInt32, _ program: Program) -> Delivery {
        noteInterruption()
        var current = event
        var depth = 0
        while true {
            notice(current)
            do throws(Fault) {
                let frame = try enter(current, activation: newActivation, program)
                return .entered(event: current, frame: frame)
            } catch {
                depth += 1
                if depth > 8 || (current.vector == Vector.doubleFault && current.source != .software) {
                    return .tripleFault(during: event)
                }
                // A software interrupt that cannot be delivered faults at the instruction itself.
                if current.source == .software { rewindSoftwareInterrupt(program) }
                let isEscalated =
                    current.source == .fault && Machine.escalates(first: current.vector, second: error.vector)
                if isEscalated {
                    // The address is in CR2 although the page fault is never delivered.
                    if error.vector == Vector.pageFault { cpu.cr2 = error.address }
                    current = Event(vector: Vector.doubleFault, source: .trap)
                } else {
                    current = Event(Machine.markExternal(error, during: current))
                }
            }
        }
    }

    /// What recognising an event changes, whether or not its handler can be entered.
    private mutating func notice(_ event: Event) {
        if event.vector == Vector.pageFault && event.source == .fault { cpu.cr2 = event.address }
        if event.vector == Vector.debug && event.source != .software { cpu.dr6 |= event.debugBits }
        if event.vector == Vector.machineCheck && event.source != .software { cpu.machineCheckInProgress = true }
        if event.source == .nmi { cpu.nmiBlocked = true }
    }

    /// Puts RIP back on the INT n or INT3 that was just executed.
    package mutating func rewindSoftwareInterrupt(_ program: Program) {
        let index = Int(softwareInterruptIndex)
        if index >= 0, index < program.instructions.count,
            program.addresses[index] &+ UInt64(program.instructions[index].length) == instructionPointer(program)
        {
            cpu.index = softwareInterruptIndex
        } else if cpu.index > 0 {
            cpu.index -= 1
        }
    }

    /// Puts RIP so many bytes behind the start of the INT n that was just executed, wherever that is.
    package mutating func assumeInterruptLength(_ bytes: UInt64, _ program: Program) {
        rewindSoftwareInterrupt(program)
        jump(to: instructionPointer(program) &+ bytes, program)
    }

    /// Whether a second exception during delivery of the first makes a double fault (SDM vol. 3, table 6-5).
    package static func escalates(first: UInt8, second: UInt8) -> Bool {
        func isContributory(_ vector: UInt8) -> Bool {
            switch vector {
            case 0, 10, 11, 12, 13, 21: true
            default: false
            }
        }
        // #VE counts as a page fault there.
        if first == Vector.pageFault || first == Vector.virtualization {
            return second == Vector.pageFault || isContributory(second)
        }
        return isContributory(first) && isContributory(second)
    }

    /// Sets EXT in the error code of a fault during delivery of an event that the program did not ask for
    /// (SDM vol. 3, 6.13); page faults have no such bit.
    private static func markExternal(_ fault: Fault, during event: Event) -> Fault {
        guard event.source != .software, fault.vector != Vector.pageFault, Vector.pushesErrorCode(fault.vector) else {
            return fault
        }
        var marked = fault
        marked.errorCode |= 1
        return marked
    }

    private mutating func enter(
        _ event: Event, activation newActivation: UInt32, _ program: Program
    ) throws(Fault) -> UInt64 {
        let oldPrivilege = cpu.cpl
        do throws(Fault) {
            return try enter(event, from: oldPrivilege, newActivation, program)
        } catch {
            cpu.cpl = oldPrivilege
            throw error
        }
    }

    /// Leaves CPL at 0, also where it fails.
    private mutating func enter(
        _ event: Event, from oldPrivilege: UInt8, _ newActivation: UInt32, _ program: Program
    ) throws(Fault) -> UInt64 {
        var gate = idt[Int(event.vector)]
        if debugTableUsers > 0, event.vector < 32, debugTableVectors >> UInt32(event.vector) & 1 != 0 { gate.ist = 0 }
        let selectorCode = UInt32(event.vector) * 8 + 2
        // The type comes first, then the DPL, then the present bit (SDM vol. 2, INT n).
        if !gate.hasGateType { throw .generalProtection(selectorCode) }
        if event.source == .software && gate.privilege < oldPrivilege { throw .generalProtection(selectorCode) }
        if !gate.isPresent { throw Fault(Vector.segmentNotPresent, errorCode: selectorCode) }
        if !Machine.isCanonical(gate.offset) { throw .generalProtection() }

        let oldRSP = self[.rsp]
        var stack = oldRSP
        // The processor reads the TSS as supervisor, whatever runs.
        cpu.cpl = 0
        if gate.ist != 0 {
            stack = try load(cpu.tssBase &+ 28 &+ 8 &* UInt64(gate.ist), .quad)
        } else if oldPrivilege != 0 {
            stack = try load(cpu.tssBase &+ 4, .quad)
        }
        stack &= ~15

        var saved = cpu.flags
        // RF in the frame restarts a faulting instruction past its breakpoint (SDM vol. 3, 17.3.1.1).
        if event.source == .fault && event.vector != Vector.debug { saved |= Flags.resume }
        func owner(_ slot: FrameSlot) -> Owner {
            Owner(.hardwareFrame, slot: slot.rawValue, activation: newActivation)
        }
        try pushForDelivery(UInt64(cpu.ss), at: &stack, owner: owner(.ss))
        try pushForDelivery(oldRSP, at: &stack, owner: owner(.rsp))
        try pushForDelivery(saved, at: &stack, owner: owner(.rflags))
        try pushForDelivery(UInt64(cpu.cs), at: &stack, owner: owner(.cs))
        try pushForDelivery(instructionPointer(program), at: &stack, owner: owner(.rip))
        if event.pushesErrorCode {
            try pushForDelivery(
                UInt64(event.vector == Vector.doubleFault ? 0 : event.errorCode), at: &stack, owner: owner(.errorCode))
        }
        self[.rsp] = stack
        cpu.flags &= ~(Flags.trap | Flags.nestedTask | Flags.resume | Flags.virtual8086)
        if gate.isInterruptGate { cpu.flags &= ~Flags.interrupt }
        if oldPrivilege != 0 { cpu.ss = 0 }
        cpu.cs = gate.selector & ~3
        cpu.stackShadow = false
        cpu.interruptShadow = false
        jump(to: gate.offset, program)
        return stack
    }

    private mutating func pushForDelivery(_ value: UInt64, at stack: inout UInt64, owner: Owner) throws(Fault) {
        let address = stack &- 8
        // SMAP and the user's AC do not matter: frames go to kernel stacks.
        try store(value, at: address, .quad, owner: owner, isStack: true)
        stack = address
    }
}

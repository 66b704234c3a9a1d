package import Machine

extension Hypervisor {
    /// Delivers an event to the guest (facts F1 to F9, F20, F22).
    package mutating func deliver(
        _ event: Event, activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        deliver(event, isRefusal: false, activation: activation, &machine, program)
    }

    /// - Parameter isRefusal: The exception stands for a call that the guest has no callback for.
    private mutating func deliver(
        _ event: Event, isRefusal: Bool, activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        machine.cost.hypervisorEntries &+= 1
        if event.source == .nmi && isInMachineCheck {
            return .held(event)
        }
        machine.noteInterruption()
        var event = event
        let vector = event.vector
        if event.source == .software {
            dropDebugTrap(&machine)
            if isRefused(vector, machine) {
                // The guest sees #GP at the instruction itself.
                machine.rewindSoftwareInterrupt(program)
                event = Event(
                    vector: Vector.generalProtection, source: .fault, errorCode: UInt32(vector) * 8 + 2)
            }
        }
        // PV guests never get #DF: a frame that cannot be written ends the domain (F20).
        guard let entry = trapTable[Int(event.vector)], entry.address != 0 else {
            return .crashed(
                DomainCrash(
                    reason: .unhandledVector, vector: event.vector,
                    errorCode: event.pushesErrorCode ? event.errorCode : .max,
                    address: machine.instructionPointer(program)))
        }
        if event.source == .software && isEmulated(vector) && quirks.contains(.assumesInterruptLength) {
            machine.assumeInterruptLength(2, program)
        }
        if event.vector == Vector.pageFault && event.source == .fault {
            setGuestCR2(event.address, &machine)
            if machine.cpu.guestKernelMode {
                event.errorCode = quirks.contains(.keepsUserBit) ? event.errorCode | 4 : event.errorCode & ~4
            }
        }
        if event.vector == Vector.debug && event.source != .software { machine.cpu.dr6 |= event.debugBits }
        if event.source == .nmi { nmiMasked = true }
        if event.vector == Vector.machineCheck {
            machine.cpu.machineCheckInProgress = true
            // Nothing else of Xen depends on it.
            isInMachineCheck = quirks.contains(.holdsNMIsInMachineChecks)
        }
        let oldFlags = machine.cpu.flags
        let extra: [(UInt64, FrameSlot)] = event.pushesErrorCode ? [(UInt64(event.errorCode), .errorCode)] : []
        // No #GP of the processor's has set RF where Xen itself refuses a call.
        let isFault = !isRefusal && (event.source == .fault || (event.source == .software && isEmulated(vector)))
        guard let frame = bounce(words: extra, isFault: isFault, activation, &machine, program) else {
            return .crashed(
                DomainCrash(
                    reason: .frameNotWritable, vector: event.vector,
                    errorCode: event.pushesErrorCode ? event.errorCode : .max,
                    address: machine.instructionPointer(program)
                ).at(unwritten.place, word: unwritten.word))
        }
        let isDirect = event.source == .software && event.vector == 0x80 && !isEmulated(0x80)
        let isOpened =
            isDirect && quirks.contains(.opensEventsForInt80) || isRefusal && quirks.contains(.injectsRefusalsByHand)
        let masksEvents = entry.masksEvents && !isOpened
        enterGuestKernel(at: entry.address, masksEvents: masksEvents, oldFlags: oldFlags, &machine, program)
        return .entered(event: event, frame: frame)
    }

    /// Vectors of INT n that have no gate of DPL 3 in Xen's own table: a #GP brings Xen to look at the guest's
    /// (Xen 4.17 `x86/traps.c`, `do_general_protection`; `x86_64/entry.S`, `int80_direct_trap`).
    ///
    /// Such a frame shows RF, which the #GP left set in the saved flags.
    private func isEmulated(_ vector: UInt8) -> Bool {
        vector != Vector.breakpoint && vector != Vector.overflow
            && (vector != 0x80 || trapTable[0x80] == nil || quirks.contains(.emulatesInt80))
    }

    /// Xen's `permit_softint`: the guest's DPL must be 3 for its user mode and at least 1 for its kernel.
    private func isRefused(_ vector: UInt8, _ machine: Machine) -> Bool {
        guard isEmulated(vector) else { return false }
        guard let entry = trapTable[Int(vector)] else { return true }
        return entry.privilege < (machine.cpu.guestKernelMode ? 1 : 3)
    }

    /// Delivers the event-channel upcall (fact F8): the trap frame without an error code.
    package mutating func deliverUpcall(
        activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        deliverCallback(eventCallback, clearsDirection: false, activation, &machine, program)
    }

    /// Delivers SYSCALL from user mode (facts F7, F22); RIP is already behind the instruction.
    package mutating func deliverSyscall(
        activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        if quirks.contains(.takesDebugTrapOnGuestStack) && machine.cpu.pendingDebug != 0 {
            return .crashed(
                DomainCrash(
                    reason: .hypervisorFault, vector: Vector.debug, errorCode: 0,
                    address: machine.instructionPointer(program)))
        }
        dropDebugTrap(&machine)
        machine[.rcx] = machine.instructionPointer(program)
        machine[.r11] =
            quirks.contains(.losesSyscallR11) ? Flags.alwaysOne | Flags.interrupt : machine.cpu.flags
        machine.cpu.cs = Hypervisor.codeSelector
        machine.cpu.ss = Hypervisor.stackSelector
        if syscallCallback == nil && !quirks.contains(.confusesSyscallCallbacks) {
            return refuse(Vector.invalidOpcode, activation, &machine, program)
        }
        return deliverCallback(syscallCallback, clearsDirection: true, activation, &machine, program)
    }

    /// Delivers SYSCALL from 32-bit code (Xen `x86_64/entry.S`, `cstar_enter`); RIP is already behind the instruction.
    package mutating func deliverSyscall32(
        activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        if quirks.contains(.takesDebugTrapOnGuestStack) && machine.cpu.pendingDebug != 0 {
            return .crashed(
                DomainCrash(
                    reason: .hypervisorFault, vector: Vector.debug, errorCode: 0,
                    address: machine.instructionPointer(program)))
        }
        dropDebugTrap(&machine)
        machine[.rcx] = machine.instructionPointer(program)
        machine[.r11] = machine.cpu.flags
        machine.cpu.cs = Hypervisor.compatCodeSelector
        machine.cpu.ss = Hypervisor.stackSelector
        if syscall32Callback == nil {
            if !quirks.contains(.confusesSyscallCallbacks) {
                return refuse(Vector.invalidOpcode, activation, &machine, program)
            }
            return deliverCallback(syscallCallback, clearsDirection: true, activation, &machine, program)
        }
        return deliverCallback(syscall32Callback, clearsDirection: true, activation, &machine, program)
    }

    /// Delivers SYSENTER (Xen `x86_64/entry.S`, `sysenter_entry`).
    ///
    /// The processor has lost where the guest was: the frame shows RIP 0, RSP 0 and a null CS of ring 3.
    package mutating func deliverSysenter(
        activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        dropDebugTrap(&machine)
        machine.jump(to: 0, program)
        machine[.rsp] = 0
        machine.cpu.cs = 3
        machine.cpu.ss = Hypervisor.stackSelector
        if quirks.contains(.refusesNestedTaskFlag) && machine.cpu.flags & Flags.nestedTask != 0 {
            return deliver(
                Event(vector: Vector.generalProtection, source: .fault), activation: activation, &machine, program)
        }
        if sysenterCallback == nil { return refuse(Vector.generalProtection, activation, &machine, program) }
        return deliverCallback(sysenterCallback, clearsDirection: false, activation, &machine, program)
    }

    /// A call without callback: #UD for SYSCALL, at the instruction (it has two bytes), #GP(0) for SYSENTER, whose place nobody
    /// knows (Xen 4.17 `x86_64/entry.S`, `switch_to_kernel` and `sysenter_entry`).
    private mutating func refuse(
        _ vector: UInt8, _ activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        if vector == Vector.invalidOpcode && !quirks.contains(.injectsRefusalsByHand) {
            machine.jump(to: machine.instructionPointer(program) &- 2, program)
        }
        let event = Event(vector: vector, source: .fault)
        let delivery = deliver(event, isRefusal: true, activation: activation, &machine, program)
        if case .entered = delivery, quirks.contains(.latchesRefusals) { latched = event }
        return delivery
    }

    /// A #DB that MOV SS has postponed comes at the first instruction of Xen's own handler, and ends there
    /// (CVE-2018-8897, XSA-260; Xen x86/traps.c, `do_debug`).
    private func dropDebugTrap(_ machine: inout Machine) { machine.cpu.pendingDebug = 0 }

    private mutating func deliverCallback(
        _ callback: UInt64?, clearsDirection: Bool, _ activation: UInt32, _ machine: inout Machine,
        _ program: Program
    ) -> GuestDelivery {
        machine.cost.hypervisorEntries &+= 1
        machine.noteInterruption()
        let rip = machine.instructionPointer(program)
        guard let callback else {
            return .crashed(DomainCrash(reason: .missingCallback, vector: 0, errorCode: .max, address: rip))
        }
        // R11 shows the flags that SYSRET leaves with, so that DF goes first.
        let clearsDirection = clearsDirection && !quirks.contains(.keepsDirectionFlag)
        let oldFlags = clearsDirection ? machine.cpu.flags & ~Flags.direction : machine.cpu.flags
        guard let frame = bounce(words: [], isFault: false, activation, &machine, program) else {
            return .crashed(
                DomainCrash(reason: .frameNotWritable, vector: 0, errorCode: .max, address: rip)
                    .at(unwritten.place, word: unwritten.word))
        }
        enterGuestKernel(at: callback, masksEvents: true, oldFlags: oldFlags, &machine, program)
        return .entered(event: Event(vector: 0, source: .external), frame: frame)
    }

    /// Data selectors that the guest has loaded cannot be loaded again when its virtual CPU is switched in: null
    /// ones take their place and the failsafe callback is delivered (facts F23, F39; Xen `load_segments`).
    package mutating func deliverFailedSelectors(
        activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        machine.cost.hypervisorEntries &+= 1
        machine.noteInterruption()
        let before = machine.cpu
        func replacement(_ selector: UInt16) -> UInt16 {
            selector & ~3 == 0 || machine.descriptor(selector)?.isPresent == true ? selector : 0
        }
        let delivery = deliverFailsafe(activation: activation, &machine, program)
        machine.cpu.ds = replacement(before.ds)
        machine.cpu.es = replacement(before.es)
        machine.cpu.fs = replacement(before.fs)
        machine.cpu.gs = replacement(before.gs)
        return delivery
    }

    /// Delivers the failsafe callback with the context that could not be returned to (facts F23, F39).
    mutating func deliverFailsafe(
        activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        let rip = machine.instructionPointer(program)
        guard let failsafeCallback else {
            return .crashed(DomainCrash(reason: .missingCallback, vector: 0, errorCode: .max, address: rip))
        }
        let rcx = machine[.rcx]
        let r11 = machine[.r11]
        let oldFlags = machine.cpu.flags
        let selectors: [(UInt64, FrameSlot)] = [
            (UInt64(machine.cpu.gs), .gs), (UInt64(machine.cpu.fs), .fs), (UInt64(machine.cpu.es), .es),
            (UInt64(machine.cpu.ds), .ds),
        ]
        guard let frame = bounce(words: selectors, isFault: false, activation, &machine, program) else {
            return .crashed(
                DomainCrash(reason: .frameNotWritable, vector: 0, errorCode: .max, address: rip)
                    .at(unwritten.place, word: unwritten.word))
        }
        enterGuestKernel(at: failsafeCallback, masksEvents: true, oldFlags: oldFlags, &machine, program)
        // Unlike traps, the failsafe callback starts with the guest's own RCX and R11 (F39).
        machine[.rcx] = rcx
        machine[.r11] = r11
        return .entered(event: Event(vector: Vector.generalProtection, source: .fault), frame: frame)
    }

    /// Writes a bounce frame; returns its lowest address, or nil where a word cannot be written.
    ///
    /// - Parameter words: What stands below RIP, from high to low addresses; R11 and RCX follow.
    private mutating func bounce(
        words: [(UInt64, FrameSlot)], isFault: Bool, _ activation: UInt32, _ machine: inout Machine,
        _ program: Program
    ) -> UInt64? {
        let fromKernel = machine.cpu.guestKernelMode
        let masked = Hypervisor.masksEvents(machine.memory.peek(vcpuInfo))
        let oldRSP = machine[.rsp]
        var address = fromKernel ? oldRSP : kernelStack
        address &= ~15
        if !fromKernel { toggleMode(&machine) }
        // RPL cleared marks kernel mode (F3); bits 39:32 carry the old mask (F4).
        let cs = UInt64(fromKernel ? machine.cpu.cs & ~3 : machine.cpu.cs) | (masked ? 1 << 32 : 0)
        var flags = machine.cpu.flags & ~Flags.interrupt
        if !masked || quirks.contains(.forgetsEventMask) { flags |= Flags.interrupt }
        if isFault { flags |= Flags.resume }
        let rip = machine.instructionPointer(program)
        let frame: [(UInt64, FrameSlot)] =
            [(UInt64(machine.cpu.ss), .ss), (oldRSP, .rsp), (flags, .rflags), (cs, .cs), (rip, .rip)] + words
            + [(machine[.r11], .r11), (machine[.rcx], .rcx)]
        for (position, (value, slot)) in frame.enumerated() {
            address &-= 8
            do throws(Fault) {
                try machine.store(
                    value, at: address, .quad,
                    owner: Owner(.hardwareFrame, slot: slot.rawValue, activation: activation), isStack: true)
            } catch {
                unwritten = (address, Hypervisor.storeNumber(of: position, of: frame.count))
                return nil
            }
        }
        machine[.rsp] = address
        return address
    }

    /// SS is word 6 and RIP word 2, from which Xen counts anew for what stands below: an error code is word 2, the selectors of
    /// the failsafe callback 5 to 2, R11 and RCX 1 and 0 (Xen 4.17 `x86_64/entry.S`, `create_bounce_frame`).
    private static func storeNumber(of position: Int, of count: Int) -> Int {
        position < 5 ? 6 - position : count - 1 - position
    }

    /// Registers of the guest kernel at its handler (facts F4, F5, F22).
    private func enterGuestKernel(
        at address: UInt64, masksEvents: Bool, oldFlags: UInt64, _ machine: inout Machine, _ program: Program
    ) {
        if masksEvents || quirks.contains(.forgetsEventMask) { setEventsMasked(masksEvents, &machine) }
        let kept = quirks.contains(.keepsAlignmentCheck) ? oldFlags & Flags.alignmentCheck : 0
        machine.cpu.flags =
            kept
            | (oldFlags
                & ~(Flags.alignmentCheck | Flags.virtual8086 | Flags.resume | Flags.nestedTask | Flags.trap))
            | Flags.interrupt | Flags.alwaysOne
        machine.cpu.cs = Hypervisor.codeSelector
        machine.cpu.ss = Hypervisor.stackSelector
        machine.cpu.cpl = 3
        machine.cpu.stackShadow = false
        machine.cpu.interruptShadow = false
        // Xen leaves by SYSRET.
        machine[.rcx] = address
        machine[.r11] = machine.cpu.flags
        machine.jump(to: address, program)
    }
}

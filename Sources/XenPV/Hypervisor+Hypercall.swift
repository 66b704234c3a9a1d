package import Machine

extension Hypervisor {
    /// Executes the hypercall whose number is in RAX.
    ///
    /// - Parameter activation: Number that owns the frame if the iret hypercall faults and the guest is entered again.
    package mutating func hypercall(
        activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> HypercallResult {
        machine.cost.hypervisorEntries &+= 1
        if machine[.rax] == Hypervisor.iretNumber {
            return interruptReturn(activation: activation, &machine, program)
        }
        // Others only matter to entry code as a way into Xen and back; SYSCALL and SYSRET change RCX and R11.
        machine[.rcx] = machine.instructionPointer(program)
        machine[.r11] = machine.cpu.flags
        machine[.rax] = 0
        return .continue
    }

    /// The iret hypercall (facts F18, F19; Xen `do_iret`).
    private mutating func interruptReturn(
        activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> HypercallResult {
        let base = machine[.rsp]
        eventsWereMaskedAtReturn = Hypervisor.masksEvents(machine.memory.peek(vcpuInfo))
        var words: InlineArray<9, UInt64> = InlineArray(repeating: 0)
        // Xen masks AC on SYSCALL: it reads the words whatever their alignment.
        machine.cpu.flags &= ~Flags.alignmentCheck
        for index in 0..<9 {
            do throws(Fault) {
                words[index] = try machine.load(base &+ UInt64(index) * 8, .quad, isStack: true)
            } catch {
                return .crashed(
                    DomainCrash(
                        reason: .returnFrameNotReadable, vector: error.vector, errorCode: error.errorCode,
                        address: machine.instructionPointer(program)
                    ).at(base &+ UInt64(index) * 8))
            }
        }
        let frame = base &+ 4 * 8
        let cs = UInt16(truncatingIfNeeded: words[5])
        let ss = UInt16(truncatingIfNeeded: words[8])
        if cs & 3 == 3 { toggleMode(&machine) }
        machine[.rax] = words[0]
        let inSyscall = words[3] & Hypervisor.inSyscallFlag != 0
        if !quirks.contains(.keepsEventMask) { setEventsMasked(words[6] & Flags.interrupt == 0, &machine) }
        if !quirks.contains(.keepsNMIMask) { nmiMasked = false }
        isInMachineCheck = false
        let forced = Flags.alwaysOne | (quirks.contains(.loadsInterruptFlag) ? 0 : Flags.interrupt)
        let flags = (words[6] & Flags.loadable & ~(Flags.iopl | Flags.virtual8086)) | forced
        machine[.rsp] = words[7]
        machine.cpu.flags = flags
        // With the flag set RCX and R11 are SYSRET's, also where Xen must leave by IRET (entry.S, `.Lforce_iret`).
        machine[.r11] = inSyscall ? flags : words[1]
        machine[.rcx] = inSyscall ? words[4] : words[2]
        let isCanonical = Machine.isCanonical(words[4])
        if inSyscall && !isCanonical && quirks.contains(.trustsSysretTarget) {
            // Xen is on the guest's stack pointer already (SDM vol. 2, SYSRET).
            return .crashed(
                DomainCrash(
                    reason: .hypervisorFault, vector: Vector.generalProtection, errorCode: 0, address: words[4]))
        }
        if inSyscall && isCanonical {
            machine.cpu.flags &= ~Flags.resume
            // SYSRET traps as soon as it has loaded TF, before the first instruction of its target (fact F28).
            if flags & Flags.trap != 0 { machine.cpu.pendingDebug |= DebugStatus.singleStep }
            let isCompat = cs | 3 == Hypervisor.compatCodeSelector
            machine.cpu.cs = isCompat ? Hypervisor.compatCodeSelector : Hypervisor.codeSelector
            machine.cpu.ss = Hypervisor.stackSelector
            machine.jump(to: isCompat ? words[4] & 0xFFFF_FFFF : words[4], program)
            return .returned(frame: frame)
        }
        // The attempted context is what a fault of the IRET shows (F19): RPL 3 is forced into both selectors.
        machine.cpu.cs = cs | 3
        machine.cpu.ss = ss | 3
        machine.cpu.cpl = 0
        let checked: Fault?
        do throws(Fault) {
            _ = try machine.checkReturn(rip: words[4], cs: cs | 3, ss: ss | 3)
            checked = nil
        } catch {
            checked = error
        }
        machine.cpu.cpl = 3
        machine.jump(to: words[4], program)
        guard let fault = checked else { return .returned(frame: frame) }
        machine.cost.hypervisorEntries &+= 1
        // The iret hypercall has ended, whatever follows; the mask it set is part of the target's context.
        let delivery =
            version.replaysFaultingReturn
            ? replay(fault, activation: activation, &machine, program)
            : deliverFailsafe(activation: activation, &machine, program)
        return .returnFaulted(frame: frame, fault: fault, delivery: delivery)
    }

    /// Xen 4.7 and later: the fault of the IRET becomes the guest's, with a frame that shows the target.
    private mutating func replay(
        _ fault: Fault, activation: UInt32, _ machine: inout Machine, _ program: Program
    ) -> GuestDelivery {
        var event = Event(fault)
        // The frame is the target's: no instruction of it has started, so RF is not set in it.
        event.source = .trap
        return deliver(event, activation: activation, &machine, program)
    }

    /// Whether Xen emulates an instruction of the guest kernel that raised #GP, and does it (facts F15, F16).
    ///
    /// SWAPGS and IRET are not emulated: the guest gets its #GP.
    package mutating func emulate(
        _ instruction: Instruction, _ fault: Fault, _ machine: inout Machine
    ) -> Bool {
        guard fault.vector == Vector.generalProtection, fault.errorCode == 0, machine.cpu.guestKernelMode else {
            return false
        }
        switch instruction.opcode {
        case .rdmsr, .wrmsr, .in, .out, .clts, .wbinvd, .movToControl, .movFromControl, .movToDebug, .movFromDebug:
            do throws(Fault) {
                try machine.performPrivileged(instruction)
            } catch {
                return false
            }
        // Nothing comes of them: events are masked in shared memory (F4).
        case .cli, .sti: break
        default: return false
        }
        machine.cost.hypervisorEntries &+= 1
        machine.cost.instructions &+= 1
        machine.stepNumber &+= 1
        machine.cpu.index &+= 1
        if machine.cpu.flags & Flags.trap != 0 { machine.cpu.pendingDebug |= DebugStatus.singleStep }
        machine.cpu.flags &= ~Flags.resume
        return true
    }
}

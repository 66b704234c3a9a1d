import EntryCode
import Machine
import XenPV

/// What the bodies of C functions do to the interrupted context.
extension ScenarioRun {
    /// Does to the interrupted context what the scenario's probe says.
    mutating func act(
        _ regs: UInt64, _ activation: Activation, errorCode: UInt64
    ) throws(Fault) {
        if activation.isReturnFault {
            // SIGSEGV for a target that cannot be returned to.
            signal(regs)
            return
        }
        if scenario.probe.isFoundByAddress {
            // The tables of breakpoints and of faults that are expected are searched for pt_regs->ip.
            let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
            if rip != activation.interrupted.rip {
                let cs = try machine.load(regs &+ UInt64(PtRegs.cs) &* 8, .quad)
                endUnexpectedly(activation, regs: regs, errorCode: errorCode, fromUser: cs & 3 != 0)
                return
            }
        }
        switch scenario.probe {
        case .setTrapFlag:
            let flags = try machine.load(regs &+ UInt64(PtRegs.flags) &* 8, .quad)
            edit(regs, PtRegs.flags, flags | Flags.trap)
        case .singleStep, .movSS, .movSSStep, .watchpoint: break
        case .pendingSignal, .pendingFlush, .tableCall, .unknownCall, .trackedCall, .tracedCall: break
        case .return, .nestedTaskFlag, .alignmentFlag, .badUserStack, .badDS, .badES, .badFS, .badGS: break
        case .prefixedInterrupt, .hostInterrupt: break
        case .otherTask: runOtherTask()
        case .signal, .refusedCall: signal(regs)
        case .softwareInterrupt:
            if activation.event.vector == Vector.generalProtection { signal(regs) }
        case .modifyUserState:
            edit(regs, PtRegs.rip, layout.userSignal)
            edit(regs, PtRegs.rsp, userStackPointer &- 0x800)
            edit(regs, PtRegs.rax, 0x7777)
            edit(regs, PtRegs.r11, 0x8888)
            edit(regs, PtRegs.flags, Flags.alwaysOne | Flags.interrupt | Flags.carry)
        case .sigreturnBadSS, .sigreturnTruncated:
            edit(regs, PtRegs.ss, 0x53)
            expectsReturnFault = true
        case .sigreturnBadCS:
            edit(regs, PtRegs.cs, 0x2B)
            expectsReturnFault = true
        case .sigreturnBadRIP:
            edit(regs, PtRegs.rip, 0x0000_8000_0000_0000)
            expectsReturnFault = true
        case .sysretFlags:
            let flags = try machine.load(regs &+ UInt64(PtRegs.flags) &* 8, .quad)
            edit(regs, PtRegs.flags, flags ^ Flags.carry)
        case .sysretBadRCX, .sysretRCXUpper, .sysretRCXLower:
            let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
            let change: UInt64 =
                switch scenario.probe {
                case .sysretBadRCX: 0x1234 << 48
                case .sysretRCXUpper: 0x10 << 32
                default: 0x10
                }
            edit(regs, PtRegs.rcx, rip ^ change)
        case .sysretResume:
            let flags = try machine.load(regs &+ UInt64(PtRegs.flags) &* 8, .quad) | Flags.resume
            edit(regs, PtRegs.flags, flags)
            edit(regs, PtRegs.r11, flags)
        case .sysretBadRIP:
            edit(regs, PtRegs.rip, 0x0000_8000_0000_0000)
            edit(regs, PtRegs.rcx, 0x0000_8000_0000_0000)
            expectsReturnFault = true
        case .sigreturnLDTStack:
            edit(regs, PtRegs.ss, 0x07)
            edit(regs, PtRegs.cs, 0x23)
            // Bits on both sides of where the espfix stack takes its address from this.
            edit(regs, PtRegs.rsp, layout.userStackPointer & 0xFFFF_FFFF ^ 0x8001_8000)
        case .sigreturnAbsentSS:
            edit(regs, PtRegs.ss, 0x0F)
            expectsReturnFault = true
        case .sigreturnNullSS:
            edit(regs, PtRegs.ss, 0)
            expectsReturnFault = true
        case .sigreturnBogusSS:
            edit(regs, PtRegs.ss, 0x47)
            expectsReturnFault = true
        case .sigreturnAbsentCS:
            edit(regs, PtRegs.cs, 0x17)
            expectsReturnFault = true
        case .sigreturnLDTStack64:
            edit(regs, PtRegs.ss, 0x07)
            edit(regs, PtRegs.cs, 0x33)
        case .paravirtCall, .paravirtCallMasking: break
        case .loadGS:
            let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
            guard let fixup = layout.fixups[rip] else {
                record(UnexpectedFault.withoutFixup(self, activation.event, at: rip))
                printOops(regs: regs, errorCode: errorCode, vector: activation.event.vector)
                ending = .oops(vector: activation.event.vector, errorCode: errorCode)
                return
            }
            edit(regs, PtRegs.rip, fixup)
        case .fixup:
            edit(regs, PtRegs.rip, layout.kernelFixup)
        case .emulateJump:
            edit(regs, PtRegs.rip, layout.emulatedFunction)
        case .emulateCall, .selfTest:
            let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
            let target = scenario.probe == .selfTest ? layout.selfTestTarget ?? 0 : layout.emulatedFunction
            // The call's return address: behind the five bytes that the CALL would have had.
            try emulatePush(regs, rip &+ 4, what: "the return address of the emulated call")
            edit(regs, PtRegs.rip, target)
            stopAddress = rip &+ 4
        case .emulatePush:
            let value = try machine.load(regs &+ UInt64(PtRegs.rbp) &* 8, .quad)
            try emulatePush(regs, value, what: "the register of the emulated push")
        case .oops:
            // Nobody reads the console of an oops that the scenario asked for, unless something else broke before it.
            if hardCause != nil || recorder != nil {
                printOops(regs: regs, errorCode: errorCode, vector: activation.event.vector)
            }
            ending = .expectedOops
        }
    }

    /// Pushes onto the interrupted stack, as `int3_emulate_push` does (Linux 5.2 `arch/x86/include/asm/text-patching.h`).
    mutating func emulatePush(_ regs: UInt64, _ value: UInt64, what: String) throws(Fault) {
        let rsp = try machine.load(regs &+ UInt64(PtRegs.rsp) &* 8, .quad) &- 8
        edit(regs, PtRegs.rsp, rsp)
        try machine.store(value, at: rsp, .quad, owner: Owner(.emulatedPush))
        stackExpectations.append((rsp, value, what))
    }

    mutating func signal(_ regs: UInt64) {
        edit(regs, PtRegs.rip, layout.userSignal)
        edit(regs, PtRegs.rsp, (userStackPointer &- 0x600) & ~15 &- 8)
        edit(regs, PtRegs.cs, scenario.context == .user32 ? 0x23 : 0x33)
        edit(regs, PtRegs.ss, 0x2B)
        edit(regs, PtRegs.rdi, 11)
        edit(regs, PtRegs.rsi, userStackPointer &- 0x580)
        edit(regs, PtRegs.rdx, userStackPointer &- 0x500)
        edit(regs, PtRegs.rax, 0)
        let flags = activations.last.map { $0.expected.flags } ?? Flags.alwaysOne
        edit(
            regs, PtRegs.flags,
            (flags & ~(Flags.direction | Flags.resume | Flags.trap | Flags.alignmentCheck)) | Flags.interrupt)
    }

    var userStackPointer: UInt64 {
        scenario.context == .user32 ? layout.userStackPointer32 : layout.userStackPointer
    }

    /// Writes a slot of pt_regs and notes that the return must honour it.
    mutating func edit(_ regs: UInt64, _ slot: Int, _ value: UInt64) {
        let address = regs &+ UInt64(slot) &* 8
        let owner = machine.memory.owner(at: address) ?? .free
        machine.memory.poke(value, at: address, owner: owner, step: machine.stepNumber)
        if machine.isTracing { machine.writes.append((address, value, .quad)) }
        guard !activations.isEmpty else { return }
        let last = activations.count - 1
        if slot < PtRegs.registers.count {
            activations[last].expected[PtRegs.registers[slot]] = value
            return
        }
        guard slot >= PtRegs.rip else { return }
        activations[last].frameWords[slot - PtRegs.rip] = value
        switch slot {
        case PtRegs.rip: activations[last].expected.rip = value
        case PtRegs.cs:
            activations[last].expected.cs = UInt16(truncatingIfNeeded: value)
        case PtRegs.flags:
            activations[last].expected.flags = value
            activations[last].expected.eventsMasked = value & Flags.interrupt == 0
        case PtRegs.rsp: activations[last].expected[.rsp] = value
        default: activations[last].expected.ss = UInt16(truncatingIfNeeded: value)
        }
    }

    /// What Linux does with an exception that nothing asked for: an oops in kernel mode, a signal in user mode.
    mutating func endUnexpectedly(
        _ activation: Activation, regs: UInt64, errorCode: UInt64, fromUser: Bool
    ) {
        let vector = activation.event.vector
        if fromUser && vector != Vector.doubleFault && vector != Vector.machineCheck {
            ending = .processKilled(vector: vector, errorCode: errorCode)
            return
        }
        printOops(regs: regs, errorCode: errorCode, vector: vector)
        ending = .oops(vector: vector, errorCode: errorCode)
    }

    /// The espfix part of `do_double_fault` (Linux 5.2 `arch/x86/kernel/traps.c`): a fault of the IRET on the read-only
    /// espfix stack became #DF; it is turned back into a #GP on the stack of TSS.sp0.
    mutating func rewriteEspfixFault(_ regs: UInt64) throws(Fault) -> Bool {
        guard let role = image.roles["bad_iret"], let iret = program.address(of: role),
            let handler = image.roles["general_protection"].flatMap({ program.address(of: $0) })
        else { return false }
        let rip = try machine.load(regs &+ UInt64(PtRegs.rip) &* 8, .quad)
        let rsp = try machine.load(regs &+ UInt64(PtRegs.rsp) &* 8, .quad)
        let cs = try machine.load(regs &+ UInt64(PtRegs.cs) &* 8, .quad)
        guard rip == iret, cs & 3 == 0, layout.espfixWindow.contains(rsp) else { return false }
        let sp0 = try CFunctionCall.perCPU(layout.entryStackTopOffset, &machine)
        let slots = sp0 &- 6 &* 8
        try CFunctionCall.copy(words: 5, from: rsp, to: slots &+ 8, &machine)
        try machine.store(0, at: slots, .quad, owner: Owner(.data, activation: machine.activation))
        edit(regs, PtRegs.rip, handler)
        edit(regs, PtRegs.rsp, slots)
        return true
    }

    /// What a handler prints that got an event of another kind: words of its own, or an oops where its event is one that
    /// kernel code dies of unless the exception table knows the place.
    mutating func printWrongHandler(_ regs: UInt64) {
        guard let function = functionAtRIP else { return }
        console += function.says
        guard function.model == .exception, function.events.count == 1, let vector = function.events.first,
            (Vector.invalidTSS...Vector.generalProtection).contains(vector),
            let cs = machine.memory.peek(regs &+ UInt64(PtRegs.cs) &* 8), cs & 3 == 0
        else { return }
        printOops(regs: regs, errorCode: function.register(of: .errorCode).map { machine[$0] } ?? 0, vector: vector)
    }

    mutating func printOops(regs: UInt64, errorCode: UInt64, vector: UInt8) {
        console += Console.oops(self, regs: regs, errorCode: errorCode, vector: vector)
    }
}

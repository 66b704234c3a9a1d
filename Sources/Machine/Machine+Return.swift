extension Machine {
    /// IRET in 64-bit mode (SDM vol. 2, IRET; vol. 3, 6.14.3).
    ///
    /// NMIs are unblocked by the execution of IRET even if it faults (SDM vol. 3, 6.7.1).
    @inline(never)
    mutating func interruptReturn(_ instruction: Instruction, _ program: Program) throws(Fault) -> Outcome {
        if cpu.flags & Flags.nestedTask != 0 { throw .generalProtection() }
        let frame = cpu[.rsp]
        let size = UInt64(instruction.width.rawValue)
        let width = instruction.width
        let rip = try load(frame, width, isStack: true)
        let cs = UInt16(truncatingIfNeeded: try load(frame &+ size, width, isStack: true))
        let flags = try load(frame &+ 2 &* size, width, isStack: true)
        let rsp = try load(frame &+ 3 &* size, width, isStack: true)
        let ss = UInt16(truncatingIfNeeded: try load(frame &+ 4 &* size, width, isStack: true))
        cpu.nmiBlocked = false
        interruptsWereEnabledAtReturn = cpu.flags & Flags.interrupt != 0
        let code = try checkReturnSelectors(cs: cs, ss: ss)
        if code.isLong ? !Machine.isCanonical(rip) : rip > 0xFFFF_FFFF { throw .generalProtection() }
        finishReturn(rip: rip, cs: cs, flags: flags, rsp: rsp, ss: ss, code: code, frame: frame, program)
        cost.serialisingInstructions &+= 1
        return .returned(frame: frame)
    }

    /// The selector checks of IRET; returns the code segment's descriptor.
    package func checkReturnSelectors(cs: UInt16, ss: UInt16) throws(Fault) -> Descriptor {
        let csCode = UInt32(cs & ~3)
        if csCode == 0 { throw .generalProtection() }
        guard let code = descriptor(cs), code.isCode else { throw .generalProtection(csCode) }
        let rpl = UInt8(cs & 3)
        if rpl < cpu.cpl || code.privilege != rpl { throw .generalProtection(csCode) }
        if !code.isPresent { throw Fault(Vector.segmentNotPresent, errorCode: csCode) }
        let ssCode = UInt32(ss & ~3)
        if ssCode == 0 {
            // A null SS is acceptable when returning to 64-bit code below CPL 3.
            if !code.isLong || rpl == 3 || UInt8(ss & 3) != rpl { throw .generalProtection() }
            return code
        }
        guard let stack = descriptor(ss) else { throw .generalProtection(ssCode) }
        if UInt8(ss & 3) != rpl || stack.isCode || !stack.isWritable || stack.privilege != rpl {
            throw .generalProtection(ssCode)
        }
        if !stack.isPresent { throw Fault(Vector.stackSegment, errorCode: ssCode) }
        return code
    }

    private mutating func finishReturn(
        rip: UInt64, cs: UInt16, flags: UInt64, rsp: UInt64, ss: UInt16, code: Descriptor, frame: UInt64,
        _ program: Program
    ) {
        let oldPrivilege = cpu.cpl
        let newPrivilege = UInt8(cs & 3)
        var loadable = Flags.loadable
        if oldPrivilege != 0 {
            loadable &= ~Flags.iopl
            if oldPrivilege > UInt8((cpu.flags & Flags.iopl) >> 12) { loadable &= ~Flags.interrupt }
        }
        cpu.flags = (cpu.flags & ~loadable) | (flags & loadable) | Flags.alwaysOne
        cpu.cs = cs
        cpu.ss = ss
        if code.isLong {
            cpu[.rsp] = rsp
        } else if let stack = descriptor(ss), !stack.isBig {
            // Only SP is loaded for a 16-bit stack: the rest of RSP stays what it was (the espfix leak, fact F31).
            cpu[.rsp] = ((frame &+ 40) & ~0xFFFF) | (rsp & 0xFFFF)
        } else {
            cpu[.rsp] = rsp & 0xFFFF_FFFF
        }
        if newPrivilege > oldPrivilege { clearInnerSegments(newPrivilege) }
        cpu.cpl = newPrivilege
        jump(to: code.isLong ? rip : rip & 0xFFFF_FFFF, program)
    }

    /// Data segments that the outer level may not use become null (SDM vol. 2, IRET, RETURN-TO-OUTER-PRIVILEGE-LEVEL).
    private mutating func clearInnerSegments(_ privilege: UInt8) {
        func isUsable(_ selector: UInt16) -> Bool {
            guard selector & ~3 != 0, let descriptor = descriptor(selector) else { return true }
            return descriptor.privilege >= privilege
        }
        if !isUsable(cpu.ds) { cpu.ds = 0 }
        if !isUsable(cpu.es) { cpu.es = 0 }
        if !isUsable(cpu.fs) { cpu.fs = 0 }
        if !isUsable(cpu.gs) { cpu.gs = 0 }
    }

    /// SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM and APM vol. 2).
    @inline(never)
    mutating func fastSystemCall(_ instruction: Instruction, _ program: Program) throws(Fault) -> Outcome {
        let here = cpu.index
        switch instruction.opcode {
        case .syscall:
            if traits.isParavirtual {
                cpu.index &+= 1
                return .paravirtualSyscall
            }
            cpu[.rcx] = program.addresses[Int(here)] &+ UInt64(instruction.length)
            cpu[.r11] = cpu.flags & ~Flags.resume
            cpu.flags = (cpu.flags & ~cpu.syscallMask & ~Flags.resume) | Flags.alwaysOne
            let selector = UInt16(truncatingIfNeeded: cpu.star >> 32) & ~3
            let isCompat = descriptor(cpu.cs)?.isLong == false
            cpu.cs = selector
            cpu.ss = selector &+ 8
            cpu.cpl = 0
            jump(to: isCompat ? cpu.cstar : cpu.lstar, program)
            return .next
        case .sysret:
            if cpu.cpl != 0 { throw .generalProtection() }
            let target = instruction.width == .quad ? cpu[.rcx] : cpu[.rcx] & 0xFFFF_FFFF
            if !Machine.isCanonical(target) && traits.sysretFaultsInKernel { throw .generalProtection() }
            let base = UInt16(truncatingIfNeeded: cpu.star >> 48)
            cpu.flags =
                (cpu[.r11] & (Flags.loadable & ~Flags.resume)) | Flags.alwaysOne
            cpu.cs = (instruction.width == .quad ? base &+ 16 : base) | 3
            cpu.ss = (base &+ 8) | 3
            cpu.cpl = 3
            jump(to: target, program)
            return .returned(frame: 0)
        case .sysenter:
            if cpu.sysenterCS & ~3 == 0 { throw .generalProtection() }
            cpu.flags &= ~(Flags.virtual8086 | Flags.interrupt | Flags.resume)
            cpu.cs = UInt16(truncatingIfNeeded: cpu.sysenterCS) & ~3
            cpu.ss = cpu.cs &+ 8
            cpu.cpl = 0
            cpu[.rsp] = cpu.sysenterESP
            jump(to: cpu.sysenterEIP, program)
            return .next
        default:
            if cpu.cpl != 0 || cpu.sysenterCS & ~3 == 0 { throw .generalProtection() }
            let isLong = instruction.width == .quad
            let target = isLong ? cpu[.rdx] : cpu[.rdx] & 0xFFFF_FFFF
            let stack = isLong ? cpu[.rcx] : cpu[.rcx] & 0xFFFF_FFFF
            if !Machine.isCanonical(target) || !Machine.isCanonical(stack) { throw .generalProtection() }
            let base = UInt16(truncatingIfNeeded: cpu.sysenterCS) & ~3
            cpu.cs = (base &+ (isLong ? 32 : 16)) | 3
            cpu.ss = (base &+ (isLong ? 40 : 24)) | 3
            cpu.cpl = 3
            cpu[.rsp] = stack
            jump(to: target, program)
            return .returned(frame: 0)
        }
    }
}

extension Machine {
    /// IRET in 64-bit mode (SDM vol. 2, IRET; vol. 3, 6.14.3).
    ///
    /// NMIs are unblocked by the execution of IRET even if it faults (SDM vol. 3, 6.7.1).
    @inline(never)
    mutating func interruptReturn(_ site: Site, _ program: Program) throws(Fault) -> Progress {
        cpu.nmiBlocked = false
        interruptsWereEnabledAtReturn = cpu.flags & Flags.interrupt != 0
        if cpu.flags & Flags.nestedTask != 0 { throw .generalProtection() }
        let frame = self[.rsp]
        let width = site.pointee.width
        let size = UInt64(width.rawValue)
        let rip = try load(frame, width, isStack: true)
        let cs = UInt16(truncatingIfNeeded: try load(frame &+ size, width, isStack: true))
        let flags = try load(frame &+ 2 &* size, width, isStack: true)
        let rsp = try load(frame &+ 3 &* size, width, isStack: true)
        let ss = UInt16(truncatingIfNeeded: try load(frame &+ 4 &* size, width, isStack: true))
        let code = try checkReturn(rip: rip, cs: cs, ss: ss)
        finishReturn(
            rip: rip, cs: cs, flags: flags, rsp: rsp, ss: ss, code: code, end: frame &+ 5 &* size, width, program)
        cost.serialisingInstructions &+= 1
        return stop(.returned(frame: frame))
    }

    /// All checks of IRET's target, RIP last (SDM vol. 2, IRET); returns the code segment's descriptor.
    package func checkReturn(rip: UInt64, cs: UInt16, ss: UInt16) throws(Fault) -> Descriptor {
        let code = try checkReturnSelectors(cs: cs, ss: ss)
        if code.isLong ? !Machine.isCanonical(rip) : rip > 0xFFFF_FFFF { throw .generalProtection() }
        return code
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
        rip: UInt64, cs: UInt16, flags: UInt64, rsp: UInt64, ss: UInt16, code: Descriptor, end: UInt64,
        _ width: Width, _ program: Program
    ) {
        let oldPrivilege = cpu.cpl
        let newPrivilege = UInt8(cs & 3)
        var loadable = Flags.loadable & width.mask
        if oldPrivilege != 0 {
            loadable &= ~Flags.iopl
            if oldPrivilege > UInt8((cpu.flags & Flags.iopl) >> 12) { loadable &= ~Flags.interrupt }
        }
        cpu.flags = (cpu.flags & ~loadable) | (flags & loadable) | Flags.alwaysOne
        cpu.cs = cs
        cpu.ss = ss
        if code.isLong {
            self[.rsp] = rsp
        } else if let stack = descriptor(ss), !stack.isBig {
            // Only SP is loaded for a 16-bit stack: the rest of RSP stays what it was (the espfix leak, fact F31).
            self[.rsp] = (end & ~0xFFFF) | (rsp & 0xFFFF)
        } else {
            self[.rsp] = rsp & 0xFFFF_FFFF
        }
        cpu.hasUnusableStack = false
        if newPrivilege > oldPrivilege { clearInnerSegments(newPrivilege) }
        cpu.cpl = newPrivilege
        jump(to: rip, program)
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
    mutating func fastSystemCall(_ instruction: Instruction, _ program: Program) throws(Fault) -> Progress {
        let here = cpu.index
        switch instruction.opcode {
        case .syscall:
            if traits.isParavirtual {
                cpu.index &+= 1
                return stop(.paravirtualSyscall)
            }
            let isCompat = descriptor(cpu.cs)?.isLong == false
            // Intel knows SYSCALL in 64-bit code only, AMD in both (SDM and APM vol. 3, SYSCALL).
            if isCompat && traits.vendor == .intel { throw Fault(Vector.invalidOpcode) }
            self[.rcx] = program.addresses[Int(here)] &+ UInt64(instruction.length)
            self[.r11] = cpu.flags & ~Flags.resume
            cpu.flags = (cpu.flags & ~cpu.syscallMask & ~Flags.resume) | Flags.alwaysOne
            let selector = UInt16(truncatingIfNeeded: cpu.star >> 32) & ~3
            cpu.cs = selector
            cpu.ss = selector &+ 8
            cpu.cpl = 0
            trapAsFlagsNowSay()
            jump(to: isCompat ? cpu.cstar : cpu.lstar, program)
            return .next
        case .sysret:
            if cpu.cpl != 0 { throw .generalProtection() }
            let target = instruction.width == .quad ? self[.rcx] : self[.rcx] & 0xFFFF_FFFF
            if !Machine.isCanonical(target) && traits.sysretFaultsInKernel { throw .generalProtection() }
            interruptsWereEnabledAtReturn = cpu.flags & Flags.interrupt != 0
            let base = UInt16(truncatingIfNeeded: cpu.star >> 48)
            // All but RF, VM and the reserved bits (SDM vol. 2, SYSRET).
            cpu.flags = (self[.r11] & 0x3C_7FD7) | Flags.alwaysOne
            trapAsFlagsNowSay()
            // AMD loads the selector of SS and leaves what the processor keeps of the descriptor (APM vol. 3, SYSRET).
            cpu.hasUnusableStack = traits.vendor == .amd && cpu.ss & ~3 == 0
            cpu.cs = (instruction.width == .quad ? base &+ 16 : base) | 3
            cpu.ss = (base &+ 8) | 3
            cpu.cpl = 3
            jump(to: target, program)
            return stop(.returned(frame: 0))
        case .sysenter:
            try requireSysenter()
            if traits.isParavirtual {
                cpu.index &+= 1
                return stop(.paravirtualSysenter)
            }
            if cpu.sysenterCS & 0xFFFC == 0 { throw .generalProtection() }
            cpu.flags &= ~(Flags.virtual8086 | Flags.interrupt | Flags.resume)
            cpu.cs = UInt16(truncatingIfNeeded: cpu.sysenterCS) & ~3
            cpu.ss = cpu.cs &+ 8
            cpu.cpl = 0
            self[.rsp] = cpu.sysenterESP
            jump(to: cpu.sysenterEIP, program)
            return .next
        default:
            try requireSysenter()
            if cpu.cpl != 0 || cpu.sysenterCS & 0xFFFC == 0 { throw .generalProtection() }
            let isLong = instruction.width == .quad
            let target = isLong ? self[.rdx] : self[.rdx] & 0xFFFF_FFFF
            let stack = isLong ? self[.rcx] : self[.rcx] & 0xFFFF_FFFF
            if !Machine.isCanonical(target) || !Machine.isCanonical(stack) { throw .generalProtection() }
            interruptsWereEnabledAtReturn = cpu.flags & Flags.interrupt != 0
            let base = UInt16(truncatingIfNeeded: cpu.sysenterCS) & ~3
            cpu.cs = (base &+ (isLong ? 32 : 16)) | 3
            cpu.ss = (base &+ (isLong ? 40 : 24)) | 3
            cpu.hasUnusableStack = false
            cpu.cpl = 3
            self[.rsp] = stack
            jump(to: target, program)
            return stop(.returned(frame: 0))
        }
    }

    /// SYSCALL and SYSRET trap if TF is set when they end, as if the system call were one instruction of its caller
    /// (fact F28; QEMU `target/i386/tcg/translate.c` says so of both).
    private mutating func trapAsFlagsNowSay() {
        if cpu.flags & Flags.trap != 0 { cpu.pendingDebug |= DebugStatus.singleStep }
    }

    /// AMD has neither SYSENTER nor SYSEXIT in long mode (APM vol. 3).
    private func requireSysenter() throws(Fault) {
        if traits.vendor == .amd { throw Fault(Vector.invalidOpcode) }
    }
}

import Machine
import Testing

@testable import XenPV

/// The iret hypercall (F18, F19) and what follows a bad target in both versions of Xen (F12, F23).
@Suite struct HypercallTests {
    private static let rax: UInt64 = 0xA0
    private static let r11: UInt64 = 0xB0
    private static let rcx: UInt64 = 0xC0

    private func words(
        rip: UInt64 = TestGuest.userCode, cs: UInt64 = 0x33, rflags: UInt64 = 0x202,
        rsp: UInt64 = TestGuest.user + 0x500,
        ss: UInt64 = 0x2b, flags: UInt64 = 0
    ) -> [UInt64] {
        [Self.rax, Self.r11, Self.rcx, flags, rip, cs, rflags, rsp, ss]
    }

    @Test(arguments: [false, true])
    func toUserMode(_ masked: Bool) throws {
        var guest = try TestGuest()
        guest.setMasked(true)
        let result = guest.iret(words(rflags: masked ? 2 : 0x202))
        #expect(result == .returned(frame: TestGuest.stack + 0x220))
        #expect(guest.rip == TestGuest.userCode && guest.machine.cpu[.rsp] == TestGuest.user + 0x500)
        #expect(
            [guest.machine.cpu[.rax], guest.machine.cpu[.r11], guest.machine.cpu[.rcx]] == [
                Self.rax, Self.r11, Self.rcx,
            ])
        #expect(guest.machine.cpu.cs == 0x33 && guest.machine.cpu.ss == 0x2b && guest.machine.cpu.cpl == 3)
        #expect(
            !guest.machine.cpu.guestKernelMode && guest.machine.cpu.gsBase == 0xBBBB && guest.machine.cpu.userPageTables
        )
        #expect(guest.isMasked == masked && guest.machine.cpu.flags & Flags.interrupt != 0)
        #expect(guest.xen.eventsWereMaskedAtReturn)
    }

    /// Any other RPL goes back to the guest kernel, with RPL 3 forced into the live selectors.
    @Test(arguments: [0xe030, 0xe031, 0xe032] as [UInt64])
    func toTheKernel(_ selector: UInt64) throws {
        var guest = try TestGuest()
        let result = guest.iret(words(rip: TestGuest.code + 1, cs: selector, rsp: TestGuest.stackTop, ss: 0xe028))
        #expect(result == .returned(frame: TestGuest.stack + 0x220))
        #expect(
            guest.machine.cpu.guestKernelMode && guest.machine.cpu.gsBase == 0xAAAA && !guest.machine.cpu.userPageTables
        )
        #expect(guest.machine.cpu.cs == 0xe033 && guest.machine.cpu.ss == 0xe02b && guest.rip == TestGuest.code + 1)
        #expect(!guest.xen.eventsWereMaskedAtReturn)
    }

    /// The mask in bits 39:32 of CS is not looked at; IF is.
    @Test func theMaskComesFromTheFlags() throws {
        var guest = try TestGuest()
        _ = guest.iret(words(rip: TestGuest.code, cs: 0x1_0000_e030, rsp: TestGuest.stackTop, ss: 0xe02b))
        #expect(!guest.isMasked)
        _ = guest.iret(words(rip: TestGuest.code, cs: 0xe030, rflags: 2, rsp: TestGuest.stackTop, ss: 0xe02b))
        #expect(guest.isMasked)
    }

    @Test func flags() throws {
        var guest = try TestGuest()
        _ = guest.iret(words(rflags: .max))
        #expect(guest.machine.cpu.flags == Flags.alwaysOne | Flags.loadable & ~Flags.iopl)
        guest = try TestGuest()
        _ = guest.iret(words(rflags: 0))
        #expect(guest.machine.cpu.flags == Flags.alwaysOne | Flags.interrupt)
    }

    /// By SYSRET: RCX and R11 are its own, the selectors flat; 32-bit code keeps its width.
    @Test(arguments: [(0x33, 0xe033), (0xe033, 0xe033), (0xe023, 0xe023)] as [(UInt64, UInt16)])
    func inSyscall(_ selector: UInt64, _ live: UInt16) throws {
        var guest = try TestGuest()
        let result = guest.iret(words(cs: selector, rflags: 0x247 | Flags.resume, ss: 0x99, flags: 0x100))
        #expect(result == .returned(frame: TestGuest.stack + 0x220))
        #expect(guest.machine.cpu[.rcx] == TestGuest.userCode && guest.machine.cpu[.r11] & 0xFFF == 0x247)
        #expect(guest.machine.cpu.flags == 0x247 && guest.machine.cpu[.rax] == Self.rax)
        #expect(guest.machine.cpu.cs == live && guest.machine.cpu.ss == 0xe02b)
        #expect(!guest.machine.cpu.guestKernelMode)
    }

    /// SYSRET is not used for an address that is not canonical: IRET faults, as without the flag.
    @Test func inSyscallToAnAddressThatIsNotCanonical() throws {
        var guest = try TestGuest()
        guard case .returnFaulted(_, let fault, .entered(_, let frame)) = guest.iret(words(rip: 1 << 63, flags: 0x100))
        else {
            Issue.record("no fault")
            return
        }
        #expect(fault == .generalProtection())
        #expect(guest.words(frame, 5) == [1 << 63, 0x202, 0, 1 << 63, 0x33])
    }

    // MARK: Bad targets

    /// F12: low 16 bits of a return address in the SS slot, what the guest sees, the error code; kernel targets.
    static let returnAddresses: [(address: UInt64, shown: UInt64, code: UInt32)] = [
        (0xffff_ffff_8104_737d, 0x737f, 0x737c), (0xffff_ffff_8104_7381, 0x7383, 0x7380),
        (0xffff_ffff_8104_8762, 0x8763, 0x8760),
        (0xffff_ffff_8104_88c2, 0x88c3, 0x88c0), (0xffff_ffff_8104_3504, 0x3507, 0x3504),
    ]

    @Test(arguments: returnAddresses)
    func aReturnAddressAsStackSegment(_ row: (address: UInt64, shown: UInt64, code: UInt32)) throws {
        var guest = try TestGuest()
        let rsp = TestGuest.stack + 0xea0
        let result = guest.iret(words(rip: TestGuest.code, cs: 0xe030, rsp: rsp, ss: row.address))
        guard case .returnFaulted(let read, let fault, .entered(let event, let frame)) = result else {
            Issue.record("no fault")
            return
        }
        #expect(read == TestGuest.stack + 0x220)
        #expect(fault == .generalProtection(row.code))
        #expect(event.vector == 13 && event.errorCode == row.code)
        // F19: the frame is the target's, at the target's RSP.
        #expect(frame == rsp - 64)
        #expect(
            guest.words(frame, 8) == [
                Self.rcx, Self.r11, UInt64(row.code), TestGuest.code, 0xe030, 0x202, rsp, row.shown,
            ])
        #expect(guest.rip == TestGuest.handler && guest.machine.cpu.guestKernelMode)
        // Up to 4.6: the failsafe callback instead, eleven words, no error code.
        guest = try TestGuest(version: .v4_6)
        guest.xen.failsafeCallback = TestGuest.handler + 1
        guard
            case .returnFaulted(_, fault, .entered(_, let failsafe)) = guest.iret(
                words(rip: TestGuest.code, cs: 0xe030, rsp: rsp, ss: row.address))
        else {
            Issue.record("no failsafe")
            return
        }
        #expect(failsafe == rsp - 88)
        #expect(guest.words(failsafe, 2) == [Self.rcx, Self.r11])
        #expect(guest.words(failsafe + 48, 5) == [TestGuest.code, 0xe030, 0x202, rsp, row.shown])
        #expect(guest.rip == TestGuest.handler + 1)
        #expect(guest.machine.cpu[.rcx] == Self.rcx && guest.machine.cpu[.r11] == Self.r11)
    }

    /// F30 through the hypercall: registers shown are the target's.
    static let targets: [(rip: UInt64, cs: UInt64, ss: UInt64, fault: Fault, shown: UInt64)] = [
        (TestGuest.userCode, 0x33, 0x53, .generalProtection(0x50), 0x53),
        (TestGuest.userCode, 0x33, 0, .generalProtection(), 3),
        (TestGuest.userCode, 0x2b, 0x2b, .generalProtection(0x28), 0x2b),
        (TestGuest.userCode, 7, 0x2b, Fault(11, errorCode: 4), 0x2b),
        (TestGuest.userCode, 0x33, 0xF, Fault(12, errorCode: 0xC), 0xF),
        (TestGuest.userCode, 0x33, 0x47, .generalProtection(0x44), 0x47),
        (TestGuest.userCode, 3, 0x2b, .generalProtection(), 0x2b), (1 << 63, 0x33, 0x2b, .generalProtection(), 0x2b),
        (1 << 32, 0x23, 0x2b, .generalProtection(), 0x2b),
        (TestGuest.userCode, 0x33, 0x28, .generalProtection(0x28), 0x2b),
    ]

    @Test(arguments: targets.indices)
    func badUserTargets(_ index: Int) throws {
        let row = Self.targets[index]
        // SS 28 becomes 2b: forcing the RPL repairs it.
        let isRepaired = row.ss == 0x28
        var guest = try TestGuest()
        guest.xen.nmiMasked = true
        let result = guest.iret(words(rip: row.rip, cs: row.cs, ss: row.ss))
        if isRepaired {
            #expect(result == .returned(frame: TestGuest.stack + 0x220))
            return
        }
        guard case .returnFaulted(_, let fault, .entered(let event, let frame)) = result else {
            Issue.record("no fault")
            return
        }
        #expect(fault == row.fault && event.vector == fault.vector)
        #expect(frame == TestGuest.kernelTop - 64, "the target was user mode: the registered kernel stack")
        let shown: [UInt64] = [UInt64(row.fault.errorCode), row.rip, row.cs, 0x202, TestGuest.user + 0x500, row.shown]
        #expect(guest.words(frame + 16, 6) == shown)
        #expect(
            guest.machine.cpu.guestKernelMode && guest.machine.cpu.gsBase == 0xAAAA && !guest.machine.cpu.userPageTables
        )
        #expect(!guest.xen.nmiMasked && guest.isMasked)
    }

    @Test func withoutAFailsafeCallbackTheDomainCrashes() throws {
        var guest = try TestGuest(version: .v4_6)
        guard case .returnFaulted(_, _, .crashed(let crash)) = guest.iret(words(ss: 0x53)) else {
            Issue.record("no crash")
            return
        }
        #expect(crash.reason == .missingCallback)
    }

    @Test func aFrameThatCannotBeRead() throws {
        var guest = try TestGuest()
        guest.machine.cpu[.rax] = Hypervisor.iretNumber
        guest.machine.cpu[.rsp] = TestGuest.stackTop - 64
        guard case .crashed(let crash) = guest.xen.hypercall(activation: 3, &guest.machine, guest.program) else {
            Issue.record("no crash")
            return
        }
        #expect(crash.reason == .returnFrameNotReadable && crash.vector == 14)
    }

    /// Xen reads the frame wherever it stands, whatever AC says.
    @Test func aMisalignedFrame() throws {
        var guest = try TestGuest()
        let place = TestGuest.stack + 0x204
        for (index, word) in words().enumerated() {
            let address = place + UInt64(index) * 8
            let low = guest.machine.memory.peek(address) ?? 0
            guest.machine.memory.poke((low & 0xFFFF_FFFF) | word << 32, at: address)
            guest.machine.memory.poke(word >> 32, at: address + 8)
        }
        guest.machine.cpu[.rax] = Hypervisor.iretNumber
        guest.machine.cpu[.rsp] = place
        guest.machine.cpu.flags |= Flags.alignmentCheck
        #expect(guest.xen.hypercall(activation: 3, &guest.machine, guest.program) == .returned(frame: place + 32))
        #expect(guest.rip == TestGuest.userCode)
    }

    @Test func otherHypercalls() throws {
        var guest = try TestGuest("syscall\nnop")
        guest.machine.cpu[.rax] = 29
        #expect(guest.step() == .paravirtualSyscall)
        let flags = guest.machine.cpu.flags
        #expect(guest.xen.hypercall(activation: 3, &guest.machine, guest.program) == .continue)
        #expect(guest.machine.cpu[.rcx] == TestGuest.code + 2 && guest.rip == TestGuest.code + 2)
        #expect(guest.machine.cpu[.r11] == flags && guest.machine.cpu[.rax] == 0)
    }
}

import Testing

@testable import Machine

/// SYSCALL, SYSRET, SYSENTER and SYSEXIT (SDM vol. 2, APM vol. 3).
@Suite struct FastSystemCallTests {
    private static let star: UInt64 = 0x0023_0010 << 32

    private func prepared(_ text: String = "nop", user: String = "nop", vendor: ProcessorTraits.Vendor = .intel) throws
        -> TestMachine
    {
        var test = try TestMachine(text, user: user, traits: ProcessorTraits(vendor: vendor))
        test.machine.cpu.star = Self.star
        test.machine.cpu.lstar = TestMachine.handler
        test.machine.cpu.cstar = TestMachine.handler + 1
        test.machine.cpu.syscallMask = 0x4_7700
        test.machine.cpu.sysenterCS = 0x10
        test.machine.cpu.sysenterESP = TestMachine.stackTop - 0x40
        test.machine.cpu.sysenterEIP = TestMachine.handler + 2
        return test
    }

    @Test(arguments: [ProcessorTraits.Vendor.intel, .amd])
    func syscall(_ vendor: ProcessorTraits.Vendor) throws {
        var test = try prepared(user: "syscall\nnop", vendor: vendor)
        test.enterUser()
        let flags =
            Flags.alwaysOne | Flags.interrupt | Flags.carry | Flags.direction | Flags.alignmentCheck | Flags.nestedTask
        test.machine.cpu.flags = flags | Flags.resume
        let rsp = test.machine.cpu[.rsp]
        test.machine.cpu.gsBase = 0x1234
        #expect(test.step() == .next)
        #expect(test.machine.cpu[.rcx] == TestMachine.userCode + 2)
        #expect(test.machine.cpu[.r11] == flags, "RF is not shown")
        #expect(test.machine.cpu.flags == Flags.alwaysOne | Flags.carry)
        #expect(test.machine.cpu.cs == 0x10 && test.machine.cpu.ss == 0x18 && test.machine.cpu.cpl == 0)
        #expect(test.machine.cpu[.rsp] == rsp && test.machine.cpu.gsBase == 0x1234)
        #expect(test.rip == TestMachine.handler)
    }

    /// From 32-bit code AMD goes to CSTAR; Intel has no such instruction there.
    @Test(arguments: [ProcessorTraits.Vendor.intel, .amd])
    func syscallFrom32BitCode(_ vendor: ProcessorTraits.Vendor) throws {
        var test = try prepared(user: "syscall", vendor: vendor)
        test.enterUser()
        test.machine.cpu.cs = 0x23
        if vendor == .intel {
            let fault = test.fault()
            #expect(fault == Fault(Vector.invalidOpcode))
        } else {
            #expect(test.step() == .next)
            #expect(test.rip == TestMachine.handler + 1)
        }
    }

    static let widths: [(text: String, cs: UInt16, rip: UInt64)] = [
        ("sysretq", 0x33, TestMachine.userCode), ("sysretl", 0x23, TestMachine.userCode),
    ]

    @Test(arguments: widths)
    func sysret(_ row: (text: String, cs: UInt16, rip: UInt64)) throws {
        var test = try prepared(row.text)
        test.machine.cpu[.rcx] = TestMachine.userCode | (row.text == "sysretl" ? 0xABCD_0000_0000_0000 : 0)
        test.machine.cpu[.r11] = .max & ~Flags.trap
        test.machine.cpu.nmiBlocked = true
        let rsp = test.machine.cpu[.rsp]
        #expect(test.step() == .returned(frame: 0))
        #expect(test.rip == row.rip)
        #expect(test.machine.cpu.cs == row.cs && test.machine.cpu.ss == 0x2b && test.machine.cpu.cpl == 3)
        #expect(
            test.machine.cpu.flags == 0x3C_7ED7 | Flags.alwaysOne,
            "neither RF nor VM nor reserved bits, and TF was clear")
        #expect(test.machine.cpu[.rsp] == rsp)
        #expect(test.machine.cpu.nmiBlocked, "only IRET unblocks NMIs")
        #expect(test.machine.interruptsWereEnabledAtReturn)
    }

    /// AMD loads the selector of SS only: what a null one left there stays (APM vol. 3, SYSRET).
    @Test(arguments: [ProcessorTraits.Vendor.intel, .amd], [0, 0x18] as [UInt16])
    func sysretWithNullStackSegment(_ vendor: ProcessorTraits.Vendor, _ before: UInt16) throws {
        var test = try prepared("sysretl", vendor: vendor)
        test.machine.cpu[.rcx] = TestMachine.userCode
        test.machine.cpu.ss = before
        #expect(test.step() == .returned(frame: 0))
        #expect(test.machine.cpu.ss == 0x2b)
        #expect(test.machine.cpu.hasUnusableStack == (vendor == .amd && before == 0))
    }

    /// Intel checks in the kernel, on the user's stack; AMD switches first (CVE-2006-0744).
    @Test(arguments: [ProcessorTraits.Vendor.intel, .amd])
    func sysretToAnAddressThatIsNotCanonical(_ vendor: ProcessorTraits.Vendor) throws {
        var test = try prepared("sysretq", vendor: vendor)
        test.machine.cpu[.rcx] = 0x8000_0000_0000
        test.machine.cpu[.r11] = Flags.interrupt
        if vendor == .amd {
            #expect(test.step() == .returned(frame: 0))
            #expect(test.machine.cpu.cpl == 3)
        }
        let fault = test.fault()
        #expect(fault == .generalProtection())
        #expect(test.machine.cpu.cpl == (vendor == .amd ? 3 : 0))
        #expect(test.rip == (vendor == .amd ? 0x8000_0000_0000 : TestMachine.code))
    }

    @Test func sysenter() throws {
        var test = try prepared(user: "sysenter")
        test.enterUser()
        test.machine.cpu.flags |= Flags.carry | Flags.alignmentCheck
        #expect(test.step() == .next)
        #expect(test.machine.cpu.flags == Flags.alwaysOne | Flags.carry | Flags.alignmentCheck)
        #expect(test.machine.cpu.cs == 0x10 && test.machine.cpu.ss == 0x18 && test.machine.cpu.cpl == 0)
        #expect(test.machine.cpu[.rsp] == TestMachine.stackTop - 0x40 && test.rip == TestMachine.handler + 2)
    }

    @Test(arguments: [0, 3, 0x1_0000] as [UInt64])
    func sysenterWithoutASegment(_ selector: UInt64) throws {
        var test = try prepared("sysexitq", user: "sysenter")
        test.machine.cpu.sysenterCS = selector
        let exit = test.fault()
        #expect(exit == .generalProtection())
        test.enterUser()
        let enter = test.fault()
        #expect(enter == .generalProtection())
    }

    static let exits: [(text: String, cs: UInt16, ss: UInt16)] = [("sysexitq", 0x33, 0x3b), ("sysexitl", 0x23, 0x2b)]

    @Test(arguments: exits)
    func sysexit(_ row: (text: String, cs: UInt16, ss: UInt16)) throws {
        var test = try prepared(row.text)
        let extra: UInt64 = row.text == "sysexitl" ? 0xABCD_0000_0000_0000 : 0
        test.machine.cpu[.rdx] = TestMachine.userCode | extra
        test.machine.cpu[.rcx] = 0x1234_5670 | extra
        let flags = test.machine.cpu.flags
        #expect(test.step() == .returned(frame: 0))
        #expect(test.rip == TestMachine.userCode && test.machine.cpu[.rsp] == 0x1234_5670)
        #expect(test.machine.cpu.cs == row.cs && test.machine.cpu.ss == row.ss && test.machine.cpu.cpl == 3)
        #expect(test.machine.cpu.flags == flags)
    }

    @Test(arguments: [Register.rcx, .rdx])
    func sysexitToAnAddressThatIsNotCanonical(_ register: Register) throws {
        var test = try prepared("sysexitq")
        test.machine.cpu[register] = TestMachine.notCanonical
        let fault = test.fault()
        #expect(fault == .generalProtection())
    }

    /// Under Xen no instruction of the guest reaches CPL 0.
    @Test(arguments: ["syscall", "sysenter"])
    func underXen(_ text: String) throws {
        var test = try TestMachine(user: text, traits: ProcessorTraits(vendor: .intel, isParavirtual: true))
        test.enterUser()
        test.machine.cpu.sysenterCS = 0x10
        test.machine.cpu.lstar = TestMachine.handler
        #expect(test.step() == (text == "syscall" ? .paravirtualSyscall : .paravirtualSysenter))
        #expect(test.rip == TestMachine.userCode + 2)
        #expect(test.machine.cpu.cpl == 3)
    }
}

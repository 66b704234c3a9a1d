import Testing

@testable import Machine

/// IRET in 64-bit mode (SDM vol. 2, IRET/IRETD/IRETQ).
@Suite struct InterruptReturnTests {
    struct Frame: Sendable, CustomTestStringConvertible {
        var rip: UInt64 = TestMachine.userCode
        var cs: UInt64 = 0x33
        var flags: UInt64 = Flags.alwaysOne | Flags.interrupt
        var rsp: UInt64 = TestMachine.user + 0x800
        var ss: UInt64 = 0x2b
        /// nil: it returns.
        var fault: Fault?
        var isUser = false
        var words: [UInt64] { [rip, cs, flags, rsp, ss] }
        var testDescription: String {
            words.map { String($0, radix: 16) }.joined(separator: " ") + (isUser ? " in user mode" : "")
        }
    }

    private static let kernel = TestMachine.handler
    static let frames: [Frame] = [
        Frame(), Frame(rip: kernel, cs: 0x10, ss: 0x18), Frame(rip: kernel, cs: 0x10, ss: 0), Frame(cs: 0x23),
        // CS: null, beyond the table, empty, data, RPL against CPL and DPL, not present.
        Frame(cs: 0, fault: .generalProtection()), Frame(cs: 3, fault: .generalProtection()),
        Frame(cs: 0x7ff3, fault: .generalProtection(0x7ff0)),
        Frame(cs: 0x7b, fault: .generalProtection(0x78)), Frame(cs: 0x2b, fault: .generalProtection(0x28)),
        Frame(cs: 0xF, fault: .generalProtection(0xC)),
        Frame(cs: 0x13, fault: .generalProtection(0x10)), Frame(cs: 0x30, fault: .generalProtection(0x30)),
        Frame(cs: 0x3b, fault: Fault(11, errorCode: 0x38)),
        Frame(rip: kernel, cs: 0x10, ss: 0x18, fault: .generalProtection(0x10), isUser: true),
        // SS: null where it must not be, RPL, code, read-only, DPL, not present, beyond the tables.
        Frame(ss: 0, fault: .generalProtection()), Frame(ss: 3, fault: .generalProtection()),
        Frame(cs: 0x23, ss: 3, fault: .generalProtection()),
        Frame(rip: kernel, cs: 0x10, ss: 1, fault: .generalProtection()),
        Frame(ss: 0x28, fault: .generalProtection(0x28)),
        Frame(ss: 0x33, fault: .generalProtection(0x30)), Frame(ss: 0x4b, fault: .generalProtection(0x48)),
        Frame(ss: 0x1b, fault: .generalProtection(0x18)),
        Frame(ss: 0x43, fault: Fault(12, errorCode: 0x40)), Frame(ss: 0x7fff, fault: .generalProtection(0x7ffc)),
        Frame(ss: 0x47, fault: .generalProtection(0x44)),
        Frame(rip: kernel, cs: 0x10, ss: 0x1b, fault: .generalProtection(0x18)),
        Frame(rip: kernel, cs: 0x10, ss: 0x50, fault: Fault(12, errorCode: 0x50)),
        // RIP last of all; bits above the selectors do not matter.
        Frame(rip: TestMachine.notCanonical, fault: .generalProtection()),
        Frame(rip: 0x8000_0000_0000, fault: .generalProtection()),
        Frame(rip: TestMachine.notCanonical, ss: 0x28, fault: .generalProtection(0x28)),
        Frame(rip: 0x1_0000_0000, cs: 0x23, fault: .generalProtection()),
        Frame(cs: 0x1_0000_0033, ss: 0xABCD_002b), Frame(cs: 0x2b, ss: 0x28, fault: .generalProtection(0x28)),
        Frame(isUser: true), Frame(cs: 0x23, isUser: true),
    ]

    @Test(arguments: frames)
    func checks(_ frame: Frame) throws {
        var test = try TestMachine("iretq", user: "iretq")
        if frame.isUser { test.enterUser() }
        test.machine.cpu.nmiBlocked = true
        let rsp = test.machine.cpu[.rsp]
        test.write(frame.words, at: rsp)
        if let expected = frame.fault {
            let fault = test.fault()
            #expect(fault == expected)
        } else {
            #expect(test.step() == .returned(frame: rsp))
            #expect(test.rip == frame.rip)
            #expect(
                test.machine.cpu.cs == UInt16(truncatingIfNeeded: frame.cs)
                    && test.machine.cpu.ss == UInt16(truncatingIfNeeded: frame.ss))
            #expect(test.machine.cpu.cpl == UInt8(frame.cs & 3))
            #expect(test.machine.cpu[.rsp] == (frame.cs == 0x23 ? frame.rsp & 0xFFFF_FFFF : frame.rsp))
        }
        // Faulting or not (SDM vol. 3, 6.7.1).
        #expect(!test.machine.cpu.nmiBlocked)
    }

    @Test func nestedTaskFaultsAndStillUnblocksNMIs() throws {
        var test = try TestMachine("iretq")
        test.write(Frame().words, at: test.machine.cpu[.rsp])
        test.machine.cpu.flags |= Flags.nestedTask
        test.machine.cpu.nmiBlocked = true
        let fault = test.fault()
        #expect(fault == .generalProtection())
        #expect(!test.machine.cpu.nmiBlocked)
    }

    @Test func aFrameThatCannotBeRead() throws {
        var test = try TestMachine("iretq")
        test.machine.cpu[.rsp] = TestMachine.stackTop - 16
        test.machine.cpu.nmiBlocked = true
        test.machine.cpu.flags &= ~Flags.interrupt
        let fault = test.fault()
        #expect(fault == Fault(14, errorCode: 0, address: TestMachine.stackTop))
        #expect(!test.machine.cpu.nmiBlocked)
        #expect(!test.machine.interruptsWereEnabledAtReturn)
    }

    /// Which flags it loads: all from CPL 0, neither IOPL nor IF from CPL 3, IF again with IOPL 3.
    static let flagRows: [(cpl: UInt8, before: UInt64, after: UInt64)] = [
        (0, 0, Flags.loadable), (3, 0, Flags.loadable & ~(Flags.iopl | Flags.interrupt)),
        (3, Flags.iopl, Flags.loadable),
    ]

    @Test(arguments: flagRows)
    func flags(_ row: (cpl: UInt8, before: UInt64, after: UInt64)) throws {
        var test = try TestMachine("iretq", user: "iretq")
        if row.cpl == 3 { test.enterUser() }
        var frame = Frame()
        frame.flags = .max
        test.write(frame.words, at: test.machine.cpu[.rsp])
        test.machine.cpu.flags = Flags.alwaysOne | row.before
        test.step()
        #expect(test.machine.cpu.flags == Flags.alwaysOne | row.after)
        #expect(test.machine.interruptsWereEnabledAtReturn == false)
    }

    /// F31: a 16-bit stack gets the low word; the rest of RSP stays the kernel's.
    static let stacks: [(cs: UInt64, ss: UInt64, result: UInt64)] = [
        (0x23, 7, (TestMachine.stackTop - 0x100 + 40) & ~0xFFFF | 0x6789), (0x33, 7, 0x1234_5678_6789),
        (0x23, 0x2b, 0x5678_6789), (0x33, 0x2b, 0x1234_5678_6789),
    ]

    @Test(arguments: stacks)
    func stackPointer(_ row: (cs: UInt64, ss: UInt64, result: UInt64)) throws {
        var test = try TestMachine("iretq")
        test.write([TestMachine.userCode, row.cs, 2, 0x1234_5678_6789, row.ss], at: test.machine.cpu[.rsp])
        test.step()
        #expect(test.machine.cpu[.rsp] == row.result)
    }

    @Test func of32Bits() throws {
        var test = try TestMachine("iretl")
        let rsp = test.machine.cpu[.rsp]
        let words: [UInt64] = [TestMachine.userCode, 0x33, Flags.interrupt | Flags.identification, 0x8765_4321, 0x2b]
        for (index, word) in words.enumerated() { test.poke(rsp + UInt64(index) * 4, word, 4) }
        #expect(test.step() == .returned(frame: rsp))
        #expect(test.rip == TestMachine.userCode && test.machine.cpu[.rsp] == 0x8765_4321 && test.machine.cpu.cpl == 3)
        #expect(test.machine.cpu.flags == Flags.alwaysOne | Flags.interrupt | Flags.identification)
    }

    /// A 16-bit IRET leaves the upper half of EFLAGS alone.
    @Test func of16Bits() throws {
        var test = try TestMachine("iretw")
        let rsp = test.machine.cpu[.rsp]
        for (index, word) in [0x1000, 0x33, Flags.carry, 0x4000, 0x2b].enumerated() {
            test.poke(rsp + UInt64(index) * 2, word, 2)
        }
        test.machine.cpu.flags |= Flags.identification | Flags.alignmentCheck | Flags.zero
        #expect(test.step() == .returned(frame: rsp))
        #expect(test.rip == 0x1000 && test.machine.cpu[.rsp] == 0x4000)
        #expect(test.machine.cpu.flags == Flags.alwaysOne | Flags.identification | Flags.alignmentCheck | Flags.carry)
    }

    /// Data segments of a more privileged level become null on the way out, others and null ones stay.
    @Test func dataSegmentsOnTheWayOut() throws {
        var test = try TestMachine("iretq")
        test.write(Frame().words, at: test.machine.cpu[.rsp])
        test.machine.cpu.ds = 0x18
        test.machine.cpu.es = 0x2b
        test.machine.cpu.fs = 0x10
        test.machine.cpu.gs = 3
        test.step()
        #expect(
            [test.machine.cpu.ds, test.machine.cpu.es, test.machine.cpu.fs, test.machine.cpu.gs] == [0, 0x2b, 0, 3])
        test = try TestMachine("iretq")
        test.write([TestMachine.handler, 0x10, 2, TestMachine.stackTop, 0x18], at: test.machine.cpu[.rsp])
        test.machine.cpu.ds = 0x18
        test.step()
        #expect(test.machine.cpu.ds == 0x18)
    }

    /// User mode that is sent to kernel code faults there, in user mode.
    @Test func toKernelCodeInUserMode() throws {
        var test = try TestMachine("iretq")
        var frame = Frame()
        frame.rip = TestMachine.handler
        test.write(frame.words, at: test.machine.cpu[.rsp])
        test.step()
        let fault = test.fault()
        #expect(fault == Fault(14, errorCode: 0x14, address: TestMachine.handler))
        #expect(test.machine.cpu.cpl == 3)
    }
}

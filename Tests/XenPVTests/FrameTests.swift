import Machine
import Testing

@testable import XenPV

/// The frames of facts F1 to F9, word for word.
@Suite struct FrameTests {
    static let breakpoint = Event(vector: 3, source: .software)

    /// The captured example of F2.
    @Test func theExample() throws {
        var guest = try TestGuest("int3\nnop")
        guest.machine.cpu[.rcx] = 0x1111_1111_1111_1111
        #expect(guest.step() == .softwareInterrupt(vector: 3))
        let frame = guest.frame(Self.breakpoint)
        #expect(frame == TestGuest.stack + 0xd40 - 56)
        #expect(
            guest.words(frame, 7) == [
                0x1111_1111_1111_1111 as UInt64, 0x2222_2222_2222_2222, TestGuest.code + 1, 0xe030, 0x282,
                0xffff_8880_0006_7d40, 0xe02b,
            ])
    }

    /// F1: old RSP and the place of SS.
    static let alignments: [(rsp: UInt64, ss: UInt64)] = [
        (0xd40, 0xd38), (0xd38, 0xd28), (0xd3c, 0xd28), (0xd48, 0xd38),
    ]

    @Test(arguments: alignments, [false, true])
    func alignment(_ row: (rsp: UInt64, ss: UInt64), _ hasErrorCode: Bool) throws {
        var guest = try TestGuest()
        guest.machine.cpu[.rsp] = TestGuest.stack + row.rsp
        guest.write([0x5A5A], at: TestGuest.stack + row.ss + 8)
        let event = Event(vector: hasErrorCode ? 13 : 6, source: .fault, errorCode: 0x50)
        let frame = guest.frame(event)
        let count = hasErrorCode ? 8 : 7
        #expect(frame + UInt64(count - 1) * 8 == TestGuest.stack + row.ss)
        #expect(guest.machine.cpu[.rsp] == frame)
        // F1: the stub's RSP % 16 is 8 without an error code and 0 with one.
        #expect(frame % 16 == (hasErrorCode ? 0 : 8))
        let words = guest.words(frame, count)
        #expect(words[count - 2] == TestGuest.stack + row.rsp && words[count - 1] == 0xe02b)
        if hasErrorCode { #expect(words[2] == 0x50) }
        #expect(guest.words(TestGuest.stack + row.ss + 8, 1) == [0x5A5A], "the padding is not touched")
        let slots: [FrameSlot] = [.rcx, .r11] + (hasErrorCode ? [.errorCode] : []) + [.rip, .cs, .rflags, .rsp, .ss]
        let owners = slots.indices.map { guest.machine.memory.owner(at: frame + UInt64($0) * 8) }
        #expect(owners == slots.map { Owner(.hardwareFrame, slot: $0.rawValue, activation: 2) })
    }

    /// F4: the old mask in CS and IF, the new one by the row's flag, never cleared.
    @Test(arguments: [false, true], [false, true])
    func eventMask(_ wasMasked: Bool, _ masks: Bool) throws {
        var guest = try TestGuest()
        guest.setMasked(wasMasked)
        guest.xen.trapTable[3]?.masksEvents = masks
        let frame = guest.frame(Self.breakpoint)
        #expect(guest.words(frame + 24, 2) == (wasMasked ? [0x1_0000_e030, 0x82] : [0xe030, 0x282]))
        #expect(guest.isMasked == (wasMasked || masks))
        #expect(guest.machine.cpu.flags & Flags.interrupt != 0, "the live IF is always 1")
    }

    /// F5: RCX is the stub, R11 the live flags, everything else the guest's.
    @Test func registersAtTheStub() throws {
        var guest = try TestGuest()
        for register in Register.general where ![.rcx, .r11, .rsp].contains(register) {
            guest.machine.cpu[register] = 0x100 + UInt64(register.rawValue)
        }
        _ = guest.frame(Self.breakpoint)
        #expect(guest.machine.cpu[.rcx] == TestGuest.handler && guest.rip == TestGuest.handler)
        #expect(guest.machine.cpu[.r11] == guest.machine.cpu.flags)
        for register in Register.general where ![.rcx, .r11, .rsp].contains(register) {
            #expect(guest.machine.cpu[register] == 0x100 + UInt64(register.rawValue))
        }
        #expect(guest.machine.cpu.cs == 0xe033 && guest.machine.cpu.ss == 0xe02b && guest.machine.cpu.cpl == 3)
    }

    /// F6: from user mode at the top of the kernel stack, GS base and page tables the kernel's.
    @Test(arguments: [0x33, 0x23] as [UInt16], [0, 5] as [UInt64])
    func fromUserMode(_ selector: UInt16, _ offset: UInt64) throws {
        var guest = try TestGuest()
        guest.enterUser()
        guest.machine.cpu.cs = selector
        guest.xen.kernelStack = TestGuest.kernelTop - 16 + offset
        #expect(guest.machine.cpu.gsBase == 0xBBBB && guest.machine.cpu.userPageTables)
        let frame = guest.frame(Self.breakpoint)
        #expect(frame == TestGuest.kernelTop - 16 - 56)
        let words: [UInt64] = [TestGuest.userCode, UInt64(selector), 0x282, TestGuest.user + 0x800, 0x2b]
        #expect(guest.words(frame + 16, 5) == words)
        #expect(guest.machine.cpu.gsBase == 0xAAAA && guest.machine.cpu.kernelGSBase == 0xBBBB)
        #expect(
            !guest.machine.cpu.userPageTables && guest.machine.cpu.guestKernelMode && guest.machine.cpu.cs == 0xe033)
    }

    /// F22, F40: what the live flags lose and the frame keeps; RF marks a fault.
    static let sources: [(event: Event, showsRF: Bool)] = [
        (Event(vector: 3, source: .software), false), (Event(vector: 6, source: .fault), true),
        (Event(vector: 1, source: .trap), false),
        (Event(vector: 0x20, source: .external), false), (Event(vector: 2, source: .nmi), false),
    ]

    @Test(arguments: sources.indices)
    func flags(_ index: Int) throws {
        let (event, showsRF) = Self.sources[index]
        var guest = try TestGuest()
        let extra =
            Flags.alignmentCheck | Flags.nestedTask | Flags.trap | Flags.direction | Flags.carry | Flags.identification
        guest.machine.cpu.flags = Flags.alwaysOne | Flags.interrupt | extra
        let frame = guest.frame(event)
        #expect(guest.words(frame + 32, 1) == [0x202 | extra | (showsRF ? Flags.resume : 0)])
        let kept = Flags.direction | Flags.carry | Flags.identification
        #expect(guest.machine.cpu.flags == 0x202 | kept)
    }

    /// F9: U of a page fault's error code says guest user mode, whatever the processor said; CR2 goes to vcpu_info.
    @Test(arguments: [false, true], [2, 6] as [UInt32])
    func pageFault(_ isUser: Bool, _ code: UInt32) throws {
        var guest = try TestGuest()
        if isUser { guest.enterUser() }
        let event = Event(vector: 14, source: .fault, errorCode: isUser ? 6 : code, address: 0x7777)
        let frame = guest.frame(event)
        #expect(guest.words(frame + 16, 1) == [isUser ? 6 : 2])
        #expect(guest.words(TestGuest.vcpuInfo + 16, 1) == [0x7777])
        #expect(guest.machine.cpu.cr2 == 0x7777)
    }

    /// F38: an NMI with events masked; it stays masked until the iret hypercall.
    @Test func nmi() throws {
        var guest = try TestGuest()
        guest.setMasked(true)
        let frame = guest.frame(Event(vector: 2, source: .nmi))
        #expect(guest.words(frame + 24, 1) == [0x1_0000_e030])
        #expect(guest.xen.nmiMasked && !guest.machine.cpu.nmiBlocked)
        _ = guest.iret([0, 0, 0, 0, TestGuest.code, 0xe030, 0x282, TestGuest.stackTop, 0xe02b])
        #expect(!guest.xen.nmiMasked)
    }

    @Test func debugStatus() throws {
        var guest = try TestGuest()
        _ = guest.frame(Event(vector: 1, source: .trap, debugBits: 0x4000))
        #expect(guest.machine.cpu.dr6 == 0xFFFF_4FF0)
    }

    // MARK: Crashes (F20)

    @Test(arguments: [false, true], [3, 13, 8] as [UInt8])
    func unhandledVector(_ isUser: Bool, _ vector: UInt8) throws {
        var guest = try TestGuest()
        if isUser { guest.enterUser() }
        guest.xen.trapTable[Int(vector)] = nil
        let event = Event(vector: vector, source: vector == 3 ? .software : .fault, errorCode: 0x18)
        let expected = DomainCrash(
            reason: .unhandledVector, vector: vector, errorCode: vector == 3 ? .max : 0x18,
            address: isUser ? TestGuest.userCode : TestGuest.code)
        #expect(guest.deliver(event) == .crashed(expected))
        guest.xen.trapTable[Int(vector)] = TrapTableEntry(address: 0, privilege: 3, masksEvents: true)
        #expect(guest.deliver(event) == .crashed(expected))
    }

    @Test(arguments: [false, true])
    func aFrameThatCannotBeWritten(_ isUser: Bool) throws {
        var guest = try TestGuest()
        if isUser {
            guest.enterUser()
            guest.xen.kernelStack = TestGuest.unmapped
        } else {
            // The second half of the frame falls on the missing page.
            guest.machine.cpu[.rsp] = TestGuest.stack + 0x20
        }
        guard case .crashed(let crash) = guest.deliver(Event(vector: 6, source: .fault)) else {
            Issue.record("delivered")
            return
        }
        #expect(crash.reason == .frameNotWritable && crash.vector == 6 && crash.errorCode == .max)
    }

    // MARK: Software interrupts

    struct Software: Sendable, CustomTestStringConvertible {
        var vector: UInt8
        var privilege: UInt8?
        var isUser: Bool
        var isAllowed: Bool
        var testDescription: String { "int \(vector), DPL \(privilege.map(String.init) ?? "none"), user \(isUser)" }
    }

    /// Xen's `permit_softint` with vectors 3 and 4 always open, and 0x80 wherever a row exists.
    static let software: [Software] = [
        Software(vector: 3, privilege: 0, isUser: true, isAllowed: true),
        Software(vector: 4, privilege: 0, isUser: true, isAllowed: true),
        Software(vector: 0x80, privilege: 0, isUser: true, isAllowed: true),
        Software(vector: 0x80, privilege: nil, isUser: true, isAllowed: false),
        Software(vector: 0x81, privilege: 3, isUser: true, isAllowed: true),
        Software(vector: 0x81, privilege: 2, isUser: true, isAllowed: false),
        Software(vector: 0x81, privilege: 0, isUser: true, isAllowed: false),
        Software(vector: 14, privilege: 0, isUser: true, isAllowed: false),
        Software(vector: 0x81, privilege: nil, isUser: true, isAllowed: false),
        Software(vector: 0x81, privilege: 0, isUser: false, isAllowed: false),
        Software(vector: 0x81, privilege: 1, isUser: false, isAllowed: true),
        Software(vector: 13, privilege: 3, isUser: true, isAllowed: true),
    ]

    @Test(arguments: software)
    func softwareInterrupt(_ item: Software) throws {
        let text = item.vector == 3 ? "int3" : "int $\(item.vector)"
        var guest = try TestGuest("nop\n\(text)", user: "nop\n\(text)")
        if item.isUser { guest.enterUser() }
        guest.xen.trapTable[Int(item.vector)] = item.privilege.map {
            TrapTableEntry(address: TestGuest.handler, privilege: $0, masksEvents: false)
        }
        guest.step()
        let start = guest.rip
        #expect(guest.step() == .softwareInterrupt(vector: item.vector))
        let end = guest.rip
        guard case .entered(let event, let frame) = guest.deliver(Event(vector: item.vector, source: .software)) else {
            Issue.record("crashed")
            return
        }
        if item.isAllowed {
            #expect(event.vector == item.vector && !event.pushesErrorCode)
            #expect(guest.words(frame + 16, 1) == [end])
            let isEmulated = ![3, 4, 0x80].contains(item.vector)
            #expect((guest.words(frame + 32, 1)[0] & Flags.resume != 0) == isEmulated)
        } else {
            #expect(event == Event(vector: 13, source: .fault, errorCode: UInt32(item.vector) * 8 + 2))
            #expect(guest.words(frame + 16, 2) == [UInt64(item.vector) * 8 + 2, start])
        }
    }
}

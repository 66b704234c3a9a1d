import Machine
import Testing

@testable import XenPV

/// SYSCALL, the event upcall and the failsafe callback.
@Suite struct CallbackTests {
    /// F7, F22: RCX is RIP, R11 the flags, the selectors Xen's flat ones; DF is cleared here only.
    @Test func syscall() throws {
        var guest = try TestGuest(user: "syscall\nnop")
        guest.enterUser()
        guest.machine.cpu.flags = 0x202 | Flags.direction | Flags.carry | Flags.trap
        guest.xen.syscallCallback = TestGuest.handler
        #expect(guest.step() == .paravirtualSyscall)
        guard case .entered(_, let frame) = guest.xen.deliverSyscall(activation: 2, &guest.machine, guest.program)
        else {
            Issue.record("crashed")
            return
        }
        let flags = 0x202 | Flags.direction | Flags.carry | Flags.trap
        let rip = TestGuest.userCode + 2
        #expect(frame == TestGuest.kernelTop - 56)
        #expect(guest.words(frame, 7) == [rip, flags, rip, 0xe033, flags, TestGuest.user + 0x800, 0xe02b])
        #expect(guest.machine.cpu.flags == 0x202 | Flags.carry)
        #expect(guest.machine.cpu[.rcx] == TestGuest.handler && guest.machine.cpu[.r11] == guest.machine.cpu.flags)
        #expect(guest.isMasked && guest.machine.cpu.guestKernelMode && guest.machine.cpu.gsBase == 0xAAAA)
        #expect(guest.machine.cpu.pendingDebug == 0, "Xen's flag mask drops TF before a trap")
    }

    /// SYSCALL from 32-bit code: the same with Xen's 32-bit code selector.
    @Test func syscall32() throws {
        var guest = try TestGuest(user: "syscall\nnop")
        guest.enterUser()
        guest.machine.cpu.cs = 0x23
        guest.machine.cpu.flags = 0x202 | Flags.direction | Flags.carry
        guest.xen.syscall32Callback = TestGuest.handler
        #expect(guest.step() == .paravirtualSyscall)
        guest.machine.cpu.pendingDebug = 1
        guard case .entered(_, let frame) = guest.xen.deliverSyscall32(activation: 2, &guest.machine, guest.program)
        else {
            Issue.record("crashed")
            return
        }
        let flags = 0x202 | Flags.direction | Flags.carry
        let rip = TestGuest.userCode + 2
        #expect(guest.words(frame, 7) == [rip, flags, rip, 0xe023, flags, TestGuest.user + 0x800, 0xe02b])
        #expect(guest.machine.cpu.flags & Flags.direction == 0)
        #expect(guest.machine.cpu.pendingDebug == 0, "a trap that MOV SS postponed ends in Xen")
        #expect(guest.rip == TestGuest.handler && guest.isMasked)
    }

    /// SYSENTER: RIP and RSP are lost, CS is null with RPL 3; RCX and R11 are in the frame only.
    @Test func sysenter() throws {
        var guest = try TestGuest(user: "sysenter\nnop")
        guest.enterUser()
        guest.machine.cpu.flags = 0x202 | Flags.direction | Flags.alignmentCheck | Flags.trap
        guest.xen.sysenterCallback = TestGuest.handler + 1
        #expect(guest.step() == .paravirtualSysenter)
        #expect(guest.machine.cpu.pendingDebug == 0)
        guard case .entered(_, let frame) = guest.xen.deliverSysenter(activation: 2, &guest.machine, guest.program)
        else {
            Issue.record("crashed")
            return
        }
        let flags = 0x202 | Flags.direction | Flags.alignmentCheck | Flags.trap
        #expect(
            guest.words(frame, 7) == [0x1111_1111_1111_1111, 0x2222_2222_2222_2222, 0, 3, flags, 0, 0xe02b])
        #expect(frame == TestGuest.kernelTop - 56)
        #expect(guest.machine.cpu.flags == 0x202 | Flags.direction)
        #expect(guest.rip == TestGuest.handler + 1 && guest.isMasked && guest.machine.cpu.guestKernelMode)
    }

    /// F39: selectors whose descriptors are gone are null when the callback runs, the others stay.
    @Test(arguments: [false, true])
    func failedSelectors(_ isUser: Bool) throws {
        var guest = try TestGuest()
        if isUser { guest.enterUser() }
        guest.machine.cpu.ds = 0x2b
        guest.machine.cpu.es = 0x63
        guest.machine.cpu.gs = 0x0f
        guest.xen.failsafeCallback = TestGuest.handler
        guard
            case .entered(_, let frame) = guest.xen.deliverFailedSelectors(
                activation: 2, &guest.machine, guest.program)
        else {
            Issue.record("crashed")
            return
        }
        #expect(guest.words(frame, 6) == [0x1111_1111_1111_1111, 0x2222_2222_2222_2222, 0x2b, 0x63, 0, 0x0f])
        #expect(guest.machine.cpu.dataSelectors == 0x2b)
        #expect(frame == (isUser ? TestGuest.kernelTop : TestGuest.stack + 0xd40) - 88)
    }

    /// F8: seven words, no error code; DF stays.
    @Test(arguments: [false, true])
    func upcall(_ isUser: Bool) throws {
        var guest = try TestGuest()
        if isUser { guest.enterUser() }
        guest.machine.cpu.flags |= Flags.direction
        guest.xen.eventCallback = TestGuest.handler + 1
        guard case .entered(_, let frame) = guest.xen.deliverUpcall(activation: 2, &guest.machine, guest.program) else {
            Issue.record("crashed")
            return
        }
        let top = isUser ? TestGuest.kernelTop : TestGuest.stack + 0xd40
        #expect(frame == top - 56)
        let words: [UInt64] =
            isUser
            ? [TestGuest.userCode, 0x33, 0x282 | Flags.direction, TestGuest.user + 0x800, 0x2b]
            : [TestGuest.code, 0xe030, 0x282 | Flags.direction, TestGuest.stack + 0xd40, 0xe02b]
        #expect(guest.words(frame, 7) == [0x1111_1111_1111_1111, 0x2222_2222_2222_2222] + words)
        #expect(guest.isMasked && guest.machine.cpu.flags & Flags.direction != 0)
        #expect(guest.rip == TestGuest.handler + 1)
    }

    /// F39: the captured frame; RCX and R11 stay the guest's own.
    @Test func failsafe() throws {
        var guest = try TestGuest()
        guest.machine.cpu.ds = 0x63
        guest.machine.cpu.es = 0x64
        guest.machine.cpu.fs = 0x65
        guest.machine.cpu.gs = 0x66
        guest.machine.cpu[.rsp] = TestGuest.stack + 0xd38
        guest.xen.failsafeCallback = TestGuest.handler
        guard case .entered(_, let frame) = guest.xen.deliverFailsafe(activation: 2, &guest.machine, guest.program)
        else {
            Issue.record("crashed")
            return
        }
        #expect(frame == TestGuest.stack + 0xd30 - 88)
        #expect(
            guest.words(frame, 11) == [
                0x1111_1111_1111_1111, 0x2222_2222_2222_2222, 0x63, 0x64, 0x65, 0x66, TestGuest.code, 0xe030, 0x282,
                TestGuest.stack + 0xd38, 0xe02b,
            ])
        #expect(guest.machine.cpu[.rcx] == 0x1111_1111_1111_1111 && guest.machine.cpu[.r11] == 0x2222_2222_2222_2222)
        #expect(guest.machine.cpu.cs == 0xe033 && guest.rip == TestGuest.handler && guest.isMasked)
        let slots = (0..<11).map { guest.machine.memory.owner(at: frame + UInt64($0) * 8)?.slot }
        let names: [FrameSlot] = [.rcx, .r11, .ds, .es, .fs, .gs, .rip, .cs, .rflags, .rsp, .ss]
        #expect(slots == names.map(\.rawValue))
    }

    @Test func callbacksThatAreMissing() throws {
        var guest = try TestGuest()
        guest.xen.quirks = [.confusesSyscallCallbacks]
        let expected = GuestDelivery.crashed(
            DomainCrash(reason: .missingCallback, vector: 0, errorCode: .max, address: TestGuest.code))
        let results = [
            guest.xen.deliverUpcall(activation: 2, &guest.machine, guest.program),
            guest.xen.deliverSyscall(activation: 2, &guest.machine, guest.program),
            guest.xen.deliverFailsafe(activation: 2, &guest.machine, guest.program),
        ]
        #expect(results == [expected, expected, expected])
    }

    /// SYSCALL and SYSENTER without callback: vector, whether the call is one of 32-bit code, RIP, CS.
    static let refusals: [(call: Int, vector: UInt8, rip: UInt64, cs: UInt64)] = [
        (0, 6, TestGuest.userCode, 0xe033), (1, 6, TestGuest.userCode, 0xe023), (2, 13, 0, 3),
    ]

    @Test(arguments: refusals)
    func refusal(_ row: (call: Int, vector: UInt8, rip: UInt64, cs: UInt64)) throws {
        for quirks in [[], [.injectsRefusalsByHand], [.latchesRefusals]] as [Set<Quirk>] {
            var guest = try TestGuest(user: "syscall\nnop")
            guest.enterUser()
            guest.machine.cpu.flags |= Flags.direction
            let flags = guest.machine.cpu.flags
            #expect(guest.step() == .paravirtualSyscall)
            guest.setMasked(false)
            guest.xen.quirks = quirks
            let delivery =
                switch row.call {
                case 0: guest.xen.deliverSyscall(activation: 2, &guest.machine, guest.program)
                case 1: guest.xen.deliverSyscall32(activation: 2, &guest.machine, guest.program)
                default: guest.xen.deliverSysenter(activation: 2, &guest.machine, guest.program)
                }
            guard case .entered(let event, let frame) = delivery else {
                Issue.record("\(delivery)")
                continue
            }
            #expect(event.vector == row.vector && event.source == .fault && event.errorCode == 0)
            let isByHand = quirks.contains(.injectsRefusalsByHand)
            let words = guest.words(frame + (row.vector == 13 ? 24 : 16), 3)
            #expect(words[0] == row.rip + (isByHand && row.vector == 6 ? 2 : 0))
            #expect(words[1] == row.cs)
            // Neither RF nor a change of DF.
            #expect(words[2] == flags)
            #expect(guest.isMasked == !isByHand)
            let latched = guest.xen.takeLatched()
            #expect(latched == (quirks.contains(.latchesRefusals) ? event : nil))
            #expect(guest.xen.takeLatched() == nil)
        }
    }

    @Test func nmisInMachineChecks() throws {
        var guest = try TestGuest()
        let nmi = Event(vector: 2, source: .nmi)
        guest.xen.quirks = [.holdsNMIsInMachineChecks]
        guest.deliver(Event(vector: 18, source: .trap))
        #expect(guest.deliver(nmi) == .held(nmi))
        #expect(!guest.xen.nmiMasked)
        _ = guest.iret([0, 0, 0, 0, TestGuest.code, 0xe030, 0x202, TestGuest.stack + 0xd40, 0xe02b])
        #expect(guest.deliver(nmi) != .held(nmi))
    }
}

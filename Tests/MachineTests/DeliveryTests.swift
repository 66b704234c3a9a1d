import Testing

@testable import Machine

/// Delivery on bare metal (SDM vol. 3, 6.12 and 6.14).
@Suite struct DeliveryTests {
    static func prepared(_ text: String = "nop", user: String = "nop", vendor: ProcessorTraits.Vendor = .intel) throws
        -> TestMachine
    {
        var test = try TestMachine(text, user: user, traits: ProcessorTraits(vendor: vendor))
        for vector in 0..<256 {
            test.machine.idt[vector] = Gate(offset: TestMachine.handler, isPresent: true)
        }
        return test
    }

    static func enter(_ test: inout TestMachine, _ event: Event, sourceLocation: SourceLocation = #_sourceLocation)
        -> UInt64
    {
        guard case .entered(let delivered, let frame) = test.machine.deliver(event, activation: 2, test.program) else {
            Issue.record("triple fault", sourceLocation: sourceLocation)
            return 0
        }
        #expect(delivered == event, sourceLocation: sourceLocation)
        return frame
    }

    /// Where SS lands for each RSP (F1): align down to 16, then one word.
    @Test(arguments: [0, 4, 8, 12, 15] as [UInt64], [Vector.invalidOpcode, Vector.generalProtection])
    func alignment(_ offset: UInt64, _ vector: UInt8) throws {
        var test = try Self.prepared()
        let rsp = TestMachine.stackTop - 0x100 + offset
        test.machine.cpu[.rsp] = rsp
        test.poke(TestMachine.stackTop - 0x100, 0xAAAA)
        let frame = Self.enter(&test, Event(vector: vector, source: .fault, errorCode: vector == 13 ? 0x50 : 0))
        let top = TestMachine.stackTop - 0x100
        let words: [UInt64] = [TestMachine.code, 0x10, Flags.alwaysOne | Flags.interrupt | Flags.resume, rsp, 0x18]
        let expected = vector == 13 ? [0x50] + words : words
        #expect(test.words(frame, expected.count) == expected)
        #expect(frame == top - UInt64(expected.count) * 8)
        #expect(test.machine.cpu[.rsp] == frame)
        #expect(test.peek(top) == 0xAAAA)
        let slots = expected.indices.map { test.machine.memory.owner(at: frame + UInt64($0) * 8)?.slot }
        let names: [FrameSlot] = [.rip, .cs, .rflags, .rsp, .ss]
        #expect(slots == (vector == 13 ? [FrameSlot.errorCode] + names : names).map(\.rawValue))
        #expect(test.machine.memory.owner(at: frame)?.activation == 2)
    }

    /// RF in the frame: faults set it, the rest shows what it was (SDM vol. 3, 17.3.1.1).
    static let sources: [(event: Event, showsRF: Bool)] = [
        (Event(vector: 6, source: .fault), true),
        (Event(vector: 14, source: .fault, errorCode: 2, address: 0x123), true),
        (Event(vector: 1, source: .trap, debugBits: 0x4000), false), (Event(vector: 1, source: .fault), false),
        (Event(vector: 3, source: .software), false), (Event(vector: 0x80, source: .software), false),
        (Event(vector: 0x20, source: .external), false), (Event(vector: 2, source: .nmi), false),
        (Event(vector: 18, source: .trap), false), (Event(vector: 8, source: .trap), false),
    ]

    @Test(arguments: sources.indices, [ProcessorTraits.Vendor.intel, .amd])
    func frameAndState(_ index: Int, _ vendor: ProcessorTraits.Vendor) throws {
        let (event, showsRF) = Self.sources[index]
        var test = try Self.prepared(vendor: vendor)
        let flags = Flags.loadable & ~Flags.resume | Flags.alwaysOne
        test.machine.cpu.flags = flags
        test.machine.cpu.stackShadow = true
        test.machine.cpu.interruptShadow = true
        let frame = Self.enter(&test, event)
        let base = frame + (event.pushesErrorCode ? 8 : 0)
        #expect(test.peek(base + 16) == flags | (showsRF ? Flags.resume : 0))
        #expect(event.pushesErrorCode == [8, 14].contains(event.vector))
        if event.pushesErrorCode { #expect(test.peek(frame) == UInt64(event.errorCode)) }
        let cleared = Flags.trap | Flags.nestedTask | Flags.resume | Flags.virtual8086 | Flags.interrupt
        #expect(test.machine.cpu.flags == flags & ~cleared)
        #expect(test.machine.cpu.cs == 0x10 && test.machine.cpu.ss == 0x18 && test.machine.cpu.cpl == 0)
        #expect(test.machine.cpu.nmiBlocked == (event.source == .nmi))
        #expect(test.machine.cpu.machineCheckInProgress == (event.vector == 18))
        #expect(test.machine.cpu.dr6 == (event.vector == 1 && event.debugBits != 0 ? 0xFFFF_4FF0 : 0xFFFF_0FF0))
        #expect(test.machine.cpu.cr2 == (event.vector == 14 ? 0x123 : 0))
        #expect(!test.machine.cpu.stackShadow && !test.machine.cpu.interruptShadow)
        #expect(test.rip == TestMachine.handler)
    }

    @Test func aTrapGateLeavesInterruptsOn() throws {
        var test = try Self.prepared()
        test.machine.idt[4].isInterruptGate = false
        _ = Self.enter(&test, Event(vector: 4, source: .external))
        #expect(test.machine.cpu.flags & Flags.interrupt != 0)
    }

    /// INT 2 is no NMI, INT 1 sets nothing in DR6, INT 14 pushes no error code and leaves CR2.
    @Test(arguments: [1, 2, 8, 14, 18] as [UInt8])
    func softwareInterruptsOfExceptionVectors(_ vector: UInt8) throws {
        var test = try Self.prepared()
        let frame = Self.enter(&test, Event(vector: vector, source: .software, errorCode: 9, address: 9, debugBits: 9))
        #expect(frame == TestMachine.stackTop - 0x100 - 40)
        #expect(!test.machine.cpu.nmiBlocked && !test.machine.cpu.machineCheckInProgress)
        #expect(test.machine.cpu.dr6 == 0xFFFF_0FF0 && test.machine.cpu.cr2 == 0)
    }

    // MARK: Stacks

    /// From user mode: RSP0, SS null, GS base and CR3 as they were (F6).
    @Test func fromUserMode() throws {
        var test = try Self.prepared()
        test.enterUser()
        test.machine.cpu.gsBase = 0x1234
        test.machine.cpu.userHalfBit = 0x1000
        test.machine.cpu.cr3 = 0x1000
        let frame = Self.enter(&test, Event(vector: 0x20, source: .external))
        #expect(frame == TestMachine.entryTop - 40)
        let words: [UInt64] = [
            TestMachine.userCode, 0x33, Flags.alwaysOne | Flags.interrupt, TestMachine.user + 0x1800, 0x2b,
        ]
        #expect(test.words(frame, 5) == words)
        #expect(test.machine.cpu.ss == 0 && test.machine.cpu.cs == 0x10 && test.machine.cpu.cpl == 0)
        #expect(test.machine.cpu.gsBase == 0x1234 && test.machine.cpu.cr3 == 0x1000)
    }

    /// An IST slot is taken at every privilege; SS becomes null only when the privilege changes.
    @Test(arguments: [false, true], [0, 9] as [UInt64])
    func interruptStackTable(_ isUser: Bool, _ offset: UInt64) throws {
        var test = try Self.prepared()
        test.machine.idt[2].ist = 1
        test.setTSS(at: 36, TestMachine.istTop - 0x10 + offset)
        if isUser { test.enterUser() }
        let frame = Self.enter(&test, Event(vector: 2, source: .nmi))
        #expect(frame == TestMachine.istTop - 0x10 - 40)
        #expect(test.machine.cpu.ss == (isUser ? 0 : 0x18))
    }

    @Test(arguments: 1...7 as ClosedRange<UInt8>)
    func everySlotOfTheTable(_ ist: UInt8) throws {
        var test = try Self.prepared()
        test.machine.idt[2].ist = ist
        test.setTSS(at: 28 + 8 * UInt64(ist), TestMachine.istTop - UInt64(ist) * 0x100)
        #expect(Self.enter(&test, Event(vector: 2, source: .nmi)) == TestMachine.istTop - UInt64(ist) * 0x100 - 40)
    }

    /// SMAP lets a frame onto a user page only while the interrupted code's AC is set, which delivery does not clear.
    @Test(arguments: [false, true])
    func framesOnAUserStack(_ alignmentCheck: Bool) throws {
        var test = try TestMachine(traits: ProcessorTraits(vendor: .intel, smap: true))
        test.machine.idt[6] = Gate(offset: TestMachine.handler, isPresent: true)
        test.machine.idt[14] = Gate(offset: TestMachine.handler, ist: 1, isPresent: true)
        test.machine.cpu[.rsp] = TestMachine.user + 0x1000
        if alignmentCheck { test.machine.cpu.flags |= Flags.alignmentCheck }
        guard
            case .entered(let event, _) = test.machine.deliver(
                Event(vector: 6, source: .fault), activation: 2, test.program)
        else {
            Issue.record("not delivered")
            return
        }
        #expect(event.vector == (alignmentCheck ? 6 : 14))
        if !alignmentCheck { #expect(event.errorCode == 3 && event.address == TestMachine.user + 0xFF8) }
    }
}

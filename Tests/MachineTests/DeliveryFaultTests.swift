import Testing

@testable import Machine

/// Faults while an event is delivered (SDM vol. 3, 6.12.1, 6.13, 6.15 interrupt 8; facts F24, F25).
@Suite struct DeliveryFaultTests {
    private func deliver(_ test: inout TestMachine, _ event: Event) -> Event? {
        guard case .entered(let delivered, _) = test.machine.deliver(event, activation: 2, test.program) else {
            return nil
        }
        return delivered
    }

    enum Damage: String, Sendable {
        case empty, absent, privilege, offset
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var event: Event
        var damage: Damage
        var isUser = false
        var fault: Fault
        var testDescription: String { "\(damage) gate for \(event.vector) as \(event.source), user \(isUser)" }
    }

    private static let int3 = Event(vector: 3, source: .software)
    private static let external = Event(vector: 0x30, source: .external)
    static let cases: [Case] = [
        // An entry of zeroes has no gate's type: #GP; a gate that is not present: #NP. EXT unless the program asked.
        Case(event: int3, damage: .empty, fault: .generalProtection(0x1a)),
        Case(event: int3, damage: .absent, fault: Fault(11, errorCode: 0x1a)),
        Case(event: external, damage: .empty, fault: .generalProtection(0x183)),
        Case(event: external, damage: .absent, fault: Fault(11, errorCode: 0x183)),
        Case(event: Event(vector: 2, source: .nmi), damage: .absent, fault: Fault(11, errorCode: 0x13)),
        Case(event: Event(vector: 6, source: .fault), damage: .absent, fault: Fault(11, errorCode: 0x33)),
        Case(event: Event(vector: 1, source: .trap, debugBits: 0x4000), damage: .empty, fault: .generalProtection(0xb)),
        // DPL applies to software interrupts alone, and before the present bit.
        Case(event: int3, damage: .privilege, isUser: true, fault: .generalProtection(0x1a)),
        Case(
            event: Event(vector: 0x80, source: .software), damage: .privilege, isUser: true,
            fault: .generalProtection(0x402)),
        Case(
            event: Event(vector: 0xff, source: .software), damage: .empty, isUser: true,
            fault: .generalProtection(0x7fa)),
        Case(event: int3, damage: .offset, fault: .generalProtection(0)),
        Case(event: external, damage: .offset, fault: .generalProtection(1)),
    ]

    @Test(arguments: cases, [ProcessorTraits.Vendor.intel, .amd])
    func gate(_ item: Case, _ vendor: ProcessorTraits.Vendor) throws {
        var test = try DeliveryTests.prepared("nop\nnop", user: "nop\nnop", vendor: vendor)
        if item.isUser { test.enterUser() }
        let vector = Int(item.event.vector)
        if item.event.source == .software { test.machine.idt[vector].privilege = 3 }
        switch item.damage {
        case .empty: test.machine.idt[vector] = Gate()
        case .absent: test.machine.idt[vector].isPresent = false
        case .privilege:
            test.machine.idt[vector].privilege = 0
            test.machine.idt[vector].isPresent = false
        case .offset: test.machine.idt[vector].offset = TestMachine.notCanonical
        }
        // RIP of a software interrupt is behind it; the fault is the instruction's own.
        let start = item.isUser ? TestMachine.userCode : TestMachine.code
        if item.event.source == .software { test.step() }
        let delivered = deliver(&test, item.event)
        #expect(delivered == Event(item.fault))
        #expect(test.peek(test.machine.cpu[.rsp]) == UInt64(item.fault.errorCode))
        #expect(test.peek(test.machine.cpu[.rsp] + 8) == start)
        #expect(test.peek(test.machine.cpu[.rsp] + 24) & Flags.resume != 0)
        if item.event.vector == 1 {
            #expect(test.machine.cpu.dr6 & 0x4000 != 0, "DR6 is set although the handler never runs")
        }
    }

    /// The instruction is found again wherever it stands, also at the end of the code.
    @Test func rewindingAtTheEndOfTheCode() throws {
        var test = try DeliveryTests.prepared(user: "nop\nint $0x81")
        test.machine.idt[0x81] = Gate()
        test.enterUser()
        test.step(2)
        #expect(test.rip == TestMachine.userCode + 3)
        #expect(deliver(&test, Event(vector: 0x81, source: .software))?.errorCode == 0x40a)
        #expect(test.peek(test.machine.cpu[.rsp] + 8) == TestMachine.userCode + 1)
    }

    // MARK: Double faults

    /// SDM vol. 3, table 6-5, with the class of the second given by what is wrong with the stack or the gate.
    static let pairs: [(first: UInt8, second: UInt8, isDouble: Bool)] = [
        (0, 11, true), (10, 13, true), (11, 12, true), (12, 11, true), (13, 11, true), (13, 14, false), (14, 14, true),
        (14, 11, true),
        (14, 12, true), (6, 14, false), (6, 11, false), (1, 13, false), (17, 11, false), (18, 11, false),
        (16, 14, false), (21, 11, true),
    ]

    @Test(arguments: pairs)
    func classes(_ first: UInt8, _ second: UInt8, _ isDouble: Bool) throws {
        var test = try DeliveryTests.prepared()
        test.machine.idt[8].ist = 1
        test.machine.idt[Int(second)].ist = 1
        if first == second { test.machine.idt[Int(second)].ist = 2 }
        switch second {
        case 14:
            test.machine.idt[Int(first)].ist = 2
            test.setTSS(at: 44, TestMachine.unmapped)
        case 12:
            test.machine.idt[Int(first)].ist = 2
            test.setTSS(at: 44, TestMachine.notCanonical)
        case 11: test.machine.idt[Int(first)].isPresent = false
        default: test.machine.idt[Int(first)] = Gate()
        }
        #expect(Machine.escalates(first: first, second: second) == isDouble)
        let event = Event(vector: first, source: .fault, errorCode: 0, address: 0x77)
        let delivered = deliver(&test, event)
        #expect(delivered?.vector == (isDouble ? 8 : second))
        #expect(test.machine.cpu[.rsp] == TestMachine.istTop - 48)
        if isDouble { #expect(test.peek(test.machine.cpu[.rsp]) == 0, "#DF pushes zero") }
        if second == 14 { #expect(test.machine.cpu.cr2 == TestMachine.unmapped - 8) }
    }

    /// F25: #DF without an IST and a bad kernel stack.
    @Test func tripleFault() throws {
        var test = try DeliveryTests.prepared()
        test.machine.cpu[.rsp] = TestMachine.unmapped
        let event = Event(vector: 14, source: .fault, errorCode: 2, address: TestMachine.unmapped - 8)
        #expect(test.machine.deliver(event, activation: 2, test.program) == .tripleFault(during: event))
    }

    @Test func noGateForTheDoubleFault() throws {
        var test = try DeliveryTests.prepared()
        test.machine.idt[8] = Gate()
        test.machine.idt[13] = Gate()
        let event = Event(vector: 13, source: .fault)
        #expect(test.machine.deliver(event, activation: 2, test.program) == .tripleFault(during: event))
    }

    /// INT 8 that cannot be delivered is no double fault.
    @Test func softwareInterruptOfVectorEight() throws {
        var test = try DeliveryTests.prepared("int $8\nnop")
        test.machine.idt[8] = Gate()
        test.step()
        #expect(deliver(&test, Event(vector: 8, source: .software)) == Event(.generalProtection(0x42)))
    }

    /// F25: an IST index whose slot is zero writes at the top of the address space.
    @Test(arguments: [false, true])
    func emptySlotOfTheTable(_ isUser: Bool) throws {
        var test = try DeliveryTests.prepared()
        test.machine.idt[1].ist = 3
        if isUser { test.enterUser() }
        let delivered = deliver(&test, Event(vector: 1, source: .trap, debugBits: 0x4000))
        #expect(delivered == Event(Fault(14, errorCode: 2, address: 0xffff_ffff_ffff_fff8)))
        #expect(test.machine.cpu.cr2 == 0xffff_ffff_ffff_fff8)
        // The frame of the page fault shows the interrupted code, user mode included.
        #expect(test.peek(test.machine.cpu[.rsp] + 16) == (isUser ? 0x33 : 0x10))
        test = try DeliveryTests.prepared()
        test.machine.memory.map(
            Region(name: "top", kind: .kernelData, base: 0xffff_ffff_ffff_f000, size_bytes: 4096),
            [.kernelMap, .writable])
        test.machine.idt[1].ist = 3
        #expect(DeliveryTests.enter(&test, Event(vector: 1, source: .trap)) == UInt64(bitPattern: -40))
    }

    @Test func aStackThatIsNotCanonical() throws {
        var test = try DeliveryTests.prepared()
        test.machine.idt[12].ist = 1
        test.enterUser()
        test.setTSS(at: 4, TestMachine.notCanonical)
        #expect(deliver(&test, Event(vector: 0x20, source: .external)) == Event(Fault(12, errorCode: 1)))
    }

    /// An NMI is recognised, and blocks further ones, even where a page fault takes its place.
    @Test func anNMIThatCannotBeDelivered() throws {
        var test = try DeliveryTests.prepared()
        test.machine.idt[2].ist = 3
        #expect(deliver(&test, Event(vector: 2, source: .nmi))?.vector == 14)
        #expect(test.machine.cpu.nmiBlocked)
    }

    /// A delivery that fails altogether leaves registers and flags as they were.
    @Test func failureLeavesTheContext() throws {
        var test = try DeliveryTests.prepared()
        test.enterUser()
        for vector in 0..<256 { test.machine.idt[vector] = Gate() }
        let before = Snapshot(test)
        let event = Event(vector: 0x20, source: .external)
        #expect(test.machine.deliver(event, activation: 2, test.program) == .tripleFault(during: event))
        #expect(Snapshot(test) == before)
    }
}

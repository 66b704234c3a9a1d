import TestSupport
import Testing

@testable import Machine

@Suite struct MemoryStateTests {
    private func region(_ base: UInt64, _ size_bytes: UInt64, _ name: String = "r") -> Region {
        Region(name: name, kind: .kernelData, base: base, size_bytes: size_bytes)
    }

    @Test func resetRestoresExactly() throws {
        let seed: UInt64 = 0x5E5
        var random = SeededRandom(seed: seed)
        var test = try TestMachine()
        for _ in 0..<300 {
            test.machine.memory.poke(
                random.next(), at: TestMachine.data + random.next() % 0x2000, owner: Owner(.data, slot: 3), step: 9)
        }
        test.machine.memory.freeze()
        let before = Snapshot(test)
        let places = (0..<1024).map { TestMachine.data + UInt64($0) * 8 }
        let owners = places.map { test.machine.memory.owner(at: $0) }
        for round in 0..<3 {
            for _ in 0..<300 {
                let address = random.pick(test.machine.memory.regions).base + random.next() % 0x1000
                test.machine.memory.poke(
                    random.next(), at: address, owner: Owner(.hardwareFrame, activation: 1), step: 77)
            }
            #expect(Snapshot(test) != before)
            test.machine.memory.reset()
            #expect(Snapshot(test) == before, "seed \(seed), round \(round)")
            #expect(places.map { test.machine.memory.owner(at: $0) } == owners)
            for place in places {
                #expect(
                    test.machine.memory.translate(place).map { test.machine.memory.writer(atOffset: $0.offset) } == 0)
            }
        }
    }

    /// A page written last before a reset, or before `freeze`, counts as untouched after it.
    @Test func thePageWrittenLastIsRestoredAgain() {
        var memory = Memory()
        memory.map(region(0x10000, 0x1000), .kernelMap)
        memory.poke(1, at: 0x10008)
        memory.freeze()
        for _ in 0..<3 {
            memory.poke(2, at: 0x10008)
            memory.reset()
            #expect(memory.peek(0x10008) == 1)
        }
    }

    @Test func manyPagesAndWholePages() throws {
        var memory = Memory(pageLimit: 4)
        for page in 0..<3000 as Range<UInt64> { memory.map(region(page << 20 | 0x123, 8), .kernelMap) }
        for page in 0..<3000 as Range<UInt64> {
            let done = [0, 0xFF8, 0x1000].map { memory.poke(page, at: page << 20 | $0) }
            #expect(done == [true, true, false])
        }
        for page in 0..<3000 as Range<UInt64> { #expect(memory.peek(page << 20 | 0xFF8) == page) }
    }

    @Test func aRegionAtTheEndOfTheAddressSpace() {
        var memory = Memory()
        memory.map(region(0xffff_ffff_ffff_f000, 0x1_0000), .kernelMap)
        memory.poke(5, at: 0xffff_ffff_ffff_fff8)
        #expect(memory.peek(0) == nil)
    }

    @Test func theInnermostRegionNamesAnAddress() {
        var memory = Memory()
        memory.map(region(0x10000, 0x4000, "outer"), .kernelMap)
        memory.reserve(region(0x11000, 0x1000, "inner"))
        #expect(memory.region(containing: 0x10fff)?.name == "outer")
        #expect(memory.region(containing: 0x11000)?.name == "inner")
        #expect(memory.region(containing: 0x14000) == nil)
    }

    // MARK: Owners

    static let ownerRows: [(text: String, owner: Owner)] = [
        ("pushq %rbx", Owner(.savedRegister, slot: 3, activation: 1)), ("pushq $1", Owner(.immediate, activation: 1)),
        ("call handler", Owner(.returnAddress, activation: 1)),
        ("movq %rdx, -8(%rsp)", Owner(.savedRegister, slot: 2, activation: 1)),
        ("movq $1, -8(%rsp)", Owner(.data, activation: 1)), ("addq %rdx, -8(%rsp)", Owner(.data, activation: 1)),
        ("xchgq %rdx, -8(%rsp)", Owner(.savedRegister, slot: 2, activation: 1)),
        ("pushfq", Owner(.data, activation: 1)),
        ("pushq (%rsi)", Owner(.hardwareFrame, slot: 2, activation: 5)), ("pushq 8(%rsi)", Owner(.data, activation: 1)),
    ]

    @Test(arguments: ownerRows)
    func ownerOfAWord(_ text: String, _ owner: Owner) throws {
        var test = try TestMachine(text)
        test.machine.cpu[.rsi] = TestMachine.data
        test.machine.memory.poke(1, at: TestMachine.data, owner: Owner(.hardwareFrame, slot: 2, activation: 5))
        test.machine.memory.poke(1, at: TestMachine.data + 8, owner: Owner(.immediate, activation: 5))
        #expect(test.step() == .next)
        #expect(test.machine.memory.owner(at: TestMachine.stackTop - 0x108) == owner)
    }

    @Test func aPartialWriteLeavesTheOwner() throws {
        var test = try TestMachine("movl $1, (%rsi)\nmovb $1, 8(%rsi)")
        test.machine.cpu[.rsi] = TestMachine.data
        test.machine.memory.poke(1, at: TestMachine.data, owner: Owner(.hardwareFrame, slot: 3, activation: 1))
        test.step(2)
        #expect(test.machine.memory.owner(at: TestMachine.data) == Owner(.hardwareFrame, slot: 3, activation: 1))
        #expect(test.machine.memory.owner(at: TestMachine.data + 8) == Owner(.data, activation: 1))
    }

    // MARK: Overwrites

    private func overwriteTest(_ text: String, owner: Owner, live: UInt64 = 7) throws -> TestMachine {
        var test = try TestMachine(text)
        test.machine.cpu[.rsi] = TestMachine.data
        test.machine.memory.poke(0xAA, at: TestMachine.data, owner: owner)
        test.machine.activation = 2
        test.machine.liveActivations = live
        return test
    }

    @Test func aWriteOnALiveFrameIsRecordedAndItsReadNoted() throws {
        let owner = Owner(.hardwareFrame, slot: FrameSlot.ss.rawValue, activation: 1)
        var test = try overwriteTest("movq %rdx, (%rsi)\nmovq (%rsi), %rax\nmovq (%rsi), %rax", owner: owner)
        test.machine.stepNumber = 10
        test.machine.cpu[.rdx] = 0xBB
        test.step()
        let new = Owner(.savedRegister, slot: 2, activation: 2)
        let expected = Overwrite(
            address: TestMachine.data,
            word: Int32(test.machine.memory.translate(TestMachine.data).map { $0.offset >> 3 } ?? 0),
            oldOwner: owner, newOwner: new, oldValue: 0xAA, newValue: 0xBB, step: 10, instruction: 0, wasRead: false)
        #expect(test.machine.memory.overwrites == [expected])
        #expect(test.machine.memory.overwrite(at: TestMachine.data) == expected)
        test.step()
        #expect(test.machine.memory.overwrites.map(\.wasRead) == [false], "the reader is not the one who lost the word")
        test.machine.activation = 1
        test.step()
        #expect(test.machine.memory.overwrites.map(\.wasRead) == [true])
        test.machine.memory.reset()
        #expect(test.machine.memory.overwrites.isEmpty && !test.machine.memory.hasOverwrites)
    }

    /// The owner saves the register anew before it reads it: what an inner event left there never mattered.
    @Test func aWordWrittenAnewIsNotLost() throws {
        var test = try overwriteTest(
            "movq %rdx, (%rsi)\nmovq %rbx, (%rsi)\nmovq (%rsi), %rax",
            owner: Owner(.savedRegister, slot: 3, activation: 1))
        test.machine.cpu[.rdx] = 0xBB
        test.machine.cpu[.rbx] = 0xCC
        test.step()
        test.machine.activation = 1
        test.machine.liveActivations = 3
        test.step(2)
        #expect(test.machine.memory.overwrites.map(\.wasRead) == [false])
    }

    static let harmless: [(why: String, owner: Owner, value: UInt64, live: UInt64)] = [
        ("the same value", Owner(.hardwareFrame, activation: 1), 0xAA, 7),
        ("an activation that has returned", Owner(.hardwareFrame, activation: 1), 0xBB, 5),
        ("plain data", Owner(.data, activation: 1), 0xBB, 7),
    ]

    @Test(arguments: harmless)
    func notAnOverwrite(_ why: String, _ owner: Owner, _ value: UInt64, _ live: UInt64) throws {
        var test = try overwriteTest("movq %rdx, (%rsi)", owner: owner, live: live)
        test.machine.cpu[.rdx] = value
        test.step()
        #expect(test.machine.memory.overwrites.isEmpty, "\(why)")
    }

    /// What an activation left below its stack pointer is nobody's, for itself and for the events that interrupt it;
    /// the same holds on no other stack.
    @Test func wordsBelowTheStackPointerAreDead() throws {
        var test = try TestMachine("pushq %rax\npopq %rcx\npushq %rdx\npopq %rcx", handler: "pushq $0\niretq")
        test.machine.idt[2] = Gate(offset: TestMachine.handler, ist: 1, isPresent: true)
        test.machine.cpu[.rax] = 1
        test.machine.cpu[.rdx] = 2
        test.step(4)
        #expect(test.machine.memory.overwrites.isEmpty)
        // Its own frame on another stack is not dead, though that stack lies at lower or higher addresses.
        let own = Owner(.hardwareFrame, slot: 1, activation: 1)
        test.machine.memory.poke(5, at: TestMachine.istTop - 16, owner: own)
        test.machine.memory.poke(
            6, at: test.machine.cpu[.rsp] - 8, owner: Owner(.savedRegister, slot: 1, activation: 1))
        guard
            case .entered(_, let frame) = test.machine.deliver(
                Event(vector: 2, source: .nmi), activation: 2, test.program)
        else {
            Issue.record("not delivered")
            return
        }
        #expect(frame == TestMachine.istTop - 40)
        #expect(test.machine.memory.overwrites.map(\.oldOwner) == [own])
        // The handler of activation 2 now works on the stack where activation 1 was interrupted.
        test.machine.activation = 2
        test.machine.liveActivations = 7
        test.machine.cpu[.rsp] = TestMachine.stackTop - 0x100
        test.step()
        #expect(test.machine.memory.overwrites.count == 1)
    }

    @Test func recordsAreBounded() throws {
        var memory = Memory()
        for index in 0..<200 as Range<Int32> {
            memory.record(
                Overwrite(
                    address: 0, word: index, oldOwner: .free, newOwner: .free, oldValue: 0, newValue: 1, step: 0,
                    instruction: 0, wasRead: false))
        }
        #expect(memory.overwrites.map(\.word) == Array(0..<Int32(Memory.overwriteLimit)))
    }
}

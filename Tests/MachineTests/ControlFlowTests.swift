import Assembler
import Testing

@testable import Machine

@Suite struct ControlFlowTests {
    /// Each condition spelled out once more, over all settings of the flags it can see (SDM vol. 1, appendix B).
    static let conditionRows: [(name: String, holds: @Sendable (Bool, Bool, Bool, Bool, Bool) -> Bool)] = [
        ("o", { _, _, _, o, _ in o }), ("no", { _, _, _, o, _ in !o }), ("b", { c, _, _, _, _ in c }),
        ("ae", { c, _, _, _, _ in !c }), ("e", { _, z, _, _, _ in z }), ("ne", { _, z, _, _, _ in !z }),
        ("be", { c, z, _, _, _ in c || z }), ("a", { c, z, _, _, _ in !(c || z) }), ("s", { _, _, s, _, _ in s }),
        ("ns", { _, _, s, _, _ in !s }), ("p", { _, _, _, _, p in p }), ("np", { _, _, _, _, p in !p }),
        ("l", { _, _, s, o, _ in s != o }), ("ge", { _, _, s, o, _ in s == o }),
        ("le", { _, z, s, o, _ in z || s != o }),
        ("g", { _, z, s, o, _ in !z && s == o }),
    ]

    @Test(arguments: conditionRows.indices)
    func conditions(_ index: Int) throws {
        let (name, holds) = Self.conditionRows[index]
        var test = try TestMachine("j\(name) handler\nset\(name) %al\ncmov\(name)q %rcx, %rdx")
        let (set, move) = (test.program.addresses[1], test.program.addresses[2])
        for bits in 0..<32 as Range<UInt64> {
            let (c, z, s, o, p) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0, bits & 16 != 0)
            let pairs: [(Bool, UInt64)] = [
                (c, Flags.carry), (z, Flags.zero), (s, Flags.sign), (o, Flags.overflow), (p, Flags.parity),
            ]
            test.machine.cpu.flags = pairs.reduce(Flags.alwaysOne) { $0 | ($1.0 ? $1.1 : 0) }
            let expected = holds(c, z, s, o, p)
            test.machine.jump(to: TestMachine.code, test.program)
            test.machine.stopAtBranches = bits & 16 != 0
            #expect(test.step() == (test.machine.stopAtBranches ? .branch(instruction: 0, taken: expected) : .next))
            #expect(test.rip == (expected ? TestMachine.handler : set), "j\(name), flags \(bits)")
            test.machine.jump(to: set, test.program)
            test.machine.cpu[.rdx] = 1
            test.machine.cpu[.rcx] = 2
            test.step()
            #expect(test.machine.cpu[.rax] & 0xFF == (expected ? 1 : 0))
            #expect(test.rip == move)
            test.step()
            #expect(test.machine.cpu[.rdx] == (expected ? 2 : 1))
        }
    }

    @Test(arguments: ["call handler", "call *%rax", "call *8(%rsi)", "call *8(%rsp)"])
    func callAndReturn(_ text: String) throws {
        var test = try TestMachine("\(text)\nnop", handler: "ret $16")
        let rsp = test.machine.cpu[.rsp]
        test.machine.cpu[.rax] = TestMachine.handler
        test.machine.cpu[.rsi] = TestMachine.data
        test.poke(TestMachine.data + 8, TestMachine.handler)
        test.poke(rsp + 8, TestMachine.handler)
        #expect(test.step() == .next)
        #expect(test.rip == TestMachine.handler)
        #expect(test.machine.cpu[.rsp] == rsp - 8)
        #expect(test.peek(rsp - 8) == test.program.addresses[1])
        #expect(test.step() == .next)
        #expect(test.rip == test.program.addresses[1])
        #expect(test.machine.cpu[.rsp] == rsp + 16)
    }

    @Test(arguments: ["jmp *%rax", "call *%rax", "pushq %rax\nretq"])
    func targetsThatAreNotCanonical(_ text: String) throws {
        var test = try TestMachine(text)
        test.machine.cpu[.rax] = TestMachine.notCanonical
        if text.hasPrefix("push") { test.step() }
        let fault = test.fault()
        #expect(fault == .generalProtection())
    }

    /// Fetches where there is no code: I/D always, P and U/S as for data (SDM vol. 3, 4.7).
    static let fetches: [(address: UInt64, isUser: Bool, fault: Fault)] = [
        (0x1234, false, Fault(14, errorCode: 0x10, address: 0x1234)),
        (0x1234, true, Fault(14, errorCode: 0x14, address: 0x1234)),
        (TestMachine.data, false, Fault(14, errorCode: 0x11, address: TestMachine.data)),
        (TestMachine.user, true, Fault(14, errorCode: 0x15, address: TestMachine.user)),
        // Kernel code is no code to user mode.
        (TestMachine.handler, true, Fault(14, errorCode: 0x14, address: TestMachine.handler)),
    ]

    @Test(arguments: fetches)
    func fetch(_ row: (address: UInt64, isUser: Bool, fault: Fault)) throws {
        var test = try TestMachine("jmp *%rax", user: "jmp *%rax")
        if row.isUser { test.enterUser() }
        test.machine.cpu[.rax] = row.address
        #expect(test.step() == .next)
        #expect(test.rip == row.address)
        let fault = test.fault()
        #expect(fault == row.fault)
        #expect(test.rip == row.address)
    }

    @Test func aFetchUnderTheOtherHalfFindsNothing() throws {
        var test = try TestMachine()
        test.machine.cpu.userHalfBit = 0x1000
        test.machine.cpu.cr3 = 0x1000
        test.machine.jump(to: TestMachine.data, test.program)
        let fault = test.fault()
        #expect(fault == Fault(14, errorCode: 0x10, address: TestMachine.data))
    }

    /// Past the end of the code there is none: not the next routine of the list, and no trap of the model itself.
    @Test(arguments: ["nop", "addq $1, %rax", "int3", "jz first", "pushq %rax", "syscall"])
    func runningOffTheEnd(_ text: String) throws {
        let source =
            "ENTRY(first)\n\(text)\nEND(first)\nENTRY(second)\nnop\nEND(second)\nENTRY(third)\nnop\n\(text)\nEND(third)"
        let program = try assemble(
            AssemblyInput(
                sources: [SourceText(name: "t", text: source)],
                placements: [
                    "first": TestMachine.code, "second": TestMachine.code + 0x1000, "third": TestMachine.code + 0x2000,
                ]))
        let base = try TestMachine(traits: ProcessorTraits(vendor: .amd, isParavirtual: text == "syscall")).machine
        for (start, index) in [(TestMachine.code, 0), (TestMachine.code + 0x2001, 3)] {
            var machine = base
            machine.jump(to: start, program)
            _ = machine.step(program)
            let end = start + UInt64(program.instructions[index].length)
            #expect(machine.instructionPointer(program) == end)
            #expect(machine.step(program) == .fault(Fault(14, errorCode: 0x10, address: end)))
        }
    }

    /// A conditional jump at the end of a routine may lead to the routine that is next in the list.
    @Test(arguments: [Flags.zero, 0])
    func branchFromTheEndToTheNextOfTheList(_ flags: UInt64) throws {
        let source = "ENTRY(first)\njz second\nEND(first)\nENTRY(second)\nnop\nEND(second)"
        let second = TestMachine.code + 0x1000
        let program = try assemble(
            AssemblyInput(
                sources: [SourceText(name: "t", text: source)],
                placements: ["first": TestMachine.code, "second": second]))
        var machine = try TestMachine().machine
        machine.jump(to: TestMachine.code, program)
        machine.cpu.flags |= flags
        _ = machine.step(program)
        #expect(
            machine.instructionPointer(program)
                == (flags == 0 ? TestMachine.code + UInt64(program.instructions[0].length) : second))
    }

    /// GNU as pads with no-operations up to the next 16 bytes: code runs through.
    @Test func paddingBetweenRoutinesIsRunThrough() throws {
        let source = "ENTRY(first)\nnop\nEND(first)\nENTRY(second)\nud2\nEND(second)"
        let program = try assemble(AssemblyInput(sources: [SourceText(name: "t", text: source)]))
        var machine = try TestMachine().machine
        machine.jump(to: program.addresses[0], program)
        #expect(machine.step(program) == .next)
        #expect(machine.step(program) == .fault(Fault(Vector.invalidOpcode)))
        #expect(machine.instructionPointer(program) == program.addresses[1])
        #expect(program.addresses[1] == program.addresses[0] + 16)
    }

    @Test func runStopsAtTheLimitAndCounts() throws {
        var test = try TestMachine("1: incq %rax\njmp 1b")
        #expect(test.machine.run(test.program, stepLimit: 101) == .stepLimit)
        #expect(test.machine.cpu[.rax] == 51)
        #expect(test.machine.stepNumber == 101)
        #expect(test.machine.cost.instructions == 101)
        #expect(test.machine.run(test.program, stepLimit: 101) == .stepLimit)
        #expect(test.machine.cost.instructions == 101)
    }

    @Test func softwareInterruptsStopBehindTheInstruction() throws {
        var test = try TestMachine("int3\nint $0x80\nmodel $9")
        #expect(test.step() == .softwareInterrupt(vector: 3))
        #expect(test.rip == TestMachine.code + 1)
        #expect(test.step() == .softwareInterrupt(vector: 0x80))
        #expect(test.rip == TestMachine.code + 3)
        #expect(test.step() == .model(9))
        #expect(test.rip == TestMachine.code + 3)
        #expect(test.machine.stepNumber == 2)
    }
}

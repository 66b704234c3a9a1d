import Testing

@testable import Machine

@Suite struct DataMovementTests {
    private static let old: UInt64 = 0x1111_2222_3333_4444

    /// RAX before is `old`, RCX is fedcba9876543210 and so is the memory at RSI; the flags never change.
    static let registerRows: [(text: String, result: UInt64)] = [
        ("movq %rcx, %rax", 0xfedc_ba98_7654_3210), ("movl %ecx, %eax", 0x7654_3210),
        ("movw %cx, %ax", 0x1111_2222_3333_3210), ("movb %cl, %al", 0x1111_2222_3333_4410),
        ("movq (%rsi), %rax", 0xfedc_ba98_7654_3210), ("movl (%rsi), %eax", 0x7654_3210),
        ("movw 6(%rsi), %ax", 0x1111_2222_3333_fedc), ("movb 3(%rsi), %al", 0x1111_2222_3333_4476),
        ("movl 4(%rsi), %eax", 0xfedc_ba98), ("movq $-1, %rax", .max), ("movl $-1, %eax", 0xffff_ffff),
        ("movabsq $0x123456789abcdef0, %rax", 0x1234_5678_9abc_def0), ("movw $-2, %ax", 0x1111_2222_3333_fffe),
        ("movzbl 7(%rsi), %eax", 0xfe), ("movzbw %cl, %ax", 0x1111_2222_3333_0010), ("movzwq 6(%rsi), %rax", 0xfedc),
        ("movsbq 7(%rsi), %rax", 0xffff_ffff_ffff_fffe), ("movsbl 7(%rsi), %eax", 0xffff_fffe),
        ("movsbw 7(%rsi), %ax", 0x1111_2222_3333_fffe), ("movswq 4(%rsi), %rax", 0xffff_ffff_ffff_ba98),
        ("movslq 4(%rsi), %rax", 0xffff_ffff_fedc_ba98), ("movslq %ecx, %rax", 0x7654_3210),
        ("cmovzq %rcx, %rax", 0xfedc_ba98_7654_3210), ("cmovnzq %rcx, %rax", old), ("cmovnzl %ecx, %eax", 0x3333_4444),
        ("cmovnzw %cx, %ax", old), ("cmovzw (%rsi), %ax", 0x1111_2222_3333_3210), ("setz %al", 0x1111_2222_3333_4401),
        ("setnz %al", 0x1111_2222_3333_4400), ("leaq 5(%rdx,%rbx,4), %rax", 0x8_0000_1009),
        ("leal 5(%rdx,%rbx,4), %eax", 0x1009), ("leaw 5(%rdx), %ax", 0x1111_2222_3333_1005),
        ("leaq %gs:8(%rdx), %rax", 0x1008), ("movq %gs:8, %rax", 0x77), ("movq %fs:(%rdx), %rax", 0x99),
        ("xchgq %rcx, %rax", 0xfedc_ba98_7654_3210), ("xchgl %ecx, %eax", 0x7654_3210),
        ("xchgb %al, (%rsi)", 0x1111_2222_3333_4410), ("nopl 0(%rax)", old), ("pause", old),
    ]

    @Test(arguments: registerRows)
    func toRegister(_ text: String, _ expected: UInt64) throws {
        var test = try TestMachine(text)
        test.machine.cpu[.rax] = Self.old
        test.machine.cpu[.rcx] = 0xfedc_ba98_7654_3210
        test.machine.cpu[.rsi] = TestMachine.data
        test.machine.cpu[.rdx] = 0x1000
        test.machine.cpu[.rbx] = 0x2_0000_0001
        test.machine.cpu.gsBase = TestMachine.data + 0x100
        test.machine.cpu.fsBase = TestMachine.data + 0x200 - 0x1000
        test.poke(TestMachine.data, 0xfedc_ba98_7654_3210)
        test.poke(TestMachine.data + 0x108, 0x77)
        test.poke(TestMachine.data + 0x200, 0x99)
        test.machine.cpu.flags = Flags.alwaysOne | Flags.zero | Flags.carry
        #expect(test.step() == .next)
        #expect(test.machine.cpu[.rax] == expected)
        #expect(test.machine.cpu.flags == Flags.alwaysOne | Flags.zero | Flags.carry)
        #expect(test.rip == TestMachine.code + UInt64(test.program.instructions[0].length))
    }

    /// The word at RSI before is `old`, its neighbours are zero.
    static let memoryRows: [(text: String, word: UInt64, next: UInt64)] = [
        ("movq %rcx, (%rsi)", 0xfedc_ba98_7654_3210, 0), ("movl %ecx, (%rsi)", 0x1111_2222_7654_3210, 0),
        ("movw %cx, 1(%rsi)", 0x1111_2222_3332_1044, 0), ("movb %cl, 7(%rsi)", 0x1011_2222_3333_4444, 0),
        ("movq %rcx, 5(%rsi)", 0x5432_1022_3333_4444, 0xfe_dcba_9876),
        ("movl %ecx, 6(%rsi)", 0x3210_2222_3333_4444, 0x7654),
        ("movq $-2, (%rsi)", 0xffff_ffff_ffff_fffe, 0), ("movl $-2, (%rsi)", 0x1111_2222_ffff_fffe, 0),
        ("movb $1, 2(%rsi)", 0x1111_2222_3301_4444, 0), ("xchgl %ecx, (%rsi)", 0x1111_2222_7654_3210, 0),
        ("setz 1(%rsi)", 0x1111_2222_3333_0144, 0),
    ]

    @Test(arguments: memoryRows)
    func toMemory(_ text: String, _ expected: UInt64, _ next: UInt64) throws {
        var test = try TestMachine(text)
        test.machine.cpu[.rcx] = 0xfedc_ba98_7654_3210
        test.machine.cpu[.rsi] = TestMachine.data + 0xff8
        test.machine.cpu.flags |= Flags.zero
        test.poke(TestMachine.data + 0xff8, Self.old)
        #expect(test.step() == .next)
        #expect(test.words(TestMachine.data + 0xff0, 3) == [0, expected, next])
        if text.hasPrefix("xchg") { #expect(test.machine.cpu[.rcx] == 0x3333_4444) }
    }

    @Test func xchgWritesBothRegisters() throws {
        var test = try TestMachine("xchgw %cx, %ax")
        test.machine.cpu[.rax] = 0x1_aaaa
        test.machine.cpu[.rcx] = 0x2_bbbb
        test.step()
        #expect(test.machine.cpu[.rax] == 0x1_bbbb)
        #expect(test.machine.cpu[.rcx] == 0x2_aaaa)
    }

    static let pushRows: [(text: String, word: UInt64)] = [
        ("pushq %rsp", 0xffff_8880_0000_1f00), ("pushq $-3", 0xffff_ffff_ffff_fffd), ("pushq (%rsp)", 0x1234),
        ("pushq -8(%rsp)", 0x5678), ("pushq %rbx", 0xB), ("pushfq", 0x103),
        ("pushq %gs:0", 0x77),
    ]

    @Test(arguments: pushRows)
    func push(_ text: String, _ expected: UInt64) throws {
        var test = try TestMachine(text)
        let rsp = TestMachine.stackTop - 0x100
        test.poke(rsp, 0x1234)
        test.poke(rsp - 8, 0x5678)
        test.poke(TestMachine.data, 0x77)
        test.machine.cpu.gsBase = TestMachine.data
        test.machine.cpu[.rbx] = 0xB
        test.machine.cpu.flags = Flags.alwaysOne | Flags.carry | Flags.resume | Flags.trap
        #expect(test.step() == .next)
        #expect(test.machine.cpu[.rsp] == rsp - 8)
        #expect(test.peek(rsp - 8) == expected)
        #expect(test.peek(rsp) == 0x1234)
    }

    @Test func popOfTheStackPointerKeepsTheValueRead() throws {
        var test = try TestMachine("popq %rsp")
        test.poke(test.machine.cpu[.rsp], 0x1234_5678)
        #expect(test.step() == .next)
        #expect(test.machine.cpu[.rsp] == 0x1234_5678)
    }

    @Test func popToMemoryAddressesAfterTheIncrement() throws {
        var test = try TestMachine("popq 8(%rsp)")
        let rsp = test.machine.cpu[.rsp]
        test.write([0xAA, 0xBB, 0xCC], at: rsp)
        #expect(test.step() == .next)
        #expect(test.words(rsp, 3) == [0xAA, 0xBB, 0xAA])
        #expect(test.machine.cpu[.rsp] == rsp + 8)
    }

    @Test func sixteenBitPushAndPop() throws {
        var test = try TestMachine("pushw %ax\npushfw\npopw %cx\npopw %dx\npopfw")
        let rsp = test.machine.cpu[.rsp]
        test.machine.cpu[.rax] = 0xABCD_1234
        test.machine.cpu[.rcx] = 0x1_0000_0000
        test.machine.cpu.flags = Flags.alwaysOne | Flags.identification | Flags.carry
        test.step()
        #expect(test.machine.cpu[.rsp] == rsp - 2)
        #expect(test.peek(rsp - 2, 2) == 0x1234)
        test.step(3)
        #expect(test.machine.cpu[.rcx] == 0x1_0000_0003)
        #expect(test.machine.cpu[.rdx] & 0xFFFF == 0x1234)
        #expect(test.machine.cpu[.rsp] == rsp)
        test.poke(rsp, 0, 2)
        test.step()
        #expect(test.machine.cpu.flags == Flags.alwaysOne | Flags.identification)
    }

    /// POPF by privilege (SDM vol. 2, POPF): which of the flags 0 and 0x3f7fd5 turn into which.
    static let flagRows: [(cpl: UInt8, iopl: UInt64, gained: UInt64)] = [
        (0, 0, Flags.loadable & ~Flags.resume), (3, 0, Flags.loadable & ~(Flags.resume | Flags.iopl | Flags.interrupt)),
        (3, Flags.iopl, (Flags.loadable & ~Flags.resume)),
    ]

    @Test(arguments: flagRows)
    func popf(_ cpl: UInt8, _ iopl: UInt64, _ gained: UInt64) throws {
        var test = try TestMachine("popfq", user: "popfq")
        if cpl == 3 { test.enterUser() }
        test.machine.cpu.flags = Flags.alwaysOne | iopl | Flags.resume | Flags.virtualInterrupt
        test.poke(test.machine.cpu[.rsp], .max)
        #expect(test.step() == .next)
        #expect(test.machine.cpu.flags == Flags.alwaysOne | gained | Flags.virtualInterrupt)
        // And back: IOPL and IF stay where the privilege does not reach.
        test.machine.jump(to: cpl == 3 ? TestMachine.userCode : TestMachine.code, test.program)
        test.machine.cpu[.rsp] -= 8
        test.machine.cpu.flags = Flags.alwaysOne | Flags.interrupt | iopl
        test.poke(test.machine.cpu[.rsp], 0)
        test.step()
        let kept = cpl == 0 ? 0 : iopl == 0 ? Flags.interrupt : Flags.iopl
        #expect(test.machine.cpu.flags == Flags.alwaysOne | kept)
    }

    static let flagInstructionRows: [(text: String, before: UInt64, after: UInt64)] = [
        ("cld", Flags.direction, 0), ("std", 0, Flags.direction), ("cli", Flags.interrupt, 0),
        ("sti", 0, Flags.interrupt),
    ]

    @Test(arguments: flagInstructionRows)
    func flagInstructions(_ text: String, _ before: UInt64, _ after: UInt64) throws {
        var test = try TestMachine(text)
        test.machine.cpu.flags = Flags.alwaysOne | Flags.carry | before
        #expect(test.step() == .next)
        #expect(test.machine.cpu.flags == Flags.alwaysOne | Flags.carry | after)
    }
}

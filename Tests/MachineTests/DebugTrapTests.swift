import Testing

@testable import Machine

/// When #DB comes (SDM vol. 3, 17.3; 6.8.3 for MOV SS; facts F28, F29).
@Suite struct DebugTrapTests {
    private func outcomes(_ test: inout TestMachine, _ count: Int) -> [Outcome] { (0..<count).map { _ in test.step() } }

    @Test func singleStepComesAfterEachInstruction() throws {
        var test = try TestMachine("nop\nincl %eax\nhlt")
        test.machine.cpu.flags |= Flags.trap
        #expect(outcomes(&test, 5) == [.next, .debugTrap(0x4000), .next, .debugTrap(0x4000), .halted])
        #expect(test.machine.stepNumber == 3)
        #expect(test.step() == .debugTrap(0x4000))
    }

    @Test func popfThatSetsTFTrapsOneInstructionLater() throws {
        var test = try TestMachine("popfq\nnop\nnop")
        test.poke(test.machine.cpu[.rsp], Flags.trap)
        #expect(outcomes(&test, 3) == [.next, .next, .debugTrap(0x4000)])
        #expect(test.rip == TestMachine.code + 2)
    }

    @Test func popfThatClearsTFTrapsOnceMore() throws {
        var test = try TestMachine("popfq\nnop\nnop")
        test.machine.cpu.flags |= Flags.trap
        #expect(outcomes(&test, 4) == [.next, .debugTrap(0x4000), .next, .next])
    }

    /// INT n, INT3 and SYSCALL leave no trap behind; SYSENTER, which keeps TF, does.
    @Test(arguments: ["int3", "int $0x80"])
    func softwareInterruptsTakeTheTrapWithThem(_ text: String) throws {
        var test = try TestMachine(user: text)
        test.enterUser()
        test.machine.cpu.flags |= Flags.trap
        let vector: UInt8 = text == "int3" ? 3 : 0x80
        test.machine.idt[Int(vector)] = Gate(offset: TestMachine.handler, privilege: 3, isPresent: true)
        #expect(test.step() == .softwareInterrupt(vector: vector))
        guard
            case .entered(_, let frame) = test.machine.deliver(
                Event(vector: vector, source: .software), activation: 2, test.program)
        else {
            Issue.record("not delivered")
            return
        }
        #expect(test.peek(frame + 16) & Flags.trap != 0)
        #expect(outcomes(&test, 2) == [.next, .next])
    }

    @Test(arguments: [(Flags.trap, false), (0, true)])
    func syscallLooksAtTheFlagsItLeaves(_ mask: UInt64, _ traps: Bool) throws {
        var test = try TestMachine(user: "syscall")
        test.enterUser()
        test.machine.cpu.flags |= Flags.trap
        test.machine.cpu.syscallMask = mask
        test.machine.cpu.lstar = TestMachine.handler
        test.machine.cpu.star = 0x0023_0010 << 32
        #expect(outcomes(&test, 2) == [.next, traps ? .debugTrap(0x4000) : .next])
        #expect(test.machine.cpu[.r11] & Flags.trap != 0)
    }

    @Test func sysenterKeepsTF() throws {
        var test = try TestMachine(user: "sysenter")
        test.enterUser()
        test.machine.cpu.flags |= Flags.trap
        test.machine.cpu.sysenterCS = 0x10
        test.machine.cpu.sysenterEIP = TestMachine.handler
        #expect(outcomes(&test, 2) == [.next, .debugTrap(0x4000)])
        #expect(test.rip == TestMachine.handler)
    }

    /// SYSRET that sets TF traps before the first user instruction, IRET after it.
    @Test func returnsThatSetTF() throws {
        var test = try TestMachine("sysretq", user: "nop\nnop")
        test.machine.cpu.star = 0x0023_0010 << 32
        test.machine.cpu[.rcx] = TestMachine.userCode
        test.machine.cpu[.r11] = Flags.trap | Flags.interrupt
        #expect(outcomes(&test, 3) == [.returned(frame: 0), .debugTrap(0x4000), .next])
        test = try TestMachine("iretq", user: "nop\nnop")
        let rsp = test.machine.cpu[.rsp]
        test.write([TestMachine.userCode, 0x33, Flags.trap, TestMachine.user, 0x2b], at: rsp)
        #expect(outcomes(&test, 4) == [.returned(frame: rsp), .next, .debugTrap(0x4000), .next])
    }

    // MARK: Data watchpoints

    struct Watch: Sendable, CustomTestStringConvertible {
        var text: String
        var width: Width
        var writesOnly = false
        var offset: UInt64 = 0
        var hits: Bool
        var testDescription: String { "\(text) watched at \(offset), \(width), writes only \(writesOnly)" }
    }

    static let watches: [Watch] = [
        Watch(text: "movq (%rsi), %rax", width: .quad, hits: true),
        Watch(text: "movq (%rsi), %rax", width: .quad, writesOnly: true, hits: false),
        Watch(text: "movq %rax, (%rsi)", width: .quad, writesOnly: true, hits: true),
        Watch(text: "movb %al, 7(%rsi)", width: .quad, hits: true),
        Watch(text: "movb %al, 8(%rsi)", width: .quad, hits: false),
        Watch(text: "movb %al, 4(%rsi)", width: .long, hits: false),
        Watch(text: "movb %al, 3(%rsi)", width: .long, hits: true),
        Watch(text: "movw %ax, 1(%rsi)", width: .byte, offset: 2, hits: true),
        Watch(text: "movq -7(%rsi), %rax", width: .byte, hits: true),
        Watch(text: "movq -8(%rsi), %rax", width: .byte, hits: false),
        Watch(text: "movl (%rsi), %eax", width: .word, offset: 3, hits: true),
        Watch(text: "addq %rax, (%rsi)", width: .quad, writesOnly: true, hits: true),
        Watch(text: "leaq (%rsi), %rax", width: .quad, hits: false),
    ]

    @Test(arguments: watches)
    func watchpoint(_ item: Watch) throws {
        var test = try TestMachine("\(item.text)\nnop")
        test.machine.cpu[.rsi] = TestMachine.data + 0x100
        test.machine.cpu.watch(TestMachine.data + 0x100 + item.offset, width: item.width, writesOnly: item.writesOnly)
        #expect(outcomes(&test, 2) == [.next, item.hits ? .debugTrap(1) : .next])
        // DR7 disarms without DR0 being touched.
        test.machine.cpu.dr7 = 0x400
        test.machine.cpu.pendingDebug = 0
        test.machine.jump(to: TestMachine.code, test.program)
        #expect(outcomes(&test, 2) == [.next, .next])
    }

    @Test func stepAndWatchpointAreOneTrap() throws {
        var test = try TestMachine("movq (%rsi), %rax\nnop")
        test.machine.cpu[.rsi] = TestMachine.data
        test.machine.cpu.watch(TestMachine.data)
        test.machine.cpu.flags |= Flags.trap
        #expect(outcomes(&test, 2) == [.next, .debugTrap(0x4001)])
    }

    @Test func anInstructionThatFaultsReportsNoBreakpoint() throws {
        var test = try TestMachine("pushq (%rsi)")
        test.machine.cpu[.rsi] = TestMachine.data
        test.machine.cpu[.rsp] = TestMachine.unmapped
        test.machine.cpu.watch(TestMachine.data)
        let fault = test.fault()
        #expect(fault?.vector == Vector.pageFault)
        #expect(test.machine.cpu.pendingDebug == 0)
    }

    // MARK: MOV SS and STI

    @Test func movSSHoldsTheWatchpointForOneInstruction() throws {
        var test = try TestMachine("mov (%rsi), %ss\nnop\nnop")
        test.machine.cpu[.rsi] = TestMachine.data
        test.poke(TestMachine.data, 0x18)
        test.machine.cpu.watch(TestMachine.data)
        #expect(outcomes(&test, 3) == [.next, .next, .debugTrap(1)])
        #expect(test.rip == TestMachine.code + UInt64(test.program.instructions[0].length) + 1)
    }

    /// Its own single step is lost, that of the next instruction comes (F29).
    @Test func movSSLosesItsSingleStep() throws {
        var test = try TestMachine("mov %eax, %ss\nnop\nnop")
        test.machine.cpu[.rax] = 0x18
        test.machine.cpu.flags |= Flags.trap
        #expect(outcomes(&test, 3) == [.next, .next, .debugTrap(0x4000)])
    }

    /// CVE-2018-8897: MOV SS, then INT: the held breakpoint comes at the first instruction of the handler.
    @Test func movSSBeforeAnInterrupt() throws {
        var test = try TestMachine(user: "mov (%rsi), %ss\nint3")
        test.enterUser()
        test.machine.cpu[.rsi] = TestMachine.user
        test.poke(TestMachine.user, 0x2b)
        test.machine.cpu.watch(TestMachine.user)
        test.machine.idt[3] = Gate(offset: TestMachine.handler, privilege: 3, isPresent: true)
        #expect(outcomes(&test, 2) == [.next, .softwareInterrupt(vector: 3)])
        _ = test.machine.deliver(Event(vector: 3, source: .software), activation: 2, test.program)
        #expect(test.step() == .debugTrap(1))
        #expect(test.rip == TestMachine.handler)
        #expect(test.machine.cpu.cpl == 0)
    }

    @Test func shadowsHoldInterrupts() throws {
        var test = try TestMachine("sti\nnop\nmov %eax, %ss\nnop\nsti\ncli")
        test.machine.cpu[.rax] = 0x18
        test.machine.cpu.flags &= ~Flags.interrupt
        var accepted: [[Bool]] = []
        for _ in 0..<6 {
            test.step()
            accepted.append([test.machine.cpu.acceptsInterrupts, test.machine.cpu.acceptsNMI])
        }
        // STI with IF already set shadows nothing.
        #expect(
            accepted == [[false, true], [true, true], [false, false], [true, true], [true, true], [false, true]])
        test.machine.cpu.nmiBlocked = true
        #expect(!test.machine.cpu.acceptsNMI)
    }

    // MARK: RF

    @Test func resumeFlagLastsOneInstruction() throws {
        var test = try TestMachine("nop\nmovq (%rsi), %rax", user: "nop")
        test.machine.cpu.flags |= Flags.resume
        test.step()
        #expect(test.machine.cpu.flags & Flags.resume == 0)
        test.machine.cpu.flags |= Flags.resume
        test.machine.cpu[.rsi] = TestMachine.unmapped
        let fault = test.fault()
        #expect(fault != nil, "and survives a fault, as the check of the snapshot says")
        test = try TestMachine("iretq", user: "nop")
        test.write([TestMachine.userCode, 0x33, Flags.resume, TestMachine.user, 0x2b], at: test.machine.cpu[.rsp])
        test.step()
        #expect(test.machine.cpu.flags & Flags.resume != 0)
        test.step()
        #expect(test.machine.cpu.flags & Flags.resume == 0)
    }
}

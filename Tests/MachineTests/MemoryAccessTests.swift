import Testing

@testable import Machine

@Suite struct MemoryAccessTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var text: String
        var address: UInt64
        var vector: UInt8
        var code: UInt32
        var isUser = false
        var flags: UInt64 = 0
        var smap = false
        var testDescription: String {
            "\(text) at \(String(address, radix: 16)) user \(isUser) smap \(smap) flags \(flags)"
        }
    }

    private static let pageFault = Vector.pageFault
    static let cases: [Case] = [
        // Present, write, user bits (SDM vol. 3, 4.7).
        Case(text: "movq (%rsi), %rax", address: TestMachine.unmapped, vector: pageFault, code: 0),
        Case(text: "movq %rax, (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 2),
        Case(text: "movq (%rsi), %rax", address: TestMachine.unmapped, vector: pageFault, code: 4, isUser: true),
        Case(text: "movq %rax, (%rsi)", address: TestMachine.data, vector: pageFault, code: 7, isUser: true),
        Case(text: "movq (%rsi), %rax", address: TestMachine.data, vector: pageFault, code: 5, isUser: true),
        Case(text: "movb %al, (%rsi)", address: TestMachine.readOnly, vector: pageFault, code: 3),
        Case(text: "movq %rax, (%rsi)", address: TestMachine.readOnly, vector: pageFault, code: 3),
        // A read that will write back asks for write access at once; one that will not does not.
        Case(text: "addq %rax, (%rsi)", address: TestMachine.readOnly, vector: pageFault, code: 3),
        Case(text: "incl (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 2),
        Case(text: "xchgq %rax, (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 2),
        Case(text: "btsq $3, (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 2),
        Case(text: "shlq $1, (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 2),
        Case(text: "cmpq %rax, (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 0),
        Case(text: "testb $1, (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 0),
        Case(text: "btq $3, (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 0),
        Case(text: "cmovnzq (%rsi), %rax", address: TestMachine.unmapped, vector: pageFault, code: 0),
        Case(text: "popq (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 2),
        Case(text: "pushq (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 0),
        Case(text: "call *(%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 0),
        Case(text: "verw (%rsi)", address: TestMachine.unmapped, vector: pageFault, code: 0),
        Case(text: "invpcid (%rsi), %rax", address: TestMachine.unmapped, vector: pageFault, code: 0),
        // SMAP: supervisor access to a user page needs AC (SDM vol. 3, 4.6.1).
        Case(text: "movq (%rsi), %rax", address: TestMachine.user, vector: pageFault, code: 1, smap: true),
        Case(text: "movq %rax, (%rsi)", address: TestMachine.user, vector: pageFault, code: 3, smap: true),
        Case(
            text: "movq (%rsi), %rax", address: TestMachine.user, vector: .max, code: 0, flags: Flags.alignmentCheck,
            smap: true),
        Case(text: "movq (%rsi), %rax", address: TestMachine.user, vector: .max, code: 0),
        Case(text: "movq %rax, (%rsi)", address: TestMachine.user, vector: .max, code: 0, isUser: true, smap: true),
        // Non-canonical addresses: #SS through RSP and RBP, #GP through the rest (SDM vol. 3, 6.15).
        Case(text: "movq (%rsi), %rax", address: TestMachine.notCanonical, vector: 13, code: 0),
        Case(text: "movq (%rbp), %rax", address: TestMachine.notCanonical, vector: 12, code: 0),
        Case(text: "addq %rax, (%rbp)", address: TestMachine.notCanonical, vector: 12, code: 0),
        Case(text: "xchgq %rax, (%rbp)", address: TestMachine.notCanonical, vector: 12, code: 0),
        Case(text: "movzbl (%rbp), %eax", address: TestMachine.notCanonical, vector: 12, code: 0),
        Case(text: "btsq $1, (%rbp)", address: TestMachine.notCanonical, vector: 12, code: 0),
        Case(text: "movq %gs:(%rbp), %rax", address: TestMachine.notCanonical, vector: 13, code: 0),
        Case(text: "movq %ds:(%rbp), %rax", address: TestMachine.notCanonical, vector: 12, code: 0),
        Case(text: "movq -1(%rsi), %rax", address: 0x8000_0000_0000, vector: pageFault, code: 0),
        Case(text: "movq (%rsi), %rax", address: 0x8000_0000_0000, vector: 13, code: 0),
        Case(text: "movq (%rsi), %rax", address: 0xffff_8000_0000_0000, vector: pageFault, code: 0),
        // #AC: user mode with AC, misaligned.
        Case(
            text: "movq 1(%rsi), %rax", address: TestMachine.user, vector: 17, code: 0, isUser: true,
            flags: Flags.alignmentCheck),
        Case(
            text: "movw %ax, 3(%rsi)", address: TestMachine.user, vector: 17, code: 0, isUser: true,
            flags: Flags.alignmentCheck),
        Case(
            text: "movl 4(%rsi), %eax", address: TestMachine.user, vector: .max, code: 0, isUser: true,
            flags: Flags.alignmentCheck),
        Case(
            text: "movb 1(%rsi), %al", address: TestMachine.user, vector: .max, code: 0, isUser: true,
            flags: Flags.alignmentCheck),
        Case(text: "movq 1(%rsi), %rax", address: TestMachine.user, vector: .max, code: 0, isUser: true),
        Case(text: "movq 1(%rsi), %rax", address: TestMachine.data, vector: .max, code: 0, flags: Flags.alignmentCheck),
    ]

    @Test(arguments: cases)
    func access(_ item: Case) throws {
        var test = try TestMachine(
            item.text, user: item.text, traits: ProcessorTraits(vendor: .intel, smap: item.smap))
        if item.isUser { test.enterUser() }
        test.machine.cpu.flags |= item.flags
        test.machine.cpu[.rsi] = item.address
        test.machine.cpu[.rbp] = item.address
        let fault = test.fault()
        if item.vector == .max {
            #expect(fault == nil)
        } else {
            #expect(fault?.vector == item.vector)
            #expect(fault?.errorCode == item.code)
            if item.vector == Self.pageFault {
                let displacement = test.program.instructions[0].memory.displacement
                #expect(fault?.address == item.address &+ UInt64(bitPattern: displacement))
            }
        }
    }

    /// The stack itself: pushes, pops, calls and returns fault before RSP moves.
    static let writeRows: [(address: UInt64, vector: UInt8, code: UInt32)] = [
        (TestMachine.unmapped, Vector.pageFault, 2), (TestMachine.readOnly + 8, Vector.pageFault, 3),
        (TestMachine.notCanonical, Vector.stackSegment, 0),
    ]

    @Test(arguments: ["pushq %rax", "pushq $1", "pushfq", "pushw %ax", "call *%rax", "call handler"], writeRows)
    func stackWrites(_ text: String, _ expected: (address: UInt64, vector: UInt8, code: UInt32)) throws {
        var test = try TestMachine(text)
        test.machine.cpu[.rax] = TestMachine.code
        test.machine.cpu[.rsp] = expected.address + 0x20
        if expected.vector == Vector.pageFault { test.machine.cpu[.rsp] = expected.address + 8 }
        let fault = test.fault()
        #expect(fault?.vector == expected.vector)
        #expect(fault?.errorCode == expected.code)
    }

    static let readRows: [(address: UInt64, vector: UInt8)] = [
        (TestMachine.unmapped, Vector.pageFault), (TestMachine.notCanonical, Vector.stackSegment),
    ]

    @Test(arguments: ["popq %rax", "popq (%rsi)", "popfq", "retq", "retq $8", "popw %ax", "iretq"], readRows)
    func stackReads(_ text: String, _ expected: (address: UInt64, vector: UInt8)) throws {
        var test = try TestMachine(text)
        test.machine.cpu[.rsp] = expected.address
        test.machine.cpu[.rsi] = TestMachine.data
        let fault = test.fault()
        #expect(fault?.vector == expected.vector)
        #expect(fault?.errorCode == 0)
    }

    /// The second page decides, and its own address is reported; nothing of the first is written.
    @Test(arguments: ["movq %rax, (%rsi)", "movq (%rsi), %rax", "addq %rax, (%rsi)"])
    func crossingIntoAnUnmappedPage(_ text: String) throws {
        var test = try TestMachine(text)
        test.machine.cpu[.rax] = .max
        test.machine.cpu[.rsi] = TestMachine.data + 0x1FFC
        let fault = test.fault()
        #expect(
            fault
                == Fault(
                    Vector.pageFault, errorCode: text.hasSuffix("rax") && !text.hasPrefix("add") ? 0 : 2,
                    address: TestMachine.data + 0x2000))
    }

    /// With the user half of CR3 only what both halves map is there (PTI).
    @Test func userHalfOfThePageTables() throws {
        var test = try TestMachine("movq (%rsi), %rax\nmovq (%rsi), %rax\nmodel $7")
        test.machine.cpu.userHalfBit = 0x1000
        test.machine.cpu.cr3 = 0x1000
        test.machine.cpu[.rsi] = TestMachine.data
        do {
            let fault = test.fault()
            #expect(fault == Fault(Vector.pageFault, errorCode: 0, address: TestMachine.data))
        }
        test.machine.cpu[.rsi] = TestMachine.tss
        #expect(test.step() == .next)
        test.machine.cpu.cr3 = 0
        test.machine.cpu[.rsi] = TestMachine.data
        #expect(test.step() == .next)
        #expect(test.step() == .model(7))
        test.machine.cpu.cr3 = 0x1000
        do {
            let fault = test.fault()
            #expect(fault == Fault(Vector.pageFault, errorCode: 0x10, address: test.rip))
        }
    }

    /// The espfix window: bits 31…16 of an address do not matter, and the alias is read-only.
    @Test func espfixWindow() throws {
        var test = try TestMachine("movq (%rsi), %rax\nmovq %rax, (%rsi)")
        let window: UInt64 = 0xffff_ff00_0000_0000
        let region = Region(name: "espfix", kind: .espfix, base: window, size_bytes: 4096)
        test.machine.memory.alias(region, of: TestMachine.data, .kernelMap)
        test.machine.memory.ignoreBits(0xFFFF_0000, from: window, size_bytes: 1 << 32)
        test.poke(TestMachine.data + 0x40, 0xE5F)
        test.machine.cpu[.rsi] = window + 0xABCD_0040
        #expect(test.step() == .next)
        #expect(test.machine.cpu[.rax] == 0xE5F)
        do {
            let fault = test.fault()
            #expect(fault == Fault(Vector.pageFault, errorCode: 3, address: window + 0xABCD_0040))
        }
        test.machine.jump(to: TestMachine.code, test.program)
        test.machine.cpu[.rsi] = window + 0xABCD_1040
        let beyond = test.fault()
        #expect(beyond?.vector == Vector.pageFault)
    }
}

import Testing

@testable import Machine

/// Privilege and feature checks, and the system instructions behind them.
@Suite struct PrivilegeTests {
    static let privileged = [
        "hlt", "clts", "wbinvd", "swapgs", "rdmsr", "wrmsr", "movq %cr0, %rax", "movq %rax, %cr3", "movq %cr2, %rax",
        "movq %rax, %cr4", "movq %db7, %rax", "movq %rax, %db6", "invlpg (%rsi)", "invpcid (%rsi), %rax", "cli", "sti",
        "inb $0x70, %al", "outl %eax, %dx", "sysretq", "sysretl", "sysexitq",
    ]

    @Test(arguments: privileged)
    func faultOutsideTheKernel(_ text: String) throws {
        var test = try TestMachine(user: text)
        test.enterUser()
        test.machine.cpu[.rcx] = UInt64(MSR.gsBase)
        test.machine.cpu[.rsi] = TestMachine.user
        let fault = test.fault()
        #expect(fault == .generalProtection())
    }

    /// IOPL 3 opens CLI, STI and the ports to user mode, nothing else.
    @Test(arguments: ["cli", "sti", "inb $0x70, %al", "outb %al, %dx"])
    func inputOutputPrivilege(_ text: String) throws {
        var test = try TestMachine(user: text)
        test.enterUser()
        test.machine.cpu.flags |= Flags.iopl
        #expect(test.step() == .next)
    }

    struct Feature: Sendable, CustomTestStringConvertible {
        var text: String
        var traits: ProcessorTraits
        var isUser = false
        /// nil: it executes.
        var vector: UInt8?
        var testDescription: String { "\(text), user \(isUser), \(traits)" }
    }

    private static let plain = ProcessorTraits(vendor: .intel)
    private static let amd = ProcessorTraits(vendor: .amd)
    private static let full = ProcessorTraits(vendor: .amd, smap: true, fsgsbase: true)
    static let features: [Feature] = [
        Feature(text: "clac", traits: plain, vector: 6), Feature(text: "stac", traits: plain, vector: 6),
        Feature(text: "clac", traits: full), Feature(text: "stac", traits: full),
        Feature(text: "clac", traits: full, isUser: true, vector: 6),
        Feature(text: "stac", traits: full, isUser: true, vector: 6),
        Feature(text: "rdgsbase %rax", traits: plain, vector: 6),
        Feature(text: "wrfsbase %rax", traits: plain, vector: 6),
        Feature(text: "rdgsbase %rax", traits: full, isUser: true),
        Feature(text: "wrgsbase %rax", traits: full, isUser: true),
        Feature(text: "ud2", traits: full, vector: 6), Feature(text: "ud2", traits: full, isUser: true, vector: 6),
        Feature(text: "sysenter", traits: amd, vector: 6), Feature(text: "sysexit", traits: amd, vector: 6),
        Feature(text: "sysenter", traits: plain, isUser: true, vector: 13),
        Feature(text: "sysexitq", traits: plain, vector: 13),
        Feature(text: "cpuid", traits: plain, isUser: true), Feature(text: "rdtscp", traits: plain, isUser: true),
        Feature(text: "lfence", traits: plain, isUser: true), Feature(text: "mfence", traits: plain, isUser: true),
        Feature(text: "sfence", traits: plain, isUser: true),
    ]

    @Test(arguments: features)
    func feature(_ item: Feature) throws {
        var test = try TestMachine(item.text, user: item.text, traits: item.traits)
        if item.isUser { test.enterUser() }
        if let vector = item.vector {
            let fault = test.fault()
            #expect(fault == Fault(vector))
        } else {
            #expect(test.step() == .next)
        }
    }

    @Test func accessControlFlag() throws {
        var test = try TestMachine("stac\nclac", traits: Self.full)
        test.step()
        #expect(test.machine.cpu.flags & Flags.alignmentCheck != 0)
        test.step()
        #expect(test.machine.cpu.flags & Flags.alignmentCheck == 0)
    }

    @Test func basesOf32And64Bits() throws {
        let text = "wrgsbase %rax\nwrfsbase %eax\nrdgsbase %ecx\nrdfsbase %rdx\nwrgsbase %rsi"
        var test = try TestMachine(text, traits: Self.full)
        test.machine.cpu[.rax] = 0xffff_8880_1234_5678
        test.machine.cpu[.rsi] = TestMachine.notCanonical
        test.step(4)
        #expect(test.machine.cpu.gsBase == 0xffff_8880_1234_5678)
        #expect(test.machine.cpu.fsBase == 0x1234_5678)
        #expect(test.machine.cpu[.rcx] == 0x1234_5678)
        #expect(test.machine.cpu[.rdx] == 0x1234_5678)
        let fault = test.fault()
        #expect(fault == .generalProtection())
    }

    @Test func swapgsSwapsAndNothingElse() throws {
        var test = try TestMachine("swapgs")
        test.machine.cpu.gsBase = 1
        test.machine.cpu.kernelGSBase = 2
        test.machine.cpu.fsBase = 3
        test.step()
        #expect([test.machine.cpu.gsBase, test.machine.cpu.kernelGSBase, test.machine.cpu.fsBase] == [2, 1, 3])
    }

    // MARK: MSRs

    static let registers: [(number: UInt32, value: UInt64, isAccepted: Bool)] = [
        (MSR.gsBase, 0xffff_8880_0000_0000, true), (MSR.kernelGSBase, 0x7fff_ffff_f000, true),
        (MSR.fsBase, 0x1234, true),
        (MSR.gsBase, TestMachine.notCanonical, false), (MSR.kernelGSBase, TestMachine.notCanonical, false),
        (MSR.lstar, 0xffff_ffff_8100_0000, true), (MSR.lstar, TestMachine.notCanonical, false),
        (MSR.cstar, TestMachine.notCanonical, false),
        (MSR.star, 0x0023_0010_0000_0000, true), (MSR.syscallMask, 0x4_7700, true), (MSR.syscallMask, 1 << 32, false),
        (MSR.sysenterCS, 0x10, true), (MSR.sysenterESP, 0x1000, true),
        (MSR.sysenterESP, TestMachine.notCanonical, false),
        (MSR.sysenterEIP, TestMachine.notCanonical, false), (MSR.speculationControl, 1, true), (0xDEAD, 0, false),
    ]

    @Test(arguments: registers)
    func modelSpecificRegisters(_ row: (number: UInt32, value: UInt64, isAccepted: Bool)) throws {
        var test = try TestMachine("wrmsr\nrdmsr")
        test.machine.cpu[.rcx] = 0xAAAA_AAAA_0000_0000 | UInt64(row.number)
        test.machine.cpu[.rax] = 0xBBBB_BBBB_0000_0000 | row.value & 0xFFFF_FFFF
        test.machine.cpu[.rdx] = 0xCCCC_CCCC_0000_0000 | row.value >> 32
        guard row.isAccepted else {
            let fault = test.fault()
            #expect(fault == .generalProtection())
            return
        }
        test.step(2)
        #expect(test.machine.cpu[.rax] == row.value & 0xFFFF_FFFF)
        #expect(test.machine.cpu[.rdx] == row.value >> 32)
        #expect(test.machine.cost.msrAccesses == 2)
    }

    // MARK: Control and debug registers

    @Test func controlRegisters() throws {
        var test = try TestMachine(
            "movq %rax, %cr3\nmovq %cr3, %rcx\nmovq %rdx, %cr2\nmovq %cr2, %rsi\nmovq %rbx, %cr3")
        test.machine.cpu.cr4 |= 1 << 17
        test.machine.cpu[.rax] = 1 << 63 | 0x1234_1801
        test.machine.cpu[.rdx] = 0x99
        test.machine.cpu[.rbx] = TestMachine.stackTop
        test.step(4)
        #expect(test.machine.cpu[.rcx] == 0x1234_1801, "bit 63 asks not to flush and is not kept")
        #expect(test.machine.cpu[.rsi] == 0x99)
        #expect(test.machine.cost.cr3Writes == 1)
        let fault = test.fault()
        #expect(fault == .generalProtection(), "a stack address has reserved bits")
        #expect(test.machine.cost.cr3Writes == 1)
        var without = try TestMachine("movq %rax, %cr3")
        without.machine.cpu[.rax] = 1 << 63 | 0x1234_1801
        let refused = without.fault()
        #expect(refused == .generalProtection(), "bit 63 is reserved without PCIDs")
    }

    @Test func reservedBitsOfSpeculationRegisters() throws {
        var test = try TestMachine("wrmsr")
        func isTaken(_ number: UInt32, _ value: UInt64) -> Bool { test.machine.writeMSR(number, value) }
        for value: UInt64 in [0, 1, 0x405] {
            let taken = isTaken(MSR.speculationControl, value)
            #expect(taken, "\(value)")
        }
        for value: UInt64 in [1 << 32 | 1, 0x1000] {
            let taken = isTaken(MSR.speculationControl, value)
            #expect(!taken, "\(value)")
        }
        let commands = [isTaken(MSR.predictionCommand, 1), isTaken(MSR.predictionCommand, 2)]
        #expect(commands == [true, false])
    }

    @Test func debugRegisters() throws {
        var test = try TestMachine(
            "movq %rax, %db0\nmovq %rcx, %db7\nmovq %rdx, %db6\nmovq %db6, %rsi\nmovq %db7, %rdi\nmovq %rbx, %db7")
        test.machine.cpu[.rax] = TestMachine.data
        test.machine.cpu[.rcx] = 0xD_0002
        test.machine.cpu[.rbx] = 1 << 32
        test.step(5)
        #expect(test.machine.cpu.watchedAddress == TestMachine.data)
        #expect(test.machine.cpu[.rsi] == 0xFFFF_0FF0)
        #expect(test.machine.cpu[.rdi] == 0xD_0402)
        let fault = test.fault()
        #expect(fault == .generalProtection())
    }

    // MARK: Others

    /// ZF of VERW: writable data that CPL and RPL may use (SDM vol. 2, VERR/VERW).
    static let verified: [(selector: UInt16, cpl: UInt8, isWritable: Bool)] = [
        (0x18, 0, true), (0x2b, 0, true), (0x28, 0, true), (0, 0, false), (0x10, 0, false), (0x4b, 0, false),
        (0x18, 3, false), (0x2b, 3, true), (0x1b, 0, false), (0x7, 3, true), (0xF, 3, false), (0x78, 0, false),
    ]

    @Test(arguments: verified)
    func verw(_ row: (selector: UInt16, cpl: UInt8, isWritable: Bool)) throws {
        for text in ["verw (%rsi)", "verw %ax"] {
            for start in [0, Flags.zero] {
                var test = try TestMachine(text, user: text)
                if row.cpl == 3 { test.enterUser() }
                test.machine.cpu[.rsi] = TestMachine.user
                test.machine.cpu[.rax] = 0xFFFF_0000 | UInt64(row.selector)
                test.poke(TestMachine.user, UInt64(row.selector))
                test.machine.cpu.flags = Flags.alwaysOne | Flags.carry | start
                #expect(test.step() == .next)
                #expect(test.machine.cpu.flags == Flags.alwaysOne | Flags.carry | (row.isWritable ? Flags.zero : 0))
            }
        }
    }

    static let invalidations: [(kind: UInt64, low: UInt64, high: UInt64, isAccepted: Bool)] = [
        (0, 1, TestMachine.data, true), (2, 0, 0, true), (3, 0xFFF, .max, true), (4, 0, 0, false),
        (0, 0x1000, 0, false), (0, 0, TestMachine.notCanonical, false), (2, 0, TestMachine.notCanonical, true),
    ]

    @Test(arguments: invalidations)
    func invpcid(_ row: (kind: UInt64, low: UInt64, high: UInt64, isAccepted: Bool)) throws {
        var test = try TestMachine("invpcid (%rsi), %rax")
        test.machine.cpu[.rax] = row.kind
        test.machine.cpu[.rsi] = TestMachine.data
        test.write([row.low, row.high], at: TestMachine.data)
        let fault = test.fault()
        #expect(fault == (row.isAccepted ? nil : .generalProtection()))
        #expect(test.machine.cost.serialisingInstructions == (row.isAccepted ? 1 : 0))
    }

    static let portRows: [(text: String, result: UInt64)] = [
        ("inb $0x70, %al", 0x1111_2222_3333_44FF), ("inw %dx, %ax", 0x1111_2222_3333_FFFF),
        ("inl %dx, %eax", 0xFFFF_FFFF),
        ("outb %al, $0x70", 0x1111_2222_3333_4444),
    ]

    @Test(arguments: portRows)
    func ports(_ row: (text: String, result: UInt64)) throws {
        var test = try TestMachine(row.text)
        test.machine.cpu[.rax] = 0x1111_2222_3333_4444
        #expect(test.step() == .next)
        #expect(test.machine.cpu[.rax] == row.result)
    }

    @Test func otherEffects() throws {
        var test = try TestMachine("cpuid\nrdtscp\nclts\nhlt")
        for register in [Register.rax, .rbx, .rcx, .rdx] { test.machine.cpu[register] = .max }
        test.step()
        #expect([Register.rax, .rbx, .rcx, .rdx].map { test.machine.cpu[$0] >> 32 } == [0, 0, 0, 0])
        test.machine.stepNumber = 77
        test.machine.cpu[.rdx] = 5
        test.step()
        #expect(test.machine.cpu[.rax] == 77 && test.machine.cpu[.rdx] == 0)
        test.machine.cpu.cr0 |= 8
        test.step()
        #expect(test.machine.cpu.cr0 & 8 == 0)
        let end = TestMachine.code + test.program.instructions[0...3].reduce(0) { $0 + UInt64($1.length) }
        #expect(test.step() == .halted)
        #expect(test.rip == end)
    }
}

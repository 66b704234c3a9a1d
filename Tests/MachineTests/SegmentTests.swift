import Testing

@testable import Machine

@Suite struct SegmentTests {
    struct Load: Sendable, CustomTestStringConvertible {
        var register: String
        var selector: UInt16
        var cpl: UInt8 = 0
        var fault: Fault?
        var testDescription: String { "mov \(String(selector, radix: 16)) to \(register) at \(cpl)" }
    }

    /// SDM vol. 2, MOV: checks of a segment load in order.
    static let loads: [Load] = [
        Load(register: "ss", selector: 0x18), Load(register: "ss", selector: 0),
        Load(register: "ss", selector: 1, fault: .generalProtection()),
        Load(register: "ss", selector: 0x1b, fault: .generalProtection(0x18)),
        Load(register: "ss", selector: 0x2b, fault: .generalProtection(0x28)),
        Load(register: "ss", selector: 0x10, fault: .generalProtection(0x10)),
        Load(register: "ss", selector: 0x50, fault: Fault(12, errorCode: 0x50)),
        Load(register: "ss", selector: 0x78, fault: .generalProtection(0x78)),
        Load(register: "ss", selector: 0x2b, cpl: 3),
        Load(register: "ss", selector: 3, cpl: 3, fault: .generalProtection()),
        Load(register: "ss", selector: 0x4b, cpl: 3, fault: .generalProtection(0x48)),
        Load(register: "ss", selector: 7, cpl: 3),
        Load(register: "ss", selector: 0x43, cpl: 3, fault: Fault(12, errorCode: 0x40)),
        Load(register: "ds", selector: 0x2b), Load(register: "es", selector: 0),
        Load(register: "fs", selector: 3, cpl: 3),
        Load(register: "ds", selector: 0x18, cpl: 3, fault: .generalProtection(0x18)),
        Load(register: "gs", selector: 0x1b, fault: .generalProtection(0x18)),
        Load(register: "fs", selector: 0x33, cpl: 3),
        Load(register: "gs", selector: 0xF, fault: .generalProtection(0xC)),
        Load(register: "es", selector: 0x43, cpl: 3, fault: Fault(11, errorCode: 0x40)),
        Load(register: "ds", selector: 0x7ff8, fault: .generalProtection(0x7ff8)),
    ]

    @Test(arguments: loads)
    func load(_ item: Load) throws {
        for source in ["%eax", "(%rsi)"] {
            let text = "mov \(source), %\(item.register)"
            var test = try TestMachine(text, user: text)
            if item.cpl == 3 { test.enterUser() }
            test.machine.cpu[.rax] = 0xABCD_0000 | UInt64(item.selector)
            test.machine.cpu[.rsi] = TestMachine.user
            test.poke(TestMachine.user, 0xABCD_0000 | UInt64(item.selector))
            let fault = test.fault()
            #expect(fault == item.fault)
            guard item.fault == nil else { continue }
            let number = ["es": 0, "cs": 1, "ss": 2, "ds": 3, "fs": 4, "gs": 5][item.register] ?? 0
            #expect(test.machine.segmentSelector(UInt8(number)) == item.selector)
            #expect(test.machine.cpu.stackShadow == (item.register == "ss"))
        }
    }

    static let reads: [(text: String, result: UInt64)] = [
        ("movw %ss, %ax", 0x1111_2222_3333_0018), ("movl %cs, %eax", 0x10), ("movq %ss, %rax", 0x18),
        ("movq %gs, %rax", 0x2b),
    ]

    @Test(arguments: reads)
    func read(_ row: (text: String, result: UInt64)) throws {
        var test = try TestMachine(row.text)
        test.machine.cpu.gs = 0x2b
        test.machine.cpu[.rax] = 0x1111_2222_3333_4444
        #expect(test.step() == .next)
        #expect(test.machine.cpu[.rax] == row.result)
    }

    @Test func aStoreWritesSixteenBits() throws {
        var test = try TestMachine("mov %ss, (%rsi)")
        test.machine.cpu[.rsi] = TestMachine.data
        test.poke(TestMachine.data, .max)
        test.step()
        #expect(test.peek(TestMachine.data) == 0xffff_ffff_ffff_0018)
    }

    /// A null selector clears the base on Intel and leaves it on AMD (APM vol. 2, 4.5.3).
    @Test(arguments: [ProcessorTraits.Vendor.intel, .amd], ["fs", "gs"])
    func baseOfANullSelector(_ vendor: ProcessorTraits.Vendor, _ register: String) throws {
        var test = try TestMachine(
            "mov %eax, %\(register)\nmov %ecx, %\(register)", traits: ProcessorTraits(vendor: vendor))
        test.machine.cpu.fsBase = 0x1000
        test.machine.cpu.gsBase = 0x1000
        test.machine.cpu[.rcx] = 0x2b
        func base() -> UInt64 { register == "fs" ? test.machine.cpu.fsBase : test.machine.cpu.gsBase }
        test.step()
        #expect(base() == (vendor == .intel ? 0 : 0x1000))
        test.step()
        #expect(base() == 0)
    }
}

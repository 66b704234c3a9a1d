import Assembler
import Machine
import Testing

@testable import XenPV

/// A PV guest with kernel code, user code and a handler; every vector has a row that leads to the handler.
struct TestGuest {
    static let code: UInt64 = 0xffff_ffff_8100_0000
    static let handler: UInt64 = 0xffff_ffff_8200_0000
    static let userCode: UInt64 = 0x40_0000
    /// One page of stack; the example of F2 interrupts a kernel at fd40 of it.
    static let stack: UInt64 = 0xffff_8880_0006_7000
    static let stackTop = stack + 0x1000
    /// The kernel stack registered with `stack_switch`.
    static let kernelTop: UInt64 = 0xffff_8880_0007_1000
    static let user: UInt64 = 0x7f00_0000_0000
    static let vcpuInfo: UInt64 = 0xffff_8880_0010_0000
    static let unmapped: UInt64 = 0xffff_8880_0f00_0000

    var machine: Machine
    var xen: Hypervisor
    let program: Program

    init(_ text: String = "nop\nnop", user userText: String = "nop\nnop", version: XenVersion = .v4_17) throws {
        let source = [("code", text), ("user_code", userText), ("handler", "nop\nnop\nsyscall\nnop")]
            .map { "ENTRY(\($0.0))\n\($0.1)\nEND(\($0.0))\n" }.joined()
        program = try assemble(
            AssemblyInput(
                sources: [SourceText(name: "test", text: source)],
                placements: ["code": Self.code, "user_code": Self.userCode, "handler": Self.handler]))
        var memory = Memory()
        let kernel: PageAttributes = [.kernelMap, .writable]
        let user: PageAttributes = [.kernelMap, .userMap, .writable, .user]
        let pages = [
            (Self.stack, kernel), (Self.kernelTop - 0x1000, kernel), (Self.vcpuInfo, kernel), (Self.user, user),
        ]
        for (base, attributes) in pages {
            memory.map(Region(name: "page", kind: .kernelData, base: base, size_bytes: 4096), attributes)
        }
        memory.freeze()
        machine = Machine(
            traits: ProcessorTraits(vendor: .intel, isParavirtual: true, fsgsbase: true), memory: memory)
        machine.gdt[4] = Descriptor(isCode: true, privilege: 3, isLong: false)
        machine.gdt[5] = Descriptor(isCode: false, privilege: 3)
        machine.gdt[6] = Descriptor(isCode: true, privilege: 3, isLong: true, isBig: false)
        machine.ldt = [
            Descriptor(isCode: true, privilege: 3, isPresent: false, isLong: true, isBig: false),
            Descriptor(isCode: false, privilege: 3, isPresent: false),
        ]
        machine.cpu.cpl = 3
        machine.cpu.cs = Hypervisor.codeSelector
        machine.cpu.ss = Hypervisor.stackSelector
        machine.cpu.guestKernelMode = true
        machine.cpu.userHalfBit = 0x1000
        machine.cpu.gsBase = 0xAAAA
        machine.cpu.kernelGSBase = 0xBBBB
        machine.cpu[.rsp] = Self.stack + 0xd40
        machine.cpu[.rcx] = 0x1111_1111_1111_1111
        machine.cpu[.r11] = 0x2222_2222_2222_2222
        machine.cpu.flags = Flags.alwaysOne | Flags.interrupt | Flags.sign
        machine.activation = 0
        xen = Hypervisor(version: version)
        for vector in 0..<256 {
            xen.trapTable[vector] = TrapTableEntry(address: Self.handler, privilege: 0, masksEvents: true)
        }
        xen.kernelStack = Self.kernelTop
        xen.vcpuInfo = Self.vcpuInfo
        machine.jump(to: Self.code, program)
    }

    mutating func enterUser() {
        xen.toggleMode(&machine)
        machine.cpu.cs = 0x33
        machine.cpu.ss = 0x2b
        machine.cpu[.rsp] = Self.user + 0x800
        machine.jump(to: Self.userCode, program)
    }

    var rip: UInt64 { machine.instructionPointer(program) }
    var isMasked: Bool { Hypervisor.masksEvents(machine.memory.peek(xen.vcpuInfo)) }

    mutating func setMasked(_ masked: Bool) { xen.setEventsMasked(masked, &machine) }

    @discardableResult
    mutating func step() -> Outcome { machine.step(program) }

    @discardableResult
    mutating func deliver(_ event: Event) -> GuestDelivery { xen.deliver(event, activation: 2, &machine, program) }

    mutating func frame(_ event: Event, sourceLocation: SourceLocation = #_sourceLocation) -> UInt64 {
        guard case .entered(_, let frame) = deliver(event) else {
            Issue.record("the domain crashed", sourceLocation: sourceLocation)
            return 0
        }
        return frame
    }

    func words(_ address: UInt64, _ count: Int) -> [UInt64] {
        (0..<count).map { machine.memory.peek(address &+ UInt64($0) * 8) ?? 0xDEAD }
    }

    mutating func write(_ words: [UInt64], at address: UInt64) {
        for (index, word) in words.enumerated() { machine.memory.poke(word, at: address + UInt64(index) * 8) }
    }

    /// Prepares the iret hypercall: rax, r11, rcx, flags, rip, cs, rflags, rsp, ss.
    mutating func iret(_ words: [UInt64]) -> HypercallResult {
        machine.cpu[.rax] = Hypervisor.iretNumber
        machine.cpu[.rsp] = Self.stack + 0x200
        write(words, at: Self.stack + 0x200)
        return xen.hypercall(activation: 3, &machine, program)
    }
}

import Assembler
import Testing

@testable import Machine

/// A machine with a little memory and code in three places: kernel, user and the handler that every gate leads to.
struct TestMachine {
    static let code: UInt64 = 0xffff_ffff_8100_0000
    static let handler: UInt64 = 0xffff_ffff_8200_0000
    static let userCode: UInt64 = 0x40_0000
    /// Two pages of kernel stack.
    static let stack: UInt64 = 0xffff_8880_0000_0000
    static let stackTop = stack + 0x2000
    /// Two pages of kernel data.
    static let data: UInt64 = 0xffff_8880_0010_0000
    static let readOnly: UInt64 = 0xffff_8880_0020_0000
    /// Two pages that user mode may write.
    static let user: UInt64 = 0x7f00_0000_0000
    /// Mapped in both halves of the page tables: the TSS, then a stack for RSP0, then one for IST 1.
    static let tss: UInt64 = 0xffff_fe00_0000_0000
    static let entryTop: UInt64 = 0xffff_fe00_0001_1000
    static let istTop: UInt64 = 0xffff_fe00_0002_1000
    static let unmapped: UInt64 = 0xffff_8880_0f00_0000
    static let notCanonical: UInt64 = 0x8000_0000_0000_0000

    var machine: Machine
    let program: Program

    init(
        _ text: String = "nop", user: String = "nop", handler: String = "nop\nnop\niretq",
        traits: ProcessorTraits = ProcessorTraits(vendor: .intel)
    ) throws {
        let routines = [("code", text), ("user_code", user), ("handler", handler)]
        let source = routines.map { "ENTRY(\($0.0))\n\($0.1)\nEND(\($0.0))\n" }.joined()
        program = try assemble(
            AssemblyInput(
                sources: [SourceText(name: "test", text: source)],
                placements: ["code": Self.code, "user_code": Self.userCode, "handler": Self.handler]))
        var memory = Memory()
        let kernel: PageAttributes = [.kernelMap, .writable]
        let both: PageAttributes = [.kernelMap, .userMap, .writable]
        func map(_ kind: Region.Kind, _ base: UInt64, _ size_bytes: UInt64, _ attributes: PageAttributes) {
            memory.map(Region(name: "\(kind)", kind: kind, base: base, size_bytes: size_bytes), attributes)
        }
        map(.taskStack, Self.stack, 0x2000, kernel)
        map(.kernelData, Self.data, 0x2000, kernel)
        map(.kernelData, Self.readOnly, 0x1000, .kernelMap)
        map(.userData, Self.user, 0x2000, [.kernelMap, .userMap, .writable, .user])
        map(.perCPU, Self.tss, 0x1000, both)
        map(.entryStack, Self.entryTop - 0x1000, 0x1000, both)
        map(.exceptionStack, Self.istTop - 0x1000, 0x1000, both)
        memory.freeze()
        machine = Machine(traits: traits, memory: memory)
        let user = traits.isParavirtual ? 3 : 0
        machine.gdt[1] = Descriptor(isCode: true, privilege: UInt8(user), isLong: false)
        machine.gdt[2] = Descriptor(isCode: true, privilege: UInt8(user), isLong: true, isBig: false)
        machine.gdt[3] = Descriptor(isCode: false, privilege: UInt8(user))
        machine.gdt[4] = Descriptor(isCode: true, privilege: 3, isLong: false)
        machine.gdt[5] = Descriptor(isCode: false, privilege: 3)
        machine.gdt[6] = Descriptor(isCode: true, privilege: 3, isLong: true, isBig: false)
        machine.gdt[7] = Descriptor(isCode: true, privilege: 3, isPresent: false, isLong: true, isBig: false)
        machine.gdt[8] = Descriptor(isCode: false, privilege: 3, isPresent: false)
        machine.gdt[9] = Descriptor(isCode: false, privilege: 3, isWritable: false)
        machine.gdt[10] = Descriptor(isCode: false, privilege: 0, isPresent: false)
        machine.ldt = [Descriptor(isCode: false, privilege: 3, isBig: false)]
        machine.cpu.tssBase = Self.tss
        machine.cpu[.rsp] = Self.stackTop - 0x100
        machine.cpu.flags = Flags.alwaysOne | Flags.interrupt
        machine.activation = 1
        machine.liveActivations = 3
        machine.jump(to: Self.code, program)
        setTSS(at: 4, Self.entryTop)
        setTSS(at: 36, Self.istTop)
    }

    /// Writes an eight-byte field of the TSS, which is not aligned.
    mutating func setTSS(at offset: UInt64, _ value: UInt64) { poke(Self.tss + offset, value, 8) }

    mutating func enterUser() {
        machine.cpu.cpl = 3
        machine.cpu.cs = 0x33
        machine.cpu.ss = 0x2b
        machine.cpu[.rsp] = Self.user + 0x1800
        machine.jump(to: Self.userCode, program)
    }

    var rip: UInt64 { machine.instructionPointer(program) }

    @discardableResult
    mutating func step() -> Outcome { machine.step(program) }

    mutating func step(_ count: Int) { for _ in 0..<count { step() } }

    /// The fault of the next instruction, with a check that nothing else changed.
    mutating func fault(sourceLocation: SourceLocation = #_sourceLocation) -> Fault? {
        let before = Snapshot(self)
        guard case .fault(let fault) = step() else { return nil }
        #expect(Snapshot(self) == before, "a fault changed the state", sourceLocation: sourceLocation)
        return fault
    }

    // MARK: Memory without checks, byte by byte

    func peek(_ address: UInt64, _ count: Int = 8) -> UInt64 {
        (0..<UInt64(count)).reduce(0) { value, index in
            let place = address &+ index
            let word = machine.memory.peek(place) ?? 0
            return value | ((word >> ((place & 7) * 8)) & 0xFF) << (index * 8)
        }
    }

    mutating func poke(_ address: UInt64, _ value: UInt64, _ count: Int = 8) {
        for index in 0..<UInt64(count) {
            let place = address &+ index
            let shift = (place & 7) * 8
            let word = machine.memory.peek(place) ?? 0
            let byte = (value >> (index * 8)) & 0xFF
            machine.memory.poke((word & ~(0xFF << shift)) | byte << shift, at: place)
        }
    }

    /// Writes words from low to high addresses.
    mutating func write(_ words: [UInt64], at address: UInt64) {
        for (index, word) in words.enumerated() { poke(address + UInt64(index) * 8, word) }
    }

    func words(_ address: UInt64, _ count: Int) -> [UInt64] {
        (0..<count).map { peek(address + UInt64($0) * 8) }
    }
}

/// All that a fault must leave alone.
struct Snapshot: Equatable {
    var registers: [UInt64]
    var flags: UInt64
    var rip: UInt64
    var segments: [UInt16]
    var cpl: UInt8
    var system: [UInt64]
    var memory: [UInt64]

    init(_ test: TestMachine) {
        let cpu = test.machine.cpu
        registers = Register.general.map { cpu[$0] }
        flags = cpu.flags
        rip = test.rip
        segments = [cpu.cs, cpu.ss, cpu.ds, cpu.es, cpu.fs, cpu.gs]
        cpl = cpu.cpl
        system = [
            cpu.fsBase, cpu.gsBase, cpu.kernelGSBase, cpu.cr0, cpu.cr2, cpu.cr3, cpu.cr4, cpu.dr6, cpu.dr7, cpu.star,
            cpu.lstar, cpu.cstar, cpu.syscallMask, cpu.sysenterCS, cpu.sysenterESP, cpu.sysenterEIP, cpu.pendingDebug,
            cpu.watchedAddress,
        ]
        memory = test.machine.memory.regions.flatMap { region in
            stride(from: region.base, to: region.end, by: 8).map { test.machine.memory.peek($0) ?? 0 }
        }
    }
}

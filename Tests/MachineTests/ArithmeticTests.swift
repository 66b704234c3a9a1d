import Assembler
import TestSupport
import Testing

@testable import Machine

/// Results and flags the slow way, bit by bit, from the operation sections of SDM vol. 2.
struct Reference {
    var result: UInt64
    var flags: UInt64
    /// Flags that the manual defines for this operation; the others are not compared.
    var defined: UInt64

    private static func status(_ result: UInt64, _ bits: UInt64) -> UInt64 {
        var flags: UInt64 = 0
        if result == 0 { flags |= Flags.zero }
        if result >> (bits - 1) == 1 { flags |= Flags.sign }
        if (0..<8).filter({ result >> UInt64($0) & 1 == 1 }).count % 2 == 0 { flags |= Flags.parity }
        return flags
    }

    /// A ripple-carry adder; a subtraction adds the complement and inverts the carries.
    static func sum(_ a: UInt64, _ b: UInt64, carry: Bool, subtracts: Bool, bits: UInt64) -> Reference {
        var carry = subtracts ? !carry : carry
        var (result, half, intoTop): (UInt64, Bool, Bool) = (0, false, false)
        for bit in 0..<bits {
            let x = a >> bit & 1 == 1
            let y = (b >> bit & 1 == 1) != subtracts
            if bit == bits - 1 { intoTop = carry }
            if (x != y) != carry { result |= 1 << bit }
            carry = (x && y) || (carry && (x || y))
            if bit == 3 { half = carry }
        }
        var flags = status(result, bits)
        if carry != subtracts { flags |= Flags.carry }
        if half != subtracts { flags |= Flags.adjust }
        if carry != intoTop { flags |= Flags.overflow }
        return Reference(result: result, flags: flags, defined: Flags.arithmetic)
    }

    static func logic(_ result: UInt64, bits: UInt64) -> Reference {
        Reference(result: result, flags: status(result, bits), defined: Flags.arithmetic & ~Flags.adjust)
    }

    /// Shifts and rotates one place at a time; `count` is already masked and not zero.
    static func shift(_ name: String, _ value: UInt64, by count: UInt64, bits: UInt64) -> Reference {
        let top: UInt64 = 1 << (bits - 1)
        let mask = top | (top - 1)
        var (result, carry) = (value, false)
        for _ in 0..<count {
            let (low, high) = (result & 1 == 1, result & top != 0)
            switch name {
            case "shl": (result, carry) = ((result << 1) & mask, high)
            case "shr": (result, carry) = (result >> 1, low)
            case "sar": (result, carry) = ((result >> 1) | (result & top), low)
            case "rol": (result, carry) = (((result << 1) & mask) | (high ? 1 : 0), high)
            default: (result, carry) = ((result >> 1) | (low ? top : 0), low)
            }
        }
        let isRotate = name == "rol" || name == "ror"
        var flags = isRotate ? 0 : status(result, bits)
        if carry { flags |= Flags.carry }
        // For one place OF says whether the sign changed (SDM vol. 2, SAL and RCL).
        if (result ^ value) & top != 0 { flags |= Flags.overflow }
        var defined = Flags.carry | (isRotate ? 0 : Flags.zero | Flags.sign | Flags.parity)
        if count == 1 { defined |= Flags.overflow }
        // SHL and SHR leave CF undefined beyond the operand's size.
        if count > bits && !isRotate && name != "sar" { defined &= ~Flags.carry }
        return Reference(result: result, flags: flags, defined: defined)
    }
}

enum Operand: String, CaseIterable {
    case registers, toMemory, fromMemory, unaligned, crossing
}

@Suite struct ArithmeticTests {
    static let widths: [(suffix: String, width: Width)] = [("b", .byte), ("w", .word), ("l", .long), ("q", .quad)]
    static let interesting: [UInt64] = [
        0, 1, 2, 7, 8, 0xF, 0x10, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF,
        .max, 1 << 63, .max >> 1,
    ]

    private func value(_ random: inout SeededRandom) -> UInt64 {
        random.chance(50) ? random.pick(Self.interesting) : random.next()
    }

    private func name(_ register: String, _ width: Width) -> String {
        let names = [
            "a": ["al", "ax", "eax", "rax"], "c": ["cl", "cx", "ecx", "rcx"], "d": ["dl", "dx", "edx", "rdx"],
        ]
        let index = [Width.byte: 0, .word: 1, .long: 2, .quad: 3][width] ?? 3
        return "%" + (names[register]?[index] ?? "")
    }

    /// Where the memory operand lies: aligned, inside a word, over a page boundary.
    private func place(_ operand: Operand) -> UInt64 {
        switch operand {
        case .unaligned: TestMachine.data + 0x103
        case .crossing: TestMachine.data + 0xFFF
        default: TestMachine.data + 0x100
        }
    }

    /// What a register holds after a write of the given width.
    private func merged(_ old: UInt64, _ result: UInt64, _ width: Width) -> UInt64 {
        switch width {
        case .quad: result
        case .long: result & 0xFFFF_FFFF
        default: (old & ~width.mask) | (result & width.mask)
        }
    }

    private func expected(_ name: String, _ a: UInt64, _ b: UInt64, carry: Bool, _ bits: UInt64) -> Reference {
        switch name {
        case "add": .sum(a, b, carry: false, subtracts: false, bits: bits)
        case "adc": .sum(a, b, carry: carry, subtracts: false, bits: bits)
        case "sbb": .sum(a, b, carry: carry, subtracts: true, bits: bits)
        case "sub", "cmp": .sum(a, b, carry: false, subtracts: true, bits: bits)
        case "and", "test": .logic(a & b, bits: bits)
        case "or": .logic(a | b, bits: bits)
        default: .logic(a ^ b, bits: bits)
        }
    }

    @Test(arguments: ["add", "adc", "sub", "sbb", "cmp", "and", "or", "xor", "test"], Operand.allCases)
    func twoOperands(_ mnemonic: String, _ operand: Operand) throws {
        let seed: UInt64 = 0xA51
        var random = SeededRandom(seed: seed)
        for (suffix, width) in Self.widths {
            let text =
                switch operand {
                case .registers: "\(mnemonic)\(suffix) \(name("c", width)), \(name("a", width))"
                case .fromMemory: "\(mnemonic)\(suffix) (%rsi), \(name("a", width))"
                default: "\(mnemonic)\(suffix) \(name("c", width)), (%rsi)"
                }
            var test = try TestMachine(text)
            for _ in 0..<100 {
                let (a, b) = (value(&random), value(&random))
                let start = Flags.alwaysOne | (random.next() & (Flags.arithmetic | Flags.direction))
                let place = place(operand)
                test.machine.jump(to: TestMachine.code, test.program)
                test.machine.cpu.flags = start
                test.machine.cpu[.rsi] = place
                test.machine.cpu[.rax] = a
                test.machine.cpu[.rcx] = b
                for offset in [-8, 0, 8] as [Int64] {
                    test.poke(place &+ UInt64(bitPattern: offset), 0x5A5A_5A5A_5A5A_5A5A)
                }
                test.poke(place, operand == .fromMemory ? b : a, Int(width.rawValue))
                #expect(test.step() == .next)
                let reference = expected(
                    mnemonic, a & width.mask, b & width.mask, carry: start & Flags.carry != 0, width.bits)
                let keeps = mnemonic == "cmp" || mnemonic == "test"
                let context: Comment = "seed \(seed): \(text) with \(a), \(b), flags \(start)"
                if operand == .registers || operand == .fromMemory {
                    #expect(test.machine.cpu[.rax] == (keeps ? a : merged(a, reference.result, width)), context)
                } else {
                    let result = keeps ? a & width.mask : reference.result
                    #expect(test.peek(place, Int(width.rawValue)) == result, context)
                    #expect(test.peek(place - 8) == 0x5A5A_5A5A_5A5A_5A5A, context)
                    #expect(test.peek(place + UInt64(width.rawValue), 1) == 0x5A, context)
                }
                #expect(test.machine.cpu.flags & reference.defined == reference.flags & reference.defined, context)
                #expect(test.machine.cpu.flags & ~Flags.arithmetic == start & ~Flags.arithmetic, context)
            }
        }
    }

    @Test(arguments: ["inc", "dec", "neg", "not"], [false, true])
    func oneOperand(_ mnemonic: String, _ usesMemory: Bool) throws {
        let seed: UInt64 = 0x0E0
        var random = SeededRandom(seed: seed)
        for (suffix, width) in Self.widths {
            let text = "\(mnemonic)\(suffix) \(usesMemory ? "(%rsi)" : name("a", width))"
            var test = try TestMachine(text)
            for _ in 0..<100 {
                let a = value(&random)
                let start = Flags.alwaysOne | (random.next() & Flags.arithmetic)
                test.machine.jump(to: TestMachine.code, test.program)
                test.machine.cpu.flags = start
                test.machine.cpu[.rsi] = TestMachine.data + 0xFFD
                test.machine.cpu[.rax] = a
                test.poke(TestMachine.data + 0xFFD, a)
                #expect(test.step() == .next)
                let input = a & width.mask
                var reference: Reference =
                    switch mnemonic {
                    case "inc": .sum(input, 1, carry: false, subtracts: false, bits: width.bits)
                    case "dec": .sum(input, 1, carry: false, subtracts: true, bits: width.bits)
                    case "neg": .sum(0, input, carry: false, subtracts: true, bits: width.bits)
                    default:
                        Reference(
                            result: ~input & width.mask, flags: start & Flags.arithmetic, defined: Flags.arithmetic)
                    }
                if mnemonic == "inc" || mnemonic == "dec" {
                    reference.flags = (reference.flags & ~Flags.carry) | (start & Flags.carry)
                }
                let result = usesMemory ? test.peek(TestMachine.data + 0xFFD) : test.machine.cpu[.rax]
                let context: Comment = "seed \(seed): \(text) with \(a)"
                let full = usesMemory ? (a & ~width.mask) | reference.result : merged(a, reference.result, width)
                #expect(result == full, context)
                #expect(test.machine.cpu.flags & Flags.arithmetic == reference.flags & Flags.arithmetic, context)
            }
        }
    }

    @Test(arguments: ["shl", "shr", "sar", "rol", "ror"], [false, true])
    func shifts(_ mnemonic: String, _ usesMemory: Bool) throws {
        let seed: UInt64 = 0x5417
        var random = SeededRandom(seed: seed)
        for (suffix, width) in Self.widths {
            let text = "\(mnemonic)\(suffix) %cl, \(usesMemory ? "(%rsi)" : name("a", width))"
            var test = try TestMachine(text)
            for _ in 0..<150 {
                let (a, count) = (value(&random), random.chance(30) ? random.pick([0, 1, 32, 64]) : random.next())
                let masked = count & (width == .quad ? 63 : 31)
                let start = Flags.alwaysOne | (random.next() & Flags.arithmetic)
                test.machine.jump(to: TestMachine.code, test.program)
                test.machine.cpu.flags = start
                test.machine.cpu[.rsi] = TestMachine.data
                test.machine.cpu[.rax] = a
                test.machine.cpu[.rcx] = count
                test.poke(TestMachine.data, a)
                #expect(test.step() == .next)
                let reference =
                    masked == 0
                    ? Reference(result: a & width.mask, flags: start, defined: Flags.arithmetic)
                    : Reference.shift(mnemonic, a & width.mask, by: masked, bits: width.bits)
                let result = usesMemory ? test.peek(TestMachine.data) : test.machine.cpu[.rax]
                let full = usesMemory ? (a & ~width.mask) | reference.result : merged(a, reference.result, width)
                let context: Comment = "seed \(seed): \(text) with \(a) by \(count)"
                #expect(result == full, context)
                #expect(test.machine.cpu.flags & reference.defined == reference.flags & reference.defined, context)
                if mnemonic == "rol" || mnemonic == "ror" {
                    let kept = Flags.zero | Flags.sign | Flags.parity | Flags.adjust
                    #expect(test.machine.cpu.flags & kept == start & kept, context)
                }
            }
        }
    }

    @Test(arguments: ["bt", "bts", "btr", "btc"], [("w", Width.word), ("l", .long), ("q", .quad)])
    func bits(_ mnemonic: String, _ size: (suffix: String, width: Width)) throws {
        let seed: UInt64 = 0xB175
        var random = SeededRandom(seed: seed)
        let (suffix, width) = size
        var memory = try TestMachine("\(mnemonic)\(suffix) \(name("c", width)), (%rsi)")
        var register = try TestMachine("\(mnemonic)\(suffix) \(name("c", width)), \(name("a", width))")
        for _ in 0..<100 {
            // A register offset counts bits from the operand in both directions.
            let offset = Int64(random.next() % 1024) - 512
            let a = random.next()
            let base = TestMachine.data + 0x1000
            let byte = base &+ UInt64(bitPattern: offset >> 3)
            let old = UInt64(random.next() & 0xFF)
            memory.machine.jump(to: TestMachine.code, memory.program)
            memory.machine.cpu[.rsi] = base
            memory.machine.cpu[.rcx] = UInt64(bitPattern: offset)
            memory.poke(byte, old, 1)
            #expect(memory.step() == .next)
            let mask: UInt64 = 1 << UInt64(offset & 7)
            func changed(_ value: UInt64, _ mask: UInt64) -> UInt64 {
                switch mnemonic {
                case "bts": value | mask
                case "btr": value & ~mask
                case "btc": value ^ mask
                default: value
                }
            }
            let context: Comment = "seed \(seed): \(mnemonic)\(suffix) \(offset)"
            #expect(memory.peek(byte, 1) == changed(old, mask), context)
            #expect((memory.machine.cpu.flags & Flags.carry != 0) == (old & mask != 0), context)
            // A register operand takes the offset modulo its size.
            register.machine.jump(to: TestMachine.code, register.program)
            register.machine.cpu[.rax] = a
            register.machine.cpu[.rcx] = UInt64(bitPattern: offset)
            #expect(register.step() == .next)
            let bit: UInt64 = 1 << (UInt64(bitPattern: offset) % width.bits)
            let result = mnemonic == "bt" ? a : merged(a, changed(a, bit), width)
            #expect(register.machine.cpu[.rax] == result, context)
            #expect((register.machine.cpu.flags & Flags.carry != 0) == (a & bit != 0), context)
        }
    }

    @Test(arguments: [
        ("addl $-1, %eax", 0x1_0000_0001 as UInt64, 0 as UInt64), ("addq $-1, %rax", 5, 4),
        ("subb $1, %al", 0x100, 0x1FF),
        ("andl $-16, %eax", 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFF0), ("andq $-16, %rax", 0x123, 0x120),
        ("orw $0x8000, %ax", 0x1_0001, 0x1_8001), ("xorl %eax, %eax", .max, 0),
        ("btsq $63, %rax", 1, 0x8000_0000_0000_0001),
        ("btrl $0, %eax", .max, 0xFFFF_FFFE), ("shll $0, %eax", .max, 0xFFFF_FFFF), ("shlq $0, %rax", .max, .max),
    ])
    func immediates(_ text: String, _ before: UInt64, _ after: UInt64) throws {
        var test = try TestMachine(text)
        test.machine.cpu[.rax] = before
        #expect(test.step() == .next)
        #expect(test.machine.cpu[.rax] == after)
    }
}

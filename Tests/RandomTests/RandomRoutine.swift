import Assembler
import Machine
import TestSupport

/// AT&T text of routines changed at random, or made of nothing but chance.
struct RandomRoutine {
    var random: SeededRandom
    /// Names that a jump may lead to besides the routine's own labels.
    var symbols: [String] = []

    /// Lines that entry code may well contain.
    private static let lines = [
        "pushq %rax", "popq %rbx", "addq $8, %rsp", "subq $8, %rsp", "swapgs", "cli", "sti", "std", "cld", "iretq",
        "hlt", "ud2", "int3", "movq %rsp, %rdi", "movq %rdi, %rsp", "movq %rax, %cr3", "movq %cr3, %rax",
        "xorl %eax, %eax", "movl %eax, %ss", "popfq", "pushfq", "sysretq", "ret", "syscall", "sysenter",
        "movq (%rsp), %rsp", "xchgq %rsp, %rbp", "leaq -48(%rsp), %rsp", "testb $3, 0x88(%rsp)", "wrmsr", "rdmsr",
        "int $0x80", "movq $-1, (%rsp)", "popq %rsp", "lfence", "verw (%rsp)", "movq %cr2, %rdx", "movq %rax, %cr2",
        "movq $0, %gs:0x1004", "movw %ax, %ds", "movw %ax, %gs", "movw %ax, %fs", "movl $0xc0000101, %ecx", "clac",
        "movl $0xc0000102, %ecx", "xorl %edx, %edx", "movq $0, %dr7", "movq %rax, %dr7", "movq %dr6, %rax", "iretl",
        "sysretl", "wrgsbase %rax", "rdgsbase %rax", "movabsq $0xffff888000000000, %rsp", "movq $8, %rsp",
        "lretq", "rep ret", "model $3", "model $99999", "pushq $-1", "subq $0x7fffffff, %rsp", "incq (%rsp)",
        "cmpxchgq %rax, (%rsp)", "movaps %xmm0, (%rsp)", "lock incl (%rsp)", "1: jmp 1b", "1: jz 1b", "call 1f; 1:",
        "jmp . + 1", "jmp *%rax", "call *(%rsp)", "jmp *8(%rsp)", "movq %gs:0(%rax), %rsp",
    ]
    /// What the assembler expands: too much, without end, or to something.
    private static let macros = [
        ".macro R\n\tR\n\tR\n\t.endm\n\tR", ".rept 9999\n\tnop\n\t.endr", ".rept 3\n\tpushq %rax\n\t.endr",
        ".macro A x\n\tB \\x\\x\n\t.endm\n\t.macro B x\n\tA \\x\\x\n\t.endm\n\tA 1",
        ".irp r, rax, rbx\n\tpushq %\\r\n\t.endr",
        ".if 1\n\tcli\n\t.else\n\tsti\n\t.endif", ".set x, x + 1", ".rept 200\n\t.rept 200\n\tnop\n\t.endr\n\t.endr",
    ]
    private static let quads = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    ]
    private static let groups: [[String]] = [
        quads, ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r15d"],
        ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"], ["al", "cl", "dl", "bl", "sil", "r8b"],
        ["ds", "es", "fs", "gs", "ss"], ["cr0", "cr2", "cr3", "cr4"], ["dr0", "dr6", "dr7"],
    ]
    private static let conditions = [
        "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g",
    ]
    private static let numbers: [Int64] = [
        0, 1, -1, 8, -8, 3, 16, 24, 40, 48, 120, 127, 128, 136, -128, 0xFF, 0x1000, 0x7FFF_FFFF, -0x8000_0000,
        0xC000_0101, 0xC000_0102,
    ]

    // MARK: Changes

    /// - Parameter donor: Another routine, of which lines may be taken.
    mutating func change(_ text: String, times: Int, donor: String = "") -> String {
        var lines = text.split(separator: "\n").map(String.init)
        for _ in 0..<times {
            let places = lines.indices.filter { lines[$0].hasPrefix("\t") }
            guard !places.isEmpty else { break }
            change(&lines, at: random.pick(places), places, donor)
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private mutating func change(_ lines: inout [String], at place: Int, _ places: [Int], _ donor: String) {
        switch random.next() % 20 {
        case 0...3: lines.remove(at: place)
        case 4: lines.insert(lines[place], at: place)
        case 5:
            if let next = places.first(where: { $0 > place }) { lines.swapAt(place, next) }
        case 6: lines.swapAt(place, random.pick(places))
        case 7...9: lines[place] = otherRegister(lines[place])
        case 10...12: lines[place] = otherNumber(lines[place])
        case 13: lines[place] = otherCondition(lines[place])
        case 14, 15: lines[place] = otherTarget(lines[place], lines)
        case 16:
            let others = donor.split(separator: "\n").filter { $0.hasPrefix("\t") }
            guard !others.isEmpty else { return }
            let first = Int(random.next() % UInt64(others.count))
            lines.insert(contentsOf: others[first..<min(others.count, first + 3)].map(String.init), at: place)
        case 17: lines.removeSubrange(place..<min(place + 1 + Int(random.next() % 4), lines.count - 1))
        case 18: lines.insert("\t" + random.pick(Self.lines), at: place)
        default: lines.insert("\t" + anyInstruction(), at: place)
        }
    }

    private mutating func otherRegister(_ line: String) -> String {
        var places: [(Range<String.Index>, [String])] = []
        var rest = line[...]
        while let sign = rest.firstIndex(of: "%") {
            let start = rest.index(after: sign)
            let name = rest[start...].prefix { $0.isLetter || $0.isNumber }
            if let group = Self.groups.first(where: { $0.contains(String(name)) }) {
                places.append((name.startIndex..<name.endIndex, group))
            }
            rest = rest[name.endIndex...]
        }
        guard !places.isEmpty else { return line }
        let (range, group) = random.pick(places)
        return line.replacingCharacters(in: range, with: random.pick(group))
    }

    private mutating func otherNumber(_ line: String) -> String {
        let text = Array(line)
        var places: [Range<Int>] = []
        var index = 0
        while index < text.count {
            guard text[index].isNumber, index > 0, "$-(, +".contains(text[index - 1]) else {
                index += 1
                continue
            }
            let start = text[index - 1] == "-" ? index - 1 : index
            var end = index
            while end < text.count, text[end].isHexDigit || text[end] == "x" { end += 1 }
            places.append(start..<end)
            index = end
        }
        guard !places.isEmpty else { return line }
        let place = random.pick(places)
        let old = Self.value(String(text[place])) ?? 0
        let new: Int64 =
            switch random.next() % 6 {
            case 0: old &+ 8
            case 1: old &- 8
            case 2: old ^ 1 << Int64(random.next() % 32)
            case 3: 0 &- old
            default: random.pick(Self.numbers)
            }
        return String(text[..<place.lowerBound]) + "\(new)" + String(text[place.upperBound...])
    }

    private static func value(_ text: String) -> Int64? {
        let isNegative = text.hasPrefix("-")
        let digits = isNegative ? text.dropFirst() : text[...]
        let value = digits.hasPrefix("0x") ? UInt64(digits.dropFirst(2), radix: 16) : UInt64(digits)
        return value.map { isNegative ? 0 &- Int64(truncatingIfNeeded: $0) : Int64(truncatingIfNeeded: $0) }
    }

    private mutating func otherCondition(_ line: String) -> String {
        let name = line.dropFirst().prefix { $0 != " " }
        guard name.hasPrefix("j"), name != "jmp" else { return otherRegister(line) }
        return "\tj\(random.pick(Self.conditions))" + line[name.endIndex...]
    }

    private mutating func otherTarget(_ line: String, _ lines: [String]) -> String {
        let name = line.dropFirst().prefix { $0 != " " }
        guard name.hasPrefix("j") || name == "call" else { return otherNumber(line) }
        let labels = lines.filter { $0.hasSuffix(":") }.map { String($0.dropLast()) }
        let target = random.chance(80) && !labels.isEmpty ? random.pick(labels) : anySymbol()
        return "\t\(name) \(target)"
    }

    private mutating func anySymbol() -> String { symbols.isEmpty ? "error_entry" : random.pick(symbols) }

    private mutating func anyInstruction() -> String {
        var generator = RandomInstruction(random: SeededRandom(seed: random.next()))
        return InstructionPrinter().text(generator.next(), at: 0xFFFF_FFFF_8100_0000)
    }

    // MARK: From nothing

    /// A routine of random instructions, with labels that its jumps lead to.
    mutating func make(_ name: String) -> String {
        var text = "ENTRY(\(name))\n"
        let count = 1 + random.next() % 60
        for number in 0..<count {
            if number % 4 == 0 { text += ".Lrandom_\(number):\n" }
            let label = ".Lrandom_\(random.next() % count / 4 * 4)"
            let line: String =
                switch random.next() % 12 {
                case 0: "j\(random.pick(Self.conditions)) \(label)"
                case 1: random.chance(40) ? "jmp \(label)" : "call \(label)"
                case 2: random.chance(50) ? "jmp \(anySymbol())" : "call \(anySymbol())"
                case 3...6: random.pick(Self.lines)
                case 7 where random.chance(10): random.pick(Self.macros)
                case 7: "movq $\(random.pick(Self.numbers)), %\(random.pick(Self.quads))"
                case 8: "pushq %\(random.pick(Self.quads))"
                default: anyInstruction()
                }
            text += "\t\(line)\n"
        }
        return text + "END(\(name))\n"
    }
}

extension String {
    func replacingCharacters(in range: Range<Index>, with text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}

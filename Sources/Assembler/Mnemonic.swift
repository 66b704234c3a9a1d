import Machine

/// Instructions that share their operand forms.
enum Family: UInt8, Sendable {
    case plain, arithmetic, test, move, moveAbsolute, extend, lea, push, pop, flags, exchange, conditionalMove, set
    case unary, shift, bit, jump, conditionalJump, call, ret, interrupt, verify, invalidatePCID, invalidatePage
    case segmentBase, input, output, nop, model, lockPrefix, repeatPrefix
    /// Known to the assembler, impossible in 64-bit mode.
    case invalid
}

/// One spelling of an instruction.
struct Mnemonic: Sendable {
    var family: Family
    var opcode: Opcode
    /// The suffix, or nil where operands decide.
    var width: Width?
    var condition: Condition
    /// For `movzx` and `movsx`: the suffix of the source, if written.
    var sourceWidth: Width?

    init(
        _ family: Family, _ opcode: Opcode, _ width: Width? = nil, condition: Condition = .o, sourceWidth: Width? = nil
    ) {
        self.family = family
        self.opcode = opcode
        self.width = width
        self.condition = condition
        self.sourceWidth = sourceWidth
    }

    /// Suffixes and their sizes.
    static let suffixes: [(String, Width)] = [("b", .byte), ("w", .word), ("l", .long), ("q", .quad)]

    /// Every spelling of every condition; the first of each is the one that prints.
    static let conditions: [(String, Condition)] = [
        ("o", .o), ("no", .no), ("b", .b), ("c", .b), ("nae", .b), ("ae", .ae), ("nc", .ae), ("nb", .ae), ("e", .e),
        ("z", .e), ("ne", .ne), ("nz", .ne), ("be", .be), ("na", .be), ("a", .a), ("nbe", .a), ("s", .s), ("ns", .ns),
        ("p", .p), ("pe", .p), ("np", .np), ("po", .np), ("l", .l), ("nge", .l), ("ge", .ge), ("nl", .ge), ("le", .le),
        ("ng", .le), ("g", .g), ("nle", .g),
    ]

    /// How a condition prints: `e` of `je`.
    static func text(_ condition: Condition) -> String {
        for (name, candidate) in conditions where candidate == condition { return name }
        return "o"
    }

    /// How a size prints: `q` of `movq`.
    static func suffix(_ width: Width) -> String {
        switch width {
        case .byte: "b"
        case .word: "w"
        case .long: "l"
        case .quad: "q"
        }
    }

    /// Instructions without operands whose name does not depend on a size.
    static let plain: [(String, Opcode)] = [
        ("int3", .int3), ("syscall", .syscall), ("sysenter", .sysenter), ("swapgs", .swapgs), ("rdmsr", .rdmsr),
        ("wrmsr", .wrmsr), ("cli", .cli), ("sti", .sti), ("cld", .cld), ("std", .std), ("clac", .clac), ("stac", .stac),
        ("lfence", .lfence), ("mfence", .mfence), ("sfence", .sfence), ("wbinvd", .wbinvd), ("clts", .clts),
        ("hlt", .hlt), ("ud2", .ud2), ("pause", .pause), ("endbr64", .endbr64), ("rdtsc", .rdtsc), ("rdtscp", .rdtscp),
        ("cpuid", .cpuid),
    ]

    /// Families whose spellings are a name with an optional suffix.
    static let suffixed: [(String, Family, Opcode)] = [
        ("add", .arithmetic, .add), ("sub", .arithmetic, .sub), ("adc", .arithmetic, .adc), ("sbb", .arithmetic, .sbb),
        ("and", .arithmetic, .and), ("or", .arithmetic, .or), ("xor", .arithmetic, .xor), ("cmp", .arithmetic, .cmp),
        ("test", .test, .test), ("mov", .move, .mov), ("lea", .lea, .lea), ("push", .push, .push), ("pop", .pop, .pop),
        ("pushf", .flags, .pushf), ("popf", .flags, .popf), ("xchg", .exchange, .xchg), ("not", .unary, .not),
        ("neg", .unary, .neg), ("inc", .unary, .inc), ("dec", .unary, .dec), ("shl", .shift, .shl),
        ("sal", .shift, .shl),
        ("shr", .shift, .shr), ("sar", .shift, .sar), ("rol", .shift, .rol), ("ror", .shift, .ror), ("bt", .bit, .bt),
        ("bts", .bit, .bts), ("btr", .bit, .btr), ("btc", .bit, .btc), ("jmp", .jump, .jmp), ("call", .call, .call),
        ("ret", .ret, .ret), ("in", .input, .in), ("out", .output, .out), ("nop", .nop, .nop),
    ]

    /// Every spelling; where two agree, the first wins (`cmovl` is "less", not a long move).
    static let all: [(String, Mnemonic)] = {
        var all: [(String, Mnemonic)] = plain.map { ($0.0, Mnemonic(.plain, $0.1)) }
        for (name, family, opcode) in suffixed {
            all.append((name, Mnemonic(family, opcode)))
            for (suffix, width) in suffixes { all.append((name + suffix, Mnemonic(family, opcode, width))) }
        }
        for (suffix, width) in suffixes {
            all.append(("movabs" + suffix, Mnemonic(.moveAbsolute, .mov, width)))
            guard width != .byte else { continue }
            all.append(("iret" + suffix, Mnemonic(.plain, .iret, width)))
            guard width != .word else { continue }
            all.append(("sysret" + suffix, Mnemonic(.plain, .sysret, width)))
            all.append(("sysexit" + suffix, Mnemonic(.plain, .sysexit, width)))
        }
        all.append(("movabs", Mnemonic(.moveAbsolute, .mov)))
        // Without a suffix the GNU assembler takes the 32-bit form.
        all.append(("iret", Mnemonic(.plain, .iret, .long)))
        all.append(("sysret", Mnemonic(.plain, .sysret, .long)))
        all.append(("sysexit", Mnemonic(.plain, .sysexit, .long)))
        for (stem, opcode) in [("movz", Opcode.movzx), ("movs", Opcode.movsx)] {
            all.append((stem + "x", Mnemonic(.extend, opcode)))
            for (from, source) in suffixes where source != .quad && (source != .long || opcode == .movsx) {
                for (to, width) in suffixes where width.rawValue > source.rawValue {
                    all.append((stem + from + to, Mnemonic(.extend, opcode, width, sourceWidth: source)))
                }
                if source != .long { all.append((stem + from, Mnemonic(.extend, opcode, sourceWidth: source))) }
            }
        }
        all.append(("lsl", Mnemonic(.conditionalMove, .lsl)))
        for (suffix, width) in suffixes where width != .byte {
            all.append(("lsl" + suffix, Mnemonic(.conditionalMove, .lsl, width)))
        }
        all.append(("movsxd", Mnemonic(.extend, .movsx, sourceWidth: .long)))
        for (name, condition) in conditions {
            all.append(("j" + name, Mnemonic(.conditionalJump, .jcc, condition: condition)))
            all.append(("set" + name, Mnemonic(.set, .set, condition: condition)))
            all.append(("cmov" + name, Mnemonic(.conditionalMove, .cmov, condition: condition)))
        }
        for (name, condition) in conditions {
            all.append(("set" + name + "b", Mnemonic(.set, .set, .byte, condition: condition)))
            for (suffix, width) in suffixes where width != .byte {
                all.append(("cmov" + name + suffix, Mnemonic(.conditionalMove, .cmov, width, condition: condition)))
            }
        }
        for (name, opcode) in [
            ("rdfsbase", Opcode.rdfsbase), ("wrfsbase", .wrfsbase), ("rdgsbase", .rdgsbase), ("wrgsbase", .wrgsbase),
        ] {
            all.append((name, Mnemonic(.segmentBase, opcode)))
        }
        all.append(("int", Mnemonic(.interrupt, .int)))
        all.append(("verw", Mnemonic(.verify, .verw)))
        all.append(("invpcid", Mnemonic(.invalidatePCID, .invpcid)))
        all.append(("invlpg", Mnemonic(.invalidatePage, .invlpg)))
        all.append(("model", Mnemonic(.model, .model)))
        all.append(("lock", Mnemonic(.lockPrefix, .nop)))
        for name in ["rep", "repe", "repz"] { all.append((name, Mnemonic(.repeatPrefix, .nop))) }
        for name in [
            "pusha", "popa", "pushal", "popal", "into", "bound", "aaa", "aas", "daa", "das", "arpl", "lds", "les",
        ] {
            all.append((name, Mnemonic(.invalid, .nop)))
        }
        return all
    }()
}

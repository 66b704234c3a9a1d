import Machine

/// What a name means where a statement starts, after `%`, or in an expression.
struct Meaning: Sendable {
    /// Index into `Vocabulary.mnemonics`, or -1.
    var mnemonic: Int16 = -1
    var directive: Directive = .none
    /// `RegisterName.code`, or -1.
    var register: Int16 = -1
    /// Index of the macro, or -1.
    var macro: Int32 = -1
    /// Index of the symbol, or -1.
    var symbol: Int32 = -1
}

/// The names known before the first line: mnemonics, directives and registers.
///
/// Built once; an assembly starts from a copy, which costs two array copies.
struct Vocabulary: Sendable {
    var names = NameTable()
    var meanings: [Meaning] = []
    var mnemonics: [Mnemonic] = []

    static let standard = Vocabulary()

    private init() {
        for (name, register) in RegisterName.all { self[name].register = register.code }
        for (name, directive) in Directive.all { self[name].directive = directive }
        for (name, mnemonic) in Mnemonic.all where self[name].mnemonic < 0 {
            self[name].mnemonic = Int16(truncatingIfNeeded: mnemonics.count)
            mnemonics.append(mnemonic)
        }
    }

    private subscript(name: String) -> Meaning {
        mutating get {
            let number = names.intern(name)
            if number == meanings.count { meanings.append(Meaning()) }
            return meanings[number]
        }
        set {
            let number = names.intern(name)
            if number == meanings.count { meanings.append(Meaning()) }
            meanings[number] = newValue
        }
    }
}

/// A register as written after `%`.
struct RegisterName: Sendable, Hashable {
    enum Kind: UInt8, Sendable {
        case byte, word, long, quad, segment, control, debug, instructionPointer
        /// Known to the processor, not to the model.
        case unsupported
    }

    var kind: Kind
    var number: UInt8

    var code: Int16 { Int16(kind.rawValue) << 8 | Int16(number) }

    init(_ kind: Kind, _ number: UInt8) {
        self.kind = kind
        self.number = number
    }

    init(code: Int16) {
        kind = Kind(rawValue: UInt8(truncatingIfNeeded: code >> 8)) ?? .unsupported
        number = UInt8(truncatingIfNeeded: code)
    }

    /// The general register, or `.none` for the other kinds.
    var general: Register {
        kind.rawValue <= Kind.quad.rawValue ? Register(rawValue: number) ?? .none : .none
    }

    /// The size of a general register.
    var width: Width? {
        switch kind {
        case .byte: .byte
        case .word: .word
        case .long: .long
        case .quad: .quad
        default: nil
        }
    }

    private static let legacy = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]

    /// AT&T name of a general register, without `%`.
    static func text(_ register: Register, _ width: Width) -> String {
        if register == .rip { return "rip" }
        if register == .none { return "none" }
        let number = Int(register.rawValue)
        if number >= 8 {
            switch width {
            case .byte: return "r\(number)b"
            case .word: return "r\(number)w"
            case .long: return "r\(number)d"
            case .quad: return "r\(number)"
            }
        }
        let base = legacy[number]
        switch width {
        case .byte:
            if number < 4 { return String(base.prefix(1)) + "l" }
            return base + "l"
        case .word: return base
        case .long: return "e" + base
        case .quad: return "r" + base
        }
    }

    /// AT&T name of a segment register, without `%`.
    static func text(_ segment: SegmentRegister) -> String {
        switch segment {
        case .es: "es"
        case .cs: "cs"
        case .ss: "ss"
        case .ds: "ds"
        case .fs: "fs"
        case .gs: "gs"
        case .none: "none"
        }
    }

    static let all: [(String, RegisterName)] = {
        var all: [(String, RegisterName)] = []
        let widths: [(Width, Kind)] = [(.byte, .byte), (.word, .word), (.long, .long), (.quad, .quad)]
        for register in Register.general {
            for (width, kind) in widths { all.append((text(register, width), RegisterName(kind, register.rawValue))) }
        }
        for (number, name) in ["es", "cs", "ss", "ds", "fs", "gs"].enumerated() {
            all.append((name, RegisterName(.segment, UInt8(number))))
        }
        for number in 0..<16 {
            all.append(("cr\(number)", RegisterName(.control, UInt8(number))))
            all.append(("xmm\(number)", RegisterName(.unsupported, 0)))
        }
        for number in 0..<8 {
            all.append(("dr\(number)", RegisterName(.debug, UInt8(number))))
            all.append(("db\(number)", RegisterName(.debug, UInt8(number))))
        }
        for name in ["ah", "bh", "ch", "dh", "eip", "ip", "st", "k1"] {
            all.append((name, RegisterName(.unsupported, 0)))
        }
        all.append(("rip", RegisterName(.instructionPointer, 0)))
        return all
    }()
}

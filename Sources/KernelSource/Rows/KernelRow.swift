/// A row of the kernel's tables, as one line of its sources says it.
package enum KernelRow: Sendable, Hashable {
    /// `idtentry SYMBOL HANDLER has_error_code=0 …` (up to 5.7).
    case entry(symbol: String, handler: String, columns: [Column])
    /// `DECLARE_IDTENTRY…(VECTOR, FUNCTION)` (5.8 and later); `kind` is the macro without `DECLARE_`.
    case declared(kind: String, vector: String, function: String)
    /// `xen_pv_trap NAME`.
    case thunk(String)
    /// A row of `trap_array`.
    case trap(native: String, entry: String, istOkay: Bool)
    /// `INTG`, `SYSG`, `ISTG`, `SISTG` of `idt.c`, or the calls of `traps.c` before it.
    case gate(vector: String, entry: String, stack: String?, isSystem: Bool)

    package struct Column: Sendable, Hashable {
        package var name: String
        package var value: String
    }

    /// What two versions of one row have in common.
    package var key: String {
        switch self {
        case .entry(let symbol, _, _): "entry " + symbol
        case .declared(_, _, let function): "entry asm_" + function
        case .thunk(let name): "thunk " + name
        case .trap(let native, _, _): "trap " + native
        case .gate(let vector, _, _, _): "gate " + vector
        }
    }
}

/// Reads rows from single lines; what is no row is nil.
enum RowParser {
    static func row(_ line: ArraySlice<UInt8>) -> KernelRow? {
        let text = plain(line)
        if text.isEmpty { return nil }
        var scanner = WordScanner(text)
        guard let word = scanner.word() else {
            return scanner.take(UInt8(ascii: "{")) ? trapRow(&scanner) : nil
        }
        if word == "idtentry" { return scanner.peek == UInt8(ascii: "(") ? nil : entry(&scanner) }
        if word == "xen_pv_trap" { return scanner.word().map { .thunk($0) } }
        guard scanner.take(UInt8(ascii: "(")), let arguments = scanner.arguments() else { return nil }
        if word.hasPrefix("DECLARE_IDTENTRY"), arguments.count == 2 {
            return .declared(
                kind: String(word.dropFirst("DECLARE_".count)), vector: arguments[0], function: arguments[1])
        }
        switch (word, arguments.count) {
        case ("TRAP_ENTRY", 2):
            return flag(arguments[1]).map {
                .trap(native: "asm_" + arguments[0], entry: "xen_asm_" + arguments[0], istOkay: $0)
            }
        case ("TRAP_ENTRY_REDIR", 2):
            return flag(arguments[1]).map {
                .trap(native: "asm_" + arguments[0], entry: "xen_asm_xenpv_" + arguments[0], istOkay: $0)
            }
        case ("TRAP_ENTRY_REDIR", 3):
            return flag(arguments[2]).map {
                .trap(native: "asm_" + arguments[0], entry: "xen_asm_" + arguments[1], istOkay: $0)
            }
        case ("INTG", 2), ("set_intr_gate", 2):
            return .gate(vector: arguments[0], entry: plainName(arguments[1]), stack: nil, isSystem: false)
        case ("SYSG", 2), ("set_system_intr_gate", 2):
            return .gate(vector: arguments[0], entry: plainName(arguments[1]), stack: nil, isSystem: true)
        case ("ISTG", 3), ("set_intr_gate_ist", 3):
            return .gate(vector: arguments[0], entry: plainName(arguments[1]), stack: arguments[2], isSystem: false)
        case ("SISTG", 3), ("set_system_intr_gate_ist", 3):
            return .gate(vector: arguments[0], entry: plainName(arguments[1]), stack: arguments[2], isSystem: true)
        default: return nil
        }
    }

    private static func flag(_ word: String) -> Bool? { word == "true" ? true : word == "false" ? false : nil }

    private static func plainName(_ name: String) -> String { name.first == "&" ? String(name.dropFirst()) : name }

    private static func entry(_ scanner: inout WordScanner) -> KernelRow? {
        guard let symbol = scanner.word(), let handler = scanner.word() else { return nil }
        var columns: [KernelRow.Column] = []
        while let name = scanner.word() {
            guard scanner.take(UInt8(ascii: "=")), let value = scanner.value() else { return nil }
            columns.append(KernelRow.Column(name: name, value: value))
        }
        return .entry(symbol: symbol, handler: handler, columns: columns)
    }

    /// `{ debug, xen_xendebug, true },`, or with designators `{ .orig = …, .xen = …, .ist_okay = … }`.
    private static func trapRow(_ scanner: inout WordScanner) -> KernelRow? {
        var parts: [String] = []
        while !scanner.take(UInt8(ascii: "}")) {
            if scanner.take(UInt8(ascii: ".")) {
                guard scanner.word() != nil, scanner.take(UInt8(ascii: "=")) else { return nil }
            }
            guard let word = scanner.word() else { return nil }
            parts.append(word)
            _ = scanner.take(UInt8(ascii: ","))
        }
        guard parts.count == 3, let okay = flag(parts[2]) else { return nil }
        return .trap(native: parts[0], entry: parts[1], istOkay: okay)
    }

    /// Without comments, with single spaces.
    static func plain(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard line.contains(UInt8(ascii: "/")) else { return QuotedLine.cleaned(line).trimmed }
        var out: [UInt8] = []
        var rest = QuotedLine.cleaned(line)
        while let first = rest.first {
            if first == UInt8(ascii: "/"), rest.dropFirst().first == UInt8(ascii: "/") { break }
            if first == UInt8(ascii: "/"), rest.dropFirst().first == UInt8(ascii: "*") {
                guard let end = rest.dropFirst(2).firstRange(of: "*/") else { break }
                rest = rest[end.upperBound...]
                out.append(Ascii.space)
                continue
            }
            out.append(first)
            rest.removeFirst()
        }
        return out[...].trimmed
    }
}

/// Words and signs of one line.
struct WordScanner {
    private let text: ArraySlice<UInt8>
    private var position: Int

    init(_ text: ArraySlice<UInt8>) {
        self.text = text
        position = text.startIndex
    }

    private mutating func skipBlanks() {
        while position < text.endIndex, Ascii.isBlank(text[position]) || text[position] == Ascii.newline {
            position += 1
        }
    }

    /// The next byte that is no blank, or 0.
    var peek: UInt8 {
        mutating get {
            skipBlanks()
            return position < text.endIndex ? text[position] : 0
        }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        position += 1
        return true
    }

    /// A C identifier.
    mutating func word() -> String? {
        skipBlanks()
        let start = position
        while position < text.endIndex, Ascii.isName(text[position]) { position += 1 }
        guard position > start, !Ascii.isDigit(text[start]), position - start <= 128 else {
            position = start
            return nil
        }
        return text[start..<position].text
    }

    /// What stands up to the next blank or comma.
    mutating func value() -> String? {
        skipBlanks()
        let start = position
        while position < text.endIndex, !Ascii.isBlank(text[position]), text[position] != UInt8(ascii: ",") {
            position += 1
        }
        return position > start && position - start <= 128 ? text[start..<position].text : nil
    }

    /// Arguments of a call behind its parenthesis; nil where it is not closed.
    mutating func arguments() -> [String]? {
        var found: [String] = []
        var start = position
        var nesting = 0
        while position < text.endIndex {
            let byte = text[position]
            if byte == UInt8(ascii: "(") { nesting += 1 }
            if nesting == 0, byte == UInt8(ascii: ",") || byte == UInt8(ascii: ")") {
                found.append(text[start..<position].trimmed.text)
                start = position + 1
                if byte == UInt8(ascii: ")") {
                    position += 1
                    return found.allSatisfy { !$0.isEmpty && $0.utf8.count <= 128 } ? found : nil
                }
            }
            if byte == UInt8(ascii: ")") { nesting -= 1 }
            position += 1
        }
        return nil
    }
}

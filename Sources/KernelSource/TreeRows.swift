import Assembler
import EntryCode

/// The rows of a kernel's tables, read from its files.
struct TreeRows {
    var entries: [JSON] = []
    var gates: [JSON] = []
    var traps: [JSON] = []
    var thunks: [JSON] = []
    /// Rows that are not in the table, and why; by reason.
    var notes: [String] = []

    /// Files that a row came from.
    private(set) var filesWithRows: Set<String> = []

    private let options: [String]
    private let config: [String: Bool]
    private var hasStackFaultStack = false

    init(_ tree: KernelTree, options: [String], config: [String: Bool]) {
        self.options = options
        self.config = config
        for file in tree.files {
            let text = Preprocessor.plainText(file.text)
            hasStackFaultStack = hasStackFaultStack || text[...].firstRange(of: "STACKFAULT_STACK") != nil
        }
        for file in tree.files { read(file.path, Preprocessor.plainText(file.text)) }
        gates.sort { ($0["vector"]?.integerValue ?? 0) < ($1["vector"]?.integerValue ?? 0) }
    }

    private mutating func read(_ path: String, _ text: [UInt8]) {
        var conditions = ConditionStack(options: options, config: config)
        var array = ""
        var isMacro = false
        for line in text[...].lines {
            let plain = line.trimmed
            if plain.first == UInt8(ascii: "#") {
                if !plain.dropFirst().drop(while: Ascii.isBlank).hasPrefix("define") { conditions.follow(plain) }
                // The body of a macro goes on in the next line.
                isMacro = plain.last == UInt8(ascii: "\\")
                continue
            }
            if isMacro {
                isMacro = plain.last == UInt8(ascii: "\\")
                continue
            }
            if let name = TreeRows.arrayName(plain) { array = name }
            guard conditions.isOn, let row = RowParser.row(line) else { continue }
            if take(row, conditions.option, array: array, path: path) { filesWithRows.insert(path) }
        }
        if path.hasSuffix("enlighten.c") { readGateSubstitutions(text, path) }
    }

    /// Takes a row into the table; false for one that does not belong there.
    private mutating func take(_ row: KernelRow, _ option: String?, array: String, path: String) -> Bool {
        var value: JSON
        switch row {
        case .entry(let symbol, let handler, let columns):
            guard path.hasSuffix(".S") else { return false }
            value = .object([JSON.Member("symbol", .string(symbol)), JSON.Member("handler", .string(handler))])
            value.set("has_error_code", false)
            for column in columns {
                guard let read = TableRows.column(column) else {
                    notes.append("\(path): the column \(column.name)=\(column.value) of \(symbol) is not known")
                    return false
                }
                value.set(column.name, read)
            }
            value.set("option", option.map { .string($0) })
            entries.append(value)
        case .declared(let kind, let vector, let function):
            // System vectors are devices', which no table lists; the software interrupt has no stub.
            let isKnown = KernelNames.vectors[vector] != nil || vector == "X86_TRAP_OTHER"
            guard path.hasSuffix("idtentry.h"), isKnown, kind != "IDTENTRY_SW", kind != "IDTENTRY_SYSVEC" else {
                return false
            }
            value = .object([
                JSON.Member("symbol", .string("asm_" + function)), JSON.Member("handler", .string(function)),
            ])
            if kind == "IDTENTRY_NMI" {
                value.set("code", "listing")
            } else {
                value.set("kind", .string(kind))
                value.set("vector", .string(vector))
                if let hasErrorCode = TableRows.errorCode(kind) { value.set("has_error_code", .bool(hasErrorCode)) }
            }
            value.set("option", option.map { .string($0) })
            entries.removeAll { $0["symbol"] == value["symbol"] }
            entries.append(value)
        case .thunk(let name):
            if !thunks.contains(.string(name)) { thunks.append(.string(name)) }
        case .trap(let native, let entry, let istOkay):
            guard path.contains("/xen/") else { return false }
            value = .object([
                JSON.Member("native", .string(native)), JSON.Member("entry", .string(entry)),
                JSON.Member("ist_okay", .bool(istOkay)),
            ])
            value.set("option", option.map { .string($0) })
            traps.append(value)
        case .gate(let name, let entry, let stack, let isSystem):
            // Tables that are loaded for a while only, and those of devices.
            if array == "dbg_idts" || array == "apic_idts" { return false }
            guard let vector = KernelNames.vector(name), vector < 32 || vector == 0x80 else { return false }
            guard let slot = stack.map({ KernelNames.stack($0, hasStackFaultStack: hasStackFaultStack) }) ?? 0 else {
                notes.append("\(path): the gate of \(name) has a stack that is not known: \(stack ?? "")")
                return false
            }
            value = .object([
                JSON.Member("vector", .integer(Int64(vector))), JSON.Member("entry", .string(entry)),
                JSON.Member("ist", .integer(Int64(slot))), JSON.Member("dpl", .integer(isSystem ? 3 : 0)),
                JSON.Member("type", "interrupt"),
            ])
            value.set("option", option.map { .string($0) })
            // What is loaded later takes the place of what was before, if nothing else has to be so.
            gates.removeAll { $0["vector"] == value["vector"] && (option == nil || $0["option"] == value["option"]) }
            gates.append(value)
        }
        return true
    }

    /// `static const __initconst struct idt_data def_idts[] = {`.
    private static func arrayName(_ line: ArraySlice<UInt8>) -> String? {
        guard let range = line.firstRange(of: "idt_data ") else { return nil }
        let name = line[range.upperBound...].prefix(while: Ascii.isName)
        return line[name.endIndex...].hasPrefix("[") ? name.text : nil
    }

    /// Up to 4.15 Xen's gates are chosen by comparisons: `if (addr == (unsigned long)debug) addr = (unsigned long)xen_debug`.
    ///
    /// A branch without a statement keeps the native entry; one that returns hands the gate to nobody.
    private mutating func readGateSubstitutions(_ text: [UInt8], _ path: String) {
        var conditions = ConditionStack(options: options, config: config)
        var open: (native: String, option: String?, entry: String?, isDropped: Bool)?
        func close(_ rows: inout [JSON]) {
            guard let branch = open else { return }
            open = nil
            if branch.isDropped { return }
            var row = JSON.object([
                JSON.Member("native", .string(branch.native)),
                JSON.Member("entry", .string(branch.entry ?? branch.native)), JSON.Member("ist_okay", true),
            ])
            row.set("option", branch.option.map { .string($0) })
            rows.append(row)
        }
        for line in text[...].lines {
            let plain = line.trimmed
            if plain.first == UInt8(ascii: "#") {
                conditions.follow(plain)
                continue
            }
            guard conditions.isOn else { continue }
            let comparison = TreeRows.name(behind: "addr == (unsigned long)", in: plain)
            if comparison != nil || plain.firstRange(of: "else") != nil || plain.hasPrefix("}") { close(&traps) }
            if let native = comparison {
                open = (native, conditions.option, nil, false)
                filesWithRows.insert(path)
            }
            if let entry = TreeRows.name(behind: "addr = (unsigned long)", in: plain) { open?.entry = entry }
            if plain.firstRange(of: "return") != nil { open?.isDropped = true }
        }
        close(&traps)
    }

    private static func name(behind head: StaticString, in line: ArraySlice<UInt8>) -> String? {
        guard let range = line.firstRange(of: head) else { return nil }
        let name = line[range.upperBound...].prefix(while: Ascii.isName).text
        return name.isEmpty ? nil : name
    }
}

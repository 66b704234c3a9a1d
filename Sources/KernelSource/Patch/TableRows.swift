import EntryCode

/// The rows of a table's document, changed row by row.
struct TableRows {
    private(set) var document: JSON
    /// Options that the table's kernel knows.
    let options: [String]
    private var entries: [JSON]
    private var gates: [JSON]
    private var traps: [JSON]
    private var thunks: [JSON]

    /// What a change did, in words: `entries: - xenint3`.
    enum Outcome: Equatable {
        case done(String)
        /// Nothing to do: it is as the patch wants it already.
        case present(String)
        case failed(String)
    }

    init(_ document: JSON) {
        self.document = document
        options = (document["options"]?.objectValue ?? []).map(\.key)
        entries = document["entries"]?.arrayValue ?? []
        gates = document["idt"]?.arrayValue ?? []
        traps = document["xen"]?["traps"]?.arrayValue ?? []
        thunks = document["xen"]?["thunks"]?.arrayValue ?? []
    }

    /// The document with its new rows.
    var changed: JSON {
        var result = document
        result.set("entries", .array(entries.filter { $0 != .null }))
        result.set("idt", .array(gates.filter { $0 != .null }))
        var xen = document["xen"] ?? .object([])
        xen.set("traps", .array(traps.filter { $0 != .null }))
        xen.set("thunks", .array(thunks.filter { $0 != .null }))
        result.set("xen", xen)
        return result
    }

    // MARK: Changes

    /// Takes a row away; the row that is gone, so that its successor can stand in its place: until `changed` is asked
    /// for, a null keeps it. A row that says something else than the patch does is not the one.
    mutating func remove(_ row: KernelRow) -> (outcome: Outcome, place: Place?) {
        switch row {
        case .entry(let symbol, let handler, let columns):
            return TableRows.removed(&entries, "entries", symbol) {
                guard $0["symbol"]?.stringValue == symbol else { return nil }
                let row = $0
                return row["handler"]?.stringValue == handler
                    && columns.allSatisfy { TableRows.isEqual(row[$0.name], TableRows.column($0)) }
            }
        case .declared(let kind, let vector, let function):
            return TableRows.removed(&entries, "entries", "asm_" + function) {
                guard $0["symbol"]?.stringValue == "asm_" + function else { return nil }
                return $0["code"] != nil || ($0["kind"]?.stringValue == kind && $0["vector"]?.stringValue == vector)
            }
        case .thunk(let name):
            return TableRows.removed(&thunks, "thunks", name) { $0.stringValue == name ? true : nil }
        case .trap(let native, let entry, let istOkay):
            return TableRows.removed(&traps, "trap array", native) {
                guard $0["native"]?.stringValue == native else { return nil }
                return $0["entry"]?.stringValue == entry && ($0["ist_okay"]?.boolValue ?? false) == istOkay
            }
        case .gate(let name, let entry, let stack, let isSystem):
            guard let vector = KernelNames.vector(name) else { return (.failed("no vector \(name) is known"), nil) }
            let slot = stack.map { KernelNames.stack($0) } ?? 0
            return TableRows.removed(&gates, "IDT", "\(vector)") {
                guard $0["vector"]?.integerValue == Int64(vector) else { return nil }
                return $0["entry"]?.stringValue == entry && ($0["ist"]?.integerValue ?? 0) == slot.map { Int64($0) }
                    && ($0["dpl"]?.integerValue ?? 0) == (isSystem ? 3 : 0)
            }
        }
    }

    /// A column that is left out has its default.
    private static func isEqual(_ one: JSON?, _ other: JSON?) -> Bool {
        func plain(_ value: JSON?) -> JSON {
            switch value {
            case nil, .null?, .integer(0)?, .integer(-1)?: false
            case let value?: value
            }
        }
        return plain(one) == plain(other)
    }

    /// Where a row stood, and what it was.
    struct Place {
        var index: Int
        var row: JSON
    }

    /// - Parameter isRow: nil for another row, false for one of that name with other content.
    private static func removed(
        _ rows: inout [JSON], _ list: String, _ name: String, where isRow: (JSON) -> Bool?
    ) -> (outcome: Outcome, place: Place?) {
        guard let index = rows.firstIndex(where: { isRow($0) == true }) else {
            let isOther = rows.contains { isRow($0) != nil }
            return (.failed("\(list): \(isOther ? "the row \(name) is another" : "there is no row \(name)")"), nil)
        }
        let row = rows[index]
        rows[index] = .null
        return (.done("\(list): - \(name)"), Place(index: index, row: row))
    }

    /// - Parameters:
    ///   - before: The row that it takes the place of.
    ///   - neighbour: The row that stands in front of it in the patch.
    ///   - option: What the conditions around it in the patch say; nil where they say nothing.
    mutating func insert(
        _ row: KernelRow, inPlaceOf before: Place?, after neighbour: KernelRow?, option: String?
    ) -> Outcome {
        func place(_ rows: [JSON], _ isNeighbour: (JSON) -> Bool) -> Int {
            rows.firstIndex(where: isNeighbour).map { $0 + 1 } ?? before.map { min($0.index, rows.count) } ?? rows.count
        }
        let inherited = before?.row["option"] ?? option.map { .string($0) }
        switch row {
        case .entry(let symbol, let handler, let columns):
            var value = JSON.object([
                JSON.Member("symbol", .string(symbol)), JSON.Member("handler", .string(handler)),
            ])
            for column in TableRows.columnDefaults { value.set(column.key, column.value) }
            for column in columns {
                guard let read = TableRows.column(column) else {
                    return .failed("entries: the column \(column.name)=\(column.value) of \(symbol) is not known")
                }
                value.set(column.name, read)
            }
            value.set("option", inherited)
            return TableRows.inserted(
                value, &entries, "entries", symbol, key: "symbol",
                at: place(entries) { TableRows.is(neighbour, $0, "symbol") })
        case .declared(let kind, let vector, let function):
            var value = JSON.object([
                JSON.Member("symbol", .string("asm_" + function)), JSON.Member("handler", .string(function)),
            ])
            if kind == "IDTENTRY_NMI" {
                value.set("code", "listing")
            } else {
                value.set("kind", .string(kind))
                value.set("vector", .string(vector))
                if let hasErrorCode = TableRows.errorCode(kind) { value.set("has_error_code", .bool(hasErrorCode)) }
            }
            value.set("option", inherited)
            return TableRows.inserted(
                value, &entries, "entries", "asm_" + function, key: "symbol",
                at: place(entries) { TableRows.is(neighbour, $0, "symbol") })
        case .thunk(let name):
            if thunks.contains(.string(name)) { return .present("thunks: \(name) is there") }
            let index = place(thunks) { row in neighbour.map { $0.key == "thunk " + (row.stringValue ?? "") } ?? false }
            thunks.insert(.string(name), at: index)
            return .done("thunks: + \(name)")
        case .trap(let native, let entry, let istOkay):
            var value = JSON.object([
                JSON.Member("native", .string(native)), JSON.Member("entry", .string(entry)),
                JSON.Member("ist_okay", .bool(istOkay)),
            ])
            value.set("option", inherited)
            return TableRows.inserted(
                value, &traps, "trap array", native, key: "native",
                at: place(traps) { TableRows.is(neighbour, $0, "native") },
                detail: " \(entry) \(istOkay)")
        case .gate(let name, let entry, let stack, let isSystem):
            guard let vector = KernelNames.vector(name) else { return .failed("no vector \(name) is known") }
            guard let slot = stack.map({ KernelNames.stack($0) }) ?? 0 else {
                return .failed("IDT: no stack \(stack ?? "") is known")
            }
            var value = JSON.object([
                JSON.Member("vector", .integer(Int64(vector))), JSON.Member("entry", .string(entry)),
                JSON.Member("ist", .integer(Int64(slot))), JSON.Member("dpl", .integer(isSystem ? 3 : 0)),
                JSON.Member("type", "interrupt"),
            ])
            value.set("option", inherited)
            let index =
                before?.index ?? gates.firstIndex { ($0["vector"]?.integerValue ?? 0) > Int64(vector) } ?? gates.count
            return TableRows.inserted(
                value, &gates, "IDT", "\(vector)", key: "vector", at: min(index, gates.count), detail: " \(entry)")
        }
    }

    private static func inserted(
        _ value: JSON, _ rows: inout [JSON], _ list: String, _ name: String, key: String, at index: Int,
        detail: String = ""
    ) -> Outcome {
        if let known = rows.first(where: { $0[key] == value[key] }) {
            return known == value
                ? .present("\(list): \(name) is there") : .failed("\(list): a row \(name) is there already")
        }
        rows.insert(value, at: min(index, rows.count))
        return .done("\(list): + \(name)\(detail)")
    }

    private static func `is`(_ neighbour: KernelRow?, _ row: JSON, _ key: String) -> Bool {
        guard let neighbour, let name = row[key]?.stringValue else { return false }
        return neighbour.key == (key == "native" ? "trap " : "entry ") + name
    }

    // MARK: Columns

    /// A row of the shipped tables names every column.
    private static let columnDefaults: [JSON.Member] = [
        JSON.Member("has_error_code", false), JSON.Member("paranoid", 0), JSON.Member("shift_ist", .null),
        JSON.Member("ist_offset", 0), JSON.Member("create_gap", false), JSON.Member("read_cr2", false),
    ]

    static func column(_ column: KernelRow.Column) -> JSON? {
        switch column.name {
        case "has_error_code", "create_gap", "read_cr2":
            return column.value == "0" ? false : column.value == "1" ? true : nil
        case "paranoid": return Int64(column.value).flatMap { (0...2).contains($0) ? .integer($0) : nil }
        case "shift_ist", "ist_offset":
            if column.value == "-1" { return .null }
            return Int64(column.value).map { .integer($0) } ?? .string(column.value)
        default: return nil
        }
    }

    /// What the row of a kind says about the error code; nil where the kind says it all.
    static func errorCode(_ kind: String) -> Bool? {
        switch kind {
        case "IDTENTRY", "IDTENTRY_RAW", "IDTENTRY_XENCB", "IDTENTRY_SYSVEC": false
        case "IDTENTRY_ERRORCODE", "IDTENTRY_RAW_ERRORCODE", "IDTENTRY_IRQ": true
        default: nil
        }
    }
}

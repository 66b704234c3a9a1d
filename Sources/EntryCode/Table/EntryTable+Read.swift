import XenPV

extension EntryTable {
    package static let documentKeys = [
        "$schema", "name", "kernel", "description", "source", "entries", "idt", "xen", "options", "machine", "routines",
        "sources",
    ]
    package static let entryKeys = [
        "symbol", "handler", "kind", "vector", "has_error_code", "paranoid", "shift_ist", "ist_offset", "create_gap",
        "read_cr2", "code", "option",
    ]
    package static let idtKeys = ["vector", "entry", "ist", "dpl", "type", "option"]
    package static let trapKeys = ["native", "entry", "ist_okay", "option"]
    package static let xenKeys = ["version", "quirks", "traps", "thunks", "callbacks"]
    package static let sourceKeys = ["version", "tree"]
    package static let stackKeys = ["task", "entry", "irq", "df", "nmi", "db", "db1", "mce"]
    package static let stretchKeys = ["base", "size", "note"]
    package static let espfixKeys = ["stack", "waddr", "size", "note"]
    package static let kernelRSPKeys = ["aligned", "rsp8"]
    package static let placementKeys = ["address", "size"]
    /// Columns of the `idtentry` macro, which a hand-written stub does not have.
    package static let columnKeys = ["has_error_code", "paranoid", "shift_ist", "ist_offset", "create_gap", "read_cr2"]
    /// Columns that a `DECLARE_IDTENTRY…` row does not have: its kind says it all.
    package static let macroColumnKeys = ["paranoid", "shift_ist", "ist_offset", "create_gap", "read_cr2"]
    package static let callbackKeys = ["event", "failsafe", "syscall", "syscall32", "sysenter"]
    package static let machineKeys = [
        "code", "stacks", "guards", "espfix", "per_cpu_base", "user_end", "watchpoint", "kernel_rsp",
        "kernel_registers",
        "self_test",
    ]
    package static let selfTestKeys = [
        "routine", "address", "size", "site_offset", "target", "target_size", "rsp", "call_trace",
    ]
    /// Those but RSP, which has a key of its own.
    package static let kernelRegisterKeys = [
        "rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    ]

    /// Reads a document, or reports every fault of it.
    ///
    /// - Parameter kernels: Where the document's kernel and its defaults come from.
    package static func read(
        _ bytes: [UInt8], kernels: KernelLibrary = .shipped, limits: TableLimits = TableLimits()
    ) throws(TableFaults) -> EntryTable {
        let parsed: JSONDocument
        do throws(JSONSyntaxError) {
            parsed = try JSON.parse(bytes, limits: limits.json)
        } catch {
            throw TableFaults(
                faults: [
                    TableFault(
                        error.pointer, error.code,
                        "\(error.message) (line \(error.line), column \(error.column), byte \(error.offset_bytes))")
                ], isSyntax: true, isTooLarge: error.code == "json-too-large")
        }
        return try read(parsed.value, duplicateKeys: parsed.duplicateKeys, kernels: kernels, limits: limits)
    }

    /// Reads an already parsed document.
    package static func read(
        _ value: JSON, duplicateKeys: [String] = [], kernels: KernelLibrary = .shipped,
        limits: TableLimits = TableLimits()
    ) throws(TableFaults) -> EntryTable {
        var reader = TableReader(limits: limits)
        for duplicate in duplicateKeys {
            reader.fault(duplicate, "duplicate-key", "this key already stands in the same object")
        }
        guard let members = reader.object(value, "", keys: documentKeys) else {
            throw reader.found
        }
        let name = reader.string(members["name"], "/name")
        if let name, !isReferenceName(name) {
            reader.fault(
                "/name", "invalid-name",
                "a name has letters, digits, '.', '_', '-', and is not a number of 8 or more hex digits")
        }
        _ = reader.string(members["description"], "/description", limit_bytes: 4096)
        guard let kernelValue = members["kernel"] else {
            reader.fault(
                "", "missing-key",
                "the key 'kernel' is required: one of \(kernels.names.joined(separator: ", "))")
            throw reader.found
        }
        guard let kernelName = reader.string(kernelValue, "/kernel") else { throw reader.found }
        guard let kernel = kernels.kernel(named: kernelName) else {
            reader.unknown(kernelName, "/kernel", "kernel", among: kernels.names)
            throw reader.found
        }

        // What the document leaves out is the kernel's own; sections replace each other as a whole, options one by one.
        let standard = kernel.document
        func section(_ key: String) -> (JSON, Bool) {
            if let own = members[key] { return (own, true) }
            return (standard[key] ?? .null, false)
        }
        var table = EntryTable(name: name, kernel: kernelName, document: .null)
        let knownOptions = (standard["options"]?.objectValue ?? []).map(\.key)
        for member in standard["options"]?.objectValue ?? [] { table.options[member.key] = member.value.boolValue }
        if let options = members["options"] { reader.readOptions(options, known: knownOptions, into: &table) }
        reader.readEntries(section("entries").0, options: knownOptions, into: &table)
        reader.readIDT(section("idt").0, options: knownOptions, into: &table)
        reader.readXen(section("xen").0, standard: standard["xen"], options: knownOptions, into: &table)
        reader.readMachine(standard["machine"] ?? .null, "/machine", into: &table)
        if let machine = members["machine"] { reader.readMachine(machine, "/machine", into: &table) }
        reader.checkStackPointers(members["machine"], table)
        reader.checkOverlaps(members["machine"], standard: standard["machine"], table, kernel.generation)
        if let source = members["source"], let keys = reader.object(source, "/source", keys: sourceKeys) {
            for key in sourceKeys { _ = reader.string(keys[key], "/source/" + key) }
        }
        _ = reader.string(members["$schema"], "/$schema", limit_bytes: 4096)
        if let routines = members["routines"] { reader.readRoutines(routines, into: &table) }
        if let sources = members["sources"] { reader.readSources(sources, into: &table) }
        // The self test of int3 came with 5.2: an older tree that finds that kernel around it has none.
        if let release = table.sources?.release, release < KernelRelease(5, 2) { table.machine.selfTest = nil }
        if !reader.faults.isEmpty { throw reader.found }
        table.document = resolved(members: members, standard: standard, options: table.options)
        return table
    }

    /// The document in full, canonical and without its name.
    private static func resolved(members: [String: JSON], standard: JSON, options: [String: Bool]) -> JSON {
        var out: [JSON.Member] = []
        for key in ["kernel", "description", "source", "entries", "idt", "xen", "machine", "routines", "sources"] {
            let ownOnly = ["description", "source", "routines", "sources"].contains(key)
            if key == "xen" || key == "machine", let own = members[key] {
                out.append(JSON.Member(key, merge(own, over: standard[key] ?? .null)))
            } else if let own = members[key] ?? (ownOnly ? nil : standard[key]) {
                out.append(JSON.Member(key, own))
            }
        }
        out.append(
            JSON.Member("options", .object(options.map { JSON.Member($0.key, .bool($0.value)) })))
        return JSON.object(out).canonical
    }

    /// Members of `own` over those of `standard`, one level deep.
    private static func merge(_ own: JSON, over standard: JSON) -> JSON {
        guard case .object(let ownMembers) = own, case .object(let standardMembers) = standard else { return own }
        let keys = Set(ownMembers.map(\.key))
        return .object(ownMembers + standardMembers.filter { !keys.contains($0.key) })
    }

    /// Names must not be mistaken for ids, and must fit into a path segment.
    package static func isReferenceName(_ name: String) -> Bool {
        let allowed =
            !name.isEmpty && name.utf8.count <= 100
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
        // A leading '.' or '-' reads as a path or an option; the store refuses both, and upper-case digits too.
        if !allowed || name.first?.isLetter != true && name.first?.isNumber != true { return false }
        let looksLikeID = name.utf8.count >= 8 && name.allSatisfy(\.isHexDigit)
        return !looksLikeID
    }
}

extension TableReader {
    mutating func option(_ value: JSON?, _ pointer: String, known: [String]) -> String? {
        guard let name = string(value, pointer) else { return nil }
        if !known.contains(name) {
            unknown(name, pointer, "option", among: known)
            return nil
        }
        return name
    }

    mutating func readOptions(_ value: JSON, known: [String], into table: inout EntryTable) {
        guard case .object(let members) = value else {
            fault("/options", "wrong-type", "expected an object, found \(value.kindName)")
            return
        }
        for member in members {
            let place = self.place("/options", member.key)
            if !known.contains(member.key) {
                unknown(member.key, place, "option", among: known)
                continue
            }
            table.options[member.key] = bool(member.value, place, default: false)
        }
    }

    /// The columns of a `DECLARE_IDTENTRY…` row: the macro that makes its stub, and the vector that the macro is told.
    private mutating func readKind(_ keys: [String: JSON], _ place: String, into entry: inout EntryTable.Entry) {
        entry.kind = symbol(keys["kind"], place + "/kind")
        entry.vector = constant(keys["vector"], place + "/vector")
        guard entry.kind != nil else {
            if keys["vector"] != nil && keys["kind"] == nil {
                fault(place + "/vector", "contradiction", "only a row with a kind tells its macro the vector")
            }
            return
        }
        if keys["vector"] == nil { fault(place, "missing-key", "a row with a kind needs the key 'vector'") }
        if entry.isInListing {
            fault(place + "/kind", "contradiction", "a hand-written stub has no kind")
        }
        if let column = EntryTable.macroColumnKeys.first(where: { keys[$0] != nil }) {
            fault(place + "/" + column, "contradiction", "a row with a kind has no such column: the kind decides")
        }
    }

    mutating func readEntries(_ value: JSON, options: [String], into table: inout EntryTable) {
        guard let rows = array(value, "/entries", limit: limits.entries) else { return }
        var seen: [String: String] = [:]
        for (index, row) in rows.enumerated() {
            let place = "/entries/\(index)"
            guard let keys = object(row, place, keys: EntryTable.entryKeys) else { continue }
            let symbolText = require(symbol(keys["symbol"], place + "/symbol"), keys["symbol"] != nil, place, "symbol")
            let handler = require(symbol(keys["handler"], place + "/handler"), keys["handler"] != nil, place, "handler")
            guard let symbolText, let handler else { continue }
            var entry = EntryTable.Entry(symbol: symbolText, handler: handler, pointer: place)
            entry.option = option(keys["option"], place + "/option", known: options)
            if let code = string(keys["code"], place + "/code") {
                if code == "listing" {
                    entry.isInListing = true
                } else {
                    fault(
                        place + "/code", "invalid-value",
                        "the only value is \"listing\": the stub is hand-written there")
                }
            }
            readKind(keys, place, into: &entry)
            let hasErrorCode = require(
                keys["has_error_code"], keys["has_error_code"] != nil || entry.isInListing || entry.kind != nil, place,
                "has_error_code")
            entry.saysErrorCode = keys["has_error_code"] != nil
            entry.hasErrorCode = bool(hasErrorCode, place + "/has_error_code", default: false)
            entry.paranoid = Int(integer(keys["paranoid"], place + "/paranoid", in: 0...2) ?? 0)
            if let shift = keys["shift_ist"], shift != .null, shift != .integer(-1) {
                entry.shiftIST = constant(shift, place + "/shift_ist")
            }
            entry.istOffset = constant(keys["ist_offset"], place + "/ist_offset") ?? "0"
            entry.createGap = bool(keys["create_gap"], place + "/create_gap", default: false)
            entry.readCR2 = bool(keys["read_cr2"], place + "/read_cr2", default: false)
            if entry.isInListing, let column = EntryTable.columnKeys.first(where: { keys[$0] != nil }) {
                fault(place + "/" + column, "contradiction", "a hand-written stub has no columns")
            }
            if entry.shiftIST == nil && entry.istOffset != "0" {
                fault(place + "/ist_offset", "contradiction", "ist_offset needs shift_ist: there is no slot to shift")
            }
            if entry.shiftIST != nil && entry.paranoid != 1 {
                fault(
                    place + "/shift_ist", "contradiction",
                    "shift_ist needs paranoid=1: only an entry that may nest on its IST stack shifts it")
            }
            if let first = seen[symbolText], entry.option == nil {
                fault(place + "/symbol", "duplicate-symbol", "the symbol '\(symbolText)' already stands at \(first)")
            }
            seen[symbolText] = seen[symbolText] ?? place
            table.entries.append(entry)
        }
    }

    mutating func readIDT(_ value: JSON, options: [String], into table: inout EntryTable) {
        guard let rows = array(value, "/idt", limit: limits.rows) else { return }
        var seen: [Int64: String] = [:]
        for (index, row) in rows.enumerated() {
            let place = "/idt/\(index)"
            guard let keys = object(row, place, keys: EntryTable.idtKeys) else { continue }
            let vector = require(
                integer(keys["vector"], place + "/vector", in: 0...255), keys["vector"] != nil, place, "vector")
            let entry = require(symbol(keys["entry"], place + "/entry"), keys["entry"] != nil, place, "entry")
            guard let vector, let entry else { continue }
            var gate = EntryTable.IDTRow(vector: UInt8(vector), entry: entry, pointer: place)
            gate.ist = UInt8(integer(keys["ist"], place + "/ist", in: 0...7) ?? 0)
            gate.dpl = UInt8(integer(keys["dpl"], place + "/dpl", in: 0...3) ?? 0)
            gate.option = option(keys["option"], place + "/option", known: options)
            switch string(keys["type"], place + "/type") ?? "interrupt" {
            case "interrupt": gate.isInterruptGate = true
            case "trap": gate.isInterruptGate = false
            default: fault(place + "/type", "invalid-value", "a gate is \"interrupt\" or \"trap\"")
            }
            if let first = seen[vector], gate.option == nil {
                fault(place + "/vector", "duplicate-vector", "vector \(vector) already has a gate at \(first)")
            }
            seen[vector] = seen[vector] ?? place
            table.idt.append(gate)
        }
    }

    mutating func readXen(_ value: JSON, standard: JSON?, options: [String], into table: inout EntryTable) {
        guard let keys = object(value, "/xen", keys: EntryTable.xenKeys) else { return }
        if let version = string(keys["version"] ?? standard?["version"], "/xen/version") {
            if XenRelease.supported.contains(version) {
                table.xen.version = version
            } else {
                fault(
                    "/xen/version", "unknown-xen-version",
                    "modelled are \(XenRelease.supported.map { "\"\($0)\"" }.joined(separator: " and "))")
            }
        }
        let quirks = array(keys["quirks"] ?? standard?["quirks"] ?? .array([]), "/xen/quirks", limit: limits.rows) ?? []
        for (index, item) in quirks.enumerated() {
            guard let name = string(item, "/xen/quirks/\(index)") else { continue }
            guard let quirk = Quirk(rawValue: name) else {
                unknown(name, "/xen/quirks/\(index)", "quirk", among: Quirk.allCases.map(\.rawValue))
                continue
            }
            if !table.xen.quirks.insert(quirk).inserted {
                fault("/xen/quirks/\(index)", "duplicate-quirk", "the quirk '\(name)' is listed twice")
            }
        }
        var seen: Set<String> = []
        for (index, row)
            in (array(keys["traps"] ?? standard?["traps"] ?? .array([]), "/xen/traps", limit: limits.rows) ?? [])
            .enumerated()
        {
            let place = "/xen/traps/\(index)"
            guard let members = object(row, place, keys: EntryTable.trapKeys) else { continue }
            let native = require(
                symbol(members["native"], place + "/native"), members["native"] != nil, place, "native")
            let entry = require(symbol(members["entry"], place + "/entry"), members["entry"] != nil, place, "entry")
            guard let native, let entry else { continue }
            if !seen.insert(native).inserted {
                fault(place + "/native", "duplicate-symbol", "another row already converts '\(native)'")
            }
            table.xen.traps.append(
                EntryTable.TrapRow(
                    native: native, entry: entry,
                    istOkay: bool(members["ist_okay"], place + "/ist_okay", default: false),
                    option: option(members["option"], place + "/option", known: options), pointer: place))
        }
        var thunks: Set<String> = []
        for (index, row)
            in (array(keys["thunks"] ?? standard?["thunks"] ?? .array([]), "/xen/thunks", limit: limits.rows) ?? [])
            .enumerated()
        {
            let place = "/xen/thunks/\(index)"
            guard let name = symbol(row, place) else { continue }
            if !thunks.insert(name).inserted {
                fault(place, "duplicate-symbol", "the thunk of '\(name)' is listed twice")
            }
            table.xen.thunks.append(name)
        }
        if let callbacks = keys["callbacks"] ?? standard?["callbacks"],
            let members = object(callbacks, "/xen/callbacks", keys: EntryTable.callbackKeys)
        {
            for (key, value) in members {
                if let name = symbol(value, "/xen/callbacks/" + key) { table.xen.callbacks[key] = name }
            }
        }
    }

    mutating func readRoutines(_ value: JSON, into table: inout EntryTable) {
        guard case .object(let members) = value else {
            fault("/routines", "wrong-type", "expected an object, found \(value.kindName)")
            return
        }
        if members.count > limits.routines {
            fault("/routines", "too-many", "\(members.count) routines; at most \(limits.routines) are accepted")
            return
        }
        for member in members {
            let place = self.place("/routines", member.key)
            if member.key.utf8.count > limits.nameLength_bytes {
                fault(
                    place, "too-long",
                    "a routine's name has \(member.key.utf8.count) bytes; at most \(limits.nameLength_bytes) are accepted: '\(member.key.prefix(32))…'"
                )
                continue
            }
            if !isSymbol(member.key) {
                fault(place, "not-a-symbol", "a routine is named by an assembler symbol")
                continue
            }
            guard let text = string(member.value, place, limit_bytes: limits.routineText_bytes) else { continue }
            table.routines.append(EntryTable.Routine(name: member.key, text: text))
        }
    }
}

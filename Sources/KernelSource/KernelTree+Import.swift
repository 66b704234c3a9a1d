import Assembler
package import EntryCode
import XenPV

extension KernelTree {
    /// Makes a table of the tree.
    ///
    /// - Parameters:
    ///   - kernel: The shipped kernel whose generation gives what is missing; nil for the nearest by its looks.
    ///   - config: Kconfig symbols, as `CONFIG_X`; those that a table has an option for become that option.
    package func makeTable(
        kernel name: String? = nil, config: [String: Bool] = [:], kernels: KernelLibrary = .shipped,
        limits: SourceLimits = SourceLimits()
    ) throws(TreeFault) -> TreeImport {
        if files.isEmpty {
            throw TreeFault(
                code: "no-sources",
                message: "there is no file of the entry code here; read are \(KernelFile.all.joined(separator: ", "))")
        }
        if let large = files.first(where: { $0.text.count > limits.file_bytes }) {
            throw TreeFault(
                code: "too-large", message: "\(large.path) has more than \(limits.file_bytes) bytes")
        }
        let name = name ?? guessedKernel(kernels)
        guard let kernel = kernels.kernel(named: name) else {
            throw TreeFault(
                code: "unknown-kernel",
                message: "there is no kernel '\(name)'; shipped are \(kernels.names.joined(separator: ", "))")
        }
        if kernel.generation.tree.homes.isEmpty {
            throw TreeFault(
                code: "no-generation", message: "trees of the generation of \(name) cannot be read by this version")
        }
        return try table(kernel, config: config, before: nil, kernels)
    }

    /// What a tree was before a change.
    private struct Base {
        /// What was taken for functions and data of C.
        var assumed: Set<String>
        /// Every name in its files.
        var words: Set<String>

        /// A change that uses a name which was nowhere before adds something of C: unless it is a known name, misspelt.
        func isNew(_ symbol: String) -> Bool {
            if words.contains(symbol) { return false }
            let name = Array(symbol.utf8)
            return !words.contains { abs($0.utf8.count - name.count) <= 1 && editDistance(name, Array($0.utf8)) <= 1 }
        }
    }

    /// The same tree after a change: options and choices of the table stay, and what was taken for granted.
    func remake(_ document: JSON, kernels: KernelLibrary) throws(TreeFault) -> TreeImport {
        guard let kernel = document["kernel"]?.stringValue.flatMap({ kernels.kernel(named: $0) }) else {
            throw TreeFault(code: "unknown-kernel", message: "the table's kernel does not ship with this version")
        }
        var config: [String: Bool] = [:]
        for member in document["sources"]?["config"]?.objectValue ?? [] { config[member.key] = member.value.boolValue }
        let base = document["sources"]
        let before = Base(
            assumed: Set((base?["assumed"]?.arrayValue ?? []).compactMap(\.stringValue)),
            words: (base?["files"]?.objectValue ?? []).reduce(into: []) {
                $0.formUnion(KernelTree.words(in: Array(($1.value.stringValue ?? "").utf8)))
            })
        var made = try table(kernel, config: config, before: before, kernels)
        // What the user has chosen besides stays.
        for key in ["options", "machine", "routines", "source"] { made.document.set(key, document[key]) }
        var xen = made.document["xen"] ?? .object([])
        for member in document["xen"]?.objectValue ?? [] where member.key != "traps" && member.key != "thunks" {
            xen.set(member.key, member.value)
        }
        made.document.set("xen", xen)
        made.document = made.document.canonical
        return made
    }

    private func table(
        _ kernel: Kernel, config: [String: Bool], before: Base?, _ kernels: KernelLibrary
    ) throws(TreeFault) -> TreeImport {
        let standard = kernel.document
        let known = (standard["options"]?.objectValue ?? []).map(\.key)
        var options = standard["options"] ?? .object([])
        var own: [String: Bool] = [:]
        for (symbol, value) in config {
            if let option = KernelNames.option(symbol, known: known) {
                options.set(option, .bool(value))
            } else {
                own[symbol] = value
            }
        }
        let rows = TreeRows(self, options: known, config: own)
        // C without a row that is read has no say: `traps.c` of a kernel that has `idt.c`.
        let isNew = before == nil
        let files = files.filter {
            !isNew || !KernelFile.tableFiles.contains($0.path) || rows.filesWithRows.contains($0.path)
        }
        var document = JSON.object([
            JSON.Member("kernel", .string(kernel.name)),
            JSON.Member("description", .string("entry code read from a kernel tree, around it that of \(kernel.name)")),
        ])
        document.set("source", standard["source"])
        document.set("options", options)
        setRows(rows, standard, isNew: isNew, in: &document)
        var sources = JSON.object([
            JSON.Member(
                "files", .object(files.map { JSON.Member($0.path, .string(String(decoding: $0.text, as: UTF8.self))) }))
        ])
        if !own.isEmpty {
            sources.set("config", .object(own.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .bool($0.value)) }))
        }
        let assumedList = before?.assumed.sorted() ?? []
        sources.set("assumed", .array(assumedList.map { .string($0) }))
        sources.set("release", (release ?? deducedRelease).map { .string($0.text) })
        document.set("sources", sources)
        var result = TreeImport(document: document, kernel: kernel.name)
        result.notes = rows.notes + unusedChoices(own)
        result.read = files.map(\.path)
        if files.isEmpty {
            throw TreeFault(code: "no-sources", message: "none of the files holds a row of a table that is read")
        }
        result.missing = missingHomes(kernel.generation.tree)
        if rows.gates.isEmpty && isNew { result.missing.append("arch/x86/kernel/idt.c") }
        if rows.traps.isEmpty && isNew { result.missing.append("arch/x86/xen/enlighten_pv.c") }
        let undefined = try inspect(&result, kernel, before: before, kernels)
        if isNew, !undefined.isEmpty, repairRows(&result, standard, undefined) {
            _ = try inspect(&result, kernel, before: nil, kernels)
        }
        return result
    }

    /// Assembles the tree for every platform, and notes what it did not understand.
    ///
    /// - Returns: Names in rows of the table that no code has.
    private func inspect(
        _ result: inout TreeImport, _ kernel: Kernel, before: Base?, _ kernels: KernelLibrary
    ) throws(TreeFault) -> Set<String> {
        let table: EntryTable
        do throws(TableFaults) {
            table = try EntryTable.read(result.document, kernels: kernels)
        } catch {
            let first = error.faults.first
            throw TreeFault(
                code: first?.code ?? "invalid-table",
                message: "the tree makes no table: \(first?.pointer ?? ""): \(first?.message ?? "")")
        }
        let inspection = table.inspectSources(kernels: kernels)
        result.notUnderstood = inspection.statements
        result.data = inspection.data
        result.off = inspection.off.sorted()
        result.absentFeatures = inspection.absentFeatures.sorted()
        result.document = table.document
        if let before {
            let added = inspection.undefined.filter { !before.assumed.contains($0) && before.isNew($0) }.sorted()
            if added.isEmpty { return [] }
            result.assumed = before.assumed.union(added).sorted()
            setAssumed(&result)
            for name in added.prefix(32) {
                result.notes.append(
                    "\(name) comes with the change, and none of the files defines it: taken for a function or a variable of C without a model"
                )
            }
            return []
        }
        // A kernel that was built has every symbol: what nobody defines here is defined in C.
        result.assumed = inspection.undefined.union(inspection.undefinedRows).sorted()
        setAssumed(&result)
        result.document = result.document.canonical
        return inspection.undefinedRows
    }

    private func setAssumed(_ result: inout TreeImport) {
        guard var sources = result.document["sources"] else { return }
        sources.set("assumed", .array(result.assumed.map { .string($0) }))
        result.document.set("sources", sources)
    }

    /// Rows that lead to a stub of a file that is missing are the shipped kernel's; true where one was changed.
    private func repairRows(_ result: inout TreeImport, _ standard: JSON, _ undefined: Set<String>) -> Bool {
        func isUndefined(_ value: JSON?) -> Bool { value?.stringValue.map { undefined.contains($0) } ?? false }
        var isChanged = false
        var gates = result.document["idt"]?.arrayValue ?? []
        for index in gates.indices where isUndefined(gates[index]["entry"]) {
            // A declaration names its vector: the stub that the files have for it.
            let vector = gates[index]["vector"]
            if let declared = (result.document["entries"]?.arrayValue ?? []).first(where: { row in
                let name = row["vector"]?.stringValue.flatMap { KernelNames.vector($0) }
                return name.map { JSON.integer(Int64($0)) } == vector && !isUndefined(row["symbol"])
                    && row["symbol"] != gates[index]["entry"]
            }) {
                result.notes.append(
                    "the gate of vector \(vector?.integerValue ?? 0) leads to \(declared["symbol"]?.stringValue ?? ""), which is declared for it: \(gates[index]["entry"]?.stringValue ?? "") is in none of the files"
                )
                gates[index].set("entry", declared["symbol"])
                isChanged = true
                continue
            }
            guard
                let own = (standard["idt"]?.arrayValue ?? []).first(where: {
                    $0["vector"] == vector && !isUndefined($0["entry"])
                })
            else { continue }
            result.notes.append(
                "the gate of vector \(own["vector"]?.integerValue ?? 0) leads to \(gates[index]["entry"]?.stringValue ?? ""), which none of the files has: missing, the row of \(result.kernel) is taken"
            )
            gates[index] = own
            isChanged = true
        }
        var xen = result.document["xen"] ?? .object([])
        var traps = xen["traps"]?.arrayValue ?? []
        let natives = Set(gates.compactMap { $0["entry"]?.stringValue })
        let lost = traps.filter { isUndefined($0["native"]) && !natives.contains($0["native"]?.stringValue ?? "") }
        let given = Set(traps.compactMap { $0["native"]?.stringValue })
        let needed = (standard["xen"]?["traps"]?.arrayValue ?? []).filter {
            let native = $0["native"]?.stringValue ?? ""
            return natives.contains(native) && !given.contains(native) && !isUndefined($0["entry"])
        }
        // A gate with another stub than the shipped kernel's, and a thunk for it: the row of the shipped one's stub.
        var moved: [JSON] = []
        let thunks = Set((xen["thunks"]?.arrayValue ?? []).compactMap(\.stringValue))
        for gate in gates {
            let entry = gate["entry"]?.stringValue ?? ""
            guard !given.contains(entry), !needed.contains(where: { $0["native"] == gate["entry"] }),
                thunks.contains(entry), !isUndefined(gate["entry"]),
                let old = (standard["idt"]?.arrayValue ?? []).first(where: { $0["vector"] == gate["vector"] }),
                var row = (standard["xen"]?["traps"]?.arrayValue ?? []).first(where: { $0["native"] == old["entry"] })
            else { continue }
            row.set("native", gate["entry"])
            row.set("entry", .string("xen_" + entry))
            moved.append(row)
        }
        if !lost.isEmpty || !moved.isEmpty || (isChanged && !needed.isEmpty) {
            for row in lost {
                result.notes.append(
                    "the trap array's row of \(row["native"]?.stringValue ?? "") is left out: none of the files has that stub"
                )
            }
            traps.removeAll { lost.contains($0) }
            for row in needed {
                result.notes.append(
                    "the trap array's row of \(row["native"]?.stringValue ?? "") is that of \(result.kernel)")
            }
            for row in moved {
                result.notes.append(
                    "the trap array's row of \(row["native"]?.stringValue ?? "") is that of the stub that \(result.kernel) has in its place"
                )
            }
            traps += needed + moved
            xen.set("traps", .array(traps))
            isChanged = true
        }
        // Callbacks had other names before 5.16 and its stable relatives.
        for (key, names) in [
            ("syscall", ["xen_syscall_target", "xen_entry_SYSCALL_64"]),
            ("syscall32", ["xen_syscall32_target", "xen_entry_SYSCALL_compat"]),
            ("sysenter", ["xen_sysenter_target", "xen_entry_SYSENTER_compat"]),
        ] {
            guard var callbacks = xen["callbacks"], isUndefined(callbacks[key]),
                let other = names.first(where: { !undefined.contains($0) && mentions($0) })
            else { continue }
            callbacks.set(key, .string(other))
            xen.set("callbacks", callbacks)
            isChanged = true
        }
        guard isChanged else { return false }
        var entries = result.document["entries"]?.arrayValue ?? []
        for row in standard["entries"]?.arrayValue ?? []
        where natives.union(gates.compactMap { $0["entry"]?.stringValue }).contains(row["symbol"]?.stringValue ?? "")
            && !entries.contains(where: { $0["symbol"] == row["symbol"] })
        {
            entries.append(row)
        }
        result.document.set("entries", .array(entries))
        result.document.set("idt", .array(gates))
        result.document.set("xen", xen)
        return true
    }

    /// Choices of Kconfig that no file asks for: perhaps misspelt.
    private func unusedChoices(_ config: [String: Bool]) -> [String] {
        let unused = config.keys.filter { symbol in
            !files.contains { KernelTree.words(in: $0.text, from: "CONFIG_").contains(symbol) }
        }
        if unused.isEmpty { return [] }
        let known = files.reduce(into: Set<String>()) { $0.formUnion(KernelTree.words(in: $1.text, from: "CONFIG_")) }
        return unused.sorted().prefix(32).map { symbol in
            let hint = nearestName(to: symbol, among: known.sorted()).map { "; did you mean \($0)?" } ?? ""
            return "nothing in the files looks at \(symbol)\(hint)"
        }
    }

    private func mentions(_ name: String) -> Bool {
        files.contains { KernelTree.words(in: $0.text, from: "xen_").contains(name) }
    }

    /// All names.
    static func words(in text: [UInt8]) -> Set<String> {
        Set(text.split { !Ascii.isName($0) }.filter { $0.count <= 100 }.map { $0.text })
    }

    /// Names that start in a way.
    static func words(in text: [UInt8], from prefix: StaticString) -> Set<String> {
        var found: Set<String> = []
        var rest = text[...]
        while let range = rest.firstRange(of: prefix) {
            let isStart = range.lowerBound == 0 || !Ascii.isName(text[range.lowerBound - 1])
            let word = text[range.lowerBound...].prefix(while: Ascii.isName)
            if isStart, word.count <= 100 { found.insert(word.text) }
            rest = text[word.endIndex...]
        }
        return found
    }

    /// Rows that the files do not have are the shipped kernel's; not those that a change took away from files that had them.
    private func setRows(_ rows: TreeRows, _ standard: JSON, isNew: Bool, in document: inout JSON) {
        func isGiven(_ endings: String...) -> Bool {
            !isNew && files.contains { file in endings.contains { file.path.hasSuffix($0) } }
        }
        var gates = rows.gates
        if gates.isEmpty, !isGiven("/idt.c", "/traps.c") { gates = standard["idt"]?.arrayValue ?? [] }
        document.set("idt", .array(gates))
        var entries = rows.entries
        if entries.isEmpty, !isGiven("/idtentry.h") {
            entries = standard["entries"]?.arrayValue ?? []
        } else {
            // Stubs that are written by hand have no row in the kernel: the gates name them.
            for row in standard["entries"]?.arrayValue ?? []
            where row["code"] != nil && !entries.contains(where: { $0["symbol"] == row["symbol"] })
                && gates.contains(where: { $0["entry"] == row["symbol"] })
            {
                entries.append(row)
            }
        }
        document.set("entries", .array(entries))
        var xen = standard["xen"] ?? .object([])
        if !rows.traps.isEmpty || isGiven("/enlighten_pv.c", "/enlighten.c") { xen.set("traps", .array(rows.traps)) }
        if !rows.thunks.isEmpty || isGiven("/xen-asm.S", "/xen-asm_64.S") {
            var thunks = rows.thunks
            // Rows of a trap array that is not here have their thunks from where they come.
            if isNew, rows.traps.isEmpty {
                let needed = Set((standard["xen"]?["traps"]?.arrayValue ?? []).compactMap { $0["entry"]?.stringValue })
                for thunk in standard["xen"]?["thunks"]?.arrayValue ?? []
                where !thunks.contains(thunk) && needed.contains("xen_" + (thunk.stringValue ?? "")) {
                    thunks.append(thunk)
                }
            }
            xen.set("thunks", .array(thunks))
        }
        document.set("xen", xen)
    }

    private func missingHomes(_ tree: TreeDescription) -> [String] {
        var sources = EntryTable.Sources()
        sources.files = files.map {
            EntryTable.Sources.File(path: $0.path, text: String(decoding: $0.text, as: UTF8.self))
        }
        return tree.homes.keys.filter { !sources.hasHome($0) }.sorted()
    }

    private func contains(_ text: StaticString) -> Bool { files.contains { $0.text[...].firstRange(of: text) != nil } }

    /// Without a Makefile: names that only kernels of a time have.
    private var deducedRelease: KernelRelease? {
        // The helper of 4.16 and the interrupt stack of before 5.2.
        guard contains("irq_stack_union"), contains("interrupt_entry") else { return nil }
        return contains("entry_SYSCALL_64_trampoline") ? KernelRelease(4, 19) : KernelRelease(5, 1)
    }

    /// The shipped kernel that a tree looks like: by its Makefile, else by names that came and went.
    private func guessedKernel(_ kernels: KernelLibrary) -> String {
        func nearest(_ release: KernelRelease) -> String {
            if release < KernelRelease(4, 14) { return "linux-4.4" }
            if release < KernelRelease(4, 20) { return "linux-4.15" }
            if release < KernelRelease(5, 3) { return "linux-5.2" }
            if release < KernelRelease(5, 8) { return "linux-5.3" }
            if release < KernelRelease(5, 12) { return "linux-5.8" }
            return "linux-6.1"
        }
        let has58 = kernels.kernel(named: "linux-5.8")?.generation.tree.homes.isEmpty == false
        if let release = release ?? deducedRelease {
            let name = nearest(release)
            return name == "linux-5.8" && !has58 ? "linux-6.1" : name
        }
        let isDeclared =
            files.contains { $0.path.hasSuffix("idtentry.h") } || contains("DECLARE_IDTENTRY") || contains("asm_exc_")
            || contains("xenpv_exc_")
        if isDeclared {
            // 5.8 to 5.11 switch stacks in assembly, what later kernels have given to C.
            let isEarlier =
                contains("asm_call_on_stack") || contains("asm_call_sysvec_on_stack")
                || contains("asm_call_irq_on_stack") || (contains("xen_sysret64") && !contains("UNTRAIN_RET"))
            return isEarlier && has58 ? "linux-5.8" : "linux-6.1"
        }
        if contains("PARAVIRT_ADJUST_EXCEPTION_FRAME") || contains("RESTORE_C_REGS") { return "linux-4.4" }
        if contains("irq_stack_union") && contains("SWITCH_TO_KERNEL_CR3") { return "linux-4.15" }
        if contains("create_gap") || contains("hardirq_stack_ptr") {
            return contains("read_cr2") ? "linux-5.3" : "linux-5.2"
        }
        // A header or the 32-bit entries alone.
        if contains("IBRS_ENTER") || contains("UNTRAIN_RET") || contains("ENDBR") { return "linux-6.1" }
        if contains("PUSH_AND_CLEAR_REGS") {
            return contains("FENCE_SWAPGS_USER_ENTRY") ? "linux-5.3" : "linux-4.15"
        }
        if contains("xen_pv_trap") || contains("SWITCH_TO_KERNEL_CR3") { return "linux-4.15" }
        if files.contains(where: { $0.path.contains("/entry/") || $0.path.hasSuffix("entry_64.S") })
            || contains("cvt_gate_to_trap") || contains("set_intr_gate_ist")
        {
            return "linux-4.4"
        }
        return "linux-6.1"
    }
}

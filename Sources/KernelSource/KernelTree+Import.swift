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
        return try table(kernel, config: config, assumed: nil, kernels)
    }

    /// The same tree after a change: options and choices of the table stay, and what was taken for granted.
    func remake(_ document: JSON, kernels: KernelLibrary) throws(TreeFault) -> TreeImport {
        guard let kernel = document["kernel"]?.stringValue.flatMap({ kernels.kernel(named: $0) }) else {
            throw TreeFault(code: "unknown-kernel", message: "the table's kernel does not ship with this version")
        }
        var config: [String: Bool] = [:]
        for member in document["sources"]?["config"]?.objectValue ?? [] { config[member.key] = member.value.boolValue }
        var made = try table(
            kernel, config: config,
            assumed: Set((document["sources"]?["assumed"]?.arrayValue ?? []).compactMap(\.stringValue)), kernels)
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
        _ kernel: Kernel, config: [String: Bool], assumed: Set<String>?, _ kernels: KernelLibrary
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
        let isNew = assumed == nil
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
        let assumedList = assumed?.sorted() ?? []
        sources.set("assumed", .array(assumedList.map { .string($0) }))
        document.set("sources", sources)
        var result = TreeImport(document: document, kernel: kernel.name)
        result.notes = rows.notes
        result.read = files.map(\.path)
        if files.isEmpty {
            throw TreeFault(code: "no-sources", message: "none of the files holds a row of a table that is read")
        }
        result.missing = missingHomes(kernel.generation.tree)
        if rows.gates.isEmpty && isNew { result.missing.append("arch/x86/kernel/idt.c") }
        if rows.traps.isEmpty && isNew { result.missing.append("arch/x86/xen/enlighten_pv.c") }
        try inspect(&result, kernel, isNew: isNew, kernels)
        return result
    }

    /// Assembles the tree for every platform, and notes what it did not understand.
    private func inspect(
        _ result: inout TreeImport, _ kernel: Kernel, isNew: Bool, _ kernels: KernelLibrary
    ) throws(TreeFault) {
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
        result.off = inspection.off.sorted()
        result.absentFeatures = inspection.absentFeatures.sorted()
        result.document = table.document
        guard isNew else { return }
        // A kernel that was built has every symbol: what nobody defines here is defined in C.
        result.assumed = inspection.undefined.sorted()
        if var sources = result.document["sources"] {
            sources.set("assumed", .array(result.assumed.map { .string($0) }))
            result.document.set("sources", sources)
        }
        result.document = result.document.canonical
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
        if !rows.thunks.isEmpty || isGiven("/xen-asm.S", "/xen-asm_64.S") { xen.set("thunks", .array(rows.thunks)) }
        document.set("xen", xen)
    }

    private func missingHomes(_ tree: TreeDescription) -> [String] {
        var sources = EntryTable.Sources()
        sources.files = files.map {
            EntryTable.Sources.File(path: $0.path, text: String(decoding: $0.text, as: UTF8.self))
        }
        return tree.homes.keys.filter { !sources.hasHome($0) }.sorted()
    }

    /// The shipped kernel that a tree looks like.
    private func guessedKernel(_ kernels: KernelLibrary) -> String {
        func contains(_ text: StaticString) -> Bool { files.contains { $0.text[...].firstRange(of: text) != nil } }
        let isDeclared =
            files.contains { $0.path.hasSuffix("idtentry.h") } || contains("DECLARE_IDTENTRY") || contains("asm_exc_")
        if isDeclared {
            // 5.8 to 5.11 keep what later kernels have given to C.
            let isLater =
                contains("xen_error_entry") || contains("UNTRAIN_RET")
                || contains("xenpv_restore_regs_and_return_to_usermode")
            return isLater || kernels.kernel(named: "linux-5.8")?.generation.tree.homes.isEmpty != false
                ? "linux-6.1" : "linux-5.8"
        }
        if contains("PARAVIRT_ADJUST_EXCEPTION_FRAME") || contains("RESTORE_C_REGS") { return "linux-4.4" }
        if contains("create_gap") { return contains("read_cr2") ? "linux-5.3" : "linux-5.2" }
        if contains("xen_pv_trap") || contains("SWITCH_TO_KERNEL_CR3") { return "linux-4.15" }
        if files.contains(where: { $0.path.contains("/entry/") || $0.path.hasSuffix("entry_64.S") }) {
            return "linux-4.4"
        }
        return "linux-6.1"
    }
}

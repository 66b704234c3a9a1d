import Assembler
import Machine
package import XenPV

extension EntryTable {
    /// Expands the table for a platform.
    ///
    /// - Parameters:
    ///   - xen: Release of Xen; nil for the table's own, 4.17 where it says nothing.
    ///   - isPatched: Alternatives have been applied; false for the kernel as it boots.
    package func expand(
        for platform: Platform, xen release: XenVersion? = nil, kernels: KernelLibrary = .shipped,
        isPatched: Bool = true
    ) throws(InvalidConfiguration) -> EntryImage {
        guard let kernel = kernels.kernel(named: kernel) else {
            throw InvalidConfiguration(findings: [
                ConfigurationFinding(
                    rule: "dangling-reference", pointer: "/kernel",
                    message: "no kernel '\(self.kernel)' ships with the program")
            ])
        }
        if platform.isXen && options["XEN_PV"] == false {
            throw InvalidConfiguration(findings: [EntryTable.withoutXen])
        }
        var table = self
        // An option that means nothing here is as good as off.
        for (option, platforms) in kernel.generation.optionPlatforms where !platforms.contains(platform) {
            if table.options[option] != nil { table.options[option] = false }
        }
        var expansion = Expansion(
            table: table, platform: platform, generation: kernel.generation, standard: kernel.document,
            isPatched: isPatched)
        return try expansion.image(release: release ?? self.xen.version.flatMap(XenVersion.init) ?? .v4_17)
    }
}

extension EntryTable {
    /// Why a table is not run on Xen PV: no fault of it.
    package static let withoutXen = ConfigurationFinding(
        rule: "platform-not-configured", pointer: "/options/XEN_PV",
        message: "a kernel without XEN_PV does not run as a PV guest: no scenarios on xen-pv")
}

/// The work of one expansion.
struct Expansion {
    let table: EntryTable
    let platform: Platform
    var generation: Generation
    var findings: [ConfigurationFinding] = []
    var functions: [CFunction]
    /// Vectors that events come by, in their order.
    let vectors: [(vector: UInt8, entry: String)]
    let deviceVectors: Set<UInt8>
    /// Events without a vector that this kernel meets here, and whose stand-ins the table needs for nothing else.
    let standIns: Set<UInt8>
    /// Those that stand for instructions which neither the processor nor the kernel offers, and programs execute all the same.
    let refusedCalls: Set<UInt8>

    /// Alternatives have been applied.
    let isPatched: Bool
    /// The sources of the table, preprocessed; nil for a table without.
    let sources: SourceExpansion?

    init(table: EntryTable, platform: Platform, generation: Generation, standard: JSON, isPatched: Bool) {
        var generation = generation
        if platform.usesPageTableIsolation(options: table.options) {
            generation.roles.merge(generation.rolesWithIsolation) { _, isolated in isolated }
        }
        if let own = table.sources {
            // Kernels had other names for them.
            for (role, name) in generation.tree.olderNames {
                guard let known = generation.roles[role], !own.mentions(known), own.mentions(name) else { continue }
                generation.roles[role] = name
            }
            if generation.roles["unknown_trap"] == nil, own.mentions("exc_xen_unknown_trap") {
                generation.roles["unknown_trap"] = "xen_asm_exc_xen_unknown_trap"
            }
        }
        self.table = table
        self.isPatched = isPatched
        sources = table.sources.map { SourceExpansion($0, options: table.options, generation: generation) }
        let exceptions = Expansion.vectors(table, standard)
        let taken = Set(exceptions.map(\.vector))
        // Of arrays of stubs the first is assembled; labels of others are in the listings alone.
        let hasOwnStubs = sources?.excluded.contains("irq_entries_start") ?? false
        let devices = Expansion.deviceVectors(table, platform, generation, standard).filter {
            !taken.contains($0.vector)
                && (!hasOwnStubs || platform.isXen || generation.routineNames.contains($0.entry)
                    || table.sources?.mentions($0.entry) ?? true)
        }
        deviceVectors = Set(devices.map(\.vector))
        var all = exceptions + devices
        let others = Expansion.standIns(table, platform, generation).filter { !taken.contains($0.vector) }
        let refused = Expansion.refusedCalls(table, platform).filter { row in
            !taken.contains(row.vector) && !others.contains { $0.vector == row.vector }
        }
        refusedCalls = Set(refused.map(\.vector))
        standIns = Set(others.map(\.vector)).union(refusedCalls)
        all += others + refused
        vectors = all.sorted { $0.vector < $1.vector }
        self.platform = platform
        self.generation = generation
        functions = generation.functions
        if let own = table.sources {
            var others = generation.tree.functions
            for change in generation.tree.changes.sorted(by: { $0.since < $1.since }) {
                if let release = own.release, release >= change.since, release < change.before {
                    others += change.functions
                }
            }
            for function in others {
                functions.removeAll { $0.name == function.name }
                functions.append(function)
            }
            functions.append(CFunction(name: Expansion.gapRoutine, model: .notUnderstood, size_bytes: 16))
        }
    }

    mutating func dangling(_ pointer: String, _ message: String) {
        findings.append(ConfigurationFinding(rule: "dangling-reference", pointer: pointer, message: message))
    }

    mutating func image(release: XenVersion) throws(InvalidConfiguration) -> EntryImage {
        // With sources a handler is what they call.
        if sources == nil { checkHandlers() }
        let program: Program
        do throws(AssemblyFailure) {
            program = try assemble(assemblyInput())
        } catch {
            throw InvalidConfiguration(
                findings: findings
                    + error.diagnostics.map { diagnostic in
                        ConfigurationFinding(
                            rule: diagnostic.code == "undefined-symbol" ? "dangling-reference" : diagnostic.code,
                            pointer: pointer(of: diagnostic), message: diagnostic.message,
                            location: "\(diagnostic.file):\(diagnostic.line):\(diagnostic.column)")
                    })
        }
        noteGaps(program)
        // What the sources of a tree say about their own routines they say with `_ASM_EXTABLE`.
        if let sources { generation.exceptionTable.removeAll { sources.excluded.contains($0.routine) } }
        useLocalNames(program)
        var builder = MemoryBuilder(
            table: table, platform: platform, generation: generation, program: program, vectors: vectors.map(\.vector),
            standIns: standIns)
        var (machine, layout) = builder.build()
        findings += builder.findings
        var hypervisor: Hypervisor?
        if platform.isXen {
            hypervisor = makeHypervisor(release, program, layout)
        } else {
            fillIDT(&machine, program)
            setSyscall(&machine, program, entryStackEnd: layout.entryStack.end)
            setReturnGuard(&machine, program)
            // The stack that the gate names, whatever the table calls it.
            let slot = UInt64(machine.idt[Int(Vector.nmi)].ist)
            if slot != 0, let top = try? machine.load(machine.cpu.tssBase &+ 28 &+ 8 &* slot, .quad) {
                layout.nmiStackTop = top
            }
        }
        findUnreachable(program)
        findUnusedRoutines(program)
        let fatal = findings.filter { !ConfigurationFinding.warnings.contains($0.rule) }
        if !fatal.isEmpty { throw InvalidConfiguration(findings: findings) }
        // Without a path that calls by the table itself, every call returns by what C has left.
        let callsByTable = table.sources.map { $0.mentions("sys_call_table") || $0.mentions("CALL_SYS_CALL_TABLE") }
        let returnsBySysret = generation.sysretTraps && callsByTable ?? true
        var doubtful: Set<String> = []
        if let own = table.sources, let conventions = generation.tree.conventions,
            own.isBefore(conventions.since)
        {
            doubtful = conventions.rules
        }
        return EntryImage(
            platform: platform, table: table, program: program, machine: machine, hypervisor: hypervisor,
            functions: functions, layout: layout, roles: generation.roles, console: generation.console,
            release: kernelRelease(), vectors: vectors, deviceVectors: deviceVectors, standIns: standIns,
            refusedCalls: refusedCalls,
            bootsUnpatched: generation.bootsUnpatched, sysretTraps: returnsBySysret,
            debugNests: generation.debugNests,
            isPatched: isPatched, doubtfulRules: doubtful, findings: findings)
    }

    /// The registers that SYSCALL reads, as `syscall_init` writes them (Linux 5.2 `arch/x86/kernel/cpu/common.c`).
    private func setSyscall(_ machine: inout Machine, _ program: Program, entryStackEnd: UInt64) {
        guard let entry = generation.roles["syscall_entry"], let address = entryAddress(of: entry, program) else {
            return
        }
        machine.cpu.lstar = address
        // __USER32_CS and __KERNEL_CS.
        machine.cpu.star = 0x23 << 48 | 0x10 << 32
        machine.cpu.syscallMask =
            Flags.trap | Flags.direction | Flags.interrupt | Flags.iopl | Flags.alignmentCheck | Flags.nestedTask
        if let entry = generation.roles["syscall32_entry"], let address = entryAddress(of: entry, program) {
            machine.cpu.cstar = address
        }
        if let entry = generation.roles["sysenter_entry"], let address = entryAddress(of: entry, program) {
            machine.cpu.sysenterCS = 0x10
            machine.cpu.sysenterESP = entryStackEnd
            machine.cpu.sysenterEIP = address
        }
    }

    /// What entry code must do about Retbleed, by the options of the kernel (Linux 6.1 `arch/x86/kernel/cpu/bugs.c`).
    private func setReturnGuard(_ machine: inout Machine, _ program: Program) {
        guard isPatched else { return }
        if platform == .bareMetalIntel, table.options["CPU_IBRS_ENTRY"] ?? false {
            machine.returnGuard = .restriction
        }
        if platform == .bareMetalAMD, table.options["CPU_UNRET_ENTRY"] ?? false {
            machine.returnGuard = .untraining
            let routine = generation.roles["untrain_ret"] ?? "zen_untrain_ret"
            machine.untrainingIndex = program.address(of: routine).map(program.index(at:)) ?? -2
        }
    }

    private func kernelRelease() -> String {
        if let version = table.document["source"]?["version"]?.stringValue { return version }
        return table.kernel.hasPrefix("linux-") ? String(table.kernel.dropFirst("linux-".count)) : table.kernel
    }

    /// The JSON pointer of a fault in a routine of the table, or of the row that a generated line came from.
    private func pointer(of diagnostic: Diagnostic) -> String {
        if diagnostic.file.hasPrefix("routines/") {
            return EntryCode.pointer("/routines", String(diagnostic.file.dropFirst("routines/".count)))
        }
        if diagnostic.file == Expansion.tableFile {
            return pointer(ofGeneratedLine: diagnostic.line) ?? ""
        }
        // A fault inside a macro: the outermost call that stands in a row or a routine of the table.
        for note in diagnostic.notes.reversed() {
            guard let range = note.firstRange(of: ", from ") else { continue }
            let place = note[range.upperBound...]
            guard let colon = place.lastIndex(of: ":") else { continue }
            let file = place[..<colon]
            if file == Expansion.tableFile, let line = Int(place[place.index(after: colon)...]),
                let pointer = pointer(ofGeneratedLine: line)
            {
                return pointer
            }
            if file.hasPrefix("routines/") {
                return EntryCode.pointer("/routines", String(file.dropFirst("routines/".count)))
            }
        }
        return ""
    }

    private func pointer(ofGeneratedLine line: Int) -> String? {
        let rows = generatedRows()
        return rows.indices.contains(line - 1) ? rows[line - 1].pointer : nil
    }
}

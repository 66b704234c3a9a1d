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

    /// The vectors of the table's gates; then exceptions that the processor raises whether they have a gate or not, and INT 0x80,
    /// which 32-bit programs execute whether it has one or not.
    private static func vectors(_ table: EntryTable, _ standard: JSON) -> [(vector: UInt8, entry: String)] {
        var names: [UInt8: String] = [:]
        // Where a vector has two rows the later one is loaded over the first, as Linux does for KVM guests.
        // #VC comes to guests of SEV-ES alone, which no platform here is.
        let isGuestsOnly = table.sources != nil
        for row in table.idt where table.applies(row.option) && !(isGuestsOnly && row.vector == 29) {
            names[row.vector] = row.entry
        }
        for row in standard["idt"]?.arrayValue ?? [] {
            // 9 and 15 are not raised by any processor that runs 64-bit code (SDM vol. 3, table 6-1).
            guard let number = row["vector"]?.integerValue, number < 32 || number == 0x80, number != 9, number != 15,
                table.applies(row["option"]?.stringValue), let entry = row["entry"]?.stringValue
            else { continue }
            if names[UInt8(number)] == nil { names[UInt8(number)] = entry }
        }
        return names.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    private static func deviceVectors(
        _ table: EntryTable, _ platform: Platform, _ generation: Generation, _ standard: JSON
    ) -> [(vector: UInt8, entry: String)] {
        if !platform.isXen { return generation.interrupts.map { ($0.vector, $0.entry) } }
        // Events come whether something is registered for them or not.
        let entry = table.xen.callbacks["event"] ?? standard["xen"]?["callbacks"]?["event"]?.stringValue
        return entry.map { [(Platform.callbackVector, $0)] } ?? []
    }

    /// SYSCALL, SYSENTER and the failsafe callback, where processor, kernel and hypervisor have them.
    private static func standIns(
        _ table: EntryTable, _ platform: Platform, _ generation: Generation
    ) -> [(vector: UInt8, entry: String)] {
        var found: [(vector: UInt8, entry: String)] = []
        func add(_ vector: UInt8, _ role: String, callback: String, isPossible: Bool) {
            // A PV guest has what it has registered a callback for, whatever the host's processor. Programs of 64 bits and Xen
            // count on theirs; without those for 32 bits the vDSO does with INT 0x80 (Linux 5.2 xen_enable_syscall).
            let isPromised = callback == "syscall" || callback == "failsafe"
            if platform.isXen ? table.xen.callbacks[callback] == nil && !isPromised : !isPossible { return }
            if let entry = generation.roles[role] { found.append((vector, entry)) }
        }
        add(Platform.syscallVector, "syscall_entry", callback: "syscall", isPossible: true)
        if table.options["IA32_EMULATION"] ?? true {
            // Intel has no SYSCALL in 32-bit code, AMD no SYSENTER under a 64-bit kernel (APM vol. 3).
            add(
                Platform.syscall32Vector, "syscall32_entry", callback: "syscall32",
                isPossible: platform == .bareMetalAMD)
            add(
                Platform.sysenterVector, "sysenter_entry", callback: "sysenter",
                isPossible: platform == .bareMetalIntel)
        }
        add(Platform.failsafeVector, "failsafe_callback", callback: "failsafe", isPossible: false)
        if platform == .bareMetalIntel, table.options["KVM_INTEL"] ?? false, let entry = generation.roles["kvm_nmi"] {
            found.append((Platform.kvmNMIVector, entry))
        }
        return found
    }

    /// SYSCALL and SYSENTER where they lead nowhere: the processor raises #UD, or the guest has no callback for Xen to call.
    private static func refusedCalls(_ table: EntryTable, _ platform: Platform) -> [(vector: UInt8, entry: String)] {
        let has32 = table.options["IA32_EMULATION"] ?? true
        switch platform {
        case .bareMetalIntel: return has32 ? [(Platform.syscall32Vector, "syscall32")] : []
        case .bareMetalAMD: return has32 ? [(Platform.sysenterVector, "sysenter")] : []
        case .xenPV:
            let calls = [
                (Platform.syscallVector, "syscall"), (Platform.syscall32Vector, "syscall32"),
                (Platform.sysenterVector, "sysenter"),
            ]
            return calls.filter { table.xen.callbacks[$0.1] == nil && (has32 || $0.0 == Platform.syscallVector) }
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
            bootsUnpatched: generation.bootsUnpatched, sysretTraps: generation.sysretTraps,
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

    // MARK: Text for the assembler

    static let tableFile = "entry-table"
    /// Where references lead that nothing defines.
    static let gapRoutine = "code_without_model"
    /// Findings that get a look for the nearest name; the look costs time.
    static let suggestions = 32

    /// One line per row of the table, with the pointer of the row.
    func generatedRows() -> [(text: String, pointer: String)] {
        var rows: [(String, String)] = []
        // What the sources of a tree declare themselves is not declared again.
        let areEntriesGiven = sources?.excluded.contains("@entries") ?? false
        let areThunksGiven = sources?.excluded.contains("@thunks") ?? false
        for entry in areEntriesGiven ? [] : table.entries where !entry.isInListing && table.applies(entry.option) {
            if let kind = entry.kind, let vector = entry.vector {
                var line = "\(kind) \(vector), \(entry.symbol), \(entry.handler)"
                if entry.saysErrorCode { line += ", has_error_code=\(entry.hasErrorCode ? 1 : 0)" }
                rows.append((line, entry.pointer))
                continue
            }
            var line = "idtentry \(entry.symbol) \(entry.handler) has_error_code=\(entry.hasErrorCode ? 1 : 0)"
            if entry.paranoid != 0 { line += " paranoid=\(entry.paranoid)" }
            if let shift = entry.shiftIST { line += " shift_ist=\(shift) ist_offset=\(entry.istOffset)" }
            if entry.createGap { line += " create_gap=1" }
            if entry.readCR2 { line += " read_cr2=1" }
            rows.append((line, entry.pointer))
        }
        if table.options["XEN_PV"] ?? true {
            for (index, thunk) in table.xen.thunks.enumerated()
            where !areThunksGiven || sources?.thunks.contains(thunk) == false {
                rows.append(("xen_pv_trap \(thunk)", "/xen/thunks/\(index)"))
            }
        }
        return rows
    }

    private func modelText() -> String {
        var text = ""
        for (index, function) in functions.enumerated() {
            text += "ENTRY(\(function.name))\n\tmodel $\(index)\n\tret\nEND(\(function.name))\n"
        }
        return text
    }

    /// Code that is interrupted: user code, kernel code, the self test.
    private func siteText() -> String {
        var text = """
            ENTRY(user_code)
            \tnop
            GLOBAL(user_interrupted)
            \tnop
            \tnop
            END(user_code)
            ENTRY(user_signal_handler)
            \tnop
            \tnop
            END(user_signal_handler)
            ENTRY(__kernel_vsyscall)
            \tint $0x80
            GLOBAL(int80_landing_pad)
            \tnop
            \tnop
            END(__kernel_vsyscall)
            ENTRY(kernel_code)
            \tnop
            GLOBAL(kernel_interrupted)
            \tnop
            \tnop
            GLOBAL(kernel_fixup)
            \tnop
            \tnop
            GLOBAL(kernel_push)
            \tpushq %rax
            \tnop
            END(kernel_code)
            ENTRY(emulated_function)
            \tret
            END(emulated_function)

            """
        // The event's own instruction, then four bytes that a patched CALL would have covered.
        for (vector, _) in vectors {
            let instruction =
                vector == Vector.breakpoint
                ? "int3"
                : (standIns.contains(vector) ? Platform.instruction(of: vector) : nil) ?? "int $\(vector)"
            text += "ENTRY(user_int_\(vector))\n\t\(instruction)\n\t.rept 4\n\tnop\n\t.endr\nEND(user_int_\(vector))\n"
            text +=
                "ENTRY(kernel_int_\(vector))\n\t\(instruction)\n\t.rept 4\n\tnop\n\t.endr\nEND(kernel_int_\(vector))\n"
        }
        text += debugSiteText() + lastCallText() + "ENTRY(user_int_others)\n"
        for (vector, _) in Addresses.otherInterrupts(vectors: Set(vectors.map(\.vector)), standIns) {
            text += "\tint $\(vector)\n"
        }
        text += "END(user_int_others)\n"
        if let test = table.machine.selfTest {
            text += """
                ENTRY(\(test.routine))
                \t.rept \(test.siteOffset)
                \tnop
                \t.endr
                \tint3
                \t.rept 5
                \tnop
                \t.endr
                END(\(test.routine))
                ENTRY(\(test.target))
                \tmovl $1, (%rdi)
                \tret
                END(\(test.target))

                """
        }
        return text
    }

    /// User code that a debugger watches: an access, and a load of SS in front of each instruction that enters the kernel.
    private func debugSiteText() -> String {
        var text = "ENTRY(user_access)\n\tcmpb $0, (%rbx)\n\tnop\n\tnop\nEND(user_access)\n"
        for (vector, _) in vectors {
            let instruction: String
            switch vector {
            case Vector.debug: instruction = "nop"
            case Vector.breakpoint: instruction = "int3"
            case Vector.overflow, 0x80: instruction = "int $\(vector)"
            default:
                guard standIns.contains(vector), let own = Platform.instruction(of: vector) else { continue }
                instruction = own
            }
            text +=
                "ENTRY(user_mov_ss_\(vector))\n\tmovw (%rbx), %ss\n\t\(instruction)\n\tnop\n\tnop\nEND(user_mov_ss_\(vector))\n"
        }
        return text
    }

    /// User code with a prefix that changes nothing but the length of INT n, and a SYSCALL at the very end of user memory.
    private func lastCallText() -> String {
        var text = ""
        for vector in prefixedVectors {
            let instruction = vector == Vector.breakpoint ? "int3" : "int $\(vector)"
            text += "ENTRY(user_prefixed_\(vector))\n\trep \(instruction)\n\tnop\n\tnop\nEND(user_prefixed_\(vector))\n"
        }
        return text + "ENTRY(user_last_call)\n\tsyscall\nEND(user_last_call)\n"
    }

    private var prefixedVectors: [UInt8] {
        vectors.map(\.vector).filter { [Vector.breakpoint, Vector.overflow, 0x80].contains($0) }
    }

    func assemblyInput() -> AssemblyInput {
        var constants: [String: Int64] = [
            "PLATFORM_XEN_PV": platform.isXen ? 1 : 0,
            "ALTERNATIVES_APPLIED": isPatched ? 1 : 0,
            "CPU_VENDOR_INTEL": platform == .bareMetalAMD ? 0 : 1,
            "CPU_VENDOR_AMD": platform == .bareMetalAMD ? 1 : 0,
        ]
        let traits = platform.traits(options: table.options)
        constants["CPU_BUG_MELTDOWN"] = traits.meltdown ? 1 : 0
        constants["CPU_BUG_SWAPGS"] = traits.swapgsSpeculates ? 1 : 0
        for (name, value) in table.options { constants[name] = value ? 1 : 0 }
        for variable in generation.perCPU { constants[variable.name] = Int64(bitPattern: variable.offset) }

        var placements: [String: UInt64] = [:]
        var sizes: [String: UInt64] = [:]
        for function in functions { sizes[function.name] = function.size_bytes }
        for (name, placement) in table.machine.code {
            placements[name] = placement.address
            if placement.size_bytes > 0 { sizes[name] = placement.size_bytes }
        }
        placements["user_code"] = Addresses.userCode
        placements["user_signal_handler"] = Addresses.userSignalHandler
        placements["user_int_others"] = Addresses.userOtherInterrupts
        placements["user_access"] = Addresses.userAccess
        placements["__kernel_vsyscall"] = Addresses.userVDSO32
        // SYSCALL has two bytes.
        placements["user_last_call"] = table.machine.userEnd &- 2
        for vector in prefixedVectors {
            placements["user_prefixed_\(vector)"] = Addresses.userPrefixed + UInt64(vector) * 16
        }
        for (vector, _) in vectors {
            placements["user_int_\(vector)"] = Addresses.userInterrupts + UInt64(vector) * 16
            placements["user_mov_ss_\(vector)"] = Addresses.userMovSS + UInt64(vector) * 16
        }
        if let test = table.machine.selfTest {
            placements[test.routine] = test.address
            sizes[test.routine] = test.size_bytes
            sizes[test.target] = test.targetSize_bytes
        }
        let rows = generatedRows().map(\.text).joined(separator: "\n") + "\n"
        for feature in sources?.absentFeatures ?? [] { constants[feature] = 0 }
        var input = AssemblyInput(
            sources: codeTexts(rows: SourceText(name: Expansion.tableFile, text: rows)) + [
                SourceText(name: "c-functions", text: modelText()),
                SourceText(name: "interrupted-code", text: siteText()),
            ],
            constants: constants,
            externals: Dictionary(
                generation.data.map { ($0.name, Addresses.kernelData &+ $0.offset) },
                uniquingKeysWith: { one, _ in one }),
            placements: placements, sizes: sizes, origin: table.machine.textOrigin,
            overrides: table.routines.map { SourceText(name: $0.name, text: $0.text) })
        if sources != nil {
            input.gapRoutine = Expansion.gapRoutine
            input.gapData.words = (Addresses.gapWordsPerCPU, Addresses.gapWords)
            input.gapData.unknown = (Addresses.gapDataPerCPU, Addresses.gapData)
            input.rewrittenJumps = generation.tree.rewrittenJumps[platform.rawValue] ?? [:]
        }
        return input
    }
}

/// Tables with sources of their own.
extension Expansion {
    /// The generation's listings and the rows of the table; or the sources of a tree, around which the listings give what
    /// is missing.
    private func codeTexts(rows: SourceText) -> [SourceText] {
        guard let sources else { return generation.listings + [rows] }
        func taken(_ text: SourceText, _ role: SourceText.Role) -> SourceText {
            var copy = text
            copy.role = role
            return copy
        }
        let definitions = generation.listings.map { taken($0, .definitions(without: sources.excluded)) }
        let rest = generation.listings.map { taken($0, .remainder(without: sources.excluded)) }
        return definitions + [taken(generation.tree.macros, .definitions(without: []))] + sources.units + [rows] + rest
    }

    /// What was not understood is a warning with its place; a reference that leads nowhere is an error, unless the
    /// sources had it when they were imported.
    private mutating func noteGaps(_ program: Program) {
        guard let sources, let own = table.sources else { return }
        if let conventions = generation.tree.conventions, own.isBefore(conventions.since) {
            findings.append(
                ConfigurationFinding(
                    rule: ConfigurationFinding.notUnderstood, pointer: "",
                    message:
                        "kernels before \(conventions.since.text) hand events to C in other ways, which are not modelled: what breaks \(conventions.rules.sorted().joined(separator: ", ")) alone has no verdict",
                    location: own.files.first { $0.path.hasSuffix("entry_64.S") }?.path ?? ""))
        }
        for problem in sources.problems {
            findings.append(
                ConfigurationFinding(
                    rule: ConfigurationFinding.notUnderstood, pointer: "", message: problem.message,
                    location: "\(problem.file):\(problem.line):\(problem.column)"))
        }
        for gap in program.gaps {
            guard let symbol = gap.symbol else {
                findings.append(
                    ConfigurationFinding(
                        rule: ConfigurationFinding.notUnderstood, pointer: "", message: gap.message,
                        location: gap.location))
                continue
            }
            if own.assumed.contains(symbol) {
                if gap.kind == .unknownData {
                    findings.append(
                        ConfigurationFinding(
                            rule: ConfigurationFinding.notUnderstood, pointer: "", message: gap.message,
                            location: gap.location))
                }
                continue
            }
            findings.append(
                ConfigurationFinding(
                    rule: "dangling-reference", pointer: "", message: gap.message, location: gap.location))
        }
    }

    /// Roles that the kernel's own code has under a local name: `gs_change` is `.Lgs_change` there.
    private mutating func useLocalNames(_ program: Program) {
        guard sources != nil else { return }
        for (role, name) in generation.roles where program.address(of: name) == nil {
            if program.address(of: ".L" + name) != nil { generation.roles[role] = ".L" + name }
        }
    }
}

extension ConfigurationFinding {
    /// The rule of statements that were not understood.
    package static let notUnderstood = "not-understood"
    /// Rules whose findings do not keep a table from being run.
    package static let warnings: Set<String> = ["unreachable-entry", notUnderstood]
}

/// Addresses of the user side, which no table changes.
enum Addresses {
    static let userCode: UInt64 = 0x0040_1000
    static let userInterrupts: UInt64 = 0x0040_2000
    static let userSignalHandler: UInt64 = 0x0040_4000
    static let userMovSS: UInt64 = 0x0040_5000
    static let userAccess: UInt64 = 0x0040_6000
    static let userOtherInterrupts: UInt64 = 0x0040_7000
    static let userPrefixed: UInt64 = 0x0040_8000

    /// Where INT n stands for each n that no gate of the kernel has: two bytes each, one after the other.
    static func otherInterrupts(
        vectors: Set<UInt8>, _ standIns: Set<UInt8>
    ) -> [(vector: UInt8, address: UInt64)] {
        let others = (0...255).map { UInt8($0) }.filter { !vectors.contains($0) || standIns.contains($0) }
        return others.enumerated().map { ($1, userOtherInterrupts + UInt64($0) * 2) }
    }
    static let userStackPage: UInt64 = 0x7FFC_1234_5000
    static let userStackPointer: UInt64 = 0x7FFC_1234_5E58
    /// Of 32-bit programs: their stack, and the vDSO.
    static let userStackPage32: UInt64 = 0xFFFB_3000
    static let userStackPointer32: UInt64 = 0xFFFB_3E5C
    static let userVDSO32: UInt64 = 0xF7FC_8560
    static let kernelData: UInt64 = 0xFFFF_FFFF_82F0_0000
    /// Data that the sources of a tree access and nothing models: a page of words that decide nothing, and behind it
    /// pages that are not mapped. Per-CPU variables have offsets from the base.
    static let gapWords: UInt64 = 0xFFFF_FFFF_82F4_0000
    static let gapData: UInt64 = 0xFFFF_FFFF_82F4_1000
    static let gapWordsPerCPU: UInt64 = 0x0010_0000
    static let gapDataPerCPU: UInt64 = 0x0010_1000
    static let current: UInt64 = 0xFFFF_FFFF_8221_2780
}

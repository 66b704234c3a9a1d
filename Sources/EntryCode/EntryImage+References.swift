import Machine
import XenPV

/// Names of a table that must lead somewhere: handlers, gates, rows of the trap array, callbacks.
extension Expansion {
    /// Every handler is a C function of this kernel or a routine of the table.
    mutating func checkHandlers() {
        var known = Set(functions.map(\.name)).union(table.routines.map(\.name))
        known.formUnion(generation.routineNames)
        for entry in table.entries where !entry.isInListing && table.applies(entry.option) {
            if known.contains(entry.handler) || generation.roles.values.contains(entry.handler) { continue }
            var message = "no C function or routine '\(entry.handler)' in \(table.kernel)"
            if findings.count < Self.suggestions, let nearest = nearestName(to: entry.handler, among: known.sorted()) {
                message += "; did you mean '\(nearest)'?"
            }
            dangling(entry.pointer + "/handler", message)
            // Stand in for it, so that further faults are found in the same run.
            functions.append(CFunction(name: entry.handler, model: .exception, size_bytes: 64))
        }
    }

    /// Where a name of a row leads. One that the sources did not have when they were imported leads to code without a model.
    func entryAddress(of name: String, _ program: Program) -> UInt64? {
        if let known = program.address(of: name) { return known }
        guard let sources = table.sources, sources.assumed.contains(name) else { return nil }
        return program.address(of: Expansion.gapRoutine)
    }

    /// The names that rows and registers of the platform lead to.
    var namesInRows: Set<String> {
        var names = Set(table.idt.filter { table.applies($0.option) }.map(\.entry))
        if platform.isXen {
            if !(table.options["XEN_PV"] ?? true) { return [] }
            for trap in table.xen.traps where table.applies(trap.option) { names.formUnion([trap.native, trap.entry]) }
            names.formUnion(table.xen.callbacks.values)
        } else {
            for role in ["syscall_entry", "syscall32_entry", "sysenter_entry"] {
                if role != "syscall_entry", table.options["IA32_EMULATION"] == false { continue }
                // Kernels had other names for them.
                if let name = generation.roles[role], generation.tree.olderNames[role] == nil { names.insert(name) }
            }
        }
        names.subtract(table.entries.filter { !table.applies($0.option) }.map(\.symbol))
        return names
    }

    mutating func fillIDT(_ machine: inout Machine, _ program: Program) {
        for row in table.idt where table.applies(row.option) {
            guard let address = entryAddress(of: row.entry, program) else {
                danglingEntry(row.pointer + "/entry", row.entry, program)
                continue
            }
            machine.idt[Int(row.vector)] = Gate(
                offset: address, selector: 0x10, ist: row.ist, privilege: row.dpl, isPresent: true,
                isInterruptGate: row.isInterruptGate)
        }
        for row in generation.interrupts where !machine.idt[Int(row.vector)].isPresent {
            guard let address = program.address(of: row.entry) else { continue }
            machine.idt[Int(row.vector)] = Gate(offset: address, selector: 0x10, isPresent: true)
        }
        machine.debugTableVectors = generation.debugTableVectors
        machine.debugGateIST = machine.idt[Int(Vector.debug)].ist
    }

    mutating func danglingEntry(_ pointer: String, _ name: String, _ program: Program) {
        var message = "no entry or routine '\(name)'"
        if findings.count >= Self.suggestions {
            dangling(pointer, message)
            return
        }
        let names = table.entries.map(\.symbol) + table.routines.map(\.name) + table.xen.thunks.map { "xen_" + $0 }
        if let nearest = nearestName(to: name, among: names.filter { $0 != name }) {
            message += "; did you mean '\(nearest)'?"
        }
        dangling(pointer, message)
    }

    /// Converts the IDT into Xen's trap table as Linux does (5.2 `arch/x86/xen/enlighten_pv.c`, `cvt_gate_to_trap`).
    mutating func makeHypervisor(
        _ release: XenVersion, _ program: Program, _ layout: ImageLayout
    ) -> Hypervisor {
        var hypervisor = Hypervisor(version: release)
        hypervisor.quirks = table.xen.quirks
        for row in table.idt where table.applies(row.option) {
            guard let native = entryAddress(of: row.entry, program) else {
                danglingEntry(row.pointer + "/entry", row.entry, program)
                continue
            }
            var address = native
            var istOkay = false
            var isKnown = true
            if let trap = table.xen.traps.first(where: { $0.native == row.entry && table.applies($0.option) }) {
                guard let converted = entryAddress(of: trap.entry, program) else {
                    danglingEntry(trap.pointer + "/entry", trap.entry, program)
                    continue
                }
                address = converted
                istOkay = trap.istOkay
            } else if let unknown = generation.roles["unknown_trap"].flatMap({ program.address(of: $0) }) {
                // 5.10 and later: a gate without a row leads to a handler that panics (`get_trap_addr`).
                address = unknown
                isKnown = false
            }
            // An IST gate that is not declared okay is not handed to Xen (WARN at boot).
            if isKnown && row.ist != 0 && !istOkay { continue }
            hypervisor.trapTable[Int(row.vector)] = TrapTableEntry(
                address: address, privilege: row.dpl, masksEvents: row.isInterruptGate)
        }
        for trap in table.xen.traps where table.applies(trap.option) {
            if entryAddress(of: trap.entry, program) == nil {
                danglingEntry(trap.pointer + "/entry", trap.entry, program)
            }
            if !table.entries.contains(where: { $0.symbol == trap.native })
                && entryAddress(of: trap.native, program) == nil
            {
                danglingEntry(trap.pointer + "/native", trap.native, program)
            }
        }
        for (key, name) in table.xen.callbacks.sorted(by: { $0.key < $1.key }) {
            guard let address = entryAddress(of: name, program) else {
                danglingEntry("/xen/callbacks/" + key, name, program)
                continue
            }
            switch key {
            case "event": hypervisor.eventCallback = address
            case "failsafe": hypervisor.failsafeCallback = address
            case "syscall32": hypervisor.syscall32Callback = address
            case "sysenter": hypervisor.sysenterCallback = address
            default: hypervisor.syscallCallback = address
            }
        }
        hypervisor.kernelStack = layout.taskStack.end
        hypervisor.vcpuInfo = layout.vcpuInfo
        return hypervisor
    }

    /// Entries that neither a gate nor a trap row nor a callback leads to.
    mutating func findUnreachable(_ program: Program) {
        var reached = Set(table.idt.map(\.entry)).union(generation.interrupts.map(\.entry))
        var xenTargets = Set(table.xen.traps.map(\.entry)).union(table.xen.callbacks.values)
        if let unknown = generation.roles["unknown_trap"] { xenTargets.insert(unknown) }
        for thunk in table.xen.thunks where xenTargets.contains("xen_" + thunk) { reached.insert(thunk) }
        reached.formUnion(xenTargets)
        // A listing or a routine may lead there by itself; a thunk that nothing enters does not.
        var symbols: [UInt64: [String]] = [:]
        for entry in table.entries {
            if let address = program.address(of: entry.symbol) { symbols[address, default: []].append(entry.symbol) }
        }
        for (index, instruction) in program.instructions.enumerated() where instruction.form == .target {
            guard let targets = symbols[UInt64(bitPattern: instruction.immediate)] else { continue }
            let origin = program.routines[Int(program.routineOf[index])].name
            for symbol in targets where origin != "xen_" + symbol || xenTargets.contains(origin) {
                reached.insert(symbol)
            }
        }
        for entry in table.entries where table.applies(entry.option) && !reached.contains(entry.symbol) {
            findings.append(
                ConfigurationFinding(
                    rule: "unreachable-entry", pointer: entry.pointer,
                    message: "no gate, trap-table row or callback leads to '\(entry.symbol)'"))
        }
    }

    /// Routines of the table that replace nothing and that nothing leads to: a misspelt name would change nothing.
    mutating func findUnusedRoutines(_ program: Program) {
        if table.routines.isEmpty { return }
        var known = generation.routineNames.union(table.entries.map(\.symbol)).union(table.idt.map(\.entry))
        known.formUnion(table.xen.thunks.map { "xen_" + $0 })
        known.formUnion(table.xen.traps.map(\.entry))
        known.formUnion(table.xen.callbacks.values)
        known.formUnion(table.entries.map(\.handler))
        known.formUnion(generation.roles.values)
        known.formUnion(functions.map(\.name))
        let unknown = table.routines.filter { !known.contains($0.name) }
        if unknown.isEmpty { return }
        var used: Set<UInt64> = []
        for instruction in program.instructions {
            used.insert(UInt64(bitPattern: instruction.immediate))
            used.insert(UInt64(bitPattern: instruction.memory.displacement))
        }
        for routine in unknown {
            guard let address = program.address(of: routine.name), !used.contains(address) else { continue }
            var message = "'\(routine.name)' replaces no routine of \(table.kernel), and nothing leads to it"
            if let nearest = nearestName(to: routine.name, among: generation.routineNames.sorted()) {
                message += "; did you mean '\(nearest)'?"
            }
            findings.append(
                ConfigurationFinding(
                    rule: "unreachable-entry", pointer: EntryCode.pointer("/routines", routine.name), message: message))
        }
    }
}

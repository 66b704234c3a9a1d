import Assembler
import Machine

/// Maps the memory of an image and fills in what the kernel has set up before the first event.
struct MemoryBuilder {
    let table: EntryTable
    let platform: Platform
    let generation: Generation
    let program: Program
    let vectors: [UInt8]
    let standIns: Set<UInt8>
    var findings: [ConfigurationFinding] = []

    private static let kernel: PageAttributes = [.kernelMap, .writable]
    private static let both: PageAttributes = [.kernelMap, .userMap, .writable]
    private static let bothReadOnly: PageAttributes = [.kernelMap, .userMap]
    private static let user: PageAttributes = [.kernelMap, .userMap, .writable, .user]

    init(
        table: EntryTable, platform: Platform, generation: Generation, program: Program, vectors: [UInt8],
        standIns: Set<UInt8>
    ) {
        self.table = table
        self.platform = platform
        self.generation = generation
        self.program = program
        self.vectors = vectors
        self.standIns = standIns
    }

    private func stack(_ name: String, _ base: UInt64, _ size_bytes: UInt64) -> EntryTable.Stretch {
        table.machine.stacks[name] ?? EntryTable.Stretch(base: base, size_bytes: size_bytes)
    }

    mutating func build() -> (Machine, ImageLayout) {
        let traits = platform.traits(options: table.options)
        var memory = Memory()
        let area: UInt64 = 0xFFFF_FE00_0000_0000
        let task = stack("task", 0xFFFF_FFFF_8220_0000, 16_384)
        let entry = stack("entry", area + 0x2000, 512)
        let perCPUBase = table.machine.perCPUBase
        let taskRegion = Region(name: "task stack", kind: .taskStack, base: task.base, size_bytes: task.size_bytes)
        let entryRegion = Region(
            name: "entry trampoline stack", kind: .entryStack, base: entry.base, size_bytes: entry.size_bytes)
        memory.map(taskRegion, Self.kernel)
        memory.map(entryRegion, Self.both)
        let exceptionStacks: [(String, String, UInt64)] = [
            ("df", "#DF IST stack", area + 0x7000), ("nmi", "NMI IST stack", area + 0x9000),
            ("db1", "second #DB IST stack", area + 0xD000), ("db", "#DB IST stack", area + 0xF000),
            ("mce", "#MC IST stack", area + 0x11000),
        ]
        var tops: [String: UInt64] = [
            "task_stack_top": task.end, "kernel_stack": task.end &- 40, "entry_stack_top": entry.end,
            "current": Addresses.current,
            "espfix_stack": table.machine.espfixStack, "espfix_waddr": table.machine.espfixWritable,
        ]
        // The second #DB stack is gone with 5.8.
        for (key, name, base) in exceptionStacks where key != "db1" || table.machine.stacks[key] != nil {
            let stretch = stack(key, base, 4096)
            memory.map(
                Region(name: name, kind: .exceptionStack, base: stretch.base, size_bytes: stretch.size_bytes), Self.both
            )
            tops[key + "_stack_top"] = stretch.end
        }
        for guardPage in table.machine.guards {
            memory.reserve(
                Region(name: "guard page", kind: .guardPage, base: guardPage.base, size_bytes: guardPage.size_bytes))
        }
        let irq = stack("irq", perCPUBase + 0x10000, 16_384)
        let interruptRegion = Region(
            name: "interrupt stack", kind: .interruptStack, base: irq.base, size_bytes: irq.size_bytes)
        memory.map(interruptRegion, Self.kernel)
        // The top word links back to the interrupted stack; the stack proper starts below it.
        tops["irq_stack_top"] = irq.end &- 8
        tops["irq_stack_end"] = irq.end

        let tssOffset = mapPerCPU(&memory, perCPUBase)
        // The processor reads the TSS through a read-only alias that both page-table halves map (cpu_entry_area).
        let tssAlias = area + 0x3000
        memory.alias(
            Region(name: "TSS in the cpu_entry_area", kind: .perCPU, base: tssAlias, size_bytes: 4096),
            of: perCPUBase &+ tssOffset, Self.bothReadOnly)
        memory.map(
            Region(name: "init_task", kind: .kernelData, base: Addresses.current & ~4095, size_bytes: 4096), Self.kernel
        )

        let espfixPage = table.machine.espfixStack & ~4095
        memory.map(
            Region(
                name: "espfix page, writable address", kind: .espfix, base: table.machine.espfixWritable & ~4095,
                size_bytes: 4096), Self.kernel)
        let window = Region(name: "espfix stack", kind: .espfix, base: espfixPage & ~0xFFFF_FFFF, size_bytes: 1 << 32)
        memory.alias(
            Region(name: "espfix stack", kind: .espfix, base: espfixPage, size_bytes: 4096),
            of: table.machine.espfixWritable & ~4095, Self.bothReadOnly)
        memory.ignoreBits(0xFFFF_0000, from: window.base, size_bytes: window.size_bytes)

        memory.map(
            Region(name: "user stack", kind: .userStack, base: Addresses.userStackPage, size_bytes: 4096), Self.user)
        memory.map(
            Region(
                name: "user stack of a 32-bit program", kind: .userStack, base: Addresses.userStackPage32,
                size_bytes: 4096), Self.user)

        declareReadOnly(&memory, area)

        let perCPU = Dictionary(generation.perCPU.map { ($0.name, $0.offset) }, uniquingKeysWith: { first, _ in first })
        tops["per_cpu_base"] = perCPUBase
        fill(generation.perCPU, at: perCPUBase, &memory, perCPUBase, symbols: tops, perCPU)
        mapData(&memory)
        fill(generation.data, at: Addresses.kernelData, &memory, perCPUBase, symbols: tops, perCPU)

        let isolates = platform.usesPageTableIsolation(options: table.options)
        let hasPCID = (table.options["PCID"] ?? false) && !platform.isXen
        let userHalf: UInt64 = 0x1000 | (hasPCID && isolates ? 0x800 : 0)
        let kernelCR3: UInt64 = 0x0220_A000 | (hasPCID ? 1 : 0)
        var layout = ImageLayout(
            taskStack: taskRegion, entryStack: entryRegion, interruptStack: interruptRegion,
            nmiStackTop: tops["nmi_stack_top"] ?? 0, perCPUBase: perCPUBase,
            keptVariables: generation.perCPU.flatMap { variable in
                variable.kept.map { (variable.name, perCPUBase &+ variable.offset &+ $0.offset, $0.size_bytes) }
            },
            scratchWords: generation.perCPU.filter(\.isScratch).map { (perCPUBase &+ $0.offset) & ~7 },
            currentTaskOffset: perCPU[generation.current] ?? 0,
            taskStackTopOffset: offset(generation.taskStackTop, perCPU),
            entryStackTopOffset: offset(generation.entryStackTop, perCPU),
            vcpuInfo: perCPUBase &+ (perCPU["xen_vcpu_info"] ?? 0), current: Addresses.current,
            userStackPointer: Addresses.userStackPointer, userStackPointer32: Addresses.userStackPointer32,
            userLandingPad: program.address(of: "int80_landing_pad") ?? 0,
            userCode: program.address(of: "user_interrupted") ?? Addresses.userCode,
            userInterrupt: interruptSites("user_int_"), userAccess: Addresses.userAccess,
            userMovSS: interruptSites("user_mov_ss_"), sysenterEnd: sysenterEnd,
            userSignal: Addresses.userSignalHandler,
            kernelCode: program.address(of: "kernel_interrupted") ?? 0, kernelInterrupt: interruptSites("kernel_int_"),
            kernelFixup: program.address(of: "kernel_fixup") ?? 0, kernelPush: program.address(of: "kernel_push") ?? 0,
            emulatedFunction: program.address(of: "emulated_function") ?? 0,
            selfTestSite: table.machine.selfTest.map { $0.address &+ $0.siteOffset },
            selfTestTarget: table.machine.selfTest.flatMap { program.address(of: $0.target) },
            selfTestWord: (table.machine.selfTest?.rsp ?? table.machine.kernelRSPAligned) &+ 16,
            usesPageTableIsolation: isolates, userGSBase: 0, kernelCR3: kernelCR3,
            userCR3: isolates || platform.isXen ? kernelCR3 | userHalf : kernelCR3, espfixWindow: window)

        layout.unmodelled = mapGaps(&memory, perCPUBase)
        layout.userPrefixed = interruptSites("user_prefixed_")
        layout.userLastCall = program.address(of: "user_last_call") ?? 0
        if table.options["KCSAN"] ?? false { layout.functionStack_bytes = CFunctionCall.instrumentedFrame_bytes }
        layout.interruptStackInUse = generation.interruptStackInUse.map {
            (perCPUBase &+ offset($0.word, perCPU), $0.size_bytes, $0.value)
        }
        func place(_ name: String) -> UInt64? { perCPU[name].map { perCPUBase &+ $0 } }
        layout.preemptCount = place("__preempt_count")
        layout.preemptibleCall = place("xen_in_preemptible_hcall")
        layout.debugControl = place("cpu_dr7")
        layout.callWork = generation.callWork
        layout.fastCalls = generation.fastCalls.map { (perCPUBase &+ offset($0.work, perCPU), $0) }
        if isolates && hasPCID, let word = generation.userFlushMask {
            layout.userFlushMask = perCPUBase &+ offset(word, perCPU)
        }
        for row in program.exceptionTable { layout.fixups[row.fault] = row.fixup }
        for row in generation.exceptionTable {
            guard let fault = program.address(of: row.fault), let fixup = program.address(of: row.fixup) else {
                continue
            }
            layout.fixups[fault] = fixup
        }
        // A PV guest's selectors are loaded by a hypercall (Linux 5.2 arch/x86/xen/enlighten_pv.c, xen_load_gs_index).
        if !platform.isXen, let change = generation.roles["gs_change"].flatMap({ program.address(of: $0) }) {
            layout.loadGS = program.routine(containing: change)?.address
        }
        for (vector, address) in Addresses.otherInterrupts(vectors: Set(vectors), standIns) {
            layout.userOtherInterrupt[vector] = address
        }

        var machine = Machine(traits: traits, memory: memory)
        machine.cpu.tssBase = tssAlias &+ ((perCPU["cpu_tss_rw"] ?? 0) & 4095)
        machine.cpu.userHalfBit = isolates || platform.isXen ? 0x1000 : 0
        machine.cpu.cr3 = kernelCR3
        if !platform.isXen { machine.cpu.pageTableRoot = kernelCR3 & ~0xFFF }
        // PSE, PAE, MCE, PGE, OSFXSR, OSXMMEXCPT, as Linux sets them everywhere.
        machine.cpu.cr4 =
            0x6F0 | (traits.smap ? 1 << 21 : 0) | (traits.fsgsbase ? 1 << 16 : 0) | (hasPCID ? 1 << 17 : 0)
        fillDescriptors(&machine)
        machine.memory.freeze()
        return (machine, layout)
    }

    /// Code is mapped without the right to write, that of C for the kernel alone; so are IDT and GDT where the
    /// `cpu_entry_area` has them (Linux 5.2 `arch/x86/mm/init_64.c`, mark_rodata_ro; `arch/x86/mm/cpu_entry_area.c`).
    private func declareReadOnly(_ memory: inout Memory, _ area: UInt64) {
        let isolates = platform.usesPageTableIsolation(options: table.options)
        let kernelOnly: PageAttributes = isolates ? .kernelMap : [.kernelMap, .userMap]
        let huge: UInt64 = 1 << 21
        let entryCode = program.routines.filter { $0.address >> 63 != 0 && !isModel($0) }
        let code = program.routines.filter { $0.address >> 63 != 0 }
        if let first = code.map(\.address).min(), let last = code.map({ $0.address &+ $0.size_bytes }).max() {
            let base = first & ~(huge - 1)
            // Up to the stacks: what lies there between regions is other data of the kernel.
            let end = table.machine.stacks.values.map(\.base).filter { $0 > base }.min().map { min($0, last) } ?? last
            if end &- base < 1 << 26 { memory.declareReadOnly(from: base, size_bytes: end &- base, kernelOnly) }
        }
        for routine in entryCode {
            memory.declareReadOnly(from: routine.address, size_bytes: routine.size_bytes, Self.bothReadOnly)
        }
        let hasTables = table.machine.guards.contains { $0.base == area + 0x1000 } && !platform.isXen
        if hasTables { memory.declareReadOnly(from: area, size_bytes: 0x2000, Self.bothReadOnly) }
    }

    private func isModel(_ routine: Program.Routine) -> Bool {
        program.instructions.indices.contains(routine.first) && program.instructions[routine.first].opcode == .model
    }

    /// Where stepping through SYSENTER's entry code ends (Linux 5.2 `arch/x86/kernel/traps.c`, `is_sysenter_singlestep`).
    private var sysenterEnd: UInt64 {
        program.address(of: "__end_entry_SYSENTER_compat") ?? 0
    }

    private func offset(_ word: Generation.PerCPUWord, _ perCPU: [String: UInt64]) -> UInt64 {
        (perCPU[word.variable] ?? 0) &+ word.offset
    }

    private func interruptSites(_ prefix: String) -> [UInt8: UInt64] {
        var sites: [UInt8: UInt64] = [:]
        for vector in vectors { sites[vector] = program.address(of: "\(prefix)\(vector)") }
        return sites
    }

    /// Maps the pages that per-CPU variables lie on; returns the offset of the TSS's page.
    private func mapPerCPU(_ memory: inout Memory, _ base: UInt64) -> UInt64 {
        var pages: Set<UInt64> = []
        var userPages: Set<UInt64> = []
        for variable in generation.perCPU where variable.size_bytes <= 8192 {
            var page = variable.offset & ~4095
            while page < variable.offset &+ variable.size_bytes {
                pages.insert(page)
                if variable.isUserMapped { userPages.insert(page) }
                page &+= 4096
            }
        }
        for page in pages.sorted() {
            memory.map(
                Region(name: "per-CPU data", kind: .perCPU, base: base &+ page, size_bytes: 4096),
                userPages.contains(page) ? Self.both : Self.kernel)
        }
        return (generation.perCPU.first { $0.name == "cpu_tss_rw" }?.offset ?? 0) & ~4095
    }

    /// Maps the pages of kernel data, which no user half has.
    private func mapData(_ memory: inout Memory) {
        let end = generation.data.map { $0.offset &+ $0.size_bytes }.max() ?? 0
        if end == 0 { return }
        memory.map(
            Region(
                name: "kernel data", kind: .kernelData, base: Addresses.kernelData, size_bytes: (end &+ 4095) & ~4095),
            Self.kernel)
    }

    /// Maps the words that decide nothing; returns all stretches in which an access that faults is no finding.
    private func mapGaps(_ memory: inout Memory, _ base: UInt64) -> [(base: UInt64, end: UInt64)] {
        guard table.sources != nil else { return [] }
        var found: [(base: UInt64, end: UInt64)] = []
        for (words, kind) in [
            (Addresses.gapWords, Region.Kind.kernelData), (base &+ Addresses.gapWordsPerCPU, .perCPU),
        ] {
            if program.gaps.contains(where: { $0.kind == .zeroedWord }) {
                memory.map(
                    Region(
                        name: "data without a model", kind: kind, base: words, size_bytes: GapData.page_bytes),
                    Self.kernel)
            }
            found.append((words, words &+ UInt64(GapData.unknown_count + 1) * GapData.page_bytes))
        }
        if let address = program.address(of: Expansion.gapRoutine) { found.append((address, address &+ 16)) }
        return found
    }

    private mutating func fill(
        _ variables: [PerCPUVariable], at start: UInt64, _ memory: inout Memory, _ base: UInt64,
        symbols: [String: UInt64], _ offsets: [String: UInt64]
    ) {
        for variable in variables where variable.size_bytes <= 8192 {
            if case .object(let fields) = variable.holds, fields.contains(where: { Int($0.key) != nil }) {
                for field in fields {
                    guard let offset = UInt64(field.key) else { continue }
                    write(
                        field.value, variable, at: start &+ variable.offset &+ offset, 8, &memory, symbols, base,
                        offsets
                    )
                }
            } else {
                write(
                    variable.holds, variable, at: start &+ variable.offset, min(variable.size_bytes, 8), &memory,
                    symbols,
                    base, offsets)
            }
        }
    }

    private mutating func write(
        _ holds: JSON, _ variable: PerCPUVariable, at address: UInt64, _ size: UInt64, _ memory: inout Memory,
        _ symbols: [String: UInt64], _ base: UInt64, _ offsets: [String: UInt64]
    ) {
        var value: UInt64?
        switch holds {
        case .integer(let number): value = UInt64(bitPattern: number)
        case .object:
            if let own = holds[platform.isXen ? "xen-pv" : "native"] {
                return write(own, variable, at: address, size, &memory, symbols, base, offsets)
            }
        case .string(let text):
            if text.hasPrefix("0x") {
                value = UInt64(text.dropFirst(2), radix: 16)
            } else if text.hasPrefix("address_of:") {
                value = offsets[String(text.dropFirst("address_of:".count))].map { base &+ $0 }
            } else {
                value = symbols[text] ?? program.address(of: text)
            }
        default: break
        }
        guard let value else {
            findings.append(
                ConfigurationFinding(
                    rule: "dangling-reference", pointer: "",
                    message: "the kernel's description gives the per-CPU variable '\(variable.name)' an unknown value"))
            return
        }
        // Fields of the TSS are not aligned to eight bytes.
        for byte in 0..<size {
            let place = address &+ byte
            let shift = (place & 7) * 8
            let word = memory.peek(place) ?? 0
            memory.poke((word & ~(0xFF << shift)) | (((value >> (byte * 8)) & 0xFF) << shift), at: place)
        }
    }

    /// The GDT of Linux x86-64 (arch/x86/include/asm/segment.h) and an LDT with what hostile returns name.
    private func fillDescriptors(_ machine: inout Machine) {
        let kernelPrivilege: UInt8 = platform.isXen ? 3 : 0
        machine.gdt[1] = Descriptor(isCode: true, privilege: kernelPrivilege, isLong: false)
        machine.gdt[2] = Descriptor(isCode: true, privilege: kernelPrivilege, isLong: true, isBig: false)
        machine.gdt[3] = Descriptor(isCode: false, privilege: kernelPrivilege)
        machine.gdt[4] = Descriptor(isCode: true, privilege: 3, isLong: false)
        machine.gdt[5] = Descriptor(isCode: false, privilege: 3)
        machine.gdt[6] = Descriptor(isCode: true, privilege: 3, isLong: true, isBig: false)
        // Its limit is the number of the processor, and of its node from bit 12 on (Linux 6.1 arch/x86/kernel/cpu/common.c,
        // setup_getcpu).
        machine.gdt[15] = Descriptor(isCode: false, privilege: 3, isWritable: false, limit: 0)
        machine.ldt = [
            // 0x07: a 16-bit stack segment; 0x0f: one that is not present.
            Descriptor(isCode: false, privilege: 3, isBig: false),
            Descriptor(isCode: false, privilege: 3, isPresent: false),
            // 0x17: a code segment that is not present.
            Descriptor(isCode: true, privilege: 3, isPresent: false, isLong: false),
        ]
    }
}

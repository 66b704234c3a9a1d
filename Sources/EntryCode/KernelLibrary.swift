package import Assembler
package import Machine

/// A C function that entry code calls, and the model that stands for it.
package struct CFunction: Sendable, Hashable {
    package var name: String
    package var model: HandlerModel
    package var size_bytes: UInt64
    /// Vectors of the events that it handles; empty for functions that any event may call.
    package var events: Set<UInt8> = []
    /// It takes the vector from `pt_regs->orig_ax`, which holds the complement.
    package var readsVectorFromOrigAX = false
    /// It finds the number of a system call in `pt_regs->ax` and puts it into `orig_ax` itself (`do_int80_emulation`).
    package var takesNumberFromRAX = false
    /// What RDI, RSI and RDX hold, in this order; empty for the model's usual arguments.
    package var arguments: [Argument] = []
    /// It reads CR2 itself, where no argument holds the fault address.
    package var readsCR2 = false
    /// It does the exit work and returns with interrupts disabled (`irqentry_exit`, Linux 5.8 and later).
    package var disablesInterrupts = false
    /// It is called with interrupts on and leaves them on: the fast path of system calls up to 4.15.
    package var interruptsOn = false
    /// It ends with softirqs, which run with interrupts on (`irq_exit`).
    package var runsSoftirqs = false
    /// The ways in which it may change what a breakpoint of the kernel does; nil for all.
    package var emulates: Set<String>?
    /// The mode that its events come from; nil for either.
    package var origin: Origin?
    /// Lines that it prints when an event arrives that it is not made for.
    package var says: [String] = []
    /// It promises that no breakpoint is enabled while it runs.
    package var needsBreakpointsOff = false
    /// The number of a system call is an int to it; otherwise all of RAX counts.
    package var numberIsInt = false
    /// Bits of the vector that it looks at.
    package var vectorBits: UInt64 = 8
    /// What its argument points at, for models that copy `pt_regs`.
    package var layout = RegistersLayout.returnAddress

    /// An argument of a C function of entry code.
    package enum Argument: String, Sendable, Hashable, CaseIterable {
        case regs
        case errorCode = "error-code"
        /// The fault address.
        case address
        /// The number of a system call.
        case number
        /// The vector, in the low bits.
        case vector
        /// DR6, as far as it says what happened: a bit for each breakpoint, BS.
        case debugStatus = "debug-status"
    }

    package enum Origin: String, Sendable, Hashable, CaseIterable { case user, kernel }

    /// `pt_regs` alone, or with a return address below it.
    package enum RegistersLayout: String, Sendable, Hashable, CaseIterable {
        case returnAddress = "return-address"
        case regs
    }

    /// The register that holds an argument; nil where the function does not get it.
    package func register(of argument: Argument) -> Register? {
        let places: [Register] = [.rdi, .rsi, .rdx, .rcx]
        return arguments.firstIndex(of: argument).flatMap { places.indices.contains($0) ? places[$0] : nil }
    }
}

/// A per-CPU variable: its offset from the per-CPU base and what it holds at the start.
package struct PerCPUVariable: Sendable {
    package var name: String
    package var offset: UInt64
    package var size_bytes: UInt64
    /// Field offset and value; one field at 0 for a plain variable.
    package var holds: JSON
    /// Parts that entry code leaves as it found them: offset and size.
    package var kept: [(offset: UInt64, size_bytes: UInt64)] = []
    /// Each use writes it before it reads it: what it holds between uses is nobody's.
    package var isScratch = false
    /// Its pages are mapped in the user half of a PTI pair too.
    package var isUserMapped = false
}

/// A generation of entry code: listings in AT&T syntax and the map of its C functions to models. Pure data.
package struct Generation: Sendable {
    package var name: String
    package var listings: [SourceText] = []
    /// Names that the listings define: those between the parentheses of `ENTRY(…)`.
    package var routineNames: Set<String> = []
    package var functions: [CFunction] = []
    package var perCPU: [PerCPUVariable] = []
    /// Data of the kernel that entry code reads by address; offsets count from `Addresses.kernelData`.
    package var data: [PerCPUVariable] = []
    /// Gates of device interrupts, which no table lists: the first of the common stubs and one with a handler of its own.
    package var interrupts: [EntryTable.IDTRow] = []
    /// Options that mean nothing on some platforms: the platforms on which they do.
    package var optionPlatforms: [String: [Platform]] = [:]
    /// Roles that reports and models need a symbol for, such as `bad_iret`.
    package var roles: [String: String] = [:]
    /// Per-CPU words with the top of the task's stack and of the stack that entries from user mode start on.
    package var taskStackTop = PerCPUWord(variable: "cpu_tss_rw", offset: 12)
    package var entryStackTop = PerCPUWord(variable: "cpu_tss_rw", offset: 4)
    /// The per-CPU variable that C reads first of all.
    package var current = "current_task"
    /// System calls return by SYSRET whatever TF is: a stepped program traps at the return address.
    package var sysretTraps = false
    /// The C handler of #DB may meet another #DB.
    package var debugNests = false
    /// Bit n: the IDT that is loaded while #DB is handled takes the IST from vector n as well as from #DB.
    package var debugTableVectors: UInt32 = 0
    /// Roles that another symbol plays where page tables are isolated.
    package var rolesWithIsolation: [String: String] = [:]
    /// Labels of instructions that may fault and of the code that then goes on.
    package var exceptionTable: [(routine: String, fault: String, fixup: String)] = []
    /// What says that the interrupt stack is in use; nil where nothing does.
    package var interruptStackInUse: InUse?
    /// The system calls that entry code makes itself, where no work waits for the task.
    package var fastCalls: FastCalls?
    /// 16 bits, one for each PCID whose user half must be flushed at the next return; nil where nothing is put off.
    package var userFlushMask: PerCPUWord?
    /// The int3 self test runs before alternatives are applied (fact F10): its code is an expansion of its own.
    package var bootsUnpatched = false
    /// The files of a kernel tree that the listings stand for.
    package var tree = TreeDescription()

    /// The fast path of system calls, up to 4.15.
    package struct FastCalls: Sendable, Hashable {
        /// Zero where nothing keeps a call from it.
        package var work: PerCPUWord
        /// What says in `work` that a signal waits.
        package var signal: UInt64
        /// The option without which no task has work at the start.
        package var option: String
        /// Numbers of a call that needs no more than its arguments, and of one that looks at `pt_regs`.
        package var plain: UInt64
        package var whole: UInt64
    }

    /// A per-CPU variable, and what it holds while something is in use.
    package struct InUse: Sendable, Hashable {
        package var word: PerCPUWord
        package var size_bytes: UInt64
        package var value: UInt64
    }

    /// How this kernel words what it prints.
    package var console = ConsoleWords()

    /// A word of a per-CPU variable.
    package struct PerCPUWord: Sendable, Hashable {
        package var variable: String
        package var offset: UInt64
    }
}

/// Wordings of the console that changed from one generation of kernels to the next; nil for those that a kernel does not
/// know. A `%` stands for a number or a name.
package struct ConsoleWords: Sendable, Hashable {
    /// #GP with an error code, and #GP(0) of an instruction with an address or a register for an operand.
    package var selectorFault: String?
    package var addressFault: String?
    package var nonCanonicalFault: String?
    /// The line before the oops of a #DF.
    package var doubleFault: String?
    /// The line before the oops of a #DF whose cause is the end of a stack, and the words of that oops.
    package var stackGuard: String?
    package var stackGuardOops: String?
    /// What the kernel calls those of `machine.stacks` whose ends it knows.
    package var stackNames: [String: String] = [:]

    package init() {}

    init(_ value: JSON) {
        func text(_ key: String) -> String? { value[key]?.stringValue }
        selectorFault = text("selector_fault")
        addressFault = text("address_fault")
        nonCanonicalFault = text("non_canonical_fault")
        doubleFault = text("double_fault")
        stackGuard = text("stack_guard")
        stackGuardOops = text("stack_guard_oops")
        for member in value["stack_names"]?.objectValue ?? [] { stackNames[member.key] = member.value.stringValue }
    }
}

/// An entry table that ships with the program, with the generation of code it belongs to.
package struct Kernel: Sendable {
    package var name: String
    package var description: String
    package var generation: Generation
    /// The table's document as it ships.
    package var document: JSON
    /// What the table shows that is a defect of this kernel, not of the table.
    package var knownDefects: [KnownDefect] = []
}

/// The kernels that the program knows: one folder of text files per generation, tables beside the listings.
package struct KernelLibrary: Sendable {
    package let kernels: [Kernel]
    /// Files that could not be understood: a fault of the program's own data, shown by `gatehouse kernels`.
    package let faults: [String]

    package var names: [String] { kernels.map(\.name) }

    package func kernel(named name: String) -> Kernel? { kernels.first { $0.name == name } }

    /// The kernels embedded into the binary.
    package static let shipped = KernelLibrary(
        files: EmbeddedFiles.all.map { file in
            (
                path: file.path.withUTF8Buffer { String(decoding: $0, as: UTF8.self) },
                text: file.text.withUTF8Buffer { [UInt8]($0) }
            )
        })

    /// - Parameter files: Paths such as `idtentry/kernel.json` and their text.
    package init(files: [(path: String, text: [UInt8])]) {
        var kernels: [Kernel] = []
        var faults: [String] = []
        let folders = Set(files.compactMap { $0.path.split(separator: "/").first.map(String.init) }).sorted()
        for folder in folders {
            let inside = files.filter { $0.path.hasPrefix(folder + "/") }
            func file(_ name: String) -> [UInt8]? { inside.first { $0.path == folder + "/" + name }?.text }
            guard let description = file("kernel.json") else { continue }
            guard let root = try? JSON.parse(description).value else {
                faults.append("\(folder)/kernel.json is not JSON")
                continue
            }
            var generation = Generation(name: folder)
            for listing in root["listings"]?.arrayValue ?? [] {
                guard let name = listing.stringValue, let text = file(name) else {
                    faults.append("\(folder)/kernel.json names a listing that is not there")
                    continue
                }
                generation.listings.append(SourceText(name: "\(folder)/\(name)", bytes: text))
            }
            generation.routineNames = KernelLibrary.routineNames(generation.listings)
            generation.functions = KernelLibrary.functions(root["c_functions"], folder, &faults)
            for (key, path) in [
                ("task_stack_top", \Generation.taskStackTop), ("entry_stack_top", \Generation.entryStackTop),
            ] {
                guard let word = root[key] else { continue }
                guard let variable = word["variable"]?.stringValue, let offset = word["offset"]?.integerValue,
                    offset >= 0
                else {
                    faults.append("\(folder)/kernel.json: \(key) is no word of a per-CPU variable")
                    continue
                }
                generation[keyPath: path] = Generation.PerCPUWord(variable: variable, offset: UInt64(offset))
            }
            for row in root["exception_table"]?.arrayValue ?? [] {
                guard let fault = row["fault"]?.stringValue, let fixup = row["fixup"]?.stringValue else {
                    faults.append("\(folder)/kernel.json has an exception-table row without fault or fixup")
                    continue
                }
                generation.exceptionTable.append((row["routine"]?.stringValue ?? "", fault, fixup))
            }
            if let word = root["user_pcid_flush_mask"], let variable = word["variable"]?.stringValue {
                generation.userFlushMask = Generation.PerCPUWord(
                    variable: variable, offset: UInt64(clamping: word["offset"]?.integerValue ?? 0))
            }
            if let calls = root["fast_calls"] {
                func number(_ key: String) -> UInt64 { UInt64(clamping: calls[key]?.integerValue ?? 0) }
                generation.fastCalls = Generation.FastCalls(
                    work: Generation.PerCPUWord(
                        variable: calls["variable"]?.stringValue ?? "", offset: number("offset")),
                    signal: number("signal"), option: calls["option"]?.stringValue ?? "", plain: number("plain"),
                    whole: number("whole"))
            }
            generation.sysretTraps = root["sysret_traps"]?.boolValue ?? false
            generation.debugNests = root["debug_nests"]?.boolValue ?? false
            for vector in root["debug_idt_vectors"]?.arrayValue ?? [] {
                guard let number = vector.integerValue, (0...31).contains(number) else {
                    faults.append("\(folder)/kernel.json: debug_idt_vectors are vectors of exceptions")
                    continue
                }
                generation.debugTableVectors |= 1 << UInt32(number)
            }
            generation.tree = KernelLibrary.tree(root["tree"], folder, generation.listings, files, &faults)
            generation.current = root["current"]?.stringValue ?? generation.current
            if let words = root["console"] { generation.console = ConsoleWords(words) }
            generation.bootsUnpatched = root["boots_unpatched"]?.boolValue ?? false
            for member in root["per_cpu"]?.objectValue ?? [] {
                guard let text = member.value["offset"]?.stringValue, let offset = UInt64(text.dropFirst(2), radix: 16)
                else {
                    faults.append("\(folder)/kernel.json: \(member.key) has no offset")
                    continue
                }
                let size_bytes = UInt64(clamping: member.value["size"]?.integerValue ?? 8)
                var kept: [(offset: UInt64, size_bytes: UInt64)] = []
                if member.value["kept"]?.boolValue == true { kept = [(0, size_bytes)] }
                for part in member.value["kept"]?.arrayValue ?? [] {
                    guard let pair = part.arrayValue, pair.count == 2, let start = pair[0].integerValue,
                        let length = pair[1].integerValue, start >= 0, length > 0
                    else {
                        faults.append("\(folder)/kernel.json: \(member.key) keeps what is no part of it")
                        continue
                    }
                    kept.append((UInt64(start), UInt64(length)))
                }
                generation.perCPU.append(
                    PerCPUVariable(
                        name: member.key, offset: offset, size_bytes: size_bytes,
                        holds: member.value["holds"] ?? 0, kept: kept,
                        isScratch: member.value["scratch"]?.boolValue ?? false,
                        isUserMapped: member.value["user_mapped"]?.boolValue ?? false))
            }
            var place: UInt64 = 0
            for member in root["data"]?.objectValue ?? [] {
                guard let size = member.value["size"]?.integerValue, (1...4096).contains(size),
                    let holds = member.value["holds"]
                else {
                    faults.append("\(folder)/kernel.json: \(member.key) has no size or holds nothing")
                    continue
                }
                generation.data.append(
                    PerCPUVariable(name: member.key, offset: place, size_bytes: UInt64(size), holds: holds))
                place += (UInt64(size) + 63) & ~63
            }
            generation.interruptStackInUse = KernelLibrary.interruptStackInUse(root, generation)
            for row in root["interrupts"]?.arrayValue ?? [] {
                guard let vector = row["vector"]?.integerValue, (32...255).contains(vector),
                    let entry = row["entry"]?.stringValue
                else {
                    faults.append("\(folder)/kernel.json has an interrupt without vector or entry")
                    continue
                }
                generation.interrupts.append(EntryTable.IDTRow(vector: UInt8(vector), entry: entry))
            }
            for member in root["option_platforms"]?.objectValue ?? [] {
                generation.optionPlatforms[member.key] =
                    (member.value.arrayValue ?? []).compactMap { $0.stringValue.flatMap(Platform.init) }
            }
            for member in root["symbols"]?.objectValue ?? [] {
                generation.roles[member.key] = member.value.stringValue ?? member.value["otherwise"]?.stringValue
                generation.rolesWithIsolation[member.key] = member.value["isolated"]?.stringValue
            }
            let defects = KernelLibrary.knownDefects(file(KnownDefect.fileName), folder, &faults)
            let others = ["/kernel.json", "/" + KnownDefect.fileName]
            for table in inside where table.path.hasSuffix(".json") && !others.contains(where: table.path.hasSuffix) {
                guard let document = try? JSON.parse(table.text).value, let name = document["name"]?.stringValue else {
                    faults.append("\(table.path) is not a table with a name")
                    continue
                }
                kernels.append(
                    Kernel(
                        name: name, description: document["description"]?.stringValue ?? "", generation: generation,
                        document: document, knownDefects: defects[name] ?? []))
            }
            for name in defects.keys.sorted() where !kernels.contains(where: { $0.name == name }) {
                faults.append("\(folder)/\(KnownDefect.fileName) names '\(name)', which is no table here")
            }
        }
        self.kernels = kernels.sorted { $0.name < $1.name }
        self.faults = faults
    }

    /// C functions and their models.
    private static func functions(_ value: JSON?, _ folder: String, _ faults: inout [String]) -> [CFunction] {
        var found: [CFunction] = []
        for member in value?.objectValue ?? [] {
            guard let text = member.value["model"]?.stringValue, let model = HandlerModel(rawValue: text) else {
                faults.append("\(folder)/kernel.json: \(member.key) has no known model")
                continue
            }
            guard let events = KernelLibrary.vectors(member.value["events"]?.arrayValue ?? []) else {
                faults.append("\(folder)/kernel.json: \(member.key) has events that are not vectors")
                continue
            }
            var function = CFunction(
                name: member.key, model: model,
                size_bytes: UInt64(clamping: member.value["size"]?.integerValue ?? 16), events: events,
                readsVectorFromOrigAX: member.value["vector_in"]?.stringValue == "orig_ax")
            if let fault = KernelLibrary.readConventions(member.value, into: &function) {
                faults.append("\(folder)/kernel.json: \(member.key) has \(fault)")
            }
            found.append(function)
        }
        return found
    }

    /// Known defects by kernel.
    private static func knownDefects(
        _ text: [UInt8]?, _ folder: String, _ faults: inout [String]
    ) -> [String: [KnownDefect]] {
        guard let text else { return [:] }
        guard let root = try? JSON.parse(text).value, let kernels = root.objectValue else {
            faults.append("\(folder)/\(KnownDefect.fileName) is no JSON object")
            return [:]
        }
        var found: [String: [KnownDefect]] = [:]
        for kernel in kernels {
            for (index, value) in (kernel.value.arrayValue ?? []).enumerated() {
                let (defect, fault) = KnownDefect.read(value)
                if let fault {
                    faults.append("\(folder)/\(KnownDefect.fileName): /\(kernel.key)/\(index) \(fault)")
                }
                if let defect { found[kernel.key, default: []].append(defect) }
            }
        }
        return found
    }

    /// What the sources of a tree find around them: of this generation, and of the folder `tree`.
    private static func tree(
        _ root: JSON?, _ folder: String, _ listings: [SourceText], _ files: [(path: String, text: [UInt8])],
        _ faults: inout [String]
    ) -> TreeDescription {
        var tree = TreeDescription()
        tree.functions = functions(root?["functions"], folder, &faults)
        for change in root?["changes"]?.arrayValue ?? [] {
            let since = change["since"]?.stringValue.flatMap { KernelRelease($0) }
            let before = change["before"]?.stringValue.flatMap { KernelRelease($0) }
            if since == nil && before == nil {
                faults.append("\(folder)/kernel.json has a change of a tree without the release that it came with")
                continue
            }
            tree.changes.append(
                (
                    since ?? KernelRelease(0, 0), before ?? KernelRelease(999, 0),
                    functions(change["functions"], folder, &faults)
                ))
        }
        if let value = root?["conventions"] {
            let rules = (value["rules"]?.arrayValue ?? []).compactMap(\.stringValue)
            if let since = value["since"]?.stringValue.flatMap({ KernelRelease($0) }), !rules.isEmpty {
                tree.conventions = (since, Set(rules))
            } else {
                faults.append("\(folder)/kernel.json: conventions of C have a release and rules")
            }
        }
        for role in root?["roles"]?.objectValue ?? [] { tree.olderNames[role.key] = role.value.stringValue }
        for define in root?["defines"]?.objectValue ?? [] {
            tree.header += Array("#define \(define.key) \(define.value.stringValue ?? "")\n".utf8)
        }
        for member in root?["files"]?.objectValue ?? [] {
            tree.homes[member.key] = Set((member.value.arrayValue ?? []).compactMap(\.stringValue))
        }
        for platform in root?["rewritten_jumps"]?.objectValue ?? [] {
            for jump in platform.value.objectValue ?? [] {
                tree.rewrittenJumps[platform.key, default: [:]][jump.key] = jump.value.stringValue
            }
        }
        // A folder of kernels of one's own need not repeat what stands for headers.
        func shared(_ name: String) -> [UInt8] {
            if let own = files.first(where: { $0.path == name }) { return own.text }
            let embedded = EmbeddedFiles.all.first { file in
                file.path.withUTF8Buffer { $0.elementsEqual(name.utf8) }
            }
            return embedded.map { $0.text.withUTF8Buffer { [UInt8]($0) } } ?? []
        }
        tree.header += shared("tree/tree.h")
        tree.macros = SourceText(name: "tree/tree.s", bytes: shared("tree/tree.s"))
        for listing in listings + [tree.macros] { tree.features.formUnion(KernelLibrary.definedFeatures(listing.text)) }
        return tree
    }

    /// Names behind `.set` that are features or bugs of processors.
    private static func definedFeatures(_ text: [UInt8]) -> Set<String> {
        var found: Set<String> = []
        for line in text.split(separator: 0x0A) where line.starts(with: ".set".utf8) {
            let name = line.dropFirst(4).drop { $0 == 0x20 || $0 == 0x09 }.prefix { Preprocessor.isNameByte($0) }
            if name.starts(with: "X86_FEATURE_".utf8) || name.starts(with: "X86_BUG_".utf8) {
                found.insert(String(decoding: name, as: UTF8.self))
            }
        }
        return found
    }

    /// `irq_stack_in_use`, or what Linux has had: a count that starts at -1, later a flag.
    private static func interruptStackInUse(_ root: JSON, _ generation: Generation) -> Generation.InUse? {
        let described = root["irq_stack_in_use"]
        let known: [(name: String, value: Int64)] = [("irq_count", 0), ("hardirq_stack_inuse", 1)]
        let name = described?["variable"]?.stringValue
        let found = known.first { row in generation.perCPU.contains { $0.name == (name ?? row.name) } }
        guard let variable = generation.perCPU.first(where: { $0.name == (name ?? found?.name) }) else { return nil }
        return Generation.InUse(
            word: Generation.PerCPUWord(
                variable: variable.name, offset: UInt64(clamping: described?["offset"]?.integerValue ?? 0)),
            size_bytes: min(UInt64(clamping: described?["size"]?.integerValue ?? Int64(variable.size_bytes)), 8),
            value: UInt64(bitPattern: described?["value"]?.integerValue ?? found?.value ?? 1))
    }

    /// How a C function is called; what is wrong with its description, or nil.
    private static func readConventions(_ value: JSON, into function: inout CFunction) -> String? {
        for item in value["arguments"]?.arrayValue ?? [] {
            guard let argument = item.stringValue.flatMap(CFunction.Argument.init) else { return "an unknown argument" }
            function.arguments.append(argument)
        }
        if function.arguments.isEmpty {
            switch function.model {
            case .exception, .doubleFault: function.arguments = [.regs, .errorCode]
            case .syscall: function.arguments = [.number, .regs]
            default: function.arguments = [.regs]
            }
        }
        function.says = (value["says"]?.arrayValue ?? []).compactMap(\.stringValue)
        function.takesNumberFromRAX = value["number_in"]?.stringValue == "rax"
        function.readsCR2 = value["reads_cr2"]?.boolValue ?? false
        function.disablesInterrupts = value["interrupts_off_at_return"]?.boolValue ?? false
        function.needsBreakpointsOff = value["breakpoints_off"]?.boolValue ?? false
        function.numberIsInt = value["number"]?.stringValue == "int"
        function.vectorBits = min(UInt64(clamping: value["vector_bits"]?.integerValue ?? 8), 64)
        function.interruptsOn = value["interrupts_on"]?.boolValue ?? false
        function.runsSoftirqs = value["runs_softirqs"]?.boolValue ?? false
        if let ways = value["emulates"]?.arrayValue {
            let names = ways.compactMap(\.stringValue)
            guard names.count == ways.count, names.allSatisfy({ ["call", "jump", "push"].contains($0) }) else {
                return "an unknown emulation"
            }
            function.emulates = Set(names)
        }
        if let from = value["from"]?.stringValue {
            guard let origin = CFunction.Origin(rawValue: from) else { return "an unknown origin" }
            function.origin = origin
        }
        if let text = value["layout"]?.stringValue {
            guard let layout = CFunction.RegistersLayout(rawValue: text) else { return "an unknown layout" }
            function.layout = layout
        }
        return nil
    }

    private static func routineNames(_ listings: [SourceText]) -> Set<String> {
        let marker = Array("ENTRY(".utf8)
        var names: Set<String> = []
        for listing in listings {
            let text = listing.text
            var position = 0
            while position + marker.count < text.count {
                guard text[position] == marker[0], text[position..<(position + marker.count)].elementsEqual(marker)
                else {
                    position += 1
                    continue
                }
                position += marker.count
                let start = position
                while position < text.count, text[position] != UInt8(ascii: ")"), text[position] != 0x0A {
                    position += 1
                }
                names.insert(String(decoding: text[start..<position], as: UTF8.self))
            }
        }
        return names
    }

    /// A list of vectors, of pairs that are ranges, and of `event-callback`; nil where something else is in it.
    private static func vectors(_ list: [JSON]) -> Set<UInt8>? {
        var result: Set<UInt8> = []
        for item in list {
            if let number = item.integerValue, let vector = UInt8(exactly: number) {
                result.insert(vector)
            } else if let range = item.arrayValue, range.count == 2, let first = range[0].integerValue,
                let last = range[1].integerValue, let first = UInt8(exactly: first), let last = UInt8(exactly: last),
                first <= last
            {
                result.formUnion(first...last)
            } else if let name = item.stringValue, let vector = Platform.standInVectors[name] {
                result.insert(vector)
            } else {
                return nil
            }
        }
        return result
    }
}

/// What stands for the body of a C function.
package enum HandlerModel: String, Sendable, Hashable, CaseIterable {
    /// An exception handler: `(pt_regs, error code[, fault address])`.
    case exception
    case nmi
    case interrupt
    /// Runs traced code: may fault, so CR2 may change.
    case trace
    case enterFromUser = "enter-from-user"
    /// No effect beyond what any C function may do.
    case plain
    case syncRegs = "sync-regs"
    case fixupBadIRET = "fixup-bad-iret"
    case exitToUser = "exit-to-user"
    case int80Syscall = "int80-syscall"
    /// `(number, pt_regs)`: the C side of SYSCALL.
    case syscall
    /// `do_fast_syscall_32`: a 32-bit call; the result says whether SYSRET or SYSEXIT may return.
    case fastSyscall = "fast-syscall"
    /// `do_SYSENTER_32`: the same for SYSENTER, which leaves neither RSP nor flags.
    case sysenterCall = "sysenter-call"
    case debugStackSetZero = "debug-stack-set-zero"
    case debugStackReset = "debug-stack-reset"
    /// `preempt_schedule_irq`: another task runs meanwhile. It dies where that is forbidden.
    case preempt
    /// The same if nothing forbids it: it looks by itself.
    case mayPreempt = "may-preempt"
    /// A hypercall with the number of a debug register, and a value.
    case getDebugRegister = "get-debug-register"
    case setDebugRegister = "set-debug-register"
    /// A system call by way of `sys_call_table`: arguments in registers, the result in RAX.
    case tableCall = "table-call"
    case doubleFault = "double-fault"
    case xenEventCheck = "xen-event-check"
    /// Code that was not understood, or a C function without a model: no verdict can be given about what comes here.
    case notUnderstood = "not-understood"

    /// The function is what an event is delivered to, not a helper of the entry code.
    package var isEventHandler: Bool {
        switch self {
        case .exception, .nmi, .interrupt, .doubleFault, .int80Syscall, .syscall, .fastSyscall, .sysenterCall: true
        default: false
        }
    }

    /// The event is a system call: `orig_ax` holds its number.
    package var isSystemCall: Bool {
        switch self {
        case .int80Syscall, .syscall, .fastSyscall, .sysenterCall: true
        default: false
        }
    }
}

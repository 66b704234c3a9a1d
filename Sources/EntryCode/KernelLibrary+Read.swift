import Assembler
import Machine

/// Reads the parts of a `kernel.json`.
extension KernelLibrary {
    /// C functions and their models.
    static func functions(_ value: JSON?, _ folder: String, _ faults: inout [String]) -> [CFunction] {
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
    static func knownDefects(
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
    static func tree(
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
    static func definedFeatures(_ text: [UInt8]) -> Set<String> {
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
    static func interruptStackInUse(_ root: JSON, _ generation: Generation) -> Generation.InUse? {
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
    static func readConventions(_ value: JSON, into function: inout CFunction) -> String? {
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

    static func routineNames(_ listings: [SourceText]) -> Set<String> {
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
    static func vectors(_ list: [JSON]) -> Set<UInt8>? {
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

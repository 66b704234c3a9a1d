import Assembler
import Machine

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
            if let work = root["call_work"] {
                func number(_ key: String) -> UInt64 { UInt64(clamping: work[key]?.integerValue ?? 0) }
                generation.callWork = Generation.CallWork(
                    offset: number("offset"), tracking: number("tracking"), tracing: number("tracing"))
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
}

import Machine

/// The labels that a listing needs: those of the program and those that its branches need besides.
struct ListingLabels: Sendable {
    private let program: Program
    /// Whether a routine follows the one before it without a gap, as implicit routines do.
    private var continuation: [Bool] = []
    /// First address of the chain of routines that an instruction belongs to, and the address behind its last.
    private var chains: [(start: UInt64, end: UInt64)] = []
    private var names: [UInt64: [String]] = [:]
    private var entries = Set<String>()
    private(set) var synthetic: [UInt64: String] = [:]
    private var globalNames = Set<String>()

    init(_ program: Program) {
        self.program = program
        for name in program.symbols.keys.sorted() {
            if let address = program.symbols[name] { names[address, default: []].append(name) }
        }
        for routine in program.routines { entries.insert(routine.name) }
        findChains()
        for (item, instruction) in program.instructions.enumerated() { findGlobal(instruction, item) }
        for (item, instruction) in program.instructions.enumerated() { nameTarget(instruction, item) }
    }

    func items(of routine: Int) -> Range<Int> {
        let first = program.routines[routine].first
        return first..<min(first + program.routines[routine].count, program.instructions.count)
    }

    /// The address behind the last instruction of a routine.
    func end(of routine: Int) -> UInt64 {
        guard let last = items(of: routine).last else { return program.routines[routine].address }
        return program.addresses[last] &+ UInt64(program.instructions[last].length)
    }

    func continues(_ routine: Int) -> Bool { routine < continuation.count && continuation[routine] }

    func isChained(_ routine: Int) -> Bool { continues(routine) || continues(routine + 1) }

    /// Whether branches to a label are long although they would reach.
    func isGlobal(_ label: String) -> Bool { globalNames.contains(label) }

    /// Labels other than routines at an instruction.
    func definitions(at address: UInt64) -> [String] {
        var labels = (names[address] ?? []).filter { !entries.contains($0) && !program.trailingSymbols.contains($0) }
        if let label = synthetic[address] { labels.append(label) }
        return labels
    }

    /// Labels behind the last instruction of a routine, unless the next routine starts there.
    func definitions(atEndOf routine: Int) -> [String] {
        let end = end(of: routine)
        guard !items(of: routine).isEmpty else { return [] }
        let trailing = (names[end] ?? []).filter { program.trailingSymbols.contains($0) && !entries.contains($0) }
        return trailing + (program.index(at: end) < 0 ? definitions(at: end) : [])
    }

    func name(of address: UInt64) -> String? {
        guard let known = names[address] else { return nil }
        return known.first { entries.contains($0) } ?? known.first { !$0.hasPrefix(".L") } ?? known.first
    }

    func target(_ address: UInt64, of instruction: Instruction) -> String? {
        if instruction.length == 2 {
            if let label = shortName(address) { return label }
            // Into the middle of an instruction: the label before it and a distance.
            for distance in 1..<UInt64(16) {
                if let label = shortName(address &- distance) { return "\(label)+\(distance)" }
            }
        }
        return name(of: address) ?? synthetic[address]
    }

    private func shortName(_ address: UInt64) -> String? {
        if let label = synthetic[address] { return label }
        return names[address]?.first { !globalNames.contains($0) && !isExplicitEntry($0) }
    }

    private func isExplicitEntry(_ name: String) -> Bool {
        guard entries.contains(name), let index = program.routines.firstIndex(where: { $0.name == name }) else {
            return false
        }
        return !isChained(index)
    }

    // MARK: Analysis

    private mutating func findChains() {
        continuation = [Bool](repeating: false, count: program.routines.count)
        for index in program.routines.indices.dropFirst() where !items(of: index).isEmpty {
            let start = program.routines[index].address
            guard start == end(of: index - 1), !items(of: index - 1).isEmpty else { continue }
            continuation[index] = start % 16 != 0 || hasShortBranchAcross(index)
        }
        chains = [(start: UInt64, end: UInt64)](repeating: (0, 0), count: program.routines.count)
        var first = 0
        for index in program.routines.indices {
            if !continuation[index] { first = index }
            for member in first...index { chains[member] = (program.routines[first].address, end(of: index)) }
        }
    }

    private func hasShortBranchAcross(_ index: Int) -> Bool {
        let start = program.routines[index].address
        func crosses(_ item: Int, _ isBefore: Bool) -> Bool {
            let instruction = program.instructions[item]
            guard instruction.form == .target, instruction.length == 2 else { return false }
            let target = UInt64(bitPattern: instruction.immediate)
            return isBefore ? target >= start : target < start
        }
        return items(of: index - 1).contains { crosses($0, true) } || items(of: index).contains { crosses($0, false) }
    }

    private func isInsideChain(_ target: UInt64, _ item: Int) -> Bool {
        let chain = chains[Int(program.routineOf[item])]
        return target >= chain.start && target <= chain.end
    }

    /// A branch that is long although it would reach names a global symbol; without a name its number stays.
    private func isLongWithoutNeed(_ instruction: Instruction, _ item: Int) -> Bool {
        let target = UInt64(bitPattern: instruction.immediate)
        guard instruction.form == .target, instruction.opcode != .call, instruction.length != 2,
            isInsideChain(target, item)
        else { return false }
        let address = program.addresses[item]
        let behind = target <= address ? address &+ 2 : address &+ UInt64(instruction.length)
        let distance = Int64(bitPattern: target &- behind)
        return distance >= -128 && distance <= 127
    }

    private mutating func findGlobal(_ instruction: Instruction, _ item: Int) {
        guard isLongWithoutNeed(instruction, item) else { return }
        if let name = name(of: UInt64(bitPattern: instruction.immediate)) { globalNames.insert(name) }
    }

    private mutating func nameTarget(_ instruction: Instruction, _ item: Int) {
        guard instruction.form == .target else { return }
        let target = UInt64(bitPattern: instruction.immediate)
        guard instruction.length == 2 else {
            if names[target] == nil, program.index(at: target) >= 0, !isLongWithoutNeed(instruction, item) {
                addSynthetic(target)
            }
            return
        }
        guard isInsideChain(target, item) else { return }
        let chain = chains[Int(program.routineOf[item])]
        var boundary = target
        if target != chain.end {
            while boundary > chain.start, program.index(at: boundary) < 0 { boundary -= 1 }
        }
        if shortName(boundary) == nil { addSynthetic(boundary) }
    }

    private mutating func addSynthetic(_ address: UInt64) {
        guard synthetic[address] == nil else { return }
        let routine = program.routines.last {
            $0.address <= address && $0.count > 0 && address <= $0.address &+ $0.size_bytes
        }
        var name = ".L\(routine?.name ?? "code")_\(String(address &- (routine?.address ?? 0), radix: 16))"
        while program.symbols[name] != nil { name += "_" }
        synthetic[address] = name
    }
}

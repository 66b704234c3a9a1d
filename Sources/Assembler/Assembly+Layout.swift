import Machine

/// Why a value could not be computed.
enum ResolutionFault: Error {
    case undefined(Int)
    case discarded(Int)
    case circular
    case divisionByZero
    case tooDeep
}

extension Assembly {
    /// Chooses between short and long branches, gives every group its address and fills in what waited for it.
    mutating func layOut() throws(AssemblyFailure) -> Program {
        var offsets = [Int](repeating: 0, count: instructions.count + 1)
        shortenBranches(&offsets)
        placeGroups(offsets)
        if diagnostics.isEmpty { applyFixups(offsets) }
        guard diagnostics.isEmpty else { throw AssemblyFailure(diagnostics: diagnostics) }
        var addresses = [UInt64](repeating: 0, count: instructions.count)
        for group in groups {
            for item in group.firstItem..<group.endItem {
                addresses[item] = group.address &+ UInt64(truncatingIfNeeded: offsets[item])
            }
        }
        var table: [String: UInt64] = input.externals
        table.reserveCapacity(symbols.count)
        for symbol in symbols where symbol.kind == .label && symbol.name >= 0 {
            let name = names.string(symbol.name)
            if table[name] == nil { table[name] = address(symbol, offsets) }
        }
        return Program(
            instructions: instructions, addresses: addresses, lines: lines, routineOf: owners,
            routines: routines.map { finished($0, offsets) }, files: files, symbols: table)
    }

    private func finished(_ draft: RoutineDraft, _ offsets: [Int]) -> Program.Routine {
        let group = groups[Int(draft.group)]
        let start = offset(draft.firstItem, in: group, offsets)
        let stop = offset(draft.endItem, in: group, offsets)
        let name = names.string(draft.name)
        return Program.Routine(
            name: name, address: group.address &+ UInt64(truncatingIfNeeded: start),
            size_bytes: max(UInt64(truncatingIfNeeded: stop - start), input.sizes[name] ?? 0), first: draft.firstItem,
            count: draft.endItem - draft.firstItem)
    }

    /// Offset of an item in its group; the item behind the last one is the group's end.
    private func offset(_ item: Int, in group: Group, _ offsets: [Int]) -> Int {
        item < group.endItem ? offsets[item] : Int(truncatingIfNeeded: group.size)
    }

    private func address(_ symbol: Symbol, _ offsets: [Int]) -> UInt64 {
        let group = groups[Int(symbol.group)]
        return group.address &+ UInt64(truncatingIfNeeded: offset(symbol.item, in: group, offsets))
    }

    // MARK: Branches

    /// Starts with every branch short and lengthens those that do not reach, until none is left.
    ///
    /// Lengths only grow, so this ends. A branch to a global symbol stays long: the GNU assembler leaves it to the linker.
    private mutating func shortenBranches(_ offsets: inout [Int]) {
        var short: [(item: Int, target: Int, group: Int, addend: Int64)] = []
        for index in branches {
            let fixup = fixups[index]
            guard let (symbol, addend) = reduce(fixup.value), symbols[symbol].kind == .label, !symbols[symbol].isGlobal,
                symbols[symbol].group == routines[Int(owners[fixup.item])].group
            else { continue }
            instructions[fixup.item].length = 2
            short.append((fixup.item, symbols[symbol].item, Int(symbols[symbol].group), addend))
        }
        for pass in 0... {
            for index in groups.indices {
                var offset = 0
                for item in groups[index].firstItem..<groups[index].endItem {
                    offsets[item] = offset
                    offset += Int(instructions[item].length)
                }
                groups[index].size = UInt64(truncatingIfNeeded: offset)
            }
            var kept = 0
            for index in short.indices {
                let branch = short[index]
                let target = Int64(offset(branch.target, in: groups[branch.group], offsets))
                let distance = target &+ branch.addend &- Int64(offsets[branch.item] + 2)
                // After many passes give up on the rest: a bound on hostile input, never reached by real code.
                if pass < 256, distance >= -128, distance <= 127 {
                    short[kept] = branch
                    kept += 1
                } else {
                    instructions[branch.item].length = InstructionLength.bytes(instructions[branch.item])
                }
            }
            if kept == short.count { return }
            short.removeSubrange(kept...)
        }
    }

    /// The label and the constant that a value comes to, if it is that simple.
    private func reduce(_ value: Value) -> (symbol: Int, addend: Int64)? {
        var value = value
        for _ in 0..<16 {
            guard value.node < 0, value.symbol >= 0 else { return nil }
            let index = Int(value.symbol)
            let symbol = symbols[index]
            if symbol.kind == .label { return (index, value.constant) }
            var next: Value
            if symbol.kind == .undefined, symbol.outer >= 0 {
                next = Value(symbol: symbol.outer)
            } else if symbol.kind == .expression {
                next = symbol.value
            } else {
                return nil
            }
            next.constant = next.constant &+ value.constant
            value = next
        }
        return nil
    }

    // MARK: Addresses

    private mutating func placeGroups(_ offsets: [Int]) {
        var placed: [(start: UInt64, end: UInt64, extent: UInt64, group: Int)] = []
        for index in groups.indices {
            guard let address = groups[index].placement else { continue }
            groups[index].address = address
            placed.append((address, end(address, groups[index].size), end(address, extent(index, offsets)), index))
        }
        placed.sort { ($0.start, $0.group) < ($1.start, $1.group) }
        for range in placed where groups[range.group].size > UInt64.max - range.start { return reportWrap(range.group) }
        var last = -1
        for index in placed.indices where placed[index].end > placed[index].start {
            if last >= 0, placed[index].start < placed[last].end { reportOverlap(placed[index].group, placed[last].group) }
            if last < 0 || placed[index].end > placed[last].end { last = index }
        }
        var cursor = input.origin
        var next = 0
        for index in groups.indices where groups[index].placement == nil {
            let size = extent(index, offsets)
            while true {
                cursor = end(cursor, 15) & ~15
                while next < placed.count, placed[next].extent <= cursor { next += 1 }
                guard next < placed.count, placed[next].start < end(cursor, max(size, 1)) else { break }
                cursor = placed[next].extent
                next += 1
            }
            groups[index].address = cursor
            cursor = end(cursor, size)
            if cursor == UInt64.max, size > 0 { return reportWrap(index) }
        }
    }

    /// The sum, or the last address if it does not exist.
    private func end(_ address: UInt64, _ size: UInt64) -> UInt64 {
        let (sum, overflow) = address.addingReportingOverflow(size)
        return overflow ? UInt64.max : sum
    }

    /// Bytes of a group, declared sizes included.
    private func extent(_ index: Int, _ offsets: [Int]) -> UInt64 {
        let group = groups[index]
        guard !input.sizes.isEmpty else { return group.size }
        var extent = group.size
        for routine in routines where Int(routine.group) == index {
            let start = UInt64(truncatingIfNeeded: offset(routine.firstItem, in: group, offsets))
            extent = max(extent, end(start, input.sizes[names.string(routine.name)] ?? 0))
        }
        return extent
    }

    private func firstRoutine(of group: Int) -> RoutineDraft? { routines.first { Int($0.group) == group } }

    private mutating func reportOverlap(_ group: Int, _ other: Int) {
        guard let routine = firstRoutine(of: group), let neighbour = firstRoutine(of: other) else { return }
        report(
            .overlappingPlacement,
            "`\(names.string(routine.name))` is placed over the code of `\(names.string(neighbour.name))`",
            routine.location)
    }

    private mutating func reportWrap(_ group: Int) {
        guard let routine = firstRoutine(of: group) else { return }
        report(.outOfRange, "`\(names.string(routine.name))` reaches beyond the last address", routine.location)
    }

    // MARK: Values

    private mutating func applyFixups(_ offsets: [Int]) {
        var reported = Set<UInt64>()
        for index in fixups.indices {
            let fixup = fixups[index]
            do throws(ResolutionFault) {
                let value = try resolve(fixup.value, offsets, depth: 0)
                apply(fixup, value, offsets)
            } catch {
                report(error, fixup, &reported)
            }
            if isStopped { return }
        }
    }

    private mutating func apply(_ fixup: Fixup, _ value: Int64, _ offsets: [Int]) {
        let group = groups[Int(routines[Int(owners[fixup.item])].group)]
        let length = Int(instructions[fixup.item].length)
        let next = Int64(bitPattern: group.address) &+ Int64(offsets[fixup.item] + length)
        switch fixup.kind {
        case .displacement:
            if !fixup.isWide, Assembly.normalized(value, .quad) == nil {
                report(.outOfRange, "the address does not fit in a 32-bit displacement", fixup.location)
            }
            instructions[fixup.item].memory.displacement = value
        case .relativeSymbol:
            checkDistance(value, next, fixup)
            instructions[fixup.item].memory.displacement = value
        case .relativeConstant:
            if Assembly.normalized(value, .quad) == nil {
                report(.outOfRange, "the displacement does not fit in 32 bits", fixup.location)
            }
            instructions[fixup.item].memory.displacement = next &+ value
        case .immediate:
            let immediate = fixup.isWide ? value : Assembly.normalized(value, instructions[fixup.item].width)
            if immediate == nil { report(.outOfRange, "the address does not fit in the immediate", fixup.location) }
            instructions[fixup.item].immediate = immediate ?? 0
        case .target:
            checkDistance(value, next, fixup)
            instructions[fixup.item].immediate = value
        }
    }

    private mutating func checkDistance(_ value: Int64, _ next: Int64, _ fixup: Fixup) {
        if Assembly.normalized(value &- next, .quad) == nil {
            report(.outOfRange, "the target is farther away than 2 GiB", fixup.location)
        }
    }

    private mutating func report(_ fault: ResolutionFault, _ fixup: Fixup, _ reported: inout Set<UInt64>) {
        switch fault {
        case .undefined(let index), .discarded(let index):
            let owner = owners[fixup.item]
            // One report for a symbol in a routine: more would only repeat it.
            guard reported.insert(UInt64(index) << 32 | UInt64(UInt32(bitPattern: owner))).inserted else { return }
            let number = symbols[index].name
            let routine = names.string(routines[Int(owner)].name)
            guard number >= 0 else {
                return report(.undefinedSymbol, "no such numeric label after this, in routine `\(routine)`", fixup.location)
            }
            let name = names.string(number)
            if case .discarded = fault {
                let message = "`\(name)`, used in routine `\(routine)`, stands in a section without an address"
                return report(.undefinedSymbol, message, fixup.location)
            }
            let known = symbols
            let hint = suggestion(name) { $0.symbol >= 0 && known[Int($0.symbol)].kind != .undefined }
            report(.undefinedSymbol, "undefined symbol `\(name)` in routine `\(routine)`\(hint)", fixup.location)
        case .circular: report(.circularSymbol, "a symbol is defined through itself", fixup.location)
        case .divisionByZero: report(.divisionByZero, "division by zero", fixup.location)
        case .tooDeep: report(.limitExpressionDepth, "expression deeper than \(limits.expression_depth)", fixup.location)
        }
    }

    /// Computes a value. Results are kept in nodes and symbols, so that shared parts are computed once.
    private mutating func resolve(_ value: Value, _ offsets: [Int], depth: Int) throws(ResolutionFault) -> Int64 {
        guard depth <= limits.expression_depth * 2 else { throw .tooDeep }
        var result = value.constant
        if value.symbol >= 0 { result = result &+ (try resolve(symbol: Int(value.symbol), offsets, depth: depth + 1)) }
        if value.node >= 0 { result = result &+ (try resolve(node: Int(value.node), offsets, depth: depth + 1)) }
        return result
    }

    private mutating func resolve(symbol index: Int, _ offsets: [Int], depth: Int) throws(ResolutionFault) -> Int64 {
        let symbol = symbols[index]
        switch symbol.kind {
        case .absolute, .external: return symbol.value.constant
        case .label: return Int64(bitPattern: address(symbol, offsets))
        case .discarded: throw .discarded(index)
        case .undefined:
            if symbol.outer >= 0, symbols[Int(symbol.outer)].kind != .undefined {
                return try resolve(symbol: Int(symbol.outer), offsets, depth: depth + 1)
            }
            throw .undefined(index)
        case .expression:
            if symbol.isResolving { throw .circular }
            symbols[index].isResolving = true
            defer { symbols[index].isResolving = false }
            return try resolve(symbol.value, offsets, depth: depth + 1)
        }
    }

    private mutating func resolve(node index: Int, _ offsets: [Int], depth: Int) throws(ResolutionFault) -> Int64 {
        let node = nodes[index]
        if let result = node.result { return result }
        let left = try resolve(node.left, offsets, depth: depth + 1)
        let right = try resolve(node.right, offsets, depth: depth + 1)
        guard let result = node.operation.apply(left, right) else { throw .divisionByZero }
        nodes[index].result = result
        return result
    }
}

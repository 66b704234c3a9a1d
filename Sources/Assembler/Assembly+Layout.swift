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
        gapAddress = input.gapRoutine.flatMap { name -> Int64? in
            let index = meanings[self.name(name)].symbol
            guard index >= 0, symbols[Int(index)].kind == .label else { return nil }
            return Int64(bitPattern: address(symbols[Int(index)], offsets))
        }
        var rows: [(fault: UInt64, fixup: UInt64)] = []
        if diagnostics.isEmpty {
            applyFixups(offsets)
            rows = exceptionTable(offsets)
        }
        guard diagnostics.isEmpty else { throw AssemblyFailure(diagnostics: diagnostics) }
        var addresses = [UInt64](repeating: 0, count: instructions.count)
        for group in groups {
            for item in group.firstItem..<group.endItem {
                addresses[item] = group.address &+ UInt64(truncatingIfNeeded: offsets[item])
            }
        }
        var table: [String: UInt64] = input.externals
        table.reserveCapacity(symbols.count)
        var trailing: Set<String> = []
        for symbol in symbols where symbol.kind == .label && symbol.name >= 0 {
            let name = names.string(symbol.name)
            if table[name] != nil { continue }
            table[name] = address(symbol, offsets)
            if symbol.item == groups[Int(symbol.group)].endItem { trailing.insert(name) }
        }
        if !origins.isEmpty {
            for index in lines.indices {
                let place = origin(
                    of: Location(file: lines[index].file, line: Int(lines[index].line), column: 1, expansion: -1))
                lines[index] = Program.SourceLine(file: place.file, line: UInt32(truncatingIfNeeded: place.line))
            }
        }
        var program = Program(
            instructions: instructions, addresses: addresses, lines: lines, routineOf: owners,
            routines: routines.map { finished($0, offsets) }, files: files, symbols: table,
            trailingSymbols: trailing)
        program.gaps = gaps
        program.exceptionTable = rows
        return program
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

    func address(_ symbol: Symbol, _ offsets: [Int]) -> UInt64 {
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
        let extents = extents(offsets)
        var placed: [(start: UInt64, end: UInt64, extent: UInt64, group: Int)] = []
        for index in groups.indices {
            guard let address = groups[index].placement else { continue }
            groups[index].address = address
            placed.append((address, end(address, groups[index].size), end(address, extents[index]), index))
        }
        placed.sort { ($0.start, $0.group) < ($1.start, $1.group) }
        for range in placed where groups[range.group].size > UInt64.max - range.start { return reportWrap(range.group) }
        var last = -1
        for index in placed.indices where placed[index].end > placed[index].start {
            if last >= 0, placed[index].start < placed[last].end {
                reportOverlap(placed[index].group, placed[last].group)
            }
            if last < 0 || placed[index].end > placed[last].end { last = index }
        }
        var cursor = input.origin
        var next = 0
        for index in groups.indices where groups[index].placement == nil {
            let size = extents[index]
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

    /// Bytes of every group, declared sizes included.
    private func extents(_ offsets: [Int]) -> [UInt64] {
        var extents = groups.map(\.size)
        guard !input.sizes.isEmpty else { return extents }
        for routine in routines {
            let group = groups[Int(routine.group)]
            let start = UInt64(truncatingIfNeeded: offset(routine.firstItem, in: group, offsets))
            let declared = end(start, input.sizes[names.string(routine.name)] ?? 0)
            extents[Int(routine.group)] = max(extents[Int(routine.group)], declared)
        }
        return extents
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
}

import Machine

extension Assembly {
    /// Fills in what waited for addresses.
    mutating func applyFixups(_ offsets: [Int]) {
        var reported = Set<UInt64>()
        var uses: [(symbol: Int, fixup: Int)] = []
        for index in fixups.indices {
            let fixup = fixups[index]
            do throws(ResolutionFault) {
                let value = try resolve(fixup.value, offsets, depth: 0)
                apply(fixup, value, offsets)
            } catch {
                if let symbol = gapSymbol(error, fixup), gapAddress != nil {
                    uses.append((symbol, index))
                } else {
                    report(error, fixup, &reported)
                }
            }
            if isStopped { return }
        }
        fillGaps(uses, offsets)
    }

    /// The symbol that nothing defines, where the sources of a kernel use it.
    private func gapSymbol(_ fault: ResolutionFault, _ fixup: Fixup) -> Int? {
        guard kernelPlace(fixup.location) != nil else { return nil }
        switch fault {
        case .undefined(let index), .discarded(let index): return symbols[index].name >= 0 ? index : nil
        default: return nil
        }
    }

    /// The rows of the exception table; one that names nothing is a gap.
    mutating func exceptionTable(_ offsets: [Int]) -> [(fault: UInt64, fixup: UInt64)] {
        var rows: [(fault: UInt64, fixup: UInt64)] = []
        for row in exceptionRows {
            do throws(ResolutionFault) {
                let fault = try resolve(row.fault, offsets, depth: 0)
                let fixup = try resolve(row.fixup, offsets, depth: 0)
                rows.append((UInt64(bitPattern: fault), UInt64(bitPattern: fixup)))
            } catch {
                report(.undefinedSymbol, "a row of the exception table that leads nowhere", row.location)
            }
        }
        return rows
    }

    mutating func apply(_ fixup: Fixup, _ value: Int64, _ offsets: [Int]) {
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
                return report(
                    .undefinedSymbol, "no such numeric label after this, in routine `\(routine)`", fixup.location)
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
        case .tooDeep:
            report(.limitExpressionDepth, "expression deeper than \(limits.expression_depth)", fixup.location)
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

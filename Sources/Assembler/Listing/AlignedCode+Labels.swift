/// Where labels stand, and what they are called.
extension AlignedCode {
    /// In front of which rows a label can stand that a program has at one of its lines.
    private func places(_ place: Int, line: Int) -> [Int] {
        let last = rowOf[place][min(line, rowOf[place].count - 1)]
        let first = line > 0 ? rowOf[place][line - 1] + 1 : 0
        // In between all is somebody else's: only where an `.if` begins can a label stand that everybody sees.
        var found: [Int] = []
        var next = firstChain(from: last)
        while next > 0, found.count < AlignedCode.choices, chains[next - 1].first >= first {
            next -= 1
            found.append(chains[next].first)
        }
        return found.reversed() + [last]
    }

    /// Number of the first chain that does not begin in front of a row.
    private func firstChain(from row: Int) -> Int {
        var (low, high) = (0, chains.count)
        while low < high {
            let middle = (low + high) / 2
            if chains[middle].first < row { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// One place for as many of the wanted ones as possible, the first among them.
    private func meet(_ wanted: [(place: Int, line: Int)], preferring known: (Int) -> Bool) -> (at: Int, count: Int) {
        var common = places(wanted[0].place, line: wanted[0].line)
        var count = 1
        for other in wanted.dropFirst() {
            let both = Set(places(other.place, line: other.line))
            let left = common.filter(both.contains)
            if left.isEmpty { break }
            common = left
            count += 1
        }
        let at = common.first(where: known) ?? common.first { view[$0] == programs } ?? common[0]
        return (at, count)
    }

    /// True if rows had to be parted.
    mutating func chooseFreeLabels() -> Bool {
        chosen = rows.map { _ in [] }
        var used = Set<FreeLabel>()
        var parted: [(row: Int, first: ProgramSet)] = []
        for index in rows.indices {
            let having = members.indices.filter { lineOf[$0][index] >= 0 }
            guard let first = having.first, let line = line(first, index) else { continue }
            var part: ProgramSet?
            for name in line.names.indices where codes[members[first]]?.free[line.names[name]] != nil {
                let wanted = having.map { (place: $0, line: freeLabel($0, index, name)?.line ?? 0) }
                let isGlobal = freeLabel(first, index, name)?.isGlobal ?? false
                let met = meet(wanted) { used.contains(FreeLabel(position: $0, isGlobal: isGlobal)) }
                if met.count < wanted.count {
                    part = wanted.prefix(met.count).reduce(into: ProgramSet()) {
                        $0.insert(ProgramSet(members[$1.place]))
                    }
                    break
                }
                let label = FreeLabel(position: met.at, isGlobal: isGlobal)
                used.insert(label)
                chosen[index] += [FreeLabel?](repeating: nil, count: name - chosen[index].count) + [label]
            }
            if let part { parted.append((index, part)) }
        }
        for (index, first) in parted.reversed() {
            let other = Row(key: rows[index].key, programs: rows[index].programs.subtracting(first))
            rows[index].programs = first
            rows.insert(other, at: index + 1)
        }
        return !parted.isEmpty
    }

    private func line(_ place: Int, _ row: Int) -> ListedCode.Line? {
        codes[members[place]]?.lines[Int(lineOf[place][row])]
    }

    private func freeLabel(_ place: Int, _ row: Int, _ name: Int) -> ListedCode.Label? {
        guard let names = line(place, row)?.names, name < names.count else { return nil }
        return codes[members[place]]?.free[names[name]]
    }

    // MARK: Names

    /// A free label is called what the first program calls it, unless that means something else here.
    mutating func nameFreeLabels() {
        var taken = Set<String>()
        for code in codes.values {
            for label in code.labels where code.free[label.name] == nil { taken.insert(label.name) }
            for line in code.lines { for name in line.names where code.free[name] == nil { taken.insert(name) } }
        }
        for index in rows.indices {
            guard let first = members.indices.first(where: { lineOf[$0][index] >= 0 }), let line = line(first, index)
            else { continue }
            for (number, label) in chosen[index].enumerated() {
                guard let label, freeNames[label] == nil else { continue }
                var name = line.names[number]
                while !taken.insert(name).inserted { name += "_" }
                freeNames[label] = name
            }
        }
    }

    /// The text of a row.
    func text(ofRow index: Int, showsAddresses: Bool) -> String {
        guard let first = members.indices.first(where: { lineOf[$0][index] >= 0 }), let line = line(first, index)
        else { return "" }
        var text = "\t" + line.pieces[0]
        for (number, name) in line.names.enumerated() {
            let label = number < chosen[index].count ? chosen[index][number] : nil
            text += label.flatMap { freeNames[$0] } ?? name
            text += line.pieces[number + 1]
        }
        if showsAddresses, members[first] == 0 { text += "\t# \(hexadecimal(line.address))" }
        return text
    }

    /// Labels in front of each row, and behind the last.
    func placedLabels() -> [Int: [PlacedLabel]] {
        var found: [Int: [PlacedLabel]] = [:]
        var names: [String] = []
        var homes: [String: [(place: Int, line: Int)]] = [:]
        var globals: [String: ProgramSet] = [:]
        for (place, member) in members.enumerated() {
            guard let code = codes[member] else { continue }
            for label in code.labels where code.free[label.name] == nil {
                if homes[label.name] == nil { names.append(label.name) }
                homes[label.name, default: []].append((place, label.line))
                if label.isGlobal { globals[label.name, default: []].insert(ProgramSet(member)) }
            }
        }
        for name in names {
            var rest = homes[name] ?? []
            while !rest.isEmpty {
                let everyone = rest.reduce(into: ProgramSet()) { $0.insert(ProgramSet(members[$1.place])) }
                let met = meet(rest) { view[$0] == everyone }
                let own = rest.prefix(met.count).reduce(into: ProgramSet()) { $0.insert(ProgramSet(members[$1.place])) }
                found[met.at, default: []].append(
                    PlacedLabel(
                        name: name, programs: own, globals: (globals[name] ?? []).intersection(own), isFree: false))
                rest.removeFirst(met.count)
            }
        }
        for (label, name) in freeNames.sorted(by: { ($0.value) < ($1.value) }) {
            found[label.position, default: []].append(
                PlacedLabel(
                    name: name, programs: programs, globals: label.isGlobal ? programs : [], isFree: true))
        }
        return found
    }
}

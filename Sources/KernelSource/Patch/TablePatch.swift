import EntryCode

/// A patch for a table that has no sources: lines that are rows become changes of its rows, code is reported.
struct TablePatch {
    private var rows: TableRows
    private var outcomes: [HunkOutcome] = []
    private var isChanged = false

    private init(_ document: JSON) { rows = TableRows(document) }

    static func apply(_ hunks: [Hunk], to document: JSON) -> (outcomes: [HunkOutcome], document: JSON?) {
        var patch = TablePatch(document)
        // One mail after the other: what the first adds the second may change.
        var start = 0
        while start < hunks.count {
            let stop = hunks[start...].firstIndex { $0.mail != hunks[start].mail } ?? hunks.count
            patch.apply(hunks[start..<stop])
            start = stop
        }
        return (patch.outcomes, patch.isChanged ? patch.rows.changed : nil)
    }

    /// What the lines of a hunk are.
    private struct Reading {
        var removed: [KernelRow] = []
        /// With the row in front of it and the option of the conditions around it.
        var added: [(row: KernelRow, neighbour: KernelRow?, option: String?)] = []
        /// Changed lines that are code.
        var code = 0
        /// Changed lines that have no say in entry code.
        var other = 0
        var conditions = 0
    }

    private func reading(_ hunk: Hunk, _ file: KernelFile) -> Reading {
        var reading = Reading()
        var neighbour: KernelRow?
        var options: [String?] = []
        for line in hunk.lines {
            let plain = RowParser.plain(line.text)
            if plain.first == UInt8(ascii: "#") {
                if line.kind != .context { reading.conditions += 1 }
                if line.kind != .removed { follow(plain, &options) }
                continue
            }
            guard let row = RowParser.row(line.text) else {
                if line.kind == .context || plain.isEmpty { continue }
                // Text of a comment that began lines before.
                let isComment = plain.first == UInt8(ascii: "*") || plain.hasPrefix("/*") || plain.hasPrefix("//")
                if isComment || file == .tables || file == .code || file == .foreign {
                    reading.other += 1
                } else {
                    reading.code += 1
                }
                continue
            }
            if line.kind == .removed {
                reading.removed.append(row)
            } else {
                if line.kind == .added {
                    reading.added.append((row, neighbour, options.compactMap { $0 }.last))
                }
                neighbour = row
            }
        }
        return reading
    }

    /// Keeps track of `#ifdef CONFIG_X` around the lines of a hunk.
    private func follow(_ line: ArraySlice<UInt8>, _ options: inout [String?]) {
        var scanner = WordScanner(line.dropFirst())
        switch scanner.word() {
        case "ifdef": options.append(scanner.word().flatMap { KernelNames.option($0, known: rows.options) })
        case "if", "ifndef": options.append(nil)
        case "else", "elif": if !options.isEmpty { options[options.count - 1] = nil }
        case "endif": _ = options.popLast()
        default: break
        }
    }

    private mutating func apply(_ hunks: ArraySlice<Hunk>) {
        let files = hunks.map { hunk in
            // Without a file header what it is shows in its lines only.
            hunk.path.isEmpty ? KernelFile.assembly : KernelFile(hunk.path)
        }
        var readings: [Reading] = []
        for (hunk, file) in zip(hunks, files) {
            // A patch that is damaged is not applied in part; a quotation is what somebody chose to quote.
            let isRead = file != .foreign && file != .code && (hunk.damage == nil || hunk.quoteDepth > 0)
            readings.append(isRead ? reading(hunk, file) : Reading())
        }
        // A hunk is applied as a whole or not at all: without those that fail, the others are tried once more.
        let before = (rows, isChanged)
        var refused: [Int: HunkOutcome] = [:]
        while true {
            let found = attempt(Array(hunks), files, readings)
            let failing = found.indices.filter { found[$0].state == .notApplied && refused[$0] == nil }
            if failing.isEmpty {
                outcomes += found.indices.map { refused[$0] ?? found[$0] }
                return
            }
            (rows, isChanged) = before
            for index in failing {
                var outcome = found[index]
                outcome.changes = []
                refused[index] = outcome
                readings[index] = Reading()
            }
        }
    }

    private mutating func attempt(_ hunks: [Hunk], _ files: [KernelFile], _ readings: [Reading]) -> [HunkOutcome] {
        var places: [String: TableRows.Place] = [:]
        var removals: [[TableRows.Outcome]] = []
        for reading in readings {
            removals.append(
                reading.removed.map { row in
                    let (outcome, place) = rows.remove(row)
                    if let place { places[row.key] = place }
                    return outcome
                })
        }
        return hunks.indices.map { index in
            let reading = readings[index]
            var found = removals[index]
            for (row, neighbour, option) in reading.added {
                if case .declared("IDTENTRY_SW", _, _) = row { continue }
                found.append(
                    rows.insert(row, inPlaceOf: places.removeValue(forKey: row.key), after: neighbour, option: option))
            }
            return outcome(hunks[index], files[index], reading, found)
        }
    }

    private mutating func outcome(
        _ hunk: Hunk, _ file: KernelFile, _ reading: Reading, _ found: [TableRows.Outcome]
    ) -> HunkOutcome {
        var outcome = HunkOutcome(hunk, .applied)
        if hunk.quoteDepth > 0, let damage = hunk.damage {
            outcome.notes.append("cut off in the quotation: \(damage)")
        } else if let damage = hunk.damage {
            return HunkOutcome(hunk, .notUnderstood, damage)
        }
        var failures: [String] = []
        for result in found {
            switch result {
            case .done(let text):
                outcome.changes.append(text)
                isChanged = true
            case .present(let text): outcome.notes.append(text)
            case .failed(let text): failures.append(text)
            }
        }
        if reading.conditions > 0, !outcome.changes.isEmpty || !failures.isEmpty {
            outcome.notes.append("conditions change; rows keep the options that they have")
        }
        if !failures.isEmpty {
            outcome.state = .notApplied
            outcome.reason = failures.joined(separator: "; ")
        } else if reading.code > 0 {
            outcome.state = .notUnderstood
            outcome.reason =
                "\(reading.code) line\(reading.code == 1 ? "" : "s") of code: a table without sources cannot take them; import the tree and apply the patch to that"
        } else if outcome.changes.isEmpty && outcome.notes.isEmpty {
            outcome.state = .ignored
            outcome.reason =
                switch file {
                case .foreign: "no file of the entry code"
                case .code, .tables: "C code: no row of a table that is read"
                case .assembly, .header: reading.conditions > 0 ? "only conditions" : "only comments and blanks"
                }
        } else if outcome.changes.isEmpty, !found.isEmpty {
            outcome.state = .ignored
            outcome.reason = "the table has it already"
        }
        return outcome
    }
}

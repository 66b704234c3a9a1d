import EntryCode

/// A patch for a table that keeps its sources: the files change, and the table is read from them anew.
struct SourcePatch {
    private var tree: KernelTree
    private var outcomes: [HunkOutcome] = []
    private var isChanged = false
    /// Of each file: lines by which earlier hunks of the mail have moved the rest, and the first line that is not done.
    private var shifts: [String: (shift: Int, lowest: Int)] = [:]
    /// Files whose text in the tree is not yet what `tables` has.
    private var changed: Set<String> = []
    /// The files as hunks have left them.
    private var tables: [String: LineTable] = [:]
    /// Lines that searches may still compare: a patch is small, and its work is.
    private var budget = SourceLimits().comparedLines

    static func apply(
        _ hunks: [Hunk], to tree: KernelTree, _ document: JSON, kernels: KernelLibrary
    ) -> (outcomes: [HunkOutcome], document: JSON?, notes: [String]) {
        var patch = SourcePatch(tree: tree)
        var mail = -1
        for hunk in hunks {
            if hunk.mail != mail {
                patch.shifts = [:]
                mail = hunk.mail
            }
            patch.outcomes.append(patch.apply(hunk))
        }
        guard patch.isChanged else { return (patch.outcomes, nil, []) }
        for path in patch.changed { if let table = patch.tables[path] { patch.tree.set(path, table.text) } }
        do throws(TreeFault) {
            let made = try patch.tree.remake(document, kernels: kernels)
            return (patch.outcomes, made.document, made.notes)
        } catch {
            return (patch.outcomes, nil, ["after the patch: \(error.message)"])
        }
    }

    private init(tree: KernelTree) { self.tree = tree }

    private mutating func apply(_ hunk: Hunk) -> HunkOutcome {
        var outcome = HunkOutcome(hunk, .applied)
        if let damage = hunk.damage {
            if hunk.quoteDepth == 0 { return HunkOutcome(hunk, .notUnderstood, damage) }
            outcome.notes.append("cut off in the quotation: \(damage)")
        }
        var path = hunk.path
        if path.isEmpty {
            let fitting = tree.files.map(\.path).filter { place(hunk, in: $0, shift: 0, lowest: 0) != nil }
            if fitting.isEmpty, budget <= 0 { return HunkOutcome(hunk, .notUnderstood, SourcePatch.givenUp) }
            guard fitting.count == 1 else {
                return HunkOutcome(
                    hunk, .notUnderstood,
                    fitting.isEmpty ? "no file is named, and it fits none" : "no file is named, and it fits several")
            }
            path = fitting[0]
            outcome.path = path
            outcome.notes.append("no file is named; it fits this one")
        }
        if hunk.isNewFile { return create(hunk, path, outcome) }
        let before = hunk.oldPath.flatMap { tree.text($0) == nil ? nil : $0 } ?? path
        guard tree.text(before) != nil else {
            return HunkOutcome(
                hunk, .ignored,
                KernelFile.all.contains(path)
                    ? "the table keeps no such file: what it says is taken from the shipped generation"
                    : "no file of the entry code")
        }
        if hunk.isDeletedFile {
            // As `patch` and `git apply` do: not what somebody has changed meanwhile.
            guard let all = place(hunk, in: before, shift: 0, lowest: 0), all.start == 0, all.fuzz == 0,
                all.count == table(before).lines.count, hunk.text(of: [.context, .added]).isEmpty
            else { return HunkOutcome(hunk, .notApplied, "the file to be deleted has other lines than the patch says") }
            // Empty, not absent: what it had is gone, and not to be taken from the shipped generation.
            tree.set(before, [])
            tables[before] = nil
            isChanged = true
            outcome.changes.append("the file is gone")
            return outcome
        }
        var state = shifts[before] ?? (0, 0)
        guard let found = place(hunk, in: before, shift: state.shift, lowest: state.lowest) else {
            return refused(hunk, before)
        }
        var lines = table(before)
        tables[before] = nil
        let new = found.replacement(hunk, in: lines.lines)
        lines.replace(found.start..<(found.start + found.count), with: new)
        state.shift += found.offset + new.count - found.count
        state.lowest = found.start + new.count
        shifts[before] = state
        changed.insert(before)
        tables[before] = lines
        if before != path {
            tables[path] = lines
            tables[before] = nil
            changed.remove(before)
            changed.insert(path)
            tree.set(before, [])
            tree.set(path, [])
            outcome.notes.append("the file was \(before)")
        }
        isChanged = true
        let removed = hunk.lines.count { $0.kind == .removed }
        let added = hunk.lines.count { $0.kind == .added }
        outcome.changes.append("lines: -\(removed) +\(added), at line \(found.start + 1)")
        if found.offset != 0 { outcome.notes.append("offset \(found.offset) line\(abs(found.offset) == 1 ? "" : "s")") }
        if found.fuzz > 0 { outcome.notes.append("fuzz \(found.fuzz)") }
        if found.ignoresBlanks { outcome.notes.append("blanks differ; they were not compared") }
        return outcome
    }

    private mutating func create(_ hunk: Hunk, _ path: String, _ sofar: HunkOutcome) -> HunkOutcome {
        var outcome = sofar
        guard KernelFile.all.contains(path) else {
            return HunkOutcome(hunk, .ignored, "a new file, none of the entry code")
        }
        if tree.text(path)?.isEmpty == false { return HunkOutcome(hunk, .notApplied, "the file is there already") }
        var text: [UInt8] = []
        for line in hunk.text(of: [.added]) { text += Array(line) + [Ascii.newline] }
        tree.set(path, text)
        tables[path] = nil
        isChanged = true
        outcome.changes.append("a new file")
        return outcome
    }

    private mutating func refused(_ hunk: Hunk, _ path: String) -> HunkOutcome {
        // Was it applied before?
        var reverse = hunk
        reverse.lines = hunk.lines.map { line in
            var turned = line
            if line.kind == .added { turned.kind = .removed } else if line.kind == .removed { turned.kind = .added }
            return turned
        }
        (reverse.oldStart, reverse.oldCount) = (hunk.newStart, hunk.newCount)
        if place(reverse, in: path, shift: 0, lowest: 0) != nil {
            return HunkOutcome(hunk, .notApplied, "the file has this change already")
        }
        return HunkOutcome(
            hunk, .notApplied,
            budget <= 0 ? SourcePatch.givenUp : "the lines that it wants to change are not in the file")
    }

    private static let givenUp =
        "its place was not looked for any further: the hunks before it have taken all the lines that are compared for one patch"

    private mutating func place(_ hunk: Hunk, in path: String, shift: Int, lowest: Int) -> HunkPlacement? {
        HunkPlacement.find(
            hunk, in: table(path), shift: shift, lowest: lowest, ignoresBlanks: true, budget: &budget)
    }

    private mutating func table(_ path: String) -> LineTable {
        if let known = tables[path] { return known }
        let new = LineTable(tree.text(path) ?? [])
        tables[path] = new
        return new
    }
}

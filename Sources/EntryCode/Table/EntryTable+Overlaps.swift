/// No two things that a document places lie at one address: an image would give the words of one to the other.
extension TableReader {
    /// A stretch of the memory map, and where the document places it.
    private struct Placed {
        enum Kind { case stack, guardPage, variable, espfix, code, fixed }

        var name: String
        var kind: Kind
        var first: UInt64
        var last: UInt64
        /// The members that lead to it below `/machine`; empty for what no document moves.
        var path: [String]

        init(_ name: String, _ kind: Kind, _ base: UInt64, _ size_bytes: UInt64, _ path: [String]) {
            self.name = name
            self.kind = kind
            first = base
            let (end, wraps) = base.addingReportingOverflow(max(size_bytes, 1) - 1)
            last = wraps ? .max : end
            self.path = path
        }

        func overlaps(_ other: Placed) -> Bool { first <= other.last && other.first <= last }

        /// Code is laid out by the assembler, which says itself what does not fit; variables are the kernel's own. Read-only code
        /// is as good as nothing behind the end of a stack.
        func mayMeet(_ other: Placed) -> Bool {
            switch (kind, other.kind) {
            case (.code, .code), (.variable, .variable), (.fixed, .fixed), (.guardPage, .guardPage),
                (.guardPage, .fixed), (.fixed, .guardPage), (.guardPage, .code), (.code, .guardPage):
                true
            default: false
            }
        }

        var text: String { "\(name) (\(hexadecimal(first)) to \(hexadecimal(last)))" }
    }

    /// Refuses a memory map in which two things overlap, with a pointer to the one that the document has moved.
    ///
    /// - Parameters:
    ///   - own: The document's `machine`; without one the map is the kernel's.
    ///   - standard: The kernel's.
    mutating func checkOverlaps(_ own: JSON?, standard: JSON?, _ table: EntryTable, _ generation: Generation) {
        guard let own else { return }
        let placed = map(table, generation)
        var blamed: Set<String> = []
        for index in placed.indices {
            for other in placed[..<index] where placed[index].overlaps(other) && !placed[index].mayMeet(other) {
                let pair = [placed[index], other]
                let moved = pair.first { isMoved($0.path, own, standard) } ?? pair.first { isGiven($0.path, own) }
                guard let moved else { continue }
                let place = "/machine" + moved.path.map { EntryCode.pointer("", $0) }.joined()
                guard blamed.insert(place).inserted else { continue }
                let rest = moved.path == pair[0].path ? pair[1] : pair[0]
                fault(place, "overlap", "\(moved.text) overlaps \(rest.text)")
            }
        }
    }

    private func map(_ table: EntryTable, _ generation: Generation) -> [Placed] {
        let machine = table.machine
        var placed: [Placed] = []
        for (name, stack) in machine.stacks.sorted(by: { $0.key < $1.key }) {
            placed.append(Placed("the stack '\(name)'", .stack, stack.base, stack.size_bytes, ["stacks", name]))
        }
        for (index, page) in machine.guards.enumerated() {
            placed.append(
                Placed("guard \(index)", .guardPage, page.base, page.size_bytes, ["guards", String(index)]))
        }
        // Larger ones are stacks, which have places of their own.
        for variable in generation.perCPU where variable.size_bytes <= 8192 {
            placed.append(
                Placed(
                    "the per-CPU variable \(variable.name)", .variable, machine.perCPUBase &+ variable.offset,
                    variable.size_bytes, ["per_cpu_base"]))
        }
        placed.append(
            Placed(
                "the espfix page", .espfix, machine.espfixWritable & ~4095, 4096, ["espfix", "waddr"]))
        placed.append(
            Placed(
                "the espfix stacks", .espfix, machine.espfixStack & ~0xFFFF_FFFF, 1 << 32, ["espfix", "stack"]))
        for (name, code) in machine.code.sorted(by: { $0.key < $1.key }) {
            placed.append(Placed(name, .code, code.address, max(code.size_bytes, 16), ["code", name]))
        }
        placed.append(Placed("init_task", .fixed, Addresses.current & ~4095, 4096, []))
        let data_bytes = generation.data.map { $0.offset &+ $0.size_bytes }.max() ?? 0
        if data_bytes > 0 { placed.append(Placed("kernel data", .fixed, Addresses.kernelData, data_bytes, [])) }
        return placed
    }

    private func value(_ path: [String], in machine: JSON?) -> JSON? {
        var value = machine
        for key in path {
            if let rows = value?.arrayValue, let index = Int(key) {
                value = rows.indices.contains(index) ? rows[index] : nil
            } else {
                value = value?[key]
            }
        }
        return value
    }

    private func isGiven(_ path: [String], _ own: JSON) -> Bool { !path.isEmpty && value(path, in: own) != nil }

    private func isMoved(_ path: [String], _ own: JSON, _ standard: JSON?) -> Bool {
        isGiven(path, own) && value(path, in: own) != value(path, in: standard)
    }
}

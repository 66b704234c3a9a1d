package import EntryCode

/// One difference between two tables, row by row.
package struct TableChange: Sendable, Hashable {
    /// The list or section: `entries`, `idt`, `xen/traps`, `xen/thunks`, `options`, `routines`, …
    package var section: String
    /// The row's own name.
    package var name: String
    /// Compact JSON of what stood there; nil where nothing did.
    package var before: JSON?
    package var after: JSON?

    /// The members of a row that differ: key, before, after.
    package var members: [(key: String, before: JSON?, after: JSON?)] {
        guard case .object(let old)? = before, case .object(let new)? = after else { return [] }
        var keys = old.map(\.key)
        for member in new where !keys.contains(member.key) { keys.append(member.key) }
        return keys.compactMap { key in
            let one = before?[key]
            let other = after?[key]
            return one == other ? nil : (key, one, other)
        }
    }
}

extension TableChange {
    /// Lists that consist of rows, and the member that names a row; nil for rows that are names.
    private static let lists: [(section: [String], key: String?)] = [
        (["entries"], "symbol"), (["idt"], "vector"), (["xen", "traps"], "native"), (["xen", "thunks"], nil),
    ]

    /// What is different in two documents, each in full (`EntryTable.document`).
    package static func all(from base: JSON, to head: JSON) -> [TableChange] {
        var changes: [TableChange] = []
        if base["kernel"] != head["kernel"] {
            changes.append(TableChange(section: "kernel", name: "", before: base["kernel"], after: head["kernel"]))
        }
        for list in lists {
            let section = list.section.joined(separator: "/")
            func rows(_ document: JSON) -> [(name: String, row: JSON)] {
                var value: JSON? = document
                for key in list.section { value = value?[key] }
                return named((value?.arrayValue ?? []).map { row in (name(row, list.key), normal(row)) })
            }
            changes += differences(section, rows(base), rows(head))
        }
        for section in ["options", "routines"] {
            func members(_ document: JSON) -> [(name: String, row: JSON)] {
                (document[section]?.objectValue ?? []).map { ($0.key, $0.value) }
            }
            changes += differences(section, members(base), members(head))
        }
        func files(_ document: JSON) -> [(name: String, row: JSON)] {
            (document["sources"]?["files"]?.objectValue ?? []).map { ($0.key, $0.value) }
        }
        changes += differences("sources", files(base), files(head))
        for key in ["version", "quirks", "callbacks"] where base["xen"]?[key] != head["xen"]?[key] {
            changes.append(
                TableChange(section: "xen", name: key, before: base["xen"]?[key], after: head["xen"]?[key]))
        }
        func machine(_ document: JSON) -> [(name: String, row: JSON)] {
            (document["machine"]?.objectValue ?? []).map { ($0.key, $0.value) }
        }
        changes += differences("machine", machine(base), machine(head))
        return changes
    }

    private static func name(_ row: JSON, _ key: String?) -> String {
        switch key.flatMap({ row[$0] }) ?? row {
        case .string(let text): text
        case .integer(let number): String(number)
        default: ""
        }
    }

    /// Rows of one name are told apart by their number.
    private static func named(_ rows: [(name: String, row: JSON)]) -> [(name: String, row: JSON)] {
        var counts: [String: Int] = [:]
        return rows.map { row in
            counts[row.name, default: 0] += 1
            let count = counts[row.name] ?? 1
            return (count == 1 ? row.name : "\(row.name) (\(count))", row.row)
        }
    }

    /// A column that is left out and one that has its default are the same.
    private static func normal(_ row: JSON) -> JSON {
        guard case .object(let members) = row else { return row }
        return JSON.object(
            members.filter { member in
                switch (member.key, member.value) {
                case (_, .null), ("paranoid", 0), ("ist_offset", 0), ("create_gap", false), ("read_cr2", false),
                    ("ist", 0), ("dpl", 0), ("type", "interrupt"), ("shift_ist", -1):
                    false
                default: true
                }
            }
        ).canonical
    }

    private static func differences(
        _ section: String, _ base: [(name: String, row: JSON)], _ head: [(name: String, row: JSON)]
    ) -> [TableChange] {
        var others: [String: JSON] = [:]
        for row in head { others[row.name] = row.row }
        var changes: [TableChange] = []
        var known: Set<String> = []
        for row in base {
            known.insert(row.name)
            let other = others[row.name]
            if other != row.row {
                changes.append(TableChange(section: section, name: row.name, before: row.row, after: other))
            }
        }
        for row in head where !known.contains(row.name) {
            changes.append(TableChange(section: section, name: row.name, before: nil, after: row.row))
        }
        return changes
    }
}

package import EntryCode

/// A choice of Kconfig as people write it.
package enum KconfigChoice {
    /// `CONFIG_X=y`, `X=n`, `# CONFIG_X is not set`; nil where it is none.
    package static func read(_ text: String) -> (symbol: String, value: Bool)? {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        let symbol = parts[0].hasPrefix("CONFIG_") ? String(parts[0]) : "CONFIG_" + parts[0]
        guard EntryTable.isConfigSymbol(symbol) else { return nil }
        switch parts[1].lowercased() {
        case "y", "m", "1", "true": return (symbol, true)
        case "n", "0", "false", "": return (symbol, false)
        default: return nil
        }
    }
}

extension TreeImport {
    /// For people.
    package var text: String {
        var text = "read: \(read.joined(separator: ", "))\n"
        if !missing.isEmpty {
            text += "missing, taken from \(kernel): \(missing.joined(separator: ", "))\n"
        } else {
            text += "around them: \(kernel)\n"
        }
        let functions = assumed.filter { name in !data.contains { $0.contains("`\(name)`,") } }
        if !functions.isEmpty {
            text += "taken for C functions without a model: \(functions.joined(separator: ", "))\n"
        }
        if !off.isEmpty { text += "taken as off: \(off.joined(separator: ", "))\n" }
        if !absentFeatures.isEmpty {
            text += "features that no modelled processor has: \(absentFeatures.joined(separator: ", "))\n"
        }
        for note in notes { text += "note: \(note)\n" }
        for line in data { text += "data: \(line)\n" }
        for statement in notUnderstood { text += "not understood: \(statement)\n" }
        return text
    }

    /// For programs, without the table.
    package var json: JSON {
        func list(_ values: [String]) -> JSON { .array(values.map { .string($0) }) }
        return .object([
            JSON.Member("kernel", .string(kernel)), JSON.Member("read", list(read)),
            JSON.Member("missing", list(missing)), JSON.Member("not_understood", list(notUnderstood)),
            JSON.Member("assumed", list(assumed)), JSON.Member("off", list(off)),
            JSON.Member("data_without_model", list(data)),
            JSON.Member("absent_features", list(absentFeatures)), JSON.Member("notes", list(notes)),
        ])
    }
}

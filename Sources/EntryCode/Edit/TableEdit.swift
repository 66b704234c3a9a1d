/// One change of an entry table's document, or of a routine's text: pure data, as `defects/` holds it.
///
/// A place is a path of keys; a row of a list is named by what makes it unique: `entries/int3/create_gap`, `idt/3/ist`,
/// `xen/traps/int3/entry`, `xen/thunks/xenint3`, `options/SMAP`.
package enum TableEdit: Sendable, Hashable {
    /// Gives a member a value; the member may be new, the row that it belongs to may not.
    case set(place: String, value: JSON)
    /// Takes a member or a row away.
    case remove(place: String)
    /// Adds a row to a list: behind the one that is named, or at the end.
    case insert(place: String, row: JSON, after: String?)
    /// Replaces a piece of a routine's text. The piece must occur exactly `times` times.
    case replace(routine: String, form: RoutineForm, piece: String, by: String, times: Int)
    /// Writes a routine anew, or adds one.
    case write(routine: String, text: String)
}

/// Which text of a routine is edited.
package enum RoutineForm: String, Sendable, Hashable, CaseIterable {
    /// As the kernel's listing has it, macros included: the same on every platform.
    case source
    /// As `gatehouse listing` prints it: expanded, for all platforms in one. Stubs that a macro makes have no other form.
    case listing
}

/// An edit that cannot be applied.
package struct EditFault: Error, Sendable, Hashable {
    /// Stable, kebab-case.
    package var code: String
    package var message: String
}

extension TableReader {
    /// Reads a list of edits; every fault of it is noted with its pointer.
    package mutating func edits(_ value: JSON, _ place: String) -> [TableEdit] {
        var edits: [TableEdit] = []
        for (index, row) in (array(value, place, limit: 64) ?? []).enumerated() {
            if let edit = edit(row, "\(place)/\(index)") { edits.append(edit) }
        }
        return edits
    }

    private mutating func edit(_ row: JSON, _ place: String) -> TableEdit? {
        let kinds = ["set", "remove", "insert", "routine"]
        let present = kinds.filter { row[$0] != nil }
        guard row.objectValue != nil, let kind = present.first, present.count == 1 else {
            fault(place, "not-an-edit", "an edit has exactly one of the keys \(kinds.joined(separator: ", "))")
            return nil
        }
        switch kind {
        case "set":
            guard let keys = object(row, place, keys: ["set", "to"]) else { return nil }
            let path = string(keys["set"], place + "/set")
            let value = require(keys["to"], keys["to"] != nil, place, "to")
            guard let path, let value else { return nil }
            return .set(place: path, value: value)
        case "remove":
            guard let keys = object(row, place, keys: ["remove"]) else { return nil }
            return string(keys["remove"], place + "/remove").map { .remove(place: $0) }
        case "insert":
            guard let keys = object(row, place, keys: ["insert", "row", "after"]) else { return nil }
            let path = string(keys["insert"], place + "/insert")
            let after = string(keys["after"], place + "/after")
            let value = require(keys["row"], keys["row"] != nil, place, "row")
            guard let path, let value else { return nil }
            return .insert(place: path, row: value, after: after)
        default: return routineEdit(row, place)
        }
    }

    private mutating func routineEdit(_ row: JSON, _ place: String) -> TableEdit? {
        guard let keys = object(row, place, keys: ["routine", "text", "form", "replace", "by", "times"]),
            let name = symbol(keys["routine"], place + "/routine")
        else { return nil }
        if let whole = keys["text"] {
            if let key = ["form", "replace", "by", "times"].first(where: { keys[$0] != nil }) {
                fault(place + "/" + key, "contradiction", "a routine that is written anew has no piece to replace")
            }
            return text(whole, place + "/text").map { .write(routine: name, text: $0) }
        }
        var form = RoutineForm.source
        if let word = string(keys["form"], place + "/form") {
            if let known = RoutineForm(rawValue: word) {
                form = known
            } else {
                unknown(word, place + "/form", "form", among: RoutineForm.allCases.map(\.rawValue))
            }
        }
        let piece = require(keys["replace"], keys["replace"] != nil, place, "replace").flatMap {
            text($0, place + "/replace")
        }
        let by = require(keys["by"], keys["by"] != nil, place, "by").flatMap { text($0, place + "/by") }
        let times = integer(keys["times"], place + "/times", in: 1...64) ?? 1
        guard let piece, let by else { return nil }
        if piece.isEmpty { fault(place + "/replace", "empty", "there is nothing to look for") }
        return .replace(routine: name, form: form, piece: piece, by: by, times: Int(times))
    }

    /// A string as it is, or a list of whole lines.
    private mutating func text(_ value: JSON, _ place: String) -> String? {
        guard case .array(let lines) = value else {
            return string(value, place, limit_bytes: limits.routineText_bytes)
        }
        var result = ""
        for (index, line) in lines.enumerated() {
            guard let line = string(line, "\(place)/\(index)", limit_bytes: 4096) else { return nil }
            result += line + "\n"
        }
        return result
    }
}

import Assembler

/// Derives an entry table from a shipped one, change by change.
package struct TableEditor: Sendable {
    private let kernel: Kernel
    private let kernels: KernelLibrary
    private var whole: JSON

    /// Starts from the table that a kernel ships with.
    package init(_ kernel: Kernel, kernels: KernelLibrary = .shipped) {
        self.kernel = kernel
        self.kernels = kernels
        whole = kernel.document
    }

    /// Applies one edit; one that would change nothing is a fault, because it was written for something else.
    package mutating func apply(_ edit: TableEdit) throws(EditFault) {
        switch edit {
        case .set(let place, let value):
            try whole.change(TableEditor.path(place), place) { _ in value }
        case .remove(let place):
            try whole.change(TableEditor.path(place), place) { _ in nil }
        case .insert(let place, let row, let after):
            try whole.change(TableEditor.path(place), place) { (list) throws(EditFault) in
                guard case .array(var rows) = list ?? .array([]) else {
                    throw EditFault(code: "not-a-list", message: "'\(place)' is no list that a row could be added to")
                }
                var index = rows.count
                if let after {
                    guard let found = rows.firstIndex(where: { $0.isRow(after) }) else {
                        throw EditFault(code: "no-such-place", message: "'\(place)' has no row '\(after)'")
                    }
                    index = found + 1
                }
                rows.insert(row, at: index)
                return .array(rows)
            }
        case .write(let name, let text): try setRoutine(name, text)
        case .replace(let name, let form, let piece, let by, let times):
            let text = try routine(name, form)
            let found = TableEditor.count(piece, in: text)
            if found != times {
                throw EditFault(
                    code: "piece-count",
                    message:
                        "the piece occurs \(found) times in the \(form.rawValue) of '\(name)' of \(kernel.name), not \(times): \"\(TableEditor.shown(piece))\""
                )
            }
            try setRoutine(name, text.replacing(piece, with: by))
        }
    }

    /// A document that a user could submit: kernel and what differs from that kernel's own table.
    package func document(name: String, description: String) -> JSON {
        let standard = kernel.document
        var members: [JSON.Member] = [
            JSON.Member("name", .string(name)), JSON.Member("kernel", .string(kernel.name)),
            JSON.Member("description", .string(description)),
        ]
        if let source = standard["source"] { members.append(JSON.Member("source", source)) }
        for member in whole.objectValue ?? [] where standard[member.key] != member.value {
            switch member.key {
            case "options", "xen", "machine":
                let own = standard[member.key]
                let changed = (member.value.objectValue ?? []).filter { own?[$0.key] != $0.value }
                members.append(JSON.Member(member.key, .object(changed)))
            default: members.append(member)
            }
        }
        return .object(members)
    }

    // MARK: Routines

    private mutating func setRoutine(_ name: String, _ text: String) throws(EditFault) {
        try whole.change(["routines", name], "routines/\(name)") { _ in .string(text) }
    }

    private func routine(_ name: String, _ form: RoutineForm) throws(EditFault) -> String {
        // What an earlier edit made of it.
        if let own = whole["routines"]?[name]?.stringValue { return own }
        switch form {
        case .source:
            if let text = kernel.generation.source(of: name) { return text }
            throw EditFault(
                code: "no-source",
                message:
                    "'\(name)' does not stand between ENTRY and END in a listing of \(kernel.name); a stub that a macro makes has the form 'listing'"
            )
        case .listing:
            let listing: TableListing
            do throws(TableFaults) {
                let table = try EntryTable.read(whole, kernels: kernels)
                do throws(InvalidConfiguration) {
                    listing = try table.listing(kernels: kernels)
                } catch {
                    throw TableFaults(faults: error.findings.map { TableFault($0.pointer, $0.rule, $0.message) })
                }
            } catch {
                throw EditFault(
                    code: "not-expanded",
                    message: "the table cannot be listed: \(error.faults.first?.message ?? "of no known reason")")
            }
            guard let text = listing.text(of: name) else {
                throw EditFault(code: "no-such-routine", message: "there is no routine '\(name)'")
            }
            return text
        }
    }

    private static func count(_ piece: String, in text: String) -> Int {
        var count = 0
        var rest = text[...]
        while let range = rest.firstRange(of: piece) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }

    private static func shown(_ piece: String) -> String {
        let line = piece.replacing("\n", with: "\\n").replacing("\t", with: "\\t")
        return line.count > 80 ? line.prefix(77) + "..." : line
    }

    private static func path(_ place: String) -> [String] { place.split(separator: "/").map(String.init) }
}

extension Generation {
    /// The text of a routine as a listing has it, from `ENTRY(name)` to `END(name)`; nil where none has.
    package func source(of name: String) -> String? {
        for listing in listings {
            let text = String(decoding: listing.text, as: UTF8.self)
            guard let start = text.firstRange(of: "\nENTRY(\(name))"),
                let end = text[start.upperBound...].firstRange(of: "\nEND(\(name))")
            else { continue }
            return text[start.lowerBound..<end.upperBound].dropFirst() + "\n"
        }
        return nil
    }
}

extension EntryImage {
    /// The listing of one routine; nil where the image has no routine of that name.
    ///
    /// A routine that falls through ends where the next one begins.
    package func listing(ofRoutine name: String) -> String? {
        guard program.routines.contains(where: { $0.name == name }) else { return nil }
        var found: [Substring] = []
        for line in Assembler.listing(of: program).split(separator: "\n", omittingEmptySubsequences: false) {
            if found.isEmpty {
                if line.hasPrefix("ENTRY(\(name))\t#") || line.hasPrefix("\(name):\t#") { found.append(line) }
            } else if line.isEmpty || EntryImage.isHeader(line) {
                break
            } else {
                found.append(line)
                if line.hasPrefix("END(") { break }
            }
        }
        return found.isEmpty ? nil : found.joined(separator: "\n") + "\n"
    }

    private static func isHeader(_ line: Substring) -> Bool {
        line.hasPrefix("ENTRY(") || (!line.hasPrefix("\t") && line.contains(":\t# "))
    }
}

extension JSON {
    /// Whether it is the row that a name means: by its own text, or by the member that makes a row unique.
    fileprivate func isRow(_ name: String) -> Bool {
        if case .string(let text) = self { return text == name }
        for key in ["symbol", "vector", "native", "base"] {
            switch self[key] {
            case .string(let text): return text == name
            case .integer(let number): return String(number) == name
            default: continue
            }
        }
        return false
    }

    /// Changes the value at a path; nil takes it away.
    ///
    /// - Parameter place: The whole path, for messages.
    fileprivate mutating func change(
        _ path: [String], _ place: String, _ body: (JSON?) throws(EditFault) -> JSON?
    ) throws(EditFault) {
        guard let key = path.first else {
            throw EditFault(code: "no-such-place", message: "the document itself is no place for an edit")
        }
        let rest = Array(path.dropFirst())
        func changed(_ value: JSON?) throws(EditFault) -> JSON? {
            if rest.isEmpty {
                let new = try body(value)
                if new == value {
                    throw EditFault(code: "no-change", message: "the edit of '\(place)' changes nothing")
                }
                return new
            }
            // Sections that a table may lack are objects: routines, for one.
            var inner = value ?? .object([])
            try inner.change(rest, place, body)
            return inner
        }
        switch self {
        case .array(var rows):
            guard let index = rows.firstIndex(where: { $0.isRow(key) }) else {
                throw EditFault(code: "no-such-place", message: "there is no row '\(key)' for '\(place)'")
            }
            if let new = try changed(rows[index]) { rows[index] = new } else { rows.remove(at: index) }
            self = .array(rows)
        case .object(var members):
            if let index = members.firstIndex(where: { $0.key == key }) {
                if let new = try changed(members[index].value) {
                    members[index].value = new
                } else {
                    members.remove(at: index)
                }
            } else if let new = try changed(nil) {
                members.append(Member(key, new))
            }
            self = .object(members)
        default: throw EditFault(code: "no-such-place", message: "'\(place)' leads into \(kindName)")
        }
    }
}

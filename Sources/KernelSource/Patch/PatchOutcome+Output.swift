package import EntryCode

extension PatchOutcome {
    /// For programs.
    package var json: JSON {
        .object([
            JSON.Member("complete", .bool(isComplete)),
            JSON.Member(
                "summary",
                .object(
                    HunkOutcome.State.allCases.map {
                        JSON.Member($0.rawValue.replacing("-", with: "_"), .integer(Int64(count($0))))
                    })), JSON.Member("hunks", .array(hunks.map(\.json))),
            JSON.Member("notes", .array(notes.map { .string($0) })),
        ])
    }

    /// For people: a line per hunk, and what it did. Text from the input is in it as it came: escape it for a terminal.
    package var text: String {
        var text = ""
        let counts = HunkOutcome.State.allCases.filter { count($0) > 0 }.map { "\(count($0)) \($0.words)" }
        text += "patch: \(counts.isEmpty ? "no hunks" : counts.joined(separator: ", "))\n"
        let mails = Set(hunks.map(\.mail)).count
        for hunk in hunks {
            let place = mails > 1 ? "mail \(hunk.mail), line \(hunk.line)" : "line \(hunk.line)"
            text +=
                "  \(hunk.path.isEmpty ? "(no file named)" : hunk.path) \(hunk.header)\(hunk.header.isEmpty ? "" : " ")(\(place)): \(hunk.state.words)\n"
            if let reason = hunk.reason { text += "      \(reason)\n" }
            for change in hunk.changes { text += "      \(change)\n" }
            for note in hunk.notes { text += "      (\(note))\n" }
        }
        for note in notes { text += "  note: \(note)\n" }
        return text
    }
}

extension HunkOutcome.State {
    /// In words.
    package var words: String {
        switch self {
        case .notApplied: "not applied"
        case .notUnderstood: "not understood"
        default: rawValue
        }
    }
}

extension HunkOutcome {
    fileprivate var json: JSON {
        var members = [
            JSON.Member("path", .string(path)), JSON.Member("header", .string(header)),
            JSON.Member("mail", .integer(Int64(mail))), JSON.Member("line", .integer(Int64(line))),
            JSON.Member("state", .string(state.rawValue)),
        ]
        if let reason { members.append(JSON.Member("reason", .string(reason))) }
        members.append(JSON.Member("changes", .array(changes.map { .string($0) })))
        members.append(JSON.Member("notes", .array(notes.map { .string($0) })))
        return .object(members)
    }
}

package import EntryCode

/// Applies what people send to a table: patches, series, mails, replies.
package enum PatchApplication {
    /// - Parameters:
    ///   - input: A unified diff, a mail, an mbox, or text that quotes a patch.
    ///   - document: The whole document of a table, as `EntryTable.document` has it.
    package static func apply(
        _ input: [UInt8], form: Mail.Form? = nil, to document: JSON, kernels: KernelLibrary = .shipped,
        limits: SourceLimits = SourceLimits()
    ) -> PatchOutcome {
        let mails = Mail.read(input, form: form, limits: limits)
        let text = PatchReader.read(mails, limits: limits)
        let selection = PatchSelection(text, mails)
        var outcome = PatchOutcome()
        outcome.notes = selection.notes
        let applied: (outcomes: [HunkOutcome], document: JSON?)
        if let tree = KernelTree(document: document) {
            let done = SourcePatch.apply(selection.hunks, to: tree, document, kernels: kernels)
            applied = (done.outcomes, done.document)
            outcome.notes += done.notes
        } else {
            applied = TablePatch.apply(selection.hunks, to: document)
        }
        outcome.hunks = applied.outcomes + selection.ignored + text.remarks.map { HunkOutcome($0) }
        outcome.document = applied.document?.canonical
        if text.hunks.isEmpty && text.remarks.isEmpty {
            outcome.notes.append("there is no hunk of a unified diff in this input" + reason(input))
        }
        return outcome
    }

    /// Why a text that people can read is none here.
    private static func reason(_ input: [UInt8]) -> String {
        let head = input.prefix(4096)
        if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF])
            || (head.count >= 64 && head.count { $0 == 0 } * 3 > head.count)
        {
            return ": it looks like UTF-16, which is not read; convert it to UTF-8"
        }
        if head.contains(Ascii.carriageReturn), !head.contains(Ascii.newline) {
            return ": its lines end with CR alone, which is not read; convert them to LF"
        }
        return ""
    }
}

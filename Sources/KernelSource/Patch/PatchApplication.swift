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
            outcome.notes.append("there is no hunk of a unified diff in this input")
        }
        return outcome
    }
}

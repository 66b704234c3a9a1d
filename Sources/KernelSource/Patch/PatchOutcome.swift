package import EntryCode

/// What became of one hunk.
package struct HunkOutcome: Sendable {
    package enum State: String, Sendable, Hashable, CaseIterable {
        case applied
        /// It has nothing to do with the entry code, or is here twice.
        case ignored
        /// It is understood, but what it wants to change is not there.
        case notApplied = "not-applied"
        case notUnderstood = "not-understood"
    }

    package var path: String
    package var header: String
    /// Number of the mail, from 1, and of the line in its text.
    package var mail: Int
    package var line: Int
    package var state: State
    /// Why it was ignored or not applied.
    package var reason: String?
    /// What it did to the table or the file.
    package var changes: [String] = []
    /// What was done to make it fit, and what is wrong with it.
    package var notes: [String] = []

    init(_ hunk: Hunk, _ state: State, _ reason: String? = nil) {
        path = hunk.path
        header = hunk.header
        mail = hunk.mail + 1
        line = hunk.line
        self.state = state
        self.reason = reason
    }

    /// A loss that has no hunk.
    init(_ remark: PatchRemark) {
        path = remark.path
        header = ""
        mail = remark.mail + 1
        line = remark.line
        state = remark.isLoss ? .notUnderstood : .ignored
        reason = remark.text
    }
}

/// What a patch did to a table.
package struct PatchOutcome: Sendable {
    package var hunks: [HunkOutcome] = []
    /// About the input as a whole.
    package var notes: [String] = []
    /// The table with the patch; nil where nothing of it was applied.
    package var document: JSON?

    package init() {}

    /// Every hunk was applied, or has nothing to do with the entry code.
    package var isComplete: Bool { hunks.allSatisfy { $0.state == .applied || $0.state == .ignored } }

    package func count(_ state: HunkOutcome.State) -> Int { hunks.count { $0.state == state } }
}

/// One `@@ … @@` of a unified diff, as it was found.
package struct Hunk: Sendable {
    package enum LineKind: Sendable, Hashable { case context, removed, added }

    package struct Line: Sendable {
        package var kind: LineKind
        package var text: ArraySlice<UInt8>
    }

    /// Path below the root of the tree; empty where no file header was seen.
    package var path = ""
    /// The path of before, where the patch renames.
    package var oldPath: String?
    package var isNewFile = false
    package var isDeletedFile = false
    package var oldStart = 0
    package var oldCount = 0
    package var newStart = 0
    package var newCount = 0
    /// What stands behind the second `@@`.
    package var section = ""
    package var lines: [Line] = []
    /// Marks of quotation in front of its lines.
    package var quoteDepth = 0
    /// Number of the mail, from 0, and of the line in its text, from 1.
    package var mail = 0
    package var line = 0
    /// Why its lines are fewer or others than its header says; nil where they are not.
    package var damage: String?

    /// `@@ -1176,7 +1176,6 @@`.
    package var header: String { "@@ -\(range(oldStart, oldCount)) +\(range(newStart, newCount)) @@" }

    private func range(_ start: Int, _ count: Int) -> String { count == 1 ? "\(start)" : "\(start),\(count)" }

    func text(of kinds: [LineKind]) -> [ArraySlice<UInt8>] {
        lines.filter { kinds.contains($0.kind) }.map(\.text)
    }
}

/// Something of a patch that is no hunk: a binary file, a rename without a change.
package struct PatchRemark: Sendable, Hashable {
    package var path: String
    package var mail: Int
    package var line: Int
    /// It is part of the patch, and it is missing from what was read.
    package var isLoss: Bool
    package var text: String
}

/// Everything that was found in the texts of some mails.
package struct PatchText: Sendable {
    package var hunks: [Hunk] = []
    package var remarks: [PatchRemark] = []
    /// More hunks than the limit; the rest was not read.
    package var isCut = false
}

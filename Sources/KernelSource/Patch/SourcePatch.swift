import EntryCode

/// A patch for a table that keeps its sources: the files change, and the table is read from them anew.
enum SourcePatch {
    static func apply(
        _ hunks: [Hunk], to tree: KernelTree, _ document: JSON, kernels: KernelLibrary
    ) -> (outcomes: [HunkOutcome], document: JSON?) {
        ([], nil)
    }
}

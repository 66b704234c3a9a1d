package import EntryCode

/// The files of a kernel tree that entry code is made of.
package struct KernelTree: Sendable {
    /// Path below the root of the tree, and text.
    package var files: [(path: String, text: [UInt8])] = []

    package init() {}

    /// The sources that a table keeps; nil for a table without.
    package init?(document: JSON) {
        guard let members = document["sources"]?["files"]?.objectValue, !members.isEmpty else { return nil }
        files = members.compactMap { member in
            member.value.stringValue.map { (member.key, Array($0.utf8)) }
        }
    }
}

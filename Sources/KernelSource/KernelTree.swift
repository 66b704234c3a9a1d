import Assembler
package import EntryCode

/// The files of a kernel tree that entry code is made of.
package struct KernelTree: Sendable {
    /// Path below the root of the tree, and text; in the order of their paths.
    package private(set) var files: [(path: String, text: [UInt8])] = []
    /// Files that were given and have no say: not kept.
    package private(set) var ignored: [String] = []

    /// What the Makefile at the root says that the kernel is.
    package private(set) var release: KernelRelease?

    package init() {}

    /// The sources that a table keeps; nil for a table without.
    package init?(document: JSON) {
        guard let members = document["sources"]?["files"]?.objectValue, !members.isEmpty else { return nil }
        for member in members {
            if let text = member.value.stringValue { set(member.key, Array(text.utf8)) }
        }
        release = document["sources"]?["release"]?.stringValue.flatMap { KernelRelease($0) }
    }

    package func text(_ path: String) -> [UInt8]? { files.first { $0.path == path }?.text }

    /// Replaces a file, or adds it.
    package mutating func set(_ path: String, _ text: [UInt8]) {
        if let index = files.firstIndex(where: { $0.path == path }) {
            files[index].text = text
        } else {
            let index = files.firstIndex { $0.path > path } ?? files.count
            files.insert((path, text), at: index)
        }
    }

    package mutating func remove(_ path: String) { files.removeAll { $0.path == path } }

    /// Takes a file of a directory, an archive or an upload, if the entry code needs it; a path may have a root in front of it.
    ///
    /// - Returns: false where the name leads out of the tree.
    @discardableResult
    package mutating func add(_ name: String, _ text: [UInt8]) -> Bool {
        guard KernelFile.isSafe(name) else { return false }
        if KernelFile.isMakefile(name) {
            release = release ?? KernelFile.release(text)
            return true
        }
        guard let path = KernelTree.wanted(name) else {
            if ignored.count < 256 { ignored.append(name) }
            return true
        }
        set(path, text)
        return true
    }

    /// The path below the root of the tree of a file that is read; nil for all others. A bare `entry_64.S` means the one.
    package static func wanted(_ name: String) -> String? {
        for path in KernelFile.all where name == path || name.hasSuffix("/" + path) { return path }
        if name.contains("/") { return nil }
        let candidates = KernelFile.all.filter { $0.hasSuffix("/" + name) }
        // Two files may have had one name over the years: the newer path comes first.
        return candidates.first
    }
}

/// A tree made into a table, and what there is to say about it.
package struct TreeImport: Sendable {
    package var document: JSON
    /// The generation that gives what the tree does not: `linux-6.1`.
    package var kernel: String
    /// Files that were read, and those that are missing.
    package var read: [String] = []
    package var missing: [String] = []
    /// What was not understood: `file:line:column: message`.
    package var notUnderstood: [String] = []
    /// Symbols that are taken for C functions without a model.
    package var assumed: [String] = []
    /// Symbols of data without a model: `file:line:column: message`.
    package var data: [String] = []
    /// Kconfig symbols that are taken as off, and features that no modelled processor has.
    package var off: [String] = []
    package var absentFeatures: [String] = []
    package var notes: [String] = []
}

/// Why a tree cannot be read.
package struct TreeFault: Error, Sendable, Hashable {
    /// Stable, kebab-case.
    package var code: String
    package var message: String
}

import ArgumentParser
import EntryCode
import Glibc
import KernelSource
import Reports

struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make an entry table of a kernel tree: its own entry code, its own tables.",
        discussion: """
            Prints the table, to be checked, patched or submitted; what was read, what is missing and what was not \
            understood goes to standard error. Files that the directory lacks are taken from the shipped generation.
            """)

    @Argument(help: "The root of a kernel tree, or a directory with some of its files.")
    var directory: String

    @Option(help: ArgumentHelp("A choice of Kconfig: CONFIG_X=y or CONFIG_X=n; may be repeated.", valueName: "choice"))
    var option: [String] = []

    @Option(
        help: ArgumentHelp(
            "The shipped kernel that gives what is missing; otherwise the one it looks like.", valueName: "name"))
    var kernel: String?

    @Option(help: ArgumentHelp("A name for the table.", valueName: "name"))
    var name: String?

    @Flag(help: "Only say what was read and what was not understood; print no table.")
    var report = false

    @OptionGroup var source: KernelOptions

    func run() throws {
        let library = try source.library()
        var config: [String: Bool] = [:]
        for choice in option {
            guard let (symbol, value) = KconfigChoice.read(choice) else {
                throw ValidationError("'\(choice)' is no choice; write CONFIG_X=y or CONFIG_X=n")
            }
            config[symbol] = value
        }
        if let name, !EntryTable.isReferenceName(name) { throw ValidationError("'\(name)' is no name for a table") }
        let tree = try readTree(directory)
        let made: TreeImport
        do throws(TreeFault) {
            made = try tree.makeTable(kernel: kernel, config: config, kernels: library)
        } catch {
            throw CommandError("\(directory): \(error.message)")
        }
        writeError(made.text)
        if report { return }
        var document = made.document
        if let name, case .object(let members) = document {
            document = .object([JSON.Member("name", .string(name))] + members)
        }
        try writeOutput(document.prettyBytes)
    }
}

/// The files of the entry code below a directory; links are not followed, neither to files nor to directories.
private func readTree(_ directory: String) throws -> KernelTree {
    let names = try namesInFolder(directory)
    let root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if root < 0 { throw CommandError("\(directory): \(String(cString: strerror(errno)))") }
    defer { close(root) }
    var tree = KernelTree()
    var told: Set<String> = []
    for path in KernelFile.all + [KernelFile.makefile] {
        // A tree from its root, or the files beside each other.
        let bare = path.split(separator: "/").last.map(String.init) ?? path
        let candidates = names.contains("arch") || !names.contains(bare) ? [path] : [path, bare]
        for name in candidates where tree.text(path) == nil {
            guard let text = try readFile(name, below: root, directory, &told) else { continue }
            if name == path || KernelTree.wanted(name) == path { tree.add(path, text) }
        }
    }
    return tree
}

/// A regular file below an open directory, step by step; nil where there is none.
private func readFile(_ name: String, below root: Int32, _ directory: String, _ told: inout Set<String>) throws
    -> [UInt8]?
{
    var folder = root
    defer { if folder != root { close(folder) } }
    var sofar = directory
    let parts = name.split(separator: "/").map(String.init)
    for (index, part) in parts.enumerated() {
        sofar += "/" + part
        let isFile = index == parts.count - 1
        // Without O_NONBLOCK a FIFO would be waited for.
        let flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (isFile ? 0 : O_DIRECTORY)
        let descriptor = openat(folder, part, flags)
        if descriptor < 0 {
            let error = errno
            var state = stat()
            let isLink = fstatat(folder, part, &state, AT_SYMLINK_NOFOLLOW) == 0 && state.st_mode & S_IFMT == S_IFLNK
            if isLink, told.insert(sofar).inserted { writeError("\(sofar): a link, not followed\n") }
            if !isLink, error != ENOENT, error != ENOTDIR {
                throw CommandError("\(sofar): \(String(cString: strerror(error)))")
            }
            return nil
        }
        if folder != root { close(folder) }
        folder = descriptor
        var state = stat()
        if isFile, fstat(descriptor, &state) != 0 || state.st_mode & S_IFMT != S_IFREG {
            throw CommandError("\(sofar): not a regular file")
        }
    }
    return try readAll(folder, sofar, limit_bytes: SourceLimits().file_bytes)
}

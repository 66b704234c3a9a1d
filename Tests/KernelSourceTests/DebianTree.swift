import Foundation
import KernelSource
import Testing

/// Files of Debian's package linux-source-6.1, unpacked once below `.build`; no text of them is in the repository.
enum DebianTree {
    static let archive = "/usr/src/linux-source-6.1.tar.xz"
    static var isAvailable: Bool { FileManager.default.fileExists(atPath: archive) }

    static let files = [
        "arch/x86/entry/calling.h", "arch/x86/entry/entry_64.S", "arch/x86/entry/entry_64_compat.S",
        "arch/x86/include/asm/idtentry.h", "arch/x86/kernel/idt.c", "arch/x86/xen/enlighten_pv.c",
        "arch/x86/xen/xen-asm.S",
    ]

    /// The root of the tree; unpacking takes some seconds.
    static let root: URL? = {
        let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let folder = package.appending(path: ".build/linux-source-6.1")
        let manager = FileManager.default
        func isWhole() -> Bool { files.allSatisfy { manager.fileExists(atPath: folder.appending(path: $0).path) } }
        if isWhole() { return folder }
        try? manager.createDirectory(at: folder, withIntermediateDirectories: true)
        let status = try? run(
            "/usr/bin/tar",
            ["xf", archive, "-C", folder.path, "--strip-components=1"] + files.map { "linux-source-6.1/" + $0 })
        return status?.status == 0 && isWhole() ? folder : nil
    }()

    static func tree() throws -> KernelTree {
        let root = try #require(root)
        var tree = KernelTree()
        for file in files { tree.add(file, [UInt8](try Data(contentsOf: root.appending(path: file)))) }
        return tree
    }

    static func run(_ program: String, _ arguments: [String], in folder: URL? = nil) throws -> (
        status: Int32, output: Data
    ) {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.currentDirectoryURL = folder
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }

    /// A patch made by `diff -u` of the tree and a copy in which a text of one file is another, as a mail.
    static func mail(_ subject: String, _ file: String, replacing piece: String, with other: String) throws -> [UInt8] {
        let root = try #require(root)
        let text = String(decoding: try Data(contentsOf: root.appending(path: file)), as: UTF8.self)
        #expect(text.contains(piece), "\(file) is not what this test knows")
        let manager = FileManager.default
        let folder = manager.temporaryDirectory.appending(path: "gatehouse-\(UUID().uuidString)")
        defer { try? manager.removeItem(at: folder) }
        for (name, content) in [("a", text), ("b", text.replacing(piece, with: other, maxReplacements: 1))] {
            let path = folder.appending(path: name).appending(path: file)
            try manager.createDirectory(at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(content.utf8).write(to: path)
        }
        let diff = try run("/usr/bin/diff", ["-u", "a/" + file, "b/" + file], in: folder)
        #expect(diff.status == 1)
        let head = "From: A Developer <developer@example.org>\nSubject: [PATCH] \(subject)\n\n\(subject).\n---\n"
        return Array(head.utf8) + [UInt8](diff.output)
    }
}

import PackagePlugin

/// Turns a folder of text into Swift: `migrations/*.sql` for `Store`, `kernels/**` for `EntryCode`, `defects/*.json` for
/// `Verification`.
///
/// The generated file declares `enum EmbeddedFiles { static let all: [(path: StaticString, text: StaticString)] }`.
@main
struct EmbedFiles: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let folder: String
        switch target.name {
        case "Store": folder = "migrations"
        case "EntryCode": folder = "kernels"
        case "Verification": folder = "defects"
        default:
            Diagnostics.error("no folder to embed is known for target \(target.name)")
            return []
        }
        let root = context.package.directoryURL.appending(path: folder)
        let output = context.pluginWorkDirectoryURL.appending(path: "EmbeddedFiles.swift")
        return [
            .buildCommand(
                displayName: "Embedding \(folder)",
                executable: try context.tool(named: "embed-files").url,
                arguments: [root.path, output.path],
                inputFiles: Self.files(below: root),
                outputFiles: [output])
        ]
    }
}

import Foundation

extension EmbedFiles {
    /// Every regular file below a folder, so that a change to one of them rebuilds the target.
    static func files(below folder: URL) -> [URL] {
        guard let walk = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: [.isRegularFileKey])
        else {
            return []
        }
        var found: [URL] = []
        for case let file as URL in walk where !file.hasDirectoryPath { found.append(file) }
        return found.sorted { $0.path < $1.path }
    }
}

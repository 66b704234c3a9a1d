import EntryCode
import Foundation
import KernelSource
import Testing

/// A file of `Fixtures`.
func fixture(_ name: String) throws -> [UInt8] {
    let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures")
    return [UInt8](try Data(contentsOf: folder.appending(path: name)))
}

/// The whole document of a shipped table.
func shipped(_ name: String) throws -> JSON {
    let kernel = try #require(KernelLibrary.shipped.kernel(named: name))
    return try EntryTable.read(kernel.document).document
}

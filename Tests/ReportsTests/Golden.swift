import Foundation
import Testing

/// Compares with a file of `Golden/`; a file that is not there, or `RECORD_GOLDEN=1`, writes it and fails.
func expectGolden(_ text: String, _ name: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden")
    let file = folder.appendingPathComponent(name)
    let isRecording = ProcessInfo.processInfo.environment["RECORD_GOLDEN"] == "1"
    guard !isRecording, let expected = try? String(contentsOf: file, encoding: .utf8) else {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
        Issue.record("recorded Golden/\(name); read it, then run again", sourceLocation: sourceLocation)
        return
    }
    if text == expected { return }
    let new = text.split(separator: "\n", omittingEmptySubsequences: false)
    let old = expected.split(separator: "\n", omittingEmptySubsequences: false)
    let line = zip(new, old).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(new.count, old.count)
    Issue.record(
        "Golden/\(name) differs at line \(line + 1): now '\(line < new.count ? new[line] : "")', was '\(line < old.count ? old[line] : "")'",
        sourceLocation: sourceLocation)
}

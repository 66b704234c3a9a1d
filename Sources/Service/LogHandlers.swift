import EntryCode
import Foundation
package import Logging
import Synchronization

/// Writes one JSON object per line to standard error.
package struct JSONLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var logLevel = Logger.Level.info
    private let label: String
    private let write: @Sendable ([UInt8]) -> Void

    package init(label: String, write: @escaping @Sendable ([UInt8]) -> Void = JSONLogHandler.toStandardError) {
        self.label = label
        self.write = write
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var members = [
            JSON.Member("time", .string(GatehouseService.now().rfc3339)),
            JSON.Member("level", .string(event.level.rawValue)),
            JSON.Member("message", .string("\(event.message)")),
        ]
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            members.append(JSON.Member(key, .string("\(value)")))
        }
        write(JSON.object(members).bytes + [0x0A])
    }

    /// One call per line, so that lines of several threads do not mix.
    @Sendable package static func toStandardError(_ line: [UInt8]) {
        _ = line.withUnsafeBytes { Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

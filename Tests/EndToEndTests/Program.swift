import Foundation
import Testing

/// The built program, as a user starts it.
enum Program {
    /// Next to the test bundle, where the build puts every product.
    static let path: String = {
        let bundle = URL(fileURLWithPath: CommandLine.arguments.first ?? "").resolvingSymlinksInPath()
        var folders = [bundle.deletingLastPathComponent()]
        // With another runner, the bundle is an argument.
        for argument in CommandLine.arguments where argument.contains(".xctest") {
            folders.append(URL(fileURLWithPath: argument).resolvingSymlinksInPath().deletingLastPathComponent())
        }
        folders.append(Bundle.main.bundleURL)
        folders.append(Bundle.main.bundleURL.deletingLastPathComponent())
        let candidates = folders.map { $0.appendingPathComponent("gatehouse").path }
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? candidates[0]
    }()

    /// What a finished command left.
    struct Outcome {
        var status: Int32
        var output: [UInt8]
        var errors: String
        var text: String { String(decoding: output, as: UTF8.self) }
    }

    /// Runs a command to its end; a death by a signal counts as status 128 and the signal.
    static func run(
        _ arguments: [String], executable: String = path, input: [UInt8] = [], environment: [String: String] = [:]
    ) throws -> Outcome {
        let folder = try Folder()
        let files = ["in", "out", "err"].map { folder.url.appendingPathComponent($0) }
        try Data(input).write(to: files[0])
        for file in files.dropFirst() { try Data().write(to: file) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = try FileHandle(forReadingFrom: files[0])
        process.standardOutput = try FileHandle(forWritingTo: files[1])
        process.standardError = try FileHandle(forWritingTo: files[2])
        try process.run()
        process.waitUntilExit()
        let died = process.terminationReason == .uncaughtSignal
        return Outcome(
            status: (died ? 128 : 0) + process.terminationStatus, output: [UInt8](try Data(contentsOf: files[1])),
            errors: String(decoding: try Data(contentsOf: files[2]), as: UTF8.self))
    }
}

/// A folder that goes with the test.
final class Folder: Sendable {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-end-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }
}

/// A started `gatehouse serve`; killed when it is dropped.
final class RunningServer: @unchecked Sendable {
    private let process = Process()
    let port: Int
    /// Everything that it listens on.
    let addresses: [String]

    /// Starts the service and waits until it says where it listens.
    ///
    /// - Parameters:
    ///   - listens: False where the options say what to listen on.
    ///   - errors: A file for its log.
    init(
        database: URL, _ options: [String] = [], listens: Bool = true, environment: [String: String] = [:],
        errors: String? = nil, program: String = Program.path
    ) throws {
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments =
            ["serve", "--database", database.path] + (listens ? ["--listen", "127.0.0.1:0"] : []) + options
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        if let errors {
            try Data().write(to: URL(fileURLWithPath: errors))
            process.standardError = FileHandle(forWritingAtPath: errors)
        }
        process.standardInput = FileHandle.nullDevice
        try process.run()
        var said = ""
        // The line about tokens is the last.
        while !said.contains("database ") {
            let data = output.fileHandleForReading.availableData
            if data.isEmpty { break }
            said += String(decoding: data, as: UTF8.self)
        }
        addresses = said.split(separator: "\n").filter { $0.hasPrefix("listening on ") }.map {
            String($0.dropFirst(13))
        }
        let line = said.prefix { $0 != "\n" }
        port = try #require(Int(line.split(separator: ":").last ?? ""), "the service said: \(said)")
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
    }

    var isRunning: Bool { process.isRunning }

    /// Ends the process at once, as a crash or a power cut of the process would.
    func killNow() {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// Asks for a stop.
    func terminate() { signal(SIGTERM) }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    var identifier: Int32 { process.processIdentifier }

    /// Waits for the end; the exit code, 128 and the signal after a death.
    func wait() -> Int32 {
        process.waitUntilExit()
        return (process.terminationReason == .uncaughtSignal ? 128 : 0) + process.terminationStatus
    }

    /// What curl got: status 0 where no answer came.
    struct Answer: Sendable {
        var status: Int
        var head: String
        var body: [UInt8]
        var text: String { String(decoding: body, as: UTF8.self) }

        func field(_ name: String) -> String? {
            head.split(whereSeparator: \.isNewline).first { $0.lowercased().hasPrefix(name + ":") }
                .map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) }
        }
    }

    /// Sends a request with the real curl.
    func curl(_ path: String, post body: [UInt8]? = nil, _ extra: [String] = []) throws -> Answer {
        let folder = try Folder()
        let head = folder.url.appendingPathComponent("head")
        var arguments = [
            "-sS", "--noproxy", "*", "--max-time", "120", "--http2-prior-knowledge", "--path-as-is", "--globoff",
            "-D", head.path,
        ]
        if body != nil { arguments += ["-H", "Content-Type: application/json", "--data-binary", "@-"] }
        let outcome = try Program.run(
            arguments + extra + ["http://127.0.0.1:\(port)\(path)"], executable: "/usr/bin/curl", input: body ?? [])
        let seen = (try? String(contentsOf: head, encoding: .utf8)) ?? ""
        let status = seen.hasPrefix("HTTP/2 ") && outcome.status == 0 ? Int(seen.dropFirst(7).prefix(3)) ?? 0 : 0
        return Answer(status: status, head: seen, body: outcome.output)
    }
}

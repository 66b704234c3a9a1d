import EntryCode
import Foundation
import HTTPTypes
import HTTPWire
import Testing

@testable import API

/// What a client gets back, the same whatever carried it.
struct Reply: Sendable {
    var status: Int
    /// Names in lower case.
    var fields: [String: String]
    var body: [UInt8]

    /// The body as text.
    var text: String { String(decoding: body, as: UTF8.self) }

    /// The body as JSON; nil where it is not.
    var json: JSON? { try? JSON.parse(body, limits: JSONLimits.ofAnswers).value }
}

/// A client of the interface.
protocol APIClient: Sendable {
    /// Sends one request and waits for its answer.
    func send(
        _ method: String, _ path: String, _ fields: [(name: String, value: String)], _ body: [UInt8]
    ) throws -> Reply
}

/// Asks the application itself: no bytes, no sockets.
struct RouterClient: APIClient {
    let application: Application

    func send(
        _ method: String, _ path: String, _ fields: [(name: String, value: String)], _ body: [UInt8]
    ) throws -> Reply {
        var head = HTTPRequest(
            method: try #require(HTTPRequest.Method(rawValue: method)), scheme: "http", authority: "test", path: path)
        for field in fields {
            head.headerFields.append(HTTPField(name: try #require(HTTPField.Name(field.name)), value: field.value))
        }
        let (response, answer) = application.answer(
            IncomingRequest(head: head, body: body, peer: PeerAddress(host: "127.0.0.1", port: 1)))
        var seen: [String: String] = [:]
        for field in response.headerFields { seen[field.name.canonicalName] = field.value }
        return Reply(status: response.status.code, fields: seen, body: answer)
    }
}

/// Asks a live service over HTTP/2, with the client that people use.
struct CurlClient: APIClient {
    let port: UInt16

    func send(
        _ method: String, _ path: String, _ fields: [(name: String, value: String)], _ body: [UInt8]
    ) throws -> Reply {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-api-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let head = folder.appendingPathComponent("head")
        let answer = folder.appendingPathComponent("answer")
        var arguments = [
            "-sS", "--noproxy", "*", "--max-time", "60", "--http2-prior-knowledge", "--path-as-is", "--globoff",
            "-D", head.path, "-o", answer.path,
        ]
        arguments += method == "HEAD" ? ["--head"] : ["-X", method]
        if !body.isEmpty || method == "POST" {
            let content = folder.appendingPathComponent("content")
            try Data(body).write(to: content)
            // Without a type of its own, curl would call it a form.
            arguments += ["--data-binary", "@\(content.path)"]
            if !fields.contains(where: { $0.name.lowercased() == "content-type" }) {
                arguments += ["-H", "Content-Type:"]
            }
        }
        for field in fields { arguments += ["-H", "\(field.name): \(field.value)"] }
        if !fields.contains(where: { $0.name.lowercased() == "accept" }) { arguments += ["-H", "Accept:"] }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
        process.arguments = arguments + ["http://127.0.0.1:\(port)\(path)"]
        let errors = Pipe()
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let complaint = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "curl: \(String(decoding: complaint, as: UTF8.self))")
        let lines = try String(contentsOf: head, encoding: .utf8).split(whereSeparator: \.isNewline)
        // Interim responses stand before the final one.
        let first = try #require(lines.lastIndex { $0.hasPrefix("HTTP/2 ") })
        var seen: [String: String] = [:]
        for line in lines[(first + 1)...] {
            guard let colon = line.firstIndex(of: ":") else { continue }
            seen[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        return Reply(
            status: try #require(Int(lines[first].dropFirst(7).prefix(3))), fields: seen,
            body: method == "HEAD" ? [] : [UInt8]((try? Data(contentsOf: answer)) ?? Data()))
    }
}

/// Compresses with the tool that people use.
func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-gzip-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: file) }
    try Data(bytes).write(to: file)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/gzip")
    process.arguments = ["-c", "-n", file.path]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let compressed = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    return [UInt8](compressed)
}

extension JSONLimits {
    /// Answers are larger than what the service reads.
    static var ofAnswers: JSONLimits {
        var limits = JSONLimits()
        limits.size_bytes = 64 << 20
        limits.values = 4_000_000
        return limits
    }
}

extension JSON {
    /// The value at a JSON pointer without escapes; nil where there is none.
    func at(_ pointer: String) -> JSON? {
        var value = self
        for part in pointer.split(separator: "/") {
            let next: JSON? =
                if let index = Int(part), let elements = value.arrayValue {
                    elements.indices.contains(index) ? elements[index] : nil
                } else { value[String(part)] }
            guard let next else { return nil }
            value = next
        }
        return value
    }

    /// Text at a pointer.
    func text(_ pointer: String) -> String? { at(pointer)?.stringValue }
}

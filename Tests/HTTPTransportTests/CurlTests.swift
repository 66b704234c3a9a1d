import Foundation
import HTTPTypes
import HTTPWire
import Testing

@testable import HTTPTransport

/// The client that people use, where it is installed.
@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/curl")))
struct CurlTests {
    private func curl(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
        process.arguments = ["-sS", "--noproxy", "*", "--max-time", "20"] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }

    private func echo() throws -> ServerHarness {
        try ServerHarness(limits: { $0.wire.requestBodyBytes = 2_000_000 }) { request, responder in
            responder.respond(
                HTTPResponse(status: .ok),
                body: .bytes(Array("\(request.head.method) \(request.head.path ?? "") \(request.body.count)\n".utf8)))
        }
    }

    @Test func curlGetsAndPosts() throws {
        let harness = try echo()
        let url = "http://127.0.0.1:\(harness.port)"
        let get = try curl(["--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", url + "/a?b=c"])
        #expect(get.output == "GET /a?b=c 0\n2 200")
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(count: 1_500_000).write(to: file)
        let post = try curl(["--http2-prior-knowledge", "--data-binary", "@\(file.path)", url + "/up"])
        #expect(post.output == "POST /up 1500000\n")
    }

    @Test func curlIsToldThatItsBodyIsTooLarge() throws {
        let harness = try echo()
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(count: 3_000_000).write(to: file)
        let post = try curl([
            "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@\(file.path)",
            "http://127.0.0.1:\(harness.port)/",
        ])
        #expect(post.output.contains("413"))
    }

    /// Whatever a client speaks first, the answer is the same.
    @Test func curlSpeaksWhatItLikes() throws {
        let harness = try echo()
        let url = "http://127.0.0.1:\(harness.port)"
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(count: 1_500_000).write(to: file)
        for (flags, version) in [
            ([], "1.1"), (["--http1.1"], "1.1"), (["--http1.0"], "1.1"), (["--http2"], "1.1"),
            (["--http2-prior-knowledge"], "2"),
        ] {
            let get = try curl(flags + ["-w", "%{http_version} %{http_code}", url + "/a?b=c"])
            #expect(get.status == 0)
            #expect(get.output == "GET /a?b=c 0\n\(version) 200", "\(flags)")
            // Large enough for curl to expect an invitation, and in chunks.
            for chunked in [[], ["-H", "Transfer-Encoding: chunked"]] where flags != ["--http1.0"] || chunked.isEmpty {
                let post = try curl(flags + chunked + ["--data-binary", "@\(file.path)", url + "/up"])
                #expect(post.output == "POST /up 1500000\n", "\(flags) \(chunked)")
            }
            // curl 7.88.1 fails its own second request of a connection with prior knowledge, with nghttpd as well.
            if flags == ["--http2-prior-knowledge"] { continue }
            let several = try curl(flags + [url + "/1", url + "/2", url + "/3"])
            #expect(several.output == "GET /1 0\nGET /2 0\nGET /3 0\n")
        }
    }
}

import Foundation
import HTTPTestSupport
import HTTPTypes
import HTTPWire
import Testing

@testable import HTTPTransport

/// Certificates of this test run, made with the tool that people use.
final class Certificates: Sendable {
    let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("gatehouse-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try make("server")
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    /// A certificate that signs itself, for the loopback address.
    func make(_ name: String) throws {
        let made = try Certificates.run(
            "/usr/bin/openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=\(name)", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path("\(name).key"), "-out",
                path("\(name).pem"),
            ])
        try #require(made.status == 0, "\(made.output)")
    }

    var files: TLSFiles { TLSFiles(certificate: path("server.pem"), key: path("server.key")) }

    static func run(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }
}

@Suite struct TLSTests {
    private let certificates: Certificates

    init() throws { certificates = try Certificates() }

    private func echo(_ files: TLSFiles? = nil, _ limits: (inout TransportLimits) -> Void = { _ in }) throws
        -> ServerHarness
    {
        try ServerHarness(tls: files ?? certificates.files, limits: limits) { request, responder in
            if request.head.path == "/large" {
                responder.respond(HTTPResponse(status: .ok), body: .bytes([UInt8](repeating: 65, count: 5_000_000)))
                return
            }
            let line = "\(request.head.method) \(request.head.scheme ?? "") \(request.body.count)\n"
            responder.respond(HTTPResponse(status: .ok), body: .bytes(Array(line.utf8)))
        }
    }

    private func curl(_ arguments: [String], trusting name: String = "server") throws -> (status: Int32, output: String)
    {
        try Certificates.run(
            "/usr/bin/curl",
            ["-sS", "--noproxy", "*", "--max-time", "20", "--cacert", certificates.path("\(name).pem")] + arguments)
    }

    @Test func bothProtocolsAreNegotiated() throws {
        let harness = try echo()
        let url = "https://127.0.0.1:\(harness.port)/"
        for (flags, version) in [
            ([], "2"), (["--http1.1"], "1.1"), (["--no-alpn"], "1.1"), (["--tls-max", "1.2"], "2"),
        ] {
            let get = try curl(flags + ["-w", "%{http_version}", url])
            #expect(get.output == "GET https 0\n\(version)", "\(flags)")
        }
        #expect(harness.server.counters.guards.isEmpty)
    }

    @Test func largeBodiesGoBothWays() throws {
        let harness = try echo()
        let url = "https://127.0.0.1:\(harness.port)/"
        let file = certificates.path("upload")
        try Data(count: 1_500_000).write(to: URL(fileURLWithPath: file))
        for flag in ["--http1.1", "--http2"] {
            #expect(try curl([flag, "--data-binary", "@\(file)", url]).output == "POST https 1500000\n")
            let large = try curl([flag, "-o", "/dev/null", "-w", "%{size_download} %{http_code}", url + "large"])
            #expect(large.output == "5000000 200", "\(flag)")
        }
    }

    @Test func oldVersionsAndForeignProtocolsAreRefused() async throws {
        let harness = try echo()
        let old = try curl(["--tls-max", "1.1", "https://127.0.0.1:\(harness.port)/"])
        #expect(old.status != 0)
        let address = "127.0.0.1:\(harness.port)"
        let foreign = try Certificates.run("/usr/bin/openssl", ["s_client", "-connect", address, "-alpn", "spdy/3"])
        #expect(foreign.status != 0)
        #expect(foreign.output.contains("no application protocol"))
        let weak = try Certificates.run(
            "/usr/bin/openssl", ["s_client", "-connect", address, "-tls1_2", "-cipher", "AES128-SHA"])
        #expect(weak.status != 0)
        #expect(await eventually { harness.server.counters.guards[.tlsHandshake] ?? 0 >= 2 })
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 })
        let renewed = try Certificates.run(
            "/bin/sh",
            [
                "-c", "(sleep 0.3; echo R; sleep 0.3) | openssl s_client -connect \(address) -tls1_2 2>&1; true",
            ])
        #expect(renewed.output.contains("no renegotiation"), "\(renewed.output.suffix(400))")
    }

    @Test func cleartextOnTheTLSPortIsTold() async throws {
        let harness = try echo()
        let client = try #require(SocketClient(port: harness.port))
        client.send(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        #expect(await client.readToEnd())
        #expect(String(decoding: client.raw, as: UTF8.self).hasSuffix("this port speaks TLS: use https\n"))
        let noise = try #require(SocketClient(port: harness.port))
        noise.send([UInt8](repeating: 0xFF, count: 100))
        _ = await noise.readToEnd()
        #expect(await eventually { harness.server.counters.guards[.tlsHandshake] == 2 })
    }

    /// A few changes of keys are fine; who does nothing else holds the thread for itself.
    @Test(arguments: [(10, false), (80, true)])
    func keyUpdatesAreCounted(_ count: Int, _ isRefused: Bool) async throws {
        let harness = try echo { $0.penaltyMilliseconds = 0 }
        let outcome = try Certificates.run(
            "/bin/sh",
            [
                "-c",
                "(for i in $(seq \(count)); do echo K; sleep 0.01; done; sleep 0.2; printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 0.3) "
                    + "| openssl s_client -connect 127.0.0.1:\(harness.port) -tls1_3 2>&1; true",
            ])
        #expect(outcome.output.contains("KEYUPDATE"))
        #expect(outcome.output.contains("HTTP/1.1 200") != isRefused, "\(outcome.output.suffix(200))")
        #expect((harness.server.counters.guards[.keyUpdates] ?? 0 > 0) == isRefused)
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 })
    }

    @Test func aHandshakeThatDoesNotComeIsClosed() async throws {
        let harness = try echo { $0.wire.prefaceMilliseconds = 1 }
        let client = try #require(SocketClient(port: harness.port))
        client.send([0x16, 3, 1])
        #expect(await client.readToEnd())
        #expect(client.raw.isEmpty)
        #expect(harness.server.counters.guards[.prefaceTimeout] == 1)
    }

    @Test func certificatesAreReloaded() throws {
        let harness = try echo()
        let url = "https://127.0.0.1:\(harness.port)/"
        try certificates.make("second")
        let second = TLSFiles(certificate: certificates.path("second.pem"), key: certificates.path("second.key"))
        #expect(throws: TLSError.self) {
            try harness.server.loadTLS(
                TLSFiles(certificate: certificates.path("second.pem"), key: certificates.path("server.key")))
        }
        #expect(try curl([url]).output == "GET https 0\n", "what cannot be used changes nothing")
        try harness.server.loadTLS(second)
        #expect(try curl([url]).status != 0)
        #expect(try curl([url], trusting: "second").output == "GET https 0\n")
    }

    @Test func filesThatCannotBeUsedAreNamed() {
        for (files, name) in [
            (TLSFiles(certificate: "/nowhere/c.pem", key: certificates.path("server.key")), "/nowhere/c.pem"),
            (TLSFiles(certificate: certificates.path("server.pem"), key: "/nowhere/k.pem"), "/nowhere/k.pem"),
            (
                TLSFiles(certificate: certificates.path("server.key"), key: certificates.path("server.key")),
                "server.key"
            ),
            (
                TLSFiles(
                    certificate: certificates.path("server.pem"), key: certificates.path("server.key"),
                    clientAuthorities: "/nowhere/ca.pem"), "/nowhere/ca.pem"
            ),
        ] {
            let error = #expect(throws: TLSError.self) { try TLSContext(files) }
            #expect(error?.description.contains(name) == true)
        }
    }

    @Test func clientsShowCertificatesWhereTheyMust() async throws {
        try certificates.make("client")
        var files = certificates.files
        files.clientAuthorities = certificates.path("client.pem")
        let harness = try echo(files)
        let url = "https://127.0.0.1:\(harness.port)/"
        // Each says why: the alert is not overtaken by a reset, although the request came before it.
        for turn in 0..<10 {
            for flag in ["--http1.1", "--http2"] {
                let refused = try curl([flag, "-d", String(repeating: "x", count: 30_000), url])
                #expect(refused.status != 0)
                #expect(refused.output.contains("certificate required"), "\(turn) \(flag): \(refused.output)")
            }
        }
        #expect(await eventually { harness.server.counters.connectionsOpen == 0 })
        #expect(harness.server.counters.requests == 0)
        let shown = try curl(["--cert", certificates.path("client.pem"), "--key", certificates.path("client.key"), url])
        #expect(shown.output == "GET https 0\n")
        let other = try curl(["--cert", certificates.path("server.pem"), "--key", certificates.path("server.key"), url])
        #expect(other.status != 0)
    }

    @Test func aStopIsHeardOverTLS() throws {
        let harness = try echo()
        #expect(try curl(["https://127.0.0.1:\(harness.port)/"]).status == 0)
        harness.server.stop(gracePeriod: .seconds(5))
        #expect(harness.server.counters.connectionsOpen == 0)
    }
}

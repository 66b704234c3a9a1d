import Foundation
import Testing

/// The service as whoever operates it meets it: settings, tokens, TLS, signals, sockets handed over.
@Suite struct ServiceOperationTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private func path(_ name: String) -> String { folder.url.appendingPathComponent(name).path }
    private var database: URL { folder.url.appendingPathComponent("gatehouse.sqlite") }

    private func token(_ scope: String) throws -> String {
        let made = try Program.run(["token", "new", "--scope", scope, "--name", "test", "--file", path("tokens")])
        try #require(made.status == 0, "\(made.errors)")
        return made.text.trimmingCharacters(in: .newlines)
    }

    private func certificate() throws {
        let made = try Program.run(
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=gatehouse", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path("key.pem"), "-out",
                path("certificate.pem"),
            ], executable: "/usr/bin/openssl")
        try #require(made.status == 0, "\(made.errors)")
    }

    @Test func openAddressesNeedProtection() throws {
        try certificate()
        let tokens = path("tokens")
        _ = try token("read")
        let tls = ["--certificate", path("certificate.pem"), "--key", path("key.pem")]
        for (arguments, word) in [
            (["--listen", "0.0.0.0:0"], "in the clear"), (["--listen", "[::]:0"], "in the clear"),
            (["--listen", "0.0.0.0:0", "--tokens", tokens], "in the clear"),
            (["--tls-listen", "0.0.0.0:0"] + tls, "--tokens"), (["--tls-listen", "127.0.0.1:0"], "--certificate"),
            (["--listen", "127.0.0.1:0", "--key", "x"], "go together"),
            (["--listen", "127.0.0.1:0", "--tokens", path("nothing")], "cannot be read"),
            (
                ["--tls-listen", "127.0.0.1:0", "--certificate", path("nothing.pem"), "--key", path("key.pem")],
                "nothing.pem"
            ),
        ] {
            let outcome = try Program.run(["serve", "--database", database.path] + arguments)
            #expect(outcome.status == 2, "\(arguments)")
            #expect(outcome.errors.contains(word), "\(arguments): \(outcome.errors)")
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: tokens)
        let open = try Program.run([
            "serve", "--database", database.path, "--listen", "127.0.0.1:0", "--tokens", tokens,
        ])
        #expect(open.status == 2 && open.errors.contains("chmod"))
    }

    @Test func tokensAreAskedForAndReloaded() throws {
        let read = try token("read")
        let submit = try token("submit")
        let log = path("log")
        let server = try RunningServer(
            database: database, ["--tokens", path("tokens"), "--log-requests", "--log", "json"], errors: log)
        func status(_ path: String, _ token: String?, post: [UInt8]? = nil) throws -> Int {
            try server.curl(path, post: post, token.map { ["-H", "Authorization: Bearer \($0)"] } ?? []).status
        }
        let table = [UInt8](#"{"kernel": "linux-5.2"}"#.utf8)
        #expect(try status("/livez", nil) == 200)
        #expect(try status("/v1/rules", nil) == 401)
        #expect(try status("/v1/rules", "gh_x_y") == 401)
        #expect(try status("/v1/rules", read) == 200)
        #expect(try status("/metrics", read) == 200)
        #expect(try status("/v1/configurations", read, post: table) == 403)
        #expect(try status("/v1/configurations", submit, post: table) == 201)
        let admin = try token("admin")
        #expect(try status("/v1/rules", admin) == 401, "not read yet")
        server.signal(SIGHUP)
        var seen = 0
        for _ in 0..<100 where seen != 200 {
            seen = try status("/v1/rules", admin)
            if seen != 200 { usleep(20_000) }
        }
        #expect(seen == 200)
        // A file that cannot be used changes nothing.
        try "nonsense\n".write(toFile: path("tokens"), atomically: false, encoding: .utf8)
        server.signal(SIGHUP)
        usleep(100_000)
        #expect(try status("/v1/rules", read) == 200)
        server.terminate()
        #expect(server.wait() == 0)
        let text = try String(contentsOfFile: log, encoding: .utf8)
        for secret in [read, submit, admin] {
            #expect(!text.contains(secret.suffix(20)), "no token in a log")
            if secret != admin { #expect(text.contains(String(secret.split(separator: "_")[1])), "but its id") }
        }
        let lines = text.split(separator: "\n")
        for line in lines { #expect((try? JSONSerialization.jsonObject(with: Data(line.utf8))) != nil, "\(line)") }
        #expect(lines.contains { $0.contains(#""route":"/v1/configurations""#) && $0.contains(#""status":"201""#) })
        #expect(lines.contains { $0.contains("not reloaded") && $0.contains("line 1") })
    }

    @Test func fileEnvironmentAndOptionsAreRanked() throws {
        try "# settings\nlisten = 127.0.0.1:0\nworkers = 3\nlog = json\n".write(
            toFile: path("conf"), atomically: false, encoding: .utf8)
        let server = try RunningServer(
            database: database, ["--config", path("conf")], listens: false, environment: ["GATEHOUSE_LOOPS": "2"])
        #expect(try server.curl("/livez").status == 200)
        server.terminate()
        #expect(server.wait() == 0)
        for (text, environment, word) in [
            ("workers = many\n", [:], "line 1"), ("nonsense\n", [:], "line 1"), ("port = 1\n", [:], "line 1"),
            ("workers = 0\n", [:], "workers"), ("", ["GATEHOUSE_GRACE": "soon"], "GATEHOUSE_GRACE"),
            ("", ["GATEHOUSE_LOG": "xml"], "json"), ("", ["GATEHOUSE_LISTEN": "nowhere"], "nowhere"),
        ] as [(String, [String: String], String)] {
            try text.write(toFile: path("conf"), atomically: false, encoding: .utf8)
            let outcome = try Program.run(
                ["serve", "--database", database.path, "--config", path("conf")], environment: environment)
            #expect(outcome.status == 2, "\(text) \(environment)")
            #expect(outcome.errors.contains(word), "\(text) \(environment): \(outcome.errors)")
        }
    }

    @Test func tlsIsServedBesides() throws {
        try certificate()
        let server = try RunningServer(
            database: database,
            ["--tls-listen", "127.0.0.1:0", "--certificate", path("certificate.pem"), "--key", path("key.pem")])
        let secure = try #require(server.addresses.first { $0.hasPrefix("https://") })
        for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let outcome = try Program.run(
                [
                    "-sS", "--noproxy", "*", "--cacert", path("certificate.pem"), flag, "-o", path("out"), "-w",
                    "%{http_version} %{http_code}", secure + "/v1/rules",
                ],
                executable: "/usr/bin/curl")
            #expect(outcome.text == "\(version) 200", "\(outcome.errors)")
        }
        #expect(try server.curl("/livez").status == 200)
        server.signal(SIGHUP)
        server.terminate()
        #expect(server.wait() == 0)
    }

    /// As systemd starts a service: with a socket that listens already, and somebody who waits for a word.
    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/python3")))
    func socketsAndReadinessAreHandedOver() throws {
        let script = """
            import os, socket, subprocess, sys, urllib.request
            notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); notify.bind(sys.argv[3]); notify.settimeout(20)
            listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(16)
            port = listener.getsockname()[1]
            os.environ["NOTIFY_SOCKET"] = sys.argv[3]
            pid = os.fork()
            if pid == 0:
                os.dup2(listener.fileno(), 3); os.set_inheritable(3, True)
                os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="http")
                os.execv(sys.argv[1], [sys.argv[1], "serve", "--database", sys.argv[2]])
            said = notify.recv(4096).decode()
            assert said.startswith("READY=1\\n") and str(port) in said, said
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            assert opener.open(f"http://127.0.0.1:{port}/livez").read() == b"ok\\n"
            os.kill(pid, 1)
            assert notify.recv(4096) == b"RELOADING=1" and notify.recv(4096) == b"READY=1"
            os.kill(pid, 15)
            assert notify.recv(4096) == b"STOPPING=1"
            assert os.waitpid(pid, 0)[1] == 0
            probe = socket.create_connection(("127.0.0.1", port)) # the socket outlives the service
            """
        let outcome = try Program.run(
            ["-c", script, Program.path, database.path, path("notify")], executable: "/usr/bin/python3")
        #expect(outcome.status == 0, "\(outcome.errors)")
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/sqlite3")))
    func backupsAreMadeWhileTheServiceRuns() throws {
        let server = try RunningServer(database: database)
        #expect(try server.curl("/v1/configurations", post: [UInt8](#"{"kernel": "linux-5.2"}"#.utf8)).status == 201)
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../deploy/backup").standardized.path
        for _ in 0..<2 {
            let made = try Program.run([script, database.path, path("backups"), "1"], executable: "/bin/sh")
            #expect(made.status == 0, "\(made.errors)")
            usleep(1_100_000)
        }
        server.killNow()
        let copies = try FileManager.default.contentsOfDirectory(atPath: path("backups"))
        #expect(copies.count == 1)
        let copy = folder.url.appendingPathComponent("backups/\(copies.first ?? "")")
        let second = try RunningServer(database: copy)
        #expect(try second.curl("/v1/configurations?format=ndjson").text.contains("linux-5.2"))
    }
}

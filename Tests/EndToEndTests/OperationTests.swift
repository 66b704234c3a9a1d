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
            (["--listen", "127.0.0.1:0"] + tls, "--tls-listen"),
            (["--listen", "127.0.0.1:0", "--client-ca", path("certificate.pem")], "--tls-listen"),
            (["--listen", "127.0.0.1:0", "--tokens", path("nothing")], "cannot be read"),
            (
                ["--tls-listen", "127.0.0.1:0", "--certificate", path("nothing.pem"), "--key", path("key.pem")],
                "nothing.pem cannot be read: No such file"
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
        let denied = try server.curl("/v1/rules", post: nil, ["-H", "X-Request-Id: denied-7"])
        #expect(denied.field("x-request-id") == "denied-7" && denied.text.contains("\"request_id\":\"denied-7\""))
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
        #expect(lines.contains { $0.contains("denied-7") && $0.contains(#""status":"401""#) }, "denials are logged")
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
        // A name that may have several values may stand on several lines.
        try "listen = 127.0.0.1:0\nworkers = 2\nlisten = 127.0.0.1:0\n".write(
            toFile: path("conf"), atomically: false, encoding: .utf8)
        let both = try RunningServer(database: database, ["--config", path("conf")], listens: false)
        #expect(both.addresses.count == 2 && Set(both.addresses).count == 2, "\(both.addresses)")
        both.terminate()
        #expect(both.wait() == 0)
        for (text, environment, word) in [
            ("workers = 2\nlog = json\nworkers = 3\n", [:], "line 3"),
            ("time-limit = 0\n", [:], "time-limit"), ("", ["GATEHOUSE_NESTED_WORKERS": "0"], "nested-workers"),
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

    /// A socket that was bound by somebody else is no less open for that.
    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/python3")))
    func inheritedSocketsNeedProtectionToo() throws {
        try certificate()
        _ = try token("read")
        let script = """
            import os, socket, sys
            listener = socket.socket(); listener.bind((sys.argv[2], 0)); listener.listen(16)
            os.dup2(listener.fileno(), 3); os.set_inheritable(3, True)
            os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=sys.argv[1])
            os.execv(sys.argv[3], sys.argv[3:])
            """
        let tls = ["--certificate", path("certificate.pem"), "--key", path("key.pem")]
        let nowhere = ["--tokens", path("nothing")]
        for (name, address, options, word) in [
            ("http", "0.0.0.0", [], "in the clear"), ("http", "0.0.0.0", ["--tokens", path("tokens")], "in the clear"),
            ("tls", "0.0.0.0", tls, "--tokens"), ("https", "127.0.0.1", [], "--certificate"),
            ("https", "0.0.0.0", tls, "--tokens"),
            // Nothing is missing but the file, which is read after the addresses were looked at.
            ("http", "0.0.0.0", ["--allow-open"] + nowhere, "cannot be read"),
            ("https", "0.0.0.0", tls + nowhere, "cannot be read"), ("http", "127.0.0.1", nowhere, "cannot be read"),
        ] as [(String, String, [String], String)] {
            let outcome = try Program.run(
                ["-c", script, name, address, Program.path, "serve", "--database", database.path] + options,
                executable: "/usr/bin/python3")
            #expect(outcome.status == 2, "\(name) \(address) \(options)")
            #expect(outcome.errors.contains(word), "\(name) \(address) \(options): \(outcome.errors)")
        }
    }

    @Test func aMisspeltVariableIsTold() throws {
        let log = path("log")
        let server = try RunningServer(
            database: database, environment: ["GATEHOUSE_TOKNES": "x", "GATEHOUSE_PORT_8080_TCP": "x"], errors: log)
        server.terminate()
        #expect(server.wait() == 0)
        let text = try String(contentsOfFile: log, encoding: .utf8)
        #expect(text.contains("GATEHOUSE_TOKNES is no setting and has no effect; did you mean GATEHOUSE_TOKENS?"))
        #expect(!text.contains("PORT_8080"))
    }

    /// What balancers see over new connections before the listeners close.
    @Test func readinessIsTakenBackBeforeTheListenersClose() throws {
        let server = try RunningServer(database: database, ["--drain", "3600"])
        #expect(try server.curl("/readyz").status == 200)
        server.terminate()
        var seen = 0
        for _ in 0..<500 where seen != 503 {
            seen = try server.curl("/readyz").status
            if seen != 503 { usleep(20_000) }
        }
        #expect(seen == 503)
        #expect(try server.curl("/v1/rules").status == 200)
    }

    /// Clients learn at once what is wrong, whatever they send after the head.
    @Test func finalAnswersDoNotWaitForTheBody() throws {
        let server = try RunningServer(database: database)
        let body = [UInt8](repeating: 32, count: 3_000_000)
        for flag in ["--http1.1", "--http2-prior-knowledge"] {
            for (path, type, status) in [
                ("/nosuch", "application/json", 404), ("/v1/checks", "image/png", 415),
                ("/v1/checks", "application/json", 413), ("/v1/rules", "application/json", 405),
            ] {
                let outcome = try Program.run(
                    [
                        "-sS", "--noproxy", "*", "--max-time", "60", flag, "-v", "-w", "%{http_code}", "-o",
                        self.path("out"), "-H", "Content-Type: \(type)", "-H", "Expect: 100-continue",
                        "--expect100-timeout", "50", "--data-binary", "@-", "http://127.0.0.1:\(server.port)\(path)",
                    ], executable: "/usr/bin/curl", input: body)
                #expect(outcome.text == "\(status)", "\(flag) \(path): \(outcome.errors)")
                #expect(
                    !outcome.errors.contains("100 Continue") && !outcome.errors.contains("HTTP/2 100"),
                    "\(flag) \(path)")
                if flag == "--http1.1" { #expect(outcome.errors.lowercased().contains("< date: "), "\(path)") }
            }
        }
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/sqlite3")))
    func backupsAreMadeWhileTheServiceRuns() throws {
        let server = try RunningServer(database: database)
        #expect(try server.curl("/v1/configurations", post: [UInt8](#"{"kernel": "linux-5.2"}"#.utf8)).status == 201)
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../deploy/backup").standardized.path
        for _ in 0..<2 {
            let made = try Program.run([script, database.path, path("who's \"backups\""), "1"], executable: "/bin/sh")
            #expect(made.status == 0, "\(made.errors)")
            usleep(1_100_000)
        }
        server.killNow()
        let copies = try FileManager.default.contentsOfDirectory(atPath: path("who's \"backups\""))
        #expect(copies.count == 1)
        let copy = folder.url.appendingPathComponent("who's \"backups\"/\(copies.first ?? "")")
        let second = try RunningServer(database: copy)
        #expect(try second.curl("/v1/configurations?format=ndjson").text.contains("linux-5.2"))
    }
}

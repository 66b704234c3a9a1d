import Foundation
import HTTPTestSupport
import Testing

/// Minutes instead of moments: each attack for seconds against the built service with the limits that it ships with, and what a
/// client beside it sees. `make soak` runs these; GATEHOUSE_PROGRAM names the program, GATEHOUSE_SOAK_SECONDS the time per attack.
@Suite(.serialized, .enabled(if: ProcessInfo.processInfo.environment["GATEHOUSE_SOAK"] != nil))
struct SoakTests {
    private let folder: Folder
    private let program = ProcessInfo.processInfo.environment["GATEHOUSE_PROGRAM"] ?? Program.path
    private let seconds = ProcessInfo.processInfo.environment["GATEHOUSE_SOAK_SECONDS"].flatMap { Double($0) } ?? 4

    init() throws { folder = try Folder() }

    private func start(_ options: [String] = []) throws -> RunningServer {
        try RunningServer(
            database: folder.url.appendingPathComponent("gatehouse.sqlite"), options, program: program)
    }

    private func residentMiB(_ server: RunningServer) -> Double {
        let text = (try? String(contentsOfFile: "/proc/\(server.identifier)/statm", encoding: .utf8)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0) * 4096 / 1_048_576
    }

    /// Processor seconds of the service so far.
    private func processorSeconds(_ server: RunningServer) -> Double {
        let text = (try? String(contentsOfFile: "/proc/\(server.identifier)/stat", encoding: .utf8)) ?? ""
        let words = (text.split(separator: ")").last ?? "").split(separator: " ")
        guard words.count > 13, let user = Double(words[11]), let system = Double(words[12]) else { return 0 }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private func guards(_ server: RunningServer) throws -> [String: Double] {
        var found: [String: Double] = [:]
        for line in try server.curl("/metrics").text.split(separator: "\n")
        where line.hasPrefix("gatehouse_http_guard_trips_total{guard=\"") {
            let parts = line.dropFirst("gatehouse_http_guard_trips_total{guard=\"".count).split(separator: "\"} ")
            if parts.count == 2 { found[String(parts[0])] = Double(parts[1]) }
        }
        return found
    }

    /// The p99 of others under every attack, one connection after another for some seconds.
    @Test func othersNoticeNothing() throws {
        let server = try start()
        let port = UInt16(server.port)
        func watch(_ work: () -> Void) -> Bystander.Result {
            let bystander = Bystander(port: port, path: "/livez")
            // Before the first guard keeps new connections of this address away.
            bystander.waitUntilServed()
            work()
            return bystander.stop()
        }
        let quiet = watch { usleep(2_000_000) }
        print("soak: without attack p50 \(quiet.quantile(0.5)) p99 \(quiet.quantile(0.99)) ms")
        for attack in Attack.all {
            let before = try guards(server)
            let isTimed = [
                "slow read", "slow upload", "silence", "half a preface", "slow head", "slow body",
            ].contains(attack.name)
            var ends: [String: Int] = [:]
            let seen = watch {
                let end = Date().addingTimeInterval(seconds)
                // The penalty for an address is for this machine's only one, so the bystander keeps its connection.
                while Date() < end {
                    ends["\(attack.run(port, isTimed ? 1000 : 200_000))", default: 0] += 1
                    usleep(50_000)
                }
            }
            let after = try waitForGuards(server)
            let acted = attack.guards.contains { (after[$0] ?? 0) > (before[$0] ?? 0) }
            print(
                "soak: \(attack.name): \(ends), p50 \(seen.quantile(0.5)) p99 \(seen.quantile(0.99)) ms of \(seen.milliseconds.count), resident \(residentMiB(server)) MiB"
            )
            // Those that wait for the service's patience, 10 to 20 s, are tested with less of it elsewhere.
            if !isTimed { #expect(acted, "\(attack.name): no guard of \(attack.guards)") }
            #expect(seen.failures == 0, "\(attack.name)")
            #expect(seen.quantile(0.99) < 50, "\(attack.name): p99 \(seen.quantile(0.99)) ms")
        }
        #expect(residentMiB(server) < 256)
        #expect(server.isRunning)
        server.terminate()
        #expect(server.wait() == 0)
    }

    /// The penalty for this machine's address is over when curl gets an answer.
    private func waitForGuards(_ server: RunningServer) throws -> [String: Double] {
        for _ in 0..<40 {
            let found = try guards(server)
            if !found.isEmpty { return found }
            usleep(100_000)
        }
        return [:]
    }

    @Test func tenThousandIdleConnectionsCostLittle() throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let count = 10_000
        limit.rlim_cur = min(limit.rlim_max, 12_000)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        try #require(limit.rlim_cur >= 11_000, "this needs 11,000 file descriptors")
        for isHTTP2 in [false, true] {
            let server = try start(["--max-connections", "11000", "--max-connections-per-address", "11000"])
            #expect(try server.curl("/livez").status == 200)
            let before = residentMiB(server)
            var clients: [SocketClient] = []
            let request = Array("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
            for _ in 0..<count {
                let client = try #require(SocketClient(port: UInt16(server.port)))
                if isHTTP2 {
                    client.open()
                    client.send(.get(1, path: "/livez"))
                } else {
                    client.send(request)
                }
                clients.append(client)
            }
            for client in clients {
                for _ in 0..<2000 where client.raw.count < 60 {
                    client.takeWhatCame()
                    if client.raw.count < 60 { usleep(1000) }
                }
                #expect(client.raw.count >= 60 && !client.isClosed)
            }
            let each = (residentMiB(server) - before) * 1024 / Double(count)
            let start = processorSeconds(server)
            usleep(5_000_000)
            let share = (processorSeconds(server) - start) / 5
            print(
                "soak: \(count) idle connections, HTTP/\(isHTTP2 ? "2" : "1.1"): \(each) KiB each, \(share * 100) % of a processor"
            )
            #expect(each < 16)
            #expect(share < 0.05)
            let seen = Bystander(port: UInt16(server.port), path: "/livez")
            usleep(1_000_000)
            #expect(seen.stop().failures == 0)
            clients = []
            server.terminate()
            #expect(server.wait() == 0)
        }
    }

    @Test func startsQuicklyAndSmall() throws {
        let first = try start()
        let table = [UInt8](#"{"kernel": "linux-5.2"}"#.utf8)
        #expect(try first.curl("/v1/checks?scenarios=*/int3/*", post: table).status == 200)
        first.terminate()
        #expect(first.wait() == 0)
        var times: [Double] = []
        for _ in 0..<7 {
            let start = Date()
            let server = try self.start()
            times.append(Date().timeIntervalSince(start) * 1000)
            usleep(200_000)
            let resident = residentMiB(server)
            print("soak: ready after \(times.last ?? 0) ms, \(resident) MiB resident")
            #expect(resident < 40)
            server.terminate()
            #expect(server.wait() == 0)
        }
        #expect(times.sorted()[3] < 50, "median of \(times)")
    }
}

import EntryCode
import Foundation
import HTTPTransport
import HTTPTypes
import HTTPWire
import Logging
import Service
import Store
import Testing

@testable import API

/// Simulations that take long: they end when they are told to, and nobody waits for them.
@Suite(.serialized) struct LimitTests {
    /// A service whose simulations with nested events end after some seconds.
    private final class Slow: Sendable {
        let service: GatehouseService
        let client: CurlClient
        private let folder: URL

        init(seconds: Int, nestedWorkers: Int = 2, grace: Int = 2) throws {
            folder = FileManager.default.temporaryDirectory.appendingPathComponent(
                "gatehouse-limits-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            var configuration = ServiceConfiguration(
                addresses: [try #require(SocketAddress("127.0.0.1:0"))],
                database: folder.appendingPathComponent("gatehouse.sqlite").path)
            configuration.workers = 2
            configuration.nestedWorkers = nestedWorkers
            configuration.grace_seconds = grace
            configuration.limits.simulation_seconds = seconds
            service = try GatehouseService(
                configuration, logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
            let address = try #require(service.addresses.first)
            client = CurlClient(port: try #require(UInt16("\(address)".split(separator: ":").last ?? "")))
        }

        deinit {
            service.stop()
            try? FileManager.default.removeItem(at: folder)
        }

        /// Asks for three nested events, which takes hours.
        func order(_ preference: String?) throws -> Reply {
            try client.send(
                "POST", "/v1/simulations",
                [("Content-Type", "application/json")] + (preference.map { [("Prefer", $0)] } ?? []),
                [UInt8](#"{"configuration": "linux-6.1", "nesting": 3}"#.utf8))
        }

        func get(_ path: String) throws -> Reply { try client.send("GET", path, [], []) }

        /// Waits until the document of a simulation is as it should be; the last one that was seen.
        func wait(_ path: String, seconds: Double = 30, _ isDone: (Reply) -> Bool) throws -> Reply {
            let clock = ContinuousClock()
            let end = clock.now + .seconds(seconds)
            var reply = try get(path)
            while !isDone(reply), clock.now < end {
                usleep(50_000)
                reply = try get(path)
            }
            #expect(isDone(reply), "\(path): \(reply.text.prefix(400))")
            return reply
        }

        var running: Int { service.application.running.count }
    }

    private func isRunning(_ reply: Reply) -> Bool {
        reply.json?.text("state") == "running" && (reply.json?.at("progress/nested_runs")?.integerValue ?? 0) > 0
    }

    private func elapsed(_ body: () throws -> Void) rethrows -> Double {
        let clock = ContinuousClock()
        let start = clock.now
        try body()
        let (seconds, attoseconds) = (clock.now - start).components
        return Double(seconds) + Double(attoseconds) / 1e18
    }

    /// The finding of an outside tester: four of them kept everybody else waiting, and removing them did not help.
    @Test func fourLongSimulationsKeepNobodyWaitingAndEndWhenRemoved() throws {
        let slow = try Slow(seconds: 600)
        let paths = try (0..<4).map { _ in
            let reply = try slow.order("respond-async")
            #expect(reply.status == 202)
            return try #require(reply.fields["location"])
        }
        let first = try slow.wait(paths[0], isRunning)
        #expect((first.json?.at("progress/scenarios")?.integerValue ?? 0) > 1000)
        #expect((first.json?.at("progress/elapsed_seconds")) != nil)
        _ = try slow.wait(paths[1], isRunning)
        #expect(try slow.get(paths[3]).json?.text("state") == "queued")
        #expect(try slow.get(paths[3]).json?.at("progress") == nil)
        #expect(try slow.get(paths[0] + "?format=text").text.contains(" scenarios, "))
        let list = try slow.get("/v1/simulations?state=running")
        #expect(list.json?["items"]?.arrayValue?.count == 2)
        #expect(list.json?.at("items/0/progress/scenarios") != nil)
        let check = try elapsed {
            let reply = try slow.client.send(
                "POST", "/v1/checks?scenarios=\(selfTest)", [("Content-Type", "application/json")],
                [UInt8](table("beside").utf8))
            #expect(reply.status == 200 && reply.json?.text("verdict") == "violated")
        }
        #expect(check < 15, "a check beside them took \(check) s")
        for path in ["/v1/simulations", "/v1/rules", "/livez", "/readyz", paths[0], "/v1/kernels/linux-5.2"] {
            let seconds = try elapsed {
                let reply = try slow.get(path)
                #expect(reply.status == 200, "\(path)")
            }
            #expect(seconds < 15, "GET \(path) took \(seconds) s")
        }
        #expect(try slow.get("/metrics").text.contains("gatehouse_simulations_running 2\n"))
        #expect(try slow.get("/metrics").text.contains("gatehouse_queue_depth{queue=\"long\"} 2\n"))
        for path in paths.reversed() { #expect(try slow.client.send("DELETE", path, [], []).status == 204) }
        let end = try elapsed {
            _ = try slow.wait("/metrics", seconds: 20) { $0.text.contains("gatehouse_simulations_running 0\n") }
        }
        #expect(end < 15, "what was removed went on for \(end) s")
        #expect(slow.service.application.unfinishedSimulations == 0)
        for path in paths { #expect(try slow.get(path).json?.text("state") == "cancelled") }
    }

    @Test func theTimeLimitLeavesTheRestUndecided() throws {
        let slow = try Slow(seconds: 4)
        for preference in [nil, "respond-async"] as [String?] {
            var reply = try slow.order(preference)
            if preference != nil {
                let path = try #require(reply.fields["location"])
                reply = try slow.wait(path) { $0.json?.text("state") == "finished" }
            } else {
                #expect(reply.status == 201)
            }
            let report = try #require(reply.json)
            #expect(report.text("verdict") == "undecided")
            #expect(report.text("undecided/0/limit") == "time")
            #expect(report.text("cut_short/0/limit") == "time")
            let scenarios = try #require(report.at("summary/scenarios")?.integerValue)
            #expect(report.at("cut_short/0/scenarios")?.integerValue == scenarios)
            #expect(report.at("model/limits/time") == 4)
            #expect(report.at("request/nesting") == 3)
            #expect((report.at("summary/nested_runs")?.integerValue ?? 0) > 0)
            let path = "/v1/simulations/\(report.text("id") ?? "")"
            let text = try slow.get(path + "?format=text").text
            #expect(text.contains("Not everything was tried: the search for nested events was cut short in"))
            let row = try slow.get(path + "/scenarios?limit=1").json
            #expect(row?.text("items/0/limit") == "time" && row?.text("items/0/cut_short") == "time")
        }
        #expect(slow.running == 0)
    }

    /// RFC 7240, section 4.3: who waits for a time gets an answer by then, and the simulation goes on.
    @Test func whoWaitsSoLongIsAnsweredByThen() throws {
        let slow = try Slow(seconds: 600, nestedWorkers: 1)
        var path = ""
        let seconds = try elapsed {
            let reply = try slow.order("wait=1")
            #expect(reply.status == 202, "\(reply.text)")
            #expect(reply.json?.text("state") == "running")
            #expect(reply.fields["preference-applied"] == "wait=1", "answered when the time was over")
            path = try #require(reply.fields["location"])
        }
        #expect(seconds > 0.9 && seconds < 30, "\(seconds) s")
        _ = try slow.wait(path, isRunning)
        // The only thread is taken: who would wait in vain is told at once.
        let second = try elapsed {
            let reply = try slow.order("wait=60")
            #expect(reply.status == 202 && reply.json?.text("state") == "queued")
            let other = try #require(reply.fields["location"])
            #expect(try slow.client.send("DELETE", other, [], []).status == 204)
        }
        #expect(second < 20)
        #expect(try slow.client.send("DELETE", path, [], []).status == 204)
        _ = try slow.wait("/metrics", seconds: 20) { $0.text.contains("gatehouse_simulations_running 0\n") }
        #expect(try slow.get(path).json?.text("state") == "cancelled")
    }

    @Test func whatAWaitLeftRunningIsFinished() throws {
        let slow = try Slow(seconds: 3)
        let reply = try slow.order("wait=1")
        #expect(reply.status == 202)
        let path = try #require(reply.fields["location"])
        let report = try slow.wait(path) { $0.json?.text("state") == "finished" }
        #expect(report.json?.text("undecided/0/limit") == "time")
    }

    /// A client that hangs up takes its simulation with it.
    @Test(arguments: ["--http1.1", "--http2-prior-knowledge"]) func whoHangsUpFreesTheProcessor(flag: String) throws {
        let slow = try Slow(seconds: 600)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
        process.arguments = [
            "-sS", "--noproxy", "*", flag, "-o", "/dev/null", "-H", "Content-Type: application/json", "-d",
            #"{"configuration": "linux-6.1", "nesting": 3}"#, "http://127.0.0.1:\(slow.client.port)/v1/simulations",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        _ = try slow.wait("/metrics") { $0.text.contains("gatehouse_simulations_running 1\n") }
        // Not SIGTERM: a child of a thread that takes no signals inherits that.
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        let seconds = try elapsed {
            _ = try slow.wait("/metrics", seconds: 20) { $0.text.contains("gatehouse_simulations_running 0\n") }
        }
        #expect(seconds < 15, "\(flag): \(seconds) s")
        #expect(try slow.get("/v1/simulations").json?["items"]?.arrayValue?.isEmpty == true, "nothing of it is kept")
    }

    @Test func aStopEndsThemWithinTheGrace() throws {
        let slow = try Slow(seconds: 600, grace: 4)
        let paths = try (0..<3).map { _ in try #require(try slow.order("respond-async").fields["location"]) }
        _ = try slow.wait(paths[0], isRunning)
        let seconds = elapsed { slow.service.stop() }
        #expect(seconds < 15, "\(seconds) s")
        #expect(slow.running == 0)
    }

    /// Which requests go to the threads for what takes long.
    @Test func nestedEventsAreRecognised() throws {
        let application = try makeApplication()
        defer { try? application.store.close() }
        func isLong(_ method: HTTPRequest.Method, _ path: String, _ body: String = "", prefer: String? = nil) throws
            -> Bool
        {
            var head = HTTPRequest(method: method, scheme: "http", authority: "test", path: path)
            head.headerFields[.contentType] = "application/json"
            head.headerFields[.prefer] = prefer
            return application.isLong(try Request(head, body: [UInt8](body.utf8)))
        }
        #expect(try isLong(.post, "/v1/checks?nesting=1"))
        #expect(try isLong(.post, "//v1/%63hecks/?nesting=1"))
        #expect(try isLong(.get, "/v1/comparisons?base=a&head=b&nesting=3"))
        #expect(try !isLong(.post, "/v1/checks?nesting=0"))
        #expect(try !isLong(.post, "/v1/checks"))
        #expect(try !isLong(.get, "/v1/rules?nesting=2"))
        let path = "/v1/simulations"
        #expect(try isLong(.post, path, #"{"configuration": "a", "nesting": 2}"#))
        #expect(try isLong(.post, path, #"{"configuration": "a", "n\u0065sting": 2}"#))
        #expect(try isLong(.post, path, #"{"nesting": 2, "x": "#) == false, "what is no JSON is refused quickly")
        #expect(try isLong(.post, path, #"{"configuration": "a", "nesting": 2}"#, prefer: "wait=5"))
        #expect(try !isLong(.post, path, #"{"configuration": "a", "nesting": 2}"#, prefer: "respond-async"))
        #expect(try !isLong(.post, path, #"{"configuration": "a", "nesting": 0}"#))
        #expect(try !isLong(.post, path, #"{"configuration": "nesting"}"#))
    }
}

import Foundation
import Testing

/// What takes hours ends when it is told to: the command by its limits and by Ctrl-C, the service by signals.
@Suite(.serialized) struct LimitedProgramTests {
    private let folder: Folder

    init() throws { folder = try Folder() }

    private var database: URL { folder.url.appendingPathComponent("gatehouse.sqlite") }

    /// Seconds of processor time that a process has used (proc(5)).
    private func processorSeconds(_ identifier: Int32) throws -> Double {
        let text = try String(contentsOfFile: "/proc/\(identifier)/stat", encoding: .utf8)
        let parts = text.drop { $0 != ")" }.split(separator: " ")
        let ticks = try #require(Double(parts[12])) + #require(Double(parts[13]))
        return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    @Test func aTimeLimitEndsACheck() throws {
        let start = Date()
        let outcome = try Program.run(
            ["check", "linux-6.1", "--nesting", "3", "--time-limit", "2", "--progress"])
        #expect(Date().timeIntervalSince(start) < 20)
        #expect(outcome.status == 2, "\(outcome.text.prefix(500))")
        #expect(outcome.text.hasPrefix("linux-6.1: undecided\n"))
        let words = outcome.text.split(whereSeparator: { $0 == " " || $0 == "\n" }).joined(separator: " ")
        #expect(words.contains("Not everything was tried: the search for nested events was cut short in"))
        #expect(words.contains("(limit 'time' of 2 s reached). What was not tried there may break more."))
        #expect(outcome.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 100 })
        #expect(outcome.errors.contains(" scenarios, ") && outcome.errors.contains(" nested events tried, 1 s\n"))
    }

    @Test func aBudgetEndsACheckTheSameEveryTime() throws {
        let arguments = [
            "check", "linux-5.2", "--nesting", "1", "--nested-runs", "100", "--format", "json", "--scenarios",
            "xen-pv/int3/kernel/*",
        ]
        var reports: [[String: Any]] = []
        for _ in 0..<2 {
            let outcome = try Program.run(arguments)
            #expect(outcome.status == 1 && outcome.errors.isEmpty, "no progress where nobody looks")
            var report = try #require(
                try JSONSerialization.jsonObject(with: Data(outcome.output)) as? [String: Any])
            let summary = try #require(report["summary"] as? [String: Any])
            #expect((summary["nested_runs"] as? Int ?? 0) >= 100)
            report["summary"] = summary.filter { $0.key != "elapsed_seconds" }
            let cut = try #require(report["cut_short"] as? [[String: Any]])
            #expect(cut.first?["limit"] as? String == "nested-runs")
            reports.append(report)
        }
        #expect(NSDictionary(dictionary: reports[0]) == NSDictionary(dictionary: reports[1]))
    }

    @Test func controlCEndsACheckWithWhatWasFound() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Program.path)
        process.arguments = ["check", "linux-6.1", "--nesting", "3", "--progress"]
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // It says how far it is: it runs.
        #expect(!errors.fileHandleForReading.availableData.isEmpty)
        let start = Date()
        kill(process.processIdentifier, SIGINT)
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(Date().timeIntervalSince(start) < 5)
        #expect(process.terminationReason == .exit && process.terminationStatus == 2)
        // The lines are broken at spaces.
        let words = text.split { $0.isWhitespace }.joined(separator: " ")
        #expect(words.contains("(it was stopped)"), "\(text.prefix(500))")
    }

    /// The finding of an outside tester: removing them freed no processor, and SIGTERM did not end the service.
    @Test func removingAndStoppingEndWhatRuns() throws {
        let server = try RunningServer(database: database, ["--grace", "3", "--time-limit", "600"])
        let order = [UInt8](#"{"configuration": "linux-6.1", "nesting": 3}"#.utf8)
        func start() throws -> String {
            let reply = try server.curl("/v1/simulations", post: order, ["-H", "Prefer: respond-async"])
            #expect(reply.status == 202)
            let path = try #require(reply.field("location"))
            for _ in 0..<200 {
                if try server.curl(path).text.contains("\"progress\"") { break }
                usleep(50_000)
            }
            return path
        }
        let first = try start()
        var before = try processorSeconds(server.identifier)
        for _ in 0..<100 where try processorSeconds(server.identifier) - before < 0.3 { usleep(100_000) }
        #expect(try processorSeconds(server.identifier) - before >= 0.3, "it works")
        #expect(try server.curl(first, post: nil, ["-X", "DELETE"]).status == 204)
        usleep(500_000)
        before = try processorSeconds(server.identifier)
        usleep(1_000_000)
        #expect(try processorSeconds(server.identifier) - before < 0.2, "nothing is left to do")
        let second = try start()
        let begin = Date()
        server.terminate()
        #expect(server.wait() == 0)
        #expect(Date().timeIntervalSince(begin) < 3.5)
        let again = try RunningServer(database: database)
        let text = try again.curl(second).text
        #expect(text.contains("\"failed\"") && text.contains("\"interrupted\""), "\(text)")
        #expect(try again.curl(first).text.contains("\"cancelled\""))
    }

    /// Who waits for an answer when the service stops gets one.
    @Test func aStopIsAnsweredToWhoWaits() throws {
        let server = try RunningServer(database: database, ["--grace", "3", "--time-limit", "600"])
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
        process.arguments = [
            "-sS", "--noproxy", "*", "-w", " %{http_code}", "-H", "Content-Type: application/json", "-d",
            #"{"configuration": "linux-6.1", "nesting": 3}"#, "http://127.0.0.1:\(server.port)/v1/simulations",
        ]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        for _ in 0..<200 {
            if try server.curl("/metrics").text.contains("gatehouse_simulations_running 1\n") { break }
            usleep(50_000)
        }
        let begin = Date()
        server.terminate()
        #expect(server.wait() == 0)
        #expect(Date().timeIntervalSince(begin) < 3.5)
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(text.hasSuffix(" 503") && text.contains("stopped before its end"), "\(text)")
    }
}

import EntryCode
import Testing

@testable import Reports

@Suite struct ReportJSONTests {
    /// `Report (JSON)` of the interface: each of its members, under its name, with its kind of value.
    @Test func keysAreThoseOfTheContract() throws {
        let json = HandMade.report.json
        for key in ["id", "configuration", "state", "verdict", "summary", "violations", "costs", "model"] {
            #expect(json.keys.contains(key), "\(key)")
        }
        #expect(json["configuration"]?.keys == ["id", "name"])
        let summary = try #require(json["summary"])
        for key in [
            "scenarios", "holds", "violated", "undecided", "instructions", "states", "nesting", "elapsed_seconds",
        ] {
            #expect(summary.keys.contains(key), "\(key)")
        }
        let violation = try #require(json["violations"]?.arrayValue?.first)
        for key in ["scenario", "rule", "at", "explanation", "consequence", "console", "links"] {
            #expect(violation.keys.contains(key), "\(key)")
        }
        #expect(violation["at"]?["routine"] == "do_int3")
        #expect(violation["at"]?["step"] == 57)
        #expect(violation["at"]?["instruction"] == "pushq %rax")
        #expect(violation["consequence"]?["rule"] == "unexpected-fault")
        #expect(violation["consequence"]?["vector"] == "general_protection")
        #expect(violation["consequence"]?["error_code"] == "0x0")
        #expect(violation["console"] == "general protection fault: 0000\nRIP: e030:x+0x0/0x7")
        #expect(violation["links"]?["trace"] == "/v1/simulations/s/scenarios/xen-pv/int3/kernel/return/trace")
        #expect(
            json["costs"]?.arrayValue?.first?.keys == [
                "scenario", "instructions", "memory_words", "hypervisor_entries", "msr_accesses", "cr3_writes",
                "serialising_instructions",
            ])
        #expect(json["model"]?["version"] == "1.0.0")
        #expect(json["model"]?["limits"]?["steps"] == 20_000)
    }

    @Test func bytesAndTreeAreOneDocument() throws {
        for report in Fixture.all.map(\.report) + [HandMade.report] {
            var limits = JSONLimits()
            limits.values = .max
            limits.size_bytes = .max
            let parsed = try JSON.parse(report.bytes, limits: limits)
            #expect(parsed.duplicateKeys.isEmpty)
            #expect(parsed.value == report.json)
            #expect(report.json.bytes == report.bytes)
        }
    }

    @Test func readsBackWhatItWrote() throws {
        for report in Fixture.all.map(\.report) + [HandMade.report] {
            #expect(try Report(bytes: report.bytes) == report)
            #expect(try Report(json: report.json) == report)
        }
    }

    /// Property: any strings and numbers survive. A failure prints the seed.
    @Test(arguments: 0..<64) func readsBackRandomReports(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let report = random.report()
        #expect(try Report(bytes: report.bytes) == report, "seed \(seed)")
    }

    @Test func saysWhereADocumentIsWrong() throws {
        func fault(_ change: (JSON) -> JSON) -> ReportReadError? {
            do throws(ReportReadError) {
                _ = try Report(json: change(HandMade.report.json))
                return nil
            } catch { return error }
        }
        #expect(fault { $0.setting("verdict", 3) }?.pointer == "/verdict")
        #expect(fault { $0.setting("summary", .object([])) }?.pointer == "/summary/scenarios")
        #expect(fault { $0.setting("costs", .array([.object([]), "x"])) }?.pointer == "/costs/0/scenario")
        #expect(fault { _ in "x" }?.pointer == "")
        #expect(fault { $0.setting("added-later", "x") } == nil)
    }

    @Test func sameInputSameBytes() {
        let sample = Fixture.linux52
        let again = Report(
            result: sample.table.simulate(sample.request), request: sample.request,
            configuration: sample.report.configuration, kernel: "linux-5.2", id: "sim-1", elapsed_seconds: 0.0041,
            created: "2019-07-11T09:00:00Z")
        #expect(again.bytes == sample.report.bytes)
        #expect(again.text == sample.report.text)
    }

    @Test func withoutAnIdThereAreNoLinks() throws {
        let sample = Fixture.linux52
        let report = Report(
            result: sample.result, request: sample.request, configuration: sample.report.configuration,
            kernel: "linux-5.2")
        #expect(report.json["id"] == .null)
        #expect(report.json["violations"]?.arrayValue?.first?["links"] == .object([]))
        #expect(report.json["created"] == nil)
    }

    @Test func countsAgreeWithTheRun() {
        for sample in Fixture.all {
            let report = sample.report
            #expect(report.costs.count == report.summary.scenarios)
            #expect(
                report.summary.holds + report.summary.violated + report.summary.undecided == report.summary.scenarios)
            #expect(Set(report.violations.map(\.scenario)).count == report.summary.violated)
            #expect(report.warnings.count == report.summary.warnings)
            #expect(report.costs.reduce(0) { $0 + $1.instructions } == report.summary.instructions)
        }
        #expect(Fixture.linux53.report.verdict == "holds")
        #expect(Fixture.dangling.report.verdict == "invalid")
        #expect(
            Fixture.dangling.report.reasons.contains {
                $0.message.contains("do_nothing_at_all") && $0.pointer.hasSuffix("/handler")
            })
    }

    @Test func tracePathsAreValidPaths() {
        #expect(
            tracePath(simulation: "s", scenario: "a/b/c/d+nmi@int3:4")
                == "/v1/simulations/s/scenarios/a/b/c/d+nmi@int3:4/trace")
        #expect(tracePath(simulation: "s", scenario: "a b?#é") == "/v1/simulations/s/scenarios/a%20b%3F%23%C3%A9/trace")
    }

    @Test func recordsReadBackAndStandOnOneLineEach() throws {
        let records = ScenarioRecord.all(of: Fixture.linux52.result, simulation: "sim-1")
        let lines = ScenarioRecord.ndjson(records).split(separator: 0x0A, omittingEmptySubsequences: false)
        #expect(lines.count == records.count + 1)
        #expect(lines.last?.isEmpty == true)
        for (record, line) in zip(records, lines) {
            #expect(Array(line) == record.bytes)
            #expect(try ScenarioRecord(json: JSON.parse(Array(line)).value) == record)
        }
        let selfTest = try #require(records.first { $0.name == "xen-pv/int3/kernel/self-test" })
        #expect(selfTest.verdict == "violated")
        #expect(selfTest.rule == "live-frame-overwritten")
        #expect(selfTest.ending == "oops")
        #expect(
            [selfTest.platform, selfTest.event, selfTest.context, selfTest.probe] == [
                "xen-pv", "int3", "kernel", "self-test",
            ])
        #expect(!selfTest.reason.isEmpty)
    }
}

/// A small generator of numbers whose state is the seed.
struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    mutating func text() -> String {
        let scalars: [Character] = [
            "a", "/", "\"", "\\", "\n", "\r", "\t", "\u{0}", "\u{1F}", "\u{7F}", "é", "…", "→", "😀", ",", " ",
        ]
        return String((0..<below(12)).map { _ in scalars[below(scalars.count)] })
    }

    mutating func optionalText() -> String? { below(2) == 0 ? nil : text() }

    mutating func report() -> Report {
        var report = HandMade.report
        report.id = optionalText()
        report.created = optionalText()
        report.configuration = Report.Configuration(id: text(), name: optionalText())
        report.kernel = text()
        report.summary.elapsed_seconds = Double(next()) / Double(1 + next() % 1_000_000)
        report.summary.instructions = Int(truncatingIfNeeded: next() >> 1)
        report.reasons = (0..<below(3)).map { _ in
            Report.Reason(rule: text(), pointer: text(), message: text(), location: text())
        }
        report.violations = (0..<below(4)).map { _ in
            var violation = HandMade.violation(text(), console: text())
            violation.explanation = text()
            violation.trace = optionalText()
            if below(2) == 0 {
                violation.consequence = Report.Consequence(
                    rule: text(), vector: optionalText(), errorCode: optionalText(), text: text())
            }
            return violation
        }
        report.undecided = []
        report.limits = [Report.Limit(name: "steps", value: Int(truncatingIfNeeded: next() >> 1))]
        return report
    }
}

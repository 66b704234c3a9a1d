import EntryCode
import Testing
import Verification

@testable import Reports

/// Every line fits, unless a request or a long word is to be copied from it or a console printed it, is printable ASCII, and
/// none ends in a space.
func expectPlain(_ text: String, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(text.hasSuffix("\n"), "\(what)", sourceLocation: sourceLocation)
    var console: Int?
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
        let indent = line.prefix { $0 == " " }.count
        if let start = console, indent <= start { console = nil }
        let fits = line.utf8.count <= 100 || line.contains(": GET /v1/") || console != nil
        if line.hasSuffix("console:") { console = indent }
        let isPlain = fits && line.last != " " && line.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
        #expect(isPlain, "\(what): \(line)", sourceLocation: sourceLocation)
    }
}

@Suite struct TextTests {
    @Test(arguments: Fixture.all) func reportsArePlain(_ sample: Sample) {
        expectPlain(sample.report.text, "text")
        expectPlain(sample.report.wide, "wide")
    }

    @Test func hostileTextIsPlain() {
        for seed in UInt64(0)..<200 {
            var random = SplitMix(state: seed)
            var report = random.report()
            expectPlain(report.text, "seed \(seed)")
            report.configuration.name = String(repeating: "\u{1B}[31mé", count: 60)
            for index in report.violations.indices {
                report.violations[index].explanation = String(repeating: "word" + random.text(), count: 80)
                report.violations[index].console = String(repeating: "x", count: 350)
            }
            report.costs = [HandMade.cost(String(repeating: "n", count: 250), 1)]
            expectPlain(report.text, "seed \(seed)")
            expectPlain(report.wide, "seed \(seed)")
        }
    }

    @Test func goldenReports() throws {
        try expectGolden(HandMade.report.text, "hand-made.txt")
        try expectGolden(HandMade.report.wide, "hand-made-wide.txt")
        try expectGolden(Fixture.linux52.report.text, "linux-5.2.txt")
        try expectGolden(Fixture.linux53.report.text, "linux-5.3.txt")
        try expectGolden(Fixture.dangling.report.text, "dangling.txt")
    }

    @Test func headlineSaysVerdictAndCounts() throws {
        let lines = HandMade.report.text.split(separator: "\n")
        #expect(lines.first == "mine: violated")
        let head = lines.prefix(4).joined(separator: " ")
        #expect(head.contains("4 scenarios: 1 hold, 2 violated, 1 undecided."))
        #expect(head.contains("Xen 4.6"))
        #expect(head.contains("61234 instructions in 4.0 ms."))
    }

    @Test func oneCauseIsOneEntry() {
        let groups = HandMade.report.violationGroups
        #expect(groups.count == 1)
        #expect(groups.first?.scenarios == ["xen-pv/int3/kernel/return", "xen-pv/int3/kernel/oops"])
        #expect(groups.first?.events == ["int3"])
        #expect(HandMade.report.text.contains("xen-pv/int3/kernel/return and 1 more scenario (of event int3)"))
        #expect(HandMade.report.text.contains("8 bytes land on SS ... of the frame -> the return reads it"))
        #expect(HandMade.report.text.contains("      RIP: e030:x+0x0/0x7\n"))
        #expect(HandMade.report.text.contains("general_protection, error code 0x0: the task dies"))
    }

    /// What the kernel is known for comes once each, with all that it breaks; the rest follows.
    @Test func aKnownDefectIsOneEntry() throws {
        let defect = Report.KnownDefect(
            title: "Registers reach C uncleared", why: "Nobody clears them.", fixedBy: ["3ac6d8c787b8"],
            fixedIn: "4.16", cve: ["CVE-2017-0001"])
        var report = HandMade.report
        func known(_ name: String, _ rule: String, _ routine: String) -> Report.Violation {
            var violation = HandMade.violation(name, rule: rule, routine: routine)
            violation.known = defect
            return violation
        }
        report.violations = [
            known("bare-metal-amd/int3/user/return", "register-hygiene", "do_int3"),
            known("bare-metal-amd/debug/user/return", "register-hygiene", "do_debug"),
            known("xen-pv/int3/user/return", "register-hygiene", "do_int3"),
            known("xen-pv/int3/user/return", "information-leak", "do_int3"),
            HandMade.violation("xen-pv/int3/kernel/return", consequence: HandMade.gp),
        ]
        report.warnings = []
        let text = report.text
        let head = "1.  Registers reach C uncleared (CVE-2017-0001; fixed in 4.16 by 3ac6d8c787b8): 3 scenarios\n"
        #expect(text.contains("\nKnown defects of linux-5.2:\n\n" + head + "    Nobody clears them.\n"))
        #expect(text.components("Registers reach C uncleared").count == 2, "once")
        let counts =
            "register-hygiene on bare-metal-amd: 2, register-hygiene on xen-pv: 1, information-leak on xen-pv: 1"
        #expect(text.replacing("\n      ", with: " ").contains("    \(counts)\n"))
        #expect(text.contains("and 2 more scenarios (of events int3, debug)"))
        #expect(text.contains("\nOther violations by cause:\n\n2.  live-frame-overwritten on xen-pv: 1 scenario\n"))
        report.violations.removeLast()
        #expect(!report.text.contains("violations by cause"))
    }

    @Test func aShippedKernelHasAsManyEntriesAsDefects() throws {
        let known = try #require(KernelLibrary.shipped.kernel(named: "linux-5.2")).knownDefects
        let (defects, rest) = Fixture.linux52.report.knownDefects
        #expect(rest.isEmpty && !defects.isEmpty && defects.count <= known.count)
        #expect(Set(defects.map(\.known.title)).count == defects.count)
        for defect in defects {
            let names = Fixture.linux52.report.violations.filter { $0.known == defect.known }.map(\.scenario)
            #expect(Set(defect.all.scenarios) == Set(names) && defect.all.scenarios.count == Set(names).count)
        }
    }

    /// What a console prints can be looked for, word by word, however wide it is.
    @Test func linesOfAConsoleAreNotBroken() {
        var report = HandMade.report
        let line = "(XEN) " + String(repeating: "word ", count: 40) + "end"
        report.violations[0].console = "first\n" + line
        #expect(report.text.contains("      first\n      \(line)\n"))
    }

    /// A service has the trace at a path; it has no file that a command could be given.
    @Test func hintsOfAKeptReportAreRequests() {
        #expect(
            HandMade.report.text.contains(
                "    trace: GET /v1/simulations/s/scenarios/xen-pv/int3/kernel/return/trace?format=text\n"))
        #expect(!HandMade.report.text.contains("gatehouse trace"))
        var report = HandMade.report
        report.violations[0].trace = "/v1/simulations/s/scenarios/" + String(repeating: "n", count: 100) + " é/trace"
        #expect(report.text.contains("trace: GET /v1/simulations/s/scenarios/nnnn"))
        #expect(report.text.contains("n%20%C3%A9/trace?format=text\n"))
    }

    /// What was checked may be called otherwise than its document calls itself, and may have run under another Xen.
    @Test func hintsOfACommandRepeatItsWords() {
        func hint(_ table: String, _ machine: [String] = []) -> String {
            var report = HandMade.report
            report.violations[0].trace = nil
            report.command = Report.Command(table: table, machine: machine)
            let lines = report.text.split(separator: "\n", omittingEmptySubsequences: false)
            guard let start = lines.firstIndex(where: { $0.hasPrefix("    trace:") }) else { return "" }
            return lines[start...].prefix { !$0.hasPrefix("    also:") }.joined(separator: "\n")
        }
        let scenario = "xen-pv/int3/kernel/return"
        #expect(hint("tables/x.json") == "    trace: gatehouse trace tables/x.json \(scenario)")
        #expect(hint("-") == "    trace: gatehouse trace - \(scenario)")
        #expect(hint("-x") == "    trace: gatehouse trace ./-x \(scenario)")
        #expect(hint("my table's") == "    trace: gatehouse trace 'my table'\\''s' \(scenario)")
        #expect(hint("x.json", ["--xen", "4.17"]) == "    trace: gatehouse trace x.json \(scenario) --xen 4.17")
        let long = String(repeating: "l", count: 120)
        #expect(
            hint(long, ["--xen", "4.17"]) == "    trace: gatehouse trace \(long) \\\n      \(scenario) --xen 4.17")
        // No command and no service: nothing to go on with.
        var report = HandMade.report
        for index in report.violations.indices { report.violations[index].trace = nil }
        report.warnings = []
        #expect(!report.text.contains("trace:"))
    }

    /// Of many scenarios a few are named, and the report says where all are.
    @Test func namesThatAGroupLeavesOutCanBeFound() {
        var report = HandMade.report
        let names = (0..<7).map { "xen-pv/int3/kernel/probe-\($0)" }
        report.warnings = []
        report.violations = names.prefix(5).map { HandMade.violation($0) }
        let also = "    also: " + names[1...4].joined(separator: ", ")
        func plain() -> String { report.text.replacing("\n      xen", with: " xen").replacing("\n\n", with: "\n") }
        #expect(plain().contains(also + "\n"))
        #expect(!plain().contains("Every scenario"))
        report.violations = names.map { HandMade.violation($0) }
        #expect(plain().contains(also + " and 2 more\n"))
        let label = "\nEvery scenario and the rules that it breaks: "
        #expect(plain().contains(label + "GET /v1/simulations/s?format=wide\n"))
        report.id = nil
        #expect(!plain().contains("Every scenario"))
        report.command = Report.Command(
            table: "x.json", machine: ["--xen", "4.17"], selection: ["--scenarios", "xen-pv/*"])
        #expect(
            report.text.contains(
                label + "gatehouse check x.json --xen 4.17 --scenarios \\\n  'xen-pv/*' --format wide\n"))
        // Warnings are in that list, too.
        report.warnings = [HandMade.violation("xen-pv/debug/user/return", rule: "w", severity: "warning")]
        #expect(report.wide.contains("xen-pv/debug/user/return  w (warning)\n"))
    }

    /// What does not crash has a consequence as well: cause, then consequence.
    @Test func silentConsequencesAreShown() {
        var report = HandMade.report
        let silent = Report.Consequence(
            rule: "user-gs-base", vector: nil, errorCode: nil, text: "silent corruption: nothing crashes")
        report.violations = [HandMade.violation("xen-pv/int3/kernel/return", consequence: silent)]
        #expect(report.text.contains("\n    then: silent corruption: nothing crashes\n"))
    }

    @Test func otherPlatformsRulesPlacesAndConsequencesAreOtherEntries() {
        let base = HandMade.violation("xen-pv/int3/kernel/return", consequence: HandMade.gp)
        var report = HandMade.report
        var next = HandMade.gp
        next.errorCode = "0x8"
        let different = [
            HandMade.violation("bare-metal-amd/int3/kernel/return", consequence: HandMade.gp),
            HandMade.violation("xen-pv/int3/kernel/oops", rule: "resumption", consequence: HandMade.gp),
            HandMade.violation("xen-pv/int3/kernel/oops", routine: "xenint3", consequence: HandMade.gp),
            HandMade.violation("xen-pv/int3/kernel/oops", consequence: next),
            HandMade.violation("xen-pv/int3/kernel/oops"),
        ]
        for other in different {
            report.violations = [base, other]
            #expect(report.violationGroups.count == 2)
        }
        // What crashes comes before what is only latent.
        report.violations = [HandMade.violation("xen-pv/int3/kernel/oops"), base]
        #expect(report.violationGroups.map(\.example) == [base, report.violations[0]])
    }

    /// The defect of the 2019 report: one entry on Xen PV, with its console, and none of that rule elsewhere.
    @Test func theDefectOfLinux52IsOneEntry() throws {
        let groups = Fixture.linux52.report.violationGroups.filter { $0.example.rule == "live-frame-overwritten" }
        #expect(groups.count == 1)
        let group = try #require(groups.first)
        #expect(group.platform == "xen-pv")
        #expect(group.events == ["int3"])
        #expect(group.scenarios.contains("xen-pv/int3/kernel/self-test"))
        #expect(group.example.consequence?.vector == "general_protection")
        // The self test of the kernel shows the addresses of the machine of the report; others are made up.
        #expect(group.example.scenario == "xen-pv/int3/kernel/self-test")
        #expect(group.scenarios.first != "xen-pv/int3/kernel/self-test")
        let text = Fixture.linux52.report.text
        #expect(text.contains("      RIP: e030:int3_magic+0x0/0x7\n"))
        #expect(text.contains("      RSP: 3507:ffffffff82203e98 "))
        #expect(Fixture.linux52.report.violationGroups.count < 20)
        #expect(Fixture.linux53.report.violationGroups.isEmpty)
        let broken = Fixture.withoutGap.report.violationGroups.filter { $0.example.rule == "live-frame-overwritten" }
        #expect(Set(broken.map(\.platform)) == ["bare-metal-intel", "bare-metal-amd", "xen-pv"])
    }

    @Test func invalidTablesSayWhy() {
        let text = Fixture.dangling.report.text
        #expect(text.hasPrefix("dangling: invalid\n"))
        #expect(text.contains("The table cannot be run:"))
        #expect(text.contains("do_nothing_at_all"))
        #expect(!text.contains("platform  "))
    }

    /// An obstacle is one of the platforms that did not run, and a warning is none.
    @Test func obstaclesNameTheirPlatform() {
        func reason(_ rule: String) -> Report.Reason {
            Report.Reason(rule: rule, pointer: "/x", message: "message of \(rule)", location: "")
        }
        var report = HandMade.report
        report.verdict = "invalid"
        report.reasons = [reason("unreachable-entry"), reason("dangling-reference")]
        func head() -> [String] {
            report.text.split(separator: "\n").filter { !$0.hasPrefix(" ") }.map(String.init).filter {
                $0.contains("cannot be run") || $0.hasPrefix("Warnings about")
            }
        }
        // xen-pv ran.
        report.request.scenarios = []
        report.request.platforms = ["bare-metal-amd", "xen-pv"]
        #expect(head() == ["The table cannot be run on bare-metal-amd:", "Warnings about the table:"])
        #expect(
            report.text.contains(
                "\nThe table cannot be run on bare-metal-amd:\n  dangling-reference: message of dangling-reference\n"))
        #expect(report.text.contains("\nWarnings about the table:\n  unreachable-entry: message of "))
        report.request.platforms = ["bare-metal-intel", "bare-metal-amd", "xen-pv"]
        #expect(head().first == "The table cannot be run on bare-metal-intel and bare-metal-amd:")
        // One of them may only have had nothing to run.
        report.request.scenarios = ["xen-pv/*"]
        #expect(head().first == "The table cannot be run on one or more of bare-metal-intel, bare-metal-amd:")
        // A kernel without XEN_PV does not run there: that is no obstacle where something else is.
        report.costs = []
        report.request = Report.Request(platforms: ["bare-metal-intel", "xen-pv"], scenarios: [])
        report.reasons = [reason("platform-not-configured"), reason("dangling-reference")]
        #expect(head() == ["The table cannot be run on bare-metal-intel:", "Warnings about the table:"])
        report.reasons = [reason("platform-not-configured")]
        report.request.platforms = ["xen-pv"]
        #expect(head() == ["The table cannot be run on xen-pv:"])
        // Everywhere.
        report.request.platforms = ["bare-metal-intel", "xen-pv"]
        report.reasons = [reason("dangling-reference")]
        #expect(head() == ["The table cannot be run:"])
    }

    @Test func undecidedSaysWhichLimit() {
        #expect(HandMade.report.text.contains("xen-pv/nmi/user/return: limit 'steps' of 20000 reached"))
    }

    @Test func costsAreOfReturnsThatDidNotGoAstray() throws {
        let lines = HandMade.report.text.split(separator: "\n")
        // int3/kernel/return crashes, nmi/user/return is undecided: debug/user/return alone counts.
        let row = try #require(lines.first { $0.hasPrefix("xen-pv") && $0.contains("from user") })
        #expect(row.split(separator: " ").suffix(3) == ["30", "30", "30"])
        #expect(!lines.contains { $0.contains("from kernel") })
    }

    @Test func wideHasALineForEachScenario() {
        let lines = HandMade.report.wide.split(separator: "\n").dropFirst(2)
        #expect(lines.map { $0.split(separator: " ").first } == ["violated", "violated", "holds", "undecided"])
        #expect(lines.first?.hasSuffix("xen-pv/int3/kernel/return  live-frame-overwritten") == true)
    }

    @Test func csvFollowsRFC4180() {
        var report = HandMade.report
        report.violations[0].at.instruction = "movq \"x\", 8(%rsp)"
        let rows = report.csv.components("\r\n")
        #expect(rows.count == report.costs.count + 2)
        #expect(rows.last == "")
        #expect(rows[0].hasPrefix("scenario,verdict,rule,instructions,"))
        #expect(
            rows[1]
                == "xen-pv/int3/kernel/return,violated,live-frame-overwritten,10,40,1,2,3,4,do_int3,\"movq \"\"x\"\", 8(%rsp)\""
        )
        #expect(rows[3] == "xen-pv/debug/user/return,holds,,30,40,1,2,3,4,,")
        #expect(rows[4].hasPrefix("xen-pv/nmi/user/return,undecided,,40,"))
        #expect(csvField("a\nb") == "\"a\nb\"")
        #expect(csvField("plain") == "plain")
    }

    @Test func linesOfAListFit() {
        #expect(ScenarioRecord.line(name: "a/b/c/d", verdict: "holds", rule: nil) == "holds     a/b/c/d\n")
        #expect(ScenarioRecord.line(name: "a/b", verdict: "violated", rule: "progress") == "violated  a/b  progress\n")
        let name = "bare-metal-intel/coprocessor_segment_overrun/user/sigreturn-noncanonical-rip"
        #expect(
            ScenarioRecord.line(name: name, verdict: "violated", rule: "speculation-barrier")
                == "violated  \(name)\n            speculation-barrier\n")
    }

    @Test func asciiKeepsMeaning() {
        #expect(ascii("a … b → c ≤ “d”") == "a ... b -> c <= \"d\"")
        #expect(ascii("\u{1B}[31m\u{7}\u{9B}\u{202E}é") == "\\x1b[31m\\x07\\x9b\\u202e?")
        #expect(ascii("two\nlines\tand") == "two\nlines and")
    }

    @Test func printableEscapesWhatATerminalObeys() {
        #expect(printable("é \u{1B}[2J\n\u{7F}\u{202E}") == "é \\x1b[2J\\x0a\\x7f\\u202e")
        #expect(printable("two\n\tlines\r\u{0}", keepsLines: true) == "two\n\tlines\\x0d\\x00")
        #expect(printable("plain é") == "plain é")
    }

    @Test func durationsForPeople() {
        #expect(duration(seconds: 0.004) == "4.0 ms")
        #expect(duration(seconds: 0.00004) == "0.0 ms")
        #expect(duration(seconds: 1.694) == "1.69 s")
        #expect(duration(seconds: 0.9999) == "1.00 s")
        #expect(duration(seconds: .nan) == "?")
    }

    @Test func commandsCanBeCopied() {
        #expect(shellWord("linux-5.2") == "linux-5.2")
        #expect(shellWord("it's $HOME") == "'it'\\''s $HOME'")
        #expect(shellWord("") == "''")
        #expect(shellWord("é\n'\\") == "$'\\303\\251\\012\\'\\\\'")
    }
}

extension String {
    /// The parts between occurrences of a separator; `\r\n` is one character of a Swift string, so bytes are compared.
    func components(_ separator: String) -> [String] {
        var parts: [[UInt8]] = [[]]
        var rest = Array(utf8)[...]
        let mark = Array(separator.utf8)
        while let byte = rest.first {
            if rest.starts(with: mark) {
                parts.append([])
                rest = rest.dropFirst(mark.count)
            } else {
                parts[parts.count - 1].append(byte)
                rest = rest.dropFirst()
            }
        }
        return parts.map { String(decoding: $0, as: UTF8.self) }
    }
}

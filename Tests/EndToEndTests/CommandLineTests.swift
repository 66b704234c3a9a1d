import Foundation
import Testing

/// The command line, by its exit codes and what it prints.
struct CommandLineTests {
    @Test func theExitCodeIsTheVerdict() throws {
        let violated = try Program.run(["check", "linux-5.2"])
        #expect(violated.status == 1)
        #expect(violated.text.hasPrefix("linux-5.2: violated\n"))
        #expect(violated.text.contains("live-frame-overwritten on xen-pv"))
        #expect(violated.text.contains("general protection fault: 0000"))
        #expect(violated.text.contains("RIP: e030:int3_magic+0x0/0x7"))
        #expect(violated.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 100 })
        let holds = try Program.run(["check", "linux-5.3"])
        #expect(holds.status == 0, "\(holds.text.prefix(400))")
        #expect(holds.text.hasPrefix("linux-5.3: holds\n"))
    }

    @Test func whatCannotBeCheckedExitsWith2() throws {
        for (arguments, input, hint) in [
            (["check", "linux-5.22"], "", "did you mean 'linux-5.2'?"),
            (["check", "/nonexistent/table.json"], "", "No such file"), (["check", "/"], "", "Is a directory"),
            (["check", "-"], "{", "line 1, column 2"), (["check", "-"], "", "line 1"),
            (["check", "-"], #"{"kernel": "linux-5.2", "entrys": [], "idt": [7]}"#, "/entrys"),
            (["check", "-"], #"{"kernel": "linux-5.2", "entrys": [], "idt": [7]}"#, "/idt/0"),
            (["check", "linux-5.2", "--scenarios", "nothing/*"], "", "no scenario matches"),
            (["check", "linux-5.2", "--nesting", "4"], "", "0 to 3"),
            (["check", "linux-5.2", "--nesting", "-1"], "", "0 to 3"),
            (["check", "linux-5.2", "--time-limit", "0"], "", "1 to 86400"),
            (["check", "linux-5.2", "--nested-runs", "-5"], "", "nested-runs"),
            (["serve", "--workers", "-1"], "", "workers 1 to"),
            (["serve", "--time-limit", "0"], "", "time-limit 1 to"),
            (["check", "linux-5.2", "--xen", "4.5"], "", "4.6"),
            (["check", "linux-5.2", "--format", "xml"], "", "ndjson"),
            (["check", "linux-5.2", "--platform", "arm"], "", "xen-pv"), (["check"], "", "Usage"),
            (["chek"], "", "Usage"),
            (["trace", "linux-5.2", "no/such/scenario/here"], "", "no scenario"),
            (
                ["trace", "linux-5.2", "xen-pv/int3/kernel/self-test", "--format", "csv"], "",
                "'json', 'text' or 'ndjson'"
            ),
            (["listing", "linux-5.2", "eror_entry"], "", "did you mean 'error_entry'?"),
            (["kernels", "linux-9"], "", "linux-5.2"), (["rules", "live-frame"], "", "no rule"),
            (["defects", "xenpv-int3-nogap"], "", "did you mean 'xenpv-int3-no-gap'?"),
            (["defects", "--broken"], "", "need the id"), (["defects", "x", "--broken", "--check"], "", "exclude"),
            (["defects", "xsa136-compat-iret", "--broken"], "", "is not modelled: "),
            (["costs", "linux-5.2", "linux-5.3", "--scenarios", "nothing/*"], "", "no scenario of both"),
            (["costs", "linux-5.2", "linux-5.3", "--format", "csv"], "", "'json' and 'text'"),
            (["serve", "--listen", "nowhere"], "", "not an address"), (["serve", "--workers", "0"], "", "workers"),
        ] {
            let outcome = try Program.run(arguments, input: [UInt8](input.utf8))
            #expect(outcome.status == 2, "\(arguments): \(outcome.errors)")
            #expect(outcome.errors.contains(hint), "\(arguments): \(outcome.errors)")
            #expect(outcome.output.isEmpty, "\(arguments)")
        }
        let invalid = try Program.run(
            ["check", "-"], input: [UInt8](#"{"kernel": "linux-5.2", "idt": [{"vector": 3, "entry": "nobody"}]}"#.utf8))
        #expect(invalid.status == 2)
        #expect(invalid.text.hasPrefix("-: invalid\n") && invalid.text.contains("dangling-reference"))
    }

    @Test func defectsAreListedExplainedPrintedAndRun() throws {
        let list = try Program.run(["defects"])
        #expect(list.status == 0 && list.text.contains("2019 xenpv-int3-no-gap: found by live-frame-overwritten"))
        #expect(list.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 100 })
        let one = try Program.run(["defects", "xenpv-int3-no-gap"])
        #expect(one.text.contains("b23e5844dfe7"))
        #expect(try Program.run(["defects", "xenpv-int3-no-gap", "--json"]).text.contains("\"links\""))
        for (side, status) in [("--broken", Int32(1)), ("--fixed", 0)] {
            let table = try Program.run(["defects", "xenpv-int3-no-gap", side])
            let check = try Program.run(["check", "-", "--scenarios", "xen-pv/int3/kernel/*"], input: table.output)
            #expect(check.status == status, "\(check.text.prefix(400))")
        }
        let check = try Program.run(["defects", "xenpv-int3-no-gap", "--check"])
        #expect(check.status == 0 && check.text.hasPrefix("confirmed  xenpv-int3-no-gap: "))
    }

    @Test func defectsOfAFolder() throws {
        let folder = try Folder()
        let text = #"""
            {"id": "x", "title": "t", "year": 2019, "os": "linux", "affected": "a", "layer": "asm", "wrong": "w",
             "right": "r", "outcome": "o", "model": {"kernel": "linux-5.3", "broken": [{"remove": "idt/5"}],
             "scenarios": ["*/bounds/user/return"], "rule": "progress", "evidence": "never"}}
            """#
        try Data(text.utf8).write(to: folder.url.appending(path: "x.json"))
        let check = try Program.run(["defects", "--defects", folder.url.path, "--check"])
        #expect(check.status == 1, "\(check.errors)")
        #expect(check.text.contains("not so     x (progress)"))
        try Data("{".utf8).write(to: folder.url.appending(path: "y.json"))
        let faulty = try Program.run(["defects", "--defects", folder.url.path])
        #expect(faulty.status == 2 && faulty.errors.contains("y.json"))
    }

    @Test func costsAreCompared() throws {
        let costs = try Program.run(["costs", "linux-5.2", "linux-5.3", "--scenarios", "*/page_fault/*"])
        #expect(costs.status == 0 && costs.text.hasPrefix("linux-5.2 -> linux-5.3: "))
        #expect(costs.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 100 })
        let json = try Program.run(
            ["costs", "linux-5.2", "linux-5.3", "--platform", "xen-pv", "--format", "json"])
        #expect(json.status == 0 && json.text.contains("\"hypervisor_entries\""))
        #expect(try Program.run(["coverage"]).text.hasPrefix("# Historic defects"))
    }

    @Test func standardInputIsATable() throws {
        let kernel = try Program.run(["kernels", "linux-5.2"])
        #expect(kernel.status == 0)
        let check = try Program.run(
            ["check", "-", "--scenarios", "xen-pv/int3/kernel/self-test"], input: kernel.output)
        #expect(check.status == 1)
        #expect(check.text.contains("RIP: e030:int3_magic+0x0/0x7"))
        let later = try Program.run(
            ["check", "-", "--scenarios", "xen-pv/int3/*", "--xen", "4.17"], input: kernel.output)
        #expect(later.text.contains("general protection fault: 3504"))
    }

    @Test func aPatchIsTriedAndTablesAreCompared() throws {
        let folder = try Folder()
        let path = folder.url.appendingPathComponent("int3.patch")
        let patch =
            "--- a/arch/x86/xen/enlighten_pv.c\n+++ b/arch/x86/xen/enlighten_pv.c\n@@ -600 +600 @@\n"
            + "-\t{ int3, xen_xenint3, true },\n+\t{ int3, xen_int3, false },\n"
        try Data(patch.utf8).write(to: path)
        let selection = ["--scenarios", "xen-pv/int3/*"]
        let fixed = try Program.run(["check", "linux-5.2", "--patch", path.path] + selection)
        #expect(fixed.status == 0, "\(fixed.errors)")
        #expect(
            fixed.text.contains("trap array: + int3 xen_int3 false") && fixed.text.contains("0 regressed, 11 fixed"))
        let broken = try Program.run(
            ["check", "linux-5.2", "--patch", "-"] + selection, input: Array("@@ -1 +1 @@\n".utf8))
        #expect(broken.status == 2 && broken.errors.contains("nothing of it was applied"))
        let same = try Program.run(["diff", "linux-5.2", "linux-5.2"] + selection)
        #expect(same.status == 0 && same.text.contains("The tables are the same."))
        let back = try Program.run(["diff", "linux-5.3", "linux-5.2"] + selection)
        #expect(back.status == 1 && back.text.split(separator: "\n").allSatisfy { $0.utf8.count <= 72 })
        let nothing = try Program.run(["import", folder.url.path])
        #expect(nothing.status == 2 && nothing.errors.contains("no file of the entry code"))
    }

    /// Usage is that of the command that was called.
    @Test func faultsOfOptionsShowTheUsageOfTheCommand() throws {
        for (arguments, usage) in [
            (["check", "linux-5.2", "--nesting", "4"], "gatehouse check"),
            (["serve", "--listen", "nowhere"], "gatehouse serve"), (["serve", "--workers", "0"], "gatehouse serve"),
            (["serve", "--listen", "127.0.0.1:9", "--listen", "127.0.0.1:9"], "gatehouse serve"),
            (["check", "linux-5.2", "--platform", "arm"], "gatehouse check"),
        ] {
            let outcome = try Program.run(arguments)
            #expect(outcome.status == 2)
            #expect(outcome.errors.contains("Usage: \(usage) "), "\(arguments): \(outcome.errors)")
        }
    }

    /// A service that could not start leaves no file behind, and what is no database of ours as it was.
    @Test func aFailedStartLeavesNothingBehind() throws {
        let folder = try Folder()
        func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder.url.path) }
        func start(_ address: String, _ file: String) throws -> Program.Outcome {
            try Program.run(
                ["serve", "--listen", address, "--database", folder.url.appendingPathComponent(file).path])
        }
        let other = try Folder()
        let running = try RunningServer(database: other.url.appendingPathComponent("d.sqlite"))
        let taken = try start("127.0.0.1:\(running.port)", "new.sqlite")
        #expect(taken.status == 2)
        #expect(taken.errors.contains("cannot listen: 127.0.0.1:\(running.port): bind: Address already in use"))
        #expect(try names() == [])
        let garbage = Data("no database at all, but somebody's own file".utf8)
        try garbage.write(to: folder.url.appendingPathComponent("garbage"))
        let refused = try start("127.0.0.1:0", "garbage")
        #expect(refused.status == 2)
        #expect(refused.errors.contains("[not-a-database]"), "\(refused.errors)")
        #expect(try names() == ["garbage"])
        #expect(try Data(contentsOf: folder.url.appendingPathComponent("garbage")) == garbage)
        // A lock that another process holds stays where it is.
        let locked = try Program.run(
            ["serve", "--listen", "127.0.0.1:0", "--database", other.url.appendingPathComponent("d.sqlite").path])
        #expect(locked.errors.contains("[in-use]"), "\(locked.errors)")
        #expect(FileManager.default.fileExists(atPath: other.url.appendingPathComponent("d.sqlite.lock").path))
        #expect(running.isRunning)
    }

    /// A list over HTTP is for people, too.
    @Test func listsOverHTTPFit() throws {
        let folder = try Folder()
        let server = try RunningServer(database: folder.url.appendingPathComponent("gatehouse.sqlite"))
        let created = try server.curl("/v1/simulations", post: [UInt8](#"{"configuration": "linux-5.2"}"#.utf8))
        let path = try #require(created.field("location"))
        let list = try server.curl("\(path)/scenarios?format=text&limit=1000").text.split(separator: "\n")
        #expect(list.count >= 1000)
        for line in list { #expect(line.utf8.count <= 100 && line.last != " ", "\(line)") }
        let rule = try server.curl("/v1/rules/progress?format=text").text
        #expect(rule.contains("\n  Why: ") && rule.contains("\n  Source: "), "\(rule)")
    }

    /// Names come from others: a terminal must not obey them.
    @Test func controlCharactersAreEscaped() throws {
        let escape = "\u{1B}[31m"
        let key = #"{"kernel": "linux-5.2", "a\u001b[31m\u009bb\nfake line": 1}"#
        for (arguments, input) in [
            (["check", "-"], key), (["check", "/nonexistent/\(escape)"], ""), (["check", "linux-5.2", escape], ""),
            (["check", "-"], #"{"kernel": "linux-5.2\u001b[31m"}"#), (["trace", "linux-5.2", "xen-pv/\(escape)"], ""),
            (["check", "-"], #"{"kernel": "linux-5.2", "routines": {"error_entry": "\u001b[31m\n"}}"#),
            (["listing", "-"], #"{"kernel": "linux-5.2", "routines": {"error_entry": "\u001b[31m\n"}}"#),
            (["listing", "linux-5.2", escape], ""), (["rules", escape], ""),
        ] {
            let outcome = try Program.run(arguments, input: [UInt8](input.utf8))
            #expect(outcome.status == 2)
            let all = outcome.errors + outcome.text
            #expect(all.unicodeScalars.allSatisfy { $0 == "\n" || ($0.value >= 0x20 && $0.value < 0x7F) }, "\(all)")
        }
        let faults = try Program.run(["check", "-"], input: [UInt8](key.utf8)).errors
        #expect(faults.contains(#"a\x1b[31m\x9bb\x0afake line"#), "\(faults)")
    }

    /// What is wrong is said with the platform that it is wrong on, warnings apart.
    @Test func obstaclesAreOfAPlatform() throws {
        let table = [UInt8](#"{"kernel": "linux-5.2", "xen": {"traps": [{"native": "int3", "entry": "nobody"}]}}"#.utf8)
        let check = try Program.run(["check", "-"], input: table)
        #expect(check.status == 2)
        #expect(check.text.contains("\nThe table cannot be run on xen-pv:\n  dangling-reference: "), "\(check.text)")
        #expect(check.text.contains("\nWarnings about the table:\n  unreachable-entry: "), "\(check.text)")
        let listing = try Program.run(["listing", "-", "--platform", "xen-pv"], input: table)
        #expect(listing.status == 2)
        #expect(listing.errors.contains("the table cannot be run on xen-pv:\n"), "\(listing.errors)")
        #expect(try Program.run(["listing", "-"], input: table).status == 0)
    }

    /// A result that was not written is no result, whatever the verdict; a reader that went away is no failure.
    @Test func failedOutputExitsWith2() throws {
        for command in [
            "kernels linux-5.2", "kernels", "rules", "check linux-5.3", "check linux-5.2 --format json", "--help",
            "--version", "listing linux-5.2", "serve --listen 127.0.0.1:0 --database :database:",
        ] {
            let folder = try Folder()
            let database = folder.url.appendingPathComponent("d.sqlite").path
            let script = "exec '\(Program.path)' \(command.replacing(":database:", with: database)) >/dev/full"
            let outcome = try Program.run(["-c", script], executable: "/bin/sh")
            #expect(outcome.status == 2, "\(command): \(outcome.errors)")
            #expect(outcome.errors.contains("standard output: No space left on device"), "\(command)")
        }
        let reader = "'\(Program.path)' kernels linux-5.2 | head -c 10; echo \"${PIPESTATUS[0]}\" >&2"
        let piped = try Program.run(["-c", reader], executable: "/bin/bash")
        #expect(["141\n", "0\n"].contains(piped.errors), "\(piped.errors)")
    }

    /// What a report proposes runs as it stands, and shows the scenario of the report.
    @Test func theTraceCommandOfAReportRuns() throws {
        let folder = try Folder()
        let file = folder.url.appendingPathComponent("a table's é.json")
        try Data(try Program.run(["kernels", "linux-5.2"]).output).write(to: file)
        for (table, input) in [(file.path, [UInt8]()), ("-", [UInt8](try Data(contentsOf: file)))] {
            let check = try Program.run(
                ["check", table, "--scenarios", "xen-pv/int3/kernel/self-test", "--xen", "4.17"], input: input)
            let lines = check.text.split(separator: "\n").drop { !$0.hasPrefix("    trace: ") }
            let command = lines.prefix { $0.hasPrefix("    ") }.joined(separator: "\n").dropFirst("    trace: ".count)
            #expect(command.hasPrefix("gatehouse trace "), "\(check.text)")
            let path = "'" + Program.path + "'"
            let script = "gatehouse() { \(path) \"$@\"; }\n\(command)\n"
            let trace = try Program.run(["-c", script], executable: "/bin/bash", input: input)
            #expect(trace.status == 0, "\(command): \(trace.errors)")
            #expect(trace.text.hasPrefix("xen-pv/int3/kernel/self-test: violated\n"))
            // The release of Xen of the check, not the table's own: the error code and the address are Xen 4.17's.
            #expect(trace.text.contains("general protection fault: 3504"), "\(command)")
        }
    }

    /// `make run`: the first thing that anybody sees is the crash of the 2019 report, at its addresses.
    @Test func theDemoShowsTheSelfTest() throws {
        let folder = try Folder()
        let demo = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("deploy/demo")
        let outcome = try Program.run(
            [
                "GATEHOUSE_DEMO_ONCE=1", "GATEHOUSE_LISTEN=127.0.0.1:0", "no_proxy=*",
                "GATEHOUSE_DATABASE=\(folder.url.appendingPathComponent("demo.sqlite").path)", demo.path, Program.path,
            ], executable: "/usr/bin/env")
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(outcome.text.contains("RIP: e030:int3_magic+0x0/0x7"))
        #expect(outcome.text.contains("RSP: 3507:ffffffff82203e98"))
        // What it says one can ask next can be asked of it: there is no file that a command could name.
        #expect(outcome.text.contains("trace: GET /v1/simulations/"))
    }

    @Test func theRestPrintsAndExitsWith0() throws {
        for (arguments, part) in [
            (["trace", "linux-5.2", "xen-pv/int3/kernel/self-test"], "int3_magic"),
            (["trace", "linux-5.2", "xen-pv/int3/kernel/self-test", "--format", "json"], "\"steps\""),
            (["listing", "linux-5.2"], "ENTRY(error_entry)"),
            (["listing", "linux-5.2", "error_entry"], "ENTRY(error_entry)"),
            (["listing", "linux-5.2", "--platform", "xen-pv"], "xen_"), (["kernels"], "linux-5.3"),
            (["kernels", "--json"], "\"linux-5.3\""), (["rules"], "live-frame-overwritten"),
            (["rules", "stack-bounds"], "stack-bounds"), (["rules", "progress"], "\n  Why: "),
            (["rules", "progress"], "\n  Source: "), (["rules", "--json"], "\"stack-bounds\""),
            (["--version"], "0."),
            (["--help"], "serve"), (["help", "check"], "--scenarios"), (["check", "--help"], "--scenarios"),
            ([], "serve"),
        ] {
            let outcome = try Program.run(arguments)
            #expect(outcome.status == 0, "\(arguments): \(outcome.errors)")
            #expect(outcome.text.contains(part), "\(arguments)")
        }
    }

    @Test func everyFormOfACheck() throws {
        let scenario = ["--scenarios", "xen-pv/int3/kernel/self-test"]
        let json = try Program.run(["check", "linux-5.2", "--format", "json"] + scenario)
        #expect(json.status == 1)
        let report = try #require(try JSONSerialization.jsonObject(with: Data(json.output)) as? [String: Any])
        for key in ["id", "configuration", "state", "verdict", "summary", "violations", "costs", "model"] {
            #expect(report[key] != nil, "\(key)")
        }
        #expect(report["verdict"] as? String == "violated")
        let violation = try #require((report["violations"] as? [[String: Any]])?.first)
        for key in ["scenario", "rule", "at", "explanation", "consequence", "console", "links"] {
            #expect(violation[key] != nil, "\(key)")
        }
        // A file is no name: what the document does not say is null.
        let unnamed = try Program.run(
            ["check", "-", "--format", "json"] + scenario, input: [UInt8](#"{"kernel": "linux-5.2"}"#.utf8))
        let other = try #require(try JSONSerialization.jsonObject(with: Data(unnamed.output)) as? [String: Any])
        let configuration = try #require(other["configuration"] as? [String: Any])
        #expect(configuration["name"] is NSNull)
        #expect((configuration["id"] as? String)?.utf8.count == 64)
        let lines = try Program.run(["check", "linux-5.2", "--format", "ndjson"] + scenario).text.split(separator: "\n")
        #expect(lines.count == 1)
        #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) }
        #expect(
            try Program.run(["check", "linux-5.2", "--format", "csv"] + scenario).text.contains(
                "live-frame-overwritten"))
        #expect(try Program.run(["check", "linux-5.2", "--format", "wide"] + scenario).text.contains("self-test"))
    }

    /// The answer of the service and of the command line to the same question say the same.
    @Test func theServiceAndTheCommandLineAgree() throws {
        let folder = try Folder()
        let server = try RunningServer(database: folder.url.appendingPathComponent("gatehouse.sqlite"))
        let table = try Program.run(["kernels", "linux-5.2"]).output
        let local = try Program.run(
            ["check", "-", "--format", "json", "--scenarios", "*/int3/*", "--time-limit", "120"], input: table)
        let remote = try server.curl("/v1/checks?scenarios=*/int3/*", post: table)
        #expect(remote.status == 200)
        let ours = try #require(try JSONSerialization.jsonObject(with: Data(local.output)) as? [String: Any])
        let theirs = try #require(try JSONSerialization.jsonObject(with: Data(remote.body)) as? [String: Any])
        #expect(Set(theirs.keys).isSuperset(of: ours.keys))
        // One content, one id, wherever it is simulated; nothing is kept here that could have another.
        #expect(ours["id"] is NSNull && theirs["id"] is String)
        for key in ["configuration", "verdict", "costs", "request", "model", "xen"] {
            #expect(ours[key] as? NSObject == theirs[key] as? NSObject, "\(key)")
        }
        let rules = { (report: [String: Any]) in
            (report["violations"] as? [[String: Any]] ?? []).map { "\($0["scenario"] ?? "") \($0["rule"] ?? "")" }
        }
        #expect(rules(ours) == rules(theirs) && !rules(ours).isEmpty)
    }
}

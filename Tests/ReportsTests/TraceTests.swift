import EntryCode
import Testing
@testable import Verification

@testable import Reports

@Suite struct TraceTests {
    /// Fact of the 2019 report: the return address that do_int3 pushes for the emulated call lands on SS of the frame.
    @Test func theSelfTestShowsTheOverwrittenWord() throws {
        let trace = try Fixture.linux52.trace("xen-pv/int3/kernel/self-test")
        let text = trace.text
        let lines = text.split(separator: "\n")
        #expect(lines.first == "xen-pv/int3/kernel/self-test: violated")
        // The picture: the word of SS, 8 bytes below the interrupted RSP, is the emulated push now; RSP's slot is intact.
        let address = Fixture.linux52.table.machine.selfTest.map { hexadecimal($0.rsp &- 8) }
        let slot = try #require(address)
        #expect(lines.contains { $0.hasPrefix("  \(slot)  ") && $0.hasSuffix("emulated push") })
        #expect(lines.contains { $0.hasSuffix("RSP of activation 1") })
        // The mark stands below the step of do_int3 and says what was lost.
        let mark = try #require(lines.firstIndex { $0.contains("!!! live-frame-overwritten") })
        #expect(lines[..<mark].last { $0.contains("(C function)") }?.contains("do_int3+0x0/") == true)
        let explanation = lines[mark...].prefix(5).map { $0.drop { $0 == " " } }.joined(separator: " ")
        #expect(explanation.contains("land on SS of the exception frame"))
        #expect(explanation.contains("0x000000000000e02b"))
        #expect(text.contains("RIP: e030:int3_magic+0x0/0x7\n"))
    }

    @Test(arguments: [
        "xen-pv/int3/kernel/self-test", "xen-pv/page_fault/user/return", "bare-metal-intel/int3/user/sigreturn-bad-ss",
        "bare-metal-amd/double_fault/kernel/oops", "bare-metal-intel/nmi/user/return",
    ])
    func tracesArePlainAndComplete(_ scenario: String) throws {
        let trace = try Fixture.linux52.trace(scenario)
        let text = trace.text
        expectPlain(text, scenario)
        #expect(!trace.steps.isEmpty)
        let lines = text.split(separator: "\n")
        for step in trace.steps {
            let number = String(step.step)
            #expect(
                lines.contains {
                    let words = $0.split(separator: " ")
                    return words.count > 2 && words[0] == number[...] && words[1] == hexadecimal(step.address)[...]
                }, "step \(number)")
        }
        #expect(lines.contains { $0.hasSuffix("<- RSP") })
    }

    @Test func picturesGoFromHighToLow() throws {
        let trace = try Fixture.linux52.trace("xen-pv/int3/kernel/self-test")
        // One per delivered event (int3, then the failsafe callback), and one at the end.
        #expect(trace.pictures.count == 3)
        for picture in trace.pictures {
            let addresses = picture.words.map(\.address)
            #expect(addresses == addresses.sorted(by: >))
            #expect(addresses.count > 5)
        }
        let shown = trace.text.split(separator: "\n").filter { $0.hasPrefix("  0xffff") }.map {
            $0.dropFirst(2).prefix(18)
        }
        #expect(shown == trace.pictures.flatMap(\.words).map { hexadecimal($0.address)[...] })
    }

    @Test func changesAndWritesAreShown() throws {
        var trace = try Fixture.linux52.trace("xen-pv/int3/kernel/self-test")
        trace.pictures = []
        trace.steps = [
            TraceStep(
                step: 7, address: 0xFFFF_FFFF_8100_0000, symbol: "stub+0x1/0x2", instruction: "pushq %rax",
                activation: 1,
                changes: [TraceStep.Change(name: "RSP", old: 0x1008, new: 0x1000)],
                writes: [
                    TraceStep.Write(address: 0x1000, value: 0xE02B, size_bytes: 8),
                    TraceStep.Write(address: 0x2000, value: 1, size_bytes: 1),
                ],
                outcome: "#GP(0)", source: "x.s:1")
        ]
        let text = trace.text
        #expect(text.contains("    7  0xffffffff81000000  stub+0x1/0x2  pushq %rax\n"))
        #expect(
            text.contains(
                "       RSP 0x1008 -> 0x1000; [0x0000000000001000] = 0xe02b; [0x0000000000002000] = 0x1 (1 byte)\n"))
        #expect(text.contains("       *** #GP(0)\n"))
        #expect(!text.contains("trace ends here"))
        trace.isTruncated = true
        #expect(trace.text.contains("the trace ends here, after 1 step;"))
    }

    @Test func writesNameTheirOwnerWhereAPictureShowsThem() throws {
        let trace = try Fixture.linux52.trace("xen-pv/int3/kernel/self-test")
        #expect(trace.text.contains("(saved RBX of activation 2)"))
        // The same slot of the first event's pt_regs was written before: what the picture shows is not that write.
        #expect(!trace.text.contains("(saved RBX of activation 1)"))
    }

    @Test func jsonHasStepsAndPictures() throws {
        let trace = try Fixture.linux52.trace("xen-pv/int3/kernel/self-test")
        let json = trace.json
        #expect(json.bytes == trace.bytes)
        #expect(json["scenario"]?["name"] == "xen-pv/int3/kernel/self-test")
        #expect(json["steps"]?.arrayValue?.count == trace.steps.count)
        let step = try #require(json["steps"]?.arrayValue?[1])
        #expect(
            step.keys == [
                "step", "address", "symbol", "instruction", "activation", "changes", "writes", "outcome", "source",
            ])
        #expect(step["address"] == .address(trace.steps[1].address))
        let word = try #require(json["pictures"]?.arrayValue?.last?["words"]?.arrayValue?.first)
        #expect(word.keys == ["address", "value", "owner", "is_stack_pointer"])
        #expect(json["truncated"] == false)
    }

    @Test func ndjsonHasALineForEachStep() throws {
        let trace = try Fixture.linux52.trace("xen-pv/int3/kernel/self-test")
        let lines = try trace.ndjson.split(separator: 0x0A).map { try JSON.parse(Array($0)).value }
        let kinds = lines.map { $0["kind"]?.stringValue ?? "" }
        #expect(kinds.first == "scenario")
        #expect(kinds.last == "end")
        #expect(kinds.count { $0 == "step" } == trace.steps.count)
        #expect(kinds.count { $0 == "picture" } == trace.pictures.count)
        #expect(lines.last?["verdict"] == "violated")
    }
}

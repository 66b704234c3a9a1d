import EntryCode
import Testing
import Verification

/// Names that lead nowhere and entries that nothing leads to: verdict and JSON pointer.
struct ReferenceTests {
    @Test("a routine whose name is misspelt changes nothing, and is told")
    func unusedRoutine() throws {
        var variant = try Variant("linux-5.3")
        variant.write("eror_entry", "ret")
        variant.write("helper", "ret")
        variant.write("SWAPGS", "swapgs", "ret")
        try variant.edit("error_exit", "\tTRACE_IRQS_OFF\n", "\tTRACE_IRQS_OFF\n\tcall\thelper\n")
        let result = try variant.simulate("*/divide_error/user/return")
        #expect(result.verdict == .holds)
        #expect(Set(result.findings.map(\.pointer)) == ["/routines/eror_entry", "/routines/SWAPGS"])
        #expect(result.findings.first?.message.contains("did you mean 'error_entry'?") == true)
    }

    private func findings(_ variant: Variant) throws -> (verdict: Verdict, findings: [ConfigurationFinding]) {
        let result = try variant.simulate("*/divide_error/user/return")
        return (result.verdict, result.findings)
    }

    private func expectDangling(
        _ variant: Variant, _ pointer: String, mentions name: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let (verdict, findings) = try findings(variant)
        #expect(verdict == .invalid, sourceLocation: sourceLocation)
        let dangling = findings.filter { $0.rule == "dangling-reference" }
        #expect(dangling.map(\.pointer) == [pointer], "\(findings)", sourceLocation: sourceLocation)
        #expect(dangling.first?.message.contains(name) == true, "\(findings)", sourceLocation: sourceLocation)
    }

    @Test("handler, gate, trap row, thunk, callback")
    func dangling() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("divide_error", "handler", "do_divide_eror")
        try expectDangling(variant, "/entries/0/handler", mentions: "did you mean 'do_divide_error'?")

        variant = try Variant("linux-5.3")
        try variant.gate(5, "entry", "bound")
        try expectDangling(variant, "/idt/5/entry", mentions: "did you mean 'bounds'?")

        variant = try Variant("linux-5.3")
        try variant.trap("debug", "entry", "xen_xendebugg")
        try expectDangling(variant, "/xen/traps/0/entry", mentions: "did you mean 'xen_xendebug'?")

        variant = try Variant("linux-5.3")
        try variant.trap("debug", "native", "nonesuch")
        try expectDangling(variant, "/xen/traps/0/native", mentions: "nonesuch")

        variant = try Variant("linux-5.3")
        try variant.changeXen("thunks") { ["nonesuch"] + $0 }
        try expectDangling(variant, "/xen/thunks/0", mentions: "nonesuch")

        variant = try Variant("linux-5.3")
        try variant.changeXen("thunks") { $0.filter { $0 != "bounds" } }
        let row = try #require(variant.document["xen"]?["traps"]?.arrayValue?.firstIndex { $0["native"] == "bounds" })
        try expectDangling(variant, "/xen/traps/\(row)/entry", mentions: "xen_bounds")

        for name in ["event", "failsafe"] {
            variant = try Variant("linux-5.3")
            try variant.callback(name, "xen_nowhere")
            try expectDangling(variant, "/xen/callbacks/\(name)", mentions: "xen_nowhere")
        }

        variant = try Variant("linux-5.3")
        try variant.entry("debug", "shift_ist", "IST_INDEX_NONE")
        let (verdict, findings) = try findings(variant)
        #expect(verdict == .invalid)
        let index = try #require(variant.document["entries"]?.arrayValue?.firstIndex { $0["symbol"] == "debug" })
        #expect(findings.allSatisfy { $0.pointer == "/entries/\(index)" }, "\(findings)")
    }

    @Test("every dangling name of a table is reported at once")
    func several() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("divide_error", "handler", "nonesuch_a")
        try variant.entry("bounds", "handler", "nonesuch_b")
        try variant.gate(5, "entry", "nonesuch_c")
        let (_, findings) = try findings(variant)
        #expect(
            findings.filter { $0.rule == "dangling-reference" }.map(\.pointer)
                == ["/entries/0/handler", "/entries/2/handler", "/idt/5/entry"])
    }

    @Test("the route of xenint3 taken away in 5.2: the entry is a leftover")
    func leftover() throws {
        var variant = try Variant("linux-5.2")
        try variant.trap("int3", "entry", "xen_int3")
        let index = try #require(variant.document["entries"]?.arrayValue?.firstIndex { $0["symbol"] == "xenint3" })
        let (verdict, findings) = try findings(variant)
        #expect(verdict != .invalid)
        #expect(findings.map(\.rule) == ["unreachable-entry"])
        #expect(findings.map(\.pointer) == ["/entries/\(index)"])
        // Its stub gone as well but not its thunk: the thunk dangles.
        try variant.removeEntry("xenint3")
        let thunk = try #require(variant.document["xen"]?["thunks"]?.arrayValue?.firstIndex { $0 == "xenint3" })
        try expectDangling(variant, "/xen/thunks/\(thunk)", mentions: "xenint3")
        // The row, but not the entry: the gate's conversion leads nowhere.
        variant = try Variant("linux-5.2")
        try variant.changeXen("thunks") { $0.filter { $0 != "xenint3" } }
        try expectDangling(variant, "/xen/traps/1/entry", mentions: "xen_xenint3")
    }

    @Test("a fault in a routine names the routine and the line")
    func routine() throws {
        var variant = try Variant("linux-5.3")
        variant.write("divide_error", "pushq $-1", "movv %rax, %rbx", "jmp nonesuch")
        let (verdict, findings) = try findings(variant)
        #expect(verdict == .invalid)
        #expect(findings.allSatisfy { $0.pointer == "/routines/divide_error" }, "\(findings)")
        let mnemonic = try #require(findings.first { $0.rule == "unknown-mnemonic" })
        #expect(mnemonic.location.hasPrefix("routines/divide_error:3:"))
    }

    @Test("a vector that Xen must know and does not: no fault of the document, a violation")
    func missingCallback() throws {
        var variant = try Variant("linux-5.3")
        try variant.removeGate(2)
        #expect(
            try variant.run("xen-pv/nmi/kernel/return").violations.first?.consequence?.text == "Xen crashes the domain")
    }
}

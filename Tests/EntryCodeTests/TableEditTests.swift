import EntryCode
import Testing

/// Changes of a shipped table: what they do, and what each refuses.
struct TableEditTests {
    private func kernel() throws -> Kernel { try #require(KernelLibrary.shipped.kernel(named: "linux-5.3")) }

    private func read(_ text: String) throws -> [TableEdit] {
        var reader = TableReader(limits: TableLimits())
        let edits = reader.edits(try JSON.parse(Array(text.utf8), limits: JSONLimits()).value, "/edits")
        #expect(reader.faults.isEmpty, "\(reader.faults)")
        return edits
    }

    private func faults(_ text: String) throws -> [String] {
        var reader = TableReader(limits: TableLimits())
        _ = reader.edits(try JSON.parse(Array(text.utf8), limits: JSONLimits()).value, "/edits")
        return reader.faults.map { "\($0.pointer) \($0.code)" }
    }

    /// The table's document after edits.
    private func apply(_ text: String) throws -> JSON {
        var editor = TableEditor(try kernel())
        for edit in try read(text) { try editor.apply(edit) }
        return editor.document(name: "edited", description: "a table of a test")
    }

    private func refusal(_ text: String) throws -> EditFault {
        var editor = TableEditor(try kernel())
        let edit = try #require(try read(text).last)
        return try #require(throws: EditFault.self) { try editor.apply(edit) }
    }

    @Test("values, rows and routines; the document holds what differs and nothing else")
    func changes() throws {
        let document = try apply(
            """
            [{"set": "entries/int3/create_gap", "to": false}, {"set": "options/SMAP", "to": false},
             {"remove": "xen/thunks/overflow"}, {"remove": "xen/traps/overflow"},
             {"insert": "xen/thunks", "row": "nmi", "after": "xennmi"},
             {"routine": "error_entry", "replace": "\\tcld\\n", "by": ""},
             {"routine": "error_entry", "replace": "SWAPGS\\n", "by": "swapgs\\n", "times": 3}]
            """)
        #expect(
            document.objectValue?.map(\.key)
                == ["name", "kernel", "description", "source", "entries", "xen", "options", "routines"])
        #expect(document["options"] == .object([JSON.Member("SMAP", false)]))
        #expect(document["xen"]?.objectValue?.map(\.key) == ["traps", "thunks"])
        let thunks = document["xen"]?["thunks"]?.arrayValue ?? []
        #expect(!thunks.contains("overflow"))
        #expect(thunks.firstIndex(of: "nmi") == thunks.firstIndex(of: "xennmi").map { $0 + 1 })
        let text = try #require(document["routines"]?["error_entry"]?.stringValue)
        #expect(text.hasPrefix("ENTRY(error_entry)\n"))
        #expect(text.hasSuffix("\nEND(error_entry)\n"))
        #expect(!text.contains("\tcld"))
        #expect(text.split(separator: "\n").count { $0 == "\tswapgs" } == 3)
        // Anybody could submit it, and the base's sections come back.
        let table = try EntryTable.read(document)
        let base = try EntryTable.read(try kernel().document)
        #expect(table.idt == base.idt)
        #expect(table.machine == base.machine)
        #expect(table.xen.traps.map(\.native) == base.xen.traps.map(\.native).filter { $0 != "overflow" })
        #expect(table.xen.callbacks == base.xen.callbacks)
        #expect(table.entries.first { $0.symbol == "int3" }?.createGap == false)
        for platform in Platform.allCases { #expect(throws: Never.self) { try table.expand(for: platform) } }
    }

    @Test("a stub that a macro makes is edited as it is listed, without its addresses")
    func listing() throws {
        let document = try apply(
            #"[{"routine": "divide_error", "form": "listing", "replace": "\tclac\n", "by": ""}]"#)
        let text = try #require(document["routines"]?["divide_error"]?.stringValue)
        #expect(text.hasPrefix("ENTRY(divide_error)\n.if !PLATFORM_XEN_PV\n.endif\n\tpushq $-1\n"))
        #expect(!text.contains("#"))
        let table = try EntryTable.read(document)
        let before = try #require(
            try EntryTable.read(try kernel().document).expand(for: .bareMetalIntel).listing(ofRoutine: "divide_error"))
        let after = try #require(try table.expand(for: .bareMetalIntel).listing(ofRoutine: "divide_error"))
        #expect(before.split(separator: "\n").count == after.split(separator: "\n").count + 1)
    }

    @Test(
        "an edit made for another text, or that changes nothing, is refused",
        arguments: [
            (#"[{"routine": "error_entry", "replace": "SWAPGS\n", "by": ""}]"#, "piece-count", "occurs 3 times"),
            (#"[{"routine": "error_entry", "replace": "sti\n", "by": ""}]"#, "piece-count", "occurs 0 times"),
            (#"[{"routine": "divide_error", "replace": "cld", "by": ""}]"#, "no-source", "'listing'"),
            (#"[{"routine": "nobody", "form": "listing", "replace": "cld", "by": ""}]"#, "no-such-routine", "nobody"),
            (#"[{"set": "entries/int3/create_gap", "to": true}]"#, "no-change", "changes nothing"),
            (#"[{"set": "entries/int4/create_gap", "to": true}]"#, "no-such-place", "int4"),
            (#"[{"set": "kernel/name", "to": true}]"#, "no-such-place", "leads into a string"),
            (#"[{"set": "", "to": true}]"#, "no-such-place", "the document itself"),
            (#"[{"remove": "xen/callbacks/nmi"}]"#, "no-change", "changes nothing"),
            (#"[{"insert": "xen/thunks", "row": "x", "after": "y"}]"#, "no-such-place", "no row 'y'"),
            (#"[{"insert": "options", "row": "x"}]"#, "not-a-list", "no list"),
        ])
    func refusals(_ text: String, _ code: String, _ words: String) throws {
        let fault = try refusal(text)
        #expect(fault.code == code)
        #expect(fault.message.contains(words), "\(fault.message)")
    }

    @Test(
        "a list of edits that is none",
        arguments: [
            ("{}", "/edits wrong-type"), ("[1]", "/edits/0 not-an-edit"), ("[{}]", "/edits/0 not-an-edit"),
            (#"[{"set": "a", "remove": "b"}]"#, "/edits/0 not-an-edit"), (#"[{"set": "a"}]"#, "/edits/0 missing-key"),
            (#"[{"set": 1, "to": 2}]"#, "/edits/0/set wrong-type"), (#"[{"insert": "a"}]"#, "/edits/0 missing-key"),
            (#"[{"set": "a", "to": 1, "too": 2}]"#, "/edits/0/too unknown-key"),
            (#"[{"routine": "a b", "text": ""}]"#, "/edits/0/routine not-a-symbol"),
            (#"[{"routine": "a", "replace": "x"}]"#, "/edits/0 missing-key"),
            (#"[{"routine": "a", "replace": "", "by": "x"}]"#, "/edits/0/replace empty"),
            (#"[{"routine": "a", "replace": "x", "by": "y", "times": 0}]"#, "/edits/0/times out-of-range"),
            (#"[{"routine": "a", "replace": "x", "by": "y", "form": "binary"}]"#, "/edits/0/form unknown-form"),
            (#"[{"routine": "a", "text": "x", "by": "y"}]"#, "/edits/0/by contradiction"),
            (#"[{"routine": "a", "text": ["x", 1]}]"#, "/edits/0/text/1 wrong-type"),
        ])
    func readingFaults(_ text: String, _ fault: String) throws { #expect(try faults(text) == [fault]) }
}

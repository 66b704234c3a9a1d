import EntryCode
import Testing

/// Strict reading: every fault has a code and the pointer of the value at fault.
struct TableReadingTests {
    private func faults(_ text: String) -> [TableFault] {
        do {
            _ = try EntryTable.read(Array(text.utf8))
            return []
        } catch {
            return error.faults
        }
    }

    /// One entry, gate or other piece in an otherwise good document.
    private func faults(_ key: String, _ value: String) -> [String] {
        faults("{\"kernel\": \"linux-5.3\", \"\(key)\": \(value)}").map { "\($0.pointer) \($0.code)" }
    }

    @Test("shipped tables read, and an empty document is its kernel")
    func shipped() throws {
        #expect(KernelLibrary.shipped.faults.isEmpty)
        #expect(Set(KernelLibrary.shipped.names).isSuperset(of: ["linux-5.2", "linux-5.3"]))
        for kernel in KernelLibrary.shipped.kernels {
            let whole = try EntryTable.read(kernel.document.bytes)
            let bare = try EntryTable.read(Array("{\"kernel\": \"\(kernel.name)\"}".utf8))
            #expect(whole.entries == bare.entries)
            #expect(whole.idt == bare.idt)
            #expect(whole.options == bare.options)
            #expect(whole.machine == bare.machine)
            // The resolved document reads back as the same table: the id does not depend on what was left out.
            let again = try EntryTable.read(whole.document)
            #expect(again.document == whole.document)
            #expect(again.entries == whole.entries)
        }
    }

    static let cases: [(String, String, [String])] = [
        // Kinds.
        ("entries", "{}", ["/entries wrong-type"]), ("entries", "[1]", ["/entries/0 wrong-type"]),
        ("idt", "null", ["/idt wrong-type"]), ("xen", "[]", ["/xen wrong-type"]),
        ("options", "[]", ["/options wrong-type"]),
        ("machine", "3", ["/machine wrong-type"]), ("routines", "[]", ["/routines wrong-type"]),
        ("name", "1", ["/name wrong-type"]), ("description", "{}", ["/description wrong-type"]),
        ("source", "\"x\"", ["/source wrong-type"]), ("source", "{\"version\": 5}", ["/source/version wrong-type"]),
        ("source", "{\"versoin\": \"5\"}", ["/source/versoin unknown-key"]), ("$schema", "1", ["/$schema wrong-type"]),
        // Names.
        ("name", "\"\"", ["/name invalid-name"]), ("name", "\"a/b\"", ["/name invalid-name"]),
        ("name", "\"..\"", ["/name invalid-name"]), ("name", "\"deadbeef\"", ["/name invalid-name"]),
        ("nmae", "\"x\"", ["/nmae unknown-key"]), ("a/b~", "1", ["/a~1b~0 unknown-key"]),
        // Entries.
        ("entries", "[{}]", ["/entries/0 missing-key", "/entries/0 missing-key"]),
        ("entries", "[{\"symbol\": \"a\", \"handler\": \"do_int3\"}]", ["/entries/0 missing-key"]),
        (
            "entries", "[{\"symbol\": \"1a\", \"handler\": \"b c\", \"has_error_code\": false}]",
            ["/entries/0/symbol not-a-symbol", "/entries/0/handler not-a-symbol"]
        ),
        (
            "entries",
            "[{\"symbol\": \"a\", \"handler\": \"do_int3\", \"has_error_code\": \"no\", \"paranoid\": 3, \"create_gap\": 2}]",
            [
                "/entries/0/has_error_code wrong-type", "/entries/0/paranoid out-of-range",
                "/entries/0/create_gap wrong-type",
            ]
        ),
        (
            "entries", "[{\"symbol\": \"a\", \"handler\": \"b\", \"has_error_code\": 0, \"shift_ist\": 0}]",
            ["/entries/0/shift_ist contradiction"]
        ),
        (
            "entries", "[{\"symbol\": \"a\", \"handler\": \"b\", \"has_error_code\": 0, \"ist_offset\": 4096}]",
            ["/entries/0/ist_offset contradiction"]
        ),
        (
            "entries", "[{\"symbol\": \"nmi\", \"handler\": \"do_nmi\", \"code\": \"asm\"}]",
            ["/entries/0/code invalid-value", "/entries/0 missing-key"]
        ),
        (
            "entries", "[{\"symbol\": \"nmi\", \"handler\": \"do_nmi\", \"code\": \"listing\", \"create_gap\": true}]",
            ["/entries/0/create_gap contradiction"]
        ),
        (
            "entries",
            "[{\"symbol\": \"a\", \"handler\": \"b\", \"has_error_code\": 0}, {\"symbol\": \"a\", \"handler\": \"b\", \"has_error_code\": 0}]",
            ["/entries/1/symbol duplicate-symbol"]
        ),
        (
            "entries", "[{\"symbol\": \"a\", \"handler\": \"b\", \"has_error_code\": 0, \"option\": \"XENPV\"}]",
            ["/entries/0/option unknown-option"]
        ),
        (
            "entries", "[{\"symbol\": \"a\", \"handler\": \"b\", \"has_error_code\": 0, \"ist_offset\": true}]",
            ["/entries/0/ist_offset wrong-type"]
        ),
        // Gates.
        ("idt", "[{}]", ["/idt/0 missing-key", "/idt/0 missing-key"]),
        ("idt", "[{\"vector\": 256, \"entry\": \"int3\"}]", ["/idt/0/vector out-of-range"]),
        ("idt", "[{\"vector\": 3.0, \"entry\": \"int3\"}]", ["/idt/0/vector wrong-type"]),
        (
            "idt", "[{\"vector\": 3, \"entry\": \"int3\", \"ist\": 8, \"dpl\": 4, \"type\": \"call\"}]",
            ["/idt/0/ist out-of-range", "/idt/0/dpl out-of-range", "/idt/0/type invalid-value"]
        ),
        (
            "idt", "[{\"vector\": 3, \"entry\": \"int3\"}, {\"vector\": 3, \"entry\": \"int3\"}]",
            ["/idt/1/vector duplicate-vector"]
        ),
        ("idt", "[{\"vector\": 3, \"entry\": \"int3\", \"dlp\": 3}]", ["/idt/0/dlp unknown-key"]),
        // Xen.
        ("xen", "{\"version\": \"4.7\"}", ["/xen/version unknown-xen-version"]),
        ("xen", "{\"traps\": [{\"native\": \"int3\"}]}", ["/xen/traps/0 missing-key"]),
        (
            "xen", "{\"traps\": [{\"native\": \"a\", \"entry\": \"b\"}, {\"native\": \"a\", \"entry\": \"c\"}]}",
            ["/xen/traps/1/native duplicate-symbol"]
        ),
        (
            "xen", "{\"thunks\": [\"a\", 1, \"a\", \"b-c\"]}",
            ["/xen/thunks/1 wrong-type", "/xen/thunks/2 duplicate-symbol", "/xen/thunks/3 not-a-symbol"]
        ),
        ("xen", "{\"callbacks\": {\"nmi\": \"a\"}}", ["/xen/callbacks/nmi unknown-key"]),
        // Options and routines.
        ("options", "{\"PREEMTP\": true}", ["/options/PREEMTP unknown-option"]),
        ("options", "{\"PREEMPT\": \"y\"}", ["/options/PREEMPT wrong-type"]),
        ("routines", "{\"a b\": \"nop\"}", ["/routines/a b not-a-symbol"]),
        ("routines", "{\"a\": 1}", ["/routines/a wrong-type"]),
        // The machine.
        ("machine", "{\"per_cpu_base\": \"0x1000\"}", ["/machine/per_cpu_base not-a-kernel-address"]),
        ("machine", "{\"per_cpu_base\": \"ffff\"}", ["/machine/per_cpu_base not-an-address"]),
        ("machine", "{\"per_cpu_base\": \"0xffff888000000001\"}", ["/machine/per_cpu_base not-a-kernel-address"]),
        ("machine", "{\"per_cpu_base\": \"0x10000000000000000\"}", ["/machine/per_cpu_base not-an-address"]),
        (
            "machine", "{\"kernel_rsp\": {\"aligned\": \"0xffffffff82203ea8\", \"rsp8\": \"0xffffffff82203ea0\"}}",
            ["/machine/kernel_rsp/aligned misaligned", "/machine/kernel_rsp/rsp8 misaligned"]
        ),
        (
            "machine", "{\"kernel_rsp\": {\"aligned\": \"0xffffffff82300000\"}}",
            ["/machine/kernel_rsp/aligned outside-stack"]
        ),
        (
            "machine", "{\"stacks\": {\"task\": {\"base\": \"0xffffffff82300000\", \"size\": 16384}}}",
            [
                "/machine/stacks/task outside-stack", "/machine/stacks/task outside-stack",
                "/machine/stacks/task outside-stack",
            ]
        ),
        // Two things at one place.
        ("machine", "{\"per_cpu_base\": \"0xffffffff82200000\"}", ["/machine/per_cpu_base overlap"]),
        (
            "machine", "{\"stacks\": {\"nmi\": {\"base\": \"0xfffffe000000e000\", \"size\": 8192}}}",
            ["/machine/stacks/nmi overlap"]
        ),
        (
            "machine", "{\"stacks\": {\"mce\": {\"base\": \"0xffff88803ec00000\", \"size\": 4096}}}",
            ["/machine/stacks/mce overlap"]
        ),
        (
            "machine", "{\"code\": {\"do_int3\": {\"address\": \"0xfffffe0000009100\"}}}",
            ["/machine/code/do_int3 overlap"]
        ),
        (
            "machine", "{\"espfix\": {\"waddr\": \"0xffffffff82201040\"}}", ["/machine/espfix/waddr overlap"]
        ),
        ("machine", "{\"stacks\": {\"tsak\": {}}}", ["/machine/stacks/tsak unknown-key"]),
        ("machine", "{\"stacks\": {\"nmi\": {\"base\": \"0xfffffe0000009000\"}}}", ["/machine/stacks/nmi missing-key"]),
        (
            "machine", "{\"stacks\": {\"nmi\": {\"base\": \"0xfffffe0000009000\", \"size\": 65537}}}",
            ["/machine/stacks/nmi/size out-of-range"]
        ),
        ("machine", "{\"code\": {\"a\": {}}}", ["/machine/code/a missing-key"]),
        (
            "machine", "{\"code\": {\"a\": {\"address\": \"0x401000\"}}}",
            ["/machine/code/a/address not-a-kernel-address"]
        ),
        (
            "machine",
            "{\"self_test\": {\"routine\": \"t\", \"address\": \"0xffffffff82593000\", \"size\": 20, \"site_offset\": 16, \"target\": \"f\", \"rsp\": \"0xffffffff82203ea0\"}}",
            ["/machine/self_test/site_offset out-of-range"]
        ),
        ("machine", "{\"self_test\": {}}", Array(repeating: "/machine/self_test missing-key", count: 4)),
    ]

    @Test("one fault, one pointer", arguments: cases)
    func fault(key: String, value: String, expected: [String]) { #expect(faults(key, value) == expected) }

    @Test("the document itself")
    func document() {
        #expect(faults("[]").map(\.code) == ["wrong-type"])
        #expect(faults("{}").map { "\($0.pointer) \($0.code)" } == [" missing-key"])
        #expect(faults("{\"kernel\": 5}").map { "\($0.pointer) \($0.code)" } == ["/kernel wrong-type"])
        #expect(faults("{\"kernel\": \"linux-5.4\"}").map { "\($0.pointer) \($0.code)" } == ["/kernel unknown-kernel"])
        #expect(
            faults("{\"kernel\": \"linux-5.3\", \"kernel\": \"linux-5.3\"}").map { "\($0.pointer) \($0.code)" } == [
                "/kernel duplicate-key"
            ])
    }

    @Test("faults of several sections come together, in the order of reading")
    func several() {
        let found = faults(
            """
            {"kernel": "linux-5.3", "nmae": "x", "options": {"SMPA": true}, "entries": [{"symbol": "a"}],
             "idt": [{"vector": -1, "entry": "a"}], "xen": {"version": 4}, "machine": {"gaurds": []}, "routines": {"a": null}}
            """)
        #expect(
            found.map { "\($0.pointer) \($0.code)" } == [
                "/nmae unknown-key", "/options/SMPA unknown-option", "/entries/0 missing-key",
                "/idt/0/vector out-of-range", "/xen/version wrong-type", "/machine/gaurds unknown-key",
                "/routines/a wrong-type",
            ])
        #expect(found[0].message.contains("did you mean 'name'?"))
        #expect(found[1].message.contains("did you mean 'SMAP'?"))
        #expect(found[5].message.contains("did you mean 'guards'?"))
    }

    @Test("nearest names: a slip is helped, nonsense is not")
    func nearest() {
        let names = ["divide_error", "int3", "nmi", "page_fault"]
        #expect(nearestName(to: "divide_eror", among: names) == "divide_error")
        #expect(nearestName(to: "itn3", among: names) == "int3")
        #expect(nearestName(to: "pagefault", among: names) == "page_fault")
        #expect(nearestName(to: "general_protection", among: names) == nil)
        #expect(nearestName(to: "", among: []) == nil)
        #expect(nearestName(to: String(repeating: "x", count: 100_000), among: names) == nil)
    }

    @Test("limits: rows, routines, lengths, number of faults")
    func limits() {
        let row = "{\"vector\": 1, \"entry\": \"debug\", \"option\": \"SMAP\"}"
        let rows = Array(repeating: row, count: 513).joined(separator: ",")
        #expect(faults("idt", "[\(rows)]") == ["/idt too-many"])
        let routines = (0..<257).map { "\"r\($0)\": \"\"" }.joined(separator: ",")
        #expect(faults("routines", "{\(routines)}") == ["/routines too-many"])
        let long = String(repeating: "a", count: 129)
        #expect(faults("xen", "{\"thunks\": [\"\(long)\"]}") == ["/xen/thunks/0 too-long"])
        #expect(faults("description", "\"\(String(repeating: "d", count: 4097))\"") == ["/description too-long"])
        // A name too long to be told is not told.
        #expect(faults("routines", "{\"\(long)\": \"nop\"}") == ["/routines too-long"])
        #expect(faults("xen", "{\"\(long)\": 1}") == ["/xen unknown-key"])
        #expect(faults("options", "{\"\(long)\": true}") == ["/options unknown-option"])
        let text = String(repeating: "n", count: 256 * 1024 + 1)
        #expect(faults("routines", "{\"a\": \"\(text)\"}") == ["/routines/a too-long"])
        let many = (0..<500).map { "\"k\($0)\": 1" }.joined(separator: ",")
        #expect(faults("{\"kernel\": \"linux-5.3\", \(many)}").count == 100)
    }

    @Test("syntax and size are told apart from faults of the content")
    func syntax() {
        do {
            _ = try EntryTable.read(Array("{\"kernel\": ".utf8))
            Issue.record("read")
        } catch {
            #expect(error.isSyntax && !error.isTooLarge)
            #expect(error.faults.map(\.code) == ["json-syntax"])
            #expect(error.faults.map(\.pointer) == ["/kernel"])
        }
        do {
            _ = try EntryTable.read([UInt8](repeating: 0x20, count: (1 << 20) + 1))
            Issue.record("read")
        } catch {
            #expect(error.isTooLarge)
        }
    }

    @Test("sections replace each other whole, options one by one")
    func merging() throws {
        let text =
            "{\"kernel\": \"linux-5.3\", \"options\": {\"PREEMPT\": true}, \"machine\": {\"guards\": []}, \"xen\": {\"version\": \"4.17\"}}"
        let table = try EntryTable.read(Array(text.utf8))
        let base = try EntryTable.read(Array("{\"kernel\": \"linux-5.3\"}".utf8))
        #expect(table.options["PREEMPT"] == true)
        #expect(table.options.filter { $0.key != "PREEMPT" } == base.options.filter { $0.key != "PREEMPT" })
        #expect(table.machine.guards.isEmpty && table.machine.stacks == base.machine.stacks)
        #expect(table.xen.version == "4.17" && table.xen.traps == base.xen.traps)
        #expect(table.document != base.document)
    }
}

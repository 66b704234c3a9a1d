import XenPV

extension EntryTable {
    /// The document as JSON Schema 2020-12, published at `/schemas/entry-table.json`.
    ///
    /// It says what one value may be. Names that must lead somewhere, addresses that must lie on a stack and columns that
    /// contradict each other are told by `EntryTable.read` and by expansion, with a JSON pointer each.
    package static let schema: JSON = .object([
        JSON.Member("$schema", "https://json-schema.org/draft/2020-12/schema"),
        JSON.Member("$id", "/schemas/entry-table.json"),
        JSON.Member("title", "Entry table"),
        JSON.Member(
            "description",
            "Entry code of a kernel: stubs, gates, Xen trap table, options and code. What a document leaves out is taken from the kernel that it names; sections replace each other as a whole, options one by one."
        ),
        JSON.Member("type", "object"),
        JSON.Member("additionalProperties", false),
        JSON.Member("required", .array(["kernel"])),
        JSON.Member("properties", Schema.document),
        JSON.Member("$defs", Schema.definitions),
        JSON.Member("examples", .array([Schema.example])),
    ])
}

/// Pieces of the schema, one per object of the document.
private enum Schema {
    // MARK: Building blocks

    static func value(_ type: JSON, _ description: String, _ more: (String, JSON)...) -> JSON {
        .object(
            [JSON.Member("type", type), JSON.Member("description", .string(description))]
                + more.map { JSON.Member($0.0, $0.1) })
    }

    static func reference(_ name: String, _ description: String, _ more: (String, JSON)...) -> JSON {
        .object(
            [JSON.Member("$ref", .string("#/$defs/" + name)), JSON.Member("description", .string(description))]
                + more.map { JSON.Member($0.0, $0.1) })
    }

    static func object(
        _ description: String, required: [String] = [], _ properties: [(String, JSON)]
    ) -> JSON {
        .object([
            JSON.Member("type", "object"), JSON.Member("description", .string(description)),
            JSON.Member("additionalProperties", false), JSON.Member("required", .array(required.map(JSON.string))),
            JSON.Member("properties", .object(properties.map { JSON.Member($0.0, $0.1) })),
        ])
    }

    static func list(_ description: String, of items: JSON, limit: Int) -> JSON {
        value("array", description, ("items", items), ("maxItems", .integer(Int64(limit))))
    }

    static func number(_ description: String, _ range: ClosedRange<Int64>) -> JSON {
        value("integer", description, ("minimum", .integer(range.lowerBound)), ("maximum", .integer(range.upperBound)))
    }

    /// An object whose keys are the user's own.
    static func map(_ description: String, limit: Int, named names: JSON, of values: JSON) -> JSON {
        value(
            "object", description, ("propertyNames", names), ("additionalProperties", values),
            ("maxProperties", .integer(Int64(limit))))
    }

    static let limits = TableLimits()

    static let option = reference(
        "symbol", "The row exists only if this option is on.", ("examples", .array(["XEN_PV", "X86_MCE"])))

    // MARK: The document

    static let document: JSON = .object(
        [
            ("$schema", value("string", "Address of this schema; ignored.")),
            (
                "name",
                value(
                    "string",
                    "Name by which the interface finds the table; not a number of eight or more hexadecimal digits.",
                    ("pattern", "^[A-Za-z0-9_.-]{1,100}$"), ("examples", .array(["my-fix"])))
            ),
            (
                "kernel",
                value(
                    "string", "Kernel whose code and table fill in what the document leaves out.",
                    ("examples", .array(["linux-5.2"])))
            ),
            ("description", value("string", "For people; at most 4096 bytes.", ("maxLength", 4096))),
            ("source", source),
            (
                "entries",
                list("Stubs, one row each: idtentry SYMBOL HANDLER columns.", of: entry, limit: limits.entries)
            ),
            ("idt", list("Gates of the interrupt descriptor table.", of: gate, limit: limits.rows)),
            ("xen", xen), ("options", options), ("machine", machine),
            (
                "routines",
                map(
                    "Code in AT&T syntax that replaces or adds a routine: its name and its text, ENTRY(name) to END(name). It counts on every platform and in every state of the kernel: what differs stands between .if and .endif, on PLATFORM_XEN_PV, CPU_VENDOR_INTEL, CPU_VENDOR_AMD and ALTERNATIVES_APPLIED, as a configuration's listing prints it. Where no line is left the kernel's own routine stays.",
                    limit: limits.routines, named: .object([JSON.Member("$ref", "#/$defs/symbol")]),
                    of: value("string", "AT&T text.", ("maxLength", .integer(Int64(limits.routineText_bytes)))))
            ),
            ("sources", sources),
        ].map { JSON.Member($0.0, $0.1) })

    /// A kernel's own entry code.
    static let sources = object(
        "Files of a kernel tree: their entry code is assembled instead of the shipped listings, which give what is missing. entries and xen.thunks then describe what the files declare. A patch applies to them.",
        required: ["files"],
        [
            (
                "files",
                map(
                    "Texts by their path below the root of the tree.", limit: limits.sourceFiles,
                    named: .object([JSON.Member("type", "string"), JSON.Member("maxLength", 255)]),
                    of: value("string", "The file.", ("maxLength", .integer(Int64(limits.sourceText_bytes)))))
            ),
            (
                "assumed",
                .object([
                    JSON.Member("type", "array"),
                    JSON.Member(
                        "description",
                        "Symbols that no file defines: C functions and data without a model. Calling the one or needing the value of the other ends a scenario as undecided."
                    ),
                    JSON.Member("maxItems", 1024),
                    JSON.Member("items", .object([JSON.Member("$ref", "#/$defs/symbol")])),
                ])
            ),
            (
                "config",
                map(
                    "Kconfig symbols that are no options: CONFIG_X.", limit: 256,
                    named: .object([JSON.Member("type", "string"), JSON.Member("maxLength", 100)]),
                    of: value("boolean", "Whether it is set."))
            ),
            (
                "release",
                value(
                    "string",
                    "Release of the kernel, as its Makefile says or its names show: some handlers were others.",
                    ("pattern", "^[0-9]{1,2}\\.[0-9]{1,3}$"), ("examples", .array(["5.10"])))
            ),
        ])

    static let source = object(
        "Where the table was taken from.",
        [
            ("version", value("string", "Release, as a console shows it.", ("examples", .array(["5.2.1"])))),
            ("tree", value("string", "Repository and commit.")),
        ])

    static let entry = object(
        "One stub. 'code': 'listing' names a stub that the kernel's listings contain by hand; the columns then do not apply.",
        required: ["symbol", "handler"],
        [
            ("symbol", reference("symbol", "Name of the stub.", ("examples", .array(["int3"])))),
            (
                "handler",
                reference("symbol", "C function that the stub calls, or a routine.", ("examples", .array(["do_int3"])))
            ),
            (
                "kind",
                reference(
                    "symbol",
                    "The macro that makes the stub, for kernels whose rows are DECLARE_IDTENTRY lines (5.8 and later); it gets vector, symbol and handler.",
                    ("examples", .array(["IDTENTRY", "IDTENTRY_ERRORCODE", "IDTENTRY_RAW"])))
            ),
            (
                "vector",
                reference(
                    "constant", "What the macro of 'kind' is told: number or constant.",
                    ("examples", .array([3, "X86_TRAP_BP"])))
            ),
            (
                "has_error_code",
                reference("flag", "The event pushes an error code; required unless 'code' or 'kind' is given.")
            ),
            (
                "paranoid",
                number("1: CS does not tell which GS base is loaded; 2: the stub also stays on its stack.", 0...2)
            ),
            (
                "shift_ist",
                .object([
                    JSON.Member(
                        "description",
                        "Index of the IST slot that is shifted while the handler runs; null or -1 for none."),
                    JSON.Member(
                        "anyOf",
                        .array([
                            .object([JSON.Member("type", "null")]), .object([JSON.Member("$ref", "#/$defs/constant")]),
                        ])), JSON.Member("examples", .array(["IST_INDEX_DB"])),
                ])
            ),
            (
                "ist_offset",
                reference("constant", "Bytes by which the slot is shifted.", ("examples", .array(["DB_STACK_OFFSET"])))
            ),
            (
                "create_gap",
                reference(
                    "flag", "Six free words between the interrupted stack and pt_regs, for events from the kernel.")
            ),
            ("read_cr2", reference("flag", "The stub reads CR2 before anything that may fault.")),
            ("code", value("string", "The stub is hand-written.", ("enum", .array(["listing"])))), ("option", option),
        ])

    static let gate = object(
        "One gate.", required: ["vector", "entry"],
        [
            ("vector", number("Vector.", 0...255)),
            ("entry", reference("symbol", "Stub or routine that the gate leads to.")),
            ("ist", number("0: no stack switch by IST; 1 to 7: IST index plus one, as the gate holds it.", 0...7)),
            ("dpl", number("Lowest privilege that may reach the gate by INT n.", 0...3)),
            (
                "type",
                value(
                    "string", "An interrupt gate clears IF, a trap gate does not.",
                    ("enum", .array(["interrupt", "trap"])))
            ),
            ("option", option),
        ])

    static let xen = object(
        "What a PV guest tells Xen.",
        [
            ("version", value("string", "Release of Xen.", ("enum", .array(XenRelease.supported.map(JSON.string))))),
            (
                "quirks",
                list(
                    "Ways in which the hypervisor differs from that release: defects that Xen once had.",
                    of: value(
                        "string", "Name of a quirk.", ("enum", .array(Quirk.allCases.map { .string($0.rawValue) }))),
                    limit: limits.rows)
            ),
            (
                "traps",
                list(
                    "Rows of the trap array: which gates are converted, and to what.",
                    of: object(
                        "One row.", required: ["native", "entry"],
                        [
                            ("native", reference("symbol", "Entry of the gate that is converted.")),
                            ("entry", reference("symbol", "What Xen enters.", ("examples", .array(["xen_int3"])))),
                            ("ist_okay", reference("flag", "The gate may have an IST, which Xen does not know.")),
                            ("option", option),
                        ]), limit: limits.rows)
            ),
            (
                "thunks",
                list(
                    "Entries that have a thunk xen_NAME, which pops RCX and R11.",
                    of: reference("symbol", "Name of the entry."), limit: limits.rows)
            ),
            (
                "callbacks",
                object(
                    "Callbacks registered with Xen.",
                    [
                        ("event", reference("symbol", "For event channels.")),
                        ("failsafe", reference("symbol", "For selectors that cannot be loaded.")),
                        ("syscall", reference("symbol", "For SYSCALL from user mode.")),
                        ("syscall32", reference("symbol", "For SYSCALL from 32-bit code.")),
                        ("sysenter", reference("symbol", "For SYSENTER.")),
                    ])
            ),
        ])

    static let options = map(
        "Configuration options and processor features of the kernel, on or off; the kernel's table lists them.",
        limit: 256, named: .object([JSON.Member("$ref", "#/$defs/symbol")]),
        of: .object([JSON.Member("$ref", "#/$defs/flag")]))

    static let machine = object(
        "Addresses that reports show; what is left out keeps the kernel's.",
        [
            ("code", code), ("stacks", stacks),
            (
                "guards",
                list("Stretches that stay unmapped.", of: .object([JSON.Member("$ref", "#/$defs/stretch")]), limit: 64)
            ),
            (
                "espfix",
                object(
                    "The espfix stack.",
                    [
                        ("stack", reference("address", "Read-only address.")),
                        ("waddr", reference("address", "Address through which it is written.")),
                        ("size", value("integer", "Bytes; not used.")), ("note", value("string", "For people.")),
                    ])
            ),
            ("per_cpu_base", reference("address", "The kernel's GS base; a multiple of 4096.")),
            (
                "user_end",
                reference(
                    "address",
                    "The first address that programs cannot map: a multiple of 4096, 0x7ffffffff000 if nothing is said. At 0x800000000000 no guard page keeps SYSCALL from the last bytes below the hole in the address space."
                )
            ),
            (
                "watchpoint",
                reference(
                    "address",
                    "Eight bytes of kernel memory that a debugger of the kernel watches, in every scenario on bare metal: a place where the kernel lets it. Only entry code is watched, not the models of C functions."
                )
            ),
            (
                "kernel_rsp",
                object(
                    "Stack pointers of interrupted kernel code.",
                    [
                        ("aligned", reference("address", "A multiple of 16.")),
                        ("rsp8", reference("address", "Remainder 8 modulo 16.")),
                    ])
            ),
            (
                "kernel_registers",
                object(
                    "What registers hold in interrupted kernel code; those that are left out hold recognisable values.",
                    EntryTable.kernelRegisterKeys.map { ($0, reference("address", "\($0.uppercased()), any value.")) })
            ), ("self_test", selfTest),
        ])

    static let code: JSON = .object([
        JSON.Member("type", "object"),
        JSON.Member("description", "Where routines and functions lie, by name; text_origin is where the others start."),
        JSON.Member("maxProperties", .integer(Int64(limits.entries))),
        JSON.Member("properties", .object([JSON.Member("text_origin", reference("address", "A multiple of 4096."))])),
        JSON.Member(
            "additionalProperties",
            object(
                "A place.", required: ["address"],
                [
                    ("address", reference("address", "First byte, in the kernel half.")),
                    ("size", number("Bytes; 0 for as many as the code has.", 0...(1 << 20))),
                ])),
    ])

    static let stacks = object(
        "The kernel's stacks by name.",
        EntryTable.stackKeys.map { ($0, reference("stretch", "The \($0) stack; at most 65536 bytes.")) })

    static let selfTest = object(
        "The int3 self test: code that hits int3 and expects the handler to make it a call.",
        required: ["routine", "address", "target", "rsp"],
        [
            ("routine", reference("symbol", "Function that contains the int3.")),
            ("address", reference("address", "Its first byte.")), ("size", number("Its size in bytes.", 16...65_536)),
            ("site_offset", number("Offset of the int3; it and four NOPs lie within the function.", 0...65_536)),
            ("target", reference("symbol", "Function that is called.")),
            ("target_size", number("Its size in bytes.", 1...4096)),
            ("rsp", reference("address", "Stack pointer at the int3.")),
            (
                "call_trace",
                list("Lines below 'Call Trace:'.", of: value("string", "symbol+offset/size."), limit: 32)
            ),
        ])

    // MARK: Definitions

    static let definitions: JSON = .object([
        JSON.Member(
            "symbol",
            value(
                "string", "An assembler symbol.", ("pattern", "^[A-Za-z_.$][A-Za-z0-9_.$]*$"),
                ("maxLength", .integer(Int64(limits.nameLength_bytes))))
        ),
        JSON.Member(
            "flag",
            .object([
                JSON.Member("description", "true or false; 1 and 0 as in the kernel's own text."),
                JSON.Member("enum", .array([true, false, 1, 0])),
            ])),
        JSON.Member(
            "constant",
            .object([
                JSON.Member("description", "A number, or the name of a constant of the listings."),
                JSON.Member(
                    "anyOf",
                    .array([
                        .object([JSON.Member("type", "integer")]), .object([JSON.Member("$ref", "#/$defs/symbol")]),
                    ])),
            ])),
        JSON.Member(
            "address",
            .object([
                JSON.Member("description", "A hexadecimal address as a string, or a number that JSON carries exactly."),
                JSON.Member(
                    "anyOf",
                    .array([
                        .object([JSON.Member("type", "string"), JSON.Member("pattern", "^0x[0-9A-Fa-f]{1,16}$")]),
                        .object([JSON.Member("type", "integer"), JSON.Member("minimum", 0)]),
                    ])), JSON.Member("examples", .array(["0xffffffff82203ea0"])),
            ])),
        JSON.Member(
            "stretch",
            object(
                "A stretch of addresses.", required: ["base", "size"],
                [
                    ("base", reference("address", "A multiple of 4096 in the kernel half.")),
                    ("size", number("Bytes.", 1...(1 << 24))), ("note", value("string", "For people.")),
                ])),
    ])

    static let example: JSON = .object([
        JSON.Member("name", "int3-native-on-xen"), JSON.Member("kernel", "linux-5.2"),
        JSON.Member("options", .object([JSON.Member("PREEMPT", true)])),
        JSON.Member(
            "routines",
            .object([
                JSON.Member(
                    "xen_int3", "ENTRY(xen_int3)\n\tpopq\t%rcx\n\tpopq\t%r11\n\tjmp\tint3\nEND(xen_int3)\n")
            ])),
    ])
}

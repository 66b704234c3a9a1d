package import XenPV

/// The entry-table document: which stub, handler and columns each event has, in the kernel's own words.
///
/// Field names, defaults and limits are published as JSON Schema (`EntryTable.schema`). A document names a kernel; what
/// it leaves out is taken from that kernel's own table.
package struct EntryTable: Sendable, Hashable {
    /// A row of the entry code: `idtentry SYMBOL HANDLER columns…` (Linux `arch/x86/entry/entry_64.S`).
    package struct Entry: Sendable, Hashable {
        package var symbol: String
        package var handler: String
        package var hasErrorCode = false
        /// The row has the column.
        package var saysErrorCode = false
        /// The macro that makes the stub (`IDTENTRY`, `IDTENTRY_RAW`, …: Linux 5.8 and later); nil for `idtentry` of before.
        package var kind: String?
        /// Name or number of the vector, for rows with a kind.
        package var vector: String?
        /// 0, 1 or 2.
        package var paranoid = 0
        /// Name or number of the IST index to shift during the handler; nil for -1.
        package var shiftIST: String?
        /// Name or number of bytes.
        package var istOffset = "0"
        package var createGap = false
        package var readCR2 = false
        /// The stub is hand-written in the kernel's listings; the columns do not apply.
        package var isInListing = false
        /// The row exists only with this option.
        package var option: String?
        /// Where the row stands in the document.
        package var pointer = ""
    }

    /// A gate of the interrupt descriptor table.
    package struct IDTRow: Sendable, Hashable {
        package var vector: UInt8
        package var entry: String
        /// 0, or 1…7 as the gate holds it.
        package var ist: UInt8 = 0
        package var dpl: UInt8 = 0
        package var isInterruptGate = true
        package var option: String?
        package var pointer = ""
    }

    /// A row of `trap_array` in Linux `arch/x86/xen/enlighten_pv.c`.
    package struct TrapRow: Sendable, Hashable {
        /// The bare-metal entry whose gate the row converts.
        package var native: String
        package var entry: String
        package var istOkay = false
        package var option: String?
        package var pointer = ""
    }

    /// What the kernel tells Xen.
    package struct Xen: Sendable, Hashable {
        package var version: String?
        /// Ways in which the hypervisor differs from that release.
        package var quirks: Set<Quirk> = []
        package var traps: [TrapRow] = []
        /// Entries that have a thunk `xen_NAME`: pop %rcx, pop %r11, jump.
        package var thunks: [String] = []
        /// `event`, `failsafe`, `syscall`.
        package var callbacks: [String: String] = [:]
    }

    /// A piece of code or C function with a fixed place.
    package struct Placement: Sendable, Hashable {
        package var address: UInt64
        package var size_bytes: UInt64
    }

    /// A stack, or a stretch that stays unmapped.
    package struct Stretch: Sendable, Hashable {
        package var base: UInt64
        package var size_bytes: UInt64
        package var end: UInt64 { base &+ size_bytes }
    }

    /// The int3 self test: code that hits int3 and expects a handler to make it a call.
    package struct SelfTest: Sendable, Hashable {
        package var routine: String
        package var address: UInt64
        package var size_bytes: UInt64
        /// Offset of the int3 from the start of the routine, in bytes.
        package var siteOffset: UInt64
        package var target: String
        package var targetSize_bytes: UInt64
        package var rsp: UInt64
        /// Lines below "Call Trace:" after the first.
        package var callTrace: [String] = []
    }

    /// Addresses of the machine that reports show.
    package struct MachineLayout: Sendable, Hashable {
        package var textOrigin: UInt64 = 0xFFFF_FFFF_81A0_0000
        package var code: [String: Placement] = [:]
        package var stacks: [String: Stretch] = [:]
        package var guards: [Stretch] = []
        package var espfixStack: UInt64 = 0xFFFF_FF00_0000_0040
        package var espfixWritable: UInt64 = 0xFFFF_8880_3FFF_0040
        package var perCPUBase: UInt64 = 0xFFFF_8880_3EC0_0000
        /// Kernel memory that a debugger of the kernel watches for any access, eight bytes; 0 for none.
        package var watchpoint: UInt64 = 0
        /// The first address that programs cannot map: up to 2^47 one page is left out (Linux `TASK_SIZE_MAX`).
        package var userEnd: UInt64 = 0x7FFF_FFFF_F000
        package var kernelRSPAligned: UInt64 = 0xFFFF_FFFF_8220_3EA0
        package var kernelRSPMisaligned: UInt64 = 0xFFFF_FFFF_8220_3EA8
        /// What registers hold in interrupted kernel code; those that are left out hold recognisable values.
        package var kernelRegisters: [String: UInt64] = [:]
        package var selfTest: SelfTest?
    }

    package var name: String?
    package var kernel: String
    package var entries: [Entry] = []
    package var idt: [IDTRow] = []
    package var xen = Xen()
    package var options: [String: Bool] = [:]
    package var machine = MachineLayout()
    /// Code that replaces or adds routines: name and AT&T text, in the order of the document.
    package var routines: [Routine] = []
    /// The kernel's own entry code, where the table was read from a tree.
    package var sources: Sources?
    /// The document with what it left out filled in from its kernel's table; without `name`. Its digest is the table's id.
    package var document: JSON

    /// A routine written by the user.
    package struct Routine: Sendable, Hashable {
        package var name: String
        package var text: String
    }

    /// Whether something that depends on an option exists.
    package func applies(_ option: String?) -> Bool { option.map { options[$0] ?? false } ?? true }
}

/// One fault of a document.
package struct TableFault: Error, Sendable, Hashable {
    /// JSON pointer (RFC 6901) of the value at fault; empty for the document itself.
    package var pointer: String
    /// Stable, kebab-case.
    package var code: String
    package var message: String

    package init(_ pointer: String, _ code: String, _ message: String) {
        self.pointer = pointer
        self.code = code
        self.message = message
    }
}

/// Every fault that was found, in the order of the document.
package struct TableFaults: Error, Sendable {
    package var faults: [TableFault]
    /// Faults found; those beyond `TableLimits.faults` are not listed.
    package var count: Int
    /// The document is not JSON at all (answered 400 rather than 422).
    package var isSyntax = false
    /// The document exceeds a size limit (answered 413).
    package var isTooLarge = false

    package init(faults: [TableFault], count: Int? = nil, isSyntax: Bool = false, isTooLarge: Bool = false) {
        self.faults = faults
        self.count = count ?? faults.count
        self.isSyntax = isSyntax
        self.isTooLarge = isTooLarge
    }
}

/// Bounds of an entry table.
package struct TableLimits: Sendable, Hashable {
    package var json = JSONLimits()
    package var entries = 512
    package var rows = 512
    package var routines = 256
    package var routineText_bytes = 256 * 1024
    /// Files of a kernel tree, and bytes of each.
    package var sourceFiles = 64
    package var sourceText_bytes = 512 * 1024
    package var nameLength_bytes = 128
    package var faults = 100

    package init() {}
}

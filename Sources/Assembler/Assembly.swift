import Machine

/// Thrown after the diagnostic has been recorded: the statement is given up, the text goes on.
struct Fault: Error {}

/// Where something was written, enough to report it after the texts are gone.
struct Location: Sendable {
    var file: UInt16
    var line: Int
    var column: Int
    /// Index into `Assembly.expansions`, or -1.
    var expansion: Int32
}

/// One macro call, repeat or override, for the notes of a diagnostic.
struct Expansion: Sendable {
    /// Name of the macro, `.rept`, …
    var name: String
    var file: UInt16
    var line: Int
    var parent: Int32
}

/// What the assembler knows about a symbol.
struct Symbol: Sendable {
    enum Kind: UInt8, Sendable {
        case undefined
        /// `value` is the constant.
        case absolute
        /// `value` is the address of something outside the code.
        case external
        /// An instruction of a group: `item` counts through the whole program.
        case label
        /// `value` depends on labels.
        case expression
        /// A label in a section that nothing executes: it has no address.
        case discarded
    }

    /// Interned name, or -1 for numeric labels.
    var name: Int
    var kind: Kind = .undefined
    var isGlobal = false
    var value = Value()
    var item = 0
    var group: Int32 = -1
    /// For a `.L` label in an override: the symbol of the enclosing file, used if the override defines none.
    var outer: Int32 = -1
    /// Guards against symbols defined through themselves.
    var isResolving = false
    var location = Location(file: 0, line: 0, column: 0, expansion: -1)
}

/// A part of an instruction that waits for the layout.
struct Fixup: Sendable {
    enum Kind: UInt8, Sendable {
        case displacement
        /// `symbol(%rip)`: the displacement becomes the symbol's address.
        case relativeSymbol
        /// `8(%rip)`: bytes from the next instruction.
        case relativeConstant
        case immediate
        case target
    }

    var item: Int
    var kind: Kind
    var value: Value
    /// For immediates: `movabs` takes all 64 bits.
    var isWide: Bool
    var location: Location
}

/// A section as far as the assembler cares: does anything in it execute.
struct Section: Sendable {
    var isExecutable = true
    /// Interned name; 0 for the section in force at the start.
    var name = 0
}

/// A run of code without gaps. Usually one routine; implicit routines that fall through share one.
struct Group: Sendable {
    var firstItem: Int
    var endItem: Int
    var placement: UInt64?
    var address: UInt64 = 0
    var size: UInt64 = 0
}

/// A routine under construction.
struct RoutineDraft: Sendable {
    var name: Int
    var group: Int32
    var firstItem: Int
    var endItem: Int
    var isExplicit: Bool
    /// The text comes from `AssemblyInput.overrides`: its own `ENTRY` is optional.
    var isOverride = false
    var location: Location
}

/// What there is in a text that is looked through.
struct Probe: Sendable {
    /// A statement other than a conditional would be assembled.
    var foundStatement = false
    var foundConditional = false
}

/// One assembly in progress. `Assembly+….swift` hold its parts in the order of the data: text, statements, operands, layout.
///
/// A struct with stored arrays: every part is a mutating method, so there is neither reference counting nor
/// exclusivity checking in the loop over the bytes.
struct Assembly {
    let input: AssemblyInput
    let limits: Limits

    // Text
    var bytes: [UInt8] = []
    var position = 0
    var end = 0
    var line = 1
    var lineStart = 0
    var file: UInt16 = 0
    var expansion: Int32 = -1
    var frame = Frame()
    var depth = 0
    var lineCount = 0
    var expandedBytes = 0
    var expansionCount = 0
    /// Macros around the current text; `.exitm` needs one.
    var macroDepth = 0
    var exitRequested = false
    /// No further statement: a limit was reached.
    var isStopped = false

    // Names
    var names: NameTable
    var meanings: [Meaning]
    let mnemonics: [Mnemonic]
    var symbols: [Symbol] = []
    var nodes: [ExpressionNode] = []
    var macros: [Macro] = []
    /// 0 for predefined names; every source and override has its own for `.L` labels.
    var scope: Int32 = 0
    var outerScope: Int32 = -1
    var scopeCount: Int32 = 0
    /// Numeric labels of the current text: the last one behind, and the one awaited ahead.
    var numeric: [Int: (behind: Int32, ahead: Int32)] = [:]

    /// How the current source is taken.
    var role = SourceText.Role.listing
    /// Files that are sources of a kernel: faults in them are gaps.
    var kernelFiles: Set<UInt16> = []
    /// Where the lines of a file were written, by its number.
    var origins: [UInt16: (lines: [SourceOrigin], files: [UInt16])] = [:]
    var gaps: [Program.Gap] = []
    /// Where undefined symbols of a kernel's sources lead.
    var gapAddress: Int64?
    var exceptionRows: [(fault: Value, fixup: Value, location: Location)] = []
    /// `.byte 0xe9` was read: a jump whose displacement follows.
    var awaitsDisplacement = false

    /// Names for which a near one was looked for, and how many names may still be looked at for that.
    var hints: [String: String] = [:]
    var hintBudget = 100_000

    var conditionals: [Conditional] = []
    var isSkipping = false
    var sections: [Section] = []
    var section = Section()
    var previousSection = Section()
    /// Section in which the open routine started.
    var sectionAtStart = 0

    // Output
    var files: [String] = []
    var expansions: [Expansion] = []
    var diagnostics: [Diagnostic] = []
    var instructions: [Instruction] = []
    var lines: [Program.SourceLine] = []
    /// Index of the routine draft of each instruction.
    var owners: [Int32] = []
    var fixups: [Fixup] = []
    var branches: [Int] = []
    var groups: [Group] = []
    var routines: [RoutineDraft] = []
    /// The routine that is open, or -1; and the first of the chain of implicit routines it belongs to.
    var current: Int32 = -1
    var chainStart: Int32 = -1
    /// Name of the overridden routine whose default body is being passed over, or -1.
    var discarding = -1
    var discardIsExplicit = false
    var discardStart = Location(file: 0, line: 0, column: 0, expansion: -1)
    /// Interned name and position in `input.overrides`; `isUsed` once met.
    var overrides: [(name: Int, index: Int, isUsed: Bool)] = []
    /// The implicit routine passed over last: its `END` may still come.
    var lastDiscarded = -1

    /// Present while a text is looked through and nothing of it assembled.
    var probe: Probe?

    var operands: [Operand] = [Operand](repeating: Operand(), count: 3)
    var operandCount = 0
    var expressionDepth = 0
    var hasLockPrefix = false
    var hasRepeatPrefix = false
    var prefixLocation = Location(file: 0, line: 1, column: 1, expansion: -1)

    init(_ input: AssemblyInput) {
        self.input = input
        limits = input.limits
        let vocabulary = Vocabulary.standard
        names = vocabulary.names
        meanings = vocabulary.meanings
        mnemonics = vocabulary.mnemonics
        instructions.reserveCapacity(4096)
        lines.reserveCapacity(4096)
        owners.reserveCapacity(4096)
        fixups.reserveCapacity(1024)
        symbols.reserveCapacity(1024)
    }

    // MARK: Faults

    /// Where a byte of the current text was written.
    func location(at offset: Int) -> Location {
        Location(file: file, line: line, column: column(at: offset), expansion: expansion)
    }

    /// Records a fault at a byte of the current text.
    mutating func report(_ code: DiagnosticCode, _ message: String, at offset: Int) {
        report(code, message, location(at: offset))
    }

    /// Records a fault and gives up the statement.
    mutating func fail(_ code: DiagnosticCode, _ message: String, at offset: Int) -> Fault {
        report(code, message, location(at: offset))
        return Fault()
    }

    /// Records a fault at a place.
    mutating func report(_ code: DiagnosticCode, _ message: String, _ place: Location) {
        if let gap = kernelPlace(place), !code.rawValue.hasPrefix("limit-") {
            return addGap(message, origin(of: gap), code.isFatalAnywhere ? .unterminated : .code)
        }
        let location = origin(of: place)
        guard diagnostics.count < limits.diagnostics else { return }
        var notes: [String] = []
        var next = location.expansion
        while next >= 0, notes.count < 64 {
            let expansion = expansions[Int(next)]
            let call = origin(of: Location(file: expansion.file, line: expansion.line, column: 1, expansion: -1))
            notes.append("in \(expansion.name), from \(fileName(call.file)):\(call.line)")
            next = expansion.parent
        }
        diagnostics.append(
            Diagnostic(
                code: code.rawValue, file: fileName(location.file), line: location.line, column: location.column,
                message: message, notes: notes))
        if diagnostics.count == limits.diagnostics, code != .limitDiagnostics {
            diagnostics[diagnostics.count - 1] = Diagnostic(
                code: DiagnosticCode.limitDiagnostics.rawValue, file: fileName(location.file), line: location.line,
                column: location.column, message: "more than \(limits.diagnostics - 1) faults; the rest is not reported"
            )
            isStopped = true
        }
    }

    /// The place in the sources of a kernel that led to a place, through macros of headers that stand for its own.
    func kernelPlace(_ place: Location) -> Location? {
        if kernelFiles.isEmpty { return nil }
        if kernelFiles.contains(place.file) { return place }
        var next = place.expansion
        while next >= 0 {
            let call = expansions[Int(next)]
            if kernelFiles.contains(call.file) {
                return Location(file: call.file, line: call.line, column: 1, expansion: call.parent)
            }
            next = call.parent
        }
        return nil
    }

    private mutating func addGap(_ message: String, _ location: Location, _ kind: Program.Gap.Kind) {
        guard gaps.count < limits.gaps else { return }
        gaps.append(
            Program.Gap(
                location: "\(fileName(location.file)):\(location.line):\(location.column)", message: message, kind: kind
            ))
    }

    /// The place in the file that a line of preprocessed text came from.
    func origin(of location: Location) -> Location {
        guard let table = origins[location.file], location.line >= 1, location.line <= table.lines.count else {
            return location
        }
        let line = table.lines[location.line - 1]
        return Location(
            file: Int(line.file) < table.files.count ? table.files[Int(line.file)] : location.file,
            line: Int(line.line), column: location.column, expansion: location.expansion)
    }

    /// Records a fault after which nothing more is read.
    mutating func stop(_ code: DiagnosticCode, _ message: String, at offset: Int) -> Fault {
        if !isStopped { report(code, message, at: offset) }
        isStopped = true
        return Fault()
    }

    func fileName(_ file: UInt16) -> String {
        Int(file) < files.count ? files[Int(file)] : ""
    }

    mutating func addFile(_ name: String) -> UInt16 {
        if let index = files.firstIndex(of: name) { return UInt16(truncatingIfNeeded: index) }
        files.append(name)
        return UInt16(truncatingIfNeeded: files.count - 1)
    }
}

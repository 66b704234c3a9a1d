package import Machine

/// Which of several programs: one bit each, at most 32 of them.
package struct ProgramSet: OptionSet, Sendable, Hashable {
    package var rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The set of one.
    package init(_ index: Int) { rawValue = 1 << UInt32(truncatingIfNeeded: index & 31) }

    /// The first `count`.
    package static func all(_ count: Int) -> ProgramSet {
        ProgramSet(rawValue: count >= 32 ? .max : (1 << UInt32(truncatingIfNeeded: count)) - 1)
    }

    /// The members in order.
    package var indices: [Int] { (0..<32).filter { contains(ProgramSet($0)) } }
}

/// One listing of several programs that the same sources expand to, one for each platform and state of the kernel.
///
/// Lines that all of them have stand there once, the others between `.if` and `.endif`: assembled as the replacement of
/// a routine, the text gives each program its own instructions again.
package struct CommonListing: Sendable {
    /// Routines by name, in the order of the first program; those that others have besides stand behind their neighbours.
    package let routines: [String]
    private let codes: [String: [Int: ListedCode]]
    private let count: Int
    private let style: Style

    /// How the text is written.
    package struct Style: Sendable {
        /// The condition, in the assembler's own syntax, that holds for the programs of a set and for no other.
        var condition: @Sendable (ProgramSet) -> String
        /// A condition around each routine: elsewhere the kernel's own stays.
        var enclosing: String?
        /// Addresses and sizes of the first program in comments.
        var showsAddresses: Bool

        package init(
            enclosing: String? = nil, showsAddresses: Bool = false,
            condition: @escaping @Sendable (ProgramSet) -> String
        ) {
            self.condition = condition
            self.enclosing = enclosing
            self.showsAddresses = showsAddresses
        }
    }

    /// Lists programs: at least one, at most 32.
    package init(_ programs: [Program], style: Style) {
        var order: [String] = []
        var codes: [String: [Int: ListedCode]] = [:]
        count = min(programs.count, 32)
        for (index, program) in programs.prefix(32).enumerated() {
            var added: [String: [String]] = [:]
            var neighbour = ""
            for code in ListedCode.routines(of: program) where !code.lines.isEmpty {
                if codes[code.name] == nil {
                    added[neighbour, default: []].append(code.name)
                } else {
                    neighbour = code.name
                }
                codes[code.name, default: [:]][index] = code
            }
            guard !added.isEmpty else { continue }
            order = (added[""] ?? []) + order.flatMap { [$0] + (added[$0] ?? []) }
        }
        routines = order
        self.codes = codes
        self.style = style
    }

    /// The whole listing.
    package var text: String { routines.compactMap { text(of: $0) }.joined(separator: "\n") }

    /// One routine; nil where no program has it.
    package func text(of name: String) -> String? {
        guard let own = codes[name], let first = own.keys.min(), let code = own[first] else { return nil }
        let everyone = ProgramSet.all(count)
        let programs = own.keys.reduce(into: ProgramSet()) { $0.insert(ProgramSet($1)) }
        var writer = ListingWriter(style: style)
        if let enclosing = style.enclosing { writer.open(enclosing) }
        if programs != everyone { writer.open(style.condition(programs)) }
        let isChained = own.values.contains(where: \.isChained)
        if isChained, own.values.contains(where: \.isGlobal) { writer.lines.append(".globl \(name)") }
        let comment =
            style.showsAddresses && first == 0
            ? "\t# \(hexadecimal(code.address)), \(code.size_bytes) bytes" : ""
        writer.lines.append((isChained ? "\(name):" : "ENTRY(\(name))") + comment)
        var alignment = AlignedCode(own, programs: programs)
        alignment.settle()
        writer.write(alignment)
        if !own.values.contains(where: \.runsOn) { writer.lines.append("END(\(name))") }
        if programs != everyone { writer.lines.append(".endif") }
        if style.enclosing != nil { writer.lines.append(".endif") }
        return writer.lines.joined(separator: "\n") + "\n"
    }
}

/// Lines of text under conditionals.
struct ListingWriter {
    let style: CommonListing.Style
    var lines: [String] = []

    init(style: CommonListing.Style) { self.style = style }

    mutating func open(_ condition: String) { lines.append(".if \(condition)") }

    /// Writes the rows of a routine and its labels.
    mutating func write(_ code: AlignedCode) {
        let labels = code.placedLabels()
        var position = 0
        for chain in code.chains {
            write(labels[chain.first] ?? [], inside: code.programs)
            if chain.blocks.count == 1 && chain.blocks[0].programs == code.programs {
                for row in chain.blocks[0].rows {
                    if row > chain.first { write(labels[row] ?? [], inside: code.programs) }
                    lines.append(code.text(ofRow: row, showsAddresses: style.showsAddresses))
                }
            } else {
                // No program has two of them, so that any order will do: what is said shortly comes first.
                let branches = chain.blocks.map { (condition: style.condition($0.programs), block: $0) }
                    .sorted {
                        ($0.condition.count, $0.block.rows.lowerBound) < ($1.condition.count, $1.block.rows.lowerBound)
                    }
                var rest = code.programs
                for (index, branch) in branches.enumerated() {
                    let isLast = index > 0 && rest == branch.block.programs
                    lines.append(isLast ? ".else" : "\(index == 0 ? ".if" : ".elseif") \(branch.condition)")
                    rest.subtract(branch.block.programs)
                    for row in branch.block.rows {
                        if row > chain.first { write(labels[row] ?? [], inside: branch.block.programs) }
                        lines.append(code.text(ofRow: row, showsAddresses: style.showsAddresses))
                    }
                }
                lines.append(".endif")
            }
            position = chain.end
        }
        write(labels[position] ?? [], inside: code.programs)
    }

    private mutating func write(_ labels: [AlignedCode.PlacedLabel], inside programs: ProgramSet) {
        for label in labels {
            let wanted = label.programs.intersection(programs)
            let isConditional = wanted != programs && !label.isFree
            if isConditional { open(style.condition(wanted)) }
            let globals = label.globals.intersection(programs)
            if globals == wanted || (label.isFree && !globals.isEmpty) {
                lines.append(".globl \(label.name)")
            } else if !globals.isEmpty {
                open(style.condition(globals))
                lines.append(".globl \(label.name)")
                lines.append(".endif")
            }
            lines.append("\(label.name):")
            if isConditional { lines.append(".endif") }
        }
    }
}

import Machine

/// One routine of one program, as the lines of a listing: instructions with the names that they use, and labels.
struct ListedCode: Sendable {
    /// An instruction as text. The names in it that are labels of the listing's own making are left open.
    struct Line: Sendable {
        /// Text between names: one piece more than there are names.
        var pieces: [String] = []
        var names: [String] = []
        var address: UInt64 = 0
    }

    /// A label in front of a line, or behind the last one.
    struct Label: Sendable {
        var name: String
        var line: Int
        /// Branches to it are long although they would reach.
        var isGlobal: Bool
    }

    var name = ""
    var address: UInt64 = 0
    var size_bytes: UInt64 = 0
    var lines: [Line] = []
    var labels: [Label] = []
    /// Labels that only this routine uses and whose names depend on what was assembled before: any other name would do.
    var free: [String: Label] = [:]
    /// Prints as a plain label because it runs on from the routine before or into the next.
    var isChained = false
    var isGlobal = false
    var runsOn = false

    /// What tells lines apart wherever free labels lead.
    func key(of line: Line) -> String {
        var text = line.pieces[0]
        for (index, name) in line.names.enumerated() {
            if let label = free[name] {
                text += label.isGlobal ? "\u{1}.globl" : "\u{1}"
            } else {
                text += name
            }
            text += line.pieces[index + 1]
        }
        return text
    }
}

extension ListedCode {
    private static let opening: Character = "\u{2}"
    private static let closing: Character = "\u{3}"

    /// Every routine of a program, in its order.
    static func routines(of program: Program) -> [ListedCode] {
        let labels = ListingLabels(program)
        @Sendable func marked(_ text: String) -> String {
            // `label+3`: the label alone is a name.
            let name = text.prefix { $0 != "+" }
            return "\(opening)\(name)\(closing)\(text[name.endIndex...])"
        }
        let printer = InstructionPrinter(
            symbolize: { labels.name(of: $0).map(marked) }, symbolizeTarget: { labels.target($0, of: $1).map(marked) })
        let made = Set(labels.synthetic.values)
        var routines: [ListedCode] = []
        routines.reserveCapacity(program.routines.count)
        for (index, routine) in program.routines.enumerated() {
            var code = ListedCode(name: routine.name, address: routine.address, size_bytes: routine.size_bytes)
            code.isChained = labels.isChained(index)
            code.isGlobal = labels.isGlobal(routine.name)
            code.runsOn = labels.continues(index + 1)
            func add(_ name: String) {
                code.labels.append(Label(name: name, line: code.lines.count, isGlobal: labels.isGlobal(name)))
            }
            for item in labels.items(of: index) {
                let address = program.addresses[item]
                for label in labels.definitions(at: address) { add(label) }
                code.lines.append(line(printer.text(program.instructions[item], at: address), at: address))
            }
            if !code.runsOn { for label in labels.definitions(atEndOf: index) { add(label) } }
            for label in code.labels where made.contains(label.name) || isCounted(label.name) {
                code.free[label.name] = label
            }
            routines.append(code)
        }
        keepShared(&routines)
        return routines
    }

    private static func line(_ text: String, at address: UInt64) -> Line {
        var line = Line(address: address)
        for (index, part) in text.split(separator: opening, omittingEmptySubsequences: false).enumerated() {
            guard index > 0, let end = part.firstIndex(of: closing) else {
                line.pieces.append(String(part))
                continue
            }
            line.names.append(String(part[..<end]))
            line.pieces.append(String(part[part.index(after: end)...]))
        }
        return line
    }

    /// Made with `\@`, the number of the macro call: `.Luser_cr3_done_17`.
    private static func isCounted(_ name: String) -> Bool {
        guard name.hasPrefix(".L"), let mark = name.lastIndex(of: "_") else { return false }
        let number = name[name.index(after: mark)...]
        return !number.isEmpty && number.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
    }

    /// Labels that another routine names keep their names.
    private static func keepShared(_ routines: inout [ListedCode]) {
        var owner: [String: Int] = [:]
        for (index, code) in routines.enumerated() { for name in code.free.keys { owner[name] = index } }
        var shared: [(Int, String)] = []
        for (index, code) in routines.enumerated() {
            for line in code.lines {
                for name in line.names {
                    if let home = owner[name], home != index { shared.append((home, name)) }
                }
            }
        }
        for (home, name) in shared { routines[home].free[name] = nil }
    }
}

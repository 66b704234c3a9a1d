package import Machine

/// A whole program as AT&T text: routines between `ENTRY` and `END`, labels, one instruction a line with its address in a comment.
///
/// Assembled again with the same externals, placements, sizes and origin it gives the same instructions at the same
/// addresses. Routines that fall through into each other print as plain labels. Branch targets without a name get
/// `.Lroutine_offset`; `.globl` stands before labels whose branches are long although they would reach.
package func listing(of program: Program) -> String {
    let labels = ListingLabels(program)
    let printer = InstructionPrinter(symbolize: { labels.name(of: $0) }, symbolizeTarget: { labels.target($0, of: $1) })
    var lines: [String] = []
    lines.reserveCapacity(program.instructions.count * 2)
    for (index, routine) in program.routines.enumerated() {
        let comment = "\t# \(hexadecimal(routine.address)), \(routine.size_bytes) bytes"
        let isChained = labels.isChained(index)
        if index > 0, !labels.continues(index) { lines.append("") }
        if isChained, labels.isGlobal(routine.name) { lines.append(".globl \(routine.name)") }
        lines.append((isChained ? "\(routine.name):" : "ENTRY(\(routine.name))") + comment)
        for item in labels.items(of: index) {
            let address = program.addresses[item]
            for label in labels.definitions(at: address) { define(label, labels.isGlobal(label), &lines) }
            lines.append("\t\(printer.text(program.instructions[item], at: address))\t# \(hexadecimal(address))")
        }
        if labels.continues(index + 1) { continue }
        for label in labels.definitions(atEndOf: index) { define(label, labels.isGlobal(label), &lines) }
        lines.append("END(\(routine.name))")
    }
    return lines.joined(separator: "\n") + "\n"
}

private func define(_ label: String, _ isGlobal: Bool, _ lines: inout [String]) {
    if isGlobal { lines.append(".globl \(label)") }
    lines.append("\(label):")
}

func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

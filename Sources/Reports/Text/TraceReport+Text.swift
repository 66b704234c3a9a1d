import EntryCode
import Verification

extension TraceReport {
    /// The trace for people: a line for each step, marked lines for events, then the stack from high to low addresses.
    package var text: String {
        var page = TextPage()
        writeHeadline(to: &page)
        writeSteps(to: &page)
        for picture in pictures { write(picture, to: &page) }
        writeEnd(to: &page)
        return page.text
    }

    private func writeHeadline(to page: inout TextPage) {
        page.line("\(record.name): \(record.verdict)", hanging: 2)
        page.line("Why it can happen: \(record.reason).", indent: 2, hanging: 4)
    }

    // MARK: Steps

    private func writeSteps(to page: inout TextPage) {
        page.blank()
        let width = min(36, (steps.map(\.symbol.utf8.count).max() ?? 0) + 2)
        let lastWrites = lastWrites
        var activation = steps.first?.activation ?? 0
        var shown = 0
        for (index, step) in steps.enumerated() {
            if step.activation != activation {
                activation = step.activation
                page.line("=== \(name(ofActivation: activation))", indent: 2)
            }
            write(step, width: width, lastWrites, to: &page)
            let next = index + 1 < steps.count ? steps[index + 1].step : .max
            while shown < causes.count, causes[shown].at.step < Int(next) {
                page.line("!!! \(causes[shown].rule): \(causes[shown].explanation)", indent: 7, hanging: 11)
                shown += 1
            }
        }
        if isTruncated { page.line("... the trace ends here, after \(counted(steps.count, "step")); the run went on") }
    }

    /// Violations and warnings in the order of their steps.
    private var causes: [Report.Violation] {
        record.violations.enumerated().sorted { ($0.element.at.step, $0.offset) < ($1.element.at.step, $1.offset) }
            .map(\.element)
    }

    private func name(ofActivation number: UInt32) -> String {
        switch number {
        case 0: "the interrupted program"
        case 1: "activation 1: \(record.event)"
        default: "activation \(number)"
        }
    }

    private func write(_ step: TraceStep, width: Int, _ lastWrites: [UInt64: UInt32], to page: inout TextPage) {
        let isModel = step.instruction.hasPrefix("(C function ")
        let instruction = isModel ? "(C function)" : ascii(step.instruction)
        let place = String(step.step).aligned(5) + "  " + hexadecimal(step.address) + "  "
        let symbol = ascii(step.symbol) + "  "
        let source = sourceComment(step)
        if place.utf8.count + max(symbol.utf8.count, width) + instruction.utf8.count <= textWidth_columns {
            let line = place + symbol.padded(width) + instruction
            let fits = line.utf8.count + source.utf8.count <= textWidth_columns
            page.verbatim(line + (fits ? source : ""), indent: 0)
            if !fits { page.verbatim(source, indent: 5) }
        } else if place.utf8.count + symbol.utf8.count + instruction.utf8.count <= textWidth_columns {
            page.verbatim(place + symbol + instruction, indent: 0)
            if !source.isEmpty { page.verbatim(source, indent: 5) }
        } else {
            page.verbatim(place + symbol, indent: 0)
            page.line(instruction, indent: 27, hanging: 29)
        }
        page.items(
            step.changes.map { "\($0.name) \(short($0.old)) -> \(short($0.new))" }
                + step.writes.map { describe($0, isLast: lastWrites[$0.address] == step.step) }, indent: 7)
        if let outcome = step.outcome, !isModel { page.line("*** \(outcome)", indent: 7, hanging: 11) }
    }

    /// `  # calling.s:207`; empty for stand-ins, which have no source that a reader could open.
    private func sourceComment(_ step: TraceStep) -> String {
        let source = step.source
        guard let slash = source.lastIndex(of: "/") else { return "" }
        return "  # " + ascii(source.hasPrefix("routines/") ? source : String(source[source.index(after: slash)...]))
    }

    /// The step that wrote each address last.
    private var lastWrites: [UInt64: UInt32] {
        var result: [UInt64: UInt32] = [:]
        for step in steps { for write in step.writes { result[write.address] = step.step } }
        return result
    }

    private func describe(_ write: TraceStep.Write, isLast: Bool) -> String {
        let size = write.size_bytes == 8 ? "" : " (\(counted(write.size_bytes, "byte")))"
        return
            "[\(hexadecimal(write.address))] = \(short(write.value))\(size)\((isLast ? owner(of: write) : nil).map { " (\($0))" } ?? "")"
    }

    /// Who owns the word according to the pictures, which show the last write alone: where it still has that value.
    private func owner(of write: TraceStep.Write) -> String? {
        for picture in pictures {
            for word in picture.words where word.address == write.address && word.value == write.value {
                return word.owner.isEmpty ? nil : word.owner
            }
        }
        return nil
    }

    private func short(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

    // MARK: Pictures and end

    private func write(_ picture: StackPicture, to page: inout TextPage) {
        page.blank()
        page.line("Stack \(picture.title) (step \(picture.step)), high addresses first:", hanging: 2)
        page.verbatim("address             value               owner", indent: 2)
        for word in picture.words {
            let mark = word.isStackPointer ? "  <- RSP" : ""
            let head = hexadecimal(word.address) + "  " + hexadecimal(word.value) + (word.owner.isEmpty ? "" : "  ")
            page.columnsVerbatim(head, word.owner + mark, indent: 2)
        }
    }

    private func writeEnd(to page: inout TextPage) {
        for violation in record.violations {
            page.blank()
            page.line("\(violation.severity): \(violation.rule)")
            page.line("cause: \(violation.explanation)", indent: 2, hanging: 4)
            if let next = violation.consequence {
                page.line("then: \(Report.sentence(next))", indent: 2, hanging: 4)
            }
            if !violation.console.isEmpty {
                page.line("console:", indent: 2)
                page.console(violation.console, indent: 4)
            }
        }
        page.blank()
        page.line("End: \(record.ending), after \(counted(record.steps, "step")).")
    }
}

extension TextPage {
    /// A fixed head, then words that keep their spaces while they fit and wrap under the head where they do not.
    fileprivate mutating func columnsVerbatim(_ head: String, _ tail: String, indent: Int) {
        if indent + head.utf8.count + ascii(tail).utf8.count <= textWidth_columns {
            verbatim(head + tail, indent: indent)
        } else {
            verbatim(head, indent: indent)
            line(tail, indent: indent + head.utf8.count)
        }
    }
}

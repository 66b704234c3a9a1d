import EntryCode

/// The widest line of a text answer, in columns.
package let textWidth_columns = 100

/// Printable ASCII for any text: known signs by their usual spelling, anything else by `?`.
///
/// Names and code come from users: control characters, which a terminal would obey, are escaped. Newlines stay.
package func ascii(_ text: String) -> String {
    if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) { return text }
    var result = ""
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\n", " "..."~": result.unicodeScalars.append(scalar)
        case "\t", "\u{A0}": result += " "
        case _ where isControl(scalar): result += escape(scalar)
        case "…": result += "..."
        case "→": result += "->"
        case "←": result += "<-"
        case "–", "—", "−": result += "-"
        case "‘", "’": result += "'"
        case "“", "”": result += "\""
        case "×": result += "x"
        case "≤": result += "<="
        case "≥": result += ">="
        case "≠": result += "!="
        case "µ", "μ": result += "u"
        case "§": result += "section "
        default: result += "?"
        }
    }
    return result
}

/// Any text with what a terminal would obey escaped: control characters and overrides of direction. Letters stay.
///
/// - Parameter keepsLines: Newlines and tabs are layout, not part of a name.
package func printable(_ text: String, keepsLines: Bool = false) -> String {
    func isKept(_ scalar: Unicode.Scalar) -> Bool {
        if keepsLines && (scalar == "\n" || scalar == "\t") { return true }
        return !isControl(scalar)
    }
    if text.unicodeScalars.allSatisfy(isKept) { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        if isKept(scalar) { result.unicodeScalars.append(scalar) } else { result += escape(scalar) }
    }
    return result
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069: true
    default: false
    }
}

/// `\x1b`, or `\u202e` above U+00FF.
private func escape(_ scalar: Unicode.Scalar) -> String {
    let value = UInt64(scalar.value)
    return value <= 0xFF ? "\\x" + hexadecimalDigits(value, digits: 2) : "\\u" + hexadecimalDigits(value, digits: 4)
}

extension String {
    /// Padded with spaces on the right.
    func padded(_ width: Int) -> String {
        let missing = width - utf8.count
        return missing > 0 ? self + String(repeating: " ", count: missing) : self
    }

    /// Padded with spaces on the left.
    func aligned(_ width: Int) -> String {
        let missing = width - utf8.count
        return missing > 0 ? String(repeating: " ", count: missing) + self : self
    }
}

/// A text answer in the making: every line is ASCII and fits the width.
struct TextPage: Sendable {
    private(set) var text = ""

    mutating func blank() { text += "\n" }

    /// One line that is cut into several at the width; what follows the first is indented.
    mutating func line(_ content: String, indent: Int = 0, hanging: Int? = nil) {
        for line in wrap(content, indent: indent, hanging: hanging ?? indent) {
            text += line
            text += "\n"
        }
    }

    /// Lines that keep their spaces, but for those at the end; only lines too wide are broken, wherever the width ends.
    mutating func verbatim(_ content: String, indent: Int) {
        let width = textWidth_columns - indent
        if indent == 0, content.utf8.count <= width, content.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
            // The common case: one line of printable ASCII that fits.
            let end = content.utf8.lastIndex { $0 != UInt8(ascii: " ") }.map(content.utf8.index(after:))
            text += content[..<(end ?? content.startIndex)]
            text += "\n"
            return
        }
        let margin = String(repeating: " ", count: indent)
        for line in ascii(content).split(separator: "\n", omittingEmptySubsequences: false) {
            var rest = Substring(line)
            repeat {
                var part = rest.prefix(width)
                rest = rest.dropFirst(part.count)
                while part.last == " " { part.removeLast() }
                text += part.isEmpty ? "" : margin + part
                text += "\n"
            } while !rest.isEmpty
        }
    }

    /// A line behind its number, which stands in the margin.
    mutating func numbered(_ number: Int, _ content: String) {
        for (index, line) in wrap(content, indent: 4, hanging: 6).enumerated() {
            text += (index == 0 ? "\(number).".padded(4) + line.dropFirst(4) : line[...]) + "\n"
        }
    }

    /// Lines as a machine printed them: none is broken, so that each can be found by its words.
    mutating func console(_ content: String, indent: Int) {
        let margin = String(repeating: " ", count: indent)
        for line in ascii(content).split(separator: "\n", omittingEmptySubsequences: false) {
            var line = line
            while line.last == " " { line.removeLast() }
            text += (line.isEmpty ? "" : margin + line) + "\n"
        }
    }

    /// One line as it is, however wide; it has to be printable ASCII.
    mutating func unbroken(_ content: String) { text += content + "\n" }

    /// Items separated by `; `, broken between items where possible.
    mutating func items(_ items: [String], indent: Int) {
        var line = ""
        for (index, item) in items.enumerated() {
            let piece = ascii(item) + (index + 1 < items.count ? ";" : "")
            if line.isEmpty {
                line = piece
            } else if indent + line.utf8.count + 1 + piece.utf8.count <= textWidth_columns {
                line += " " + piece
            } else {
                verbatim(line, indent: indent)
                line = piece
            }
        }
        if !line.isEmpty { verbatim(line, indent: indent) }
    }
}

/// Lines of any width as ASCII lines that fit; what goes on is indented deeper than its line.
package func fitted(_ text: String) -> String {
    var page = TextPage()
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
        let indent = line.prefix { $0 == " " }.count
        page.line(String(line), indent: min(indent, 40), hanging: min(indent, 40) + 2)
    }
    return page.text
}

extension TextPage {
    /// Two columns: a short word, then text that wraps inside its own column.
    mutating func columns(_ head: String, _ body: String, width: Int) {
        let lines = wrap(body, indent: width, hanging: width)
        let first = ascii(head)
        for (index, line) in lines.enumerated() {
            if index == 0, first.utf8.count < width {
                verbatim(first.padded(width) + line.dropFirst(width), indent: 0)
            } else {
                if index == 0 { verbatim(first, indent: 0) }
                verbatim(line, indent: 0)
            }
        }
    }
}

/// Breaks text at spaces into lines of at most the width; longer words are broken where the width ends.
func wrap(_ content: String, indent: Int = 0, hanging: Int = 0) -> [String] {
    var lines: [String] = []
    var line = String(repeating: " ", count: indent)
    var isEmpty = true
    for word in ascii(content).split(whereSeparator: { $0 == " " || $0 == "\n" }) {
        var word = word
        while true {
            let used = line.utf8.count + (isEmpty ? 0 : 1)
            if used + word.utf8.count <= textWidth_columns {
                line += (isEmpty ? "" : " ") + word
                isEmpty = false
                break
            }
            if isEmpty {
                let part = word.prefix(max(1, textWidth_columns - line.utf8.count))
                line += part
                word = word.dropFirst(part.count)
            }
            lines.append(line)
            line = String(repeating: " ", count: hanging)
            isEmpty = true
            if word.isEmpty { break }
        }
    }
    if !isEmpty {
        lines.append(line)
    } else if lines.isEmpty {
        lines.append("")
    }
    return lines
}

/// A count with its noun: `1 scenario`, `2 scenarios`.
func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

/// A duration for people: `4.1 ms`, `1.69 s`.
func duration(seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "?" }
    func decimal(_ value: Double, _ digits: Int) -> String {
        var scale = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int((value * Double(scale)).rounded())
        let fraction = String(scaled % scale)
        return "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.utf8.count) + fraction
    }
    return seconds < 0.9995 ? decimal(seconds * 1000, 1) + " ms" : decimal(seconds, 2) + " s"
}

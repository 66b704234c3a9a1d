import EntryCode

extension Report {
    /// How a reader gets the trace of a violation's scenario: a request to the service that keeps the report, or the command
    /// for the table that was checked; nil where there is neither.
    func traceWords(_ violation: Violation) -> [String]? {
        if let path = violation.trace { return ["GET \(requestTarget(path))?format=text"] }
        guard let command else { return nil }
        return ["gatehouse trace \(command.tableWord)", shellWord(violation.scenario)] + command.machine.map(shellWord)
    }

    /// How a reader gets the list of all scenarios; nil as for traces.
    var wideWords: [String]? {
        if let id { return ["GET \(requestTarget("/v1/simulations/\(id)"))?format=wide"] }
        guard let command else { return nil }
        let options = (command.machine + command.selection).map(shellWord)
        return ["gatehouse check \(command.tableWord)"] + options + ["--format wide"]
    }
}

extension Report.Command {
    /// The table as a shell takes it; a name that reads as an option gets its folder.
    var tableWord: String { shellWord(table.hasPrefix("-") && table != "-" ? "./" + table : table) }
}

extension TextPage {
    /// Words to be copied, on one line while they fit; then a command goes on behind a backslash.
    ///
    /// A word is never broken: a path or an address that is wider than the page stands on a line of its own width.
    mutating func hint(_ label: String, _ words: [String], indent: Int) {
        var line = String(repeating: " ", count: indent) + label
        for (index, word) in words.enumerated() {
            // Room for what follows: the backslash, unless this is the last word.
            let rest = index + 1 < words.count ? 2 : 0
            if index > 0, line.utf8.count + 1 + word.utf8.count + rest > textWidth_columns {
                unbroken(line + " \\")
                line = String(repeating: " ", count: indent + 2) + word
            } else {
                line += " " + word
            }
        }
        unbroken(line)
    }
}

/// A word as a shell reads it back, in printable ASCII.
///
/// Quotes as in POSIX; bytes that a page cannot show stand as `$'\ooo'` (POSIX.1-2024, 2.2.4).
package func shellWord(_ text: String) -> String {
    func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-._/+@:".utf8.contains(byte)
        }
    }
    if !text.isEmpty, text.utf8.allSatisfy(isPlain) { return text }
    if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
    var result = "$'"
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "'"), UInt8(ascii: "\\"): result += "\\" + String(Unicode.Scalar(byte))
        case 0x20..<0x7F: result.unicodeScalars.append(Unicode.Scalar(byte))
        default:
            let digits = String(byte, radix: 8)
            result += "\\" + String(repeating: "0", count: 3 - digits.utf8.count) + digits
        }
    }
    return result + "'"
}

/// A path as it goes on a request line: whatever is not a graphic sign of ASCII is percent-encoded.
private func requestTarget(_ path: String) -> String {
    if path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) { return path }
    var result = ""
    for byte in path.utf8 {
        if byte > 0x20 && byte < 0x7F {
            result.unicodeScalars.append(Unicode.Scalar(byte))
        } else {
            result += "%" + hexadecimalDigits(UInt64(byte), digits: 2).uppercased()
        }
    }
    return result
}

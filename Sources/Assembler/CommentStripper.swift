/// Replaces comments by blanks, so that offsets keep their line and column.
///
/// `#` and `//` run to the end of the line, `/* */` keeps its newlines. Strings and character constants pass through.
struct CommentStripper {
    /// Offset, code and message of what was found wrong.
    var faults: [(offset: Int, code: DiagnosticCode, message: String)] = []

    private static let preprocessor = ["define", "undef", "include", "if", "ifdef", "ifndef", "elif", "else", "endif"]

    mutating func strip(_ source: [UInt8]) -> [UInt8] {
        var text = source
        var offset = 0
        let end = text.count
        var isLineStart = true
        while offset < end {
            let byte = text[offset]
            switch byte {
            case Byte.newline:
                isLineStart = true
                offset += 1
                continue
            case Byte.hash:
                if isLineStart { checkPreprocessor(text, offset) }
                offset = blankLine(&text, offset)
            case Byte.slash where offset + 1 < end && text[offset + 1] == Byte.slash:
                offset = blankLine(&text, offset)
            case Byte.slash where offset + 1 < end && text[offset + 1] == Byte.star:
                offset = blankBlock(&text, offset)
            case Byte.quote: offset = string(text, offset)
            case Byte.apostrophe:
                offset += 1
                if offset < end, text[offset] == Byte.backslash { offset += 1 }
                if offset < end, text[offset] != Byte.newline { offset += 1 }
            case 0:
                // A zero byte would read as the end of the text.
                text[offset] = 1
                offset += 1
            default: offset += 1
            }
            isLineStart = false
        }
        return text
    }

    private func blankLine(_ text: inout [UInt8], _ start: Int) -> Int {
        var offset = start
        while offset < text.count, text[offset] != Byte.newline {
            text[offset] = Byte.space
            offset += 1
        }
        return offset
    }

    private mutating func blankBlock(_ text: inout [UInt8], _ start: Int) -> Int {
        text[start] = Byte.space
        text[start + 1] = Byte.space
        var offset = start + 2
        while offset < text.count {
            if text[offset] == Byte.star, offset + 1 < text.count, text[offset + 1] == Byte.slash {
                text[offset] = Byte.space
                text[offset + 1] = Byte.space
                return offset + 2
            }
            if text[offset] != Byte.newline { text[offset] = Byte.space }
            offset += 1
        }
        faults.append((start, .unterminatedComment, "comment without `*/`"))
        return offset
    }

    private mutating func string(_ text: [UInt8], _ start: Int) -> Int {
        var offset = start + 1
        while offset < text.count, text[offset] != Byte.newline {
            if text[offset] == Byte.quote { return offset + 1 }
            offset +=
                text[offset] == Byte.backslash && offset + 1 < text.count && text[offset + 1] != Byte.newline ? 2 : 1
        }
        faults.append((start, .unterminatedString, "string without a closing quote"))
        return min(offset, text.count)
    }

    /// `#ifdef` in the first column is a comment to the assembler; dropping the condition silently would assemble both branches.
    private mutating func checkPreprocessor(_ text: [UInt8], _ start: Int) {
        var stop = start + 1
        while stop < text.count, Byte.isName(text[stop]) { stop += 1 }
        let word = text[(start + 1)..<stop]
        if CommentStripper.preprocessor.contains(where: { word.elementsEqual($0.utf8) }) {
            faults.append(
                (
                    start, .preprocessorDirective,
                    "C preprocessor directives are not read; use `.if`, `.set` and `.macro`"
                ))
        }
    }
}

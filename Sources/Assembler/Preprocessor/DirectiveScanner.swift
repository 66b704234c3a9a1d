/// Reads the line of a directive.
struct DirectiveScanner {
    private let text: [UInt8]
    private var position = 0

    init(_ text: [UInt8]) { self.text = text }

    private mutating func skipBlanks() {
        while position < text.count, Byte.isBlank(text[position]) { position += 1 }
    }

    /// The byte at the position, blanks included; 0 at the end.
    var next: UInt8 { position < text.count ? text[position] : 0 }

    mutating func skip(_ byte: UInt8) {
        skipBlanks()
        if next == byte { position += 1 }
    }

    /// An identifier, or nothing.
    mutating func word() -> [UInt8] {
        skipBlanks()
        let start = position
        while position < text.count, Preprocessor.isIdentifier(text[position]) { position += 1 }
        return Array(text[start..<position])
    }

    /// What is left, without blanks at both ends.
    var rest: [UInt8] {
        var slice = text[position...]
        while let first = slice.first, Byte.isBlank(first) { slice.removeFirst() }
        while let last = slice.last, Byte.isBlank(last) { slice.removeLast() }
        return Array(slice)
    }

    /// `(a, b, ...)`; nil where it is none.
    mutating func parameters() -> (names: [[UInt8]], isVariadic: Bool)? {
        position += 1
        var names: [[UInt8]] = []
        while true {
            skipBlanks()
            if next == Byte.close {
                position += 1
                return (names, false)
            }
            let name = word()
            skipBlanks()
            let isRest = position + 2 < text.count && text[position..<(position + 3)].elementsEqual("...".utf8)
            if isRest { position += 3 }
            guard isRest || !name.isEmpty, names.count < 64 else { return nil }
            names.append(name.isEmpty ? Array("__VA_ARGS__".utf8) : name)
            skipBlanks()
            if next == Byte.close {
                position += 1
                return (names, isRest)
            }
            guard next == Byte.comma, !isRest else { return nil }
            position += 1
        }
    }
}

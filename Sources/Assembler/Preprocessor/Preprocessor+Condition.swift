extension Preprocessor {
    /// The condition of `#if` (6.10.1): names that nothing defines are 0.
    mutating func condition(_ text: [UInt8], line: Int) -> Bool {
        // `defined` looks at names before they are replaced.
        var prepared: [UInt8] = []
        var offset = 0
        while offset < text.count {
            guard Preprocessor.isIdentifierStart(text[offset]) else {
                prepared.append(text[offset])
                offset += 1
                continue
            }
            let start = offset
            while offset < text.count, Preprocessor.isIdentifier(text[offset]) { offset += 1 }
            let word = String(decoding: text[start..<offset], as: UTF8.self)
            guard word == "defined" || ["IS_ENABLED", "IS_BUILTIN", "IS_REACHABLE"].contains(word) else {
                prepared.append(contentsOf: text[start..<offset])
                continue
            }
            var scanner = DirectiveScanner(Array(text[offset...]))
            scanner.skip(Byte.open)
            let name = scanner.word()
            let isTrue =
                isDefined(name) || (word != "defined" && word != "IS_BUILTIN" && isDefined(name + "_MODULE".utf8))
            prepared.append(isTrue ? UInt8(ascii: "1") : Byte.zero)
            // Behind the name and its parenthesis.
            var stop = offset
            while stop < text.count, !Preprocessor.isIdentifierStart(text[stop]) { stop += 1 }
            stop += name.count
            let hasParenthesis = text[offset..<min(stop, text.count)].contains(Byte.open)
            while hasParenthesis, stop < text.count, Byte.isBlank(text[stop]) { stop += 1 }
            if hasParenthesis, stop < text.count, text[stop] == Byte.close { stop += 1 }
            offset = max(min(stop, text.count), offset)
        }
        var reader = ConditionReader(expand(prepared))
        guard let value = reader.whole() else {
            fault(
                .syntaxError, "a condition that cannot be read: \(String(decoding: text.prefix(80), as: UTF8.self))",
                line: line)
            return false
        }
        for name in reader.unknown { _ = isDefined(name) }
        return value != 0
    }
}

/// Computes a constant expression.
struct ConditionReader {
    private let text: [UInt8]
    private var position = 0
    private var depth = 0
    /// Names that stood for 0.
    private(set) var unknown: [[UInt8]] = []

    init(_ text: [UInt8]) { self.text = text }

    /// The value of the whole text; nil where it is no expression.
    mutating func whole() -> Int64? {
        guard let value = conditional() else { return nil }
        skipBlanks()
        return position == text.count ? value : nil
    }

    private mutating func skipBlanks() {
        while position < text.count, Byte.isBlank(text[position]) { position += 1 }
    }

    private mutating func take(_ sign: StaticString, notBefore other: UInt8 = 0) -> Bool {
        skipBlanks()
        let count = sign.utf8CodeUnitCount
        guard position + count <= text.count,
            sign.withUTF8Buffer({ text[position..<(position + count)].elementsEqual($0) }),
            other == 0 || position + count >= text.count || text[position + count] != other
        else { return false }
        position += count
        return true
    }

    private mutating func conditional() -> Int64? {
        depth += 1
        defer { depth -= 1 }
        guard depth < 64, let condition = binary(0) else { return nil }
        guard take("?") else { return condition }
        guard let one = conditional(), take(":"), let other = conditional() else { return nil }
        return condition != 0 ? one : other
    }

    private static let levels: [[StaticString]] = [
        ["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!="], ["<=", ">=", "<", ">"], ["<<", ">>"], ["+", "-"],
        ["*", "/", "%"],
    ]

    private mutating func sign(_ level: Int) -> String? {
        for sign in ConditionReader.levels[level] {
            let text = sign.withUTF8Buffer { String(decoding: $0, as: UTF8.self) }
            // `|` is not the beginning of `||`, `<` not that of `<<`.
            let twin = ["|", "&", "<", ">"].contains(text) ? text.utf8.first ?? 0 : 0
            if take(sign, notBefore: twin) { return text }
        }
        return nil
    }

    private mutating func binary(_ level: Int) -> Int64? {
        if level == ConditionReader.levels.count { return unary() }
        guard var left = binary(level + 1) else { return nil }
        while let sign = sign(level) {
            guard let right = binary(level + 1) else { return nil }
            switch sign {
            case "||": left = left != 0 || right != 0 ? 1 : 0
            case "&&": left = left != 0 && right != 0 ? 1 : 0
            case "|": left |= right
            case "^": left ^= right
            case "&": left &= right
            case "==": left = left == right ? 1 : 0
            case "!=": left = left != right ? 1 : 0
            case "<=": left = left <= right ? 1 : 0
            case ">=": left = left >= right ? 1 : 0
            case "<": left = left < right ? 1 : 0
            case ">": left = left > right ? 1 : 0
            case "<<": left = left << min(max(right, 0), 63)
            case ">>": left = left >> min(max(right, 0), 63)
            case "+": left = left &+ right
            case "-": left = left &- right
            case "*": left = left &* right
            default:
                if right == 0 || (left == .min && right == -1) { return nil }
                left = sign == "/" ? left / right : left % right
            }
        }
        return left
    }

    private mutating func unary() -> Int64? {
        depth += 1
        defer { depth -= 1 }
        guard depth < 128 else { return nil }
        if take("!", notBefore: Byte.equal) { return unary().map { $0 == 0 ? 1 : 0 } }
        if take("-") { return unary().map { 0 &- $0 } }
        if take("+") { return unary() }
        if take("~") { return unary().map { ~$0 } }
        if take("(") {
            let value = conditional()
            return take(")") ? value : nil
        }
        skipBlanks()
        let start = position
        while position < text.count, Preprocessor.isIdentifier(text[position]) { position += 1 }
        let word = text[start..<position]
        guard let first = word.first else { return nil }
        guard Byte.isDigit(first) else {
            unknown.append(Array(word))
            // A call of something unknown.
            if take("(") {
                guard let end = Preprocessor.arguments(text[...], position - 1)?.end else { return nil }
                position = end
            }
            return 0
        }
        var digits = String(decoding: word, as: UTF8.self).lowercased()
        while let last = digits.last, last == "u" || last == "l" { digits.removeLast() }
        if digits.hasPrefix("0x") { return UInt64(digits.dropFirst(2), radix: 16).map { Int64(bitPattern: $0) } }
        if digits.hasPrefix("0"), digits.utf8.count > 1 { return Int64(digits, radix: 8) }
        return Int64(digits)
    }
}

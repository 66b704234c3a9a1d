/// The C preprocessor as far as assembly and tables of the kernel use it (ISO C11, 6.10).
///
/// Conditionals, object- and function-like macros with `#`, `##` and variable arguments, includes among the files that
/// are given. Lines keep their origin. Pure; bounded by `PreprocessorLimits`; no input makes it trap.
package struct Preprocessor: Sendable {
    /// A macro: its body, without comments.
    struct Macro: Sendable {
        /// nil for an object-like macro.
        var parameters: [[UInt8]]?
        /// The last parameter takes all that follow.
        var isVariadic = false
        var body: [UInt8]
    }

    /// One open `#if`.
    struct Condition: Sendable {
        var isActive: Bool
        var isTaken: Bool
        var sawElse = false
        var line: Int
    }

    var macros: [[UInt8]: Macro] = [:]
    var result = PreprocessedText()
    /// Names that `#if` asked for and nothing defined.
    package private(set) var asked: Set<String> = []
    /// Files that were included and are not there.
    package private(set) var missing: Set<String> = []
    /// Files that were included.
    package private(set) var included: Set<String> = []
    let limits: PreprocessorLimits
    /// The text of a path, as `#include` writes it, seen from a file.
    private let resolve: @Sendable (_ name: String, _ from: String) -> (path: String, text: [UInt8])?
    private var depth = 0
    var file: UInt16 = 0
    var line = 1
    var produced_bytes = 0
    var isStopped = false

    /// - Parameter resolve: Finds included files among those that are given.
    package init(
        limits: PreprocessorLimits = PreprocessorLimits(),
        resolve: @escaping @Sendable (_ name: String, _ from: String) -> (path: String, text: [UInt8])? = { _, _ in nil
        }
    ) {
        self.limits = limits
        self.resolve = resolve
    }

    /// Defines an object-like macro, as `-DNAME=VALUE` does.
    package mutating func define(_ name: String, _ value: String) {
        macros[Array(name.utf8)] = Macro(body: Array(value.utf8))
    }

    /// Takes the definitions of a text and drops everything else.
    package mutating func prime(with text: [UInt8], named name: String) {
        _ = process(text, named: name)
    }

    /// The text after preprocessing; definitions stay for the next one.
    package mutating func process(_ text: [UInt8], named name: String) -> PreprocessedText {
        result = PreprocessedText()
        run(text, path: name)
        return result
    }

    // MARK: Lines

    private mutating func run(_ source: [UInt8], path: String) {
        let saved = (file, line)
        file = UInt16(truncatingIfNeeded: result.files.firstIndex(of: path) ?? result.files.count)
        if Int(file) == result.files.count { result.files.append(path) }
        line = 1
        var openComment: Int?
        let text = Preprocessor.withoutComments(source, open: &openComment)
        if let openComment {
            let place = 1 + source[..<openComment].count { $0 == Byte.newline }
            fault(.unterminatedComment, "a comment without its end swallows the rest of the file", line: place)
        }
        var conditions: [Condition] = []
        var position = 0
        while position < text.count, !isStopped {
            let first = line
            var logical = takeLine(text, &position)
            let isDirective = logical.first { !Byte.isBlank($0) } == Byte.hash
            if isDirective {
                directive(logical, &conditions, path: path)
                continue
            }
            guard conditions.allSatisfy(\.isActive) else { continue }
            // A call of a function-like macro may go on in the next lines.
            var joined = 1
            while joined < limits.argumentLines, position < text.count, hasOpenCall(logical) {
                logical.append(Byte.space)
                logical.append(contentsOf: takeLine(text, &position))
                joined += 1
            }
            emit(expand(logical), line: first)
        }
        for open in conditions.prefix(4) { fault(.unterminatedConditional, "`#if` without `#endif`", line: open.line) }
        (file, line) = saved
    }

    /// One line, with those that a backslash at the end joins to it.
    private mutating func takeLine(_ text: [UInt8], _ position: inout Int) -> [UInt8] {
        var logical: [UInt8] = []
        while position < text.count {
            let stop = text[position...].firstIndex(of: Byte.newline) ?? text.count
            var last = stop
            if last > position, text[last - 1] == Byte.carriageReturn { last -= 1 }
            let continues = last > position && text[last - 1] == Byte.backslash
            logical.append(contentsOf: text[position..<(continues ? last - 1 : last)])
            position = stop + 1
            line += 1
            if !continues { break }
        }
        return logical
    }

    private mutating func emit(_ text: [UInt8], line: Int) {
        produced_bytes += text.count + 1
        if produced_bytes > limits.produced_bytes || result.origins.count >= limits.lines {
            if !isStopped {
                fault(.limitExpandedBytes, "more than \(limits.produced_bytes) bytes after preprocessing", line: line)
            }
            isStopped = true
            return
        }
        result.text.append(contentsOf: text)
        result.text.append(Byte.newline)
        result.origins.append(SourceOrigin(file: file, line: UInt32(truncatingIfNeeded: line)))
    }

    mutating func fault(_ code: DiagnosticCode, _ message: String, line: Int) {
        guard result.problems.count < limits.problems else { return }
        result.problems.append(
            Diagnostic(
                code: code.rawValue, file: Int(file) < result.files.count ? result.files[Int(file)] : "", line: line,
                column: 1, message: message))
    }

    // MARK: Directives

    private mutating func directive(_ text: [UInt8], _ conditions: inout [Condition], path: String) {
        let here = line - 1
        var scanner = DirectiveScanner(text)
        scanner.skip(Byte.hash)
        let name = scanner.word()
        let isActive = conditions.allSatisfy(\.isActive)
        switch String(decoding: name, as: UTF8.self) {
        case "ifdef", "ifndef":
            let isNegated = name.count == 6
            let symbol = scanner.word()
            if conditions.count >= limits.conditionDepth {
                fault(.limitMacroDepth, "more than \(limits.conditionDepth) conditions in each other", line: here)
                isStopped = true
                return
            }
            let isTrue = isActive && isDefined(symbol) != isNegated
            conditions.append(Condition(isActive: isTrue, isTaken: isTrue || !isActive, line: here))
        case "if":
            if conditions.count >= limits.conditionDepth {
                fault(.limitMacroDepth, "more than \(limits.conditionDepth) conditions in each other", line: here)
                isStopped = true
                return
            }
            let isTrue = isActive && condition(scanner.rest, line: here)
            conditions.append(Condition(isActive: isTrue, isTaken: isTrue || !isActive, line: here))
        case "elif", "else":
            guard var open = conditions.popLast() else {
                return fault(
                    .unmatchedDirective, "`#\(String(decoding: name, as: UTF8.self))` without `#if`", line: here)
            }
            if open.sawElse { fault(.unmatchedDirective, "a branch behind `#else`", line: here) }
            let isReached = !open.isTaken && conditions.allSatisfy(\.isActive)
            if name.count == 4 && name.last == UInt8(ascii: "e") { open.sawElse = true }
            open.isActive = isReached && (open.sawElse || condition(scanner.rest, line: here))
            open.isTaken = open.isTaken || open.isActive
            conditions.append(open)
        case "endif":
            if conditions.popLast() == nil { fault(.unmatchedDirective, "`#endif` without `#if`", line: here) }
        case "define" where isActive: definition(scanner.rest, line: here)
        case "undef" where isActive: macros[scanner.word()] = nil
        case "include" where isActive: include(scanner.rest, path: path, line: here)
        case "error" where isActive:
            fault(.userError, "#error \(String(decoding: scanner.rest.prefix(120), as: UTF8.self))", line: here)
        // What is no directive is a comment to the GNU assembler.
        default: break
        }
    }

    /// Names that `#if` asked for and that nothing has defined until the end; what a guard of a header asks for, it defines.
    package var undefined: Set<String> { asked.filter { macros[Array($0.utf8)] == nil } }

    mutating func isDefined(_ name: [UInt8]) -> Bool {
        if macros[name] != nil { return true }
        if asked.count < 4096 { asked.insert(String(decoding: name, as: UTF8.self)) }
        return false
    }

    private mutating func definition(_ text: [UInt8], line: Int) {
        var scanner = DirectiveScanner(text)
        let name = scanner.word()
        guard !name.isEmpty else { return fault(.syntaxError, "`#define` without a name", line: line) }
        if macros.count >= limits.macros {
            fault(.limitExpandedBytes, "more than \(limits.macros) macros", line: line)
            isStopped = true
            return
        }
        guard scanner.next == Byte.open else {
            macros[name] = Macro(body: scanner.rest)
            return
        }
        guard let (parameters, isVariadic) = scanner.parameters() else {
            return fault(
                .syntaxError, "the parameters of `\(String(decoding: name, as: UTF8.self))` cannot be read", line: line)
        }
        macros[name] = Macro(parameters: parameters, isVariadic: isVariadic, body: scanner.rest)
    }

    private mutating func include(_ text: [UInt8], path: String, line: Int) {
        let trimmed = expand(text)[...].drop(while: Byte.isBlank)
        guard let open = trimmed.first, open == UInt8(ascii: "<") || open == Byte.quote else {
            return fault(.syntaxError, "an include without a file", line: line)
        }
        let close = open == Byte.quote ? Byte.quote : UInt8(ascii: ">")
        let name = String(decoding: trimmed.dropFirst().prefix { $0 != close }, as: UTF8.self)
        guard let found = resolve(name, path) else {
            if missing.count < 256 { missing.insert(name) }
            return
        }
        if depth >= limits.includeDepth {
            return fault(.limitMacroDepth, "more than \(limits.includeDepth) files included in each other", line: line)
        }
        included.insert(found.path)
        depth += 1
        run(found.text, path: found.path)
        depth -= 1
    }

    // MARK: Comments

    /// A text of C or assembly without its comments; lines stay.
    package static func plainText(_ source: [UInt8]) -> [UInt8] {
        var open: Int?
        return withoutComments(source, open: &open)
    }

    /// Comments become blanks; lines and strings stay.
    ///
    /// - Parameter open: Where a comment starts that has no end.
    static func withoutComments(_ source: [UInt8], open: inout Int?) -> [UInt8] {
        var text = source
        var offset = 0
        while offset < text.count {
            let byte = text[offset]
            let next = offset + 1 < text.count ? text[offset + 1] : 0
            if byte == Byte.slash, next == Byte.star {
                var isOpen = true
                let start = offset
                text[offset] = Byte.space
                text[offset + 1] = Byte.space
                offset += 2
                while offset < text.count, isOpen {
                    if text[offset] == Byte.star, offset + 1 < text.count, text[offset + 1] == Byte.slash {
                        text[offset + 1] = Byte.space
                        isOpen = false
                    }
                    if text[offset] != Byte.newline { text[offset] = Byte.space }
                    offset += isOpen ? 1 : 2
                }
                if isOpen { open = start }
            } else if byte == Byte.slash, next == Byte.slash {
                while offset < text.count, text[offset] != Byte.newline {
                    text[offset] = Byte.space
                    offset += 1
                }
            } else if byte == Byte.quote {
                offset += 1
                while offset < text.count, text[offset] != Byte.quote, text[offset] != Byte.newline {
                    offset +=
                        text[offset] == Byte.backslash && offset + 1 < text.count && text[offset + 1] != Byte.newline
                        ? 2 : 1
                }
                if offset < text.count, text[offset] == Byte.quote { offset += 1 }
            } else {
                offset += 1
            }
        }
        return text
    }
}

/// Where a line of preprocessed text was written.
package struct SourceOrigin: Sendable, Hashable {
    /// Index into `PreprocessedText.files`.
    package var file: UInt16
    /// 1-based.
    package var line: UInt32
}

/// What the preprocessor made of a text.
package struct PreprocessedText: Sendable {
    package var text: [UInt8] = []
    /// One for each line of the text.
    package var origins: [SourceOrigin] = []
    package var files: [String] = []
    package var problems: [Diagnostic] = []
}

/// Bounds on one run of the preprocessor.
package struct PreprocessorLimits: Sendable, Hashable {
    package var produced_bytes = 4 << 20
    package var lines = 200_000
    package var macros = 10_000
    package var includeDepth = 16
    package var conditionDepth = 64
    /// Lines that one call of a macro may take.
    package var argumentLines = 64
    /// Macros within macros.
    package var expansionDepth = 32
    /// Bytes that one line may become.
    package var line_bytes = 256 << 10
    package var problems = 200

    package init() {}
}

/// One fault in a source text: what, where and through which macros.
package struct Diagnostic: Error, Sendable, Hashable, CustomStringConvertible {
    /// Stable identifier, e.g. `unknown-mnemonic`; `DiagnosticCode` lists them.
    package var code: String
    /// Name of the source text.
    package var file: String
    /// 1-based line in that text; inside a macro, the line of the macro's body.
    package var line: Int
    /// 1-based column in bytes.
    package var column: Int
    /// What is wrong and what to do.
    package var message: String
    /// The macro expansions that led here, innermost first.
    package var notes: [String]

    /// No compiler takes a file with this: it has nothing to do with what this assembler does not know.
    package var isFatalAnywhere: Bool { DiagnosticCode(rawValue: code)?.isFatalAnywhere ?? false }

    /// Describes a fault at a place.
    package init(code: String, file: String, line: Int, column: Int, message: String, notes: [String] = []) {
        self.code = code
        self.file = file
        self.line = line
        self.column = column
        self.message = message
        self.notes = notes
    }

    /// `file:line:column: message [code]`, the form that editors jump to.
    package var description: String {
        "\(file):\(line):\(column): \(message) [\(code)]"
    }
}

/// The stable codes of `Diagnostic.code`.
package enum DiagnosticCode: String, Sendable, CaseIterable {
    /// A beginning without its end.
    var isFatalAnywhere: Bool {
        switch self {
        case .unterminatedConditional, .unterminatedComment, .unterminatedMacro, .unterminatedRepeat: true
        default: false
        }
    }

    case unknownMnemonic = "unknown-mnemonic"
    case unknownDirective = "unknown-directive"
    case unknownRegister = "unknown-register"
    case unsupportedRegister = "unsupported-register"
    case unsupportedDirective = "unsupported-directive"
    case preprocessorDirective = "preprocessor-directive"
    case syntaxError = "syntax-error"
    case badNumber = "bad-number"
    case unterminatedString = "unterminated-string"
    case unterminatedComment = "unterminated-comment"
    case unterminatedMacro = "unterminated-macro"
    case unterminatedRepeat = "unterminated-repeat"
    case unterminatedConditional = "unterminated-conditional"
    case unmatchedDirective = "unmatched-directive"
    case unknownMacro = "unknown-macro"
    case duplicateMacro = "duplicate-macro"
    case missingArgument = "missing-argument"
    case tooManyArguments = "too-many-arguments"
    case unknownArgument = "unknown-argument"
    case mixedArguments = "mixed-arguments"
    case notConstant = "not-constant"
    case divisionByZero = "division-by-zero"
    case undefinedSymbol = "undefined-symbol"
    case duplicateSymbol = "duplicate-symbol"
    case circularSymbol = "circular-symbol"
    case operandCount = "operand-count"
    case operandMismatch = "operand-mismatch"
    case sizeMismatch = "size-mismatch"
    case ambiguousSize = "ambiguous-size"
    case invalidAddress = "invalid-address"
    case outOfRange = "out-of-range"
    case invalidPrefix = "invalid-prefix"
    case dataInCode = "data-in-code"
    case layoutDirective = "layout-directive"
    case codeOutsideText = "code-outside-text"
    case outsideRoutine = "outside-routine"
    case unclosedRoutine = "unclosed-routine"
    case mismatchedEnd = "mismatched-end"
    case duplicateOverride = "duplicate-override"
    case emptyRoutine = "empty-routine"
    case overlappingPlacement = "overlapping-placement"
    case userError = "user-error"
    case notOneInstruction = "not-one-instruction"
    case limitSourceBytes = "limit-source-bytes"
    case limitExpandedBytes = "limit-expanded-bytes"
    case limitLines = "limit-lines"
    case limitMacroDepth = "limit-macro-depth"
    case limitRepeat = "limit-repeat"
    case limitExpressionDepth = "limit-expression-depth"
    case limitInstructions = "limit-instructions"
    case limitIdentifier = "limit-identifier"
    case limitDiagnostics = "limit-diagnostics"
}

/// Every fault found in one assembly, in the order of discovery.
package struct AssemblyFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// At least one; at most `Limits.diagnostics`.
    package var diagnostics: [Diagnostic]

    /// Gathers the faults of one assembly.
    package init(diagnostics: [Diagnostic]) {
        self.diagnostics = diagnostics
    }

    /// One diagnostic a line.
    package var description: String {
        diagnostics.map(\.description).joined(separator: "\n")
    }
}

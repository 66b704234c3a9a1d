extension Assembly {
    /// An expression whose value must be known where it stands.
    mutating func constantExpression() throws(Fault) -> Int64 {
        skipBlanks()
        let start = position
        let value = try expression()
        if value.isConstant { return value.constant }
        if let undefined = undefinedSymbol(value) {
            let number = symbols[Int(undefined)].name
            let name = number >= 0 ? names.string(number) : "numeric label"
            let known = symbols
            let hint = suggestion(name) { $0.symbol >= 0 && known[Int($0.symbol)].kind == .absolute }
            throw fail(.undefinedSymbol, "undefined symbol `\(name)`\(hint)", at: start)
        }
        throw fail(.notConstant, "the value must be known here; it depends on an address", at: start)
    }

    /// The first symbol of a value that nothing has defined so far.
    private func undefinedSymbol(_ value: Value) -> Int32? {
        if value.symbol >= 0, symbols[Int(value.symbol)].kind == .undefined { return value.symbol }
        guard value.node >= 0 else { return nil }
        let node = nodes[Int(value.node)]
        return undefinedSymbol(node.left) ?? undefinedSymbol(node.right)
    }

    /// Reads an expression of operators that bind at least as strongly as given.
    mutating func expression(_ minimum: Int = 1) throws(Fault) -> Value {
        expressionDepth += 1
        defer { expressionDepth -= 1 }
        if expressionDepth > limits.expression_depth {
            throw fail(.limitExpressionDepth, "expression deeper than \(limits.expression_depth)", at: position)
        }
        var left = try unary()
        while true {
            skipBlanks()
            guard let (operation, length) = binaryOperator(), operation.precedence >= minimum else { return left }
            let start = position
            position += length
            let right = try expression(operation.precedence + 1)
            left = try combine(operation, left, right, at: start)
        }
    }

    private mutating func combine(
        _ operation: Operation, _ left: Value, _ right: Value, at start: Int
    ) throws(Fault) -> Value {
        if left.isConstant, right.isConstant {
            guard let result = operation.apply(left.constant, right.constant) else {
                throw fail(.divisionByZero, "division by zero", at: start)
            }
            return .constant(result)
        }
        if operation == .add, right.isConstant || left.isConstant {
            var sum = right.isConstant ? left : right
            sum.constant = left.constant &+ right.constant
            return sum
        }
        if operation == .subtract, right.isConstant {
            var difference = left
            difference.constant = left.constant &- right.constant
            return difference
        }
        if operation == .subtract, left.node < 0, right.node < 0, left.symbol == right.symbol {
            return .constant(left.constant &- right.constant)
        }
        nodes.append(ExpressionNode(operation: operation, left: left, right: right))
        return Value(node: Int32(truncatingIfNeeded: nodes.count - 1))
    }

    private func binaryOperator() -> (Operation, Int)? {
        let next = byte(at: position + 1)
        switch peek {
        case Byte.plus: return (.add, 1)
        case Byte.minus: return (.subtract, 1)
        case Byte.star: return (.multiply, 1)
        case Byte.slash: return (.divide, 1)
        case Byte.percent: return (.remainder, 1)
        case UInt8(ascii: "&"): return next == UInt8(ascii: "&") ? (.logicalAnd, 2) : (.and, 1)
        case UInt8(ascii: "|"): return next == UInt8(ascii: "|") ? (.logicalOr, 2) : (.or, 1)
        case UInt8(ascii: "^"): return (.exclusiveOr, 1)
        case Byte.equal: return next == Byte.equal ? (.equal, 2) : nil
        case UInt8(ascii: "!"): return next == Byte.equal ? (.notEqual, 2) : nil
        case UInt8(ascii: "<"):
            if next == UInt8(ascii: "<") { return (.shiftLeft, 2) }
            if next == Byte.equal { return (.lessOrEqual, 2) }
            return next == UInt8(ascii: ">") ? (.notEqual, 2) : (.less, 1)
        case UInt8(ascii: ">"):
            if next == UInt8(ascii: ">") { return (.shiftRight, 2) }
            return next == Byte.equal ? (.greaterOrEqual, 2) : (.greater, 1)
        default: return nil
        }
    }

    private mutating func unary() throws(Fault) -> Value {
        skipBlanks()
        let start = position
        let operation: Operation
        switch peek {
        case Byte.minus: operation = .negate
        case UInt8(ascii: "~"): operation = .complement
        case UInt8(ascii: "!"): operation = .not
        case Byte.plus:
            position += 1
            return try expression(Operation.not.precedence)
        default: return try primary()
        }
        position += 1
        let value = try expression(operation.precedence)
        return try combine(operation, value, .constant(0), at: start)
    }

    private mutating func primary() throws(Fault) -> Value {
        let start = position
        let first = peek
        if Byte.isDigit(first) { return try number() }
        if first == Byte.open {
            position += 1
            let value = try expression()
            skipBlanks()
            guard peek == Byte.close else { throw fail(.syntaxError, "expected `)`", at: position) }
            position += 1
            return value
        }
        if first == Byte.apostrophe { return .constant(try character()) }
        guard Byte.isNameStart(first) else {
            throw fail(.syntaxError, "expected a number or a symbol", at: start)
        }
        let name = try identifier()
        if position - start == 1, first == Byte.dot {
            throw fail(.notConstant, "`.` is not supported; use a label", at: start)
        }
        // Two steps: `self` would be read before the argument adds the symbol to it.
        let index = symbol(name)
        return value(of: index)
    }

    /// What a symbol stands for at this point of the text.
    func value(of index: Int) -> Value {
        let symbol = symbols[index]
        switch symbol.kind {
        case .absolute, .expression: return symbol.value
        default: return Value(symbol: Int32(truncatingIfNeeded: index))
        }
    }

    private mutating func character() throws(Fault) -> Int64 {
        let start = position
        position += 1
        var byte = peek
        if position >= end || byte == Byte.newline { throw fail(.badNumber, "expected a character", at: start) }
        if byte == Byte.backslash {
            position += 1
            switch peek {
            case UInt8(ascii: "n"): byte = Byte.newline
            case UInt8(ascii: "t"): byte = Byte.tab
            case UInt8(ascii: "r"): byte = Byte.carriageReturn
            case UInt8(ascii: "b"): byte = 8
            case UInt8(ascii: "0"): byte = 0
            case Byte.backslash, Byte.apostrophe, Byte.quote: byte = peek
            default: throw fail(.badNumber, "unknown escape in a character", at: start)
            }
        }
        position += 1
        if peek == Byte.apostrophe { position += 1 }
        return Int64(byte)
    }

    /// A number, or a reference to a numeric label.
    private mutating func number() throws(Fault) -> Value {
        let start = position
        var radix: UInt64 = 10
        if peek == Byte.zero {
            let next = byte(at: position + 1) | 0x20
            if next == UInt8(ascii: "x") {
                radix = 16
                position += 2
            } else if next == UInt8(ascii: "b"), byte(at: position + 2) &- Byte.zero < 2 {
                radix = 2
                position += 2
            } else if Byte.isDigit(next) {
                radix = 8
            }
        }
        let digits = position
        var value: UInt64 = 0
        var overflows = false
        while position < end {
            let byte = bytes[position]
            let digit: UInt64
            if Byte.isDigit(byte) {
                digit = UInt64(byte - Byte.zero)
            } else if radix == 16, (byte | 0x20) &- UInt8(ascii: "a") < 6 {
                digit = UInt64((byte | 0x20) - UInt8(ascii: "a") + 10)
            } else {
                break
            }
            if digit >= radix { throw fail(.badNumber, "digit out of place", at: position) }
            let (product, high) = value.multipliedReportingOverflow(by: radix)
            let (sum, carry) = product.addingReportingOverflow(digit)
            overflows = overflows || high || carry
            value = sum
            position += 1
        }
        if position == digits { throw fail(.badNumber, "number without digits", at: start) }
        if overflows { throw fail(.badNumber, "number does not fit in 64 bits", at: start) }
        guard Byte.isName(peek) else { return .constant(Int64(bitPattern: value)) }
        let suffix = peek
        guard radix != 16, suffix == UInt8(ascii: "b") || suffix == UInt8(ascii: "f"),
            !Byte.isName(byte(at: position + 1))
        else {
            throw fail(.badNumber, "number with a letter in it", at: position)
        }
        position += 1
        guard value <= 1_000_000 else { throw fail(.badNumber, "numeric label too large", at: start) }
        guard let index = numericReference(Int(value), isAhead: suffix == UInt8(ascii: "f")) else {
            throw fail(.undefinedSymbol, "no label `\(value):` before this", at: start)
        }
        return Value(symbol: Int32(truncatingIfNeeded: index))
    }
}

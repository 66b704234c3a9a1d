/// The value of an expression: a constant, a symbol plus a constant, or a node that waits for the layout.
struct Value: Sendable {
    var constant: Int64 = 0
    /// Index of the symbol to add, or -1.
    var symbol: Int32 = -1
    /// Index of the node that holds the value, or -1; then the constant is added to it.
    var node: Int32 = -1

    var isConstant: Bool { symbol < 0 && node < 0 }

    static func constant(_ value: Int64) -> Value { Value(constant: value) }
}

/// An operation that could not be carried out when it was read, because an operand has no address yet.
struct ExpressionNode: Sendable {
    var operation: Operation
    var left: Value
    var right: Value
    /// The result once the layout is known.
    var result: Int64?
}

/// The operators, with C's precedence.
enum Operation: UInt8, Sendable {
    case add, subtract, multiply, divide, remainder, shiftLeft, shiftRight, and, or, exclusiveOr
    case logicalAnd, logicalOr, equal, notEqual, less, greater, lessOrEqual, greaterOrEqual
    case complement, not, negate

    /// Binding strength; unary operators are not looked up.
    var precedence: Int {
        switch self {
        case .logicalOr: 1
        case .logicalAnd: 2
        case .or: 3
        case .exclusiveOr: 4
        case .and: 5
        case .equal, .notEqual: 6
        case .less, .greater, .lessOrEqual, .greaterOrEqual: 7
        case .shiftLeft, .shiftRight: 8
        case .add, .subtract: 9
        case .multiply, .divide, .remainder: 10
        case .complement, .not, .negate: 11
        }
    }

    /// Applies the operator; nil for a division by zero. All arithmetic wraps, as the GNU assembler's does.
    ///
    /// A true comparison is -1 (GNU as manual, "Infix Operators"), `&&`, `||` and `!` give 1.
    func apply(_ left: Int64, _ right: Int64) -> Int64? {
        switch self {
        case .add: return left &+ right
        case .subtract: return left &- right
        case .multiply: return left &* right
        case .divide:
            if right == 0 { return nil }
            return right == -1 ? 0 &- left : left / right
        case .remainder:
            if right == 0 { return nil }
            return right == -1 ? 0 : left % right
        case .shiftLeft: return Int64(bitPattern: UInt64(bitPattern: left) << UInt64(bitPattern: right))
        case .shiftRight: return Int64(bitPattern: UInt64(bitPattern: left) >> UInt64(bitPattern: right))
        case .and: return left & right
        case .or: return left | right
        case .exclusiveOr: return left ^ right
        case .logicalAnd: return left != 0 && right != 0 ? 1 : 0
        case .logicalOr: return left != 0 || right != 0 ? 1 : 0
        case .equal: return left == right ? -1 : 0
        case .notEqual: return left != right ? -1 : 0
        case .less: return left < right ? -1 : 0
        case .greater: return left > right ? -1 : 0
        case .lessOrEqual: return left <= right ? -1 : 0
        case .greaterOrEqual: return left >= right ? -1 : 0
        case .complement: return ~left
        case .not: return left == 0 ? 1 : 0
        case .negate: return 0 &- left
        }
    }
}

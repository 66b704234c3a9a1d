import Machine

/// An operand as read, before the instruction says what it may be.
struct Operand: Sendable {
    enum Kind: UInt8, Sendable { case register, immediate, memory }
    var kind = Kind.register
    /// A `*` was written.
    var isIndirect = false
    /// `(%dx)`, another way to write the port of `in` and `out`.
    var isPort = false
    /// A memory operand without registers: for a branch, its target.
    var isBare = false
    var register = RegisterName(.unsupported, 0)
    /// The immediate or the displacement.
    var value = Value()
    var memory = MemoryOperand()
    var position = 0
}

extension Assembly {
    /// Reads the operands of the statement into `operands`.
    mutating func readOperands(allowPort: Bool) throws(Fault) {
        operandCount = 0
        skipBlanks()
        if isAtStatementEnd { return }
        while true {
            guard operandCount < 3 else { throw fail(.operandCount, "too many operands", at: position) }
            operands[operandCount] = try operand()
            if operands[operandCount].isPort, !allowPort {
                throw fail(.invalidAddress, "an address takes 64-bit registers", at: operands[operandCount].position)
            }
            operandCount += 1
            skipBlanks()
            guard peek == Byte.comma else {
                // Said here, because a missing comma would otherwise read as a wrong number of operands.
                if isAtStatementEnd { return }
                throw fail(.syntaxError, "expected `,` or the end of the statement", at: position)
            }
            position += 1
            skipBlanks()
        }
    }

    private mutating func operand() throws(Fault) -> Operand {
        var operand = Operand()
        operand.position = position
        if peek == Byte.star {
            operand.isIndirect = true
            position += 1
            skipBlanks()
        }
        switch peek {
        case Byte.dollar:
            position += 1
            operand.kind = .immediate
            operand.value = try expression()
        case Byte.percent:
            let start = position
            let register = try registerName()
            skipBlanks()
            guard peek == Byte.colon else {
                operand.register = register
                return operand
            }
            guard register.kind == .segment, let segment = SegmentRegister(rawValue: register.number) else {
                throw fail(.invalidAddress, "only a segment register stands before `:`", at: start)
            }
            position += 1
            operand.memory.segment = segment
            try memory(&operand)
        default: try memory(&operand)
        }
        return operand
    }

    private mutating func registerName() throws(Fault) -> RegisterName {
        let start = position
        position += 1
        skipBlanks()
        guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected a register after `%`", at: start) }
        let name = try identifier()
        let code = meanings[name].register
        guard code >= 0 else {
            let text = names.string(name)
            throw fail(
                .unknownRegister, "unknown register `%\(text)`\(suggestion(text) { $0.register >= 0 })", at: start)
        }
        let register = RegisterName(code: code)
        if register.kind == .unsupported {
            throw fail(.unsupportedRegister, "register `%\(names.string(name))` is not modelled", at: start)
        }
        return register
    }

    /// `displacement(base, index, scale)` in all its parts, and `PER_CPU_VAR(symbol)`, which the kernel writes for `%gs:symbol`.
    private mutating func memory(_ operand: inout Operand) throws(Fault) {
        operand.kind = .memory
        skipBlanks()
        var hasDisplacement = true
        if peek == Byte.open {
            var offset = position + 1
            while offset < end, Byte.isBlank(bytes[offset]) { offset += 1 }
            let next = byte(at: offset)
            hasDisplacement = next != Byte.percent && next != Byte.comma
        } else if peek == UInt8(ascii: "P"), skipPerCPU() {
            guard operand.memory.segment == .none else {
                throw fail(.invalidAddress, "`PER_CPU_VAR` after a segment", at: operand.position)
            }
            operand.memory.segment = .gs
        }
        if hasDisplacement { operand.value = try expression() }
        skipBlanks()
        if peek == Byte.open {
            try registers(&operand)
        } else {
            operand.isBare = true
        }
        guard operand.value.isConstant else { return }
        operand.memory.displacement = operand.value.constant
    }

    /// Moves over `PER_CPU_VAR`, if it stands here before a parenthesis.
    private mutating func skipPerCPU() -> Bool {
        let word: StaticString = "PER_CPU_VAR"
        guard position + word.utf8CodeUnitCount < end else { return false }
        let start = position
        let isWord = word.withUTF8Buffer { bytes[start..<start + $0.count].elementsEqual($0) }
        guard isWord, bytes[start + word.utf8CodeUnitCount] == Byte.open else { return false }
        position = start + word.utf8CodeUnitCount
        return true
    }

    private mutating func registers(_ operand: inout Operand) throws(Fault) {
        position += 1
        skipBlanks()
        if peek == Byte.percent {
            let start = position
            let register = try registerName()
            switch register.kind {
            case .quad: operand.memory.base = register.general
            case .instructionPointer: operand.memory.base = .rip
            case .word where register.number == Register.rdx.rawValue && peek == Byte.close:
                operand.kind = .register
                operand.register = register
                operand.isPort = true
            default: throw fail(.invalidAddress, "an address takes 64-bit registers", at: start)
            }
        }
        skipBlanks()
        if peek == Byte.comma {
            position += 1
            skipBlanks()
            let start = position
            if peek == Byte.percent {
                let register = try registerName()
                guard register.kind == .quad, register.general != .rsp, operand.memory.base != .rip else {
                    throw fail(.invalidAddress, "this register cannot be an index", at: start)
                }
                operand.memory.index = register.general
                skipBlanks()
            }
            if peek == Byte.comma {
                position += 1
                skipBlanks()
                let scaleStart = position
                let scale = try constantExpression()
                guard scale == 1 || scale == 2 || scale == 4 || scale == 8 else {
                    throw fail(.invalidAddress, "the scale is 1, 2, 4 or 8", at: scaleStart)
                }
                if operand.memory.index != .none { operand.memory.scale = UInt8(truncatingIfNeeded: scale) }
            }
            skipBlanks()
        }
        guard peek == Byte.close else { throw fail(.syntaxError, "expected `)`", at: position) }
        position += 1
    }
}

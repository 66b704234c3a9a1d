import Machine

/// What only the sources of a kernel need.
extension Assembly {
    /// An instruction that says: here stood something that was not understood.
    mutating func emitGap() {
        guard section.isExecutable, current >= 0, discarding < 0, !isStopped else { return }
        statementText("model $\(Program.gapModel)")
    }

    /// Assembles a statement as if it stood here.
    private mutating func statementText(_ text: String) {
        run(
            Array(text.utf8) + [Byte.newline], file: file, line: line, expansion: expansion,
            frame: Frame(isExpanded: true))
    }

    /// Instructions that the kernel writes as bytes: `.byte 0x6a, vector` is a push, `.byte 0xe9` with
    /// `.long target - (. + 4)` a jump (Linux `arch/x86/include/asm/idtentry.h`, `arch/x86/entry/entry_64.S`).
    mutating func codedInstruction(_ name: Int, at start: Int) throws(Fault) {
        if discarding >= 0 {
            position = statementEnd(from: position)
            return
        }
        skipBlanks()
        if awaitsDisplacement {
            awaitsDisplacement = false
            guard Byte.isNameStart(peek) else { throw fail(.dataInCode, "a jump to what is no symbol", at: start) }
            let nameStart = position
            _ = try identifier()
            var target = String(decoding: bytes[nameStart..<position], as: UTF8.self)
            position = statementEnd(from: position)
            for (label, other) in input.rewrittenJumps {
                let index = meanings[self.name(label)].symbol
                if index >= 0, symbols[Int(index)].kind == .label, symbols[Int(index)].item == instructions.count {
                    target = other
                }
            }
            return statementText("jmp \(target)")
        }
        let first = try constantExpression()
        skipBlanks()
        if first == 0xE9, isAtStatementEnd {
            awaitsDisplacement = true
            return
        }
        // 0F 1F: a no-operation with an operand.
        if first == 0x0F, peek == Byte.comma {
            position += 1
            if try constantExpression() == 0x1F {
                position = statementEnd(from: position)
                return statementText("nop")
            }
        }
        guard first == 0x6A, peek == Byte.comma else {
            position = statementEnd(from: position)
            throw fail(
                .dataInCode, "`\(names.string(name))` places bytes among instructions that are not modelled", at: start)
        }
        position += 1
        let value = try constantExpression()
        statementText("pushq $\(Int8(truncatingIfNeeded: value))")
    }

    /// `.extable FAULT, FIXUP`.
    mutating func exceptionRow() throws(Fault) {
        skipBlanks()
        let place = location(at: position)
        let fault = try expression()
        skipBlanks()
        guard peek == Byte.comma else { throw fail(.syntaxError, "expected `,` and the fixup", at: position) }
        position += 1
        skipBlanks()
        let fixup = try expression()
        // Further arguments say which handler runs the fixup.
        position = statementEnd(from: position)
        exceptionRows.append((fault, fixup, place))
    }
}

/// One open `.if`.
struct Conditional: Sendable {
    /// Statements are assembled.
    var isActive: Bool
    /// A branch was taken, or the surroundings are skipped: no further branch will be.
    var isTaken: Bool
    var sawElse = false
    var location: Location
}

extension Assembly {
    mutating func conditional(_ directive: Directive, name: Int, at start: Int) throws(Fault) {
        switch directive {
        case .elseIf, .otherwise, .endIf: try branch(directive, name: name, at: start)
        default:
            // The block opens whatever becomes of its condition, so that a fault in it is one fault.
            conditionals.append(Conditional(isActive: false, isTaken: true, location: location(at: start)))
            isSkipping = true
            let isTrue = try condition(directive)
            conditionals[conditionals.count - 1].isActive = isTrue
            conditionals[conditionals.count - 1].isTaken = isTrue
            isSkipping = !isTrue
        }
    }

    private mutating func branch(_ directive: Directive, name: Int, at start: Int) throws(Fault) {
        guard conditionals.count > frame.conditionalBase, var open = conditionals.last else {
            throw fail(.unmatchedDirective, "`\(names.string(name))` without `.if`", at: start)
        }
        if directive == .endIf {
            conditionals.removeLast()
            isSkipping = !(conditionals.last?.isActive ?? true)
            return
        }
        if open.sawElse { throw fail(.unmatchedDirective, "`\(names.string(name))` after `.else`", at: start) }
        if directive == .otherwise {
            open.sawElse = true
            open.isActive = !open.isTaken
            open.isTaken = true
        } else if open.isTaken {
            open.isActive = false
            position = statementEnd(from: position)
        } else {
            open.isTaken = true
            conditionals[conditionals.count - 1] = open
            let isTrue = try condition(.ifNonZero)
            open.isActive = isTrue
            open.isTaken = isTrue
        }
        conditionals[conditionals.count - 1] = open
        isSkipping = !open.isActive
    }

    private mutating func condition(_ directive: Directive) throws(Fault) -> Bool {
        skipBlanks()
        switch directive {
        case .ifDefined, .ifNotDefined:
            guard Byte.isNameStart(peek) else { throw fail(.syntaxError, "expected a symbol", at: position) }
            let name = try identifier()
            let known = meanings[name].symbol
            let isDefined = known >= 0 && symbols[Int(known)].kind != .undefined
            return isDefined == (directive == .ifDefined)
        case .ifBlank, .ifNotBlank:
            let isBlank = isAtStatementEnd
            position = statementEnd(from: position)
            return isBlank == (directive == .ifBlank)
        case .ifSame, .ifNotSame:
            let stop = statementEnd(from: position)
            let left = comparand(until: stop, isLast: false)
            guard peek == Byte.comma else {
                position = stop
                throw fail(.syntaxError, "expected two texts with `,` between them", at: stop)
            }
            position += 1
            let right = comparand(until: stop, isLast: true)
            position = stop
            return left.elementsEqual(right) == (directive == .ifSame)
        default:
            let value = try constantExpression()
            switch directive {
            case .ifZero: return value == 0
            case .ifGreater: return value > 0
            case .ifGreaterOrEqual: return value >= 0
            case .ifLess: return value < 0
            case .ifLessOrEqual: return value <= 0
            default: return value != 0
            }
        }
    }

    /// One text of `.ifc`, without surrounding blanks and quotes.
    private mutating func comparand(until stop: Int, isLast: Bool) -> ArraySlice<UInt8> {
        skipBlanks()
        var start = position
        var last = stop
        if peek == Byte.quote || peek == Byte.apostrophe {
            let quote = peek
            start += 1
            last = start
            while last < stop, bytes[last] != quote { last += 1 }
            position = min(last + 1, stop)
            skipBlanks()
            return bytes[start..<max(start, last)]
        }
        if !isLast {
            last = start
            while last < stop, bytes[last] != Byte.comma { last += 1 }
        }
        position = last
        while last > start, Byte.isBlank(bytes[last - 1]) { last -= 1 }
        return bytes[start..<last]
    }

    /// Reads a statement that is not assembled, only for the conditionals in it.
    mutating func skippedStatement() {
        while Byte.isNameStart(peek) {
            let start = position
            guard bytes[start] == Byte.dot else {
                // A label may stand before a directive.
                while Byte.isName(peek) { position += 1 }
                skipBlanks()
                guard peek == Byte.colon else { break }
                position += 1
                skipBlanks()
                continue
            }
            do throws(Fault) {
                let name = try identifier()
                skipBlanks()
                if peek == Byte.colon {
                    position += 1
                    skipBlanks()
                    continue
                }
                let directive = meanings[name].directive
                if directive.opensConditional {
                    conditionals.append(Conditional(isActive: false, isTaken: true, location: location(at: start)))
                } else if directive == .elseIf || directive == .otherwise || directive == .endIf {
                    try branch(directive, name: name, at: start)
                }
            } catch {}
            break
        }
        position = statementEnd(from: position)
    }
}

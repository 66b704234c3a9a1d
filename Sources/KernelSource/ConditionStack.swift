import Assembler
import EntryCode

/// The conditions around the lines of a file, as far as they are about options of a table.
struct ConditionStack {
    private enum State { case on, off, option(String), unclear }

    private var stack: [State] = []
    /// Values of Kconfig symbols that no option stands for.
    private let fixed: [String: Bool]
    private let options: [String]

    /// - Parameters:
    ///   - options: Those that the table's kernel knows.
    ///   - config: Kconfig symbols with a value of their own.
    init(options: [String], config: [String: Bool]) {
        self.options = options
        fixed = config.merging(["CONFIG_X86_64": true, "CONFIG_64BIT": true, "CONFIG_X86_LOCAL_APIC": true]) { own, _ in
            own
        }
    }

    var isOn: Bool {
        stack.allSatisfy {
            if case .off = $0 { return false }
            return true
        }
    }

    /// The option that lines depend on: of several the outermost.
    var option: String? {
        for state in stack {
            if case .option(let name) = state { return name }
        }
        return nil
    }

    /// Follows a line that starts with `#`.
    mutating func follow(_ line: ArraySlice<UInt8>) {
        var scanner = WordScanner(line.dropFirst())
        guard let word = scanner.word() else { return }
        switch word {
        case "ifdef": stack.append(state(scanner.word() ?? ""))
        case "ifndef": stack.append(negated(state(scanner.word() ?? "")))
        case "if": stack.append(condition(line))
        case "elif":
            guard let last = stack.popLast() else { return }
            if case .off = last { stack.append(condition(line)) } else { stack.append(negated(last)) }
        case "else":
            guard let last = stack.popLast() else { return }
            stack.append(negated(last))
        case "endif": _ = stack.popLast()
        default: break
        }
    }

    private func state(_ symbol: String) -> State {
        if let value = fixed[symbol] { return value ? .on : .off }
        if let option = KernelNames.option(symbol, known: options) { return .option(option) }
        // What the kernel is not said to have it has not.
        return symbol.hasPrefix("CONFIG_") || symbol == "__ASSEMBLY__" || symbol == "__ASSEMBLER__" ? .off : .unclear
    }

    /// Without an option it is what the other branch has.
    private func negated(_ state: State) -> State {
        switch state {
        case .on: .off
        case .off: .on
        // A row for a kernel without the option: there is no word for that in a table.
        case .option: .off
        case .unclear: .unclear
        }
    }

    /// `#if defined(A) && IS_ENABLED(B)`: the option among names that are all wanted.
    private func condition(_ line: ArraySlice<UInt8>) -> State {
        let text = line.text
        if text.contains("||") {
            // One that is on is enough; several options have no common name.
            let states = names(text).map(state)
            for state in states { if case .on = state { return .on } }
            let candidates = states.compactMap { state -> String? in
                if case .option(let name) = state { return name }
                return nil
            }
            return candidates.isEmpty ? .off : candidates.count == 1 ? .option(candidates[0]) : .unclear
        }
        var result = State.on
        for (name, isNegated) in namesWithSigns(text) {
            let one = isNegated ? negated(state(name)) : state(name)
            switch one {
            case .off: return .off
            case .option: result = one
            case .on, .unclear: break
            }
        }
        return result
    }

    private func names(_ text: String) -> [String] { namesWithSigns(text).map(\.name) }

    private func namesWithSigns(_ text: String) -> [(name: String, isNegated: Bool)] {
        var found: [(String, Bool)] = []
        var isNegated = false
        var word = ""
        for character in text + " " {
            if character.isLetter || character.isNumber || character == "_" {
                word.append(character)
                continue
            }
            if word.hasPrefix("CONFIG_") {
                found.append((word, isNegated))
                isNegated = false
            }
            word = ""
            if character == "!" { isNegated = true }
            if character == "&" || character == "|" { isNegated = false }
        }
        return found
    }
}

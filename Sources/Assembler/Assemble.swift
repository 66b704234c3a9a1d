package import Machine

/// Assembles sources into a program, or reports every fault found.
///
/// Pure: the result depends on the input alone. Bounded by `AssemblyInput.limits`; no input makes it trap.
package func assemble(_ input: AssemblyInput) throws(AssemblyFailure) -> Program {
    var assembly = Assembly(input)
    assembly.prepare()
    assembly.assembleSources()
    return try assembly.layOut()
}

/// Assembles one instruction at an address, for tests and interactive use.
///
/// - Parameters:
///   - symbols: addresses of symbols, as `AssemblyInput.externals`.
///   - constants: absolute symbols.
package func assembleInstruction(
    _ text: String, symbols: [String: UInt64] = [:], constants: [String: Int64] = [:], at address: UInt64 = 0
) throws(AssemblyFailure) -> Instruction {
    let source = SourceText(name: "instruction", text: text)
    let input = AssemblyInput(
        sources: [], constants: constants, externals: symbols, placements: ["instruction": address], overrides: [source]
    )
    let program = try assemble(input)
    guard program.instructions.count == 1, let instruction = program.instructions.first else {
        let diagnostic = Diagnostic(
            code: DiagnosticCode.notOneInstruction.rawValue, file: source.name, line: 1, column: 1,
            message: "expected one instruction, found \(program.instructions.count)")
        throw AssemblyFailure(diagnostics: [diagnostic])
    }
    return instruction
}

extension Assembly {
    /// Defines the predefined symbols and the overrides.
    mutating func prepare() {
        let total = (input.sources + input.overrides).reduce(0) { $0 + $1.text.count }
        if total > limits.source_bytes {
            report(
                .limitSourceBytes, "\(total) bytes of source; the limit is \(limits.source_bytes)",
                Location(file: addFile(input.sources.first?.name ?? ""), line: 1, column: 1, expansion: -1))
            isStopped = true
            return
        }
        for (name, value) in input.constants { define(name, .absolute, value) }
        for (name, address) in input.externals { define(name, .external, Int64(bitPattern: address)) }
        for (index, source) in input.overrides.enumerated() {
            let name = name(source.name)
            if overrides.contains(where: { $0.name == name }) {
                let file = addFile("routines/" + source.name)
                report(
                    .duplicateOverride, "routine `\(source.name)` is replaced twice",
                    Location(file: file, line: 1, column: 1, expansion: -1))
                continue
            }
            overrides.append((name, index, false))
        }
    }

    private mutating func define(_ text: String, _ kind: Symbol.Kind, _ value: Int64) {
        let index = symbol(name(text))
        symbols[index].kind = kind
        symbols[index].value = .constant(value)
    }

    mutating func assembleSources() {
        for source in input.sources {
            if isStopped { return }
            let file = addFile(source.name)
            enterText()
            role = source.role
            if role == .kernel || role.isRemainder { kernelFiles.insert(file) }
            if !source.origins.isEmpty {
                origins[file] = (source.origins, source.originFiles.map { addFile($0) })
            }
            run(stripped(source, file: file), file: file, line: 1, expansion: -1, frame: Frame())
            exitRequested = false
            finishText(isOverride: false)
        }
        role = .listing
        for index in overrides.indices where !overrides[index].isUsed && !isStopped {
            enterText()
            if !appliesHere(index) { continue }
            do throws(Fault) {
                try runOverride(index, name: overrides[index].name, isGlobal: true, at: 0)
            } catch {
                continue
            }
        }
    }

    private mutating func enterText() {
        scopeCount += 1
        scope = scopeCount
        outerScope = -1
        numeric = [:]
        sections = []
        section = Section()
        previousSection = Section()
        current = -1
        discarding = -1
        lastDiscarded = -1
    }
}

import Machine

@testable import Assembler

/// The texts of a program's instructions, numbers instead of symbols.
func texts(_ program: Program) -> [String] {
    let printer = InstructionPrinter()
    return zip(program.instructions, program.addresses).map { printer.text($0, at: $1) }
}

/// Assembles one source named `test.S`.
func program(
    _ source: String, constants: [String: Int64] = [:], externals: [String: UInt64] = [:],
    placements: [String: UInt64] = [:], sizes: [String: UInt64] = [:], origin: UInt64 = 0x10000,
    overrides: [String: String] = [:], limits: Limits = Limits()
) throws(AssemblyFailure) -> Program {
    try assemble(
        AssemblyInput(
            sources: [SourceText(name: "test.S", text: source)], constants: constants, externals: externals,
            placements: placements, sizes: sizes, origin: origin,
            overrides: overrides.sorted { $0.key < $1.key }.map { SourceText(name: $0.key, text: $0.value) },
            limits: limits))
}

/// The instructions between `ENTRY(r)` and `END(r)`.
func body(_ lines: String, constants: [String: Int64] = [:], externals: [String: UInt64] = [:]) throws(AssemblyFailure)
    -> [String]
{
    texts(try program("ENTRY(r)\n\(lines)\nEND(r)\n", constants: constants, externals: externals))
}

/// `code line:column` of every fault; empty if there is none.
func faults(_ source: String, overrides: [String: String] = [:], limits: Limits = Limits()) -> [String] {
    do {
        _ = try program(source, overrides: overrides, limits: limits)
        return []
    } catch {
        return error.diagnostics.map { "\($0.code) \($0.line):\($0.column)" }
    }
}

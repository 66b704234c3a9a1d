import Machine
import Testing

@testable import Assembler

@Suite struct LengthTests {
    static let rows: [(length: Int, text: String)] = LengthFixture.text.split(separator: "\n").compactMap { line in
        let parts = line.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, let length = Int(parts[0]) else { return nil }
        return (length, String(parts[1]))
    }

    @Test func fixtureIsComplete() {
        #expect(LengthTests.rows.count > 250)
        let opcodes = Set(LengthTests.rows.compactMap { try? assembleInstruction($0.text, symbols: symbols).opcode })
        #expect(Set(Opcode.allCases).subtracting(opcodes) == [.model])
    }

    private let symbols: [String: UInt64] = ["extsym": 0xffff_ffff_8200_0000]

    @Test(arguments: rows.indices)
    func lengthIsThatOfTheGNUAssembler(_ index: Int) throws {
        let row = LengthTests.rows[index]
        let instruction = try assembleInstruction(row.text, symbols: symbols, at: 0xffff_ffff_8100_0000)
        #expect(Int(instruction.length) == row.length, "\(row.text)")
    }

    @Test(arguments: rows.indices)
    func printedTextReadsBackTheSame(_ index: Int) throws {
        let row = LengthTests.rows[index]
        let address: UInt64 = 0xffff_ffff_8100_0000
        let instruction = try assembleInstruction(row.text, symbols: symbols, at: address)
        let printer = InstructionPrinter { $0 == 0xffff_ffff_8200_0000 ? "extsym" : nil }
        let text = printer.text(instruction, at: address)
        let again = try assembleInstruction(text, symbols: symbols, at: address)
        #expect(again == instruction, "\(row.text) printed as \(text)")
    }
}

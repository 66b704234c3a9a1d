import Machine
import TestSupport
import Testing

@testable import Assembler

@Suite struct RoundTripTests {
    static let address: UInt64 = 0xffff_ffff_8100_0000

    @Test(arguments: [1, 2, 3, 0x5eed] as [UInt64])
    func printedInstructionsReadBackTheSame(seed: UInt64) throws {
        var generator = RandomInstruction(random: SeededRandom(seed: seed))
        let printer = InstructionPrinter()
        for number in 0..<1500 {
            var instruction = generator.next()
            instruction.length = InstructionLength.bytes(instruction)
            let text = printer.text(instruction, at: RoundTripTests.address)
            do {
                var again = try assembleInstruction(text, at: RoundTripTests.address)
                again.target = -1
                #expect(again == instruction, "seed \(seed), number \(number): \(text)")
            } catch {
                Issue.record("seed \(seed), number \(number): \(text): \(error)")
            }
        }
    }
}

import EntryCode
import Testing
import Verification

/// Code that goes into the middle of an instruction: the processor decodes other instructions there, which nobody knows here.
struct StrayJumpTests {
    private let scenario = "bare-metal-intel/asm_exc_divide_error/kernel/return"

    @Test("a jump into an instruction is undecided, and says why", arguments: ["error_entry+3", "error_entry+4"])
    func undecided(_ target: String) throws {
        var variant = try Variant("linux-6.1")
        variant.write("asm_exc_divide_error", "movq $\(target), %rax", "jmp *%rax")
        let result = try variant.run(scenario)
        #expect(result.verdict == .undecided, "\(result.violations)")
        #expect(result.limit == "not-understood")
        #expect(result.violations.allSatisfy { $0.console.isEmpty })
        let finding = try #require(result.violations.first { $0.rule == "not-understood" })
        #expect(finding.severity == .warning)
        #expect(finding.explanation.contains("the code goes to error_entry+0x"), "\(finding.explanation)")
        #expect(finding.explanation.contains(" bytes into `"), "\(finding.explanation)")
    }

    @Test("a jump to where no code is faults")
    func faults() throws {
        var variant = try Variant("linux-6.1")
        variant.write("asm_exc_divide_error", "movq $0xffffffff90000000, %rax", "jmp *%rax")
        let result = try variant.run(scenario)
        #expect(result.verdict == .violated)
        #expect(result.violations.first?.rule == "unexpected-fault", "\(result.violations)")
    }

    @Test("a return address that was lost before stays the cause")
    func causeBefore() throws {
        var variant = try Variant("linux-6.1")
        // SWAPGS in the kernel breaks a rule long before the jump.
        variant.write("asm_exc_divide_error", "swapgs", "movq %gs:0, %rcx", "movq $error_entry+3, %rax", "jmp *%rax")
        let result = try variant.run(scenario)
        #expect(result.verdict == .violated, "\(result.violations)")
    }
}

import Testing

@testable import Assembler

@Suite struct DiagnosticTests {
    /// Source and the fault in it; `ENTRY(r)` is line 1 and `END(r)` follows.
    static let inBody: [(source: String, fault: String)] = [
        ("nop\n  frobnicate %rax", "unknown-mnemonic 3:3"),
        ("lock frob", "unknown-mnemonic 2:6"),
        (".frob 1", "unknown-directive 2:1"),
        (".include \"x\"", "unsupported-directive 2:1"),
        ("movq %rxx, %rax", "unknown-register 2:6"),
        ("movb %ah, %al", "unsupported-register 2:6"),
        ("#ifdef X", "preprocessor-directive 2:1"),
        ("movq %rax %rbx", "syntax-error 2:11"),
        ("movq %rax,", "syntax-error 2:11"),
        ("movq 8(%rax, %rbx", "syntax-error 2:18"),
        ("%rax", "syntax-error 2:1"),
        ("5 nop", "syntax-error 2:1"),
        ("movq $0xg, %rax", "bad-number 2:7"),
        ("movq $18446744073709551616, %rax", "bad-number 2:7"),
        ("movq $09, %rax", "bad-number 2:8"),
        ("movb $'\\q, %al", "bad-number 2:7"),
        ("99999999: nop", "bad-number 2:1"),
        (".type \"x", "unterminated-string 2:7"),
        (".endif", "unmatched-directive 2:1"),
        (".else", "unmatched-directive 2:1"),
        (".elseif 1", "unmatched-directive 2:1"),
        (".endm", "unmatched-directive 2:1"),
        (".endr", "unmatched-directive 2:1"),
        (".exitm", "unmatched-directive 2:1"),
        (".popsection", "unmatched-directive 2:1"),
        (".if 1\n.else\n.else\n.endif", "unmatched-directive 4:1"),
        (".purgem x", "unknown-macro 2:9"),
        (".macro m\n.endm\n .macro m\n.endm", "duplicate-macro 4:9"),
        (".macro m a a\n.endm", "duplicate-macro 2:12"),
        (".macro m a:req\n.endm\n m", "missing-argument 4:2"),
        (".macro m a\n.endm\nm 1 2", "too-many-arguments 4:5"),
        (".macro m a\n.endm\nm b=2", "unknown-argument 4:3"),
        (".macro m a b\n.endm\nm a=2 3", "mixed-arguments 4:7"),
        (".if r\n.endif", "not-constant 2:5"),
        ("int $r", "not-constant 2:5"),
        ("movq $., %rax", "not-constant 2:7"),
        ("movq $4/0, %rax", "division-by-zero 2:8"),
        ("movq $4%(1-1), %rax", "division-by-zero 2:8"),
        ("movq $r/(r-.Lx), %rax\n.Lx=r", "division-by-zero 2:6"),
        ("jmp nowhere", "undefined-symbol 2:5"),
        ("nop\n  jmp 1b", "undefined-symbol 3:7"),
        ("jmp 1f", "undefined-symbol 2:5"),
        (".if NOPE\n.endif", "undefined-symbol 2:5"),
        ("movq nowhere(%rip), %rax", "undefined-symbol 2:6"),
        ("a: nop\na: nop", "duplicate-symbol 3:1"),
        ("a: nop\n a = 1", "duplicate-symbol 3:2"),
        ("a = 1\n.equiv a, 2", "duplicate-symbol 3:8"),
        ("movq $b, %rax\n.set b, c+1\n.set c, b", "circular-symbol 2:6"),
        ("swapgs %rax", "operand-count 2:1"),
        ("movq %rax", "operand-count 2:1"),
        ("movq %rax, %rbx, %rcx, %rdx", "operand-count 2:24"),
        ("jmp a, b", "operand-count 2:1"),
        ("movq (%rax), (%rbx)", "operand-mismatch 2:1"),
        ("movq %rax, $1", "operand-mismatch 2:1"),
        ("jmp $r", "operand-mismatch 2:5"),
        ("jmp 8(%rax)", "operand-mismatch 2:5"),
        ("jz *%rax", "operand-mismatch 2:4"),
        ("shl %al, %rax", "operand-mismatch 2:5"),
        ("push %fs", "operand-mismatch 2:1"),
        ("pusha", "operand-mismatch 2:1"),
        ("movq %rax, *%rbx", "operand-mismatch 2:12"),
        ("pop $1", "operand-mismatch 2:1"),
        ("pushl %eax", "size-mismatch 2:1"),
        ("push %eax", "size-mismatch 2:6"),
        ("popl (%rax)", "size-mismatch 2:1"),
        ("movl %rax, %ebx", "size-mismatch 2:6"),
        ("mov %eax, %rbx", "size-mismatch 2:11"),
        ("movzbl %ax, %eax", "size-mismatch 2:8"),
        ("movzbl %al, %al", "size-mismatch 2:13"),
        ("call *%eax", "size-mismatch 2:6"),
        ("lea (%rax), %al", "size-mismatch 2:13"),
        ("mov %eax, %cr3", "size-mismatch 2:5"),
        ("btb $1, %al", "size-mismatch 2:1"),
        ("mov $1, (%rax)", "ambiguous-size 2:1"),
        ("add $1, %gs:8", "ambiguous-size 2:1"),
        ("movq (%eax), %rax", "invalid-address 2:7"),
        ("movq (%rax, %rsp), %rax", "invalid-address 2:13"),
        ("movq (%rax, %rbx, 3), %rax", "invalid-address 2:19"),
        ("movq %rax:8, %rax", "invalid-address 2:6"),
        ("movq (%dx), %rax", "invalid-address 2:6"),
        ("movb $256, %al", "out-of-range 2:6"),
        ("addq $0x80000000, %rax", "out-of-range 2:6"),
        ("movq $1, 0x80000000(%rax)", "out-of-range 2:10"),
        ("int $256", "out-of-range 2:5"),
        (".rept -1\n.endr", "out-of-range 2:1"),
        ("jmp 0x7fffffffffff", "out-of-range 2:5"),
        ("lock movq %rax, (%rbx)", "invalid-prefix 2:6"),
        ("lock addq %rax, %rbx", "invalid-prefix 2:6"),
        ("rep hlt", "invalid-prefix 2:5"),
        ("lock lock nop", "invalid-prefix 2:6"),
        (".byte 1", "data-in-code 2:1"),
        (".skip 4", "layout-directive 2:1"),
        (".pushsection .rodata\nnop\n.popsection", "code-outside-text 3:1"),
        (".pushsection .fixup,\"ax\"\nnop\n.popsection", "code-outside-text 3:1"),
        ("END(other)", "mismatched-end 2:5"),
        ("  .error \"stop\"", "user-error 2:3"),
    ]

    @Test(arguments: inBody.indices)
    func faultsInARoutine(_ index: Int) {
        let (source, fault) = DiagnosticTests.inBody[index]
        #expect(faults("ENTRY(r)\n\(source)\nEND(r)") == [fault], "\(source)")
    }

    static let outside: [(source: String, fault: String)] = [
        ("nop", "outside-routine 1:1"),
        (".Lx: nop", "outside-routine 1:1"),
        ("END(a)", "mismatched-end 1:5"),
        ("\n ENTRY(a)\nnop", "unclosed-routine 2:8"),
        ("ENTRY(a)\nENTRY(b)\nEND(b)", "unclosed-routine 2:7"),
        ("/* never closed\n\n", "unterminated-comment 1:1"),
        (" .macro m\nnop", "unterminated-macro 1:2"),
        (".rept 2\nnop", "unterminated-repeat 1:1"),
        ("\n.if 1\n", "unterminated-conditional 2:1"),
        (".if 0\n", "unterminated-conditional 1:1"),
        ("ENTRY(a)\nEND(a)\nENTRY(a)\nnop\nEND(a)", "duplicate-symbol 3:7"),
    ]

    @Test(arguments: outside.indices)
    func faultsOutsideRoutines(_ index: Int) {
        let (source, fault) = DiagnosticTests.outside[index]
        #expect(faults(source).first == fault, "\(source)")
    }

    @Test func everyCodeHasATest() {
        let tested = Set(
            (DiagnosticTests.inBody + DiagnosticTests.outside).map { String($0.fault.prefix { $0 != " " }) })
        let elsewhere: Set<String> = [
            "duplicate-override", "overlapping-placement", "not-one-instruction", "empty-routine",
        ]
        for code in DiagnosticCode.allCases where !code.rawValue.hasPrefix("limit-") {
            #expect(tested.contains(code.rawValue) || elsewhere.contains(code.rawValue), "\(code.rawValue)")
        }
    }

    @Test func overridesOfOneRoutineTwice() {
        let source = SourceText(name: "a", text: "nop")
        #expect(throws: AssemblyFailure.self) { try assemble(AssemblyInput(sources: [], overrides: [source, source])) }
        do {
            _ = try assemble(AssemblyInput(sources: [], overrides: [source, source]))
        } catch {
            #expect(error.diagnostics.map(\.code) == ["duplicate-override"])
            #expect(error.diagnostics.map(\.file) == ["routines/a"])
        }
    }

    @Test func placementsOverEachOther() {
        do {
            _ = try program(
                "ENTRY(a)\nnop\nnop\nEND(a)\nENTRY(b)\nnop\nEND(b)", placements: ["a": 0x1000, "b": 0x1001])
            Issue.record("assembled")
        } catch {
            #expect(error.diagnostics.map(\.code) == ["overlapping-placement"])
            #expect(error.diagnostics.map(\.line) == [5])
        }
        do {
            _ = try program("ENTRY(a)\nnop\nnop\nEND(a)", placements: ["a": UInt64.max])
            Issue.record("assembled")
        } catch {
            #expect(error.diagnostics.map(\.code) == ["out-of-range"])
        }
    }

    @Test func oneInstructionAtATime() {
        #expect(throws: AssemblyFailure.self) { try assembleInstruction("nop; nop") }
        #expect(throws: AssemblyFailure.self) { try assembleInstruction("") }
    }

    @Test func messagesNameWhatIsNear() throws {
        func message(_ source: String) -> String {
            do {
                _ = try program(source)
                return ""
            } catch {
                return error.diagnostics.first?.message ?? ""
            }
        }
        #expect(message("ENTRY(r)\nswapg\nEND(r)").contains("did you mean `swapgs`"))
        #expect(message("ENTRY(r)\n.macr m\nEND(r)").contains("did you mean `.macro`"))
        #expect(message("ENTRY(r)\nmovq %rac, %rax\nEND(r)").contains("did you mean `%ra") == false)
        #expect(message("ENTRY(error_entry)\njmp error_entri\nEND(error_entry)").contains("did you mean `error_entry`"))
        #expect(message("ENTRY(error_entry)\njmp nowhere\nEND(error_entry)").contains("in routine `error_entry`"))
    }

    @Test func expansionsLeaveATrail() {
        let source = """
            .macro inner a
              pushq $1
              movq \\a, %rbx, %rcx
            .endm
            .macro outer
            inner %eax
            .endm
            ENTRY(r)
            outer
            END(r)
            """
        do {
            _ = try program(source)
            Issue.record("assembled")
        } catch {
            #expect(error.diagnostics.map { "\($0.code) \($0.line):\($0.column)" } == ["operand-count 3:3"])
            #expect(
                error.diagnostics.first?.notes == [
                    "in macro `inner`, from test.S:6", "in macro `outer`, from test.S:9",
                ])
        }
    }

    @Test func columnsBehindAnArgumentAreThoseOfTheBody() {
        #expect(
            faults(".macro m a\nmovq \\a, %nope\n.endm\nENTRY(r)\nm 8(%rax,%rbx,8)\nEND(r)") == [
                "unknown-register 2:10"
            ])
        #expect(
            faults(".macro m a\nmovq %rax, \\a\n.endm\nENTRY(r)\nm 8(%rax,%rbx,3)\nEND(r)") == ["invalid-address 2:12"])
    }

    @Test func allFaultsAreReported() {
        #expect(
            faults("ENTRY(r)\nfrob\nnop\nmovq %rax\nEND(r)\n.frob") == [
                "unknown-mnemonic 2:1", "operand-count 4:1", "unknown-directive 6:1",
            ])
    }
}

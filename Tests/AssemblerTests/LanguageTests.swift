import Testing

@testable import Assembler

@Suite struct LanguageTests {
    @Test(arguments: [
        ("2+3*4", 14), ("(2+3)*4", 20), ("10-4-3", 3), ("100/7%5", 4), ("1<<4|1", 17), ("0xff&0x0f^3", 12),
        ("~0", -1), ("!0", 1), ("!7", 0), ("-3+1", -2), ("- - 4", 4), ("1==1", -1), ("1!=1", 0), ("1<>2", -1),
        ("3<2", 0), ("2<=2", -1), ("3>=4", 0), ("4>3", -1), ("1&&2", 1), ("1&&0", 0), ("0||5", 1), ("1||0&&0", 1),
        ("0x10", 16), ("010", 8), ("0b101", 5), ("'a", 97), ("'a'", 97), ("'\\n'", 10), ("0xffffffffffffffff", -1),
        ("N+1", 43), ("8*(N-2)>>1", 160), ("7 & 3 == 3", 7), ("-7/2", -3), ("-8 % 3", -2), ("1<<64", 0), ("-1>>60", 15),
    ])
    func expressions(_ text: String, _ expected: Int64) throws {
        let program = try program(
            "v = \(text)\nENTRY(r)\n.if v == \(expected)\nnop\n.endif\nEND(r)", constants: ["N": 42])
        #expect(program.instructions.count == 1, "\(text)")
    }

    @Test func symbolsTakeTheirValueWhereTheyAreUsed() throws {
        let lines = try body(".set i, 1\npushq $i\ni = i + 1\npushq $i\n.equ i, 9\npushq $i")
        #expect(lines == ["pushq $1", "pushq $2", "pushq $9"])
    }

    @Test func macroArgumentsByPositionNameAndDefault() throws {
        let macro = ".macro m a, b=2 c:req\npushq $\\a\npushq $\\b\npushq $\\c\n.endm\n"
        #expect(try body(macro + "m 1, 5, 7") == ["pushq $1", "pushq $5", "pushq $7"])
        #expect(try body(macro + "m 1 c=3") == ["pushq $1", "pushq $2", "pushq $3"])
        #expect(try body(macro + "m c=3, a=4") == ["pushq $4", "pushq $2", "pushq $3"])
        #expect(try body(macro + "m 1,,3") == ["pushq $1", "pushq $2", "pushq $3"])
        #expect(try body(macro + "m 1+ 1, (2 + 2), \"3\"") == ["pushq $2", "pushq $4", "pushq $3"])
    }

    @Test func macroArgumentsWithParenthesesAndVararg() throws {
        #expect(
            try body(".macro m a b\nmovq \\a, \\b\n.endm\nm 8(%rax, %rbx, 8) %rcx") == ["movq 8(%rax, %rbx, 8), %rcx"])
        #expect(try body(".macro m op rest:vararg\n\\op \\rest\n.endm\nm movq %rax, %rbx") == ["movq %rax, %rbx"])
    }

    @Test func pastingCountingAndNesting() throws {
        let source = """
            .macro outer sym
            .macro inner_\\sym
            call do_\\sym\\()_x
            .endm
            jmp .Lskip_\\@
            inner_\\sym
            .Lskip_\\@:
            .endm
            ENTRY(r)
            outer one
            outer two
            inner_one
            END(r)
            """
        let externals: [String: UInt64] = ["do_one_x": 0x20000, "do_two_x": 0x30000]
        let lines = texts(try program(source, externals: externals))
        #expect(lines == ["jmp 0x10007", "call 0x20000", "jmp 0x1000e", "call 0x30000", "call 0x20000"])
    }

    @Test func exitmLeavesTheMacroOnly() throws {
        let lines = try body(".macro m a\npushq $1\n.if \\a\n.rept 3\n.exitm\n.endr\n.endif\npushq $2\n.endm\nm 1\nm 0")
        #expect(lines == ["pushq $1", "pushq $1", "pushq $2"])
    }

    @Test func purgemAllowsAnother() throws {
        #expect(try body(".macro m\nnop\n.endm\nm\n.purgem m\n.macro m\nhlt\n.endm\nm") == ["nop", "hlt"])
    }

    @Test func macrosTakePrecedenceOverInstructions() throws {
        #expect(try body(".macro swapgs\nnop\n.endm\nswapgs") == ["nop"])
        #expect(try body(".macro UNWIND_HINT_REGS\nnop\n.endm\nUNWIND_HINT_REGS\nUNWIND_HINT_EMPTY") == ["nop"])
    }

    @Test(arguments: [
        (".if 1", true), (".if 0", false), (".ifne -1", true), (".ifeq 0", true), (".ifeq 1", false),
        (".iflt -1", true),
        (".iflt 0", false), (".ifgt 1", true), (".ifge 0", true), (".ifle 1", false), (".ifdef N", true),
        (".ifdef M", false), (".ifndef M", true), (".ifb", true), (".ifb x", false), (".ifnb x", true),
        (".ifnb", false),
        (".ifc a b, a b", true), (".ifc a,b", false), (".ifnc a,b", true), (".ifc \"a\",\"a\"", true), (".ifc ,", true),
    ])
    func conditions(_ condition: String, _ isTrue: Bool) throws {
        let lines = try body("\(condition)\nnop\n.else\nhlt\n.endif", constants: ["N": 0])
        #expect(lines == [isTrue ? "nop" : "hlt"])
    }

    @Test func elseifTakesTheFirstTrueBranch() throws {
        func chosen(_ value: Int64) throws -> [String] {
            try body(".if N==1\nnop\n.elseif N==2\nhlt\n.elseif N>=2\ncli\n.else\nsti\n.endif", constants: ["N": value])
        }
        #expect(try [1, 2, 3, 0].map { try chosen($0) } == [["nop"], ["hlt"], ["cli"], ["sti"]])
    }

    @Test func skippedTextMayBeWrong() throws {
        #expect(
            try body(".if 0\nfrobnicate\n.if 1\n.else\n.endif\nx: .elseif 0\n.error \"no\"\n.endif\nnop") == ["nop"])
    }

    @Test func repeats() throws {
        #expect(try body(".rept 3\nnop\n.endr") == ["nop", "nop", "nop"])
        #expect(try body(".rept 0\nnop\n.endr\nhlt") == ["hlt"])
        #expect(try body(".rept 2\n.rept 2\nnop\n.endr\nhlt\n.endr") == ["nop", "nop", "hlt", "nop", "nop", "hlt"])
        #expect(
            try body(".irp r, rax, %rbx\n.ifc \\r,rax\npushq %\\r\n.else\npushq \\r\n.endif\n.endr") == [
                "pushq %rax", "pushq %rbx",
            ])
        #expect(try body(".irpc c, 123\npushq $\\c\n.endr") == ["pushq $1", "pushq $2", "pushq $3"])
    }

    @Test func numericLabelsNameTheNearest() throws {
        let lines = try body("1: jmp 1f\n1: jmp 1b\njmp 1f\n1: nop\n10: jmp 10b")
        #expect(lines == ["jmp 0x10002", "jmp 0x10002", "jmp 0x10006", "nop", "jmp 0x10007"])
    }

    @Test func commentsAndSeparators() throws {
        let lines = try body(
            "nop; hlt # cli\ncli // sti\n/* nop\nnop */ sti\nmovb $'#, %al\nmovb $';, %al\nlock; incl (%rax)")
        #expect(lines == ["nop", "hlt", "cli", "sti", "movb $0x23, %al", "movb $0x3b, %al", "lock incl (%rax)"])
    }

    @Test func perCPUVariables() throws {
        let externals: [String: UInt64] = ["cpu": 0x40]
        let lines = try body(
            "movq PER_CPU_VAR(cpu), %rsp\nmovq PER_CPU_VAR(cpu + 8*2)(%rax), %rcx\nincl PER_CPU_VAR(cpu) + 4",
            externals: externals)
        #expect(lines == ["movq %gs:0x40, %rsp", "movq %gs:0x50(%rax), %rcx", "incl %gs:0x44"])
    }

    @Test func addressArithmetic() throws {
        let lines = try body(
            "movq $(later - first), %rax\nfirst: nop\nlater: leaq tail+4(%rip), %rcx\nmovq $d-first, %rdx\n.set tail, later + 0x100",
            externals: ["d": 0x20007])
        #expect(lines == ["movq $1, %rax", "nop", "leaq 0xfd(%rip), %rcx", "movq $0x10000, %rdx"])
    }

    @Test(arguments: [
        ("jz", "je"), ("jnz", "jne"), ("jnae", "jb"), ("jc", "jb"), ("jnb", "jae"), ("jnc", "jae"), ("jna", "jbe"),
        ("jnbe", "ja"), ("jpe", "jp"), ("jpo", "jnp"), ("jnge", "jl"), ("jnl", "jge"), ("jng", "jle"), ("jnle", "jg"),
        ("jo", "jo"), ("jno", "jno"), ("js", "js"), ("jns", "jns"),
    ])
    func conditionAliases(_ alias: String, _ canonical: String) throws {
        #expect(try body("1: \(alias) 1b") == ["\(canonical) 0x10000"])
    }

    @Test(arguments: [
        ("mov %rsp, %rdi", "movq %rsp, %rdi"), ("mov $1, %al", "movb $1, %al"),
        ("xchg (%rdi), %rax", "xchgq %rax, (%rdi)"),
        ("test (%rdi), %eax", "testl %eax, (%rdi)"), ("sal $2, %rax", "shlq $2, %rax"), ("shr %rax", "shrq $1, %rax"),
        ("callq *8(%rax)", "call *8(%rax)"), ("jmpq *%rax", "jmp *%rax"), ("retq", "ret"), ("int $3", "int3"),
        ("rep; nop", "pause"), ("rep ret", "rep ret"), ("rep; int3", "rep int3"),
        ("rep int $4", "rep int $4"), ("iret", "iretl"), ("sysret", "sysretl"), ("pushf", "pushfq"),
        ("movsxd %eax, %rax", "movslq %eax, %rax"), ("movzx %al, %ecx", "movzbl %al, %ecx"),
        ("in (%dx), %al", "inb %dx, %al"),
        ("bt $9, 8(%rsp)", "btl $9, 8(%rsp)"), ("mov %db7, %rax", "movq %dr7, %rax"),
        ("cmovc %rax, %rbx", "cmovbq %rax, %rbx"),
        ("setz %al", "sete %al"), ("addl $0xffffffff, %eax", "addl $-1, %eax"), ("model $7", "model $7"),
        ("movq (,%rax,8), %rcx", "movq 0(, %rax, 8), %rcx"),
        ("movq 8 ( %rax , %rbx ), %rcx", "movq 8(%rax, %rbx, 1), %rcx"),
    ])
    func spellings(_ text: String, _ printed: String) throws {
        #expect(try body(text) == [printed])
    }
}

import Machine
import Testing

@testable import Assembler

@Suite struct RoutineTests {
    @Test func routinesFollowEachOtherAligned() throws {
        let program = try program(
            "ENTRY(a)\nnop\nEND(a)\nSYM_CODE_START_LOCAL(b)\nnop\nSYM_CODE_END(b)\nc: nop\n", sizes: ["b": 20])
        #expect(program.routines.map(\.name) == ["a", "b", "c"])
        #expect(program.routines.map(\.address) == [0x10000, 0x10010, 0x10030])
        #expect(program.routines.map(\.size_bytes) == [1, 20, 1])
        #expect(program.routineOf == [0, 1, 2])
    }

    @Test func placementsAreHonouredAndAvoided() throws {
        let program = try program(
            "ENTRY(a)\nnop\nEND(a)\nENTRY(b)\nnop\nEND(b)\nENTRY(c)\nnop\nEND(c)", placements: ["c": 0x10018],
            sizes: ["b": 9, "c": 9])
        #expect(program.routines.map(\.address) == [0x10000, 0x10030, 0x10018])
    }

    @Test func innerLabelsStayInTheirRoutine() throws {
        let program = try program(
            "ENTRY(a)\nnop\nGLOBAL(g)\nnop\nplain: nop\nSYM_INNER_LABEL(i, SYM_L_GLOBAL)\nhlt\nSYM_INNER_LABEL_ALIGN(l, SYM_L_LOCAL)\ncli\nEND(a)"
        )
        #expect(program.routines.count == 1)
        #expect(["g", "plain", "i", "l"].map { program.address(of: $0) } == [0x10001, 0x10002, 0x10003, 0x10004])
    }

    @Test func branchesAreShortWithinARoutineUnlessTheTargetIsGlobal() throws {
        let program = try program(
            "ENTRY(a)\nx: jmp x\njmp a\njmp g\nGLOBAL(g)\njz x\njz b\njmp b\n.globl h\nh: jmp h\nEND(a)\nENTRY(b)\nnop\nEND(b)"
        )
        #expect(program.instructions.map(\.length) == [2, 5, 5, 2, 6, 5, 5, 1])
    }

    /// 127 bytes ahead and 128 behind are the last that a one-byte offset reaches (checked with GNU as 2.40).
    @Test(arguments: [(125, 2), (127, 2), (128, 5), (200, 5)])
    func forwardBranchesGrow(_ bytes: Int, _ length: UInt8) throws {
        let program = try program("ENTRY(a)\njmp 1f\n.rept \(bytes)\nnop\n.endr\n1: nop\nEND(a)")
        #expect(program.instructions.first?.length == length)
        #expect(program.instructions.first?.target == Int32(bytes + 1))
    }

    @Test(arguments: [(126, 2), (127, 6)])
    func backwardBranchesGrow(_ bytes: Int, _ length: UInt8) throws {
        let program = try program("ENTRY(a)\n1:\n.rept \(bytes)\nnop\n.endr\njz 1b\nEND(a)")
        #expect(program.instructions.last?.length == length)
    }

    @Test func oneGrownBranchMakesAnotherGrow() throws {
        let source = "ENTRY(a)\njmp 1f\njmp 2f\n.rept 125\nnop\n.endr\n1: nop\n.rept 8\nnop\n.endr\n2: nop\nEND(a)"
        #expect(try program(source).instructions.prefix(2).map(\.length) == [5, 5])
    }

    @Test func implicitRoutinesFallThrough() throws {
        let program = try program("a: nop\nb: jmp a\n.Lx: jmp .Lx\nENTRY(c)\nnop\nEND(c)")
        #expect(program.routines.map(\.name) == ["a", "b", "c"])
        #expect(program.routines.map(\.address) == [0x10000, 0x10001, 0x10010])
        #expect(program.instructions.map(\.length) == [1, 2, 2, 1])
    }

    @Test func endMakesLaterLabelsInner() throws {
        let program = try program("a: nop\nb: nop\nEND(a)\nc: nop")
        #expect(program.routines.map(\.name) == ["a", "c"])
        #expect(program.routines.map(\.count) == [2, 1])
        #expect(program.routineOf == [0, 0, 1])
        #expect(program.address(of: "b") == 0x10001)
    }

    @Test func localLabelsBelongToTheirFile() throws {
        let texts = ["a", "b"].map { SourceText(name: "\($0).S", text: "ENTRY(\($0))\n.Lx: jmp .Lx\nEND(\($0))") }
        let program = try assemble(AssemblyInput(sources: texts, origin: 0x10000))
        #expect(program.instructions.map(\.immediate) == [0x10000, 0x10010])
        #expect(program.files == ["a.S", "b.S"])
    }

    @Test func linesAreThoseOfTheMacroBody() throws {
        let program = try program("\n.macro m\n\nnop\n.endm\nENTRY(a)\nhlt\nm\n.rept 2\ncli\n.endr\nEND(a)")
        #expect(program.lines.map(\.line) == [7, 4, 10, 10])
    }

    @Test func sectionsThatDoNotExecuteAreIgnored() throws {
        let program = try program(
            "ENTRY(a)\n1: nop\n.pushsection __ex_table, \"a\"\n.quad 1b\n.popsection\nnop\nEND(a)\n.section .rodata\nt: .byte 1\n.previous\n.section .fixup,\"ax\"\nENTRY(f)\nnop\nEND(f)"
        )
        #expect(program.routines.map(\.name) == ["a", "f"])
        #expect(program.address(of: "t") == nil)
    }

    // MARK: Overrides

    private let kernel = """
        .macro HALT
        hlt
        .endm
        .macro stub name
        ENTRY(\\name)
        pushq $-1
        .Lhere: jmp .Lhere
        frobnicate \\name
        END(\\name)
        .endm
        COUNT = 5
        stub first
        ENTRY(second)
        nop
        .Ltail: jmp first
        END(second)
        """

    @Test func anOverrideReplacesTheBody() throws {
        let program = try program(kernel, overrides: ["first": "HALT\npushq $COUNT\n.Lhere: jmp .Lhere\njmp second"])
        #expect(texts(program) == ["hlt", "pushq $5", "jmp 0x10003", "jmp 0x10010", "nop", "jmp 0x10000"])
        #expect(program.routines.map(\.name) == ["first", "second"])
        #expect(program.files == ["test.S", "routines/first"])
        #expect(program.lines.first == Program.SourceLine(file: 1, line: 1) || program.lines[1].file == 1)
    }

    @Test func anOverrideMayContainItsOwnEntry() throws {
        let program = try program(
            kernel,
            overrides: ["first": "SYM_CODE_START(first)\ncli\nSYM_CODE_END(first)\nENTRY(extra)\nsti\nEND(extra)"])
        #expect(program.routines.map(\.name) == ["first", "extra", "second"])
        #expect(texts(program) == ["cli", "sti", "nop", "jmp 0x10000"])
    }

    @Test func anOverrideOfNothingIsANewRoutine() throws {
        let program = try program("ENTRY(a)\njmp b\nEND(a)", overrides: ["b": "nop"])
        #expect(program.routines.map(\.name) == ["a", "b"])
        #expect(program.instructions.first?.target == 1)
    }

    @Test func anOverrideReachesTheFilesLocalLabels() throws {
        let program = try program(
            "ENTRY(a)\nnop\nEND(a)\nENTRY(b)\n.Lshared: nop\nEND(b)", overrides: ["a": "jmp .Lshared"])
        #expect(program.instructions.first?.immediate == 0x10010)
    }

    @Test func anImplicitRoutineCanBeReplaced() throws {
        let program = try program("a: frobnicate\nb: nop\nENTRY(c)\nnop\nEND(c)", overrides: ["a": "hlt"])
        #expect(texts(program) == ["hlt", "nop", "nop"])
    }

    @Test func faultsInOverridesCarryTheirOwnLines() throws {
        do {
            _ = try program(kernel, overrides: ["first": "nop\n  frobnicate", "second": "jmp nowhere"])
            Issue.record("assembled")
        } catch {
            #expect(error.diagnostics.map(\.file) == ["routines/first"])
            #expect(error.diagnostics.map(\.line) == [2])
            #expect(error.diagnostics.map(\.column) == [3])
        }
    }

    // MARK: Listing

    @Test func listingsAssembleToTheSameProgram() throws {
        let source = """
            ENTRY(a)
            1: testl $3, 8*2(%rsp)
            jz 1b
            jmp 2f
            GLOBAL(bar)
            movq %gs:percpu + 8, %rsp
            movq percpu(%rax), %rcx
            addq $percpu, %rcx
            2: movq data(%rip), %rax
            jmp bar
            jz bar
            call b
            jmp c + 2
            jmp a
            rep ret
            movabs $1, %rax
            movq $data, %rdi
            .rept 130
            nop
            .endr
            jmp 1b
            tail: jmp .Lend
            END(a)
            b: jmp .Lmid
            c: movl $0x12345678, %eax
            .Lmid: jmp b
            d: jmp c
            .Lend:
            END(d)
            x: nop
            y: hlt
            """
        let externals: [String: UInt64] = ["percpu": 0x10, "data": 0x20000]
        let sizes: [String: UInt64] = ["b": 3]
        let first = try program(source, externals: externals, placements: ["x": 0x10800], sizes: sizes)
        let text = listing(of: first)
        let second = try program(text, externals: externals, placements: ["x": 0x10800], sizes: sizes)
        #expect(texts(second) == texts(first))
        #expect((second.instructions == first.instructions) == true)
        #expect((second.addresses == first.addresses) == true)
        #expect(second.routines.map(\.name) == first.routines.map(\.name))
        #expect((listing(of: second) == text) == true)
    }
}

/// What a directive, or a kernel linkage macro that acts like one, makes the assembler do.
enum Directive: UInt8, Sendable {
    case none
    /// Accepted without effect: symbol types, unwind annotations.
    case ignored
    /// Accepted without effect if an object file could ask for it.
    case alignment
    /// Marks symbols as global: branches to them stay long, as the GNU assembler leaves them to the linker.
    case global
    case set, equiv
    case macro, endMacro, exitMacro, purgeMacro
    case ifNonZero, ifZero, ifGreater, ifGreaterOrEqual, ifLess, ifLessOrEqual
    case ifDefined, ifNotDefined, ifBlank, ifNotBlank, ifSame, ifNotSame
    case elseIf, otherwise, endIf
    case rept, irp, irpc, endRepeat
    case error, warning
    case section, text, pushSection, popSection, previous
    /// Emits bytes: allowed where nothing executes.
    case data
    /// Moves the location counter in a way that the layout does not model.
    case layout
    case unsupported
    case start, startLocal, end, globalLabel, innerLabel
    /// `.extable FAULT, FIXUP`: ours, for `_ASM_EXTABLE`.
    case exceptionRow

    /// Whether a statement opens a conditional block.
    var opensConditional: Bool { rawValue >= Directive.ifNonZero.rawValue && rawValue <= Directive.ifNotSame.rawValue }

    static let all: [(String, Directive)] = {
        var all: [(String, Directive)] = []
        func add(_ directive: Directive, _ names: [String]) {
            for name in names { all.append((name, directive)) }
        }
        add(
            .ignored,
            [
                ".type", ".size", ".code64", ".extern", ".hidden", ".local",
                ".internal",
                ".protected", ".file", ".loc", ".ident", ".att_syntax", ".arch", ".reloc", ".symver", ".print",
            ])
        add(.ignored, ["UNWIND_HINT_REGS", "UNWIND_HINT_EMPTY", "ANNOTATE_RETPOLINE_SAFE", "_ASM_NOKPROBE"])
        add(.alignment, [".align", ".balign", ".p2align"])
        add(.exceptionRow, [".extable"])
        add(.global, [".globl", ".global", ".weak"])
        add(.set, [".set", ".equ"])
        add(.equiv, [".equiv"])
        add(.macro, [".macro"])
        add(.endMacro, [".endm"])
        add(.exitMacro, [".exitm"])
        add(.purgeMacro, [".purgem"])
        add(.ifNonZero, [".if", ".ifne"])
        add(.ifZero, [".ifeq"])
        add(.ifGreater, [".ifgt"])
        add(.ifGreaterOrEqual, [".ifge"])
        add(.ifLess, [".iflt"])
        add(.ifLessOrEqual, [".ifle"])
        add(.ifDefined, [".ifdef"])
        add(.ifNotDefined, [".ifndef", ".ifnotdef"])
        add(.ifBlank, [".ifb"])
        add(.ifNotBlank, [".ifnb"])
        add(.ifSame, [".ifc", ".ifeqs"])
        add(.ifNotSame, [".ifnc", ".ifnes"])
        add(.elseIf, [".elseif"])
        add(.otherwise, [".else"])
        add(.endIf, [".endif"])
        add(.rept, [".rept"])
        add(.irp, [".irp"])
        add(.irpc, [".irpc"])
        add(.endRepeat, [".endr"])
        add(.error, [".error", ".err"])
        add(.warning, [".warning"])
        add(.section, [".section"])
        add(.text, [".text", ".data", ".bss"])
        add(.pushSection, [".pushsection"])
        add(.popSection, [".popsection"])
        add(.previous, [".previous"])
        add(
            .data,
            [
                ".byte", ".2byte", ".4byte", ".8byte", ".word", ".short", ".value", ".long", ".int", ".quad", ".octa",
                ".ascii", ".asciz", ".string", ".float", ".double", ".uleb128", ".sleb128",
            ])
        add(.layout, [".org", ".fill", ".skip", ".space", ".zero", ".nops", ".balignw", ".balignl"])
        add(
            .unsupported,
            [
                ".include", ".incbin", ".intel_syntax", ".code32", ".code16", ".altmacro", ".noaltmacro", ".comm",
                ".lcomm",
                ".subsection", ".end",
            ])
        for kind in ["CODE", "FUNC"] {
            for suffix in ["", "_NOALIGN", "_WEAK", "_WEAK_NOALIGN", "_ALIAS"] {
                add(.start, ["SYM_\(kind)_START\(suffix)"])
            }
            for suffix in ["", "_NOALIGN", "_ALIAS"] { add(.startLocal, ["SYM_\(kind)_START_LOCAL\(suffix)"]) }
            add(.end, ["SYM_\(kind)_END", "SYM_\(kind)_END_ALIAS"])
        }
        add(.start, ["ENTRY", "SYM_TYPED_FUNC_START"])
        add(.end, ["END", "ENDPROC"])
        add(.globalLabel, ["GLOBAL"])
        add(.innerLabel, ["SYM_INNER_LABEL", "SYM_INNER_LABEL_ALIGN"])
        return all
    }()
}

/// The slots of `struct pt_regs`, in words from its start (Linux `arch/x86/include/asm/ptrace.h`; unchanged 4.x to 6.x).
package enum PtRegs {
    package static let r15 = 0
    package static let r14 = 1
    package static let r13 = 2
    package static let r12 = 3
    package static let rbp = 4
    package static let rbx = 5
    package static let r11 = 6
    package static let r10 = 7
    package static let r9 = 8
    package static let r8 = 9
    package static let rax = 10
    package static let rcx = 11
    package static let rdx = 12
    package static let rsi = 13
    package static let rdi = 14
    package static let origAX = 15
    package static let rip = 16
    package static let cs = 17
    package static let flags = 18
    package static let rsp = 19
    package static let ss = 20
    package static let count = 21

    /// Names in the order of the slots, as the kernel spells the fields.
    package static let names = [
        "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip",
        "cs", "flags", "sp", "ss",
    ]

    /// The register saved in each of the first fifteen slots.
    package static let registers: [Register] = [
        .r15, .r14, .r13, .r12, .rbp, .rbx, .r11, .r10, .r9, .r8, .rax, .rcx, .rdx, .rsi, .rdi,
    ]
}

package import Machine

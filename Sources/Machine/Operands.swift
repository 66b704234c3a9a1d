/// A general register, numbered as the processor encodes it (SDM vol. 2, table 3-1); `rip` and `none` complete addressing.
package enum Register: UInt8, Sendable, Hashable, CaseIterable {
    case rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi
    case r8, r9, r10, r11, r12, r13, r14, r15
    /// Only as the base of a memory operand; the displacement then already is the absolute address.
    case rip
    /// No register in this position.
    case none

    /// The sixteen registers an instruction can name.
    package static let general: [Register] = [
        .rax, .rcx, .rdx, .rbx, .rsp, .rbp, .rsi, .rdi, .r8, .r9, .r10, .r11, .r12, .r13, .r14, .r15,
    ]
}

/// A segment register, numbered as the processor encodes it.
package enum SegmentRegister: UInt8, Sendable, Hashable {
    case es, cs, ss, ds, fs, gs
    /// No segment override.
    case none
}

/// The condition of a conditional jump, move or set, numbered as the processor encodes it (SDM vol. 2, appendix B.1.4.7).
package enum Condition: UInt8, Sendable, Hashable, CaseIterable {
    case o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g
}

/// The size of an operation in bytes.
package enum Width: UInt8, Sendable, Hashable {
    case byte = 1
    case word = 2
    case long = 4
    case quad = 8
}

/// A memory operand: `segment:displacement(base, index, scale)`.
///
/// With `base == .rip` the displacement holds the absolute address that the assembler resolved.
package struct MemoryOperand: Sendable, Hashable {
    package var displacement: Int64
    package var segment: SegmentRegister
    package var base: Register
    package var index: Register
    /// 1, 2, 4 or 8.
    package var scale: UInt8

    package init(
        displacement: Int64 = 0, segment: SegmentRegister = .none, base: Register = .none, index: Register = .none,
        scale: UInt8 = 1
    ) {
        self.displacement = displacement
        self.segment = segment
        self.base = base
        self.index = index
        self.scale = scale
    }
}

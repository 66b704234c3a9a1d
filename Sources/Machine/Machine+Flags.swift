/// Arithmetic on the flags (SDM vol. 1, 3.4.3.1 and appendix A).
extension Machine {
    @inline(__always)
    func parityFlag(_ result: UInt64) -> UInt64 {
        UInt8(truncatingIfNeeded: result).nonzeroBitCount & 1 == 0 ? Flags.parity : 0
    }

    @inline(__always)
    mutating func setLogicFlags(_ result: UInt64, _ width: Width) {
        var flags = cpu.flags & ~Flags.arithmetic
        if result == 0 { flags |= Flags.zero }
        if result & width.signBit != 0 { flags |= Flags.sign }
        cpu.flags = flags | parityFlag(result)
    }

    @inline(__always)
    mutating func add(_ left: UInt64, _ right: UInt64, carry: UInt64, _ width: Width) -> UInt64 {
        let a = left & width.mask
        let b = right & width.mask
        let (partial, first) = a.addingReportingOverflow(b)
        let (sum, second) = partial.addingReportingOverflow(carry)
        let result = sum & width.mask
        let carried = width == .quad ? (first || second) : (sum > width.mask)
        var flags = cpu.flags & ~Flags.arithmetic
        if carried { flags |= Flags.carry }
        if (a ^ result) & (b ^ result) & width.signBit != 0 { flags |= Flags.overflow }
        if (a ^ b ^ result) & 0x10 != 0 { flags |= Flags.adjust }
        if result == 0 { flags |= Flags.zero }
        if result & width.signBit != 0 { flags |= Flags.sign }
        cpu.flags = flags | parityFlag(result)
        return result
    }

    @inline(__always)
    mutating func subtract(_ left: UInt64, _ right: UInt64, borrow: UInt64, _ width: Width) -> UInt64 {
        let a = left & width.mask
        let b = right & width.mask
        let result = (a &- b &- borrow) & width.mask
        var flags = cpu.flags & ~Flags.arithmetic
        if a < b || (borrow != 0 && a == b) { flags |= Flags.carry }
        if (a ^ b) & (a ^ result) & width.signBit != 0 { flags |= Flags.overflow }
        if (a ^ b ^ result) & 0x10 != 0 { flags |= Flags.adjust }
        if result == 0 { flags |= Flags.zero }
        if result & width.signBit != 0 { flags |= Flags.sign }
        cpu.flags = flags | parityFlag(result)
        return result
    }

    /// Whether a condition holds in the present flags (SDM vol. 1, appendix B).
    @inline(__always)
    package func holds(_ condition: Condition) -> Bool {
        let flags = cpu.flags
        let carry = flags & Flags.carry != 0
        let zero = flags & Flags.zero != 0
        let sign = flags & Flags.sign != 0
        let overflow = flags & Flags.overflow != 0
        return switch condition {
        case .o: overflow
        case .no: !overflow
        case .b: carry
        case .ae: !carry
        case .e: zero
        case .ne: !zero
        case .be: carry || zero
        case .a: !carry && !zero
        case .s: sign
        case .ns: !sign
        case .p: flags & Flags.parity != 0
        case .np: flags & Flags.parity == 0
        case .l: sign != overflow
        case .ge: sign == overflow
        case .le: zero || sign != overflow
        case .g: !zero && sign == overflow
        }
    }
}

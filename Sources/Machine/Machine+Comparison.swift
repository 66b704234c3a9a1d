extension Machine {
    /// One number for what every path reads of the processor: all but RIP in code, the general registers and the bases that
    /// SWAPGS and FS use.
    package mutating func processorKey(_ bits: UInt64) -> UInt64 {
        var sum = Machine.mix(bits << 48, cpu.flags & ~Flags.arithmetic)
        if cpu.index < 0 { sum = Machine.mix(sum, cpu.outsideRIP) }
        sum = Machine.mix(
            sum, UInt64(cpu.cs) | UInt64(cpu.ss) << 16 | UInt64(cpu.cpl) << 32 | cpu.speculationControl << 40)
        sum = Machine.mix(sum, cpu.dataSelectors)
        sum = Machine.mix(sum, cpu.gsBase)
        sum = Machine.mix(sum, cpu.cr3)
        sum = Machine.mix(sum, cpu.dr7 ^ cpu.watchedAddress << 20)
        sum = Machine.mix(sum, cpu.pendingDebug ^ cpu.dr6 << 32)
        var state: UInt64 = cpu.nmiBlocked ? 1 : 0
        if cpu.stackShadow { state |= 2 }
        if cpu.interruptShadow { state |= 4 }
        if cpu.machineCheckInProgress { state |= 8 }
        if cpu.guestKernelMode { state |= 16 }
        if cpu.hasUntrained { state |= 32 }
        state |= UInt64(idt[Int(Vector.debug)].ist) << 8 | UInt64(clamping: debugTableUsers) << 16
        return Machine.mix(sum, state)
    }

    private static func mix(_ sum: UInt64, _ value: UInt64) -> UInt64 {
        var x = (sum ^ value) &* 0x9E37_79B9_7F4A_7C15
        x ^= x >> 31
        return x &* 0xD6E8_FEB8_6659_FD93
    }

    /// An NMI can be taken at this instruction boundary.
    package var acceptsNMI: Bool { mutating get { cpu.acceptsNMI } }

    /// A maskable interrupt can be.
    package var acceptsInterrupts: Bool { mutating get { cpu.acceptsInterrupts } }

    /// The kernel runs, and no trap of the instruction before waits, which comes first (SDM vol. 3, table 6-2).
    package var acceptsNestedEvents: Bool {
        mutating get { isKernelMode && cpu.pendingDebug == 0 && (!traits.isParavirtual || cpu.guestKernelMode) }
    }

    /// All of the processor but for the general registers, the bases that SWAPGS and FS use, CR2 and the blocking of NMIs is as it was; predictors may have
    /// been untrained since, which only helps.
    package mutating func isSameProcessor(as then: Processor) -> Bool {
        cpu.index == then.index && (cpu.index >= 0 || cpu.outsideRIP == then.outsideRIP)
            && (cpu.flags ^ then.flags) & ~Flags.resume == 0
            && cpu.cs == then.cs && cpu.ss == then.ss && cpu.cpl == then.cpl
            && cpu.dataSelectors == then.dataSelectors
            && cpu.gsBase == then.gsBase
            && cpu.cr3 == then.cr3 && cpu.dr6 == then.dr6 && cpu.dr7 == then.dr7
            && cpu.watchedAddress == then.watchedAddress && cpu.pendingDebug == then.pendingDebug
            && cpu.machineCheckInProgress == then.machineCheckInProgress
            && cpu.guestKernelMode == then.guestKernelMode && cpu.speculationControl == then.speculationControl
            && (cpu.hasUntrained || !then.hasUntrained)
    }

    /// The general registers and the two bases are as they were, and those with strange values have theirs.
    package mutating func hasRegisters(of then: Processor, strange: UInt32) -> Bool {
        for number in 0..<16 {
            let wanted = strange >> UInt32(number) & 1 != 0 ? StrangeValue.of(number) : then.registers[number]
            if cpu.registers[number] != wanted { return false }
        }
        func wanted(_ value: UInt64, _ bit: UInt32) -> UInt64 {
            strange & bit != 0 ? StrangeValue.of(bit.trailingZeroBitCount) : value
        }
        return cpu.kernelGSBase == wanted(then.kernelGSBase, Dependence.kernelGSBase)
            && cpu.fsBase == wanted(then.fsBase, Dependence.fsBase)
    }

    /// Gives registers values that nothing else has; bits as in `Dependence`.
    package mutating func makeStrange(_ registers: UInt32) {
        for number in 0..<16 where registers >> UInt32(number) & 1 != 0 {
            cpu.registers[number] = StrangeValue.of(number)
        }
        if registers & Dependence.kernelGSBase != 0 {
            cpu.kernelGSBase = StrangeValue.of(Dependence.kernelGSBase.trailingZeroBitCount)
        }
        if registers & Dependence.fsBase != 0 {
            cpu.fsBase = StrangeValue.of(Dependence.fsBase.trailingZeroBitCount)
        }
    }
}

/// Values that nothing else has, one for each register: what a path does with them shows whether it only carries them.
package enum StrangeValue {
    package static func of(_ number: Int) -> UInt64 { 0x5EED_0000_0000_0000 | UInt64(number) << 8 | 0x5A }

    /// Bit n: the value, or its lower half, is that of register n.
    @inline(__always)
    static func register(in value: UInt64) -> UInt32 {
        value & 0xFFFF_E0FF == 0x5A ? 1 << UInt32(value >> 8 & 31) : 0
    }
}

extension Machine {
    /// All of the processor but for the general registers, CR2 and the blocking of NMIs is as it was; predictors may have
    /// been untrained since, which only helps.
    package mutating func isSameProcessor(as then: Processor) -> Bool {
        cpu.index == then.index && (cpu.index >= 0 || cpu.outsideRIP == then.outsideRIP)
            && (cpu.flags ^ then.flags) & ~Flags.resume == 0
            && cpu.cs == then.cs && cpu.ss == then.ss && cpu.cpl == then.cpl
            && cpu.dataSelectors == then.dataSelectors
            && cpu.fsBase == then.fsBase && cpu.gsBase == then.gsBase && cpu.kernelGSBase == then.kernelGSBase
            && cpu.cr3 == then.cr3 && cpu.dr6 == then.dr6 && cpu.dr7 == then.dr7
            && cpu.watchedAddress == then.watchedAddress && cpu.pendingDebug == then.pendingDebug
            && cpu.machineCheckInProgress == then.machineCheckInProgress
            && cpu.guestKernelMode == then.guestKernelMode && cpu.speculationControl == then.speculationControl
            && (cpu.hasUntrained || !then.hasUntrained)
    }

    /// The general registers are as they were, and those with strange values have theirs.
    package mutating func hasRegisters(of then: Processor, strange: UInt32) -> Bool {
        for number in 0..<16 {
            let wanted = strange >> UInt32(number) & 1 != 0 ? StrangeValue.of(number) : then.registers[number]
            if cpu.registers[number] != wanted { return false }
        }
        return true
    }

    /// Gives registers values that nothing else has; bit n is register n.
    package mutating func makeStrange(_ registers: UInt32) {
        for number in 0..<16 where registers >> UInt32(number) & 1 != 0 {
            cpu.registers[number] = StrangeValue.of(number)
        }
    }
}

/// Values that nothing else has, one for each register: what a path does with them shows whether it only carries them.
package enum StrangeValue {
    package static func of(_ number: Int) -> UInt64 { 0x5EED_0000_0000_0000 | UInt64(number) << 8 | 0x5A }

    /// Bit n: the value, or its lower half, is that of register n.
    @inline(__always)
    static func register(in value: UInt64) -> UInt32 {
        value & 0xFFFF_F0FF == 0x5A ? 1 << UInt32(value >> 8 & 15) : 0
    }
}

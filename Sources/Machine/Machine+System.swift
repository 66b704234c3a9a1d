extension Machine {


    mutating func privileged(_ instruction: Instruction) throws(Fault) -> Outcome {
        if instruction.opcode == .sfence {
            cpu.index &+= 1
            return .next
        }
        // SDM vol. 3, 5.9: every one of these is #GP(0) outside CPL 0.
        if cpu.cpl != 0 { throw .generalProtection() }
        try performPrivileged(instruction)
        cpu.index &+= 1
        return instruction.opcode == .hlt ? .halted : .next
    }

    /// The effect of a privileged instruction without its privilege check; Xen's emulation of a PV guest uses it too.
    package mutating func performPrivileged(_ instruction: Instruction) throws(Fault) {
        switch instruction.opcode {
        case .swapgs:
            swap(&cpu.gsBase, &cpu.kernelGSBase)
        case .rdmsr:
            cost.msrAccesses &+= 1
            guard let value = readMSR(UInt32(truncatingIfNeeded: cpu[.rcx])) else { throw .generalProtection() }
            cpu[.rax] = value & 0xFFFF_FFFF
            cpu[.rdx] = value >> 32
        case .wrmsr:
            cost.msrAccesses &+= 1
            cost.serialisingInstructions &+= 1
            let value = (cpu[.rax] & 0xFFFF_FFFF) | (cpu[.rdx] << 32)
            if !writeMSR(UInt32(truncatingIfNeeded: cpu[.rcx]), value) { throw .generalProtection() }
        case .movFromControl:
            switch instruction.special {
            case 0: cpu[instruction.register] = cpu.cr0
            case 2: cpu[instruction.register] = cpu.cr2
            case 3: cpu[instruction.register] = cpu.cr3
            case 4: cpu[instruction.register] = cpu.cr4
            case 8: cpu[instruction.register] = 0
            default: throw Fault(Vector.invalidOpcode)
            }
        case .movToControl:
            let value = cpu[instruction.register]
            cost.serialisingInstructions &+= 1
            switch instruction.special {
            case 0: cpu.cr0 = value
            case 2: cpu.cr2 = value
            case 3:
                cost.cr3Writes &+= 1
                // Bit 63 asks not to flush and is not stored (SDM vol. 3, 4.10.4.1).
                cpu.cr3 = value & ~(1 << 63)
            case 4: cpu.cr4 = value
            case 8: break
            default: throw Fault(Vector.invalidOpcode)
            }
        case .movFromDebug:
            cpu[instruction.register] =
                switch instruction.special {
                case 0: cpu.watchedAddress
                case 6, 4: cpu.dr6
                case 7, 5: cpu.dr7
                default: 0
                }
        case .movToDebug:
            let value = cpu[instruction.register]
            switch instruction.special {
            case 0: cpu.watchedAddress = value
            case 6, 4: cpu.dr6 = value
            case 7, 5: cpu.dr7 = value
            default: break
            }
        case .in:
            cpu[.rax] = (cpu[.rax] & ~instruction.width.mask) | instruction.width.mask
        case .invpcid:
            cost.serialisingInstructions &+= 1
        case .invlpg, .wbinvd:
            cost.serialisingInstructions &+= 1
        default: break
        }
    }

    package func readMSR(_ number: UInt32) -> UInt64? {
        switch number {
        case MSR.fsBase: cpu.fsBase
        case MSR.gsBase: cpu.gsBase
        case MSR.kernelGSBase: cpu.kernelGSBase
        case MSR.star: cpu.star
        case MSR.lstar: cpu.lstar
        case MSR.cstar: cpu.cstar
        case MSR.syscallMask: cpu.syscallMask
        case MSR.sysenterCS: cpu.sysenterCS
        case MSR.sysenterESP: cpu.sysenterESP
        case MSR.sysenterEIP: cpu.sysenterEIP
        case MSR.efer: 0xD01
        case MSR.speculationControl: 0
        default: nil
        }
    }

    package mutating func writeMSR(_ number: UInt32, _ value: UInt64) -> Bool {
        switch number {
        case MSR.fsBase, MSR.gsBase, MSR.kernelGSBase:
            // A base must be canonical (SDM vol. 2, WRMSR).
            guard Machine.isCanonical(value) else { return false }
            switch number {
            case MSR.fsBase: cpu.fsBase = value
            case MSR.gsBase: cpu.gsBase = value
            default: cpu.kernelGSBase = value
            }
        case MSR.star: cpu.star = value
        case MSR.lstar: cpu.lstar = value
        case MSR.cstar: cpu.cstar = value
        case MSR.syscallMask: cpu.syscallMask = value
        case MSR.sysenterCS: cpu.sysenterCS = value
        case MSR.sysenterESP: cpu.sysenterESP = value
        case MSR.sysenterEIP: cpu.sysenterEIP = value
        case MSR.speculationControl, MSR.predictionCommand, MSR.efer: break
        default: return false
        }
        return true
    }

    /// RDFSBASE and kin: #UD unless CR4.FSGSBASE is set; they need no privilege.
    mutating func baseAccess(_ instruction: Instruction) throws(Fault) {
        guard traits.fsgsbase else { throw Fault(Vector.invalidOpcode) }
        switch instruction.opcode {
        case .rdfsbase: cpu[instruction.register] = cpu.fsBase & instruction.width.mask
        case .rdgsbase: cpu[instruction.register] = cpu.gsBase & instruction.width.mask
        default:
            let value = cpu[instruction.register] & instruction.width.mask
            guard Machine.isCanonical(value) else { throw .generalProtection() }
            if instruction.opcode == .wrfsbase { cpu.fsBase = value } else { cpu.gsBase = value }
        }
    }

    // MARK: Segments

    /// The descriptor that a selector names; nil for the null selector and beyond the table's limit.
    package func descriptor(_ selector: UInt16) -> Descriptor? {
        let index = Int(selector >> 3)
        if selector & 4 != 0 { return index < ldt.count ? ldt[index] : nil }
        if index == 0 { return nil }
        if traits.isParavirtual, let flat = Machine.xenFlatDescriptor(index) { return flat }
        return index < gdt.count ? gdt[index] : nil
    }

    /// Xen's reserved descriptors for guests: e023 32-bit code, e02b data, e033 64-bit code
    /// (public/arch-x86/xen-x86_64.h, FLAT_RING3_*).
    private static func xenFlatDescriptor(_ index: Int) -> Descriptor? {
        switch index << 3 {
        case 0xE020: Descriptor(isCode: true, privilege: 3, isLong: false)
        case 0xE028: Descriptor(isCode: false, privilege: 3)
        case 0xE030: Descriptor(isCode: true, privilege: 3, isLong: true, isBig: false)
        default: nil
        }
    }

    func segmentSelector(_ number: UInt8) -> UInt16 {
        switch number {
        case 0: cpu.es
        case 1: cpu.cs
        case 2: cpu.ss
        case 3: cpu.ds
        case 4: cpu.fs
        default: cpu.gs
        }
    }

    /// MOV to a segment register (SDM vol. 2, MOV; vol. 3, 5.6).
    mutating func loadSegment(_ number: UInt8, _ selector: UInt16) throws(Fault) {
        let code = UInt32(selector & ~3)
        switch number {
        case 1: throw Fault(Vector.invalidOpcode)
        case 2:
            if selector & ~3 == 0 {
                // A null SS is allowed in 64-bit mode below CPL 3 when RPL equals CPL.
                if cpu.cpl == 3 || UInt8(selector & 3) != cpu.cpl { throw .generalProtection() }
            } else {
                guard let descriptor = descriptor(selector) else { throw .generalProtection(code) }
                let rpl = UInt8(selector & 3)
                if descriptor.isCode || !descriptor.isWritable || rpl != cpu.cpl || descriptor.privilege != cpu.cpl {
                    throw .generalProtection(code)
                }
                if !descriptor.isPresent { throw Fault(Vector.stackSegment, errorCode: code) }
            }
            cpu.ss = selector
            cpu.stackShadow = true
        default:
            if selector & ~3 != 0 {
                guard let descriptor = descriptor(selector) else { throw .generalProtection(code) }
                if !descriptor.isPresent { throw Fault(Vector.segmentNotPresent, errorCode: code) }
            }
            switch number {
            case 0: cpu.es = selector
            case 3: cpu.ds = selector
            case 4:
                cpu.fs = selector
                // Intel clears the base with a null selector, AMD keeps it (APM vol. 2, 4.5.3).
                if traits.vendor == .intel || selector & ~3 != 0 { cpu.fsBase = 0 }
            default:
                cpu.gs = selector
                if traits.vendor == .intel || selector & ~3 != 0 { cpu.gsBase = 0 }
            }
        }
    }
}

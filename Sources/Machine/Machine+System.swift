extension Machine {

    /// INVPCID reads its descriptor and checks it (SDM vol. 2, INVPCID).
    mutating func checkInvalidation(_ site: Site) throws(Fault) {
        let kind = self[site.pointee.register]
        let address = effectiveAddress(site)
        let low = try load(address, .quad, isStack: usesStack(site))
        let linear = try load(address &+ 8, .quad, isStack: usesStack(site))
        if kind > 3 || low >> 12 != 0 || (kind == 0 && !Machine.isCanonical(linear)) { throw .generalProtection() }
    }

    /// IN and OUT: there is no device; a read finds all ones, as on an empty bus.
    package mutating func performPort(_ instruction: Instruction) {
        if instruction.opcode == .in { setRegister(.rax, instruction.width.mask, instruction.width) }
    }

    /// The effect of a privileged instruction without its privilege check; Xen's emulation of a PV guest uses it too.
    package mutating func performPrivileged(_ instruction: Instruction) throws(Fault) {
        switch instruction.opcode {
        case .swapgs:
            swap(&cpu.gsBase, &cpu.kernelGSBase)
        case .rdmsr:
            cost.msrAccesses &+= 1
            guard let value = readMSR(UInt32(truncatingIfNeeded: self[.rcx])) else { throw .generalProtection() }
            self[.rax] = value & 0xFFFF_FFFF
            self[.rdx] = value >> 32
        case .wrmsr:
            cost.msrAccesses &+= 1
            let value = (self[.rax] & 0xFFFF_FFFF) | (self[.rdx] << 32)
            if !writeMSR(UInt32(truncatingIfNeeded: self[.rcx]), value) { throw .generalProtection() }
            cost.serialisingInstructions &+= 1
        case .movFromControl:
            switch instruction.special {
            case 0: self[instruction.register] = cpu.cr0
            case 2: self[instruction.register] = cpu.cr2
            case 3: self[instruction.register] = cpu.cr3
            case 4: self[instruction.register] = cpu.cr4
            case 8: self[instruction.register] = 0
            default: throw Fault(Vector.invalidOpcode)
            }
        case .movToControl:
            let value = self[instruction.register]
            switch instruction.special {
            case 0: cpu.cr0 = value
            case 2: cpu.cr2 = value
            case 3:
                // Reserved bits, such as those of a stray address, are refused (SDM vol. 2, MOV to control registers).
                if value & (0x7FF << 52) != 0 { throw .generalProtection() }
                // So is bit 63 without CR4.PCIDE.
                if value >> 63 != 0 && cpu.cr4 & 1 << 17 == 0 { throw .generalProtection() }
                cost.cr3Writes &+= 1
                // Bit 63 asks not to flush and is not stored (SDM vol. 3, 4.10.4.1).
                cpu.cr3 = value & ~(1 << 63)
                if value >> 63 == 0 && cpu.userPageTables { cpu.hasFlushedUserHalf = true }
            case 4: cpu.cr4 = value
            case 8: break
            default: throw Fault(Vector.invalidOpcode)
            }
            cost.serialisingInstructions &+= 1
        case .movFromDebug:
            self[instruction.register] = debugRegister(instruction.special)
        case .movToDebug:
            let value = self[instruction.register]
            if instruction.special >= 4 && value >> 32 != 0 { throw .generalProtection() }
            setDebugRegister(instruction.special, value)
        case .in, .out: performPort(instruction)
        case .clts: cpu.cr0 &= ~8
        case .invpcid, .invlpg, .wbinvd:
            cost.serialisingInstructions &+= 1
        default: break
        }
    }

    /// DR1 to DR3 are not kept.
    package func debugRegister(_ number: UInt8) -> UInt64 {
        switch number {
        case 0: cpu.watchedAddress
        case 6, 4: cpu.dr6
        case 7, 5: cpu.dr7
        default: 0
        }
    }

    package mutating func setDebugRegister(_ number: UInt8, _ value: UInt64) {
        switch number {
        case 0: cpu.watchedAddress = value
        // The ones that always read so, and bit 12 that never does (SDM vol. 3, 17.2.3 and 17.2.4).
        case 6, 4: cpu.dr6 = (value & 0xE00F) | 0xFFFF_0FF0
        case 7, 5: cpu.dr7 = (value & 0xFFFF_2BFF) | 0x400
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
        case MSR.speculationControl: cpu.speculationControl
        default: nil
        }
    }

    package mutating func writeMSR(_ number: UInt32, _ value: UInt64) -> Bool {
        switch number {
        case MSR.fsBase, MSR.gsBase, MSR.kernelGSBase, MSR.lstar, MSR.cstar, MSR.sysenterESP, MSR.sysenterEIP:
            // An address must be canonical (SDM vol. 2, WRMSR).
            guard Machine.isCanonical(value) else { return false }
        case MSR.syscallMask:
            guard value >> 32 == 0 else { return false }
        // Reserved bits (SDM vol. 4, table 2-2; IA32_SPEC_CTRL has IBRS, STIBP, SSBD, five that newer processors have, DDPD_U and
        // BHI_DIS_S; IA32_PRED_CMD has IBPB, and AMD's SBPB).
        case MSR.speculationControl:
            guard value & ~0x5FF == 0 else { return false }
        case MSR.predictionCommand:
            guard value & ~0x81 == 0 else { return false }
        default: break
        }
        switch number {
        case MSR.fsBase: cpu.fsBase = value
        case MSR.gsBase: cpu.gsBase = value
        case MSR.kernelGSBase: cpu.kernelGSBase = value
        case MSR.star: cpu.star = value
        case MSR.lstar: cpu.lstar = value
        case MSR.cstar: cpu.cstar = value
        case MSR.syscallMask: cpu.syscallMask = value
        case MSR.sysenterCS: cpu.sysenterCS = value
        case MSR.sysenterESP: cpu.sysenterESP = value
        case MSR.sysenterEIP: cpu.sysenterEIP = value
        case MSR.speculationControl: cpu.speculationControl = value
        case MSR.predictionCommand, MSR.efer: break
        default: return false
        }
        return true
    }

    /// RDFSBASE and kin: #UD unless CR4.FSGSBASE is set; they need no privilege.
    mutating func baseAccess(_ instruction: Instruction) throws(Fault) {
        guard traits.fsgsbase else { throw Fault(Vector.invalidOpcode) }
        switch instruction.opcode {
        case .rdfsbase: self[instruction.register] = cpu.fsBase & instruction.width.mask
        case .rdgsbase: self[instruction.register] = cpu.gsBase & instruction.width.mask
        default:
            let value = self[instruction.register] & instruction.width.mask
            guard Machine.isCanonical(value) else { throw .generalProtection() }
            if instruction.opcode == .wrfsbase { cpu.fsBase = value } else { cpu.gsBase = value }
        }
    }

    // MARK: Segments

    /// The descriptor that a selector names; nil for the null selector and beyond the table's limit.
    @inline(__always)
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

    @inline(__always)
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

    /// VERW: a writable data segment that both CPL and RPL may use (SDM vol. 2, VERR/VERW).
    @inline(__always)
    func verifiesForWriting(_ selector: UInt16) -> Bool {
        guard selector & ~3 != 0, let descriptor = descriptor(selector) else { return false }
        return !descriptor.isCode && descriptor.isWritable && descriptor.privilege >= cpu.cpl
            && descriptor.privilege >= UInt8(selector & 3)
    }

    /// LSL: the limit of a segment that CPL and RPL may see, be it present or not; nil where ZF is cleared (SDM vol. 2, LSL).
    func visibleLimit(_ selector: UInt16) -> UInt32? {
        guard selector & ~3 != 0, let descriptor = descriptor(selector), descriptor.privilege >= cpu.cpl,
            descriptor.privilege >= UInt8(selector & 3)
        else { return nil }
        return descriptor.limit
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
                // Code segments of the model are readable and not conforming: one rule for both kinds.
                if descriptor.privilege < max(cpu.cpl, UInt8(selector & 3)) { throw .generalProtection(code) }
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

extension Machine {
    /// Instructions that are rare in entry code or change system state; kept out of the hot function.
    @inline(never)
    mutating func executeUncommon(_ site: Site, _ program: Program) throws(Fault) -> Progress {
        let width = site.pointee.width
        let next = cpu.index &+ 1
        switch site.pointee.opcode {
        case .adc, .sbb, .not, .neg, .inc, .dec, .shl, .shr, .sar, .rol, .ror, .bt, .bts, .btr, .btc, .xchg,
            .movzx, .movsx, .cmov, .set:
            try arithmetic(site)
        case .pushf:
            // IF, IOPL and AC are pushed as they are; RF and VM are pushed clear (SDM vol. 2, PUSHF).
            let image = cpu.flags & ~(Flags.resume | Flags.virtual8086)
            if width == .word {
                try pushWord(image)
            } else {
                try push(image, owner: Owner(.data, activation: activation))
            }
        case .popf:
            let value = try load(self[.rsp], width, isStack: true)
            self[.rsp] = self[.rsp] &+ UInt64(width.rawValue)
            loadFlags(value, width)
        case .cld: cpu.flags &= ~Flags.direction
        case .std: cpu.flags |= Flags.direction
        case .clac, .stac:
            // SDM vol. 2, CLAC: #UD if CPL > 0 or SMAP is not there.
            if cpu.cpl != 0 || !traits.smap { throw Fault(Vector.invalidOpcode) }
            if site.pointee.opcode == .clac {
                cpu.flags &= ~Flags.alignmentCheck
            } else {
                cpu.flags |= Flags.alignmentCheck
            }
        case .cli:
            try requireIOPrivilege()
            cpu.flags &= ~Flags.interrupt
        case .sti:
            try requireIOPrivilege()
            if cpu.flags & Flags.interrupt == 0 { cpu.interruptShadow = true }
            cpu.flags |= Flags.interrupt
        case .lfence, .mfence:
            cost.serialisingInstructions &+= 1
        case .sfence: break
        case .in, .out:
            // The I/O permission bitmap of the TSS grants nothing here (SDM vol. 1, 19.5).
            try requireIOPrivilege()
            performPort(site.pointee)
        case .clts, .wbinvd, .invpcid, .invlpg, .rdmsr, .wrmsr, .swapgs, .hlt, .movToControl, .movFromControl,
            .movToDebug, .movFromDebug:
            // SDM vol. 3, 5.9: every one of these is #GP(0) outside CPL 0.
            if cpu.cpl != 0 { throw .generalProtection() }
            if site.pointee.opcode == .invpcid { try checkInvalidation(site) }
            try performPrivileged(site.pointee)
            if site.pointee.opcode == .hlt {
                cpu.index = next
                return stop(.halted)
            }
            if cpu.hasForeignPageTables {
                // Not even the next instruction can be fetched.
                cpu.outsideRIP = program.addresses[Int(cpu.index)] &+ UInt64(site.pointee.length)
                cpu.index = -1
                return .next
            }
        case .verw:
            // ZF tells whether the segment can be written; that CPU buffers are cleared has no architectural effect.
            let selector =
                site.pointee.form == .register ? self[site.pointee.register] : try loadOperand(site, .word)
            let isWritable = verifiesForWriting(UInt16(truncatingIfNeeded: selector))
            cpu.flags = isWritable ? cpu.flags | Flags.zero : cpu.flags & ~Flags.zero
        case .lsl:
            let isRegister = site.pointee.form == .registerToRegister
            let selector = isRegister ? self[site.pointee.source] : try loadOperand(site, .word)
            let limit = visibleLimit(UInt16(truncatingIfNeeded: selector))
            if let limit { setRegister(site.pointee.register, UInt64(limit), width) }
            cpu.flags = limit != nil ? cpu.flags | Flags.zero : cpu.flags & ~Flags.zero
        case .rdfsbase, .rdgsbase, .wrfsbase, .wrgsbase:
            try baseAccess(site.pointee)
        case .movFromSegment:
            let value = UInt64(segmentSelector(site.pointee.special))
            if site.pointee.form == .memory {
                try storeOperand(value, site, .word, owner: Owner(.data, activation: activation))
            } else {
                setRegister(site.pointee.register, value, width)
            }
        case .movToSegment:
            let selector = site.pointee.form == .memory ? try loadOperand(site, .word) : self[site.pointee.register]
            try loadSegment(site.pointee.special, UInt16(truncatingIfNeeded: selector))
        case .cpuid:
            // No leaf says anything: entry code executes CPUID to serialise only.
            self[.rax] = 0
            self[.rbx] = 0
            self[.rcx] = 0
            self[.rdx] = 0
            cost.serialisingInstructions &+= 1
        case .rdtsc, .rdtscp:
            self[.rax] = UInt64(stepNumber)
            self[.rdx] = 0
            // TSC_AUX: Linux keeps the processor's number there, and there is one processor.
            if site.pointee.opcode == .rdtscp { self[.rcx] = 0 }
        case .ud2: throw Fault(Vector.invalidOpcode)
        case .int3, .int:
            softwareInterruptIndex = cpu.index
            cpu.index = next
            let isBreakpoint = site.pointee.opcode == .int3
            return stop(
                .softwareInterrupt(
                    vector: isBreakpoint ? Vector.breakpoint : UInt8(truncatingIfNeeded: site.pointee.immediate)))
        case .iret:
            return try interruptReturn(site, program)
        case .syscall, .sysret, .sysenter, .sysexit:
            return try fastSystemCall(site.pointee, program)
        default:
            throw Fault(Vector.invalidOpcode)
        }
        cpu.index = next
        return .next
    }

    /// PUSH and POP of 16 bits: the prefix 66 in 64-bit mode.
    @inline(never)
    mutating func pushOrPopWord(_ site: Site) throws(Fault) -> Progress {
        let rsp = self[.rsp]
        if site.pointee.opcode == .push {
            try pushWord(try source(site, .word))
        } else {
            let value = try load(rsp, .word, isStack: true)
            self[.rsp] = rsp &+ 2
            do throws(Fault) {
                try setDestination(site, value, .word)
            } catch {
                self[.rsp] = rsp
                throw error
            }
        }
        cpu.index &+= 1
        return .next
    }

    private mutating func pushWord(_ value: UInt64) throws(Fault) {
        let address = self[.rsp] &- 2
        try store(value, at: address, .word, owner: Owner(.data, activation: activation), isStack: true)
        self[.rsp] = address
    }

    /// CLI and STI need CPL <= IOPL; under Xen PV the guest kernel has IOPL and they do nothing that matters
    /// (facts F4, F16: the live IF stays 1).
    private func requireIOPrivilege() throws(Fault) {
        if cpu.cpl > UInt8((cpu.flags & Flags.iopl) >> 12) { throw .generalProtection() }
    }

    /// POPF as the current privilege allows (SDM vol. 2, POPF).
    private mutating func loadFlags(_ value: UInt64, _ width: Width) {
        var loadable = Flags.loadable & ~Flags.resume & width.mask
        if cpu.cpl != 0 {
            loadable &= ~Flags.iopl
            if cpu.cpl > UInt8((cpu.flags & Flags.iopl) >> 12) { loadable &= ~Flags.interrupt }
        }
        cpu.flags = (cpu.flags & ~loadable) | (value & loadable) | Flags.alwaysOne
    }

    // MARK: Arithmetic

    private mutating func arithmetic(_ site: Site) throws(Fault) {
        let width = site.pointee.width
        let opcode = site.pointee.opcode
        switch opcode {
        case .adc, .sbb:
            let left = try destination(site, width, willWrite: true)
            let right = try source(site, width)
            let carry = cpu.flags & Flags.carry
            let isAdd = opcode == .adc
            try setDestination(site, isAdd ? left &+ right &+ carry : left &- right &- carry, width)
            _ = isAdd ? add(left, right, carry: carry, width) : subtract(left, right, borrow: carry, width)
        case .not:
            try setDestination(site, ~(try destination(site, width, willWrite: true)), width)
        case .neg:
            let value = try destination(site, width, willWrite: true)
            try setDestination(site, 0 &- value, width)
            _ = subtract(0, value, borrow: 0, width)
        case .inc, .dec:
            let value = try destination(site, width, willWrite: true)
            try setDestination(site, opcode == .inc ? value &+ 1 : value &- 1, width)
            let carry = cpu.flags & Flags.carry
            _ = opcode == .inc ? add(value, 1, carry: 0, width) : subtract(value, 1, borrow: 0, width)
            cpu.flags = (cpu.flags & ~Flags.carry) | carry
        case .shl, .shr, .sar, .rol, .ror:
            try shift(site)
        case .bt, .bts, .btr, .btc:
            try bitTest(site)
        case .xchg:
            try exchange(site)
        case .movzx:
            let value = try source(site, site.pointee.sourceWidth) & site.pointee.sourceWidth.mask
            setRegister(site.pointee.register, value, width)
        case .movsx:
            let value = try source(site, site.pointee.sourceWidth)
            setRegister(site.pointee.register, site.pointee.sourceWidth.signExtend(value), width)
        case .cmov:
            let value = try source(site, width)
            // A 32-bit CMOV clears the upper half even when the condition is false (SDM vol. 2, CMOVcc).
            let register = site.pointee.register
            setRegister(register, holds(site.pointee.condition) ? value : self[register], width)
        case .set:
            try setDestination(site, holds(site.pointee.condition) ? 1 : 0, .byte)
        default: break
        }
    }

    private mutating func exchange(_ site: Site) throws(Fault) {
        let width = site.pointee.width
        let register = site.pointee.register
        let left = try destination(site, width, willWrite: true)
        if site.pointee.form == .registerToRegister {
            let other = site.pointee.source
            let right = self[other]
            setRegister(register, right, width)
            setRegister(other, left, width)
        } else {
            try storeOperand(self[register], site, width, owner: ownerOfRegister(register))
            setRegister(register, left, width)
        }
    }

    private mutating func shift(_ site: Site) throws(Fault) {
        let width = site.pointee.width
        let bits = width.bits
        let opcode = site.pointee.opcode
        let rawCount = site.pointee.source == .rcx ? self[.rcx] : UInt64(bitPattern: site.pointee.immediate)
        let count = rawCount & (width == .quad ? 63 : 31)
        let value = try destination(site, width, willWrite: true) & width.mask
        if count == 0 {
            // No flag changes, but a 32-bit register is written and loses its upper half (SDM vol. 1, 3.4.1.1).
            try setDestination(site, value, width)
            return
        }
        var flags = cpu.flags
        let result: UInt64
        var carry: Bool
        switch opcode {
        case .shl:
            result = count >= 64 ? 0 : (value << count) & width.mask
            carry = count <= bits && (value >> (bits - count)) & 1 != 0
        case .shr:
            result = value >> count
            carry = (value >> (count - 1)) & 1 != 0
        case .sar:
            let extended = Int64(bitPattern: width.signExtend(value))
            result = UInt64(bitPattern: extended >> Int64(min(count, 63))) & width.mask
            carry = (extended >> Int64(min(count - 1, 63))) & 1 != 0
        case .rol:
            let by = count % bits
            result = by == 0 ? value : ((value << by) | (value >> (bits - by))) & width.mask
            carry = result & 1 != 0
        default:
            let by = count % bits
            result = by == 0 ? value : ((value >> by) | (value << (bits - by))) & width.mask
            carry = result & width.signBit != 0
        }
        try setDestination(site, result, width)
        let isRotate = opcode == .rol || opcode == .ror
        flags &= ~(Flags.carry | Flags.overflow)
        if carry { flags |= Flags.carry }
        let overflow: Bool =
            switch opcode {
            case .shl, .rol: (result & width.signBit != 0) != carry
            case .shr: value & width.signBit != 0
            case .ror: (result & width.signBit != 0) != (result & (width.signBit >> 1) != 0)
            default: false
            }
        if count == 1 && overflow { flags |= Flags.overflow }
        if !isRotate {
            flags &= ~(Flags.zero | Flags.sign | Flags.parity | Flags.adjust)
            if result == 0 { flags |= Flags.zero }
            if result & width.signBit != 0 { flags |= Flags.sign }
            flags |= parityFlag(result)
        }
        cpu.flags = flags
    }

    private mutating func bitTest(_ site: Site) throws(Fault) {
        let width = site.pointee.width
        let form = site.pointee.form
        let usesMemory = form == .registerToMemory || form == .immediateToMemory
        let isChange = site.pointee.opcode != .bt
        var bit: UInt64
        switch form {
        case .registerToRegister: bit = self[site.pointee.source]
        case .registerToMemory: bit = self[site.pointee.register]
        default: bit = UInt64(bitPattern: site.pointee.immediate)
        }
        var address = usesMemory ? effectiveAddress(site) : 0
        if form == .registerToMemory {
            // A register offset reaches beyond the operand, signed (SDM vol. 2, BT).
            let offset = Int64(bitPattern: width.signExtend(bit))
            address = address &+ UInt64(bitPattern: (offset >> 3) & ~Int64(width.rawValue - 1))
        }
        bit &= width.bits - 1
        let isStack = usesStack(site)
        let value =
            usesMemory
            ? try load(address, width, isStack: isStack, willWrite: isChange) : self[site.pointee.register]
        let mask: UInt64 = 1 << bit
        if isChange {
            let changed =
                switch site.pointee.opcode {
                case .bts: value | mask
                case .btr: value & ~mask
                default: value ^ mask
                }
            if usesMemory {
                try store(
                    changed, at: address, width, owner: Owner(.data, activation: activation), isStack: isStack)
            } else {
                setRegister(site.pointee.register, changed, width)
            }
        }
        cpu.flags = value & mask != 0 ? cpu.flags | Flags.carry : cpu.flags & ~Flags.carry
    }
}

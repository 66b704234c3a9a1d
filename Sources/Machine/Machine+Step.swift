/// Where an instruction stands: hot code reads its fields in place, since copying 56 bytes costs as much as executing most.
typealias Site = UnsafePointer<Instruction>

/// What `execute` did; anything but progress is described in `Machine.stopped`.
enum Progress: UInt8 {
    case next, stop
}

extension Machine {
    /// Executes until something other than `next` happens or `stepNumber` reaches the limit.
    ///
    /// Debug traps of an instruction are due before the next one, data breakpoints and single step together; after MOV SS
    /// they wait one instruction more (SDM vol. 3, 6.8.3 and 6.9).
    package mutating func run(_ program: Program, stepLimit: UInt32) -> Outcome {
        let first = stepNumber
        defer { cost.instructions &+= UInt64(stepNumber &- first) }
        return program.code.withUnsafeBufferPointer { code in
            while stepNumber < stepLimit {
                if case .stop = stepInside(code, program) { return stopped }
            }
            return .stepLimit
        }
    }

    /// Executes one instruction, or reports why it cannot.
    package mutating func step(_ program: Program) -> Outcome {
        let first = stepNumber
        defer { cost.instructions &+= UInt64(stepNumber &- first) }
        return program.code.withUnsafeBufferPointer { code in
            if case .stop = stepInside(code, program) { return stopped }
            return .next
        }
    }

    @inline(__always)
    mutating func stepInside(_ code: UnsafeBufferPointer<Instruction>, _ program: Program) -> Progress {
        let pending = cpu.pendingDebug
        if pending != 0 && !cpu.stackShadow {
            cpu.pendingDebug = 0
            return stop(.debugTrap(pending))
        }
        let index = cpu.index
        guard UInt32(bitPattern: index) < UInt32(truncatingIfNeeded: code.count), let base = code.baseAddress else {
            return stop(.fault(fetchFault(instructionPointer(program))))
        }
        let site = base + Int(index)
        let before = cpu.flags & (Flags.trap | Flags.resume)
        cpu.stackShadow = false
        cpu.interruptShadow = false
        do throws(Fault) {
            let progress = try executeShortcut(site, program)
            if case .stop = progress, case .model = stopped { return .stop }
            stepNumber &+= 1
            if before != 0 { finishTrapOrResume(site.pointee.opcode, before) }
            if site.pointee.isLast && cpu.index == index &+ 1 { leaveCode(site, from: index, program) }
            return progress
        } catch {
            cpu.index = index
            // A breakpoint of an instruction that faulted is met again when the instruction is restarted.
            cpu.pendingDebug = pending
            return stop(.fault(error))
        }
    }

    /// The next instruction of the list does not follow in memory: RIP points behind the one that was executed.
    @inline(never)
    private mutating func leaveCode(_ site: Site, from index: Int32, _ program: Program) {
        switch site.pointee.opcode {
        // These may have gone to that next instruction on purpose.
        case .jcc where holds(site.pointee.condition): return
        case .syscall where !traits.isParavirtual: return
        case .sysenter where !traits.isParavirtual: return
        default: break
        }
        cpu.index = -1
        cpu.outsideRIP = program.addresses[Int(index)] &+ UInt64(site.pointee.length)
    }

    /// Ends `step` with an outcome.
    @inline(never)
    mutating func stop(_ outcome: Outcome) -> Progress {
        stopped = outcome
        return .stop
    }

    /// Single step and RF after an instruction that completed.
    @inline(never)
    private mutating func finishTrapOrResume(_ opcode: Opcode, _ before: UInt64) {
        if before & Flags.trap != 0 && !cpu.stackShadow {
            switch opcode {
            // INT n clears TF before a trap could be taken; the caller delivers it (SDM vol. 3, 17.3.1.4).
            case .int3, .int: break
            // These look at TF as they leave it, see there.
            case .syscall, .sysret: break
            // Xen takes the trap on its own first instructions and drops it (Xen x86/traps.c, do_debug).
            case .sysenter where traits.isParavirtual: break
            default: cpu.pendingDebug |= DebugStatus.singleStep
            }
        }
        // RF is cleared once an instruction completes, except by IRET (SDM vol. 3, 17.3.1.1).
        if opcode != .iret { cpu.flags &= ~Flags.resume }
    }

    /// The fault of fetching an instruction where there is no code.
    package func fetchFault(_ address: UInt64) -> Fault {
        if !Machine.isCanonical(address) { return .generalProtection() }
        let map = cpu.pageMap
        let isMapped = memory.translate(address)?.attributes.contains(map) ?? false
        return Fault(
            Vector.pageFault, errorCode: 0x10 | (isMapped ? 1 : 0) | (isKernelMode ? 0 : 4), address: address)
    }

    @inline(__always)
    mutating func effectiveAddress(_ site: Site) -> UInt64 {
        let address = offset(site)
        switch site.pointee.memory.segment {
        case .gs: return address &+ cpu.gsBase
        case .fs: return address &+ cpu.fsBase
        default: return address
        }
    }

    /// The address within the segment.
    @inline(__always)
    mutating func offset(_ site: Site) -> UInt64 {
        let address = UInt64(bitPattern: site.pointee.memory.displacement) &+ self[site.pointee.memory.base]
        if site.pointee.memory.index == .none { return address }
        return address &+ self[site.pointee.memory.index] &* UInt64(site.pointee.memory.scale)
    }

    /// A reference through SS; overrides other than FS and GS mean nothing in 64-bit mode (SDM vol. 1, 3.4.2.1).
    @inline(__always)
    func usesStack(_ site: Site) -> Bool {
        let base = site.pointee.memory.base
        let segment = site.pointee.memory.segment
        return (base == .rsp || base == .rbp) && segment != .fs && segment != .gs
    }

    @inline(__always)
    mutating func loadOperand(_ site: Site, _ width: Width, willWrite: Bool = false) throws(Fault) -> UInt64 {
        try load(effectiveAddress(site), width, isStack: usesStack(site), willWrite: willWrite)
    }

    @inline(__always)
    mutating func storeOperand(_ value: UInt64, _ site: Site, _ width: Width, owner: Owner) throws(Fault) {
        try store(value, at: effectiveAddress(site), width, owner: owner, isStack: usesStack(site))
    }

    /// Writes a register: 32-bit writes clear the upper half, narrower ones keep the rest (SDM vol. 1, 3.4.1.1).
    @inline(__always)
    mutating func setRegister(_ register: Register, _ value: UInt64, _ width: Width) {
        switch width {
        case .quad: self[register] = value
        case .long: self[register] = value & 0xFFFF_FFFF
        case .word: self[register] = (self[register] & ~0xFFFF) | (value & 0xFFFF)
        case .byte: self[register] = (self[register] & ~0xFF) | (value & 0xFF)
        }
    }

    /// The owner of a general register's value that is stored unchanged.
    @inline(__always)
    func ownerOfRegister(_ register: Register) -> Owner {
        Owner(.savedRegister, slot: register.rawValue, activation: activation)
    }

    /// The source operand's value.
    @inline(__always)
    mutating func source(_ site: Site, _ width: Width) throws(Fault) -> UInt64 {
        switch site.pointee.form {
        case .registerToRegister: self[site.pointee.source]
        case .registerToMemory, .register, .indirectRegister: self[site.pointee.register]
        case .memoryToRegister, .memory, .indirectMemory: try loadOperand(site, width)
        default: UInt64(bitPattern: site.pointee.immediate)
        }
    }

    /// The destination operand's present value.
    @inline(__always)
    mutating func destination(_ site: Site, _ width: Width, willWrite: Bool) throws(Fault) -> UInt64 {
        switch site.pointee.form {
        case .registerToMemory, .immediateToMemory, .memory: try loadOperand(site, width, willWrite: willWrite)
        default: self[site.pointee.register]
        }
    }

    /// Writes a result that was computed.
    @inline(__always)
    mutating func setDestination(_ site: Site, _ value: UInt64, _ width: Width) throws(Fault) {
        switch site.pointee.form {
        case .registerToMemory, .immediateToMemory, .memory:
            try storeOperand(value, site, width, owner: Owner(.data, activation: activation))
        default:
            setRegister(site.pointee.register, value, width)
        }
    }

    @inline(__always)
    private mutating func move(_ site: Site) throws(Fault) {
        let width = site.pointee.width
        switch site.pointee.form {
        case .registerToRegister: setRegister(site.pointee.register, self[site.pointee.source], width)
        case .memoryToRegister: setRegister(site.pointee.register, try loadOperand(site, width), width)
        case .registerToMemory:
            let register = site.pointee.register
            try storeOperand(self[register], site, width, owner: ownerOfRegister(register))
        case .immediateToRegister: setRegister(site.pointee.register, UInt64(bitPattern: site.pointee.immediate), width)
        default:
            try storeOperand(
                UInt64(bitPattern: site.pointee.immediate), site, width, owner: Owner(.data, activation: activation))
        }
    }

    @inline(never)
    mutating func execute(_ site: Site, _ program: Program) throws(Fault) -> Progress {
        let width = site.pointee.width
        let next = cpu.index &+ 1
        switch site.pointee.opcode {
        case .mov: try move(site)
        case .push:
            if width == .word { return try pushOrPopWord(site) }
            switch site.pointee.form {
            case .register:
                try push(self[site.pointee.register], owner: ownerOfRegister(site.pointee.register))
            case .immediate:
                try push(UInt64(bitPattern: site.pointee.immediate), owner: Owner(.immediate, activation: activation))
            default:
                let value = try loadOperand(site, .quad)
                let address = effectiveAddress(site)
                let owner = ownerForCopy(from: address)
                try push(value, owner: owner)
            }
        case .pop:
            if width == .word { return try pushOrPopWord(site) }
            let rsp = self[.rsp]
            let value = try load(rsp, .quad, isStack: true)
            self[.rsp] = rsp &+ 8
            if site.pointee.form == .register {
                self[site.pointee.register] = value
            } else {
                // The address of a memory destination is computed after RSP was incremented (SDM vol. 2, POP).
                do throws(Fault) {
                    try storeOperand(value, site, .quad, owner: ownerForCopy(from: rsp))
                } catch {
                    self[.rsp] = rsp
                    throw error
                }
            }
        case .test:
            let result = try destination(site, width, willWrite: false) & source(site, width) & width.mask
            setLogicFlags(result, width)
        case .cmp:
            let left = try destination(site, width, willWrite: false)
            _ = subtract(left, try source(site, width), borrow: 0, width)
        // Results are stored before flags are set: a store that faults leaves the flags alone.
        case .add:
            let left = try destination(site, width, willWrite: true)
            let right = try source(site, width)
            try setDestination(site, left &+ right, width)
            _ = add(left, right, carry: 0, width)
        case .sub:
            let left = try destination(site, width, willWrite: true)
            let right = try source(site, width)
            try setDestination(site, left &- right, width)
            _ = subtract(left, right, borrow: 0, width)
        case .and, .or, .xor:
            let left = try destination(site, width, willWrite: true)
            let right = try source(site, width)
            let result =
                switch site.pointee.opcode {
                case .and: left & right
                case .or: left | right
                default: left ^ right
                }
            try setDestination(site, result, width)
            setLogicFlags(result & width.mask, width)
        case .jcc:
            let taken = holds(site.pointee.condition)
            if taken { branch(site, program) } else { cpu.index = next }
            return stopAtBranches ? stop(.branch(instruction: next &- 1, taken: taken)) : .next
        case .jmp:
            if site.pointee.form == .target {
                branch(site, program)
            } else {
                jump(to: try indirectTarget(site), program)
            }
            return .next
        case .call:
            let target = site.pointee.form == .target ? 0 : try indirectTarget(site)
            let returnAddress = program.addresses[Int(next &- 1)] &+ UInt64(site.pointee.length)
            try push(returnAddress, owner: Owner(.returnAddress, activation: activation))
            if site.pointee.form == .target { branch(site, program) } else { jump(to: target, program) }
            return .next
        case .ret:
            let target = try load(self[.rsp], .quad, isStack: true)
            if !Machine.isCanonical(target) { throw .generalProtection() }
            self[.rsp] = self[.rsp] &+ 8 &+ UInt64(bitPattern: site.pointee.immediate)
            jump(to: target, program)
            return .next
        case .model:
            // C code is not mapped in the user half of the page tables (PTI maps entry text only).
            if cpu.pageMap != .kernelMap && site.pointee.immediate != Program.gapModel {
                throw Fault(
                    Vector.pageFault, errorCode: 0x10 | (isKernelMode ? 0 : 4),
                    address: program.addresses[Int(cpu.index)])
            }
            return stop(.model(Int(site.pointee.immediate)))
        case .lea:
            setRegister(site.pointee.register, offset(site), width)
        case .nop, .pause, .endbr64: break
        default:
            return try executeUncommon(site, program)
        }
        cpu.index = next
        return .next
    }

    @inline(__always)
    private mutating func branch(_ site: Site, _ program: Program) {
        if site.pointee.target >= 0 {
            cpu.index = site.pointee.target
        } else {
            jump(to: UInt64(bitPattern: site.pointee.immediate), program)
        }
    }

    @inline(__always)
    private mutating func indirectTarget(_ site: Site) throws(Fault) -> UInt64 {
        let target = try source(site, .quad)
        if !Machine.isCanonical(target) { throw .generalProtection() }
        return target
    }
}

/// What became of one instruction.
package enum Outcome: Sendable, Hashable {
    /// Executed; go on.
    case next
    /// A conditional jump was executed and the caller asked to see those.
    case branch(instruction: Int32, taken: Bool)
    /// The instruction faulted; architectural state is as before it.
    case fault(Fault)
    /// INT3 or INT n was executed; RIP is behind it and the event waits for delivery.
    case softwareInterrupt(vector: UInt8)
    /// A debug trap is due; the value holds the DR6 bits.
    case debugTrap(UInt64)
    /// The body of a C function was reached; RIP is at the pseudo-instruction.
    case model(Int)
    /// SYSCALL under Xen PV: a hypercall from the guest kernel, a system call from user mode. RIP is behind it.
    case paravirtualSyscall
    /// SYSENTER in user mode under Xen PV. RIP is behind it.
    case paravirtualSysenter
    /// IRET, SYSRET or SYSEXIT was executed; the value is the address of the frame that was read, 0 for the latter two.
    case returned(frame: UInt64)
    /// HLT.
    case halted
    /// The step limit was reached.
    case stepLimit
}

/// One x86-64 processor with its memory: executes a program instruction by instruction.
///
/// Events are not delivered by `step`: the caller decides whether the bare-metal rules (`deliver`) or Xen's apply.
package struct Machine: Sendable {
    package var cpu: Processor
    package var memory: Memory
    package let traits: ProcessorTraits
    package var idt: [Gate]
    /// The IST of the #DB gate in the ordinary IDT; kernels that shift it load another IDT for a while.
    package var debugGateIST: UInt8 = 0
    /// How many times the IDT without that IST was asked for (Linux 5.2 `arch/x86/kernel/traps.c`, `debug_idt_ctr`).
    package var debugTableUsers = 0
    /// Bit n: vector n has no IST in that table either.
    package var debugTableVectors: UInt32 = 0
    package var gdt: [Descriptor?]
    package var ldt: [Descriptor?]
    package var cost = Cost()
    /// Instructions executed so far; stamps the words that are written.
    package var stepNumber: UInt32 = 0
    /// The activation whose code runs: 0 is the interrupted program.
    package var activation: UInt32 = 0
    /// Bit n: activation n has not returned yet (activations above 63 share bit 63).
    package var liveActivations: UInt64 = 1
    /// RSP of each activation below 63 when it was interrupted last; 0 if it never was.
    package var interruptedAt: [UInt64] = Array(repeating: 0, count: 63)
    /// Index of the latest INT n or INT3 that was executed.
    package var softwareInterruptIndex: Int32 = -1
    /// What ended the latest call of `step`, where that was not plain progress.
    var stopped = Outcome.next
    /// IF as it was when the latest IRET, SYSRET or SYSEXIT began.
    package var interruptsWereEnabledAtReturn = false
    /// Report every conditional jump as an outcome.
    package var stopAtBranches = false
    /// Registers that the innermost nested path has looked at.
    package var registerUse = RegisterUse()
    /// What the running nested events carry of RSP and RIP.
    package var carriedContexts = CarriedContexts()
    /// What the kernel must have done before it executes a RET.
    package var returnGuard = ReturnGuard.none
    /// Index of the routine that untrains the return predictor.
    package var untrainingIndex: Int32 = -2
    /// The first RET of the kernel before that; -1 if there was none.
    package var unguardedReturn: Int32 = -1
    /// Keep the writes of each step in `writes`.
    package var isTracing = false
    /// Writes of the latest step while tracing.
    package var writes: [(address: UInt64, value: UInt64, width: Width)] = []

    package init(traits: ProcessorTraits, memory: Memory) {
        self.traits = traits
        self.memory = memory
        cpu = Processor()
        idt = Array(repeating: Gate(), count: 256)
        gdt = Array(repeating: nil, count: 16)
        ldt = []
    }

    /// RIP.
    package func instructionPointer(_ program: Program) -> UInt64 {
        let index = Int(cpu.index)
        if index < 0 { return cpu.outsideRIP }
        if index < program.addresses.count { return program.addresses[index] }
        // Behind the last instruction of all.
        return program.addresses.last.map { $0 &+ UInt64(program.instructions[index - 1].length) } ?? cpu.outsideRIP
    }

    /// Continues at an address.
    ///
    /// Code in the upper half is the kernel's: user mode that goes there faults at its first fetch.
    @inline(__always)
    package mutating func jump(to address: UInt64, _ program: Program) {
        cpu.index = address >> 63 == 0 || isKernelMode ? program.index(at: address) : -1
        if cpu.index < 0 { cpu.outsideRIP = address }
    }

    /// The mode is the kernel's: CPL 0, or the kernel of a PV guest.
    @inline(__always)
    package var isKernelMode: Bool { cpu.cpl == 0 || cpu.guestKernelMode }

    /// Whether an activation has not returned yet.
    @inline(__always)
    package func isLive(_ activation: UInt32) -> Bool { liveActivations >> UInt64(min(activation, 63)) & 1 != 0 }

    /// Returns may be executed: the guard that this kernel relies on is in place.
    package var guardsReturns: Bool {
        switch returnGuard {
        case .none: true
        case .restriction: cpu.speculationControl & 1 != 0
        case .untraining: cpu.hasUntrained
        }
    }

    @inline(never)
    mutating func noteReturn(_ index: Int32) {
        if unguardedReturn < 0 && isKernelMode && !guardsReturns { unguardedReturn = index }
    }

    @inline(never)
    mutating func noteUntraining() { cpu.hasUntrained = true }

    /// Notes where the running activation is interrupted: its words further down that stack are dead.
    package mutating func noteInterruption() {
        if activation < 63 { interruptedAt[Int(activation)] = self[.rsp] }
    }

    // MARK: Memory access by the running code

    /// Whether bits 63…47 are all equal (four-level paging, SDM vol. 1, 3.3.7.1).
    @inline(__always)
    package static func isCanonical(_ address: UInt64) -> Bool {
        let top = Int64(bitPattern: address) >> 47
        return top == 0 || top == -1
    }

    @inline(__always)
    private mutating func physical(_ address: UInt64, isWrite: Bool, isStack: Bool) throws(Fault) -> Int {
        if let (offset, attributes) = memory.translate(address) {
            // The common case in one comparison: mapped here, a kernel page, writable if need be.
            let map = cpu.pageMap
            let wanted = map.rawValue | (isWrite ? PageAttributes.writable.rawValue : 0)
            let looked = wanted | PageAttributes.user.rawValue
            if attributes.rawValue & looked == wanted && isKernelMode { return offset }
        }
        return try checkedPhysical(address, isWrite: isWrite, isStack: isStack)
    }

    /// All access rights (SDM vol. 3, 4.6.1). CR0.WP and EFER.NXE are set in every kernel that is modelled.
    @inline(never)
    private mutating func checkedPhysical(_ address: UInt64, isWrite: Bool, isStack: Bool) throws(Fault) -> Int {
        let supervisor = isKernelMode
        let rights: UInt32 = (isWrite ? 2 : 0) | (supervisor ? 0 : 4)
        if !Machine.isCanonical(address) {
            // SDM vol. 3, 6.15: a non-canonical stack reference is #SS(0), any other #GP(0).
            throw Fault(isStack ? Vector.stackSegment : Vector.generalProtection)
        }
        let map = cpu.pageMap
        guard let (offset, attributes) = memory.translate(address), attributes.contains(map) else {
            // A page that is there, and that the access is not allowed to (SDM vol. 3, 4.7, bit P of the error code).
            let isThere = (isWrite || !supervisor) && memory.isReadOnly(address, map)
            throw Fault(Vector.pageFault, errorCode: (isThere ? 1 : 0) | rights, address: address)
        }
        let isUserPage = attributes.contains(.user)
        let isBarredBySMAP =
            isUserPage && cpu.cpl == 0 && traits.smap && cpu.flags & Flags.alignmentCheck == 0
        if (isWrite && !attributes.contains(.writable)) || (!supervisor && !isUserPage) || isBarredBySMAP {
            throw Fault(Vector.pageFault, errorCode: 1 | rights, address: address)
        }
        return offset
    }

    /// Reads as the running code would.
    ///
    /// - Parameter willWrite: The instruction writes the operand back: a page fault says so at once, as the processor
    ///   asks for write access first (Bochs `read_RMW_virtual`).
    @inline(__always)
    package mutating func load(
        _ address: UInt64, _ width: Width, isStack: Bool = false, willWrite: Bool = false
    ) throws(Fault) -> UInt64 {
        cost.memoryWords &+= 1
        let offset = try physical(address, isWrite: willWrite, isStack: isStack)
        if cpu.watchedAddress != 0 { noteAccess(address, width, isWrite: false) }
        if memory.hasOverwrites { memory.noteRead(atOffset: offset, by: activation) }
        if memory.tracking.isOn { memory.trackRead(atOffset: offset) }
        if width == .quad && offset & 7 == 0 { return memory.word(atOffset: offset) }
        return try loadPart(address, offset, width, isStack: isStack, isWrite: willWrite)
    }

    @inline(never)
    private mutating func loadPart(
        _ address: UInt64, _ offset: Int, _ width: Width, isStack: Bool, isWrite: Bool
    ) throws(Fault) -> UInt64 {
        try checkAlignment(address, width)
        let size = Int(width.rawValue)
        let shift = UInt64(offset & 7) * 8
        let low = memory.word(atOffset: offset) >> shift
        if offset & 7 + size <= 8 { return low & width.mask }
        let next = try physical((address & ~7) &+ 8, isWrite: isWrite, isStack: isStack)
        if memory.hasOverwrites { memory.noteRead(atOffset: next, by: activation) }
        if memory.tracking.isOn { memory.trackRead(atOffset: next) }
        let high = memory.word(atOffset: next) << (64 - shift)
        return (low | high) & width.mask
    }

    /// #AC for user code that asked for it (SDM vol. 3, 6.15, interrupt 17); CR0.AM is set.
    private mutating func checkAlignment(_ address: UInt64, _ width: Width) throws(Fault) {
        if cpu.cpl == 3 && cpu.flags & Flags.alignmentCheck != 0 && address & UInt64(width.rawValue - 1) != 0 {
            throw Fault(Vector.alignmentCheck)
        }
    }

    /// Writes as the running code would.
    @inline(__always)
    package mutating func store(
        _ value: UInt64, at address: UInt64, _ width: Width, owner: Owner, isStack: Bool = false
    ) throws(Fault) {
        cost.memoryWords &+= 1
        let offset = try physical(address, isWrite: true, isStack: isStack)
        if width == .quad && offset & 7 == 0 {
            put(value, at: address, offset: offset, owner: owner)
        } else {
            try storePart(value, at: address, offset, width, owner: owner, isStack: isStack)
        }
        if cpu.watchedAddress != 0 { noteAccess(address, width, isWrite: true) }
        if isTracing { writes.append((address, value & width.mask, width)) }
    }

    /// Data breakpoints are traps after the access (SDM vol. 3, 17.2.4).
    @inline(never)
    private mutating func noteAccess(_ address: UInt64, _ width: Width, isWrite: Bool) {
        cpu.pendingDebug |= cpu.watchHit(address, width, isWrite: isWrite)
    }

    /// Reads an aligned quadword of kernel memory, the most frequent access by far; anything else takes `load`.
    @inline(never)
    package mutating func loadQuad(_ address: UInt64, isStack: Bool) throws(Fault) -> UInt64 {
        if address & 7 == 0 && cpu.watchedAddress == 0 && !memory.hasOverwrites && isKernelMode {
            let map = cpu.pageMap
            if let offset = memory.plainOffset(address, wanted: map) {
                cost.memoryWords &+= 1
                if memory.tracking.isOn { memory.trackRead(atOffset: offset) }
                return memory.word(atOffset: offset)
            }
        }
        return try load(address, .quad, isStack: isStack)
    }

    /// Writes an aligned quadword of kernel memory; anything else takes `store`.
    @inline(never)
    package mutating func storeQuad(_ value: UInt64, at address: UInt64, owner: Owner, isStack: Bool) throws(Fault) {
        if address & 7 == 0 && cpu.watchedAddress == 0 && !isTracing && isKernelMode {
            let map = cpu.pageMap
            if let offset = memory.plainOffset(address, wanted: [map, .writable]) {
                cost.memoryWords &+= 1
                put(value, at: address, offset: offset, owner: owner)
                return
            }
        }
        try store(value, at: address, .quad, owner: owner, isStack: isStack)
    }

    @inline(__always)
    private mutating func put(_ value: UInt64, at address: UInt64, offset: Int, owner: Owner) {
        let old = memory.owner(atOffset: offset)
        if old.isFrameOrSavedRegister && isLive(old.activation) {
            noteOverwrite(value, at: address, offset: offset, old: old, new: owner)
        }
        memory.setWord(value, atOffset: offset, owner: owner, step: stepNumber)
    }

    /// Records a write onto a word that a live activation still needs.
    @inline(never)
    private mutating func noteOverwrite(_ value: UInt64, at address: UInt64, offset: Int, old: Owner, new: Owner) {
        let oldValue = memory.word(atOffset: offset)
        if oldValue == value { return }
        if isDead(address, of: old.activation) {
            // Below its stack pointer a word is given up; a loss it is only if the owner returns by it all the same.
            let mayMatter = memory.recordsGivenUpWords && old.kind == .hardwareFrame && old.activation != activation
            if !mayMatter { return }
        }
        memory.record(
            Overwrite(
                address: address, word: Int32(truncatingIfNeeded: offset >> 3), oldOwner: old, newOwner: new,
                oldValue: oldValue, newValue: value, step: stepNumber, instruction: cpu.index, wasRead: false))
    }

    /// Words below the stack pointer of their activation are dead by the stack discipline, on that stack only.
    package mutating func isDead(_ address: UInt64, of owner: UInt32) -> Bool {
        let top = owner == activation ? cpu[.rsp] : owner < 63 ? interruptedAt[Int(owner)] : 0
        return address < top && top &- address <= Machine.stackLimit_bytes
            && memory.isInOneRegion(from: address, to: top &- 1)
    }

    /// No kernel stack is larger (Linux THREAD_SIZE with KASAN: 64 KiB).
    private static let stackLimit_bytes: UInt64 = 65536

    @inline(never)
    private mutating func storePart(
        _ value: UInt64, at address: UInt64, _ offset: Int, _ width: Width, owner: Owner, isStack: Bool
    ) throws(Fault) {
        try checkAlignment(address, width)
        let size = Int(width.rawValue)
        let shift = UInt64(offset & 7) * 8
        let crosses = offset & 7 + size > 8
        let next = crosses ? try physical((address & ~7) &+ 8, isWrite: true, isStack: isStack) : 0
        let mask = width.mask << shift
        // What is kept of the word is read.
        if memory.tracking.isOn { memory.trackRead(atOffset: offset) }
        let merged = (memory.word(atOffset: offset) & ~mask) | ((value << shift) & mask)
        // A partial write does not change what the word is for, unless it had no use yet.
        let kept = memory.owner(atOffset: offset)
        put(merged, at: address & ~7, offset: offset, owner: kept == .free ? owner : kept)
        if crosses {
            if memory.tracking.isOn { memory.trackRead(atOffset: next) }
            let highMask = width.mask >> (64 - shift)
            let high = (memory.word(atOffset: next) & ~highMask) | ((value >> (64 - shift)) & highMask)
            let keptHigh = memory.owner(atOffset: next)
            put(high, at: (address & ~7) &+ 8, offset: next, owner: keptHigh == .free ? owner : keptHigh)
        }
    }

    /// Pushes as the running code would; RSP changes only if the write succeeds.
    @inline(__always)
    package mutating func push(_ value: UInt64, owner: Owner) throws(Fault) {
        let address = self[.rsp] &- 8
        try storeQuad(value, at: address, owner: owner, isStack: true)
        self[.rsp] = address
    }

    /// Owner of the word that a copy from memory would carry on.
    @inline(__always)
    package func ownerForCopy(from address: UInt64) -> Owner {
        guard address & 7 == 0, let (offset, _) = memory.translate(address) else {
            return Owner(.data, activation: activation)
        }
        let owner = memory.owner(atOffset: offset)
        return owner.isFrameOrSavedRegister ? owner : Owner(.data, activation: activation)
    }
}

extension Width {
    /// Ones in the bits that the width covers; computed, since a table of four would be a jump in the hot loop.
    @inline(__always)
    package var mask: UInt64 { UInt64.max &>> (64 &- bits) }

    /// The sign bit of the width.
    @inline(__always)
    package var signBit: UInt64 { 1 &<< (bits &- 1) }

    @inline(__always)
    package var bits: UInt64 { UInt64(rawValue) &* 8 }

    /// Sign-extends a value of this width to 64 bits.
    @inline(__always)
    package func signExtend(_ value: UInt64) -> UInt64 {
        let shift = 64 - bits
        return UInt64(bitPattern: Int64(bitPattern: value << shift) >> Int64(shift))
    }
}

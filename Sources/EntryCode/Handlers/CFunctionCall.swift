package import Machine
package import XenPV

/// What every C function does, whatever it is for: the calling convention of the System V AMD64 ABI and `current`.
package enum CFunctionCall {
    /// Words that a C function writes below its return address.
    package static let frameWords: UInt64 = 6
    /// Bytes by which RSP is lower inside of it: its words, and what aligns them to 16.
    package static let frame_bytes: UInt64 = 56
    /// The same where the compiler has instrumented it (KCSAN): with it `fixup_bad_iret` overflowed what an entry stack of 512
    /// bytes has left, 288 bytes (Linux commit c7aadc09321d, x86/entry: Increase entry_stack size to a full page). How much it
    /// takes in fact nobody wrote down; this is the least that agrees.
    package static let instrumentedFrame_bytes: UInt64 = 320
    /// What caller-saved registers hold after a call: nothing that a caller may rely on.
    package static let clobber: UInt64 = 0xFFFF_DEAD_0000_0000

    /// Enters the function: local variables on the stack, `current` through the GS base.
    ///
    /// Faults are those of the kernel's own code: the caller raises them at the function's first instruction.
    ///
    /// - Parameters:
    ///   - currentTaskOffset: Where `current` lies in the per-CPU area.
    ///   - stack_bytes: How far down it writes, where that is more than its words.
    package static func enter(
        _ machine: inout Machine, currentTaskOffset: UInt64, stack_bytes: UInt64 = 0
    ) throws(Fault) {
        let rsp = machine[.rsp]
        let owner = Owner(.functionFrame, activation: machine.activation)
        for index in 1...frameWords {
            try machine.storeQuad(clobber &+ index, at: rsp &- index &* 8, owner: owner, isStack: true)
        }
        if stack_bytes > frame_bytes {
            try machine.storeQuad(clobber, at: (rsp &- stack_bytes) & ~7, owner: owner, isStack: true)
        }
        _ = try perCPU(currentTaskOffset, &machine)
    }

    /// Reads a per-CPU word the way C does: relative to the GS base, whatever that is.
    package static func perCPU(_ offset: UInt64, _ machine: inout Machine) throws(Fault) -> UInt64 {
        try machine.loadQuad(machine.cpu.gsBase &+ offset, isStack: false)
    }

    /// Leaves the function: caller-saved registers and arithmetic flags change, RAX holds the result, RET is next.
    package static func leave(_ machine: inout Machine, result: UInt64 = clobber) {
        func spoil(_ register: Register) { machine[register] = clobber | UInt64(register.rawValue) }
        spoil(.rcx)
        spoil(.rdx)
        spoil(.rsi)
        spoil(.rdi)
        spoil(.r8)
        spoil(.r9)
        spoil(.r10)
        spoil(.r11)
        machine[.rax] = result
        machine.cpu.flags = (machine.cpu.flags & ~Flags.arithmetic) | Flags.sign
        machine.cpu.index &+= 1
        machine.stepNumber &+= 1
    }

    /// `local_irq_enable` and `local_irq_disable`.
    package static func setInterrupts(
        enabled: Bool, _ machine: inout Machine, _ hypervisor: inout Hypervisor?
    ) {
        if hypervisor != nil {
            hypervisor?.setEventsMasked(!enabled, &machine)
        } else if enabled {
            machine.cpu.flags |= Flags.interrupt
        } else {
            machine.cpu.flags &= ~Flags.interrupt
        }
    }

    /// Traced code may fault on memory of its own: the fault address of the event is lost to later readers.
    package static func clobberFaultAddress(_ machine: inout Machine, _ hypervisor: Hypervisor?) {
        machine.cpu.cr2 = tracedAddress
        if let hypervisor {
            machine.memory.poke(tracedAddress, at: hypervisor.vcpuInfo &+ 16, step: machine.stepNumber)
        }
    }

    /// The address that a page fault inside traced code leaves behind.
    package static let tracedAddress: UInt64 = 0x7F00_7ACE_0000

    /// The fault address as C reads it: CR2, or its copy in `vcpu_info` under Xen.
    package static func faultAddress(_ machine: Machine, _ hypervisor: Hypervisor?) -> UInt64 {
        if let hypervisor { return machine.memory.peek(hypervisor.vcpuInfo &+ 16) ?? 0 }
        return machine.cpu.cr2
    }

    /// Copies words with their owners, as a structure assignment does; overlapping stretches are copied as by memmove.
    package static func copy(
        words: Int, from source: UInt64, to destination: UInt64, _ machine: inout Machine
    ) throws(Fault) {
        guard source != destination else { return }
        var values: [(UInt64, Owner)] = []
        values.reserveCapacity(max(words, 0))
        for index in 0..<UInt64(max(words, 0)) {
            let address = source &+ index &* 8
            let owner = machine.ownerForCopy(from: address)
            values.append((try machine.load(address, .quad), owner))
        }
        for (index, (value, owner)) in values.enumerated() {
            try machine.store(value, at: destination &+ UInt64(index) &* 8, .quad, owner: owner)
        }
    }
}

package import Machine

/// Behaviour that changed between releases of Xen, as far as a PV guest sees it.
package enum XenVersion: String, Sendable, Hashable, CaseIterable {
    /// A faulting IRET to the guest comes back through the failsafe callback (up to Xen 4.6, facts F12, F23).
    case v4_6 = "4.6"
    /// A faulting IRET is replayed into the guest with its vector and error code (Xen 4.7 and later, fact F19).
    case v4_17 = "4.17"

    /// What happens to a fault of the IRET that leaves Xen.
    package var replaysFaultingReturn: Bool { self != .v4_6 }
}

/// One row of the trap table that a guest hands to Xen (public/arch-x86/xen.h, `struct trap_info`).
package struct TrapTableEntry: Sendable, Hashable {
    package var address: UInt64
    /// Bits 0-1 of the flags: lowest privilege that may raise it by INT n.
    package var privilege: UInt8
    /// Bit 2 of the flags: the event mask is set on delivery.
    package var masksEvents: Bool

    package init(address: UInt64, privilege: UInt8, masksEvents: Bool) {
        self.address = address
        self.privilege = privilege
        self.masksEvents = masksEvents
    }
}

/// Why Xen ended the domain; there is no event that a guest could handle.
package struct DomainCrash: Sendable, Hashable {
    package enum Reason: UInt8, Sendable, Hashable {
        /// No handler is registered for the vector.
        case unhandledVector
        /// The exception frame could not be written.
        case frameNotWritable
        /// The frame of the iret hypercall could not be read.
        case returnFrameNotReadable
        /// The callback that would be needed is not registered.
        case missingCallback
        /// An instruction of Xen's own raised the exception: the whole host goes down.
        case hypervisorFault
    }

    package var reason: Reason
    package var vector: UInt8
    /// The error code as Xen prints it: ffffffff where the vector has none.
    package var errorCode: UInt32
    package var address: UInt64
    /// The word of the frame that could not be written, or the address that could not be read.
    package var place: UInt64 = 0
    /// Number of that word from RCX, the lowest, as Xen numbers its stores.
    package var word = 0

    package init(reason: Reason, vector: UInt8, errorCode: UInt32, address: UInt64) {
        self.reason = reason
        self.vector = vector
        self.errorCode = errorCode
        self.address = address
    }

    /// The same with the word that could not be accessed.
    func at(_ place: UInt64, word: Int = 0) -> DomainCrash {
        var copy = self
        copy.place = place
        copy.word = word
        return copy
    }
}

/// What became of an event for the guest.
package enum GuestDelivery: Sendable, Hashable {
    /// The first instruction of the registered handler is next.
    case entered(event: Event, frame: UInt64)
    /// The event waits, and the guest goes on.
    case held(Event)
    case crashed(DomainCrash)
}

/// What became of a hypercall.
package enum HypercallResult: Sendable, Hashable {
    /// The iret hypercall left for its target; the value is the address of the slot RIP in the frame it read.
    case returned(frame: UInt64)
    /// The target was bad; an exception or the failsafe callback was delivered instead.
    case returnFaulted(frame: UInt64, fault: Fault, delivery: GuestDelivery)
    /// Another hypercall; the guest goes on behind it.
    case `continue`
    case crashed(DomainCrash)
}

/// The part of Xen that a 64-bit PV guest's entry code meets on one virtual CPU.
///
/// Frames, masks and modes are those of Xen's `create_bounce_frame`, `do_iret` and `toggle_guest_mode`
/// (xen/arch/x86/x86_64/entry.S, x86/pv/iret.c, x86/pv/domain.c), as recorded in facts F1 to F23.
package struct Hypervisor: Sendable {
    package var version: XenVersion
    /// Ways in which it differs from that release.
    package var quirks: Set<Quirk> = []
    /// 256 rows; nil where the guest registered nothing.
    package var trapTable: [TrapTableEntry?]
    package var eventCallback: UInt64?
    package var failsafeCallback: UInt64?
    package var syscallCallback: UInt64?
    /// SYSCALL from 32-bit code, on hosts of AMD; SYSENTER, on hosts of Intel.
    package var syscall32Callback: UInt64?
    package var sysenterCallback: UInt64?
    /// Stack that the guest registered with `stack_switch`; used for every entry from user mode.
    package var kernelStack: UInt64 = 0
    /// Address of the guest's `vcpu_info`: byte 0 pending, byte 1 mask, word at 16 CR2.
    package var vcpuInfo: UInt64 = 0
    /// An NMI was delivered and the guest has not executed the iret hypercall since.
    package var nmiMasked = false
    /// The latest word of a frame that could not be written: its address, and its number as Xen numbers its stores.
    var unwritten: (place: UInt64, word: Int) = (0, 0)
    /// An exception that the next return to the guest delivers again.
    var latched: Event?
    /// A virtual machine check was delivered and the guest has not executed the iret hypercall since.
    package var isInMachineCheck = false
    /// The event mask as it was when the latest iret hypercall began.
    package var eventsWereMaskedAtReturn = true

    /// Number of the iret hypercall (public/xen.h, `__HYPERVISOR_iret`).
    package static let iretNumber: UInt64 = 23
    /// `VGCF_in_syscall` (public/arch-x86/xen-x86_64.h).
    package static let inSyscallFlag: UInt64 = 1 << 8
    package static let codeSelector: UInt16 = 0xE033
    package static let compatCodeSelector: UInt16 = 0xE023
    package static let stackSelector: UInt16 = 0xE02B

    package init(version: XenVersion) {
        self.version = version
        trapTable = Array(repeating: nil, count: 256)
    }

    /// The latched exception, which is then latched no more.
    package mutating func takeLatched() -> Event? {
        defer { latched = nil }
        return latched
    }

    // MARK: Event mask

    /// `evtchn_upcall_mask`, from the first word of `vcpu_info`.
    package static func masksEvents(_ firstWord: UInt64?) -> Bool { ((firstWord ?? 0) >> 8) & 0xFF != 0 }

    package func setEventsMasked(_ masked: Bool, _ machine: inout Machine) {
        let word = machine.memory.peek(vcpuInfo) ?? 0
        machine.memory.poke((word & ~0xFF00) | (masked ? 0x100 : 0), at: vcpuInfo, step: machine.stepNumber)
    }

    func setGuestCR2(_ address: UInt64, _ machine: inout Machine) {
        machine.memory.poke(address, at: vcpuInfo &+ 16, step: machine.stepNumber)
        machine.cpu.cr2 = address
    }

    // MARK: Modes

    /// Xen's `toggle_guest_mode`: GS bases and page tables change with the guest's mode (fact F15).
    package func toggleMode(_ machine: inout Machine) {
        machine.cpu.guestKernelMode.toggle()
        // What programs set by WRGSBASE is in the register alone; the kernel's idea of it starts out as zero.
        if machine.cpu.guestKernelMode && quirks.contains(.cachesUserGSBase) { machine.cpu.gsBase = 0 }
        swap(&machine.cpu.gsBase, &machine.cpu.kernelGSBase)
        machine.cpu.cr3 ^= machine.cpu.userHalfBit
    }
}

/// What differs between processors and the way the kernel set them up: data of the platform.
package struct ProcessorTraits: Sendable, Hashable {
    package enum Vendor: UInt8, Sendable, Hashable { case intel, amd }

    package var vendor: Vendor
    /// The guest kernel runs in ring 3 under Xen; instructions then meet the privilege checks of CPL 3.
    package var isParavirtual: Bool
    /// CR4.SMAP.
    package var smap: Bool
    /// CR4.FSGSBASE.
    package var fsgsbase: Bool
    /// The processor has the Meltdown bug: SMAP does not stop speculative accesses (CVE-2017-5754).
    package var meltdown: Bool
    /// SWAPGS does not stop speculation (CVE-2019-1125).
    package var swapgsSpeculates: Bool
    /// SYSRET to a non-canonical RIP faults in CPL 0 (Intel) rather than after the switch to CPL 3 (AMD).
    package var sysretFaultsInKernel: Bool

    package init(
        vendor: Vendor, isParavirtual: Bool = false, smap: Bool = false, fsgsbase: Bool = false, meltdown: Bool = false,
        swapgsSpeculates: Bool = false, sysretFaultsInKernel: Bool? = nil
    ) {
        self.vendor = vendor
        self.isParavirtual = isParavirtual
        self.smap = smap
        self.fsgsbase = fsgsbase
        self.meltdown = meltdown
        self.swapgsSpeculates = swapgsSpeculates
        self.sysretFaultsInKernel = sysretFaultsInKernel ?? (vendor == .intel)
    }
}

/// What keeps a kernel's returns from being steered by what user code has taught the predictors (CVE-2022-29900 and
/// CVE-2022-29901).
package enum ReturnGuard: UInt8, Sendable, Hashable {
    case none
    /// SPEC_CTRL.IBRS is set while the kernel runs.
    case restriction
    /// A routine untrains the predictor before the first RET.
    case untraining
}

/// A segment descriptor, as far as loads of CS and SS look at it.
package struct Descriptor: Sendable, Hashable {
    package var isCode: Bool
    package var privilege: UInt8
    package var isPresent: Bool
    /// L bit of a code segment.
    package var isLong: Bool
    /// D/B bit.
    package var isBig: Bool
    /// Writable data.
    package var isWritable: Bool
    /// The highest offset, which 64-bit mode does not look at but LSL gives away.
    package var limit: UInt32

    package init(
        isCode: Bool, privilege: UInt8, isPresent: Bool = true, isLong: Bool = false, isBig: Bool = true,
        isWritable: Bool = true, limit: UInt32 = .max
    ) {
        self.isCode = isCode
        self.privilege = privilege
        self.isPresent = isPresent
        self.isLong = isLong
        self.isBig = isBig
        self.isWritable = isWritable
        self.limit = limit
    }
}

/// One entry of the interrupt descriptor table (SDM vol. 3, 6.14.1).
///
/// `Gate()` is an entry that nobody filled in: all bits zero, so that its type is no gate's.
package struct Gate: Sendable, Hashable {
    package var offset: UInt64
    package var selector: UInt16
    /// 0 or 1…7.
    package var ist: UInt8
    package var privilege: UInt8
    package var isPresent: Bool
    /// An interrupt gate clears IF, a trap gate does not.
    package var isInterruptGate: Bool

    package init(
        offset: UInt64 = 0, selector: UInt16 = 0x10, ist: UInt8 = 0, privilege: UInt8 = 0, isPresent: Bool = false,
        isInterruptGate: Bool = true
    ) {
        self.offset = offset
        self.selector = selector
        self.ist = ist
        self.privilege = privilege
        self.isPresent = isPresent
        self.isInterruptGate = isInterruptGate
    }

    /// The type field is a gate's; an entry of zeroes is not one.
    package var hasGateType: Bool { isPresent || offset != 0 }
}

/// Model-specific registers that entry code uses (SDM vol. 4).
package enum MSR {
    package static let fsBase: UInt32 = 0xC000_0100
    package static let gsBase: UInt32 = 0xC000_0101
    package static let kernelGSBase: UInt32 = 0xC000_0102
    package static let star: UInt32 = 0xC000_0081
    package static let lstar: UInt32 = 0xC000_0082
    package static let cstar: UInt32 = 0xC000_0083
    package static let syscallMask: UInt32 = 0xC000_0084
    package static let efer: UInt32 = 0xC000_0080
    package static let sysenterCS: UInt32 = 0x174
    package static let sysenterESP: UInt32 = 0x175
    package static let sysenterEIP: UInt32 = 0x176
    package static let speculationControl: UInt32 = 0x48
    package static let predictionCommand: UInt32 = 0x49
}

/// Counts of what a run cost (no cycles are invented).
package struct Cost: Sendable, Hashable {
    package var instructions: UInt64 = 0
    package var memoryWords: UInt64 = 0
    package var msrAccesses: UInt64 = 0
    package var cr3Writes: UInt64 = 0
    package var hypervisorEntries: UInt64 = 0
    package var serialisingInstructions: UInt64 = 0

    package init() {}
}

/// Architectural state of the one processor, without memory: small enough to copy for snapshots.
package struct Processor: Sendable {
    /// The sixteen general registers, then two that read as zero for absent base and index registers.
    package var registers: InlineArray<18, UInt64> = InlineArray(repeating: 0)
    /// Index of the next instruction, or -1 when RIP points at no known code.
    package var index: Int32 = -1
    /// RIP; while `index >= 0` it is derived from the program and this field may be stale.
    package var outsideRIP: UInt64 = 0
    package var flags: UInt64 = Flags.alwaysOne
    package var cs: UInt16 = 0x10
    package var ss: UInt16 = 0x18
    package var ds: UInt16 = 0
    package var es: UInt16 = 0
    package var fs: UInt16 = 0
    package var gs: UInt16 = 0
    package var cpl: UInt8 = 0
    package var fsBase: UInt64 = 0
    package var gsBase: UInt64 = 0
    package var kernelGSBase: UInt64 = 0
    package var cr0: UInt64 = 0x8005_0033
    package var cr2: UInt64 = 0
    package var cr3: UInt64 = 0 { didSet { selectPageTables() } }
    package var cr4: UInt64 = 0
    package var dr6: UInt64 = 0xFFFF_0FF0
    package var dr7: UInt64 = 0x400
    /// DR0, the one data watchpoint; DR7 decides whether it is armed (see `watch`).
    package var watchedAddress: UInt64 = 0
    package var nmiBlocked = false
    /// MOV SS or POP SS was the last instruction: debug traps and interrupts wait one instruction.
    package var stackShadow = false
    /// User code runs with the null segment that the kernel had in SS, whatever the selector says; 64-bit code does not notice.
    package var hasUnusableStack = false
    /// STI was the last instruction with IF clear before it.
    package var interruptShadow = false
    /// DR6 bits of debug traps that wait for delivery.
    package var pendingDebug: UInt64 = 0
    package var machineCheckInProgress = false
    /// Linear address of the TSS.
    package var tssBase: UInt64 = 0
    package var star: UInt64 = 0
    package var lstar: UInt64 = 0
    package var cstar: UInt64 = 0
    package var syscallMask: UInt64 = 0
    package var sysenterCS: UInt64 = 0
    package var sysenterESP: UInt64 = 0
    package var sysenterEIP: UInt64 = 0
    package var speculationControl: UInt64 = 0
    /// The return predictor was untrained since user code ran.
    package var hasUntrained = false
    /// CR3 was loaded with the user half so that its translations are flushed (bit 63 clear).
    package var hasFlushedUserHalf = false
    /// The bit of CR3 that selects the user half of a PTI pair; 0 without PTI.
    package var userHalfBit: UInt64 = 0 { didSet { selectPageTables() } }
    /// Where the page tables of the address space lie, the user half apart; 0 while none is set, and then CR3 is not
    /// compared.
    package var pageTableRoot: UInt64 = 0 { didSet { selectPageTables() } }
    /// What a page must have to be mapped by the page tables that CR3 selects.
    private(set) var pageMap = PageAttributes.kernelMap
    /// Xen PV: the guest is in its kernel mode (hardware CPL is 3 in both).
    package var guestKernelMode = false

    package init() {}

    /// Arms DR0 for data accesses to one, two, four or eight bytes (SDM vol. 3, 17.2.4: enable, R/W0 and LEN0 of DR7).
    package mutating func watch(_ address: UInt64, width: Width = .quad, writesOnly: Bool = false) {
        let length: UInt64 =
            switch width {
            case .byte: 0
            case .word: 1
            case .quad: 2
            case .long: 3
            }
        watchedAddress = address
        dr7 = (dr7 & ~(0xF << 16)) | (writesOnly ? 1 : 3) << 16 | length << 18 | 2
    }

    /// The DR6 bits of an access that the armed watchpoint sees, 0 if it sees none.
    package mutating func watchHit(_ address: UInt64, _ width: Width, isWrite: Bool) -> UInt64 {
        let kind = (dr7 >> 16) & 3
        guard dr7 & 3 != 0, kind == 3 || (kind == 1 && isWrite) else { return 0 }
        let lengths: InlineArray<4, UInt64> = [1, 2, 8, 4]
        let size = lengths[Int((dr7 >> 18) & 3)]
        let start = watchedAddress & ~(size - 1)
        return address < start &+ size && start < address &+ UInt64(width.rawValue) ? 1 : 0
    }

    /// DS, ES, FS and GS, 16 bits each from the lowest.
    package var dataSelectors: UInt64 { UInt64(ds) | UInt64(es) << 16 | UInt64(fs) << 32 | UInt64(gs) << 48 }

    /// A maskable interrupt can be taken at this instruction boundary (SDM vol. 3, 6.8.1 and 6.8.3).
    package var acceptsInterrupts: Bool { flags & Flags.interrupt != 0 && !interruptShadow && !stackShadow }

    /// An NMI can be taken at this instruction boundary (SDM vol. 3, 6.7.1 and 6.8.3).
    package var acceptsNMI: Bool { !nmiBlocked && !stackShadow }

    @inline(__always)
    package subscript(_ register: Register) -> UInt64 {
        get { registers[Int(register.rawValue)] }
        set { registers[Int(register.rawValue)] = newValue }
    }

    /// The user half of the page tables is loaded.
    @inline(__always)
    package var userPageTables: Bool { cr3 & userHalfBit != 0 }

    /// CR3 holds the address of something that is no page table of the address space: nothing is mapped.
    package var hasForeignPageTables: Bool { pageMap == .nowhere }

    private mutating func selectPageTables() {
        // Bits 51:12 are the address (SDM vol. 3, table 4-12).
        let address: UInt64 = 0x000F_FFFF_FFFF_F000
        if pageTableRoot != 0, (cr3 & address & ~userHalfBit) != pageTableRoot {
            pageMap = .nowhere
        } else {
            pageMap = userPageTables ? .userMap : .kernelMap
        }
    }
}

extension Machine {
    /// A general register, for the hot code.
    ///
    /// `cpu[register]` reads the same, but the compiler copies all of `registers` for it (144 bytes, Swift 6.3): reading in
    /// place makes the whole machine twice as fast. A register's number is below 18 by its type.
    @inline(__always)
    package subscript(register: Register) -> UInt64 {
        mutating get {
            withUnsafeMutableBytes(of: &cpu.registers) {
                $0.baseAddress.unsafelyUnwrapped.load(fromByteOffset: Int(register.rawValue) &* 8, as: UInt64.self)
            }
        }
        set {
            withUnsafeMutableBytes(of: &cpu.registers) {
                $0.baseAddress.unsafelyUnwrapped.storeBytes(
                    of: newValue, toByteOffset: Int(register.rawValue) &* 8, as: UInt64.self)
            }
        }
    }
}

import EntryCode
package import Machine
import XenPV

/// Values that the interrupted program holds in its registers; each is recognisable in a frame or a dump.
package enum InterruptedRegisters {
    /// The program's thread-local storage.
    package static let userFSBase: UInt64 = 0x0000_7F00_0071_5000

    package static func value(_ register: Register, isUser: Bool) -> UInt64 {
        switch register {
        // As in the measured frame of fact F2.
        case .rcx: return 0x1111_1111_1111_1111
        case .r11: return 0x2222_2222_2222_2222
        default:
            let number = UInt64(register.rawValue)
            return isUser ? 0x0000_5555_0000_0000 | number << 8 | number : 0xA5A5_0000_0000_0000 | number << 8 | number
        }
    }
}

extension ScenarioRun {
    /// The fault address of page faults: user code reads its own memory, the kernel its vmalloc area.
    package var faultAddress: UInt64 {
        if let place = image.foreignRIP(scenario.context) { return place }
        return scenario.context.isUser ? 0x0000_7F00_1234_5678 : 0xFFFF_C900_0012_3450
    }

    /// What a register holds in the interrupted code.
    func interruptedValue(_ register: Register, isUser: Bool) -> UInt64 {
        let own = image.table.machine.kernelRegisters
        if !isUser, !own.isEmpty, let value = own["\(register)"] { return value }
        return InterruptedRegisters.value(register, isUser: isUser)
    }

    /// Puts the processor into the interrupted context.
    mutating func setContext() {
        let context = scenario.context
        let isUser = context.isUser
        for register in Register.general where register != .rsp {
            machine[register] = interruptedValue(register, isUser: isUser)
        }
        let isXen = hypervisor != nil
        // The kernel keeps the FS base of the program that it works for; at boot, when the self test runs, there is none.
        machine.cpu.fsBase = scenario.probe == .selfTest ? 0 : InterruptedRegisters.userFSBase
        if isUser {
            machine.cpu.cs = 0x33
            machine.cpu.ss = 0x2B
            machine.cpu.cpl = 3
            machine.cpu.guestKernelMode = false
            machine.cpu.gsBase = layout.userGSBase
            machine.cpu.kernelGSBase = layout.perCPUBase
            machine.cpu.cr3 = layout.userCR3
            machine[.rsp] = layout.userStackPointer
            machine.cpu.flags =
                Flags.alwaysOne | Flags.interrupt | Flags.parity | Flags.zero | Flags.direction | Flags.alignmentCheck
                | Flags.nestedTask
        } else {
            machine.cpu.cs = isXen ? Hypervisor.codeSelector : 0x10
            machine.cpu.ss = isXen ? Hypervisor.stackSelector : 0x18
            machine.cpu.cpl = isXen ? 3 : 0
            machine.cpu.guestKernelMode = isXen
            machine.cpu.gsBase = layout.perCPUBase
            machine.cpu.kernelGSBase = layout.userGSBase
            machine.cpu.cr3 = layout.kernelCR3
            machine[.rsp] =
                context == .kernelBadStack
                ? layout.taskStack.base
                : context.isMisaligned ? image.table.machine.kernelRSPMisaligned : image.table.machine.kernelRSPAligned
            if scenario.probe == .selfTest, let test = image.table.machine.selfTest {
                machine[.rsp] = test.rsp &+ (context.isMisaligned ? 8 : 0)
                machine[.rdi] = layout.selfTestWord
            }
            machine.cpu.flags = Flags.alwaysOne | Flags.parity | Flags.zero
            if isXen || context.eventsOn { machine.cpu.flags |= Flags.interrupt }
            if context.isOnInterruptStack { setInterruptStack() }
            if context.isInNMI { setNMI() }
            if scenario.vector == Platform.kvmNMIVector { machine.cpu.nmiBlocked = true }
            // What the interrupted functions keep above their stack pointer.
            for index in 0..<8 as Range<UInt64> {
                let address = machine[.rsp] &+ index &* 8
                let value = 0xC0FF_EE00_0000_0000 | index
                if machine.memory.poke(value, at: address, owner: Owner(.interruptedContext)) {
                    stackExpectations.append((address, value, "the interrupted function's stack"))
                }
            }
        }
        if context == .user32 { setContext32() }
        if context.isHostile { setHostileValues() }
        if image.standIns.contains(scenario.vector) { setSelectors() }
        if !isUser {
            machine.cpu.hasUntrained = true
            if machine.returnGuard == .restriction { machine.cpu.speculationControl = 1 }
        }
        if pendingFlush != nil { setPendingFlush() }
        setCallNumber()
        setFastCall()
        setCallWork()
        setPreemption()
        setDebugging()
        hypervisor?.setEventsMasked(!context.eventsOn, &machine)
        machine.cpu.outsideRIP = 0
        interruptedRSP = machine[.rsp]
    }

    /// Raises the scenario's event, or starts the instruction that does.
    mutating func raise() {
        let vector = scenario.vector
        let isUser = scenario.context.isUser
        let raisesItself =
            vector == Vector.breakpoint || vector == Vector.overflow || vector == 0x80
            || scenario.probe == .softwareInterrupt || scenario.context == .kernelBadStack
            || image.isFastSystemCall(vector)
        eventIsPending = raisesItself && scenario.probe != .hostInterrupt
        if scenario.probe == .selfTest, let site = layout.selfTestSite {
            machine.jump(to: site, image.program)
            stopAddress = site &+ 5
            return
        }
        if scenario.context == .userEnd {
            eventIsPending = true
            // With no guard page the call returns to where no code can be: the return is meant to fault.
            expectsReturnFault = !Machine.isCanonical(image.table.machine.userEnd)
            machine.jump(to: layout.userLastCall, image.program)
            return
        }
        if let debuggedCode {
            eventIsPending = true
            machine.jump(to: debuggedCode, image.program)
            return
        }
        if scenario.probe == .loadGS, let function = layout.loadGS {
            callLoadGS(function)
            return
        }
        if scenario.context == .kernelBadStack {
            machine.jump(to: layout.kernelPush, image.program)
            return
        }
        if vector == Platform.kvmNMIVector && !isUser {
            machine.jump(to: layout.kernelCode, image.program)
            callHandler()
            return
        }
        if raisesItself && scenario.probe != .hostInterrupt {
            let sites = isUser ? layout.userInterrupt : layout.kernelInterrupt
            let isOther = isUser && scenario.probe == .softwareInterrupt
            let other = isOther ? layout.userOtherInterrupt[vector] : nil
            machine.jump(to: other ?? sites[vector] ?? 0, image.program)
            return
        }
        let place = image.foreignRIP(scenario.context) ?? (isUser ? layout.userCode : layout.kernelCode)
        machine.jump(to: place, image.program)
        deliver(event(vector: vector, isUser: isUser), isUnexpected: false)
    }

    /// The kernel has put off a flush of the user's translations to the next return (Linux 5.2 `arch/x86/mm/tlb.c`,
    /// `invalidate_user_asid`).
    mutating func setPendingFlush() {
        guard let mask = userFlushBit else { return }
        machine.memory.poke((machine.memory.peek(mask.word) ?? 0) | mask.bit, at: mask.word)
    }

    /// Where a flush of the user's translations is noted that is put off, if the scenario has one pending.
    var pendingFlush: (word: UInt64, bit: UInt64)? { scenario.probe == .pendingFlush ? userFlushBit : nil }

    private var userFlushBit: (word: UInt64, bit: UInt64)? {
        layout.userFlushMask.map { ($0 & ~7, 1 << (($0 & 7) * 8 + (layout.kernelCR3 & 0x7FF))) }
    }

    /// Writes some bytes of a per-CPU variable, which the context then holds so.
    mutating func setContextBytes(_ value: UInt64, at address: UInt64, size_bytes: UInt64) {
        for byte in 0..<size_bytes {
            let place = address &+ byte
            let shift = (place & 7) * 8
            let word = machine.memory.peek(place) ?? 0
            let changed = (word & ~(0xFF << shift)) | ((value >> (byte * 8)) & 0xFF) << shift
            machine.memory.poke(changed, at: place)
            contextWords[place & ~7] = changed
        }
    }

    /// A device's handler runs, or a softirq behind it.
    private mutating func setInterruptStack() {
        let stack = layout.interruptStack
        machine[.rsp] = stack.end &- 0x400 &+ (scenario.context.isMisaligned ? 8 : 0)
        // The word at the top leads back to the interrupted stack.
        expectWord(image.table.machine.kernelRSPAligned, at: stack.end &- 8, "the link of the interrupt stack")
        guard let mark = layout.interruptStackInUse else { return }
        setContextBytes(mark.value, at: mark.address, size_bytes: mark.size_bytes)
    }

    /// An NMI's handler runs: its frame, the mark and both copies of the frame stand at the top of the NMI's stack
    /// (Linux 5.2 `arch/x86/entry/entry_64.S`, `nmi`).
    private mutating func setNMI() {
        if hypervisor != nil {
            hypervisor?.nmiMasked = true
            return
        }
        machine.cpu.nmiBlocked = true
        let top = layout.nmiStackTop
        machine[.rsp] = top &- 0x200 &+ (scenario.context.isMisaligned ? 8 : 0)
        let frame: [UInt64] = [0x18, image.table.machine.kernelRSPAligned, 0x246, 0x10, layout.kernelCode]
        var words = frame.map { ($0, "the NMI's frame") }
        words.append((0, "the NMI's scratch word"))
        words.append((1, "the mark of the NMI that executes"))
        words += (frame + frame).map { ($0, "a copy of the NMI's frame") }
        for (index, word) in words.enumerated() {
            expectWord(word.0, at: top &- 8 &* UInt64(index + 1), word.1)
        }
    }

    /// Writes a word of the interrupted context, which must still hold it when the context resumes.
    private mutating func expectWord(_ value: UInt64, at address: UInt64, _ what: String) {
        machine.memory.poke(value, at: address, owner: Owner(.interruptedContext))
        stackExpectations.append((address, value, what))
    }

    /// The kernel calls its function that loads GS, with the selector of a segment that is not there any more.
    private mutating func callLoadGS(_ function: UInt64) {
        machine.cpu.kernelGSBase = ScenarioRun.userGSBase
        machine[.rdi] = scenario.vector == Vector.segmentNotPresent ? 0x0F : 0x53
        machine[.rsp] &-= 8
        stopAddress = layout.kernelCode
        machine.memory.poke(layout.kernelCode, at: machine[.rsp], owner: Owner(.returnAddress))
        eventIsPending = true
        machine.jump(to: function, image.program)
    }

    /// The GS base that the program had with its selector.
    static var userGSBase: UInt64 { 0x0000_7F00_0071_6000 }

    /// RSP or GS base as no ordinary program has them.
    private mutating func setHostileValues() {
        switch scenario.context {
        case .userTaskStack: machine[.rsp] = layout.taskStack.end &- 0x100
        case .userPerCPU: machine[.rsp] = layout.perCPUBase &+ layout.taskStackTopOffset &+ 8
        // Where an NMI would look for the mark of the first.
        case .userExceptionStack: machine[.rsp] = layout.nmiStackTop &- 0x40
        case .userNonCanonical: machine[.rsp] = 0x8000_0000_0000_0000
        case .userGS: machine.cpu.gsBase = 0x0000_7FFF_FFFF_EFFF
        case .userNegativeGS: machine.cpu.gsBase = 0xFFFF_8880_0000_0000
        case .userKernelGS: machine.cpu.gsBase = layout.perCPUBase
        default: break
        }
    }

    /// What a 32-bit program holds in its registers; R8 to R15, and the upper half of RAX, are as 64-bit code left them.
    private mutating func setContext32() {
        let low: [Register] = [.rcx, .rdx, .rbx, .rbp, .rsi, .rdi]
        for register in low { machine[register] &= 0xFFFF_FFFF }
        // A number that is negative as an int: it has 32 bits, and no sign to extend (fact F27).
        machine[.rax] |= 0x8000_0000
        machine.cpu.cs = 0x23
        // SYSENTER keeps the flags. One of NT, AC and TF is enough to have all of them cleared, and DF as well: so some
        // programs have but one of them, and some DF alone.
        if scenario.vector == Platform.sysenterVector {
            switch scenario.probe {
            case .signal, .singleStep: machine.cpu.flags &= ~(Flags.nestedTask | Flags.alignmentCheck)
            case .nestedTaskFlag: machine.cpu.flags &= ~Flags.alignmentCheck
            case .alignmentFlag: machine.cpu.flags &= ~Flags.nestedTask
            default: break
            }
        }
        machine[.rsp] = layout.userStackPointer32
        // As the vDSO does: EBP goes to the stack, and carries what the instruction loses.
        machine.memory.poke(
            0x5A5A_0505_5A5A_0505, at: layout.userStackPointer32, owner: Owner(.interruptedContext))
        switch scenario.vector {
        case Platform.sysenterVector: machine[.rbp] = machine[.rsp]
        case Platform.syscall32Vector: machine[.rbp] = machine[.rcx]
        default: break
        }
        if scenario.probe == .badUserStack {
            // Nothing is mapped there.
            machine[scenario.vector == Platform.sysenterVector ? .rbp : .rsp] = 0xDEAD_0000
        }
    }

    /// The selector that the failsafe scenarios load: of a segment in the GDT for thread-local storage (fact F39).
    private static var goneSelector: UInt16 { 0x63 }

    /// The interrupted code has a selector loaded that Xen will not be able to load again.
    private mutating func setSelectors() {
        switch scenario.probe {
        case .badDS: machine.cpu.ds = ScenarioRun.goneSelector
        case .badES: machine.cpu.es = ScenarioRun.goneSelector
        case .badFS: machine.cpu.fs = ScenarioRun.goneSelector
        case .badGS: machine.cpu.gs = ScenarioRun.goneSelector
        default: return
        }
        // Old kernels remember in EBX whether they came from user mode (CVE-2018-14678).
        if !scenario.context.isUser && (scenario.probe == .badES || scenario.probe == .badGS) { machine[.rbx] = 0 }
        // Linux up to 5.7 does its exit work here without a CLD.
        machine.cpu.flags &= ~Flags.direction
    }

    @inline(__always)
    private func event(vector: UInt8, isUser: Bool) -> Event {
        if image.deviceVectors.contains(vector) || scenario.probe == .hostInterrupt {
            return Event(vector: vector, source: .external)
        }
        switch vector {
        case Vector.nmi: return Event(vector: vector, source: .nmi)
        case Vector.debug: return Event(vector: vector, source: .trap, debugBits: 0x4000)
        case Vector.machineCheck, Vector.doubleFault: return Event(vector: vector, source: .trap)
        case Platform.failsafeVector where image.standIns.contains(vector):
            return Event(vector: vector, source: .trap)
        case Vector.pageFault:
            // A write to what is not mapped, or the fetch of an instruction that is not the program's.
            let errorCode: UInt32 = scenario.context.hasForeignRIP ? 0x15 : isUser ? 6 : 2
            return Event(vector: vector, source: .fault, errorCode: errorCode, address: faultAddress)
        case Vector.invalidTSS, Vector.segmentNotPresent, Vector.stackSegment, Vector.generalProtection:
            return Event(vector: vector, source: .fault, errorCode: 0x64)
        default: return Event(vector: vector, source: .fault)
        }
    }

    /// Interrupts, or a PV guest's events, are disabled.
    @inline(__always)
    var eventsAreMasked: Bool {
        guard let vcpuInfo = hypervisor?.vcpuInfo else { return machine.cpu.flags & Flags.interrupt == 0 }
        return Hypervisor.masksEvents(machine.memory.peek(vcpuInfo))
    }

    /// They were when the latest return began.
    var returnedWithEventsMasked: Bool {
        hypervisor?.eventsWereMaskedAtReturn ?? !machine.interruptsWereEnabledAtReturn
    }

    /// The processor's present state as an event would save it.
    @inline(__always)
    package func savedContext() -> SavedContext {
        SavedContext(
            registers: machine.cpu.registers, rip: machine.instructionPointer(image.program), cs: machine.cpu.cs,
            ss: machine.cpu.ss, flags: machine.cpu.flags, dataSelectors: machine.cpu.dataSelectors,
            fsBase: machine.cpu.fsBase, gsBase: machine.cpu.gsBase,
            kernelGSBase: machine.cpu.kernelGSBase, cr3: machine.cpu.cr3, isKernelMode: machine.isKernelMode,
            eventsMasked: eventsAreMasked,
            nmiBlocked: hypervisor?.nmiMasked ?? machine.cpu.nmiBlocked,
            speculationControl: machine.cpu.speculationControl)
    }
}

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
    package var faultAddress: UInt64 { scenario.context.isUser ? 0x0000_7F00_1234_5678 : 0xFFFF_C900_0012_3450 }

    /// Puts the processor into the interrupted context.
    mutating func setContext() {
        let context = scenario.context
        let isUser = context.isUser
        for register in Register.general where register != .rsp {
            machine[register] = InterruptedRegisters.value(register, isUser: isUser)
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
        setDebugging()
        hypervisor?.setEventsMasked(!context.eventsOn, &machine)
        machine.cpu.outsideRIP = 0
    }

    /// Raises the scenario's event, or starts the instruction that does.
    mutating func raise() {
        let vector = scenario.vector
        let isUser = scenario.context.isUser
        let raisesItself =
            vector == Vector.breakpoint || vector == Vector.overflow || vector == 0x80
            || scenario.probe == .softwareInterrupt || scenario.context == .kernelBadStack
            || image.isFastSystemCall(vector)
        eventIsPending = raisesItself
        if scenario.probe == .selfTest, let site = layout.selfTestSite {
            machine.jump(to: site, image.program)
            stopAddress = site &+ 5
            return
        }
        if let debuggedCode {
            eventIsPending = true
            machine.jump(to: debuggedCode, image.program)
            return
        }
        if scenario.context == .kernelBadStack {
            machine.jump(to: layout.kernelPush, image.program)
            return
        }
        if raisesItself {
            let sites = isUser ? layout.userInterrupt : layout.kernelInterrupt
            machine.jump(to: sites[vector] ?? 0, image.program)
            return
        }
        machine.jump(to: isUser ? layout.userCode : layout.kernelCode, image.program)
        deliver(event(vector: vector, isUser: isUser), isUnexpected: false)
    }

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

    /// What a 32-bit program holds in its registers; R8 to R15 are as 64-bit code left them.
    private mutating func setContext32() {
        let low: [Register] = [.rax, .rcx, .rdx, .rbx, .rbp, .rsi, .rdi]
        for register in low { machine[register] &= 0xFFFF_FFFF }
        machine.cpu.cs = 0x23
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
        // Linux up to 5.7 does its exit work here without a CLD.
        machine.cpu.flags &= ~Flags.direction
    }

    @inline(__always)
    private func event(vector: UInt8, isUser: Bool) -> Event {
        if image.deviceVectors.contains(vector) { return Event(vector: vector, source: .external) }
        switch vector {
        case Vector.nmi: return Event(vector: vector, source: .nmi)
        case Vector.debug: return Event(vector: vector, source: .trap, debugBits: 0x4000)
        case Vector.machineCheck, Vector.doubleFault: return Event(vector: vector, source: .trap)
        case Platform.failsafeVector where image.standIns.contains(vector):
            return Event(vector: vector, source: .trap)
        case Vector.pageFault:
            return Event(
                vector: vector, source: .fault, errorCode: isUser ? 6 : 2, address: faultAddress)
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
            nmiBlocked: hypervisor?.nmiMasked ?? machine.cpu.nmiBlocked)
    }
}

import EntryCode
import Machine
import XenPV

extension ScenarioRun {
    /// What every path can read of the processor at an instruction boundary, whatever it is.
    mutating func processorKey(inBody: Bool) -> UInt64 {
        var sum = UInt64(UInt32(bitPattern: machine.cpu.index)) | (inBody ? 1 << 40 : 0)
        if machine.cpu.index < 0 { sum = Explorer.mix(sum, machine.cpu.outsideRIP) }
        sum = Explorer.mix(sum, machine.cpu.flags & ~Flags.arithmetic)
        sum = Explorer.mix(
            sum, UInt64(machine.cpu.cs) | UInt64(machine.cpu.ss) << 16 | UInt64(machine.cpu.cpl) << 32)
        sum = Explorer.mix(sum, machine.cpu.dataSelectors)
        sum = Explorer.mix(sum, machine.cpu.fsBase)
        sum = Explorer.mix(sum, machine.cpu.gsBase)
        sum = Explorer.mix(sum, machine.cpu.kernelGSBase)
        sum = Explorer.mix(sum, machine.cpu.cr3)
        sum = Explorer.mix(sum, machine.cpu.dr7 ^ machine.cpu.watchedAddress << 20)
        sum = Explorer.mix(
            sum, machine.cpu.pendingDebug ^ machine.cpu.dr6 << 32 ^ machine.cpu.speculationControl << 8)
        var bits: UInt64 = machine.cpu.nmiBlocked ? 1 : 0
        if machine.cpu.stackShadow { bits |= 2 }
        if machine.cpu.interruptShadow { bits |= 4 }
        if machine.cpu.machineCheckInProgress { bits |= 8 }
        if machine.cpu.guestKernelMode { bits |= 16 }
        if let hypervisor {
            if hypervisor.nmiMasked { bits |= 32 }
            // Xen looks at the mask without the guest's code.
            if Hypervisor.masksEvents(machine.memory.peek(hypervisor.vcpuInfo)) { bits |= 128 }
        }
        if machine.cpu.hasUntrained { bits |= 64 }
        bits |= UInt64(machine.idt[Int(Vector.debug)].ist) << 8
        bits |= UInt64(clamping: machine.debugTableUsers) << 16
        sum = Explorer.mix(sum, bits)
        return Explorer.mix(sum, interruptedKinds())
    }

    /// What a nested event, and the rules that look at it, can tell of the events that it interrupts.
    private mutating func interruptedKinds() -> UInt64 {
        // Which of those that admit no other of their kind are unfinished, and how far NMIs have come.
        var bits: UInt64 = 0
        var sum: UInt64 = 0
        for index in activations.indices {
            switch activations[index].event.vector {
            case Vector.debug: bits |= activations[index].isInjected ? 1 : 2
            case Vector.breakpoint: bits |= 4
            case Vector.machineCheck: bits |= 8
            case Vector.doubleFault: bits |= 16
            case Vector.virtualization: bits |= 256
            // Its address is lost to a nested fault while its handler has not read it.
            case Vector.pageFault where activations[index].handlerCalls == 0: bits |= 32
            default: break
            }
            if activations[index].isUnexpected { bits |= 64 }
            if activations[index].event.source == .nmi {
                let calls = UInt64(min(activations[index].handlerCalls, 3))
                sum = Explorer.mix(sum, 1 | calls << 4 | UInt64(activations[index].openNMIs.rawValue) << 8)
            }
        }
        // An NMI is told of what it came between: code of its own, or of an exception inside it.
        let isInNMI = activations.last?.event.source == .nmi
        return Explorer.mix(sum, bits | (isInNMI ? 128 : 0))
    }
}

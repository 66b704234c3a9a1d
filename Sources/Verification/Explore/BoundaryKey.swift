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
        sum = Explorer.mix(sum, machine[.rsp])
        for index in activations.indices { sum = Explorer.mix(sum, kindKey(index)) }
        return sum
    }

    /// What a nested event, and the rules that look at it, can tell of an event that it interrupts.
    private mutating func kindKey(_ index: Int) -> UInt64 {
        let vector = activations[index].event.vector
        let source = activations[index].event.source
        var bits = UInt64(source.rawValue) | (activations[index].isUnexpected ? 16 : 0)
        switch vector {
        case Vector.debug, Vector.breakpoint, Vector.machineCheck, Vector.doubleFault, Vector.nmi:
            bits |= UInt64(vector) << 8
        // Its address is lost to a nested fault while its handler has not read it.
        case Vector.pageFault: bits |= (activations[index].handlerCalls == 0 ? 1 : 0) << 16
        default: break
        }
        if source == .nmi { bits |= UInt64(min(activations[index].handlerCalls, 3)) << 20 }
        bits |= UInt64(activations[index].openNMIs.rawValue) << 24 | (activations[index].isInjected ? 1 << 28 : 0)
        return bits
    }
}

import EntryCode
import Machine
import XenPV

extension ScenarioRun {
    /// What kind of code is at a place: this and no more of the interrupted RIP is looked at by the rules of exploration.
    enum CodeKind: UInt64 {
        case none
        case entryCode
        /// A C function that entry code calls for help.
        case helper
        case eventHandler

        var isC: Bool { self == .helper || self == .eventHandler }
    }

    func codeKind(at index: Int32) -> CodeKind {
        guard index >= 0, Int(index) < program.instructions.count else { return .none }
        let instruction = program.instructions[Int(index)]
        let number = Int(instruction.immediate)
        guard instruction.opcode == .model, image.functions.indices.contains(number) else { return .entryCode }
        return image.functions[number].model.isEventHandler ? .eventHandler : .helper
    }

    /// The code of an unfinished event that was interrupted, or that runs now if none came after it.
    func currentCodeKind(ofActivation index: Int) -> CodeKind {
        let isInnermost = index + 1 >= activations.count
        return codeKind(
            at: isInnermost ? machine.cpu.index : program.index(at: activations[index + 1].interrupted.rip))
    }

    /// An exception stands between the instructions of this NMI's entry code.
    func isInterruptedInEntryCode(_ index: Int) -> Bool {
        guard activations[index].event.source == .nmi, index + 1 < activations.count else { return false }
        return !currentCodeKind(ofActivation: index).isC
    }

    /// What every path can read of the processor at an instruction boundary, whatever it is; RIP apart.
    mutating func processorKey() -> UInt64 {
        var bits: UInt64 = 0
        if hypervisor?.nmiMasked == true { bits |= 2 }
        if hypervisor?.isInMachineCheck == true { bits |= 8 }
        // Xen looks at the mask without the guest's code.
        if hypervisor != nil && eventsAreMasked { bits |= 4 }
        bits |= codeKind(at: machine.cpu.index).rawValue << 4
        var sum = Explorer.mix(machine.processorKey(bits), interruptedKinds())
        // A rule that is broken already is not found again.
        for index in findings.indices {
            sum = Explorer.mix(sum, UInt64(findings[index].finding.rule.hashValueForKey))
        }
        return sum
    }

    /// What a nested event, and the rules that look at it, can tell of the events that it interrupts.
    private mutating func interruptedKinds() -> UInt64 {
        var isInNMIEntry = false
        for index in activations.indices where isInterruptedInEntryCode(index) { isInNMIEntry = true }
        return activations.withUnsafeBufferPointer { activations in
            // Which of those that admit no other of their kind are unfinished, and how far NMIs have come.
            var bits: UInt64 = isInNMIEntry ? 512 : 0
            var sum: UInt64 = 0
            for index in activations.indices {
                switch activations[index].event.vector {
                case Vector.debug: bits |= activations[index].isInjected ? 1 : 2
                case Vector.breakpoint: bits |= 4
                case Vector.machineCheck: bits |= 8
                case Vector.doubleFault: bits |= 16
                case Vector.virtualization: bits |= 256
                // Its address is lost to a nested fault while its handler has not read it.
                case Vector.pageFault: bits |= activations[index].handlerCalls == 0 ? 32 : 0
                default: break
                }
                if activations[index].isUnexpected { bits |= 64 }
                if activations[index].event.source == .nmi {
                    let calls = UInt64(min(activations[index].handlerCalls, 3))
                    sum = Explorer.mix(sum, 1 | calls << 4 | UInt64(activations[index].openNMIs.rawValue) << 8)
                    // An NMI is told of what it came between: code of its own, or of an exception inside it.
                    if index == activations.count - 1 { bits |= 128 }
                }
            }
            return Explorer.mix(sum, bits)
        }
    }
}

package import Machine
package import XenPV

/// Models of the C functions that entry code calls on its way to a handler and back.
package enum EntryHelpers {
    /// Runs a helper's body. RIP is at the function; the caller has called `CFunctionCall.enter`.
    ///
    /// - Parameter tracingMayFault: Traced code takes a page fault of its own, so that CR2 changes.
    /// - Returns: The function's result.
    package static func run(
        _ function: CFunction, _ machine: inout Machine, _ hypervisor: inout Hypervisor?, _ layout: ImageLayout,
        tracingMayFault: Bool
    ) throws(Fault) -> UInt64 {
        switch function.model {
        case .syncRegs: return try syncRegs(&machine, layout)
        case .fixupBadIRET:
            return try fixupBadIRET(&machine, layout, hasReturnAddress: function.layout == .returnAddress)
        case .trace, .enterFromUser:
            if tracingMayFault { CFunctionCall.clobberFaultAddress(&machine, hypervisor) }
        case .exitToUser:
            // Exit work runs with interrupts on; they are off again when it returns.
            if tracingMayFault { CFunctionCall.clobberFaultAddress(&machine, hypervisor) }
            CFunctionCall.setInterrupts(enabled: false, &machine, &hypervisor)
        case .debugStackSetZero:
            machine.debugTableUsers += 1
            if hypervisor == nil { machine.idt[Int(Vector.debug)].ist = 0 }
        case .debugStackReset:
            // A reset too many is a warning and nothing else.
            if machine.debugTableUsers == 0 { break }
            machine.debugTableUsers -= 1
            if hypervisor == nil && machine.debugTableUsers == 0 {
                machine.idt[Int(Vector.debug)].ist = machine.debugGateIST
            }
        // A PV guest's are Xen's, which shows them by hypercalls.
        case .getDebugRegister: return machine.debugRegister(UInt8(truncatingIfNeeded: machine[.rdi]))
        case .setDebugRegister: machine.setDebugRegister(UInt8(truncatingIfNeeded: machine[.rdi]), machine[.rsi])
        default: break
        }
        return CFunctionCall.clobber
    }

    /// `sync_regs`: copies `pt_regs` to the top of the task stack (Linux 5.2 `arch/x86/kernel/traps.c`).
    private static func syncRegs(_ machine: inout Machine, _ layout: ImageLayout) throws(Fault) -> UInt64 {
        let source = machine[.rdi]
        let top = try CFunctionCall.perCPU(layout.taskStackTopOffset, &machine)
        let destination = top &- UInt64(PtRegs.count) &* 8
        try CFunctionCall.copy(words: PtRegs.count, from: source, to: destination, &machine)
        return destination
    }

    /// `fixup_bad_iret`: `pt_regs` at RDI, below a return address up to 5.18, becomes the same below the top of the entry
    /// stack, with RIP to SS taken from the stack of the failed IRET (Linux 5.2 and 6.1 `arch/x86/kernel/traps.c`).
    private static func fixupBadIRET(
        _ machine: inout Machine, _ layout: ImageLayout, hasReturnAddress: Bool
    ) throws(Fault) -> UInt64 {
        let extra = hasReturnAddress ? 1 : 0
        let source = machine[.rdi]
        let top = try CFunctionCall.perCPU(layout.entryStackTopOffset, &machine)
        let destination = top &- UInt64(PtRegs.count + extra) &* 8
        let failed = try machine.load(source &+ UInt64(extra + PtRegs.rsp) &* 8, .quad)
        try CFunctionCall.copy(words: 5, from: failed, to: destination &+ UInt64(extra + PtRegs.rip) &* 8, &machine)
        try CFunctionCall.copy(words: extra + PtRegs.rip, from: source, to: destination, &machine)
        return destination
    }
}

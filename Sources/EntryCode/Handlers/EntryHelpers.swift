package import Machine
package import XenPV

/// Models of the C functions that entry code calls on its way to a handler and back.
package enum EntryHelpers {
    /// Runs a helper's body. RIP is at the function; the caller has called `CFunctionCall.enter`.
    ///
    /// - Returns: The function's result.
    package static func run(
        _ model: HandlerModel, _ machine: inout Machine, _ hypervisor: inout Hypervisor?, _ layout: ImageLayout
    ) throws(Fault) -> UInt64 {
        switch model {
        case .syncRegs: return try syncRegs(&machine, layout)
        case .fixupBadIRET: return try fixupBadIRET(&machine, layout)
        case .trace, .enterFromUser:
            CFunctionCall.clobberFaultAddress(&machine, hypervisor)
        case .exitToUser:
            // Exit work runs with interrupts on; they are off again when it returns.
            CFunctionCall.clobberFaultAddress(&machine, hypervisor)
            CFunctionCall.setInterrupts(enabled: false, &machine, &hypervisor)
        case .debugStackSetZero:
            if hypervisor == nil { machine.idt[Int(Vector.debug)].ist = 0 }
        case .debugStackReset:
            if hypervisor == nil { machine.idt[Int(Vector.debug)].ist = machine.debugGateIST }
        default: break
        }
        return CFunctionCall.clobber
    }

    /// `sync_regs`: copies `pt_regs` to the top of the task stack (Linux 5.2 `arch/x86/kernel/traps.c`).
    private static func syncRegs(_ machine: inout Machine, _ layout: ImageLayout) throws(Fault) -> UInt64 {
        let source = machine.cpu[.rdi]
        let top = try CFunctionCall.perCPU(layout.tssOffset &+ 12, &machine)
        let destination = top &- UInt64(PtRegs.count) &* 8
        try CFunctionCall.copy(words: PtRegs.count, from: source, to: destination, &machine)
        return destination
    }

    /// `fixup_bad_iret`: a return address and `pt_regs` at RDI become the same below TSS.sp0, with RIP to SS taken from
    /// the stack of the failed IRET (Linux 5.2 `arch/x86/kernel/traps.c`).
    private static func fixupBadIRET(_ machine: inout Machine, _ layout: ImageLayout) throws(Fault) -> UInt64 {
        let source = machine.cpu[.rdi]
        let sp0 = try CFunctionCall.perCPU(layout.tssOffset &+ 4, &machine)
        let size = UInt64(PtRegs.count + 1) &* 8
        let destination = sp0 &- size
        let failed = try machine.load(source &+ UInt64(1 + PtRegs.rsp) &* 8, .quad)
        try CFunctionCall.copy(words: 5, from: failed, to: destination &+ UInt64(1 + PtRegs.rip) &* 8, &machine)
        try CFunctionCall.copy(words: 1 + PtRegs.rip, from: source, to: destination, &machine)
        return destination
    }
}

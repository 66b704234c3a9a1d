package import Machine
package import XenPV

/// Models of the C functions that entry code calls on its way to a handler and back.
package enum EntryHelpers {
    /// Runs a helper's body. RIP is at the function; the caller has called `CFunctionCall.enter`.
    ///
    /// - Parameter tssOffset: Where `cpu_tss_rw` lies in the per-CPU area.
    /// - Parameter tracingMayFault: Traced code takes a page fault of its own, so that CR2 changes.
    /// - Returns: The function's result.
    package static func run(
        _ model: HandlerModel, _ machine: inout Machine, _ hypervisor: inout Hypervisor?, tssOffset: UInt64,
        tracingMayFault: Bool
    ) throws(Fault) -> UInt64 {
        switch model {
        case .syncRegs: return try syncRegs(&machine, tssOffset)
        case .fixupBadIRET: return try fixupBadIRET(&machine, tssOffset)
        case .trace, .enterFromUser:
            if tracingMayFault { CFunctionCall.clobberFaultAddress(&machine, hypervisor) }
        case .exitToUser:
            // Exit work runs with interrupts on; they are off again when it returns.
            if tracingMayFault { CFunctionCall.clobberFaultAddress(&machine, hypervisor) }
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
    private static func syncRegs(_ machine: inout Machine, _ tssOffset: UInt64) throws(Fault) -> UInt64 {
        let source = machine[.rdi]
        let top = try CFunctionCall.perCPU(tssOffset &+ 12, &machine)
        let destination = top &- UInt64(PtRegs.count) &* 8
        try CFunctionCall.copy(words: PtRegs.count, from: source, to: destination, &machine)
        return destination
    }

    /// `fixup_bad_iret`: a return address and `pt_regs` at RDI become the same below TSS.sp0, with RIP to SS taken from
    /// the stack of the failed IRET (Linux 5.2 `arch/x86/kernel/traps.c`).
    private static func fixupBadIRET(_ machine: inout Machine, _ tssOffset: UInt64) throws(Fault) -> UInt64 {
        let source = machine[.rdi]
        let sp0 = try CFunctionCall.perCPU(tssOffset &+ 4, &machine)
        let size = UInt64(PtRegs.count + 1) &* 8
        let destination = sp0 &- size
        let failed = try machine.load(source &+ UInt64(1 + PtRegs.rsp) &* 8, .quad)
        try CFunctionCall.copy(words: 5, from: failed, to: destination &+ UInt64(1 + PtRegs.rip) &* 8, &machine)
        try CFunctionCall.copy(words: 1 + PtRegs.rip, from: source, to: destination, &machine)
        return destination
    }
}

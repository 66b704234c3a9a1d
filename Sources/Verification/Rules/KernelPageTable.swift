import EntryCode
import Machine

/// Kernel code beyond the entry text runs on the kernel's page tables.
enum KernelPageTable: Invariant {
    static let rule = Rule(
        "kernel-page-table",
        statement: "Kernel code that reaches beyond the entry text and the entry stacks runs with the kernel's CR3.",
        why:
            "With page-table isolation the user half maps only entry text and cpu_entry_area: the first other access faults, and so does the handler of that fault.",
        sources: [
            "Linux Documentation/x86/pti.rst", "Linux 5.2 arch/x86/entry/calling.h, SWITCH_TO_KERNEL_CR3", "fact F26",
        ])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        if case .cFunction = checkpoint {
            // Bit 11 of CR3: translations of the kernel are filed under the user's PCID (SDM vol. 3, 4.10.1).
            let differs = (run.machine.cpu.cr3 ^ run.image.layout.kernelCR3) & 0x800 != 0
            guard differs, run.hypervisor == nil, run.isHandlingEvent else { return nil }
            return Finding(
                rule,
                "\(run.here) runs with CR3 \(hexadecimal(run.machine.cpu.cr3)), the kernel's page tables under the user's PCID; the kernel's is \(hexadecimal(run.layout.kernelCR3))"
            )
        }
        guard case .fault = checkpoint, run.machine.isKernelMode else { return nil }
        if run.machine.cpu.hasForeignPageTables {
            // The instruction before RIP loaded CR3.
            let next = run.image.program.index(at: run.machine.instructionPointer(run.image.program))
            let at = next > 0 ? CausePoint(step: run.machine.stepNumber, instruction: next - 1) : nil
            return Finding(
                rule,
                "at \(run.here) CR3 holds \(hexadecimal(run.machine.cpu.cr3)), which is neither half of the page tables (\(hexadecimal(run.layout.kernelCR3)) is the kernel's): nothing is mapped, not even the next instruction",
                at: at)
        }
        guard run.machine.cpu.userPageTables, let fault = run.faultAtHand, fault.vector == Vector.pageFault,
            isKernelOnly(fault.address, run)
        else { return nil }
        return Finding(
            rule,
            "at \(run.here) the kernel still runs on the user's page tables (CR3 \(hexadecimal(run.machine.cpu.cr3))), where this code or data is not mapped"
        )
    }

    /// Code at RIP, or data that the kernel half maps and the user half does not.
    private static func isKernelOnly(_ address: UInt64, _ run: ScenarioRun) -> Bool {
        // Where RIP is in no code at all, the page tables are not to blame.
        if run.machine.cpu.index >= 0 && address == run.machine.instructionPointer(run.program) { return true }
        guard let (_, attributes) = run.machine.memory.translate(address) else { return false }
        return attributes.contains(.kernelMap) && !attributes.contains(.userMap)
    }
}

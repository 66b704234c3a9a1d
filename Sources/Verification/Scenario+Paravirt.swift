import EntryCode
import Machine

/// Routines of a PV guest that stand for instructions which Xen would have to emulate: STI, CLI, PUSHF, POPF and a read of
/// CR2. C code and entry code call them through `pv_ops` (Linux 6.1 `arch/x86/xen/xen-asm.S`, `arch/x86/xen/irq.c`).
enum ParavirtRoutine: String, CaseIterable {
    case enable = "xen_irq_enable_direct"
    case disable = "xen_irq_disable_direct"
    case saveFlags = "xen_save_fl_direct"
    case restoreFlags = "xen_restore_fl_direct"
    case readFaultAddress = "xen_read_cr2"
    case readFaultAddressDirectly = "xen_read_cr2_direct"

    /// What it stands for.
    var instruction: String {
        switch self {
        case .enable: "STI"
        case .disable: "CLI"
        case .saveFlags: "PUSHF"
        case .restoreFlags: "POPF"
        case .readFaultAddress, .readFaultAddressDirectly: "a read of CR2"
        }
    }

    var probes: [Probe] { self == .restoreFlags ? [.paravirtCall, .paravirtCallMasking] : [.paravirtCall] }
}

extension Probe {
    /// The scenario begins with a call of a `ParavirtRoutine`.
    var isParavirtCall: Bool { self == .paravirtCall || self == .paravirtCallMasking }
}

extension EntryImage {
    /// Calls of those routines that the kernel has, with events on and off.
    func paravirtScenarios() -> [Scenario] {
        guard platform.isXen, deviceVectors.contains(Platform.callbackVector) else { return [] }
        var result: [Scenario] = []
        for routine in ParavirtRoutine.allCases where has(routine) {
            let contexts: [Context] = [.kernel, .kernelRSP8, .kernelEventsOff, .kernelEventsOffRSP8]
            for context in contexts {
                for probe in routine.probes {
                    result.append(
                        Scenario(
                            platform: platform, event: routine.rawValue, vector: Platform.callbackVector,
                            context: context, probe: probe,
                            reason: "the kernel calls it in place of \(routine.instruction); an event comes at any time"
                        ))
                }
            }
        }
        return result
    }
    /// The kernel has the routine. Trees write `xen_save_fl_direct` with AH, which the assembler does not read: a warning says
    /// so, and there is nothing to call.
    private func has(_ routine: ParavirtRoutine) -> Bool {
        guard let address = program.address(of: routine.rawValue) else { return false }
        guard routine == .saveFlags, let code = program.routine(containing: address) else { return true }
        return !program.instructions[code.first..<code.first + code.count].contains {
            $0.opcode == .model && $0.immediate == Program.gapModel
        }
    }
}

package import Machine
import XenPV

/// Where entry code runs.
package enum Platform: String, Sendable, Hashable, CaseIterable {
    case bareMetalIntel = "bare-metal-intel"
    case bareMetalAMD = "bare-metal-amd"
    case xenPV = "xen-pv"

    package var isXen: Bool { self == .xenPV }

    /// Linux's vector for events of Xen (`HYPERVISOR_CALLBACK_VECTOR`); a PV guest's callback comes without one.
    package static let callbackVector: UInt8 = 0xF3

    /// Stands for SYSCALL, which has no vector; reserved by the architecture and used by nobody (SDM vol. 3, table 6-1).
    package static let syscallVector: UInt8 = 31

    /// SYSENTER and SYSCALL from 32-bit code; Xen's failsafe callback: likewise.
    package static let sysenterVector: UInt8 = 27
    package static let syscall32Vector: UInt8 = 26
    package static let failsafeVector: UInt8 = 25
    /// An NMI that ended a guest of KVM: the kernel calls its handler's entry by itself.
    package static let kvmNMIVector: UInt8 = 24

    /// Events without a vector, by the name that `kernel.json` gives them.
    package static let standInVectors: [String: UInt8] = [
        "event-callback": callbackVector, "syscall": syscallVector, "sysenter": sysenterVector,
        "syscall32": syscall32Vector, "failsafe": failsafeVector, "kvm-nmi": kvmNMIVector,
    ]

    /// The instruction that raises a stand-in, where there is one.
    package static func instruction(of standIn: UInt8) -> String? {
        switch standIn {
        case syscallVector, syscall32Vector: "syscall"
        case sysenterVector: "sysenter"
        default: nil
        }
    }

    /// The processor's properties, with what the kernel's options switch on.
    ///
    /// Intel stands for processors with Meltdown and a SWAPGS that does not stop speculation, AMD for those without
    /// either (Linux 5.3 `arch/x86/kernel/cpu/common.c`, `cpu_vuln_whitelist`). Xen masks SMAP from PV guests.
    package func traits(options: [String: Bool]) -> ProcessorTraits {
        let smap = options["SMAP"] ?? false
        let fsgsbase = options["FSGSBASE"] ?? false
        return switch self {
        case .bareMetalIntel:
            ProcessorTraits(
                vendor: .intel, smap: smap, fsgsbase: fsgsbase, meltdown: true, swapgsSpeculates: true)
        case .bareMetalAMD:
            ProcessorTraits(vendor: .amd, smap: smap, fsgsbase: fsgsbase)
        case .xenPV:
            ProcessorTraits(
                vendor: .intel, isParavirtual: true, fsgsbase: fsgsbase, meltdown: true, swapgsSpeculates: true)
        }
    }

    /// Whether the kernel switches page tables at the user boundary here (`pti=auto`).
    package func usesPageTableIsolation(options: [String: Bool]) -> Bool {
        self == .bareMetalIntel && (options["PTI"] ?? false)
    }
}

import Assembler
import Machine
import XenPV

/// Which events there are.
extension Expansion {
    /// The vectors of the table's gates; then exceptions that the processor raises whether they have a gate or not, and INT 0x80,
    /// which 32-bit programs execute whether it has one or not.
    static func vectors(_ table: EntryTable, _ standard: JSON) -> [(vector: UInt8, entry: String)] {
        var names: [UInt8: String] = [:]
        // Where a vector has two rows the later one is loaded over the first, as Linux does for KVM guests.
        // #VC comes to guests of SEV-ES alone, which no platform here is.
        let isGuestsOnly = table.sources != nil
        for row in table.idt where table.applies(row.option) && !(isGuestsOnly && row.vector == 29) {
            names[row.vector] = row.entry
        }
        for row in standard["idt"]?.arrayValue ?? [] {
            // 9 and 15 are not raised by any processor that runs 64-bit code (SDM vol. 3, table 6-1).
            guard let number = row["vector"]?.integerValue, number < 32 || number == 0x80, number != 9, number != 15,
                table.applies(row["option"]?.stringValue), let entry = row["entry"]?.stringValue
            else { continue }
            if names[UInt8(number)] == nil { names[UInt8(number)] = entry }
        }
        return names.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    static func deviceVectors(
        _ table: EntryTable, _ platform: Platform, _ generation: Generation, _ standard: JSON
    ) -> [(vector: UInt8, entry: String)] {
        if !platform.isXen { return generation.interrupts.map { ($0.vector, $0.entry) } }
        // Events come whether something is registered for them or not.
        let entry = table.xen.callbacks["event"] ?? standard["xen"]?["callbacks"]?["event"]?.stringValue
        return entry.map { [(Platform.callbackVector, $0)] } ?? []
    }

    /// SYSCALL, SYSENTER and the failsafe callback, where processor, kernel and hypervisor have them.
    static func standIns(
        _ table: EntryTable, _ platform: Platform, _ generation: Generation
    ) -> [(vector: UInt8, entry: String)] {
        var found: [(vector: UInt8, entry: String)] = []
        func add(_ vector: UInt8, _ role: String, callback: String, isPossible: Bool) {
            // A PV guest has what it has registered a callback for, whatever the host's processor. Programs of 64 bits and Xen
            // count on theirs; without those for 32 bits the vDSO does with INT 0x80 (Linux 5.2 xen_enable_syscall).
            let isPromised = callback == "syscall" || callback == "failsafe"
            if platform.isXen ? table.xen.callbacks[callback] == nil && !isPromised : !isPossible { return }
            if let entry = generation.roles[role] { found.append((vector, entry)) }
        }
        add(Platform.syscallVector, "syscall_entry", callback: "syscall", isPossible: true)
        if table.options["IA32_EMULATION"] ?? true {
            // Intel has no SYSCALL in 32-bit code, AMD no SYSENTER under a 64-bit kernel (APM vol. 3).
            add(
                Platform.syscall32Vector, "syscall32_entry", callback: "syscall32",
                isPossible: platform == .bareMetalAMD)
            add(
                Platform.sysenterVector, "sysenter_entry", callback: "sysenter",
                isPossible: platform == .bareMetalIntel)
        }
        add(Platform.failsafeVector, "failsafe_callback", callback: "failsafe", isPossible: false)
        if platform == .bareMetalIntel, table.options["KVM_INTEL"] ?? false, let entry = generation.roles["kvm_nmi"] {
            found.append((Platform.kvmNMIVector, entry))
        }
        return found
    }

    /// SYSCALL and SYSENTER where they lead nowhere: the processor raises #UD, or the guest has no callback for Xen to call.
    static func refusedCalls(_ table: EntryTable, _ platform: Platform) -> [(vector: UInt8, entry: String)] {
        let has32 = table.options["IA32_EMULATION"] ?? true
        switch platform {
        case .bareMetalIntel: return has32 ? [(Platform.syscall32Vector, "syscall32")] : []
        case .bareMetalAMD: return has32 ? [(Platform.sysenterVector, "sysenter")] : []
        case .xenPV:
            let calls = [
                (Platform.syscallVector, "syscall"), (Platform.syscall32Vector, "syscall32"),
                (Platform.sysenterVector, "sysenter"),
            ]
            return calls.filter { table.xen.callbacks[$0.1] == nil && (has32 || $0.0 == Platform.syscallVector) }
        }
    }

}

import EntryCode

/// Names that the kernel's sources have for numbers and options.
enum KernelNames {
    /// Vectors of `asm/trapnr.h` and `asm/irq_vectors.h`.
    static let vectors: [String: UInt8] = [
        "X86_TRAP_DE": 0, "X86_TRAP_DB": 1, "X86_TRAP_NMI": 2, "X86_TRAP_BP": 3, "X86_TRAP_OF": 4, "X86_TRAP_BR": 5,
        "X86_TRAP_UD": 6, "X86_TRAP_NM": 7, "X86_TRAP_DF": 8, "X86_TRAP_OLD_MF": 9, "X86_TRAP_TS": 10,
        "X86_TRAP_NP": 11, "X86_TRAP_SS": 12, "X86_TRAP_GP": 13, "X86_TRAP_PF": 14, "X86_TRAP_SPURIOUS": 15,
        "X86_TRAP_MF": 16, "X86_TRAP_AC": 17, "X86_TRAP_MC": 18, "X86_TRAP_XF": 19, "X86_TRAP_VE": 20,
        "X86_TRAP_CP": 21, "X86_TRAP_VC": 29, "IA32_SYSCALL_VECTOR": 0x80,
    ]

    static func vector(_ name: String) -> UInt8? { vectors[name] ?? UInt8(name) }

    /// The IST slot of a gate, 1…7. `IST_INDEX_…` counts from 0 (5.1 and later), the stacks of before from 1.
    static func stack(_ name: String, hasStackFaultStack: Bool = false) -> UInt8? {
        switch name {
        case "DEFAULT_STACK": 0
        case "IST_INDEX_DF": 1
        case "IST_INDEX_NMI": 2
        case "IST_INDEX_DB": 3
        case "IST_INDEX_MCE": 4
        case "IST_INDEX_VC": 5
        // Up to 3.17 the first was STACKFAULT_STACK.
        case "STACKFAULT_STACK": 1
        case "DOUBLEFAULT_STACK": hasStackFaultStack ? 2 : 1
        case "NMI_STACK": hasStackFaultStack ? 3 : 2
        case "DEBUG_STACK": hasStackFaultStack ? 4 : 3
        case "MCE_STACK": hasStackFaultStack ? 5 : 4
        default: nil
        }
    }

    /// Options of tables that are not called as their Kconfig symbol.
    private static let options: [String: String] = [
        "PAGE_TABLE_ISOLATION": "PTI", "MITIGATION_PAGE_TABLE_ISOLATION": "PTI",
        "MITIGATION_IBRS_ENTRY": "CPU_IBRS_ENTRY", "MITIGATION_UNRET_ENTRY": "CPU_UNRET_ENTRY",
        "MITIGATION_RETHUNK": "RETHUNK", "PREEMPTION": "PREEMPT", "X86_SMAP": "SMAP", "X86_PTI": "PTI",
    ]

    /// The option of a table that a Kconfig symbol means, with or without `CONFIG_`; nil where the kernel has none.
    static func option(_ symbol: String, known: [String]) -> String? {
        let name = symbol.hasPrefix("CONFIG_") ? String(symbol.dropFirst("CONFIG_".count)) : symbol
        if known.contains(name) { return name }
        return options[name].flatMap { known.contains($0) ? $0 : nil }
    }
}

extension JSON {
    /// Sets a member, or takes it away.
    mutating func set(_ key: String, _ value: JSON?) {
        guard case .object(var members) = self else { return }
        if let index = members.firstIndex(where: { $0.key == key }) {
            if let value { members[index].value = value } else { members.remove(at: index) }
        } else if let value {
            members.append(Member(key, value))
        }
        self = .object(members)
    }
}

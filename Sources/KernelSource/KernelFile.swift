package import EntryCode

/// What a file of a kernel tree is to the entry code.
package enum KernelFile: Sendable, Hashable {
    /// Assembled: `entry_64.S`, `entry_64_compat.S`, `xen-asm.S`.
    case assembly
    /// Included by what is assembled: `calling.h`, `idtentry.h`.
    case header
    /// C with tables that are read: `idt.c`, `traps.c`, `enlighten_pv.c`.
    case tables
    /// C of the neighbourhood: declarations, handlers. It has no say in the entry code.
    case code
    /// Anything else.
    case foreign

    package static let assembled = [
        "arch/x86/entry/entry_64.S", "arch/x86/entry/entry_64_compat.S", "arch/x86/xen/xen-asm.S",
        "arch/x86/xen/xen-asm_64.S", "arch/x86/kernel/entry_64.S", "arch/x86/ia32/ia32entry.S",
    ]
    package static let headers = [
        "arch/x86/entry/calling.h", "arch/x86/include/asm/idtentry.h", "arch/x86/include/asm/calling.h",
    ]
    package static let tableFiles = [
        "arch/x86/kernel/idt.c", "arch/x86/kernel/traps.c", "arch/x86/xen/enlighten_pv.c", "arch/x86/xen/enlighten.c",
    ]
    /// Every file that an import reads.
    package static let all = assembled + headers + tableFiles

    /// The Makefile at the root of a tree says which release it is; nothing else of it is read.
    package static let makefile = "Makefile"

    /// `Makefile`, `linux-6.1/Makefile`; not that of a folder inside the tree.
    package static func isMakefile(_ name: String) -> Bool {
        let parts = name.split(separator: "/")
        return parts.last.map { $0 == makefile } ?? false && parts.count <= 2
    }

    /// The lines `VERSION = 6` and `PATCHLEVEL = 1`.
    package static func release(_ makefile: [UInt8]) -> KernelRelease? {
        func value(_ name: StaticString) -> Int? {
            for line in makefile.prefix(4096).lines where line.hasPrefix(name) {
                let rest = line.dropFirst(name.utf8CodeUnitCount).trimmed
                if rest.first == UInt8(ascii: "=") { return Int(rest.dropFirst().trimmed.text) }
            }
            return nil
        }
        guard let major = value("VERSION"), let minor = value("PATCHLEVEL") else { return nil }
        return KernelRelease("\(major).\(minor)")
    }

    package init(_ path: String) {
        if KernelFile.assembled.contains(path) {
            self = .assembly
        } else if KernelFile.headers.contains(path) {
            self = .header
        } else if KernelFile.tableFiles.contains(path) {
            self = .tables
        } else if path.hasPrefix("arch/x86/"), path.hasSuffix(".c") || path.hasSuffix(".h") {
            self = .code
        } else {
            self = .foreign
        }
    }

    /// A path that stays below the root of a tree: no `..`, not absolute, nothing that a shell or a terminal obeys.
    package static func isSafe(_ path: String) -> Bool {
        !path.isEmpty && path.utf8.count <= 255 && !path.hasPrefix("/")
            && path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }
            && path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
                $0 != ".." && $0 != "." && !$0.isEmpty
            }
    }
}

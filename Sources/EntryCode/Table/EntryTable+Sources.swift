import Assembler

extension EntryTable {
    /// Sources of a kernel tree: its entry code is assembled instead of the generation's listings.
    package struct Sources: Sendable, Hashable {
        package struct File: Sendable, Hashable {
            /// Below the root of the tree.
            package var path: String
            package var text: String

            package init(path: String, text: String) {
                self.path = path
                self.text = text
            }
        }

        package var files: [File] = []
        /// Symbols that nothing defines and that are taken for C functions without a model.
        package var assumed: Set<String> = []
        /// Kconfig symbols, as `CONFIG_X`, that are no options of the table.
        package var config: [String: Bool] = [:]

        /// The release of the kernel, where its Makefile or its code says it.
        package var release: KernelRelease?

        package init() {}

        /// The kernel is older than a release; without a word about it, where its files lie says that of 4.2.
        func isBefore(_ other: KernelRelease) -> Bool {
            if let release { return release < other }
            return other <= KernelRelease(4, 2) && text("arch/x86/kernel/entry_64.S") != nil
        }

        /// The name stands somewhere in the files.
        func mentions(_ name: String) -> Bool {
            let wanted = Array(name.utf8)
            return files.contains { file in
                var text = file.text
                return text.withUTF8 { bytes in
                    var position = 0
                    while let start = bytes[position...].firstIndex(of: wanted[0]) {
                        position = start + 1
                        let end = start + wanted.count
                        if end <= bytes.count, start == 0 || !Preprocessor.isNameByte(bytes[start - 1]),
                            end == bytes.count || !Preprocessor.isNameByte(bytes[end]),
                            bytes[start..<end].elementsEqual(wanted)
                        {
                            return true
                        }
                    }
                    return false
                }
            }
        }

        package func text(_ path: String) -> String? { files.first { $0.path == path }?.text }

        /// Whether the file is there that has what a path has in the generation's own kernel: files have moved.
        package func hasHome(_ path: String) -> Bool {
            if text(path) != nil { return true }
            switch path {
            case "arch/x86/entry/entry_64.S": return text("arch/x86/kernel/entry_64.S") != nil
            case "arch/x86/entry/calling.h": return text("arch/x86/include/asm/calling.h") != nil
            case "arch/x86/entry/entry_64_compat.S": return text("arch/x86/ia32/ia32entry.S") != nil
            // One file since 5.9.
            case "arch/x86/xen/xen-asm_64.S":
                return text("arch/x86/xen/xen-asm.S")?.contains("xen_pv_trap") ?? false
            default: return false
            }
        }
    }

    package static let sourcesKeys = ["files", "assumed", "config", "release"]

    /// The Kconfig symbols that an option of a table stands for.
    package static func configSymbols(_ option: String) -> [String] {
        switch option {
        case "PTI": ["CONFIG_PAGE_TABLE_ISOLATION", "CONFIG_MITIGATION_PAGE_TABLE_ISOLATION"]
        case "SMAP": ["CONFIG_X86_SMAP"]
        case "CPU_IBRS_ENTRY": ["CONFIG_CPU_IBRS_ENTRY", "CONFIG_MITIGATION_IBRS_ENTRY"]
        case "CPU_UNRET_ENTRY": ["CONFIG_CPU_UNRET_ENTRY", "CONFIG_MITIGATION_UNRET_ENTRY"]
        case "RETHUNK": ["CONFIG_RETHUNK", "CONFIG_MITIGATION_RETHUNK"]
        case "PREEMPT": ["CONFIG_PREEMPT", "CONFIG_PREEMPTION"]
        default: ["CONFIG_" + option]
        }
    }
}

extension TableReader {
    mutating func readSources(_ value: JSON, into table: inout EntryTable) {
        guard let keys = object(value, "/sources", keys: EntryTable.sourcesKeys) else { return }
        var sources = EntryTable.Sources()
        guard case .object(let files)? = keys["files"] else {
            fault("/sources", "missing-key", "the key 'files' is required: an object of paths and texts")
            return
        }
        if files.isEmpty || files.count > limits.sourceFiles {
            fault("/sources/files", "too-many", "1 to \(limits.sourceFiles) files are accepted")
            return
        }
        for member in files {
            let place = EntryCode.pointer("/sources/files", member.key)
            if !EntryTable.isSourcePath(member.key) {
                fault(
                    place, "not-a-path",
                    "a path leads down from the root of the tree: letters, digits, '/', '.', '_', '-'")
                continue
            }
            guard let text = string(member.value, place, limit_bytes: limits.sourceText_bytes) else { continue }
            sources.files.append(EntryTable.Sources.File(path: member.key, text: text))
        }
        for (index, item) in (array(keys["assumed"] ?? .array([]), "/sources/assumed", limit: 1024) ?? []).enumerated()
        {
            if let name = symbol(item, "/sources/assumed/\(index)") { sources.assumed.insert(name) }
        }
        if let config = keys["config"] {
            guard case .object(let members) = config else {
                fault("/sources/config", "wrong-type", "expected an object, found \(config.kindName)")
                return
            }
            if members.count > 256 { fault("/sources/config", "too-many", "at most 256 symbols") }
            for member in members.prefix(256) {
                let place = EntryCode.pointer("/sources/config", member.key)
                if !EntryTable.isConfigSymbol(member.key) {
                    fault(place, "not-a-symbol", "a Kconfig symbol is CONFIG_ and capital letters, digits or '_'")
                    continue
                }
                sources.config[member.key] = bool(member.value, place, default: false)
            }
        }
        if let value = keys["release"] {
            let text = string(value, "/sources/release", limit_bytes: 16)
            sources.release = text.flatMap { KernelRelease($0) }
            if text != nil, sources.release == nil {
                fault("/sources/release", "not-a-release", "a release is two numbers, such as 5.10")
            }
        }
        table.sources = sources
    }
}

extension EntryTable {
    /// A relative path without `.` and `..`, in letters that need no quoting.
    package static func isSourcePath(_ path: String) -> Bool {
        guard !path.isEmpty, path.utf8.count <= 255 else { return false }
        return path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part != "." && part != ".."
                && part.utf8.allSatisfy { byte in
                    switch byte {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"),
                        UInt8(ascii: "+"):
                        true
                    default: false
                    }
                }
        }
    }

    package static func isConfigSymbol(_ name: String) -> Bool {
        name.hasPrefix("CONFIG_") && name.utf8.count > 7 && name.utf8.count <= 100
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                    true
                // Some symbols have small letters: CONFIG_DRM_I2C_CH7006 has none, CONFIG_nohz had.
                case UInt8(ascii: "a")...UInt8(ascii: "z"): true
                default: false
                }
            }
    }
}

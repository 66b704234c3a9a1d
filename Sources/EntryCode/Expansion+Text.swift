import Assembler
import Machine
import XenPV

/// Text for the assembler.
extension Expansion {
    static let tableFile = "entry-table"
    /// Where references lead that nothing defines.
    static let gapRoutine = "code_without_model"
    /// Findings that get a look for the nearest name; the look costs time.
    static let suggestions = 32

    /// One line per row of the table, with the pointer of the row.
    func generatedRows() -> [(text: String, pointer: String)] {
        var rows: [(String, String)] = []
        // What the sources of a tree declare themselves is not declared again.
        let areEntriesGiven = sources?.excluded.contains("@entries") ?? false
        let areThunksGiven = sources?.excluded.contains("@thunks") ?? false
        for entry in areEntriesGiven ? [] : table.entries where !entry.isInListing && table.applies(entry.option) {
            if let kind = entry.kind, let vector = entry.vector {
                var line = "\(kind) \(vector), \(entry.symbol), \(entry.handler)"
                if entry.saysErrorCode { line += ", has_error_code=\(entry.hasErrorCode ? 1 : 0)" }
                rows.append((line, entry.pointer))
                continue
            }
            var line = "idtentry \(entry.symbol) \(entry.handler) has_error_code=\(entry.hasErrorCode ? 1 : 0)"
            if entry.paranoid != 0 { line += " paranoid=\(entry.paranoid)" }
            if let shift = entry.shiftIST { line += " shift_ist=\(shift) ist_offset=\(entry.istOffset)" }
            if entry.createGap { line += " create_gap=1" }
            if entry.readCR2 { line += " read_cr2=1" }
            rows.append((line, entry.pointer))
        }
        if table.options["XEN_PV"] ?? true {
            for (index, thunk) in table.xen.thunks.enumerated()
            where !areThunksGiven || sources?.thunks.contains(thunk) == false {
                rows.append(("xen_pv_trap \(thunk)", "/xen/thunks/\(index)"))
            }
        }
        return rows
    }

    func modelText() -> String {
        var text = ""
        for (index, function) in functions.enumerated() {
            text += "ENTRY(\(function.name))\n\tmodel $\(index)\n\tret\nEND(\(function.name))\n"
        }
        return text
    }

    /// Code that is interrupted: user code, kernel code, the self test.
    func siteText() -> String {
        var text = """
            ENTRY(user_code)
            \tnop
            GLOBAL(user_interrupted)
            \tnop
            \tnop
            END(user_code)
            ENTRY(user_signal_handler)
            \tnop
            \tnop
            END(user_signal_handler)
            ENTRY(__kernel_vsyscall)
            \tint $0x80
            GLOBAL(int80_landing_pad)
            \tnop
            \tnop
            END(__kernel_vsyscall)
            ENTRY(kernel_code)
            \tnop
            GLOBAL(kernel_interrupted)
            \tnop
            \tnop
            GLOBAL(kernel_fixup)
            \tnop
            \tnop
            GLOBAL(kernel_push)
            \tpushq %rax
            \tnop
            END(kernel_code)
            ENTRY(emulated_function)
            \tret
            END(emulated_function)

            """
        // The event's own instruction, then four bytes that a patched CALL would have covered.
        for (vector, _) in vectors {
            let instruction =
                vector == Vector.breakpoint
                ? "int3"
                : (standIns.contains(vector) ? Platform.instruction(of: vector) : nil) ?? "int $\(vector)"
            text += "ENTRY(user_int_\(vector))\n\t\(instruction)\n\t.rept 4\n\tnop\n\t.endr\nEND(user_int_\(vector))\n"
            text +=
                "ENTRY(kernel_int_\(vector))\n\t\(instruction)\n\t.rept 4\n\tnop\n\t.endr\nEND(kernel_int_\(vector))\n"
        }
        text += debugSiteText() + lastCallText() + "ENTRY(user_int_others)\n"
        for (vector, _) in Addresses.otherInterrupts(vectors: Set(vectors.map(\.vector)), standIns) {
            text += "\tint $\(vector)\n"
        }
        text += "END(user_int_others)\n"
        if let test = table.machine.selfTest {
            text += """
                ENTRY(\(test.routine))
                \t.rept \(test.siteOffset)
                \tnop
                \t.endr
                \tint3
                \t.rept 5
                \tnop
                \t.endr
                END(\(test.routine))
                ENTRY(\(test.target))
                \tmovl $1, (%rdi)
                \tret
                END(\(test.target))

                """
        }
        return text
    }

    /// User code that a debugger watches: an access, and a load of SS in front of each instruction that enters the kernel.
    func debugSiteText() -> String {
        var text = "ENTRY(user_access)\n\tcmpb $0, (%rbx)\n\tnop\n\tnop\nEND(user_access)\n"
        for (vector, _) in vectors {
            let instruction: String
            switch vector {
            case Vector.debug: instruction = "nop"
            case Vector.breakpoint: instruction = "int3"
            case Vector.overflow, 0x80: instruction = "int $\(vector)"
            default:
                guard standIns.contains(vector), let own = Platform.instruction(of: vector) else { continue }
                instruction = own
            }
            text +=
                "ENTRY(user_mov_ss_\(vector))\n\tmovw (%rbx), %ss\n\t\(instruction)\n\tnop\n\tnop\nEND(user_mov_ss_\(vector))\n"
        }
        return text
    }

    /// User code with a prefix that changes nothing but the length of INT n, and a SYSCALL at the very end of user memory.
    func lastCallText() -> String {
        var text = ""
        for vector in prefixedVectors {
            let instruction = vector == Vector.breakpoint ? "int3" : "int $\(vector)"
            text += "ENTRY(user_prefixed_\(vector))\n\trep \(instruction)\n\tnop\n\tnop\nEND(user_prefixed_\(vector))\n"
        }
        return text + "ENTRY(user_last_call)\n\tsyscall\nEND(user_last_call)\n"
    }

    var prefixedVectors: [UInt8] {
        vectors.map(\.vector).filter { [Vector.breakpoint, Vector.overflow, 0x80].contains($0) }
    }

    func assemblyInput() -> AssemblyInput {
        var constants: [String: Int64] = [
            "PLATFORM_XEN_PV": platform.isXen ? 1 : 0,
            "ALTERNATIVES_APPLIED": isPatched ? 1 : 0,
            "CPU_VENDOR_INTEL": platform == .bareMetalAMD ? 0 : 1,
            "CPU_VENDOR_AMD": platform == .bareMetalAMD ? 1 : 0,
        ]
        let traits = platform.traits(options: table.options)
        constants["CPU_BUG_MELTDOWN"] = traits.meltdown ? 1 : 0
        constants["CPU_BUG_SWAPGS"] = traits.swapgsSpeculates ? 1 : 0
        for (name, value) in table.options { constants[name] = value ? 1 : 0 }
        for variable in generation.perCPU { constants[variable.name] = Int64(bitPattern: variable.offset) }

        var placements: [String: UInt64] = [:]
        var sizes: [String: UInt64] = [:]
        for function in functions { sizes[function.name] = function.size_bytes }
        for (name, placement) in table.machine.code {
            placements[name] = placement.address
            if placement.size_bytes > 0 { sizes[name] = placement.size_bytes }
        }
        placements["user_code"] = Addresses.userCode
        placements["user_signal_handler"] = Addresses.userSignalHandler
        placements["user_int_others"] = Addresses.userOtherInterrupts
        placements["user_access"] = Addresses.userAccess
        placements["__kernel_vsyscall"] = Addresses.userVDSO32
        // SYSCALL has two bytes.
        placements["user_last_call"] = table.machine.userEnd &- 2
        for vector in prefixedVectors {
            placements["user_prefixed_\(vector)"] = Addresses.userPrefixed + UInt64(vector) * 16
        }
        for (vector, _) in vectors {
            placements["user_int_\(vector)"] = Addresses.userInterrupts + UInt64(vector) * 16
            placements["user_mov_ss_\(vector)"] = Addresses.userMovSS + UInt64(vector) * 16
        }
        if let test = table.machine.selfTest {
            placements[test.routine] = test.address
            sizes[test.routine] = test.size_bytes
            sizes[test.target] = test.targetSize_bytes
        }
        let rows = generatedRows().map(\.text).joined(separator: "\n") + "\n"
        for feature in sources?.absentFeatures ?? [] { constants[feature] = 0 }
        var input = AssemblyInput(
            sources: codeTexts(rows: SourceText(name: Expansion.tableFile, text: rows)) + [
                SourceText(name: "c-functions", text: modelText()),
                SourceText(name: "interrupted-code", text: siteText()),
            ],
            constants: constants,
            externals: Dictionary(
                generation.data.map { ($0.name, Addresses.kernelData &+ $0.offset) },
                uniquingKeysWith: { one, _ in one }),
            placements: placements, sizes: sizes, origin: table.machine.textOrigin,
            overrides: table.routines.map { SourceText(name: $0.name, text: $0.text) })
        if sources != nil {
            input.gapRoutine = Expansion.gapRoutine
            input.gapData.words = (Addresses.gapWordsPerCPU, Addresses.gapWords)
            input.gapData.unknown = (Addresses.gapDataPerCPU, Addresses.gapData)
            input.rewrittenJumps = generation.tree.rewrittenJumps[platform.rawValue] ?? [:]
        }
        return input
    }
}

import Assembler
import EntryCode
import Machine
import Testing

struct ExpansionTests {
    private func table(_ kernel: String, _ routines: [(String, String)] = []) throws -> EntryTable {
        var members: [JSON.Member] = [JSON.Member("kernel", .string(kernel))]
        if !routines.isEmpty {
            members.append(JSON.Member("routines", .object(routines.map { JSON.Member($0.0, .string($0.1)) })))
        }
        return try EntryTable.read(JSON.object(members))
    }

    static let kernels = ["linux-5.2", "linux-5.3"]

    @Test("the same table expands to the same code and memory", arguments: kernels, Platform.allCases)
    func deterministic(kernel: String, platform: Platform) throws {
        let first = try table(kernel).expand(for: platform)
        let second = try table(kernel).expand(for: platform)
        #expect(first.program.instructions == second.program.instructions)
        #expect(first.program.addresses == second.program.addresses)
        #expect(first.program.symbols == second.program.symbols)
        #expect(first.machine.idt == second.machine.idt)
        #expect(first.hypervisor?.trapTable == second.hypervisor?.trapTable)
        for address in stride(from: first.layout.perCPUBase, to: first.layout.perCPUBase + 0x3000, by: 8) {
            #expect(first.machine.memory.peek(address) == second.machine.memory.peek(address))
        }
        #expect(listing(of: first.program) == listing(of: second.program))
    }

    @Test("every row of the table has code at its symbol; the listing shows it", arguments: kernels, Platform.allCases)
    func symbols(kernel: String, platform: Platform) throws {
        let table = try table(kernel)
        let image = try table.expand(for: platform)
        let text = listing(of: image.program)
        for entry in table.entries where table.applies(entry.option) {
            let address = try #require(image.program.address(of: entry.symbol), "\(entry.symbol)")
            #expect(image.program.index(at: address) >= 0, "\(entry.symbol)")
            #expect(text.contains("ENTRY(\(entry.symbol))"), "\(entry.symbol)")
        }
        for thunk in table.xen.thunks where thunk != "machine_check" {
            #expect(image.program.address(of: "xen_" + thunk) != nil, "\(thunk)")
        }
    }

    @Test("what a listing prints assembles again, address by address", arguments: kernels, Platform.allCases)
    func listingReads(kernel: String, platform: Platform) throws {
        let program = try table(kernel).expand(for: platform).program
        var placements: [String: UInt64] = [:]
        var sizes: [String: UInt64] = [:]
        for routine in program.routines {
            placements[routine.name] = routine.address
            sizes[routine.name] = routine.size_bytes
        }
        // C functions print as their pseudo-instruction, which is text like any other.
        let again = try assemble(
            AssemblyInput(
                sources: [SourceText(name: "listing", text: listing(of: program))], externals: [:],
                placements: placements,
                sizes: sizes))
        #expect(again.addresses.count == program.addresses.count)
        #expect(Set(again.addresses) == Set(program.addresses))
    }

    @Test("every executed instruction knows its file and line", arguments: kernels)
    func lines(kernel: String) throws {
        let program = try table(kernel).expand(for: .bareMetalIntel).program
        for (index, line) in program.lines.enumerated() {
            #expect(Int(line.file) < program.files.count && line.line > 0, "\(program.addresses[index])")
        }
        #expect(program.files.contains("idtentry/entry_64.s"))
        #expect(program.files.contains("entry-table"))
    }

    @Test("options and platform choose instructions")
    func alternatives() throws {
        func text(_ platform: Platform, _ options: String = "{}") throws -> String {
            let document = "{\"kernel\": \"linux-5.3\", \"options\": \(options)}"
            return listing(of: try EntryTable.read(Array(document.utf8)).expand(for: platform).program)
        }
        let intel = try text(.bareMetalIntel)
        let amd = try text(.bareMetalAMD)
        let xen = try text(.xenPV)
        #expect(intel.contains("%cr3") && !amd.contains("%cr3") && !xen.contains("%cr3"))
        #expect(intel.contains("clac") && amd.contains("clac") && !xen.contains("clac"))
        #expect(!(try text(.bareMetalIntel, "{\"SMAP\": false}")).contains("clac"))
        #expect(!(try text(.bareMetalIntel, "{\"PTI\": false}")).contains("%cr3"))
        #expect(xen.contains("syscall") && !intel.contains("call\txen_irq_disable_direct"))
    }

    @Test("a routine of the table takes the place of the kernel's")
    func override() throws {
        let text = "ENTRY(xen_iret)\n\tnop\n\tpushq\t$0\n\tjmp\thypercall_iret\nEND(xen_iret)\n"
        let base = try table("linux-5.3").expand(for: .xenPV).program
        let changed = try table("linux-5.3", [("xen_iret", text)]).expand(for: .xenPV).program
        func opcodes(_ program: Program) throws -> [Opcode] {
            let routine = try #require(program.routines.first { $0.name == "xen_iret" })
            return program.instructions[routine.first..<(routine.first + routine.count)].map(\.opcode)
        }
        #expect(try opcodes(base) == [.push, .jmp])
        #expect(try opcodes(changed) == [.nop, .push, .jmp])
        let routine = try #require(changed.routines.first { $0.name == "xen_iret" })
        #expect(changed.files[Int(changed.lines[routine.first].file)] == "routines/xen_iret")
        #expect(changed.lines[routine.first].line == 2)
        #expect(changed.routines.filter { $0.name == "xen_iret" }.count == 1)
    }

    @Test("a new routine may be a gate's target")
    func addition() throws {
        let document = """
            {"kernel": "linux-5.3", "routines": {"my_bounds": "ENTRY(my_bounds)\\n\\tjmp\\tbounds\\nEND(my_bounds)\\n"},
             "idt": [{"vector": 5, "entry": "my_bounds"}]}
            """
        let image = try EntryTable.read(Array(document.utf8)).expand(for: .bareMetalAMD)
        #expect(image.machine.idt[5].offset == image.program.address(of: "my_bounds"))
        // The stub that it jumps to is no leftover.
        #expect(!image.findings.contains { $0.message.contains("'bounds'") })
    }

    @Test("an entry that neither gate nor row nor code leads to")
    func unreachable() throws {
        let document = """
            {"kernel": "linux-5.3", "idt": [{"vector": 5, "entry": "bounds"}],
             "xen": {"traps": [{"native": "bounds", "entry": "xen_bounds"}]}}
            """
        let image = try EntryTable.read(Array(document.utf8)).expand(for: .bareMetalAMD)
        let unreached = image.findings.filter { $0.rule == "unreachable-entry" }
        #expect(unreached.contains { $0.pointer == "/entries/0" && $0.message.contains("'divide_error'") })
        // The failsafe callback jumps to general_protection.
        #expect(!unreached.contains { $0.message.contains("'bounds'") || $0.message.contains("'general_protection'") })
    }

    static let broken: [(String, String, String, Int)] = [
        ("divide_error", "ENTRY(divide_error)\n\tfrob\t%rax\nEND(divide_error)\n", "unknown-mnemonic", 2),
        ("divide_error", "ENTRY(divide_error)\n\tnop\n\tpushq\t%zax\nEND(divide_error)\n", "unknown-register", 3),
        ("error_entry", "ENTRY(error_entry)\n\tjmp\tnowhere\nEND(error_entry)\n", "dangling-reference", 2),
    ]

    @Test("an error in a routine: pointer, line, code", arguments: broken)
    func routineError(name: String, text: String, code: String, line: Int) throws {
        let table = try table("linux-5.3", [(name, text)])
        for platform in Platform.allCases {
            let error = try #require(throws: InvalidConfiguration.self) { _ = try table.expand(for: platform) }
            let finding = try #require(error.findings.first { $0.rule == code }, "\(error.findings)")
            #expect(finding.pointer == "/routines/\(name)")
            #expect(finding.location.hasPrefix("routines/\(name):\(line):"), "\(finding.location)")
        }
    }

    @Test("Xen's trap table is the converted IDT; an IST that is not okay is dropped")
    func trapTable() throws {
        let table = try table("linux-5.3")
        let image = try table.expand(for: .xenPV)
        let hypervisor = try #require(image.hypervisor)
        for row in table.idt where table.applies(row.option) {
            let trap = table.xen.traps.first { $0.native == row.entry }
            let entry = try #require(hypervisor.trapTable[Int(row.vector)], "\(row.entry)")
            #expect(entry.address == image.program.address(of: trap?.entry ?? row.entry), "\(row.entry)")
            #expect(entry.masksEvents == row.isInterruptGate)
            #expect(entry.privilege == row.dpl)
        }
        #expect(hypervisor.trapTable.count { $0 != nil } == table.idt.count { table.applies($0.option) })
        // #PF under KVM's option stays what it is for a Xen guest.
        let kvm = try EntryTable.read(Array("{\"kernel\": \"linux-5.3\", \"options\": {\"KVM_GUEST\": true}}".utf8))
        let guest = try kvm.expand(for: .xenPV)
        #expect(guest.hypervisor?.trapTable[14]?.address == guest.program.address(of: "xen_page_fault"))
        let metal = try kvm.expand(for: .bareMetalAMD)
        #expect(metal.machine.idt[14].offset == metal.program.address(of: "async_page_fault"))
        #expect(metal.vectors.filter { $0.vector == 14 }.map(\.entry) == ["async_page_fault"])
    }

    @Test("gates of the IDT, device vectors included")
    func gates() throws {
        let table = try table("linux-5.3")
        let image = try table.expand(for: .bareMetalIntel)
        for row in table.idt where table.applies(row.option) {
            let gate = image.machine.idt[Int(row.vector)]
            #expect(gate.isPresent && gate.ist == row.ist && gate.privilege == row.dpl)
            #expect(gate.offset == image.program.address(of: row.entry))
        }
        #expect(image.machine.idt[32].offset == image.program.address(of: "irq_entries_start"))
        #expect(!image.machine.idt[200].isPresent)
    }
}

import EntryCode
import Testing
import Verification

/// Events that arrive in the handler of another event, and state that a stub loses on the way.
struct RoutingTests {
    @Test("an entry that calls the handler of another event")
    func handler() throws {
        var variant = try Variant("linux-5.3")
        try variant.entry("overflow", "handler", "do_bounds")
        try expect(variant, [])
        let result = try variant.simulate("*/overflow/*")
        for scenario in result.results where scenario.scenario.probe != .softwareInterrupt {
            let first = try #require(scenario.violations.first, "\(scenario.scenario.name)")
            #expect(first.rule == "progress")
            #expect(first.explanation.contains("arrives in do_bounds"))
            #expect(first.explanation.contains("do_overflow"))
            #expect(first.consequence?.text == "do_bounds takes the event for one of its own")
        }
    }

    @Test("a gate that leads to the stub of another vector")
    func gate() throws {
        var variant = try Variant("linux-5.3")
        try variant.gate(2, "entry", "debug")
        let result = try variant.simulate("bare-metal-*/*debug*", "*/divide_error/kernel/*")
        #expect(result.verdict == .violated)
        for scenario in result.results {
            let isNMI = scenario.scenario.vector == 2 && scenario.scenario.probe != .softwareInterrupt
            #expect((scenario.violations.first?.rule == "progress") == isNMI, "\(scenario.scenario.name)")
        }
    }

    @Test("a row of the trap table that leads to the thunk of another vector")
    func trapTable() throws {
        var variant = try Variant("linux-5.3")
        try variant.trap("overflow", "entry", "xen_divide_error")
        try expect(variant, [])
        for scenario in try variant.simulate("*/overflow/*").results where scenario.scenario.probe != .softwareInterrupt
        {
            let isPV = scenario.scenario.platform == .xenPV
            #expect((scenario.violations.first?.rule == "progress") == isPV, "\(scenario.scenario.name)")
        }
    }

    @Test("the vector that do_IRQ reads from orig_ax")
    func vectorOfInterrupt() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("common_interrupt", "addq\t$-0x80, (%rsp)", "nop")
        let result = try variant.simulate("bare-metal-*/irq_entries_start/*", "bare-metal-*/apic_timer_interrupt/*")
        for scenario in result.results where scenario.scenario.probe != .softwareInterrupt {
            let isCommon = scenario.scenario.event == "irq_entries_start"
            #expect((scenario.violations.first?.rule == "pt-regs-faithful") == isCommon, "\(scenario.scenario.name)")
        }
        let explanation = try #require(result.results.first { $0.verdict == .violated }?.violations.first).explanation
        #expect(explanation.contains("orig_ax") && explanation.contains("0x0000000000000020"))
    }

    @Test("an error code left in orig_ax is a system call to restart, for user mode only")
    func numberOfSystemCall() throws {
        var variant = try Variant("linux-5.3")
        variant.write(
            "segment_not_present", "ASM_CLAC", "call error_entry", "movq %rsp, %rdi", "movq ORIG_RAX(%rsp), %rsi",
            "call do_segment_not_present", "jmp error_exit")
        for scenario in try variant.simulate("*/segment_not_present/*").results {
            guard scenario.scenario.probe != .softwareInterrupt else { continue }
            #expect(
                (scenario.violations.first?.rule == "pt-regs-faithful") == scenario.scenario.context.isUser,
                "\(scenario.scenario.name)")
        }
    }
}

/// Where pt_regs lies, and how often the handler runs.
struct HandlingTests {
    @Test("pt_regs of an event from user mode is the one that task_pt_regs() finds")
    func placeOfRegisters() throws {
        var variant = try Variant("linux-5.3")
        // A faithful copy, but below the place.
        try variant.edit(
            "error_entry", "\tmovq\t%rax, %rsp\n", "\tmovq\t%rax, %rsp\n.rept 21\n\tpushq\t20*8(%rsp)\n.endr\n")
        for scenario in try variant.simulate("*/divide_error/user/return").results {
            #expect(scenario.violations.first?.rule == "pt-regs-faithful", "\(scenario.scenario.name)")
            #expect(scenario.violations.first?.explanation.contains("task_pt_regs()") == true)
        }
    }

    @Test("a stub that calls its handler twice")
    func twice() throws {
        var variant = try Variant("linux-5.3")
        variant.write(
            "divide_error", "ASM_CLAC", "pushq $-1", "call error_entry", "movq %rsp, %rdi", "xorl %esi, %esi",
            "call do_divide_error", "movq %rsp, %rdi", "xorl %esi, %esi", "call do_divide_error", "jmp error_exit")
        for scenario in try variant.simulate("*/divide_error/*/return").results {
            let first = scenario.violations.first
            #expect(first?.rule == "progress" && first?.explanation.contains("second time") == true)
        }
    }
}

extension HandlingTests {
    @Test("an NMI handled twice, though no second one came")
    func twiceForNMI() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("nmi", "call\tdo_nmi\n", "call\tdo_nmi\n\tmovq\t%rsp, %rdi\n\tcall\tdo_nmi\n")
        let result = try variant.run("bare-metal-amd/nmi/user/return")
        #expect(result.violations.first?.rule == "progress")
    }

    @Test("a stub that calls no handler is called just that", arguments: ["int3", "divide_error"])
    func never(event: String) throws {
        var variant = try Variant("linux-5.3")
        variant.write(event, "ASM_CLAC", "pushq $-1", "call error_entry", "jmp error_exit")
        for scenario in try variant.simulate("*/\(event)/*/return").results {
            #expect(scenario.violations.first?.rule == "progress", "\(scenario.scenario.name)")
            #expect(scenario.violations.first?.explanation.contains("no handler has run") == true)
        }
    }

    @Test("a table's own gate of the vector that stands for SYSCALL is an ordinary gate", arguments: [0, 3])
    func gateOfStandIn(privilege: Int64) throws {
        var document = try Variant("linux-5.3").document
        let rows = try #require(document["idt"]?.arrayValue)
        let row: [JSON.Member] = [
            JSON.Member("vector", .integer(Int64(Platform.syscallVector))), JSON.Member("entry", "overflow"),
            JSON.Member("ist", .integer(0)), JSON.Member("dpl", .integer(privilege)), JSON.Member("type", "interrupt"),
        ]
        document.set("idt", .array(rows + [.object(row)]))
        let result = try EntryTable.read(document).simulate(
            SimulationRequest(
                selection: ScenarioSelection(patterns: ["bare-metal-*/overflow-vector31/user/software-interrupt"])))
        #expect(result.results.count == 2)
        for scenario in result.results { #expect((scenario.verdict == .violated) == (privilege == 3)) }
    }

    @Test("a gate for programs that the table adds", arguments: [0, 3])
    func furtherGate(privilege: Int64) throws {
        var document = try Variant("linux-5.3").document
        let rows = try #require(document["idt"]?.arrayValue)
        let row: [JSON.Member] = [
            JSON.Member("vector", .integer(40)), JSON.Member("entry", "overflow"), JSON.Member("ist", .integer(0)),
            JSON.Member("dpl", .integer(privilege)), JSON.Member("type", "interrupt"),
        ]
        document.set("idt", .array(rows + [.object(row)]))
        let table = try EntryTable.read(document)
        let result = table.simulate(
            SimulationRequest(selection: ScenarioSelection(patterns: ["bare-metal-*/overflow-vector40/*"])))
        #expect(result.results.count == 2)
        for scenario in result.results {
            #expect(scenario.scenario.probe == .softwareInterrupt)
            #expect((scenario.verdict == .violated) == (privilege == 3))
        }
    }
}

/// State beside the general registers.
struct HiddenStateTests {
    private func stub(_ lines: String...) throws -> Variant {
        var variant = try Variant("linux-5.3")
        variant.write(
            "divide_error", "ASM_CLAC", ".if !PLATFORM_XEN_PV", "pushq %rax", "pushq %rcx", "pushq %rdx",
            lines.joined(separator: "\n\t"), "popq %rdx", "popq %rcx", "popq %rax", ".endif", "pushq $-1",
            "idtentry_part do_divide_error, 0, 0, 0")
        return variant
    }

    @Test("the FS base belongs to the program")
    func baseOfFS() throws {
        let variant = try stub("movl $0xc0000100, %ecx", "xorl %eax, %eax", "xorl %edx, %edx", "wrmsr")
        let result = try variant.run("bare-metal-amd/divide_error/user/return")
        let violation = try #require(result.violations.first)
        #expect(violation.rule == "resumption" && violation.explanation.contains("FS base"))
        #expect(violation.consequence?.text.contains("stays wrong without a message") == true)
        #expect(try variant.run("xen-pv/divide_error/user/return").verdict == .holds)
    }

    @Test("data selectors are as they were", arguments: ["ds", "es", "fs", "gs"])
    func selectors(register: String) throws {
        let variant = try stub("movl $0x2b, %eax", "movl %eax, %\(register)")
        let result = try variant.run("bare-metal-amd/divide_error/user/return")
        #expect(result.verdict == .violated)
        #expect(try stub("nop").run("bare-metal-amd/divide_error/user/return").verdict == .holds)
    }

    @Test("a CR3 that is no page table: the next instruction cannot be fetched", arguments: ["0", "0x12344000"])
    func strayPageTable(value: String) throws {
        let variant = try stub("movq $\(value), %rax", "movq %rax, %cr3")
        let result = try variant.run("bare-metal-intel/divide_error/kernel/return")
        let violation = try #require(result.violations.first)
        #expect(violation.rule == "kernel-page-table")
        #expect(violation.instruction.contains("%cr3"))
        #expect(violation.consequence?.rule == "triple-fault")
    }

    @Test("another PCID of the same page tables is not another page table")
    func otherPCID() throws {
        let variant = try stub(
            "movq %cr3, %rax", "movq %rax, %rcx", "xorq $6, %rax", "movq %rax, %cr3", "movq %rcx, %cr3")
        #expect(try variant.run("bare-metal-intel/divide_error/kernel/return").verdict == .holds)
    }

    @Test("the kernel's page tables under the user's PCID")
    func userPCID() throws {
        let variant = try stub("movq %cr3, %rax", "orq $0x800, %rax", "movq %rax, %cr3")
        let result = try variant.run("bare-metal-intel/divide_error/kernel/return")
        #expect(result.violations.first?.rule == "kernel-page-table")
    }

    @Test("an NMI from user mode must not do the exit work")
    func exitWorkOfNMI() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("nmi", "call\tdo_nmi\n", "call\tdo_nmi\n\tjmp\tretint_user\n")
        for scenario in try variant.simulate("*/nmi/*").results where scenario.scenario.probe != .softwareInterrupt {
            let isAffected = scenario.scenario.platform != .xenPV && scenario.scenario.context.isUser
            #expect((scenario.violations.first?.rule == "nmi-masking") == isAffected, "\(scenario.scenario.name)")
        }
    }

    @Test("current_task is as it was")
    func currentTask() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit(
            "error_exit", "\tTRACE_IRQS_OFF\n", "\tTRACE_IRQS_OFF\n\tmovq\t$0, PER_CPU_VAR(current_task)\n")
        let result = try variant.run("bare-metal-amd/divide_error/kernel/return")
        #expect(result.violations.map(\.rule) == ["stack-bounds"])
    }

    @Test("who set DF, and who enabled interrupts, is said as it is")
    func origins() throws {
        var variant = try Variant("linux-5.3")
        try variant.edit("error_entry", "\tcld\n", "\tstd\n")
        let user = try #require(try variant.run("bare-metal-amd/divide_error/user/return").violations.first)
        #expect(user.rule == "direction-flag" && user.explanation.contains("as user code left it"))
        let kernel = try #require(try variant.run("bare-metal-amd/divide_error/kernel/return").violations.first)
        #expect(kernel.rule == "direction-flag" && !kernel.explanation.contains("user code"))
        variant = try stub("sti")
        let enabled = try #require(try variant.run("bare-metal-amd/divide_error/kernel/return").violations.first)
        #expect(enabled.rule == "interrupt-flag" && enabled.explanation.contains("the entry code has enabled them"))
    }

    @Test("an empty IDT has no gates; a HLT is named where it stands")
    func places() throws {
        var variant = try Variant("linux-5.3")
        variant.write("error_entry", "hlt")
        let halted = try #require(try variant.run("bare-metal-amd/divide_error/user/return").violations.first)
        #expect(halted.routine == "error_entry" && halted.instruction == "hlt")
        variant = try Variant("linux-5.3")
        try variant.removeGate(0)
        try variant.removeGate(8)
        try variant.removeGate(11)
        try variant.removeGate(13)
        let first = try #require(try variant.run("bare-metal-amd/divide_error/user/return").violations.first)
        #expect(first.explanation.contains("user_code"), "\(first.explanation)")
    }
}

import EntryCode
package import Machine
package import XenPV

/// The console lines that a user would see (Linux 5.2 `arch/x86/kernel/dumpstack.c`, `process_64.c`, `mm/fault.c`).
package enum Console {
    /// The words of `die()` for a vector.
    static func trapName(_ vector: UInt8) -> String {
        switch vector {
        case Vector.divideError: "divide error"
        case Vector.debug: "debug"
        case Vector.nmi: "NMI"
        case Vector.breakpoint: "int3"
        case Vector.overflow: "overflow"
        case Vector.boundRange: "bounds"
        case Vector.invalidOpcode: "invalid opcode"
        case Vector.deviceNotAvailable: "unexpected #NM exception"
        case Vector.doubleFault: "double fault"
        case 9: "coprocessor segment overrun"
        case Vector.invalidTSS: "invalid TSS"
        case Vector.segmentNotPresent: "segment not present"
        case Vector.stackSegment: "stack segment"
        case Vector.generalProtection: "general protection fault"
        case Vector.pageFault: "page fault"
        case Vector.floatingPoint: "fpu exception"
        case Vector.alignmentCheck: "alignment check"
        case Vector.machineCheck: "machine check"
        case Vector.simdFloatingPoint: "simd exception"
        default: "trap \(vector)"
        }
    }

    /// The signal that a user program gets for a vector.
    static func signalName(_ vector: UInt8) -> String {
        switch vector {
        case Vector.divideError, Vector.floatingPoint, Vector.simdFloatingPoint, 9: "SIGFPE"
        case Vector.debug, Vector.breakpoint: "SIGTRAP"
        case Vector.invalidOpcode: "SIGILL"
        case Vector.segmentNotPresent, Vector.stackSegment, Vector.alignmentCheck: "SIGBUS"
        default: "SIGSEGV"
        }
    }

    static func oops(_ run: ScenarioRun, regs: UInt64, errorCode: UInt64, vector: UInt8) -> [String] {
        func slot(_ index: Int) -> UInt64 { run.machine.memory.peek(regs &+ UInt64(index) &* 8) ?? 0 }
        func hex(_ value: UInt64, _ digits: Int = 16) -> String { hexadecimalDigits(value, digits: digits) }
        let isolation = run.layout.usesPageTableIsolation ? "PTI" : "NOPTI"
        let preempt = run.image.table.options["PREEMPT"] ?? false ? "PREEMPT " : ""
        let suffix = "[#1] \(preempt)SMP \(isolation)"
        var lines: [String] = []
        if vector == Vector.pageFault {
            // Where the entry code reads CR2 it hands it over, whatever tracing does to the register afterwards.
            let isHandedOver = run.image.table.options["READ_CR2_IN_ENTRY"] ?? false
            let own = run.current.flatMap { $0.event.vector == vector ? $0.event.address : nil }
            let address =
                (isHandedOver ? own : nil) ?? CFunctionCall.faultAddress(run.machine, run.hypervisor)
            lines.append("BUG: unable to handle page fault for address: \(hex(address))")
            let mode = errorCode & 4 != 0 ? "user" : "supervisor"
            let access = errorCode & 16 != 0 ? "instruction fetch" : errorCode & 2 != 0 ? "write access" : "read access"
            lines.append("#PF: \(mode) \(access) in \(errorCode & 4 != 0 ? "user" : "kernel") mode")
            lines.append(
                "#PF: error_code(0x\(hex(errorCode, 4))) - \(errorCode & 1 != 0 ? "permissions violation" : "not-present page")"
            )
            lines.append("Oops: \(hex(errorCode & 0xFFFF, 4)) \(suffix)")
        } else {
            let words = faultWords(run, regs: regs, errorCode: errorCode, vector: vector)
            lines += words.before
            lines.append("\(words.oops): \(hex(errorCode & 0xFFFF, 4)) \(suffix)")
        }
        let version = run.image.release
        let task = run.scenario.context.isUser ? "PID: 1 Comm: init" : "PID: 0 Comm: swapper/0"
        lines.append("CPU: 0 \(task) Not tainted \(version) #1")
        let rip = slot(PtRegs.rip)
        // Printed as int: all of what a wrong frame has there, but on Xen PV not the event mask.
        let cs = slot(PtRegs.cs) & 0xFFFF_FFFF
        lines.append("RIP: \(hex(cs, 4)):\(run.program.describe(rip))")
        lines.append(
            "RSP: \(hex(slot(PtRegs.ss) & 0xFFFF_FFFF, 4)):\(hex(slot(PtRegs.rsp))) EFLAGS: \(hex(slot(PtRegs.flags), 8))"
        )
        let names: [[(String, Int)]] = [
            [("RAX", PtRegs.rax), ("RBX", PtRegs.rbx), ("RCX", PtRegs.rcx)],
            [("RDX", PtRegs.rdx), ("RSI", PtRegs.rsi), ("RDI", PtRegs.rdi)],
            [("RBP", PtRegs.rbp), ("R08", PtRegs.r8), ("R09", PtRegs.r9)],
            [("R10", PtRegs.r10), ("R11", PtRegs.r11), ("R12", PtRegs.r12)],
            [("R13", PtRegs.r13), ("R14", PtRegs.r14), ("R15", PtRegs.r15)],
        ]
        for row in names { lines.append(row.map { "\($0.0): \(hex(slot($0.1)))" }.joined(separator: " ")) }
        let cpu = run.machine.cpu
        lines.append(
            "FS:  \(hex(cpu.fsBase))(\(hex(UInt64(cpu.fs), 4))) GS:\(hex(cpu.gsBase))(\(hex(UInt64(cpu.gs), 4))) knlGS:\(hex(cpu.kernelGSBase))"
        )
        lines.append(
            "CS:  \(hex(UInt64(cpu.cs), 4)) DS: \(hex(UInt64(cpu.ds), 4)) ES: \(hex(UInt64(cpu.es), 4)) CR0: \(hex(cpu.cr0))"
        )
        lines.append("CR2: \(hex(cpu.cr2)) CR3: \(hex(cpu.cr3)) CR4: \(hex(cpu.cr4))")
        lines.append("Call Trace:")
        if scenarioRunsSelfTest(run), let test = run.image.table.machine.selfTest {
            for line in test.callTrace where run.hypervisor != nil || !line.hasPrefix("xen_") {
                lines.append(" \(line)")
            }
        } else {
            lines.append(" (the interrupted context of scenario \(run.scenario.name))")
        }
        return lines
    }

    /// The words of `die()` and the line before them, as this generation of kernels puts them.
    private static func faultWords(
        _ run: ScenarioRun, regs: UInt64, errorCode: UInt64, vector: UInt8
    ) -> (before: [String], oops: String) {
        let words = run.image.console
        let plain = trapName(vector)
        func filled(_ text: String, _ value: String) -> String { text.replacing("%", with: value) }
        switch vector {
        case Vector.generalProtection where errorCode != 0: return ([], words.selectorFault ?? plain)
        case Vector.generalProtection:
            guard let address = operandAddress(run, regs: regs) else { return ([], plain) }
            let isCanonical = UInt64(bitPattern: Int64(bitPattern: address << 16) >> 16) == address
            let text = isCanonical ? words.addressFault : words.nonCanonicalFault
            return ([], text.map { filled($0, String(address, radix: 16)) } ?? plain)
        case Vector.doubleFault:
            // `get_stack_guard_info`: the stack that begins where the page of the fault address ends.
            let next = (run.machine.cpu.cr2 &+ 4095) & ~4095
            let stacks = run.image.table.machine.stacks
            let hit = stacks.first { $0.value.base <= next && next < $0.value.end }
            if let line = words.stackGuard, let oops = words.stackGuardOops,
                let name = hit.flatMap({ words.stackNames[$0.key] })
            {
                return ([filled(line, name)], oops)
            }
            return (words.doubleFault.map { [filled($0, String(errorCode, radix: 16))] } ?? [], plain)
        default: return ([], plain)
        }
    }

    /// `get_kernel_gp_address`: what the operand of the instruction at pt_regs->ip addresses; a register operand counts
    /// as its value. Nil for instructions without one.
    private static func operandAddress(_ run: ScenarioRun, regs: UInt64) -> UInt64? {
        func slot(_ index: Int) -> UInt64 { run.machine.memory.peek(regs &+ UInt64(index) &* 8) ?? 0 }
        func value(_ register: Register) -> UInt64 {
            if register == .rsp { return slot(PtRegs.rsp) }
            return PtRegs.registers.firstIndex(of: register).map(slot) ?? 0
        }
        let index = Int(run.program.index(at: slot(PtRegs.rip)))
        guard run.program.instructions.indices.contains(index) else { return nil }
        let instruction = run.program.instructions[index]
        switch instruction.opcode {
        // Encoded with a ModRM byte that names RAX.
        case .swapgs: return value(.rax)
        default:
            switch instruction.form {
            case .memory, .registerToMemory, .memoryToRegister, .immediateToMemory, .indirectMemory: break
            default: return nil
            }
            let memory = instruction.memory
            var address = UInt64(bitPattern: Int64(memory.displacement))
            if memory.base != .none && memory.base != .rip { address &+= value(memory.base) }
            if memory.index != .none { address &+= value(memory.index) &* UInt64(memory.scale) }
            if memory.segment == .gs { address &+= run.machine.cpu.gsBase }
            return address
        }
    }

    private static func scenarioRunsSelfTest(_ run: ScenarioRun) -> Bool { run.scenario.probe == .selfTest }

    /// What Xen prints when it ends a domain, up to the registers; addresses of its own text are nobody's to know here
    /// (Xen 4.17 `x86/x86_64/entry.S`, `dom_crash_sync_extable`; `x86/traps.c`, `asm_domain_crash_synchronous`,
    /// `pv_inject_event`; `x86/pv/iret.c`, `do_iret`; boots `vmap_int3_absent` and `df_noist`).
    package static func domainCrash(_ run: ScenarioRun, _ crash: DomainCrash) -> [String] {
        let mnemonic = vectorMnemonic(crash.vector)
        let code = hexadecimalDigits(UInt64(crash.errorCode), digits: 4)
        var lines: [String] = []
        let isNew = run.hypervisor?.version.replaysFaultingReturn ?? true
        // Releases before 4.11 name the object and not the source.
        let file = isNew ? "x86_64/entry.S" : "entry.o"
        func fromEntry(_ symbol: String) -> String {
            "(XEN) domain_crash_sync called from entry.S: fault at \(hiddenAddress) \(file)#\(symbol)"
        }
        switch crash.reason {
        case .unhandledVector:
            lines.append(
                isNew
                    ? "(XEN) d0v0 Unhandled: vec \(crash.vector), \(mnemonic)[\(code)]"
                    : "(XEN) d0:v0: unhandled \(trapName(crash.vector)) fault/trap [#\(crash.vector), ec=\(code)]")
            lines.append(fromEntry("create_bounce_frame"))
        case .missingCallback: lines.append(fromEntry("create_bounce_frame"))
        case .frameNotWritable:
            lines.append("(XEN) Pagetable walk from \(hexadecimalDigits(crash.place, digits: 16)):")
            // Up to 4.10 it counts bytes, and from RIP on anew.
            let bytes = (crash.word >= 2 ? crash.word - 2 : crash.word) * 8
            let step = isNew ? "_\(crash.word)x8" : bytes == 0 ? "" : "_\(bytes)"
            lines.append(fromEntry("domain_crash_page_fault\(step)"))
        case .returnFrameNotReadable:
            lines.append("(XEN) d0v0 Fault while reading IRET context from guest stack")
            let source = isNew ? "arch/x86/pv/iret.c" : "traps.c"
            lines.append("(XEN) domain_crash called from \(source):\(hiddenLine)")
        case .hypervisorFault:
            return [
                "(XEN) Panic on CPU 0:", "(XEN) FATAL TRAP: vector = \(crash.vector) (\(trapName(crash.vector)))",
                "(XEN) [error_code=\(code)]",
            ]
        }
        lines.append("(XEN) Domain 0 (vcpu#0) crashed on cpu#0:")
        // Xen does not know the guest's symbols.
        let cs = hexadecimalDigits(UInt64(run.machine.cpu.cs), digits: 4)
        lines.append("(XEN) RIP:    \(cs):[<\(hexadecimalDigits(crash.address, digits: 16))>]")
        return lines
    }

    /// Stands for what depends on how Xen was built: an address of its text, a line of its source.
    private static let hiddenAddress = "________________"
    private static let hiddenLine = "___"

    /// `#BP` and kin.
    package static func vectorMnemonic(_ vector: UInt8) -> String {
        switch vector {
        case 0: "#DE"
        case 1: "#DB"
        case 2: "NMI"
        case 3: "#BP"
        case 4: "#OF"
        case 5: "#BR"
        case 6: "#UD"
        case 7: "#NM"
        case 8: "#DF"
        case 10: "#TS"
        case 11: "#NP"
        case 12: "#SS"
        case 13: "#GP"
        case 14: "#PF"
        case 16: "#MF"
        case 17: "#AC"
        case 18: "#MC"
        case 19: "#XM"
        case 20: "#VE"
        case 21: "#CP"
        case Platform.syscallVector: "SYSCALL"
        case Platform.sysenterVector: "SYSENTER"
        case Platform.syscall32Vector: "SYSCALL from 32-bit code"
        case Platform.failsafeVector: "the failsafe callback"
        case Platform.callbackVector: "the event callback"
        default: "vector \(vector)"
        }
    }
}

extension Program {
    /// `symbol+0xoffset/0xsize`, or the address where no routine has it.
    package func describe(_ address: UInt64) -> String {
        guard let routine = routine(containing: address) else { return hexadecimal(address) }
        let offset = String(address &- routine.address, radix: 16)
        return "\(routine.name)+0x\(offset)/0x\(String(routine.size_bytes, radix: 16))"
    }
}

import EntryCode
import Machine
import Testing
import Verification

/// What the unmodified Linux 6.1 was seen to do around nested events and in corner cases (facts F27 to F40), on its table.
struct BootFactTests {
    private static let bareMetal = ["bare-metal-intel", "bare-metal-amd"]
    private static let everywhere = bareMetal + ["xen-pv"]
    /// Between these instructions GS base, page tables and stack change hands.
    private static let windows = [
        "entry_SYSCALL_64+0x0", "entry_SYSCALL_64+0x3", "entry_SYSCALL_64+0x20", "entry_SYSCALL_64_safe_stack",
        "entry_SYSRETQ_unsafe_stack", "entry_SYSRETQ_unsafe_stack+0x3",
    ]

    private func kernel(_ sets: String...) throws -> BootKernel {
        let book = try BootBook.shared.get()
        return try BootKernel(try book.kernels(try sets.flatMap { try book.edits($0) }))
    }

    private func holds(_ kernel: BootKernel, _ name: String) throws -> BootRun {
        let run = try kernel.run(name)
        #expect(run.result.verdict == .holds, "\(name): \(run.result.violations.first?.explanation ?? "undecided")")
        return run
    }

    @Test("F27: SYSCALL changes RAX, RCX and R11, INT 0x80 changes RAX; orig_ax, and -ENOSYS at the handler's entry")
    func systemCalls() throws {
        let kernel = try kernel()
        for platform in Self.everywhere {
            for (entry, function) in [
                ("entry_SYSCALL_64", "do_syscall_64"), ("entry_INT80_compat", "do_int80_syscall_32"),
            ] {
                let run = try holds(kernel, "\(platform)/\(entry)/user/return")
                let isSyscall = entry == "entry_SYSCALL_64"
                let number = InterruptedRegisters.value(.rax, isUser: true) | (isSyscall ? 0x8123_0405 : 0)
                let before = try run.moment(of: function)
                let regs = try #require(before["RDI"])
                #expect(before.slot(regs, PtRegs.rax) == UInt64(bitPattern: -38), "\(platform) \(entry)")
                #expect(
                    before.slot(regs, PtRegs.origAX) == (isSyscall ? number : number & 0xFFFF_FFFF),
                    "\(platform) \(entry)")
                if isSyscall {
                    let low = UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: number)))
                    #expect(before["RSI"] == low, "\(platform)")
                }
                let cpu = run.run.machine.cpu
                for register in Register.general where register != .rsp && register != .rax {
                    if isSyscall && (register == .rcx || register == .r11) { continue }
                    #expect(
                        cpu[register] == InterruptedRegisters.value(register, isUser: true),
                        "\(platform) \(entry) \(register)")
                }
                #expect(cpu[.rsp] == run.image.layout.userStackPointer)
                if isSyscall {
                    #expect(cpu[.rcx] == run.run.machine.instructionPointer(run.image.program), "\(platform)")
                    #expect(cpu[.r11] == before.slot(regs, PtRegs.flags), "\(platform)")
                }
            }
        }
    }

    @Test("F28: with TF the first #DB comes one instruction after the return address; no SYSRET")
    func trapFlag() throws {
        let kernel = try kernel()
        for platform in Self.everywhere {
            for entry in ["entry_SYSCALL_64", "entry_INT80_compat"] {
                for probe in ["single-step", "set-trap-flag"] {
                    let run = try holds(kernel, "\(platform)/\(entry)/user/\(probe)")
                    let site = try #require(run.steps.first).address
                    let trap = try run.delivery(of: "asm_exc_debug")
                    // Two bytes of SYSCALL or INT, one of the NOP behind it.
                    #expect(trap.word(0) == site + 3, "\(platform) \(entry) \(probe)")
                    #expect(trap.word(1).map { $0 & 3 } == 3, "\(platform) \(entry) \(probe)")
                    #expect(!run.steps.contains { $0.instruction.hasPrefix("sysret") }, "\(platform) \(entry) \(probe)")
                }
            }
        }
    }

    @Test("F29: MOV SS under TF has no trap of its own; the next instruction has")
    func movSS() throws {
        let kernel = try kernel()
        for platform in Self.everywhere {
            let run = try holds(kernel, "\(platform)/asm_exc_debug/user/mov-ss-single-step")
            let second = try #require(run.steps.dropFirst().first)
            #expect(second.symbol.hasPrefix("user_mov_ss_1+"), "\(second.symbol)")
            #expect(try run.delivery(of: "asm_exc_debug").word(0) == second.address + 1, "\(platform)")
        }
    }

    @Test("F30: what handlers are told about targets that cannot be returned to")
    func badTargets() throws {
        let kernel = try kernel()
        // Selectors that the model uses: SS 53, 0, 47 and f, CS 2b and 17.
        let faults: [(probe: String, bareMetal: (String, UInt64), xen: (String, UInt64))] = [
            ("sigreturn-bad-ss", ("exc_general_protection", 0x50), ("exc_general_protection", 0x50)),
            ("sigreturn-null-ss", ("exc_general_protection", 0), ("exc_general_protection", 0)),
            ("sigreturn-bad-cs", ("exc_general_protection", 0x28), ("exc_general_protection", 0x28)),
            ("sigreturn-absent-cs", ("exc_segment_not_present", 0x14), ("exc_segment_not_present", 0x14)),
            ("sigreturn-bogus-ss", ("exc_general_protection", 0), ("exc_general_protection", 0x44)),
            ("sigreturn-absent-ss", ("exc_general_protection", 0), ("exc_stack_segment", 0xC)),
        ]
        for platform in Self.everywhere {
            for fault in faults {
                let run = try holds(kernel, "\(platform)/asm_exc_page_fault/user/\(fault.probe)")
                let (handler, code) = platform == "xen-pv" ? fault.xen : fault.bareMetal
                let before = try run.moment(of: handler)
                #expect(before["RSI"] == code, "\(platform) \(fault.probe)")
            }
        }
    }

    @Test("F31: a 16-bit stack segment: espfix on bare metal, no such scenario on Xen PV")
    func smallStack() throws {
        let kernel = try kernel()
        for platform in Self.bareMetal {
            let run = try holds(kernel, "\(platform)/asm_exc_page_fault/user/sigreturn-16-bit-ss")
            let espfix = try #require(run.image.program.address(of: "native_irq_return_ldt"))
            #expect(run.steps.contains { $0.address == espfix }, "\(platform)")
            let rsp = run.run.machine.cpu[.rsp]
            #expect(rsp & 0xFFFF_FFFF == run.image.layout.userStackPointer & 0xFFFF_FFFF ^ 0x8001_8000, "\(platform)")
            #expect(rsp >> 32 == kernel.table.machine.espfixStack >> 32, "\(platform)")
            let long = try holds(kernel, "\(platform)/asm_exc_page_fault/user/sigreturn-16-bit-ss-64")
            #expect(long.steps.contains { $0.address == espfix }, "\(platform)")
            #expect(long.run.machine.cpu[.rsp] == long.image.layout.userStackPointer, "\(platform)")
        }
        #expect(try !kernel.image(.xenPV).scenarios().contains { $0.name.contains("16-bit") })
    }

    @Test("F32: a GS selector whose descriptor has gone becomes 0 without a fault that anyone sees")
    func selectorGone() throws {
        let kernel = try kernel()
        for platform in Self.bareMetal {
            let run = try holds(kernel, "\(platform)/asm_exc_segment_not_present/kernel/load-gs")
            #expect(run.run.machine.cpu.gs == 0, "\(platform)")
            #expect(run.run.machine.cpu.gsBase == run.image.layout.perCPUBase, "\(platform)")
        }
    }

    @Test("F33: a program's GS base in the kernel's half survives every window with FSGSBASE")
    func negativeBase() throws {
        let kernel = try kernel("fsgsbase")
        for result in try kernel.simulate("bare-metal-*/*/user-gs-base-negative/*") {
            #expect(result.verdict == .holds, "\(result.scenario.name)")
        }
        for platform in Self.bareMetal {
            for place in Self.windows {
                for event in ["asm_exc_debug", "asm_exc_nmi", "asm_exc_machine_check"] {
                    let name = "\(platform)/entry_SYSCALL_64/user-gs-base-negative/return+\(event)@\(place)"
                    let run = try holds(kernel, name)
                    let base = run.run.machine.cpu.gsBase
                    #expect(base >> 63 == 1 && base != run.image.layout.perCPUBase, "\(name): \(base)")
                }
            }
        }
    }

    @Test("F34: #DB at the first SYSCALL instruction, before SYSRET, at the first instruction of the int3 stub")
    func breakpointsInWindows() throws {
        for sets in [["fsgsbase"], ["nofsgsbase"]] {
            let book = try BootBook.shared.get()
            let kernel = try BootKernel(try book.kernels(try sets.flatMap { try book.edits($0) }))
            let stack = try #require(kernel.table.machine.stacks["db"])
            for platform in Self.bareMetal {
                let first = try holds(
                    kernel, "\(platform)/entry_SYSCALL_64/user/return+asm_exc_debug@entry_SYSCALL_64+0x0")
                var before = try first.moment(of: "exc_debug_kernel")
                var regs = try #require(before["RDI"])
                let user = first.image.layout
                #expect(stack.base <= regs && regs < stack.end, "\(platform)")
                #expect(before.slot(regs, PtRegs.cs) == 0x10 && before.slot(regs, PtRegs.ss) == 0x18, "\(platform)")
                #expect(before.slot(regs, PtRegs.rsp) == user.userStackPointer, "\(platform)")
                #expect(before.slot(regs, PtRegs.rcx) == first.steps.first.map { $0.address + 2 }, "\(platform)")
                #expect(before.slot(regs, PtRegs.r11) == first.userFlags, "\(platform)")
                #expect(before.slot(regs, PtRegs.origAX) == .max, "\(platform)")

                let last = try holds(
                    kernel, "\(platform)/entry_SYSCALL_64/user/return+asm_exc_debug@entry_SYSRETQ_unsafe_stack")
                before = try last.moment(of: "exc_debug_kernel")
                regs = try #require(before["RDI"])
                #expect(before.slot(regs, PtRegs.rsp) == user.userStackPointer, "\(platform)")
                let found = last.moment(before: try last.delivery(of: "asm_exc_debug").index)
                #expect(found["GS base"] == user.perCPUBase, "\(platform)")
                if user.usesPageTableIsolation {
                    #expect(found["CR3"].map { $0 & 0x1000 } == 0x1000, "\(platform)")
                }

                let stub = try holds(kernel, "\(platform)/asm_exc_int3/kernel/return+asm_exc_debug@asm_exc_int3+0x0")
                before = try stub.moment(of: "exc_debug_kernel")
                regs = try #require(before["RDI"])
                #expect(before.slot(regs, PtRegs.rsp) == (try stub.delivery(of: "asm_exc_int3").slot), "\(platform)")
            }
        }
    }

    @Test("F35: NMIs in the windows of SYSCALL: pt_regs in the same place; GS base and page tables as found")
    func interruptsInWindows() throws {
        let kernel = try kernel("fsgsbase")
        for platform in Self.bareMetal {
            var places: Set<UInt64> = []
            for place in Self.windows {
                let run = try holds(kernel, "\(platform)/entry_SYSCALL_64/user/return+asm_exc_nmi@\(place)")
                let before = try run.moment(of: "default_do_nmi")
                let regs = try #require(before["RDI"])
                places.insert(regs)
                #expect(before.slot(regs, PtRegs.cs) == 0x10 && before.slot(regs, PtRegs.ss) == 0x18, "\(place)")
                let found = run.moment(before: try run.delivery(of: "asm_exc_nmi").index)
                let layout = run.image.layout
                let hasKernelBase = place != "entry_SYSCALL_64+0x0" && !place.hasSuffix("_stack+0x3")
                #expect(
                    found["GS base"] == (hasKernelBase ? layout.perCPUBase : layout.userGSBase), "\(platform) \(place)")
                if layout.usesPageTableIsolation {
                    let isUser = place.hasPrefix("entry_SYSRETQ") || ["+0x0", "+0x3"].contains(place.suffix(4))
                    #expect(found["CR3"].map { $0 & 0x1000 } == (isUser ? 0x1000 : 0), "\(platform) \(place)")
                    if place.hasSuffix("+0x20") { #expect(found["RSP"].map { $0 & (.max >> 1) } == found["CR3"]) }
                }
            }
            #expect(places.count == 1, "\(platform)")
            let run = try holds(kernel, "\(platform)/asm_exc_nmi/user/return")
            #expect(
                try run.moment(of: "default_do_nmi")["RDI"] == run.image.layout.taskStack.end - 21 * 8, "\(platform)")
        }
    }

    @Test("F36: a second NMI while the first runs, opened by a nested exception: repeated with the original frame")
    func repeatedInterrupt() throws {
        let kernel = try kernel()
        for platform in Self.bareMetal {
            for inner in ["asm_exc_int3", "asm_exc_page_fault"] {
                let name =
                    "\(platform)/asm_exc_nmi/kernel/return+\(inner)@default_do_nmi+asm_exc_nmi@default_do_nmi+0x1"
                let run = try holds(kernel, name)
                let first = try run.moment(of: "default_do_nmi")
                let second = try run.moment(of: "default_do_nmi", 2)
                let regs = try #require(first["RDI"])
                #expect(second["RDI"] == regs, "\(name)")
                for slot in PtRegs.rip...PtRegs.ss {
                    #expect(second.slot(regs, slot) == first.slot(regs, slot), "\(name): \(PtRegs.names[slot])")
                }
                #expect(first.slot(regs, PtRegs.rip) == run.image.layout.kernelCode, "\(name)")
            }
        }
    }

    @Test("F37: #MC from user mode, in the windows, in the kernel")
    func machineChecks() throws {
        let kernel = try kernel("fsgsbase")
        for platform in Self.everywhere {
            _ = try holds(kernel, "\(platform)/asm_exc_machine_check/user/return")
            _ = try holds(kernel, "\(platform)/asm_exc_machine_check/kernel/return")
        }
        for platform in Self.bareMetal {
            for place in Self.windows {
                _ = try holds(kernel, "\(platform)/entry_SYSCALL_64/user/return+asm_exc_machine_check@\(place)")
            }
        }
    }

    @Test("F38: NMIs of a PV guest: on the task stack; seven words, the old mask beside CS")
    func guestInterrupts() throws {
        let kernel = try kernel()
        let user = try holds(kernel, "xen-pv/asm_exc_nmi/user/return")
        #expect(try user.moment(of: "default_do_nmi")["RDI"] == user.image.layout.taskStack.end - 21 * 8)
        for (context, cs) in [("kernel", 0xE030 as UInt64), ("kernel-events-off", 0x1_0000_E030)] {
            let run = try holds(kernel, "xen-pv/asm_exc_nmi/\(context)/return")
            let frame = try run.delivery(of: "asm_exc_nmi")
            #expect(frame.words.count == 7, "\(context)")
            #expect(frame.word(1) == cs, "\(context)")
            let rsp = try #require(frame.word(3))
            #expect(frame.words.last?.address == rsp - 8, "\(context)")
        }
    }

    @Test("F39: the failsafe callback: eleven words, registers the guest's own, and the code goes on")
    func failsafe() throws {
        let kernel = try kernel()
        for probe in ["bad-ds", "bad-es"] {
            let run = try holds(kernel, "xen-pv/xen_failsafe_callback/kernel/\(probe)")
            let frame = try run.delivery(of: "xen_failsafe_callback")
            let values = frame.words.map(\.value)
            #expect(values.count == 11)
            #expect(values[0] == InterruptedRegisters.value(.rcx, isUser: false))
            #expect(values[1] == InterruptedRegisters.value(.r11, isUser: false))
            #expect(values[7] == 0xE030 && values[10] == 0xE02B)
            #expect(frame.words.last?.address == values[9] - 8)
            let step = run.steps[frame.index]
            #expect(!step.changes.contains { ["RCX", "R11"].contains($0.name) }, "\(step.changes)")
            #expect(run.run.machine.cpu.ds == 0 || probe != "bad-ds")
            #expect(run.run.machine.cpu.es == 0 || probe != "bad-es")
        }
    }

    @Test("F40: AC and NT are cleared on PV delivery and kept in the frame")
    func clearedFlags() throws {
        let kernel = try kernel()
        let wanted = Flags.alignmentCheck | Flags.nestedTask
        for entry in ["asm_exc_page_fault", "asm_exc_int3", "asm_exc_general_protection"] {
            let run = try holds(kernel, "xen-pv/\(entry)/user/return")
            let frame = try run.delivery(of: entry)
            #expect(frame.word(2).map { $0 & wanted } == wanted, "\(entry)")
            let flags = try #require(run.steps[frame.index].changes.first { $0.name == "RFLAGS" })
            #expect(flags.old & wanted == wanted && flags.new & wanted == 0, "\(entry)")
        }
    }
}

/// What a trace tells about one moment of a run.
struct BootMoment {
    fileprivate var known: [String: UInt64] = [:]
    fileprivate var memory: [UInt64: UInt64] = [:]

    /// A register, flag or base, by the name that traces give it.
    subscript(_ name: String) -> UInt64? { known[name] }

    func slot(_ regs: UInt64, _ slot: Int) -> UInt64? { memory[regs &+ UInt64(slot) &* 8] }
}

/// A frame as the processor or Xen wrote it.
struct BootDelivery {
    var index: Int
    /// Address of the RIP slot.
    var slot: UInt64
    /// From the lowest address.
    var words: [TraceStep.Write]

    /// Words of the frame proper: RIP, CS, RFLAGS, RSP, SS.
    func word(_ number: Int) -> UInt64? { words.first { $0.address == slot &+ UInt64(number) &* 8 }?.value }
}

extension BootRun {
    /// What was known before a step was executed; what has not changed until then is what it is changed from later.
    func moment(before index: Int) -> BootMoment {
        var moment = BootMoment()
        for step in steps[..<index] {
            for change in step.changes { moment.known[change.name] = change.new }
            for write in step.writes where write.size_bytes == 8 { moment.memory[write.address] = write.value }
        }
        for step in steps[index...] {
            for change in step.changes where moment.known[change.name] == nil { moment.known[change.name] = change.old }
        }
        return moment
    }

    /// The moment at which a C function is entered, for the nth time.
    func moment(of function: String, _ number: Int = 1) throws -> BootMoment {
        let all = steps.indices.filter { steps[$0].instruction == "(C function \(function))" }
        guard all.count >= number else { throw BootError(description: "\(name): \(function) runs \(all.count) times") }
        return moment(before: all[number - 1])
    }

    func delivery(of event: String) throws -> BootDelivery {
        guard let index = steps.firstIndex(where: { $0.instruction.hasPrefix("\(event) is delivered") }) else {
            throw BootError(description: "\(name): no \(event) is delivered")
        }
        return BootDelivery(
            index: index, slot: steps[index].address, words: steps[index].writes.sorted { $0.address < $1.address })
    }

    /// RFLAGS of the program when it was interrupted.
    var userFlags: UInt64? { steps.lazy.compactMap { $0.changes.first { $0.name == "RFLAGS" }?.old }.first }
}

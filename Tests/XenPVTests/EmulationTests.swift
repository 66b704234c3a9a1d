import Machine
import Testing

@testable import XenPV

/// Privileged instructions of the guest kernel (F4, F15 to F17).
@Suite struct EmulationTests {
    @Test(arguments: [
        "rdmsr", "wrmsr", "inb $0x70, %al", "outb %al, $0x80", "clts", "wbinvd", "movq %cr0, %rax", "movq %rax, %cr3",
        "movq %db7, %rax",
        "movq %rax, %db6", "cli", "sti",
    ])
    func emulated(_ text: String) throws {
        var guest = try TestGuest("\(text)\nnop")
        guest.machine.cpu[.rcx] = UInt64(MSR.gsBase)
        guest.machine.cpu[.rax] = 0x1000
        guest.machine.cpu[.rdx] = 0
        let flags = guest.machine.cpu.flags
        guard case .fault(let fault) = guest.step() else {
            Issue.record("no fault")
            return
        }
        #expect(fault == .generalProtection())
        #expect(guest.xen.emulate(guest.program.instructions[0], fault, &guest.machine))
        #expect(guest.rip == guest.program.addresses[1])
        #expect(guest.machine.cpu.flags == flags, "also after CLI: the live IF stays 1")
        #expect(guest.machine.cost.hypervisorEntries == 1 && guest.machine.stepNumber == 1)
    }

    /// F15: SWAPGS is the guest's own problem, and so are these.
    @Test(arguments: ["swapgs", "hlt", "invlpg (%rsi)", "sysretq", "sysexitq", "ud2"])
    func notEmulated(_ text: String) throws {
        var guest = try TestGuest(text)
        guard case .fault(let fault) = guest.step() else {
            Issue.record("no fault")
            return
        }
        #expect(fault == (text == "ud2" ? Fault(6) : .generalProtection()))
        #expect(!guest.xen.emulate(guest.program.instructions[0], fault, &guest.machine))
        #expect(guest.rip == TestGuest.code && guest.machine.cpu.gsBase == 0xAAAA)
    }

    @Test func notForUserMode() throws {
        var guest = try TestGuest(user: "rdmsr")
        guest.enterUser()
        guest.machine.cpu[.rcx] = UInt64(MSR.gsBase)
        guard case .fault(let fault) = guest.step() else {
            Issue.record("no fault")
            return
        }
        #expect(!guest.xen.emulate(guest.program.instructions[2], fault, &guest.machine))
    }

    /// A fault of the emulation is the guest's.
    @Test func aBadBase() throws {
        var guest = try TestGuest("wrmsr")
        guest.machine.cpu[.rcx] = UInt64(MSR.gsBase)
        guest.machine.cpu[.rdx] = 0x8000_0000
        guard case .fault(let fault) = guest.step() else {
            Issue.record("no fault")
            return
        }
        #expect(!guest.xen.emulate(guest.program.instructions[0], fault, &guest.machine))
        #expect(guest.rip == TestGuest.code && guest.machine.cpu.gsBase == 0xAAAA)
    }

    /// F16: bases are read and written without Xen where the processor can.
    @Test func baseInstructionsRunUnprivileged() throws {
        var guest = try TestGuest("rdgsbase %rax\nwrgsbase %rbx")
        guest.machine.cpu[.rbx] = 0x1234
        #expect(guest.step() == .next)
        #expect(guest.step() == .next)
        #expect(guest.machine.cpu[.rax] == 0xAAAA && guest.machine.cpu.gsBase == 0x1234)
    }

    /// F17: IRET in the guest kernel stays within ring 3 and knows nothing of modes and masks.
    @Test(arguments: [(0xe030, 0xe030), (0x10, 0x10), (0xe033, nil)] as [(UInt64, UInt32?)])
    func iret(_ selector: UInt64, _ code: UInt32?) throws {
        var guest = try TestGuest("iretq")
        guest.setMasked(true)
        guest.xen.nmiMasked = true
        let rsp = guest.machine.cpu[.rsp]
        guest.write([TestGuest.handler, selector, 0, TestGuest.stackTop - 8, 0xe02b], at: rsp)
        let outcome = guest.step()
        if let code {
            #expect(outcome == .fault(.generalProtection(code)))
            #expect(!guest.xen.emulate(guest.program.instructions[0], .generalProtection(code), &guest.machine))
        } else {
            #expect(outcome == .returned(frame: rsp))
            #expect(guest.rip == TestGuest.handler && guest.machine.cpu[.rsp] == TestGuest.stackTop - 8)
            #expect(guest.machine.cpu.flags & Flags.interrupt != 0)
        }
        #expect(guest.machine.cpu.guestKernelMode && guest.isMasked && guest.xen.nmiMasked)
    }

    /// The kernel of the guest runs at CPL 3 and yet its page faults are a supervisor's (F9); user mode does not see it.
    @Test func accessRights() throws {
        var guest = try TestGuest("movq (%rsi), %rax", user: "movq (%rsi), %rax")
        guest.machine.cpu[.rsi] = TestGuest.unmapped
        #expect(guest.step() == .fault(Fault(14, errorCode: 0, address: TestGuest.unmapped)))
        guest.enterUser()
        guest.machine.cpu[.rsi] = TestGuest.stack
        #expect(guest.step() == .fault(Fault(14, errorCode: 4, address: TestGuest.stack)))
    }

    @Test func versions() {
        #expect(XenVersion(rawValue: "4.6")?.replaysFaultingReturn == false)
        #expect(XenVersion(rawValue: "4.17")?.replaysFaultingReturn == true)
    }
}

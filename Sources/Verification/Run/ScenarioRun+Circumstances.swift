import EntryCode
import Machine
import XenPV

/// What surrounds entry code: calls that nobody offers, another task, KVM (`docs/decisions/0011-circumstances.md`).
extension ScenarioRun {
    /// A call that nothing is made for, behind its instruction: true where it is taken for a call all the same.
    mutating func executeRefused(
        _ vector: UInt8, _ outcome: Outcome, _ interrupted: inout SavedContext, _ before: Processor
    ) -> Bool {
        switch outcome {
        case .paravirtualSyscall, .paravirtualSysenter: break
        default:
            handle(outcome)
            return false
        }
        eventIsPending = false
        if recorder != nil { machine.writes.removeAll(keepingCapacity: true) }
        // The instruction has done its work, and nobody can undo all of it: what the fault must show.
        let behind = machine.instructionPointer(program)
        if vector == Platform.sysenterVector {
            interrupted.rip = 0
            interrupted[.rsp] = 0
            interrupted.cs = 3
        } else {
            interrupted[.rcx] = behind
            interrupted[.r11] = interrupted.flags
            interrupted.cs = vector == Platform.syscallVector ? Hypervisor.codeSelector : Hypervisor.compatCodeSelector
        }
        interrupted.ss = Hypervisor.stackSelector
        switch enterGuest(vector) {
        case .entered(let delivered, let base):
            // A callback that was made for another call has no vector.
            let event = delivered.source == .fault ? delivered : Event(vector: vector, source: .syscall)
            var words: InlineArray<5, UInt64> = InlineArray(repeating: 0)
            words[0] = interrupted.rip
            words[1] = UInt64(interrupted.cs) | (interrupted.eventsMasked ? 1 << 32 : 0)
            words[2] = interrupted.flags
            words[3] = interrupted[.rsp]
            words[4] = UInt64(interrupted.ss)
            let frame = base &+ (event.pushesErrorCode ? 24 : 16)
            var activation = Activation(
                number: nextActivation, event: event, interrupted: interrupted, expected: interrupted,
                frameWords: words, frame: frame, isUnexpected: false)
            activation.enteredWithEventsMasked = eventsAreMasked
            push(activation)
            recordDelivery(before: before)
            if let latched = hypervisor?.takeLatched() {
                record(UnexpectedFault.repeated(self, latched))
                deliver(latched, isUnexpected: true)
            }
        case .crashed(let crash):
            record(UnexpectedFault.domainCrash(self, crash))
            ending = .domainCrash(crash)
        case .held, nil: ending = .halted
        }
        return false
    }

    /// KVM calls the entry of NMIs on the stack that it is on, with a frame like the processor's (Linux 6.1
    /// `arch/x86/kvm/vmx/vmenter.S`, `vmx_do_interrupt_nmi_irqoff`).
    ///
    /// Below that frame is what earlier calls have left there: here ones.
    mutating func callHandler() {
        guard let entry = image.roles["kvm_nmi"].flatMap({ program.address(of: $0) }) else {
            ending = .halted
            return
        }
        let before = savedContext()
        machine.noteInterruption()
        let number = nextActivation
        let words: [(UInt64, FrameSlot)] = [
            (UInt64(machine.cpu.ss), .ss), (machine[.rsp], .rsp), (machine.cpu.flags, .rflags),
            (UInt64(machine.cpu.cs), .cs), (before.rip, .rip),
        ]
        machine[.rsp] &= ~15
        for (value, slot) in words {
            machine[.rsp] &-= 8
            machine.memory.poke(
                value, at: machine[.rsp],
                owner: Owner(.hardwareFrame, slot: slot.rawValue, activation: number))
        }
        for index in 1...32 as ClosedRange<UInt64> { machine.memory.poke(1, at: machine[.rsp] &- index &* 8) }
        machine.jump(to: entry, program)
        var activation = Activation(
            number: number, event: Event(vector: Vector.nmi, source: .nmi), interrupted: before, expected: before,
            frameWords: InlineArray(repeating: 0), frame: machine[.rsp], isUnexpected: false)
        for (index, word) in words.reversed().enumerated() { activation.frameWords[index] = word.0 }
        // The IRET that ends it opens NMIs again.
        activation.expected.nmiBlocked = false
        activation.enteredWithEventsMasked = eventsAreMasked
        push(activation)
        recordDelivery(before: machine.cpu)
    }

    /// Another program ran, which had come into the kernel by an interrupt: that leaves a null SS (SDM vol. 3, 6.14.4), and
    /// what switches tasks keeps it, unless it knows of processors whose SYSRET does not mind SS (`SYSRET_SS_ATTRS`; Linux
    /// commit 61f01dd941ba).
    mutating func runOtherTask() {
        guard hypervisor == nil, !(image.table.options["SYSRET_SS_ATTRS"] ?? true) else { return }
        machine.cpu.ss = 0
    }
}

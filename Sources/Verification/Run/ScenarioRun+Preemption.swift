import EntryCode
import Machine

/// What forbids the kernel to schedule, and what it does where nothing does.
extension ScenarioRun {
    /// `PREEMPT_NEED_RESCHED`, inverted: set while nobody wants to run (Linux `arch/x86/include/asm/preempt.h`).
    private static let needsNoRescheduling: UInt64 = 1 << 31

    /// `preempt_count`, in the kernel's code: another task wants to run, and is held off by what the context is in the middle of
    /// (Linux `include/linux/preempt.h`); of the two alignments of RSP the second holds a spinlock.
    mutating func setPreemption() {
        let context = scenario.context
        guard !context.isUser, let count = layout.preemptCount else { return }
        if context == .kernelHypercall, let mark = layout.preemptibleCall {
            setContextBytes(1, at: mark, size_bytes: 1)
        } else if !(image.table.options["PREEMPT"] ?? false) {
            return
        }
        let value: UInt64 =
            switch context {
            case .kernelRSP8: 1
            case .kernelSoftirq, .kernelSoftirqRSP8: 0x100
            case .kernelInterrupt, .kernelInterruptRSP8: 0x1_0000
            case .kernelNMI, .kernelNMIRSP8: 0x11_0000
            default: 0
            }
        setContextBytes(value, at: count, size_bytes: 4)
    }

    /// Softirqs run with interrupts on, and nobody schedules in one (Linux 6.1 `kernel/softirq.c`, `__do_softirq`).
    mutating func setSoftirqs(running: Bool) {
        CFunctionCall.setInterrupts(enabled: running, &machine, &hypervisor)
        guard let place = layout.preemptCount else { return }
        let bit: UInt64 = 0x100 << ((place & 7) * 8)
        let word = machine.memory.peek(place) ?? 0
        let wanted = running ? word | bit : word & ~bit
        if wanted != word { machine.memory.poke(wanted, at: place, step: machine.stepNumber) }
    }

    /// Another task runs, with interrupts on; false where the kernel dies of it instead.
    mutating func schedule(_ function: CFunction) -> Bool {
        guard isHandlingEvent, let place = layout.preemptCount else { return true }
        let shift = (place & 7) * 8
        let count = (machine.memory.peek(place) ?? 0) >> shift & 0xFFFF_FFFF
        if function.model == .mayPreempt && count != 0 { return true }
        // BUG_ON(preempt_count() || !irqs_disabled()) (Linux 5.2 kernel/sched/core.c).
        let forbidden = count & ~ScenarioRun.needsNoRescheduling
        if function.model == .preempt && (forbidden != 0 || !eventsAreMasked) {
            record(UnexpectedFault.assertion(self, preemptCount: forbidden))
            deliver(Event(vector: Vector.invalidOpcode, source: .fault), isUnexpected: true)
            return false
        }
        if innermost.interrupted.isKernelMode && innermost.interrupted.eventsMasked {
            record(InterruptFlag.scheduled(self))
        }
        if let region = machine.memory.region(containing: machine[.rsp]), region.kind != .taskStack {
            record(StackBounds.scheduled(self, on: region))
        }
        let word = machine.memory.peek(place) ?? 0
        machine.memory.poke(
            (word & ~(0xFFFF_FFFF << shift)) | ScenarioRun.needsNoRescheduling << shift, at: place,
            step: machine.stepNumber)
        return true
    }
}

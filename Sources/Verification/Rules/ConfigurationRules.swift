import EntryCode
import Machine

/// Names in a table lead somewhere.
enum DanglingReference {
    static let rule = Rule(
        "dangling-reference",
        statement: "Every gate, trap-table row, thunk, callback and handler names something that exists.",
        why: "The kernel would not link, or the gate would lead to address 0.",
        sources: ["Linux 5.2 arch/x86/kernel/idt.c", "Linux 5.2 arch/x86/xen/enlighten_pv.c, trap_array"])
}

/// Entries are there for a reason.
enum UnreachableEntry {
    static let rule = Rule(
        "unreachable-entry", severity: .warning,
        statement:
            "Some gate, trap-table row, callback or routine leads to every entry, and every routine of a table replaces one or is used.",
        why: "Code that nothing reaches is a leftover, or the row that should name it names another.",
        sources: [
            "Linux commit b23e5844dfe7 (xen/pv: Fix a boot up hang revealed by int3 self test), which removes xenint3"
        ])
}

/// Code that is checked is code that was read.
enum NotUnderstood {
    static let rule = Rule(
        "not-understood", severity: .warning,
        statement:
            "Every statement of the sources of a kernel was understood, and code goes to the first byte of an instruction.",
        why:
            "What is not understood is left out of the code, and what bytes mean from the middle of an instruction on is not known here; a scenario that comes there has no verdict.",
        sources: ["GNU as manual", "Linux 6.1 arch/x86/entry/entry_64.S", "SDM vol. 2, 2.1"])

    /// The kernel has gone into the middle of one of its instructions, whose bytes the model does not have.
    static func insideInstruction(_ run: ScenarioRun) -> Finding? {
        guard run.machine.isKernelMode, run.machine.cpu.index < 0 else { return nil }
        let address = run.machine.cpu.outsideRIP
        guard let index = run.program.indexOfInstruction(around: address) else { return nil }
        let instruction = run.program.instructions[index]
        let start = run.program.addresses[index]
        return Finding(
            rule,
            "the code goes to \(run.program.describe(address)), \(address &- start) bytes into `\(run.image.text(instruction, at: start))` at \(run.program.describe(start)): what the processor decodes there is not modelled"
        )
    }
}

/// Entry code comes to an end, by way of the handler.
enum Progress: Invariant {
    static let rule = Rule(
        "progress",
        statement: "Every event reaches its handler, once, and is handled in a bounded number of steps.",
        why:
            "A handler takes an event for the one that it is made for: the wrong signal, the wrong register read, a stack that is not ready for it. A fault that its own handler raises again hangs the machine without a message.",
        sources: ["Linux 5.2 arch/x86/kernel/idt.c", "Linux 5.2 arch/x86/kernel/traps.c", "facts F13, F14, F26"])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        if case .handler = checkpoint { return wrongHandler(&run) }
        if case .resumed = checkpoint, run.isHandlingEvent, let lost = lostNMI(&run) { return lost }
        guard case .resumed = checkpoint, run.isHandlingEvent, run.innermost.handlerCalls == 0,
            let activation = run.current, !activation.isUnexpected
        else { return nil }
        // A number that names no call needs no C function: the result says so, and is compared.
        if run.scenario.probe == .unknownCall && activation.number == 1 { return nil }
        // Linux has no C function for selectors that have gone: entry code tries the return again (fact F23).
        if activation.event.vector == Platform.failsafeVector { return nil }
        // An NMI that came while another was handled leaves at once: the first repeats it.
        let isNested =
            activation.event.source == .nmi && run.activations.dropLast().contains { $0.event.source == .nmi }
        if isNested { return nil }
        return Finding(
            rule, "\(run.eventName(activation)) (activation \(activation.number)) has returned, but no handler has run")
    }

    /// The last of nested NMIs is over, but one that came meanwhile was not handled.
    private static func lostNMI(_ run: inout ScenarioRun) -> Finding? {
        guard run.owesNMI, run.innermost.event.source == .nmi,
            !run.activations.dropLast().contains(where: { $0.event.source == .nmi })
        else { return nil }
        return Finding(
            rule,
            "\(run.eventName(run.innermost)) (activation \(run.innermost.number)) is over, and an NMI that came meanwhile has left without its handler: it is lost"
        )
    }

    /// The handler runs a second time before the event has returned. Linux repeats its handler for an NMI
    /// that came meanwhile, and nothing else.
    static func handledTwice(_ run: inout ScenarioRun) -> Finding? {
        guard run.isHandlingEvent, run.innermost.handlerCalls >= 2, !run.innermost.isUnexpected,
            run.innermost.event.source != .nmi || run.innermost.handlerCalls > run.deliveredNMIs
        else { return nil }
        return Finding(
            rule,
            "\(run.functionAtRIP?.name ?? run.here) runs a second time for \(run.eventName(run.innermost)) (activation \(run.innermost.number)): one event is handled twice"
        )
    }

    /// The C function at RIP handles other events than the one that was delivered.
    static func wrongHandler(_ run: inout ScenarioRun) -> Finding? {
        guard run.isHandlingEvent, !run.innermost.isUnexpected, run.targetBehindDoubleFault == nil,
            let function = run.functionAtRIP
        else { return nil }
        let activation = run.innermost
        if let origin = function.origin, activation.fromUser != (origin == .user) {
            return Finding(
                rule,
                "\(Console.vectorMnemonic(activation.event.vector)) (activation \(activation.number)) from \(activation.fromUser ? "user" : "kernel") mode arrives in \(function.name), which is made for events from \(origin.rawValue) mode only"
            )
        }
        guard !function.events.isEmpty, !function.events.contains(activation.event.vector) else { return nil }
        let vector = activation.event.vector
        let meant = run.image.functions.filter { $0.events.contains(vector) }.map(\.name)
        let other = meant.isEmpty ? "" : "; the one for it is \(meant.joined(separator: " or "))"
        return Finding(
            rule,
            "\(Console.vectorMnemonic(vector)) (activation \(activation.number)) arrives in \(function.name), which is the handler of another event\(other)"
        )
    }
}

import EntryCode
import Machine

/// Handlers run on a kernel stack with room, and nothing is pushed beyond a stack's end.
enum StackBounds: Invariant {
    static let rule = Rule(
        "stack-bounds",
        statement:
            "C code runs on a kernel stack; a handler has at least 1024 bytes of it below RSP. What chooses the stack of the next event is afterwards as it was.",
        why: "The entry trampoline has 512 bytes next to the GDT and the TSS, and a user's RSP is the user's choice.",
        sources: [
            "Linux 5.2 arch/x86/include/asm/processor.h, struct entry_stack",
            "Linux Documentation/x86/kernel-stacks.rst",
            "facts F6, F25",
        ])

    /// Least room below RSP when a handler starts.
    static let room_bytes: UInt64 = 1024

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        let rsp = run.machine[.rsp]
        if case .cFunction = checkpoint {
            let below = rsp &- run.image.layout.taskStack.base
            if below >= room_bytes && below < run.image.layout.taskStack.size_bytes { return nil }
        }
        switch checkpoint {
        case .cFunction:
            let region = run.machine.memory.region(containing: rsp)
            guard let region, region.isKernelStack else {
                return Finding(
                    rule,
                    "\(run.here) runs with RSP \(hexadecimal(rsp)), which lies \(region.map { "in the \($0.name)" } ?? "in no memory"), not on a kernel stack"
                )
            }
            let needed = run.layout.functionStack_bytes
            if rsp &- region.base < needed {
                return Finding(
                    rule,
                    "\(run.here), instrumented, takes \(needed) bytes of stack; the \(region.name) has \(rsp &- region.base) left below RSP \(hexadecimal(rsp))"
                )
            }
            guard run.isAtEventHandler, rsp &- region.base < room_bytes else { return nil }
            return Finding(
                rule,
                "the handler \(run.here) runs on the \(region.name) with \(rsp &- region.base) bytes left below RSP \(hexadecimal(rsp))"
            )
        case .fault:
            guard run.machine.isKernelMode, let place = run.pushAddress else { return nil }
            if let inside = run.machine.memory.region(containing: place), inside.isKernelStack,
                inside.kind != .guardPage
            {
                return nil
            }
            return Finding(
                rule,
                "the push at \(run.here) goes to \(hexadecimal(place)), \(run.machine.memory.region(containing: place).map { "in the \($0.name)" } ?? "where no memory is mapped"): below the end of the stack"
            )
        case .resumed where run.activations.count == 1: return changedVariable(&run)
        default: return nil
        }
    }

    /// A task that is switched away from keeps what is on its stack; on any other the next event overwrites it.
    static func scheduled(_ run: ScenarioRun, on region: Region) -> Finding {
        Finding(
            rule,
            "\(run.here) schedules with RSP \(hexadecimal(run.machine.cpu[.rsp])), on the \(region.name): the next event that starts there overwrites what the task needs when it runs again"
        )
    }

    /// Compares the stack pointers of the TSS and the counters beside them with what they were before the event.
    private static func changedVariable(_ run: inout ScenarioRun) -> Finding? {
        for variable in run.layout.keptVariables {
            var offset: UInt64 = 0
            while offset < variable.size_bytes {
                let address = variable.address &+ offset
                offset += 4
                guard let oldWord = run.contextWords[address & ~7] ?? run.image.machine.memory.peek(address),
                    let newWord = run.machine.memory.peek(address)
                else { continue }
                let before = oldWord >> (address & 4 &* 8) & 0xFFFF_FFFF
                let after = newWord >> (address & 4 &* 8) & 0xFFFF_FFFF
                if before == after { continue }
                return Finding(
                    latentRule,
                    "the entry path leaves \(hexadecimal(after, digits: 8)) in \(variable.name) at \(hexadecimal(address)), which held \(hexadecimal(before, digits: 8)): the next event takes another stack"
                )
            }
        }
        let gate = run.machine.idt[Int(Vector.debug)].ist
        if gate == run.machine.debugGateIST { return nil }
        return Finding(
            latentRule,
            "the entry path leaves an IDT loaded whose #DB gate has IST \(gate); the ordinary one has \(run.machine.debugGateIST)"
        )
    }

    private static let latentRule = Rule(
        rule.id, isLatent: true, statement: rule.statement, why: rule.why, sources: rule.sources)
}

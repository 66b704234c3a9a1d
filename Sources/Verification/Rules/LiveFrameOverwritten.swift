import EntryCode
import Machine

/// Words that a return still needs keep what they hold.
enum LiveFrameOverwritten: Invariant {
    static let rule = Rule(
        "live-frame-overwritten",
        statement:
            "No write lands on a word of an exception frame, of saved registers or of the interrupted stack that is still needed.",
        why: "The return reads what was written: a return address as SS, an error code as RIP.",
        sources: [
            "SDM vol. 3, 6.14.2 (64-bit stack frame)", "facts F1, F2, F11",
            "Linux commit 2700fefdb2d9 (x86_64: Add gap to int3 to allow for call emulation)",
        ])

    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding? {
        switch checkpoint {
        case .returned(let frame):
            guard run.machine.memory.hasOverwrites, let activation = run.current else { return nil }
            for index in 0..<5 {
                let address = frame &+ UInt64(index) &* 8
                let read = run.machine.memory.peek(address) ?? 0
                // A return that reads the wrong words is another matter.
                guard read != activation.frameWords[index],
                    let overwrite = run.machine.memory.overwrite(at: address),
                    overwrite.oldOwner.kind == .hardwareFrame, overwrite.oldOwner.slot == 4 - UInt8(index),
                    !isOwnRewriting(overwrite)
                else { continue }
                return finding(run, overwrite)
            }
            return nil
        case .fault: return rootCause(run)
        default: return nil
        }
    }

    /// The earliest write onto a word that its owner read afterwards; nil if no such write happened.
    static func rootCause(_ run: ScenarioRun) -> Finding? {
        if !run.machine.memory.hasOverwrites { return nil }
        for overwrite in run.machine.memory.overwrites where overwrite.wasRead {
            // An activation may rewrite and move its own frame; only a foreign use of the word is a loss.
            if overwrite.newOwner.activation == overwrite.oldOwner.activation { continue }
            return finding(run, overwrite)
        }
        return nil
    }

    /// The earliest word of a frame that the frame of a later event has taken, and that was read afterwards.
    static func byFurtherEvent(_ run: ScenarioRun) -> Finding? {
        if !run.machine.memory.hasOverwrites { return nil }
        return run.machine.memory.overwrites.first {
            $0.wasRead && $0.oldOwner.kind == .hardwareFrame && $0.newOwner.kind == .hardwareFrame
                && $0.newOwner.activation > $0.oldOwner.activation
        }.map { finding(run, $0) }
    }

    /// Entry code that corrects a word of its own frame, as Linux does with the selectors of a PV system call.
    private static func isOwnRewriting(_ overwrite: Overwrite) -> Bool {
        overwrite.newOwner.activation == overwrite.oldOwner.activation
            && (overwrite.newOwner.kind == .data || overwrite.newOwner.kind == .immediate)
    }

    private static func finding(_ run: ScenarioRun, _ overwrite: Overwrite) -> Finding {
        let slot: String =
            switch overwrite.oldOwner.kind {
            case .hardwareFrame: FrameSlot(rawValue: overwrite.oldOwner.slot)?.name ?? "a slot"
            default: "the saved \(Register(rawValue: overwrite.oldOwner.slot).map { "\($0)" } ?? "register")"
            }
        let owner = overwrite.oldOwner.activation
        let event = run.activations.first { $0.number == owner }
        let of =
            event.map { "the exception frame pushed for \(run.eventName($0)) (activation \(owner))" }
            ?? "the frame of activation \(owner)"
        let what: String =
            switch overwrite.newOwner.kind {
            case .emulatedPush: "the push that the handler emulates on the interrupted stack"
            case .hardwareFrame: "the frame of a further event"
            case .functionFrame: "a C function's local variable"
            default: "a write"
            }
        let writer = run.instructionText(overwrite.instruction)
        return Finding(
            rule,
            "8 bytes written at \(hexadecimal(overwrite.address)) by \(writer) land on \(slot) of \(of): \(what) replaces \(hexadecimal(overwrite.oldValue)) by \(hexadecimal(overwrite.newValue)), and the return reads it",
            at: CausePoint(step: overwrite.step, instruction: overwrite.instruction))
    }
}

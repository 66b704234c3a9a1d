import Assembler
package import EntryCode
import Machine

/// One executed instruction and what it changed.
package struct TraceStep: Sendable, Hashable {
    package var step: UInt32
    package var address: UInt64
    /// `symbol+0x1/0x2`.
    package var symbol: String
    package var instruction: String
    /// Activation whose code it is; 0 is the interrupted program.
    package var activation: UInt32
    /// Registers and flags that changed: name, old and new value.
    package var changes: [Change]
    package var writes: [Write]
    /// What came instead of the next instruction: a fault, an event, a return.
    package var outcome: String?
    /// Source line, as `file:line`.
    package var source: String

    package struct Change: Sendable, Hashable {
        package var name: String
        package var old: UInt64
        package var new: UInt64
    }

    package struct Write: Sendable, Hashable {
        package var address: UInt64
        package var value: UInt64
        package var size_bytes: Int
    }
}

/// A picture of the stack at one moment: the words around RSP with who owns them.
package struct StackPicture: Sendable, Hashable {
    package struct Word: Sendable, Hashable {
        package var address: UInt64
        package var value: UInt64
        /// What the word is for, such as `SS of activation 1`.
        package var owner: String
        package var isStackPointer: Bool
    }

    package var step: UInt32
    package var title: String
    package var words: [Word]
}

/// Keeps what a run does, step by step, up to a limit.
package struct TraceRecorder: Sendable {
    package private(set) var steps: [TraceStep] = []
    package var pictures: [StackPicture] = []
    package private(set) var isTruncated = false
    private let limit: Int
    private let printer: InstructionPrinter

    package init(image: EntryImage, limit: Int) {
        self.limit = limit
        printer = image.printer
    }

    mutating func reset() {
        steps.removeAll()
        pictures.removeAll()
        isTruncated = false
    }

    /// Adds what the processor, Xen or a handler's model did to the latest step.
    mutating func amend(before: Processor, machine: Machine) {
        guard !isTruncated, var last = steps.popLast() else { return }
        last.changes = Self.changes(before, machine.cpu)
        last.writes = Self.writes(machine)
        steps.append(last)
    }

    /// Adds a step of the processor's or Xen's own: the delivery of an event.
    mutating func deliver(
        _ text: String, by whom: String, step: UInt32, frame: UInt64, before: Processor, machine: Machine,
        activation: UInt32
    ) {
        guard steps.count < limit else {
            isTruncated = true
            return
        }
        steps.append(
            TraceStep(
                step: step, address: frame, symbol: "(\(whom))", instruction: text, activation: activation,
                changes: Self.changes(before, machine.cpu), writes: Self.writes(machine), outcome: nil, source: ""))
    }

    private static func writes(_ machine: Machine) -> [TraceStep.Write] {
        machine.writes.map {
            TraceStep.Write(address: $0.address, value: $0.value, size_bytes: Int($0.width.rawValue))
        }
    }

    private static func changes(_ before: Processor, _ after: Processor) -> [TraceStep.Change] {
        var changes: [TraceStep.Change] = []
        func note(_ name: String, _ old: UInt64, _ new: UInt64) {
            if old != new { changes.append(TraceStep.Change(name: name, old: old, new: new)) }
        }
        for register in Register.general { note(register.name, before[register], after[register]) }
        note("RFLAGS", before.flags, after.flags)
        note("CS", UInt64(before.cs), UInt64(after.cs))
        note("SS", UInt64(before.ss), UInt64(after.ss))
        note("GS base", before.gsBase, after.gsBase)
        note("CR2", before.cr2, after.cr2)
        note("CR3", before.cr3, after.cr3)
        return changes
    }

    mutating func record(
        step: UInt32, before: Processor, outcome: Outcome, machine: Machine, program: Program, activation: UInt32
    ) {
        guard steps.count < limit else {
            isTruncated = true
            return
        }
        let index = before.index
        let isCode = index >= 0
        let address = isCode ? program.addresses[Int(index)] : before.outsideRIP
        var source = ""
        var symbol = hexadecimal(address)
        var text = "(no code here)"
        if isCode {
            let line = program.lines[Int(index)]
            source = "\(program.files[Int(line.file)]):\(line.line)"
            symbol = program.describe(address)
            let instruction = program.instructions[Int(index)]
            text =
                instruction.opcode == .model
                ? "(C function \(program.routines[Int(program.routineOf[Int(index)])].name))"
                : printer.text(instruction, at: address)
        }
        steps.append(
            TraceStep(
                step: step, address: address, symbol: symbol, instruction: text, activation: activation,
                changes: Self.changes(before, machine.cpu), writes: Self.writes(machine),
                outcome: Self.describe(outcome), source: source))
    }

    private static func describe(_ outcome: Outcome) -> String? {
        switch outcome {
        case .next: nil
        case .branch(_, let taken): taken ? "taken" : "not taken"
        case .fault(let fault):
            "\(Console.vectorMnemonic(fault.vector))(\(String(fault.errorCode, radix: 16)))"
                + (fault.vector == Vector.pageFault ? " at address \(hexadecimal(fault.address))" : "")
        case .softwareInterrupt(let vector): "INT \(vector)"
        case .debugTrap: "#DB"
        case .model: "runs its model"
        case .paravirtualSyscall, .paravirtualSysenter: "enters Xen"
        case .returned: "returns"
        case .halted: "halts"
        case .stepLimit: "step limit"
        }
    }
}

extension ScenarioRun {
    /// Draws the stack around RSP, from high to low addresses.
    package func picture(_ title: String, words above: Int = 24, below: Int = 2) -> StackPicture {
        let rsp = machine.cpu[.rsp] & ~7
        var words: [StackPicture.Word] = []
        var offset = above
        while offset >= -below {
            let address = rsp &+ UInt64(bitPattern: Int64(offset) * 8)
            offset -= 1
            guard let value = machine.memory.peek(address), let owner = machine.memory.owner(at: address) else {
                continue
            }
            words.append(
                StackPicture.Word(
                    address: address, value: value, owner: describe(owner), isStackPointer: address == rsp))
        }
        return StackPicture(step: machine.stepNumber, title: title, words: words)
    }

    /// What a word is for, in words.
    func describe(_ owner: Owner) -> String {
        let of = " of activation \(owner.activation)"
        return switch owner.kind {
        case .free: ""
        case .hardwareFrame: (FrameSlot(rawValue: owner.slot)?.name ?? "frame") + of
        case .savedRegister: "saved " + (Register(rawValue: owner.slot)?.name ?? "register") + of
        case .returnAddress: "return address" + of
        case .immediate: "pushed constant" + of
        case .data: "data" + of
        case .interruptedContext: "the interrupted function's"
        case .emulatedPush: "emulated push"
        case .functionFrame: "C function's frame"
        }
    }
}

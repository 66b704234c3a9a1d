import Assembler
import EntryCode
import Machine

extension ScenarioRun {
    /// `symbol+0x12/0x34` of RIP.
    var here: String { program.describe(machine.instructionPointer(program)) }

    /// `pushq %rax at symbol+0x12/0x34`; C functions by their name alone.
    func instructionText(_ index: Int32) -> String {
        guard index >= 0, Int(index) < program.instructions.count else { return "the processor" }
        let instruction = program.instructions[Int(index)]
        let address = program.addresses[Int(index)]
        if instruction.opcode == .model { return program.routines[Int(program.routineOf[Int(index)])].name }
        return "'\(image.text(instruction, at: address))' at \(program.describe(address))"
    }

    /// The symbol of the entry that an activation's vector has in the table.
    func eventName(_ activation: Activation) -> String {
        let row = image.vectors.first { $0.vector == activation.event.vector }
        return row?.entry ?? Console.vectorMnemonic(activation.event.vector)
    }

    var activationText: String {
        guard let current else { return "the program" }
        return
            "the entry path of \(eventName(current)) (activation \(current.number), from \(current.fromUser ? "user" : "kernel") mode)"
    }

    /// The C function that RIP is at.
    var functionAtRIP: CFunction? {
        guard machine.cpu.index >= 0 else { return nil }
        let instruction = program.instructions[Int(machine.cpu.index)]
        let number = Int(instruction.immediate)
        guard instruction.opcode == .model, image.functions.indices.contains(number) else { return nil }
        return image.functions[number]
    }

    /// Its model.
    @inline(__always)
    var modelAtRIP: HandlerModel? {
        guard machine.cpu.index >= 0, program.instructions[Int(machine.cpu.index)].opcode == .model else { return nil }
        let number = Int(program.instructions[Int(machine.cpu.index)].immediate)
        return image.functions.indices.contains(number) ? image.functions[number].model : nil
    }

    /// The pt_regs that the handler at RIP gets.
    var handlerRegisters: UInt64 {
        @inline(__always)
        mutating get { machine[functionAtRIP?.register(of: .regs) ?? .rdi] }
    }

    var isAtEventHandler: Bool { modelAtRIP?.isEventHandler ?? false }

    /// RIP is in kernel code that uses GS, or in a C function: the GS base matters there.
    @inline(__always)
    var faultsInKernelCode: Bool {
        guard machine.isKernelMode, machine.cpu.index >= 0 else { return false }
        let instruction = program.instructions[Int(machine.cpu.index)]
        return instruction.opcode == .model || instruction.memory.segment == .gs
    }

    /// Where the instruction at RIP would push; nil if it does not.
    @inline(__always)
    var pushAddress: UInt64? {
        guard machine.cpu.index >= 0 else { return nil }
        switch program.instructions[Int(machine.cpu.index)].opcode {
        case .push, .pushf, .call: return machine.cpu[.rsp] &- 8
        case .model:
            return machine.cpu[.rsp] &- max(8 &* CFunctionCall.frameWords, layout.functionStack_bytes)
        default: return nil
        }
    }

    /// 32-bit code on a 16-bit stack segment: its RSP has 32 bits.
    func hasSmallStack(_ context: SavedContext) -> Bool {
        guard !context.isKernelMode, machine.descriptor(context.cs)?.isLong == false else { return false }
        return machine.descriptor(context.ss)?.isBig == false
    }

    /// How far pt_regs is from where the frame says it should be.
    func frameDistance(_ regs: UInt64, _ activation: Activation) -> String {
        let distance = Int64(bitPattern: regs &+ UInt64(PtRegs.rip) &* 8 &- activation.frame)
        if distance == 0 || abs(distance) > 64 { return "" }
        return
            ": pt_regs is \(abs(distance)) bytes too \(distance > 0 ? "high" : "low") for the frame at \(hexadecimal(activation.frame))"
    }

    /// How far a return's frame is from the one that was delivered.
    func frameShift(_ frame: UInt64, _ activation: Activation) -> String {
        let distance = Int64(bitPattern: frame &- activation.frame)
        if distance == 0 || abs(distance) > 64 { return "" }
        return "; RSP is \(abs(distance)) bytes too \(distance > 0 ? "high" : "low")"
    }
}

extension Register {
    /// Upper-case name, as reports write it.
    package var name: String { "\(self)".uppercased() }
}

extension Region {
    /// A stack that kernel code may run on.
    package var isKernelStack: Bool {
        switch kind {
        case .taskStack, .entryStack, .interruptStack, .exceptionStack: true
        default: false
        }
    }
}

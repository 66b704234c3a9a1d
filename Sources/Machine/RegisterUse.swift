/// Which registers a path has looked at that were there before it; bits as in `Dependence`.
package struct RegisterUse: Sendable, Hashable {
    /// Those that it has not replaced yet.
    package var inherited: UInt32 = .max
    package var looked: UInt32 = 0

    /// The general registers, RSP apart, and the bases that SWAPGS and FS use: what a path may carry without a look.
    package static let carriable: UInt32 = 0xFFEF | Dependence.kernelGSBase | Dependence.fsBase
    /// RSP: looked at by whatever is delivered onto the interrupted stack.
    package static let stackPointer: UInt32 = 1 << 4
    /// RIP: carried in the frame of an event, and compared with places that need care; see `CarriedContexts`.
    package static let instructionPointer: UInt32 = 1 << 20

    package init() {}

    @inline(__always)
    mutating func note(_ dependence: Dependence) {
        looked |= dependence.uses & inherited
        inherited &= ~dependence.defines
    }

    /// Adds what came after it.
    package mutating func append(_ later: RegisterUse) {
        looked |= later.looked & inherited | later.carried
        carried |= later.carried
        inherited &= later.inherited
    }

    /// Registers whose strange values were stored, loaded again and then looked at.
    package var carried: UInt32 = 0
}

extension Machine {
    /// As `run`, with the registers noted that each instruction looks at.
    ///
    /// - Parameter seeksStrange: Registers hold strange values (`StrangeValue`): a value that is looked at may be one that
    ///   was stored before, by the path itself or with Xen's frame.
    package mutating func runNoting(_ program: Program, stepLimit: UInt32, seeksStrange: Bool) -> Outcome {
        let first = stepNumber
        defer { cost.instructions &+= UInt64(stepNumber &- first) }
        return program.code.withUnsafeBufferPointer { code in
            program.dependences.withUnsafeBufferPointer { dependences in
                while stepNumber < stepLimit {
                    let index = Int(cpu.index)
                    if index >= 0 && index < dependences.count {
                        registerUse.note(dependences[index])
                        if seeksStrange && dependences[index].uses & ~Dependence.flags != 0 {
                            noteStrange(dependences[index].uses, code[index])
                        }
                    }
                    if case .stop = stepInside(code, program) { return stopped }
                }
                return .stepLimit
            }
        }
    }

    @inline(__always)
    private mutating func noteStrange(_ uses: UInt32, _ instruction: Instruction) {
        if instruction.opcode == .model { return }
        var found: UInt32 = 0
        var rest = uses & 0xFFFF
        while rest != 0 {
            found |= carrier(cpu.registers[rest.trailingZeroBitCount])
            rest &= rest - 1
        }
        if uses & Dependence.memory != 0, let word = lookedAtWord(instruction) {
            let carried = carrier(word)
            // What goes where the word says is seen there, if that is the place.
            let isReturn = instruction.opcode == .iret || instruction.opcode == .ret
            found |= isReturn ? carried & ~RegisterUse.instructionPointer : carried
        }
        if found & RegisterUse.instructionPointer != 0 && noteComparison(instruction) {
            found &= ~RegisterUse.instructionPointer
        }
        note(carried: found)
    }

    @inline(__always)
    private mutating func note(carried found: UInt32) {
        registerUse.looked |= found
        registerUse.carried |= found
    }

    /// A path that need not be run again would have read this word of the running ones.
    @inline(__always)
    mutating func noteAdopted(_ word: UInt64) { note(carried: carrier(word)) }

    /// Bit n: the value is what a running path found in register n, RSP and RIP included.
    @inline(__always)
    private func carrier(_ value: UInt64) -> UInt32 {
        StrangeValue.register(in: value) | carriedContexts.carrier(value)
    }

    /// A comparison of RIP as a whole tells on which side of the other operand it is, and nothing else; false where the
    /// instruction is none.
    private mutating func noteComparison(_ instruction: Instruction) -> Bool {
        guard instruction.opcode == .cmp, instruction.width == .quad else { return false }
        let other: UInt64
        switch instruction.form {
        case .immediateToMemory, .immediateToRegister: other = UInt64(bitPattern: instruction.immediate)
        case .registerToMemory, .registerToRegister, .memoryToRegister:
            let first = self[instruction.form == .registerToRegister ? instruction.source : instruction.register]
            if carriedContexts.carrier(first) & RegisterUse.instructionPointer == 0 {
                other = first
            } else if instruction.form == .registerToRegister {
                other = self[instruction.register]
            } else {
                guard let word = lookedAtWord(instruction) else { return false }
                other = word
            }
        default: return false
        }
        carriedContexts.noteComparison(with: other)
        return true
    }

    /// The aligned word that an instruction looks at, as it is: nothing takes note of it. Nil where there is no memory.
    @inline(__always)
    private mutating func lookedAtWord(_ instruction: Instruction) -> UInt64? {
        var address = cpu[.rsp]
        if !Dependence.readsStack(instruction) {
            let operand = instruction.memory
            address = UInt64(bitPattern: operand.displacement) &+ self[operand.base]
            if operand.index != .none { address &+= self[operand.index] &* UInt64(operand.scale) }
            switch operand.segment {
            case .gs: address &+= cpu.gsBase
            case .fs: address &+= cpu.fsBase
            default: break
            }
        }
        return memory.translate(address & ~7).map { memory.word(atOffset: $0.offset) }
    }
}

package import Machine

/// Random instructions of every opcode and form, as values; the printer makes text of them.
package struct RandomInstruction {
    package var random: SeededRandom
    private static let arithmetic: [Opcode] = [.add, .sub, .adc, .sbb, .and, .or, .xor, .cmp]

    package init(random: SeededRandom) { self.random = random }

    package mutating func next() -> Instruction {
        let opcode = random.pick(Opcode.allCases)
        var instruction = Instruction(opcode)
        switch opcode {
        case .mov, .add, .sub, .adc, .sbb, .and, .or, .xor, .cmp: general(&instruction, symmetric: false)
        case .test: general(&instruction, symmetric: true)
        case .xchg: pair(&instruction, symmetric: true)
        case .movzx, .movsx: extend(&instruction)
        case .lea, .invpcid:
            if opcode == .lea { instruction.width = random.pick([.word, .long, .quad]) }
            instruction.form = .memoryToRegister
            instruction.register = register()
            instruction.memory = memory()
        case .cmov, .lsl:
            if opcode == .cmov { instruction.condition = random.pick(Condition.allCases) }
            pair(&instruction, symmetric: false)
            if instruction.form == .registerToMemory { instruction.form = .memoryToRegister }
            if instruction.width == .byte { instruction.width = .long }
        case .set:
            instruction.condition = random.pick(Condition.allCases)
            instruction.width = .byte
            one(&instruction)
        case .not, .neg, .inc, .dec:
            instruction.width = width()
            one(&instruction)
        case .push, .pop:
            one(&instruction)
            if opcode == .push, random.chance(30) {
                instruction = Instruction(.push, form: .immediate, immediate: immediate(.quad))
            }
        case .shl, .shr, .sar, .rol, .ror: shift(&instruction)
        case .bt, .bts, .btr, .btc: bit(&instruction)
        case .movFromSegment, .movToSegment, .movFromControl, .movToControl, .movFromDebug, .movToDebug:
            special(&instruction)
        case .jmp, .call: branch(&instruction, isDirect: random.chance(50))
        case .jcc:
            instruction.condition = random.pick(Condition.allCases)
            branch(&instruction, isDirect: true)
        case .ret:
            if random.chance(30) {
                instruction = Instruction(.ret, form: .immediate, immediate: Int64(random.next() % 65536))
            }
        case .int:
            instruction.form = .immediate
            instruction.immediate = Int64(random.next() % 252 + 4)
        case .model:
            instruction.form = .immediate
            instruction.immediate = Int64(random.next() % 1000)
        case .iret, .sysret, .sysexit: instruction.width = random.pick([.long, .quad])
        case .rdfsbase, .wrfsbase, .rdgsbase, .wrgsbase:
            instruction.width = random.pick([.long, .quad])
            instruction.form = .register
            instruction.register = register()
        case .verw:
            instruction.width = .word
            one(&instruction)
        case .invlpg:
            instruction.form = .memory
            instruction.memory = memory()
        case .in, .out: port(&instruction)
        case .nop:
            if random.chance(50) {
                instruction.width = random.pick([.word, .long, .quad])
                one(&instruction)
            }
        case .pushf, .popf, .int3, .syscall, .sysenter, .swapgs, .rdmsr, .wrmsr, .cli, .sti, .cld, .std, .clac, .stac,
            .lfence, .mfence, .sfence, .wbinvd, .clts, .hlt, .ud2, .pause, .endbr64, .rdtsc, .rdtscp, .cpuid:
            break
        }
        if canLock(instruction), random.chance(25) { instruction.lock = true }
        return instruction
    }

    private func canLock(_ instruction: Instruction) -> Bool {
        let lockable: [Opcode] = [
            .add, .adc, .and, .btc, .btr, .bts, .dec, .inc, .neg, .not, .or, .sbb, .sub, .xor, .xchg,
        ]
        let forms: [OperandForm] = [.memory, .registerToMemory, .immediateToMemory]
        return lockable.contains(instruction.opcode) && forms.contains(instruction.form)
    }

    // MARK: Parts

    private mutating func width() -> Width { random.pick([.byte, .word, .long, .quad]) }

    private mutating func register() -> Register { random.pick(Register.general) }

    private mutating func displacement() -> Int64 {
        random.pick([0, 0, 8, -8, 127, 128, -128, -129, 0x1000, Int64(Int32.max), Int64(Int32.min), 40])
    }

    private mutating func immediate(_ width: Width) -> Int64 {
        let value: Int64 = random.pick([
            0, 1, -1, 3, 127, 128, -128, -129, 255, 0x1000, 0x7fff_ffff, -0x8000_0000, 9, 10, -10,
        ])
        switch width {
        case .byte: return Int64(Int8(truncatingIfNeeded: value))
        case .word: return Int64(Int16(truncatingIfNeeded: value))
        case .long, .quad: return Int64(Int32(truncatingIfNeeded: value))
        }
    }

    private mutating func memory() -> MemoryOperand {
        var memory = MemoryOperand(displacement: displacement())
        if random.chance(20) { memory.segment = random.pick([.fs, .gs, .es, .cs, .ss, .ds]) }
        if random.chance(15) {
            memory.base = .rip
            memory.displacement = Int64(bitPattern: 0xffff_ffff_8100_0000) + displacement() / 2
            return memory
        }
        if random.chance(85) { memory.base = register() }
        if random.chance(40) {
            memory.index = random.pick(Register.general.filter { $0 != .rsp })
            memory.scale = random.pick([1, 2, 4, 8])
        }
        return memory
    }

    private mutating func one(_ instruction: inout Instruction) {
        if random.chance(50) {
            instruction.form = .register
            instruction.register = register()
        } else {
            instruction.form = .memory
            instruction.memory = memory()
        }
    }

    private mutating func pair(_ instruction: inout Instruction, symmetric: Bool) {
        instruction.width = width()
        instruction.register = register()
        switch random.next() % 3 {
        case 0:
            instruction.form = .registerToRegister
            instruction.source = register()
        case 1 where !symmetric:
            instruction.form = .memoryToRegister
            instruction.memory = memory()
        default:
            instruction.form = .registerToMemory
            instruction.memory = memory()
        }
    }

    private mutating func general(_ instruction: inout Instruction, symmetric: Bool) {
        guard random.chance(40) else { return pair(&instruction, symmetric: symmetric) }
        instruction.width = width()
        instruction.immediate = immediate(instruction.width)
        if random.chance(50) {
            instruction.form = .immediateToRegister
            instruction.register = register()
            if instruction.opcode == .mov, instruction.width == .quad, random.chance(30) {
                instruction.immediate = Int64(bitPattern: random.next())
            }
        } else {
            instruction.form = .immediateToMemory
            instruction.memory = memory()
        }
    }

    private mutating func extend(_ instruction: inout Instruction) {
        let signed = instruction.opcode == .movsx
        let pairs: [(Width, Width)] = [(.byte, .word), (.byte, .long), (.byte, .quad), (.word, .long), (.word, .quad)]
        let (source, destination) = random.pick(pairs + (signed ? [(.long, .quad)] : []))
        instruction.sourceWidth = source
        pair(&instruction, symmetric: false)
        if instruction.form == .registerToMemory { instruction.form = .memoryToRegister }
        instruction.width = destination
    }

    private mutating func shift(_ instruction: inout Instruction) {
        instruction.width = width()
        let isRegister = random.chance(50)
        if isRegister { instruction.register = register() } else { instruction.memory = memory() }
        if random.chance(60) {
            instruction.form = isRegister ? .immediateToRegister : .immediateToMemory
            instruction.immediate = random.pick([1, 2, 4, 63, 255])
        } else {
            instruction.form = isRegister ? .registerToRegister : .registerToMemory
            instruction.source = .rcx
            if !isRegister { instruction.register = .rcx }
        }
    }

    private mutating func bit(_ instruction: inout Instruction) {
        instruction.width = random.pick([.word, .long, .quad])
        let isRegister = random.chance(50)
        if isRegister { instruction.register = register() } else { instruction.memory = memory() }
        if random.chance(60) {
            instruction.form = isRegister ? .immediateToRegister : .immediateToMemory
            instruction.immediate = random.pick([1, 9, 63, 200])
        } else {
            instruction.form = isRegister ? .registerToRegister : .registerToMemory
            instruction.source = register()
            if !isRegister { instruction.register = instruction.source }
        }
    }

    private mutating func special(_ instruction: inout Instruction) {
        instruction.form = .register
        instruction.register = register()
        switch instruction.opcode {
        case .movFromSegment, .movToSegment:
            instruction.special = random.pick([0, 2, 3, 4, 5])
            instruction.width = random.pick([.word, .long, .quad])
            if random.chance(40) {
                instruction.form = .memory
                instruction.width = .word
                instruction.register = .none
                instruction.memory = memory()
            }
        case .movFromControl, .movToControl: instruction.special = random.pick([0, 2, 3, 4, 8])
        default: instruction.special = random.pick([0, 1, 6, 7])
        }
    }

    private mutating func branch(_ instruction: inout Instruction, isDirect: Bool) {
        if isDirect {
            instruction.form = .target
            instruction.immediate = Int64(bitPattern: 0xffff_ffff_8100_0000) + displacement() / 2
        } else if random.chance(50) {
            instruction.form = .indirectRegister
            instruction.register = register()
        } else {
            instruction.form = .indirectMemory
            instruction.memory = memory()
        }
    }

    private mutating func port(_ instruction: inout Instruction) {
        instruction.width = random.pick([.byte, .word, .long])
        if random.chance(50) {
            instruction.form = .immediateToRegister
            instruction.register = .rax
            instruction.immediate = Int64(random.next() % 256)
        } else {
            instruction.form = .registerToRegister
            instruction.source = instruction.opcode == .in ? .rdx : .rax
            instruction.register = instruction.opcode == .in ? .rax : .rdx
        }
    }
}

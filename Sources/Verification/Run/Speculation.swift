import EntryCode
import Machine

/// Which mispredicted branches were already followed, and whether the platform is worth the walk.
package struct SpeculationMemo: Sendable {
    /// Follow the other side of conditional branches until the handler runs.
    var isArmed = false
    private let isVulnerable: Bool
    private var clean: Set<UInt64> = []

    init(image: EntryImage) {
        let traits = image.machine.traits
        // Where SMAP also binds speculation there is nothing at a user-chosen GS base that could be read
        // (Linux 5.3 arch/x86/kernel/cpu/bugs.c, smap_works_speculatively). Under Xen the kernel has no SWAPGS.
        isVulnerable = !traits.isParavirtual && !(traits.smap && !traits.meltdown)
    }

    mutating func arm(for run: ScenarioRun) {
        isArmed = isVulnerable && run.activations.count == 1
    }

    mutating func seen(_ key: UInt64) -> Bool { !clean.insert(key).inserted }
}

/// Follows the side of a conditional branch that was not taken, as a processor that mispredicts does.
///
/// Only the GS base matters: the walk keeps its parity, the stack depth, and stops at the first instruction that
/// serialises. Reaching a load through GS, or a C function (which reads `current` through GS), while the base is the
/// user's is a gadget for CVE-2019-1125.
struct SpeculativeWalk {
    /// Instructions that a processor may run ahead.
    static let window = 96

    let run: ScenarioRun
    let program: Program

    enum Step {
        case gadget(instruction: Int32)
        case stopped
    }

    func follow(_ branch: Int32, taken: Bool) -> Step {
        let instruction = program.instructions[Int(branch)]
        let other = taken ? branch + 1 : instruction.target
        let isKernelBase = run.machine.cpu.gsBase == run.layout.perCPUBase
        return walk(from: other, kernelBase: isKernelBase, depth: 0, calls: [], stackOffset: 0, budget: Self.window)
    }

    private func walk(
        from start: Int32, kernelBase: Bool, depth: Int, calls: [Int32], stackOffset: Int64, budget: Int
    ) -> Step {
        var index = start
        var kernelBase = kernelBase
        var calls = calls
        var offset = stackOffset
        var budget = budget
        while budget > 0, index >= 0, Int(index) < program.instructions.count {
            budget -= 1
            let instruction = program.instructions[Int(index)]
            if instruction.memory.segment == .gs, !kernelBase, Self.loads(instruction) {
                return .gadget(instruction: index)
            }
            switch instruction.opcode {
            case .model: return kernelBase ? .stopped : .gadget(instruction: index)
            case .swapgs:
                if !run.machine.traits.swapgsSpeculates { return .stopped }
                kernelBase.toggle()
            case .lfence, .mfence, .cpuid, .wrmsr, .iret, .sysret, .sysexit, .int, .int3, .hlt, .ud2, .syscall:
                return .stopped
            case .movToControl:
                // A write of CR3 serialises (SDM vol. 3, 8.3).
                return .stopped
            case .jmp:
                guard instruction.form == .target, instruction.target >= 0 else { return .stopped }
                index = instruction.target
                continue
            case .jcc:
                if depth < 4, instruction.target >= 0 {
                    let found = walk(
                        from: instruction.target, kernelBase: kernelBase, depth: depth + 1, calls: calls,
                        stackOffset: offset, budget: budget)
                    if case .gadget = found { return found }
                }
            case .call:
                guard instruction.form == .target, instruction.target >= 0 else { return .stopped }
                calls.append(index + 1)
                index = instruction.target
                continue
            case .ret:
                if let back = calls.popLast() {
                    index = back
                    continue
                }
                // The return address of the code that branched lies on the real stack.
                let address = run.machine.cpu[.rsp] &+ UInt64(bitPattern: offset)
                guard let target = run.machine.memory.peek(address) else { return .stopped }
                offset += 8
                index = program.index(at: target)
                continue
            case .push, .pushf: if calls.isEmpty { offset -= 8 }
            case .pop, .popf: if calls.isEmpty { offset += 8 }
            case .add, .sub:
                if instruction.form == .immediateToRegister && instruction.register == .rsp && calls.isEmpty {
                    offset += instruction.opcode == .add ? instruction.immediate : -instruction.immediate
                }
            case .mov:
                // A new stack pointer: what RET would find is out of sight.
                if instruction.register == .rsp && instruction.form != .registerToMemory && calls.isEmpty {
                    return walkWithoutReturn(from: index + 1, kernelBase: kernelBase, budget: budget)
                }
            default: break
            }
            index += 1
        }
        return .stopped
    }

    /// Straight-line rest of a walk whose stack pointer is unknown.
    private func walkWithoutReturn(from start: Int32, kernelBase: Bool, budget: Int) -> Step {
        var index = start
        var budget = budget
        while budget > 0, index >= 0, Int(index) < program.instructions.count {
            budget -= 1
            let instruction = program.instructions[Int(index)]
            if instruction.memory.segment == .gs, !kernelBase, Self.loads(instruction) {
                return .gadget(instruction: index)
            }
            switch instruction.opcode {
            case .model: return kernelBase ? .stopped : .gadget(instruction: index)
            case .jmp, .call:
                guard instruction.form == .target, instruction.target >= 0 else { return .stopped }
                index = instruction.target
                continue
            case .ret, .iret, .sysret, .swapgs, .lfence, .mfence, .cpuid, .wrmsr, .movToControl: return .stopped
            default: index += 1
            }
        }
        return .stopped
    }

    private static func loads(_ instruction: Instruction) -> Bool {
        switch instruction.form {
        case .memory, .memoryToRegister, .registerToMemory, .immediateToMemory, .indirectMemory:
            // A plain store sends nothing to a dependent load.
            !(instruction.opcode == .mov
                && (instruction.form == .registerToMemory || instruction.form == .immediateToMemory))
                && instruction.opcode != .lea
        default: false
        }
    }
}

extension ScenarioRun {
    mutating func checkSpeculation(_ instruction: Int32, taken: Bool) {
        let top = machine.memory.peek(machine.cpu[.rsp]) ?? 0
        let parity: UInt64 = machine.cpu.gsBase == layout.perCPUBase ? 1 : 0
        let key = UInt64(UInt32(bitPattern: instruction)) << 2 | (taken ? 2 : 0) | parity
        // The way back from a subroutine depends on its caller; within one routine the verdict does not.
        if speculation.seen(key ^ (top & 0xFFFF_FFFF) << 34) { return }
        let walk = SpeculativeWalk(run: self, program: program)
        guard case .gadget(let place) = walk.follow(instruction, taken: taken) else { return }
        speculation.forget(key ^ (top & 0xFFFF_FFFF) << 34)
        record(SpeculationBarrier.finding(self, branch: instruction, taken: taken, gadget: place))
    }
}

extension SpeculationMemo {
    /// A walk that found something must be found again by the next scenario.
    mutating func forget(_ key: UInt64) { clean.remove(key) }
}

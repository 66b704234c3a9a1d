import EntryCode
import Machine

/// Which mispredicted branches were already followed, and whether the platform is worth the walk.
package struct SpeculationMemo: Sendable {
    /// Follow the other side of conditional branches until the handler runs.
    var isArmed = false
    private let isVulnerable: Bool
    private var walks: [UInt64: Finding?] = [:]
    /// For each branch, side and GS base the key of the latest walk that found nothing: most branches come again.
    private var harmless: [UInt64]

    init(image: EntryImage) {
        let traits = image.machine.traits
        // Where SMAP also binds speculation there is nothing at a user's GS base that could be read, unless programs can
        // write the base of a kernel address into it: WRGSBASE (Linux 6.1 arch/x86/kernel/cpu/bugs.c,
        // spectre_v1_select_mitigation). Under Xen the kernel has no SWAPGS.
        // Before alternatives are applied there is no program yet whose GS base could be read through.
        let isBound = traits.smap && !traits.meltdown && !traits.fsgsbase
        isVulnerable = image.isPatched && !traits.isParavirtual && !isBound
        harmless = Array(repeating: 0, count: isVulnerable ? image.program.instructions.count * 4 : 0)
    }

    /// - Parameter depth: Events that have not returned.
    mutating func arm(depth: Int) { isArmed = isVulnerable && depth == 1 }
}

extension ScenarioRun {
    /// Instructions that a processor may run ahead.
    private static var speculationWindow: Int { 128 }

    /// Follows the side of a conditional branch that was not taken, as a processor that mispredicts does.
    ///
    /// The instructions are executed and their effects undone. The way ends where the processor would stop: at an
    /// instruction that serialises, or at a fault. Reaching a load through GS, or a C function (which reads `current`
    /// through GS), while the base is the user's is a gadget for CVE-2019-1125. Later branches go where their flags
    /// send them: two mispredictions in a row are not assumed.
    mutating func checkSpeculation(_ branch: Int32, taken: Bool) {
        let top = machine.memory.peek(machine[.rsp]) ?? 0
        let hasKernelBase = machine.cpu.gsBase == layout.perCPUBase
        let site = UInt64(UInt32(bitPattern: branch)) << 2 | (taken ? 2 : 0) | (hasKernelBase ? 1 : 0)
        let decidesAboutGuard = decidesAboutGuard(branch, taken: taken)
        let key = site ^ (top & 0x1FFF_FFFF) << 34 ^ (decidesAboutGuard ? 1 << 63 : 0)
        if speculation.isHarmless(key, at: Int(site)) { return }
        if let known = speculation.result(key) {
            if let finding = known.finding {
                record(
                    Finding(
                        finding.rule, finding.explanation, at: CausePoint(step: machine.stepNumber, instruction: branch)
                    ))
            }
            return
        }
        let instruction = image.program.instructions[Int(branch)]
        let before = machine.cpu
        let cost = machine.cost
        let step = machine.stepNumber
        let unguarded = machine.unguardedReturn
        let overwrites = machine.memory.overwrites
        let content = machine.memory.tracking.content
        let accesses = machine.memory.tracking.accesses
        let isLogging = machine.memory.tracking.isLogging
        machine.memory.tracking.isLogging = false
        let mark = machine.memory.startJournal()
        machine.stopAtBranches = false
        machine.cpu.index = taken ? branch + 1 : instruction.target
        let gadget = runAhead(withoutGuard: decidesAboutGuard)
        machine.memory.rollBack(to: mark, overwrites: overwrites)
        machine.memory.tracking.content = content
        machine.memory.tracking.accesses = accesses
        machine.memory.tracking.isLogging = isLogging
        machine.cpu = before
        machine.cost = cost
        machine.stepNumber = step
        machine.unguardedReturn = unguarded
        let finding = gadget.map { SpeculationBarrier.finding(self, branch: branch, taken: taken, gadget: $0) }
        speculation.keep(finding, for: key, at: Int(site))
        if let finding { record(finding) }
    }

    /// Instructions between a branch and the write that it decides about.
    private static var guardDistance: Int { 12 }

    /// The side of the branch that is taken here writes SPEC_CTRL before anything returns, and the other may pass that by: a
    /// processor that mispredicts runs ahead to a return that nothing restricts (CVE-2022-29901).
    private func decidesAboutGuard(_ branch: Int32, taken: Bool) -> Bool {
        guard machine.returnGuard == .restriction, !machine.guardsReturns,
            machine.cpu[.rcx] & 0xFFFF_FFFF == UInt64(MSR.speculationControl)
        else { return false }
        var index = taken ? program.instructions[Int(branch)].target : branch + 1
        for _ in 0..<ScenarioRun.guardDistance {
            guard index >= 0, Int(index) < program.instructions.count else { return false }
            let instruction = program.instructions[Int(index)]
            switch instruction.opcode {
            case .wrmsr: return true
            case .jmp where instruction.target >= 0: index = instruction.target
            case .jcc, .call, .ret, .iret, .model, .sysret, .jmp: return false
            default: index += 1
            }
        }
        return false
    }

    private func isNotUnderstood(_ instruction: Instruction) -> Bool {
        guard instruction.opcode == .model else { return false }
        let number = Int(instruction.immediate)
        guard image.functions.indices.contains(number) else { return instruction.immediate == Program.gapModel }
        return image.functions[number].model == .notUnderstood
    }

    /// Executes until the processor would stop; the instruction that uses the user's GS base, if one does, or the return that
    /// nothing guards.
    private mutating func runAhead(withoutGuard: Bool) -> Gadget? {
        for _ in 0..<ScenarioRun.speculationWindow {
            let index = machine.cpu.index
            guard index >= 0, Int(index) < image.program.instructions.count else { return nil }
            let instruction = image.program.instructions[Int(index)]
            // Where code begins that was not understood nothing is known of what a processor would do.
            if isNotUnderstood(instruction) { return nil }
            let hasUserBase = machine.cpu.gsBase != layout.perCPUBase
            if hasUserBase && (instruction.opcode == .model || instruction.readsThroughGS) { return .userBase(index) }
            if withoutGuard && !machine.guardsReturns && [.model, .ret].contains(instruction.opcode) {
                return .unguardedReturn(index)
            }
            switch instruction.opcode {
            case .model, .lfence, .mfence, .cpuid, .wrmsr, .iret, .sysret, .sysexit, .syscall, .sysenter, .int, .int3,
                .hlt,
                .ud2, .movToControl, .movToDebug, .invlpg, .invpcid, .wbinvd:
                // Serialising instructions (SDM vol. 3, 8.3), and what no processor runs past.
                return nil
            case .swapgs where !machine.traits.swapgsSpeculates: return nil
            default: break
            }
            guard case .next = machine.step(image.program) else { return nil }
        }
        return nil
    }
}

/// What a processor that mispredicts a branch runs ahead to.
enum Gadget {
    case userBase(Int32)
    case unguardedReturn(Int32)
}

extension Instruction {
    /// Loads a value through GS that later instructions could depend on; a plain store does not.
    var readsThroughGS: Bool {
        guard memory.segment == .gs else { return false }
        switch form {
        case .memoryToRegister: return opcode != .lea
        case .registerToMemory, .immediateToMemory: return opcode != .mov
        case .memory, .indirectMemory: return opcode != .pop && opcode != .set
        default: return false
        }
    }
}

extension SpeculationMemo {
    struct Known { var finding: Finding? }

    /// What the walk from a branch found before.
    func result(_ key: UInt64) -> Known? { walks[key].map { Known(finding: $0) } }

    /// The same branch, side, GS base and return address lead the same way again.
    mutating func keep(_ finding: Finding?, for key: UInt64, at site: Int) {
        walks[key] = .some(finding)
        if finding == nil, harmless.indices.contains(site) { harmless[site] = key }
    }

    /// The latest walk from here that found nothing started in this state.
    func isHarmless(_ key: UInt64, at site: Int) -> Bool {
        harmless.indices.contains(site) && key != 0 && harmless[site] == key
    }
}

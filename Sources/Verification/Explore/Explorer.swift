import Machine

/// What nested exploration has seen: states that look the same to a nested event are tried once.
///
/// A nested path is told apart by what it reads. The processor's state counts always; of memory those classes of pages
/// count that some path of the same event has read so far, and of the registers those that one has looked at.
package struct Explorer: Sendable {
    /// Injected events, each followed to its end.
    package var runs: UInt64 = 0
    /// Instruction boundaries that were looked at.
    package var boundaries: UInt64 = 0
    /// Instructions that were executed, those of paths that were undone included.
    package var instructions: UInt64 = 0
    /// Results of scenarios with nested events that do not hold.
    package var results: [ScenarioResult] = []
    /// Every boundary is tried, whatever is known: what the shortcuts are compared with.
    package var isExhaustive = false
    /// The limit on `runs` was reached.
    package var isExhausted = false

    /// What became of an event in a state.
    enum Outcome: UInt8, Sendable {
        /// The interrupted state was restored, nothing broke.
        case transparent
        /// Something broke before it returned, and is reported.
        case reported
    }

    /// What paths of one event depend on, as far as is known.
    private struct Dependences: Sendable {
        var memory = MemoryTracking.Footprint()
        var registers: UInt32 = 0
    }

    private var dependences: [Dependences]
    private var known: [UInt64: Outcome] = [:]
    /// States in every detail from which an event did not return to the same state.
    private var followed: Set<UInt64> = []
    /// Registers that the running paths have not replaced yet, and those that they have looked at, by level.
    private var inherited: [UInt32] = []
    private var looked: [UInt32] = []
    /// What was reported, so that it is reported once.
    private var reported: Set<ReportKey> = []

    private struct ReportKey: Hashable, Sendable {
        var rule: String
        var instruction: Int32
        var places: [String]
    }

    package init() {
        dependences = Array(repeating: Dependences(), count: NestedEvent.allCases.count * 4)
    }

    private static func slot(_ event: NestedEvent, _ remaining: Int) -> Int {
        Int(event.rawValue) * 4 + min(remaining, 3)
    }

    @inline(__always)
    static func mix(_ sum: UInt64, _ value: UInt64) -> UInt64 {
        var x = (sum ^ value) &* 0x9E37_79B9_7F4A_7C15
        x ^= x >> 31
        return x &* 0xD6E8_FEB8_6659_FD93
    }

    // MARK: Keys

    /// What every path can read of the processor, whatever it is.
    static func processorKey(_ run: inout ScenarioRun, inBody: Bool) -> UInt64 {
        let cpu = run.machine.cpu
        var sum = UInt64(UInt32(bitPattern: cpu.index)) | (inBody ? 1 << 40 : 0)
        if cpu.index < 0 { sum = mix(sum, cpu.outsideRIP) }
        sum = mix(sum, cpu.flags & ~Flags.arithmetic)
        sum = mix(sum, UInt64(cpu.cs) | UInt64(cpu.ss) << 16 | UInt64(cpu.cpl) << 32)
        sum = mix(sum, cpu.dataSelectors)
        sum = mix(sum, cpu.fsBase)
        sum = mix(sum, cpu.gsBase)
        sum = mix(sum, cpu.kernelGSBase)
        sum = mix(sum, cpu.cr3)
        sum = mix(sum, cpu.dr7 ^ cpu.watchedAddress << 20)
        sum = mix(sum, cpu.pendingDebug ^ cpu.dr6 << 32 ^ cpu.speculationControl << 8)
        var bits: UInt64 = cpu.nmiBlocked ? 1 : 0
        if cpu.stackShadow { bits |= 2 }
        if cpu.interruptShadow { bits |= 4 }
        if cpu.machineCheckInProgress { bits |= 8 }
        if cpu.guestKernelMode { bits |= 16 }
        if run.hypervisor?.nmiMasked == true { bits |= 32 }
        if cpu.hasUntrained { bits |= 64 }
        bits |= UInt64(run.machine.idt[Int(Vector.debug)].ist) << 8
        bits |= UInt64(clamping: run.machine.debugTableUsers) << 16
        sum = mix(sum, bits)
        sum = mix(sum, run.machine[.rsp])
        for activation in run.activations { sum = mix(sum, kindKey(activation)) }
        return sum
    }

    /// What a nested event, and the rules that look at it, can tell of the event that it interrupts.
    private static func kindKey(_ activation: Activation) -> UInt64 {
        let event = activation.event
        var bits = UInt64(event.source.rawValue) | (activation.isUnexpected ? 16 : 0)
        switch event.vector {
        case Vector.debug, Vector.breakpoint, Vector.machineCheck, Vector.doubleFault, Vector.nmi,
            Vector.virtualization:
            bits |= UInt64(event.vector) << 8
        // Its address is lost to a nested fault while its handler has not read it.
        case Vector.pageFault: bits |= (activation.handlerCalls == 0 ? 1 : 0) << 16
        default: break
        }
        if event.source == .nmi { bits |= UInt64(min(activation.handlerCalls, 3)) << 20 }
        bits |= UInt64(activation.openNMIs.rawValue) << 24 | (activation.isInjected ? 1 << 28 : 0)
        return bits
    }

    /// The processor's key with what paths of this event depend on.
    func key(_ processor: UInt64, _ event: NestedEvent, _ remaining: Int, _ machine: inout Machine) -> UInt64 {
        let slot = Explorer.slot(event, remaining)
        var sum = Explorer.mix(processor, UInt64(slot) << 1 | 1)
        let footprint = dependences[slot].memory
        sum = Explorer.mix(sum, machine.memory.tracking.summary(footprint))
        // Whose words they are matters where there are any.
        if machine.memory.tracking.hasStackWords(footprint) { sum = Explorer.mix(sum, machine.liveActivations) }
        var registers = dependences[slot].registers
        if registers & Dependence.flags != 0 { sum = Explorer.mix(sum, machine.cpu.flags & Flags.arithmetic) }
        registers &= 0xFFFF
        while registers != 0 {
            let number = registers.trailingZeroBitCount
            registers &= registers - 1
            sum = Explorer.mix(sum, machine[Register.general[number]] &+ UInt64(number))
        }
        return sum
    }

    /// A key in which everything counts.
    static func exactKey(_ processor: UInt64, _ event: NestedEvent, _ remaining: Int, _ run: inout ScenarioRun)
        -> UInt64
    {
        var sum = mix(processor, UInt64(slot(event, remaining)) << 1)
        sum = mix(sum, run.machine.memory.tracking.summary(.init(touched: .max, valued: .max)))
        sum = mix(sum, run.machine.liveActivations)
        sum = mix(sum, run.machine.cpu.flags)
        for register in Register.general { sum = mix(sum, run.machine[register]) }
        sum = mix(sum, run.machine.cpu.cr2)
        sum = mix(sum, UInt64(run.findings.count) << 32 | UInt64(run.scenario.probe.hashValueForKey))
        return sum
    }

    func outcome(_ key: UInt64) -> Outcome? { isExhaustive ? nil : known[key] }

    mutating func keep(_ outcome: Outcome, for key: UInt64) { known[key] = outcome }

    /// Whether the way on from a state was not followed yet; notes that it is now.
    mutating func follows(_ key: UInt64) -> Bool { isExhaustive || followed.insert(key).inserted }

    // MARK: Dependences

    mutating func begin() {
        inherited.append(0x1FFFF)
        looked.append(0)
    }

    /// One instruction of the running paths.
    @inline(__always)
    mutating func note(_ dependence: Dependence) {
        instructions &+= 1
        var level = inherited.count - 1
        while level >= 0 {
            looked[level] |= dependence.uses & inherited[level]
            inherited[level] &= ~dependence.defines
            level -= 1
        }
    }

    var isInside: Bool { !inherited.isEmpty }

    /// What is known of the registers, to be put back when a nested path is undone.
    var registerState: [UInt32] {
        get { inherited }
        set { inherited = newValue }
    }

    /// - Returns: The path has looked at a register that none of this event did before.
    mutating func end(_ event: NestedEvent, _ remaining: Int, _ footprint: MemoryTracking.Footprint) -> Bool {
        let registers = looked.popLast() ?? 0
        _ = inherited.popLast()
        let slot = Explorer.slot(event, remaining)
        dependences[slot].memory.formUnion(footprint)
        let isNew = registers & 0xFFFF & ~dependences[slot].registers != 0
        dependences[slot].registers |= registers
        return isNew
    }

    /// Registers that no known path of an event looks at, and RSP aside.
    func carriedRegisters(_ event: NestedEvent, _ remaining: Int) -> UInt32 {
        ~dependences[Explorer.slot(event, remaining)].registers & 0xFFEF
    }

    // MARK: Results

    /// Keeps a result that does not hold, once for each rule, cause and chain of places.
    mutating func report(_ result: ScenarioResult, causes: [(rule: String, instruction: Int32)]) {
        let places = result.scenario.injections.map { "\($0.symbol)@\($0.routine)" }
        var isNew = result.verdict == .undecided
        for cause in causes
        where reported.insert(ReportKey(rule: cause.rule, instruction: cause.instruction, places: places)).inserted {
            isNew = true
        }
        if isNew { results.append(result) }
    }
}

/// An invariant of correct entry, as it is published: what must hold, why, and who says so.
package struct Rule: Sendable, Hashable {
    package enum Severity: String, Sendable, Hashable {
        /// Makes a scenario `violated`.
        case violation
        /// Reported, but the scenario holds.
        case warning
    }

    /// Stable id of the interface.
    package var id: String
    package var severity: Severity
    package var statement: String
    package var why: String
    package var sources: [String]
    /// Execution goes on as if nothing had happened: other faults of the same scenario are independent of it.
    package var isLatent: Bool
    /// What follows from a latent violation, where nothing crashes.
    package var latentConsequence: String

    package init(
        _ id: String, severity: Severity = .violation, isLatent: Bool = false,
        latentConsequence: String = "nothing crashes in this scenario: the state stays wrong without a message",
        statement: String, why: String,
        sources: [String]
    ) {
        self.id = id
        self.severity = severity
        self.isLatent = isLatent
        self.latentConsequence = latentConsequence
        self.statement = statement
        self.why = why
        self.sources = sources
    }

    /// Every rule, in the order of the interface's documentation.
    package static let all: [Rule] = [
        KernelGSBase.rule, UserGSBase.rule, KernelPageTable.rule, UserPageTable.rule, StackBounds.rule,
        LiveFrameOverwritten.rule, PtRegsFaithful.rule, ErrorCode.rule, Resumption.rule, UnexpectedFault.rule,
        DoubleFault.rule, TripleFault.rule, NMIMasking.rule, InterruptFlag.rule, AccessFlag.rule, DirectionFlag.rule,
        NestedTaskFlag.rule, UserReachableGate.rule, RegisterHygiene.rule, DebugRegisters.rule,
        SpeculationBarrier.rule,
        InformationLeak.rule, NeedlessHypervisorEntry.rule, DanglingReference.rule, UnreachableEntry.rule,
        Progress.rule,
        NotUnderstood.rule,
    ]

    package static func named(_ id: String) -> Rule? { all.first { $0.id == id } }
}

/// Where in a run a check looks.
package enum Checkpoint: Sendable, Hashable {
    /// A C function of the entry path is about to run.
    case cFunction
    /// The event's C handler is about to run; its first argument should be pt_regs.
    case handler
    /// IRET or Xen's iret hypercall has read a frame; the address is that of its RIP slot.
    case returned(frame: UInt64)
    /// An IRET to user mode faults as the scenario wants: all but the bad value is as for any return.
    case leaving
    /// The interrupted context, as the handler left it, is running again.
    case resumed
    /// An exception that nothing in the scenario asked for is about to be delivered.
    case fault
}

/// A rule that does not hold, with an explanation that names addresses, slots and activations.
package struct Finding: Sendable, Hashable {
    package var rule: Rule
    package var explanation: String
    /// Step and instruction of the cause, where that is not the present one.
    package var at: CausePoint?

    package init(_ rule: Rule, _ explanation: String, at: CausePoint? = nil) {
        self.rule = rule
        self.explanation = explanation
        self.at = at
    }
}

/// Where a cause lies.
package struct CausePoint: Sendable, Hashable {
    package var step: UInt32
    /// Index of the instruction in the program; -1 when RIP pointed nowhere.
    package var instruction: Int32

    package init(step: UInt32, instruction: Int32) {
        self.step = step
        self.instruction = instruction
    }
}

/// One invariant: its published form and its check.
package protocol Invariant: SendableMetatype {
    static var rule: Rule { get }
    /// Looks at a run at one of its checkpoints; nil where the rule holds or does not apply.
    ///
    /// - Parameter run: Lent, and left as it is; a run handed over by value would be copied for every check.
    static func check(_ run: inout ScenarioRun, at checkpoint: Checkpoint) -> Finding?
}

/// The invariants by the checkpoints that they look at; order decides which of several is named the first cause.
enum InvariantTable {
    static let atCFunction: [any Invariant.Type] = [
        KernelGSBase.self, StackBounds.self, DirectionFlag.self, AccessFlag.self, NestedTaskFlag.self,
        InterruptFlag.self, NMIMasking.self, KernelPageTable.self, SpeculationBarrier.self, ExitWork.self,
        RegisterHygiene.self,
    ]
    static let atHandler: [any Invariant.Type] = [
        UserReachableGate.self, Progress.self, ErrorCode.self, PtRegsFaithful.self, NMIMasking.self,
        RegisterHygiene.self, DebugRegisters.self,
    ]
    static let atReturn: [any Invariant.Type] = [LiveFrameOverwritten.self, Resumption.self, InterruptFlag.self]
    static let atResumption: [any Invariant.Type] = [
        Progress.self, UserPageTable.self, UserGSBase.self, KernelGSBase.self, InformationLeak.self, Resumption.self,
        NMIMasking.self, InterruptFlag.self, StackBounds.self, SpeculationBarrier.self, ExitWork.self,
        DebugRegisters.self,
    ]
    static let atLeaving: [any Invariant.Type] = [UserPageTable.self, UserGSBase.self, Resumption.self]
    static let atFault: [any Invariant.Type] = [
        LiveFrameOverwritten.self, KernelPageTable.self, KernelGSBase.self, StackBounds.self,
    ]

    static func list(_ checkpoint: Checkpoint) -> [any Invariant.Type] {
        switch checkpoint {
        case .cFunction: atCFunction
        case .handler: atHandler
        case .returned: atReturn
        case .leaving: atLeaving
        case .resumed: atResumption
        case .fault: atFault
        }
    }
}

package import Machine

/// A context as the hardware would save it: what an event interrupts, and what must run again.
package struct SavedContext: Sendable {
    /// Sixteen registers in `Register` order; RSP included.
    package var registers: InlineArray<18, UInt64>
    package var rip: UInt64
    package var cs: UInt16
    package var ss: UInt16
    package var flags: UInt64
    /// DS, ES, FS and GS, 16 bits each from the lowest.
    package var dataSelectors: UInt64
    package var fsBase: UInt64
    package var gsBase: UInt64
    package var kernelGSBase: UInt64
    package var cr3: UInt64
    package var isKernelMode: Bool
    /// IF clear, or under Xen the event mask set.
    package var eventsMasked: Bool
    package var nmiBlocked: Bool
    /// SPEC_CTRL.
    package var speculationControl: UInt64 = 0

    package subscript(_ register: Register) -> UInt64 {
        get { registers[Int(register.rawValue)] }
        set { registers[Int(register.rawValue)] = newValue }
    }
}

/// One delivered event, from its frame to the return that ends it.
package struct Activation: Sendable {
    package var number: UInt32
    package var event: Event
    /// What the processor or Xen interrupted.
    package var interrupted: SavedContext
    /// What must run in the end: the interrupted context with the handler's edits.
    package var expected: SavedContext
    /// Words RIP, CS, RFLAGS, RSP, SS as delivered, with the handler's edits: what a return must read.
    package var frameWords: InlineArray<5, UInt64>
    /// Address of the RIP slot of the delivered frame.
    package var frame: UInt64
    /// The event is the fault of an IRET whose target could not be entered; `interrupted` is that target.
    package var isReturnFault = false
    /// A #DB of the program's debugger on the way of another event: the handler looks at it and returns.
    package var isDebuggersTrap = false
    /// The work that waits for a return to user mode was looked for.
    package var didExitWork = false
    package var handlerCalls = 0
    /// Interrupts, or events under Xen, were off at the first instruction of its stub.
    package var enteredWithEventsMasked = true
    /// Nothing in the scenario asked for this event.
    package var isUnexpected = false
    /// An NMI whose nested exception has returned: NMIs are open though it is not over.
    package var openNMIs = OpenNMIs.no

    /// How NMIs came to be open in an NMI.
    package enum OpenNMIs: UInt8, Sendable, Hashable {
        case no
        /// An exception of C code has returned: the entry is prepared for that (fact F36).
        case inC
        /// An exception between the instructions of the entry code itself has.
        case inEntryCode
    }

    /// A nested event: its handler returns, whatever the scenario's own does.
    package var isInjected = false

    package var fromUser: Bool { !interrupted.isKernelMode }
}

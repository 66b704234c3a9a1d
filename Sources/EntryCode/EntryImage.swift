package import Assembler
package import Machine
package import XenPV

/// An entry table expanded for one platform: code laid out, memory mapped, descriptor or trap table filled.
package struct EntryImage: Sendable {
    package var platform: Platform
    package var table: EntryTable
    package var program: Program
    /// Memory frozen in its initial state; the processor as the kernel has set it up, in no particular context.
    package var machine: Machine
    /// Present on Xen PV.
    package var hypervisor: Hypervisor?
    /// Model number (the immediate of the pseudo-instruction) to function.
    package var functions: [CFunction]
    package var layout: ImageLayout
    /// Symbols by the role they play, such as `bad_iret`.
    package var roles: [String: String]
    /// How the kernel words what it prints.
    package var console = ConsoleWords()
    /// The kernel's release as a console shows it.
    package var release: String
    /// Vectors that events come by, with the name of the entry that the table, or else its kernel's own, gives them.
    package var vectors: [(vector: UInt8, entry: String)] = []
    /// Those of them that devices raise; on Xen PV the vector that stands for the event callback.
    package var deviceVectors: Set<UInt8> = []
    /// Those of `vectors` that stand for events without a vector.
    package var standIns: Set<UInt8> = []
    /// Those of them that stand for SYSCALL or SYSENTER where nothing is made for it: the program gets a fault.
    package var refusedCalls: Set<UInt8> = []
    /// The int3 self test of this kernel runs before alternatives are applied: on another expansion (fact F10).
    package var bootsUnpatched = false
    /// System calls return by SYSRET whatever TF is.
    package var sysretTraps = false
    /// The C handler of #DB may meet another #DB.
    package var debugNests = false
    /// The code is that after alternatives were applied.
    package var isPatched = true
    /// Rules about conventions of C that this kernel does not have: what breaks them alone has no verdict.
    package var doubtfulRules: Set<String> = []
    /// Gates and trap-table rows that lead nowhere, thunks that nothing uses: warnings of the configuration.
    package var findings: [ConfigurationFinding]
}

/// Something wrong with a configuration that is not a fault of the document.
package struct ConfigurationFinding: Error, Sendable, Hashable {
    /// `dangling-reference` or `unreachable-entry`, or a diagnostic code of the assembler.
    package var rule: String
    /// JSON pointer into the document, or empty.
    package var pointer: String
    package var message: String
    /// Where in a listing or routine, as `file:line:column`; empty where it does not apply.
    package var location: String

    package init(rule: String, pointer: String, message: String, location: String = "") {
        self.rule = rule
        self.pointer = pointer
        self.message = message
        self.location = location
    }
}

/// A table cannot be run; every reason that was found.
package struct InvalidConfiguration: Error, Sendable {
    package var findings: [ConfigurationFinding]
}

/// Addresses that scenarios, handler models and reports need.
package struct ImageLayout: Sendable {
    package var taskStack: Region
    package var entryStack: Region
    package var interruptStack: Region
    package var nmiStackTop: UInt64
    /// What is written while the interrupt stack is in use: address, size, value.
    package var interruptStackInUse: (address: UInt64, size_bytes: UInt64, value: UInt64)?
    /// Where the kernel notes that the user's translations must be flushed, one bit for each PCID; nil without PCID and
    /// page-table isolation.
    package var userFlushMask: UInt64?
    /// Where the kernel counts what forbids preemption.
    package var preemptCount: UInt64?
    /// A byte that is 1 during a hypercall which may be preempted.
    package var preemptibleCall: UInt64?
    /// Where the kernel remembers what DR7 should be.
    package var debugControl: UInt64?
    /// The word that keeps system calls from the fast path, and what goes with it.
    /// Where work before a system call is noted on the task's stack.
    package var callWork: Generation.CallWork?
    package var fastCalls: (work: UInt64, calls: Generation.FastCalls)?
    /// Exception table: address of the instruction to that of its fixup.
    package var fixups: [UInt64: UInt64] = [:]
    /// The function that loads GS with a selector for C; nil where the kernel has none that faults.
    package var loadGS: UInt64?
    package var perCPUBase: UInt64
    /// Per-CPU variables that entry code leaves as it found them: name, address, size.
    package var keptVariables: [(name: String, address: UInt64, size_bytes: UInt64)] = []
    /// Words of per-CPU variables that hold something only while they are in use.
    package var scratchWords: [UInt64] = []
    /// Offsets of the per-CPU variables that C functions read.
    package var currentTaskOffset: UInt64
    /// Of the words with the top of the task's stack and of the stack that entries from user mode start on.
    package var taskStackTopOffset: UInt64
    package var entryStackTopOffset: UInt64
    package var vcpuInfo: UInt64
    package var current: UInt64
    package var userStackPointer: UInt64
    /// The same of a 32-bit program, and where its system calls return to in the vDSO.
    package var userStackPointer32: UInt64
    package var userLandingPad: UInt64
    /// User code: a run of NOPs whose second instruction is interrupted, and one INT n for each n that was asked for.
    package var userCode: UInt64
    package var userInterrupt: [UInt8: UInt64]
    /// INT n for each n that has no gate.
    package var userOtherInterrupt: [UInt8: UInt64] = [:]
    /// User code that accesses the word at RBX; that loads SS from there and then does what raises the vector.
    package var userAccess: UInt64
    package var userMovSS: [UInt8: UInt64]
    /// INT n with a prefix, by vector; SYSCALL as the last instruction that user memory has room for.
    package var userPrefixed: [UInt8: UInt64] = [:]
    package var userLastCall: UInt64 = 0
    /// Stretches of data that nothing models: a page fault there says nothing about the code.
    package var unmodelled: [(base: UInt64, end: UInt64)] = []
    /// Bytes of stack that a C function on the way of an event takes; 0 where its words are all that counts.
    package var functionStack_bytes: UInt64 = 0
    /// First address behind the code of SYSENTER that a debugger may step through.
    package var sysenterEnd: UInt64
    /// User code that signals and hostile returns go to.
    package var userSignal: UInt64
    /// Kernel code: NOPs, an int3 followed by four NOPs, and a function that only returns.
    package var kernelCode: UInt64
    package var kernelInterrupt: [UInt8: UInt64]
    package var kernelFixup: UInt64
    /// Kernel code that pushes a register.
    package var kernelPush: UInt64
    package var emulatedFunction: UInt64
    package var selfTestSite: UInt64?
    package var selfTestTarget: UInt64?
    /// The word that the self test's function sets.
    package var selfTestWord: UInt64
    package var usesPageTableIsolation: Bool
    package var userGSBase: UInt64
    package var kernelCR3: UInt64
    package var userCR3: UInt64
    package var espfixWindow: Region
}

extension EntryImage {
    /// A stretch that stays unmapped ends where a stack begins.
    package func hasGuard(below base: UInt64) -> Bool { table.machine.guards.contains { $0.end == base } }

    /// Entry code calls a function for the work that waits for a return to user mode.
    package var hasExitFunction: Bool { functions.contains { $0.model == .exitToUser } }

    /// Prints instructions with the program's own symbols.
    package var printer: InstructionPrinter {
        let program = program
        return InstructionPrinter(symbolize: { address in
            guard let routine = program.routine(containing: address) else { return nil }
            let offset = address &- routine.address
            return offset == 0 ? routine.name : "\(routine.name)+0x\(String(offset, radix: 16))"
        })
    }

    /// AT&T text of one instruction.
    package func text(_ instruction: Instruction, at address: UInt64) -> String {
        printer.text(instruction, at: address)
    }
}

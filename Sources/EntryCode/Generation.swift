package import Assembler
import Machine

/// A per-CPU variable: its offset from the per-CPU base and what it holds at the start.
package struct PerCPUVariable: Sendable {
    package var name: String
    package var offset: UInt64
    package var size_bytes: UInt64
    /// Field offset and value; one field at 0 for a plain variable.
    package var holds: JSON
    /// Parts that entry code leaves as it found them: offset and size.
    package var kept: [(offset: UInt64, size_bytes: UInt64)] = []
    /// Each use writes it before it reads it: what it holds between uses is nobody's.
    package var isScratch = false
    /// Its pages are mapped in the user half of a PTI pair too.
    package var isUserMapped = false
}

/// A generation of entry code: listings in AT&T syntax and the map of its C functions to models. Pure data.
package struct Generation: Sendable {
    package var name: String
    package var listings: [SourceText] = []
    /// Names that the listings define: those between the parentheses of `ENTRY(…)`.
    package var routineNames: Set<String> = []
    package var functions: [CFunction] = []
    package var perCPU: [PerCPUVariable] = []
    /// Data of the kernel that entry code reads by address; offsets count from `Addresses.kernelData`.
    package var data: [PerCPUVariable] = []
    /// Gates of device interrupts, which no table lists: the first of the common stubs and one with a handler of its own.
    package var interrupts: [EntryTable.IDTRow] = []
    /// Options that mean nothing on some platforms: the platforms on which they do.
    package var optionPlatforms: [String: [Platform]] = [:]
    /// Roles that reports and models need a symbol for, such as `bad_iret`.
    package var roles: [String: String] = [:]
    /// Per-CPU words with the top of the task's stack and of the stack that entries from user mode start on.
    package var taskStackTop = PerCPUWord(variable: "cpu_tss_rw", offset: 12)
    package var entryStackTop = PerCPUWord(variable: "cpu_tss_rw", offset: 4)
    /// The per-CPU variable that C reads first of all.
    package var current = "current_task"
    /// System calls return by SYSRET whatever TF is: a stepped program traps at the return address.
    package var sysretTraps = false
    /// The C handler of #DB may meet another #DB.
    package var debugNests = false
    /// Bit n: the IDT that is loaded while #DB is handled takes the IST from vector n as well as from #DB.
    package var debugTableVectors: UInt32 = 0
    /// Roles that another symbol plays where page tables are isolated.
    package var rolesWithIsolation: [String: String] = [:]
    /// Labels of instructions that may fault and of the code that then goes on.
    package var exceptionTable: [(routine: String, fault: String, fixup: String)] = []
    /// What says that the interrupt stack is in use; nil where nothing does.
    package var interruptStackInUse: InUse?
    /// The system calls that entry code makes itself, where no work waits for the task.
    package var fastCalls: FastCalls?
    /// 16 bits, one for each PCID whose user half must be flushed at the next return; nil where nothing is put off.
    package var userFlushMask: PerCPUWord?
    /// The int3 self test runs before alternatives are applied (fact F10): its code is an expansion of its own.
    package var bootsUnpatched = false
    /// The files of a kernel tree that the listings stand for.
    package var tree = TreeDescription()

    /// The fast path of system calls, up to 4.15.
    package struct FastCalls: Sendable, Hashable {
        /// Zero where nothing keeps a call from it.
        package var work: PerCPUWord
        /// What says in `work` that a signal waits.
        package var signal: UInt64
        /// The option without which no task has work at the start.
        package var option: String
        /// Numbers of a call that needs no more than its arguments, and of one that looks at `pt_regs`.
        package var plain: UInt64
        package var whole: UInt64
    }

    /// Work before a system call, in `thread_info.flags` at the low end of the task's stack (up to 4.8).
    package struct CallWork: Sendable, Hashable {
        package var offset: UInt64
        /// Context tracking alone, and a tracer.
        package var tracking: UInt64
        package var tracing: UInt64
    }

    package var callWork: CallWork?

    /// A per-CPU variable, and what it holds while something is in use.
    package struct InUse: Sendable, Hashable {
        package var word: PerCPUWord
        package var size_bytes: UInt64
        package var value: UInt64
    }

    /// How this kernel words what it prints.
    package var console = ConsoleWords()

    /// A word of a per-CPU variable.
    package struct PerCPUWord: Sendable, Hashable {
        package var variable: String
        package var offset: UInt64
    }
}

/// Wordings of the console that changed from one generation of kernels to the next; nil for those that a kernel does not
/// know. A `%` stands for a number or a name.
package struct ConsoleWords: Sendable, Hashable {
    /// #GP with an error code, and #GP(0) of an instruction with an address or a register for an operand.
    package var selectorFault: String?
    package var addressFault: String?
    package var nonCanonicalFault: String?
    /// The line before the oops of a #DF.
    package var doubleFault: String?
    /// The line before the oops of a #DF whose cause is the end of a stack, and the words of that oops.
    package var stackGuard: String?
    package var stackGuardOops: String?
    /// What the kernel calls those of `machine.stacks` whose ends it knows.
    package var stackNames: [String: String] = [:]

    package init() {}

    init(_ value: JSON) {
        func text(_ key: String) -> String? { value[key]?.stringValue }
        selectorFault = text("selector_fault")
        addressFault = text("address_fault")
        nonCanonicalFault = text("non_canonical_fault")
        doubleFault = text("double_fault")
        stackGuard = text("stack_guard")
        stackGuardOops = text("stack_guard_oops")
        for member in value["stack_names"]?.objectValue ?? [] { stackNames[member.key] = member.value.stringValue }
    }
}

/// An entry table that ships with the program, with the generation of code it belongs to.
package struct Kernel: Sendable {
    package var name: String
    package var description: String
    package var generation: Generation
    /// The table's document as it ships.
    package var document: JSON
    /// What the table shows that is a defect of this kernel, not of the table.
    package var knownDefects: [KnownDefect] = []
}

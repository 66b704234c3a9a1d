/// One way in which a hypervisor differs from what the model does: a defect that Xen once had, or could have.
///
/// A table names them under `xen.quirks`. Each changes one step of delivery or return, for every guest and every event
/// that takes this step.
package enum Quirk: String, Sendable, Hashable, CaseIterable {
    /// Delivery leaves AC as it was: the guest kernel runs in ring 3 with alignment checks on.
    ///
    /// Xen 3.0 before 2006 ("Clear AC flag when entering guest kernel").
    case keepsAlignmentCheck = "keeps-alignment-check"
    /// Delivery makes the event mask what the trap-table row asks for, also where it was set, and the saved flags show the
    /// live IF instead of the mask.
    ///
    /// Xen 2 before 2005.
    case forgetsEventMask = "forgets-event-mask"
    /// The R11 word of a system call's frame holds a value of Xen's own instead of the program's flags.
    ///
    /// Xen 3.1 before 2007.
    case losesSyscallR11 = "loses-syscall-r11"
    /// INT 0x80, which Xen hands on directly, does not set the event mask although the trap-table row asks for it.
    ///
    /// Xen 4.8 and earlier (2017).
    case opensEventsForInt80 = "opens-events-for-int80"
    /// A return with the in-syscall flag is made by SYSRET wherever it goes.
    ///
    /// Xen 4.1.2 and earlier (XSA-7, CVE-2012-0217): where the address is not canonical, Intel processors raise #GP in ring 0
    /// with the guest's stack pointer.
    case trustsSysretTarget = "trusts-sysret-target"
    /// A return loads IF from the guest's frame.
    ///
    /// Xen 4.8 and earlier could leave for a guest with interrupts disabled (XSA-202, CVE-2016-10024).
    case loadsInterruptFlag = "loads-interrupt-flag"
    /// On entry from user mode the program's GS base is not read; the return loads the one that was set last through Xen.
    ///
    /// Xen 4.9 and earlier on processors with FSGSBASE (2017).
    case cachesUserGSBase = "caches-user-gs-base"
    /// A #DB that MOV SS has postponed to the first instruction of Xen's SYSCALL entry is taken on the stack that RSP points
    /// to, which is the guest's choice.
    ///
    /// Xen before 4.11 (XSA-260, CVE-2018-8897).
    case takesDebugTrapOnGuestStack = "takes-debug-trap-on-guest-stack"
    /// A SYSENTER of a program with NT set becomes #GP.
    ///
    /// Xen 4.3 to 4.14 ("x86/pv: Don't deliver #GP for a SYSENTER with NT set").
    case refusesNestedTaskFlag = "refuses-nested-task-flag"
    /// An NMI that comes while the guest handles a machine check waits until it has, although NMIs are not masked.
    ///
    /// Xen 4.1 and earlier where a second machine check was pending (2012).
    case holdsNMIsInMachineChecks = "holds-nmis-in-machine-checks"
    /// SYSCALL of a guest that has registered no callback for it: from 32-bit code it goes to the callback of 64-bit code, and
    /// where there is none of either the domain is crashed.
    ///
    /// Xen 4.14 and earlier ("x86/pv: Inject #UD for missing SYSCALL callbacks").
    case confusesSyscallCallbacks = "confuses-syscall-callbacks"
    /// The exception that comes instead of a call without callback has RIP behind the instruction, and the event mask stays as
    /// it was although the trap-table row asks for it.
    ///
    /// Xen 3.4 to 4.1 (XSA-8, CVE-2012-0218).
    case injectsRefusalsByHand = "injects-refusals-by-hand"
    /// That exception stays latched: the return to the guest delivers it once more.
    ///
    /// Xen 3.4 to 4.1 (XSA-8), Xen 3.2 to 4.14 for some guests (XSA-339, CVE-2020-25596).
    case latchesRefusals = "latches-refusals"
    /// Xen's own gate of INT 0x80 has DPL 0: the instruction is emulated, as INT n with other vectors is.
    ///
    /// Xen 4.21 before its release (2025).
    case emulatesInt80 = "emulates-int80"
    /// INT n that is emulated counts as two bytes long, whatever prefixes it has.
    ///
    /// Xen before 4.22.
    case assumesInterruptLength = "assumes-interrupt-length"
    /// The SYSCALL callback starts with the DF of the program.
    case keepsDirectionFlag = "keeps-direction-flag"
    /// #PF from the guest kernel keeps the U bit of its error code, which the processor sets because the guest kernel runs in
    /// ring 3 (fact F9).
    case keepsUserBit = "keeps-user-bit"
    /// The iret hypercall leaves the event mask as it finds it (fact F18).
    case keepsEventMask = "keeps-event-mask"
    /// The iret hypercall leaves NMIs masked (fact F18).
    case keepsNMIMask = "keeps-nmi-mask"
}

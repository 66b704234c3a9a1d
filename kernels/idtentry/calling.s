/*
 * Constants and macros that every other listing of this generation uses.
 *
 * Models: arch/x86/entry/calling.h, arch/x86/include/asm/{irqflags,frame,smap,
 * paravirt,segment}.h and the spectre-v1 part of arch/x86/kernel/cpu/bugs.c,
 * Linux 5.2 and 5.3.  The text describes a kernel after alternatives and
 * paravirt sites were patched: what the patching decided is an .if here.
 */

/* ---- features: derived from options and platform ---------------------- */

/* Xen PV guests neither get PTI, PCID nor SMAP: the hypervisor owns them. */
.set X86_FEATURE_XENPV, PLATFORM_XEN_PV
.set X86_FEATURE_PTI, PTI && CPU_BUG_MELTDOWN && !PLATFORM_XEN_PV
.set X86_FEATURE_PCID, PCID && !PLATFORM_XEN_PV
.set X86_FEATURE_SMAP, SMAP && !PLATFORM_XEN_PV

/* AMD parts keep the old base when a null selector is loaded. */
.set X86_BUG_NULL_SEG, CPU_VENDOR_AMD
/* Only the K8 family needs a fence around SWAPGS for this reason. */
.set X86_BUG_SWAPGS_FENCE, 0

/*
 * Selection of the swapgs fences.  SMAP stops the gadget unless Meltdown lets
 * user data through anyway; a PTI kernel writes CR3 right after SWAPGS, which
 * serialises and makes the fence on the user side redundant.  A kernel with
 * CR4.FSGSBASE, which none of these is without changes, lets the user put a
 * kernel address into GS: then SMAP stops nothing.
 */
.ifdef FSGSBASE
.set SMAP_STOPS_SPECULATION, X86_FEATURE_SMAP && !CPU_BUG_MELTDOWN && !FSGSBASE
.else
.set SMAP_STOPS_SPECULATION, X86_FEATURE_SMAP && !CPU_BUG_MELTDOWN
.endif
.set X86_FEATURE_FENCE_SWAPGS_KERNEL, FENCE_SWAPGS && !SMAP_STOPS_SPECULATION
.set X86_FEATURE_FENCE_SWAPGS_USER, X86_FEATURE_FENCE_SWAPGS_KERNEL && CPU_BUG_SWAPGS && !X86_FEATURE_PTI

/* With paravirt in the kernel, CR2 is read through RAX on bare metal too. */
.set PARAVIRT_XXL, XEN_PV

/* ---- struct pt_regs ---------------------------------------------------- */

.set R15, 0*8
.set R14, 1*8
.set R13, 2*8
.set R12, 3*8
.set RBP, 4*8
.set RBX, 5*8
.set R11, 6*8
.set R10, 7*8
.set R9, 8*8
.set R8, 9*8
.set RAX, 10*8
.set RCX, 11*8
.set RDX, 12*8
.set RSI, 13*8
.set RDI, 14*8
.set ORIG_RAX, 15*8
.set RIP, 16*8
.set CS, 17*8
.set EFLAGS, 18*8
.set RSP, 19*8
.set SS, 20*8
.set SIZEOF_PTREGS, 21*8

/* ---- selectors, flags, sizes ------------------------------------------- */

.set __KERNEL_CS, 0x10
.set __KERNEL_DS, 0x18
.set __USER32_CS, 0x23
.set __USER32_DS, 0x2b
.set __USER_DS, 0x2b
.set __USER_CS, 0x33

.set X86_EFLAGS_FIXED, 0x2
.set X86_EFLAGS_TF, 0x100
.set X86_EFLAGS_IF_BIT, 9
.set X86_EFLAGS_IF, 0x200
.set X86_EFLAGS_DF, 0x400
.set X86_EFLAGS_NT, 0x4000
.set X86_EFLAGS_RF, 0x10000
.set X86_EFLAGS_AC, 0x40000

.set MSR_GS_BASE, 0xc0000101
.set ENOSYS, 38

.set PAGE_SIZE, 4096
.set EXCEPTION_STKSZ, PAGE_SIZE
.set IRQ_STACK_SIZE, 4*PAGE_SIZE
.set FIRST_EXTERNAL_VECTOR, 0x20
.set LOCAL_TIMER_VECTOR, 0xec

/* Indices into the IST array of the TSS; a gate holds the index plus one. */
.set IST_INDEX_DF, 0
.set IST_INDEX_NMI, 1
.set IST_INDEX_DB, 2
.set IST_INDEX_MCE, 3
/* From one #DB stack to the next lower one: the stack and its guard page. */
.set DB_STACK_OFFSET, EXCEPTION_STKSZ + PAGE_SIZE

/* Fields of cpu_tss_rw.  sp1 is no ring 1 stack: it is the task's stack top. */
.set TSS_sp0, 4
.set TSS_sp1, 12
.set TSS_sp2, 20
.set TSS_ist, 36

.set TLB_STATE_user_pcid_flush_mask, 22

/* Fields of Xen's struct vcpu_info. */
.set XEN_vcpu_info_pending, 0
.set XEN_vcpu_info_mask, 1
.set XEN_vcpu_info_arch_cr2, 16

.set __HYPERVISOR_iret, 23

/* ---- frame pointers ---------------------------------------------------- */

.macro FRAME_BEGIN
.if FRAME_POINTER
	pushq	%rbp
	movq	%rsp, %rbp
.endif
.endm

.macro FRAME_END
.if FRAME_POINTER
	popq	%rbp
.endif
.endm

/* A set low bit in RBP tells the unwinder that it found pt_regs, no frame. */
.macro ENCODE_FRAME_POINTER ptregs_offset=0
.if FRAME_POINTER
	leaq	1+\ptregs_offset(%rsp), %rbp
.endif
.endm

/* ---- pt_regs: save, clear, restore ------------------------------------- */

/*
 * Stores the fifteen general registers under ORIG_RAX and zeroes those that C
 * does not read soon, each right after its push.  With save_ret the word on
 * top is the caller's return address: the RDI slot takes its place and it
 * ends up on top again, carried over in RSI (which stays uncleared, as do RAX
 * and RDI).
 */
.macro PUSH_AND_CLEAR_REGS rdx=%rdx rax=%rax save_ret=0
.if \save_ret
	pushq	%rsi
	movq	8(%rsp), %rsi
	movq	%rdi, 8(%rsp)
.else
	pushq	%rdi
	pushq	%rsi
.endif
	pushq	\rdx
	xorl	%edx, %edx
	pushq	%rcx
	xorl	%ecx, %ecx
	pushq	\rax
	pushq	%r8
	xorl	%r8d, %r8d
	pushq	%r9
	xorl	%r9d, %r9d
	pushq	%r10
	xorl	%r10d, %r10d
	pushq	%r11
	xorl	%r11d, %r11d
	pushq	%rbx
	xorl	%ebx, %ebx
	pushq	%rbp
	xorl	%ebp, %ebp
	pushq	%r12
	xorl	%r12d, %r12d
	pushq	%r13
	xorl	%r13d, %r13d
	pushq	%r14
	xorl	%r14d, %r14d
	pushq	%r15
	xorl	%r15d, %r15d
.if \save_ret
	pushq	%rsi
.endif
.endm

/* skip_r11rcx is for SYSRET, which loads R11 and RCX with other things. */
.macro POP_REGS pop_rdi=1 skip_r11rcx=0
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
.if \skip_r11rcx
	popq	%rsi
.else
	popq	%r11
.endif
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
.if \skip_r11rcx
	popq	%rsi
.else
	popq	%rcx
.endif
	popq	%rdx
	popq	%rsi
.if \pop_rdi
	popq	%rdi
.endif
.endm

/* ---- page tables (PTI) -------------------------------------------------- */

/*
 * The two page-table roots of a process are neighbours: bit 12 of CR3 chooses
 * the user's, bit 11 the user's PCID.  Bit 63 in a written value keeps the TLB.
 */
.set PTI_USER_PGTABLE_BIT, 12
.set PTI_USER_PGTABLE_MASK, 0x1000
.set PTI_USER_PCID_MASK, 0x800
.set PTI_USER_PGTABLE_AND_PCID_MASK, 0x1800
.set X86_CR3_PCID_NOFLUSH_BIT, 63
.set PCID_ASID_MASK, 0x7ff

.macro SET_NOFLUSH_BIT reg:req
	btsq	$X86_CR3_PCID_NOFLUSH_BIT, \reg
.endm

.macro ADJUST_KERNEL_CR3 reg:req
.if X86_FEATURE_PCID
	SET_NOFLUSH_BIT \reg
.endif
	andq	$~PTI_USER_PGTABLE_AND_PCID_MASK, \reg
.endm

.macro SWITCH_TO_KERNEL_CR3 scratch_reg:req
.if PTI
.if X86_FEATURE_PTI
	movq	%cr3, \scratch_reg
	ADJUST_KERNEL_CR3 \scratch_reg
	movq	\scratch_reg, %cr3
.else
	jmp	.Lkernel_cr3_done_\@
.endif
.Lkernel_cr3_done_\@:
.endif
.endm

/* Needs kernel GS: a postponed flush of the user's PCID is noted per CPU. */
.macro SWITCH_TO_USER_CR3_NOSTACK scratch_reg:req scratch_reg2:req
.if PTI
.if X86_FEATURE_PTI
	movq	%cr3, \scratch_reg
.if X86_FEATURE_PCID
	movq	\scratch_reg, \scratch_reg2
	andq	$PCID_ASID_MASK, \scratch_reg
	btq	\scratch_reg, PER_CPU_VAR(cpu_tlbstate + TLB_STATE_user_pcid_flush_mask)
	jnc	.Luser_cr3_keep_tlb_\@
	/* this switch does the flush: forget the note, leave bit 63 clear */
	btrq	\scratch_reg, PER_CPU_VAR(cpu_tlbstate + TLB_STATE_user_pcid_flush_mask)
	movq	\scratch_reg2, \scratch_reg
	jmp	.Luser_cr3_pcid_\@
.Luser_cr3_keep_tlb_\@:
	movq	\scratch_reg2, \scratch_reg
	SET_NOFLUSH_BIT \scratch_reg
.Luser_cr3_pcid_\@:
	orq	$PTI_USER_PCID_MASK, \scratch_reg
.else
	jmp	.Luser_cr3_write_\@
.endif
.Luser_cr3_write_\@:
	orq	$PTI_USER_PGTABLE_MASK, \scratch_reg
	movq	\scratch_reg, %cr3
.else
	jmp	.Luser_cr3_done_\@
.endif
.Luser_cr3_done_\@:
.endif
.endm

/* The same with RAX as second register, saved on a stack both halves map. */
.macro SWITCH_TO_USER_CR3_STACK scratch_reg:req
.if PTI
	pushq	%rax
	SWITCH_TO_USER_CR3_NOSTACK scratch_reg=\scratch_reg scratch_reg2=%rax
	popq	%rax
.endif
.endm

/* For entries that cannot know which half is loaded. */
.macro SAVE_AND_SWITCH_TO_KERNEL_CR3 scratch_reg:req save_reg:req
.if PTI
.if X86_FEATURE_PTI
	movq	%cr3, \scratch_reg
	movq	\scratch_reg, \save_reg
	btq	$PTI_USER_PGTABLE_BIT, \scratch_reg
	jnc	.Lsave_cr3_done_\@
	ADJUST_KERNEL_CR3 \scratch_reg
	movq	\scratch_reg, %cr3
.else
	jmp	.Lsave_cr3_done_\@
.endif
.Lsave_cr3_done_\@:
.endif
.endm

/* Writes back what SAVE_AND_SWITCH_TO_KERNEL_CR3 found, whichever it was. */
.macro RESTORE_CR3 scratch_reg:req save_reg:req
.if PTI
.if X86_FEATURE_PTI
.if X86_FEATURE_PCID
	btq	$PTI_USER_PGTABLE_BIT, \save_reg
	jnc	.Lrestore_cr3_keep_tlb_\@
	movq	\save_reg, \scratch_reg
	andq	$PCID_ASID_MASK, \scratch_reg
	btq	\scratch_reg, PER_CPU_VAR(cpu_tlbstate + TLB_STATE_user_pcid_flush_mask)
	jnc	.Lrestore_cr3_keep_tlb_\@
	btrq	\scratch_reg, PER_CPU_VAR(cpu_tlbstate + TLB_STATE_user_pcid_flush_mask)
	jmp	.Lrestore_cr3_write_\@
.Lrestore_cr3_keep_tlb_\@:
	SET_NOFLUSH_BIT \save_reg
.else
	jmp	.Lrestore_cr3_write_\@
.endif
.Lrestore_cr3_write_\@:
	movq	\save_reg, %cr3
.else
	jmp	.Lrestore_cr3_done_\@
.endif
.Lrestore_cr3_done_\@:
.endif
.endm

/* ---- speculation, SMAP -------------------------------------------------- */

/* After a SWAPGS that only user entries run: no use of GS before it. */
.macro FENCE_SWAPGS_USER_ENTRY
.if X86_FEATURE_FENCE_SWAPGS_USER
	lfence
.endif
.endm

/* Where SWAPGS was jumped over: no use of GS as if it had been jumped over wrongly. */
.macro FENCE_SWAPGS_KERNEL_ENTRY
.if X86_FEATURE_FENCE_SWAPGS_KERNEL
	lfence
.endif
.endm

.macro ASM_CLAC
.if X86_FEATURE_SMAP
	clac
.endif
.endm

/* ---- paravirt ----------------------------------------------------------- */

/* Xen swaps GS itself whenever the guest changes mode: a no-op is left. */
.macro SWAPGS
.if PLATFORM_XEN_PV
	nop
.else
	swapgs
.endif
.endm

/* The form that must not call anything, because RSP may be anything. */
.macro SWAPGS_UNSAFE_STACK
.if PLATFORM_XEN_PV
	nop
.else
	swapgs
.endif
.endm

.macro INTERRUPT_RETURN
.if PLATFORM_XEN_PV
	jmp	xen_iret
.else
	jmp	native_iret
.endif
.endm

.macro DISABLE_INTERRUPTS
.if PLATFORM_XEN_PV
	call	xen_irq_disable_direct
.else
	cli
.endif
.endm

.macro ENABLE_INTERRUPTS
.if PLATFORM_XEN_PV
	call	xen_irq_enable_direct
.else
	sti
.endif
.endm

/* May clobber RAX. */
.macro GET_CR2_INTO reg:req
.if PLATFORM_XEN_PV
	call	xen_read_cr2_direct
	movq	%rax, \reg
.elseif PARAVIRT_XXL
	movq	%cr2, %rax
	movq	%rax, \reg
.else
	movq	%cr2, \reg
.endif
.endm

/* ---- interrupt-flag tracing and context tracking ------------------------ */

.macro TRACE_IRQS_ON
.if TRACE_IRQFLAGS
	call	trace_hardirqs_on_thunk
.endif
.endm

.macro TRACE_IRQS_OFF
.if TRACE_IRQFLAGS
	call	trace_hardirqs_off_thunk
.endif
.endm

/* What the return will do to IF, told beforehand. */
.macro TRACE_IRQS_FLAGS flags:req
.if TRACE_IRQFLAGS
	btl	$X86_EFLAGS_IF_BIT, \flags
	jnc	.Ltrace_flags_off_\@
	TRACE_IRQS_ON
.Ltrace_flags_off_\@:
.endif
.endm

.macro TRACE_IRQS_IRETQ
	TRACE_IRQS_FLAGS EFLAGS(%rsp)
.endm

/*
 * Traced code may hit a breakpoint.  A stub that stands on the #DB stack loads
 * an IDT without IST for #DB while it calls such code.
 */
.macro TRACE_IRQS_OFF_DEBUG
.if DYNAMIC_FTRACE && TRACE_IRQFLAGS
	call	debug_stack_set_zero
	TRACE_IRQS_OFF
	call	debug_stack_reset
.else
	TRACE_IRQS_OFF
.endif
.endm

.macro TRACE_IRQS_ON_DEBUG
.if DYNAMIC_FTRACE && TRACE_IRQFLAGS
	call	debug_stack_set_zero
	TRACE_IRQS_ON
	call	debug_stack_reset
.else
	TRACE_IRQS_ON
.endif
.endm

.macro TRACE_IRQS_IRETQ_DEBUG
.if DYNAMIC_FTRACE && TRACE_IRQFLAGS
	btl	$X86_EFLAGS_IF_BIT, EFLAGS(%rsp)
	jnc	.Ltrace_iretq_off_\@
	TRACE_IRQS_ON_DEBUG
.Ltrace_iretq_off_\@:
.else
	TRACE_IRQS_IRETQ
.endif
.endm

/* The static key is taken as on: context tracking runs if it is configured. */
.macro CALL_enter_from_user_mode
.if CONTEXT_TRACKING
	call	enter_from_user_mode
.endif
.endm

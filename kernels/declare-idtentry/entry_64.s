/*
 * Interrupts and exceptions, bare metal and Xen PV alike.
 *
 * Models: arch/x86/entry/entry_64.S, arch/x86/include/asm/idtentry.h and the
 * thunk of arch/x86/lib/retpoline.S, Linux 6.1.  The stubs themselves come from
 * the entry table: one line "KIND VECTOR, SYMBOL, HANDLER" per row follows these
 * listings.
 */

/* ---- one stub per vector ------------------------------------------------ */

/*
 * Between a saved hardware frame and the handler, and the way back.  A PV guest
 * is on the task stack already and needs neither SWAPGS nor another CR3: there
 * a shorter entry is patched in, which returns on the stack it was called on.
 */
.macro idtentry_body cfunc has_error_code:req
.if X86_FEATURE_XENPV
	call	xen_error_entry
	ALT_NOP3
.else
	call	error_entry
	movq	%rax, %rsp
.endif
	ENCODE_FRAME_POINTER

	movq	%rsp, %rdi
.if \has_error_code == 1
	/* second argument; the slot then says: not a system call */
	movq	ORIG_RAX(%rsp), %rsi
	movq	$-1, ORIG_RAX(%rsp)
.endif

	call	\cfunc
	jmp	error_return
.endm

/* The code of an ordinary stub; a breakpoint from the kernel gets six free words. */
.macro idtentry_stub vector:req cfunc:req has_error_code:req
	ASM_CLAC
	cld
.if \has_error_code == 0
	pushq	$-1
.endif

.if \vector == X86_TRAP_BP
	testb	$3, CS-ORIG_RAX(%rsp)
	jnz	.Lfrom_usermode_no_gap_\@
	/* a second copy of SS, RSP, RFLAGS, CS, RIP and ORIG_RAX; the first becomes the gap */
	.rept	6
	pushq	5*8(%rsp)
	.endr
.Lfrom_usermode_no_gap_\@:
.endif

	idtentry_body \cfunc \has_error_code
.endm

.macro idtentry vector asmsym cfunc has_error_code:req
ENTRY(\asmsym)
	idtentry_stub \vector, \cfunc, \has_error_code
END(\asmsym)
.endm

/*
 * #MC and #DB, on stacks of their own.  From user mode they are ordinary and go
 * to another handler; from the kernel nothing is certain but CS.
 */
.macro idtentry_mce_db vector asmsym cfunc
ENTRY(\asmsym)
	ASM_CLAC
	cld
	pushq	$-1
	testb	$3, CS-ORIG_RAX(%rsp)
	jnz	.Lfrom_usermode_switch_stack_\@

	call	paranoid_entry			/* leaves RBX, R14 and R15 for paranoid_exit */
	movq	%rsp, %rdi
	call	\cfunc
	jmp	paranoid_exit

.Lfrom_usermode_switch_stack_\@:
	idtentry_body noist_\cfunc, has_error_code=0
END(\asmsym)
.endm

/* Stays on its stack whatever CS says: the double fault of an espfix return. */
.macro idtentry_df vector asmsym cfunc
ENTRY(\asmsym)
	ASM_CLAC
	cld
	call	paranoid_entry
	movq	%rsp, %rdi
	movq	ORIG_RAX(%rsp), %rsi
	movq	$-1, ORIG_RAX(%rsp)
	call	\cfunc
	jmp	paranoid_exit
END(\asmsym)
.endm

/* ---- kinds of rows -------------------------------------------------------- */

/* What the kernel declares a handler with.  RAW handlers do their own entry work in C. */
.macro IDTENTRY vector:req asmsym:req cfunc:req has_error_code=0
	idtentry \vector \asmsym \cfunc has_error_code=\has_error_code
.endm

.macro IDTENTRY_ERRORCODE vector:req asmsym:req cfunc:req has_error_code=1
	idtentry \vector \asmsym \cfunc has_error_code=\has_error_code
.endm

/* One row depends on two options: its own, and this. */
.macro IDTENTRY_RAW vector:req asmsym:req cfunc:req has_error_code=0
.set IDTENTRY_WANTED, 1
.ifc \asmsym,asm_xenpv_exc_machine_check
.set IDTENTRY_WANTED, XEN_PV
.endif
.if IDTENTRY_WANTED
	idtentry \vector \asmsym \cfunc has_error_code=\has_error_code
.endif
.endm

.macro IDTENTRY_RAW_ERRORCODE vector:req asmsym:req cfunc:req has_error_code=1
	idtentry \vector \asmsym \cfunc has_error_code=\has_error_code
.endm

/* The vector takes the place of an error code. */
.macro IDTENTRY_IRQ vector:req asmsym:req cfunc:req has_error_code=1
	idtentry \vector \asmsym \cfunc has_error_code=\has_error_code
.endm

.macro IDTENTRY_XENCB vector:req asmsym:req cfunc:req has_error_code=0
	idtentry \vector \asmsym \cfunc has_error_code=\has_error_code
.endm

.macro IDTENTRY_MCE vector:req asmsym:req cfunc:req
	idtentry_mce_db \vector \asmsym \cfunc
.endm

.macro IDTENTRY_DEBUG vector:req asmsym:req cfunc:req
	idtentry_mce_db \vector \asmsym \cfunc
.endm

.macro IDTENTRY_DF vector:req asmsym:req cfunc:req
	idtentry_df \vector \asmsym \cfunc
.endm

/* ---- the ordinary entry and exit ---------------------------------------- */

/*
 * Called with the frame and ORIG_RAX below the return address; returns in RAX
 * where pt_regs is, with kernel GS and kernel page tables.
 */
ENTRY(error_entry)
	PUSH_AND_CLEAR_REGS save_ret=1
	ENCODE_FRAME_POINTER 8
	testb	$3, CS+8(%rsp)
	jz	.Lerror_kernelspace

	swapgs
	FENCE_SWAPGS_USER_ENTRY
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax
	IBRS_ENTER
	UNTRAIN_RET

	leaq	8(%rsp), %rdi
.Lerror_entry_from_usermode_after_swapgs:
	/* copies pt_regs to the task stack; the caller goes there */
	call	sync_regs
	RET

	/*
	 * From the kernel, by CS.  Two instructions of the kernel run with the
	 * user's GS base and may fault: the IRET to user mode and the load of
	 * the GS selector.  Some old processors report the first with its
	 * upper half cut off.
	 */
.Lerror_kernelspace:
	leaq	native_irq_return_iret(%rip), %rcx
	cmpq	%rcx, RIP+8(%rsp)
	je	.Lerror_bad_iret
	movl	%ecx, %eax
	cmpq	%rax, RIP+8(%rsp)
	je	.Lbstep_iret
	cmpq	$gs_change, RIP+8(%rsp)
	jne	.Lerror_entry_done_lfence

	/* the fixup of the selector load expects kernel GS; page tables are the kernel's */
	swapgs

.Lerror_entry_done_lfence:
	/* on both ways here SWAPGS may have been missed or done by mistake */
	FENCE_SWAPGS_KERNEL_ENTRY
	leaq	8(%rsp), %rax
	RET

.Lbstep_iret:
	movq	%rcx, RIP+8(%rsp)

.Lerror_bad_iret:
	swapgs
	FENCE_SWAPGS_USER_ENTRY
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax
	IBRS_ENTER
	UNTRAIN_RET

	/* pretend that the fault came right after the IRET, from user mode */
	leaq	8(%rsp), %rdi
	call	fixup_bad_iret
	movq	%rax, %rdi
	jmp	.Lerror_entry_from_usermode_after_swapgs
END(error_entry)

/* The handler has done the exit work and left interrupts off. */
ENTRY(error_return)
	testb	$3, CS(%rsp)
	jz	restore_regs_and_return_to_kernel
	jmp	swapgs_restore_regs_and_return_to_usermode
END(error_return)

/* ---- the paranoid entry and exit ---------------------------------------- */

/*
 * CS does not tell which GS base and which page tables are loaded: asks the
 * processor for both.  CR3 comes first, because the kernel's GS base may have to
 * be looked up in memory that the user half does not map.
 *
 * Leaves for the exit: R14 the CR3 it found, R15 the SPEC_CTRL it found, RBX
 * the GS base it found; without FSGSBASE EBX is 0 if SWAPGS was done, else 1.
 */
ENTRY(paranoid_entry)
	PUSH_AND_CLEAR_REGS save_ret=1
	ENCODE_FRAME_POINTER 8

	SAVE_AND_SWITCH_TO_KERNEL_CR3 scratch_reg=%rax save_reg=%r14

.if X86_FEATURE_FSGSBASE
	ALT_NOP2
.else
	jmp	.Lparanoid_entry_checkgs
.endif
	/* a program may have set any base: do not judge by the value; the write also stops speculation */
.if FSGSBASE
	SAVE_AND_SET_GSBASE scratch_reg=%rax save_reg=%rbx
	jmp	.Lparanoid_gsbase_done
.endif

.Lparanoid_entry_checkgs:
	/* no program can set a negative base: a negative one is the kernel's */
	movl	$1, %ebx
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	testl	%edx, %edx
	js	.Lparanoid_kernel_gsbase
	xorl	%ebx, %ebx
	swapgs
.Lparanoid_kernel_gsbase:
	FENCE_SWAPGS_KERNEL_ENTRY
.Lparanoid_gsbase_done:

	IBRS_ENTER save_reg=%r15
	UNTRAIN_RET
	RET
END(paranoid_entry)

/* Back to the kernel only: no preemption, whatever was interrupted. */
ENTRY(paranoid_exit)
	/* needs a per-CPU variable, hence before CR3 and GS */
	IBRS_EXIT save_reg=%r15
	/* needs kernel GS for its flush mask */
	RESTORE_CR3 scratch_reg=%rax save_reg=%r14

.if X86_FEATURE_FSGSBASE
	ALT_NOP2
.else
	jmp	.Lparanoid_exit_checkgs
.endif
.if FSGSBASE
	wrgsbase %rbx
	jmp	restore_regs_and_return_to_kernel
.endif

.Lparanoid_exit_checkgs:
	testl	%ebx, %ebx
	jnz	restore_regs_and_return_to_kernel
	swapgs
	jmp	restore_regs_and_return_to_kernel
END(paranoid_exit)

/* ---- device interrupts --------------------------------------------------- */

/* The stub of the first external vector; the others differ in the number, a signed byte. */
ENTRY(irq_entries_start)
	pushq	$FIRST_EXTERNAL_VECTOR
	jmp	asm_common_interrupt
END(irq_entries_start)

/* Vectors behind the timer that nobody has claimed: 0xed as a signed byte. */
ENTRY(spurious_entries_start)
	pushq	$(FIRST_SYSTEM_VECTOR + 1 - 0x100)
	jmp	asm_spurious_interrupt
END(spurious_entries_start)

/* A vector with a handler of its own: the timer of the local APIC. */
ENTRY(asm_sysvec_apic_timer_interrupt)
	idtentry_stub LOCAL_TIMER_VECTOR, sysvec_apic_timer_interrupt, 0
END(asm_sysvec_apic_timer_interrupt)

/* ---- exits ------------------------------------------------------------------- */

ENTRY(common_interrupt_return)
GLOBAL(swapgs_restore_regs_and_return_to_usermode)
	IBRS_EXIT
.if XEN_PV
.if X86_FEATURE_XENPV
	jmp	xenpv_restore_regs_and_return_to_usermode
.else
	ALT_NOP5
.endif
.endif
	/* leaves through the entry trampoline, which both halves map */
	POP_REGS pop_rdi=0
	movq	%rsp, %rdi
	movq	PER_CPU_VAR(cpu_tss_rw + TSS_sp0), %rsp
	pushq	6*8(%rdi)			/* SS */
	pushq	5*8(%rdi)			/* RSP */
	pushq	4*8(%rdi)			/* RFLAGS */
	pushq	3*8(%rdi)			/* CS */
	pushq	2*8(%rdi)			/* RIP */
	pushq	(%rdi)				/* RDI, popped below */
	SWITCH_TO_USER_CR3_STACK scratch_reg=%rdi
	popq	%rdi
	swapgs
	jmp	native_iret

GLOBAL(restore_regs_and_return_to_kernel)
	POP_REGS
	addq	$8, %rsp			/* ORIG_RAX */
.if XEN_PV
/* Rewritten in the first lines of a PV boot, long before alternatives are. */
GLOBAL(early_xen_iret_patch)
.if PLATFORM_XEN_PV
	jmp	xen_iret
.else
	jmp	native_iret
.endif
.endif

GLOBAL(native_iret)
.if X86_ESPFIX64
	/* a stack segment of the LDT may be 16 bits wide: IRET then leaks RSP */
	testb	$4, (SS-RIP)(%rsp)
	jnz	native_irq_return_ldt
.endif

GLOBAL(native_irq_return_iret)
	iretq

.if X86_ESPFIX64
/*
 * User GS, user page tables, user registers.  Builds the frame on the espfix
 * stack through its writable address and returns from a read-only alias of it
 * whose address carries bits 31:16 of the user's RSP.
 */
GLOBAL(native_irq_return_ldt)
	pushq	%rdi
	swapgs
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rdi

	movq	PER_CPU_VAR(espfix_waddr), %rdi
	movq	%rax, 0*8(%rdi)
	movq	1*8(%rsp), %rax			/* RIP */
	movq	%rax, 1*8(%rdi)
	movq	2*8(%rsp), %rax			/* CS */
	movq	%rax, 2*8(%rdi)
	movq	3*8(%rsp), %rax			/* RFLAGS */
	movq	%rax, 3*8(%rdi)
	movq	5*8(%rsp), %rax			/* SS */
	movq	%rax, 5*8(%rdi)
	movq	4*8(%rsp), %rax			/* RSP, kept in RAX */
	movq	%rax, 4*8(%rdi)

	andl	$0xffff0000, %eax
	orq	PER_CPU_VAR(espfix_stack), %rax

	SWITCH_TO_USER_CR3_STACK scratch_reg=%rdi
	swapgs
	popq	%rdi
	movq	%rax, %rsp			/* read-only from here */
	popq	%rax
	jmp	native_irq_return_iret
.endif
END(common_interrupt_return)

/* ---- loading a GS selector -------------------------------------------------- */

/*
 * The one instruction that runs C's errands with the user's GS base.  It faults
 * if the descriptor is gone; the exception table sends it to bad_gs.  A PV guest
 * asks Xen instead.
 */
ENTRY(asm_load_gs_index)
	FRAME_BEGIN
	swapgs
gs_change:
	movl	%edi, %gs
.Lgs_loaded:
.if X86_BUG_SWAPGS_FENCE
	mfence
.else
	ALT_NOP3
.endif
	swapgs
	FRAME_END
	RET

bad_gs:
	swapgs					/* the entry code had put kernel GS back */
.if X86_BUG_NULL_SEG
	movl	$__USER_DS, %eax
	movl	%eax, %gs
.endif
	xorl	%eax, %eax
	movl	%eax, %gs
	jmp	.Lgs_loaded
END(asm_load_gs_index)

/* ---- the return predictor --------------------------------------------------- */

.if CPU_UNRET_ENTRY || RETHUNK
/*
 * One byte apart from the return thunk in the kernel: read from here, the first
 * three bytes are a TEST that swallows the RET, which evicts what an attacker
 * has taught the predictor about it.
 */
ENTRY(zen_untrain_ret)
	testb	$0xcc, %bl
	lfence
	jmp	__x86_return_thunk
END(zen_untrain_ret)

ENTRY(__x86_return_thunk)
	ret
	int3
END(__x86_return_thunk)
.endif

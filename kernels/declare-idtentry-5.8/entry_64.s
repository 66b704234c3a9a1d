/*
 * Exceptions and interrupts, bare metal and Xen PV alike.
 *
 * Models: arch/x86/entry/entry_64.S and the assembler side of
 * arch/x86/include/asm/idtentry.h, Linux 5.8.  The stubs themselves come from
 * the entry table: one line "KIND VECTOR, SYMBOL, HANDLER" per row follows
 * these listings, the assembler form of a DECLARE_IDTENTRY... line.
 */

/* ---- the kinds of rows ---------------------------------------------------- */

/* C does the entry work (interrupt tracing, context tracking) around the body. */
.macro IDTENTRY vector:req asmsym:req cfunc:req has_error_code=0
	idtentry \vector, \asmsym, \cfunc, has_error_code=\has_error_code
.endm

.macro IDTENTRY_ERRORCODE vector:req asmsym:req cfunc:req has_error_code=1
	idtentry \vector, \asmsym, \cfunc, has_error_code=\has_error_code
.endm

/* The body does the entry work itself; the stub is no other. */
.macro IDTENTRY_RAW vector:req asmsym:req cfunc:req has_error_code=0
	idtentry \vector, \asmsym, \cfunc, has_error_code=\has_error_code
.endm

.macro IDTENTRY_RAW_ERRORCODE vector:req asmsym:req cfunc:req has_error_code=1
	idtentry \vector, \asmsym, \cfunc, has_error_code=\has_error_code
.endm

/* Device interrupts: their stubs have pushed the vector where an error code would stand. */
.macro IDTENTRY_IRQ vector:req asmsym:req cfunc:req has_error_code=1
	idtentry \vector, \asmsym, \cfunc, has_error_code=\has_error_code
.endm

/* Vectors with a handler of their own. */
.macro IDTENTRY_SYSVEC vector:req asmsym:req cfunc:req has_error_code=0
	idtentry \vector, \asmsym, \cfunc, has_error_code=\has_error_code
.endm

/* Xen's event callback. */
.macro IDTENTRY_XENCB vector:req asmsym:req cfunc:req has_error_code=0
	idtentry \vector, \asmsym, \cfunc, has_error_code=\has_error_code
.endm

.macro IDTENTRY_MCE vector:req asmsym:req cfunc:req
	idtentry_mce_db \vector, \asmsym, \cfunc
.endm

.macro IDTENTRY_DEBUG vector:req asmsym:req cfunc:req
	idtentry_mce_db \vector, \asmsym, \cfunc
.endm

.macro IDTENTRY_DF vector:req asmsym:req cfunc:req
	idtentry_df \vector, \asmsym, \cfunc
.endm

/* ---- the stubs ------------------------------------------------------------- */

/* From a saved hardware frame to the handler and back.  No error code: no second argument. */
.macro idtentry_body cfunc:req has_error_code:req
	call	error_entry
	movq	%rsp, %rdi
.if \has_error_code == 1
	movq	ORIG_RAX(%rsp), %rsi
	movq	$-1, ORIG_RAX(%rsp)		/* not a system call */
.endif
	call	\cfunc
	jmp	error_return
.endm

/* No IST, no question of whose GS it is.  INT3 alone gets a gap. */
.macro idtentry vector:req asmsym:req cfunc:req has_error_code:req
ENTRY(\asmsym)
	ASM_CLAC
.if \has_error_code == 0
	pushq	$-1
.endif

.if \vector == X86_TRAP_BP
	/*
	 * From the kernel: six free words between the interrupted RSP and
	 * pt_regs, so that the handler can push onto the interrupted stack.
	 * The words of the frame and ORIG_RAX are written a second time; the
	 * first copy becomes the gap.
	 */
	testb	$3, CS-ORIG_RAX(%rsp)
	jnz	.Lfrom_usermode_no_gap_\@
	.rept	6
	pushq	5*8(%rsp)
	.endr
.Lfrom_usermode_no_gap_\@:
.endif

	idtentry_body \cfunc, \has_error_code
END(\asmsym)
.endm

/*
 * #MC and #DB, which come at any instruction.  From user mode: like any other,
 * with a C body of its own.  From the kernel: stay on the IST stack, ask the
 * processor for the state of GS and CR3, put both back as they were.
 */
.macro idtentry_mce_db vector:req asmsym:req cfunc:req
ENTRY(\asmsym)
	ASM_CLAC
	pushq	$-1

	testb	$3, CS-ORIG_RAX(%rsp)
	jnz	.Lfrom_usermode_switch_stack_\@

	call	paranoid_entry			/* leaves EBX: 0 means SWAPGS at exit */
	movq	%rsp, %rdi
	call	\cfunc
	jmp	paranoid_exit

.Lfrom_usermode_switch_stack_\@:
	idtentry_body noist_\cfunc, has_error_code=0
END(\asmsym)
.endm

/* Double fault: never leaves its own stack, whatever CS says (espfix). */
.macro idtentry_df vector:req asmsym:req cfunc:req
ENTRY(\asmsym)
	ASM_CLAC
	call	paranoid_entry
	movq	%rsp, %rdi
	movq	ORIG_RAX(%rsp), %rsi
	movq	$-1, ORIG_RAX(%rsp)
	call	\cfunc
	jmp	paranoid_exit
END(\asmsym)
.endm

/* ---- device interrupts: the words that the gates lead to ---------------------- */

/*
 * One stub of eight bytes per vector, of which one is the vector: pushed with
 * its sign, so that C looks at the low eight bits alone.  Three of the external
 * vectors stand for all.
 */
.macro irq_stub vector:req target:req
	pushq	$(\vector) - (((\vector) & 0x80) << 1)
	jmp	\target
	nop
.endm

ENTRY(irq_entries_start)
	irq_stub FIRST_EXTERNAL_VECTOR, asm_common_interrupt
GLOBAL(irq_entry_0x7f)
	irq_stub 0x7f, asm_common_interrupt
GLOBAL(irq_entry_0xa1)
	irq_stub 0xa1, asm_common_interrupt
END(irq_entries_start)

/* System vectors that nobody has taken. */
ENTRY(spurious_entries_start)
	irq_stub FIRST_SYSTEM_VECTOR, asm_spurious_interrupt
GLOBAL(spurious_entry_0xef)
	irq_stub 0xef, asm_spurious_interrupt
END(spurious_entries_start)

/* ---- the ordinary entry and exit ---------------------------------------- */

/*
 * Called with the frame and ORIG_RAX below the return address; returns with
 * pt_regs on the stack it should be on, kernel GS and kernel page tables.
 */
ENTRY(error_entry)
	cld
	PUSH_AND_CLEAR_REGS save_ret=1
	ENCODE_FRAME_POINTER 8
	testb	$3, CS+8(%rsp)
	jz	.Lerror_kernelspace

	SWAPGS
	FENCE_SWAPGS_USER_ENTRY
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax

.Lerror_entry_from_usermode_after_swapgs:
	/* copy pt_regs to the task stack and go there; the return address waits in R12 */
	popq	%r12
	movq	%rsp, %rdi
	call	sync_regs
	movq	%rax, %rsp
	ENCODE_FRAME_POINTER
	pushq	%r12
	ret

.Lerror_entry_done_lfence:
	FENCE_SWAPGS_KERNEL_ENTRY
.Lerror_entry_done:
	ret

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

	/*
	 * The fixup of the selector load expects kernel GS.  CR3 is the kernel's
	 * here; the fence is the one that leaves the work to a write of CR3.
	 */
	SWAPGS
	FENCE_SWAPGS_USER_ENTRY
	jmp	.Lerror_entry_done

.Lbstep_iret:
	movq	%rcx, RIP+8(%rsp)

.Lerror_bad_iret:
	SWAPGS
	FENCE_SWAPGS_USER_ENTRY
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax

	/* pretend that the fault came right after the IRET, from user mode */
	movq	%rsp, %rdi
	call	fixup_bad_iret
	movq	%rax, %rsp
	jmp	.Lerror_entry_from_usermode_after_swapgs
END(error_entry)

/* The C body has done the exit work and comes back with interrupts off. */
ENTRY(error_return)
	testb	$3, CS(%rsp)
	jz	restore_regs_and_return_to_kernel
	jmp	swapgs_restore_regs_and_return_to_usermode
END(error_return)

/* ---- the paranoid entry and exit ---------------------------------------- */

/*
 * CS does not tell which GS base and which page tables are loaded: asks the
 * processor for both.  A negative GS base is the kernel's, since user code
 * cannot set its own without the kernel.  Returns with EBX 0 if SWAPGS was
 * done, and the CR3 it found in R14.
 */
ENTRY(paranoid_entry)
	cld
	PUSH_AND_CLEAR_REGS save_ret=1
	ENCODE_FRAME_POINTER 8
	movl	$1, %ebx
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	testl	%edx, %edx
	js	.Lparanoid_entry_kernel_gs
	SWAPGS
	xorl	%ebx, %ebx
.Lparanoid_entry_kernel_gs:
	SAVE_AND_SWITCH_TO_KERNEL_CR3 scratch_reg=%rax save_reg=%r14
	/* the CR3 write above may not have happened: fence in any case */
	FENCE_SWAPGS_KERNEL_ENTRY
	ret
END(paranoid_entry)

/* Back to the kernel only: no preemption, whatever was interrupted. */
ENTRY(paranoid_exit)
	testl	%ebx, %ebx
	jnz	.Lparanoid_exit_no_swapgs
	/* CR3 first: its flush mask needs kernel GS */
	RESTORE_CR3 scratch_reg=%rbx save_reg=%r14
	SWAPGS_UNSAFE_STACK
	jmp	restore_regs_and_return_to_kernel
.Lparanoid_exit_no_swapgs:
	RESTORE_CR3 scratch_reg=%rbx save_reg=%r14
	jmp	restore_regs_and_return_to_kernel
END(paranoid_exit)

/* ---- the ways out ----------------------------------------------------------- */

ENTRY(common_interrupt_return)
/*
 * Leaves through the stack that TSS.sp0 names: the entry trampoline, mapped in
 * both halves; on Xen PV the task stack itself, where each word lands on its
 * own copy.
 */
GLOBAL(swapgs_restore_regs_and_return_to_usermode)
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
	SWAPGS
	INTERRUPT_RETURN

GLOBAL(restore_regs_and_return_to_kernel)
	POP_REGS
	addq	$8, %rsp			/* ORIG_RAX */
	INTERRUPT_RETURN

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
	SWAPGS
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
	SWAPGS
	popq	%rdi
	movq	%rax, %rsp			/* read-only from here */
	popq	%rax
	jmp	native_irq_return_iret
.endif
END(common_interrupt_return)

/* ---- loading a GS selector -------------------------------------------------- */

/*
 * The one instruction that runs C's errands with the user's GS base.  It faults
 * if the descriptor is gone; the exception table sends it to bad_gs.  PV guests
 * ask the hypervisor instead, so that SWAPGS is the instruction.
 */
ENTRY(asm_load_gs_index)
	FRAME_BEGIN
	swapgs
gs_change:
	movl	%edi, %gs
.Lgs_loaded:
.if X86_BUG_SWAPGS_FENCE
	mfence
.endif
	swapgs
	FRAME_END
	ret

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

/* The C function around it, which keeps interrupts away. */
ENTRY(native_load_gs_index)
	pushq	%rbx
	pushfq
	popq	%rbx
	cli
	call	asm_load_gs_index
	pushq	%rbx
	popfq
	popq	%rbx
	ret
END(native_load_gs_index)

/* ---- a function on another stack ---------------------------------------------- */

/*
 * RDI: the top word of the stack, which becomes a link back to this one.  RSI:
 * the function.  RDX: its argument.  RBP holds the way back, so that an
 * unwinder and LEAVE find it.
 */
ENTRY(asm_call_on_stack)
	pushq	%rbp
	movq	%rsp, %rbp
	movq	%rsp, (%rdi)
	movq	%rdi, %rsp
	movq	%rdx, %rdi
	call	*%rsi
	movq	%rbp, %rsp			/* LEAVE */
	popq	%rbp
	ret
END(asm_call_on_stack)

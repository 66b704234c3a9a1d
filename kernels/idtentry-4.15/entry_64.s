/*
 * Interrupts and exceptions, bare metal and Xen PV alike.
 *
 * Models: arch/x86/entry/entry_64.S and arch/x86/entry/thunk_64.S, Linux 4.15.
 * The stubs themselves come from the entry table: one line
 * "idtentry SYMBOL HANDLER column=value ..." per row follows these listings.
 */

/* ---- one stub per vector ------------------------------------------------ */

/*
 * paranoid=1: may come from the kernel with the user's GS base or page tables;
 *             from user mode it continues on the task stack like any other.
 * paranoid=2: never leaves its own stack (double fault).
 * shift_ist:  the IST stack, counted from 1, whose top is lowered by ist_offset
 *             while the handler runs: a second entry gets the stack below.
 *
 * EBX carries a flag to the exit.  From paranoid_entry: 0 means SWAPGS.  From
 * error_entry: 0 means that user mode resumes.
 */
.macro idtentry sym do_sym has_error_code:req paranoid=0 shift_ist=-1 ist_offset=0
ENTRY(\sym)
	ASM_CLAC
.if \has_error_code == 0
	pushq	$-1				/* ORIG_RAX: not a system call */
.endif
	ALLOC_PT_GPREGS_ON_STACK

.if \paranoid < 2
	/* an ordinary row tests, too, and comes to the same error_entry either way */
	testb	$3, CS(%rsp)
	jnz	.Lfrom_usermode_switch_stack_\@
.endif

.if \paranoid
	call	paranoid_entry
.else
	call	error_entry
.endif

.if \paranoid
.if \shift_ist != -1
	TRACE_IRQS_OFF_DEBUG
.else
	TRACE_IRQS_OFF
.endif
.endif

	movq	%rsp, %rdi
.if \has_error_code
	/* second argument; the slot then says: not a system call */
	movq	ORIG_RAX(%rsp), %rsi
	movq	$-1, ORIG_RAX(%rsp)
.else
	xorl	%esi, %esi
.endif

.if \shift_ist != -1
	subq	$\ist_offset, PER_CPU_VAR(cpu_tss_rw + TSS_ist + (\shift_ist - 1)*8)
.endif

	call	\do_sym

.if \shift_ist != -1
	addq	$\ist_offset, PER_CPU_VAR(cpu_tss_rw + TSS_ist + (\shift_ist - 1)*8)
.endif

.if \paranoid
	jmp	paranoid_exit
.else
	jmp	error_exit
.endif

.if \paranoid < 2
.Lfrom_usermode_switch_stack_\@:
	call	error_entry
	movq	%rsp, %rdi
.if \has_error_code
	movq	ORIG_RAX(%rsp), %rsi
	movq	$-1, ORIG_RAX(%rsp)
.else
	xorl	%esi, %esi
.endif
	call	\do_sym
	jmp	error_exit
.endif
END(\sym)
.endm

/* ---- the ordinary entry and exit ---------------------------------------- */

/*
 * Called with the slots of pt_regs below the return address; returns with
 * pt_regs on the stack it should be on, kernel GS and kernel page tables, and
 * EBX 0 if the event came from user mode, 1 otherwise.
 */
ENTRY(error_entry)
	cld
	SAVE_C_REGS 8
	SAVE_EXTRA_REGS 8
	ENCODE_FRAME_POINTER 8
	xorl	%ebx, %ebx
	testb	$3, CS+8(%rsp)
	jz	.Lerror_kernelspace

	SWAPGS
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax

.Lerror_entry_from_usermode_after_swapgs:
	/* copy pt_regs to the task stack and go there; the return address waits in R12 */
	popq	%r12
	movq	%rsp, %rdi
	call	sync_regs
	movq	%rax, %rsp
	ENCODE_FRAME_POINTER
	pushq	%r12

	/* tracing needs kernel GS, context tracking needs it traced */
	TRACE_IRQS_OFF
	CALL_enter_from_user_mode
	ret

.Lerror_entry_done:
	TRACE_IRQS_OFF
	ret

	/*
	 * From the kernel, by CS.  Two instructions of the kernel run with the
	 * user's GS base and may fault: the IRET to user mode and the load of
	 * the GS selector.  Some old processors report the first with its
	 * upper half cut off.
	 */
.Lerror_kernelspace:
	incl	%ebx
	leaq	native_irq_return_iret(%rip), %rcx
	cmpq	%rcx, RIP+8(%rsp)
	je	.Lerror_bad_iret
	movl	%ecx, %eax
	cmpq	%rax, RIP+8(%rsp)
	je	.Lbstep_iret
	cmpq	$gs_change, RIP+8(%rsp)
	jne	.Lerror_entry_done

	/* the fixup of the selector load expects kernel GS */
	SWAPGS
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax
	jmp	.Lerror_entry_done

.Lbstep_iret:
	movq	%rcx, RIP+8(%rsp)

.Lerror_bad_iret:
	SWAPGS
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax

	/* pretend that the fault came right after the IRET, from user mode */
	movq	%rsp, %rdi
	call	fixup_bad_iret
	movq	%rax, %rsp
	decl	%ebx
	jmp	.Lerror_entry_from_usermode_after_swapgs
END(error_entry)

/* Believes EBX, not the saved CS: whoever jumps here must have set it. */
ENTRY(error_exit)
	DISABLE_INTERRUPTS
	TRACE_IRQS_OFF
	testl	%ebx, %ebx
	jnz	retint_kernel
	jmp	retint_user
END(error_exit)

/* ---- the paranoid entry and exit ---------------------------------------- */

/*
 * CS does not tell which GS base and which page tables are loaded: asks the
 * processor for both.  A negative GS base is the kernel's.  Returns with EBX 0
 * if SWAPGS was done, and the CR3 it found in R14.
 */
ENTRY(paranoid_entry)
	cld
	SAVE_C_REGS 8
	SAVE_EXTRA_REGS 8
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
	ret
END(paranoid_entry)

/*
 * Back to the kernel only: no preemption, whatever was interrupted.  Where GS
 * was the kernel's already, CR3 is taken for the kernel's, too.
 */
ENTRY(paranoid_exit)
	DISABLE_INTERRUPTS
	TRACE_IRQS_OFF_DEBUG
	testl	%ebx, %ebx
	jnz	.Lparanoid_exit_no_swapgs
	TRACE_IRQS_IRETQ
	/* CR3 first: its flush mask needs kernel GS */
	RESTORE_CR3 scratch_reg=%rbx save_reg=%r14
	SWAPGS_UNSAFE_STACK
	jmp	.Lparanoid_exit_restore
.Lparanoid_exit_no_swapgs:
	TRACE_IRQS_IRETQ_DEBUG
.Lparanoid_exit_restore:
	jmp	restore_regs_and_return_to_kernel
END(paranoid_exit)

/* ---- device interrupts --------------------------------------------------- */

/*
 * The per-CPU interrupt stack, entered by the first of nested users.  irq_count
 * is -1 while it is free.  The word at its top links back to the old stack; it
 * is written before the switch, so that an unwinder finds it at any moment.
 */
.macro ENTER_IRQ_STACK regs=1 old_rsp:req
	movq	%rsp, \old_rsp
	incl	PER_CPU_VAR(irq_count)
	jnz	.Lirq_stack_push_old_rsp_\@
	movq	\old_rsp, PER_CPU_VAR(irq_stack_union + IRQ_STACK_SIZE - 8)
	movq	PER_CPU_VAR(irq_stack_ptr), %rsp
.Lirq_stack_push_old_rsp_\@:
	pushq	\old_rsp
.endm

/* Off the stack first, then give it free. */
.macro LEAVE_IRQ_STACK regs=1
	popq	%rsp
	decl	PER_CPU_VAR(irq_count)
.endm

/*
 * From the entry stack to the task's: called with ORIG_RAX below the frame, no
 * register saved yet.  Keeps every register; the return address moves along.
 */
ENTRY(switch_to_thread_stack)
	pushq	%rdi
	/* the task stack is not mapped before this */
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rdi
	movq	%rsp, %rdi
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp
	pushq	7*8(%rdi)			/* SS */
	pushq	6*8(%rdi)			/* RSP */
	pushq	5*8(%rdi)			/* RFLAGS */
	pushq	4*8(%rdi)			/* CS */
	pushq	3*8(%rdi)			/* RIP */
	pushq	2*8(%rdi)			/* ORIG_RAX */
	pushq	1*8(%rdi)			/* return address */
	movq	(%rdi), %rdi
	ret
END(switch_to_thread_stack)

/* With ORIG_RAX = ~vector below the frame.  Leaves the old RSP on top of the interrupt stack. */
.macro interrupt func:req
	cld
	testb	$3, CS-ORIG_RAX(%rsp)
	jz	.Linterrupt_save_regs_\@
	SWAPGS
	call	switch_to_thread_stack
.Linterrupt_save_regs_\@:
	ALLOC_PT_GPREGS_ON_STACK
	SAVE_C_REGS
	SAVE_EXTRA_REGS
	ENCODE_FRAME_POINTER

	testb	$3, CS(%rsp)
	jz	.Linterrupt_switch_stack_\@
	TRACE_IRQS_OFF
	CALL_enter_from_user_mode
.Linterrupt_switch_stack_\@:
	ENTER_IRQ_STACK old_rsp=%rdi
	TRACE_IRQS_OFF
	call	\func				/* RDI is pt_regs */
.endm

/* The stub of the first external vector; the others differ in the number. */
ENTRY(irq_entries_start)
	pushq	$(~FIRST_EXTERNAL_VECTOR + 0x80)	/* fits in a byte */
	jmp	common_interrupt
END(irq_entries_start)

/* A vector with a handler of its own: the timer of the local APIC. */
ENTRY(apic_timer_interrupt)
	ASM_CLAC
	pushq	$~LOCAL_TIMER_VECTOR
	interrupt smp_apic_timer_interrupt
	jmp	ret_from_intr
END(apic_timer_interrupt)

ENTRY(common_interrupt)
	ASM_CLAC
	addq	$-0x80, (%rsp)			/* now ~vector */
	interrupt do_IRQ
GLOBAL(ret_from_intr)
	DISABLE_INTERRUPTS
	TRACE_IRQS_OFF
	LEAVE_IRQ_STACK
	testb	$3, CS(%rsp)
	jz	retint_kernel

GLOBAL(retint_user)
	movq	%rsp, %rdi
	call	prepare_exit_to_usermode
	TRACE_IRQS_IRETQ

/*
 * Leaves through the stack that TSS.sp0 names: the entry stack, mapped in both
 * halves; on Xen PV the task stack itself, where each word lands on its own
 * copy.
 */
GLOBAL(swapgs_restore_regs_and_return_to_usermode)
	POP_EXTRA_REGS
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
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

GLOBAL(retint_kernel)
.if PREEMPT
	/* only where interrupts were on, and as long as nobody forbids it */
	btl	$X86_EFLAGS_IF_BIT, EFLAGS(%rsp)
	jnc	.Lretint_no_preempt
.Lretint_preempt:
	cmpl	$0, PER_CPU_VAR(__preempt_count)
	jnz	.Lretint_no_preempt
	call	preempt_schedule_irq
	jmp	.Lretint_preempt
.Lretint_no_preempt:
.endif
	TRACE_IRQS_IRETQ

GLOBAL(restore_regs_and_return_to_kernel)
	POP_EXTRA_REGS
	POP_C_REGS
	addq	$8, %rsp			/* ORIG_RAX */
	INTERRUPT_RETURN
END(common_interrupt)

/* ---- IRET ----------------------------------------------------------------- */

ENTRY(native_iret)
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
END(native_iret)

/* ---- loading a GS selector -------------------------------------------------- */

/*
 * The one instruction that runs C's errands with the user's GS base.  It faults
 * if the descriptor is gone; the exception table sends it to bad_gs.
 */
ENTRY(native_load_gs_index)
	FRAME_BEGIN
	pushfq
	DISABLE_INTERRUPTS
	SWAPGS
gs_change:
	movl	%edi, %gs
.Lgs_loaded:
.if X86_BUG_SWAPGS_FENCE
	mfence
.endif
	SWAPGS
	popfq
	FRAME_END
	ret

bad_gs:
	SWAPGS					/* the entry code had put kernel GS back */
.if X86_BUG_NULL_SEG
	movl	$__USER_DS, %eax
	movl	%eax, %gs
.endif
	xorl	%eax, %eax
	movl	%eax, %gs
	jmp	.Lgs_loaded
END(native_load_gs_index)

/* ---- thunks: call C and keep every register -------------------------------- */

.macro THUNK name:req func:req
ENTRY(\name)
	pushq	%rbp
	movq	%rsp, %rbp
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	movq	8(%rbp), %rdi			/* whoever called the thunk */
	call	\func
	jmp	thunk_restore
END(\name)
.endm

.if TRACE_IRQFLAGS
	THUNK trace_hardirqs_on_thunk, trace_hardirqs_on_caller
	THUNK trace_hardirqs_off_thunk, trace_hardirqs_off_caller

ENTRY(thunk_restore)
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
	popq	%rbp
	ret
END(thunk_restore)
.endif

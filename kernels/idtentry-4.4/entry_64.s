/*
 * Interrupts and exceptions, bare metal and Xen PV alike.
 *
 * Models: arch/x86/entry/entry_64.S and arch/x86/entry/thunk_64.S, Linux 4.4.
 * The stubs themselves come from the entry table: one line
 * "idtentry SYMBOL HANDLER column=value ..." per row follows these listings.
 *
 * TSS.sp0 is the top of the task's stack: the processor starts there from user
 * mode, and what it pushes are the last five words of pt_regs already.
 */

/* ---- one stub per vector ------------------------------------------------ */

/* The word of the TSS with the stack of an IST slot. */
.macro SHIFT_IST op:req slot:req
	\op	$EXCEPTION_STKSZ, PER_CPU_VAR(cpu_tss + TSS_ist + ((\slot) - 1)*8)
.endm

/*
 * paranoid=1: may come from the kernel with the user's GS base; from user mode
 *             it copies itself to the task stack and is like any other.
 * paranoid=2: never leaves its own stack (double fault).
 * shift_ist:  the slot that moves down by one stack while the handler runs, so
 *             that a second entry does not start over the first.
 */
.macro idtentry sym do_sym has_error_code:req paranoid=0 shift_ist=-1 ist_offset=0 create_gap=0 read_cr2=0
.if \ist_offset || \create_gap || \read_cr2
	.error "idtentry of Linux 4.4 has no columns ist_offset, create_gap and read_cr2"
.endif
ENTRY(\sym)
	ASM_CLAC
	PARAVIRT_ADJUST_EXCEPTION_FRAME
.if \has_error_code == 0
	pushq	$-1			/* ORIG_RAX */
.endif
	ALLOC_PT_GPREGS_ON_STACK

.if \paranoid
.if \paranoid == 1
	testb	$3, CS(%rsp)
	jnz	.Lfrom_usermode_\@
.endif
	call	paranoid_entry
.else
	call	error_entry
.endif
	/* EBX says how to leave: 0 to user mode, or with SWAPGS from a paranoid entry */

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
	SHIFT_IST subq, \shift_ist
.endif

	call	\do_sym

.if \shift_ist != -1
	SHIFT_IST addq, \shift_ist
.endif

.if \paranoid
	jmp	paranoid_exit
.else
	jmp	error_exit
.endif

.if \paranoid == 1
.Lfrom_usermode_\@:
	call	error_entry

	/* from the IST stack to where the task has its pt_regs */
	movq	%rsp, %rdi
	call	sync_regs
	movq	%rax, %rsp

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
 * Called with room for the registers below ORIG_RAX; returns with pt_regs in
 * place, kernel GS, and EBX 0 if the exit goes to user mode, else 1.
 */
ENTRY(error_entry)
	cld
	SAVE_C_REGS 8
	SAVE_EXTRA_REGS 8
	xorl	%ebx, %ebx
	testb	$3, CS+8(%rsp)
	jz	.Lerror_kernelspace

.Lerror_entry_from_usermode_swapgs:
	SWAPGS

.Lerror_entry_from_usermode_after_swapgs:
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

	/* the fixup of the selector load expects kernel GS; EBX stays 1 */
	jmp	.Lerror_entry_from_usermode_swapgs

.Lbstep_iret:
	movq	%rcx, RIP+8(%rsp)

.Lerror_bad_iret:
	SWAPGS
	/* pretend that the fault came right after the IRET, from user mode */
	movq	%rsp, %rdi
	call	fixup_bad_iret
	movq	%rax, %rsp
	decl	%ebx
	jmp	.Lerror_entry_from_usermode_after_swapgs
END(error_entry)

/* Believes EBX, not the frame. */
ENTRY(error_exit)
	movl	%ebx, %eax
	DISABLE_INTERRUPTS
	TRACE_IRQS_OFF
	testl	%eax, %eax
	jnz	retint_kernel
	jmp	retint_user
END(error_exit)

/* ---- the paranoid entry and exit ---------------------------------------- */

/*
 * CS does not tell which GS base is loaded: asks the processor.  A negative one
 * is the kernel's.  Returns with EBX 0 if SWAPGS was done.
 */
ENTRY(paranoid_entry)
	cld
	SAVE_C_REGS 8
	SAVE_EXTRA_REGS 8
	movl	$1, %ebx
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	testl	%edx, %edx
	js	.Lparanoid_entry_kernel_gs
	SWAPGS
	xorl	%ebx, %ebx
.Lparanoid_entry_kernel_gs:
	ret
END(paranoid_entry)

/* Back to the kernel only: no preemption, whatever was interrupted. */
ENTRY(paranoid_exit)
	DISABLE_INTERRUPTS
	TRACE_IRQS_OFF_DEBUG
	testl	%ebx, %ebx
	jnz	.Lparanoid_exit_no_swapgs
	TRACE_IRQS_IRETQ
	SWAPGS_UNSAFE_STACK
	jmp	.Lparanoid_exit_restore
.Lparanoid_exit_no_swapgs:
	TRACE_IRQS_IRETQ_DEBUG
.Lparanoid_exit_restore:
	RESTORE_EXTRA_REGS
	RESTORE_C_REGS
	REMOVE_PT_GPREGS_FROM_STACK 8
	INTERRUPT_RETURN
END(paranoid_exit)

/* ---- device interrupts --------------------------------------------------- */

/*
 * With ORIG_RAX = ~vector below the frame: pt_regs, then the per-CPU interrupt
 * stack, entered by the first of nested users.  irq_count is -1 while it is
 * free.  The word on top links back to pt_regs.
 */
.macro interrupt func:req
	cld
	ALLOC_PT_GPREGS_ON_STACK
	SAVE_C_REGS
	SAVE_EXTRA_REGS

	testb	$3, CS(%rsp)
	jz	.Linterrupt_from_kernel_\@
	SWAPGS
	/* tracing needs kernel GS, context tracking needs it traced */
	TRACE_IRQS_OFF
	CALL_enter_from_user_mode
.Linterrupt_from_kernel_\@:
	movq	%rsp, %rdi
	incl	PER_CPU_VAR(irq_count)
	cmovzq	PER_CPU_VAR(irq_stack_ptr), %rsp
	pushq	%rdi
	TRACE_IRQS_OFF
	call	\func			/* RDI is pt_regs still */
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
	/* gives the stack free, then leaves it */
	decl	PER_CPU_VAR(irq_count)
	popq	%rsp
	testb	$3, CS(%rsp)
	jz	retint_kernel

GLOBAL(retint_user)
	movq	%rsp, %rdi
	call	prepare_exit_to_usermode
	TRACE_IRQS_IRETQ
	SWAPGS
	jmp	restore_regs_and_iret

GLOBAL(retint_kernel)
.if PREEMPT
	/* only where interrupts were on, and as long as nobody forbids it */
	btl	$X86_EFLAGS_IF_BIT, EFLAGS(%rsp)
	jnc	.Lretint_no_preempt
.Lretint_preempt_again:
	cmpl	$0, PER_CPU_VAR(__preempt_count)
	jnz	.Lretint_no_preempt
	call	preempt_schedule_irq
	jmp	.Lretint_preempt_again
.Lretint_no_preempt:
.endif
	TRACE_IRQS_IRETQ

/* To user mode with the user's GS base, or to the kernel: the same way from here. */
GLOBAL(restore_regs_and_iret)
	RESTORE_EXTRA_REGS
GLOBAL(restore_c_regs_and_iret)
	RESTORE_C_REGS
	REMOVE_PT_GPREGS_FROM_STACK 8		/* ORIG_RAX too */
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
 * User GS, user registers.  Builds the frame on the espfix stack through its
 * writable address and returns from a read-only alias of it whose address
 * carries bits 31:16 of the user's RSP.
 */
GLOBAL(native_irq_return_ldt)
	pushq	%rax
	pushq	%rdi
	SWAPGS
	movq	PER_CPU_VAR(espfix_waddr), %rdi
	movq	%rax, 0*8(%rdi)
	movq	2*8(%rsp), %rax			/* RIP */
	movq	%rax, 1*8(%rdi)
	movq	3*8(%rsp), %rax			/* CS */
	movq	%rax, 2*8(%rdi)
	movq	4*8(%rsp), %rax			/* RFLAGS */
	movq	%rax, 3*8(%rdi)
	movq	6*8(%rsp), %rax			/* SS */
	movq	%rax, 5*8(%rdi)
	movq	5*8(%rsp), %rax			/* RSP, kept in RAX */
	movq	%rax, 4*8(%rdi)
	andl	$0xffff0000, %eax
	popq	%rdi
	orq	PER_CPU_VAR(espfix_stack), %rax
	SWAPGS
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
	pushfq
	DISABLE_INTERRUPTS
	SWAPGS
gs_change:
	movl	%edi, %gs
.Lgs_loaded:
	mfence				/* one family of AMD parts needs it, all pay */
	SWAPGS
	popfq
	ret

bad_gs:
	SWAPGS					/* the entry code had put kernel GS back */
	xorl	%eax, %eax
	movl	%eax, %gs
	jmp	.Lgs_loaded
END(native_load_gs_index)

/* ---- thunks: call C and keep every register -------------------------------- */

.macro THUNK name:req func:req
ENTRY(\name)
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	movq	9*8(%rsp), %rdi			/* whoever called the thunk */
	call	\func
	jmp	restore
END(\name)
.endm

.if TRACE_IRQFLAGS
	THUNK trace_hardirqs_on_thunk, trace_hardirqs_on_caller
	THUNK trace_hardirqs_off_thunk, trace_hardirqs_off_caller

ENTRY(restore)
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
	ret
END(restore)
.endif

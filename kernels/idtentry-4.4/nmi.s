/*
 * The NMI entry with the protocol for NMIs that nest.
 *
 * Models: ENTRY(nmi) in arch/x86/entry/entry_64.S, Linux 4.4.  Xen PV comes
 * here too, without an IST stack: nothing replaces the symbol in the trap table.
 *
 * An IRET inside the handler (a breakpoint, a page fault) unblocks NMIs, and
 * the next one starts at the top of the same IST stack, over the frame of the
 * first.  Therefore the first copies its frame away and marks itself running:
 *
 *   top  SS RSP RFLAGS CS RIP     written by the processor
 *        RDX                      scratch
 *        1 or 0                   "NMI executing"
 *        SS RSP RFLAGS CS RIP     "iret": the frame the handler returns by
 *        SS RSP RFLAGS CS RIP     "outermost": what the first NMI interrupted
 *        pt_regs
 *
 * A nested NMI rewrites "iret" so that the first, on its way out, lands at
 * repeat_nmi, and returns at once.
 */

ENTRY(nmi)
	/* no CLAC: nothing here reads user memory */
	PARAVIRT_ADJUST_EXCEPTION_FRAME
	pushq	%rdx
	testb	$3, CS-RIP+8(%rsp)
	jz	.Lnmi_from_kernel

	/*
	 * From user mode: continue on the task stack, but not by the usual exit
	 * work, which would enable interrupts while NMIs are blocked.
	 */
	SWAPGS_UNSAFE_STACK
	cld
	movq	%rsp, %rdx
	movq	PER_CPU_VAR(cpu_tss + TSS_sp0), %rsp
	pushq	5*8(%rdx)			/* SS */
	pushq	4*8(%rdx)			/* RSP */
	pushq	3*8(%rdx)			/* RFLAGS */
	pushq	2*8(%rdx)			/* CS */
	pushq	1*8(%rdx)			/* RIP */
	pushq	$-1				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	pushq	(%rdx)				/* RDX */
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15

	movq	%rsp, %rdi
	movq	$-1, %rsi
	call	do_nmi
	/* the registers that C keeps are the user's still */
	SWAPGS
	jmp	restore_c_regs_and_iret

.Lnmi_from_kernel:
	/* between repeat_nmi and end_repeat_nmi "iret" is being written: just leave */
	movq	$repeat_nmi, %rdx
	cmpq	8(%rsp), %rdx
	ja	.Lnmi_not_repeating
	movq	$end_repeat_nmi, %rdx
	cmpq	8(%rsp), %rdx
	ja	nested_nmi_out
.Lnmi_not_repeating:

	cmpl	$1, -8(%rsp)			/* "NMI executing" of the first */
	je	nested_nmi

	/*
	 * Not marked, but the first may be past clearing the mark and before its
	 * IRET: then the interrupted RSP is on this stack, and DF is set.  User
	 * code can point RSP here before a SYSCALL, but cannot keep DF.
	 */
	leaq	6*8(%rsp), %rdx
	cmpq	%rdx, 4*8(%rsp)
	ja	first_nmi
	subq	$EXCEPTION_STKSZ, %rdx
	cmpq	%rdx, 4*8(%rsp)
	jb	first_nmi
	testb	$(X86_EFLAGS_DF >> 8), (3*8+1)(%rsp)
	jz	first_nmi

nested_nmi:
	subq	$8, %rsp			/* keep the mark */
	leaq	-10*8(%rsp), %rdx		/* "outermost" RIP: RSP at repeat_nmi */
	pushq	$__KERNEL_DS
	pushq	%rdx
	pushfq
	pushq	$__KERNEL_CS
	pushq	$repeat_nmi
	addq	$6*8, %rsp

nested_nmi_out:
	popq	%rdx
	INTERRUPT_RETURN

first_nmi:
	movq	(%rsp), %rdx
	pushq	$0				/* "NMI executing" */
	subq	$5*8, %rsp			/* "iret" */
	.rept	5
	pushq	11*8(%rsp)			/* "outermost" */
	.endr

repeat_nmi:
	movq	$1, 10*8(%rsp)
	/* copy "outermost" to "iret" */
	addq	$10*8, %rsp
	.rept	5
	pushq	-6*8(%rsp)
	.endr
	subq	$5*8, %rsp
end_repeat_nmi:

	/* from here on a nested NMI may rewrite "iret" */
	pushq	$-1
	ALLOC_PT_GPREGS_ON_STACK
	call	paranoid_entry
	movq	%rsp, %rdi
	movq	$-1, %rsi
	call	do_nmi

	testl	%ebx, %ebx
	jnz	nmi_restore
nmi_swapgs:
	SWAPGS_UNSAFE_STACK
nmi_restore:
	RESTORE_EXTRA_REGS
	RESTORE_C_REGS
	REMOVE_PT_GPREGS_FROM_STACK 6*8		/* ORIG_RAX and "outermost" too */

	/* DF first: it tells the rest of this path from a SYSCALL with a bad RSP */
	std
	movq	$0, 5*8(%rsp)
	INTERRUPT_RETURN
END(nmi)

/*
 * System calls of 32-bit programs: SYSENTER, SYSCALL and INT $0x80.
 *
 * Models: arch/x86/entry/entry_64_compat.S, xen_sysenter_target and
 * xen_syscall32_target in arch/x86/xen/xen-asm_64.S, Linux 4.15.  No register
 * is cleared; R8 to R11, which 32-bit code does not have, are 0 in pt_regs.
 */

.if IA32_EMULATION

/* ---- SYSENTER: Intel ------------------------------------------------------------- */

/*
 * SYSENTER loads RSP from an MSR (the entry stack's top, not used), clears IF
 * and VM and remembers neither RIP nor RSP nor flags.  By agreement with the
 * vDSO the user's stack pointer is in EBP, and there is one place to return to.
 */
ENTRY(entry_SYSENTER_compat)
	SWAPGS
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp

	movl	%eax, %eax			/* the number is 32 bits wide */

	pushq	$__USER32_DS
	pushq	%rbp				/* RSP */
	pushfq
	orl	$X86_EFLAGS_IF, (%rsp)		/* interrupts were on */
	pushq	$__USER32_CS
	pushq	$0				/* RIP: do_fast_syscall_32 fills it in */
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	$-ENOSYS			/* RAX, until the call has a result */
	pushq	$0				/* R8 */
	pushq	$0				/* R9 */
	pushq	$0				/* R10 */
	pushq	$0				/* R11 */
	pushq	%rbx
	pushq	%rbp				/* do_fast_syscall_32 reads the real one from the user's stack */
	pushq	$0				/* R12 */
	pushq	$0				/* R13 */
	pushq	$0				/* R14 */
	pushq	$0				/* R15 */
	cld

	/* SYSENTER masks no flags: with TF set every instruction up to here has trapped */
	testl	$(X86_EFLAGS_NT|X86_EFLAGS_AC|X86_EFLAGS_TF), EFLAGS(%rsp)
	jnz	.Lsysenter_fix_flags
.Lsysenter_flags_fixed:

	TRACE_IRQS_OFF
	movq	%rsp, %rdi
	call	do_fast_syscall_32
.if X86_FEATURE_XENPV
	jmp	syscall_32_done
.else
	testl	%eax, %eax
	jz	syscall_32_done
.endif
	jmp	sysret32_from_system_call

.Lsysenter_fix_flags:
	pushq	$X86_EFLAGS_FIXED
	popfq
	jmp	.Lsysenter_flags_fixed
/* do_debug ignores single steps up to here */
GLOBAL(__end_entry_SYSENTER_compat)
END(entry_SYSENTER_compat)

/* ---- SYSCALL from 32-bit code: AMD ------------------------------------------------- */

/*
 * RCX is the return address, R11 the flags.  The user's ECX is in EBP, its EBP
 * on the stack.  R8 is free: 32-bit code has none.
 */
ENTRY(entry_SYSCALL_compat)
	swapgs
	movl	%esp, %r8d
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp

	pushq	$__USER32_DS
	pushq	%r8				/* RSP */
	pushq	%r11				/* flags */
	pushq	$__USER32_CS
	pushq	%rcx				/* RIP */
/* Xen PV comes in here, with a frame that Xen has pushed. */
GLOBAL(entry_SYSCALL_compat_after_hwframe)
	movl	%eax, %eax
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rbp				/* RCX */
	pushq	$-ENOSYS			/* RAX */
	pushq	$0				/* R8 */
	pushq	$0				/* R9 */
	pushq	$0				/* R10 */
	pushq	$0				/* R11 */
	pushq	%rbx
	pushq	%rbp				/* overwritten by do_fast_syscall_32 */
	pushq	$0				/* R12 */
	pushq	$0				/* R13 */
	pushq	$0				/* R14 */
	pushq	$0				/* R15 */

	TRACE_IRQS_OFF
	movq	%rsp, %rdi
	call	do_fast_syscall_32
.if X86_FEATURE_XENPV
	jmp	syscall_32_done
.else
	testl	%eax, %eax
	jz	syscall_32_done
.endif

/*
 * Both return here.  R12 to R15 are C's to keep and hold what they held; R8 to
 * R10 are cleared.  The user's RSP is loaded before CR3: the task stack, which
 * holds it, is not mapped after.
 */
GLOBAL(sysret32_from_system_call)
	TRACE_IRQS_ON
	movq	RBX(%rsp), %rbx
	movq	RBP(%rsp), %rbp
	movq	EFLAGS(%rsp), %r11
	movq	RIP(%rsp), %rcx
	addq	$RAX, %rsp
	popq	%rax
	popq	%rdx				/* not RCX: the vDSO restores it */
	popq	%rdx
	popq	%rsi
	popq	%rdi
	movq	RSP-ORIG_RAX(%rsp), %rsp
	SWITCH_TO_USER_CR3_NOSTACK scratch_reg=%r8 scratch_reg2=%r9
	xorq	%r8, %r8
	xorq	%r9, %r9
	xorq	%r10, %r10
	swapgs
	sysretl
END(entry_SYSCALL_compat)

/* ---- INT $0x80: from 32-bit and from 64-bit code ------------------------------------ */

ENTRY(entry_INT80_compat)
	ASM_CLAC
	SWAPGS					/* the gate is used by user mode only */
	movl	%eax, %eax			/* the number is 32 bits wide */
	pushq	%rax				/* ORIG_RAX */
	/* on Xen PV this copies the top of the task stack onto itself */
	call	switch_to_thread_stack

	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	$-ENOSYS			/* RAX, until the call has a result */
	/* 64-bit code that comes here finds these zeroed */
	pushq	$0				/* R8 */
	pushq	$0				/* R9 */
	pushq	$0				/* R10 */
	pushq	$0				/* R11 */
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld

	TRACE_IRQS_OFF
	movq	%rsp, %rdi
	call	do_int80_syscall_32
GLOBAL(syscall_32_done)
	TRACE_IRQS_ON
	jmp	swapgs_restore_regs_and_return_to_usermode
END(entry_INT80_compat)

.endif

/* ---- Xen PV ---------------------------------------------------------------------------- */

.if XEN_PV
.if IA32_EMULATION
/* As for 64-bit code: the selectors are the program's, not Xen's. */
ENTRY(xen_syscall32_target)
	popq	%rcx
	popq	%r11
	movq	$__USER32_DS, 4*8(%rsp)
	movq	$__USER32_CS, 1*8(%rsp)
	jmp	entry_SYSCALL_compat_after_hwframe
END(xen_syscall32_target)

/* RCX, R11 and RSP as the processor leaves them; Xen's frame is given up. */
ENTRY(xen_sysenter_target)
	movq	0*8(%rsp), %rcx
	movq	1*8(%rsp), %r11
	movq	5*8(%rsp), %rsp
	jmp	entry_SYSENTER_compat
END(xen_sysenter_target)
.else
ENTRY(xen_syscall32_target)
GLOBAL(xen_sysenter_target)
	leaq	16(%rsp), %rsp			/* RCX, R11 */
	movq	$-ENOSYS, %rax
	pushq	$0
	jmp	hypercall_iret
END(xen_syscall32_target)
.endif
.endif

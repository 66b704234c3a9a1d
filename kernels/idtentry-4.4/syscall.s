/*
 * SYSCALL from 64-bit code: the fast path, the slow path, SYSRET.
 *
 * Models: entry_SYSCALL_64 and the stubs behind it in
 * arch/x86/entry/entry_64.S; xen_syscall_target and xen_sysret64 in
 * arch/x86/xen/xen-asm_64.S, Linux 4.4.
 */

/* Bits of an address that the processor looks at, and what is left above them. */
.set VIRTUAL_ADDRESS_BITS, 48
.set CANONICAL_SHIFT, 64 - VIRTUAL_ADDRESS_BITS

.set __X32_SYSCALL_BIT, 0x40000000
.set __SYSCALL_MASK, ~__X32_SYSCALL_BIT
.set __NR_syscall_max, 545

/*
 * The number chooses a row of sys_call_table and the call is indirect.  One row
 * stands for all: fork, whose stub completes pt_regs, and in which a tracer may
 * change every word of it.
 */
.macro CALL_SYS_CALL_TABLE
	call	stub_fork
.endm

/* With x32 the low half counts, less the bit that asks for x32. */
.macro CHECK_SYSCALL_NUMBER
	andl	$__SYSCALL_MASK, %eax
	cmpl	$__NR_syscall_max, %eax
.endm

/*
 * RCX is the return address, R11 the flags, RSP the user's: SYSCALL changes no
 * stack and saves nothing.  The only place to keep RSP is a per-CPU word.
 */
ENTRY(entry_SYSCALL_64)
	SWAPGS_UNSAFE_STACK
/* Xen PV comes in here, with RSP, RCX and R11 as SYSCALL leaves them. */
GLOBAL(entry_SYSCALL_64_after_swapgs)
	movq	%rsp, PER_CPU_VAR(rsp_scratch)
	movq	PER_CPU_VAR(cpu_tss + TSS_sp0), %rsp

	/* the frame that an interrupt would have pushed */
	pushq	$__USER_DS
	pushq	PER_CPU_VAR(rsp_scratch)
	ENABLE_INTERRUPTS			/* rsp_scratch is free for the next */
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	$-ENOSYS			/* RAX, until the call has a result */
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	subq	$6*8, %rsp			/* RBX, RBP, R12 to R15: C keeps them */

	testl	$_TIF_WORK_SYSCALL_ENTRY, THREAD_FLAGS_AT_PTREGS(%rsp)
	jnz	tracesys
entry_SYSCALL_64_fastpath:
	CHECK_SYSCALL_NUMBER
	ja	.Lfast_no_such_call
	movq	%r10, %rcx			/* fourth argument of the C convention */
	CALL_SYS_CALL_TABLE
	movq	%rax, RAX(%rsp)
.Lfast_no_such_call:
	/* too short for tracing to be told */
	DISABLE_INTERRUPTS
	testl	$_TIF_ALLWORK_MASK, THREAD_FLAGS_AT_PTREGS(%rsp)
	jnz	int_ret_from_sys_call_irqs_off

	/* nobody has looked at pt_regs: what SYSRET loads is what was there */
	RESTORE_C_REGS_EXCEPT_RCX_R11
	movq	RIP(%rsp), %rcx
	movq	EFLAGS(%rsp), %r11
	movq	RSP(%rsp), %rsp
	USERGS_SYSRET64

GLOBAL(int_ret_from_sys_call_irqs_off)
	TRACE_IRQS_ON
	ENABLE_INTERRUPTS
	jmp	int_ret_from_sys_call

	/* work on the way in: what needs no whole pt_regs, then the rest */
tracesys:
	movq	%rsp, %rdi
	movl	$AUDIT_ARCH_X86_64, %esi
	call	syscall_trace_enter_phase1
	testq	%rax, %rax
	jnz	tracesys_phase2
	RESTORE_C_REGS_EXCEPT_RAX
	movq	ORIG_RAX(%rsp), %rax
	jmp	entry_SYSCALL_64_fastpath

tracesys_phase2:
	SAVE_EXTRA_REGS
	movq	%rsp, %rdi
	movl	$AUDIT_ARCH_X86_64, %esi
	movq	%rax, %rdx
	call	syscall_trace_enter_phase2	/* returns the number to call */
	RESTORE_C_REGS_EXCEPT_RAX
	RESTORE_EXTRA_REGS
	CHECK_SYSCALL_NUMBER
	ja	int_ret_from_sys_call
	movq	%r10, %rcx
	CALL_SYS_CALL_TABLE
	movq	%rax, RAX(%rsp)

/* Leaves with what pt_regs says, all of it; interrupts are on. */
GLOBAL(int_ret_from_sys_call)
	SAVE_EXTRA_REGS
	movq	%rsp, %rdi
	call	syscall_return_slowpath		/* returns with interrupts off */
	RESTORE_EXTRA_REGS
	TRACE_IRQS_IRETQ

	/*
	 * SYSRET loads RIP from RCX and the flags from R11 and chooses the
	 * selectors itself: allowed only if that is what pt_regs asks for.
	 */
	movq	RCX(%rsp), %rcx
	movq	RIP(%rsp), %r11
	cmpq	%rcx, %r11
	jne	opportunistic_sysret_failed

	/* Intel raises #GP in the kernel, on the user's stack, for an RCX that is not canonical. */
	shlq	$CANONICAL_SHIFT, %rcx
	sarq	$CANONICAL_SHIFT, %rcx
	cmpq	%rcx, %r11
	jne	opportunistic_sysret_failed

	cmpq	$__USER_CS, CS(%rsp)
	jne	opportunistic_sysret_failed

	movq	R11(%rsp), %r11
	cmpq	%r11, EFLAGS(%rsp)
	jne	opportunistic_sysret_failed

	/* SYSRET clears RF, and TF would trap before the first user instruction. */
	testq	$(X86_EFLAGS_RF|X86_EFLAGS_TF), %r11
	jnz	opportunistic_sysret_failed

	cmpq	$__USER_DS, SS(%rsp)
	jne	opportunistic_sysret_failed

	/* RCX and R11 hold what SYSRET wants */
	RESTORE_C_REGS_EXCEPT_RCX_R11
	movq	RSP(%rsp), %rsp
	USERGS_SYSRET64

opportunistic_sysret_failed:
	SWAPGS
	jmp	restore_c_regs_and_iret
END(entry_SYSCALL_64)

.set AUDIT_ARCH_X86_64, 0xc000003e

/* ---- calls that look at all of pt_regs ----------------------------------------- */

/* Called from the fast path: a return address lies below pt_regs. */
.macro FORK_LIKE func:req
ENTRY(stub_\func)
	SAVE_EXTRA_REGS 8
	jmp	sys_\func
END(stub_\func)
.endm

	FORK_LIKE fork

/* A sigreturn changes everything: it never goes back to the fast path. */
ENTRY(stub_rt_sigreturn)
	SAVE_EXTRA_REGS 8
	call	sys_rt_sigreturn
	addq	$8, %rsp
	RESTORE_EXTRA_REGS
	movq	%rax, RAX(%rsp)
	jmp	int_ret_from_sys_call
END(stub_rt_sigreturn)

/*
 * The C side of the call, by hand as far as it is C's convention that matters:
 * pt_regs is no argument but found by its place (current_pt_regs), the result
 * is a value and not a slot, and whoever stopped the task and let a tracer at
 * pt_regs forbids the fast path by a work flag (ptrace_stop does; signals set
 * a flag of their own).
 */
ENTRY(sys_fork)
	leaq	8(%rsp), %rdi
	pushq	SS(%rdi)
	pushq	RSP(%rdi)
	pushq	EFLAGS(%rdi)
	pushq	CS(%rdi)
	pushq	RIP(%rdi)
	pushq	RCX(%rdi)
	pushq	R11(%rdi)
	call	_do_fork
	leaq	8*8(%rsp), %rdi
	xorl	%edx, %edx
	.irp	slot, R11, RCX, RIP, CS, EFLAGS, RSP, SS
	popq	%rcx
	xorq	\slot(%rdi), %rcx
	orq	%rcx, %rdx
	.endr
	testq	%rdx, %rdx
	jz	.Lregs_untouched
	orl	$_TIF_NOTIFY_RESUME, THREAD_FLAGS_AT_PTREGS(%rdi)
.Lregs_untouched:
	movq	RAX(%rdi), %rax
	ret
END(sys_fork)

ENTRY(sys_rt_sigreturn)
	leaq	2*8(%rsp), %rdi
	call	_do_fork
	leaq	2*8(%rsp), %rdi
	movq	RAX(%rdi), %rax
	ret
END(sys_rt_sigreturn)

/* Context tracking alone is done here, and the fast path goes on; for all else the whole of pt_regs is needed. */
ENTRY(syscall_trace_enter_phase1)
	pushq	%rbx
	movq	%rdi, %rbx
	call	syscall_trace_work
	movl	THREAD_FLAGS_AT_PTREGS(%rbx), %eax
	andl	$(_TIF_WORK_SYSCALL_ENTRY & ~_TIF_NOHZ), %eax
	popq	%rbx
	ret
END(syscall_trace_enter_phase1)

ENTRY(syscall_trace_enter_phase2)
	pushq	%rbx
	movq	%rdi, %rbx
	call	syscall_trace_work
	movq	ORIG_RAX(%rbx), %rax
	popq	%rbx
	ret
END(syscall_trace_enter_phase2)

/* ---- Xen ------------------------------------------------------------------------- */

.if XEN_PV
/*
 * Xen enters with an exception's frame; makes it look like the processor's
 * SYSCALL, on the user's stack and with the user's RCX and R11.
 */
.macro undo_xen_syscall
	movq	0*8(%rsp), %rcx
	movq	1*8(%rsp), %r11
	movq	5*8(%rsp), %rsp
.endm

ENTRY(xen_syscall_target)
	undo_xen_syscall
	jmp	entry_SYSCALL_64_after_swapgs
END(xen_syscall_target)

/* In place of SYSRET: RSP is the user's already. */
ENTRY(xen_sysret64)
	movq	%rsp, PER_CPU_VAR(rsp_scratch)
	movq	PER_CPU_VAR(cpu_tss + TSS_sp0), %rsp
	pushq	$__USER_DS
	pushq	PER_CPU_VAR(rsp_scratch)
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
	pushq	$VGCF_in_syscall
	jmp	hypercall_iret
END(xen_sysret64)
.endif

/*
 * SYSCALL from 64-bit code, and the return by SYSRET.
 *
 * Models: entry_SYSCALL_64 and its trampoline in arch/x86/entry/entry_64.S,
 * xen_syscall_target and xen_sysret64 in arch/x86/xen/xen-asm_64.S, the thunk
 * of arch/x86/lib/retpoline.S, Linux 4.15.
 */

/* Bits of an address that the processor looks at, and what is left above them. */
.set VIRTUAL_ADDRESS_BITS, 48
.set CANONICAL_SHIFT, 64 - VIRTUAL_ADDRESS_BITS

.set VGCF_in_syscall, 0x100

/*
 * thread_info.flags: work that only the slow path does at the entry, and work
 * that any way back to user mode does.  TIF_NOHZ stands for context tracking:
 * every task has it once a processor is tracked.  Whether the modelled task has
 * it is the scenario's choice: see SYSCALL_WORK in the README.
 */
.set _TIF_SYSCALL_TRACE, 1 << 0
.set _TIF_NOTIFY_RESUME, 1 << 1
.set _TIF_SIGPENDING, 1 << 2
.set _TIF_NEED_RESCHED, 1 << 3
.set _TIF_SINGLESTEP, 1 << 4
.set _TIF_SYSCALL_EMU, 1 << 6
.set _TIF_SYSCALL_AUDIT, 1 << 7
.set _TIF_SECCOMP, 1 << 8
.set _TIF_USER_RETURN_NOTIFY, 1 << 11
.set _TIF_UPROBE, 1 << 12
.set _TIF_PATCH_PENDING, 1 << 13
.set _TIF_NOHZ, 1 << 19
.set _TIF_SYSCALL_TRACEPOINT, 1 << 28
.set _TIF_FSCHECK, 1 << 31
.set _TIF_TRACING, _TIF_SYSCALL_TRACE | _TIF_SYSCALL_EMU | _TIF_SYSCALL_AUDIT | _TIF_NOHZ | _TIF_SYSCALL_TRACEPOINT
.set _TIF_WORK_SYSCALL_ENTRY, _TIF_TRACING | _TIF_SECCOMP
.set _TIF_PENDING, _TIF_NOTIFY_RESUME | _TIF_SIGPENDING | _TIF_NEED_RESCHED | _TIF_SINGLESTEP | _TIF_USER_RETURN_NOTIFY
.set _TIF_ALLWORK_MASK, _TIF_TRACING | _TIF_PENDING | _TIF_UPROBE | _TIF_PATCH_PENDING | _TIF_FSCHECK
.set TASK_TI_flags, 0

.set __NR_syscall_max, 332

/* On the user's stack, with the user's registers and, on bare metal, the kernel's GS. */
.macro USERGS_SYSRET64
.if PLATFORM_XEN_PV
	jmp	xen_sysret64
.else
	swapgs
	sysretq
.endif
.endm

/* ---- in through the trampoline: where page tables are isolated ----------------- */

/*
 * This code runs at an address in cpu_entry_area, one for each processor, and
 * reaches the parts of that area from its own RIP: the last word of the entry
 * stack, which is free, and the TSS through its read-only alias.
 */
ENTRY(entry_SYSCALL_64_trampoline)
GLOBAL(_entry_trampoline)
	swapgs
	movq	%rsp, CPU_ENTRY_AREA_entry_stack + SIZEOF_entry_stack - 8 + _entry_trampoline - CPU_ENTRY_AREA_entry_trampoline(%rip)
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	CPU_ENTRY_AREA_tss + TSS_sp1 + _entry_trampoline - CPU_ENTRY_AREA_entry_trampoline(%rip), %rsp

	/* the frame that an interrupt would have pushed */
	pushq	$__USER_DS
	pushq	CPU_ENTRY_AREA_entry_stack + SIZEOF_entry_stack - 8 + _entry_trampoline - CPU_ENTRY_AREA_entry_trampoline(%rip)
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx

	/* kernel text is too far for a relative jump from here: one by register, which is then popped */
	pushq	%rdi
	movq	$entry_SYSCALL_64_stage2, %rdi
	JMP_NOSPEC %rdi
END(entry_SYSCALL_64_trampoline)

ENTRY(entry_SYSCALL_64_stage2)
	popq	%rdi
	jmp	entry_SYSCALL_64_after_hwframe
END(entry_SYSCALL_64_stage2)

/* ---- in without ---------------------------------------------------------------- */

/*
 * RCX is the return address, R11 the flags, RSP the user's: SYSCALL changes no
 * stack and saves nothing.  The only place to keep RSP is a per-CPU word, which
 * user page tables do not map: this way in is for kernels that have no others.
 */
ENTRY(entry_SYSCALL_64)
	swapgs
	movq	%rsp, PER_CPU_VAR(rsp_scratch)
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp
	TRACE_IRQS_OFF				/* the trampoline and Xen's way in pass this by */

	pushq	$__USER_DS
	pushq	PER_CPU_VAR(rsp_scratch)
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
/* Xen PV comes in here, with a frame that Xen has pushed. */
GLOBAL(entry_SYSCALL_64_after_hwframe)
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
	subq	$(6*8), %rsp			/* RBX, RBP, R12 to R15: C keeps them, the fast path does not save them */

	movq	PER_CPU_VAR(current_task), %r11
	testl	$(_TIF_WORK_SYSCALL_ENTRY|_TIF_ALLWORK_MASK), TASK_TI_flags(%r11)
	jnz	entry_SYSCALL64_slow_path

entry_SYSCALL_64_fastpath:
	TRACE_IRQS_ON
	ENABLE_INTERRUPTS
	cmpq	$__NR_syscall_max, %rax
	ja	.Lfastpath_no_such_call		/* -ENOSYS is there already */
	movq	%r10, %rcx			/* fourth argument, as C wants it */
.if RETPOLINE
	movq	sys_call_table(, %rax, 8), %rax
	call	__x86_indirect_thunk_rax
.else
	call	*sys_call_table(, %rax, 8)
.endif
/* stub_ptregs_64 knows this return address */
GLOBAL(entry_SYSCALL_64_after_fastpath_call)
	movq	%rax, RAX(%rsp)
.Lfastpath_no_such_call:

	/* nobody else saw pt_regs: SYSRET is right, unless there is work to do first */
	DISABLE_INTERRUPTS
	TRACE_IRQS_OFF
	movq	PER_CPU_VAR(current_task), %r11
	testl	$_TIF_ALLWORK_MASK, TASK_TI_flags(%r11)
	jnz	.Lfastpath_exit_work

	TRACE_IRQS_ON
	movq	RIP(%rsp), %rcx
	movq	EFLAGS(%rsp), %r11
	addq	$(6*8), %rsp
	jmp	.Lpop_c_regs_and_sysret

.Lfastpath_exit_work:
	TRACE_IRQS_ON
	ENABLE_INTERRUPTS
	SAVE_EXTRA_REGS
	movq	%rsp, %rdi
	call	syscall_return_slowpath		/* returns with interrupts off */
	jmp	return_from_SYSCALL_64

GLOBAL(entry_SYSCALL64_slow_path)
	SAVE_EXTRA_REGS
	movq	%rsp, %rdi
	call	do_syscall_64			/* returns with interrupts off */

return_from_SYSCALL_64:
	TRACE_IRQS_IRETQ

	/*
	 * SYSRET loads RIP from RCX and the flags from R11 and chooses the
	 * selectors itself: allowed only if that is what pt_regs asks for.
	 */
	movq	RCX(%rsp), %rcx
	movq	RIP(%rsp), %r11
	cmpq	%rcx, %r11
	jne	swapgs_restore_regs_and_return_to_usermode

	/* Intel raises #GP in the kernel, on the user's stack, for an RCX that is not canonical. */
	shlq	$CANONICAL_SHIFT, %rcx
	sarq	$CANONICAL_SHIFT, %rcx
	cmpq	%rcx, %r11
	jne	swapgs_restore_regs_and_return_to_usermode

	cmpq	$__USER_CS, CS(%rsp)
	jne	swapgs_restore_regs_and_return_to_usermode

	movq	R11(%rsp), %r11
	cmpq	%r11, EFLAGS(%rsp)
	jne	swapgs_restore_regs_and_return_to_usermode

	/* SYSRET clears RF, and TF would trap before the first user instruction. */
	testq	$(X86_EFLAGS_RF|X86_EFLAGS_TF), %r11
	jnz	swapgs_restore_regs_and_return_to_usermode

	cmpq	$__USER_DS, SS(%rsp)
	jne	swapgs_restore_regs_and_return_to_usermode

	/* RCX and R11 hold what SYSRET wants */
	POP_EXTRA_REGS
.Lpop_c_regs_and_sysret:
	popq	%rsi				/* not R11 */
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rsi				/* not RCX */
	popq	%rdx
	popq	%rsi
	movq	%rsp, %rdi
	movq	PER_CPU_VAR(cpu_tss_rw + TSS_sp0), %rsp
	pushq	RSP-RDI(%rdi)
	pushq	(%rdi)				/* RDI */
	SWITCH_TO_USER_CR3_STACK scratch_reg=%rdi
	popq	%rdi
	popq	%rsp
	USERGS_SYSRET64
END(entry_SYSCALL_64)

/* ---- calls that look at pt_regs, from the fast path ------------------------------- */

.if RETPOLINE
ENTRY(__x86_indirect_thunk_rax)
	JMP_NOSPEC %rax
END(__x86_indirect_thunk_rax)
.endif

/*
 * RAX is the C function.  Called by the fast path, which has not saved every
 * register: goes back, by its return address, and takes the slow path, where
 * it comes again, called by C.
 */
ENTRY(stub_ptregs_64)
	cmpq	$entry_SYSCALL_64_after_fastpath_call, (%rsp)
	jne	.Lptregs_called_from_c
	DISABLE_INTERRUPTS
	TRACE_IRQS_OFF
	popq	%rax
	jmp	entry_SYSCALL64_slow_path
.Lptregs_called_from_c:
	JMP_NOSPEC %rax
END(stub_ptregs_64)

/* What sys_call_table has for such a call. */
.macro ptregs_stub func:req
ENTRY(ptregs_\func)
	leaq	\func(%rip), %rax
	jmp	stub_ptregs_64
END(ptregs_\func)
.endm

	ptregs_stub sys_rt_sigreturn

/* ---- Xen PV ------------------------------------------------------------------------ */

.if XEN_PV
/*
 * Xen shows its own flat selectors for CS and SS: nobody has told it the
 * program's.
 */
ENTRY(xen_syscall_target)
	popq	%rcx
	popq	%r11
	movq	$__USER_DS, 4*8(%rsp)
	movq	$__USER_CS, 1*8(%rsp)
	jmp	entry_SYSCALL_64_after_hwframe
END(xen_syscall_target)

/* In place of SYSRET: RSP is the user's already. */
ENTRY(xen_sysret64)
	movq	%rsp, PER_CPU_VAR(rsp_scratch)
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp
	pushq	$__USER_DS
	pushq	PER_CPU_VAR(rsp_scratch)
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
	pushq	$VGCF_in_syscall
	jmp	hypercall_iret
END(xen_sysret64)
.endif

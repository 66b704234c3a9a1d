/*
 * SYSCALL from 64-bit code, and the return by SYSRET.
 *
 * Models: entry_SYSCALL_64 and native_usergs_sysret64 in
 * arch/x86/entry/entry_64.S, Linux 5.8.
 */

/* Bits of an address that the processor looks at, and what is left above them. */
.set VIRTUAL_ADDRESS_BITS, 48
.set CANONICAL_SHIFT, 64 - VIRTUAL_ADDRESS_BITS

ENTRY(native_usergs_sysret64)
	swapgs
	sysretq
END(native_usergs_sysret64)

/*
 * RCX is the return address, R11 the flags, RSP the user's: SYSCALL changes no
 * stack and saves nothing.  The only place to keep RSP is a per-CPU word.
 */
ENTRY(entry_SYSCALL_64)
	swapgs
	movq	%rsp, PER_CPU_VAR(cpu_tss_rw + TSS_sp2)
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp

	/* the frame that an interrupt would have pushed */
	pushq	$__USER_DS
	pushq	PER_CPU_VAR(cpu_tss_rw + TSS_sp2)
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
/* Xen PV comes in here, with a frame that Xen has pushed. */
GLOBAL(entry_SYSCALL_64_after_hwframe)
	pushq	%rax				/* ORIG_RAX */
	PUSH_AND_CLEAR_REGS rax=$-ENOSYS

	movq	%rax, %rdi
	movq	%rsp, %rsi
	call	do_syscall_64			/* returns with interrupts off */

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
	POP_REGS pop_rdi=0 skip_r11rcx=1
	movq	%rsp, %rdi
	movq	PER_CPU_VAR(cpu_tss_rw + TSS_sp0), %rsp
	pushq	RSP-RDI(%rdi)
	pushq	(%rdi)				/* RDI */
	SWITCH_TO_USER_CR3_STACK scratch_reg=%rdi
	popq	%rdi
	popq	%rsp
	USERGS_SYSRET64
END(entry_SYSCALL_64)

.if IA32_EMULATION == 0
/* SYSCALL from 32-bit code cannot be switched off: it gets an error and nothing else. */
ENTRY(ignore_sysret)
	movl	$-ENOSYS, %eax
	sysretl
END(ignore_sysret)
.endif

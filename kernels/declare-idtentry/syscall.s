/*
 * SYSCALL from 64-bit code, and the return by SYSRET.
 *
 * Models: entry_SYSCALL_64 in arch/x86/entry/entry_64.S and
 * xen_entry_SYSCALL_64 in arch/x86/xen/xen-asm.S, Linux 6.1.
 */

/* Bits of an address that the processor looks at, and what is left above them. */
.set VIRTUAL_ADDRESS_BITS, 48
.set CANONICAL_SHIFT, 64 - VIRTUAL_ADDRESS_BITS

/*
 * RCX is the return address, R11 the flags, RSP the user's: SYSCALL changes no
 * stack and saves nothing.  The only place to keep RSP is a per-CPU word.
 */
ENTRY(entry_SYSCALL_64)
	swapgs
	movq	%rsp, PER_CPU_VAR(cpu_tss_rw + TSS_sp2)
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp

GLOBAL(entry_SYSCALL_64_safe_stack)
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

	movq	%rsp, %rdi
	movslq	%eax, %rsi			/* a number is an int */
	IBRS_ENTER
	UNTRAIN_RET
	call	do_syscall_64			/* returns with interrupts off */

.if X86_FEATURE_XENPV
	/* no SYSRET for a PV guest */
	jmp	swapgs_restore_regs_and_return_to_usermode
.else
	ALT_NOP5
.endif

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

syscall_return_via_sysret:
	IBRS_EXIT
	/* RCX and R11 of pt_regs are what SYSRET wants */
	POP_REGS pop_rdi=0
	movq	%rsp, %rdi
	movq	PER_CPU_VAR(cpu_tss_rw + TSS_sp0), %rsp
	pushq	RSP-RDI(%rdi)
	pushq	(%rdi)				/* RDI */
	SWITCH_TO_USER_CR3_STACK scratch_reg=%rdi
	popq	%rdi
	popq	%rsp
GLOBAL(entry_SYSRETQ_unsafe_stack)
	swapgs
	sysretq
GLOBAL(entry_SYSRETQ_end)
	int3
END(entry_SYSCALL_64)

.if XEN_PV
/*
 * Xen shows its own flat selectors for CS and SS: nobody has told it the
 * program's.
 */
ENTRY(xen_entry_SYSCALL_64)
	popq	%rcx
	popq	%r11
	movq	$__USER_DS, 4*8(%rsp)
	movq	$__USER_CS, 1*8(%rsp)
	jmp	entry_SYSCALL_64_after_hwframe
END(xen_entry_SYSCALL_64)
.endif

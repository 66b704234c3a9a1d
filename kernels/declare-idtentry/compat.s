/*
 * System calls of 32-bit code: SYSENTER, SYSCALL, and INT $0x80, which 64-bit
 * code may use as well.
 *
 * Models: arch/x86/entry/entry_64_compat.S and the compat targets of
 * arch/x86/xen/xen-asm.S, Linux 6.1.
 */

.if IA32_EMULATION
/*
 * SYSENTER tells neither RSP, RIP nor flags of the program, and clears no flag
 * but IF.  The vDSO keeps what C needs: RSP in RBP, and one known return address.
 */
ENTRY(entry_SYSENTER_compat)
	swapgs
	/* RSP is the entry stack: both halves map it */
	pushq	%rax
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax
	popq	%rax
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp

	pushq	$__USER32_DS
	pushq	$0				/* RSP: C fills it in */
	pushfq					/* IF is off: C sets it */
	pushq	$__USER32_CS
	pushq	$0				/* RIP: C fills it in */
/* Xen PV comes in here. */
GLOBAL(entry_SYSENTER_compat_after_hwframe)
	movl	%eax, %eax			/* the number is 32 bits wide */
	pushq	%rax				/* ORIG_RAX */
	PUSH_AND_CLEAR_REGS rax=$-ENOSYS
	cld

	/* what SYSENTER let through and the kernel must not run with */
	testl	$(X86_EFLAGS_NT|X86_EFLAGS_AC|X86_EFLAGS_TF), EFLAGS(%rsp)
	jnz	.Lsysenter_fix_flags
.Lsysenter_flags_fixed:

	/* calls: with TF set the traps up to here are known by their address, those behind a call would not be */
	IBRS_ENTER
	UNTRAIN_RET

	movq	%rsp, %rdi
	call	do_SYSENTER_32
.if X86_FEATURE_XENPV
	jmp	swapgs_restore_regs_and_return_to_usermode
.else
	testl	%eax, %eax
	jz	swapgs_restore_regs_and_return_to_usermode
.endif
	jmp	sysret32_from_system_call

.Lsysenter_fix_flags:
	pushq	$X86_EFLAGS_FIXED
	popfq
	jmp	.Lsysenter_flags_fixed
GLOBAL(__end_entry_SYSENTER_compat)
END(entry_SYSENTER_compat)

/* As in 64-bit code, but only the low halves of registers mean anything; the vDSO put ECX into EBP. */
ENTRY(entry_SYSCALL_compat)
	swapgs
	movl	%esp, %r8d
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp

GLOBAL(entry_SYSCALL_compat_safe_stack)
	pushq	$__USER32_DS
	pushq	%r8
	pushq	%r11
	pushq	$__USER32_CS
	pushq	%rcx
/* Xen PV comes in here. */
GLOBAL(entry_SYSCALL_compat_after_hwframe)
	movl	%eax, %eax
	pushq	%rax				/* ORIG_RAX */
	PUSH_AND_CLEAR_REGS rcx=%rbp rax=$-ENOSYS

	IBRS_ENTER
	UNTRAIN_RET

	movq	%rsp, %rdi
	call	do_fast_syscall_32
.if X86_FEATURE_XENPV
	jmp	swapgs_restore_regs_and_return_to_usermode
.else
	testl	%eax, %eax
	jz	swapgs_restore_regs_and_return_to_usermode
.endif

/*
 * Both kinds return by SYSRET to the vDSO, which reloads RCX.  R12 to R15 do
 * not exist for a 32-bit program; R8 to R10 must not tell it anything.
 */
GLOBAL(sysret32_from_system_call)
	IBRS_EXIT
	movq	RBX(%rsp), %rbx
	movq	RBP(%rsp), %rbp
	movq	EFLAGS(%rsp), %r11
	movq	RIP(%rsp), %rcx
	addq	$RAX, %rsp			/* R15 to R8 */
	popq	%rax
	popq	%rdx				/* RCX, not wanted */
	popq	%rdx
	popq	%rsi
	popq	%rdi
	movq	RSP-ORIG_RAX(%rsp), %rsp
GLOBAL(entry_SYSRETL_compat_unsafe_stack)
	/* the task stack is not mapped behind this switch */
	SWITCH_TO_USER_CR3_NOSTACK scratch_reg=%r8 scratch_reg2=%r9
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	swapgs
	sysretl
GLOBAL(entry_SYSRETL_compat_end)
	int3
END(entry_SYSCALL_compat)

/* The gate is used by user mode only. */
ENTRY(entry_INT80_compat)
	ASM_CLAC
.if X86_FEATURE_XENPV
	ALT_NOP3
.else
	swapgs
.endif
	movl	%eax, %eax			/* the number is 32 bits wide */
	pushq	%rax				/* ORIG_RAX */
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax

.if X86_FEATURE_XENPV
	/* Xen delivered on the task stack already */
	jmp	.Lint80_keep_stack
.else
	ALT_NOP2
.endif
	movq	%rsp, %rax
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp
	pushq	5*8(%rax)			/* SS */
	pushq	4*8(%rax)			/* RSP */
	pushq	3*8(%rax)			/* RFLAGS */
	pushq	2*8(%rax)			/* CS */
	pushq	1*8(%rax)			/* RIP */
	pushq	0*8(%rax)			/* ORIG_RAX */
.Lint80_keep_stack:
	PUSH_AND_CLEAR_REGS rax=$-ENOSYS
	cld
	IBRS_ENTER
	UNTRAIN_RET

	movq	%rsp, %rdi
	call	do_int80_syscall_32
	jmp	swapgs_restore_regs_and_return_to_usermode
END(entry_INT80_compat)
.else
/* SYSCALL from 32-bit code cannot be switched off: it gets an error and nothing else. */
ENTRY(ignore_sysret)
	movl	$-ENOSYS, %eax
	sysretl
END(ignore_sysret)
.endif

.if XEN_PV
.if IA32_EMULATION
/* Xen has cleared TF; it does not know the program's selectors. */
ENTRY(xen_entry_SYSENTER_compat)
	popq	%rcx
	popq	%r11
	movq	$__USER_DS, 4*8(%rsp)
	movq	$__USER32_CS, 1*8(%rsp)
	jmp	entry_SYSENTER_compat_after_hwframe
END(xen_entry_SYSENTER_compat)

ENTRY(xen_entry_SYSCALL_compat)
	popq	%rcx
	popq	%r11
	movq	$__USER_DS, 4*8(%rsp)
	movq	$__USER32_CS, 1*8(%rsp)
	jmp	entry_SYSCALL_compat_after_hwframe
END(xen_entry_SYSCALL_compat)
.else
ENTRY(xen_entry_SYSCALL_compat)
GLOBAL(xen_entry_SYSENTER_compat)
	leaq	16(%rsp), %rsp			/* RCX and R11 */
	movq	$-ENOSYS, %rax
	xen_hypercall_iret
END(xen_entry_SYSCALL_compat)
.endif
.endif

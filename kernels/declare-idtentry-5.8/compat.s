/*
 * System calls of 32-bit programs: SYSENTER (Intel), SYSCALL (AMD), INT $0x80.
 *
 * Models: arch/x86/entry/entry_64_compat.S, Linux 5.8.
 */

.if IA32_EMULATION

/* ---- SYSENTER ---------------------------------------------------------------- */

/*
 * The processor loads RSP with the top of the entry stack, clears IF, and saves
 * nothing: neither RIP, nor RSP (the vDSO keeps it in EBP), nor the flags.  DF,
 * NT, AC and TF are the user's still.
 */
ENTRY(entry_SYSENTER_compat)
	SWAPGS
	pushq	%rax
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rax
	popq	%rax
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp

	pushq	$__USER32_DS
	pushq	$0				/* RSP: C takes it from RBP */
	pushfq					/* but for IF, which C sets */
	pushq	$__USER32_CS
	pushq	$0				/* RIP: C knows where the vDSO goes on */
/* Xen PV comes in here, with a frame that Xen has pushed. */
GLOBAL(entry_SYSENTER_compat_after_hwframe)
	movl	%eax, %eax			/* the number is 32 bits wide */
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	$-ENOSYS			/* RAX, until the call has a result */
	pushq	$0				/* R8 to R15: a 32-bit program has none */
	xorl	%r8d, %r8d
	pushq	$0
	xorl	%r9d, %r9d
	pushq	$0
	xorl	%r10d, %r10d
	pushq	$0
	xorl	%r11d, %r11d
	pushq	%rbx
	xorl	%ebx, %ebx
	pushq	%rbp				/* C replaces it by the word at the user's RSP */
	xorl	%ebp, %ebp
	pushq	$0
	xorl	%r12d, %r12d
	pushq	$0
	xorl	%r13d, %r13d
	pushq	$0
	xorl	%r14d, %r14d
	pushq	$0
	xorl	%r15d, %r15d
	cld

	/*
	 * NT would make the next IRET a task return, AC would open SMAP, and TF
	 * has been trapping at every instruction so far.  All three are rare.
	 */
	testl	$(X86_EFLAGS_NT|X86_EFLAGS_AC|X86_EFLAGS_TF), EFLAGS(%rsp)
	jnz	.Lsysenter_fix_flags
.Lsysenter_flags_fixed:

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
/* Up to here the #DB handler takes a single step for one of SYSENTER with TF set. */
GLOBAL(__end_entry_SYSENTER_compat)
END(entry_SYSENTER_compat)

/* ---- SYSCALL from 32-bit code -------------------------------------------------- */

/* RCX and R11 as for 64-bit code; the second argument comes in EBP, which C fetches. */
ENTRY(entry_SYSCALL_compat)
	swapgs
	movl	%esp, %r8d			/* R8 is nobody's: keeps the user's ESP */
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp

	pushq	$__USER32_DS
	pushq	%r8
	pushq	%r11
	pushq	$__USER32_CS
	pushq	%rcx
/* Xen PV comes in here, with a frame that Xen has pushed. */
GLOBAL(entry_SYSCALL_compat_after_hwframe)
	movl	%eax, %eax
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	xorl	%esi, %esi
	pushq	%rdx
	xorl	%edx, %edx
	pushq	%rbp				/* the RCX slot: ECX was lost to SYSCALL */
	xorl	%ecx, %ecx
	pushq	$-ENOSYS
	pushq	$0
	xorl	%r8d, %r8d
	pushq	$0
	xorl	%r9d, %r9d
	pushq	$0
	xorl	%r10d, %r10d
	pushq	$0
	xorl	%r11d, %r11d
	pushq	%rbx
	xorl	%ebx, %ebx
	pushq	%rbp
	xorl	%ebp, %ebp
	pushq	$0
	xorl	%r12d, %r12d
	pushq	$0
	xorl	%r13d, %r13d
	pushq	$0
	xorl	%r14d, %r14d
	pushq	$0
	xorl	%r15d, %r15d

	movq	%rsp, %rdi
	call	do_fast_syscall_32
.if X86_FEATURE_XENPV
	jmp	swapgs_restore_regs_and_return_to_usermode
.else
	testl	%eax, %eax
	jz	swapgs_restore_regs_and_return_to_usermode
.endif

/*
 * SYSRET to 32-bit code, for both.  The stack it needs last is the task's, which
 * the user's page tables do not map: first RSP, then CR3.  RCX and R11 are not
 * what pt_regs says, and R12 to R15 not written: the vDSO's caller cannot tell.
 */
sysret32_from_system_call:
	movq	RBX(%rsp), %rbx
	movq	RBP(%rsp), %rbp
	movq	EFLAGS(%rsp), %r11
	movq	RIP(%rsp), %rcx
	addq	$RAX, %rsp
	popq	%rax
	popq	%rdx				/* the RCX slot */
	popq	%rdx
	popq	%rsi
	popq	%rdi
	movq	RSP-ORIG_RAX(%rsp), %rsp
	SWITCH_TO_USER_CR3_NOSTACK scratch_reg=%r8 scratch_reg2=%r9
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	swapgs
	sysretl
END(entry_SYSCALL_compat)

/* ---- INT $0x80, from 32-bit and from 64-bit code --------------------------------- */

ENTRY(entry_INT80_compat)
	ASM_CLAC
	SWAPGS					/* the gate is used by user mode only */
	movl	%eax, %eax			/* the number is 32 bits wide */
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rdi

.if X86_FEATURE_XENPV
	/* Xen delivered on the task stack already */
	jmp	.Lint80_keep_stack
.else
	movq	%rsp, %rdi
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp
	pushq	6*8(%rdi)			/* SS */
	pushq	5*8(%rdi)			/* RSP */
	pushq	4*8(%rdi)			/* RFLAGS */
	pushq	3*8(%rdi)			/* CS */
	pushq	2*8(%rdi)			/* RIP */
	pushq	1*8(%rdi)			/* ORIG_RAX */
	pushq	(%rdi)				/* RDI */
.endif
.Lint80_keep_stack:
	pushq	%rsi
	xorl	%esi, %esi
	pushq	%rdx
	xorl	%edx, %edx
	pushq	%rcx
	xorl	%ecx, %ecx
	pushq	$-ENOSYS			/* RAX, until the call has a result */
	pushq	%r8
	xorl	%r8d, %r8d
	pushq	%r9
	xorl	%r9d, %r9d
	pushq	%r10
	xorl	%r10d, %r10d
	pushq	%r11
	xorl	%r11d, %r11d
	pushq	%rbx
	xorl	%ebx, %ebx
	pushq	%rbp
	xorl	%ebp, %ebp
	pushq	%r12
	xorl	%r12d, %r12d
	pushq	%r13
	xorl	%r13d, %r13d
	pushq	%r14
	xorl	%r14d, %r14d
	pushq	%r15
	xorl	%r15d, %r15d
	cld

	movq	%rsp, %rdi
	call	do_int80_syscall_32
	jmp	swapgs_restore_regs_and_return_to_usermode
END(entry_INT80_compat)
.endif

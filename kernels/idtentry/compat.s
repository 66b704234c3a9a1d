/*
 * System calls of 32-bit programs: SYSENTER, SYSCALL and INT $0x80 (which
 * 64-bit code may execute, too).
 *
 * Models: arch/x86/entry/entry_64_compat.S and the compat targets of
 * arch/x86/xen/xen-asm_64.S, Linux 5.2 and 5.3.
 *
 * SYSENTER and SYSCALL are executed by the vDSO only, which passes the user's
 * stack pointer (SYSENTER) or ECX (SYSCALL) in EBP, and EBP itself on the user's
 * stack; the C function makes it look like INT $0x80 at the landing pad.
 */

/* Registers that 32-bit code does not have: nothing is to come of them. */
.macro PUSH_ZERO_AND_CLEAR reg:req low:req
	pushq	$0
	xorl	\low, \low
.endm

.if IA32_EMULATION
/*
 * The processor loads RIP, RSP, CS and SS and clears IF; it tells nobody where
 * the program was.  Xen comes here, too, with RSP anything.
 */
ENTRY(entry_SYSENTER_compat)
	SWAPGS
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	PER_CPU_VAR(cpu_tss_rw + TSS_sp1), %rsp

	movl	%eax, %eax			/* the number is 32 bits wide */

	pushq	$__USER32_DS
	pushq	%rbp				/* RSP, as the vDSO passes it */
	pushfq
	orl	$X86_EFLAGS_IF, (%rsp)		/* SYSENTER has cleared it */
	pushq	$__USER32_CS
	pushq	$0				/* RIP: C knows the landing pad */
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	xorl	%esi, %esi
	pushq	%rdx
	xorl	%edx, %edx
	pushq	%rcx
	xorl	%ecx, %ecx
	pushq	$-ENOSYS			/* RAX, until the call has a result */
	PUSH_ZERO_AND_CLEAR %r8, %r8d
	PUSH_ZERO_AND_CLEAR %r9, %r9d
	PUSH_ZERO_AND_CLEAR %r10, %r10d
	PUSH_ZERO_AND_CLEAR %r11, %r11d
	pushq	%rbx
	xorl	%ebx, %ebx
	pushq	%rbp				/* C replaces it */
	xorl	%ebp, %ebp
	PUSH_ZERO_AND_CLEAR %r12, %r12d
	PUSH_ZERO_AND_CLEAR %r13, %r13d
	PUSH_ZERO_AND_CLEAR %r14, %r14d
	PUSH_ZERO_AND_CLEAR %r15, %r15d
	cld

	/*
	 * SYSENTER leaves NT, AC and TF as the user had them: NT makes the next
	 * IRET fault, AC switches SMAP off.  With TF every instruction up to here
	 * has trapped.
	 */
	testl	$(X86_EFLAGS_NT|X86_EFLAGS_AC|X86_EFLAGS_TF), EFLAGS(%rsp)
	jnz	.Lsysenter_fix_flags
.Lsysenter_flags_fixed:
	TRACE_IRQS_OFF

	movq	%rsp, %rdi
	call	do_fast_syscall_32
.if X86_FEATURE_XENPV
	jmp	syscall_32_done		/* a PV guest has IRET only */
.else
	testl	%eax, %eax
	jz	syscall_32_done
.endif
	jmp	sysret32_from_system_call

.Lsysenter_fix_flags:
	pushq	$X86_EFLAGS_FIXED
	popfq
	jmp	.Lsysenter_flags_fixed
GLOBAL(__end_entry_SYSENTER_compat)
END(entry_SYSENTER_compat)

/*
 * ECX is the return address, R11 the flags: only AMD has SYSCALL in 32-bit
 * code.  R8 is free to keep ESP, 32-bit code has none.
 */
ENTRY(entry_SYSCALL_compat)
	swapgs
	movl	%esp, %r8d
	SWITCH_TO_KERNEL_CR3 scratch_reg=%rsp
	movq	PER_CPU_VAR(cpu_tss_rw + TSS_sp1), %rsp

	pushq	$__USER32_DS
	pushq	%r8				/* RSP */
	pushq	%r11
	pushq	$__USER32_CS
	pushq	%rcx
/* Xen PV comes in here, with a frame that Xen has pushed. */
GLOBAL(entry_SYSCALL_compat_after_hwframe)
	movl	%eax, %eax			/* the number is 32 bits wide */
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	xorl	%esi, %esi
	pushq	%rdx
	xorl	%edx, %edx
	pushq	%rbp				/* RCX, as the vDSO passes it */
	xorl	%ecx, %ecx
	pushq	$-ENOSYS			/* RAX, until the call has a result */
	PUSH_ZERO_AND_CLEAR %r8, %r8d
	PUSH_ZERO_AND_CLEAR %r9, %r9d
	PUSH_ZERO_AND_CLEAR %r10, %r10d
	PUSH_ZERO_AND_CLEAR %r11, %r11d
	pushq	%rbx
	xorl	%ebx, %ebx
	pushq	%rbp				/* C replaces it */
	xorl	%ebp, %ebp
	PUSH_ZERO_AND_CLEAR %r12, %r12d
	PUSH_ZERO_AND_CLEAR %r13, %r13d
	PUSH_ZERO_AND_CLEAR %r14, %r14d
	PUSH_ZERO_AND_CLEAR %r15, %r15d
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
 * To the landing pad, which needs no ECX: SYSRET puts RIP there.  R8 to R10
 * must not keep what C left in them; R12 to R15 are zero still.
 */
GLOBAL(sysret32_from_system_call)
	TRACE_IRQS_ON
	movq	RBX(%rsp), %rbx
	movq	RBP(%rsp), %rbp
	movq	EFLAGS(%rsp), %r11
	movq	RIP(%rsp), %rcx
	addq	$RAX, %rsp			/* R15 to R8 */
	popq	%rax
	popq	%rdx				/* RCX */
	popq	%rdx
	popq	%rsi
	popq	%rdi
	movq	RSP-ORIG_RAX(%rsp), %rsp	/* the last look at the task stack */
	SWITCH_TO_USER_CR3_NOSTACK scratch_reg=%r8 scratch_reg2=%r9
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	swapgs
	sysretl
END(entry_SYSCALL_compat)

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
	movq	PER_CPU_VAR(cpu_tss_rw + TSS_sp1), %rsp
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

	TRACE_IRQS_OFF
	movq	%rsp, %rdi
	call	do_int80_syscall_32
GLOBAL(syscall_32_done)
	TRACE_IRQS_ON
	jmp	swapgs_restore_regs_and_return_to_usermode
END(entry_INT80_compat)

.if XEN_PV
/* Xen shows its own flat selectors here, too. */
ENTRY(xen_syscall32_target)
	popq	%rcx
	popq	%r11
	movq	$__USER32_DS, 4*8(%rsp)
	movq	$__USER32_CS, 1*8(%rsp)
	jmp	entry_SYSCALL_compat_after_hwframe
END(xen_syscall32_target)

/* The frame says nothing that SYSENTER would not have lost. */
ENTRY(xen_sysenter_target)
	movq	0*8(%rsp), %rcx
	movq	1*8(%rsp), %r11
	movq	5*8(%rsp), %rsp
	jmp	entry_SYSENTER_compat
END(xen_sysenter_target)
.endif

.elseif XEN_PV
/* Neither has anywhere to go. */
ENTRY(xen_syscall32_target)
GLOBAL(xen_sysenter_target)
	leaq	16(%rsp), %rsp			/* RCX and R11 */
	movq	$-ENOSYS, %rax
	pushq	$0
	jmp	hypercall_iret
END(xen_syscall32_target)
.endif

/*
 * System calls of 32-bit code: SYSENTER, SYSCALL and INT $0x80.
 *
 * Models: arch/x86/entry/entry_64_compat.S; the targets and xen_sysret32 in
 * arch/x86/xen/xen-asm_64.S, Linux 4.4.
 *
 * The first two are for the vDSO only, which keeps what the instruction or the
 * kernel loses on the user's stack and in EBP; the C side puts it back.
 */

/* From R8 down to nothing: 32-bit code has no such registers. */
.macro PUSH_ZEROES count:req
	.rept	\count
	pushq	%r8
	.endr
.endm

.if IA32_EMULATION

/*
 * SYSENTER keeps neither RIP nor RSP nor the flags: EBP holds the stack
 * pointer, and the return address is the vDSO's landing pad, which C knows.
 */
ENTRY(entry_SYSENTER_compat)
	SWAPGS_UNSAFE_STACK
	movq	PER_CPU_VAR(cpu_tss + TSS_sp0), %rsp

	movl	%eax, %eax			/* the number is 32 bits wide */
	pushq	$__USER32_DS
	pushq	%rbp				/* RSP */
	pushfq
	orl	$X86_EFLAGS_IF, (%rsp)		/* SYSENTER has cleared it */
	ASM_CLAC				/* but not AC */
	pushq	$__USER32_CS
	xorq	%r8, %r8
	pushq	%r8				/* RIP, until C knows better */
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	$-ENOSYS			/* RAX, until the call has a result */
	PUSH_ZEROES 4				/* R8 to R11 */
	pushq	%rbx
	pushq	%rbp				/* C replaces it */
	PUSH_ZEROES 4				/* R12 to R15 */
	cld

	/* an IRET with NT set would fault; before interrupts are on */
	testl	$X86_EFLAGS_NT, EFLAGS(%rsp)
	jnz	sysenter_fix_flags
sysenter_flags_fixed:
	TRACE_IRQS_OFF
	movq	%rsp, %rdi
	call	do_fast_syscall_32
	testl	%eax, %eax			/* 0: only IRET can return */
	jz	syscall_32_done
	jmp	sysret32_from_system_call

sysenter_fix_flags:
	pushq	$X86_EFLAGS_FIXED
	popfq
	jmp	sysenter_flags_fixed
END(entry_SYSENTER_compat)

/* RCX is the return address, R11 the flags; EBP holds what was in ECX. */
ENTRY(entry_SYSCALL_compat)
	SWAPGS_UNSAFE_STACK
	movl	%esp, %r8d			/* the user's, in a register that 32-bit code has not */
	movq	PER_CPU_VAR(cpu_tss + TSS_sp0), %rsp

	movl	%eax, %eax
	pushq	$__USER32_DS
	pushq	%r8				/* RSP */
	pushq	%r11				/* RFLAGS */
	pushq	$__USER32_CS
	pushq	%rcx				/* RIP */
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rbp				/* RCX */
	pushq	$-ENOSYS
	xorq	%r8, %r8
	PUSH_ZEROES 4
	pushq	%rbx
	pushq	%rbp				/* C replaces it */
	PUSH_ZEROES 4

	TRACE_IRQS_OFF
	movq	%rsp, %rdi
	call	do_fast_syscall_32
	testl	%eax, %eax
	jz	syscall_32_done

	/*
	 * SYSRET to 32-bit code, for SYSENTER as well: SYSEXIT would need STI
	 * before it, and an NMI could come between the two.
	 */
sysret32_from_system_call:
	TRACE_IRQS_ON
	movq	RBX(%rsp), %rbx
	movq	RBP(%rsp), %rbp
	movq	EFLAGS(%rsp), %r11
	movq	RIP(%rsp), %rcx			/* the landing pad restores RCX */
	addq	$RAX, %rsp			/* over R15 to R8 */
	popq	%rax
	popq	%rdx				/* RCX */
	popq	%rdx
	popq	%rsi
	popq	%rdi
	xorq	%r8, %r8
	xorq	%r9, %r9
	xorq	%r10, %r10
	movq	RSP-ORIG_RAX(%rsp), %rsp
	USERGS_SYSRET32
END(entry_SYSCALL_compat)

/* From 32-bit and from 64-bit code; no CLAC. */
ENTRY(entry_INT80_compat)
	PARAVIRT_ADJUST_EXCEPTION_FRAME
	SWAPGS					/* the gate is used by user mode only */
	movl	%eax, %eax
	pushq	%rax				/* ORIG_RAX */
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	$-ENOSYS
	xorq	%r8, %r8
	PUSH_ZEROES 4				/* lost to 64-bit code too */
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld

	TRACE_IRQS_OFF
	movq	%rsp, %rdi
	call	do_syscall_32_irqs_off
GLOBAL(syscall_32_done)
	TRACE_IRQS_ON
	SWAPGS
	jmp	restore_regs_and_iret
END(entry_INT80_compat)

.if XEN_PV
ENTRY(xen_syscall32_target)
	undo_xen_syscall
	jmp	entry_SYSCALL_compat
END(xen_syscall32_target)

ENTRY(xen_sysenter_target)
	undo_xen_syscall
	jmp	entry_SYSENTER_compat
END(xen_sysenter_target)

/* In place of SYSRET to 32-bit code; a full return, so that the selectors count. */
ENTRY(xen_sysret32)
	movq	%rsp, PER_CPU_VAR(rsp_scratch)
	movq	PER_CPU_VAR(cpu_tss + TSS_sp0), %rsp
	pushq	$__USER32_DS
	pushq	PER_CPU_VAR(rsp_scratch)
	pushq	%r11
	pushq	$__USER32_CS
	pushq	%rcx
	pushq	$0
	jmp	hypercall_iret
END(xen_sysret32)
.endif

.else

.if XEN_PV
/* No such calls: says so and returns. */
ENTRY(xen_syscall32_target)
	leaq	16(%rsp), %rsp			/* RCX and R11 */
	movq	$-ENOSYS, %rax
	pushq	$0
	jmp	hypercall_iret
END(xen_syscall32_target)

ENTRY(xen_sysenter_target)
	leaq	16(%rsp), %rsp
	movq	$-ENOSYS, %rax
	pushq	$0
	jmp	hypercall_iret
END(xen_sysenter_target)
.endif

/* What the MSR of 32-bit SYSCALL points at without the emulation. */
ENTRY(ignore_sysret)
	movl	$-ENOSYS, %eax
	sysretl
END(ignore_sysret)
.endif

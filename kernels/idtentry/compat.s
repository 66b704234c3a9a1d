/*
 * INT $0x80, from 32-bit and from 64-bit code.
 *
 * Models: entry_INT80_compat in arch/x86/entry/entry_64_compat.S, Linux 5.2
 * and 5.3.
 */

.if IA32_EMULATION
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
	TRACE_IRQS_ON
	jmp	swapgs_restore_regs_and_return_to_usermode
END(entry_INT80_compat)
.endif

/*
 * Parts of C handlers that belong to the entry: debug registers, CR2 and the
 * latch of NMIs, the switch to the interrupt stack, the handlers of a PV guest.
 *
 * Models: exc_nmi in arch/x86/kernel/nmi.c; exc_debug and its kin in
 * arch/x86/kernel/traps.c; exc_machine_check in
 * arch/x86/kernel/cpu/mce/core.c; common_interrupt and system vectors as
 * arch/x86/include/asm/{idtentry,irq_stack}.h make them;
 * xen_pv_evtchn_do_upcall in arch/x86/entry/common.c; the xenpv_ handlers of
 * arch/x86/xen/enlighten_pv.c, Linux 6.1.  The instructions are ours: a compiler
 * chose others, with the same reads, writes and calls in the same order.
 */

.set DR7_FIXED_1, 0x400
.set DR6_RESERVED, 0xffff0ff0
.set DR_GLOBAL_ENABLE_MASK, 0xaa

.set NMI_NOT_RUNNING, 0
.set NMI_EXECUTING, 1
.set NMI_LATCHED, 2

/* ---- paravirt operations that differ ------------------------------------------- */

/* CR2 into RAX. */
.macro READ_CR2
.if PLATFORM_XEN_PV
	call	xen_read_cr2_direct
.else
	movq	%cr2, %rax
.endif
.endm

/* RDI into CR2. */
.macro WRITE_CR2
.if PLATFORM_XEN_PV
	movq	PER_CPU_VAR(xen_vcpu), %rax
	movq	%rdi, XEN_vcpu_info_arch_cr2(%rax)
.else
	movq	%rdi, %cr2
.endif
.endm

/* ---- breakpoints off while a handler must not be interrupted by one --------------- */

/*
 * DR7 into RAX, 0 if no breakpoint is set; then it is cleared.  Under a
 * hypervisor the register is expensive: a per-CPU copy says whether to look.
 */
.macro LOCAL_DB_SAVE
.if PLATFORM_XEN_PV
	xorl	%eax, %eax
	testb	$DR_GLOBAL_ENABLE_MASK, PER_CPU_VAR(cpu_dr7)
	jz	.Ldb_saved_\@
	movl	$7, %edi
	call	xen_get_debugreg
	andq	$~DR7_FIXED_1, %rax
	jz	.Ldb_saved_\@
	pushq	%rax
	movl	$7, %edi
	xorl	%esi, %esi
	call	xen_set_debugreg
	popq	%rax
.else
	movq	%db7, %rax
	andq	$~DR7_FIXED_1, %rax
	jz	.Ldb_saved_\@
	xorl	%edx, %edx
	movq	%rdx, %db7
.endif
.Ldb_saved_\@:
.endm

/* From RDI. */
.macro LOCAL_DB_RESTORE
	testq	%rdi, %rdi
	jz	.Ldb_restored_\@
.if PLATFORM_XEN_PV
	movq	%rdi, %rsi
	movl	$7, %edi
	call	xen_set_debugreg
.else
	movq	%rdi, %db7
.endif
.Ldb_restored_\@:
.endm

/* What the trap was about, into RAX; the register goes back to nothing. */
.macro DEBUG_READ_CLEAR_DR6
.if PLATFORM_XEN_PV
	movl	$6, %edi
	call	xen_get_debugreg
	pushq	%rax
	movl	$6, %edi
	movl	$DR6_RESERVED, %esi
	call	xen_set_debugreg
	popq	%rax
.else
	movq	%db6, %rax
	movl	$DR6_RESERVED, %edx
	movq	%rdx, %db6
.endif
	movl	$DR6_RESERVED, %edx
	xorq	%rdx, %rax
.endm

/* ---- NMI ------------------------------------------------------------------------------ */

/*
 * RDI is pt_regs.  An NMI that comes while one runs on this CPU is only noted;
 * the first runs its handler once more.  CR2 is kept: the NMI may have come
 * before a page-fault handler had read it, and its own code may fault.
 */
ENTRY(exc_nmi)
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx

	cmpl	$NMI_NOT_RUNNING, PER_CPU_VAR(nmi_state)
	je	.Lnmi_run
	movl	$NMI_LATCHED, PER_CPU_VAR(nmi_state)
	jmp	.Lnmi_done
.Lnmi_run:
	movl	$NMI_EXECUTING, PER_CPU_VAR(nmi_state)
	READ_CR2
	movq	%rax, PER_CPU_VAR(nmi_cr2)

.Lnmi_restart:
	LOCAL_DB_SAVE
	movq	%rax, PER_CPU_VAR(nmi_dr7)
	movq	%rbx, %rdi
	call	irqentry_nmi_enter
	movl	%eax, %r12d

	movq	%rbx, %rdi
	call	default_do_nmi

	movq	%rbx, %rdi
	movl	%r12d, %esi
	call	irqentry_nmi_exit
	movq	PER_CPU_VAR(nmi_dr7), %rdi
	LOCAL_DB_RESTORE

	READ_CR2
	movq	PER_CPU_VAR(nmi_cr2), %rdi
	cmpq	%rax, %rdi
	je	.Lnmi_cr2_kept
	WRITE_CR2
.Lnmi_cr2_kept:
	decl	PER_CPU_VAR(nmi_state)
	jnz	.Lnmi_restart			/* it was latched */
.Lnmi_done:
	popq	%r12
	popq	%rbx
	RET
END(exc_nmi)

/* ---- #DB ------------------------------------------------------------------------------ */

/* From the kernel, in any state: as careful as an NMI. */
ENTRY(exc_debug)
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	movq	%rdi, %rbx
	DEBUG_READ_CLEAR_DR6
	movq	%rax, %r13
	LOCAL_DB_SAVE
	movq	%rax, %r12
	movq	%rbx, %rdi
	call	irqentry_nmi_enter
	pushq	%rax

	movq	%rbx, %rdi
	movq	%r13, %rsi
	call	exc_debug_kernel

	movq	%rbx, %rdi
	popq	%rsi
	call	irqentry_nmi_exit
	movq	%r12, %rdi
	LOCAL_DB_RESTORE
	popq	%r13
	popq	%r12
	popq	%rbx
	RET
END(exc_debug)

/* From user mode: an ordinary exception. */
ENTRY(noist_exc_debug)
	pushq	%rbx
	movq	%rdi, %rbx
	DEBUG_READ_CLEAR_DR6
	movq	%rbx, %rdi
	movq	%rax, %rsi
	call	exc_debug_user
	popq	%rbx
	RET
END(noist_exc_debug)

/* ---- #MC ------------------------------------------------------------------------------ */

.if X86_MCE
ENTRY(exc_machine_check)
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	LOCAL_DB_SAVE
	movq	%rax, %r12
	movq	%rbx, %rdi
	call	exc_machine_check_kernel
	movq	%r12, %rdi
	LOCAL_DB_RESTORE
	popq	%r12
	popq	%rbx
	RET
END(exc_machine_check)

ENTRY(noist_exc_machine_check)
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	LOCAL_DB_SAVE
	movq	%rax, %r12
	movq	%rbx, %rdi
	call	exc_machine_check_user
	movq	%r12, %rdi
	LOCAL_DB_RESTORE
	popq	%r12
	popq	%rbx
	RET
END(noist_exc_machine_check)
.endif

/* ---- the interrupt stack ----------------------------------------------------------------- */

/*
 * Calls FUNC with pt_regs from RBX, and the vector from R12D if it wants one.
 * From user mode the task stack is empty, and a nested interrupt is on the
 * interrupt stack already: no switch.  The word at the top of the interrupt
 * stack links back to the old one, for unwinders and for the way back.
 */
.macro RUN_ON_IRQSTACK_COND func:req vector=0
	testb	$3, CS(%rbx)
	jnz	.Lirq_same_stack_\@
	cmpb	$0, PER_CPU_VAR(hardirq_stack_inuse)
	jne	.Lirq_same_stack_\@

	movb	$1, PER_CPU_VAR(hardirq_stack_inuse)
	movq	PER_CPU_VAR(hardirq_stack_ptr), %rcx
	movq	%rsp, (%rcx)
	movq	%rcx, %rsp
	call	irq_enter_rcu
	movq	%rbx, %rdi
.if \vector
	movl	%r12d, %esi
.endif
	call	\func
	call	irq_exit_rcu
	popq	%rsp
	movb	$0, PER_CPU_VAR(hardirq_stack_inuse)
	jmp	.Lirq_ran_\@

.Lirq_same_stack_\@:
	call	irq_enter_rcu
	movq	%rbx, %rdi
.if \vector
	movl	%r12d, %esi
.endif
	call	\func
	call	irq_exit_rcu
.Lirq_ran_\@:
.endm

/* The body of a device interrupt's handler: RDI is pt_regs, RSI the vector with the sign of a byte. */
.macro IDTENTRY_IRQ_BODY func:req
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	movq	%rdi, %rbx
	movzbl	%sil, %r12d
	call	irqentry_enter
	movl	%eax, %r13d
	RUN_ON_IRQSTACK_COND \func, vector=1
	movq	%rbx, %rdi
	movl	%r13d, %esi
	call	irqentry_exit
	popq	%r13
	popq	%r12
	popq	%rbx
	RET
.endm

/* The same for a vector with a handler of its own. */
.macro IDTENTRY_SYSVEC_BODY func:req
	pushq	%rbx
	pushq	%r13
	pushq	%rbp
	movq	%rdi, %rbx
	call	irqentry_enter
	movl	%eax, %r13d
	RUN_ON_IRQSTACK_COND \func
	movq	%rbx, %rdi
	movl	%r13d, %esi
	call	irqentry_exit
	popq	%rbp
	popq	%r13
	popq	%rbx
	RET
.endm

ENTRY(common_interrupt)
	IDTENTRY_IRQ_BODY __common_interrupt
END(common_interrupt)

ENTRY(spurious_interrupt)
	IDTENTRY_IRQ_BODY __spurious_interrupt
END(spurious_interrupt)

ENTRY(sysvec_apic_timer_interrupt)
	IDTENTRY_SYSVEC_BODY __sysvec_apic_timer_interrupt
END(sysvec_apic_timer_interrupt)

/* ---- Xen PV ------------------------------------------------------------------------------- */

.if XEN_PV
/*
 * Without preemption a long hypercall made for a program may be interrupted
 * and rescheduled here: the mark that one runs is taken off meanwhile.
 */
ENTRY(xen_pv_evtchn_do_upcall)
.if PREEMPT
	IDTENTRY_SYSVEC_BODY __xen_pv_evtchn_do_upcall
.else
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	movq	%rdi, %rbx
	call	irqentry_enter
	movl	%eax, %r13d
	RUN_ON_IRQSTACK_COND __xen_pv_evtchn_do_upcall
	movzbl	PER_CPU_VAR(xen_in_preemptible_hcall), %r12d
	movb	$0, PER_CPU_VAR(xen_in_preemptible_hcall)
	testl	%r12d, %r12d
	jz	.Lupcall_exit
	call	irqentry_exit_cond_resched
	movb	%r12b, PER_CPU_VAR(xen_in_preemptible_hcall)
	jmp	.Lupcall_done
.Lupcall_exit:
	movq	%rbx, %rdi
	movl	%r13d, %esi
	call	irqentry_exit
.Lupcall_done:
	popq	%r13
	popq	%r12
	popq	%rbx
	RET
.endif
END(xen_pv_evtchn_do_upcall)

/* One stub for both modes: a PV guest has no IST, and C looks at CS instead. */
ENTRY(xenpv_exc_debug)
	testb	$3, CS(%rdi)
	jnz	noist_exc_debug
	jmp	exc_debug
END(xenpv_exc_debug)

ENTRY(xenpv_exc_nmi)
	jmp	exc_nmi
END(xenpv_exc_nmi)

.if X86_MCE
ENTRY(xenpv_exc_machine_check)
	testb	$3, CS(%rdi)
	jnz	noist_exc_machine_check
	jmp	exc_machine_check
END(xenpv_exc_machine_check)
.endif
.endif

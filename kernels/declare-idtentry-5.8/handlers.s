/*
 * C functions whose way matters to entry code, as a compiler makes them: NMIs
 * that latch each other, breakpoints switched off, the switch to the interrupt
 * stack, the dispatch of a PV guest.  What they call is modelled (kernel.json).
 *
 * Models: arch/x86/kernel/{nmi,traps,irq}.c, arch/x86/kernel/apic/apic.c,
 * arch/x86/kernel/cpu/mce/core.c, arch/x86/entry/common.c,
 * arch/x86/include/asm/{idtentry,irq_stack,debugreg}.h,
 * arch/x86/xen/enlighten_pv.c, Linux 5.8.
 */

/* ---- NMI ----------------------------------------------------------------------- */

.set NMI_NOT_RUNNING, 0
.set NMI_EXECUTING, 1
.set NMI_LATCHED, 2

/*
 * An NMI inside the first one only leaves a note; the first runs again for it.
 * Page faults of the handler, and what it traces, must not cost the code below
 * its fault address, nor may a breakpoint open NMIs.
 */
ENTRY(exc_nmi)
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	cmpl	$NMI_NOT_RUNNING, PER_CPU_VAR(nmi_state)
	je	.Lnmi_run
	movl	$NMI_LATCHED, PER_CPU_VAR(nmi_state)
	popq	%r12
	popq	%rbx
	ret

.Lnmi_run:
	movl	$NMI_EXECUTING, PER_CPU_VAR(nmi_state)
	READ_CR2
	movq	%rax, PER_CPU_VAR(nmi_cr2)
.Lnmi_restart:
	LOCAL_DB_SAVE %r12
	movq	%r12, PER_CPU_VAR(nmi_dr7)
	call	nmi_enter
	movq	%rbx, %rdi
	call	default_do_nmi
	call	nmi_exit
	movq	PER_CPU_VAR(nmi_dr7), %r12
	LOCAL_DB_RESTORE %r12

	READ_CR2
	movq	PER_CPU_VAR(nmi_cr2), %rdi
	cmpq	%rax, %rdi
	je	.Lnmi_same_cr2
	WRITE_CR2
.Lnmi_same_cr2:
	decl	PER_CPU_VAR(nmi_state)
	jnz	.Lnmi_restart
	popq	%r12
	popq	%rbx
	ret
END(exc_nmi)

.if XEN_PV
/* No IST, no protocol: the C part is that of bare metal. */
ENTRY(xenpv_exc_nmi)
	jmp	exc_nmi
END(xenpv_exc_nmi)
.endif

/* ---- #DB ------------------------------------------------------------------------ */

/*
 * From the kernel, on the IST stack: one #DB inside another would overwrite its
 * frame, so breakpoints are off for as long as this one runs.
 */
ENTRY(exc_debug)
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	movq	%rdi, %rbx
	LOCAL_DB_SAVE %r12
	READ_AND_CLEAR_DR6
	movq	%rbx, %rdi
	call	exc_debug_kernel
	LOCAL_DB_RESTORE %r12
	popq	%r13
	popq	%r12
	popq	%rbx
	ret
END(exc_debug)

/* From user mode, on the task stack. */
ENTRY(noist_exc_debug)
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	movq	%rdi, %rbx
	LOCAL_DB_SAVE %r12
	READ_AND_CLEAR_DR6
	movq	%rbx, %rdi
	call	exc_debug_user
	LOCAL_DB_RESTORE %r12
	popq	%r13
	popq	%r12
	popq	%rbx
	ret
END(noist_exc_debug)

.if XEN_PV
/* One stub for both modes: the body is chosen here. */
ENTRY(xenpv_exc_debug)
	testb	$3, CS(%rdi)
	jnz	noist_exc_debug
	jmp	exc_debug
END(xenpv_exc_debug)
.endif

/* ---- #MC ------------------------------------------------------------------------ */

.if X86_MCE
ENTRY(exc_machine_check)
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	LOCAL_DB_SAVE %r12
	movq	%rbx, %rdi
	call	exc_machine_check_kernel
	LOCAL_DB_RESTORE %r12
	popq	%r12
	popq	%rbx
	ret
END(exc_machine_check)

ENTRY(noist_exc_machine_check)
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	LOCAL_DB_SAVE %r12
	movq	%rbx, %rdi
	call	exc_machine_check_user
	LOCAL_DB_RESTORE %r12
	popq	%r12
	popq	%rbx
	ret
END(noist_exc_machine_check)
.endif

/* ---- interrupts -------------------------------------------------------------------- */

/*
 * run_on_irqstack_cond(): events of user mode stay on the task stack, which is
 * empty; those of the kernel go to the per-CPU interrupt stack unless they are
 * there already.  irq_count is -1 while it is free.  RBX: pt_regs.
 */
.macro run_on_irqstack_cond func:req arg:req
	testb	$3, CS(%rbx)
	jnz	.Lon_this_stack_\@
	cmpl	$-1, PER_CPU_VAR(irq_count)
	jne	.Lon_this_stack_\@
	movq	PER_CPU_VAR(hardirq_stack_ptr), %rdi
	incl	PER_CPU_VAR(irq_count)
	subq	$8, %rdi			/* the word that links back */
	movq	$\func, %rsi
	movq	\arg, %rdx
	call	asm_call_on_stack
	decl	PER_CPU_VAR(irq_count)
	jmp	.Lran_on_irqstack_\@
.Lon_this_stack_\@:
	movq	\arg, %rdi
	call	\func
.Lran_on_irqstack_\@:
.endm

/* RBP: the vector.  Its descriptor, which the flow handler gets, is what the vector stands for. */
ENTRY(common_interrupt)
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	movq	%rdi, %rbx
	movzbl	%sil, %ebp
	call	idtentry_enter_cond_rcu
	movl	%eax, %r12d
	call	irq_enter_rcu
	movq	%rbx, %rdi
	movl	%ebp, %esi
	call	__common_interrupt		/* finds the descriptor */
	run_on_irqstack_cond handle_edge_irq, %rbp
	call	irq_exit_rcu
	movq	%rbx, %rdi
	movl	%r12d, %esi
	call	idtentry_exit_cond_rcu
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
END(common_interrupt)

ENTRY(sysvec_apic_timer_interrupt)
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	call	idtentry_enter_cond_rcu
	movl	%eax, %r12d
	call	irq_enter_rcu
	run_on_irqstack_cond __sysvec_apic_timer_interrupt, %rbx
	call	irq_exit_rcu
	movq	%rbx, %rdi
	movl	%r12d, %esi
	call	idtentry_exit_cond_rcu
	popq	%r12
	popq	%rbx
	ret
END(sysvec_apic_timer_interrupt)

.if XEN_PV
/*
 * The function on the interrupt stack takes no argument: it finds pt_regs where
 * set_irq_regs() puts them.  A hypercall that a task makes for its program may
 * be preempted although the kernel is not preemptible.
 */
ENTRY(xen_pv_evtchn_do_upcall)
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	movq	%rdi, %rbx
	call	idtentry_enter_cond_rcu
	movl	%eax, %r12d
	movq	PER_CPU_VAR(irq_regs), %rbp
	movq	%rbx, %rdi
	call	set_irq_regs
	run_on_irqstack_cond __xen_pv_evtchn_do_upcall, $0
	movq	%rbp, PER_CPU_VAR(irq_regs)
.if PREEMPT == 0
	movzbl	PER_CPU_VAR(xen_in_preemptible_hcall), %ebp
	movb	$0, PER_CPU_VAR(xen_in_preemptible_hcall)
	testl	%ebp, %ebp
	jz	.Lupcall_exit
	movq	%rbx, %rdi
	movl	$1, %esi
	call	idtentry_exit_cond_resched
	movb	%bpl, PER_CPU_VAR(xen_in_preemptible_hcall)
	jmp	.Lupcall_done
.Lupcall_exit:
.endif
	movq	%rbx, %rdi
	movl	%r12d, %esi
	call	idtentry_exit_cond_rcu
.Lupcall_done:
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
END(xen_pv_evtchn_do_upcall)
.endif

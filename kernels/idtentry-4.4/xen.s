/*
 * What only a Xen PV guest has: the frame fix, returns, callbacks, event masking.
 *
 * Models: arch/x86/xen/xen-asm_64.S, arch/x86/xen/xen-asm.S and the XEN parts
 * of arch/x86/entry/entry_64.S, Linux 4.4; the hypercall page as Xen fills it
 * for 64-bit PV guests.
 */

/* This kernel's stubs take RCX and R11 off themselves: no thunk exists. */
.macro xen_pv_trap name:req
	.error "Linux 4.4 has no thunks for traps of Xen PV"
.endm

.if XEN_PV

/* ---- arriving ----------------------------------------------------------------- */

/*
 * Called as the first thing of a stub: RCX and R11 of the guest lie above the
 * return address.  Fetches them and drops both words on the way back.
 */
ENTRY(xen_adjust_exception_frame)
	movq	8+0(%rsp), %rcx
	movq	8+8(%rsp), %r11
	ret	$16
END(xen_adjust_exception_frame)

/* ---- leaving ---------------------------------------------------------------- */

/* RSP at an IRET frame.  The flags word 0: a full return, no SYSRET. */
ENTRY(xen_iret)
	pushq	$0
	jmp	hypercall_iret
END(xen_iret)

/*
 * Slot 23 of the hypercall page: jumped to, never returns.  Xen reads RAX, R11,
 * RCX, the flags word and the IRET frame from the stack.
 */
ENTRY(hypercall_iret)
	pushq	%rcx
	pushq	%r11
	pushq	%rax
	movl	$__HYPERVISOR_iret, %eax
	syscall
END(hypercall_iret)

/* ---- events ------------------------------------------------------------------ */

/*
 * The handler of the xen_hypervisor_callback stub.  It never returns to the
 * stub: it takes pt_regs as its stack and leaves by error_exit, with the EBX
 * that error_entry has set.
 */
ENTRY(xen_do_hypervisor_callback)
	movq	%rdi, %rsp
	incl	PER_CPU_VAR(irq_count)
	movq	%rsp, %rbp
	cmovzq	PER_CPU_VAR(irq_stack_ptr), %rsp
	pushq	%rbp
	call	xen_evtchn_do_upcall		/* RDI is pt_regs still */
	popq	%rsp
	decl	PER_CPU_VAR(irq_count)
.if !PREEMPT
	call	xen_maybe_preempt_hcall
.endif
	jmp	error_exit
END(xen_do_hypervisor_callback)

/*
 * Xen could not load a data selector of the guest, or (up to 4.6) its IRET on
 * behalf of the guest failed.  Stack: RCX R11 DS ES FS GS and a frame.  Loaded
 * selectors equal to the saved ones: it was the IRET, and returning the same
 * way would come here for ever.
 */
ENTRY(xen_failsafe_callback)
	movl	%ds, %ecx
	cmpw	%cx, 0x10(%rsp)
	jne	.Lfailsafe_segment
	movl	%es, %ecx
	cmpw	%cx, 0x18(%rsp)
	jne	.Lfailsafe_segment
	movl	%fs, %ecx
	cmpw	%cx, 0x20(%rsp)
	jne	.Lfailsafe_segment
	movl	%gs, %ecx
	cmpw	%cx, 0x28(%rsp)
	jne	.Lfailsafe_segment

	movq	(%rsp), %rcx
	movq	8(%rsp), %r11
	addq	$0x30, %rsp
	pushq	$0				/* error code */
	pushq	%r11				/* the stub takes these two off */
	pushq	%rcx
	jmp	general_protection

.Lfailsafe_segment:
	/* Xen loaded null instead: go on, the second try will not fault */
	movq	(%rsp), %rcx
	movq	8(%rsp), %r11
	addq	$0x30, %rsp
	pushq	$-1
	ALLOC_PT_GPREGS_ON_STACK
	SAVE_C_REGS
	SAVE_EXTRA_REGS
	jmp	error_exit			/* by an EBX that nobody has set */
END(xen_failsafe_callback)

/* ---- the interrupt flag of a PV guest: a byte in shared memory ------------------ */

ENTRY(xen_irq_disable_direct)
	movb	$1, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)
	ret
END(xen_irq_disable_direct)

/* An event that came while masked is not delivered by itself: ask for it. */
ENTRY(xen_irq_enable_direct)
	movb	$0, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)
	testb	$0xff, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_pending)
	jz	.Lxen_enable_done
	call	check_events
.Lxen_enable_done:
	ret
END(xen_irq_enable_direct)

/* Interrupt flag as in RFLAGS, in RDI. */
ENTRY(xen_restore_fl_direct)
	testw	$X86_EFLAGS_IF, %di
	setz	PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)
	/* one comparison for both bytes: pending 1, mask 0 */
	cmpw	$0x0001, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_pending)
	jnz	.Lxen_restore_done
	call	check_events
.Lxen_restore_done:
	ret
END(xen_restore_fl_direct)

/* Callers expect every register kept; the hypercall is an ordinary C call. */
ENTRY(check_events)
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	call	xen_force_evtchn_callback
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	ret
END(check_events)

.endif

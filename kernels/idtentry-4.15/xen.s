/*
 * What only a Xen PV guest has: thunks, returns, callbacks, event masking.
 *
 * Models: arch/x86/xen/xen-asm_64.S, arch/x86/xen/xen-asm.S and the XEN_PV
 * parts of arch/x86/entry/entry_64.S, Linux 4.15; the hypercall page as Xen
 * fills it for 64-bit PV guests.
 */

/*
 * Xen enters by SYSRET: RCX and R11 are on the stack, below the frame that
 * bare metal would have pushed.  Rows for code that the configuration leaves
 * out produce nothing.
 */
.macro xen_pv_trap name:req
.set XEN_PV_TRAP_WANTED, XEN_PV
.ifc \name,machine_check
.set XEN_PV_TRAP_WANTED, XEN_PV && X86_MCE
.endif
.ifc \name,entry_INT80_compat
.set XEN_PV_TRAP_WANTED, XEN_PV && IA32_EMULATION
.endif
.if XEN_PV_TRAP_WANTED
ENTRY(xen_\name)
	popq	%rcx
	popq	%r11
	jmp	\name
END(xen_\name)
.endif
.endm

.if XEN_PV

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
 * The handler of the hypervisor_callback stub.  It never returns to the stub:
 * it takes pt_regs as its stack and leaves by error_exit, with error_entry's
 * EBX.
 */
ENTRY(xen_do_hypervisor_callback)
	movq	%rdi, %rsp
	ENTER_IRQ_STACK old_rsp=%r10
	call	xen_evtchn_do_upcall		/* RDI is pt_regs still */
	LEAVE_IRQ_STACK
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

	movq	0*8(%rsp), %rcx
	movq	1*8(%rsp), %r11
	addq	$6*8, %rsp
	pushq	$0				/* error code */
	jmp	general_protection

.Lfailsafe_segment:
	/* Xen loaded null instead: go on, the second try will not fault */
	movq	0*8(%rsp), %rcx
	movq	1*8(%rsp), %r11
	addq	$6*8, %rsp
	pushq	$-1
	ALLOC_PT_GPREGS_ON_STACK
	SAVE_C_REGS
	SAVE_EXTRA_REGS
	ENCODE_FRAME_POINTER
	jmp	error_exit			/* which looks at EBX: here still what was interrupted */
END(xen_failsafe_callback)

/* ---- the interrupt flag of a PV guest: a byte in shared memory ------------------ */

ENTRY(xen_irq_disable_direct)
	movb	$1, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)
	ret
END(xen_irq_disable_direct)

/* An event that came while masked is not delivered by itself: ask for it. */
ENTRY(xen_irq_enable_direct)
	FRAME_BEGIN
	movb	$0, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)
	testb	$0xff, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_pending)
	jz	.Lxen_enable_done
	call	check_events
.Lxen_enable_done:
	FRAME_END
	ret
END(xen_irq_enable_direct)

/* Interrupt flag as in RFLAGS, in RDI. */
ENTRY(xen_restore_fl_direct)
	FRAME_BEGIN
	testw	$X86_EFLAGS_IF, %di
	setz	PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)
	/* one comparison for both bytes: pending 1, mask 0 */
	cmpw	$0x0001, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_pending)
	jnz	.Lxen_restore_done
	call	check_events
.Lxen_restore_done:
	FRAME_END
	ret
END(xen_restore_fl_direct)

/* Callers expect every register kept; the hypercall is an ordinary C call. */
ENTRY(check_events)
	FRAME_BEGIN
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
	FRAME_END
	ret
END(check_events)

.endif

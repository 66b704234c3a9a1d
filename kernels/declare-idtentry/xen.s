/*
 * What only a Xen PV guest has: thunks, entry, returns, callbacks, event masking.
 *
 * Models: arch/x86/xen/xen-asm.S and the XEN_PV parts of
 * arch/x86/entry/entry_64.S, Linux 6.1; hypercalls without a hypercall page, as
 * the stable series makes them.
 */

/*
 * Xen enters by SYSRET: RCX and R11 are on the stack, below the frame that
 * bare metal would have pushed.  Rows for code that the configuration leaves
 * out produce nothing.
 */
.macro xen_pv_trap name:req
.set XEN_PV_TRAP_WANTED, XEN_PV
.ifc \name,asm_xenpv_exc_machine_check
.set XEN_PV_TRAP_WANTED, XEN_PV && X86_MCE
.endif
.ifc \name,entry_INT80_compat
.set XEN_PV_TRAP_WANTED, XEN_PV && IA32_EMULATION
.endif
.ifc \name,asm_exc_control_protection
.set XEN_PV_TRAP_WANTED, XEN_PV && X86_KERNEL_IBT
.endif
.if XEN_PV_TRAP_WANTED
ENTRY(xen_\name)
	popq	%rcx
	popq	%r11
	jmp	\name
END(xen_\name)
.endif
.endm

/* In front of any IRET frame; does not come back. */
.macro xen_hypercall_iret
	pushq	$0
	pushq	%rcx
	pushq	%r11
	pushq	%rax
	movl	$__HYPERVISOR_iret, %eax
	syscall
.endm

.if XEN_PV

/* ---- entering --------------------------------------------------------------- */

/* In place of error_entry: Xen has done the rest. */
ENTRY(xen_error_entry)
	PUSH_AND_CLEAR_REGS save_ret=1
	ENCODE_FRAME_POINTER 8
	UNTRAIN_RET
	RET
END(xen_error_entry)

/* ---- leaving ---------------------------------------------------------------- */

/*
 * There is no trampoline: TSS.sp0 is the task stack itself.  Leaving from where
 * pt_regs is keeps the frame above RSP until the hypercall has read it.
 */
ENTRY(xenpv_restore_regs_and_return_to_usermode)
	POP_REGS
	addq	$8, %rsp			/* ORIG_RAX */
	jmp	xen_iret
END(xenpv_restore_regs_and_return_to_usermode)

/*
 * RSP at an IRET frame.  Xen reads RAX, R11, RCX, the flags word and the frame
 * from the stack; the flags word 0 asks for a full return, not for SYSRET.
 */
ENTRY(xen_iret)
	xen_hypercall_iret
END(xen_iret)

/* ---- events ------------------------------------------------------------------ */

/*
 * The handler of the asm_exc_xen_hypervisor_callback stub.  It never returns to
 * the stub: it takes pt_regs as its stack and leaves by error_return.
 */
ENTRY(exc_xen_hypervisor_callback)
	movq	%rdi, %rsp
	call	xen_pv_evtchn_do_upcall		/* RDI is pt_regs still */
	jmp	error_return
END(exc_xen_hypervisor_callback)

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
	jmp	asm_exc_general_protection

.Lfailsafe_segment:
	/* Xen loaded null instead: go on, the second try will not fault */
	movq	(%rsp), %rcx
	movq	8(%rsp), %r11
	addq	$0x30, %rsp
	pushq	$-1
	PUSH_AND_CLEAR_REGS
	ENCODE_FRAME_POINTER
	jmp	error_return
END(xen_failsafe_callback)

/* ---- the interrupt flag of a PV guest: a byte in shared memory ------------------ */

ENTRY(xen_irq_disable_direct)
	movb	$1, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)
	RET
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
	RET
END(xen_irq_enable_direct)

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
	RET
END(check_events)

/* ---- the fault address ------------------------------------------------------------ */

/* Xen writes it into vcpu_info; both clobber RAX only. */
ENTRY(xen_read_cr2)
	FRAME_BEGIN
	movq	PER_CPU_VAR(xen_vcpu), %rax
	movq	XEN_vcpu_info_arch_cr2(%rax), %rax
	FRAME_END
	RET
END(xen_read_cr2)

ENTRY(xen_read_cr2_direct)
	FRAME_BEGIN
	movq	PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_arch_cr2), %rax
	FRAME_END
	RET
END(xen_read_cr2_direct)

.endif

/*
 * What only a Xen PV guest has: thunks, returns, callbacks, event masking.
 *
 * Models: arch/x86/xen/xen-asm_64.S, arch/x86/xen/xen-asm.S, the XEN_PV parts
 * of arch/x86/entry/entry_64.S and xen_write_cr2 of arch/x86/xen/mmu_pv.c,
 * Linux 5.8; the hypercall page as Xen fills it for 64-bit PV guests.
 */

/*
 * Xen enters by SYSRET: RCX and R11 are on the stack, below the frame that
 * bare metal would have pushed.  Rows for code that the configuration leaves
 * out produce nothing.
 */
.macro xen_pv_trap name:req
.set XEN_PV_TRAP_WANTED, XEN_PV
.ifc \name,asm_exc_machine_check
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

/* In place of SYSRET: RSP is the user's already. */
ENTRY(xen_sysret64)
	movq	%rsp, PER_CPU_VAR(cpu_tss_rw + TSS_sp2)
	movq	PER_CPU_VAR(cpu_current_top_of_stack), %rsp
	pushq	$__USER_DS
	pushq	PER_CPU_VAR(cpu_tss_rw + TSS_sp2)
	pushq	%r11
	pushq	$__USER_CS
	pushq	%rcx
	pushq	$VGCF_in_syscall
	jmp	hypercall_iret
END(xen_sysret64)

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

/* ---- system calls ------------------------------------------------------------- */

/*
 * Xen shows its own flat selectors for CS and SS: nobody has told it the
 * program's.
 */
ENTRY(xen_syscall_target)
	popq	%rcx
	popq	%r11
	movq	$__USER_DS, 4*8(%rsp)
	movq	$__USER_CS, 1*8(%rsp)
	jmp	entry_SYSCALL_64_after_hwframe
END(xen_syscall_target)

.if IA32_EMULATION
ENTRY(xen_syscall32_target)
	popq	%rcx
	popq	%r11
	movq	$__USER32_DS, 4*8(%rsp)
	movq	$__USER32_CS, 1*8(%rsp)
	jmp	entry_SYSCALL_compat_after_hwframe
END(xen_syscall32_target)

/* Xen has cleared TF: no single step on the way. */
ENTRY(xen_sysenter_target)
	popq	%rcx
	popq	%r11
	movq	$__USER32_DS, 4*8(%rsp)
	movq	$__USER32_CS, 1*8(%rsp)
	jmp	entry_SYSENTER_compat_after_hwframe
END(xen_sysenter_target)
.else
/* One piece of code under two names: no such call, straight back. */
ENTRY(xen_sysenter_target)
GLOBAL(xen_syscall32_target)
	leaq	2*8(%rsp), %rsp
	movq	$-ENOSYS, %rax
	pushq	$0
	jmp	hypercall_iret
END(xen_sysenter_target)
.endif

/* ---- events ------------------------------------------------------------------ */

/*
 * The handler of the event-callback stub.  It never returns to the stub: it
 * takes pt_regs as its stack and leaves by error_return.
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

	movq	0*8(%rsp), %rcx
	movq	1*8(%rsp), %r11
	addq	$6*8, %rsp
	pushq	$0				/* error code */
	jmp	asm_exc_general_protection

.Lfailsafe_segment:
	/* Xen loaded null instead: go on, the second try will not fault */
	movq	0*8(%rsp), %rcx
	movq	1*8(%rsp), %r11
	addq	$6*8, %rsp
	pushq	$-1
	PUSH_AND_CLEAR_REGS
	ENCODE_FRAME_POINTER
	jmp	error_return
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

/* ---- the fault address ------------------------------------------------------------ */

/* Xen writes it into vcpu_info; these clobber RAX only. */
ENTRY(xen_read_cr2)
	FRAME_BEGIN
	movq	PER_CPU_VAR(xen_vcpu), %rax
	movq	XEN_vcpu_info_arch_cr2(%rax), %rax
	FRAME_END
	ret
END(xen_read_cr2)

ENTRY(xen_read_cr2_direct)
	FRAME_BEGIN
	movq	PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_arch_cr2), %rax
	FRAME_END
	ret
END(xen_read_cr2_direct)

ENTRY(xen_write_cr2)
	movq	PER_CPU_VAR(xen_vcpu), %rax
	movq	%rdi, XEN_vcpu_info_arch_cr2(%rax)
	ret
END(xen_write_cr2)

.endif

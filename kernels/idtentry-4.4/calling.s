/*
 * Constants and macros that every other listing of this generation uses.
 *
 * Models: arch/x86/entry/calling.h, arch/x86/include/asm/{irqflags,smap,
 * segment,paravirt,thread_info}.h, Linux 4.4.  The text describes a kernel
 * after alternatives and paravirt sites were patched: what the patching
 * decided is an .if here.
 */

/* ---- features: derived from options and platform ---------------------- */

/* Xen masks SMAP from PV guests. */
.set X86_FEATURE_SMAP, SMAP && !PLATFORM_XEN_PV

/* ---- struct pt_regs ---------------------------------------------------- */

/* Saved by every entry, C changes them. */
.set R15, 0*8
.set R14, 1*8
.set R13, 2*8
.set R12, 3*8
.set RBP, 4*8
.set RBX, 5*8
/* A SYSCALL leaves the six slots above empty unless somebody asks for them. */
.set R11, 6*8
.set R10, 7*8
.set R9, 8*8
.set R8, 9*8
.set RAX, 10*8
.set RCX, 11*8
.set RDX, 12*8
.set RSI, 13*8
.set RDI, 14*8
.set ORIG_RAX, 15*8
.set RIP, 16*8
.set CS, 17*8
.set EFLAGS, 18*8
.set RSP, 19*8
.set SS, 20*8
.set SIZEOF_PTREGS, 21*8

/* ---- selectors, flags, sizes ------------------------------------------- */

.set __KERNEL_CS, 0x10
.set __KERNEL_DS, 0x18
.set __USER32_CS, 0x23
.set __USER_DS, 0x2b
.set __USER32_DS, __USER_DS
.set __USER_CS, 0x33

.set X86_EFLAGS_FIXED, 0x2
.set X86_EFLAGS_TF, 0x100
.set X86_EFLAGS_IF_BIT, 9
.set X86_EFLAGS_IF, 0x200
.set X86_EFLAGS_DF, 0x400
.set X86_EFLAGS_NT, 0x4000
.set X86_EFLAGS_RF, 0x10000

.set MSR_GS_BASE, 0xc0000101
.set ENOSYS, 38

.set PAGE_SIZE, 4096
.set THREAD_SIZE, 4*PAGE_SIZE
.set EXCEPTION_STKSZ, PAGE_SIZE
.set FIRST_EXTERNAL_VECTOR, 0x20
.set LOCAL_TIMER_VECTOR, 0xef

/* Slots of the IST as a gate holds them, counted from one. */
.set DOUBLEFAULT_STACK, 1
.set NMI_STACK, 2
.set DEBUG_STACK, 3
.set MCE_STACK, 4

/* The kernel's own name of the TSS. */
.set cpu_tss, cpu_tss_rw
.set TSS_sp0, 4
.set TSS_ist, 36

/* Fields of Xen's struct vcpu_info. */
.set XEN_vcpu_info_pending, 0
.set XEN_vcpu_info_mask, 1

.set __HYPERVISOR_iret, 23
.set VGCF_in_syscall, 0x100

/* ---- struct thread_info: at the low end of the task's stack ---------------- */

.set TI_flags, 8

/* Work before a system call: trace, emulation, audit, seccomp, single step, tracepoints, context tracking. */
.set _TIF_WORK_SYSCALL_ENTRY, 0x100801d1
/* Work before a return to user mode: the low half but for seccomp, tracepoints, context tracking. */
.set _TIF_ALLWORK_MASK, 0x1008feff
.set _TIF_NOTIFY_RESUME, 0x2
.set _TIF_NOHZ, 0x80000

/*
 * Where the flags lie, seen from an RSP that is that far below the stack's top:
 * ASM_THREAD_INFO(TI_flags, %rsp, off), written out as a displacement.
 */
.set THREAD_FLAGS_AT_PTREGS, TI_flags + SIZEOF_PTREGS - THREAD_SIZE

/* ---- pt_regs: allocate, save, restore, remove ------------------------------ */

/*
 * Four steps instead of pushes: make room for fifteen registers, store those
 * that C changes, store those that it keeps, and the same on the way back.
 * offset skips a return address below pt_regs.  No register is cleared.
 */
.macro ALLOC_PT_GPREGS_ON_STACK addskip=0
	addq	$-(15*8+\addskip), %rsp
.endm

.macro SAVE_C_REGS offset=0
	movq	%r11, 6*8+\offset(%rsp)
	movq	%r10, 7*8+\offset(%rsp)
	movq	%r9, 8*8+\offset(%rsp)
	movq	%r8, 9*8+\offset(%rsp)
	movq	%rax, 10*8+\offset(%rsp)
	movq	%rcx, 11*8+\offset(%rsp)
	movq	%rdx, 12*8+\offset(%rsp)
	movq	%rsi, 13*8+\offset(%rsp)
	movq	%rdi, 14*8+\offset(%rsp)
.endm

.macro SAVE_EXTRA_REGS offset=0
	movq	%r15, 0*8+\offset(%rsp)
	movq	%r14, 1*8+\offset(%rsp)
	movq	%r13, 2*8+\offset(%rsp)
	movq	%r12, 3*8+\offset(%rsp)
	movq	%rbp, 4*8+\offset(%rsp)
	movq	%rbx, 5*8+\offset(%rsp)
.endm

.macro RESTORE_EXTRA_REGS offset=0
	movq	0*8+\offset(%rsp), %r15
	movq	1*8+\offset(%rsp), %r14
	movq	2*8+\offset(%rsp), %r13
	movq	3*8+\offset(%rsp), %r12
	movq	4*8+\offset(%rsp), %rbp
	movq	5*8+\offset(%rsp), %rbx
.endm

.macro ZERO_EXTRA_REGS
	xorl	%r15d, %r15d
	xorl	%r14d, %r14d
	xorl	%r13d, %r13d
	xorl	%r12d, %r12d
	xorl	%ebp, %ebp
	xorl	%ebx, %ebx
.endm

.macro RESTORE_C_REGS_HELPER rstor_rax=1 rstor_rcx=1 rstor_r11=1
.if \rstor_r11
	movq	6*8(%rsp), %r11
.endif
	movq	7*8(%rsp), %r10
	movq	8*8(%rsp), %r9
	movq	9*8(%rsp), %r8
.if \rstor_rax
	movq	10*8(%rsp), %rax
.endif
.if \rstor_rcx
	movq	11*8(%rsp), %rcx
.endif
	movq	12*8(%rsp), %rdx
	movq	13*8(%rsp), %rsi
	movq	14*8(%rsp), %rdi
.endm

.macro RESTORE_C_REGS
	RESTORE_C_REGS_HELPER
.endm

.macro RESTORE_C_REGS_EXCEPT_RAX
	RESTORE_C_REGS_HELPER rstor_rax=0
.endm

/* For SYSRET, which loads RIP and the flags from these two. */
.macro RESTORE_C_REGS_EXCEPT_RCX_R11
	RESTORE_C_REGS_HELPER rstor_rcx=0 rstor_r11=0
.endm

.macro REMOVE_PT_GPREGS_FROM_STACK addskip=0
	subq	$-(15*8+\addskip), %rsp
.endm

/* ---- SMAP --------------------------------------------------------------------- */

.macro ASM_CLAC
.if X86_FEATURE_SMAP
	clac
.endif
.endm

/* ---- paravirt ------------------------------------------------------------------- */

/*
 * Xen pushes RCX and R11 below the frame; every stub starts by taking them off
 * again.  On bare metal the site is padding.
 */
.macro PARAVIRT_ADJUST_EXCEPTION_FRAME
.if PLATFORM_XEN_PV
	call	xen_adjust_exception_frame
.endif
.endm

/* Xen swaps GS itself whenever the guest changes mode: a no-op is left. */
.macro SWAPGS
.if PLATFORM_XEN_PV
	nop
.else
	swapgs
.endif
.endm

/* The form that must not call anything, because RSP may be anything. */
.macro SWAPGS_UNSAFE_STACK
.if PLATFORM_XEN_PV
	nop
.else
	swapgs
.endif
.endm

.macro INTERRUPT_RETURN
.if PLATFORM_XEN_PV
	jmp	xen_iret
.else
	jmp	native_iret
.endif
.endm

/* The functions keep every register but RAX: the site keeps that one. */
.macro DISABLE_INTERRUPTS
.if PLATFORM_XEN_PV
	pushq	%rax
	call	xen_irq_disable_direct
	popq	%rax
.else
	cli
.endif
.endm

.macro ENABLE_INTERRUPTS
.if PLATFORM_XEN_PV
	pushq	%rax
	call	xen_irq_enable_direct
	popq	%rax
.else
	sti
.endif
.endm

/* On the user's stack, with the user's registers and the kernel's GS. */
.macro USERGS_SYSRET64
.if PLATFORM_XEN_PV
	jmp	xen_sysret64
.else
	swapgs
	sysretq
.endif
.endm

.macro USERGS_SYSRET32
.if PLATFORM_XEN_PV
	jmp	xen_sysret32
.else
	swapgs
	sysretl
.endif
.endm

/* ---- interrupt-flag tracing and context tracking ------------------------------------- */

.macro TRACE_IRQS_ON
.if TRACE_IRQFLAGS
	call	trace_hardirqs_on_thunk
.endif
.endm

.macro TRACE_IRQS_OFF
.if TRACE_IRQFLAGS
	call	trace_hardirqs_off_thunk
.endif
.endm

/* What the return will do to IF, told beforehand. */
.macro TRACE_IRQS_IRETQ
.if TRACE_IRQFLAGS
	btl	$X86_EFLAGS_IF_BIT, EFLAGS(%rsp)
	jnc	.Ltrace_iretq_\@
	TRACE_IRQS_ON
.Ltrace_iretq_\@:
.endif
.endm

/*
 * Tracing may hit a breakpoint of the function tracer, whose #BP would start
 * at the top of the #DB stack that is in use.  Meanwhile another IDT is
 * loaded, whose gates 1 and 3 have no IST.
 */
.macro TRACE_IRQS_OFF_DEBUG
.if DYNAMIC_FTRACE && TRACE_IRQFLAGS
	call	debug_stack_set_zero
	TRACE_IRQS_OFF
	call	debug_stack_reset
.else
	TRACE_IRQS_OFF
.endif
.endm

.macro TRACE_IRQS_ON_DEBUG
.if DYNAMIC_FTRACE && TRACE_IRQFLAGS
	call	debug_stack_set_zero
	TRACE_IRQS_ON
	call	debug_stack_reset
.else
	TRACE_IRQS_ON
.endif
.endm

.macro TRACE_IRQS_IRETQ_DEBUG
.if DYNAMIC_FTRACE && TRACE_IRQFLAGS
	btl	$X86_EFLAGS_IF_BIT, EFLAGS(%rsp)
	jnc	.Ltrace_iretq_off_\@
	TRACE_IRQS_ON_DEBUG
.Ltrace_iretq_off_\@:
.else
	TRACE_IRQS_IRETQ
.endif
.endm

/* A plain call: no static key decides about it yet. */
.macro CALL_enter_from_user_mode
.if CONTEXT_TRACKING
	call	enter_from_user_mode
.endif
.endm

/*
 * Constants and macros that every other listing of this generation uses.
 *
 * Models: arch/x86/entry/calling.h, arch/x86/include/asm/{irqflags,frame,smap,
 * segment,nospec-branch,trapnr}.h and the choices of
 * arch/x86/kernel/cpu/bugs.c, Linux 6.1.
 *
 * What patching of alternatives decides is an .if here.  With
 * ALTERNATIVES_APPLIED 0 the text is that of a kernel as it boots: every
 * alternative in the form that was compiled in.  Where a patched alternative
 * leaves a gap, the NOP that fills it stands here too: offsets are the kernel's.
 */

/* ---- features: derived from options and platform ---------------------- */

.set X86_FEATURE_XENPV, ALTERNATIVES_APPLIED && PLATFORM_XEN_PV

/* Xen PV guests neither get PTI, PCID nor SMAP: the hypervisor owns them. */
.set X86_FEATURE_PTI, ALTERNATIVES_APPLIED && PTI && CPU_BUG_MELTDOWN && !PLATFORM_XEN_PV
.set X86_FEATURE_PCID, ALTERNATIVES_APPLIED && PCID && !PLATFORM_XEN_PV
.set X86_FEATURE_SMAP, ALTERNATIVES_APPLIED && SMAP && !PLATFORM_XEN_PV
.set X86_FEATURE_FSGSBASE, ALTERNATIVES_APPLIED && FSGSBASE

/* AMD parts keep the old base when a null selector is loaded. */
.set X86_BUG_NULL_SEG, ALTERNATIVES_APPLIED && CPU_VENDOR_AMD
/* Only the K8 family needs a fence around SWAPGS for this reason. */
.set X86_BUG_SWAPGS_FENCE, 0

/*
 * Selection of the swapgs fences.  SMAP stops the gadget unless Meltdown lets
 * user data through anyway, or the user may put a kernel address into GS; a PTI
 * kernel writes CR3 right after SWAPGS, which serialises and makes the fence on
 * the user side redundant.
 */
.set SMAP_STOPS_SPECULATION, X86_FEATURE_SMAP && !CPU_BUG_MELTDOWN && !FSGSBASE
.set X86_FEATURE_FENCE_SWAPGS_KERNEL, ALTERNATIVES_APPLIED && FENCE_SWAPGS && !SMAP_STOPS_SPECULATION
.set X86_FEATURE_FENCE_SWAPGS_USER, X86_FEATURE_FENCE_SWAPGS_KERNEL && CPU_BUG_SWAPGS && !X86_FEATURE_PTI

/*
 * Retbleed.  Intel parts of the Skylake age restrict branches in the kernel by
 * IBRS; AMD parts before Zen 3 untrain the return predictor and keep their
 * returns in one place.  A PV guest leaves SPEC_CTRL to Xen.
 */
.set X86_FEATURE_KERNEL_IBRS, ALTERNATIVES_APPLIED && CPU_IBRS_ENTRY && CPU_VENDOR_INTEL && !PLATFORM_XEN_PV
.set X86_FEATURE_UNRET, ALTERNATIVES_APPLIED && CPU_UNRET_ENTRY && CPU_VENDOR_AMD && !PLATFORM_XEN_PV
/* Compiled in as jumps to the thunk; patched into plain returns where nothing needs it. */
.set RETURN_BY_THUNK, RETHUNK && (X86_FEATURE_UNRET || !ALTERNATIVES_APPLIED)

/* ---- vectors ------------------------------------------------------------- */

.set X86_TRAP_DE, 0
.set X86_TRAP_DB, 1
.set X86_TRAP_NMI, 2
.set X86_TRAP_BP, 3
.set X86_TRAP_OF, 4
.set X86_TRAP_BR, 5
.set X86_TRAP_UD, 6
.set X86_TRAP_NM, 7
.set X86_TRAP_DF, 8
.set X86_TRAP_OLD_MF, 9
.set X86_TRAP_TS, 10
.set X86_TRAP_NP, 11
.set X86_TRAP_SS, 12
.set X86_TRAP_GP, 13
.set X86_TRAP_PF, 14
.set X86_TRAP_SPURIOUS, 15
.set X86_TRAP_MF, 16
.set X86_TRAP_AC, 17
.set X86_TRAP_MC, 18
.set X86_TRAP_XF, 19
.set X86_TRAP_VE, 20
.set X86_TRAP_CP, 21
.set X86_TRAP_VC, 29
/* For stubs that no single vector owns: no vector number is as large. */
.set X86_TRAP_OTHER, 0xffff

.set FIRST_EXTERNAL_VECTOR, 0x20
.set LOCAL_TIMER_VECTOR, 0xec
.set FIRST_SYSTEM_VECTOR, LOCAL_TIMER_VECTOR

/* ---- struct pt_regs ---------------------------------------------------- */

.set R15, 0*8
.set R14, 1*8
.set R13, 2*8
.set R12, 3*8
.set RBP, 4*8
.set RBX, 5*8
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
/* A descriptor that holds no segment: its limit is the CPU and node number. */
.set __CPUNODE_SEG, 0x7b
.set VDSO_CPUNODE_MASK, 0xfff

.set X86_EFLAGS_FIXED, 0x2
.set X86_EFLAGS_TF, 0x100
.set X86_EFLAGS_IF, 0x200
.set X86_EFLAGS_DF, 0x400
.set X86_EFLAGS_NT, 0x4000
.set X86_EFLAGS_RF, 0x10000
.set X86_EFLAGS_AC, 0x40000

.set MSR_IA32_SPEC_CTRL, 0x48
.set SPEC_CTRL_IBRS, 1
.set MSR_GS_BASE, 0xc0000101
.set ENOSYS, 38

.set PAGE_SIZE, 4096
.set EXCEPTION_STKSZ, 2*PAGE_SIZE

/* Fields of cpu_tss_rw.  sp2 is no ring 2 stack: it is a scratch word of SYSCALL. */
.set TSS_sp0, 4
.set TSS_sp2, 20

.set TLB_STATE_user_pcid_flush_mask, 22

/* Fields of Xen's struct vcpu_info. */
.set XEN_vcpu_info_pending, 0
.set XEN_vcpu_info_mask, 1
.set XEN_vcpu_info_arch_cr2, 16

.set __HYPERVISOR_iret, 23

/* ---- what patching leaves in a gap ------------------------------------------ */

.macro ALT_NOP2
	xchgw	%ax, %ax
.endm

.macro ALT_NOP3
	nopl	(%rax)
.endm

.macro ALT_NOP5
	nopl	8(%rax,%rax)
.endm

/* ---- returns ----------------------------------------------------------------- */

/* A jump of five bytes, compiled in; INT3s behind a return that was patched in. */
.macro RET
.if RETURN_BY_THUNK
	jmp	__x86_return_thunk
.else
	ret
.if RETHUNK
	.rept	4
	int3
	.endr
.endif
.endif
.endm

/* ---- frame pointers ---------------------------------------------------- */

.macro FRAME_BEGIN
.if FRAME_POINTER
	pushq	%rbp
	movq	%rsp, %rbp
.endif
.endm

.macro FRAME_END
.if FRAME_POINTER
	popq	%rbp
.endif
.endm

/* A set low bit in RBP tells the unwinder that it found pt_regs, no frame. */
.macro ENCODE_FRAME_POINTER ptregs_offset=0
.if FRAME_POINTER
	leaq	1+\ptregs_offset(%rsp), %rbp
.endif
.endm

/* ---- pt_regs: save, clear, restore ------------------------------------- */

/*
 * Stores the fifteen general registers under ORIG_RAX.  With save_ret the word
 * on top is the caller's return address: the RDI slot takes its place and it
 * ends up on top again, carried over in RSI.
 */
.macro PUSH_REGS rdx=%rdx rcx=%rcx rax=%rax save_ret=0
.if \save_ret
	pushq	%rsi
	movq	8(%rsp), %rsi
	movq	%rdi, 8(%rsp)
.else
	pushq	%rdi
	pushq	%rsi
.endif
	pushq	\rdx
	pushq	\rcx
	pushq	\rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
.if \save_ret
	pushq	%rsi
.endif
.endm

/* After all pushes: RDI and RAX are written soon and stay as they are. */
.macro CLEAR_REGS
	xorl	%esi, %esi
	xorl	%edx, %edx
	xorl	%ecx, %ecx
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	xorl	%r11d, %r11d
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%r12d, %r12d
	xorl	%r13d, %r13d
	xorl	%r14d, %r14d
	xorl	%r15d, %r15d
.endm

.macro PUSH_AND_CLEAR_REGS rdx=%rdx rcx=%rcx rax=%rax save_ret=0
	PUSH_REGS rdx=\rdx rcx=\rcx rax=\rax save_ret=\save_ret
	CLEAR_REGS
.endm

.macro POP_REGS pop_rdi=1
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
.if \pop_rdi
	popq	%rdi
.endif
.endm

/* ---- page tables (PTI) -------------------------------------------------- */

/*
 * The two page-table roots of a process are neighbours: bit 12 of CR3 chooses
 * the user's, bit 11 the user's PCID.  Bit 63 in a written value keeps the TLB.
 */
.set PTI_USER_PGTABLE_BIT, 12
.set PTI_USER_PGTABLE_MASK, 0x1000
.set PTI_USER_PCID_MASK, 0x800
.set PTI_USER_PGTABLE_AND_PCID_MASK, 0x1800
.set X86_CR3_PCID_NOFLUSH_BIT, 63
.set PCID_ASID_MASK, 0x7ff

.macro SET_NOFLUSH_BIT reg:req
	btsq	$X86_CR3_PCID_NOFLUSH_BIT, \reg
.endm

.macro ADJUST_KERNEL_CR3 reg:req
.if X86_FEATURE_PCID
	SET_NOFLUSH_BIT \reg
.else
	ALT_NOP5
.endif
	andq	$~PTI_USER_PGTABLE_AND_PCID_MASK, \reg
.endm

/* The code behind the jump is there in any case: patching only removes the jump. */
.macro SWITCH_TO_KERNEL_CR3 scratch_reg:req
.if PTI
.if X86_FEATURE_PTI
	ALT_NOP2
.else
	jmp	.Lkernel_cr3_done_\@
.endif
	movq	%cr3, \scratch_reg
	ADJUST_KERNEL_CR3 \scratch_reg
	movq	\scratch_reg, %cr3
.Lkernel_cr3_done_\@:
.endif
.endm

/* Needs kernel GS: a postponed flush of the user's PCID is noted per CPU. */
.macro SWITCH_TO_USER_CR3_NOSTACK scratch_reg:req scratch_reg2:req
.if PTI
.if X86_FEATURE_PTI
	ALT_NOP2
.else
	jmp	.Luser_cr3_done_\@
.endif
	movq	%cr3, \scratch_reg
.if X86_FEATURE_PCID
	ALT_NOP2
.else
	jmp	.Luser_cr3_write_\@
.endif
	movq	\scratch_reg, \scratch_reg2
	andq	$PCID_ASID_MASK, \scratch_reg
	btq	\scratch_reg, PER_CPU_VAR(cpu_tlbstate + TLB_STATE_user_pcid_flush_mask)
	jnc	.Luser_cr3_keep_tlb_\@
	/* this switch does the flush: forget the note, leave bit 63 clear */
	btrq	\scratch_reg, PER_CPU_VAR(cpu_tlbstate + TLB_STATE_user_pcid_flush_mask)
	movq	\scratch_reg2, \scratch_reg
	jmp	.Luser_cr3_pcid_\@
.Luser_cr3_keep_tlb_\@:
	movq	\scratch_reg2, \scratch_reg
	SET_NOFLUSH_BIT \scratch_reg
.Luser_cr3_pcid_\@:
	orq	$PTI_USER_PCID_MASK, \scratch_reg
.Luser_cr3_write_\@:
	orq	$PTI_USER_PGTABLE_MASK, \scratch_reg
	movq	\scratch_reg, %cr3
.Luser_cr3_done_\@:
.endif
.endm

/* The same with RAX as second register, saved on a stack both halves map. */
.macro SWITCH_TO_USER_CR3_STACK scratch_reg:req
.if PTI
	pushq	%rax
	SWITCH_TO_USER_CR3_NOSTACK scratch_reg=\scratch_reg scratch_reg2=%rax
	popq	%rax
.endif
.endm

/* For entries that cannot know which half is loaded. */
.macro SAVE_AND_SWITCH_TO_KERNEL_CR3 scratch_reg:req save_reg:req
.if PTI
.if X86_FEATURE_PTI
	ALT_NOP2
.else
	jmp	.Lsave_cr3_done_\@
.endif
	movq	%cr3, \scratch_reg
	movq	\scratch_reg, \save_reg
	btq	$PTI_USER_PGTABLE_BIT, \scratch_reg
	jnc	.Lsave_cr3_done_\@
	ADJUST_KERNEL_CR3 \scratch_reg
	movq	\scratch_reg, %cr3
.Lsave_cr3_done_\@:
.endif
.endm

/* Writes back what SAVE_AND_SWITCH_TO_KERNEL_CR3 found, whichever it was. */
.macro RESTORE_CR3 scratch_reg:req save_reg:req
.if PTI
.if X86_FEATURE_PTI
	ALT_NOP2
.else
	jmp	.Lrestore_cr3_done_\@
.endif
.if X86_FEATURE_PCID
	ALT_NOP2
.else
	jmp	.Lrestore_cr3_write_\@
.endif
	btq	$PTI_USER_PGTABLE_BIT, \save_reg
	jnc	.Lrestore_cr3_keep_tlb_\@
	movq	\save_reg, \scratch_reg
	andq	$PCID_ASID_MASK, \scratch_reg
	btq	\scratch_reg, PER_CPU_VAR(cpu_tlbstate + TLB_STATE_user_pcid_flush_mask)
	jnc	.Lrestore_cr3_keep_tlb_\@
	btrq	\scratch_reg, PER_CPU_VAR(cpu_tlbstate + TLB_STATE_user_pcid_flush_mask)
	jmp	.Lrestore_cr3_write_\@
.Lrestore_cr3_keep_tlb_\@:
	SET_NOFLUSH_BIT \save_reg
.Lrestore_cr3_write_\@:
	movq	\save_reg, %cr3
.Lrestore_cr3_done_\@:
.endif
.endm

/* ---- speculation, SMAP -------------------------------------------------- */

/*
 * Restricts indirect branches while the kernel runs.  Needs pt_regs, kernel GS
 * and kernel page tables, and comes before the first RET; clobbers RAX, RCX and
 * RDX.  With save_reg it keeps what it found, for entries from anywhere.
 */
.macro IBRS_ENTER save_reg
.if CPU_IBRS_ENTRY
.if X86_FEATURE_KERNEL_IBRS
	ALT_NOP2
.else
	jmp	.Librs_enter_done_\@
.endif
	movl	$MSR_IA32_SPEC_CTRL, %ecx
.ifnb \save_reg
	rdmsr
	shlq	$32, %rdx
	orq	%rdx, %rax
	movq	%rax, \save_reg
	testl	$SPEC_CTRL_IBRS, %eax
	jz	.Librs_enter_write_\@
	/* set already: no write, so nothing else would stop speculation here */
	lfence
	jmp	.Librs_enter_done_\@
.Librs_enter_write_\@:
.endif
	movq	PER_CPU_VAR(x86_spec_ctrl_current), %rdx
	movl	%edx, %eax
	shrq	$32, %rdx
	wrmsr
.Librs_enter_done_\@:
.endif
.endm

/* After the last RET, with kernel GS and kernel page tables; clobbers the same. */
.macro IBRS_EXIT save_reg
.if CPU_IBRS_ENTRY
.if X86_FEATURE_KERNEL_IBRS
	ALT_NOP2
.else
	jmp	.Librs_exit_done_\@
.endif
	movl	$MSR_IA32_SPEC_CTRL, %ecx
.ifnb \save_reg
	movq	\save_reg, %rdx
.else
	movq	PER_CPU_VAR(x86_spec_ctrl_current), %rdx
	andl	$~SPEC_CTRL_IBRS, %edx
.endif
	movl	%edx, %eax
	shrq	$32, %rdx
	wrmsr
.Librs_exit_done_\@:
.endif
.endm

/* Needs kernel page tables and a stack, and comes before the first RET. */
.macro UNTRAIN_RET
.if CPU_UNRET_ENTRY
.if X86_FEATURE_UNRET
	call	zen_untrain_ret
.else
	ALT_NOP5
.endif
.endif
.endm

/* After a SWAPGS that only user entries run: no use of GS before it. */
.macro FENCE_SWAPGS_USER_ENTRY
.if X86_FEATURE_FENCE_SWAPGS_USER
	lfence
.else
	ALT_NOP3
.endif
.endm

/* Where SWAPGS was jumped over: no use of GS as if it had been jumped over wrongly. */
.macro FENCE_SWAPGS_KERNEL_ENTRY
.if X86_FEATURE_FENCE_SWAPGS_KERNEL
	lfence
.else
	ALT_NOP3
.endif
.endm

.macro ASM_CLAC
.if X86_FEATURE_SMAP
	clac
.else
	ALT_NOP3
.endif
.endm

/* ---- the GS base without SWAPGS (FSGSBASE) ------------------------------------ */

/*
 * The kernel's GS base may not be looked up through GS.  The number of the CPU
 * is the limit of a descriptor; without SMP there is one base only.
 */
.macro GET_PERCPU_BASE reg:req
.if SMP
	movq	$__CPUNODE_SEG, \reg
	lslq	\reg, \reg
	andq	$VDSO_CPUNODE_MASK, \reg
	movq	__per_cpu_offset(,\reg,8), \reg
.else
	movq	pcpu_unit_offsets(%rip), \reg
.endif
.endm

.macro SAVE_AND_SET_GSBASE scratch_reg:req save_reg:req
	rdgsbase \save_reg
	GET_PERCPU_BASE \scratch_reg
	wrgsbase \scratch_reg
.endm

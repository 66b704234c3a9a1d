/*
 * Macros and constants of headers that entry code of Linux includes and an
 * import does not read.  What the generation's listings define is not defined again.
 */

/* ---- alternatives: chosen where they stand --------------------------------- */

.macro ALTERNATIVE oldinstr, newinstr, feature
.if \feature
	\newinstr
.else
	\oldinstr
.endif
.endm

.macro ALTERNATIVE_2 oldinstr, newinstr1, feature1, newinstr2, feature2
.if \feature2
	\newinstr2
.elseif \feature1
	\newinstr1
.else
	\oldinstr
.endif
.endm

.macro ALTERNATIVE_3 oldinstr, newinstr1, feature1, newinstr2, feature2, newinstr3, feature3
.if \feature3
	\newinstr3
.elseif \feature2
	\newinstr2
.elseif \feature1
	\newinstr1
.else
	\oldinstr
.endif
.endm

/* ---- speculation ------------------------------------------------------------- */

.macro FILL_RETURN_BUFFER arguments:vararg
.endm

.macro HANDLE_INTR_SAFERET pt_regs
.endm

.macro UNTRAIN_RET
.endm

.macro STACKLEAK_ERASE
.endm

.macro STACKLEAK_ERASE_NOCLOBBER
.endm

.macro UNTRAIN_RET_FROM_CALL
	UNTRAIN_RET
.endm

/* With the sign of a register up to 5.7, without it later. */
.macro CALL_NOSPEC register:req
.irp name, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
.ifc \register,\name
	call	*%\name
.endif
.ifc \register,%\name
	call	*%\name
.endif
.endr
.endm

.macro JMP_NOSPEC register:req
.irp name, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
.ifc \register,\name
	jmp	*%\name
.endif
.ifc \register,%\name
	jmp	*%\name
.endif
.endr
.endm

.macro RET
	ret
.endm

/* ---- asm/irqflags.h, asm/paravirt.h -------------------------------------------- */

/* A guest of Xen has its interrupt flag in shared memory: none pending of what is masked there. */
.macro SAVE_FLAGS_TO_RAX clobbers:vararg
.if PLATFORM_XEN_PV
	xorl	%eax, %eax
	testb	$0xff, PER_CPU_VAR(xen_vcpu_info + XEN_vcpu_info_mask)
	setz	%al
	shll	$9, %eax
.else
	pushfq
	popq	%rax
.endif
.endm

/* ---- asm/smap.h, asm/frame.h --------------------------------------------------- */

.macro ASM_CLAC
.if X86_FEATURE_SMAP
	clac
.endif
.endm

.macro ASM_STAC
.if X86_FEATURE_SMAP
	stac
.endif
.endm

.macro ENCODE_FRAME_POINTER ptregs_offset=0
.if FRAME_POINTER
	leaq	1+\ptregs_offset(%rsp), %rbp
.endif
.endm

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

/* ---- asm/dwarf2.h, up to 4.1: instructions with a note for debuggers ----------------- */

.macro pushq_cfi reg
	pushq	\reg
.endm

.macro pushq_cfi_reg reg
	pushq	%\reg
.endm

.macro popq_cfi reg
	popq	\reg
.endm

.macro popq_cfi_reg reg
	popq	%\reg
.endm

.macro pushfq_cfi
	pushfq
.endm

.macro popfq_cfi
	popfq
.endm

.macro movq_cfi reg offset=0
	movq	%\reg, \offset(%rsp)
.endm

.macro movq_cfi_restore offset reg
	movq	\offset(%rsp), %\reg
.endm

.macro ENABLE_INTERRUPTS_SYSEXIT32
.if PLATFORM_XEN_PV
	jmp	xen_sysexit
.else
	swapgs
	sti
	sysexit
.endif
.endm

.macro leaveq
	movq	%rbp, %rsp
	popq	%rbp
.endm

.macro leave
	leaveq
.endm

/* ---- asm-offsets.h, asm/page_types.h and others ----------------------------------- */

.set THREAD_SIZE, 4*4096
.set PAGE_SHIFT, 12
.set PAGE_SIZE, 4096
.set __VIRTUAL_MASK_SHIFT, 47
.set X86_CR3_PTI_PCID_USER_BIT, 11
.set X86_CR3_PCID_NOFLUSH_BIT, 63
.set X86_FEATURE_ALWAYS, 1
.set RSB_CLEAR_LOOPS, 32
.set PTREGS_SIZE, 21*8
.set SIZEOF_PTREGS, 21*8
.set TASK_threadsp, 0x1a98
.set TASK_stack_canary, 0x928
.set stack_canary_offset, 40
.set X86_top_of_stack, 0
.set X86_EFLAGS_IF, 0x200

/* ---- asm/irq_vectors.h, asm/idtentry.h --------------------------------------------- */

.set IDT_ALIGN, 8
.set NR_EXTERNAL_VECTORS, 1
.set NR_SYSTEM_VECTORS, 1
.set NUM_EXCEPTION_VECTORS, 1
.set EARLY_IDT_HANDLER_SIZE, 9
.set XEN_EARLY_IDT_HANDLER_SIZE, 8
.set X86_TRAP_IRET, 32
.set DOUBLEFAULT_STACK, 1
.set NMI_STACK, 2
.set DEBUG_STACK, 3
.set MCE_STACK, 4
.set NR_VECTORS, 256
.set KERNEL_STACK_OFFSET, 5*8
.set TSS_sp2, 20
.set IA32_SYSCALL_VECTOR, 0x80
.set SPURIOUS_APIC_VECTOR, 0xff
.set ERROR_APIC_VECTOR, 0xfe
.set RESCHEDULE_VECTOR, 0xfd
.set CALL_FUNCTION_VECTOR, 0xfc
.set CALL_FUNCTION_SINGLE_VECTOR, 0xfb
.set THERMAL_APIC_VECTOR, 0xfa
.set THRESHOLD_APIC_VECTOR, 0xf9
.set REBOOT_VECTOR, 0xf8
.set X86_PLATFORM_IPI_VECTOR, 0xf7
.set IRQ_WORK_VECTOR, 0xf6
.set UV_BAU_MESSAGE, 0xf5
.set DEFERRED_ERROR_VECTOR, 0xf4
.set HYPERVISOR_CALLBACK_VECTOR, 0xf3
.set POSTED_INTR_VECTOR, 0xf2
.set POSTED_INTR_WAKEUP_VECTOR, 0xf1
.set POSTED_INTR_NESTED_VECTOR, 0xf0
.set MANAGED_IRQ_SHUTDOWN_VECTOR, 0xef
.set HYPERV_REENLIGHTENMENT_VECTOR, 0xee
.set HYPERV_STIMER0_VECTOR, 0xed
.set LOCAL_TIMER_VECTOR, 0xec
.set POSTED_MSI_NOTIFICATION_VECTOR, 0xeb
.set IRQ_MOVE_CLEANUP_VECTOR, 0x20

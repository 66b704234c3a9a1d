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

.macro UNTRAIN_RET_FROM_CALL
	UNTRAIN_RET
.endm

.macro CALL_NOSPEC register:req
	call	*%\register
.endm

.macro JMP_NOSPEC register:req
	jmp	*%\register
.endm

.macro RET
	ret
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

/* ---- asm-offsets.h, asm/page_types.h and others ----------------------------------- */

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

/*
 * What entry code of Linux includes and an import does not read: headers of
 * arch/x86/include/asm and include/linux, as far as their macros are used in
 * entry_64.S, entry_64_compat.S, calling.h, idtentry.h and xen-asm.S.
 */

#define __ASSEMBLY__ 1
#define __ASSEMBLER__ 1
#define __x86_64__ 1

/* ---- Kconfig: what the model has no choice about ------------------------ */

#define CONFIG_X86_64 1
#define CONFIG_64BIT 1
#define CONFIG_X86 1
#define CONFIG_X86_LOCAL_APIC 1
#define CONFIG_X86_IO_APIC 1
#define CONFIG_AS_CFI 1
#define CONFIG_X86_L1_CACHE_SHIFT 6
#define CONFIG_PARAVIRT 1
#ifdef CONFIG_XEN_PV
#define CONFIG_XEN 1
#define CONFIG_PARAVIRT_XXL 1
#endif

/* ---- linux/linkage.h, linux/init.h, linux/export.h, linux/objtool.h ---------- */

#define __INIT .section .init.text, "ax"
#define __FINIT .previous
#define __HEAD .section .head.text, "ax"
#define __ALIGN
#define __ALIGN_STR ""
#define __FUNC_ALIGN
#define ALIGN
#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)
#define EXPORT_SYMBOL_FOR_KVM(name)
#define STACK_FRAME_NON_STANDARD(name)
#define STACK_FRAME_NON_STANDARD_FP(name)
#define SYM_PIC_ALIAS(name)
#define REACHABLE
#define VALIDATE_UNRET_BEGIN
#define VALIDATE_UNRET_END

#define __stringify_1(x...) #x
#define __stringify(x...) __stringify_1(x)

/* ---- asm/asm.h, asm/percpu.h, asm/ibt.h -------------------------------------- */

#define _ASM_PTR .quad
#define _ASM_MOV mov
#define _ASM_AX rax
#define _ASM_BX rbx
#define _ASM_CX rcx
#define _ASM_DX rdx
#define _ASM_SP rsp
#define _ASM_BP rbp
#define _ASM_SI rsi
#define _ASM_DI rdi
#define _ASM_NOKPROBE(entry)
#define _ASM_EXTABLE(from, to) .extable from, to
#define _ASM_EXTABLE_TYPE(from, to, type) .extable from, to
#define _ASM_EXTABLE_UA(from, to) .extable from, to
#define PER_CPU_VAR(var) %gs:var
#define ENDBR
#define BITS_PER_LONG 64

/* One variable of asm/current.h (6.2 to 6.14), of which entry code reads the top of the stack. */
#define pcpu_hot cpu_current_top_of_stack

/* ---- asm/nospec-branch.h: nothing on the processors that are modelled ---------- */

#define CLEAR_CPU_BUFFERS
#define VM_CLEAR_CPU_BUFFERS
#define CLEAR_BRANCH_HISTORY
#define CLEAR_BRANCH_HISTORY_VMEXIT
#define CALL_DEPTH_ACCOUNT
#define CREDIT_CALL_DEPTH
#define RESET_CALL_DEPTH

/* ---- asm/cpufeatures.h, asm/alternative.h ----------------------------------------- */

#define ALT_NOT(feature) !(feature)
#define ALTERNATIVE_TERNARY(oldinstr, feature, yes, no) ALTERNATIVE_2 oldinstr, no, 1, yes, feature

/* ---- asm/alternative-asm.h, asm/thread_info.h, asm/irqflags.h of kernels before 4.4 --------------- */

#define LOCK lock
/* xen-asm.h */
#define ENDPATCH(name)
#define RELOC(name, place)
#define P6_NOP4 0x0f, 0x1f, 0x40, 0x00
#define SCHEDULE_USER call schedule_user
#define LOCKDEP_SYS_EXIT
#define LOCKDEP_SYS_EXIT_IRQ
/* Up to 4.0 the word is below the top of the stack; thread_info lies at its lowest address. */
#define GET_THREAD_INFO(reg) movq PER_CPU_VAR(kernel_stack), reg; subq $(THREAD_SIZE - KERNEL_STACK_OFFSET), reg
#define THREAD_INFO(reg, off) (KERNEL_STACK_OFFSET + (off) - THREAD_SIZE)(reg)

/* ---- asm/kaiser.h of 4.4 and 4.9: page tables are not isolated here -------------------------------- */

#ifndef CONFIG_PAGE_TABLE_ISOLATION
#define SWITCH_KERNEL_CR3
#define SWITCH_KERNEL_CR3_NO_STACK
#define SWITCH_USER_CR3
#endif

/* ---- asm/irq_vectors.h ------------------------------------------------------------- */

/* The timer's gate is the first of the system vectors; the stub of the next one is assembled for all others. */
#define FIRST_SYSTEM_VECTOR 0xed

/* ---- asm/irqflags.h ------------------------------------------------------------------ */

/* Up to 5.10 with the registers that may be changed; the generation's listings have them without. */
#define DISABLE_INTERRUPTS(clobbers) DISABLE_INTERRUPTS
#define ENABLE_INTERRUPTS(clobbers) ENABLE_INTERRUPTS

/* asm/paravirt.h has another one for guests of Xen. */
#define SAVE_FLAGS SAVE_FLAGS_TO_RAX

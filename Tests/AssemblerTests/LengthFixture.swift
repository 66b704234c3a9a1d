/// Lengths as GNU as 2.40 encodes them: `as`, then the distance between labels around each instruction.
///
/// `extsym` is an undefined symbol there and an external at 0xffffffff82000000 here.
enum LengthFixture {
    static let text = """
        4 lslq %rax, %rax
        4 lslq %r8, %rax
        3 lsl %eax, %ebx
        4 lsll %eax, %r9d
        4 lslw %ax, %bx
        5 lslq (%rsp), %rax
        4 lsl 8(%rdi), %eax
        4 lslw (%rax), %cx
        3 movq %rsp, %rdi
        3 movq %r8, %rax
        3 movl %eax, %r9d
        2 movl %ebx, %ecx
        3 movw %ax, %bx
        2 movb %al, %bl
        3 movb %sil, %al
        3 movb %al, %r10b
        3 mov %rsp, %rbp
        4 movq (%rsp), %rax
        4 movq (%rbp), %rax
        4 movq (%r12), %rax
        4 movq (%r13), %rax
        5 movq 8(%rsp), %rax
        4 movq -8(%rbp), %rax
        4 movq 127(%rax), %rcx
        7 movq 128(%rax), %rcx
        4 movq -128(%rax), %rcx
        7 movq -129(%rax), %rcx
        7 movq 0x1000(%rax), %rcx
        3 movl 4(%rax), %ecx
        4 movq %rax, (%rdi, %rcx, 8)
        5 movq %rax, 16(%rdi, %rcx, 8)
        8 movq (,%rax,8), %rdx
        8 movq extsym(,%rax,8), %rdx
        5 movq (%rbp,%rax), %rdx
        5 movq (%r13,%r14,4), %rdx
        7 movq extsym(%rip), %rax
        7 movq extsym+8(%rip), %rax
        6 movl extsym(%rip), %eax
        9 movq %gs:extsym, %rsp
        9 movq %gs:extsym+8, %rsp
        9 movq %rsp, %gs:extsym
        9 movq %gs:0x10, %rax
        8 movl %fs:0x28, %eax
        5 movq %gs:8(%rax), %rcx
        8 movq %gs:extsym(%rip), %rcx
        7 movq extsym(%rax), %rcx
        4 movq %ss:(%rax), %rcx
        3 movq %ds:(%rax), %rcx
        4 movq %cs:(%rax), %rcx
        4 movq %es:(%rax), %rcx
        5 movl $0, %eax
        5 movl $0xffffffff, %eax
        6 movl $1, %r8d
        2 movb $1, %al
        3 movb $1, %sil
        3 movb $1, %r9b
        4 movw $1, %ax
        7 movq $0, %rax
        7 movq $-1, %r15
        7 movq $0x7fffffff, %rax
        10 movq $0x80000000, %rax
        7 movq $0xffffffff80000000, %rax
        10 movq $0x123456789abc, %rax
        10 movabs $1, %rax
        10 movabs $0x123456789abc, %r11
        10 movabsq $extsym, %rax
        7 movq $extsym, %rdi
        5 movl $extsym, %edi
        8 movq $extsym, (%rsp)
        9 movq $0, 8(%rsp)
        8 movl $0, 8(%rsp)
        7 movw $0, 8(%rsp)
        5 movb $0, 8(%rsp)
        9 movq $-1, 0x78(%rsp)
        7 mov 0x10, %eax
        8 mov 0x10, %rax
        10 mov 0x123456789abc, %rax
        9 mov %al, 0x123456789abc
        9 movabs 0x10, %al
        10 movabs %rax, 0x10
        2 movl %cs, %eax
        3 movw %ds, %ax
        2 movq %ss, %rax
        2 movl %eax, %ds
        2 movw %ax, %es
        2 movq %rax, %ss
        3 movl %r8d, %gs
        2 movw %fs, (%rax)
        4 movw 8(%rsp), %ds
        3 mov (%r8), %es
        3 movq %cr0, %rax
        3 movq %cr2, %rdi
        3 movq %cr3, %rax
        3 movq %rax, %cr3
        3 movq %rax, %cr4
        4 movq %cr8, %rax
        4 movq %r9, %cr3
        3 movq %dr6, %rax
        3 movq %rax, %dr7
        3 movzbl %al, %eax
        4 movzbl %sil, %eax
        3 movzbl (%rax), %eax
        4 movzbq %al, %rax
        3 movzwl %ax, %eax
        4 movzwq %ax, %rax
        5 movzwl 8(%rsp), %eax
        4 movzbw %al, %ax
        3 movzx %al, %ecx
        3 movsbl %al, %eax
        4 movsbq (%rax), %rax
        4 movswl %ax, %r8d
        4 movswq %ax, %rax
        3 movslq %eax, %rax
        4 movslq (%rsp), %rcx
        4 movsx %ax, %rcx
        5 leaq 8(%rsp), %rdi
        7 leaq extsym(%rip), %rax
        3 leal (%rax,%rax), %ecx
        8 lea -0x100(%rsp), %rsp
        1 pushq %rax
        1 push %rbp
        2 pushq %r15
        2 pushw %ax
        2 pushq $0
        2 pushq $-1
        2 pushq $127
        5 pushq $128
        2 pushq $-128
        5 pushq $~0x80
        5 pushq $0x80
        5 pushq $-0x81
        5 pushq $extsym
        2 pushq (%rdi)
        3 pushq 8(%rdi)
        4 pushq 0x28(%rsp)
        8 pushq %gs:extsym
        6 pushq extsym(%rip)
        5 push 8*5(%r12)
        1 popq %rax
        2 popq %r12
        2 popw %ax
        3 popq (%rsp)
        4 popq 8(%rsp)
        8 popq %gs:extsym
        1 pushfq
        1 pushf
        1 popfq
        1 popf
        2 xchgq %rax, %rcx
        2 xchgq %rcx, %rax
        3 xchgq %rcx, %rdx
        2 xchgl %eax, %eax
        1 xchgq %rax, %rax
        2 xchgw %ax, %ax
        2 xchgw %bx, %ax
        2 xchgq %rax, %r8
        1 xchgl %ecx, %eax
        2 xchgb %al, %bl
        4 xchgq %rdi, (%rsp)
        4 xchg (%rsp), %rdi
        4 cmovzq %rax, %rcx
        3 cmovnel (%rax), %ecx
        4 cmovcq %r8, %rax
        3 cmovl %eax, %ebx
        4 cmovsw %ax, %bx
        3 sete %al
        4 setne %sil
        3 setnz (%rax)
        4 setb %r8b
        4 addq $8, %rsp
        4 addq $127, %rsp
        7 addq $128, %rsp
        4 addq $-128, %rsp
        6 addq $0x1000, %rax
        7 addq $0x1000, %rcx
        5 addl $0x1000, %eax
        4 addw $0x1000, %ax
        2 addb $1, %al
        3 addb $1, %bl
        4 addw $1, %ax
        6 addq $extsym, %rax
        7 addq $extsym, %rcx
        3 addl $0xffffffff, %eax
        4 subq $(6*8), %rsp
        3 subq %rax, %rcx
        4 adcq $0, %rdx
        2 sbbl %eax, %eax
        4 andq $~7, %rsp
        4 andq $-16, %rsp
        3 andl $0xfffffffe, %edi
        7 andq $0xfff, %rdi
        6 orq $0x1000, %rax
        7 orq $0x1000, %rdi
        3 orl %eax, (%rsp)
        2 xorl %eax, %eax
        3 xorl %r8d, %r8d
        3 xorq %rbp, %rbp
        2 xorb %al, %al
        3 cmpq %rax, %rcx
        3 cmpq (%rax), %rcx
        3 cmpq %rcx, (%rax)
        6 cmpq $-1, 0x78(%rsp)
        9 cmpq $extsym, 8(%rsp)
        9 cmpl $0, %gs:extsym
        7 cmpl $1, extsym(%rip)
        6 cmpw $0x10, 8(%rsp)
        7 cmpw $0x1000, 8(%rsp)
        3 cmpb $0, (%rax)
        2 cmpb $3, %al
        12 cmpq $0x1000, 0x80(%rsp)
        5 testb $3, 8(%rsp)
        2 testb $3, %al
        4 testb $3, %dil
        5 testl $3, %eax
        6 testl $3, %ebx
        4 testw $3, %ax
        6 testq $3, %rax
        7 testq $3, %rcx
        8 testl $0x200, 8(%rsp)
        7 testw $0x200, 8(%rsp)
        3 testq %rax, %rax
        2 testl %eax, (%rax)
        2 test (%rax), %ecx
        3 notq %rax
        2 notl (%rax)
        3 negq %r8
        2 incl %eax
        8 incl %gs:extsym
        4 decq (%rsp)
        3 decb %sil
        3 shlq $1, %rax
        3 shlq %rax
        4 shlq $4, %rax
        4 shlq $extsym-extsym+2, %rax
        2 shrl %cl, %eax
        4 shrq $32, %rdx
        4 sarq $47, %rcx
        3 sarq (%rax)
        3 sall $2, (%rax)
        3 roll %cl, 4(%rax)
        4 rorb $3, %sil
        4 shlw $3, %ax
        4 btl $9, %eax
        5 btq $63, %rax
        3 btl %eax, %ecx
        5 btsq $12, %rax
        6 btrq $12, (%rsp)
        5 btcw $1, %ax
        7 btsl %eax, extsym(%rip)
        6 bt $9, 8(%rsp)
        5 call extsym
        5 callq extsym
        5 jmp extsym
        6 jz extsym
        6 jnae extsym
        2 call *%rax
        3 call *%r11
        3 call *8(%rax)
        6 call *extsym(%rip)
        7 call *extsym(,%rax,8)
        2 jmp *%rdi
        3 jmp *%r12
        3 jmp *(%rsp)
        8 jmp *%gs:extsym
        1 retq
        1 ret
        3 ret $16
        2 rep; ret
        1 int3
        1 int $3
        2 int $0x80
        2 iretq
        1 iretl
        1 iret
        2 iretw
        2 syscall
        3 sysretq
        2 sysretl
        2 sysenter
        2 sysexitl
        3 sysexitq
        3 swapgs
        2 rdmsr
        2 wrmsr
        5 rdfsbase %rax
        5 rdgsbase %rcx
        5 wrfsbase %r8
        5 wrgsbase %rax
        4 rdgsbase %eax
        1 cli
        1 sti
        1 cld
        1 std
        3 clac
        3 stac
        3 lfence
        3 mfence
        3 sfence
        3 verw (%rax)
        7 verw extsym(%rip)
        3 verw %ax
        6 invpcid (%rsp), %rax
        6 invpcid (%r8), %r9
        3 invlpg (%rax)
        4 invlpg (%r8)
        2 wbinvd
        2 clts
        1 hlt
        2 ud2
        1 nop
        3 nopl (%rax)
        5 nopw 0(%rax,%rax,1)
        5 nopl 8(%rax,%rax)
        3 nopl %eax
        2 pause
        4 endbr64
        2 rep; nop
        2 rdtsc
        3 rdtscp
        2 cpuid
        2 inb $0x61, %al
        2 inl $0x61, %eax
        1 inb %dx, %al
        2 inw %dx, %ax
        1 in (%dx), %al
        2 outb %al, $0x80
        1 outl %eax, %dx
        3 out %ax, $0x20
        4 lock addl $1, (%rax)
        4 lock; incq (%rdi)
        5 lock btsl $3, (%rdi)
        4 lock xchgq %rax, (%rdi)
        8 lock orq %r8, extsym(%rip)
        """
}

/* Thunks: what a name or a wrapped pointer points to.
 *
 * While no tape is open in the process a thunk jumps to the real routine, with every register and the stack as the
 * caller left them: the BLAS sees the program's own call, hidden lengths or none included. Otherwise it notes its
 * binding (entry.h) in this thread's bl_thread_state.bound and jumps to the binding's entry. So one entry per routine
 * and ABI serves any number of names and implementations, and nothing is ever written to executable memory.
 *
 * Only registers that a callee may destroy, and that carry no argument, are used: r11 and rax; x9, x16 and x17.
 * A signal handler that calls BLAS between the store and the entry's load would rebind the call; such a handler is not
 * allowed to call BLAS (nothing in BLAS is async-signal-safe).
 *
 * struct bl_binding: 32 bytes, the entry first, the real routine (or NULL) at 8.
 */
#define BL_POOL_SIZE 4096

    .text
#if defined(__x86_64__)

    .type bl_through, %function
bl_through:
    cmpl    $0, bl_armed(%rip)
    jne     1f
    movq    8(%r11), %rax
    testq   %rax, %rax
    je      1f
    jmp     *%rax
1:  movq    bl_thread_state@gottpoff(%rip), %rax
    movq    %r11, %fs:(%rax)
    jmp     *(%r11)
    .size bl_through, . - bl_through

    .macro BL_THUNK table, index
    endbr64
    leaq    \table + 32 * (\index)(%rip), %r11
    jmp     bl_through
    .endm

#elif defined(__aarch64__)

    .type bl_through, %function
bl_through:
    adrp    x17, bl_armed
    ldr     w17, [x17, :lo12:bl_armed]
    cbnz    w17, 1f
    ldr     x17, [x16, #8]
    cbz     x17, 1f
    br      x17
1:  mrs     x17, tpidr_el0
    adrp    x9, :gottprel:bl_thread_state
    ldr     x9, [x9, :gottprel_lo12:bl_thread_state]
    str     x16, [x17, x9]
    ldr     x17, [x16]
    br      x17
    .size bl_through, . - bl_through

    .macro BL_THUNK table, index
    hint    #34                 /* bti c */
    adrp    x16, \table + 32 * (\index)
    add     x16, x16, :lo12:\table + 32 * (\index)
    b       bl_through
    .endm

#else
#error "blasad has thunks for x86-64 and aarch64 only"
#endif

    .macro BL_NAME name, index
    .p2align 4
    .globl  blasad_entry_\name
    .type   blasad_entry_\name, %function
blasad_entry_\name:
    BL_THUNK bl_name_binding, \index
    .size   blasad_entry_\name, . - blasad_entry_\name
    .endm

#include "names.inc"

/* The pool for wrapped pointers: thunk i uses bl_pool_binding[i]; each is 16 bytes. */
    .p2align 4
    .globl  bl_pool_thunks
    .hidden bl_pool_thunks
    .type   bl_pool_thunks, %function
bl_pool_thunks:
    .set    index, 0
    .rept   BL_POOL_SIZE
    .p2align 4
    BL_THUNK bl_pool_binding, index
    .set    index, index + 1
    .endr
    .size   bl_pool_thunks, . - bl_pool_thunks

    .section .note.GNU-stack, "", %progbits

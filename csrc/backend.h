/* The real BLAS: found, probed, one table each.
 *
 * A backend is never freed once made: records and bindings point to it for as long as the process lives, and a process
 * sees few. Tables are filled before they are published and constant afterwards, so threads read them without a lock.
 */
#ifndef BL_BACKEND_H
#define BL_BACKEND_H

#include "call.h"

/* The ABIs of a symbol: Fortran or CBLAS, with 32- or 64-bit integers. */
enum bl_abi { BL_F32, BL_F64, BL_C32, BL_C64, BL_ABIS };
/* Fortran functions that return a complex number through a hidden first argument. */
enum bl_hidden_abi { BL_H32, BL_H64 };

static inline bool bl_abi_is_cblas(int abi) { return abi >= BL_C32; }
static inline int bl_abi_width(int abi) { return abi == BL_F32 || abi == BL_C32 ? 32 : 64; }

/* Flags as CBLAS numbers them. */
static inline int bl_number_trans(char c) { return c == 'N' ? 111 : c == 'T' ? 112 : c == 'C' ? 113 : 0; }
static inline int bl_number_uplo(char c) { return c == 'U' ? 121 : 122; }
static inline int bl_number_diag(char c) { return c == 'N' ? 131 : 132; }
static inline int bl_number_side(char c) { return c == 'L' ? 141 : 142; }

/* Calls `f` with the arguments of `c` in one ABI. Generated (callers.c). */
typedef void (*bl_caller)(const bl_call *c, void (*f)(void));
extern const bl_caller bl_callers[BL_FIRST_KERNEL][4][BL_ABIS];
extern const bl_caller bl_hidden_callers[BL_FIRST_KERNEL][4][2]; /* NULL: what is returned is no complex number */

typedef struct bl_backend {
    struct {
        void (*run)(void);
        bl_caller call;
        uint8_t abi;
    } function[BL_ALL][4];
    /* How the library returns a complex number: in registers, or through a hidden first pointer. */
    enum { BL_COMPLEX_UNKNOWN, BL_COMPLEX_REGISTERS, BL_COMPLEX_POINTER } complex_return;
    int width; /* of its integers, in bits */
    const char *path;
    uint16_t id;
} bl_backend;

/* The backend with this id. */
const bl_backend *bl_backend_of(uint16_t id);

/* Down to the BLAS, or to a kernel of our own. */
void bl_backend_run(const bl_call *c);

/* The default, which serves blasad's own names; NULL until one is set. */
const bl_backend *bl_backend_default(void);

/* Around fork. */
void bl_backends_lock(void);
void bl_backends_unlock(void);

#endif

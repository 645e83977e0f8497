/* Memory that runs out: every allocation of the program and the library, mappings and files included, is counted, and
 * some of them are refused. Include it in one file of a program only. */
#ifndef EXHAUST_H
#define EXHAUST_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static long made, fail_from, fail_to; /* allocations since armed; those that fail */
static bool armed;
static long mapped; /* bytes of address space */

static bool refused(void)
{
    if (!armed)
        return false;
    made++;
    if (made < fail_from || made > fail_to)
        return false;
    errno = ENOMEM;
    return true;
}

/* malloc and its family stand in front of the sanitizer's or the C library's; free is theirs. */
#define SANITIZERS __attribute__((weak))
void *__interceptor_malloc(size_t) SANITIZERS;
void *__interceptor_calloc(size_t, size_t) SANITIZERS;
void *__interceptor_realloc(void *, size_t) SANITIZERS;
void *__interceptor_aligned_alloc(size_t, size_t) SANITIZERS;
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t n) { return refused() ? NULL : __interceptor_malloc ? __interceptor_malloc(n) : __libc_malloc(n); }
void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : __interceptor_calloc ? __interceptor_calloc(n, size) : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    return refused() ? NULL : __interceptor_realloc ? __interceptor_realloc(p, n) : __libc_realloc(p, n);
}
void *aligned_alloc(size_t alignment, size_t n)
{
    return refused()                     ? NULL
           : __interceptor_aligned_alloc ? __interceptor_aligned_alloc(alignment, n)
                                         : __libc_memalign(alignment, n);
}

void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset)
{
    if (refused())
        return MAP_FAILED;
    void *p = (void *)syscall(SYS_mmap, at, bytes, protection, flags, file, offset);
    if (p != MAP_FAILED && !(flags & MAP_FIXED))
        mapped += (long)bytes;
    return p;
}
int munmap(void *at, size_t bytes)
{
    const int code = (int)syscall(SYS_munmap, at, bytes);
    if (code == 0)
        mapped -= (long)bytes;
    return code;
}

int posix_fallocate(int file, off_t offset, off_t bytes)
{
    if (refused())
        return ENOSPC;
    return syscall(SYS_fallocate, file, 0, offset, bytes) == 0 ? 0 : errno;
}
int ftruncate(int file, off_t bytes) { return refused() ? -1 : (int)syscall(SYS_ftruncate, file, bytes); }

#endif

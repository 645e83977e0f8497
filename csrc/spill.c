#include "spill.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static int unnamed_file(void)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    folder = folder && *folder ? folder : "/tmp";
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || snprintf(path, sizeof path, "%s/blasad-XXXXXX", folder) >= (int)sizeof path)
        return fd;
    fd = mkostemp(path, O_CLOEXEC); /* a file system without O_TMPFILE */
    if (fd >= 0)
        unlink(path);
    return fd;
}

void *bl_spill_map(bl_spill *s, size_t bytes, size_t alignment, size_t *offset)
{
    if (s->fd <= 0) {
        int fd = unnamed_file();
        if (fd == 0) { /* a process without standard input; 0 says that there is no file */
            fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
            close(0);
        }
        if (fd < 0)
            return NULL;
        s->fd = fd;
    }
    struct rlimit most; /* beyond it a signal comes, not an error */
    if (getrlimit(RLIMIT_FSIZE, &most) != 0 || s->size + bytes > most.rlim_cur)
        return NULL;
    if (ftruncate(s->fd, (off_t)(s->size + bytes)) != 0)
        return NULL;
    const size_t all = bytes + alignment;
    char *room = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    char *at = room + (-(uintptr_t)room & (alignment - 1));
    if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->fd, (off_t)s->size) == MAP_FAILED) {
        munmap(room, all);
        return NULL;
    }
    if (at > room)
        munmap(room, (size_t)(at - room));
    munmap(at + bytes, (size_t)(room + all - at) - bytes);
    *offset = s->size;
    s->size += bytes;
    return at;
}

bool bl_spill_reserve(const bl_spill *s, size_t offset, size_t bytes)
{
    return posix_fallocate(s->fd, (off_t)offset, (off_t)bytes) == 0;
}

void bl_spill_close(bl_spill *s)
{
    if (s->fd > 0)
        close(s->fd);
    s->fd = 0;
}

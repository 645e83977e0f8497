/* The last error of each thread: a code is returned, the text waits in blasad_last_error(). */
#ifndef BL_ERROR_H
#define BL_ERROR_H

#include "blasad.h"

#define BL_EXPORT __attribute__((visibility("default")))

/* Sets the text and returns `code`. */
int bl_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

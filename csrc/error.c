#include "error.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The text is owned by its thread and freed with it; a key, not a _Thread_local array, since static TLS is scarce. */
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void make_key(void)
{
    if (pthread_key_create(&key, free) != 0)
        abort();
}

int bl_fail(int code, const char *format, ...)
{
    pthread_once(&once, make_key);
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    free(pthread_getspecific(key));
    if (pthread_setspecific(key, text) != 0) {
        free(text);
        pthread_setspecific(key, NULL);
    }
    return code;
}

BL_EXPORT const char *blasad_last_error(void)
{
    pthread_once(&once, make_key);
    const char *text = pthread_getspecific(key);
    return text ? text : "blasad: no more is known (out of memory)";
}

BL_EXPORT const char *blasad_version(void) { return BLASAD_VERSION; }

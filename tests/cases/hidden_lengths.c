/* The program of hidden_lengths.toml: dgemm_ called without and with the hidden lengths of its characters, in a loop,
 * between live locals. It knows libblasad.so and a BLAS by their paths only.
 *
 *     hidden_lengths LIBBLASAD BLAS with|without
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef void gemm13(const char *, const char *, const int *, const int *, const int *, const double *, const double *,
                    const int *, const double *, const int *, const double *, double *, const int *);
typedef void gemm15(const char *, const char *, const int *, const int *, const int *, const double *, const double *,
                    const int *, const double *, const int *, const double *, double *, const int *, size_t, size_t);

static void *library;

static void find(const char *name, void *function, size_t size)
{
    void *address = dlsym(library, name);
    memcpy(function, &address, size);
}

#define FIND(type, name, ...)                                                                                          \
    type (*name)(__VA_ARGS__);                                                                                         \
    find(#name, &name, sizeof name)

static void show(const char *name, const double *x)
{
    printf("%s %.17g %.17g %.17g %.17g\n", name, x[0], x[1], x[2], x[3]);
}

int main(int count, char **argument)
{
    if (count != 4 || !(library = dlopen(argument[1], RTLD_NOW))) {
        fprintf(stderr, "%s\n", count == 4 ? dlerror() : "three arguments");
        return 1;
    }
    FIND(int, blasad_set_backend, const char *);
    FIND(void *, blasad_address, const char *);
    FIND(void *, blasad_tape_open, int);
    FIND(int, blasad_duplicated, void *, void *, void *, size_t);
    FIND(int, blasad_tape_close_recording, void *);
    FIND(int, blasad_reverse, void *);
    FIND(int, blasad_tape_free, void *);
    FIND(const char *, blasad_last_error, void);

    int bad = blasad_set_backend(argument[2]);
    double A[4] = {1, 3, 2, 4}, B[4] = {0.5, 2, -1, 0.25}, C[4] = {0};
    double dA[4] = {0}, dB[4] = {0}, dC[4] = {1, -2, 0.5, 4};
    void *tape = blasad_tape_open(0);
    bad = bad || !tape || blasad_duplicated(tape, A, dA, sizeof A) || blasad_duplicated(tape, B, dB, sizeof B) ||
          blasad_duplicated(tape, C, dC, sizeof C);

    void *address = blasad_address("dgemm_");
    gemm13 *without;
    gemm15 *with;
    memcpy(&without, &address, sizeof without);
    memcpy(&with, &address, sizeof with);
    const int n = 2;
    const double one = 1, zero = 0;
    /* enough of them that some live on the stack, next to the arguments */
    double live[12];
    for (int i = 0; i < 12; i++)
        live[i] = count * 1000 + i;
    for (int pass = 0; pass < 1000; pass++) {
        double before = live[pass % 12] + pass;
        if (strcmp(argument[3], "with") == 0)
            with("N", "N", &n, &n, &n, &one, A, &n, B, &n, &zero, C, &n, 1, 1);
        else
            without("N", "N", &n, &n, &n, &one, A, &n, B, &n, &zero, C, &n);
        bad = bad || before != count * 1000 + pass % 12 + pass || n != 2 || one != 1 || zero != 0;
    }
    for (int i = 0; i < 12; i++)
        bad = bad || live[i] != count * 1000 + i;
    bad = bad || blasad_tape_close_recording(tape) || blasad_reverse(tape) || blasad_tape_free(tape);
    if (bad) {
        const char *text = blasad_last_error();
        fprintf(stderr, "%s\n", text && *text ? text : "a local variable changed");
        return 1;
    }
    show("A", dA);
    show("B", dB);
    show("C", dC);
    return 0;
}

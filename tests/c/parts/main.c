/* Operands whose elements belong to several annotations, to constants and to nobody: gathered, computed with and
 * scattered, in both modes, of all types, with batches of shadows; random programs against plain loops. Contract: 1-6. */
#include "../world.h"

enum { ROUNDS = 1500 };

/* Blocks, interleaved columns, real and imaginary parts, single numbers. */
static void random_annotation(void)
{
    static const enum owner owners[] = {ACTIVE, ACTIVE, ACTIVE, CONSTANT};
    const int64_t step = 1 + check_below(3), shape[2] = {1 + check_below(6), 1 + check_below(4)};
    const int64_t strides[2] = {check_below(4) ? step : -step, shape[0] * step + check_below(4)};
    world_annotate(owners[check_below(4)], (int)check_below(WORLD), (int)check_below(3), shape, strides);
}

static void random_program(int round)
{
    double memory[WORLD];
    int places[6];
    const int base = round % 4 == 3 ? BLASAD_FLOAT : BLASAD_DOUBLE, batch = round % 3 == 2 ? BATCH : 1;
    world_begin(base, round % 5 < 2 ? BLASAD_FORWARD : BLASAD_REVERSE, batch, round / 2 % 2, memory);
    for (int i = 0; i < 6; i++)
        places[i] = (int)check_below(WORLD - 40);
    for (int i = 0; i < 10 + round % 50; i++)
        random_annotation();
    world_run(round, 5 + round % (STEPS - 5), places, 6);
    world_end_it();
}

int main(void)
{
    check_backend();
    for (int round = 0; round < ROUNDS && !check_failures; round++)
        random_program(round);
    return check_end();
}

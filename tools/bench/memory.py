"""What gemm costs by how much memory is annotated, how much is recorded and whose it is, on one thread.

    python tools/bench/memory.py [--quick]

Needs a C compiler and 3 GB of memory. The bounds are those of the project; `v` is with verification, as is usual, `-`
is verify=False. "Bookkeeping" is recording less the bare call, behind a "BLAS" that computes nothing (`nothing` in
gemm.c, wrapped): what products and their noise would hide.

(g) a chain of 10,000 products of 8x8, recorded and replayed, over 20,000 annotated ranges: at most 1.5 x the time of
    the same calls over three ranges; with the ranges used in random order 2 x
(h) bookkeeping of a call, 10^3 to 10^7 calls (8x8) on a tape: the dearest at most 1.5 x the cheapest, 128 bytes a call
(i) bookkeeping of the updates of a blocked LU, 64x64 blocks of 4096x4096: at most 1 us a call (verify=False)
(j) bookkeeping of products of random 17x13 blocks of one annotated parent: at most 500 ns a call (verify=False)
(k) a batch of 8 shadows: replaying at most 1.05 x 8 times the bare adjoint products of one, the primal product once
(l) a chain of 10,000 products of 8x8 through undeclared temporaries, against the same through annotated ones
"""

import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from harness import Array, Bench, at, interleaved, main, normal  # first: it chooses one thread

# isort: split
import numpy as np

import blasad
from blasad import Tape

# What Tape(verify=…) is given, as rows show it.
VERIFY = ((False, "-"), (True, "v"))
CHUNK = 2 << 20  # bytes in which a tape takes memory


def resident() -> int:
    """Bytes of memory that the process has touched."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def once(annotate: Callable[[Tape], None], program: Callable[[], object], verify: bool) -> tuple[float, float]:
    """Seconds of this thread for recording, until the block is left, and for replaying."""
    tape = Tape(verify=verify, undeclared="constant")
    annotate(tape)
    start = time.thread_time()
    with tape:
        program()
    middle = time.thread_time()
    tape.reverse()
    end = time.thread_time()
    tape.close()
    return middle - start, end - middle


def duplicated(tape: Tape, pairs: Iterable[tuple[Array, Array]]) -> None:
    for x, dx in pairs:
        tape.duplicated(x, dx)


class Memory(Bench):
    def __init__(self, quick: bool) -> None:
        super().__init__(quick)
        self.nothing = ctypes.cast(self.loops.nothing, ctypes.c_void_p).value or 0
        self.recorded_nothing = blasad.wrap("dgemm_", self.nothing, integer_bits=32)

    def figures(self) -> dict[str, Callable[[], None]]:
        parts = (self.ranges, self.length, self.lu, self.blocks, self.batch, self.scratch)
        return dict(zip("ghijkl", parts, strict=True))

    def ranges(self) -> None:
        n, calls = 8, 10_000
        x, a = np.zeros((calls + 1, n, n)), normal(calls, n, n) / np.sqrt(n)
        dx, da = np.zeros_like(x), np.zeros_like(a)
        parts = {
            "three": [(x[:1], dx[:1]), (x[1:], dx[1:]), (a, da)],
            "many": [*zip(x, dx, strict=True), *zip(a, da, strict=True)],
        }
        random = np.random.default_rng(2)
        orders = {
            "address": (np.arange(calls + 1), np.arange(calls), 1.5),
            "random": (random.permutation(calls + 1), random.permutation(calls), 2.0),
        }
        for order, (p, q, bound) in orders.items():
            x[p[0]] = np.eye(n)
            for verify, mark in VERIFY:

                def ours(which: str) -> float:
                    dx[p[-1]] = 1
                    return sum(
                        once(
                            lambda tape: duplicated(tape, parts[which]),
                            lambda: self.loops.walk(self.wrapped, n, calls, at(x), at(a), at(p), at(q)),
                            verify,
                        )
                    )

                few, many = interleaved(lambda: ours("three"), lambda: ours("many"), 4 if self.quick else 12)
                ratio = min(many) / min(few)
                what = f"(g{mark}) {len(parts['many'])} ranges, {order} order, three {min(few) / calls * 1e9:.0f} ns a call"
                self.row(what, f"{ratio:.2f} x", f"<= {bound} x", ratio <= bound)

    def length(self) -> None:
        n = 8
        a, b, c = normal(n, n), normal(n, n), normal(n, n)
        pairs = [(x, np.zeros_like(x)) for x in (a, b, c)]

        def calls(f: int, count: int) -> float:
            return float(self.loops.same(f, n, count, at(a), at(b), at(c)))

        def record(count: int, verify: bool) -> tuple[Tape, float]:
            tape = Tape(verify=verify)
            duplicated(tape, pairs)
            with tape:
                calls(self.recorded_nothing, 10)
                seconds = calls(self.recorded_nothing, count)
            return tape, seconds

        counts = [10**e for e in range(3, 7 if self.quick else 8)]
        for verify, mark in VERIFY:
            best = {count: [np.inf, np.inf, np.inf] for count in counts}
            for round in range(4 if self.quick else 6):
                for count in counts:
                    for _ in range(min(20, max(1, 10**5 // count))):
                        bare = calls(self.nothing, min(count, 10**6)) / min(count, 10**6)
                        tape, seconds = record(count, verify)
                        replay = 0.0
                        # A long replay is worth timing once; the first round only fills the pool.
                        if count < 10**7 or round == 1:
                            start = time.thread_time()
                            tape.reverse()
                            replay = time.thread_time() - start
                        tape.close()
                        if round:
                            found = (bare, seconds / count, replay / count or np.inf)
                            best[count] = [min(pair) for pair in zip(best[count], found, strict=True)]
            curve = {count: (recorded - bare) * 1e9 for count, (bare, recorded, _) in best.items()}
            ratio = max(curve.values()) / min(curve.values())
            for count, cost in curve.items():
                figure = f"{cost:.1f}, {best[count][2] * 1e9:.1f} ns"
                last = count == counts[-1]
                self.row(
                    f"(h{mark}) bookkeeping, 10^{len(str(count)) - 1} calls: recording, replaying",
                    f"{figure} ({ratio:.2f} x)" if last else figure,
                    "<= 1.5 x" if last else "",
                    ratio <= 1.5 if last else None,
                )
        # What a tape takes from the system once another one has emptied the pool, which holds 128 MiB.
        count = counts[-1]
        other, _ = record(1_200_000, True)
        before = resident()
        tape, _ = record(count, True)
        each = (resident() - before - CHUNK) / count
        tape.close()
        other.close()
        # The last chunk is not full, and the system's allocator has a page of its own with each.
        self.row(f"(h) bytes a call, {count} calls, but for chunks' ends", f"{each:.1f}", "<= 128 + 1 %", each <= 129.3)

    def bookkeeping(
        self, annotate: Callable[[Tape], None], loop: Callable[[int], float], calls: int, verify: bool
    ) -> tuple[float, float]:
        """ns a call above the bare one, and bytes saved a call."""
        saved = 0

        def ours() -> float:
            nonlocal saved
            tape = Tape(verify=verify)
            annotate(tape)
            with tape:
                seconds = loop(self.recorded_nothing)
            saved = tape.saved_bytes
            tape.close()
            return seconds

        times = (2 if self.quick else 4) if verify else (4 if self.quick else 12)
        bare, recorded = interleaved(lambda: loop(self.nothing), ours, times)
        return (min(recorded) - min(bare)) / calls * 1e9, saved / calls

    def lu(self) -> None:
        n, blocks = 64, 16 if self.quick else 64
        a = normal(n * blocks, n * blocks)
        da = np.zeros_like(a)
        calls = sum(k * k for k in range(blocks))
        for verify, mark in VERIFY:
            cost, _ = self.bookkeeping(
                lambda tape: tape.duplicated(a, da),
                lambda f: float(self.loops.lu(f, n, blocks, at(a))),
                calls,
                verify,
            )
            what = f"(i{mark}) bookkeeping, LU of {n * blocks}x{n * blocks}, {calls} updates"
            self.row(what, f"{cost:.0f} ns a call", "" if verify else "<= 1000 ns", None if verify else cost <= 1000)

    def blocks(self) -> None:
        side, calls = 4096, 10_000 if self.quick else 100_000
        parent = normal(side, side)
        shadow = np.zeros_like(parent)
        random = np.random.default_rng(3)
        # C may not share elements with A or B: where it would, it goes elsewhere.
        row, column = random.integers(0, side - 17, (2, calls, 3))
        while True:
            near = (abs(row[:, :2] - row[:, 2:]) < 17) & (abs(column[:, :2] - column[:, 2:]) < 13)
            bad = near.any(axis=1)
            if not bad.any():
                break
            row[bad, 2], column[bad, 2] = random.integers(0, side - 17, (2, bad.sum()))
        anywhere = column * side + row
        # Once more with what is written in one half and what is read in the other: nothing is saved.
        column[:, :2] //= 2
        column[:, 2] = np.maximum(side // 2 + 13, column[:, 2] // 2 + side // 2)
        column[:, 2] = np.minimum(column[:, 2], side - 13)
        apart = column * side + row
        for where, offsets in (("anywhere", anywhere), ("written apart", apart)):
            flat = np.ascontiguousarray(offsets)
            for verify, mark in VERIFY:
                cost, saved = self.bookkeeping(
                    lambda tape: tape.duplicated(parent, shadow),
                    lambda f: float(self.loops.blocks(f, calls, side, at(parent), at(flat))),
                    calls,
                    verify,
                )
                what = f"(j{mark}) bookkeeping, {calls} random blocks {where}, {saved:.0f} B saved"
                self.row(what, f"{cost:.0f} ns a call", "" if verify else "<= 500 ns", None if verify else cost <= 500)

    def batch(self) -> None:
        n, shadows = 256, 8
        a, b, c = normal(n, n), normal(n, n), normal(n, n)
        da, db, dc = (np.zeros((shadows, n, n)) for _ in range(3))

        def annotate(tape: Tape) -> None:
            for x, dx in ((a, da), (b, db), (c, dc)):
                tape.batch_duplicated(x, tuple(dx))

        for verify, mark in VERIFY:
            product: list[float] = []
            recording: list[float] = []

            def floor() -> float:
                dc[:] = 1
                product.append(float(self.loops.same(self.bare, n, 1, at(a), at(b), at(c))))
                return float(self.loops.adjoints(self.bare, n, shadows, at(a), at(b), at(dc), at(da), at(db)))

            def ours() -> float:
                dc[:] = 1
                return once(
                    annotate,
                    lambda: recording.append(self.loops.same(self.wrapped, n, 1, at(a), at(b), at(c))),
                    verify,
                )[1]

            bare, replayed = interleaved(floor, ours, 15 if self.quick else 60)
            ratio = min(replayed) / min(bare)
            what = f"(k{mark}) batch of {shadows}, n = {n}, replay against {2 * shadows} products"
            self.row(what, f"{ratio:.3f} x", "<= 1.05 x", ratio <= 1.05)
            self.row(
                f"(k{mark}) batch of {shadows}, n = {n}, the recorded call against the bare one",
                f"{min(recording) / min(product):.3f} x",
                "",
                None,
            )
        made = ctypes.c_int64.in_dll(self.loops, "calls_of_nothing")
        before = made.value
        once(annotate, lambda: self.loops.same(self.recorded_nothing, n, 1, at(a), at(b), at(c)), True)
        made_now = made.value - before
        self.row("(k) calls of dgemm for all that", f"{made_now}", f"= {1 + 2 * shadows}", made_now == 1 + 2 * shadows)

    def scratch(self) -> None:
        n, calls = 8, 10_000
        a = normal(calls, n, n) / np.sqrt(n)
        first, last = np.eye(n), np.zeros((n, n))
        da, dfirst, dlast = np.zeros_like(a), np.zeros_like(first), np.zeros_like(last)
        for name, count in (("a temporary for each", calls - 1), ("two temporaries", 2)):
            t = np.zeros((count, n, n))
            dt = np.zeros_like(t)
            ends = [(a, da), (first, dfirst), (last, dlast)]
            for verify, mark in VERIFY:

                def ours(pairs: list[tuple[Array, Array]]) -> float:
                    dlast[:] = 1
                    return sum(
                        once(
                            lambda tape: duplicated(tape, pairs),
                            lambda: self.loops.through(
                                self.wrapped, n, calls, count, at(first), at(t), at(last), at(a)
                            ),
                            verify,
                        )
                    )

                annotated, undeclared = interleaved(
                    lambda: ours([*ends, (t, dt)]), lambda: ours(ends), 10 if self.quick else 40
                )
                known, unknown = (statistics.median(s) / calls * 1e9 for s in (annotated, undeclared))
                what = f"(l{mark}) {name}: undeclared {unknown:.0f} ns / annotated {known:.0f} ns a call"
                self.row(what, f"{unknown / known:.2f} x", "", None)


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", Memory))

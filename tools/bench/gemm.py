"""What recording and replaying gemm costs, as ratios to bare calls measured in the same run, on one thread.

    python tools/bench/gemm.py [--quick]

Needs a C compiler. torch and jax are compared with where they are installed. memory.py measures what depends on how
much memory is annotated and how much is recorded. The bounds are those of the project:

(a) an entry with no tape open, against the bare call: at most 3 ns more
(b) recording on annotated memory, n = 1 and 8: at most 40 ns a call above the bare call (verify=False), 90 ns with
    verification
(c) a chain of 10,000 products of 8x8, recorded and replayed: at most 1.05 x the same written by hand in C
    (verify=False)
(d) n = 1024, both inputs active, recorded and replayed: at most 1.02 x three bare products (verify=False), 1.15 x with
    verification; one constant: 1.02 x two; n = 512 with verification: 1.18 x three
(e) saved bytes of 200 products of 256x256: none into distinct buffers, one copy per overwritten value in ping-pong
(f) forward and reverse of one product beside torch and jax
"""

import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from harness import Array, Bench, at, interleaved, main, normal, timed  # first: it chooses one thread

# isort: split
import numpy as np

import blasad
from blasad import Duplicated, Reverse, Tape


class Road(Bench):
    def figures(self) -> dict[str, Callable[[], None]]:
        parts = (self.entry, self.recording, self.chain, self.large, self.saved, self.others)
        return dict(zip("abcdef", parts, strict=True))

    def entry(self) -> None:
        for n in (1, 8):
            a, b, c = normal(n, n), normal(n, n), normal(n, n)
            calls = 500  # short batches: some fall between disturbances
            bare, ours = interleaved(
                lambda: self.loops.same(self.bare, n, calls, at(a), at(b), at(c)),
                lambda: self.loops.same(self.wrapped, n, calls, at(a), at(b), at(c)),
                1500,
            )
            more = (min(ours) - min(bare)) / calls * 1e9
            self.row(
                f"(a) no tape open, n = {n}, ns above {min(bare) / calls * 1e9:.1f}",
                f"{more:.1f} ns",
                "<= 3 ns",
                more <= 3,
            )

    def recording(self) -> None:
        for n in (1, 8):
            a, b, c = normal(n, n), normal(n, n), normal(n, n)
            da, db, dc = np.zeros_like(a), np.zeros_like(b), np.zeros_like(c)
            for verify in (False, True):
                calls, bare, ours = 2000, [], []
                for _ in range(40):
                    with Tape(verify=verify) as tape:
                        for x, dx in ((a, da), (b, db), (c, dc)):
                            tape.duplicated(x, dx)
                        self.loops.same(self.wrapped, n, 10, at(a), at(b), at(c))
                        pair = interleaved(
                            lambda: self.loops.same(self.bare, n, calls, at(a), at(b), at(c)),
                            lambda: self.loops.same(self.wrapped, n, calls, at(a), at(b), at(c)),
                            5,
                        )
                    tape.close()
                    bare += pair[0]
                    ours += pair[1]
                more = (min(ours) - min(bare)) / calls * 1e9
                what = f"(b) recording, n = {n}, verify={verify}, ns above {min(bare) / calls * 1e9:.1f}"
                bound = 90 if verify else 40
                self.row(what, f"{more:.1f} ns", f"<= {bound} ns", more <= bound)

    def chain(self) -> None:
        n, calls = 8, 10_000
        x, a = np.zeros((calls + 1, n, n)), normal(calls, n, n) / np.sqrt(n)
        x[0] = np.eye(n)
        dx, da = np.zeros_like(x), np.zeros_like(a)

        def by_hand() -> float:
            dx[-1] = 1
            return float(self.loops.chain_by_hand(self.bare, n, calls, at(x), at(a), at(dx), at(da)))

        def ours(verify: bool) -> float:
            dx[-1] = 1
            tape = Tape(verify=verify)
            tape.duplicated(x, dx)
            tape.duplicated(a, da)
            start = time.thread_time()
            with tape:
                self.loops.chain(self.wrapped, n, calls, calls + 1, at(x), at(a))
            tape.reverse()
            seconds = time.thread_time() - start
            tape.close()
            return seconds

        for verify in (False, True):
            hand, recorded = interleaved(by_hand, lambda: ours(verify), 25 if self.quick else 100)
            ratio = statistics.median(recorded) / statistics.median(hand)
            what = f"(c) chain of {calls} 8x8, verify={verify}, by hand {statistics.median(hand) / calls * 1e9:.0f} ns a call"
            self.row(what, f"{ratio:.3f} x", "" if verify else "<= 1.05 x", None if verify else ratio <= 1.05)

    def large(self) -> None:
        # n, both inputs active, bound without and with verification
        for n, both, bounds in ((1024, True, (1.02, 1.15)), (1024, False, (1.02, None)), (512, True, (None, 1.18))):
            a, b, c = normal(n, n), normal(n, n), normal(n, n)
            da, db, dc = np.zeros_like(a), np.zeros_like(b), np.zeros_like(c)
            for verify, bound in zip((False, True), bounds, strict=True):

                def floor() -> float:
                    return float(
                        self.loops.three(self.bare, n, 1, at(a), at(b), at(c), at(da), at(db) if both else None)
                    )

                def ours() -> float:
                    dc[:] = 1
                    tape = Tape(verify=verify)
                    tape.duplicated(a, da)
                    tape.duplicated(c, dc)
                    if both:
                        tape.duplicated(b, db)
                    else:
                        tape.const(b)
                    start = time.thread_time()
                    with tape:
                        self.loops.same(self.wrapped, n, 1, at(a), at(b), at(c))
                    tape.reverse()
                    seconds = time.thread_time() - start
                    tape.close()
                    return seconds

                times = (7 if self.quick else 15) * (1024 // n) ** 2
                bare, recorded = interleaved(floor, ours, times)
                ratio = min(recorded) / min(bare)
                products = "three" if both else "two"
                what = f"(d) n = {n}, against {products} bare ({min(bare) * 1e3:.0f} ms), verify={verify}"
                self.row(
                    what, f"{ratio:.3f} x", f"<= {bound:.2f} x" if bound else "", ratio <= bound if bound else None
                )

    def saved(self) -> None:
        n, calls = 256, 200
        value, a = 8 * n * n, normal(calls, n, n) / 16
        for name, buffers, wanted in (("distinct buffers", calls + 1, 0), ("ping-pong", 2, calls)):
            x = np.zeros((buffers, n, n))
            x[0] = np.eye(n)
            with Tape() as tape:
                tape.duplicated(x, np.zeros_like(x))
                tape.duplicated(a, np.zeros_like(a))
                self.loops.chain(self.wrapped, n, calls, buffers, at(x), at(a))
            # X[0] .. X[buffers - 1] were never needed before they were first written; every later value is needed once
            expected = wanted * value if not wanted else (calls - (buffers - 1)) * value
            self.row(
                f"(e) {calls} products of 256x256, {name}",
                f"{tape.saved_bytes / value:g} values saved",
                f"= {expected // value}",
                tape.saved_bytes == expected,
            )

    def others(self) -> None:
        for n in (1, 8, 64, 1024):
            times = 5 if n == 1024 else 200
            a, b, c = normal(n, n), normal(n, n), np.zeros((n, n))
            da, db, dc = np.zeros_like(a), np.zeros_like(b), np.zeros_like(c)
            size = np.array([n], np.int32)
            product = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(self.wrapped)
            flag, one, zero = b"N", np.ones(1), np.zeros(1)

            def f(c: Array, a: Array, b: Array) -> None:
                s = at(size)
                product(flag, flag, s, s, s, at(one), at(a), s, at(b), s, at(zero), at(c), s)

            def ours() -> None:
                dc[:] = 1
                blasad.autodiff(
                    Reverse,
                    f,
                    Duplicated(c, dc),
                    Duplicated(a, da),
                    Duplicated(b, db),
                    verify=False,
                    undeclared="constant",
                )

            mine = statistics.median(timed(ours) for _ in range(times))
            for name, theirs in self.frameworks(a, b):
                their = statistics.median(timed(theirs) for _ in range(times))
                self.row(
                    f"(f) n = {n}, {name} {their * 1e6:.0f} us / autodiff {mine * 1e6:.0f} us",
                    f"{their / mine:.2f} x",
                    "",
                    None,
                )

    def frameworks(self, a: Array, b: Array) -> list[tuple[str, Callable[[], None]]]:
        found: list[tuple[str, Callable[[], None]]] = []
        try:
            import torch
        except ImportError:
            print("(f) torch is not installed")
        else:
            torch.set_num_threads(1)
            ta, tb = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
            seed = torch.ones_like(ta)
            found.append(("torch", lambda: (ta @ tb).backward(seed)))
        try:
            import jax
        except ImportError:
            print("(f) jax is not installed")
        else:
            jax.config.update("jax_enable_x64", True)
            ja, jb = jax.numpy.asarray(a), jax.numpy.asarray(b)
            ones = jax.numpy.ones_like(ja)

            def step(x: Any, y: Any) -> Any:
                out, back = jax.vjp(lambda p, q: p @ q, x, y)
                return out, back(ones)

            jitted = jax.jit(step)
            found.append(("jax jit", lambda: jax.block_until_ready(jitted(ja, jb))))
        for _, f in found:
            f()
        return found


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", Road))

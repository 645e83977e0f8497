"""What recording and replaying gemm costs, as ratios to bare calls measured in the same run, on one thread.

    python tools/bench/gemm.py [--quick]

Needs a C compiler. torch and jax are compared with where they are installed. The bounds are those of the project:

(a) an entry with no tape open, against the bare call: at most 3 ns more
(b) recording (verify=False) on annotated memory, n = 1 and 8: at most 40 ns a call above the bare call
(c) a chain of 10,000 products of 8x8, recorded and replayed: at most 1.05 x the same written by hand in C
(d) n = 1024, both inputs active, recorded and replayed: at most 1.02 x three bare products; one constant: two
(e) saved bytes of 200 products of 256x256: none into distinct buffers, one copy per overwritten value in ping-pong
(f) forward and reverse of one product beside torch and jax
"""

import argparse
import ctypes
import gc
import glob
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One thread, whatever the machine: set before any BLAS is loaded.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import scipy.linalg

import blasad
from blasad import Duplicated, Reverse, Tape

Array = np.ndarray[Any, np.dtype[np.float64]]


def compiled() -> ctypes.CDLL:
    """The loops of gemm.c."""
    out = Path(tempfile.mkdtemp()) / "gemm.so"
    source = Path(__file__).with_name("gemm.c")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", source, "-o", out], check=True)
    loops = ctypes.CDLL(str(out))
    pointer, i32, i64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    for name, arguments in {
        "same": [pointer, i32, i64, pointer, pointer, pointer],
        "three": [pointer, i32, i64, pointer, pointer, pointer, pointer, pointer],
        "chain": [pointer, i32, i64, i64, pointer, pointer],
        "chain_by_hand": [pointer, i32, i64, pointer, pointer, pointer, pointer],
    }.items():
        function = getattr(loops, name)
        function.argtypes = arguments
        function.restype = None if name == "chain" else ctypes.c_double
    return loops


def scipy_dgemm() -> int:
    """The address of dgemm in the OpenBLAS of SciPy's wheel; any other SciPy: what cython_blas calls."""
    for path in glob.glob(str(Path(scipy.__path__[0]).parent / "scipy.libs" / "libscipy_openblas*.so")):
        return ctypes.cast(ctypes.CDLL(path).scipy_dgemm_, ctypes.c_void_p).value or 0
    sys.exit("this SciPy brings no OpenBLAS of its own: install SciPy's wheel from PyPI to run this comparison")


def at(x: np.ndarray[Any, Any]) -> int:
    return x.ctypes.data


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape)


def interleaved(first: Callable[[], float], second: Callable[[], float], times: int) -> tuple[list[float], list[float]]:
    """Both in turn, so that a machine that slows down slows both."""
    pairs = [(first(), second()) for _ in range(times)]
    return [p[0] for p in pairs], [p[1] for p in pairs]


def timed(f: Callable[[], None]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


class Bench:
    def __init__(self, quick: bool) -> None:
        self.loops, self.bare, self.quick = compiled(), scipy_dgemm(), quick
        self.wrapped = blasad.wrap("scipy_dgemm_", self.bare)
        self.failed = 0

    def row(self, what: str, figure: str, bound: str, good: bool | None) -> None:
        self.failed += good is False
        print(f"{what:<58} {figure:>24}   {bound:<22} {'' if good is None else 'ok' if good else 'OVER'}", flush=True)

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
                self.row(what, f"{more:.1f} ns", "" if verify else "<= 40 ns", None if verify else more <= 40)

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
            start = time.perf_counter()
            with tape:
                self.loops.chain(self.wrapped, n, calls, calls + 1, at(x), at(a))
            tape.reverse()
            seconds = time.perf_counter() - start
            tape.close()
            return seconds

        for verify in (False, True):
            hand, recorded = interleaved(by_hand, lambda: ours(verify), 25 if self.quick else 100)
            ratio = statistics.median(recorded) / statistics.median(hand)
            what = f"(c) chain of {calls} 8x8, verify={verify}, by hand {statistics.median(hand) / calls * 1e9:.0f} ns a call"
            self.row(what, f"{ratio:.3f} x", "" if verify else "<= 1.05 x", None if verify else ratio <= 1.05)

    def large(self) -> None:
        n = 1024
        a, b, c = normal(n, n), normal(n, n), normal(n, n)
        da, db, dc = np.zeros_like(a), np.zeros_like(b), np.zeros_like(c)
        for both in (True, False):
            for verify in (False, True):

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
                    start = time.perf_counter()
                    with tape:
                        self.loops.same(self.wrapped, n, 1, at(a), at(b), at(c))
                    tape.reverse()
                    seconds = time.perf_counter() - start
                    tape.close()
                    return seconds

                bare, recorded = interleaved(floor, ours, 7 if self.quick else 15)
                ratio = min(recorded) / min(bare)
                products = "three" if both else "two"
                what = f"(d) n = 1024, against {products} bare ({min(bare) * 1e3:.0f} ms), verify={verify}"
                self.row(what, f"{ratio:.3f} x", "" if verify else "<= 1.02 x", None if verify else ratio <= 1.02)

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

            def loop() -> float:
                dc[:] = 1
                with Tape(verify=False) as tape:
                    for x, dx in ((a, da), (b, db), (c, dc)):
                        tape.duplicated(x, dx)
                    self.loops.same(self.wrapped, n, 100, at(a), at(b), at(c))
                start = time.perf_counter()
                tape.reverse()
                return time.perf_counter() - start

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, noisier figures")
    parser.add_argument("--only", default="abcdef", help="letters of the figures to take")
    options = parser.parse_args()
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in cpus if line.startswith("model name")), "?")
    print(
        f"{cpu}, {platform.machine()}, CPython {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, blasad {blasad.__version__}"
    )
    bench = Bench(options.quick)
    gc.disable()
    for letter, part in zip(
        "abcdef", (bench.entry, bench.recording, bench.chain, bench.large, bench.saved, bench.others), strict=True
    ):
        if letter in options.only:
            part()
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())

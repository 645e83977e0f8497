"""What the benchmarks share: the loops of gemm.c, measuring, printing a figure beside its bound.

One thread, whatever the machine: to be imported before anything that loads a BLAS.
"""

import argparse
import ctypes
import gc
import glob
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import scipy.linalg

import blasad

Array = np.ndarray[Any, np.dtype[np.float64]]


def compiled() -> ctypes.CDLL:
    """The loops of gemm.c."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "gemm.so"
        source = Path(__file__).with_name("gemm.c")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", source, "-o", out], check=True)
        loops = ctypes.CDLL(str(out))
    pointer, i32, i64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    for name, arguments in {
        "same": [pointer, i32, i64, pointer, pointer, pointer],
        "three": [pointer, i32, i64, pointer, pointer, pointer, pointer, pointer],
        "adjoints": [pointer, i32, i64, pointer, pointer, pointer, pointer, pointer],
        "chain": [pointer, i32, i64, i64, pointer, pointer],
        "chain_by_hand": [pointer, i32, i64, pointer, pointer, pointer, pointer],
        "walk": [pointer, i32, i64, pointer, pointer, pointer, pointer],
        "through": [pointer, i32, i64, i64, pointer, pointer, pointer, pointer],
        "lu": [pointer, i32, i64, pointer],
        "blocks": [pointer, i64, i32, pointer, pointer],
    }.items():
        function = getattr(loops, name)
        function.argtypes = arguments
        function.restype = None if name in ("chain", "walk", "through") else ctypes.c_double
    return loops


def scipy_blas() -> ctypes.CDLL:
    """The OpenBLAS of SciPy's wheel."""
    for path in glob.glob(str(Path(scipy.__path__[0]).parent / "scipy.libs" / "libscipy_openblas*.so")):
        return ctypes.CDLL(path)
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
    """Figures by letter; `figures` of a derived class says which there are."""

    def __init__(self, quick: bool) -> None:
        self.loops, self.blas, self.quick = compiled(), scipy_blas(), quick
        self.bare = ctypes.cast(self.blas.scipy_dgemm_, ctypes.c_void_p).value or 0
        self.wrapped = blasad.wrap("scipy_dgemm_", self.bare)
        self.failed = 0

    def row(self, what: str, figure: str, bound: str, good: bool | None) -> None:
        self.failed += good is False
        verdict = "" if good is None else "ok" if good else "OVER"
        print(f"{what:<64} {figure:>24}   {bound:<22} {verdict}".rstrip(), flush=True)

    def figures(self) -> dict[str, Callable[[], None]]:
        raise NotImplementedError


def main(description: str, bench: type[Bench]) -> int:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, noisier figures")
    parser.add_argument("--only", metavar="LETTERS", help="letters of the figures to take")
    options = parser.parse_args()
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in cpus if line.startswith("model name")), "?")
    print(
        f"{cpu}, {platform.machine()}, CPython {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, blasad {blasad.__version__}"
    )
    taken = bench(options.quick)
    gc.disable()
    for letter, figure in taken.figures().items():
        if not options.only or letter in options.only:
            figure()
    return 1 if taken.failed else 0

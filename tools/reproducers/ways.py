"""What the reproducers share: dgemm by every way into blasad, and expectations that are printed and counted."""

import argparse
import ctypes
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import blasad

WAYS = ("cffi", "ctypes", "wrapped")
INTEGERS = (32, 64)

Array = np.ndarray[Any, np.dtype[np.float64]]


# dgemm(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc): flags are bytes, a, b and c addresses, and the
# others numbers, which are put into temporaries and passed by address.
Gemm = Callable[..., None]


def _by_cffi(function: Any) -> Gemm:
    def gemm(*args: Any) -> None:
        ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = args
        a, b, c = (blasad.ffi.cast("double *", p) for p in (a, b, c))
        # a list is passed as the address of a temporary with its content
        function(ta, tb, [m], [n], [k], [alpha], a, [lda], b, [ldb], [beta], c, [ldc])

    return gemm


def _by_address(address: int, integers: int) -> Gemm:
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address)
    integer = ctypes.c_int32 if integers == 32 else ctypes.c_int64

    def gemm(*args: Any) -> None:
        ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc = args
        m, n, k, lda, ldb, ldc = (ctypes.byref(integer(i)) for i in (m, n, k, lda, ldb, ldc))
        alpha, beta = (ctypes.byref(ctypes.c_double(x)) for x in (alpha, beta))
        function(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)

    return gemm


def _wrapped(integers: int) -> Gemm:
    """A recording pointer in front of the dgemm of an OpenBLAS that blasad does not otherwise use."""
    package, symbol = ("scipy", "scipy_dgemm_") if integers == 32 else ("numpy", "scipy_dgemm_64_")
    folder = Path(np.__file__).parents[1] / f"{package}.libs"
    for library in sorted(folder.glob("*openblas*")):
        real = getattr(ctypes.CDLL(str(library)), symbol, None)
        if real is not None:
            return _by_address(blasad.wrap(symbol, real), integers)
    sys.exit(f"no {symbol} in {folder}: the way 'wrapped' wants the OpenBLAS that the wheel of {package} brings")


def _gemm(way: str, integers: int) -> Gemm:
    name = "dgemm_" if integers == 32 else "dgemm_64_"
    if way == "cffi":
        return _by_cffi(getattr(blasad.lib, name))
    if way == "ctypes":
        return _by_address(blasad.address(name), integers)
    return _wrapped(integers)


def close(x: Array | float, y: Array | float) -> bool:
    """Julia's ≈ with a tolerance for rounding only: to zeros, nothing but zeros is close."""
    a, b = np.asarray(x), np.asarray(y)
    return bool(np.linalg.norm(a - b) <= 1e-12 * max(np.linalg.norm(a), np.linalg.norm(b)))


@dataclass
class Run:
    """One way in, and what a script finds on it."""

    gemm: Gemm
    failures: list[str] = field(default_factory=list)

    def mul(self, r: Array, a: Array, b: Array) -> None:
        """R = A B for column-major matrices, as Julia's mul! computes it."""
        (m, k), n = a.shape, b.shape[1]
        self.gemm(b"N", b"N", m, n, k, 1.0, a.ctypes.data, m, b.ctypes.data, k, 0.0, r.ctypes.data, m)

    def expect(self, statement: str, found: bool, expected: bool = True) -> None:
        """Prints a statement and whether it holds; it is a failure if that is not as expected."""
        wrong = "" if found == expected else f"   <- WRONG, should be {str(expected).lower()}"
        print(f"  {statement:<66} # {str(found).lower()}{wrong}")
        if wrong:
            self.failures.append(statement)


def rand(rows: int, columns: int, rng: np.random.Generator) -> Array:
    return np.asfortranarray(rng.random((rows, columns)))


def main(show: Callable[[Run], None]) -> NoReturn:
    """Runs a script through the ways that its arguments ask for; the exit status says whether all expectations held."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--way", choices=WAYS, help="how dgemm is called; default: in every way, one after the other")
    parser.add_argument("--integers", type=int, choices=INTEGERS, help="their width in bits; default: both")
    chosen = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals that have no ∂
    failed = False
    for way in [chosen.way] if chosen.way else WAYS:
        for integers in [chosen.integers] if chosen.integers else INTEGERS:
            print(f"{way}, {integers}-bit integers")
            run = Run(_gemm(way, integers))
            show(run)
            failed |= bool(run.failures)
    sys.exit(failed)

"""``blasad demo``: three products through raw pointers, their gradients, and finite differences beside them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._core import ffi, lib
from .memory import shadow
from .tape import Tape

Array = np.ndarray[Any, np.dtype[np.float64]]

_BEFORE = """\
A program multiplies matrices, R = A B, three times, by handing raw pointers to dgemm_; from the
three R it computes a number z. blasad recorded the calls; print(tape) shows them (R is BLAS's c):
"""
_BETWEEN = """
How does z change with the elements of A and B? Every buffer has a shadow. dR was set to dz/dR, dA
and dB to 0; then tape.reverse() went through the calls backwards, and now dA is dz/dA, dB is dz/dB.
Beside them is what z really does: its change when that one element is made larger by 1.
"""
_AFTER = """
dR is 0 now, for every shape: the call overwrote R, so what R held before has no effect on z.
To check dA = dR B' take a copy of dR from before, and set dR again before you replay again.
In call 2 the program took a B of its own, a local variable of value 2, overwritten and freed before
reverse(): its value had been saved. Nobody had declared it, so it was assumed to be constant (by
default a warning says so). The caller's B was not used: dB stays 0.
"""


def _dgemm(r: Any, a: Any, b: Any, m: int, n: int, k: int) -> None:
    """R = A B by the Fortran BLAS: everything by address, numbers in temporaries."""
    lib.dgemm_(b"N", b"N", [m], [n], [k], [1.0], a, [m], b, [k], [0.0], r, [m])


def _pointer(x: Array) -> Any:
    return ffi.cast("double *", x.ctypes.data)


def _product(r: Array, a: Array, b: Array) -> None:
    _dgemm(_pointer(r), _pointer(a), _pointer(b), a.shape[0], b.shape[1], a.shape[1])


def _product_with_local(r: Array, a: Array, _: Array) -> None:
    local = ffi.new("double *", 2.0)
    _dgemm(_pointer(r), _pointer(a), local, 1, 1, 1)
    local[0] = math.nan
    ffi.release(local)


@dataclass
class _Case:
    title: str
    program: Callable[[Array, Array, Array], None]
    a: Array
    b: Array
    seed: Array  # dz/dR

    def __post_init__(self) -> None:
        self.r = np.zeros_like(self.seed)
        self.dr = self.seed.copy(order="F")
        self.da, self.db = shadow(self.a), shadow(self.b)

    def z(self) -> float:
        """The part of z that comes from this product, computed anew and unrecorded."""
        r = np.zeros_like(self.seed)
        self.program(r, self.a, self.b)
        return float((self.seed * r).sum())

    def differences(self, x: Array) -> Array:
        """z is linear in each single element: a difference over any step is the derivative, but for rounding."""
        z, result = self.z(), np.zeros_like(x)
        for at in np.ndindex(x.shape):
            kept = x[at]
            x[at] = kept + 1
            result[at] = self.z() - z
            x[at] = kept
        return result


def _numbers(rows: int, columns: int, step: int) -> Array:
    """0.1 to 1.0, the same every time."""
    return np.asfortranarray(((np.arange(rows * columns) + 1) * step % 10 + 1).reshape(rows, columns) / 10)


def demo() -> int:
    """Prints the demonstration. Returns 1 if a number is not what it should be, else 0."""
    cases = [
        _Case("7x3 times 3x5", _product, _numbers(7, 3, 3), _numbers(3, 5, 7), _numbers(7, 5, 9)),
        _Case("3x3 times 3x3", _product, _numbers(3, 3, 9), _numbers(3, 3, 3), _numbers(3, 3, 7)),
        _Case("1x1 times a local", _product_with_local, _numbers(1, 1, 1), _numbers(1, 1, 1), np.array([[0.8]])),
    ]
    with Tape(undeclared="constant") as tape:
        for c in cases:
            for x, dx in ((c.a, c.da), (c.b, c.db), (c.r, c.dr)):
                tape.duplicated(x, dx)
            c.program(c.r, c.a, c.b)
    tape.reverse()

    print(_BEFORE)
    print(tape)
    print(_BETWEEN)
    print(f"{'':<26}dA[0,0]  change   dB[0,0]  change   all of dA and dB  dR[0,0] then  now")
    wrong = 0
    for i, c in enumerate(cases):
        pairs = [(c.da, c.differences(c.a)), (c.db, c.differences(c.b))]
        count = c.da.size + c.db.size
        good = sum(int(np.isclose(dx, f, rtol=1e-12, atol=1e-12).sum()) for dx, f in pairs)
        numbers = "  ".join(f"{dx[0, 0]:>8.4f}{f[0, 0]:>8.4f}" for dx, f in pairs)
        agree = f"{good} of {count} agree"
        bad = count - good + int(np.count_nonzero(c.dr))
        row = f"call {i}: {c.title:<17} {numbers}{agree:>19}{c.seed[0, 0]:>14g}{c.dr[0, 0]:>5g}"
        print(row + "  WRONG" * (bad > 0))
        wrong += bad
    print(_AFTER.rstrip())
    if wrong:
        print(f"{wrong} of these numbers are WRONG.")
    return int(wrong > 0)

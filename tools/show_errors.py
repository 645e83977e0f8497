#!/usr/bin/env python3
"""Prints what blasad says to a user who makes each of the common mistakes.

    python tools/show_errors.py

The texts are part of the interface: what happened, to which buffer and call, and what to do now. Exit status 1 if a
mistake goes through without a word. (tests/test_errors.py holds the details.)
"""

import sys
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from blasad import Const, Duplicated, Reverse, autodiff, ffi, lib, shadow

Array = np.ndarray[Any, np.dtype[np.float64]]


def matrix(*rows: list[float]) -> Array:
    return np.array(rows, float, order="F")


def pointer(x: Array) -> Any:
    return ffi.cast("double *", x.ctypes.data)


def product(c: Array, a: Array, b: Array, lda: int = 2) -> None:
    """C = A B for 2 x 2 matrices."""
    lib.dgemm_(b"N", b"N", [2], [2], [2], [1.0], pointer(a), [lda], pointer(b), [2], [0.0], pointer(c), [2])


A, B, C, T = matrix([1, 2], [3, 4]), matrix([5, 6], [7, 8]), matrix([0, 0], [0, 0]), matrix([0, 0], [0, 0])
READ_ONLY = shadow(A)
READ_ONLY.setflags(write=False)


def dup(x: Array) -> Duplicated:
    return Duplicated(x, shadow(x))


def with_a(a: object) -> Callable[[], object]:
    return lambda: autodiff(Reverse, product, dup(C), a, dup(B))


def scratch(c: Array, a: Array, b: Array) -> None:
    product(T, a, b)
    product(c, T, b)


MISTAKES: dict[str, Callable[[], object]] = {
    "a NULL pointer": with_a(Duplicated(ffi.NULL, pointer(A), count=4)),
    "a pointer without a size": with_a(Duplicated(pointer(A), pointer(B))),
    "a wrong dtype": with_a(Duplicated(A.astype(int), shadow(A))),
    "a shadow of another dtype": with_a(Duplicated(A, np.zeros((2, 2), np.float32, order="F"))),
    "mismatched strides": with_a(Duplicated(A, np.zeros((2, 2)))),
    "a read-only shadow": with_a(Duplicated(A, READ_ONLY)),
    "shadow = primal": with_a(Duplicated(A, A)),
    "lda < m": lambda: autodiff(Reverse, lambda c, a, b: product(c, a, b, lda=1), dup(C), dup(A), dup(B)),
    "C overlapping A": lambda: autodiff(Reverse, lambda a, b: product(a, a, b), dup(A), dup(B)),
    "a Const output": lambda: autodiff(Reverse, product, Const(C), dup(A), dup(B)),
    "active scratch": lambda: autodiff(Reverse, scratch, dup(C), dup(A), dup(B)),
}


def main() -> int:
    silent = 0
    for mistake, make in MISTAKES.items():
        try:
            make()
        except Exception as error:
            print(f"{mistake}: {type(error).__name__}")
            print(textwrap.indent(textwrap.fill(str(error), 110), "    "))
        else:
            print(f"{mistake}: NOT NOTICED")
            silent += 1
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())

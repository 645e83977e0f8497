#!/usr/bin/env python3
"""Prints what blasad says to a user who makes each of the common mistakes, and takes the ways out that it names.

    python tools/show_errors.py

The texts are part of the interface: what happened, to which buffer and call, and what to do now. Exit status 1 if a
mistake goes through without a word or with another one, or if a way out does not give the gradient, which NumPy
computes as well. (tests/test_errors.py holds the details.)
"""

import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import blasad
from blasad import Const, Duplicated, Forward, Reverse, Tape, autodiff, ffi, lib, shadow

Array = np.ndarray[Any, np.dtype[np.float64]]


def matrix(*rows: list[float]) -> Array:
    return np.array(rows, float, order="F")


def pointer(x: Array) -> Any:
    return ffi.cast("double *", x.ctypes.data)


def product(c: Array, a: Array, b: Array, lda: int | None = None) -> None:
    """C = A B for square matrices."""
    n, p, q, r = [len(a)], pointer(a), pointer(b), pointer(c)
    lib.dgemm_(b"N", b"N", n, n, n, [1.0], p, [lda] if lda else n, q, n, [0.0], r, n)


# ---------------------------------------------------------------- arguments and calls, which are to be corrected

A, B, C = matrix([1, 2], [3, 4]), matrix([5, 6], [7, 8]), matrix([0, 0], [0, 0])
READ_ONLY = shadow(A)
READ_ONLY.setflags(write=False)


def dup(x: Array) -> Duplicated:
    return Duplicated(x, shadow(x))


def with_a(a: object) -> Callable[[], object]:
    return lambda: autodiff(Reverse, product, dup(C), a, dup(B))


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
}

# ---------------------------------------------------------------- programs, and the way out of each mistake in them


@dataclass
class Program:
    """Matrices with shadows: A, B are inputs, C is the output, seeded with G; T and S are scratch that nobody annotates."""

    A: Array = field(default_factory=lambda: matrix([1, 2, -1], [3, 4, 2], [-2, 1, 5]))
    B: Array = field(default_factory=lambda: matrix([5, 6, 1], [7, 8, -3], [2, -1, 4]))
    C: Array = field(default_factory=lambda: np.zeros((3, 3), order="F"))
    T: Array = field(default_factory=lambda: np.zeros((3, 3), order="F"))
    S: Array = field(default_factory=lambda: np.zeros((3, 3), order="F"))
    G: Array = field(default_factory=lambda: matrix([1, -1, 2], [0, 3, 1], [2, 1, -1]))

    def __post_init__(self) -> None:
        self.dA, self.dB, self.dC = shadow(self.A), shadow(self.B), self.G.copy(order="F")

    def annotate(self, tape: Tape, names: str = "ABC") -> None:
        for name in names:
            tape.duplicated(getattr(self, name), getattr(self, f"d{name}"), name=name)

    def has(self, da: Array, db: Array | None = None) -> bool:
        """Whether the shadows of A and B are these and that of the output was consumed."""
        same = np.allclose(self.dA, da) and (db is None or np.allclose(self.dB, db))
        return bool(same and not self.dC.any())


def refill(announced: bool) -> bool:
    """A loop that fills the same B anew."""
    p = Program()
    first = p.B.copy()
    with Tape() as tape:
        p.annotate(tape)
        product(p.T, p.A, p.B)
        if announced:
            with tape.assigned(p.B):
                p.B[:] = 2 * np.eye(3)
        else:
            p.B[:] = 2 * np.eye(3)
        product(p.C, p.T, p.B)
    tape.reverse()
    dt = p.G @ p.B.T
    return p.has(dt @ first.T, p.A.T @ dt)  # the second content of B is a constant


def reuse(announced: bool) -> bool:
    """Scratch with an active value is freed, and the next allocation gets the same memory."""
    p = Program()
    with Tape(undeclared="constant") as tape:
        p.annotate(tape)
        product(p.T, p.A, p.B)
        product(p.C, p.T, p.B)
        if announced:
            tape.forget(p.T)  # where the program frees it
        p.T[:] = np.eye(3)  # what the next owner of that memory fills it with
        product(p.S, p.T, p.T)
    tape.reverse()
    t = p.A @ p.B
    return p.has(p.G @ p.B.T @ p.B.T, t.T @ p.G + p.A.T @ p.G @ p.B.T)


def undeclared(announced: str | bool) -> bool:
    """An operand that nobody annotated: a constant, or one more input."""
    p = Program()
    K, dK = matrix([1, 0, 2], [0, 1, 1], [3, 0, 1]), np.zeros((3, 3), order="F")
    with Tape() as tape:
        p.annotate(tape, "AC")
        if announced == "Const":
            tape.const(K)
        elif announced == "Duplicated":
            tape.duplicated(K, dK)
        product(p.C, p.A, K)
    tape.reverse()
    return p.has(p.G @ K.T) and np.allclose(dK, p.A.T @ p.G if announced == "Duplicated" else 0)


def copy(announced: bool) -> bool:
    """NumPy copies an active value, transposed, between two calls."""
    p = Program()
    with Tape(copies="follow" if announced else "error") as tape:
        p.annotate(tape)
        product(p.T, p.A, p.B)
        p.S[:] = p.T.T
        product(p.C, p.S, p.B)
    tape.reverse()
    dt = (p.G @ p.B.T).T
    return p.has(dt @ p.B.T, p.A.T @ dt + (p.A @ p.B) @ p.G)


def late(announced: bool) -> bool:
    """Forward over reverse: the derivative of a gradient in the direction V of A."""
    p = Program()
    V, ddA = p.G.copy(order="F"), np.zeros((3, 3), order="F")

    def around(tape: Tape) -> None:
        tape.duplicated(p.A, V, name="A")
        tape.duplicated(p.dA, ddA, name="dA")

    def square() -> Tape:
        with Tape() as inner:
            p.annotate(inner, "AC")
            product(p.C, p.A, p.A)
        return inner

    if announced:
        with Tape(Forward, undeclared="constant") as outer:
            around(outer)
            square().reverse()
    else:
        inner = square()
        with Tape(Forward, undeclared="constant") as outer:
            around(outer)
            inner.reverse()
    return p.has(p.G @ p.A.T + p.A.T @ p.G) and np.allclose(ddA, p.G @ V.T + V.T @ p.G)


def threads(announced: bool) -> bool:
    """Half of the work is done by another thread."""
    p = Program()
    with Tape(threads="all" if announced else "current") as tape:
        p.annotate(tape)
        product(p.T, p.A, p.B)
        other = threading.Thread(target=product, args=(p.C, p.T, p.B))
        other.start()
        other.join()
    tape.reverse()
    t = p.A @ p.B
    return p.has(p.G @ p.B.T @ p.B.T, t.T @ p.G + p.A.T @ p.G @ p.B.T)


@dataclass
class Way:
    """A program with a mistake, what is said of it, and the ways out: as the text names each, and the program then."""

    program: Callable[[Any], bool]
    error: type[Exception]
    says: list[str]
    out: dict[str, object]


WAYS = {
    "annotated memory filled anew": Way(
        refill, blasad.UnseenWriteError, ["B (Duplicated", "no recorded call"], {"tape.assigned": True}
    ),
    "active scratch freed and reused": Way(
        reuse, blasad.UnseenWriteError, ["written an active value", "freed"], {"tape.forget": True}
    ),
    "an undeclared operand": Way(
        undeclared,
        blasad.ActivityWarning,
        ["operand b (3 x 3", "call 0"],
        {"Const": "Const", "Duplicated": "Duplicated"},
    ),
    "a copy of an active value": Way(copy, blasad.ActivityError, ["copy"], {'copies="follow"': True}),
    "a tape opened too late": Way(late, blasad.TapeError, ["opened after"], {"open it around the recording": True}),
    "another thread": Way(threads, blasad.ActivityError, ["on another thread"], {'threads="all"': True}),
}


def told(make: Callable[[], object]) -> Exception | None:
    """What a mistake raises or warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", blasad.ActivityWarning)
        try:
            make()
        except Exception as error:
            return error
    return None


def show(mistake: str, error: Exception | None) -> bool:
    print(f"{mistake}: {type(error).__name__ if error else 'NOT NOTICED'}")
    if error:
        lines = str(error).splitlines()
        print("\n".join(textwrap.indent(textwrap.fill(line, 110), "    ") for line in lines))
    return error is not None


def take(mistake: str, way: Way) -> bool:
    """Makes the mistake, and goes the ways out."""
    error = told(lambda: way.program(False))
    good = show(mistake, error)
    for words in [*way.says, *way.out]:
        if words not in str(error):
            print(f"    WRONG: it does not say {words!r}")
            good = False
    if error and type(error) is not way.error:
        print(f"    WRONG: it should be {way.error.__name__}")
        good = False
    for name, changed in way.out.items():
        right: list[bool] = []
        failed = told(lambda changed=changed, right=right: right.append(way.program(changed)))  # type: ignore[misc]
        if failed:
            show(f"  with {name}, WRONG", failed)
        else:
            print(f"  with {name}: {'the gradient is right' if right[0] else 'WRONG gradient'}")
        good = good and right == [True]
    return good


def main() -> int:
    good = [show(mistake, told(make)) for mistake, make in MISTAKES.items()]
    good += [take(mistake, way) for mistake, way in WAYS.items()]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

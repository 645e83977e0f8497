#!/usr/bin/env python3
"""What recording and replaying a call costs, routine by routine, against the bare call or a sequence by hand.

    python tools/bench/blas.py [--quick] [--only LETTERS]

On one thread, matrices and vectors active, scalars constant; the bounds are those of the project. `-` is verify=False,
`v` with verification, as is usual.

(a) level 3, order 1024: the time of the bare call as one
(b) level 2, order 4096: the time of the bare call and of the adjoint calls by hand as one
(c) level 1, 10^5 and 10^7 numbers: the same
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from harness import Bench, at, interleaved, main, timed  # first: it chooses one thread

# isort: split
import numpy as np

import blasad
from blasad import Tape

VERIFY = ((False, "-"), (True, "v"))
Call = Callable[[], object]
Operands = dict[str, np.ndarray[Any, Any]]

# Arguments in Fortran's order: flags are letters, n the order, capitals operands (lower case: their shadows), numbers
# real scalars but for 1i, which is a complex one.
LEVEL3 = {
    "dgemm": ("N N n n n 1. A n B n 0. C n", 3.03),
    "dsyrk": ("L N n n 1. A n 0. C n", 3.1),
    "zherk": ("L N n n 1. A n 0. C n", 3.1),
    "dsyr2k": ("L N n n 1. A n B n 0. C n", 3.2),
    "zher2k": ("L N n n 1i A n B n 0. C n", 3.2),
    "dsymm": ("L L n n 1. A n B n 0. C n", 3.15),
    "zhemm": ("L L n n 1i A n B n 0i C n", 3.15),
    "dtrmm": ("L L N N n n 1. A n B n", 3.6),
    "dtrsm": ("L L N N n n 1. A n B n", 3.0),
}
# The call, and the calls of its adjoint: the best sequence that is known by hand.
LEVEL2 = {
    "dgemv": ("N n n 1. A n X 1 0. Y 1", "dger n n 1. y 1 X 1 a n; dgemv T n n 1. A n y 1 1. x 1; dscal n 0. y 1"),
    "dger": ("n n 1. X 1 Y 1 A n", "dgemv N n n 1. a n Y 1 1. x 1; dgemv T n n 1. a n X 1 1. y 1"),
    "dsymv": (
        "L n 1. A n X 1 0. Y 1",
        "dsyr2 L n 1. y 1 X 1 a n; dsymv L n 1. A n y 1 1. x 1; dscal n 0. y 1",
    ),
    "dtrmv": ("L N N n A n X 1", "outer; dtrmv L T N n A n x 1"),
    "dtrsv": ("L N N n A n X 1", "dtrsv L T N n A n x 1; outer"),
}
LEVEL1 = {
    "ddot": ("n X 1 Y 1", "daxpy n 1. Y 1 x 1; daxpy n 1. X 1 y 1"),
    "daxpy": ("n .5 X 1 Y 1", "daxpy n .5 y 1 x 1"),
    "dscal": ("n .5 X 1", "dscal n .5 x 1"),
    "dnrm2": ("n X 1", "daxpy n .5 X 1 x 1"),
}
BLOCK = 128  # columns of a triangle that a hand-written sequence updates at once


class Blas(Bench):
    def figures(self) -> dict[str, Callable[[], None]]:
        return {"a": self.level3, "b": self.level2, "c": self.level1}

    def call(self, text: str, n: int, where: Operands, recorded: bool = False) -> Call:
        """A call, ready to be made: a routine and its arguments; the bare one, or blasad's."""
        routine, *words = text.split()
        symbol = f"scipy_{routine}_"
        bare = ctypes.cast(getattr(self.blas, symbol), ctypes.c_void_p).value or 0
        kept: list[Any] = []
        for word in words:
            if word in where:
                kept.append(ctypes.c_void_p(at(where[word])))
            elif word == "n" or word.isdecimal():
                kept.append(ctypes.byref(ctypes.c_int32(n if word == "n" else int(word))))
            elif word.isalpha():
                kept.append(ctypes.create_string_buffer(word.encode()))
            else:
                number = np.array([complex(float(word[:-1])) if word.endswith("i") else float(word)])
                kept.append(number.ctypes.data_as(ctypes.c_void_p))
        function = ctypes.CFUNCTYPE(ctypes.c_double if routine in ("ddot", "dnrm2") else None)(
            blasad.wrap(symbol, bare) if recorded else bare
        )
        return lambda: function(*kept)

    def sequence(self, text: str, n: int, where: Operands) -> list[Call]:
        """Calls by hand. "outer" stands for the lower triangle of a += x X^T, by blocks of columns that begin at the
        diagonal: the other half of each square is spoiled, which a real program would have to avoid."""
        calls = []
        for part in text.split("; "):
            if part != "outer":
                calls.append(self.call(part, n, where))
                continue
            for j in range(0, n, BLOCK):
                block = {"X": where["x"][j:], "Y": where["X"][j:], "A": where["a"][j:, j:]}
                calls.append(self.call(f"dger {n - j} {min(BLOCK, n - j)} 1. X 1 Y 1 A {n}", n, block))
        return calls

    def compare(self, routine: str, arguments: str, n: int, by_hand: str | None, bound: str, limit: float) -> None:
        """By hand: the calls of the adjoint; without them the bare call is the measure."""
        letter, words = routine[0], set(arguments.split())
        rng = np.random.default_rng(1)

        def numbers(name: str) -> np.ndarray[Any, Any]:
            size = (n, n) if name in "ABCabc" else (n,)
            x = rng.standard_normal((*size, 2 if letter == "z" else 1)).view(complex if letter == "z" else float)
            return x[..., 0] if letter == "d" else x.reshape(size)

        where = {name: numbers(name) for name in "ABCXY" if name in words}
        where |= {name.lower(): numbers(name) for name in where}
        where = {name: np.array(x, order="F") for name, x in where.items()}
        if "tr" in routine:  # nothing grows from call to call
            where["A"][...] = np.asfortranarray(where["A"] / n)
            np.fill_diagonal(where["A"], 1)
        for x in where.values():
            x[...] /= 16
        bare, recorded = (
            self.call(f"{routine} {arguments}", n, where),
            self.call(f"{routine} {arguments}", n, where, True),
        )
        rest = self.sequence(by_hand, n, where) if by_hand else []

        def floor() -> None:
            bare()
            for call in rest:
                call()

        for verify, mark in VERIFY:

            def ours(verify: bool = verify) -> float:
                tape = Tape(verify=verify)
                for name in where:
                    if name.isupper():
                        tape.duplicated(where[name], where[name.lower()])

                def run() -> None:
                    with tape:
                        recorded()
                    tape.reverse()

                seconds = timed(run)
                tape.close()
                return seconds

            few, many = interleaved(lambda: timed(floor), ours, 3 if self.quick else 12)
            ratio = min(many) / min(few)
            good = None if verify else ratio <= limit
            what = f"{routine}, {n}: against {min(few) * 1e3:.3f} ms" + (" by hand" if by_hand else "")
            self.row(f"({mark}) {what}", f"{ratio:.3f} x", "" if verify else bound, good)

    def level3(self) -> None:
        for routine, (arguments, limit) in LEVEL3.items():
            self.compare(routine, arguments, 1024, None, f"<= {limit} x", limit)

    def level2(self) -> None:
        for routine, (arguments, by_hand) in LEVEL2.items():
            self.compare(routine, arguments, 4096, by_hand, "<= 1.05 x", 1.05)

    def level1(self) -> None:
        for routine, (arguments, by_hand) in LEVEL1.items():
            for n in (100_000, 10_000_000):
                self.compare(routine, arguments, n, by_hand, "<= 1.05 x", 1.05)


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", Blas))

#!/usr/bin/env python3
"""What recording and replaying a call costs, routine by routine, against the bare call or a sequence by hand.

    python tools/bench/blas.py [--quick] [--only LETTERS]

On one thread, matrices and vectors active; the bounds are those of the project. `-` is verify=False with constant
scalars, `v` with verification, as is usual, and `s` verify=False with alpha active as well.

(a) level 3, order 1024: the time of the bare call as one, or of a sequence by hand
(b) level 2, order 4096: the time of the bare call and of the adjoint calls by hand as one
(c) level 1, 10^5 and 10^7 numbers: the same
(t) beside torch's autograd, where it is installed and has such a function, on the same data: less than 1
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from harness import Bench, at, interleaved, main, timed  # first: it chooses one thread

# isort: split
import numpy as np

import blasad
from blasad import Tape

Call = Callable[[], object]
Operands = dict[str, np.ndarray[Any, Any]]


class Row(NamedTuple):
    """Arguments in Fortran's order: flags are letters, n the order, capitals operands (lower case: their shadows),
    numbers real scalars but for 1i, which is a complex one; the first of them is alpha."""

    arguments: str
    limit: float
    by_hand: str = ""  # the calls of the adjoint, the best sequence that is known


LEVEL3 = {
    "dgemm": Row(
        "N N n n n 1. A n B n 0. C n",
        1.01,
        "dgemm N T n n n 1. c n B n 1. a n; dgemm T N n n n 1. A n c n 1. b n; dscal nn 0. c 1",
    ),
    "dsyrk": Row("L N n n 1. A n 0. C n", 3.1),
    "zherk": Row("L N n n 1. A n 0. C n", 3.1),
    "dsyr2k": Row("L N n n 1. A n B n 0. C n", 3.2),
    "zher2k": Row("L N n n 1i A n B n 0. C n", 3.2),
    "dsymm": Row("L L n n 1. A n B n 0. C n", 3.15),
    "zhemm": Row("L L n n 1i A n B n 0i C n", 3.15),
    "dtrmm": Row("L L N N n n 1. A n B n", 3.6),
    "dtrsm": Row("L L N N n n 1. A n B n", 3.0),
}
LEVEL2 = {
    "dgemv": Row(
        "N n n 1. A n X 1 0. Y 1", 1.05, "dger n n 1. y 1 X 1 a n; dgemv T n n 1. A n y 1 1. x 1; dscal n 0. y 1"
    ),
    "dger": Row("n n 1. X 1 Y 1 A n", 1.05, "dgemv N n n 1. a n Y 1 1. x 1; dgemv T n n 1. a n X 1 1. y 1"),
    "dsymv": Row(
        "L n 1. A n X 1 0. Y 1", 1.05, "dsyr2 L n 1. y 1 X 1 a n; dsymv L n 1. A n y 1 1. x 1; dscal n 0. y 1"
    ),
    "dtrmv": Row("L N N n A n X 1", 1.05, "outer; dtrmv L T N n A n x 1"),
    "dtrsv": Row("L N N n A n X 1", 1.05, "dtrsv L T N n A n x 1; outer"),
}
LEVEL1 = {
    "ddot": Row("n X 1 Y 1", 1.05, "daxpy n 1. Y 1 x 1; daxpy n 1. X 1 y 1"),
    "daxpy": Row("n .5 X 1 Y 1", 1.05, "daxpy n .5 y 1 x 1"),
    "dscal": Row("n .5 X 1", 1.05, "dscal n .5 x 1"),
    "dnrm2": Row("n X 1", 1.05, "daxpy n .5 X 1 x 1"),
}
# The same functions in torch.
TORCH: dict[str, Callable[[Any, Any], Any]] = {
    "dgemm": lambda t, x: x["A"] @ x["B"],
    "dtrsm": lambda t, x: t.linalg.solve_triangular(x["A"], x["B"], upper=False),
    "dgemv": lambda t, x: t.mv(x["A"], x["X"]),
    "dger": lambda t, x: t.addr(x["A"], x["X"], x["Y"]),
    "dtrsv": lambda t, x: t.linalg.solve_triangular(x["A"], x["X"][:, None], upper=False),
    "ddot": lambda t, x: t.dot(x["X"], x["Y"]),
    "daxpy": lambda t, x: t.add(x["Y"], x["X"], alpha=0.5),
    "dscal": lambda t, x: x["X"] * 0.5,
    "dnrm2": lambda t, x: t.linalg.vector_norm(x["X"]),
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
            elif word == "nn":
                kept.append(ctypes.byref(ctypes.c_int32(n * n)))
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

    def compare(self, routine: str, row: Row, n: int) -> None:
        letter, words = routine[0], row.arguments.split()
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
        bare = self.call(f"{routine} {row.arguments}", n, where)
        rest = self.sequence(row.by_hand, n, where) if row.by_hand else []

        def floor() -> None:
            bare()
            for call in rest:
                call()

        def ours(verify: bool, active_alpha: bool = False) -> Callable[[], float]:
            given, arguments = where, list(words)
            if active_alpha:
                alpha = next(i for i, word in enumerate(words) if is_number(word))
                cells = np.array([complex(words[alpha].replace("i", "j"))])
                given = where | {"S": cells if words[alpha].endswith("i") else cells.real.copy()}
                given["s"] = given["S"].copy()
                arguments[alpha] = "S"
            recorded = self.call(" ".join([routine, *arguments]), n, given, True)

            def once() -> float:
                tape = Tape(verify=verify)
                for name in given:
                    if name.isupper():
                        tape.duplicated(given[name], given[name.lower()])

                def run() -> None:
                    with tape:
                        recorded()
                    tape.reverse()

                seconds = timed(run)
                tape.close()
                return seconds

            return once

        ways = {"-": ours(verify=False), "v": ours(verify=True)}
        if any(map(is_number, words)):
            ways["s"] = ours(verify=False, active_alpha=True)
        times = 3 if self.quick else 12
        for mark, once in ways.items():
            few, many = interleaved(lambda: timed(floor), once, times)
            ratio = min(many) / min(few)
            what = f"{routine}, {n}: against {min(few) * 1e3:.3f} ms" + (" by hand" if rest else "")
            bounded = mark == "-"
            self.row(
                f"({mark}) {what}",
                f"{ratio:.3f} x",
                f"<= {row.limit} x" if bounded else "",
                ratio <= row.limit if bounded else None,
            )
        if self.torch and routine in TORCH:
            leaves = {
                name: self.torch.from_numpy(x.copy(order="F")).requires_grad_()
                for name, x in where.items()
                if name.isupper()
            }
            seed = self.torch.ones_like(TORCH[routine](self.torch, leaves))
            theirs, mine = interleaved(
                lambda: timed(lambda: TORCH[routine](self.torch, leaves).backward(seed)), ways["-"], times
            )
            ratio = min(mine) / min(theirs)
            self.row(f"(t) {routine}, {n}: against {min(theirs) * 1e3:.3f} ms", f"{ratio:.3f} x", "< 1 x", ratio < 1)

    @cached_property
    def torch(self) -> Any:
        try:
            import torch
        except ImportError:
            print("(t) torch is not installed")
            return None
        torch.set_num_threads(1)
        return torch

    def level3(self) -> None:
        for routine, row in LEVEL3.items():
            self.compare(routine, row, 1024)

    def level2(self) -> None:
        for routine, row in LEVEL2.items():
            self.compare(routine, row, 4096)

    def level1(self) -> None:
        for routine, row in LEVEL1.items():
            for n in (100_000, 10_000_000):
                self.compare(routine, row, n)


def is_number(word: str) -> bool:
    return "." in word or word == "1i" or word == "0i"


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", Blas))

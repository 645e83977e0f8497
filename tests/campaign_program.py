"""The campaign's programs: what memory they have and what they do; how one is drawn is in campaign_draw.py.

Everything is counted in cells, the real numbers of one arena: a complex element is two of them. A program knows nothing
of what it deserves; that is the oracle's business (campaign_oracle.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from campaign_anatomy import DIMS, anatomy, operands_in, scalars_in
from roads import ROADS, scalar_letter

# Buffers and their elements, in the order of addresses, with GAP elements of nobody's between them. P is annotated in
# many ways (LAYOUTS), Q and s have shadows, K is constant, U and W are scratch that nobody declares.
SIZE = {"P": 24, "Q": 12, "s": 3, "K": 12, "U": 24, "W": 16}
GAP, ROWS = 3, 4  # P and U are mostly used as matrices of ROWS rows
ARENA = sum(SIZE.values()) + GAP * (len(SIZE) + 1)
LETTERS = "ddddddddsszzzc"


def width(letter: str) -> int:
    """Cells of an element."""
    return 2 if letter in "cz" else 1


@cache
def starts(letter: str) -> dict[str, int]:
    """First cell of each buffer."""
    at, out = GAP, {}
    for name, size in SIZE.items():
        out[name] = at * width(letter)
        at += size + GAP
    return out


def name_of(cell: int, letter: str) -> str:
    for name, start in starts(letter).items():
        if 0 <= cell - start < SIZE[name] * width(letter):
            index, part = divmod(cell - start, width(letter))
            return f"{name}[{index}]" + (".imag" if part else "")
    return f"gap[{cell}]"


@dataclass(frozen=True)
class Array:
    """An array as NumPy would have it; all counts in cells."""

    base: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    item: int  # cells of an element

    def on(self, cells: np.ndarray) -> np.ndarray:
        """As a view of memory that is one-dimensional in cells."""
        w = cells.itemsize
        kind = cells.dtype if self.item == 1 else np.dtype(f"c{2 * w}")
        return np.ndarray(self.shape, kind, cells.data, self.base * w, tuple(s * w for s in self.strides))

    @cache  # noqa: B019 - there are few
    def cells(self) -> list[int]:
        at = np.full(self.shape, self.base)
        for axis, (n, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            at += (np.arange(n) * stride).reshape([-1 if i == axis else 1 for i in range(len(self.shape))])
        return (at.ravel()[:, None] + np.arange(self.item)).ravel().tolist()


@dataclass(frozen=True)
class Annotation:
    label: str
    kind: str  # "dup" or "const"
    parent: str
    array: Array


@dataclass(frozen=True)
class Place:
    """A stored column-major matrix; a vector is a row. Elements `without` (row, column) do not belong to it."""

    base: int
    ld: int
    rows: int
    cols: int
    item: int
    without: frozenset[tuple[int, int]] = frozenset()

    def cells(self) -> list[int]:
        """In column-major order."""
        return [
            self.base + self.item * (i + self.ld * j) + part
            for j in range(self.cols)
            for i in range(self.rows)
            if (i, j) not in self.without
            for part in range(self.item)
        ]


@dataclass(frozen=True)
class Call:
    """A BLAS call, its arguments in the order of Fortran. Operands are cells, the lowest of a vector; a scalar is a
    number, "@cell" (by address) or "=cell" (by the value there then)."""

    family: str
    letter: str
    row_major: bool
    road: int
    args: tuple[tuple[str, Any], ...]

    def __getitem__(self, name: str) -> Any:
        return next(value for key, value in self.args if key == name)

    def but(self, **changes: Any) -> "Call":
        return replace(self, args=tuple((key, changes.get(key, value)) for key, value in self.args))

    @property
    def routine(self) -> str:
        """As it is called; a complex number is stored, not returned."""
        return self.letter + self.family + "_sub" * (self.family in ("dotu", "dotc"))

    @property
    def scalars(self) -> dict[str, complex | str]:
        return {key: value for key, value in self.args if key in scalars_in(self.family)}

    def scalar_width(self, key: str) -> int:
        """Cells of that scalar."""
        return width(scalar_letter(self.letter + self.family, key))

    def cells(self) -> set[int]:
        """Of all arguments."""
        out = {c for p in self.places().values() for c in p.cells()}
        for key, x in self.scalars.items():
            if isinstance(x, str) and x[0] == "@":
                out |= set(range(int(x[1:]), int(x[1:]) + self.scalar_width(key)))
        return out

    def places(self) -> dict[str, Place]:
        """The operands as stored: of a row-major call, columns for rows."""
        given, out = dict(self.args), {}
        for key, part in anatomy(self.family, self.letter, self.row_major, self.sizes()).operands.items():
            ld = abs(given.get("ld" + key, given.get("inc" + key, 1)))
            out[key] = Place(given[key], ld, part.rows, part.cols, width(self.letter), part.without)
        return out

    def sizes(self) -> tuple[tuple[str, Any], ...]:
        """Flags and dimensions."""
        return tuple((k, v) for k, v in self.args if k in DIMS or (k not in self.scalars and isinstance(v, str)))

    def __str__(self) -> str:
        def argument(key: str, value: Any) -> str:
            if key in operands_in(self.family):
                return f"{key}={name_of(value, self.letter)}"
            if key in self.scalars and isinstance(value, str):
                return f"{key}={value[0]}{name_of(int(value[1:]), self.letter)}"
            return f"{key}={value:g}" if key in self.scalars else f"{key}={value}"

        return " ".join(
            [
                self.routine + " row-major" * self.row_major,
                *(argument(key, value) for key, value in self.args),
                f"through {ROADS[self.road]}",
            ]
        )


@dataclass(frozen=True)
class Write:
    """The program's own code writes. how: "fresh" numbers from seed `arg`, "fill" with arg, "scale" by arg, "copy" of
    the cells `source`, or "restore" what they held before the write `arg`."""

    kind: str
    cells: tuple[int, ...]
    how: str
    arg: float = 0
    source: tuple[int, ...] = ()


@dataclass(frozen=True)
class Announced:
    """`with tape.assigned(array)` around fresh numbers from `seed`, or `tape.forget(array)`."""

    kind: str  # "assigned", "forget"
    array: Array
    seed: int = 0


@dataclass(frozen=True)
class End:
    """Of the recording."""


Step = Call | Write | Announced | End


@dataclass
class Program:
    seed: int
    letter: str
    mode: str  # "reverse", "forward"
    verify: bool
    undeclared: str
    copies: str
    flat: bool  # buffers hold one number each when the program begins
    late: bool  # buffers are annotated just before their first use
    annotations: list[Annotation]
    steps: list[Step] = field(default_factory=list)

    def kinds(self) -> list[str]:
        """Of unseen code and announcements, one an occurrence."""
        found = [s.kind for s in self.steps if isinstance(s, Write) and s.how != "restore"]
        found += [s.kind for s in self.steps if isinstance(s, Announced)]
        values = sum(
            isinstance(x, str) and x[0] == "=" for s in self.steps if isinstance(s, Call) for x in s.scalars.values()
        )
        return found + ["scalar read by the program"] * values

    def without(self, index: int) -> "Program":
        return replace(self, steps=self.steps[:index] + self.steps[index + 1 :])

    def __str__(self) -> str:
        flat = ", flat" * self.flat + ", annotated late" * self.late
        lines = [
            f"seed {self.seed}: {self.letter}, {self.mode}, verify={self.verify}, undeclared={self.undeclared!r}, "
            f"copies={self.copies!r}{flat}"
        ]
        for a in self.annotations:
            x = a.array
            where = f"{name_of(x.base, self.letter)}, shape {x.shape}, strides {x.strides} of {x.item}"
            lines.append(f"  {a.label}: {a.kind} {where}")
        for i, s in enumerate(self.steps):
            lines.append(f"  {i}: {describe(s, self.letter)}")
        return "\n".join(lines)


def describe(s: Step, letter: str) -> str:
    def many(cells: Iterable[int]) -> str:
        names = [name_of(c, letter) for c in cells]
        return " ".join(names if len(names) < 9 else [*names[:4], "…", *names[-4:]])

    if isinstance(s, Write):
        source = f" from {many(s.source)}" if s.source else ""
        return f"[{s.kind}] {s.how} {s.arg:g} to {many(s.cells)}{source}"
    if isinstance(s, Announced):
        return f"[{s.kind}] {many(s.array.cells())}"
    return "end of recording" if isinstance(s, End) else str(s)


# ---------------------------------------------------------------- how P is annotated


@cache
def layouts(letter: str) -> dict[str, list[Annotation]]:
    w, base, size = width(letter), starts(letter)["P"], SIZE["P"]
    cols = size // ROWS

    def flat(label: str, kind: str, first: int, last: int) -> Annotation:
        return Annotation(label, kind, "P", Array(base + w * first, (last - first,), (w,), w))

    def grid(label: str, kind: str, rows: range, columns: range) -> Annotation:
        at = base + w * (rows[0] + ROWS * columns[0])
        return Annotation(
            label,
            kind,
            "P",
            Array(at, (len(rows), len(columns)), (w * rows.step, w * ROWS * columns.step), w),
        )

    every, all_rows = range(cols), range(ROWS)
    out = {
        "whole": [flat("P", "dup", 0, size)],
        "matrix": [grid("P", "dup", all_rows, every)],
        "part again": [flat("P", "dup", 0, size), flat("P2", "dup", 4, 12)],
        "halves": [flat("P1", "dup", 0, size // 2), flat("P2", "dup", size // 2, size)],
        "row blocks": [grid("P1", "dup", range(2), every), grid("P2", "dup", range(2, ROWS), every)],
        "columns in turn": [grid("P1", "dup", all_rows, every[::2]), grid("P2", "dup", all_rows, every[1::2])],
        "rows in turn": [grid("P1", "dup", all_rows[::2], every), grid("P2", "dup", all_rows[1::2], every)],
        "every other column": [grid("P1", "dup", all_rows, every[::2])],
        "constant columns between": [
            grid("P1", "dup", all_rows, every[::2]),
            grid("P2", "const", all_rows, every[1::2]),
        ],
        "constant half": [flat("P1", "dup", 0, size // 2), flat("P2", "const", size // 2, size)],
        "declared half": [flat("P1", "dup", 0, size // 2)],
    }
    if w == 2:

        def part(label: str, kind: str, imag: int) -> Annotation:
            return Annotation(label, kind, "P", Array(base + imag, (size,), (2,), 1))

        out |= {
            "pairs": [Annotation("P", "dup", "P", Array(base, (2 * size,), (1,), 1))],
            "real and imaginary": [part("P1", "dup", 0), part("P2", "dup", 1)],
            "real": [part("P1", "dup", 0)],
            "constant imaginary": [part("P1", "dup", 0), part("P2", "const", 1)],
        }
    return out


DECLARED = ("whole", "matrix", "part again", "pairs")  # what one annotation covers

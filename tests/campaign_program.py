"""The campaign's programs: what memory they have, what they do, and how one is drawn from a number.

Everything is counted in cells, the real numbers of one arena: a complex element is two of them. A program knows nothing
of what it deserves; that is the oracle's business (campaign_oracle.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np
from roads import CBLAS, FORTRAN, ROADS

# Buffers and their elements, in the order of addresses, with GAP elements of nobody's between them. P is annotated in
# many ways (LAYOUTS), Q and s have shadows, K is constant, U and W are scratch that nobody declares.
SIZE = {"P": 24, "Q": 12, "s": 3, "K": 12, "U": 24, "W": 16}
GAP, ROWS = 3, 4  # P and U are mostly used as matrices of ROWS rows
ARENA = sum(SIZE.values()) + GAP * (len(SIZE) + 1)
LETTERS = "ddddddddsszzzc"


def width(letter: str) -> int:
    """Cells of an element."""
    return 2 if letter in "cz" else 1


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
    """A stored column-major matrix."""

    base: int
    ld: int
    rows: int
    cols: int
    item: int

    def cells(self) -> list[int]:
        """In column-major order."""
        return [
            self.base + self.item * (i + self.ld * j) + part
            for j in range(self.cols)
            for i in range(self.rows)
            for part in range(self.item)
        ]


@dataclass(frozen=True)
class Call:
    """A gemm. Operands are cells; a scalar is a number, "@cell" (by address) or "=cell" (by the value there then)."""

    letter: str
    row_major: bool
    ta: str
    tb: str
    m: int
    n: int
    k: int
    alpha: complex | str
    a: int
    lda: int
    b: int
    ldb: int
    beta: complex | str
    c: int
    ldc: int
    road: int

    def places(self) -> dict[str, Place]:
        """The operands as stored: of a row-major call, columns for rows."""
        m, n, k, w = self.m, self.n, self.k, width(self.letter)
        shapes = {
            "a": (m, k) if self.ta == "N" else (k, m),
            "b": (k, n) if self.tb == "N" else (n, k),
            "c": (m, n),
        }
        out = {}
        for key, shape in shapes.items():
            rows, cols = shape[::-1] if self.row_major else shape
            out[key] = Place(getattr(self, key), getattr(self, "ld" + key), rows, cols, w)
        return out

    def __str__(self) -> str:
        row = " row-major" if self.row_major else ""

        def operand(key: str) -> str:
            at = getattr(self, key)
            return f"{name_of(at, self.letter)}/{getattr(self, 'ld' + key)}"

        def scalar(x: complex | str) -> str:
            return x[0] + name_of(int(x[1:]), self.letter) if isinstance(x, str) else f"{x:g}"

        return (
            f"{self.letter}gemm{row} {self.ta}{self.tb} m={self.m} n={self.n} k={self.k} alpha={scalar(self.alpha)} "
            f"a={operand('a')} b={operand('b')} beta={scalar(self.beta)} c={operand('c')} through {ROADS[self.road]}"
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
    annotations: list[Annotation]
    steps: list[Step] = field(default_factory=list)

    def kinds(self) -> list[str]:
        """Of unseen code and announcements, one an occurrence."""
        found = [s.kind for s in self.steps if isinstance(s, Write) and s.how != "restore"]
        found += [s.kind for s in self.steps if isinstance(s, Announced)]
        values = sum(isinstance(x, str) and x[0] == "=" for s in self.steps if isinstance(s, Call) for x in (s.alpha,))
        return found + ["scalar read by the program"] * values

    def without(self, index: int) -> "Program":
        return replace(self, steps=self.steps[:index] + self.steps[index + 1 :])

    def __str__(self) -> str:
        flat = ", flat" if self.flat else ""
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


# ---------------------------------------------------------------- drawing

HARMLESS = ("undone", "dead value", "padding", "never touched", "forget", "assigned", "part of a copy", "small copy")
HARMFUL = ("memset", "scaled in place", "one element", "refill", "copy", "transposed copy", "after the end", "scalar")
PLAIN = (
    "undone",
    "dead value",
    "padding",
    "never touched",
    "memset",
    "scaled in place",
    "one element",
    "after the end",
)


class Draw:
    """One program from one number. `declared`: only with what each single annotation or no annotation covers, all
    active results in annotated memory, and without announcements and copies."""

    def __init__(self, seed: int, declared: bool = False) -> None:
        self.rng = r = Random(seed)
        self.declared, self.letter = declared, r.choice(LETTERS)
        self.w, self.start = width(self.letter), starts(self.letter)
        named = layouts(self.letter)
        layout = r.choice([n for n in named if not declared or n in DECLARED])
        self.program = Program(
            seed=seed,
            letter=self.letter,
            mode="forward" if r.random() < 0.2 else "reverse",
            verify=r.random() < 0.85,
            undeclared=r.choices(("constant", "warn", "error"), (8, 1, 0.5))[0],
            copies="follow" if not declared and r.random() < 0.3 else "error",
            flat=r.random() < 0.04,
            annotations=[*named[layout], *(self.whole(n, "const" if n == "K" else "dup") for n in "QsK")],
        )
        if self.program.copies == "follow":
            self.program.verify = True
        of = {kind: set() for kind in ("dup", "const")}
        for a in self.program.annotations:
            of[a.kind].update(a.array.cells())
        self.dup, self.const = of["dup"], of["const"]
        self.live: set[int] = set()
        self.outputs: list[Place] = []
        self.steps = self.program.steps

    def whole(self, name: str, kind: str) -> Annotation:
        return Annotation(name, kind, name, Array(self.start[name], (SIZE[name],), (self.w,), self.w))

    def buffer(self, cell: int) -> str:
        return name_of(cell, self.letter)[0]

    # ---- calls

    def place(self, name: str, rows: int, cols: int, item: int) -> Place | None:
        """Somewhere in a buffer."""
        r, size = self.rng, SIZE[name] * (self.w // item)
        tall = ROWS * (self.w // item)
        natural = name in "PU" and rows <= tall and r.random() < 0.7
        ld = tall if natural else max(1, rows) + r.choice((0, 0, 1, 2))
        span = ld * (cols - 1) + rows if rows and cols else 0
        if span > size:
            return None
        last = size - span
        step = 2 if item == 1 and self.w == 2 and r.random() < 0.5 else 1
        if name in "KUW" and r.random() < 0.5:  # the same again and again: what is known of it has to be used
            last = min(last, 1)
        return Place(self.start[name] + item * r.randrange(0, last + 1, step), ld, rows, cols, item)

    def scalar(
        self, taken: set[int], letter: str, cblas: bool, active: bool, usual: tuple[complex, ...]
    ) -> complex | str:
        r = self.rng
        if r.random() < 0.65 or (cblas and letter in "sd"):
            value = r.choice(usual)
            return value * (1 - 0.5j) if letter in "cz" and abs(value) not in (0, 1) and r.random() < 0.5 else value
        names = ["s", "s", "P", "U", "K"] if active and not self.declared else ["s", "s", "P"] if active else ["K", "U"]
        for _ in range(8):
            name = r.choice(names)
            at = self.start[name] + self.w * r.randrange(SIZE[name])
            cells = set(range(at, at + width(letter)))
            if (
                not cells & taken
                and (active or not cells & self.live)
                and not (self.declared and cells - self.dup and active)
            ):
                return f"@{at}"
        return r.choice(usual)

    def call(self, given: Place | None = None) -> bool:
        """Appends a call; one that reads the matrix `given` if there is one. False if none was found."""
        r = self.rng
        letter = {"z": "d", "c": "s"}[self.letter] if self.w == 2 and not given and r.random() < 0.05 else self.letter
        item = width(letter)
        active = r.random() < 0.8
        for _ in range(60):
            m, n, k = (r.choices((1, 2, 3, 4, 0), (5, 6, 4, 3, 0.6))[0] for _ in range(3))
            road = r.randrange(len(ROADS))
            cblas = ROADS[road] in CBLAS
            row_major = cblas and r.random() < 0.5
            ta, tb = r.choice("NTC"), r.choice("NTC")
            role = r.choice("ab") if given else ""
            if given:
                rows, cols = (given.cols, given.rows) if row_major else (given.rows, given.cols)
                if role == "a":
                    m, k = (rows, cols) if ta == "N" else (cols, rows)
                else:
                    k, n = (rows, cols) if tb == "N" else (cols, rows)
            if self.declared:
                outputs, inputs = ("PPQs", "PPQsKU") if active else ("KUPQ", "KU")
            else:
                outputs, inputs = ("PPPQUUUWs", "PPPQQsKUUUW") if active else ("KUUWPQ", "KKUW")
            shape = Call(letter, row_major, ta, tb, m, n, k, 1, 0, 1, 0, 1, 0, 0, 1, road).places()
            found = {}
            for key, p in shape.items():
                name = r.choice(outputs if key == "c" else inputs)
                found[key] = given if key == role else self.place(name, p.rows, p.cols, item)
            if None in found.values():
                continue
            cells = {key: set(p.cells()) for key, p in found.items()}
            overlaps = bool(cells["c"] & (cells["a"] | cells["b"]))
            if overlaps and r.random() < (0.9 if self.declared else 0.97):
                continue
            if not active and (cells["a"] | cells["b"] | cells["c"]) & self.live and not given and r.random() < 0.9:
                continue
            if active and cells["c"] & self.const and r.random() < 0.97:
                continue
            if self.declared and any(self.dup & c and c - self.dup for c in cells.values()):
                continue
            alpha = self.scalar(cells["c"], letter, cblas, active, (1, 0.3, -0.7, 1, 0.3, -0.7, 0))
            beta = self.scalar(cells["c"], letter, cblas, active, (0, 0, 0, 1, -0.6, 0.5))
            if overlaps and any(isinstance(x, str) for x in (alpha, beta)):
                continue
            a, b, c = (found[key] for key in "abc")
            call = Call(letter, row_major, ta, tb, m, n, k, alpha, a.base, a.ld, b.base, b.ld, beta, c.base, c.ld, road)
            self.steps.append(call)
            scalars = {int(x[1:]) for x in (alpha, beta) if isinstance(x, str)}
            if (cells["a"] | cells["b"] | scalars | (cells["c"] if beta != 0 else set())) & (self.dup | self.live):
                self.live |= cells["c"] - self.dup - self.const
                if item == self.w:
                    self.outputs.append(found["c"])
            else:
                self.live -= cells["c"]
            return True
        return False

    # ---- unseen code

    def write(
        self, kind: str, cells: Iterable[int], how: str = "fresh", arg: float | None = None, **more: object
    ) -> None:
        arg = self.rng.randrange(1 << 30) if arg is None else arg
        self.steps.append(Write(kind, tuple(cells), how, arg, **more))  # type: ignore[arg-type]

    def some_operand(self) -> Place | None:
        calls = [s for s in self.steps if isinstance(s, Call)]
        return self.rng.choice(list(self.rng.choice(calls).places().values())) if calls else None

    def elements(self, cells: list[int]) -> list[int]:
        """Whole elements, or single cells where the buffer is annotated by cells."""
        if not cells:
            return []
        at = self.rng.choice(cells)
        at -= (at - self.start["P"]) % self.w
        return list(range(at, at + self.w))

    def block(self, p: Place) -> Array:
        return Array(p.base, (p.rows, p.cols), (p.item, p.item * p.ld), p.item)

    def unseen(self, kind: str) -> None:
        r = self.rng
        if kind == "memset":
            name = r.choice("PQKUW")
            cells = list(range(self.start[name], self.start[name] + self.w * SIZE[name]))
            self.write(
                kind, cells if r.random() < 0.5 else cells[: len(cells) // 2], "fill", r.choice((0.0, 0.0, 0.25))
            )
        elif kind == "scaled in place":
            if p := r.choice([*self.outputs[-3:], self.some_operand()]):
                self.write(kind, p.cells(), "scale", 1.5)
        elif kind == "one element":
            if p := self.some_operand():
                self.write(kind, self.elements(p.cells()))
        elif kind == "refill":
            p = self.place(r.choice("UUW"), r.choice((2, 3, 4)), r.choice((1, 2, 3)), self.w)
            if p:
                self.write(kind, p.cells())
        elif kind == "forget":
            p = r.choice([p for p in self.outputs if self.buffer(p.base) in "UW"] or [None])
            p = p or self.place(r.choice("UW"), 3, 2, self.w)
            if p:
                self.steps.append(Announced(kind, self.block(p)))
                self.live -= set(p.cells())
                if r.random() < 0.7:
                    self.write("refill after forget", p.cells())
        elif kind == "assigned":
            p = self.place(r.choice("PPQUUWK"), r.choice((1, 2, 3)), r.choice((1, 2)), self.w)
            if p:
                self.steps.append(Announced(kind, self.block(p), r.randrange(1 << 30)))
                self.live -= set(p.cells())
        elif kind in ("copy", "transposed copy", "part of a copy", "small copy"):
            self.copy(kind)
        elif kind == "undone":
            if p := self.some_operand():
                self.write(kind, self.elements(p.cells()))
                last = self.steps[-1]
                if r.random() < 0.4:
                    self.call()
                assert isinstance(last, Write)
                self.write(kind, last.cells, "restore", last.arg)
        elif kind == "scalar":
            if not self.declared and self.call():
                last = self.steps[-1]
                ones = [p for p in self.outputs if p.rows == p.cols == 1]
                at = r.choice(ones).base if ones and r.random() < 0.7 else self.start[r.choice("PU")]
                assert isinstance(last, Call)
                if last.letter == self.letter and not isinstance(last.alpha, str):
                    self.steps[-1] = replace(last, alpha=f"={at}")

    def copy(self, kind: str) -> None:
        """Of what an active call wrote, or of an annotated buffer, to scratch that a call then reads."""
        r, small = self.rng, kind == "small copy"
        pool = [p for p in self.outputs[-4:] if small or p.rows * p.cols >= 8]
        if not small and (r.random() < 0.25 or not pool):
            q = self.start["Q"]
            pool.append(r.choice((Place(q, 3, 3, 4, self.w), Place(q, 4, 4, 3, self.w), Place(q, 2, 2, 6, self.w))))
        if small:
            pool = [p for p in pool if p.rows * p.cols < 8]
        if not pool:
            return
        p = r.choice(pool)
        if p.rows * p.cols == 0:
            return
        rows, cols = p.rows, p.cols
        if kind == "part of a copy":
            cols -= 1
        source = Place(p.base, p.ld, rows, cols, p.item)
        to = (cols, rows) if kind == "transposed copy" else (rows, cols)
        ld = to[0] + (r.random() < 0.3)
        name = r.choice("UWW")
        if cols < 1 or ld * (to[1] - 1) + to[0] > SIZE[name]:
            return
        base = self.start[name] + self.w * r.randrange(SIZE[name] - ld * (to[1] - 1) - to[0] + 1)
        target = Place(base, ld, *to, self.w)
        cells = target.cells()
        if set(cells) & set(source.cells()):
            return
        if set(cells) & self.live and r.random() < 0.8:
            self.steps.append(Announced("forget", self.block(target)))
            self.live -= set(cells)
        if kind == "transposed copy":
            grid = np.array(cells).reshape(to[1], to[0], self.w)
            cells = grid.transpose(1, 0, 2).ravel().tolist()
        self.write(kind, cells, "copy", 0, source=tuple(source.cells()))
        if r.random() < 0.2:
            self.call()
        if small and rows == cols == 1 and r.random() < 0.5:
            return
        self.call(target)

    def afterwards(self, kind: str) -> None:
        """What is known to be dead, or never touched, only when the whole program is there."""
        r = self.rng
        calls = [(i, s) for i, s in enumerate(self.steps) if isinstance(s, Call)]
        if not calls:
            return
        at = r.randrange(len(self.steps) + 1)
        if kind == "dead value":
            clearing = [(i, s) for i, s in calls if s.beta == 0]
            if not clearing:
                return
            at, s = r.choice(clearing)
            cells = s.places()["c"].cells()
        elif kind == "padding":
            _, s = r.choice(calls)
            p = r.choice(list(s.places().values()))
            own = set(p.cells())
            cells = [c for c in range(min(own), max(own)) if c not in own] if own else []
            cells = self.elements(cells)
        else:
            used = {c for _, s in calls for p in s.places().values() for c in p.cells()}
            every = [c for n in "PPQKUW" for c in range(self.start[n], self.start[n] + self.w * SIZE[n])]
            cells = self.elements([c for c in every if c not in used])
        if cells:
            self.steps.insert(at, Write(kind, tuple(cells), "fresh", r.randrange(1 << 30)))

    def draw(self) -> Program:
        r = self.rng
        kinds: list[str] = []
        if r.random() < 0.75:
            kinds = [r.choice(HARMLESS) for _ in range(r.choice((0, 1, 1, 2)))]
            kinds += [r.choice(HARMFUL)] * (r.random() < 0.5)
            if self.program.copies == "follow" and r.random() < 0.5:
                kinds.append(r.choice(("copy", "transposed copy")))
        if self.declared:
            kinds = [k for k in kinds if k in PLAIN]
        now = [k for k in kinds if k not in ("dead value", "padding", "never touched", "after the end")]
        length = r.randint(1, 8)
        times = {k: r.randint(1, length) for k in now}
        for i in range(length):
            self.call()
            for kind in now:
                if times[kind] == i + 1:
                    self.unseen(kind)
                    if r.random() < 0.5:
                        self.call()
        for kind in kinds:
            if kind in ("dead value", "padding", "never touched"):
                self.afterwards(kind)
        self.steps.append(End())
        if "after the end" in kinds and (p := self.some_operand()):
            self.write("after the end", self.elements(p.cells()))
        return self.program


def draw(seed: int, declared: bool = False) -> Program:
    return Draw(seed, declared).draw()


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """Fewer steps that still fail."""
    again = True
    while again:
        again = False
        for i in reversed(range(len(program.steps))):
            if not isinstance(program.steps[i], End) and fails(smaller := program.without(i)):
                program, again = smaller, True
    return program


__all__ = ["FORTRAN", "Program", "draw", "shrink"]

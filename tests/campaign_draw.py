"""Draws a program of the campaign from a number, and finds smaller ones that still fail.

The draw follows roughly what is active, so that most programs get far; what they deserve is not decided here.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

import numpy as np
from campaign_anatomy import (
    DIMS,
    anatomy,
    flag_choices,
    has_layout,
    in_order,
    is_band,
    operands_in,
    scalars_in,
    sides,
    stores,
)
from campaign_program import (
    DECLARED,
    LETTERS,
    ROWS,
    SIZE,
    Annotation,
    Announced,
    Array,
    Call,
    End,
    Place,
    Program,
    Write,
    layouts,
    name_of,
    starts,
    width,
)
from oracles import ARGUMENTS
from roads import CBLAS, ROADS, scalar_letter
from table import families

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
    """One program from one number. `routines`: "gemm" or "all". `declared`: only with what each single annotation or no
    annotation covers, all active results in annotated memory, and without announcements and copies."""

    def __init__(self, seed: int, routines: str = "gemm", declared: bool = False) -> None:
        self.rng = r = Random(seed)
        self.declared, self.letter = declared, r.choice(LETTERS if routines == "gemm" else "dsczzc")
        self.others = [f for f, types in sorted(families().items()) if routines == "all" and self.letter in types]
        self.others = [f for f in self.others if f != "gemm" and stores(f, self.letter)]
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
            late=r.random() < 0.1,
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
        rows = self.rng.choice((0, 0, 3, 4)) if name == "Q" and not self.declared else 0  # else of one axis
        shape = (rows, SIZE[name] // rows) if rows else (SIZE[name],)
        strides = (self.w, self.w * rows) if rows else (self.w,)
        return Annotation(name, kind, name, Array(self.start[name], shape, strides, self.w))

    def buffer(self, cell: int) -> str:
        return name_of(cell, self.letter)[0]

    # ---- calls

    def place(
        self, name: str, rows: int, cols: int, item: int, vector: bool = False, packed: bool = False
    ) -> Place | None:
        """Somewhere in a buffer."""
        r, size = self.rng, SIZE[name] * (self.w // item)
        tall = ROWS * (self.w // item)
        natural = name in "PU" and rows <= tall and r.random() < 0.7
        ld = tall if natural else max(1, rows) + r.choice((0, 0, 1, 2))
        if vector or packed:
            ld = 1 if packed else r.choice((1, 1, 1, 2, 3))
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
                (not cells & taken or r.random() < 0.03)
                and (active or not cells & self.live)
                and not (self.declared and cells - self.dup and active)
            ):
                return f"@{at}"
        return r.choice(usual)

    def call(self, given: Place | None = None, update: bool = False) -> bool:
        """Appends a call, and sometimes one that reads what it left. One that reads the matrix `given`, or updates it if
        it may. False if none was found."""
        if self.others and not given and self.rng.random() < 0.8:
            return self.other_call()
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
            role = r.choice("abc" if update else "ab") if given else ""
            if given:
                rows, cols = (given.cols, given.rows) if row_major else (given.rows, given.cols)
                if role == "c":
                    m, n = rows, cols
                elif role == "a":
                    m, k = (rows, cols) if ta == "N" else (cols, rows)
                else:
                    k, n = (rows, cols) if tb == "N" else (cols, rows)
            sizes = {"transa": ta, "transb": tb, "m": m, "n": n, "k": k}
            found = self.operands("gemm", letter, row_major, sizes, active, {role: given} if given else {})
            if not found:
                continue
            cells = {key: set(p.cells()) for key, p in found.items()}
            overlaps = bool(cells["c"] & (cells["a"] | cells["b"]))
            if overlaps and r.random() < (0.9 if self.declared else 0.97):
                continue
            if not self.suits(cells, ("c",), active, bool(given)):
                continue
            alpha = self.scalar(cells["c"], letter, cblas, active, (1, 0.3, -0.7, 1, 0.3, -0.7, 0))
            beta = self.scalar(cells["c"], letter, cblas, active, (1, -0.6) if role == "c" else (0, 0, 0, 1, -0.6, 0.5))
            if overlaps and any(isinstance(x, str) for x in (alpha, beta)):
                continue
            self.append("gemm", letter, row_major, road, sizes | {"alpha": alpha, "beta": beta}, found)
            scalars = {int(x[1:]) for x in (alpha, beta) if isinstance(x, str)}
            if (cells["a"] | cells["b"] | scalars | (cells["c"] if beta != 0 else set())) & (self.dup | self.live):
                self.live |= cells["c"] - self.dup - self.const
                if item == self.w:
                    self.outputs.append(found["c"])
            else:
                again = not self.declared and bool(cells["c"] & self.live) and r.random() < 0.5
                self.live -= cells["c"]
                if again and item == self.w:
                    self.call(found["c"], update=True)
            return True
        return False

    def other_call(self) -> bool:
        """Of any routine but gemm."""
        r, letter = self.rng, self.letter
        for _ in range(60):
            family, active = r.choice(self.others), r.random() < 0.8
            arguments = ARGUMENTS[family].split()
            sizes = dict(r.choice(flag_choices(family, letter)))
            for dim in (a for a in arguments if a in DIMS):
                side = is_band(family) and dim in sides(family)
                sizes[dim] = r.choice((0, 1, 1, 2, 4)) if side else r.choices((1, 2, 3, 4, 0), (4, 6, 5, 2, 0.5))[0]
            roads = [i for i, road in enumerate(ROADS) if road in CBLAS or family not in ("dotu", "dotc")]
            road = r.choice(roads)
            cblas = ROADS[road] in CBLAS
            row_major = cblas and has_layout(family, letter) and r.random() < 0.5
            found = self.operands(family, letter, row_major, sizes, active, {})
            if not found:
                continue
            outputs = anatomy(family, letter, row_major, in_order(family, sizes)).outputs
            cells = {key: set(p.cells()) for key, p in found.items()}
            written = set().union(*(cells[key] for key in outputs))
            rest = [cells[key] for key in cells if key not in outputs]
            overlaps = len(written) < sum(len(cells[key]) for key in outputs) or any(written & x for x in rest)
            if overlaps and (not has_layout(family, letter) or r.random() < 0.97):
                continue
            if not self.suits(cells, outputs, active, False):
                continue
            usual = {"alpha": (1, 0.3, -0.7, 0.5, 0), "beta": (0, 0, 1, -0.6, 0.5)}
            for key in scalars_in(family):
                kind = scalar_letter(letter + family, key)
                sizes[key] = self.scalar(written, kind, cblas, active, usual.get(key, usual["alpha"]))
            self.append(family, letter, row_major, road, sizes, found)
            scalars = {int(x[1:]) for key in scalars_in(family) if isinstance(x := sizes[key], str)}
            if set().union(scalars, *cells.values()) & (self.dup | self.live):
                self.live |= written - self.dup - self.const
                self.outputs += [found[key] for key in outputs if not found[key].without]
            else:
                self.live -= written
            return True
        return False

    def operands(
        self, family: str, letter: str, row_major: bool, sizes: dict, active: bool, given: dict[str, Place]
    ) -> dict[str, Place] | None:
        """Places for all of them, if there are."""
        r = self.rng
        if self.declared:
            to, of = ("PPQs", "PPQsKU") if active else ("KUPQ", "KU")
        else:
            to, of = ("PPPQUUUWs", "PPPQQsKUUUW") if active else ("KUUWPQ", "KKUW")
        shape = anatomy(family, letter, row_major, in_order(family, sizes))
        found: dict[str, Place] = {}
        for key, part in shape.operands.items():
            name = r.choice(to if key in shape.outputs else of)
            place = given.get(key) or self.place(name, part.rows, part.cols, width(letter), key in "xy", key == "ap")
            if place is None:
                return None
            found[key] = replace(place, without=part.without)
        return found

    def suits(self, cells: dict[str, set[int]], outputs: tuple[str, ...], active: bool, given: bool) -> bool:
        """What would mostly be an error is drawn rarely."""
        r = self.rng
        if not active and set().union(*cells.values()) & self.live and not given and r.random() < 0.9:
            return False
        if active and any(cells[key] & self.const for key in outputs) and r.random() < 0.97:
            return False
        return not (self.declared and any(self.dup & c and c - self.dup for c in cells.values()))

    def append(
        self, family: str, letter: str, row_major: bool, road: int, given: dict, found: dict[str, Place]
    ) -> None:
        args = []
        for key in ARGUMENTS[family].split():
            if key in operands_in(family):
                value = found[key].base
            elif key.startswith("ld"):
                value = found[key[2:]].ld
            elif key.startswith("inc"):
                value = found[key[3:]].ld * self.rng.choice((1, 1, -1))
            else:
                value = given[key]
            args.append((key, value))
        self.steps.append(Call(family, letter, row_major, road, tuple(args)))

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

    def scratch(self) -> Place | None:
        """What an active call has written there, if one has; or any block."""
        r = self.rng
        written = [p for p in self.outputs if self.buffer(p.base) in "UW" and p.rows * p.cols]
        if written and r.random() < 0.8:
            return r.choice(written)
        return self.place(r.choice("UUW"), r.choice((2, 3, 4)), r.choice((1, 2, 3)), self.w)

    def read(self, p: Place) -> None:
        """Often, what has just been written is used."""
        if not self.declared and self.rng.random() < 0.6:
            self.call(p, update=True)

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
            p = self.scratch()
            if p:
                self.write(kind, p.cells())
                self.read(p)
        elif kind == "forget":
            p = self.scratch()
            if p:
                self.steps.append(Announced(kind, self.block(p)))
                self.live -= set(p.cells())
                if r.random() < 0.7:
                    self.write("refill after forget", p.cells())
                self.read(p)
        elif kind == "assigned":
            p = self.place(r.choice("PPQUWK"), r.choice((1, 2, 3)), r.choice((1, 2)), self.w)
            p = self.scratch() if r.random() < 0.3 else p
            if p:
                self.steps.append(Announced(kind, self.block(p), r.randrange(1 << 30)))
                self.live -= set(p.cells())
                self.read(p)
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
            self.scalar_by_value()

    def scalar_by_value(self) -> None:
        if self.declared or not self.call():
            return
        r, last = self.rng, self.steps[-1]
        ones = [p for p in self.outputs if p.rows == p.cols == 1]
        at = r.choice(ones).base if ones and r.random() < 0.7 else self.start[r.choice("PU")]
        assert isinstance(last, Call)
        alpha = last.scalars.get("alpha")
        if last.letter == self.letter and alpha is not None and last.scalar_width("alpha") == self.w:
            self.steps[-1] = last if isinstance(alpha, str) else last.but(alpha=f"={at}")

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
            clearing = [(i, s) for i, s in calls if s.scalars.get("beta") == 0]
            if not clearing:
                return
            at, s = r.choice(clearing)
            cells = list(s.places().values())[-1].cells()
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


def draw(seed: int, routines: str = "gemm", declared: bool = False) -> Program:
    return Draw(seed, routines, declared).draw()


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """Fewer steps that still fail."""
    again = True
    while again:
        again = False
        for i in reversed(range(len(program.steps))):
            if not isinstance(program.steps[i], End) and fails(smaller := program.without(i)):
                program, again = smaller, True
    return program

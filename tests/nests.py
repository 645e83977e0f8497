"""Nests of tapes: drawn at random or by hand, executed by blasad and by an oracle (`graph`)."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from graph import Arithmetic, Layer, Real
from memory_guard import Pen
from oracles import assert_close
from roads import CBLAS, DTYPE, FORTRAN, REAL, Road, place

from blasad import Forward, Reverse, Tape, ffi, lib
from blasad.activity import Mode
from blasad.errors import check

# P and Q are what the program computes with, s holds scalars, K is only read, U is scratch.
SIZE = {"P": 14, "Q": 12, "s": 4, "K": 9, "U": 9}
Step = dict[str, object]


@dataclass
class Call:
    step: Step
    road: Road

    def __str__(self) -> str:
        return f"{self.step} through {self.road}"


@dataclass
class Assign:
    """Fresh numbers, announced."""

    name: str
    part: slice
    values: np.ndarray


@dataclass
class Annotation:
    """A part of a buffer and its shadows, none if it is constant; `reals`: of the buffer as an array of real numbers."""

    name: str
    part: slice
    shadows: list[str]
    reals: bool = False

    def of(self, x: np.ndarray) -> np.ndarray:
        return (x.view(x.real.dtype) if self.reals else x)[self.part]

    def cells(self, x: np.ndarray) -> list[int]:
        """The real numbers in it."""
        size = x.itemsize // x.real.itemsize
        cells = np.arange(x.size * size)
        return (cells if self.reals else cells.reshape(-1, size))[self.part].ravel().tolist()


@dataclass
class Nest:
    """A tape and what happens in it. `again`: calls after the first reverse(), followed by another one. `rest`: calls
    when it is done, which only the tapes around it see. `free`: when it is closed."""

    label: str
    mode: Mode
    verify: bool
    body: list[object] = field(default_factory=list)
    shadows: list["Annotation"] = field(default_factory=list)
    replayed: bool = True
    again: list[object] | None = None
    rest: list[object] = field(default_factory=list)
    free: str = "now"
    undeclared: str = "constant"

    def lines(self, indent: str = "") -> Iterator[str]:
        yield f"{indent}{self.label}: {self.mode!r}, verify={self.verify}"
        for x in self.shadows:
            where = f"{x.part.start}:{x.part.stop}:{x.part.step}" + (" of the reals" if x.reals else "")
            yield f"{indent}  {x.name}[{where}] has {x.shadows}"
        for what, things in (("", self.body), ("again ", self.again or []), ("rest ", self.rest)):
            for x in things:
                yield from x.lines(indent + "  " + what) if isinstance(x, Nest) else [f"{indent}  {what}{x}"]
            if not what:
                yield f"{indent}  {'replayed' if self.replayed else 'not replayed'}, freed {self.free}"


class Writer:
    """Draws programs. `declared`: the outermost tape knows all memory that the program has, and insists on it."""

    def __init__(self, letter: str, seed: int, declared: bool = False) -> None:
        self.letter, self.rng, self.declared = letter, random.Random(f"{letter}{seed}"), declared
        self.pen, self.tapes, self.calls = Pen(1 << 17), 0, 0
        self.memory: dict[str, np.ndarray] = {}
        for name, size in SIZE.items():
            self.buffer(name, size)
        for i in range(SIZE["s"]):  # values hide nothing: active scalars that are 0 or 1
            if self.rng.random() < 0.5:
                self.memory["s"][i] = self.rng.choice([0, 1])

    def numbers(self, count: int) -> np.ndarray:
        real = np.array([self.rng.uniform(-1, 1) for _ in range(count * (2 if self.letter in "cz" else 1))])
        return real.astype(REAL[self.letter]).view(DTYPE[self.letter])

    def buffer(self, name: str, size: int) -> None:
        self.memory[name] = self.pen.copy(self.numbers(size))

    # ---- calls

    def matrix(
        self, names: list[str], rows: int, cols: int, taken: set[tuple[str, int]]
    ) -> tuple[str, int, set[tuple[str, int]]]:
        """A place for a column-major matrix that shares no element with `taken`: name[offset], leading dimension."""
        while True:
            name = self.rng.choice(names)
            ld = max(1, rows) + self.rng.choice([0, 0, 1, 2])
            inner = [i + ld * j for i in range(rows) for j in range(cols)]
            room = self.memory[name].size - max(inner, default=0)
            free = [o for o in range(room) if not any((name, o + i) in taken for i in inner)]
            if free:
                offset = self.rng.choice(free)
                return f"{name}[{offset}]", ld, {(name, offset + i) for i in inner}

    def call(self, outputs: list[str], inputs: list[str]) -> Call:
        rng = self.rng
        m, n, k = (rng.choice([1, 2, 2, 3, 1, 0] if rng.random() < 0.15 else [1, 2, 2]) for _ in range(3))
        road = rng.choice(FORTRAN + CBLAS)
        row = road.cblas and rng.random() < 0.5
        ta, tb = rng.choice("NTC"), rng.choice("NTC")
        shapes = {"c": (m, n), "a": (m, k) if ta == "N" else (k, m), "b": (k, n) if tb == "N" else (n, k)}
        taken: set[tuple[str, int]] = set()
        at = {}
        for key, shape in shapes.items():
            rows, cols = shape[::-1] if row else shape
            name, ld, elements = self.matrix(outputs if key == "c" else inputs, rows, cols, taken)
            taken = taken or elements
            at[key] = name, ld
        if shapes["a"] == shapes["b"] and rng.random() < 0.2:
            at["b"] = at["a"]
        step: Step = {"call": f"{self.letter}gemm", **({"layout": "row"} if row else {})}
        step |= {"transa": ta, "transb": tb, "m": m, "n": n, "k": k}

        def scalar(values: list[object]) -> object:
            if (road.cblas and self.letter in "sd") or rng.random() < 0.4:
                return rng.choice(values)
            names = ["s", "s", *(x for x in inputs if x in "PQU")]
            while True:
                name = rng.choice(names)
                index = rng.randrange(self.memory[name].size)
                if (name, index) not in taken:
                    return f"{name}[{index}]"

        # Numbers of few bits, of which no two are the same: one that a call has written must not be passed by value.
        part = [rng.randrange(-1 << 20, 1 << 20) / (1 << 20) for _ in range(2)]
        values: list[object] = [part[0], part[0], 1.0, 1.0, 0.0] + (
            [str(complex(*part))] * 3 if self.letter in "cz" else []
        )
        step |= {"alpha": scalar(values), "a": at["a"][0], "lda": at["a"][1], "b": at["b"][0], "ldb": at["b"][1]}
        step |= {"beta": scalar([*values, 0.0, 0.0]), "c": at["c"][0], "ldc": at["c"][1]}
        self.calls += 1
        return Call(step, road)

    def assign(self, names: list[str]) -> Assign:
        name = self.rng.choice(names)
        part = self.rng.choice([slice(0, 5), slice(2, None, 2), slice(1, None, 3)])
        return Assign(name, part, self.numbers(self.memory[name][part].size))

    def program(self, count: int, outputs: list[str], inputs: list[str]) -> list[object]:
        out: list[object] = [self.call(outputs, inputs) for _ in range(count)]
        if count > 1 and self.rng.random() < 0.15:
            out.insert(self.rng.randrange(1, count), self.assign(outputs))
        return out

    # ---- tapes

    def parts(self, name: str, all_of_it: bool) -> list[tuple[slice, bool]]:
        """What of a buffer one tape annotates: all, side by side, interleaved, real and imaginary parts, a part."""
        size = self.memory[name].size
        cut, twice = self.rng.randrange(1, size), 2 * size
        whole, one = [(slice(0, size, 1), False)], [(slice(0, cut, 1), False)]
        ways = [whole, whole, whole, [*one, (slice(cut, size, 1), False)]]
        ways.append([(slice(0, size, 2), False), (slice(1, size, 2), False)])
        if self.letter in "cz":
            ways.append([(slice(0, twice, 2), True), (slice(1, twice, 2), True)])
        if not all_of_it:
            ways += [one, [(slice(0, twice, 2), True)] if self.letter in "cz" else one]
        return self.rng.choice(ways)

    def nest(self, modes: list[Mode], count: int, batches: list[int]) -> Nest:
        """modes and batches from the outermost to the innermost."""
        rng, (mode, *inner) = self.rng, modes
        self.tapes += 1
        nest = Nest(f"t{self.tapes}", mode, rng.random() < 0.7)
        program = ["P", "Q", "P", "Q", "U", "s"]
        used = set(SIZE)
        if inner:
            for _ in range(rng.choice([1, 1, 1, 2])):
                nest.body += self.program(rng.choice([0, 0, 1]), program, [*program, "K"])
                nest.body.append(self.nest(inner, count, batches[1:]))
            used |= {s for x in nest.body if isinstance(x, Nest) for s in all_shadows(x)}
        else:
            nest.body = self.program(count, program, [*program, "K"])
        all_of_it = self.declared and nest.label == "t1"
        nest.undeclared = "error" if all_of_it else "constant"
        skipped = (
            set() if all_of_it else {"U"} | {x for x in sorted(used) if rng.random() < (0.4 if x == "s" else 0.15)}
        )
        for name in sorted(used - skipped):
            for i, (part, reals) in enumerate(self.parts(name, all_of_it)):
                constant = name == "K" and rng.random() < 0.3
                shadows = [f"{name}_{nest.label}_{i}_{k}" for k in range(0 if constant else batches[0])]
                nest.shadows.append(Annotation(name, part, shadows, reals))
                for shadow in shadows:
                    self.buffer(shadow, self.memory[name].size)
        own = [s for x in nest.shadows for s in x.shadows]
        if not own:  # nothing has a shadow
            return self.nest(modes, count, batches)
        if mode is Reverse:
            nest.replayed = rng.random() < 0.95
            if rng.random() < 0.3 and nest.replayed:
                nest.again = self.program(1, own, [*own, "K"])
        nest.rest = self.program(rng.choice([0, 0, 0, 1]), [*program, rng.choice(own)], [*program, rng.choice(own)])
        nest.free = rng.choice(["now", "now", "later", "end"])
        return nest


def all_shadows(nest: Nest) -> list[str]:
    own = [s for x in nest.shadows for s in x.shadows]
    return own + [s for x in nest.body if isinstance(x, Nest) for s in all_shadows(x)]


def annotate(tape: Tape, x: np.ndarray, shadows: list[np.ndarray], name: str, batch: bool = True) -> None:
    """As tape.duplicated, with a batch of shadows."""
    pointers = [ffi.cast("void *", dx.ctypes.data) for dx in shadows]
    at = ffi.cast("void *", x.ctypes.data)
    check(
        lib.blasad_annotate(
            tape._open, at, len(shadows), pointers, batch, kind(x), x.ndim, x.shape, x.strides, name.encode()
        )
    )


def kind(x: np.ndarray) -> int:
    return list(DTYPE.values()).index(x.dtype.type)


class Run:
    """A nest, executed by blasad and by the oracle."""

    def __init__(self, writer: Writer) -> None:
        self.memory, self.where = writer.memory, place(writer.memory)
        self.oracle = Arithmetic(writer.letter in "cz")
        for name, x in self.memory.items():
            self.oracle.buffer(name, x)
        self.later: list[Tape] = []
        self.end: list[Tape] = []

    def do(self, things: list[object]) -> None:
        for x in things:
            if isinstance(x, Nest):
                self.nest(x)
            elif isinstance(x, Call):
                x.road.call(x.step, self.where)
                self.oracle.gemm(x.step)
            elif isinstance(x, Assign):
                self.assign(x)

    def assign(self, x: Assign) -> None:
        part = self.memory[x.name][x.part]
        array = ffi.cast("void *", part.ctypes.data), kind(part), part.ndim, part.shape, part.strides
        check(lib.blasad_assigned_begin(*array))
        part[:] = x.values
        check(lib.blasad_assigned_end(*array))
        for index, value in zip(range(self.memory[x.name].size)[x.part], x.values, strict=True):
            self.oracle.set((x.name, index), self.oracle.number(complex(value)))

    def nest(self, n: Nest) -> None:
        tape = Tape(n.mode, verify=n.verify, undeclared=n.undeclared)
        with tape:
            shadows: dict[Real, list[Real]] = {}
            for a in n.shadows:
                x = self.memory[a.name]
                annotate(tape, a.of(x), [a.of(self.memory[s]) for s in a.shadows], a.name)
                shadows |= {(a.name, i): [(s, i) for s in a.shadows] for i in a.cells(x) if a.shadows}
            layer = Layer(self.oracle, shadows)
            waiting, self.later = self.later, []
            self.do(n.body)
        layer.close()
        if n.mode is Forward:
            layer.forward()
        for inner in self.later:
            inner.close()
        self.later = waiting
        if n.mode is Reverse and n.replayed:
            tape.reverse()
            layer.reverse()
            if n.again is not None:
                self.do(n.again)
                tape.reverse()
                layer.reverse()
        if n.free == "now":
            tape.close()
        else:
            (self.later if n.free == "later" else self.end).append(tape)
        self.do(n.rest)

    def compare(self, terms: int) -> None:
        for name, got in self.memory.items():
            want, bound = self.oracle.values(name)
            assert_close(got, want, bound, terms, name)


def check_program(
    letter: str, seed: int, modes: list[Mode], count: int, batches: list[int], declared: bool = False
) -> None:
    writer = Writer(letter, seed, declared)
    nest = writer.nest(modes, count, batches)
    run = Run(writer)
    try:
        run.nest(nest)
        run.compare(40 * writer.calls * len(modes))
    except Exception as error:
        error.add_note("\n".join(nest.lines()))
        raise
    writer.pen.check()
    for tape in run.end:
        tape.close()


# ---------------------------------------------------------------- by hand


def product(c: str, a: str, b: str, order: int, alpha: object = 1.0, beta: object = 0.0) -> Call:
    step: Step = {"call": "dgemm", "transa": "N", "transb": "N", "m": order, "n": order, "k": order}
    step |= {"alpha": alpha, "a": a, "lda": order, "b": b, "ldb": order, "beta": beta, "c": c, "ldc": order}
    return Call(step, FORTRAN[0])


def whole(name: str, size: int, shadow: str) -> Annotation:
    return Annotation(name, slice(0, size, 1), [shadow])

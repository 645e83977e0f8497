"""One call of any BLAS routine on guarded buffers: its plan, the call under a tape, and all that must hold around it.

What the call accesses and what its derivative is come from `tracing.py`; nothing here knows one routine from another.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from covering import covering
from memory_guard import Pen, bits, spoil
from oracles import ARGUMENTS, ROUTINES, Call, Memory, Step, assert_close, extended, moduli, modulus
from primal import band_index, packed_index
from roads import (
    CBLAS,
    DTYPE,
    FORTRAN,
    LEVEL1,
    NAMES,
    OPERANDS,
    REAL,
    REAL_OPERANDS,
    RETURNING,
    WITH_LENGTHS,
    Road,
    number_letter,
    place,
    scalar_letter,
    scalars_of,
)
from tracing import Traced

import blasad
from blasad import Forward, Reverse, Tape

Element = tuple[str, int]
LETTERS = {"uplo": "UL", "side": "LR", "diag": "NU"}
SOLVES = ("trsv", "tbsv", "tpsv", "trsm")  # by a triangle
FORMS = {"identity": -2, "full": -1, "beside": 0, "diagonal": 1}  # of a modified rotation, by its first number
ROOM = 4096  # elements of the buffers in which a call is tried out
LARGE = 33  # beyond the blocks of kernels that OpenBLAS has for small matrices


@cache
def names(family: str, kind: str) -> list[str]:
    """Of the arguments that are flags, dimensions, scalars, operands; leading dimensions or increments."""
    flags = [a for a in ARGUMENTS[family].split() if a in LETTERS or a.startswith("trans")]
    rest = [a for a in ARGUMENTS[family].split() if a not in flags]
    return {
        "flags": flags,
        "dims": [a for a in rest if a in ("m", "n", "k", "kl", "ku")],
        "scalars": [a for a in rest if a in scalars_of(family)],
        "operands": [a for a in rest if a in OPERANDS and a not in scalars_of(family)],
        "ld": [a for a in rest if a.startswith("ld")],
        "inc": [a for a in rest if a.startswith("inc")],
    }[kind]


def flag_choices(family: str, letter: str) -> list[dict[str, str]]:
    """Every combination of flags that is a valid call."""
    flags = names(family, "flags")
    if family == "rotm":
        return [{"form": form} for form in FORMS]
    letters = dict(LETTERS)
    if family in ("syrk", "syr2k") and letter in "cz":
        letters["trans"] = "NT"
    elif family in ("herk", "her2k"):
        letters["trans"] = "NC"
    return [dict(zip(flags, c, strict=True)) for c in itertools.product(*(letters.get(f, "NTC") for f in flags))]


@cache
def outputs(family: str) -> frozenset[str]:
    """The operands that the routine may write."""
    letter = "z"
    step = plain(family, letter, flag_choices(family, letter)[0], dict.fromkeys(names(family, "dims"), 2))
    return frozenset(Traced(step, {n: np.ones(64, np.clongdouble) for n in map(str.upper, OPERANDS)}).call.writes)


def plain(family: str, letter: str, flags: dict[str, str], dims: dict[str, int], **changes: Any) -> Step:
    """A call on buffers named as its operands, with everything as tight as it may be; `changes` by argument."""
    stores = RETURNING.fullmatch(letter + family) and number_letter(letter + family) in "cz"
    step: Step = {"call": letter + family + "_sub" * bool(stores)}
    for a in ARGUMENTS[family].split():
        if a in flags or a in dims:
            step[a] = (flags | dims)[a]
        elif a in scalars_of(family):
            step[a] = 1.0
        elif a.startswith("inc"):
            step[a] = 1
        else:
            step[a] = 1 + sum(dims.values()) if a.startswith("ld") else a.upper()
    return {**step, **{ld: least_ld(step, ld, shapes(step)[ld[2:]]) for ld in names(family, "ld")}} | changes


def shapes(step: Step) -> dict[str, tuple[int, ...]]:
    """Of each operand as the program sees it, rows and columns whatever the layout."""
    rows = max(2 * LARGE, 1 + sum(step[d] for d in names(step["call"][1:].removesuffix("_sub"), "dims")))
    room = max(ROOM, (rows + 1) * rows)
    memory = {place_of(step[a])[0]: np.ones(room, np.clongdouble) for a in step if a != "call" if is_named(step.get(a))}
    tight = {a: (1 if a.startswith("inc") else rows) for a in step if a.startswith(("inc", "ld"))}
    call = Call({**step, **tight}, memory)
    ROUTINES[call.family](call)
    return {key: view.index.shape for key, view in call.views.items()}


def elements_of(step: Step, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The elements that an operand names, read or not, in its shape."""
    first = place_of(step[key])[1]
    if len(shape) == 1:
        inc = step.get("inc" + key, 1)
        return first + inc * np.arange(shape[0]) - min(0, inc) * max(0, shape[0] - 1)
    if sides := sides_of(step):
        return first + band_index(*shape, *sides, step["ld" + key], step.get("layout") == "row")[0]
    if key == "ap":
        return first + packed_index(step["uplo"].upper(), shape[0], step.get("layout") == "row")[0]
    along = (step["ld" + key], 1) if step.get("layout") == "row" else (1, step["ld" + key])
    return first + along[0] * np.arange(shape[0])[:, None] + along[1] * np.arange(shape[1])


def sides_of(step: Step) -> tuple[int, int] | None:
    """How many diagonals of its matrix are stored below and above the main one, if that is a band."""
    if step["call"][2:] not in ("bmv", "bsv"):
        return None
    if "kl" in step:
        return step["kl"], step["ku"]
    return (0, step["k"]) if step["uplo"].upper() == "U" else (step["k"], 0)


def least_ld(step: Step, ld: str, shape: tuple[int, ...]) -> int:
    sides = sides_of(step)
    return 1 + sum(sides) if sides else max(1, shape[step.get("layout") == "row"])


def matrix_of(family: str) -> str:
    """The operand of level 2 that is a matrix, or the first of level 3."""
    return "ap" if "ap" in names(family, "operands") else "a"


def solvable(step: Step, memory: Memory) -> None:
    """Makes a solve exact: powers of two on the diagonal, and beside it a matrix whose square is 0."""
    key = matrix_of(step["call"][1:])
    at = elements_of(step, key, shapes(step)[key])
    i, j = np.indices(at.shape)
    memory[key.upper()][at[(i % 2 == 0) | (j % 2 == 1)]] = 0
    memory[key.upper()][at.diagonal()] = np.resize([1, -2, 0.5], len(at))


def is_named(value: object) -> bool:
    return isinstance(value, str) and value[0].isupper()


def place_of(text: str) -> tuple[str, int]:
    name, _, index = text.rstrip("]").partition("[")
    return name, int(index or 0)


_needed: dict[Any, frozenset[str]] = {}  # operands, by all that decides it


# ---------------------------------------------------------------- what is drawn for a case


def parameters(family: str, letter: str) -> dict[str, list[Any]]:
    """The levels of everything in a call but its flags."""
    dims = names(family, "dims")
    out: dict[str, list[Any]] = {"size": [*(f"{d} = 0" for d in dims), "one", "few", "many"] if dims else ["few"]}
    for inc in names(family, "inc"):
        may_repeat = family in ("copy", "axpy", "axpby") and inc == "incx"
        out[inc] = [1, 3, -2, 0] if may_repeat else [1, 3, -2]
    for ld in names(family, "ld"):
        out[ld] = [0, 2]
    for operand in names(family, "operands"):
        out[operand] = ["dup", "const", "none"]
    if len(set(names(family, "operands")) - outputs(family)) > 1:
        out["inputs"] = ["apart", "in one buffer"]
    for scalar in names(family, "scalars"):
        out[scalar] = [0, 1, "other"]
        out[f"{scalar} is"] = ["by value", "dup", "not dup"]
    out["road"] = ["fortran", "col"] if LEVEL1.fullmatch(letter + family) else ["fortran", "col", "row"]
    out["verify"] = [True, False]
    out["annotated"] = ["whole", "as operands"]
    out["changed"] = ["nothing", "what no derivative needs", "what one needs"]  # by unseen code
    return out


def dimensions(family: str, size: str, rng: np.random.Generator) -> dict[str, int]:
    dims = names(family, "dims")
    out = {d: int(rng.integers(2, 4)) for d in dims}
    if size == "one":
        out[rng.choice(dims)] = 1
    elif size == "many":
        out = {d: int(rng.choice([2, 3, 7, 7])) for d in dims}
        out[rng.choice(dims)] = LARGE if rng.random() < 1 / 6 else 7
    elif size != "few":
        out = {d: int(rng.integers(1, 4)) for d in dims} | {size.split()[0]: 0}
    return out


def trials(family: str, letter: str, flags: dict[str, str], mode: blasad.activity.Mode) -> Iterator["Trial"]:
    case = f"{letter}{family}{''.join(flags.values())} {mode.name}"
    for number, row in enumerate(covering(parameters(family, letter), crc32(case.encode()))):
        yield Trial(family, letter, flags, mode, row, crc32(f"{case} {number}".encode()))


@dataclass
class Trial:
    """One call as a row of a covering array wants it."""

    family: str
    letter: str
    flags: dict[str, str]
    mode: blasad.activity.Mode
    row: dict[str, Any]
    seed: int

    def __str__(self) -> str:
        return f"{self.step} by {self.road}, {self.mode.name}, {self.row}, seed {self.seed}"

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.dtype = np.dtype(DTYPE[self.letter])
        self.step, self.road = self.planned()

    @property
    def conjugated(self) -> str:
        """An operand that OpenBLAS conjugates where it is, and back, which leaves NaNs other than they were."""
        key = "a" if self.row["road"] == "row" else "b"
        return key if self.family == "gemmt" and self.letter in "cz" and self.flags["trans" + key] == "C" else ""

    def planned(self) -> tuple[Step, Road]:
        """The call and its road; the activity of buffers goes to `self.activity`."""
        row, rng = self.row, self.rng
        dims = dimensions(self.family, row["size"], rng)
        roads = {"fortran": [*FORTRAN, *WITH_LENGTHS], "col": CBLAS, "row": CBLAS}[row["road"]]
        road = roads[rng.integers(len(roads))]
        flags = {f: v if road.cblas or rng.random() < 0.5 else v.lower() for f, v in self.flags.items()}
        step = plain(self.family, self.letter, flags, dims)
        self.activity: dict[str, str] = {}
        self.passed: dict[str, complex] = {}
        for key in names(self.family, "operands"):
            shared = row.get("inputs") == "in one buffer" and key not in outputs(self.family)
            shared = shared and not self.conjugated
            name = "I" if shared else key.upper()
            self.activity.setdefault(name, row[key])
            step[key] = f"{name}[{rng.integers(4)}]"
        if not road.can(step):
            step["call"] = step["call"].removesuffix("_sub")
        self.by_value = bool(RETURNING.fullmatch(step["call"]))
        if self.by_value:  # the test keeps it where nobody sees it
            self.activity["DOT"] = "none"
        for inc in names(self.family, "inc"):
            step[inc] = row[inc]
        for scalar in names(self.family, "scalars"):
            kind = scalar_letter(step["call"], scalar)
            value = row[scalar] if row[scalar] != "other" else 0.75 - 1.5j if kind in "cz" else -1.75
            step[scalar] = str(value) if isinstance(value, complex) else float(value)
            if row[f"{scalar} is"] != "by value" and not (road.cblas and kind in "sd"):
                name = "P" + scalar
                step[scalar], self.passed[name] = f"{name}[{rng.integers(2)}]", value
                self.activity[name] = "dup" if row[f"{scalar} is"] == "dup" else rng.choice(["const", "none"])
        if row["road"] == "row":
            step = {"call": step["call"], "layout": "row"} | step
        found = shapes(step)
        for ld in names(self.family, "ld"):
            step[ld] = least_ld(step, ld, found[ld[2:]]) + row[ld]
        self.at = {key: elements_of(step, key, shape) for key, shape in found.items()}
        return step, road

    # ---- memory, and what the call does with it

    def dtype_of(self, name: str) -> np.dtype:
        """Of a buffer."""
        if name in self.passed:
            return np.dtype(DTYPE[scalar_letter(self.step["call"], name[1:])])
        if name.lower() in REAL_OPERANDS.get(self.family, ()):
            return np.dtype(REAL[self.letter])
        return np.dtype(DTYPE[number_letter(self.letter + self.family)]) if name == "DOT" else self.dtype

    def numbers(self, count: int, name: str = "") -> np.ndarray:
        """As many as a buffer may hold."""
        dtype = self.dtype_of(name)
        x = self.rng.standard_normal(count * (2 if dtype.kind == "c" else 1))
        return (x.view(complex) if dtype.kind == "c" else x).astype(dtype)

    def prepare(self) -> None:
        """Buffers, shadows and the trace. Whatever the call does not read is full of what would spoil everything."""
        sizes = dict.fromkeys(self.passed, 2)
        for key, index in self.at.items():
            name = place_of(self.step[key])[0]
            size = int(index.max(initial=place_of(self.step[key])[1])) + 1 + int(self.rng.integers(3))
            sizes[name] = max(size, sizes.get(name, 1))
        clean = {n: self.numbers(size, n) for n, size in sizes.items()}
        if self.family in SOLVES:
            self.make_solvable(clean)
        for n, value in self.passed.items():
            clean[n][:] = value
        self.put_form(clean)
        self.active = {n for n, kind in self.activity.items() if kind == "dup"}
        self.trace = Traced(self.step, extended(clean), self.active & self.passed.keys())
        call = plain_call = self.trace.call
        if self.active & self.passed.keys():
            plain_call = Call(self.step, extended(clean))
            ROUTINES[plain_call.family](plain_call)
        self.plain_writes = self.elements(plain_call.writes.values())
        self.scalars = {
            s: (name, i)
            for s, (name, i) in ((s, place_of(self.step[s])) for s in names(self.family, "scalars") if s in call.reads)
            if name in self.active and self.depends_on((name, i))
        }
        self.reads = {key: cells for key, cells in call.reads.items() if key not in names(self.family, "scalars")}
        self.result = self.elements(call.writes.values())
        self.touched = self.result | self.elements(self.reads.values()) | set(self.scalars.values())
        self.tape_active = bool(self.scalars) or any(n in self.active for n, _ in self.elements(self.reads.values()))

        self.pen = Pen(-(-sum(2 * (size * self.dtype.itemsize + 128) for size in sizes.values()) // 8) * 8)
        self.memory, self.shadow = {}, {}
        for n, size in sizes.items():
            x = self.memory[n] = self.pen.memory(self.dtype_of(n), size)
            spoil(x)
            if self.activity[n] == "dup":
                dx = self.shadow[n] = self.pen.memory(x.dtype, size)
                spoil(dx)
            read = self.only(n, self.elements(call.reads.values()))
            touched = self.only(n, self.elements(call.reads.values()) | self.result)
            filled = touched if self.rng.random() < 0.5 else read
            x[filled] = clean[n][filled]
            self.put_form({n: x})
            if n in self.active:
                harmless = not self.tape_active if self.mode is Reverse else True
                filled = touched if not harmless or self.rng.random() < 0.5 else read if self.mode is Forward else []
                dx[filled] = self.numbers(len(filled), n)
        self.before = {n: x.copy() for n, x in self.memory.items()}
        self.seeds = {n: x.copy() for n, x in self.shadow.items()}
        self.bound = Traced(modulus(self.step), self.terms_of(clean), self.active & self.passed.keys())
        self.terms = 4 * sum(self.step[d] for d in names(self.family, "dims")) + 8

    def put_form(self, memory: Memory) -> None:
        if self.family == "rotm" and "PARAM" in memory:
            memory["PARAM"][place_of(self.step["param"])[1]] = FORMS[self.flags["form"]]

    def triangle(self) -> tuple[str, np.ndarray]:
        key = matrix_of(self.family)
        return place_of(self.step[key])[0], self.at[key]

    def make_solvable(self, memory: Memory) -> None:
        """The diagonal is larger than all beside it, or rounding errors would grow beyond bounds."""
        name, at = self.triangle()
        diagonal = memory[name][at.diagonal()]
        memory[name][at] /= 3 * max(1, len(at))
        memory[name][at.diagonal()] = diagonal + np.where(diagonal.real < 0, -1, 1)

    def terms_of(self, memory: Memory, *, derivative: bool = False) -> Memory:
        """What calls bound sums of terms with; a solve subtracts all but the diagonal, and all of a derivative."""
        out = moduli(memory)
        self.put_form(out)
        if self.family in SOLVES and (name := self.triangle()[0]) in out:
            at = self.triangle()[1]
            out[name][np.unique(at if derivative else np.setdiff1d(at, at.diagonal()))] *= -1
        return out

    @staticmethod
    def elements(sets: Any) -> set[Element]:
        return set().union(*sets)

    @staticmethod
    def only(name: str, elements: set[Element]) -> list[int]:
        return sorted(i for n, i in elements if n == name)

    def depends_on(self, element: Element) -> bool:
        tangents = {n: np.zeros_like(x.value) for n, x in self.trace.start.items()}
        tangents[element[0]][element[1]] = 1
        after = self.trace.push(tangents)
        return any(x.any() for n, x in after.items() if n not in self.passed)

    @cached_property
    def needs(self) -> set[Element]:
        """The elements whose values the adjoint uses: operands that change it when they change."""
        if self.family == "rotg":  # what it leaves
            return self.result if self.tape_active else set()
        with_shadow = frozenset(key for key, cells in self.reads.items() if any(n in self.active for n, _ in cells))
        there = frozenset(key for key, cells in self.reads.items() if cells)
        diag, zeros = (
            self.flags.get("diag", self.flags.get("form")),
            tuple(self.row.get(s) == 0 for s in names(self.family, "scalars")),
        )
        alike = self.family, diag, zeros, with_shadow, there, frozenset(self.scalars), self.row.get("inputs")
        if alike not in _needed:
            # a solve reads its triangle whatever the derivative makes of the result
            solves = {matrix_of(self.family)} if self.family in SOLVES and (with_shadow or self.scalars) else set()
            _needed[alike] = frozenset(key for key in there if key in solves or self.adjoint_changes_with(key))
        return self.elements(self.reads[key] for key in _needed[alike])

    @property
    def lost(self) -> set[Element]:
        """What the call overwrites; but of a solve, what it leaves is as good, except for alpha's derivative."""
        leaves = self.family == "rotg" or (self.family in SOLVES and not self.scalars)
        return set() if leaves else self.plain_writes

    def adjoint_changes_with(self, key: str) -> bool:
        start = {n: x.value for n, x in self.trace.start.items()}
        seeds = {n: self.numbers(x.size, n).astype(x.dtype) for n, x in start.items()}
        moved = {n: x.copy() for n, x in start.items()}
        for n, i in self.reads[key]:
            # a sum of moduli knows no other change than of sign
            moved[n][i] = -start[n][i] if self.family == "asum" else self.numbers(1)[0]
        one, other = self.trace.pull(seeds), Traced(self.step, moved, self.active & self.passed.keys()).pull(seeds)
        return any((one[n] != other[n]).any() for n in self.active)

    # ---- the call under a tape

    def annotate(self, tape: Tape) -> None:
        for key in (*self.at, *self.passed):
            n = key if key in self.passed else place_of(self.step[key])[0]
            part = slice(None)
            if self.row["annotated"] != "whole" and n != "I":
                index = self.at[key].ravel() if key in self.at else np.array([place_of(self.step[key[1:]])[1]])
                steps = np.unique(np.diff(np.unique(index)))
                # vectors as they lie; matrices, which have a view of their own below
                part = (
                    slice(index.min(), index.max() + 1, int(steps[0]) if steps.size == 1 else 1)
                    if index.size
                    else slice(0)
                )
            x = self.memory[n]
            if self.activity[n] == "dup":
                tape.duplicated(self.part(x, key, part), self.part(self.shadow[n], key, part), name=n)
            elif self.activity[n] == "const":
                tape.const(self.part(x, key, part), name=n)

    def part(self, x: np.ndarray, key: str, part: slice) -> np.ndarray:
        index = self.at.get(key)
        banded = key == "ap" or (key == "a" and sides_of(self.step))
        if part == slice(None) or index is None or index.ndim == 1 or not index.size or banded:
            return x[part]
        strides = [x.itemsize * int(index[i, j] - index[0, 0]) for i, j in ((-1, 0), (0, -1))]
        strides = [s // (n - 1) if n > 1 else x.itemsize for s, n in zip(strides, index.shape, strict=True)]
        return np.lib.stride_tricks.as_strided(x[index[0, 0] :], index.shape, strides)

    def execute(self) -> None:
        self.road.call(self.step, place(self.memory))

    def expected(self) -> str | None:
        constant = {n for n, kind in self.activity.items() if kind == "const"}
        return "ActivityError" if self.tape_active and any(n in constant for n, _ in self.result) else None

    def run(self) -> None:
        self.prepare()
        self.execute()
        self.check_primal()
        undisturbed = {n: x.copy() for n, x in self.memory.items()}
        self.restore()
        expected = self.expected()
        change = self.change()
        if not expected and change and change[0] == "at once":
            expected = change[2]

        raised = None
        tape = Tape(self.mode, undeclared="constant", verify=self.row["verify"])
        try:
            with tape:
                self.annotate(tape)
                self.execute()
                if change and change[0] == "at once":
                    self.disturb(undisturbed, change[1])
            if change and change[0] == "later":
                self.disturb(undisturbed, change[1])
                expected = expected or change[2]
            if self.mode is Reverse:
                self.seed_number(tape)
                tape.reverse()
        except blasad.BlasadError as error:
            raised = error
        assert (raised and type(raised).__name__) == expected, f"{raised!r} raised, {expected} expected"
        self.same(self.memory, undisturbed, "memory is not what it is without a tape")
        self.pen.check()
        if expected:
            if self.mode is Reverse:
                self.same(self.shadow, self.seeds, "a shadow changed in spite of the error")
            tape.close()
            return
        self.check_listing(tape)
        seeds = {n: np.zeros_like(x) for n, x in self.before.items()} | self.seeds
        derivative = "push" if self.mode is Forward else "pull"
        if self.by_value:
            self.check_number(tape, seeds)
        want = getattr(self.trace, derivative)(extended(seeds))
        bound = getattr(self.bound, derivative)(self.terms_of(seeds, derivative=True))
        bound = {n: abs(x) for n, x in bound.items()}
        self.check_shadows(want, bound)
        if self.by_value and self.tape_active and self.mode is Forward:
            mine = self.at["dot"]
            tangent = tape.returned(0).shadow
            assert_close(tangent, want["DOT"][mine], bound["DOT"][mine], self.terms, "tangent of the returned number")
        if self.mode is Reverse:  # again, with other seeds
            for n, x in self.shadow.items():
                mine = self.only(n, self.touched)
                with np.errstate(invalid="ignore"):
                    self.seeds[n][mine] *= -2
                    want[n], bound[n] = -2 * want[n], 2 * bound[n]
                x[:] = self.seeds[n]
            self.seed_number(tape, -2)
            tape.reverse()
            self.check_shadows(want, bound)
            self.same(self.memory, undisturbed, "reverse() wrote to memory")
        self.pen.check()
        tape.close()

    # ---- a number by value

    def seed_number(self, tape: Tape, factor: float = 1) -> None:
        if self.by_value and self.tape_active:
            if factor == 1:
                self.number_seed = self.numbers(1).real if self.dtype_of("DOT") != self.dtype else self.numbers(1)
            self.number_seed = factor * self.number_seed
            tape.returned(0).shadow[:] = self.number_seed

    def check_number(self, tape: Tape, seeds: Memory) -> None:
        """What the tape knows of it; its seed was consumed."""
        number = tape.returned(0)
        kept = self.memory["DOT"][self.at["dot"]]
        assert bits(np.array([number.value], kept.dtype)) == bits(kept), f"{number.value} is not {kept}"
        assert number.active == self.tape_active
        if self.tape_active and self.mode is Reverse:
            assert number.shadow.tolist() == [0]
            seeds["DOT"][self.at["dot"]] = self.number_seed
        elif not self.tape_active:
            with pytest.raises(blasad.TapeError, match="depends on nothing active"):
                _ = number.shadow

    def restore(self) -> None:
        for n, x in self.memory.items():
            x[:] = self.before[n]

    def disturb(self, undisturbed: Memory, elements: set[Element]) -> None:
        """What unseen code does to elements; also to what memory is compared with."""
        for n, i in elements:
            if self.by_value and n == "DOT":
                continue
            parts = self.memory[n][i : i + 1].view(self.memory[n].dtype.char.lower())
            parts[:] = np.where(parts == 77.0, 78.0, 77.0)
            undisturbed[n][i] = self.memory[n][i]

    def change(self) -> tuple[str, set[Element], str | None] | None:
        """When unseen code changes which elements, and the error that it deserves."""
        kind = self.row["changed"]
        everything = {(n, i) for n, x in self.memory.items() for i in range(x.size)}
        free = (everything - self.touched) | {e for e in everything if self.activity[e[0]] == "none"}
        declared = sorted(self.touched - free)
        used = kind == "what one needs"
        if kind == "nothing" or (used and not self.row["verify"]):
            return None
        at_once = self.mode is Forward or self.rng.random() < 0.5
        if not used:
            dead = set() if at_once else everything - self.needs | self.lost
            return "at once" if at_once else "later", free | dead, None
        found = [e for e in declared if e[0] in self.active] if at_once else self.needs - free - self.lost
        if not found:
            return None
        chosen = sorted(found)[self.rng.integers(len(found))]
        return "at once" if at_once else "later", {chosen}, "UnseenWriteError"

    # ---- what must hold

    @staticmethod
    def same(got: Memory, want: Memory, what: str) -> None:
        for n, x in got.items():
            assert bits(x) == bits(want[n]), f"{what}: {n} is {x}, not {want[n]}"

    def check_primal(self) -> None:
        """The oracle does what the BLAS does; but at alpha = 0 a BLAS may read what it need not."""
        zero = self.row.get("alpha") == 0
        for n, x in self.memory.items():
            mine = self.only(n, self.plain_writes)
            written = [
                self.at[key].ravel()
                for key in (*outputs(self.family), *self.conjugated)
                if zero and place_of(self.step[key])[0] == n
            ]
            rest = np.setdiff1d(np.arange(x.size), np.concatenate([mine, *written]))
            assert bits(x[rest]) == bits(self.before[n][rest]), f"the BLAS wrote to {n} where the oracle does not"
            if not zero:
                assert_close(x[mine], self.trace.after[n][mine], self.bound.after[n][mine], self.terms, f"memory {n}")

    def check_listing(self, tape: Tape) -> None:
        (call,) = tape
        name = self.step["call"].removesuffix("_sub")
        assert call.routine == NAMES.get(name, name)
        alike = {} if self.letter in "cz" else {"C": "T"}  # row-major calls do not tell them apart
        assert {f: alike.get(v, v) for f, v in call.flags.items()} == {
            f: alike.get(v, v) for f, v in self.flags.items() if f != "form"
        }
        for s, value in call.scalars.items():
            assert isinstance(value, complex) == (scalar_letter(self.letter + self.family, s) in "cz")
        assumed = {o.name for o in call.operands if o.assumed}
        expected = {key for key, cells in self.reads.items() if any(self.activity[n] == "none" for n, _ in cells)}
        assert assumed == expected, f"assumptions are {assumed}, not {expected}"
        assert set(call.active_scalars) == self.scalars.keys()
        saved = 0
        if self.mode is Reverse:
            vanish = {e for e in self.needs if self.activity[e[0]] == "none"}
            saved = sum(self.dtype_of(n).itemsize for n, _ in self.needs & self.lost | vanish)
        assert tape.saved_bytes == call.saved_bytes == saved, f"{tape.saved_bytes} bytes saved, not {saved}"

    def check_shadows(self, want: Memory, bound: Memory) -> None:
        for n, got in self.shadow.items():
            mine = self.only(n, self.result if self.mode is Forward else self.touched)
            rest = np.setdiff1d(np.arange(got.size), mine)
            assert bits(got[rest]) == bits(self.seeds[n][rest]), (
                f"the shadow of {n} changed where it is not the call's: {got}, not {self.seeds[n]}"
            )
            assert_close(got[mine], want[n][mine], bound[n][mine], self.terms, f"shadow of {n} ({self.mode.name})")

"""What calls of a shape look like, whatever memory they are about: found by the interpreter on memory of ones."""

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from oracles import ARGUMENTS, COMPLEX, REAL, ROUTINES, Call, Memory, Refused, Step
from roads import LEVEL1, OPERANDS, RETURNING, scalar_letter, scalars_of
from tracing import Traced

DIMS = ("m", "n", "k", "kl", "ku")
SOLVES = ("trsv", "trsm", "tbsv", "tpsv")
INNER = ("gemm", "gemmt", "syrk", "syr2k", "herk", "her2k")  # whose k is the length of sums
FLAGS = {"trans": "NTC", "uplo": "UL", "side": "LR", "diag": "NU"}
LD, ROOM = 12, 200  # of the buffers that a shape is tried on, in elements

Sizes = tuple[tuple[str, Any], ...]  # flags and dimensions


@cache
def scalars_in(family: str) -> list[str]:
    return [a for a in ARGUMENTS[family].split() if a in scalars_of(family)]


@cache
def operands_in(family: str) -> list[str]:
    return [a for a in ARGUMENTS[family].split() if a in OPERANDS and a not in scalars_of(family)]


@dataclass(frozen=True)
class Part:
    """An operand as stored, by columns."""

    rows: int
    cols: int
    without: frozenset[tuple[int, int]]  # elements that are not touched


@dataclass(frozen=True)
class Anatomy:
    operands: dict[str, Part]
    outputs: tuple[str, ...]
    counts: frozenset[str]  # scalars that the result depends on, at some value of them


def step_of(family: str, letter: str, row_major: bool, sizes: Sizes, **more: Any) -> Step:
    """A call on buffers named as its operands."""
    step: Step = {"call": letter + family + "_sub" * (family in ("dotu", "dotc"))}
    if row_major:
        step["layout"] = "row"
    given = dict(sizes) | more
    for key in ARGUMENTS[family].split():
        default = (
            LD
            if key.startswith("ld")
            else 1
            if key.startswith("inc")
            else 0.75
            if key in scalars_in(family)
            else key.upper()
        )
        step[key] = given.get(key, default)
    return step


def is_band(family: str) -> bool:
    return family[1:] in ("bmv", "bsv")


def sides(family: str) -> tuple[str, ...]:
    """The dimensions that say how many diagonals there are beside the main one."""
    return ("kl", "ku") if family == "gbmv" else ("k",)


def buffers(family: str, kind: type) -> Memory:
    return {key.upper(): np.ones(ROOM, kind) for key in operands_in(family)}


@cache
def anatomy(family: str, letter: str, row_major: bool, sizes: Sizes) -> Anatomy:
    """Raises Refused for flags that the routine does not have."""
    step = step_of(family, letter, row_major, sizes)
    call = Call(step, buffers(family, COMPLEX if letter in "cz" else REAL))
    with np.errstate(all="ignore"):
        ROUTINES[call.family](call)
    operands, given = {}, dict(sizes)
    for key in operands_in(family):
        view = call.views.get(key)
        shape = view.index.shape if view else (0, 0)
        ld = step.get("ld" + key, 1)
        if key == "ap":
            rows, cols = 1, shape[0] * (shape[0] + 1) // 2
        elif key == "a" and is_band(family):
            rows, cols = 1 + sum(given[side] for side in sides(family)), shape[not row_major]
        else:
            rows, cols = (1, *shape) if len(shape) == 1 else shape[::-1] if row_major else shape
        touched = {i for _, i in call.reads.get(key, set()) | call.writes.get(key, set())}
        holes = frozenset((i, j) for i in range(rows) for j in range(cols) if i + ld * j not in touched)
        operands[key] = Part(rows, cols, holes)
    outputs = tuple(key for key in operands if key in call.writes)
    product = family not in INNER or given["k"] > 0
    some = any(call.writes.get(key) for key in outputs)
    counts = frozenset(s for s in scalars_in(family) if some and (product or s == "beta"))
    return Anatomy(operands, outputs, counts)


@cache
def flag_choices(family: str, letter: str) -> list[dict[str, str]]:
    """Every combination of flags that is a valid call."""
    names = [a for a in ARGUMENTS[family].split() if a in FLAGS or a.startswith("trans")]
    found = []
    for choice in itertools.product(*(FLAGS["trans" if f.startswith("trans") else f] for f in names)):
        flags = dict(zip(names, choice, strict=True))
        dims = {a: 1 for a in ARGUMENTS[family].split() if a in DIMS}
        try:
            anatomy(family, letter, False, in_order(family, flags | dims))
        except Refused:
            continue
        if family in ("herk", "her2k") and flags["trans"] == "T":
            continue
        found.append(flags)
    return found


def in_order(family: str, given: dict[str, Any]) -> Sizes:
    return tuple((a, given[a]) for a in ARGUMENTS[family].split() if a in given)


def stores(family: str, letter: str) -> bool:
    """Whether all that it computes goes to memory that the call names; and no number there decides what it does."""
    returns = RETURNING.fullmatch(letter + family) and family not in ("dotu", "dotc")
    return not returns and family not in ("rotg", "rotm")


def has_layout(family: str, letter: str) -> bool:
    return not LEVEL1.fullmatch(letter + family)


# ---------------------------------------------------------------- what an adjoint needs


@cache
def needed(
    family: str, letter: str, sizes: Sizes, values: tuple[float, ...], shadows: frozenset[str], active: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Operands whose values the adjoint uses, as the call finds and as it leaves them: those that change it when they
    change. `values`: of the scalars, as far as they are 0 or 1; `active`: those with a shadow."""
    step = step_of(family, letter, False, sizes)
    kind = COMPLEX if letter in "cz" else REAL
    rng = np.random.default_rng(1)

    def numbers(count: int) -> np.ndarray:
        x = rng.uniform(0.5, 1, count) * rng.choice([-1, 1], count)
        return (x + 1j * rng.uniform(0.5, 1, count) if kind is COMPLEX else x).astype(kind)

    memory = {name: numbers(ROOM) for name in buffers(family, kind)}
    for key, value in zip(scalars_in(family), values, strict=True):
        memory[key] = np.array([value], REAL if scalar_letter(letter + family, key) in "sd" else COMPLEX)
        step[key] = key
    trace = Traced(step, memory, active)
    seeds = {name: numbers(x.size) for name, x in memory.items()}
    one = trace.pull(seeds)
    by = {key.upper() for key in shadows} | active

    def changes(key: str) -> bool:
        moved = {n: numbers(x.size) if n == key.upper() else x for n, x in memory.items()}
        other = Traced(step, moved, active).pull(seeds)
        return any((one[n] != other[n]).any() for n in by)

    reads = trace.call.reads.keys() & set(operands_in(family))
    found = {key for key in reads if changes(key)}
    if family not in SOLVES:
        return frozenset(found), frozenset()
    # a solve reads its triangle whatever the derivative makes of the result, and of that what it leaves is as good
    matrix, result = operands_in(family)
    before = {matrix} & reads if by else set()
    if active:
        return frozenset(before | ({result} & found)), frozenset()
    return frozenset(before), frozenset({result} & found)

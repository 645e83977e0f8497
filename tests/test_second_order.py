"""Every routine of the table under two tapes: what the outer one makes of a recording and its replay.

Both are a map of memory and shadows, polynomial in every number but for solves, so that differences of it are exact
whatever the step.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from blas_trials import SOLVES, names, place_of
from oracles import NODES, Memory, Step, extended
from roads import DTYPE, LEVEL1, RETURNING, ROADS, place, scalar_letter
from test_rules import dyadic, each_case, make_valid, small
from tracing import Traced

import blasad
from blasad import Forward, Reverse, Tape

SCALARS = {"alpha": 0.5 + 1j, "beta": -1.5 + 0.5j, "c": 0.5 + 0j, "s": -1.5 + 0j}
CURVED = (*SOLVES, "rotg")  # no polynomials
DISCONTINUOUS = ("her", "hpr", "her2", "hpr2", "trmm", "trsm")  # at alpha = 0, where they return at once or store zeros
Pair = tuple[Memory, Memory]  # of memory and of its shadows


def alike(memory: Memory, seed: int) -> Memory:
    """Numbers for each buffer."""
    letters = {n: "z" if x.dtype.kind == "c" else "d" for n, x in memory.items()}
    return {n: dyadic(letters[n], x.size, seed + i).astype(x.dtype) for i, (n, x) in enumerate(memory.items())}


def call_at(family: str, letter: str, flags: dict[str, str], zero: bool, layout: str) -> tuple[Step, Memory]:
    """A call whose scalars are in memory, but where C takes them by value."""
    step, memory = small(family, letter, flags)
    step["layout"] = layout
    step |= dict.fromkeys(names(family, "ld"), 5)
    memory = {n: np.resize(x, 30) for n, x in memory.items()}
    make_valid(step, memory, flags)
    for s in names(family, "scalars"):
        kind = scalar_letter(letter + family, s)
        value = 0 if zero and s == "alpha" else SCALARS[s]
        if kind in "sd" and layout == "row":
            step[s] = value.real
        else:
            step[s] = f"P{s}[0]"
            memory["P" + s] = np.array([value if kind in "cz" else value.real], DTYPE[kind])
    return step, memory


def flat(parts: Pair) -> np.ndarray:
    return np.concatenate([part[n] for part in parts for n in sorted(part)])


def derivative(step: Step, point: Pair, way: Pair) -> np.ndarray:
    """Of memory after the call, and of the shadows after its replay, along a way."""
    out = np.zeros(())
    h = 1e-4 if step["call"][1:] in CURVED else 1
    wide = [(extended(a), extended(b)) for a, b in zip(point, way, strict=True)]
    for at, weight in ((h * node, weight / h) for node, weight in NODES.items()):
        x, dx = ({n: a[n] + at * b[n] for n in a} for a, b in wide)
        traced = Traced(step, x, ["P" + s for s in SCALARS if "P" + s in x])
        out = out + weight * flat((traced.after, traced.pull(dx)))
    return out / 12


def nested(mode: blasad.activity.Mode, step: Step, point: Pair, outer: Pair) -> None:
    """The shadows of the outer tape, in place."""
    x, dx = ({n: a.copy() for n, a in part.items()} for part in point)
    with Tape(mode, undeclared="error") as tape:
        for n in x:
            tape.duplicated(x[n], outer[0][n], name=n)
            tape.duplicated(dx[n], outer[1][n], name=f"d{n}")
        with Tape(undeclared="error") as inner:
            for n in x:
                inner.duplicated(x[n], dx[n], name=n)
            next(r for r in ROADS if r.can(step)).call(step, place(x))
        inner.reverse()
        inner.close()
    if mode is Reverse:
        tape.reverse()


def each_second_order() -> Iterator[object]:
    """Of double precision, where numbers are exact, every combination of flags; of single the first."""
    single = {}
    for c in each_case():
        family, letter, flags = c.values
        if RETURNING.fullmatch(letter + family) or (letter in "sc" and single.setdefault((family, letter), c) is not c):
            continue  # those that return: test_returned.py
        for zero in (False, True):
            if zero and (family in DISCONTINUOUS or "alpha" not in names(family, "scalars")):
                continue
            for layout in ["col"] if LEVEL1.fullmatch(letter + family) else ["col", "row"]:
                yield pytest.param(family, letter, flags, zero, layout, id=f"{c.id}{' alpha = 0' * zero} {layout}")


@pytest.mark.parametrize(("family", "letter", "flags", "zero", "layout"), list(each_second_order()))
def test_second_order(family, letter, flags, zero, layout, checked):
    checked(family, letter, "second order")
    step, memory = call_at(family, letter, flags, zero, layout)
    point, way = (memory, alike(memory, 5)), (alike(memory, 40), alike(memory, 60))
    if family == "rotm":  # whose form does not move
        way[0]["PARAM"][place_of(step["param"])[1]] = 0
    want = derivative(step, point, way)
    tangents = tuple({n: x.copy() for n, x in part.items()} for part in way)
    nested(Forward, step, point, tangents)
    exact = letter in "dz" and family not in CURVED
    rounding = 1e-10 if letter in "dz" else 1e-4
    if not exact:
        assert np.allclose(flat(tangents), want.astype(flat(tangents).dtype), rtol=rounding, atol=rounding)
    else:
        assert np.array_equal(flat(tangents), want)
    adjoints = alike(memory, 80), alike(memory, 90)
    left = np.vdot(flat(adjoints), want).real  # <u, J v> = <J^T u, v>
    nested(Reverse, step, point, adjoints)
    assert left == pytest.approx(np.vdot(flat(adjoints), flat(way)).real, rel=1e-12 if exact else rounding)

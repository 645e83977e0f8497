"""Every routine of the table under two tapes: what the outer one makes of a recording and its replay.

Both are a map of memory and shadows, polynomial in every number, so that differences of it are exact whatever the step.
"""

import numpy as np
import pytest
from oracles import NODES, Memory, Step, extended
from roads import DTYPE, ROADS, place, scalar_letter
from table import families
from test_blas import dyadic, each_case, small
from blas_trials import names
from tracing import Traced

from blasad import Forward, Reverse, Tape

FAMILIES = families()
CONSTANT = {"swap", "copy"}  # their second derivative is none


def case(family: str, letter: str, flags: dict[str, str], zero: bool) -> tuple[Step, Memory]:
    """A call, all scalars of which are active where they have an address."""
    scalars = {s: f"P{s}[0]" for s in names(family, "scalars")}
    step, memory = small(family, letter, flags, **scalars)
    for s in scalars:
        kind = scalar_letter(letter + family, s)
        value = 0 if zero and s == "alpha" else {"alpha": 0.5 + 1j, "beta": -1.5 + 0.5j}[s]
        memory["P" + s] = np.array([value if kind in "cz" else value.real], DTYPE[kind])
    return step, memory


def gradient(step: Step, memory: Memory, shadows: Memory) -> tuple[Memory, Memory]:
    """Memory after a call, and shadows after its replay."""
    traced = Traced(step, memory, [n for n in memory if n in ("Palpha", "Pbeta")])
    return traced.after, traced.pull(shadows)


def derivative(step: Step, point: tuple[Memory, Memory], way: tuple[Memory, Memory]) -> list[np.ndarray]:
    """Of `gradient` along a way; memory first."""
    out = 0
    for at, weight in NODES.items():
        x, dx = ({n: a[n] + at * b[n] for n in a} for a, b in zip(point, way, strict=True))
        after = gradient(step, x, dx)
        out = out + weight * np.array([v for part in after for n in sorted(part) for v in part[n]])
    return out / 12


def flat(*parts: Memory) -> np.ndarray:
    return np.array([v for part in parts for n in sorted(part) for v in part[n]])


def inner(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(np.conj(a) * b).real)


def nested(mode: object, step: Step, point: tuple[Memory, Memory], outer: tuple[Memory, Memory]) -> None:
    """Shadows of the outer tape, of memory and of its shadows, in place."""
    x, dx = ({n: a.copy() for n, a in part.items()} for part in point)
    road = next(r for r in ROADS if r.can(step))
    with Tape(mode, undeclared="error") as tape:
        for n in x:
            tape.duplicated(x[n], outer[0][n], name=n)
            tape.duplicated(dx[n], outer[1][n], name=f"d{n}")
        with Tape(undeclared="error") as replayed:
            for n in x:
                replayed.duplicated(x[n], dx[n], name=n)
            road.call(step, place(x))
        replayed.reverse()
        replayed.close()
    if mode is Reverse:
        tape.reverse()


@pytest.mark.parametrize("zero", [False, True], ids=["", "alpha = 0"])
@pytest.mark.parametrize(("family", "letter", "flags"), each_case("dz"))
def test_second_order(family, letter, flags, zero):
    if zero and ("alpha" not in names(family, "scalars") or family in ("her", "her2", "trmm")):
        return  # they return at once: there is no neighbourhood
    step, memory = case(family, letter, flags, zero)
    seeds = {n: dyadic(letter, x.size, 5).astype(x.dtype) if x.dtype.kind != "f" else dyadic("d", x.size, 5) for n, x in memory.items()}
    ways = [
        tuple({n: dyadic("z" if x.dtype.kind == "c" else "d", x.size, k + i) for i, (n, x) in enumerate(memory.items())} for k in (40, 60))
        for _ in range(2)
    ]
    point = memory, seeds
    want = derivative(step, (extended(memory), extended(seeds)), tuple(map(extended, ways[0])))
    v = [{n: x.copy() for n, x in part.items()} for part in ways[0]]
    nested(Forward, step, point, v)
    assert np.array_equal(flat(*v), want.astype(flat(*v).dtype))
    # <u, J v> = <J^T u, v>
    u = [{n: dyadic("z" if x.dtype.kind == "c" else "d", x.size, 80 + i) for i, (n, x) in enumerate(part.items())} for part in point]
    start = flat(*u)
    nested(Reverse, step, point, u)
    assert inner(start, want) == pytest.approx(inner(flat(*u), flat(*ways[0])), rel=1e-12)

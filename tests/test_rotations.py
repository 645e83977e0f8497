"""Plane rotations in programs: numbers that one call makes turn the next ones (semantics 8)."""

import itertools

import numpy as np
import pytest
from oracles import Memory, Step, extended
from roads import ROADS, place
from test_rules import dyadic
from test_second_order import alike, derivative, flat, nested
from tracing import Traced

import blasad
from blasad import Forward, Reverse, Tape

MODES = pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
N = 5


def make(letter: str, **places: str) -> Step:
    return {"call": letter + "rotg", "a": "A", "b": "B", "c": "C", "s": "S"} | places


def turn(letter: str, **places: object) -> Step:
    vectors = {"n": N, "x": "X", "incx": 1, "y": "Y", "incy": -1}
    return {"call": letter + "rot"} | vectors | {"c": "C[0]", "s": "S[0]"} | places


def memory_of(letter: str) -> Memory:
    real = {"c": "s", "z": "d"}.get(letter, letter)
    numbers = {"A": dyadic(letter, 1, 1) + 3, "B": dyadic(letter, 1, 2) + 1, "C": dyadic(real, 1, 3)}
    vectors = {"X": dyadic(letter, N, 5) + 5, "Y": dyadic(letter, N, 6) + 7}  # none of them 0
    return numbers | vectors | {"S": dyadic(letter, 1, 4)}


@MODES
@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("scratch", ["", "CS"])
@pytest.mark.parametrize("letter", "sd")
def test_givens(letter, scratch, verify, mode):
    """rotg makes c and s, rot is told where they are, twice over: the second time c and s are made of what was turned."""
    memory = memory_of(letter)
    steps = [make(letter), turn(letter), make(letter, a="X", b="Y"), turn(letter, x="Y", y="X", incy=1, n=N - 1)]
    steps[2] |= {"a": "X[4]", "b": "Y[0]"}
    steps[3] |= {"x": "Y[1]"}
    shadow = {n: dyadic(letter, x.size, 7 + i) for i, (n, x) in enumerate(memory.items()) if n not in scratch}
    seeds = extended(shadow) | {n: np.zeros(1, np.longdouble) for n in scratch}
    values, traces = extended(memory), []
    for step in steps:
        traces.append(Traced(step, values, ["C", "S"] if step["call"].endswith("rot") else []))
        values = traces[-1].after
    for trace in traces if mode is Forward else reversed(traces):
        seeds = (trace.push if mode is Forward else trace.pull)(seeds)
    with Tape(mode, verify=verify, undeclared="error") as tape:
        for n in shadow:
            tape.duplicated(memory[n], shadow[n], name=n)
        for step in steps:
            ROADS[0].call(step, place(memory))
    if mode is Reverse:
        tape.reverse()
    eps = 100 * np.finfo(memory["A"].dtype).eps
    for n, dx in shadow.items():
        np.testing.assert_allclose(dx, seeds[n].astype(dx.dtype), rtol=eps, atol=eps * 10, err_msg=n)
    for n, x in memory.items():
        np.testing.assert_allclose(x, values[n].astype(x.dtype), rtol=eps, atol=eps * 10)


def test_made_numbers_by_value():
    """Passed by value, what rotg made would be taken for constant."""
    memory = memory_of("d")
    shadow = {n: x.copy() for n, x in memory.items()}
    road = next(r for r in ROADS if r.cblas)
    tape = Tape(undeclared="constant")
    tape.__enter__()
    for n in "AB":
        tape.duplicated(memory[n], shadow[n], name=n)
    ROADS[0].call(make("d"), place(memory))
    road.call(turn("d", c=float(memory["C"][0]), s=0.5), place(memory))
    with pytest.raises(blasad.ActivityError, match="the scalar c"):
        tape.__exit__(None, None, None)


@MODES
@pytest.mark.parametrize("letter", "dz")
@pytest.mark.parametrize(("a", "b"), [*itertools.product((-1.5, 0.5, 3.0), (-2.0, 1.0))])
def test_second_order_of_made_numbers(letter, a, b, mode):
    """Both ways in which z is made, and both signs of r."""
    phase = 1 - 0.5j if letter == "z" else 1
    memory = memory_of(letter)
    memory["A"][:], memory["B"][:] = a * phase, b / phase
    point, way = (memory, alike(memory, 5)), (alike(memory, 40), alike(memory, 60))
    want = derivative(make(letter), point, way)
    if mode is Forward:
        tangents = tuple({n: x.copy() for n, x in part.items()} for part in way)
        nested(Forward, make(letter), point, tangents)
        assert np.allclose(flat(tangents), want.astype(flat(tangents).dtype), rtol=1e-9, atol=1e-9)
    else:
        adjoints = alike(memory, 80), alike(memory, 90)
        left = np.vdot(flat(adjoints), want).real
        nested(Reverse, make(letter), point, adjoints)
        assert left == pytest.approx(np.vdot(flat(adjoints), flat(way)).real, rel=1e-9)


@MODES
@pytest.mark.parametrize("letter", "dz")
def test_made_of_zeros(letter, mode):
    """No derivative is there, and none is made up of NaN and Inf."""
    memory = memory_of(letter)
    memory["A"][:] = memory["B"][:] = 0
    shadow = {n: np.ones_like(x) for n, x in memory.items()}
    with Tape(mode) as tape:
        for n, x in memory.items():
            tape.duplicated(x, shadow[n], name=n)
        ROADS[0].call(make(letter), place(memory))
    if mode is Reverse:
        tape.reverse()
    assert all(np.isfinite(x).all() for x in shadow.values())


@MODES
def test_forms_in_one_room(mode):
    """The replay of one modified rotation after that of another, seen from outside: constants where numbers were."""
    memory = {n: dyadic("d", N, i) for i, n in enumerate("XYHK")}
    memory["H"][0], memory["K"][0] = 1, -1
    shadow = {n: dyadic("d", N, 5 + i) for i, n in enumerate("XYHK")}
    outer = Tape(mode, undeclared="constant")
    for n, x in memory.items():
        outer.duplicated(x, np.ones_like(x), name=n)
        outer.duplicated(shadow[n], np.ones_like(x), name=f"d{n}")
    with outer:
        with Tape(undeclared="constant") as inner:
            for n, x in memory.items():
                inner.duplicated(x, shadow[n], name=n)
            for param in "HK":
                vectors = {"n": N, "x": "X", "incx": 1, "y": "Y", "incy": 1}
                ROADS[0].call({"call": "drotm", **vectors, "param": param}, place(memory))
        inner.reverse()
        inner.close()
    if mode is Reverse:
        outer.reverse()

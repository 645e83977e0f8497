"""Every name of every routine, whatever its decoration: it is there, and calls and records what it says."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from blas_trials import flag_choices, names, plain
from memory_guard import Pen
from oracles import ARGUMENTS, ROUTINES, Call, Step, extended
from roads import (
    ALIASES,
    DTYPE,
    INDEX,
    NAMES,
    RETURNING,
    ROADS,
    Road,
    library,
    number_letter,
    place,
)
from table import BATCHES, DECORATIONS, NO_RULE, arguments, families
from test_rules import dyadic, kind_of, make_valid
from tracing import Traced

import blasad
from blasad import Tape

FAMILIES = families()
NAMED = FAMILIES | NO_RULE
# Those of batches: test_gemm_batch.py
EVERY_NAME = [name for name in blasad.backend.names() if not any(batch in name for batch in BATCHES)]


def each_type() -> list[tuple[str, str]]:
    return [(family, letter) for family, letters in FAMILIES.items() for letter in letters]


def test_every_family_has_an_oracle():
    """A routine in the table without a test of its rule fails here."""
    assert FAMILIES.keys() <= ARGUMENTS.keys()
    table = arguments() or {}
    assert table == {family: ARGUMENTS[family].removesuffix(" dot") for family in table}


def test_every_decoration_has_a_name():
    expected = set()
    for routine in (*(letter + family for family, letters in NAMED.items() for letter in letters), *INDEX):
        stores = RETURNING.fullmatch(routine) and number_letter(routine) in "cz"
        for d in DECORATIONS:
            expected.add(d.format(NAMES.get(routine, routine) + "_sub" * bool(stores and "cblas" in d)))
            expected.update(d.format(routine[0] + a) for a, family in ALIASES.items() if family == routine[1:])
    assert set(EVERY_NAME) == expected


def _fits(pattern: str, name: str) -> bool:
    prefix, suffix = pattern.split("{}")
    named = NAMED | {alias: NAMED[family] for alias, family in ALIASES.items()}
    routines = (*(letter + family for family, letters in named.items() for letter in letters), *INDEX)
    return name in {f"{prefix}{NAMES.get(r, r)}{sub}{suffix}" for r in routines for sub in ("", "_sub")}


def called_by(name: str) -> tuple[str, str]:
    """The decoration of a name, and what is decorated."""
    pattern = max((d for d in DECORATIONS if _fits(d, name)), key=len)
    prefix, suffix = pattern.split("{}")
    return pattern, name.removeprefix(prefix).removesuffix(suffix)


def is_index(name: str) -> bool:
    return called_by(name)[1] in INDEX.values()


def is_without_rule(name: str) -> bool:
    without = {letter + family for family, letters in NO_RULE.items() for letter in letters}
    return called_by(name)[1] in {NAMES.get(routine, routine) for routine in without}


@pytest.mark.parametrize("name", [n for n in EVERY_NAME if not is_index(n) and not is_without_rule(n)])
def test_every_name_records(name):
    """Whatever the decoration: the call is made, with its integers, and recorded under that name."""
    pattern, called = called_by(name)
    called = called.removesuffix("_sub")
    routine = {symbol: r for r, symbol in NAMES.items()}.get(called, called)
    routine = routine[0] + ALIASES.get(routine[1:], routine[1:])
    road, letter, family = Road("ctypes", pattern), routine[0], routine[1:]
    dims = dict.fromkeys(names(family, "dims"), 2)
    step = plain(
        family,
        letter,
        flag_choices(family, letter)[0],
        dims,
        **({"beta": 0.0} if "beta" in names(family, "scalars") else {}),
    )
    by_value = RETURNING.fullmatch(step["call"] if road.can(step) else routine)
    step["call"] = routine if by_value else step["call"]
    pen = Pen(4096)
    operands = enumerate(names(family, "operands"))
    memory = {o.upper(): pen.copy(dyadic(kind_of(family, letter, o), 10, i)) for i, o in operands}
    if "DOT" in memory:
        memory["DOT"] = pen.copy(dyadic(number_letter(routine), 4, 9))
    make_valid(step, memory, flag_choices(family, letter)[-1])
    shadow = {n: pen.copy(x) for n, x in memory.items()}
    traced = Traced(step, extended(memory))
    want = traced.pull(extended(shadow))
    with Tape() as tape:
        for n, x in memory.items():
            if not (by_value and n == "DOT"):
                tape.duplicated(x, shadow[n], name=n)
        road.call({**step, "call": called} if called[1:] in ALIASES else step, place(memory))
    (call,) = tape
    assert (call.symbol, call.routine) == (name, NAMES.get(routine, routine))
    same = np.allclose if family in ("nrm2", "rotg") else np.array_equal
    for n, x in memory.items():
        assert same(x, traced.after[n])
    if by_value:
        tape.returned(0).shadow[0], shadow["DOT"][0] = shadow["DOT"][0], 0
    tape.reverse()
    for n, x in shadow.items():
        assert same(x, want[n])
    pen.check()


@pytest.fixture(scope="module")
def openblas() -> Iterator[None]:
    """As the BLAS behind the names: it has the extensions, which SciPy's capsules lack."""
    blasad.set_backend(library("scipy")._name)
    yield
    blasad.set_backend(None)


@pytest.mark.usefixtures("openblas")
@pytest.mark.parametrize("name", [n for n in EVERY_NAME if is_index(n)])
def test_every_index_name_passes_through(name):
    """Semantics 4: the result is right, in C counted from 0, and no tape knows of it, nor of what it read."""
    pattern, called = called_by(name)
    pointer, wide, cblas = blasad.address(name), "64" in pattern, "cblas" in pattern
    integer, dtype = ctypes.c_int64 if wide else ctypes.c_int32, DTYPE[called[1]]
    given = [integer, ctypes.c_void_p, integer] if cblas else [ctypes.c_void_p] * 3
    f = ctypes.CFUNCTYPE(ctypes.c_size_t if cblas else integer, *given)(pointer)
    x = np.array([2, -3, 1, -9, 0.5, 4, -0.25, 5, 3]).astype(dtype)
    dx = np.ones_like(x)
    with Tape(undeclared="constant") as tape:
        tape.duplicated(x, dx, name="x")
        for n, inc in ((9, 1), (3, 2), (1, 5), (0, 1), (-3, 1), (3, -2), (2, 0)):
            want = Call({"call": called, "n": n, "x": "x", "incx": inc}, {"x": x})
            index = ROUTINES[want.family](want)
            if cblas:
                assert f(n, x.ctypes.data, inc) == max(0, index - 1), (n, inc)
            else:
                numbers = np.array([n, inc], f"i{8 if wide else 4}")
                assert f(numbers.ctypes.data, x.ctypes.data, numbers[1:].ctypes.data) == index, (n, inc)
        x[8] = 3.5  # nothing reads it but what has no derivative
        assert len(tape) == 0
    tape.reverse()
    assert dx.tolist() == [1] * 9


def test_index_from_a_blas_for_c(tmp_path):
    """Whose integers are of another kind, and which counts from 0."""
    source = (
        "".join(f"void cblas_{letter}gemm(void) {{}}\n" for letter in "sdcz")
        + """
    #include <stddef.h>
    size_t cblas_isamax(int n, const float *x, int inc)
    {
        size_t best = 0;
        for (int i = 1; i < n; i++)
            best = x[i * inc] * x[i * inc] > x[best * inc] * x[best * inc] ? i : best;
        return best;
    }"""
    )
    path = tmp_path / "libcblas.so"
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    command = [*compiler.split(), "-shared", "-fPIC", "-x", "c", "-", "-o", path]
    subprocess.run(command, input=source.encode(), check=True, timeout=60)
    x = np.array([1, 2, -3, 1], np.float32)
    blasad.set_backend(path)
    try:
        integer = ctypes.POINTER(ctypes.c_int64)
        wide = ctypes.CFUNCTYPE(ctypes.c_int64, integer, ctypes.c_void_p, integer)(blasad.address("isamax_64_"))
        for n, inc, want in ((4, 1, 3), (2, 1, 2), (1, 3, 1), (0, 1, 0), (4, -1, 0)):
            assert wide(ctypes.c_int64(n), x.ctypes.data, ctypes.c_int64(inc)) == want
    finally:
        blasad.set_backend(None)


@pytest.mark.parametrize("name", [n for n in EVERY_NAME if called_by(n)[1] == "dsdot"])
def test_no_rule_of_double_sums_is_no_silence(name):
    """dsdot is computed in double precision, and refused where something is active."""
    x, y = np.array([1, 2**13, 1], np.float32), np.array([1, 2**13 + 1, 3], np.float32)
    step: Step = {"call": "swdot", "n": 3, "x": "X", "incx": 1, "y": "Y", "incy": 1}
    road, where = Road("ctypes", called_by(name)[0]), place({"X": x, "Y": y})
    for active in (None, x, y):
        tape = Tape(undeclared="constant")
        tape.__enter__()
        if active is not None:
            tape.duplicated(active, np.ones_like(active))
        assert road.call(step, where) == 2**26 + 2**13 + 4
        if active is None:
            tape.__exit__(None, None, None)
            assert tape.returned(0).value == 2**26 + 2**13 + 4
            continue
        with pytest.raises(blasad.UnsupportedError, match="no derivative of dsdot"):
            tape.__exit__(None, None, None)


@pytest.mark.parametrize("name", [n for n in EVERY_NAME if "rotmg" in called_by(n)[1]])
def test_no_rule_is_no_silence(name):
    """What has no derivative yet is computed, recorded where nothing is active, and refused where something is."""
    pattern, routine = called_by(name)
    numbers = {"D1": 2.0, "D2": 0.5, "X1": 1.5, "PARAM": 7.0, "Y1": 0.25}
    memory = {n: np.full(5, x, DTYPE[routine[0]]) for n, x in numbers.items()}
    road, where = Road("ctypes", pattern), place(memory)
    step: Step = {"call": routine} | {key: key.upper() for key in ("d1", "d2", "x1")}
    step |= {"y1": 0.25 if road.cblas else "Y1", "param": "PARAM"}
    before = {n: x.copy() for n, x in memory.items()}
    ROADS[4].call(step | {"y1": "Y1"}, where)
    plainly = {n: x.copy() for n, x in memory.items()}
    for active in (None, "D1", "D2", "X1", "PARAM", *([] if road.cblas else ["Y1"])):
        for n, x in memory.items():
            x[:] = before[n]
        tape = Tape(undeclared="constant")
        tape.__enter__()
        if active:
            tape.duplicated(memory[active], np.ones_like(memory[active]), name=active)
        road.call(step, where)
        if active:
            with pytest.raises(blasad.UnsupportedError, match=f"no derivative of {routine}"):
                tape.__exit__(None, None, None)
        else:
            tape.__exit__(None, None, None)
            assert [c.routine for c in tape] == [routine]
        for n, x in memory.items():
            assert np.array_equal(x, plainly[n], equal_nan=True)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match="dgemm_"):
        blasad.address("dgem_")
    with pytest.raises(ValueError, match="dgemm_"):
        blasad.wrap("dgem_", blasad.address("dgemm_"))

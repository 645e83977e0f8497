"""Every routine of the table, every type and combination of flags: one call against the chain rule and differences.

One case of `test_call` runs the rows of a covering array of strength 3 over everything else that a call has; see
blas_trials.py.
"""

import itertools

import numpy as np
import pytest
from blas_trials import (
    FORMS,
    SOLVES,
    elements_of,
    flag_choices,
    least_ld,
    matrix_of,
    names,
    outputs,
    place_of,
    plain,
    shapes,
    sides_of,
    solvable,
    trials,
)
from memory_guard import bits
from oracles import Linear, Memory, Step, extended, gather
from roads import DTYPE, LEVEL1, REAL_OPERANDS, RETURNING, ROADS, number_letter, place, scalar_letter
from table import families
from tracing import Traced

import blasad
from blasad import Forward, Reverse, Tape

FAMILIES = families()
NORMS = ("nrm2", "asum")
ROUNDED = (*NORMS, "rotg")  # no polynomials, nor made from such in few steps
BY_STORAGE = ("bm", "bs", "pm", "ps", "pr")  # the middle of "gbmv" and its like: bands and packed triangles
MODES = pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])


def each_case(types: str = "sdcz") -> list[object]:
    return [
        pytest.param(family, letter, flags, id=" ".join([letter + family, "".join(flags.values())]).strip())
        for family, letters in FAMILIES.items()
        for letter in letters
        if letter in types
        for flags in flag_choices(family, letter)
    ]


@MODES
@pytest.mark.parametrize(("family", "letter", "flags"), each_case())
def test_call(family, letter, flags, mode, checked):
    checked(family, letter, mode.name.lower())
    for trial in trials(family, letter, flags, mode):
        try:
            trial.run()
        except BaseException as error:
            error.add_note(str(trial))
            raise


# ---------------------------------------------------------------- the whole Jacobian, exactly


def dyadic(letter: str, count: int, seed: int) -> np.ndarray:
    """Numbers with which BLAS computes without rounding, whatever the order of its sums."""
    letter = {"f": "s", "F": "c", "D": "z"}.get(letter, letter)  # NumPy's
    x = np.random.default_rng(seed).integers(-4, 5, count * (2 if letter in "cz" else 1)) / 2
    return (x.view(complex) if letter in "cz" else x).astype(DTYPE[letter])


def units(x: np.ndarray) -> list[complex]:
    return [1, 1j] if x.dtype.kind == "c" else [1]


def small(family: str, letter: str, flags: dict[str, str], **changes: object) -> tuple[Step, Memory]:
    """A call with padding, offsets and increments, and memory for it."""
    sizes = dict.fromkeys(names(family, "dims"), 2) | {"n": 3}
    if sides_of(plain(family, letter, flags, sizes)):
        sizes |= dict.fromkeys({"k", "kl", "ku"} & sizes.keys(), 1)
    step = plain(family, letter, flags, sizes)
    step |= {key: key.upper() + "[1]" for key in names(family, "operands")} | changes
    step |= dict(zip(names(family, "inc"), [-2, 1] if len(names(family, "inc")) > 1 else [2], strict=False))
    found = shapes(step)
    step |= {ld: least_ld(step, ld, found[ld[2:]]) + 1 for ld in names(family, "ld")}
    sizes = {key: int(elements_of(step, key, shape).max()) + 2 for key, shape in found.items()}
    memory = {key.upper(): dyadic(kind_of(family, letter, key), size, i) for i, (key, size) in enumerate(sizes.items())}
    make_valid(step, memory, flags)
    return step, memory


def kind_of(family: str, letter: str, key: str) -> str:
    """The type of an operand."""
    return {"c": "s", "z": "d"}.get(letter, letter) if key in REAL_OPERANDS.get(family, ()) else letter


def make_valid(step: Step, memory: Memory, flags: dict[str, str]) -> None:
    """Makes a solve exact, gives a modified rotation its form, and numbers that are not 0 to one that is made."""
    family = step["call"][1:]
    if family in SOLVES:
        solvable(step, memory)
    if family == "rotm":
        name, index = place_of(step["param"])
        memory[name][index] = FORMS[flags["form"]]
    if family == "rotg":
        memory["A"][:], memory["B"][:] = 1.5 - 0.5j if step["call"][0] in "cz" else -1.5, 2


@pytest.mark.parametrize("scalars", ["active", "constant"])
@pytest.mark.parametrize(("family", "letter", "flags"), [c for c in each_case("dz") if c.values[0] not in ROUNDED])
def test_jacobian_of_memory(family, letter, flags, scalars):
    """Sections 2 and 3: the derivative of memory before -> memory after, entry by entry and without any rounding.
    Differences with a finite step are exact on polynomials, and a solve is none. The chain rule, the other oracle,
    agrees."""
    numbers = {"alpha": (0.5, "0.5-1j"), "beta": (-2.0, "-2+0.5j"), "c": (0.5, ""), "s": (-1.5, ""), "sb": (-1.5, "")}
    given: dict[str, object] = {}
    passed: Memory = {}
    for s in names(family, "scalars"):
        kind = scalar_letter(letter + family, s)
        given[s] = numbers[s][kind in "cz"]
        if scalars == "active":
            passed["P" + s] = np.array([(complex if kind in "cz" else float)(given[s])], DTYPE[kind])
            given[s] = f"P{s}[0]"
    step, memory = small(family, letter, flags, **given)
    memory |= passed
    start = {name: x.copy() for name, x in memory.items()}
    shadow = {name: np.zeros_like(x) for name, x in memory.items()}
    elements = [(name, i) for name, x in memory.items() for i in range(x.size)]
    traced = Traced(step, extended(memory))
    linear = None if family in SOLVES else Linear(step, extended(memory))
    road, where = next(r for r in ROADS if r.can(step)), place(memory)
    by_value = RETURNING.fullmatch(step["call"])  # then the shadow of what is returned is the tape's

    def annotated(mode: blasad.activity.Mode) -> Tape:
        tape = Tape(mode)
        for name, x in memory.items():
            if not (by_value and name == "DOT"):
                tape.duplicated(x, shadow[name], name=name)
        return tape

    with annotated(Reverse) as tape:
        road.call(step, where)
    for name, i, unit in ((n, i, u) for n, i in elements for u in units(memory[n])):
        for apply in ("reverse", "forward"):
            for x in shadow.values():
                x[:] = 0
            shadow[name][i] = unit
            want = extended(shadow)
            again = (traced.pull if apply == "reverse" else traced.push)(want)
            if linear:
                (linear.pull if apply == "reverse" else linear.push)(want)
            else:
                want = again
            if apply == "reverse":
                if by_value:
                    tape.returned(0).shadow[0], shadow["DOT"][1] = shadow["DOT"][1], 0
                tape.reverse()
            else:
                for n, x in memory.items():
                    x[:] = start[n]
                with annotated(Forward) as forward:
                    road.call(step, where)
                if by_value:
                    shadow["DOT"][1] = forward.returned(0).shadow[0]
            got = {n: x.astype(want[n].dtype) for n, x in shadow.items()}
            assert np.array_equal(gather(again, elements), gather(want, elements)), "the oracles differ"
            assert np.array_equal(gather(got, elements), gather(want, elements)), f"{apply} from {name}[{i}] = {unit}"


# ---------------------------------------------------------------- several shadows at once (section 1)


def some_flags() -> list[object]:
    """Every combination of flags in one type at least, and every type."""
    out = []
    for family, letters in FAMILIES.items():
        for i, letter in enumerate(letters):
            choices = flag_choices(family, letter)
            out += [(family, letter, flags) for flags in choices[i :: len(letters)] or choices[:1]]
    return [pytest.param(*c, id=" ".join([c[1] + c[0], "".join(c[2].values())]).strip()) for c in out]


@MODES
@pytest.mark.parametrize(("family", "letter", "flags"), some_flags())
def test_batch(family, letter, flags, mode, checked):
    """Each of three shadows is what the oracle makes of it alone; scalars are active where they can be."""
    checked(family, letter, "batch")
    step, memory = small(family, letter, flags)
    for s in names(family, "scalars"):
        kind = scalar_letter(letter + family, s)
        step[s] = f"P{s}[0]"
        memory["P" + s] = np.array([0.5 - 1j if kind in "cz" else -1.5]).astype(DTYPE[kind])
    if "DOT" in memory:
        memory["DOT"] = dyadic(number_letter(letter + family), 3, 8)
    shadows = {n: [dyadic(x.dtype.char, x.size, 9 + i) for i in range(3)] for n, x in memory.items()}
    traced = Traced(step, extended(memory))
    apply = traced.pull if mode is Reverse else traced.push
    want = [apply(extended({n: dx[i] for n, dx in shadows.items()})) for i in range(3)]
    by_value = RETURNING.fullmatch(step["call"])
    with Tape(mode) as tape:
        for n, x in memory.items():
            if not (by_value and n == "DOT"):
                tape.batch_duplicated(x, shadows[n], name=n)
        next(r for r in ROADS if r.can(step)).call(step, place(memory))
    if by_value:
        for mine, dx in zip(tape.returned(0).shadows, shadows["DOT"], strict=True):
            mine[:], dx[1] = (dx[1], 0) if mode is Reverse else (mine, mine[0])
    if mode is Reverse:
        tape.reverse()
    same = np.array_equal if family not in ROUNDED else np.allclose
    for n, x in memory.items():
        assert same(x, traced.after[n]), n
        for i, dx in enumerate(shadows[n]):
            assert same(dx, want[i][n]), f"shadow {i} of {n}"


# ---------------------------------------------------------------- beyond the blocks that rules and entries work in

LONG = 150  # more than the order of a triangle's square blocks, and than the numbers conjugated at a time


@MODES
@pytest.mark.parametrize(("family", "letter", "flags"), [c for c in each_case("dz") if c.values[0] not in ROUNDED])
def test_long(family, letter, flags, mode):
    """One dimension after the other is long, in both layouts; again without any rounding."""
    layouts = ["col"] if LEVEL1.fullmatch(letter + family) else ["col", "row"]
    for long, layout in itertools.product(names(family, "dims"), layouts):
        step, _ = small(family, letter, flags)
        step |= {d: LONG if d == long else 3 for d in names(family, "dims")} | {"layout": layout}
        step |= dict(zip(names(family, "scalars"), (-1.5, 0.5), strict=False))
        step |= dict.fromkeys(names(family, "ld"), LONG + 5)
        sizes = {key: int(elements_of(step, key, shape).max()) + 2 for key, shape in shapes(step).items()}
        memory = {key.upper(): dyadic(letter, size, i) for i, (key, size) in enumerate(sizes.items())}
        make_valid(step, memory, flags)
        shadow = {name: dyadic(letter, x.size, 9) for name, x in memory.items()}
        by_value = RETURNING.fullmatch(step["call"])
        traced = Traced(step, extended(memory))
        want = (traced.pull if mode is Reverse else traced.push)(extended(shadow))
        with Tape(mode) as tape:
            for name, x in memory.items():
                if not (by_value and name == "DOT"):
                    tape.duplicated(x, shadow[name], name=name)
            next(r for r in ROADS if r.can(step)).call(step, place(memory))
        if by_value and mode is Reverse:
            tape.returned(0).shadow[:], shadow["DOT"][1] = shadow["DOT"][1], 0
        if mode is Reverse:
            tape.reverse()
        elif by_value:
            shadow["DOT"][1] = tape.returned(0).shadow[0]
        for name, x in memory.items():
            assert np.array_equal(x, traced.after[name]), f"memory {name}, {long} = {LONG}, by {layout}"
        for name, x in shadow.items():
            assert np.array_equal(x, want[name]), f"{name}, {long} = {LONG}, by {layout}"


# ---------------------------------------------------------------- values that are gone when they are needed (section 6)


@pytest.mark.parametrize(
    ("family", "letter", "flags"),
    [  # those that return: test_returned.py
        c for c in each_case("dz") if not RETURNING.fullmatch(c.values[1] + c.values[0]) and c.values[0] not in ROUNDED
    ],
)
def test_overwritten_later(family, letter, flags):
    """Recorded calls clear all that the call has read but not written: the adjoint has what was saved."""
    step, memory = small(family, letter, flags, **dict(zip(names(family, "scalars"), (-1.5, 0.5), strict=False)))
    shadow = {name: dyadic(letter, x.size, 9) for name, x in memory.items()}
    inputs = [key.upper() for key in names(family, "operands") if key not in outputs(family)]
    seeds = {name: 0 * x if name in inputs else x for name, x in shadow.items()}
    want = Traced(step, extended(memory)).pull(extended(seeds))
    where, zeros = place(memory), np.zeros(64, DTYPE[letter])
    with Tape() as tape:
        tape.const(zeros)
        for name, x in memory.items():
            tape.duplicated(x, shadow[name], name=name)
        next(r for r in ROADS if r.can(step)).call(step, where)
        for name in inputs:
            clear = {"call": letter + "copy", "n": memory[name].size, "x": "ZEROS", "incx": 1, "y": name, "incy": 1}
            ROADS[0].call(clear, place({**memory, "ZEROS": zeros}))
    tape.reverse()
    for name, x in shadow.items():
        assert np.array_equal(x, want[name]), name


def test_needed_once_scratch_is_active():
    """The same call twice on scratch: the first makes it active, so that the adjoint of the second needs the triangle,
    which is cleared afterwards."""
    a, x = dyadic("d", 4, 1), dyadic("d", 2, 2)
    memory = {"A": a.copy(), "X": x.copy(), "Y": np.zeros(2), "ZEROS": np.zeros(4)}
    shadow = {"A": np.zeros(4), "Y": np.array([1.0, -3.0])}
    where = place(memory)
    step = {"call": "dtrmv", "uplo": "L", "trans": "N", "diag": "N", "n": 2, "a": "A", "lda": 2, "x": "X", "incx": 1}
    copies = [
        {"call": "dcopy", "n": memory[to].size, "x": of, "incx": 1, "y": to, "incy": 1}
        for of, to in (("X", "Y"), ("ZEROS", "A"))
    ]
    with Tape() as tape:
        tape.const(memory["ZEROS"])
        for name, dx in shadow.items():
            tape.duplicated(memory[name], dx, name=name)
        with tape.assigned(memory["X"]):
            memory["X"][:] = x
        for call in (step, step, *copies):
            ROADS[0].call(call, where)
    tape.reverse()
    lower, seed = np.tril(a.reshape(2, 2).T), np.array([1.0, -3.0])
    want = np.outer(seed, lower @ x) + np.outer(lower.T @ seed, x)
    assert np.array_equal(shadow["A"], np.tril(want).T.ravel())


# ---------------------------------------------------------------- bands


BANDS = [c for c in each_case("dz") if c.values[0] in ("gbmv", "sbmv", "hbmv", "tbmv", "tbsv")]


@pytest.mark.parametrize("layout", ["col", "row"])
@pytest.mark.parametrize(("family", "letter", "flags"), BANDS)
def test_band_is_too_high(family, letter, flags, layout):
    """The array has kl + ku + 1 rows, or the call is an error."""
    step, memory = small(family, letter, flags, layout=layout, **dict.fromkeys(names(family, "scalars"), 1.0))
    step |= {d: 2 for d in ("k", "kl", "ku") if d in step}
    step["lda"] = 2 * ("kl" in step) + 2
    x = {n: np.ones(64, v.dtype) for n, v in memory.items()}
    tape = Tape(undeclared="constant")
    tape.__enter__()
    next(r for r in ROADS if r.can(step)).call(step, place(x))
    with pytest.raises(blasad.InvalidCallError, match="lda"):
        tape.__exit__(None, None, None)
    step["lda"] += 1
    with Tape(undeclared="constant") as tape:
        next(r for r in ROADS if r.can(step)).call(step, place(x))
    assert len(tape) == 1


@MODES
@pytest.mark.parametrize("annotated", ["rows", "columns", "scratch"])
@pytest.mark.parametrize(("family", "letter", "flags"), [c for c in each_case("dz") if c.values[0][1:3] in BY_STORAGE])
def test_parts_of_a_stored_matrix(family, letter, flags, annotated, mode):
    """A matrix in a band or packed, some of whose numbers have shadows, or that recorded calls copied to scratch;
    NaN wherever it has no element."""
    step, memory = small(family, letter, flags, **dict(zip(names(family, "scalars"), (-0.75, 0.25), strict=False)))
    key = matrix_of(family)
    name = key.upper()
    if family in SOLVES:
        solvable(step, memory)
    traced = Traced(step, extended(memory))
    own = {i for n, i in set().union(*traced.call.reads.values(), *traced.call.writes.values()) if n == name}
    holes = [i for i in range(memory[name].size) if i not in own]
    shadow = {n: dyadic(letter, x.size, 9) for n, x in memory.items()}
    some = {"rows": slice(0, None, 2), "columns": slice(memory[name].size // 2), "scratch": slice(0, 0)}[annotated]
    written = key in outputs(family)
    seeds = {n: x.copy() for n, x in shadow.items()}
    source, d_source = memory[name].copy(), 0 * shadow[name] if mode is Reverse else shadow[name].copy()
    if annotated != "scratch":
        kept = np.zeros(memory[name].size, bool)
        kept[some] = True
        seeds[name][~kept] = 0
        shadow[name][~kept] = 0
    elif mode is Reverse:
        seeds[name][:] = 0
    want = (traced.pull if mode is Reverse else traced.push)(extended(seeds))
    memory[name][holes] = source[holes] = np.nan
    with Tape(mode, undeclared="constant") as tape:
        for n, x in memory.items():
            if n != name:
                tape.duplicated(x, shadow[n], name=n)
        if annotated == "scratch":
            tape.duplicated(source, d_source, name="source")
            for i in own:
                copy = {"call": letter + "copy", "n": 1, "x": f"S[{i}]", "incx": 1, "y": f"{name}[{i}]", "incy": 1}
                ROADS[0].call(copy, place({"S": source, name: memory[name]}))
        else:
            shadow[name][holes] = np.nan
            tape.duplicated(memory[name][some], shadow[name][some], name=name)
        next(r for r in ROADS if r.can(step)).call(step, place(memory))
    if mode is Reverse:
        tape.reverse()
    for n in memory.keys() - {name}:
        assert np.array_equal(shadow[n], want[n]), n
    mine = sorted(own)
    if annotated != "scratch":
        mine = [i for i in mine if kept[i]]
        assert np.array_equal(shadow[name][mine], want[name][mine])
        assert np.isnan(shadow[name][holes]).all()
    elif mode is Reverse and not written:
        assert np.array_equal(d_source[mine], want[name][mine])


# ---------------------------------------------------------------- one memory for two operands (section 5)


def each_pair() -> list[object]:
    return [
        pytest.param(family, letters[0], out, other, id=f"{letters[0]}{family} {out} {other}")
        for family, letters in FAMILIES.items()
        for out in sorted(outputs(family))
        for other in names(family, "operands")
        if other != out and family not in ("dot", "sbdot", *NORMS)  # whose result nobody has the address of
    ]


@MODES
@pytest.mark.parametrize(("family", "letter", "out", "other"), each_pair())
def test_output_shares_elements(family, letter, out, other, mode):
    """Any overlap of an output with another operand is an error, and the program runs undisturbed."""
    step, _ = small(family, letter, flag_choices(family, letter)[0])
    shift = 1 if family in ("axpy", "copy", "swap") else 0  # there, all elements may be shared
    step |= {out: "W[1]", other: f"W[{1 + shift}]"} | dict.fromkeys(names(family, "inc"), 1)
    memory = {n: dyadic(letter, 64, i) for i, n in enumerate([*"ABCXYSW", "AP", "PARAM"])}
    memory["PARAM"][1] = memory["W"][1] = -1  # a form in which all numbers are there
    plainly = {n: x.copy() for n, x in memory.items()}
    road = next(r for r in ROADS if r.can(step))
    road.call(step, place(plainly))
    shadow = {n: x.copy() for n, x in memory.items()}
    tape = Tape(mode)
    tape.__enter__()
    for n, x in memory.items():
        tape.duplicated(x, shadow[n], name=n)
    road.call(step, place(memory))
    with pytest.raises(blasad.AliasError, match="W"):
        tape.__exit__(None, None, None)
    assert {n: bits(x) for n, x in memory.items()} == {n: bits(x) for n, x in plainly.items()}


@MODES
@pytest.mark.parametrize("family", ["axpby", "rot"])
def test_not_defined_on_itself(family, mode):
    """What the BLAS does not define for one vector is an error, in contrast to axpy, copy and swap."""
    step, _ = small(family, "d", {})
    memory, shadow = {"W": dyadic("d", 9, 1)}, {"W": dyadic("d", 9, 2)}
    tape = Tape(mode)
    tape.__enter__()
    tape.duplicated(memory["W"], shadow["W"], name="W")
    ROADS[0].call({**step, "x": "W[1]", "y": "W[1]", "incx": 1, "incy": 1}, place(memory))
    with pytest.raises(blasad.AliasError, match="W"):
        tape.__exit__(None, None, None)


@MODES
@pytest.mark.parametrize("inc", [1, 2, -1])
@pytest.mark.parametrize("routine", ["daxpy", "zaxpy", "dcopy", "zcopy", "dswap", "zswap"])
def test_level1_on_itself(routine, inc, mode):
    """axpy(x, x), copy(x, x) and swap(x, x) are differentiated as what they do."""
    letter, family = routine[0], routine[1:]
    step, _ = small(family, letter, {}, **dict.fromkeys(names(family, "scalars"), -1.5))
    step |= {"x": "W[1]", "y": "W[1]", "incx": inc, "incy": inc}
    memory = {"W": dyadic(letter, 9, 1)}
    shadow = {"W": dyadic(letter, 9, 2)}
    want = extended(shadow)
    linear = Linear(step, extended(memory))
    (linear.pull if mode is Reverse else linear.push)(want)
    with Tape(mode) as tape:
        tape.duplicated(memory["W"], shadow["W"], name="W")
        ROADS[0].call(step, place(memory))
    if mode is Reverse:
        tape.reverse()
    assert np.array_equal(shadow["W"], want["W"])


@MODES
@pytest.mark.parametrize("routine", ["daxpy", "zaxpy", "dcopy", "zswap"])
def test_level1_on_itself_between_others(routine, mode):
    """Calls alike in all but that, one after the other: what is known of one is not taken for the other."""
    letter, family = routine[0], routine[1:]
    step, memory = small(family, letter, {}, **dict.fromkeys(names(family, "scalars"), -1.5))
    step |= {"incx": 1, "incy": 1}
    shadow = {n: dyadic(letter, x.size, 5) for n, x in memory.items()}
    want, values = extended(shadow), extended(memory)
    steps = [{**step, **places} for places in ({}, {"y": step["x"]}, {}, {"x": step["y"]}, {})]
    linears = [Linear(s, values) for s in steps]
    for linear in reversed(linears) if mode is Reverse else linears:
        (linear.pull if mode is Reverse else linear.push)(want)
    with Tape(mode) as tape:
        for n, x in memory.items():
            tape.duplicated(x, shadow[n], name=n)
        for s in steps:
            ROADS[0].call(s, place(memory))
    if mode is Reverse:
        tape.reverse()
    for n, x in shadow.items():
        assert np.array_equal(x, want[n])

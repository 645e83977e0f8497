"""Every routine, type and flag, in both modes: one call against formulas and differences (sections 2 to 5)."""

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from blas_trials import flag_choices, names, plain
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_guard import Pen, bits, spoil
from oracles import (
    ARGUMENTS,
    ROUTINES,
    Access,
    Call,
    Gemm,
    Linear,
    Memory,
    Step,
    assert_close,
    closed_form,
    extended,
    gather,
    moduli,
    modulus,
)
from roads import (
    ALIASES,
    CBLAS,
    DTYPE,
    FORTRAN,
    INDEX,
    NAMES,
    RETURNING,
    ROADS,
    Road,
    gemm,
    library,
    number_letter,
    place,
)
from table import BATCHES, DECORATIONS, NO_RULE, arguments, families
from test_blas import kind_of, make_valid
from tracing import Traced

import blasad
from blasad import Forward, Reverse, Tape

FAMILIES = families()
NAMED = FAMILIES | NO_RULE
TRANS = ["".join(p) for p in itertools.product("NTC", repeat=2)]
SIZES = st.sampled_from([0, 1, 2, 3, 7, 33])
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


# ---------------------------------------------------------------- one call, and all that must hold around it


@dataclass
class Trial:
    """One call on guarded buffers, and the road by which it is made."""

    step: Step
    size: dict[str, int]  # elements of each buffer
    activity: dict[str, str]  # "dup", "const", "none"
    road: Road
    seed: int
    whole: bool  # buffers are annotated as a whole, else element by element as the operands lie
    verify: bool
    special: set[str] = field(default_factory=set)
    scalars: dict[str, complex] = field(
        default_factory=dict
    )  # that are passed by address, the others stand in the step

    def __str__(self) -> str:
        return f"{self.step} by {self.road}, {self.activity}, {self.special or 'nothing special'}"

    def __post_init__(self) -> None:
        self.letter = self.step["call"][0]
        self.pen = Pen()
        rng = np.random.default_rng(self.seed)

        def numbers(count: int) -> np.ndarray:
            x = rng.standard_normal(count * (2 if self.letter in "cz" else 1))
            return (x.view(complex) if self.letter in "cz" else x).astype(DTYPE[self.letter])

        plan = {n: np.ones(count, DTYPE[self.letter]) for n, count in self.size.items()}
        plan["s"][:] = [self.scalars.get("alpha", 3), self.scalars.get("beta", 3)]
        self.at = Gemm(self.step, extended(plan)).at
        self.owned: dict[str, np.ndarray] = {n: np.zeros(count, bool) for n, count in self.size.items()}
        for name, index in self.at.values():
            self.owned[name][index] = True
        self.memory: Memory = {}
        self.shadow: Memory = {}
        for n, count in self.size.items():
            for kind, buffers in ((0, self.memory), (1, self.shadow)):
                if kind == 0 or self.activity[n] == "dup":
                    x = buffers[n] = self.pen.memory(DTYPE[self.letter], count)
                    spoil(x)
                    x[self.owned[n]] = numbers(int(self.owned[n].sum()))
        self.memory["s"][:] = plan["s"]
        for key, what in (("a", "nan in a"), ("c", "nan in c")):
            name, index = self.at[key]
            if what in self.special and index.size:
                self.memory[name][index.ravel()[::2]] = np.nan
                self.memory[name][index.ravel()[1::3]] = np.inf
        name, index = self.at["c"]
        if "nan in shadow" in self.special and self.activity[name] == "dup" and index.size:
            self.shadow[name][index.ravel()[::2]] = np.nan
            self.shadow[name][index.ravel()[1::3]] = -np.inf
        self.active = {n for n, kind in self.activity.items() if kind == "dup"}
        self.where = place(self.memory)

    def view(self, x: np.ndarray, index: np.ndarray) -> np.ndarray:
        """The elements of an operand as an array over the buffer."""
        if index.ndim == 1 or index.size == 0:
            return x[index[:1].ravel()[0] :][:1] if index.size else x[:0]
        steps = [int(index[1, 0] - index[0, 0]) if index.shape[0] > 1 else 1]
        steps.append(int(index[0, 1] - index[0, 0]) if index.shape[1] > 1 else 1)
        strides = [s * x.itemsize for s in steps]
        return np.lib.stride_tricks.as_strided(x[index.ravel()[0] :], index.shape, strides)

    def annotate(self, tape: Tape) -> None:
        if self.whole:
            parts = [(n, lambda x: x) for n in self.size]
        else:
            parts = [(n, lambda x, index=index: self.view(x, index)) for n, index in self.at.values()]
        for n, part in parts:
            if self.activity[n] == "dup":
                tape.duplicated(part(self.memory[n]), part(self.shadow[n]), name=n)
            elif self.activity[n] == "const":
                tape.const(part(self.memory[n]), name=n)

    def call(self) -> None:
        self.road.call(self.step, self.where)

    def run(self, mode: blasad.activity.Mode) -> None:
        before = {n: x.copy() for n, x in self.memory.items()}
        seeds = {n: x.copy() for n, x in self.shadow.items()}
        self.call()
        undisturbed = {n: bits(x) for n, x in self.memory.items()}
        for n, x in self.memory.items():
            x[:] = before[n]
        access = Access(self.step, extended(before), self.active)
        expected = access.error(self.active, {n for n, kind in self.activity.items() if kind == "const"})

        raised = None
        tape = Tape(mode, undeclared="constant", verify=self.verify)
        try:
            with tape:
                self.annotate(tape)
                self.call()
            if mode is Reverse:
                tape.reverse()
        except blasad.BlasadError as error:
            raised = error
        assert (raised and type(raised).__name__) == expected, f"{raised!r} raised, {expected} expected"
        assert {n: bits(x) for n, x in self.memory.items()} == undisturbed, "memory is not what it is without a tape"
        self.pen.check()
        if expected:
            assert {n: bits(x) for n, x in self.shadow.items()} == {n: bits(x) for n, x in seeds.items()}
            tape.close()
            return
        self.check_listing(tape, access)
        self.check_shadows(mode, before, seeds)
        if mode is Reverse:  # again, with other seeds
            for n, x in self.shadow.items():
                flipped = seeds[n].view(x.real.dtype)
                flipped[np.repeat(self.owned[n], flipped.size // x.size)] *= -2
                x[:] = seeds[n]
            tape.reverse()
            self.check_shadows(mode, before, seeds)
            assert {n: bits(x) for n, x in self.memory.items()} == undisturbed, "reverse() wrote to memory"
        self.pen.check()
        tape.close()

    def check_listing(self, tape: Tape, access: Access) -> None:
        (call,) = tape
        assert call.routine == self.step["call"]
        assumed = {o.name for o in call.operands if o.assumed}
        assert assumed == {k for k in access.reads if access.reads[k] and self.activity[self.at[k][0]] == "none"}
        assert set(call.active_scalars) == access.scalars.keys()
        saved = saved_bytes(access, self.activity, self.memory) if tape.mode is Reverse else 0
        assert tape.saved_bytes == call.saved_bytes == saved

    def check_shadows(self, mode: blasad.activity.Mode, before: Memory, seeds: Memory) -> None:
        name = mode.name.lower()
        zeros = {n: np.zeros_like(x) for n, x in before.items()}
        want = closed_form(self.step, extended(before), extended({**zeros, **seeds}), name, self.active)
        bound = closed_form(modulus(self.step), moduli(before), moduli({**zeros, **seeds}), name, self.active)
        terms = 4 * sum(self.step[d] for d in "mnk") + 8
        for n, got in self.shadow.items():
            mine = self.owned[n].copy()
            if mode is Forward and n == self.at["c"][0]:  # tangents of inputs are not changed (2)
                mine[:] = False
                mine[self.at["c"][1]] = True
            elif mode is Forward:
                mine[:] = False
            assert bits(got[~mine]) == bits(seeds[n][~mine]), f"the shadow of {n} changed where it is not the call's"
            assert_close(got[mine], want[n][mine], bound[n][mine], terms, f"shadow of {n} ({name}; {self})")


def saved_bytes(access: Access, activity: dict[str, str], memory: Memory) -> int:
    """Section 6 for one call: what it overwrites of what it needs, and a copy of what it needs of undeclared memory."""
    elements = {e for cells in access.needs.values() for e in cells if activity[e[0]] != "none"} & access.writes
    copies = {e for cells in access.needs.values() for e in cells if activity[e[0]] == "none"}
    itemsize = next(iter(memory.values())).itemsize
    return itemsize * (len(elements) + len(copies))


# ---------------------------------------------------------------- any single gemm


@st.composite
def trials(draw: st.DrawFn, routine: str, trans: str, mode: blasad.activity.Mode) -> Trial:
    letter, road = routine[0], draw(st.sampled_from(ROADS))
    row_major = road.cblas and draw(st.booleans())
    m, n, k = draw(SIZES), draw(SIZES), draw(SIZES)
    step: Step = {"call": routine, "layout": "row"} if row_major else {"call": routine}
    flags = [f if road.cblas else draw(st.sampled_from([f, f.lower()])) for f in trans]
    step.update(transa=flags[0], transb=flags[1], m=m, n=n, k=k)

    # Scalars: by value, or by the address of an element of s, whatever the value is.
    values = [0.0, 1.0, -1.0, "0.75-1.5j" if letter in "cz" else 1.75]
    passed = {s: draw(st.sampled_from(values)) for s in ("alpha", "beta")}
    can = [] if road.cblas and letter in "sd" else ["alpha", "beta"]
    scalars = {s: complex(passed[s]) if letter in "cz" else passed[s] for s in can if draw(st.booleans())}
    given_as = {s: f"s[{i}]" if s in scalars else passed[s] for i, s in enumerate(passed)}

    # Operands: blocks of buffers, which a and b may share in part or whole.
    shared = draw(st.sampled_from(["no", "no", "same", "overlap"]))
    size, activity = {"s": 2}, {"s": draw(st.sampled_from(["dup", "dup", "const", "none"]))}
    shapes = {"a": (m, k) if trans[0] == "N" else (k, m), "b": (k, n) if trans[1] == "N" else (n, k), "c": (m, n)}
    for key, scalar in (("a", "alpha"), ("b", None), ("c", "beta")):
        rows, cols = reversed(shapes[key]) if row_major else shapes[key]
        ld = max(1, rows) + draw(st.integers(0, 3))
        offset = 0 if key == "b" and shared == "same" else draw(st.integers(0, 3))
        buffer = "A" if key == "b" and shared != "no" else key.upper()
        if scalar:
            step[scalar] = given_as[scalar]
        step[key], step["ld" + key] = f"{buffer}[{offset}]", ld
        span = ld * (cols - 1) + rows if rows and cols else 0
        size[buffer] = max(size.get(buffer, 1), offset + span + draw(st.integers(0, 2)))
        activity.setdefault(buffer, draw(st.sampled_from(["dup", "dup", "dup", "const", "none"])))

    # What the derivative depends on is finite, what it does not depend on may be anything (4).
    special: set[str] = set()
    skips_product, skips_c = step["alpha"] == 0.0, step["beta"] == 0.0
    # an active alpha = 0 has the derivative <A B, G>, which may be anything too; no product reaches A and B
    skips_product |= mode is Reverse and passed["alpha"] == 0.0 and activity["s"] == "dup"
    if skips_c and draw(st.booleans()):
        special.add("nan in c")
    if skips_product and shared == "no" and draw(st.booleans()):
        special.add("nan in a")
    if skips_c and (mode is Forward or skips_product) and draw(st.booleans()):
        special.add("nan in shadow")
    whole, verify, seed = shared != "no" or draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 2**32 - 1))
    return Trial(step, size, activity, road, seed, whole, verify, special, scalars)


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("trans", TRANS)
@pytest.mark.parametrize("letter", FAMILIES["gemm"])
def test_gemm(letter, trans, mode):
    """Shapes, padding, offsets, activity, scalars by value and by address, one memory for both inputs, row-major."""

    @settings(max_examples=30)
    @given(trials(f"{letter}gemm", trans, mode))
    def check(trial):
        trial.run(mode)

    check()


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("road", [FORTRAN[0], CBLAS[0]], ids=str)
@pytest.mark.parametrize("why", ["alpha 0", "k 0", "m 0", "n 0"])
def test_early_return(why, road, mode):
    """Section 4, quick returns: with alpha = 0 or k = 0 and beta = 1, or without elements, nothing is touched. Nothing is
    assumed of it, nothing is verified or saved there, and the shadow of the output stays, NaN or not."""
    x = {n: np.arange(1.0, 5.0) for n in "ABCD"}
    dx = {n: np.array([np.nan, np.inf, 1, 2]) for n in x}
    seeds = {n: bits(v) for n, v in dx.items()}
    changes = {"alpha": {"alpha": 0.0, "beta": 1.0}}.get(why[:5]) or {why[0]: 0, "beta": 1.0 if why == "k 0" else 0.5}
    with Tape(mode, undeclared="constant") as tape:
        for n in "ABC":
            tape.duplicated(x[n], dx[n], name=n)
        gemm(x, "A", "C", "B", road=road, **changes)  # nobody wants C's content
        x["C"][:] = 7
        gemm(x, "C", "A", "B", road=road, **changes)
        gemm(x, "C", "C", "C", road=road, **changes)
        gemm(x, "D", "A", "D", road=road, **changes)
        x["C"][:] = 8
        roles = [[o.role for o in call.operands] for call in tape]
    assert all(set(r[:2]) == {"unused"} for r in roles)
    assert [a.call for a in tape.assumptions] == [None]  # C changed by itself
    assert tape.saved_bytes == 0
    if mode is Reverse:
        tape.reverse()
    assert {n: bits(v) for n, v in dx.items()} == seeds


@pytest.mark.parametrize("other", ["A", "C", "B"])
def test_active_zero_touches(other):
    """Sections 4 and 7: what an active alpha = 0 has its derivative from is read, whatever the BLAS does, and needed."""
    x = {n: np.arange(1.0, 5.0) for n in "ABC"} | {"s": np.zeros(1)}
    dx = {n: np.ones(v.size) for n, v in x.items()}
    tape = Tape()
    tape.__enter__()
    for n in x:
        tape.duplicated(x[n], dx[n], name=n)
    gemm(x, "C", "A", "B", alpha="s", beta=0.5)
    gemm(x, "C", "A", "B", alpha="s", beta=0.5)
    assert [o.role for o in tape[0].operands] == ["in", "in", "inout"]
    assert tape.saved_bytes == 0
    x[other][1] += 1
    with pytest.raises(blasad.UnseenWriteError, match=f"{other} .*between call 1"):
        tape.__exit__(None, None, None)


@pytest.mark.parametrize("where", ["shadow", "A", "B"])
@pytest.mark.parametrize("trans", ["NN", "CT"])
@pytest.mark.parametrize("letter", FAMILIES["gemm"])
def test_alpha_zero_multiplies_nothing(letter, trans, where):
    """Section 4: at alpha = 0 the products are skipped, not scaled: 0 * NaN would reach dA and dB."""
    x = {n: dyadic(letter, 4, i) for i, n in enumerate("ABC")} | {"s": np.zeros(1, DTYPE[letter])}
    dx = {n: dyadic(letter, v.size, 7) for n, v in x.items()}
    (dx["C"] if where == "shadow" else x[where])[1:3] = np.nan, np.inf
    seeds = {n: bits(v) for n, v in dx.items()}
    with Tape() as tape:
        for n, v in x.items():
            tape.duplicated(v, dx[n], name=n)
        gemm(x, "C", "A", "B", alpha="s", beta=0.0, transa=trans[0], transb=trans[1])
    tape.reverse()
    assert np.isnan(dx["s"][0])  # <A B, G> it is
    assert {n: bits(dx[n]) for n in "AB"} == {n: seeds[n] for n in "AB"}
    assert not dx["C"].any()


# ---------------------------------------------------------------- the whole Jacobian, exactly


def dyadic(letter: str, count: int, seed: int) -> np.ndarray:
    """Numbers with which BLAS computes without rounding, whatever the order of its sums."""
    x = np.random.default_rng(seed).integers(-4, 5, count * (2 if letter in "cz" else 1)) / 2
    return (x.view(complex) if letter in "cz" else x).astype(DTYPE[letter])


SCALARS_OF = {
    "active": ("s[0]", "s[1]"),
    "constant": ("0.5-1j", "-2+0.5j"),
    "beta 0": ("0.5-1j", 0.0),
    "alpha 0": ("s[2]", 1.0),
    "both 0": ("s[2]", "s[2]"),
}


@pytest.mark.parametrize("scalars", SCALARS_OF)
@pytest.mark.parametrize("trans", TRANS)
@pytest.mark.parametrize("letter", FAMILIES["gemm"])
def test_jacobian_of_memory(letter, trans, scalars):
    """Sections 2 and 3: the derivative of memory before -> memory after, entry by entry and without any rounding, A and
    B sharing elements. Differences with a finite step are exact on polynomials."""
    m, n, k = 2, 3, 2
    alpha, beta = SCALARS_OF[scalars]
    if letter in "sd":
        alpha, beta = (complex(s).real if "j" in str(s) else s for s in (alpha, beta))
    rows = {"a": m if trans[0] == "N" else k, "b": k if trans[1] == "N" else n}
    step: Step = {"call": f"{letter}gemm", "transa": trans[0], "transb": trans[1], "m": m, "n": n, "k": k}
    step |= {"alpha": alpha, "a": "A[1]", "lda": rows["a"] + 1, "b": "A[3]", "ldb": rows["b"] + 1}
    step |= {"beta": beta, "c": "C[1]", "ldc": m + 2}
    memory = {"A": dyadic(letter, 16, 1), "C": dyadic(letter, 14, 2), "s": dyadic(letter, 3, 3)}
    memory["s"][:] = [0.5, -1.5, 0] if letter in "sd" else [0.5 + 1j, -1.5 + 0.5j, 0]
    start = {name: x.copy() for name, x in memory.items()}
    shadow = {name: np.zeros_like(x) for name, x in memory.items()}
    elements = [(name, i) for name, x in memory.items() for i in range(x.size)]
    linear = Linear(step, extended(memory))
    road = next(r for r in ROADS if r.can(step))
    where = place(memory)

    def annotated(mode: blasad.activity.Mode) -> Tape:
        tape = Tape(mode)
        for name, x in memory.items():
            tape.duplicated(x, shadow[name], name=name)
        return tape

    with annotated(Reverse) as tape:
        road.call(step, where)
    for name, i, unit in ((n, i, u) for n, i in elements for u in ([1, 1j] if letter in "cz" else [1])):
        for apply in ("reverse", "forward"):
            for x in shadow.values():
                x[:] = 0
            shadow[name][i] = unit
            want = extended(shadow)
            if apply == "reverse":
                linear.pull(want)
                tape.reverse()
            else:
                linear.push(want)
                for n, x in memory.items():
                    x[:] = start[n]
                with annotated(Forward):
                    road.call(step, where)
            got = {n: x.astype(want[n].dtype) for n, x in shadow.items()}
            assert np.array_equal(gather(got, elements), gather(want, elements)), f"{apply} from {name}[{i}] = {unit}"


# ---------------------------------------------------------------- every name


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

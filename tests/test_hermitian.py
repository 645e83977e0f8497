"""Imaginary diagonals of Hermitian matrices (section 4): of an input they are nobody's business, of an output set to 0."""

import numpy as np
import pytest
from blas_trials import elements_of, flag_choices, matrix_of, names, outputs, shapes
from memory_guard import bits
from oracles import extended
from roads import ROADS, place, scalar_letter
from test_rules import dyadic, small
from tracing import Traced

from blasad import Forward, Reverse, Tape

CASES = [
    pytest.param(f, flags, id=f"{f} {''.join(flags.values())}")
    for f in ("hemv", "hbmv", "hpmv", "her", "hpr", "her2", "hpr2", "hemm", "herk", "her2k")
    for flags in flag_choices(f, "z")
]


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("layout", ["col", "row"])
@pytest.mark.parametrize(("family", "flags"), CASES)
def test_imaginary_diagonal(family, flags, layout, mode):
    """NaN there, in memory and in shadows, spoils nothing; that in the shadow of an input stays, bit for bit."""
    step, memory = small(family, "z", flags, layout=layout)
    step |= dict.fromkeys(names(family, "ld"), 5)
    memory = {n: np.resize(x, 30) for n, x in memory.items()}
    for s in names(family, "scalars"):
        real = scalar_letter("z" + family, s) == "d"
        if not (real and layout == "row"):
            memory["P" + s] = np.array([-1.5 if real else 0.5 - 1j])
            step[s] = f"P{s}[0]"
    key = "c" if family in ("herk", "her2k") else matrix_of(family)
    diagonal = elements_of(step, key, shapes(step)[key]).diagonal()
    written = key in outputs(family)
    shadow = {n: dyadic("d" if x.dtype.kind == "f" else "z", x.size, 7) for n, x in memory.items()}
    traced = Traced(step, extended(memory), ["P" + s for s in ("alpha", "beta") if "P" + s in memory])
    want = (traced.pull if mode is Reverse else traced.push)(extended(shadow))
    matrix = key.upper()
    memory[matrix].imag[diagonal] = np.nan
    shadow[matrix].imag[diagonal] = np.nan
    before = bits(shadow[matrix].imag[diagonal])
    with Tape(mode) as tape:
        for n, x in memory.items():
            tape.duplicated(x, shadow[n], name=n)
        next(r for r in ROADS if r.can(step)).call(step, place(memory))
    if mode is Reverse:
        tape.reverse()
    imaginary = shadow[matrix].imag[diagonal].copy()
    shadow[matrix].imag[diagonal] = want[matrix].imag[diagonal] = 0
    for n, x in shadow.items():
        assert np.array_equal(x, want[n]), n
    assert bits(imaginary) == (bits(np.zeros(len(diagonal))) if written else before)


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize(("family", "flags"), [c for c in CASES if c.values[0] not in ("hemv", "hbmv", "hpmv", "hemm")])
def test_early_return(family, flags, k, beta, alpha, mode):
    """A routine that returns at once leaves an imaginary diagonal; its derivative does, whatever scalars are active."""
    step, memory = small(family, "z", flags)
    if "k" in step:
        step["k"] = k
    for s, value in zip(names(family, "scalars"), (alpha, beta), strict=False):
        memory["P" + s] = np.array([value], float if scalar_letter("z" + family, s) == "d" else complex)
        step[s] = f"P{s}[0]"
    shadow = {n: dyadic("d" if x.dtype.kind == "f" else "z", x.size, 7) for n, x in memory.items()}
    traced = Traced(step, extended(memory), ["P" + s for s in names(family, "scalars")])
    want = (traced.pull if mode is Reverse else traced.push)(extended(shadow))
    with Tape(mode) as tape:
        for n, x in memory.items():
            tape.duplicated(x, shadow[n], name=n)
        ROADS[0].call(step, place(memory))
    if mode is Reverse:
        tape.reverse()
    for n, x in shadow.items():
        assert np.array_equal(x, want[n]), n

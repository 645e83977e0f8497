"""Sections 4 and 7: calls that return at once, scalars that are 0, and a change that is undone, of gemm."""

import numpy as np
import pytest
from memory_guard import bits
from roads import CBLAS, DTYPE, FORTRAN, gemm
from test_rules import dyadic

import blasad
from blasad import Forward, Reverse, Tape


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
@pytest.mark.parametrize("letter", "sdcz")
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


@pytest.mark.parametrize("ld", [2, 3])
def test_change_that_is_undone(ld):
    """Section 7: what a call read was not what the last event left, and at the end nobody can see that any more."""
    x = {n: np.arange(1.0, 9.0) for n in "ABC"}
    tape = Tape()
    tape.__enter__()
    for n, v in x.items():
        tape.duplicated(v, np.ones(v.size), name=n)
    gemm(x, "C", "A", "B", lda=ld)
    x["A"][ld] += 1
    gemm(x, "C", "A", "B", lda=ld)
    x["A"][ld] -= 1
    with pytest.raises(blasad.UnseenWriteError, match="A "):
        tape.__exit__(None, None, None)

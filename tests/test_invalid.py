"""Illegal arguments, one at a time, of every routine that checks any (section 4).

The numbers are those of the reference's documentation: the place in the argument list, the layout of CBLAS being its
first. A flag is one of its letters, a dimension is not negative, an increment of level 2 is not 0, and a leading
dimension is at least 1 and at least the rows that are stored; row-major it is the columns.
"""

import ctypes
import re
from typing import Any

import numpy as np
import pytest
from blas_trials import flag_choices, names, plain, shapes
from memory_guard import bits
from oracles import ARGUMENTS, Step
from roads import CBLAS, DTYPE, FLAG_NAMES, FORTRAN, LEVEL1, Road, place
from table import families

import blasad
from blasad import Tape

ROADS = [r for r in FORTRAN + CBLAS if r.how == "wrapped"]
OWN = [FORTRAN[1], CBLAS[1]]  # with 64-bit integers before a BLAS that has 32: blasad says itself what is illegal
NOT_TAKEN = {  # letters of trans that the reference gives to some routines only
    **dict.fromkeys(["csyrk", "zsyrk", "csyr2k", "zsyr2k"], "C"),
    **dict.fromkeys(["cherk", "zherk", "cher2k", "zher2k"], "T"),
}
BAND_ROWS = {"gbmv": lambda s: s["kl"] + s["ku"] + 1} | dict.fromkeys(
    ["sbmv", "hbmv", "tbmv", "tbsv"], lambda s: s["k"] + 1
)


def least(step: Step, family: str, key: str) -> int:
    """Of a leading dimension."""
    if family in BAND_ROWS:
        return int(BAND_ROWS[family](step))
    return max(1, shapes(step)[key.removeprefix("ld")][step.get("layout") == "row"])


def call_of(family: str, letter: str, layout: str) -> Step:
    """A legal one, whose leading dimensions are as small as they may be."""
    dims = {"m": 3, "n": 2, "k": 4, "kl": 1, "ku": 1}
    step = plain(family, letter, flag_choices(family, letter)[0], {d: dims[d] for d in names(family, "dims")})
    if layout == "row":
        step = {"call": step["call"], "layout": "row"} | step
    return step | {ld: least(step, family, ld) for ld in names(family, "ld")}


def each_argument() -> list[object]:
    out = []
    for family, letters in families().items():
        for letter in letters:
            if LEVEL1.fullmatch(letter + family):
                continue
            for key in ARGUMENTS[family].split():
                if FLAG_NAMES.fullmatch(key):
                    values = ["X", *(NOT_TAKEN.get(letter + family, "") if key == "trans" else "")]
                elif key in ("m", "n", "k", "kl", "ku"):
                    values = [-1]
                elif key.startswith("inc"):
                    values = [0]
                elif key.startswith("ld"):
                    values = ["one less"]
                else:
                    continue
                out += [pytest.param(family, letter, key, v, id=f"{letter}{family} {key} {v}") for v in values]
    return out


def run(road: Road, step: Step, capfd: Any) -> tuple[dict[str, bytes], str]:
    """What is left in memory, and what was printed."""
    memory = {n: np.arange(1, 65).astype(DTYPE[step["call"][0]]) for n in (*"ABCXY", "AP")}
    road.call(step, place(memory))
    ctypes.CDLL(None).fflush(None)
    return {n: bits(x) for n, x in memory.items()}, "".join(capfd.readouterr())


@pytest.mark.parametrize(("family", "letter", "key", "value"), each_argument())
def test_one_illegal_argument(family, letter, key, value, capfd):
    """Routine, number and value are told, nothing is recorded, and the BLAS is left to deal with it as without a tape."""
    for road in ROADS + OWN:
        for layout in ["col", "row"] if road.cblas else ["col"]:
            legal = call_of(family, letter, layout)
            bad = legal | {key: legal[key] - 1 if value == "one less" else value}
            with Tape(undeclared="constant") as tape:
                run(road, legal, capfd)
            assert len(tape) == 1
            plainly = run(road, bad, capfd)
            tape = Tape(undeclared="constant")
            tape.__enter__()
            recorded = run(road, bad, capfd)
            number = ARGUMENTS[family].split().index(key) + 1 + road.cblas
            shown = "" if FLAG_NAMES.fullmatch(key) and road.cblas else repr(bad[key]) + " is illegal"
            said = rf"{letter}{family} .*: argument {number} \({key}\) = {re.escape(shown)}"
            with pytest.raises(blasad.InvalidCallError, match=said):
                tape.__exit__(None, None, None)
            assert len(tape) == 0
            assert recorded == plainly, f"{bad} by {road}"
            if road in OWN:
                assert f"argument {number} had an illegal value" in recorded[1]
                assert all(x == bits(np.arange(1, 65).astype(DTYPE[letter])) for x in recorded[0].values())

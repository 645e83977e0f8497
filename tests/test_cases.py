"""The cases from the field, by every way in; those that wait are listed in waiting.py, with what for."""

import subprocess
import sys

import pytest
from casebook import NAMES, Case, Run, check, load, outcome, unknown_routines, ways
from oracles import CASES
from roads import ROADS
from waiting import WAITING

import blasad


def passing() -> list[object]:
    return [
        pytest.param(run, id=f"{name}: {way}") for name in NAMES if name not in WAITING for way, run in ways(load(name))
    ]


@pytest.mark.parametrize("run", passing())
def test_case(run):
    run()


def test_reference_confirms_every_case():
    """The expectations of the cases, recomputed without BLAS and without rules."""
    done = subprocess.run([sys.executable, CASES / "reference.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(NAMES)} cases, 0 failed" in done.stdout


@pytest.mark.parametrize("name", sorted(WAITING))
def test_waiting_case_does_wait(name):
    """The list cannot rot: its cases exist, cannot pass, and lack just those routines that it names."""
    case = load(name)
    assert WAITING[name].routines.split() == unknown_routines(case)
    good, bad = outcome(name)
    assert not good, f"{name} passes; take it off the list"
    assert bad
    assert WAITING[name].features or WAITING[name].routines


def test_cases_say_what_is_wrong():
    """The runner itself: numbers that are not the case's are noticed, in every table."""
    for name, table, buffer in (
        ("seed_square", "expect", "B"),
        ("seed_square", "expect", "R"),
        ("beta_zero_nan", "primal", "C"),
    ):
        case = load(name)
        road_name, run = next(iter(ways(case)))
        values = case.tables[table][buffer]
        values[0][0] = values[0][0] + 1e-9
        with pytest.raises(AssertionError, match=buffer):
            run()
        assert road_name


SECOND_ORDER = """
title  = "The gradient of sum((M t)^2), by products"
source = "nested_gemv.toml, with dgemm and a refilled buffer"
kind   = "second-order"
why    = "The only case of this kind needs ddot."
program = [
    { call = "dgemm", transa = "N", transb = "N", m = 2, n = 1, k = 2, alpha = 1.0, a = "M", lda = 2, b = "t", ldb = 2, beta = 0.0, c = "y", ldc = 2 },
    { host = "assign", to = "u", values = [5.0, 6.0] },
    { call = "dgemm", transa = "T", transb = "N", m = 1, n = 1, k = 2, alpha = 1.0, a = "y", lda = 2, b = "y", ldb = 2, beta = 0.0, c = "z", ldc = 1 },
    { call = "dgemm", transa = "T", transb = "N", m = 1, n = 1, k = 2, alpha = 1.0, a = "u", lda = 2, b = "t", ldb = 2, beta = 1.0, c = "z", ldc = 1 },
]
buffers.t = { dtype = "d", shape = [2], values = [1.0, 2.0], activity = "duplicated" }
buffers.u = { dtype = "d", shape = [2], values = [9.0, 9.0], activity = "duplicated" }
buffers.z = { dtype = "d", shape = [1], values = [0.0], activity = "duplicated" }
buffers.M = { dtype = "d", shape = [2, 2], values = [[1.0, 2.0], [0.0, 1.0]], activity = "const" }
buffers.y = { dtype = "d", shape = [2], values = [0.0, 0.0], activity = "scratch" }
seed = { z = [1.0] }
tangent = { t = [1.0, 1.0] }
expect = { t = [15.0, 30.0], u = [0.0, 0.0], z = [0.0] }
expect_tangent = { t = [6.0, 14.0], u = [0.0, 0.0], z = [0.0] }
"""


def test_second_order(tmp_path):
    """The runner, on what no case of the field yet needs: a tangent layer around, and announced writes."""
    file = tmp_path / "second.toml"
    file.write_text(SECOND_ORDER)
    done = subprocess.run([sys.executable, CASES / "reference.py", file], capture_output=True, text=True, check=False)
    assert "1 cases, 0 failed" in done.stdout, done.stdout + done.stderr
    for road in (ROADS[0], ROADS[4], ROADS[-1]):
        check(Case(file), road)
    file.write_text(SECOND_ORDER.replace("[6.0, 14.0]", "[6.0, 14.1]"))
    with pytest.raises(AssertionError, match=r"expect_tangent.* t is"):
        check(Case(file), ROADS[0])
    file.write_text(SECOND_ORDER.replace('"assign"', '"write"'))
    with pytest.raises(blasad.UnseenWriteError):
        check(Case(file), ROADS[0])


def test_padding_is_compared_bit_for_bit():
    case = load("padded_blocks")
    run = Run(case, None)
    before = {n: x.copy() for n, x in run.memory.items()}
    run.memory["A"][0] = -run.memory["A"][0]  # another NaN
    with pytest.raises(AssertionError, match="memory of A"):
        run.check_untouched(before, run.memory, "memory")


def test_report(capsys):
    """`python tests/cases_report.py` tells which pass and which wait; here of two."""
    import cases_report

    assert cases_report.main(["seed_square", "pointer_taken_before"]) == 0
    said = capsys.readouterr().out
    assert "passes  seed_square" in said
    assert "waits   pointer_taken_before" in said
    assert "interception" in said

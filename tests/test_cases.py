"""The cases from the field, by every way in; those that wait are listed in waiting.py, with what for."""

import subprocess
import sys

import pytest
from casebook import NAMES, Run, load, outcome, unknown_routines, ways
from oracles import CASES
from waiting import WAITING


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

    assert cases_report.main(["seed_square", "zero_input"]) == 0
    said = capsys.readouterr().out
    assert "passes  seed_square" in said
    assert "waits   zero_input" in said
    assert "routines dgemv ddot" in said

"""The table of what the tests check (./dev coverage); that it says no more than they do is seen at the end of a run."""

from pathlib import Path

import pytest
from table import BATCHES, NO_RULE, families

from blasad import coverage
from blasad.cli import main

TABLE = coverage.load()


def test_it_has_every_routine():
    known = {routine: entry["types"] for routine, entry in TABLE.items() if routine not in BATCHES}
    assert {routine: types for routine, types in known.items() if "reason" not in TABLE[routine]} == families()
    assert known.keys() - families() == {*NO_RULE, "amax", "amin"}


@pytest.mark.parametrize("routine", TABLE)
def test_a_routine_has_a_derivative_or_a_reason(routine):
    entry = TABLE[routine]
    if "reason" in entry:
        return
    for mode in ("reverse", "forward") if routine in BATCHES else coverage.MODES:
        assert entry.get(mode) == entry["types"], mode


def test_it_is_shown(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["blasad", "info", "--routines"])
    assert main() == 0
    shown = capsys.readouterr().out
    for row in coverage.rows(TABLE):
        assert "  ".join(row).split() in [line.split() for line in shown.splitlines()]


def test_the_page_is_the_table():
    page = Path(__file__).parents[1] / "docs" / "routines.md"
    if page.exists():  # not beside an installed package
        assert page.read_text() == coverage.as_markdown(TABLE)

"""Hypothesis's settings, and what the tests have checked: which derivatives of which routines.

A test says so by the fixture `checked`. With --write-coverage only such tests run, and their result becomes
blasad/coverage.json and docs/routines.md; a run of all tests fails if that file says more than it has seen.
"""

import json
import os
import tomllib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Examples are small programs that take milliseconds; what the machine does besides is no failure of theirs.
common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("local", print_blob=True, **common)
# The same examples in every run: a change is judged by what it breaks, not by luck.
settings.register_profile("ci", derandomize=True, print_blob=True, **common)
settings.load_profile("ci" if os.environ.get("CI") else "local")

ROOT = Path(__file__).resolve().parents[1]
Cell = tuple[str, str, str]  # family, letter, mode
seen: dict[bool, set[Cell]] = defaultdict(set)  # by whether the test passed


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-coverage", action="store_true", help="run what checks derivatives, and write the table")


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    if config.getoption("write_coverage"):
        items[:] = [item for item in items if "checked" in item.fixturenames]


@pytest.fixture
def checked(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Notes that this test, if it passes, has checked a derivative: of gemm, d, reverse."""
    return lambda family, letter, mode: request.node.user_properties.append(("checked", (family, letter, mode)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        seen[report.passed].update(tuple(cell) for key, cell in report.user_properties if key == "checked")


def table() -> dict[str, Any]:
    """What the run has seen, in the order of the table of routines."""
    data = tomllib.loads((ROOT / "csrc" / "routines.toml").read_text())
    out: dict[str, Any] = {}
    for entry in data["routine"] + data["sequence"]:
        modes: dict[str, str] = {}
        for family, letter, mode in sorted(seen[True] - seen[False], key=lambda c: "sdcz".index(c[1])):
            if family == entry["name"]:
                modes[mode] = modes.get(mode, "") + letter
        reason = {"reason": entry["reason"]} if "reason" in entry else {}
        called = entry.get("names", {})
        called = {"called": " ".join(called.values())} if len(called) == len(entry["types"]) else {}
        out[entry["name"]] = {"types": entry["types"], **called, **reason, **dict(sorted(modes.items()))}
    return out


def is_whole(config: pytest.Config) -> bool:
    """Whether nothing was left out."""
    some = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "maxfail", "collectonly")
    return not any(config.getoption(o, None) for o in some) and [Path(a).resolve() for a in config.args] == [
        ROOT / "tests"
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput") or not (ROOT / "csrc").exists() or not is_whole(config):
        return
    from blasad import coverage

    now = table()
    if config.getoption("write_coverage"):
        (ROOT / "blasad" / "coverage.json").write_text(json.dumps(now, indent=1) + "\n")
        (ROOT / "docs" / "routines.md").write_text(coverage.as_markdown(now))
        return
    excess = [
        f"{family} {letter} {mode}"
        for family, entry in coverage.load().items()
        for mode in coverage.MODES
        for letter in entry.get(mode, "")
        if letter not in now.get(family, {}).get(mode, "")
    ]
    if excess:
        print(f"\nblasad/coverage.json says more than the tests have checked: {', '.join(excess)}; ./dev coverage")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

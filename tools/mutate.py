#!/usr/bin/env python3
"""Breaks the C core, one decision at a time, and looks whether a test notices.

    ./dev editable python tools/mutate.py                 every mutation of tools/mutations.py
    ./dev editable python tools/mutate.py --only 'save|need'    those whose name or file matches
    ./dev editable python tools/mutate.py --check         only whether each mutation still fits the sources

A copy of the sources is built in a folder of its own, and the tests run against that: the one that the mutation names,
the C programs, random programs, and some of the Python tests, up to the first one that fails. "SURVIVED" means that
none did: a test is missing, or the line does nothing. Exit status 1 if there is one. What was killed is noted in the
folder and not tried again, so that the table can be made in parts; --again begins anew.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[1]
# Those that notice soonest first. Not: fork, fork_locks, memory, memory_scratch, wide: slow, and about something else.
C_TESTS = [
    "announce",
    "nesting",
    "operation",
    "saves",
    "regions",
    "fingerprint",
    "errors",
    "reverse",
    "forward",
    "rule_scalars",
    "returned",
    "active_zero",
    "by_value",
    "scalar_cache",
    "scalar_unread",
    "freed",
    "quick_return",
    "backend",
    "widths",
    "hidden_lengths",
    "threads",
    "all_threads",
    "stacks",
    "views_overlap",
    "scratch",
    "parts",
    "copies",
    "recognize",
    "kernels",
    "vectors",
    "vectors_nested",
]
CAMPAIGNS = (("gemm", "0", "300"), ("gemm", "300", "1200"), ("all", "0", "500"))  # routines, first program, programs
# Not: test_package.py, which is about an installed package, and those on all shapes of calls, which are slow: mutations
# of a routine's rule name the part of test_rules.py that is about the routine.
PY_TESTS = [
    "returned",
    "announcements",
    "operations",
    "batch",
    "interface",
    "errors",
    "nesting",
    "threads",
    "hermitian",
    "second_order",
    "rotations",
]
PATIENCE = 150  # seconds for one stage; a mutant that hangs is noticed, too


class Stage(NamedTuple):
    name: str
    command: list[str]


def scipys_blas() -> str:
    """The OpenBLAS that SciPy brought, for the C programs."""
    import scipy  # type: ignore[import-untyped,unused-ignore]

    return str(next(Path(scipy.__file__).parents[1].glob("scipy.libs/*openblas*")))


class Workshop:
    """The sources, a build of them, and a package that Python imports from there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.build, self.log = folder, folder / "build", folder / "killed.jsonl"
        self.blas = scipys_blas()
        site = folder / "site"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(site),
            "OPENBLAS_NUM_THREADS": "1",
            "CI": "1",  # the same examples always
        }
        self.copy_sources()
        again = ["--reconfigure"] if (self.build / "build.ninja").exists() else []  # it lists the C programs
        self.must("meson", "setup", *again, str(self.build), str(folder / "tree"), "-Dctests=true", "-Doptimization=1")
        package = site / "blasad"
        shutil.rmtree(site, ignore_errors=True)
        package.mkdir(parents=True)
        for source in (folder / "tree" / "blasad").iterdir():
            package.joinpath(source.name).symlink_to(source)
        for name in ("libblasad.so", "_core.abi3.so"):
            package.joinpath(name).symlink_to(self.build / name)
        # An editable installation finds its package ahead of any path: here it must not.
        hook = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'esonpy' not in type(f).__name__]\n"
        (site / "sitecustomize.py").write_text(hook)

    def copy_sources(self) -> None:
        """As they are now; files that are the same keep their time, so that little is built again."""
        tree = self.folder / "tree"
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        wanted = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
        for old in [p for p in tree.rglob("*") if p.is_file() and str(p.relative_to(tree)) not in wanted]:
            old.unlink()
        for name in wanted:
            new = (ROOT / name).read_bytes()
            path = tree / name
            if not path.exists() or path.read_bytes() != new:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(new)

    def must(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)

    def run(self, command: list[str]) -> tuple[bool | None, str]:
        """Whether it passes (None: it did not end), and what it printed."""
        # Python looks for packages where it is started, and must not find the sources.
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                text, _ = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return None, process.communicate()[0]
        return process.returncode == 0, text

    def stages(self) -> Iterator[Stage]:
        for name in C_TESTS:
            yield Stage(f"tests/c/{name}", ["env", f"BLASAD_BACKEND={self.blas}", str(self.build / f"ctest_{name}")])
        python, tree = [sys.executable, "-P"], self.folder / "tree"
        for routines, first, programs in CAMPAIGNS:
            given = ["--routines", routines, "--first", first, "--programs", programs]
            yield Stage("campaign", [*python, str(tree / "tools" / "campaign.py"), *given])
        for name in PY_TESTS:
            yield self.pytest(f"test_{name}.py")

    def pytest(self, test: str) -> Stage:
        """A file, and which of its tests."""
        tree, (file, *chosen) = self.folder / "tree", shlex.split(test)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-c", str(tree / "pyproject.toml"), f"--rootdir={tree}"]
        return Stage(file, [sys.executable, "-P", "-m", "pytest", *options, str(tree / "tests" / file), *chosen])

    def builds(self, targets: list[str]) -> bool:
        command = ["ninja", "-C", str(self.build), *targets]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def killer(self, tests: Iterable[str]) -> str | None:
        """What the sources as they are now fail, or None. `tests` run first."""
        libraries, programs = ["libblasad.so", "_core.abi3.so"], [f"ctest_{name}" for name in C_TESTS]
        for targets, stages in ((libraries, map(self.pytest, tests)), (programs, self.stages())):
            if not self.builds(targets):
                return "the compiler"
            for stage in stages:
                passes, text = self.run(stage.command)
                if passes is None:
                    return f"{stage.name} (does not end)"
                if not passes:
                    failed = re.search(r"^(?:FAILED|ERROR) \S*?::(.+?)(?: - .*)?$", text, re.MULTILINE)
                    return f"{stage.name} {failed[1][:60]}" if failed else stage.name
        return None

    def killed_before(self) -> dict[str, tuple[str, float]]:
        if not self.log.exists():
            return {}
        notes = map(json.loads, self.log.read_text().splitlines())
        return {n["mutation"]: (n["killer"], n["seconds"]) for n in notes}

    def try_mutation(self, m: Mutation) -> tuple[str | None, float]:
        path, start = self.folder / "tree" / "csrc" / m.file, time.monotonic()
        text = path.read_text()
        path.write_text(text.replace(m.old, m.new))
        try:
            killer = self.killer([m.test] if m.test else [])
        finally:
            path.write_text(text)
        seconds = time.monotonic() - start
        if killer and killer != "the compiler":
            with self.log.open("a") as log:
                log.write(json.dumps({"mutation": mark(m), "killer": killer, "seconds": seconds}) + "\n")
        return killer, seconds


def mark(m: Mutation) -> str:
    return hashlib.sha256(repr(m).encode()).hexdigest()[:16]


def misfits() -> list[str]:
    """Mutations that are not about exactly one place of the sources."""
    bad = [
        f"two mutations are called {m.name}"
        for i, m in enumerate(MUTATIONS)
        if m.name in {n.name for n in MUTATIONS[:i]}
    ]
    for m in MUTATIONS:
        count = (ROOT / "csrc" / m.file).read_text().count(m.old)
        if count != 1:
            bad.append(f"{m.name}: found {count} times in {m.file}: {m.old}")
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help="a regular expression")
    parser.add_argument("--check", action="store_true", help="build and run nothing")
    parser.add_argument("--again", action="store_true", help="also what was killed before")
    parser.add_argument("--work", type=Path, default=ROOT / ".dev" / "mutate", metavar="FOLDER")
    given = parser.parse_args()
    if bad := misfits():
        print("tools/mutations.py is out of date:", *bad, sep="\n  ")
        return 1
    chosen = [m for m in MUTATIONS if re.search(given.only, f"{m.name} {m.file}")]
    if given.check:
        print(f"{len(MUTATIONS)} mutations, each about one place of the sources")
        return 0
    given.work.mkdir(parents=True, exist_ok=True)
    shop = Workshop(given.work.resolve())
    before = {} if given.again else shop.killed_before()
    new = [m for m in chosen if mark(m) not in before]
    if new and (failed := shop.killer(sorted({m.test for m in new} - {""}))):
        print(f"without any mutation: {failed} fails")
        return 1
    survivors = []
    print(f"{'mutation':48} {'killed by':70} seconds")
    for m in chosen:
        killer, seconds = before.get(mark(m)) or shop.try_mutation(m)
        if killer is None or killer == "the compiler":
            survivors.append(m.name)
        told = "DOES NOT COMPILE" if killer == "the compiler" else killer or "SURVIVED"
        print(f"{m.name:48} {told:70} {seconds:7.0f}", flush=True)
    print(f"\n{len(chosen)} mutations, {len(chosen) - len(survivors)} killed", *survivors, sep="\n  survived: ")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

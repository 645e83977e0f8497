"""Runs every reproducer through every way into blasad and prints a table of their exit statuses.

With --break-zeroing a copy of the C core is built in which an output's shadow is not cleared after its adjoint, and the
reproducers are run on that: those that look at the shadow, or count a gradient twice because of it, must fail.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ways

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = sorted(p for p in HERE.glob("*.py") if p.name not in ("ways.py", "run_all.py"))
DO_NOT_NOTICE = {"forward_mode.py"}  # clearing belongs to the reverse pass

RULE = "csrc/rules_level3.c"
ZEROING = "bl_tscal(to, g.type, g.uplo, g.m, g.n, 'C', beta, G);"


def build_without_zeroing(folder: Path) -> Path:
    """Builds a blasad in `folder` that leaves shadows of outputs as they were; returns what to put on Python's path."""
    source, build, site = folder / "source", folder / "build", folder / "site"
    for part in ("blasad", "csrc", "tools"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("meson.build", "meson.options", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    rule = source / RULE
    text = rule.read_text()
    if text.count(ZEROING) != 1:
        sys.exit(f"{RULE} does not clear the shadow where --break-zeroing looks for it; correct ZEROING in {__file__}")
    rule.write_text(text.replace(ZEROING, "(void)G;"))
    for tool in ("meson", "ninja"):
        if not shutil.which(tool):
            sys.exit(
                f"--break-zeroing builds the C core and needs {tool}, which is not on PATH: pip install meson ninja"
            )
    native = folder / "native.ini"
    native.write_text(f"[binaries]\npython = '{sys.executable}'\n")
    for command in (
        ["meson", "setup", str(build), str(source), "--native-file", str(native)],
        ["ninja", "-C", str(build)],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{done.stdout}\n{' '.join(command)} failed")
    shutil.copytree(source / "blasad", site / "blasad")
    for library in build.glob("*.so"):
        shutil.copy(library, site / "blasad")
    return site


def check_path(environment: dict[str, str], site: Path) -> None:
    """An editable install may get ahead of Python's path; then the wrong blasad would be run."""
    command = [sys.executable, "-c", "import blasad; print(blasad.__file__)"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if not done.stdout.startswith(str(site)):
        sys.exit(f"Python finds another blasad than the one just built: {done.stdout or done.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--break-zeroing", action="store_true", help="on a build without the zeroing (needs meson, ninja)"
    )
    broken = parser.parse_args().break_zeroing
    columns = [(way, integers) for way in ways.WAYS for integers in ways.INTEGERS]
    environment = dict(os.environ)

    with tempfile.TemporaryDirectory() as folder:
        if broken:
            site = build_without_zeroing(Path(folder).resolve())
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), environment.get("PYTHONPATH")]))
            check_path(environment, site)

        def run(job: tuple[Path, str, int]) -> subprocess.CompletedProcess[str]:
            script, way, integers = job
            command = [sys.executable, str(script), "--way", way, "--integers", str(integers)]
            return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

        jobs = [(script, way, integers) for script in SCRIPTS for way, integers in columns]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = dict(zip(jobs, pool.map(run, jobs), strict=True))

    print("exit statuses" + (" where the shadow of an output is not cleared" if broken else ""))
    print(" " * 32 + "".join(f"{f'{way}/{integers}':>12}" for way, integers in columns))
    surprises = []
    for script in SCRIPTS:
        row = [results[script, way, integers] for way, integers in columns]
        should_fail = broken and script.name not in DO_NOT_NOTICE
        # 1 is an expectation that does not hold; a crash, or a way that is not there, is no such thing
        bad = [
            done for done in row if done.returncode != int(should_fail) or (should_fail and "WRONG" not in done.stdout)
        ]
        surprises += bad
        note = f"   should be {int(should_fail)}" if bad or broken else ""
        print(f"{script.name:<32}" + "".join(f"{done.returncode:>12}" for done in row) + note)
    for done in surprises:
        print(f"\n{' '.join(map(str, done.args))}\n{done.stdout}")
    return int(bool(surprises))


if __name__ == "__main__":
    sys.exit(main())

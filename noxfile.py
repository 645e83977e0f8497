"""What contributors and CI run; `./dev NAME` runs the session of that name, `./dev` lists them."""

import os
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import nox

nox.needs_version = ">= 2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.envdir = ".dev/envs"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["test"]

ROOT = Path(__file__).parent
DEV = ROOT / ".dev"
PYPROJECT = nox.project.load_toml("pyproject.toml")
BUILD = PYPROJECT["build-system"]["requires"]
GROUPS = PYPROJECT["dependency-groups"]

# In CI a skipped test is a failure, or one that is skipped everywhere would not be missed. Names of
# tests (as pytest prints them, without parameters) that may be skipped there, each with its reason.
MAY_SKIP: dict[str, str] = {}


def run_pytest(session: nox.Session, tree: Path, arguments: list[str]) -> None:
    """Runs the tests of `tree` on the package that is installed in the session.

    The working directory is another folder: Python puts it on its path in half a dozen ways (`-c`,
    `-m`, child processes of tests), and in `tree` it would find the package's sources.
    """
    elsewhere = DEV / "cwd"
    elsewhere.mkdir(exist_ok=True)
    report = DEV / f"{session.name}.xml"

    def absolute(argument: str) -> str:
        """Paths as the caller sees them, and as pytest prints them, are relative to different folders."""
        path, *test = argument.split("::")
        found = [base / path for base in (tree, elsewhere) if (base / path).exists()]
        return "::".join([str(found[0].resolve()), *test]) if found else argument

    given = [absolute(a) for a in arguments]
    if given == arguments:
        given.append(str(tree / "tests"))
    with session.chdir(elsewhere):
        session.run(
            "pytest",
            f"--config-file={tree / 'pyproject.toml'}",
            f"--rootdir={tree}",
            f"--junitxml={report}",
            "--numprocesses=auto",
            *given,
            # The test processes share the cores already, and threads that spin for work slow them down.
            env={"OPENBLAS_NUM_THREADS": "1"},
        )
    skipped = {
        f"{case.get('classname')}.{case.get('name', '').split('[')[0]}"
        for case in ET.parse(report).iter("testcase")
        if any(s.get("type") == "pytest.skip" for s in case.iter("skipped"))
    }
    hidden = sorted(skipped - MAY_SKIP.keys())
    if hidden and os.environ.get("CI"):
        session.error("skipped, and MAY_SKIP in noxfile.py does not say why: " + ", ".join(hidden))


@nox.session
def demo(session: nox.Session) -> None:
    """Install blasad and show what it does."""
    session.install(".")
    session.run("blasad", "demo", *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """Install blasad and run the tests; arguments go to pytest."""
    session.install(*GROUPS["test"], ".")
    run_pytest(session, ROOT, session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run what checks derivatives, and write blasad/coverage.json and docs/routines.md from it."""
    session.install(*GROUPS["test"], ".")
    run_pytest(session, ROOT, ["--write-coverage"])


@nox.session
def editable(session: nox.Session) -> None:
    """Make .dev/envs/editable, where importing blasad rebuilds what has changed; arguments are a command to run."""
    # Without isolation: a rebuild needs the build tools that the first build had.
    session.install(*BUILD, "ninja", *GROUPS["test"])
    session.install("--no-build-isolation", "--editable", ".")
    if session.posargs:
        session.run(*session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check formatting, common mistakes and types; `./dev lint fix` mends what can be mended."""
    session.install(*GROUPS["lint"], *GROUPS["test"], *BUILD, "numpy")
    c_files = sorted(str(p.relative_to(ROOT)) for d in ("csrc", "tests", "tools") for p in (ROOT / d).rglob("*.[ch]"))
    if session.posargs == ["fix"]:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
        session.run("clang-format", "-i", *c_files)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("clang-format", "--dry-run", "-Werror", *c_files)


# Each with what its run-time library is told, and the programs of tests/c that are run ([]: all). Under the thread
# sanitizer those with threads in them and those with the most memory: it replaces malloc, as the others do themselves.
SANITIZERS = {
    "address,undefined": (
        ["libasan.so", "libubsan.so"],
        {
            "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1",
            "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
        },
        [],
    ),
    "thread": (
        ["libtsan.so"],
        {"TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0"},
        ["threads", "fork_locks", "nesting", "operation", "scratch"],
    ),
}


@nox.session
def sanitize(session: nox.Session) -> None:
    """Build with sanitizers and run the programs of tests/c and a sample of the campaign."""
    session.install(*BUILD, "ninja", "scipy", "cffi")
    for kind, (libraries, options, programs) in SANITIZERS.items():
        build = DEV / f"sanitize-{kind.split(',')[0]}"
        shutil.rmtree(build, ignore_errors=True)
        session.run(
            "meson",
            "setup",
            str(build),
            "--buildtype=debugoptimized",
            f"-Db_sanitize={kind}",
            # An executable brings the sanitizers' functions, libraries leave them open.
            "-Db_lundef=false",
            "-Dctests=true",
            "-Dwerror=true",
        )
        session.run("meson", "compile", "-C", str(build))
        env = {
            **options,
            # The programs need some BLAS, and this machine is sure to have the one of SciPy's wheel.
            "BLASAD_BACKEND": scipys_blas(session),
        }
        session.run("meson", "test", "-C", str(build), "--print-errorlogs", *(session.posargs or programs), env=env)
        if session.posargs:
            continue
        # Python is not built with them: they are loaded ahead of it, and what it never frees is not ours.
        package = build / "site" / "blasad"
        package.mkdir(parents=True)
        for file in [*(ROOT / "blasad").glob("*.py"), *build.glob("*.so")]:
            (package / file.name).symlink_to(file)
        find = [
            str(session.run("cc", f"-print-file-name={lib}", silent=True, external=True)).strip() for lib in libraries
        ]
        env |= {
            "LD_PRELOAD": ":".join(find),
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": str(build / "site"),
        }
        session.run("python", "-P", str(ROOT / "tools" / "campaign.py"), "--programs", "1500", env=env)
        session.run(
            *("python", "-P", str(ROOT / "tools" / "campaign.py"), "--routines", "all", "--programs", "300"), env=env
        )


def scipys_blas(session: nox.Session) -> str:
    """The OpenBLAS that the session's SciPy brought."""
    find = "import pathlib, scipy; print(*pathlib.Path(scipy.__file__).parents[1].glob('scipy.libs/*openblas*'))"
    found = str(session.run("python", "-c", find, silent=True)).split()
    if not found:
        session.error("this SciPy brings no OpenBLAS of its own; name a BLAS in BLASAD_BACKEND")
    return found[0]


@nox.session
def reproducers(session: nox.Session) -> None:
    """Run every script of tools/reproducers through every way into blasad."""
    # Built with csrc/abi3/Python.h, as on a machine without python3-dev: it must not rot unseen.
    session.install(".", "--config-settings=setup-args=-Dpython_headers=own")
    session.install(*BUILD, "ninja")
    script = str(ROOT / "tools" / "reproducers" / "run_all.py")
    with session.chdir(session.create_tmp()):
        session.run("python", script, *session.posargs)
        if not session.posargs:
            # And that they would notice: on a core whose adjoints leave the output's shadow, they have to fail.
            session.run("python", script, "--break-zeroing")


@nox.session(reuse_venv=False)
def wheel(session: nox.Session) -> None:
    """Build the sdist and, from it, the wheel; run the tests of the one on the other, away from the sources."""
    session.install("build[virtualenv]", *GROUPS["test"])
    dist = DEV / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist))
    (sdist,), (built,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    if "-cp311-abi3-linux_" not in built.name:
        session.error(f"{built.name} should carry the tag cp311-abi3")

    # The tests come out of the sdist, which therefore has to be complete; its sources of the package go,
    # so that there is but one blasad to import.
    unpacked = DEV / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.unpack_archive(sdist, unpacked)
    (tree,) = unpacked.iterdir()
    shutil.rmtree(tree / "blasad")

    session.install(str(built))
    # Those of every rule take as long as all others together, and what they test is not how it is packed.
    run_pytest(session, tree, session.posargs or [f"--ignore={(tree / 'tests' / 'test_rules.py').resolve()}"])

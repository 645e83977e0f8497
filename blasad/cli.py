"""The command ``blasad``."""

import argparse
import collections
import ctypes
import platform
import sys
import textwrap

import numpy as np
import scipy

import blasad

from . import coverage
from .backend import describe_backend, names
from .demo import demo


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="blasad", description="Derivatives of programs at their BLAS calls.")
    parser.add_argument("--version", action="version", version=f"blasad {blasad.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("demo", help="three products through raw pointers, and their gradients").set_defaults(run=demo)
    about = commands.add_parser("info", help="versions, the BLAS behind, the names that have an entry")
    about.add_argument("--routines", action="store_true", help="instead: the derivatives that the tests have checked")
    about.set_defaults(run=info)
    arguments = parser.parse_args()
    try:
        status: int = routines() if getattr(arguments, "routines", False) else arguments.run()
    except blasad.BlasadError as error:
        print(f"blasad: {error}", file=sys.stderr)
        return 1
    return status


def info() -> int:
    """Prints what a bug report should say of an installation."""
    path, bits = describe_backend()
    rows = {
        "blasad": f"{blasad.__version__} ({blasad.__path__[0]})",
        "Python": f"{platform.python_version()} on {platform.machine()}",
        "NumPy, SciPy": f"{np.__version__}, {scipy.__version__}",
        "BLAS behind": f"{path} ({_implementation(path)}), {bits}-bit integers" if path else "none",
    }
    for name, value in rows.items():
        print(f"{name + ':':<14}{value}")
    for letters, patterns in _families().items():
        print(f"Names with an entry, ? being one of {' '.join(letters)}:")
        print(textwrap.fill("  ".join(patterns), width=98, initial_indent="  ", subsequent_indent="  "))
    return 0


def routines() -> int:
    """Prints which derivatives the tests have checked, of which routines and types."""
    print(coverage.as_text(coverage.load()))
    print(textwrap.fill(coverage.CAPTION, width=98))
    return 0


def _implementation(path: str) -> str:
    """Which BLAS that is, as far as it can be asked."""
    if path == "scipy.linalg.cython_blas":
        blas = scipy.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    library = ctypes.CDLL(path)
    for name in (
        "openblas_get_config",
        "openblas_get_config64_",
        "scipy_openblas_get_config",
        "scipy_openblas_get_config64_",
    ):
        function = getattr(library, name, None)
        if function:
            function.restype = ctypes.c_char_p
            return str(function().decode().strip())
    return "it does not say which"


def _families() -> dict[str, list[str]]:
    """The names, those that differ in the letter of the type only told as one; by the letters there are."""
    letters: dict[str, set[str]] = collections.defaultdict(set)
    forms = {name: [(f"{name[:i]}?{name[i + 1 :]}", c) for i, c in enumerate(name) if c in "sdcz"] for name in names()}
    for candidates in forms.values():
        for pattern, letter in candidates:
            letters[pattern].add(letter)
    families: dict[str, list[str]] = {}
    for candidates in forms.values():
        pattern = max((pattern for pattern, _ in candidates), key=lambda p: len(letters[p]))
        found = families.setdefault("".join(c for c in "sdcz" if c in letters[pattern]), [])
        if pattern not in found:
            found.append(pattern)
    return families

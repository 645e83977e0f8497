#!/usr/bin/env python3
"""Tries every combination of what a call can have, where the tests try a covering array of strength 3.

    ./dev editable python tools/product.py dtrsv zher2      these routines: hours each
    ./dev editable python tools/product.py                  all of them: weeks
    ./dev editable python tools/product.py --every 1000     each thousandth combination, other ones with another --first

Flags, mode and all parameters of tests/blas_trials.py, which says what has to hold. Prints a line for each routine, and
the first combination that fails. Exit status 1 if one does.
"""

import argparse
import itertools
import multiprocessing
import os
import sys
from pathlib import Path
from zlib import crc32

sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))
from blas_trials import (  # type: ignore[import-not-found,unused-ignore]
    Trial,
    flag_choices,
    parameters,
)
from table import families  # type: ignore[import-not-found,unused-ignore]

from blasad import Forward, Reverse


def combinations(routine: str, every: int, first: int) -> int:
    """Tries them; how many. AssertionError, or whatever else it fails with, names the combination."""
    letter, family, tried = routine[0], routine[1:], 0
    levels = parameters(family, letter)
    product = itertools.product(flag_choices(family, letter), (Reverse, Forward), *levels.values())
    for number, (flags, mode, *row) in enumerate(itertools.islice(product, first, None, every)):
        trial = Trial(family, letter, flags, mode, dict(zip(levels, row, strict=True)), crc32(f"{number}".encode()))
        try:
            trial.run()
        except Exception as error:
            error.add_note(str(trial))
            raise
        tried += 1
    return tried


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("routines", nargs="*", metavar="ROUTINE", help="dgemv; all, if none is named")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    every = [letter + family for family, letters in families().items() for letter in letters]
    if unknown := set(given.routines) - set(every):
        parser.error(f"no such routine: {', '.join(sorted(unknown))}")
    failed = False
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        found = {r: pool.apply_async(combinations, (r, given.every, given.first)) for r in given.routines or every}
        for routine, result in found.items():
            try:
                print(f"{routine:8} {result.get():>12} combinations", flush=True)
            except Exception as error:
                failed = True
                print(f"{routine:8} FAILS: {error}", *getattr(error, "__notes__", ()), sep="\n    ", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

"""Which cases of tests/cases pass, by how many ways in, and which wait for what.

python tests/cases_report.py            the table
python tests/cases_report.py NAME ...   these cases, with every way and what it raised
"""

import sys

from casebook import NAMES, load, outcome
from waiting import WAITING


def main(names: list[str]) -> int:
    wrong, passing, ways = 0, 0, 0
    for name in names or NAMES:
        good, bad = outcome(name)
        ways += len(good)
        if name in WAITING:
            verdict, text = (
                ("waits", f"for {WAITING[name]}") if bad or not good else ("PASSES", "though tests/waiting.py lists it")
            )
        else:
            verdict, text = (
                ("passes", f"{len(good)} ways in") if good and not bad else ("FAILS", "; ".join(bad) or "no way in")
            )
            passing += verdict == "passes"
        wrong += verdict.isupper()
        print(f"{verdict:7} {name:28} {load(name).kind:14} {text}")
        for line in [*good, *bad] if names else ():
            print(f"        {line}")
    waiting = sum(n in WAITING for n in names or NAMES)
    print(f"{passing} cases pass, by {ways} ways in all; {waiting} wait; {wrong} are not as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

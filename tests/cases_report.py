"""Which cases of tests/cases pass, by how many ways in, and which wait for what.

python tests/cases_report.py            the table
python tests/cases_report.py NAME ...   these cases, with every way and what it raised
"""

import sys
import tomllib

from casebook import NAMES, Run, load, outcome
from reference import Case
from roads import ROADS
from waiting import WAITING

from blasad import Forward, Reverse, Tape


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
    compare(names or NAMES)
    return 1 if wrong else 0


def compare(names: list[str]) -> None:
    """Numbers that another tool gave, where the report of its bug has one."""
    print(f"\n{'case':28} {'where':8} {'reported':>16} {'blasad':>16}   tool")
    for case in map(load, names):
        for where, theirs in tomllib.loads(case.path.read_text()).get("reported", {}).items():
            print(f"{case.path.stem:28} {where:8} {theirs:16.10g} {measured(case, where):16.10g}   {case.source}")


def measured(case: Case, where: str) -> float:
    """The shadow of "R[0]", or the tangent of what the program returns."""
    run = Run(case, next(r for r in ROADS if all(r.can(step) for step in case.program)))
    run.seed()
    with Tape(Forward if case.kind == "forward" else Reverse) as tape:
        run.annotate(tape)
        run.execute(tape)
    if where == "return":
        return float(tape.returned(-1).shadow[0])
    if "return" in case.tables["seed"]:
        tape.returned(-1).shadow[:] = case.tables["seed"]["return"]
    tape.reverse()
    name, index = where.rstrip("]").split("[")
    return float(run.shadow[name][int(index)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Judges many random programs of BLAS calls and unseen code between them; prints a table.

    python tools/campaign.py                        100,000 programs of gemm, on all cores
    python tools/campaign.py --routines all --programs 10000        of all routines that store what they compute
    python tools/campaign.py --programs 2000 --first 7000 --jobs 1
    python tools/campaign.py --seed 4711            one program: its steps, the verdict, and fewer steps that still fail
    python tools/campaign.py --blind verify         with something kept from blasad, which has to be noticed

A program is drawn from its number, so that a failure can be had again. Programs use annotated memory in many ways,
scratch, and code that no hook sees; each has to end with the right gradient or tangents, with the error that it
deserves, or with the cut listed as an assumption. Exit status 1 if one does not. What they are is in
tests/campaign_program.py and campaign_draw.py, what they deserve in tests/campaign_oracle.py.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).parents[1] / "tests"))
from campaign_judge import (  # type: ignore[import-not-found,unused-ignore]
    BLIND,
    FAILURES,
    Tally,
    draw,
    judge,
    smallest,
)

BATCH = 200
PATIENCE = 60  # seconds for one program
ERRORS = ("UnseenWriteError", "ActivityError", "AliasError")


def work(mine: list[int], blind: str, drawn: tuple[str, bool], at: Any, out: Any) -> None:
    """Judges programs; `at` says which one, should the process die of it."""
    tally = Tally()
    for seed in mine:
        at.value = tally.last = seed
        tally.add(judge(draw(seed, *drawn), blind))
        if tally.programs == BATCH:
            out.send(tally)
            tally = Tally()
    if tally.programs:
        out.send(tally)
    out.send(None)


class Worker:
    """A process that judges programs, and is replaced if one of them kills it or does not end."""

    def __init__(self, mine: range, blind: str, drawn: tuple[str, bool]) -> None:
        self.mine, self.blind, self.drawn = mine, blind, drawn
        self.deadly: list[int] = []
        self.context = multiprocessing.get_context("spawn")
        self.start()

    def start(self) -> None:
        left = [seed for seed in self.mine if seed not in self.deadly]
        self.at = self.context.Value("q", self.mine.start)
        self.seen, self.since = -1, time.monotonic()
        self.source, out = self.context.Pipe(duplex=False)
        self.process = self.context.Process(target=work, args=(left, self.blind, self.drawn, self.at, out), daemon=True)
        self.process.start()
        out.close()

    def tallies(self) -> Iterator[Tally | None]:
        """What is ready; None: nothing more will come."""
        if self.at.value != self.seen:
            self.seen, self.since = self.at.value, time.monotonic()
        elif time.monotonic() - self.since > PATIENCE:
            self.process.kill()
        while self.source.poll():
            try:
                tally = self.source.recv()
            except EOFError:
                self.process.join()
                self.deadly.append(self.at.value)
                died = Tally()
                died.programs = died.outcomes["crash"] = 1
                died.failures.append((self.at.value, "crash", f"the process died: exit code {self.process.exitcode}"))
                yield died
                self.start()
                return
            if tally is not None:
                self.mine = range(tally.last + self.mine.step, self.mine.stop, self.mine.step)
            yield tally
            if tally is None:
                return


def run(programs: int, first: int, jobs: int, blind: str, drawn: tuple[str, bool]) -> Tally:
    total, began = Tally(), time.monotonic()
    workers = [Worker(range(first + j, first + programs, jobs), blind, drawn) for j in range(jobs)]
    told = began
    while workers:
        for w in list(workers):
            for tally in w.tallies():
                if tally is None:
                    workers.remove(w)
                else:
                    total.merge(tally)
        time.sleep(0.02)
        if time.monotonic() - told > 20:
            told = time.monotonic()
            print(f"… {total.programs} programs, {total.failed} failures", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    rate = total.programs / seconds
    print(
        f"{total.programs} programs, {total.calls} calls, in {seconds:.0f} s on {jobs} processes: {rate:.0f} a second"
    )
    return total


def show(t: Tally) -> None:
    print(f"\n{'unseen code':30}{'times':>8}{'programs':>10}{'numbers':>9}{'reported':>10}{'left open':>11}", end="")
    print(f"{'with assumptions':>18}{'failed':>8}")
    for kind, c in sorted(t.by_kind.items()):
        times = t.occurrences[kind] or ""
        print(f"{kind:30}{times:>8}{c['programs']:>10}{c['numbers']:>9}{c['reported']:>10}{c['left open']:>11}", end="")
        print(f"{c['with assumptions']:>18}{c['failed']:>8}")
    routines = ", ".join(f"{name} {count}" for name, count in sorted(t.routines.items()))
    print(f"\ncalls of {routines}\n\nprograms that ended")
    print(f"  with the right numbers          {t.outcomes['numbers']:>9}   {t.compared} numbers compared")
    for name in ERRORS:
        print(f"  with {name + ', deserved':27}{t.outcomes[name]:>9}")
    print(f"  as the contract leaves open     {t.outcomes['left open']:>9}")
    print(f"assumptions listed, as expected   {t.assumed:>9}")
    print(f"saved bytes compared, of programs {t.saved:>9}")
    print("failures")
    for name in FAILURES:
        print(f"  {name:32}{t.outcomes[name]:>9}")
    for seed, outcome, text in sorted(t.failures)[:10]:
        print(f"  --seed {seed}: {outcome}: {text[:200]}")


def one(seed: int, blind: str, drawn: tuple[str, bool]) -> int:
    verdict = judge(draw(seed, *drawn), blind)
    print(verdict.program)
    print(f"{verdict.outcome} {verdict.text}")
    if verdict.failed:
        small = smallest(verdict, blind)
        print(f"\nfewer steps:\n{small.program}\n{small.outcome} {small.text}")
    return int(verdict.failed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--seed", type=int, help="only this program")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--blind", choices=sorted(BLIND), default="", help=str(BLIND).strip("{}"))
    parser.add_argument("--routines", choices=("gemm", "all"), default="gemm")
    parser.add_argument("--declared", action="store_true", help="neither active scratch nor mixed operands")
    given = parser.parse_args()
    if given.seed is not None:
        return one(given.seed, given.blind, (given.routines, given.declared))
    if given.blind:
        print(f"blind: {BLIND[given.blind]}")
    total = run(given.programs, given.first, given.jobs, given.blind, (given.routines, given.declared))
    show(total)
    return int(total.failed > 0)


if __name__ == "__main__":
    sys.exit(main())

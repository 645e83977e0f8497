"""Runs a program of the campaign under a tape, beside the oracle, and compares.

Each program ends with the right numbers, with the error it deserves, or with the cut listed as an assumption. Whatever
else happens is a failure, of one of the classes FAILURES.
"""

import warnings
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from campaign_calls import sane
from campaign_draw import draw, shrink
from campaign_oracle import Oracle
from campaign_program import ARENA, SIZE, Annotation, Announced, Call, End, Program, Write, starts, width
from roads import DTYPE, ROADS, scalar_letter

import blasad
from blasad import Forward, Reverse, Tape

FAILURES = (
    "wrong number",
    "missed report",
    "false report",
    "wrong report",
    "wrong assumptions",
    "wrong saved bytes",
    "memory disturbed",
    "crash",
)
# What can be kept from blasad, to see that the campaign notices.
BLIND = {
    "verify": "tapes are opened with verify=False",
    "copies": "copies differ in one bit from what was copied",
    "forget": "tape.forget is not called",
    "assigned": "tape.assigned is not called",
    "assumptions": "tape.assumptions is taken for empty",
}
REAL = {"s": np.float32, "d": np.float64, "c": np.float32, "z": np.float64}


@dataclass
class Verdict:
    program: Program
    outcome: str  # "numbers", the class of the error that was expected, "left open", or a class of FAILURES
    text: str = ""
    assumed: int = 0  # assumptions listed
    compared: int = 0  # numbers compared
    saved: bool = False  # whether saved bytes were compared
    events: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return self.outcome in FAILURES


class Wrong(Exception):
    """A failure: its class and a text."""


class Run:
    """A program's memory and shadows, and the tape that records it."""

    def __init__(self, program: Program, blind: str = "") -> None:
        self.program, self.blind, self.w = program, blind, width(program.letter)
        self.rng = np.random.Generator(np.random.SFC64(program.seed))
        self.arena = self.numbers(ARENA * self.w)
        first = starts(program.letter)
        if program.flat:
            for name, start in first.items():
                self.arena[start : start + self.w * SIZE[name]] = self.numbers(1)[0]
        # one block of the parent's size for each shadow, and the cell of the shadow for each annotated one
        duplicated = [a for a in program.annotations if a.kind == "dup"]
        self.of: dict[str, int] = {}
        size = 2
        for a in duplicated:
            if a.label == "P2" and self.within_first(a):
                self.of[a.label] = self.of["P"]
            else:
                self.of[a.label] = size - first[a.parent]
                size += self.w * SIZE[a.parent] + 2
        self.shadows = self.numbers(size)
        at = np.zeros(self.arena.size, int)
        for a in duplicated:
            cells = np.array(a.array.cells())
            at[cells] = cells + self.of[a.label]
        self.oracle = Oracle(program, self.arena)
        self.mine = at[self.oracle.inputs]
        self.base, self.step = self.arena.ctypes.data, self.arena.itemsize
        self.waiting = list(program.annotations)
        self.kept: dict[float, np.ndarray] = {}
        self.tape = Tape(
            Reverse if program.mode == "reverse" else Forward,
            verify=program.verify and blind != "verify",
            undeclared=program.undeclared,
            copies=program.copies,
        )

    def within_first(self, a: Annotation) -> bool:
        p = self.program.annotations[0]
        return p.label == "P" and not set(a.array.cells()) - set(p.array.cells())

    def numbers(self, count: int) -> np.ndarray:
        return self.rng.uniform(-1, 1, count).astype(REAL[self.program.letter])

    def annotate(self, used: set[int] | None = None) -> None:
        """What is used, or all, unless it is annotated already. Parts of one buffer come together."""
        parents = {a.parent for a in self.waiting if used is None or used & set(a.array.cells())}
        for a in [a for a in self.waiting if a.parent in parents]:
            self.waiting.remove(a)
            self.oracle.annotated(a)
            x = a.array.on(self.arena)
            if a.kind == "const":
                self.tape.const(x, name=a.label)
            else:
                shadow = replace(a.array, base=a.array.base + self.of[a.label])
                self.tape.duplicated(x, shadow.on(self.shadows), name=a.label)

    # ---- steps

    def where(self, value: object) -> int:
        return self.base + self.step * int(value[1:] if isinstance(value, str) else value)  # type: ignore[call-overload]

    def number(self, c: Call, key: str, x: complex | str) -> object:
        """A scalar as `Road` wants it."""
        if not isinstance(x, str) or x[0] == "@":
            return x
        cell, letter = int(x[1:]), scalar_letter(c.letter + c.family, key)
        return self.arena[cell : cell + width(letter)].view(DTYPE[letter])[0].item()

    def call(self, c: Call) -> None:
        step: dict[str, object] = {"call": c.routine} | ({"layout": "row"} if c.row_major else {})
        for key, value in c.args:
            step[key] = self.number(c, key, value) if key in c.scalars else value
        ROADS[c.road].call(step, self.where)

    def write(self, s: Write) -> None:
        cells = list(s.cells)
        if s.how == "fresh":
            self.kept[s.arg] = self.arena[cells]
            fresh = np.random.Generator(np.random.SFC64(int(s.arg))).uniform(-1, 1, len(cells))
            self.arena[cells] = fresh.astype(self.arena.dtype)
        elif s.how == "fill":
            self.arena[cells] = s.arg
        elif s.how == "scale":
            self.arena[cells] *= self.arena.dtype.type(s.arg)
        elif s.how == "copy":
            self.arena[cells] = self.arena[list(s.source)]
            if self.blind == "copies":
                self.arena[cells[0]] = np.nextafter(self.arena[cells[0]], self.arena.dtype.type(2))
                self.oracle.blinded(s)
        elif s.arg in self.kept:
            self.arena[cells] = self.kept[s.arg]

    def announced(self, s: Announced) -> None:
        """A tape in trouble may say so here already."""
        x = s.array.on(self.arena)
        if s.kind == "forget":
            self.oracle.forget(s)
            if self.blind != "forget":
                self.trouble(lambda: self.tape.forget(x))
            return
        content = Write("", tuple(s.array.cells()), "fresh", s.seed)
        self.oracle.assigned(s)

        def block() -> None:
            with self.tape.assigned(x):
                self.write(content)

        if self.blind == "assigned" or self.trouble(block):
            self.write(content)
        self.oracle.assigned_end()

    def trouble(self, what: object) -> bool:
        try:
            what()  # type: ignore[operator]
        except blasad.BlasadError as error:
            if isinstance(error, blasad.UnsupportedError) or not {*self.oracle.expected, *self.oracle.possible}:
                raise
            return True
        return False

    def steps(self, steps: list) -> None:
        for s in steps:
            if self.waiting and not isinstance(s, Write):
                self.annotate(s.cells() if isinstance(s, Call) else set(s.array.cells()))
            if isinstance(s, Call) and sane(s, self.arena):
                self.oracle.before(s)
                self.call(s)
                if wrong := self.oracle.after(s):
                    raise Wrong("memory disturbed", wrong)
            elif isinstance(s, Write):
                self.write(s)
                self.oracle.wrote(s)
            elif isinstance(s, Announced):
                self.announced(s)

    # ---- the whole

    def record(self, steps: list) -> Exception | None:
        try:
            with self.tape:
                if not self.program.late:
                    self.annotate()
                self.steps(steps)
                self.annotate()
                self.oracle.end()
        except blasad.BlasadError as error:
            return error
        return None

    def judge(self) -> Verdict:
        o, p = self.oracle, self.program
        at = p.steps.index(End())
        seeds = self.shadows.copy()
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            raised = self.record(p.steps[:at])
        if (verdict := self.errors(raised)) is not None:
            if p.mode == "reverse":
                self.again(raised, seeds)
            return verdict
        if o.undecided:
            return Verdict(p, "left open")
        listed = self.listed()
        if not o.assumptions <= listed <= o.assumptions | o.optional:
            wanted = f"{_sorted(o.assumptions)}" + (f" and perhaps {_sorted(o.optional)}" if o.optional else "")
            raise Wrong("wrong assumptions", f"{_sorted(listed)} listed, not {wanted}")
        said = [w for w in heard if issubclass(w.category, blasad.ActivityWarning)]
        if len(said) != (p.undeclared == "warn" and bool(listed)) and self.blind != "assumptions":
            raise Wrong("wrong assumptions", f"{len(said)} warnings for {len(listed)} assumptions")
        if self.tape.saved_bytes != o.saved:
            raise Wrong("wrong saved bytes", f"{self.tape.saved_bytes}, not {o.saved}")
        good = Verdict(p, "numbers", assumed=len(listed), compared=len(o.inputs), saved=True, events=o.events)
        if p.mode == "forward":
            self.compare(seeds)
            return good
        for name in "UW":  # scratch is gone
            start = starts(p.letter)[name]
            self.arena[start : start + self.w * SIZE[name]] = 1e30
        self.steps(p.steps[at + 1 :])
        o.replay()
        return Verdict(p, "left open") if o.undecided else self.replay(good)

    def replay(self, good: Verdict) -> Verdict:
        left = self.arena.tobytes()
        for _ in range(2 if self.program.seed % 8 == 0 else 1):
            seeds = self.shadows.copy()
            try:
                self.tape.reverse()
                raised = None
            except blasad.BlasadError as error:
                raised = error
            if self.arena.tobytes() != left:
                raise Wrong("memory disturbed", "reverse() wrote to the program's memory")
            if (verdict := self.errors(raised)) is not None:
                if (self.shadows != seeds).any():
                    raise Wrong("memory disturbed", "reverse() failed and changed shadows")
                return verdict
            self.compare(seeds)
            self.shadows[:] = self.numbers(self.shadows.size)
        return good

    def errors(self, raised: Exception | None) -> Verdict | None:
        """The verdict on what was raised by now; None: go on."""
        o = self.oracle
        name = type(raised).__name__
        if raised is None:
            if o.expected and not o.undecided:
                raise Wrong("missed report", f"{_sorted(o.expected)}: {o.why}")
            return None
        if isinstance(raised, blasad.UnsupportedError):
            raise Wrong("crash", f"{name}: {raised}")
        if name in o.expected:
            return Verdict(self.program, name)
        if name in o.possible or o.undecided:
            return Verdict(self.program, "left open")
        if o.expected:
            raise Wrong("wrong report", f"{name} for {_sorted(o.expected)} ({o.why}): {raised}")
        raise Wrong("false report", f"{name}: {raised}")

    def again(self, raised: Exception | None, seeds: np.ndarray) -> None:
        """What was found while recording is raised by reverse() too, and no shadow changes."""
        try:
            self.tape.reverse()
        except blasad.BlasadError as error:
            if str(error) != str(raised):
                raise Wrong("wrong report", f"reverse() raised {error}, the block {raised}") from error
        else:
            raise Wrong("missed report", f"reverse() did not repeat {raised}")
        if (self.shadows != seeds).any():
            raise Wrong("memory disturbed", "a shadow changed though recording failed")

    def listed(self) -> set[tuple[int | None, str]]:
        if self.blind == "assumptions":
            return set()
        found = self.tape.assumptions
        number = list(range(len(self.tape)))
        if len(number) != self.oracle.calls:  # announcements and copies are entries of the tape, too
            calls = [c.index for c in self.tape if c.caller]
            number = [calls.index(i) if i in calls else -1 for i in number]
        return {(number[a.call.index], a.operand.name) if a.call else (None, a.text.split(" ")[0]) for a in found}

    def compare(self, seeds: np.ndarray) -> None:
        """Shadows of all annotated cells with the oracle's, and everything between them with what was there."""
        o = self.oracle
        want = o.shadows(seeds[self.mine].astype(float))
        got = self.shadows[self.mine]
        error = np.abs(got - want)
        bad = ~(error <= 30 * np.finfo(got.dtype).eps * o.scale())
        if bad.any():
            i = int(np.argmax(np.where(bad, error, -1)))
            raise Wrong(
                "wrong number",
                f"shadow of cell {o.inputs[i]} is {got[i]}, not {want[i]}; {int(bad.sum())} of {len(got)} are wrong",
            )
        others = np.ones(len(seeds), bool)
        others[self.mine] = False
        if (self.shadows[others] != seeds[others]).any():
            raise Wrong("memory disturbed", "bytes between shadows changed")


def _sorted(things: set) -> list:
    return sorted(things, key=str)


def judge(program: Program, blind: str = "") -> Verdict:
    run = None
    try:
        run = Run(program, blind)
        return run.judge()
    except Wrong as wrong:
        return Verdict(program, *wrong.args)
    except Exception as error:
        return Verdict(program, "crash", f"{type(error).__name__}: {error}")
    finally:
        if run is not None and hasattr(run, "tape"):
            run.tape.close()


def smallest(verdict: Verdict, blind: str = "") -> Verdict:
    """The same failure with fewer steps."""
    program = shrink(verdict.program, lambda p: judge(p, blind).outcome == verdict.outcome)
    return judge(program, blind)


class Tally:
    """What many programs came to."""

    def __init__(self) -> None:
        self.programs = self.compared = self.assumed = self.saved = self.calls = 0
        self.last = 0  # the number of the last program
        self.outcomes: Counter[str] = Counter()
        self.occurrences: Counter[str] = Counter()
        self.routines: Counter[str] = Counter()
        self.by_kind: dict[str, Counter[str]] = {}
        self.failures: list[tuple[int, str, str]] = []

    def add(self, v: Verdict) -> None:
        self.programs += 1
        self.outcomes[v.outcome] += 1
        self.compared += v.compared
        self.assumed += v.assumed
        self.saved += v.saved
        called = [s.family for s in v.program.steps if isinstance(s, Call)]
        self.calls += len(called)
        self.routines.update(called)
        kinds = [*v.program.kinds(), *v.events]
        self.occurrences.update(kinds)
        for kind in set(kinds) or {"none"}:
            at = self.by_kind.setdefault(kind, Counter())
            at["programs"] += 1
            at[_column(v)] += 1
            at["with assumptions"] += bool(v.assumed)
        if v.failed:
            self.failures.append((v.program.seed, v.outcome, v.text))

    def merge(self, other: "Tally") -> None:
        for name in ("programs", "compared", "assumed", "saved", "calls"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.outcomes.update(other.outcomes)
        self.routines.update(other.routines)
        self.occurrences.update(other.occurrences)
        for kind, counts in other.by_kind.items():
            self.by_kind.setdefault(kind, Counter()).update(counts)
        self.failures += other.failures

    @property
    def failed(self) -> int:
        return sum(self.outcomes[f] for f in FAILURES)


def _column(v: Verdict) -> str:
    return "failed" if v.failed else v.outcome if v.outcome in ("numbers", "left open") else "reported"


__all__ = ["BLIND", "FAILURES", "Tally", "Verdict", "draw", "judge", "smallest"]

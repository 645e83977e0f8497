"""Runs a case of tests/cases through blasad: which ways there are to make its calls, and whether what it says holds."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from memory_guard import Pen, bits
from oracles import CASES, ROUTINES, Call, Refused
from reference import Case, host
from roads import CBLAS, FORTRAN, ROADS, Road, library, place

import blasad
from blasad import Forward, Reverse, Tape

FILES = sorted(CASES.glob("*.toml"))
NAMES = [f.stem for f in FILES]


class NotThere(Exception):
    """The case uses something of the interface that this version does not have."""


def load(name: str) -> Case:
    return Case(CASES / f"{name}.toml")


def assigned(step: dict[str, Any]) -> slice:
    """The elements of its buffer that the step writes."""
    first, inc = int(step["to"].partition("[")[2].rstrip("]") or 0), step.get("inc", 1)
    return slice(first, first + inc * len(step["values"]), inc)


def unknown_routines(case: Case) -> list[str]:
    """Those of the case's calls that have no entry, each once, in order."""
    known = set(blasad.backend.names())
    names = dict.fromkeys(step["call"] for step in case.program if "call" in step)
    return [n for n in names if not {f"{n}_", f"cblas_{n}"} & known]


# ---------------------------------------------------------------- one run


class Run:
    """The buffers of a case in guarded memory, and a road by which it calls."""

    def __init__(self, case: Case, road: Road, other: Road | None = None) -> None:
        self.case, self.roads, self.pen = case, (road, other or road), Pen(1 << 16)
        self.memory = {n: self.pen.copy(case.memory[n]) for n in case.buffers}
        self.shadow = {n: self.pen.memory(x.dtype, x.size) for n, x in self.memory.items() if n in case.duplicated}
        self.where = place(self.memory)

    def shaped(self, x: np.ndarray, name: str) -> np.ndarray:
        buffer = self.case.buffers[name]
        return x.reshape(buffer["shape"], order=buffer.get("order", "F"))

    def annotate(self, tape: Tape) -> None:
        for name, buffer in self.case.buffers.items():
            x = self.shaped(self.memory[name], name)
            if buffer["activity"] == "duplicated":
                tape.duplicated(x, self.shaped(self.shadow[name], name), name=name)
            elif buffer["activity"] == "const":
                tape.const(x, name=name)

    def restore(self) -> None:
        for name, x in self.memory.items():
            x[:] = self.case.memory[name]

    def seed(self) -> None:
        for name, dx in self.shadow.items():
            dx[:] = self.case.table("seed", name)

    def execute(self, tape: Tape | None = None) -> Any:
        """Returns what the last call did."""
        value = None
        for i, step in enumerate(self.case.program * self.case.repeat):
            if step.get("host") == "assign" and tape is not None:
                with tape.assigned(self.memory[step["to"].partition("[")[0]][assigned(step)]):
                    host(step, self.memory)
            elif "host" in step:
                host(step, self.memory)
            else:
                value = self.roads[i % 2].call(step, self.where)
        return value

    def bits(self) -> dict[str, bytes]:
        return {n: bits(x) for n, x in self.memory.items()}

    # ---- what must hold

    def touched(self) -> set[tuple[str, int]]:
        """Elements that belong to the program: what it reads and writes."""
        memory, found = self.case.extended(), set()
        for step in self.case.program * self.case.repeat:
            if "host" in step:
                found |= host(step, memory)
                continue
            call = Call(step, memory)
            try:
                ROUTINES[call.family](call)
            except Refused:
                continue
            found.update(*call.reads.values(), *call.writes.values())
        return found

    def takes_for_constant(self) -> bool:
        """Whether a call reads scratch that no call before it wrote."""
        memory, written = self.case.extended(), set()
        for step in self.case.program * self.case.repeat:
            if "host" in step:
                host(step, memory)
                continue
            call = Call(step, memory)
            ROUTINES[call.family](call)
            read = set().union(*call.reads.values()) - written
            if any(self.case.buffers[n]["activity"] == "scratch" for n, _ in read):
                return True
            written.update(*call.writes.values())
        return False

    def compare(self, which: str, buffers: dict[str, np.ndarray]) -> None:
        """By the precision of the type, relative to the largest term; 0, NaN, Inf and what is not ours exactly."""
        for name, got in buffers.items():
            want = self.case.table(which, name)
            terms = np.concatenate([np.abs(want), np.abs(self.case.table("seed", name))])
            allowed = 64 * np.finfo(got.dtype).eps * np.max(terms, initial=0, where=np.isfinite(terms))
            with np.errstate(invalid="ignore"):
                good = (np.abs(got - want) <= allowed) & (want != 0)
            good |= (got == want) | (np.isnan(got) & np.isnan(want))
            assert good.all(), f"[{which}] {name} is {got}, not {want}"

    def check_untouched(self, before: dict[str, np.ndarray], after: dict[str, np.ndarray], what: str) -> None:
        touched = self.touched()
        for name, x in after.items():
            others = [i for i in range(x.size) if (name, i) not in touched]
            assert bits(x[others]) == bits(before[name][others]), f"{what} of {name} that no call touches changed"

    def check_primal(self, undisturbed: dict[str, bytes]) -> None:
        """Memory is what the program leaves without a tape, and what [primal] says."""
        assert self.bits() == undisturbed, "the program computed something else than without a tape"
        self.compare("primal", {n: self.memory[n] for n in self.case.tables["primal"]})
        self.check_untouched(self.case.memory, self.memory, "memory")
        self.pen.check()


def check(case: Case, road: Road, other: Road | None = None) -> None:
    """Runs the case; AssertionError if it does not hold. Every other call goes by road `other`."""
    run = Run(case, road, other)
    if unknown_routines(case):
        raise NotThere(f"routines {' '.join(unknown_routines(case))}")
    value = run.execute()
    if case.returned is not None:
        assert value == complex(case.returned), f"the program got {value}, not {case.returned}"
    undisturbed = run.bits()
    run.restore()
    run.seed()
    if case.kind == "raises":
        check_raises(run, undisturbed)
        return
    if case.kind == "second-order":
        check_second_order(run, undisturbed)
        return
    seeds = {n: x.copy() for n, x in run.shadow.items()}
    # scratch that nobody filled is taken for constant, and the tape says so
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Tape(Forward if case.kind == "forward" else Reverse) as tape:
            run.annotate(tape)
            value = run.execute(tape)
    if case.returned is not None:
        assert value == complex(case.returned), f"the program got {value} under a tape, not {case.returned}"
    assert [w.category for w in said] == [blasad.ActivityWarning] * run.takes_for_constant()
    run.check_primal(undisturbed)
    if case.kind == "forward":
        run.compare("expect", run.shadow)
        if "return" in case.tables["expect"]:
            got, want = tape.returned(-1).shadow[0], case.tables["expect"]["return"]
            assert abs(got - want) <= 64 * np.finfo(got.dtype).eps * abs(want), (
                f"the tangent returned is {got}, not {want}"
            )
        run.check_untouched(seeds, run.shadow, "the tangent")
        return
    for name, x in run.memory.items():  # scratch dies when the program ends
        if case.buffers[name]["activity"] == "scratch":
            x.view(np.uint8)[:] = 0xEE
    left = run.bits()
    for _ in range(2):  # repeatable: seed, reverse, seed, reverse
        run.seed()
        if "return" in case.tables["seed"]:
            tape.returned(-1).shadow[:] = case.tables["seed"]["return"]
        tape.reverse()
        run.compare("expect", run.shadow)
        run.check_untouched(seeds, run.shadow, "the shadow")
    assert run.bits() == left, "reverse() wrote to primal memory"
    run.pen.check()
    tape.close()


def check_second_order(run: Run, undisturbed: dict[str, bytes]) -> None:
    """A tape in forward mode around recording and replaying."""
    case, seeds = run.case, {n: x.copy() for n, x in run.shadow.items()}
    tangents = [
        {n: case.table(t, n).astype(x.dtype) for n, x in run.shadow.items()} for t in ("tangent", "seed_tangent")
    ]
    outer = Tape(Forward, undeclared="constant")
    for n, x in run.memory.items():
        if n in run.shadow:
            outer.duplicated(x, tangents[0][n], name=n)
            outer.duplicated(run.shadow[n], tangents[1][n], name=f"the shadow of {n}")
        elif case.buffers[n]["activity"] == "const":
            outer.const(x, name=n)
    with outer:
        with Tape(undeclared="constant") as tape:
            run.annotate(tape)
            run.execute(tape)
        if "return" in case.tables["seed"]:
            tape.returned(-1).shadow[:] = case.tables["seed"]["return"]
        tape.reverse()
    run.check_primal(undisturbed)
    run.compare("expect", run.shadow)
    run.compare("expect_tangent", tangents[1])
    run.check_untouched(seeds, run.shadow, "the shadow")


def check_raises(run: Run, undisturbed: dict[str, bytes]) -> None:
    before = {n: bits(x) for n, x in run.shadow.items()}
    tape = Tape()
    try:
        with tape:
            run.annotate(tape)
            run.execute(tape)
        tape.reverse()
    except blasad.BlasadError as error:
        raised = error
    else:
        raise AssertionError(f"nothing raised, {run.case.raises} expected")
    assert type(raised).__name__ == run.case.raises, repr(raised)
    names = tomllib.loads(run.case.path.read_text()).get("names", [])
    if run.roads[0].cblas:  # whose argument list is one longer
        names = [name for name in names if not name.isdigit()]
    missing = [name for name in names if name not in str(raised)]
    assert not missing, f"{missing} not in: {raised}"
    assert {n: bits(x) for n, x in run.shadow.items()} == before, "a shadow changed"
    run.check_primal(undisturbed)


# ---------------------------------------------------------------- cases with a road or a process of their own


def check_two_threads(case: Case, road: Road) -> None:
    """Two tapes at once, many times over, and a third thread that calls and records nothing."""
    done, failures = threading.Event(), []

    def loop(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            failures.append(error)

    def records() -> None:
        for _ in range(100):
            run = Run(case, road)
            with Tape() as tape:
                run.annotate(tape)
                for _ in range(5):
                    run.execute()
            assert len(tape) == 5
            for call in tape:
                assert call.operands[2].address == run.memory["C"].ctypes.data
            run.seed()
            tape.reverse()
            run.compare("expect", run.shadow)
            run.pen.check()
            tape.close()

    def only_calls() -> None:
        run = Run(case, road)
        while not done.is_set():
            run.execute()

    recording = [threading.Thread(target=loop, args=(records,)) for _ in range(2)]
    other = threading.Thread(target=loop, args=(only_calls,))
    for t in (*recording, other):
        t.start()
    for t in recording:
        t.join()
    done.set()
    other.join()
    assert not failures, failures


def child_of_fork(name: str) -> None:
    """In a process of its own: a child that opens a tape, and one that inherits an open one."""
    case, road = load(name), ROADS[2]
    check(case, road)

    def in_child(body: Callable[[], None]) -> None:
        child = os.fork()
        if child == 0:
            try:
                body()
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def finish(run: Run, tape: Tape) -> None:
        run.execute()
        tape.__exit__(None, None, None)
        assert len(tape) == 2
        run.seed()
        tape.reverse()
        run.compare("expect", run.shadow)

    in_child(lambda: check(case, road))
    run, tape = Run(case, road), Tape()
    tape.__enter__()
    run.annotate(tape)
    run.execute()
    in_child(lambda: finish(run, tape))
    assert len(tape) == 1
    finish(run, tape)


def pointer_before_import(name: str, before: int) -> None:
    """In a process of its own, where somebody found dgemm before blasad came: by that pointer, and by one found now."""
    check(load(name), Road("bare", "scipy_{}_", "scipy", before))
    check(load(name), Road("bare", "scipy_{}_", "scipy"))


FIND_FIRST = """
import ctypes
before = ctypes.cast(ctypes.CDLL({path!r}).scipy_dgemm_, ctypes.c_void_p).value
import casebook
casebook.pointer_before_import({name!r}, before)
"""


def in_process(script: str) -> None:
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CASES.parent), *filter(None, sys.path)])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def check_hidden_lengths(case: Case, road: Road) -> None:
    """A C program with and without the lengths, compiled here, on libblasad.so alone."""
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    ours = Path(blasad._core.__file__).resolve().with_name("libblasad.so")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "hidden_lengths")
        source = CASES / "hidden_lengths.c"
        subprocess.run([*compiler.split(), "-O2", "-o", program, source, "-ldl"], check=True, timeout=60)
        for lengths in ("without", "with"):
            command = [program, ours, library("scipy")._name, lengths]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            lines = {name: numbers for name, *numbers in map(str.split, done.stdout.splitlines())}
            assert set(lines) == {"A", "B", "C"}
            got = {n: np.array(numbers, float) for n, numbers in lines.items()}
            Run(case, road).compare("expect", got)


Way = tuple[str, Callable[[], None]]
# Interposition cases whose [setting] is more than a way to call.
SETTINGS: dict[str, Any] = {
    "two_threads": check_two_threads,
    "after_fork": lambda case, road: in_process(f"import casebook; casebook.child_of_fork({case.path.stem!r})"),
    "pointer_taken_before": lambda case, road: in_process(
        FIND_FIRST.format(path=library("scipy")._name, name=case.path.stem)
    ),
    "hidden_lengths": check_hidden_lengths,
}
PROCESSES = {"after_fork", "pointer_taken_before", "hidden_lengths"}


def ways(case: Case) -> Iterator[Way]:
    """Every way in by which the calls of the case can be made."""
    name = case.path.stem
    if name in PROCESSES:
        yield "a process of its own", lambda: SETTINGS[name](case, ROADS[0])
        return
    if name == "two_threads":
        # through ctypes, which lets other threads of Python run while it calls
        for road in ROADS:
            if road.how != "cffi":
                yield str(road), lambda road=road: check_two_threads(case, road)
        return
    if name == "integer_widths_side_by_side":
        narrow = [r for r in (*FORTRAN, *CBLAS) if r.how != "cffi" and r.bits == 32]
        wide = [r for r in (*FORTRAN, *CBLAS) if r.how != "cffi" and r.bits == 64]
        case.program = case.program * 2
        for a in narrow:
            for b in wide:
                yield f"{a} and {b}", lambda a=a, b=b: check(case, a, b)
        return
    for road in ROADS:
        if all(road.can(step) for step in case.program if "call" in step):
            yield str(road), lambda road=road: check(case, road)


def outcome(name: str) -> tuple[list[str], list[str]]:
    """The ways by which a case passes, and one line for each by which it does not."""
    good, bad = [], []
    for way, run in ways(load(name)):
        try:
            run()
            good.append(way)
        except Exception as error:
            bad.append(f"{way}: {type(error).__name__}: {error}")
    return good, bad

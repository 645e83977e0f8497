"""Random short programs of calls on shared buffers, against an interpreter of memory (sections 1 to 3, 5 to 7).

The programs overwrite, accumulate, use blocks of one parent with equal and different leading dimensions, take scalars
from memory that they write, and refill scratch. The oracle executes them in extended precision, with the Jacobian of
each call by differences, counts by element what has to be saved, and follows each element from event to event.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from memory_guard import Pen, bits
from oracles import Access, Memory, Program, Step, assert_close, extended
from roads import CBLAS, DTYPE, FORTRAN, Road, gemm, place
from table import families

import blasad
from blasad import Forward, Reverse, Tape

# P, Q and s have shadows, s is for scalars; K is constant; U is scratch that nobody declares.
SIZE = {"P": 22, "Q": 18, "s": 4, "K": 14, "U": 14}
ACTIVE, CONSTANT = {"P", "Q", "s"}, {"K"}
DECLARED = ACTIVE | CONSTANT
Element = tuple[str, int]


@dataclass
class Script:
    """Steps: calls, each with its road; new content for U; writes that nobody announces, "poke"."""

    letter: str
    seed: int
    steps: list[tuple[str, object]] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.letter}, seed {self.seed}", *(f"{kind}: {what}" for kind, what in self.steps)])


# ---------------------------------------------------------------- drawing


def block(draw: st.DrawFn, name: str, rows: int, cols: int, taken: set[Element]) -> tuple[str, int] | None:
    """A place in a buffer for a column-major matrix that shares no element with `taken`; None if there is none."""
    ld = max(1, rows) + draw(st.integers(0, 2))
    span = ld * (cols - 1) + rows if rows and cols else 0
    inner = [i + ld * j for i in range(rows) for j in range(cols)]
    offsets = [o for o in range(SIZE[name] - span + 1) if not any((name, o + i) in taken for i in inner)]
    if name in "KU":  # the same blocks again and again: what is known of them has to be found out of date
        offsets = offsets[:2]
    return (f"{name}[{draw(st.sampled_from(offsets))}]", ld) if offsets else None


@st.composite
def calls(draw: st.DrawFn, letter: str, exact: bool = False) -> tuple[Step, Road]:
    """A valid call: active ones write to P, Q and s, inactive ones anywhere. `exact`: no element is used twice."""
    m, n, k = (draw(st.sampled_from([1, 2, 3, 2, 1, 0])) for _ in range(3))
    road = draw(st.sampled_from(FORTRAN + CBLAS))
    row_major = road.cblas and draw(st.booleans())
    ta, tb = draw(st.sampled_from("NTC")), draw(st.sampled_from("NTC"))
    inactive = draw(st.integers(0, 4)) == 0
    outputs = ["K", "U", "P", "Q"] if inactive else ["P", "Q", "P", "Q", "s"]
    inputs = ["K", "U"] if inactive else ["P", "Q", "P", "Q", "s", "K", "U"]
    taken: set[Element] = set()
    placed: dict[str, tuple[str, int]] = {}
    shapes = {"c": (m, n), "a": (m, k) if ta == "N" else (k, m), "b": (k, n) if tb == "N" else (n, k)}
    for key, shape in shapes.items():
        rows, cols = shape[::-1] if row_major else shape
        found = None
        while found is None:
            name = draw(st.sampled_from(outputs if key == "c" else inputs))
            assume(max(1, rows) * max(1, cols) <= SIZE[name] or name != "s")
            found = block(draw, name, rows, cols, taken)
            if found is None and name == "s":
                name = "Q"
        placed[key] = found
        if key == "c":
            at = int(found[0][2:-1])
            taken = {(found[0][0], at + i + found[1] * j) for i in range(rows) for j in range(cols)}

    def scalar(constants: list[float]) -> object:
        """By value, or from an element with a shadow that the call does not overwrite."""
        if inactive or (road.cblas and letter in "sd") or draw(st.booleans()):
            return draw(st.sampled_from(constants))
        free = [(n, i) for n in "ssP" for i in range(SIZE[n]) if (n, i) not in taken]
        name, index = draw(st.sampled_from(free))
        return f"{name}[{index}]"

    step: Step = {"call": f"{letter}gemm", "layout": "row"} if row_major else {"call": f"{letter}gemm"}
    step |= {"transa": ta, "transb": tb, "m": m, "n": n, "k": k, "alpha": scalar([0.3, -0.7, 1.0, 0.0])}
    step |= {"a": placed["a"][0], "lda": placed["a"][1], "b": placed["b"][0], "ldb": placed["b"][1]}
    step |= {"beta": scalar([0.0, 0.0, 1.0, -0.6]), "c": placed["c"][0], "ldc": placed["c"][1]}
    return step, road


@st.composite
def scripts(draw: st.DrawFn, letter: str, poked: set[str] | None = None) -> Script:
    script = Script(letter, draw(st.integers(0, 2**16)))
    kinds = ["call"] * 4 + ["refill"] + ["poke"] * 3 * bool(poked)
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=7)):
        what = draw(calls(letter)) if kind == "call" else draw(st.integers(0, 3)) if kind == "refill" else None
        script.steps.append((kind, what))
    script.steps.append(("end", None))
    if poked:
        script.steps += [("poke", None)] * draw(st.integers(0, 1))
        # mostly elements that calls use, so that something depends on them
        steps = [what[0] for kind, what in script.steps if kind == "call"]
        anything = {(n, i) for n in poked for i in range(SIZE[n])}
        pools = [anything & elements(steps, keys) for keys in (("a", "b", "c"), ("c",), ("alpha", "beta"))]
        pool = st.sampled_from([sorted(p) for p in [*pools, anything] if p]).flatmap(st.sampled_from)
        # which of two contents it gets: 0 is the one that it started with
        script.steps = [(k, (*draw(pool), draw(st.integers(0, 1))) if k == "poke" else w) for k, w in script.steps]
    return script


def elements(steps: list[Step], keys: tuple[str, ...]) -> set[Element]:
    """Those that these arguments of the calls name."""
    ones = {n: np.ones(size) for n, size in SIZE.items()}
    cells = [Access(step, ones, ACTIVE).cells for step in steps]
    return set().union(*(c[key] for c in cells for key in keys if key in c))


# ---------------------------------------------------------------- what must be saved, and what must be noticed


class Saved:
    """Section 6, counted by element."""

    def __init__(self, itemsize: int) -> None:
        self.itemsize, self.bytes = itemsize, 0
        self.needed: set[Element] = set()
        self.copies: dict[Element, bytes] = {}

    def call(self, access: Access, memory: Memory, declared: set[str] = DECLARED) -> None:
        for cells in access.needs.values():
            self.needed |= {e for e in cells if e[0] in declared}
            for n, i in {e for e in cells if e[0] not in declared}:
                content = bits(memory[n][i : i + 1])
                if self.copies.get((n, i)) != content:
                    self.copies[n, i] = content
                    self.bytes += len(content)
        self.bytes += self.itemsize * len(self.needed & access.writes)
        self.needed -= access.writes


class Watch:
    """Section 7: what each element held at its last event, and whether a derivative depends on it having stayed so."""

    def __init__(self, memory: Memory, saves: bool) -> None:
        self.memory, self.saves = memory, saves
        self.left = {(n, i): self.now((n, i)) for n in ACTIVE for i in range(SIZE[n])}
        self.touched: set[Element] = set()
        self.needed: set[Element] = set()
        self.report: str | None = None

    def now(self, e: Element) -> bytes:
        return bits(self.memory[e[0]][e[1] : e[1] + 1])

    def check(self, elements: set[Element], when: str) -> None:
        changed = sorted(e for e in elements if e in self.left and self.left[e] != self.now(e))
        if changed and self.report is None:
            self.report = f"{changed} {when}"

    def before(self, access: Access, index: int) -> None:
        reads = set().union(*access.reads.values(), *access.scalars.values())
        needs = set().union(*access.needs.values()) if access.needs else set()
        self.check(
            {e for e in reads if e[0] in ACTIVE} | {e for e in needs if e[0] in DECLARED}, f"read by call {index}"
        )
        for e in needs:
            if e[0] in CONSTANT:
                self.left.setdefault(e, self.now(e))
        if self.saves:
            self.needed |= {e for e in needs if e[0] in DECLARED}
            self.check(self.needed & access.writes, f"saved at call {index}")
            self.needed -= access.writes
        self.touched |= {e for e in reads | access.writes if e[0] in ACTIVE}

    def after(self, access: Access) -> None:
        for e in access.writes:
            if e[0] in ACTIVE:
                self.left[e] = self.now(e)
            else:
                self.left.pop(e, None)

    def end(self) -> None:
        self.check(self.touched, "at the end")

    def replay(self) -> None:
        self.check(self.needed, "at the replay")


# ---------------------------------------------------------------- running


class Run:
    """A script on guarded buffers, beside the oracles."""

    def __init__(self, script: Script) -> None:
        self.script, self.pen, letter = script, Pen(1 << 14), script.letter
        self.rng = np.random.default_rng(script.seed)
        self.memory = {n: self.pen.copy(self.numbers(size)) for n, size in SIZE.items()}
        self.shadow = {n: self.pen.memory(DTYPE[letter], SIZE[n]) for n in sorted(ACTIVE)}
        self.refills = [self.numbers(SIZE["U"]) for _ in range(4)]
        self.start = {n: x.copy() for n, x in self.memory.items()}
        self.where = place(self.memory)

    def numbers(self, count: int) -> np.ndarray:
        letter = self.script.letter
        x = self.rng.uniform(-1, 1, count * (2 if letter in "cz" else 1))
        return (x.view(complex) if letter in "cz" else x).astype(DTYPE[letter])

    def seed(self) -> Memory:
        for n, x in self.shadow.items():
            x[:] = self.numbers(SIZE[n])
        return {n: x.copy() for n, x in self.shadow.items()}

    def undisturbed(self) -> dict[str, bytes]:
        """What the program computes without a tape."""
        self.execute(lambda kind, what: None)
        left = {n: bits(x) for n, x in self.memory.items()}
        for n, x in self.memory.items():
            x[:] = self.start[n]
        return left

    def annotate(self, tape: Tape, names: set[str] = DECLARED) -> None:
        for n in sorted(names):
            if n in ACTIVE:
                tape.duplicated(self.memory[n], self.shadow[n], name=n)
            elif n in CONSTANT:
                tape.const(self.memory[n], name=n)

    def execute(self, see: Callable[[str, object], None], steps: list[tuple[str, object]] | None = None) -> None:
        """Executes steps; `see` is told of each before it happens, and of each call after it."""
        for kind, what in self.script.steps if steps is None else steps:
            if kind == "call":
                step, road = what
                see("before", step)
                road.call(step, self.where)
                see("after", step)
            elif kind == "refill":
                see(kind, self.refills[what])
                self.memory["U"][:] = self.refills[what]
            elif kind == "poke":
                name, index, which = what
                self.memory[name][index] = self.start[name][index] + which
                see(kind, what)

    def compare(self, program: Program, seeds: Memory, mode: str) -> None:
        want, bound = program.shadows(seeds, mode, ACTIVE)
        terms = 30 * len(self.script.steps)
        for n, got in self.shadow.items():
            assert_close(got, want[n], bound[n], terms, f"shadow of {n}")

    def split(self) -> tuple[list[tuple[str, object]], list[tuple[str, object]]]:
        """The steps while the tape records, and those after it."""
        at = self.script.steps.index(("end", None))
        return self.script.steps[:at], self.script.steps[at + 1 :]


LETTERS = families()["gemm"]


@pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])
@pytest.mark.parametrize("letter", LETTERS)
def test_programs(letter, mode):
    """Values and shadows of whole programs; what is saved, to the byte; again with new seeds."""

    @settings(max_examples=100)
    @given(scripts(letter), st.booleans(), st.booleans())
    def check(script, verify, late):
        run = Run(script)
        undisturbed = run.undisturbed()
        program, saved = Program(run.start), Saved(np.dtype(DTYPE[letter]).itemsize)

        def see(kind: str, what: object) -> None:
            if kind == "before":
                if late:  # annotated before the first use, and not earlier
                    names = {str(what[key]).split("[")[0] for key in ("a", "b", "c", "alpha", "beta")}
                    run.annotate(tape, names - used)
                    used.update(names)
                saved.call(Access(what, extended(run.memory), ACTIVE), run.memory)
                program.call(what)
            elif kind == "refill":
                program.write("U", what)

        seeds = run.seed()
        used: set[str] = set()
        with Tape(mode, verify=verify, undeclared="constant") as tape:
            run.annotate(tape, set() if late else DECLARED)
            run.execute(see)
        assert {n: bits(x) for n, x in run.memory.items()} == undisturbed
        assert max(np.max(x) for x in program.bound.values()) < 1e6
        run.pen.check()
        if mode is Forward:
            run.compare(program, seeds, "forward")
            assert tape.saved_bytes == 0
            return
        assert tape.saved_bytes == sum(c.saved_bytes for c in tape) == saved.bytes
        run.memory["U"].view(np.uint8)[:] = 0xEE  # scratch is gone
        left = {n: bits(x) for n, x in run.memory.items()}
        for _ in range(2):
            tape.reverse()
            run.compare(program, seeds, "reverse")
            seeds = run.seed()
        assert {n: bits(x) for n, x in run.memory.items()} == left, "reverse() wrote to memory"
        run.pen.check()
        tape.close()

    check()


@pytest.mark.parametrize("letter", LETTERS)
def test_unseen_writes(letter):
    """Section 7: exactly those writes are reported that a derivative depends on. Dead values, elements that no call
    touches, changes that were undone, and results once the recording has ended may change freely."""

    @settings(max_examples=200)
    @given(scripts(letter, poked=DECLARED))
    def check(script):
        run = Run(script)
        program, watch = Program(run.start), Watch(run.memory, saves=True)
        access, index = None, 0

        def see(kind: str, what: object) -> None:
            nonlocal access, index
            if kind == "before":
                access = Access(what, extended(run.memory), ACTIVE)
                watch.before(access, index)
                program.call(what)
            elif kind == "after":
                watch.after(access)
                index += 1
            elif kind == "refill":
                program.write("U", what)
            elif kind == "poke":
                name, at, _ = what
                program.memory[name][at] = run.memory[name][at]
                program.bound[name][at] = abs(run.memory[name][at])

        recorded, later = run.split()
        seeds = run.seed()
        raised: list[str] = []
        tape = Tape(undeclared="constant")
        try:
            with tape:
                run.annotate(tape)
                run.execute(see, recorded)
        except blasad.UnseenWriteError as error:
            raised.append(str(error))
        watch.end()
        assert bool(raised) == bool(watch.report), f"raised {raised}, expected for {watch.report}"
        run.execute(see, later)
        watch.replay()
        try:
            tape.reverse()
        except blasad.UnseenWriteError as error:
            raised.append(str(error))
        assert bool(raised) == bool(watch.report), f"raised {raised}, expected for {watch.report}"
        event("raised" if raised else "no poke" if not any(k == "poke" for k, _ in script.steps) else "poked freely")
        if raised:
            assert all(bits(x) == bits(seeds[n]) for n, x in run.shadow.items()), "a shadow changed"
        else:
            run.compare(program, seeds, "reverse")
        run.pen.check()
        tape.close()

    check()


@pytest.mark.parametrize("seed", range(6))
def test_many_small_buffers(seed):
    """Programs of many annotations in any order of addresses, used again and again with calls of few shapes."""
    rng = np.random.default_rng(seed)
    pen, count = Pen(1 << 15), 40
    memory = {f"x{i}": pen.copy(rng.uniform(-1, 1, 4)) for i in range(count)}
    shadow = {n: pen.copy(rng.uniform(-1, 1, 4)) for n in memory}
    kind = {n: ["active", "active", "constant", "undeclared"][i % 4] for i, n in enumerate(memory)}
    active = {n for n in memory if kind[n] == "active"}
    program, saved = Program(memory), Saved(8)
    with Tape(undeclared="constant", verify=bool(seed % 2)) as tape:
        known: set[str] = set()
        for _ in range(60):
            a, b, c = rng.choice(list(memory), 3, replace=False)
            c = c if c in active else rng.choice(sorted(active - {a, b}))
            alpha = [0.3, 1.0, f"{a}[1]" if a in active else 0.3][rng.integers(3)]
            order = int(rng.integers(1, 3))
            step: Step = {"call": "dgemm", "transa": "N", "transb": "T", "m": order, "n": order, "k": order}
            step |= {"alpha": alpha, "a": a, "lda": order, "b": b, "ldb": order}
            step |= {"beta": float(rng.choice([0.0, 0.5])), "c": c, "ldc": order}
            for n in rng.permutation(sorted({a, b, c} - known)):
                if kind[n] == "active":
                    tape.duplicated(memory[n], shadow[n], name=str(n))
                elif kind[n] == "constant":
                    tape.const(memory[n], name=str(n))
            known |= {a, b, c}
            saved.call(Access(step, extended(memory), active), memory, {n for n in memory if kind[n] != "undeclared"})
            program.call(step)
            FORTRAN[0].call(step, place(memory))
    assert tape.saved_bytes == saved.bytes
    want, bound = program.shadows(shadow, "reverse", active)
    tape.reverse()
    for n in active:
        assert_close(shadow[n], want[n], bound[n], 2000, f"shadow of {n}")
    pen.check()


def test_refilled_scratch():
    """Section 6: undeclared memory is copied once for each content that an adjoint needs, and the copy is compared."""
    x = {n: np.random.default_rng(i).uniform(-1, 1, 4) for i, n in enumerate("ABCU")}
    dx = {n: np.zeros(4) for n in "ABC"}
    first, second, da = x["U"].copy(), np.arange(4.0), np.zeros((2, 2))
    with Tape(undeclared="constant") as tape:
        for n in "ABC":
            tape.duplicated(x[n], dx[n], name=n)
        for content in (first, first, second, second, first):
            x["U"][:] = content
            gemm(x, "C", "A", "U", beta=1.0)
    assert [call.saved_bytes for call in tape] == [32, 0, 32, 0, 32]
    x["U"][:] = np.nan
    dx["C"][:] = g = np.arange(1.0, 5.0)
    tape.reverse()
    for content in (first, first, second, second, first):
        da += g.reshape(2, 2).T @ content.reshape(2, 2)
    assert np.allclose(dx["A"].reshape(2, 2).T, da, rtol=1e-14)
    assert dx["C"].tolist() == g.tolist()
    assert not dx["B"].any()


def test_many_copies():
    """As many pieces of scratch as a program likes, each found again if its content is."""
    count = 150
    x = {"A": np.full(1, 0.5), "U": np.arange(1.0, count + 1), "C": np.zeros(1)}
    dx = {n: np.zeros(1) for n in "AC"}
    with Tape(undeclared="constant", verify=False) as tape:
        for n in "AC":
            tape.duplicated(x[n], dx[n], name=n)
        for _ in range(2):
            for i in range(count):
                gemm(x, "C", "A", f"U[{i}]", order=1, beta=1.0)
    assert tape.saved_bytes == 8 * count
    x["U"][:] = np.nan
    dx["C"][0] = 1
    tape.reverse()
    assert dx["A"][0] == 2 * sum(range(1, count + 1))

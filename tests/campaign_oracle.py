"""What a program of the campaign deserves: an interpreter of the contract (docs/semantics.md), one bit a cell.

It runs beside the program, looks at the memory before and after each step, and shares no code with blasad. Sets of
cells are Python integers. The derivative is the Jacobian of the cells now by the annotated cells at the start, one row
a direction: what a call does to it is the product rule, `reverse()` is its transpose.
"""

from dataclasses import dataclass, field
from types import ModuleType

import campaign_calls
import campaign_gemm
import numpy as np
from campaign_anatomy import anatomy
from campaign_cells import Bits, Derivative, Footprint, bits_of, bits_where, cells_of, flags_of
from campaign_program import Annotation, Announced, Call, Program, Write, width


def way(call: Call) -> ModuleType:
    """To what it does: `footprint`, `push` and `wanted`."""
    return campaign_gemm if call.family == "gemm" else campaign_calls


def both_orders(x: np.ndarray) -> tuple[bytes, bytes]:
    return x.tobytes("C"), x.tobytes("F")


@dataclass
class Values:
    """Whole active values, for the recognition of copies (7). `sure` are those that active calls wrote and annotated
    arrays as they were; a copy of what active calls read may be recognized too."""

    sure: dict[tuple[object, bytes], set[int]] = field(default_factory=dict)  # and where they begin
    maybe: set[bytes] = field(default_factory=set)

    def add(self, x: np.ndarray, at: int | None = None) -> None:
        """Surely an active value if it is said where."""
        if x.size < 8:
            return
        for turned in (x, x.T):
            key = turned.tobytes("C")
            self.maybe.add(key)
            if at is not None:
                self.sure.setdefault((turned.shape if x.ndim == 2 else None, key), set()).add(at)

    def whole(self, x: np.ndarray, flat: bytes) -> set[int]:
        """Where values begin of which x is a copy. `flat`: x in memory order, the only one of an array of one axis."""
        keys = {(None, flat), (x.shape, x.tobytes("C"))}
        return set().union(*(self.sure.get(key, ()) for key in keys))

    def perhaps(self, x: np.ndarray) -> bool:
        return any(key in self.maybe for key in both_orders(x))


class Oracle:
    """Follows a program on `memory` (the arena) and says what a tape must say.

    expected: error classes, one of which must be raised; empty as long as nothing deserves one
    possible: classes that the contract leaves open
    assumptions, optional: (index of the call, operand) or (None, annotation)
    """

    def __init__(self, program: Program, memory: np.ndarray) -> None:
        self.program, self.memory = program, memory
        self.count, self.w = len(memory), width(program.letter)
        self.words = memory.view(f"u{memory.itemsize}")
        of = {"dup": 0, "const": 0}
        self.ranges = []
        for a in program.annotations:
            own = bits_of(a.array.cells())
            if not own & ~of[a.kind]:
                continue  # a part of one, given again
            of[a.kind] |= own
            self.ranges.append((a, own))
        self.dup, self.const = of["dup"], of["const"]
        self.declared = self.dup | self.const
        self.inputs = cells_of(self.dup)
        self.derivative = Derivative(self.count, self.inputs)
        self.saves = program.mode == "reverse"
        self.left = self.words.copy()  # what the last event left, where `printed`
        self.start = self.words.copy()
        self.printed = self.dup
        self.doubtful = 0  # constant cells whose fingerprint the contract does not ask for
        self.live = self.known = self.unsure = self.need = self.touched = self.half_touched = 0
        self.ended = 0  # said to be constant by tape.forget; whether content that stayed is a copy is left open
        self.copied, self.copies = 0, self.words.copy()
        self.saved = 0
        self.calls = 0
        self.expected: set[str] = set()
        self.possible: set[str] = set()
        self.why = ""
        self.undecided = False
        self.assumptions: set[tuple[int | None, str]] = set()
        self.optional: set[tuple[int | None, str]] = set()
        self.returned: set[bytes] = set()
        self.values = Values()
        self.followed: list[tuple[Bits, bytes, np.ndarray, np.ndarray, Bits, bytes]] = []
        self.events: list[str] = []

    def annotated(self, a: Annotation) -> None:
        """Now, before its first use."""
        cells = list(a.array.cells())
        self.left[cells] = self.words[cells]
        if a.kind == "dup" and a.array.item == self.w:
            self.values.add(a.array.on(self.memory), a.array.base)

    # ---- small questions

    def changed(self) -> Bits:
        """Since their last event; meaningful where there is a fingerprint."""
        return bits_where(self.words != self.left)

    def fail(self, why: str, *classes: str) -> None:
        self.expected.update(classes)
        self.why = self.why or why

    def unseen(self, cells: Bits, when: str) -> None:
        """Without verification nobody says what becomes of it."""
        taken = any(not cells & ~c and self.content(c) == content for c, content, *_ in self.followed)
        if self.program.verify and taken and not cells & self.declared:
            self.may("UnseenWriteError")  # or the copy in its place is followed
            self.undecided = True
        elif self.program.verify:
            self.fail(f"unseen write to {cells_of(cells)}, {when}", "UnseenWriteError")
        else:
            self.undecided = True

    def may(self, *classes: str) -> None:
        self.possible.update(classes)

    def operand(self, call: Call, f: Footprint, key: str) -> np.ndarray:
        at, w = f.at[key], width(call.letter)
        x = self.words[at] if w == 1 else np.stack([self.words[at], self.words[at + 1]], -1)
        return x if w == 1 else np.ascontiguousarray(x).view(np.dtype([("re", x.dtype), ("im", x.dtype)]))[..., 0]

    # ---- a call

    def before(self, call: Call) -> Footprint:
        self.f = f = way(call).footprint(call, self.memory, self.dup | self.live)
        self.old = self.words.copy()
        if self.expected:
            return f
        f = self.f = self.assume(call, f)
        for out, own in f.results.items():
            others = [key for key in f.reads.keys() | f.results.keys() if key != out]
            if any(own & (f.reads.get(key, 0) | f.results.get(key, 0)) for key in others) and f.touches & (
                self.dup | self.live
            ):
                self.fail("the output overlaps an input", "AliasError")
        for key in call.scalars:
            overlap = f.bits.get(key, 0) & f.result if key in self.counts(call) else 0
            if overlap and f.touches & (self.dup | self.live):
                if f.bits[key] & (self.declared | self.live):
                    self.fail(f"the output overlaps {key}", "AliasError")
                else:
                    self.may("AliasError")
        if f.active and f.result & self.const:
            self.fail("active into constant memory", "ActivityError")
        self.look_at_scalars(call, f)
        self.verify(f)
        if self.expected:
            return f
        if self.saves:
            self.keep(f)
        if f.active:
            way(call).push(call, f, self.memory, self.derivative)
        elif f.writes:
            self.derivative.cut(cells_of(f.writes))
        return f

    def assume(self, call: Call, f: Footprint) -> Footprint:
        """Undeclared operands: copies and assumptions. A copy that is followed becomes active, and all is new."""
        changed = self.changed() if self.program.verify else 0
        at = iter(f.reads)
        while key := next(at, None):
            own = f.reads[key]
            if (unknown := self.unknown(own, changed)) and self.copy(call, f, key, whole=unknown == own):
                f = way(call).footprint(call, self.memory, self.dup | self.live)
                at = iter(f.reads)
        for key, own in f.reads.items():
            unknown = self.unknown(own, changed)
            maybe = unknown & self.unsure & ~changed  # was out of date when last read, and no longer is
            self.unsure |= unknown & self.known
            self.known &= ~unknown
            if unknown & ~maybe:
                self.assumptions.add((self.calls, key))
            elif unknown:
                self.optional.add((self.calls, key))
        if self.program.undeclared == "error":
            if any(i == self.calls for i, _ in self.assumptions):
                self.fail("an undeclared operand", "ActivityError")
            elif any(i == self.calls for i, _ in self.optional):
                self.may("ActivityError")
        return f

    def unknown(self, cells: Bits, changed: Bits) -> Bits:
        return cells & ~self.declared & ~self.live & ~(self.known & ~changed)

    def copy(self, call: Call, f: Footprint, key: str, whole: bool) -> bool:
        """An operand, undeclared in part or as a whole, that may be a copy; True if it is followed."""
        if key not in f.whole:
            return False
        x, own = self.operand(call, f, key), f.reads[key]
        flat = x.tobytes("C" if call.row_major else "F")
        if x.size < 8 or len(set(x.ravel().tolist())) == 1:
            return False
        for a, _ in self.ranges:
            if a.kind == "dup" and a.array.item == self.w:
                self.values.add(a.array.on(self.memory))
        whole = whole and bool(own & (~self.ended | self.changed()))
        if whole and (origins := self.values.whole(x, flat)):
            if self.program.copies == "error":
                if self.program.verify:
                    self.fail("a copy of an active value", "ActivityError")
                else:
                    self.may("ActivityError")
                return False
            for cells, content, by, bound, source, then in reversed(self.followed):
                if not own & ~cells and self.content(cells) == content:
                    columns = [i for i, c in enumerate(cells_of(cells)) if own >> c & 1]
                    mine = cells_of(own)
                    self.derivative.by[:, mine] = by[:, columns]
                    self.derivative.bound[mine] = bound[columns]
                    self.live |= own
                    self.touched |= source & self.dup
                    self.left[mine] = self.words[mine]
                    self.events.append("copy followed")
                    symmetric = len(set(both_orders(x))) == 1  # as can be what is no square, if numbers repeat
                    if self.content(source) != then or len(origins) > 1 or symmetric:
                        self.may("ActivityError")
                    return True
            self.undecided = True
        elif self.values.perhaps(x):
            if self.program.copies == "error":
                self.may("ActivityError")
            else:
                self.undecided = True
        return False

    def content(self, cells: Bits) -> bytes:
        return self.words[cells_of(cells)].tobytes()

    def look_at_scalars(self, call: Call, f: Footprint) -> None:
        """Constant scalars with the bits of a one-element active output (8)."""
        for key, value in f.value.items():
            if key in f.scalars or value in (0, 1, -1) or key not in self.counts(call):
                continue
            if self.number(value) in self.returned:
                self.fail(f"{key} has the bits of an active result", "ActivityError")

    def counts(self, call: Call) -> frozenset[str]:
        """Scalars that the result depends on, whatever their values are."""
        return anatomy(call.family, call.letter, call.row_major, call.sizes()).counts

    def number(self, value: complex) -> bytes:
        return np.array([value], f"c{2 * self.memory.itemsize}").tobytes()

    def verify(self, f: Footprint) -> None:
        changed = self.changed()
        reads = f.read
        watched = reads & (self.dup | (self.live if f.active else 0))
        if self.saves:
            watched |= f.needs & self.const & self.printed
        if changed & watched:
            self.unseen(changed & watched, "read")
        if self.saves:
            self.check_saved(f.needs, f.writes, changed)
            fresh = f.needs & self.const & ~self.printed
            if fresh & self.doubtful & changed:
                self.may("UnseenWriteError")
            if not self.expected:
                cells = cells_of(fresh)
                self.left[cells] = self.words[cells]
                self.printed |= fresh
                self.doubtful &= ~fresh

    def check_saved(self, needs: Bits, writes: Bits, changed: Bits) -> None:
        bad = changed & (self.need | needs & self.declared) & writes & self.printed
        if bad:
            self.unseen(bad, "saved")

    def keep(self, f: Footprint) -> None:
        """Section 6."""
        self.keep_now(f.needs)
        self.overwrite(f.writes)

    def keep_now(self, needs: Bits) -> None:
        self.need |= needs & self.declared
        other = needs & ~self.declared
        if other:
            stale = other & (bits_where(self.words != self.copies) | ~self.copied)
            cells = cells_of(stale)
            self.copies[cells] = self.words[cells]
            self.copied |= stale
            self.saved += len(cells) * self.memory.itemsize

    def overwrite(self, cells: Bits) -> None:
        self.saved += (self.need & cells).bit_count() * self.memory.itemsize
        self.need &= ~cells

    def after(self, call: Call) -> str | None:
        """Says what is wrong with memory."""
        f = self.f
        written = flags_of(f.writes, self.count)
        if ((self.words != self.old) & ~written).any():
            return "a call changed what it does not write"
        if wrong := self.primal(call, f):
            return wrong
        if self.expected:
            return None
        scratch = f.result & ~self.declared
        if f.active:
            born = cells_of(scratch & ~self.live)
            self.left[born] = self.words[born]
            self.live |= scratch
            self.known &= ~scratch
        else:
            self.live &= ~f.writes
            self.known |= f.writes & ~self.declared
        self.unsure &= ~f.writes
        self.ended &= ~f.writes
        self.left[written] = self.words[written]
        self.printed &= ~(f.writes & self.const)
        self.touched |= (f.read | f.writes) & self.dup
        self.half_touched |= f.result & self.dup
        if self.saves and f.active:
            self.keep_now(f.left)
        for key in f.whole - f.results.keys() if f.active else ():
            if f.reads.get(key, 0) & (self.dup | self.live) and f.at[key].size >= 8:
                self.values.add(self.operand(call, f, key))
        for key, own in f.results.items() if f.active else ():
            if own & f.writes and own.bit_count() == width(call.letter):
                cell = cells_of(own)[0]
                x = self.memory[cell : cell + width(call.letter)].tolist()
                self.returned.add(self.number(complex(*x)))
            if own & f.writes and key in f.whole:
                self.values.add(self.operand(call, f, key), call[key])
        self.calls += 1
        return None

    def primal(self, call: Call, f: Footprint) -> str | None:
        overlaps = any(own & other for k, own in f.results.items() for key, other in f.bits.items() if key != k)
        if not f.writes or overlaps:
            return None  # what overlaps is undefined
        old = self.old.view(self.memory.dtype)
        at, want = way(call).wanted(call, f, old)
        scale = (1 + max(np.abs(old).max(), np.abs(want).max())) ** 3
        close = np.abs(self.memory[at] - want) <= 100 * np.finfo(self.memory.dtype).eps * scale
        return None if close.all() else "a call computed something else"

    # ---- announcements

    def assigned(self, step: Announced) -> None:
        """Before the block; afterwards `assigned_end`."""
        if self.expected:
            return
        self.block = bits_of(step.array.cells())
        if self.saves:
            self.check_saved(0, self.block, self.changed())
            if not self.expected:
                self.overwrite(self.block)

    def assigned_end(self) -> None:
        if self.expected:
            return
        cells = cells_of(self.block)
        self.derivative.cut(cells)
        self.left[cells] = self.words[cells]
        self.live &= ~self.block
        self.unsure &= ~self.block
        self.known |= self.block & ~self.declared  # said to be constant: no assumption
        self.printed &= ~(self.block & self.const)
        self.doubtful |= self.block & self.const
        self.half_touched |= self.block & self.dup

    def forget(self, step: Announced) -> None:
        if self.expected:
            return
        block = bits_of(step.array.cells()) & ~self.declared
        self.derivative.cut(cells_of(block))
        self.ended |= block & self.live
        self.live &= ~block
        self.known &= ~block
        self.unsure &= ~block

    def wrote(self, step: Write) -> None:
        """After the program's own code wrote: a copy is remembered, in case it is followed."""
        if step.how == "copy" and self.program.copies == "follow" and not self.expected:
            to, source = bits_of(step.cells), bits_of(step.source)
            order = np.argsort(step.cells)
            columns = np.array(step.source)[order]
            by, bound = self.derivative.by[:, columns].copy(), self.derivative.bound[columns].copy()
            self.followed.append((to, self.content(to), by, bound, source, self.content(source)))

    def blinded(self, step: Write) -> None:
        """What blasad cannot recognize as a copy counts as one here."""
        x = self.words[sorted(step.cells)]
        if self.w == 2:
            x = x.view(np.dtype([("re", x.dtype), ("im", x.dtype)]))
        self.values.add(x, step.source[0])

    # ---- the end

    def end(self) -> None:
        changed = self.changed()
        if self.expected:
            return
        if changed & self.touched:
            self.unseen(changed & self.touched, "touched, at the end")
        elif changed & self.half_touched:
            self.may("UnseenWriteError")
        for a, own in self.ranges if self.program.verify else ():
            if a.kind == "dup" and changed & own and not own & self.touched:
                (self.optional if own & self.half_touched else self.assumptions).add((None, a.label))
        if self.program.undeclared == "error" and self.assumptions:
            self.fail("annotated memory that no call touched changed", "ActivityError")
        elif self.program.undeclared == "error" and self.optional:
            self.may("ActivityError")

    def replay(self) -> None:
        changed = self.changed()
        if not self.expected and changed & self.need & self.printed:
            self.unseen(changed & self.need, "needed, before the replay")
        elif changed & self.need & self.doubtful:
            self.may("UnseenWriteError")

    def shadows(self, seeds: np.ndarray) -> np.ndarray:
        """Of the annotated cells, in the order of `inputs`."""
        by = self.derivative.by[:, self.inputs]
        return by @ seeds if self.saves else seeds @ by

    def scale(self) -> float:
        return 1 + float(self.derivative.bound[self.inputs].sum())

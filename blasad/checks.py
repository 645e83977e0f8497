"""Gradient checks for users: the derivatives that the tape gives, against differences of the program itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .activity import Annotation, BatchDuplicated, Const, Duplicated, Forward, Mode, Reverse
from .autodiff import annotate, holds_numbers
from .calls import Call, Operand
from .errors import GradientError, UnsupportedError
from .memory import Memory, describe, shadow
from .tape import Tape

Real = np.ndarray[Any, np.dtype[np.float64]]


def check_gradients(
    f: Callable[..., Any],
    *args: Any,
    modes: Sequence[str] = ("forward", "reverse"),
    order: int = 1,
    rtol: float | None = None,
) -> None:
    """Checks forward and reverse mode of a function against finite differences and against each other.

    With all memory that is ``Duplicated`` as one vector of real numbers x, f maps x to F(x), the memory after it. Along a
    random direction v and for a random seed w the check compares: forward mode's J v with central differences of F,
    element by element; the reverse mode's <Jᵀ w, v> with <w, J v> by differences; and, to name a culprit, single entries
    of Jᵀ w with differences of <w, F>.

    Parameters
    ----------
    f, *args
        As for :func:`blasad.autodiff`. The memory behind the arguments, shadows included, is as before afterwards.
    modes : sequence of {"forward", "reverse"}
    order : {1, 2}
        2 checks second derivatives as well: forward over reverse against central differences of the reverse mode's Jᵀ w
        along v, element by element.
    rtol : float, optional
        Relative to the largest number compared. Without it 1e-6 in double and 2e-2 in single precision, which is what
        differences can tell.

    Raises
    ------
    GradientError
        Names the entry, both numbers and the last call that touched it.
    """
    if order not in (1, 2):
        raise UnsupportedError(f"check_gradients(order={order}) is not there in this version; 1 and 2 are")
    unknown = set(modes) - {"forward", "reverse"}
    if unknown:
        raise ValueError(f"modes={modes!r}: a mode is 'forward' or 'reverse'")
    check = _Check(f, args)
    try:
        for mode in modes:
            (check.forward if mode == "forward" else check.reverse)(rtol)
        if order == 2:
            check.second(rtol)
    finally:
        check.restore()


@dataclass
class _Buffer:
    """A Duplicated argument: its memory, its shadow's, and what was in both."""

    name: str
    x: np.ndarray[Any, np.dtype[Any]]
    dx: np.ndarray[Any, np.dtype[Any]]
    memory: Memory
    size: int  # real numbers


class _Check:
    def __init__(self, f: Callable[..., Any], args: Sequence[Any]) -> None:
        self.f = f
        self.args = args
        self.buffers: list[_Buffer] = []
        self.kept: list[tuple[np.ndarray[Any, np.dtype[Any]], np.ndarray[Any, np.dtype[Any]]]] = []
        for i, a in enumerate(self.args):
            if not isinstance(a, Annotation):
                continue
            name = f"argument {i + 1}"
            if isinstance(a, Const) and not holds_numbers(a):
                continue
            if isinstance(a, BatchDuplicated):
                raise TypeError(
                    f"{name} is BatchDuplicated; check_gradients takes Duplicated, and finds its directions itself"
                )
            memory = describe(a.primal, name, **a.size)  # type: ignore[arg-type]
            x = memory.array()
            if memory.writable:
                self.kept.append((x, x.copy()))
            if isinstance(a, Duplicated):
                dx = describe(a.shadow, f"the shadow of {name}", **a.size).array()  # type: ignore[arg-type]
                self.kept.append((dx, dx.copy()))
                self.buffers.append(_Buffer(name, x, dx, memory, x.size * (2 if np.iscomplexobj(x) else 1)))
        # The same pair given twice, or a part of one, is one annotation: its elements count once.
        self.buffers.sort(key=lambda b: -b.size)
        distinct: list[_Buffer] = []
        for b in self.buffers:
            if not any(np.shares_memory(b.x, d.x) for d in distinct):
                distinct.append(b)
        self.buffers = distinct
        self.single = any(b.x.dtype.itemsize // (2 if np.iscomplexobj(b.x) else 1) == 4 for b in self.buffers)
        self.random = np.random.default_rng(0)
        self.before = self.read([b.x for b in self.buffers])

    def restore(self) -> None:
        for x, content in self.kept:
            x[...] = content

    # ---- memory as one vector of real numbers

    def read(self, arrays: list[np.ndarray[Any, np.dtype[Any]]]) -> Real:
        parts = [np.ascontiguousarray(a).ravel() for a in arrays]
        real = [p.view(p.real.dtype) if np.iscomplexobj(p) else p for p in parts]
        return np.concatenate([r.astype(np.float64) for r in real]) if real else np.zeros(0)

    def write(self, arrays: list[np.ndarray[Any, np.dtype[Any]]], values: Real) -> None:
        at = 0
        for a in arrays:
            n = a.size * (2 if np.iscomplexobj(a) else 1)
            part = values[at : at + n].astype(a.real.dtype)
            a[...] = (part.view(a.dtype) if np.iscomplexobj(a) else part).reshape(a.shape)
            at += n

    def locate(self, i: int) -> tuple[_Buffer, int]:
        for b in self.buffers:
            if i < b.size:
                return b, i
            i -= b.size
        raise IndexError(i)

    # ---- the program

    def run(self, x: Real) -> Real:
        """F(x), without a tape."""
        self.restore()
        self.write([b.x for b in self.buffers], x)
        self.f(*(a.primal if isinstance(a, Annotation) else a for a in self.args))
        return self.read([b.x for b in self.buffers])

    def taped(self, mode: Mode, shadows: Real, x: Real | None = None) -> tuple[Real, list[Call]]:
        """The shadows after the derivative at x, from these before it, and the calls."""
        self.prepare(shadows, x)
        calls = self.derive(mode)
        return self.read([b.dx for b in self.buffers]), calls

    def prepare(self, shadows: Real, x: Real | None = None) -> None:
        self.restore()
        if x is not None:
            self.write([b.x for b in self.buffers], x)
        self.write([b.dx for b in self.buffers], shadows)

    def derive(self, mode: Mode) -> list[Call]:
        tape = Tape(mode, undeclared="constant")
        primals = [annotate(tape, f"argument {i + 1}", a) for i, a in enumerate(self.args)]
        with tape:
            self.f(*primals)
        if mode is Reverse:
            tape.reverse()
        calls = list(tape)
        tape.close()
        return calls

    def tangents_of_adjoint(self, w: Real, v: Real) -> tuple[Real, list[Call]]:
        """Derivative of Jᵀ w along v: a tape in forward mode around recording and replaying."""
        self.prepare(w)
        outer = Tape(Forward, undeclared="constant")
        found = []
        for b in self.buffers:
            dx, tangent = shadow(b.x), shadow(b.dx)
            outer.duplicated(b.x, dx, name=b.name)
            outer.duplicated(b.dx, tangent, name=f"the shadow of {b.name}")
            found.append((dx, tangent))
        self.write([dx for dx, _ in found], v)
        for a in self.args:
            if isinstance(a, Const):
                annotate(outer, "a constant argument", a)
        with outer:
            self.derive(Reverse)
        calls = list(outer)
        outer.close()
        return self.read([tangent for _, tangent in found]), calls

    def difference(self, v: Real, f: Callable[[Real], Real] | None = None) -> Real:
        """Central difference of F or `f` along v; 0 where memory holds what no perturbation reaches (NaN, Inf)."""
        size = max(1.0, float(np.max(np.abs(self.before[np.isfinite(self.before)]), initial=0)))
        step = (5e-3 if self.single else 6e-6) * size
        plus, minus = ((f or self.run)(self.before + sign * step * v) for sign in (1, -1))
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(np.isfinite(plus) & np.isfinite(minus), plus - minus, 0) / (2 * step))

    # ---- the checks

    def forward(self, rtol: float | None) -> None:
        v = self.random.standard_normal(self.before.size)
        tangent, calls = self.taped(Forward, v)
        wanted = self.difference(v)
        self.compare("forward mode's tangent", tangent, wanted, calls, rtol)

    def reverse(self, rtol: float | None) -> None:
        w = self.random.standard_normal(self.before.size)
        v = self.random.standard_normal(self.before.size)
        adjoint, calls = self.taped(Reverse, w)
        moved = self.difference(v)
        left, right = float(adjoint @ v), float(w @ moved)
        scale = float(np.abs(adjoint) @ np.abs(v) + np.abs(w) @ np.abs(moved))
        if abs(left - right) <= self.tolerance(rtol) * max(scale, 1e-300):
            return
        unit, wanted = np.zeros_like(v), np.zeros_like(v)
        for i in range(v.size):
            unit[:] = 0
            unit[i] = 1
            wanted[i] = w @ self.difference(unit)
        self.compare("reverse mode's adjoint", adjoint, wanted, calls, rtol)
        raise GradientError(
            f"reverse mode: <Jᵀ w, v> = {left!r}, but <w, J v> = {right!r} by differences, for a random seed w and direction v"
        )

    def second(self, rtol: float | None) -> None:
        w = self.random.standard_normal(self.before.size)
        v = self.random.standard_normal(self.before.size)
        got, calls = self.tangents_of_adjoint(w, v)
        wanted = self.difference(v, lambda x: self.taped(Reverse, w, x)[0])
        self.compare("forward over reverse: the derivative of the adjoint", got, wanted, calls, rtol)

    def tolerance(self, rtol: float | None) -> float:
        return rtol if rtol is not None else 2e-2 if self.single else 1e-6

    def compare(self, what: str, got: Real, wanted: Real, calls: list[Call], rtol: float | None) -> None:
        scale = max(float(np.max(np.abs(wanted), initial=0)), 1e-300)
        error = np.abs(got - wanted)
        worst = int(np.argmax(np.where(np.isnan(error), np.inf, error))) if error.size else 0
        if not error.size or error[worst] <= self.tolerance(rtol) * scale:
            return
        buffer, i = self.locate(worst)
        part = ""
        if np.iscomplexobj(buffer.x):
            i, imaginary = divmod(i, 2)
            part = " (imaginary part)" if imaginary else " (real part)"
        index = tuple(int(k) for k in np.unravel_index(i, buffer.x.shape))
        address = buffer.memory.address + sum(k * s for k, s in zip(index, buffer.memory.strides, strict=True))
        touching = [c for c in calls if any(_holds(c, o, address, buffer.x.dtype.itemsize) for o in c.operands)]
        raise GradientError(
            f"{what} at {buffer.name}{list(index)}{part} is {got[worst]!r}, central differences give {wanted[worst]!r}; "
            + (f"the last call that touched it is {touching[-1]}" if touching else "no recorded call touched it")
        )


def _holds(call: Call, o: Operand, address: int, size: int) -> bool:
    """Whether an operand has the element: its lines, columns or rows, or the numbers of a vector, lie `ld` elements
    apart."""
    offset, rest = divmod(address - o.address, size)
    if rest or offset < 0 or o.role == "unused":
        return False
    line, place = divmod(offset, max(abs(o.ld), 1))
    lines, length = (o.shape[0], 1) if o.vector else o.shape if call.row_major else o.shape[::-1]
    return line < lines and place < length

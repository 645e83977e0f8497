"""Derivatives of one call by the chain rule over the array operations of `primal.py`, in extended precision.

An oracle for calls of any size: `oracles.Linear` takes one difference an element, this takes one pass. It knows nothing
of BLAS; what it knows of each NumPy operation is below, tangent beside adjoint. On complex arrays the inner product is
Re sum conj(x) y. 0 times anything is 0 where one factor is a scalar.
"""

from collections.abc import Callable, Collection
from itertools import count
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from oracles import ROUTINES, Call, Memory, Step

Map = Callable[[np.ndarray], np.ndarray]
_order = count()


def _fit(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """What a gradient is to something that was broadcast to its shape, and perhaps made complex."""
    x = np.asarray(x)
    if x.shape != like.shape:
        x = x.sum(axis=tuple(range(x.ndim - like.ndim)))
        x = x.sum(axis=tuple(i for i, n in enumerate(like.shape) if n == 1), keepdims=True) if like.ndim else x
    return x if like.dtype.kind == "c" else x.real


def _times(factor: np.ndarray, x: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(factor == 0, x.dtype.type(0), factor * x)


def _over(x: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    return np.where(divisor == 0, x.dtype.type(0), x / divisor)


class Node:
    """A value, and for each of what it was made from a linear map and its transpose."""

    def __init__(self, value: np.ndarray, *parents: "tuple[Node, Map, Map]") -> None:
        self.value, self.parents, self.order = np.asarray(value), parents, next(_order)


class Array(NDArrayOperatorsMixin):
    """A name for a node, as much like a NumPy array as primal.py wants it; an assignment to elements makes a new node."""

    special = True  # whether it may be equal to a number

    def __init__(self, value: np.ndarray, *parents: "tuple[Array, Map, Map]") -> None:
        self.node = Node(value, *((x.node, forth, back) for x, forth, back in parents))

    value = property(lambda self: self.node.value)
    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    size = property(lambda self: self.value.size)
    T = property(lambda self: Array(self.value.T, (self, np.transpose, np.transpose)))
    real = property(lambda self: Array(self.value.real, (self, np.real, lambda g: g)))
    imag = property(lambda self: Array(self.value.imag, (self, np.imag, lambda g: _fit(1j * g, self.value))))

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def conj(self) -> "Array":
        return Array(self.value.conj(), (self, np.conj, np.conj))

    def astype(self, dtype: Any) -> "Array":
        value = self.value
        return Array(value.astype(dtype), (self, lambda d: d, lambda g: _fit(g, value)))

    def copy(self) -> "Array":
        return Array(self.value.copy(), (self, lambda d: d, lambda g: g))

    def __getitem__(self, at: Any) -> "Array":
        value = self.value

        def back(g: np.ndarray) -> np.ndarray:
            out = np.zeros(value.shape, value.dtype)
            np.add.at(out, at, _fit(g, value[at]))
            return out

        out = Array(value[at], (self, lambda d: d[at], back))
        out.special = self.special
        return out

    def __setitem__(self, at: Any, x: Any) -> None:
        old, given = self.value, _array(x)
        new = old.copy()
        new[at] = given.value
        turn = np.arange(new[at].size).reshape(new[at].shape)
        last = np.full(old.shape, -1)  # of repeated elements the last assignment stays
        last[at] = turn

        def kept(d: np.ndarray) -> np.ndarray:
            d = d.copy()
            d[at] = 0
            return d

        def placed(d: np.ndarray) -> np.ndarray:
            out = np.zeros(old.shape, np.result_type(old.dtype, d.dtype))
            out[at] = d
            return out

        def taken(g: np.ndarray) -> np.ndarray:
            return _fit(np.where(last[at] == turn, g[at], 0), given.value)

        self.node = Array(new, (self, kept, kept), (given, placed, taken)).node

    # ---- NumPy's functions, as far as primal.py uses them

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        assert method == "__call__", f"no derivative of {ufunc.__name__}.{method}"
        options.pop("out", None)  # x += y is x = x + y
        assert not options, f"no derivative of {ufunc.__name__} with {options}"
        if ufunc.__name__ in ("equal", "not_equal") and not all(getattr(x, "special", True) for x in inputs):
            return ufunc.__name__ == "not_equal"
        args = [_array(x) for x in inputs]
        values = [x.value for x in args]
        out = ufunc(*values)
        if ufunc.__name__ in ("equal", "not_equal", "less", "greater", "isfinite", "less_equal", "greater_equal"):
            return out
        maps = _UFUNCS[ufunc.__name__](*values)
        with_maps = zip(args, maps, strict=True)
        return Array(out, *((x, d, lambda g, x=x, t=t: _fit(t(g), x.value)) for x, (d, t) in with_maps))

    def __array_function__(self, function: Any, _types: Any, args: Any, options: Any) -> Any:
        assert not options, f"no derivative of {function.__name__} with {options}"
        return _FUNCTIONS[function.__name__](*args)


def _array(x: Any) -> Array:
    return x if isinstance(x, Array) else Array(np.asarray(x))


_UFUNCS: dict[str, Callable[..., list[tuple[Map, Map]]]] = {
    "add": lambda a, b: [(lambda d: d + np.zeros_like(b), lambda g: g), (lambda d: d + np.zeros_like(a), lambda g: g)],
    "subtract": lambda a, b: [
        (lambda d: d - np.zeros_like(b), lambda g: g),
        (lambda d: np.zeros_like(a) - d, lambda g: -g),
    ],
    "negative": lambda _: [(np.negative, np.negative)],
    "conjugate": lambda _: [(np.conj, np.conj)],
    "multiply": lambda a, b: [
        (lambda d: _times(b, d), lambda g: _times(b.conj(), g)),
        (lambda d: _times(a, d), lambda g: _times(a.conj(), g)),
    ],
    "divide": lambda a, b: [
        (lambda d: d / b, lambda g: g / b.conj()),
        (lambda d: -a / b**2 * d, lambda g: (-a / b**2).conj() * g),
    ],
    "matmul": lambda a, b: [
        (lambda d: d @ b, lambda g: g @ b.conj().T if b.ndim == 2 else np.multiply.outer(g, b.conj())),
        (lambda d: a @ d, lambda g: a.conj().T @ g if a.ndim == 2 else np.multiply.outer(a.conj(), g)),
    ],
    "square": lambda a: [(lambda d: 2 * a * d, lambda g: 2 * a.conj() * g)],
    "power": lambda a, b: [(lambda d: b * a ** (b - 1) * d, lambda g: b * a ** (b - 1) * g), (np.zeros_like,) * 2],
    # of a norm, which is no smooth one at 0: there it has none
    "sqrt": lambda a: [(lambda d: _over(d, 2 * np.sqrt(a)), lambda g: _over(g, 2 * np.sqrt(a)))],
    "absolute": lambda a: [(lambda d: np.sign(a) * d, lambda g: np.sign(a) * g)],
}


def _where(mask: np.ndarray, a: Any, b: Any) -> Array:
    a, b = _array(a), _array(b)

    def either(x: Array, mask: np.ndarray) -> tuple[Array, Map, Map]:
        return x, lambda d: np.where(mask, d, 0), lambda g: _fit(np.where(mask, g, 0), x.value)

    return Array(np.where(mask, a.value, b.value), either(a, mask), either(b, ~mask))


def _broadcast_to(x: Array, shape: Any) -> Array:
    return Array(np.broadcast_to(x.value, shape), (x, lambda d: np.broadcast_to(d, shape), lambda g: _fit(g, x.value)))


def _sum(x: Array) -> Array:
    return Array(np.sum(x.value), (x, np.sum, lambda g: np.broadcast_to(g, x.shape)))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where,
    "broadcast_to": _broadcast_to,
    "sum": _sum,
    "real": lambda x: x.real,
    "imag": lambda x: x.imag,
    "result_type": lambda *given: np.result_type(*(x.value if isinstance(x, Array) else x for x in given)),
}


class Traced:
    """A call, executed on a copy of `memory`: what it touched, memory after it, and both derivatives.

    Numbers in `moving` buffers, which are scalars, are not 0 or 1 to any question: a derivative by a scalar is that of
    its neighbours. That by operands is the call's own, for which such a scalar may be a reason to return at once.
    """

    def __init__(self, step: Step, memory: Memory, moving: Collection[str] = ()) -> None:
        self.moving = {n: np.zeros_like(memory[n]) for n in moving}
        self.still = Traced(step, memory) if moving else None
        arrays = {n: Array(x) for n, x in memory.items()}
        for n in moving:
            arrays[n].special = False
        self.start = {n: x.node for n, x in arrays.items()}
        self.call = Call(step, arrays)  # type: ignore[arg-type]
        with np.errstate(all="ignore"):
            ROUTINES[self.call.family](self.call)
        self.end = {n: x.node for n, x in arrays.items()}
        self.after = {n: x.value for n, x in self.end.items()}
        # everything that memory afterwards was made from, in the order of making
        found, waiting = {x.order: x for x in self.start.values()}, list(self.end.values())
        while waiting:
            if (x := waiting.pop()).order not in found:
                found[x.order] = x
                waiting.extend(parent for parent, _, _ in x.parents)
        self.made = [found[i] for i in sorted(found)]

    def push(self, tangents: Memory) -> Memory:
        """The Jacobian of memory before -> memory after, applied to tangents."""
        if self.still:
            own = self.still.push({**tangents, **self.moving})
            tangents = {n: x if n in self.moving else np.zeros_like(x) for n, x in tangents.items()}
            by_scalars = self._push(tangents)
            return {n: x + by_scalars[n] for n, x in own.items()}
        return self._push(tangents)

    def _push(self, tangents: Memory) -> Memory:
        given = {self.start[n].order: x for n, x in tangents.items()}
        with np.errstate(all="ignore"):
            for x in self.made:
                if x.parents:
                    parts = [d(given[parent.order]) for parent, d, _ in x.parents if parent.order in given]
                    if parts:
                        given[x.order] = sum(parts[1:], parts[0])
        return {n: given[x.order] for n, x in self.end.items()}

    def pull(self, shadows: Memory) -> Memory:
        """Its transpose, applied to shadows."""
        own = self.still.pull(shadows) if self.still else {}
        return {n: x if n in self.moving else own.get(n, x) for n, x in self._pull(shadows).items()}

    def _pull(self, shadows: Memory) -> Memory:
        given = {self.end[n].order: x for n, x in shadows.items()}
        with np.errstate(all="ignore"):
            for x in reversed(self.made):
                g = given.get(x.order)
                for parent, _, transpose in x.parents if g is not None else ():
                    part = transpose(g)
                    old = given.get(parent.order)
                    given[parent.order] = part if old is None else old + part
        return {n: given[x.order] for n, x in self.start.items()}

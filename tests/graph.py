"""Derivatives of derivatives, exactly: arithmetic as a graph of real additions and multiplications.

A BLAS call is a polynomial, and so is its adjoint. Here both are graphs, differentiated node by node by the chain rule,
and a derivative of theirs is a graph again, of any order: no rule of blasad's, no matrix, no BLAS. Each node has its value
and the sum of the moduli of the terms that it is summed from, both in extended precision.
"""

from collections.abc import Iterable, Iterator

import numpy as np

REAL = np.longdouble
Number = tuple[int, ...]  # a real number is one node, a complex one two
Element = Real = tuple[str, int]  # buffer and index, of a number or of a real
ZERO, ONE = 0, 1


class Graph:
    """Nodes by number, each made from earlier ones."""

    def __init__(self) -> None:
        self.value, self.bound = [REAL(0), REAL(1)], [REAL(0), REAL(1)]
        self.made: list[tuple[str, int, int]] = [("leaf", 0, 0)] * 2

    def _node(self, kind: str, a: int, b: int, value: REAL, bound: REAL) -> int:
        self.value.append(value)
        self.bound.append(bound)
        self.made.append((kind, a, b))
        return len(self.made) - 1

    def leaf(self, value: float) -> int:
        return self._node("leaf", 0, 0, REAL(value), abs(REAL(value)))

    def mark(self, a: int) -> int:
        """The same number as a node of its own, by which one can ask for a derivative."""
        return self._node("mark", a, a, self.value[a], self.bound[a])

    def add(self, a: int, b: int) -> int:
        if a == ZERO or b == ZERO:
            return a + b
        return self._node("add", a, b, self.value[a] + self.value[b], self.bound[a] + self.bound[b])

    def mul(self, a: int, b: int) -> int:
        if a == ZERO or b == ZERO:
            return ZERO
        if a == ONE or b == ONE:
            return a * b
        return self._node("mul", a, b, self.value[a] * self.value[b], self.bound[a] * self.bound[b])

    def negative(self, a: int) -> int:
        return ZERO if a == ZERO else self.mul(a, self.leaf(-1))

    def pull(self, results: Iterable[tuple[int, int]], since: int) -> dict[int, int]:
        """Adjoints of all nodes made since, for results with their adjoints."""
        adjoint: dict[int, int] = {}

        def give(node: int, g: int) -> None:
            if node >= since and g != ZERO:
                adjoint[node] = self.add(adjoint.get(node, ZERO), g)

        for node, g in results:
            give(node, g)
        for node in range(max(adjoint, default=-1), since - 1, -1):
            g = adjoint.get(node, ZERO)
            kind, a, b = self.made[node]
            if g == ZERO or kind == "leaf":
                continue
            give(a, self.mul(g, b) if kind == "mul" else g)
            if kind != "mark":
                give(b, self.mul(g, a) if kind == "mul" else g)
        return adjoint

    def push(self, tangents: dict[int, int], since: int) -> dict[int, int]:
        """Tangents of all nodes made since."""
        out = dict(tangents)
        for node in range(since, len(self.made)):
            kind, a, b = self.made[node]
            if node in tangents or kind == "leaf":
                continue
            da, db = out.get(a, ZERO), out.get(b, ZERO)
            if kind == "mul":
                da, db = self.mul(da, b), self.mul(db, a)
            tangent = da if kind == "mark" else self.add(da, db)
            if tangent != ZERO:
                out[node] = tangent
        return out


# ---------------------------------------------------------------- numbers, matrices, calls


class Arithmetic:
    """Memory of reals that are nodes: buffers by name, and what gemm does to them."""

    def __init__(self, complex_numbers: bool) -> None:
        self.graph, self.size = Graph(), 2 if complex_numbers else 1
        self.memory: dict[str, list[int]] = {}

    def number(self, x: complex) -> Number:
        """A constant. 0 and 1 by value are known to be just that."""
        parts = (x.real, x.imag)[: self.size]
        return tuple({0: ZERO, 1: ONE}[p] if p in (0, 1) else self.graph.leaf(p) for p in parts)

    def buffer(self, name: str, values: np.ndarray) -> None:
        """Numbers of which nothing is known, whatever their values."""
        self.memory[name] = [self.graph.leaf(p) for p in values.view(values.real.dtype)]

    def get(self, at: Element) -> Number:
        return tuple(self.memory[at[0]][at[1] * self.size : (at[1] + 1) * self.size])

    def set(self, at: Element, x: Number) -> None:
        self.memory[at[0]][at[1] * self.size : (at[1] + 1) * self.size] = x

    def add(self, x: Number, y: Number) -> Number:
        return tuple(self.graph.add(a, b) for a, b in zip(x, y, strict=True))

    def mul(self, x: Number, y: Number) -> Number:
        g = self.graph
        if self.size == 1:
            return (g.mul(x[0], y[0]),)
        real = g.add(g.mul(x[0], y[0]), g.negative(g.mul(x[1], y[1])))
        return real, g.add(g.mul(x[0], y[1]), g.mul(x[1], y[0]))

    def conj(self, x: Number) -> Number:
        return (x[0], *(self.graph.negative(p) for p in x[1:]))

    def gemm(self, step: dict[str, object]) -> None:
        """A step as the cases have it, with places "A[3]" or numbers."""
        m, n, k = (int(step[d]) for d in "mnk")
        row = step.get("layout", "col") == "row"
        alpha, beta = (self._scalar(step[s]) for s in ("alpha", "beta"))

        def at(key: str, i: int, j: int) -> Element:
            name, offset = parse(str(step[key]))
            ld = int(step["ld" + key])
            return name, offset + (i * ld + j if row else i + j * ld)

        def op(key: str, i: int, j: int) -> Number:
            flag = str(step["trans" + key]).upper()
            x = self.get(at(key, *((i, j) if flag == "N" else (j, i))))
            return self.conj(x) if flag == "C" else x

        out = {}
        for i in range(m):
            for j in range(n):
                total = self.mul(beta, self.get(at("c", i, j)))
                for l in range(k):
                    total = self.add(total, self.mul(alpha, self.mul(op("a", i, l), op("b", l, j))))
                out[at("c", i, j)] = total
        for place, x in out.items():
            self.set(place, x)

    def _scalar(self, x: object) -> Number:
        if isinstance(x, str) and not x.startswith("("):
            return self.get(parse(x))
        return self.number(complex(x))  # type: ignore[arg-type]

    def values(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """What a buffer holds, and the moduli."""
        value, bound = (
            np.array([of[p] for p in self.memory[name]], REAL) for of in (self.graph.value, self.graph.bound)
        )
        return value.view(np.clongdouble if self.size == 2 else REAL), bound.reshape(-1, self.size).sum(axis=1)


def parse(place: str) -> Element:
    name, _, index = place.partition("[")
    return name, int(index.rstrip("]") or 0)


# ---------------------------------------------------------------- layers


class Layer:
    """What a tape does to memory: from memory before to memory after, at the level of real numbers.

    `shadows`: of each annotated real those of a batch.
    """

    def __init__(self, arithmetic: Arithmetic, shadows: dict[Real, list[Real]]) -> None:
        self.graph, self.memory, self.shadows = arithmetic.graph, arithmetic.memory, shadows
        self.since = len(self.graph.made)
        self.before: dict[Real, int] = {}
        self.after: dict[Real, int] = {}
        for name, i in shadows:
            self.before[name, i] = self.memory[name][i] = self.graph.mark(self.memory[name][i])

    def close(self) -> None:
        self.after = {(name, i): self.memory[name][i] for name, i in self.shadows}

    def _each_shadow(self) -> Iterator[list[tuple[Real, Real]]]:
        for k in range(len(next(iter(self.shadows.values()), []))):
            yield [(x, shadows[k]) for x, shadows in self.shadows.items()]

    def _store(self, pairs: list[tuple[Real, Real]], found: dict[int, int], at: dict[Real, int]) -> None:
        for x, (name, i) in pairs:
            self.memory[name][i] = found.get(at[x], ZERO)

    def reverse(self) -> None:
        """The transposed Jacobian of memory before -> memory after."""
        for pairs in self._each_shadow():
            seeds = [(self.after[x], self.memory[name][i]) for x, (name, i) in pairs]
            self._store(pairs, self.graph.pull(seeds, self.since), self.before)

    def forward(self) -> None:
        """The Jacobian, when recording has ended."""
        for pairs in self._each_shadow():
            tangents = {self.before[x]: self.memory[name][i] for x, (name, i) in pairs}
            self._store(pairs, self.graph.push(tangents, self.since), self.after)


__all__ = ["Arithmetic", "Layer", "Real"]

"""Small programs on square matrices, and what holds of them under one tape and under two."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from roads import gemm

from blasad import Forward, Reverse, Tape

N = 3
Array = np.ndarray


class Matrices:
    """Square matrices in column-major memory, `x` as the calls take them and `[name]` as matrices, with shadows."""

    def __init__(self, names: str = "ABCHR", dtype: object = np.float64) -> None:
        rng = np.random.default_rng(5)
        self.x = {n: rng.uniform(-1, 1, N * N).astype(dtype) for n in names}
        self.dx = {n: rng.uniform(-1, 1, N * N).astype(dtype) for n in names}
        self.start = {n: x.copy() for n, x in self.dx.items()}

    def __getitem__(self, name: str) -> Array:
        return self.x[name].reshape(N, N).T.copy()

    def shadow(self, name: str) -> Array:
        return self.dx[name].reshape(N, N).T.copy()

    def before(self, name: str) -> Array:
        return self.start[name].reshape(N, N).T.copy()

    def annotate(self, tape: Tape, names: str) -> None:
        for n in names:
            tape.duplicated(self.x[n], self.dx[n], name=n)

    def gemm(self, c: str, a: str, b: str, **changes: Any) -> None:
        gemm(self.x, c, a, b, order=N, **changes)


def told(tape: Tape) -> list[str]:
    return [call.routine for call in tape]


@contextmanager
def ends_with(tape: Tape, error: type[BaseException], pattern: str) -> Iterator[list[BaseException]]:
    """The block of a tape that runs undisturbed and raises when it is left. Yields where the error will be."""
    said: list[BaseException] = []
    tape.__enter__()
    try:
        yield said
    except BaseException:
        tape.__exit__(*sys.exc_info())
        raise
    with pytest.raises(error, match=pattern) as caught:
        tape.__exit__(None, None, None)
    said.append(caught.value)


def relu(m: Matrices, tape: Tape, out: str = "R", x: str = "H", **functions: Any) -> None:
    """Between two products, announced: R <- max(H, 0)."""
    functions = {"vjp": lambda i, _o, d: d[0] * (i[0] > 0), "jvp": lambda i, _o, d: d[0] * (i[0] > 0), **functions}
    with tape.record(m.x[x], m.x[out], **functions):
        np.maximum(m.x[x], 0, out=m.x[out])


def two_products(m: Matrices, between: Callable[[], None]) -> None:
    m.gemm("H", "A", "B")
    between()
    m.gemm("C", "R", "B")


def masked(inputs: tuple[Array], _o: object, shadows: tuple[Array]) -> Array:
    """The shadow times the mask, by BLAS, so that it has a derivative of its own."""
    n = inputs[0].size
    mask, out = np.diag((inputs[0] > 0).astype(float)).ravel(), np.empty(n)
    memory = {"M": mask, "G": shadows[0], "out": out}
    gemm(memory, "out", "M", "G", m=n, n=1, k=n, lda=n, ldb=n, ldc=n)
    return out


def second_order(program: Callable[[Matrices, Tape], None], names: str = "ABC", scratch: str = "HR") -> None:
    """Forward over reverse of a program, and reverse over reverse, against differences of its gradient."""
    rng = np.random.default_rng(8)
    v = {n: rng.uniform(-1, 1, N * N) for n in names}

    def gradient(shift: float) -> dict[str, Array]:
        m = Matrices(names + scratch)
        for n in names:
            m.x[n] += shift * v[n]
        with Tape(undeclared="constant") as tape:
            m.annotate(tape, names)
            program(m, tape)
        tape.reverse()
        return m.dx

    high, low = gradient(1e-5), gradient(-1e-5)
    wanted = {n: (high[n] - low[n]) / 2e-5 for n in names}

    def nested(mode: Any, seeds: dict[str, tuple[Array, Array]]) -> Matrices:
        m = Matrices(names + scratch)
        with Tape(mode, undeclared="constant") as outer:
            for n in names:
                outer.duplicated(m.x[n], seeds[n][0], name=n)
                outer.duplicated(m.dx[n], seeds[n][1], name=f"d{n}")
            with Tape(undeclared="constant") as inner:
                m.annotate(inner, names)
                program(m, inner)
            inner.reverse()
            inner.close()
        str(outer)
        assert all(call.flops >= 0 for call in outer)
        if mode is Reverse:
            outer.reverse()
        return m

    tangents = {n: (v[n].copy(), np.zeros(N * N)) for n in names}
    nested(Forward, tangents)
    for n in names:
        assert np.allclose(tangents[n][1], wanted[n], rtol=1e-7, atol=1e-8), n
    # <u, H v> = <H u, v>: the adjoint of the gradient, seeded with u on the shadows
    u = {n: rng.uniform(-1, 1, N * N) for n in names}
    adjoints = {n: (np.zeros(N * N), u[n].copy()) for n in names}
    nested(Reverse, adjoints)
    left = sum(np.dot(u[n], wanted[n]) for n in names)
    right = sum(np.dot(adjoints[n][0], v[n]) for n in names)
    assert np.isclose(left, right, rtol=1e-7)

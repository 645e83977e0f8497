"""relu between two products, C = relu(A B) B, which is no BLAS: unannounced, with tape.record, and to second order."""

import textwrap
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import ways

from blasad import ActivityWarning, Forward, Reverse, Tape, shadow

N = 3
Array = ways.Array
Relu = Callable[[Tape, Array, Array], None]


def unannounced(_tape: Tape, h: Array, r: Array) -> None:
    np.maximum(h, 0, out=r)


def with_numpy(tape: Tape, h: Array, r: Array) -> None:
    with tape.record(h, r, vjp=lambda inputs, _outputs, douts: douts[0] * (inputs[0] > 0)):
        np.maximum(h, 0, out=r)


def with_blas(run: ways.Run) -> Relu:
    """The derivative as a product with a diagonal matrix: a recorded call, which has a derivative of its own."""

    def masked(inputs: tuple[Array], _outputs: object, shadows: tuple[Array]) -> Array:
        n = inputs[0].size
        mask, out = np.diag((inputs[0] > 0).ravel("F").astype(float)), np.empty((N, N), order="F")
        a, b, c = (x.ctypes.data for x in (mask, shadows[0], out))
        run.gemm(b"N", b"N", n, 1, n, 1.0, a, n, b, n, 0.0, c, n)
        return out

    def relu(tape: Tape, h: Array, r: Array) -> None:
        with tape.record(h, r, vjp=masked, jvp=masked):
            np.maximum(h, 0, out=r)

    return relu


class Program:
    """A and B with their shadows, and a seed for that of C."""

    def __init__(self, run: ways.Run, relu: Relu) -> None:
        rng = np.random.default_rng(382)
        self.run, self.relu = run, relu
        self.A, self.B, self.G = (np.asfortranarray(ways.rand(N, N, rng) - 0.5) for _ in range(3))
        self.dA, self.dB, self.dC = shadow(self.A), shadow(self.B), self.G.copy(order="F")
        self.H, self.R, self.C = (np.zeros((N, N), order="F") for _ in range(3))

    def record(self, **options: Any) -> Tape:
        with Tape(**options) as tape:
            for x, dx, name in ((self.A, self.dA, "A"), (self.B, self.dB, "B"), (self.C, self.dC, "C")):
                tape.duplicated(x, dx, name=name)
            self.run.mul(self.H, self.A, self.B)
            self.relu(tape, self.H, self.R)
            self.run.mul(self.C, self.R, self.B)
        return tape

    def gradient(self, shift: tuple[Array, Array] = (np.zeros((N, N)), np.zeros((N, N)))) -> tuple[Array, Array]:
        self.A += shift[0]
        self.B += shift[1]
        self.record(undeclared="constant").reverse()
        return self.dA, self.dB


def by_hand(p: Program) -> tuple[Array, Array]:
    h = p.A @ p.B
    dh = p.G @ p.B.T * (h > 0)
    return dh @ p.B.T, np.maximum(h, 0).T @ p.G + p.A.T @ dh


def close(found: tuple[Array, Array], wanted: tuple[Array, Array], tolerance: float = 1e-12) -> bool:
    return all(np.abs(x - y).max() <= tolerance for x, y in zip(found, wanted, strict=True))


def nested(run: ways.Run, mode: Any, u: tuple[Array, Array]) -> tuple[Array, Array]:
    """The second derivative times u: its tangent along u, or its adjoint, the matrix being symmetric."""
    p = Program(run, with_blas(run))
    zeros = shadow(p.A), shadow(p.B)
    seeds = tuple(x.copy(order="F") for x in u)
    of_inputs, of_gradient = (seeds, zeros) if mode is Forward else (zeros, seeds)
    with Tape(mode, undeclared="constant") as outer:
        for x, dx in zip((p.A, p.B, p.dA, p.dB), (*of_inputs, *of_gradient), strict=True):
            outer.duplicated(x, dx)
        p.gradient()
    if mode is Reverse:
        outer.reverse()
    return zeros


def show(run: ways.Run) -> None:
    p = Program(run, unannounced)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tape = p.record()
    for w in caught:
        print(textwrap.indent(f"{w.category.__name__}: {w.message}", "    "))
    run.expect(
        "unannounced: an ActivityWarning that names operand a of call 1",
        [w.category for w in caught] == [ActivityWarning] and "operand a" in str(caught[0].message),
    )
    tape.reverse()
    run.expect("unannounced: the gradient is right", close((p.dA, p.dB), by_hand(p)), False)

    for name, relu in (("a vjp in NumPy", with_numpy), ("a vjp made of BLAS", with_blas(run))):
        p = Program(run, relu)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            p.record().reverse()
        run.expect(f"{name}: the gradient is right", close((p.dA, p.dB), by_hand(p)))
        run.expect(f"{name}: ∂z_∂C ≈ zero(C)", ways.close(p.dC, 0 * p.C))

    rng = np.random.default_rng(8)
    u = ways.rand(N, N, rng), ways.rand(N, N, rng)
    step = 1e-5
    high, low = (Program(run, with_blas(run)).gradient((s * u[0], s * u[1])) for s in (step, -step))
    wanted = ((high[0] - low[0]) / (2 * step), (high[1] - low[1]) / (2 * step))
    run.expect("forward over reverse ≈ differences of the gradient", close(nested(run, Forward, u), wanted, 1e-8))
    run.expect("reverse over reverse ≈ differences of the gradient", close(nested(run, Reverse, u), wanted, 1e-8))


if __name__ == "__main__":
    ways.main(show)

"""Several shadows of the same memory, propagated together (section 1)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from memory_guard import bits
from roads import gemm

import blasad
from blasad import BatchDuplicated, Const, Duplicated, Forward, Reverse, Tape, autodiff, ffi

NAMES = "ABCs"
DTYPES = [np.float32, np.float64, np.complex64, np.complex128]


def random(rng: np.random.Generator, dtype: object) -> np.ndarray:
    x = rng.uniform(-1, 1, 4)
    return (x + 1j * rng.uniform(-1, 1, 4)).astype(dtype) if np.dtype(dtype).kind == "c" else x.astype(dtype)


class Batch:
    """2x2 matrices, active scalars, and a batch of seeds for each."""

    def __init__(self, size: int, dtype: object = np.float64) -> None:
        rng = np.random.default_rng(3)
        self.x = {n: random(rng, dtype) for n in NAMES}
        self.x["T"] = np.zeros(4, dtype)
        self.dx = {n: [random(rng, dtype) for _ in range(size)] for n in NAMES}

    def run(self) -> None:
        """Scratch, an output that is used again, active scalars."""
        gemm(self.x, "T", "A", "B", alpha="s")
        gemm(self.x, "C", "T", "A", transb="T", beta="s[1]")
        gemm(self.x, "A", "C", "T", beta=0.5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", [Reverse, Forward])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_batch_is_as_many_runs(size, mode, dtype):
    """To the last bit; and the program's own work is done once."""
    together, alone = Batch(size, dtype), [Batch(size, dtype) for _ in range(size)]
    with Tape(mode) as tape:
        for n in NAMES:
            tape.batch_duplicated(together.x[n], together.dx[n], name=n)
        together.run()
    assert len(tape) == 3
    if mode is Reverse:
        tape.reverse()
    for k, one in enumerate(alone):
        with Tape(mode) as tape:
            for n in NAMES:
                tape.duplicated(one.x[n], one.dx[n][k], name=n)
            one.run()
        if mode is Reverse:
            tape.reverse()
        for n in NAMES:
            assert bits(together.x[n]) == bits(one.x[n])
            assert bits(together.dx[n][k]) == bits(one.dx[n][k]), (n, k)


def as_list(dxs: list[np.ndarray]) -> tuple[object, dict[str, Any]]:
    return dxs, {}


def as_generator(dxs: list[np.ndarray]) -> tuple[object, dict[str, Any]]:
    return (dx for dx in dxs), {}


def as_addresses(dxs: list[np.ndarray]) -> tuple[object, dict[str, Any]]:
    return [dx.ctypes.data for dx in dxs], {"nbytes": 32}


def as_pointers(dxs: list[np.ndarray]) -> tuple[object, dict[str, Any]]:
    return tuple(ffi.cast("double *", dx.ctypes.data) for dx in dxs), {"count": 4}


@pytest.mark.parametrize("kind", [as_list, as_generator, as_addresses, as_pointers], ids=lambda f: f.__name__)
def test_through_autodiff(kind):
    b = Batch(3)
    wanted = Batch(3)
    for k in range(3):
        wanted.x = {n: x.copy() for n, x in b.x.items()}
        autodiff(Reverse, lambda *_: wanted.run(), *(Duplicated(wanted.x[n], wanted.dx[n][k]) for n in NAMES))
    arguments = []
    for n in NAMES:
        dxs, size = kind(b.dx[n])
        x = ffi.cast("double *", b.x[n].ctypes.data) if kind is as_pointers else b.x[n]
        arguments.append(BatchDuplicated(x.ctypes.data if kind is as_addresses else x, dxs, **size))
    assert repr(arguments[0]).startswith("BatchDuplicated(")
    seen: list[object] = []
    assert autodiff(Reverse, lambda *given: [seen.extend(given), b.run()][1], *arguments) is None
    assert seen == [a.primal for a in arguments] or kind in (as_list, as_generator)
    assert {n: [bits(dx) for dx in dxs] for n, dxs in b.dx.items()} == {
        n: [bits(dx) for dx in dxs] for n, dxs in wanted.dx.items()
    }


def test_the_rows_of_an_array_are_a_batch():
    """A Jacobian in one go: one row of seeds, one row of gradients, for each element of the result."""
    a, b, c = (random(np.random.default_rng(i), np.float64) for i in range(3))
    da, dc = np.zeros((4, 4)), np.eye(4)
    autodiff(
        Reverse,
        lambda *_: gemm({"A": a, "B": b, "C": c}, "C", "A", "B"),
        *(BatchDuplicated(c, dc), BatchDuplicated(a, da), Const(b)),
    )
    assert np.allclose(da, np.kron(b.reshape(2, 2), np.eye(2)))
    assert not dc.any()


def test_an_operation_of_ones_own_in_a_batch():
    x, y = np.arange(3.0), np.zeros(3)
    for mode in (Reverse, Forward):
        dx, dy = np.eye(3), 2 * np.eye(3)
        seen: list[list[float]] = []

        def scaled(_i: object, _o: object, shadows: tuple[np.ndarray], seen: list[list[float]] = seen) -> np.ndarray:
            seen.append(shadows[0].tolist())
            return 5 * shadows[0]

        with Tape(mode) as tape:
            tape.batch_duplicated(x, dx)
            tape.batch_duplicated(y, dy)
            with tape.record(x, y, scaled, scaled):
                y[:] = 5 * x
        if mode is Reverse:
            tape.reverse()
        assert seen == ((2 if mode is Reverse else 1) * np.eye(3)).tolist()
        assert np.array_equal(dx, 11 * np.eye(3) if mode is Reverse else np.eye(3))
        assert np.array_equal(dy, np.zeros((3, 3)) if mode is Reverse else 5 * np.eye(3))


def test_forward_over_a_batch():
    """Columns of a Hessian: a batch of tangents around a reverse tape."""
    rng = np.random.default_rng(1)
    v = [random(rng, np.float64) for _ in range(3)]

    def gradient(a: np.ndarray, tangents: list[np.ndarray] | None = None) -> np.ndarray:
        """Of <1, A A A> by A, with the tangents of the gradient left in `tangents`."""
        t, c, da, dc = np.zeros(4), np.zeros(4), np.zeros(4), np.ones(4)
        with Tape(Forward, undeclared="constant") as outer:
            if tangents is not None:
                outer.batch_duplicated(a, [x.copy() for x in v], name="A")
                outer.batch_duplicated(da, tangents, name="dA")
                outer.batch_duplicated(dc, np.zeros((3, 4)), name="dC")
            with Tape() as inner:
                inner.duplicated(a, da)
                inner.duplicated(c, dc)
                gemm({"A": a, "T": t, "C": c}, "T", "A", "A")
                gemm({"A": a, "T": t, "C": c}, "C", "T", "A")
            inner.reverse()
        return da

    a = random(rng, np.float64)
    found = [np.zeros(4) for _ in v]
    gradient(a, found)
    for direction, tangent in zip(v, found, strict=True):
        difference = (gradient(a + 1e-5 * direction) - gradient(a - 1e-5 * direction)) / 2e-5
        assert np.allclose(tangent, difference, rtol=1e-8, atol=1e-9)


X = np.ones(4)
BAD: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no shadow": (list, ValueError, "argument 1.*without a shadow"),
    "no sequence": (lambda: 3, TypeError, "shadows of argument 1.*sequence, not a int"),
    "another shape": (lambda: [np.ones(4), np.ones(3)], ValueError, r"argument 1.* shape \(4,\), shadow 2 of"),
    "another dtype": (lambda: [np.ones(4, np.float32)], ValueError, "dtype float64, shadow 1 of argument 1"),
    "other strides": (lambda: [np.ones(4), np.ones(8)[::2]], ValueError, "strides.*shadow 2 of"),
    "read-only": (lambda: [np.ones(4), np.frombuffer(bytes(32))], ValueError, "shadow 2 of argument 1.*read-only"),
    "NULL": (lambda: [np.ones(4), 0], ValueError, "shadow 2 of argument 1"),
    "one twice": (lambda: [X + 1] * 2, ValueError, "shares|overlap"),
    "the primal": (lambda: [X], ValueError, "shares|overlap"),
    "a string": (lambda: "ab", TypeError, "shadow 1 of argument 1.*str"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_batches(what):
    make, error, pattern = BAD[what]
    with pytest.raises(error, match=pattern):
        autodiff(Reverse, lambda _: pytest.fail("f ran"), BatchDuplicated(X, make()))


def test_one_number_of_shadows():
    """All annotations of a tape have it, and a batch of one is still a batch."""
    x, y = np.ones(4), np.ones(4)
    for first, second in (
        (BatchDuplicated(x, np.zeros((2, 4))), BatchDuplicated(y, np.zeros((3, 4)))),
        (BatchDuplicated(x, np.zeros((1, 4))), Duplicated(y, np.zeros(4))),
        (Duplicated(x, np.zeros(4)), BatchDuplicated(y, np.zeros((1, 4)))),
    ):
        with pytest.raises(ValueError, match="one number of shadows"):
            autodiff(Reverse, lambda *_: pytest.fail("f ran"), first, second)
        autodiff(Reverse, lambda *_: None, first, Const(y))


def test_check_gradients_takes_no_batches():
    with pytest.raises(TypeError, match=r"BatchDuplicated.*takes Duplicated"):
        blasad.check_gradients(lambda _: None, BatchDuplicated(np.ones(4), np.zeros((2, 4))))

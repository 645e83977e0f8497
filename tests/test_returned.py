"""Numbers that routines return: section 8, `tape.returned` and `Active`."""

import ctypes
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from roads import ROADS, Road, place

import blasad
from blasad import Active, BatchDuplicated, Const, Duplicated, Forward, Reverse, Tape, autodiff

ROAD = ROADS[0]
N = 5


def vector(seed: int, kind: str = "d", n: int = N) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal(2 * n)
    return {"d": x[:n], "s": x[:n].astype(np.float32), "z": x.view(complex), "c": x.view(complex).astype(np.complex64)}[
        kind
    ].copy()


SB = np.full(1, 0.75, np.float32)


def dot(x: np.ndarray, y: np.ndarray, road: Road = ROAD, routine: str = "", n: int = 0) -> Any:
    name = routine or {"f": "sdot", "d": "ddot", "F": "cdotu", "D": "zdotu"}[x.dtype.char]
    step: dict[str, Any] = {"call": name, "n": n or x.size}
    step |= {"sb": "sb"} if name == "ssbdot" else {}
    return road.call(step | {"x": "x", "incx": 1, "y": "y", "incy": 1}, place({"x": x, "y": y, "sb": SB}))


def axpy(alpha: Any, x: np.ndarray, y: np.ndarray) -> None:
    """alpha is a number, or an array that holds it and is passed by its address."""
    memory = {"x": x, "y": y} | ({"alpha": alpha} if isinstance(alpha, np.ndarray) else {})
    given = "alpha" if isinstance(alpha, np.ndarray) else float(alpha)
    step = {"call": "daxpy", "n": x.size, "alpha": given, "x": "x", "incx": 1, "y": "y", "incy": 1}
    ROAD.call(step, place(memory))


# ---------------------------------------------------------------- autodiff


@pytest.mark.parametrize("road", ROADS, ids=str)
def test_active(road):
    x, y = vector(1), vector(2)
    dx, dy = np.ones(N), np.ones(N)
    value = autodiff(Reverse, lambda x, y: dot(x, y, road), Active, Duplicated(x, dx), Duplicated(y, dy))
    assert value == dot(x, y, road)
    assert np.array_equal(dx, 1 + y)
    assert np.array_equal(dy, 1 + x)


@pytest.mark.parametrize("kind", "sdcz")
@pytest.mark.parametrize("wrap", [lambda v: v, np.asarray], ids=["number", "array of no axes"])
def test_active_of_every_type(kind, wrap):
    x, y = vector(1, kind), vector(2, kind)
    dx = np.zeros_like(x)
    value = autodiff(Reverse, lambda x, y: wrap(dot(x, y)), Active, Duplicated(x, dx), Const(y))
    assert value == dot(x, y)
    assert np.array_equal(dx, y.conj())


def test_active_of_a_scalar_type():
    """What NumPy makes of a single precision number has its bits."""
    x, y = vector(1, "s"), vector(2, "s")
    dx = np.zeros_like(x)
    autodiff(Reverse, lambda x, y: np.float32(dot(x, y)), Active, Duplicated(x, dx), Const(y))
    assert np.array_equal(dx, y)


def test_active_is_conjugated_on_the_left():
    x, y = vector(1, "z"), vector(2, "z")
    dx, dy = np.zeros_like(x), np.zeros_like(x)
    autodiff(Reverse, lambda x, y: dot(x, y, routine="zdotc"), Active, Duplicated(x, dx), Duplicated(y, dy))
    assert np.array_equal(dx, y)
    assert np.array_equal(dy, x)


def test_active_batch():
    x, y = vector(1), vector(2)
    shadows = [np.zeros(N), np.ones(N)]
    autodiff(Reverse, dot, Active, BatchDuplicated(x, shadows), Const(y))
    assert np.array_equal(shadows, [y, 1 + y])


def test_forward_returns_the_tangent():
    x, y, dx = vector(1), vector(2), vector(3)
    assert autodiff(Forward, dot, Duplicated, Duplicated(x, dx), Const(y)) == pytest.approx((x @ y, dx @ y))
    value, tangents = autodiff(Forward, dot, Duplicated, BatchDuplicated(x, (dx, y.copy())), Const(y))
    assert (value, *tangents) == pytest.approx((x @ y, dx @ y, y @ y))


def test_ambiguous_results():
    x, y = vector(1), vector(2)
    dx = np.zeros(N)

    def twice(x: np.ndarray, y: np.ndarray, other: np.ndarray) -> Any:
        dot(x, y)
        return dot(x, other)

    with pytest.raises(blasad.TapeError, match=r"calls 0 \(ddot\) and 1 \(ddot\) on different operands.*returned"):
        autodiff(Reverse, twice, Active, Duplicated(x, dx), Const(y), Const(y.copy()))
    assert not dx.any()
    autodiff(Reverse, twice, Active, Duplicated(x, dx), Const(y), Const(-y))
    assert np.array_equal(dx, -y)
    autodiff(Reverse, lambda x, y: max(dot(x, y) for _ in range(3)), Active, Duplicated(x, 0 * dx), Const(y))


def test_equal_results_of_other_content():
    """The same call on the same memory, which a recorded call changed in between into equal numbers."""
    x, y = np.array([1.0, 2.0]), np.array([3.0, 1.0])
    dx, c = np.zeros(2), np.array([1.0, 2.0])

    def f(x: np.ndarray, y: np.ndarray) -> float:
        r = dot(x, y)
        ROAD.call({"call": "dcopy", "n": 2, "x": "c", "incx": 1, "y": "x", "incy": 1}, place({"c": c, "x": x}))
        dot(x, y)
        return r

    with pytest.raises(blasad.TapeError, match="written in between"):
        autodiff(Reverse, f, Active, Duplicated(x, dx), Const(y), undeclared="constant")


def test_number_taken_while_recording():
    """It keeps no memory of its own that could go before the tape does."""
    x, y = vector(1), vector(2)
    dx = np.zeros(N)
    with Tape() as tape:
        tape.duplicated(x, dx)
        tape.const(y)
        dot(x, y)
        number = tape.returned(0)
    number.shadow[0] = 1
    del number
    more = [np.full(1, 7.0) for _ in range(64)]
    assert tape.returned(0).shadow[0] == 1
    tape.reverse()
    assert np.array_equal(dx, y), more[0]


def test_results_that_nothing_returned():
    x, y = vector(1), vector(2)
    dx = np.zeros(N)
    for f in (lambda x, y: 2 * dot(x, y), lambda x, y: 1.5, lambda x, y: np.nan):
        with pytest.raises(blasad.TapeError, match=r"no recorded call returned.*tape\.returned\(index\)"):
            autodiff(Reverse, f, Active, Duplicated(x, dx), Const(y))
    with pytest.raises(blasad.ActivityError, match="no Duplicated argument reaches it"):
        autodiff(Reverse, lambda x, y: dot(y, y), Active, Duplicated(x, dx), Const(y))
    for f in (lambda x, y: None, lambda x, y: (dot(x, y),), lambda x, y: 3):
        with pytest.raises(TypeError, match="Active or Duplicated"):
            autodiff(Reverse, f, Active, Duplicated(x, dx), Const(y))
    for mode, activity in ((Reverse, Duplicated), (Forward, Active), (Reverse, BatchDuplicated)):
        with pytest.raises(TypeError, match="the activity of the result"):
            autodiff(mode, dot, activity, Duplicated(x, dx), Const(y))
    assert not dx.any()


# ---------------------------------------------------------------- tape.returned


def recorded(mode: blasad.activity.Mode = Reverse, **options: Any) -> tuple[Tape, dict[str, np.ndarray]]:
    """Three calls: active, inactive and one that returns nothing."""
    b = {"x": vector(1), "y": vector(2), "dx": np.zeros(N)}
    with Tape(mode, **options) as tape:
        tape.duplicated(b["x"], b["dx"], name="x")
        tape.const(b["y"], name="y")
        dot(b["x"], b["y"])
        dot(b["y"], b["y"])
        dot(b["x"], b["x"])
        axpy(2.0, b["y"], b["x"])
    return tape, b


def test_returned():
    tape, b = recorded()
    x = b["x"] - 2 * b["y"]
    assert [tape.returned(i).value for i in range(3)] == pytest.approx([x @ b["y"], b["y"] @ b["y"], x @ x])
    assert [tape.returned(i).active for i in range(3)] == [True, False, True]
    assert tape.returned(-2) is tape.returned(2)
    for factor in (1, -3):  # again with new seeds
        b["dx"][:] = 0
        tape.returned(2).shadow[:] = factor
        tape.returned(0).shadow[0] = 10 * factor
        tape.reverse()
        assert b["dx"] == pytest.approx(factor * (2 * x + 10 * b["y"]))
        assert tape.returned(0).shadow == [0]
        assert tape.returned(2).shadow == [0]
    b["dx"][:] = 0
    tape.reverse()  # seeds are consumed
    assert not b["dx"].any()


def test_returned_says_what_is_wrong():
    tape, _ = recorded()
    with pytest.raises(IndexError, match="call 4 of a tape of 4"):
        tape.returned(4)
    with pytest.raises(blasad.TapeError, match="depends on nothing active"):
        _ = tape.returned(1).shadow
    with pytest.raises(ValueError, match=r"daxpy.*returns no number"):
        tape.returned(3)
    number = tape.returned(0)
    tape.close()
    with pytest.raises(blasad.TapeError, match="closed"):
        _ = number.shadow
    x = vector(1)
    with Tape() as tape:
        tape.duplicated(x, np.zeros(N))
        dot(x, x)
        assert tape.returned(0).value == dot(x, x)
        with pytest.raises(blasad.TapeError, match="still records"):
            _ = tape.returned(0).shadow


def test_a_number_does_not_keep_its_tape():
    tape, _ = recorded()
    number, gone = tape.returned(0), weakref.ref(tape)
    shadow = number.shadow
    del tape
    gc.collect()
    assert gone() is None
    assert shadow == [0]
    with pytest.raises(blasad.TapeError, match="gone"):
        _ = recorded()[0].returned(0).shadow


def test_returned_in_forward_mode():
    x, y, dx = vector(1), vector(2), vector(3)
    with Tape(Forward) as tape:
        tape.duplicated(x, dx)
        tape.const(y)
        for _ in range(3):
            dot(x, y)
            dot(x, x)
    for i in range(0, 6, 2):
        assert tape.returned(i).shadow == pytest.approx([dx @ y])
        assert tape.returned(i + 1).shadow == pytest.approx([2 * dx @ x])


def test_many_numbers():
    """More than a block of cells holds, each with a seed."""
    x, y = vector(1), vector(2)
    dx = np.zeros(N)
    with Tape() as tape:
        tape.duplicated(x, dx)
        tape.const(y)
        for _ in range(1000):
            dot(x, y)
    for i in np.random.default_rng(0).permutation(1000):
        tape.returned(int(i)).shadow[:] = 1 + i % 3
    tape.reverse()
    assert dx == pytest.approx(sum(1 + i % 3 for i in range(1000)) * y)


# ---------------------------------------------------------------- where the number goes


@pytest.mark.parametrize("by", ["value", "a copy in memory"])
def test_number_that_comes_back(by):
    """Section 8: passed on, its gradient would be cut."""
    x, y = vector(1), vector(2)

    def f(x: np.ndarray, y: np.ndarray) -> None:
        value = dot(x, y)
        axpy(value if by == "value" else np.array([value]), x, y)

    with pytest.raises(blasad.ActivityError, match=r"alpha.*has the bits of an active number"):
        autodiff(Reverse, f, Duplicated(x, np.zeros(N)), Duplicated(y, np.zeros(N)))


def test_number_for_control_flow_only():
    x, y = vector(1), vector(2)
    dy = np.ones(N)
    with Tape() as tape:
        tape.duplicated(x, np.zeros(N))
        tape.duplicated(y, dy)
        axpy(2.0 if dot(x, y) > 100 else 3.0, x, y)
    tape.reverse()
    assert np.array_equal(dy, np.ones(N))


def test_number_stored_through_a_pointer():
    """Scratch that another call reads at its address goes on being active."""
    x, y, z = vector(1, "z"), vector(2, "z"), vector(3, "z")
    scratch = np.zeros(1, complex)
    dx, dz = np.zeros_like(x), vector(4, "z")
    seed = dz.copy()
    road = next(r for r in ROADS if r.cblas)
    with Tape() as tape:
        tape.duplicated(x, dx, name="x")
        tape.const(y, name="y")
        tape.duplicated(z, dz, name="z")
        where = place({"x": x, "y": y, "z": z, "s": scratch})
        road.call({"call": "zdotu_sub", "n": N, "x": "x", "incx": 1, "y": "y", "incy": 1, "dot": "s"}, where)
        road.call({"call": "zaxpy", "n": N, "alpha": "s", "x": "y", "incx": 1, "y": "z", "incy": 1}, where)
    tape.reverse()
    g = np.vdot(y, seed)
    assert dx == pytest.approx(g * y.conj())
    dx[:], dz[:] = 0, 0
    tape.returned(0).shadow[:] = 2j
    tape.reverse()
    assert dx == pytest.approx(2j * y.conj())


@pytest.mark.parametrize("mode", [Forward, Reverse], ids=["forward", "reverse"])
def test_hidden_pointer(mode):
    """A function that returns its complex number through a hidden first argument is called like that, and noticed."""
    given = ctypes.POINTER(ctypes.c_double)
    integer = ctypes.POINTER(ctypes.c_int32)
    calls = []

    @ctypes.CFUNCTYPE(None, given, integer, given, integer, given, integer)
    def zdotu(result, n, x, incx, y, incy):
        calls.append(n[0])
        a, b = ([complex(v[2 * i], v[2 * i + 1]) for i in range(n[0])] for v in (x, y))
        value = sum((p * q for p, q in zip(a, b, strict=True)), 0j)
        result[0], result[1] = value.real, value.imag

    address = blasad.wrap("zdotu_", ctypes.cast(zdotu, ctypes.c_void_p).value, integer_bits=32)
    f = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6)(address)
    x, y, result = vector(1, "z"), vector(2, "z"), np.zeros(1, complex)
    dx, dresult = vector(3, "z"), np.array([2 - 1j])
    start, sizes = dx.copy(), np.array([N, 1], np.int32)
    n, inc = sizes.ctypes.data, sizes.ctypes.data + 4
    with Tape(mode) as tape:
        tape.duplicated(x, dx, name="x")
        tape.const(y, name="y")
        tape.duplicated(result, dresult, name="result")
        f(result.ctypes.data, n, x.ctypes.data, inc, y.ctypes.data, inc)
    assert calls[-1] == N
    assert result[0] == pytest.approx(x @ y)
    if mode is Forward:
        assert dresult == pytest.approx([start @ y])
    else:
        tape.reverse()
        assert dx == pytest.approx(start + (2 - 1j) * y.conj())
        assert dresult == [0]


# ---------------------------------------------------------------- norms


def norm(x: np.ndarray, family: str = "nrm2", inc: int = 1, n: int = 0) -> Any:
    letter = {"f": "s", "d": "d", "F": "c", "D": "z"}[x.dtype.char]
    step = {"call": letter + family, "n": n or -(-x.size // abs(inc)), "x": "x", "incx": inc}
    return ROAD.call(step, place({"x": x}))


def gradient(f: Any, x: np.ndarray) -> np.ndarray:
    dx = np.zeros_like(x)
    autodiff(Reverse, f, Active, Duplicated(x, dx))
    return dx


@pytest.mark.parametrize("kind", "sdcz")
def test_kinks(kind):
    """Section 4: a zero vector has adjoint 0, and so have the zeros of a sum of moduli."""
    zero = np.zeros(3, vector(0, kind).dtype)
    for family in ("nrm2", "asum"):
        assert not gradient(lambda x, f=family: norm(x, f), zero).any()
        assert autodiff(Forward, lambda x, f=family: norm(x, f), Duplicated, Duplicated(zero, zero + 1)) == (0, 0)
    x = vector(1, kind)
    x[2] = 0
    assert gradient(lambda x: norm(x, "asum"), x).tolist() == (np.sign(x.real) + 1j * np.sign(x.imag)).tolist()


@pytest.mark.parametrize("kind", "sdcz")
@pytest.mark.parametrize("power", [-1, -0.9, -0.5, 0.5, 0.9, 0.99])
def test_norm_of_any_size(kind, power):
    """x / r stays what it is where 1 / r or products with x are no numbers any more."""
    x = vector(1, kind)
    limits = np.finfo(x.dtype)
    x *= float(limits.tiny) ** -power if power < 0 else float(limits.max) ** power / 8
    x = x if power > 0 else vector(1, kind) * limits.dtype.type(float(limits.tiny) ** -power)
    wide = x.astype(np.clongdouble)
    want = wide / np.sqrt(np.sum(np.abs(wide) ** 2))
    tolerance = {"rtol": 20 * limits.eps, "atol": 20 * limits.eps}
    np.testing.assert_allclose(gradient(norm, x), want, **tolerance)
    dx = vector(2, kind)
    value, tangent = autodiff(Forward, norm, Duplicated, Duplicated(x, dx))
    assert value == norm(x)
    np.testing.assert_allclose(tangent, np.vdot(want, dx).real, **tolerance)


@pytest.mark.parametrize("kind", "sdcz")
def test_seed_far_above_a_norm(kind):
    """x / r times the seed is a number where the seed divided by r is none."""
    x = vector(1, kind)
    limits = np.finfo(x.dtype)
    x *= float(limits.tiny) ** 0.4
    seed, dx = float(limits.max) ** 0.9, np.zeros_like(x)
    with Tape(undeclared="constant") as tape:
        tape.duplicated(x, dx, name="x")
        norm(x)
    tape.returned(0).shadow[:] = seed
    tape.reverse()
    np.testing.assert_allclose(dx / seed, x / np.linalg.norm(x), rtol=20 * limits.eps)


@pytest.mark.parametrize("kind", "sdcz")
def test_increments_of_norms(kind):
    """Of any sign for nrm2; where the backend returns 0 it is constant."""
    x = vector(1, kind)
    for inc in (2, -2):
        mine = np.zeros_like(x)
        mine[::2] = x[::2]
        for family in ("nrm2", "asum"):
            value = norm(x, family, inc)
            dx = gradient(lambda x, f=family, i=inc: norm(x, f, i), x) if value else np.zeros_like(x)
            sign = np.sign(mine.real) + 1j * np.sign(mine.imag)
            want = 0 * mine if not value else mine / np.linalg.norm(mine) if family == "nrm2" else sign
            np.testing.assert_allclose(dx, want, rtol=1e-5)
    value = norm(x, "nrm2", 0, n=4)
    dx = gradient(lambda x: norm(x, "nrm2", 0, n=4), x) if value else 0 * x
    assert dx[0] == pytest.approx(2 * x[0] / abs(x[0]) if value else 0)
    assert not dx[1:].any()


@pytest.mark.parametrize("mode", [Forward, Reverse], ids=["forward", "reverse"])
@pytest.mark.parametrize("kind", "sdcz")
@pytest.mark.parametrize("family", ["nrm2", "asum"])
def test_second_order_of_norms(family, kind, mode, checked):
    """The Hessian of the norm along v is (v - u Re <u, v>) / r, u = x / r; that of a sum of moduli is 0."""
    checked(family, kind, "second order")
    x, v = vector(1, kind), vector(2, kind)
    tolerance = {"rtol": 50 * np.finfo(x.dtype).eps, "atol": 50 * np.finfo(x.dtype).eps}
    dx, ddx, tangent, seed = np.zeros_like(x), np.zeros_like(x), v.copy(), np.zeros(1, x.real.dtype)
    outer = Tape(mode, undeclared="constant")
    outer.duplicated(x, tangent if mode is Forward else ddx, name="x")
    outer.duplicated(dx, ddx if mode is Forward else tangent, name="dx")
    with outer:
        with Tape(undeclared="constant") as inner:
            inner.duplicated(x, dx, name="x")
            norm(x, family)
        inner.returned(0).shadow[:] = 3
        outer.duplicated(inner.returned(0).shadow, seed, name="seed")
        if mode is Forward:
            seed[:] = 5
        inner.reverse()
        inner.close()
    if mode is Reverse:
        outer.reverse()
    u, r = x / np.linalg.norm(x), np.linalg.norm(x)
    if family == "asum":
        u = np.sign(x.real) + 1j * np.sign(x.imag) if kind in "cz" else np.sign(x)
    curved = 3 * (v - u * np.vdot(u, v).real) / r if family == "nrm2" else 0 * x
    if mode is Forward:
        np.testing.assert_allclose(ddx, curved + 5 * u, **tolerance)
    else:
        np.testing.assert_allclose(ddx, curved, **tolerance)
        np.testing.assert_allclose(seed, np.vdot(u, v).real, **tolerance)


@pytest.mark.parametrize("mode", [Forward, Reverse], ids=["forward", "reverse"])
@pytest.mark.parametrize(
    ("family", "kind"),
    [("dot", "s"), ("dot", "d"), ("sbdot", "s"), ("dotu", "c"), ("dotu", "z"), ("dotc", "c"), ("dotc", "z")],
)
def test_second_order_of_products(family, kind, mode, checked):
    """With seed s the replay adds s conj(y) to dx and s conj(x) to dy; for dotc conj(s) y and s x. These have
    tangents, and the outer replay is the adjoint of that."""
    checked(family, kind, "second order")
    x, y, v, w = (vector(i, kind) for i in range(1, 5))
    s, t = (np.array([z], x.dtype) if kind in "cz" else np.array([z.real], x.dtype) for z in (2 - 3j, -1 + 0.5j))
    turn = (lambda z: z) if family == "dotc" else np.conj
    first = np.conj if family == "dotc" else (lambda z: z)
    # along (v, w, t), what x and y have besides their own tangents
    along = first(t) * turn(y) + first(s) * turn(w), t * turn(x) + s * turn(v)
    values = {"x": x, "y": y, "dx": 0 * x, "dy": 0 * y}
    tangents = {"x": v.copy(), "y": w.copy(), "dx": 0 * x, "dy": 0 * y}
    adjoints = {n: vector(i, kind) for i, n in enumerate(values, 5)}
    outside = tangents if mode is Forward else {n: a.copy() for n, a in adjoints.items()}
    seed = t.copy() if mode is Forward else 0 * t
    outer = Tape(mode, undeclared="constant")
    for n, a in values.items():
        outer.duplicated(a, outside[n], name=n)
    with outer:
        with Tape(undeclared="constant") as inner:
            inner.duplicated(x, values["dx"], name="x")
            inner.duplicated(y, values["dy"], name="y")
            dot(x, y, routine=kind + family)
        inner.returned(0).shadow[:] = s
        outer.duplicated(inner.returned(0).shadow, seed, name="seed")
        inner.reverse()
        inner.close()
    tolerance = {"rtol": 100 * np.finfo(x.dtype).eps, "atol": 100 * np.finfo(x.dtype).eps}
    if mode is Forward:
        np.testing.assert_allclose(outside["dx"], along[0], **tolerance)
        np.testing.assert_allclose(outside["dy"], along[1], **tolerance)
        return
    outer.reverse()
    u = adjoints  # <u, J (v, w, t)> = <J^T u, (v, w, t)>
    left = np.vdot(u["x"], v) + np.vdot(u["y"], w) + np.vdot(u["dx"], along[0]) + np.vdot(u["dy"], along[1])
    right = np.vdot(outside["x"], v) + np.vdot(outside["y"], w) + np.vdot(seed, t)
    scale = 1000 * N * float(np.finfo(x.dtype).eps)
    assert left.real == pytest.approx(right.real, rel=scale, abs=scale)


# ---------------------------------------------------------------- layers, threads


def test_second_order():
    """Forward over reverse and reverse over reverse of sum x^2 y... through a seed that is active itself."""
    x, y, v = vector(1), vector(2), vector(3)
    for mode in (Forward, Reverse):
        dx, ddx, tangent, seed = np.zeros(N), np.zeros(N), v.copy(), np.zeros(1)
        outer = Tape(mode, undeclared="constant")
        outer.duplicated(x, tangent if mode is Forward else ddx, name="x")
        outer.duplicated(dx, ddx if mode is Forward else tangent, name="dx")
        outer.const(y, name="y")
        with outer:
            inner = Tape(undeclared="constant")
            inner.duplicated(x, dx, name="x")
            inner.const(y, name="y")
            with inner:
                dot(x, x)
                dot(x, y)
            inner.returned(0).shadow[:] = 3
            inner.returned(1).shadow[:] = 5
            outer.duplicated(inner.returned(1).shadow, seed, name="seed")
            if mode is Forward:
                seed[:] = 7
            inner.reverse()
            inner.close()
        assert dx == pytest.approx(6 * x + 5 * y)
        if mode is Forward:
            assert ddx == pytest.approx(6 * v + 7 * y)
            assert outer.returned(0).shadow == pytest.approx([2 * v @ x])
        else:
            outer.returned(0).shadow[:] = 11
            outer.reverse()  # x: of the gradient along v, and of the number itself
            assert ddx == pytest.approx(6 * v + 22 * x)
            assert seed == pytest.approx([v @ y])


def test_reverse_over_forward():
    """The tangent of a number is a number in memory, which a tape around follows."""
    x, y, v = vector(1), vector(2), vector(3)
    dx, dv, outer = np.zeros(N), np.zeros(N), Tape(undeclared="constant")
    outer.duplicated(x, dx, name="x")
    outer.duplicated(v, dv, name="v")
    outer.const(y, name="y")
    with outer:
        inner = Tape(Forward, undeclared="constant")
        inner.duplicated(x, v, name="x")
        inner.const(y, name="y")
        with inner:
            dot(x, x)
            norm(x)
        square, length = inner.returned(0).shadow, inner.returned(1).shadow
        dot(square, square, n=1)  # (2 x v)^2
        dot(length, y, n=1)  # x v / r, times the first of y
        inner.close()
    calls = [i for i, c in enumerate(outer) if c.routine == "ddot" and c.dims["n"] == 1]
    outer.returned(calls[0]).shadow[:] = 1
    outer.reverse()
    assert dx == pytest.approx(8 * (x @ v) * v)
    assert dv == pytest.approx(8 * (x @ v) * x)
    dx[:] = dv[:] = 0
    outer.returned(calls[1]).shadow[:] = 1
    outer.reverse()
    r = np.linalg.norm(x)
    assert dx == pytest.approx(y[0] * (v / r - (x @ v) * x / r**3))
    assert dv == pytest.approx(y[0] * x / r)


def test_seed_on_a_tape_that_opened_later():
    tape, b = recorded()
    seed = tape.returned(0).shadow
    with Tape() as later:
        later.duplicated(seed, np.zeros(1))
        with pytest.raises(blasad.TapeError, match="opened after this one"):
            tape.reverse()
    assert not b["dx"].any()


def test_tape_of_all_threads():
    x, y = vector(1), vector(2)
    dx = np.zeros(N)
    with Tape(threads="all") as tape:
        tape.duplicated(x, dx)
        tape.const(y)
        workers = [threading.Thread(target=dot, args=(x, y, ROADS[2])) for _ in range(4)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
    assert len(tape) == 4
    for i in range(4):
        tape.returned(i).shadow[:] = i
    tape.reverse()
    assert dx == pytest.approx(6 * y)


def test_threads_with_tapes_of_their_own():
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for _ in range(50):
                x, y = vector(seed), vector(seed + 1)
                dx = np.zeros(N)
                autodiff(Reverse, lambda x, y: dot(x, y, ROADS[2]), Active, Duplicated(x, dx), Const(y))
                assert np.array_equal(dx, y)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures

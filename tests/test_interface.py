"""What users hand over and what they get to see: arguments of every kind, tapes, calls, checks."""

import contextlib
import ctypes
import gc
import re
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from memory_guard import bits
from roads import CBLAS, FORTRAN, gemm, place

import blasad
from blasad import Const, Duplicated, Forward, Reverse, Tape, autodiff, ffi

DTYPES = [np.float32, np.float64, np.complex64, np.complex128]
RNG = np.random.default_rng(11)


def matrix(dtype: object = np.float64) -> np.ndarray:
    """2x2, in column-major memory."""
    x = RNG.uniform(0.1, 0.9, (2, 2)).astype(dtype)
    return np.asfortranarray(x + 1j * x.T if np.iscomplexobj(x) else x)


def multiply(c: np.ndarray, a: np.ndarray, b: np.ndarray, **changes: Any) -> None:
    gemm({"A": a.ravel("K"), "B": b.ravel("K"), "C": c.ravel("K")}, "C", "A", "B", **changes)


# ---------------------------------------------------------------- kinds of arguments


def as_array(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return x, {}


def as_address(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return x.ctypes.data, {"nbytes": x.nbytes}


def as_address_of_elements(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return x.ctypes.data, {"count": x.size, "dtype": x.dtype}


def as_numpy_integer(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return np.uint64(x.ctypes.data), {"nbytes": x.nbytes, "dtype": x.dtype}


def as_ctypes_array(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return (ctypes.c_double * 4).from_buffer(x.T), {}


def as_ctypes_matrix(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return (ctypes.c_double * 2 * 2).from_buffer(x.T), {}


def as_ctypes_pointer(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return ctypes.cast(x.ctypes.data, ctypes.POINTER(ctypes.c_double)), {"count": 4}


def as_ctypes_void(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return ctypes.c_void_p(x.ctypes.data), {"nbytes": 32}


def as_cffi_array(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return ffi.from_buffer("double[]", x.T), {}


def as_cffi_matrix(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return ffi.cast("double(*)[2][2]", x.ctypes.data)[0], {}


def as_cffi_pointer(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return ffi.cast("double *", x.ctypes.data), {"count": 4}


def as_cffi_void(x: np.ndarray) -> tuple[object, dict[str, object]]:
    return ffi.cast("void *", x.ctypes.data), {"count": 4, "dtype": "float64"}


KINDS = [f for name, f in list(globals().items()) if name.startswith("as_")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda f: f.__name__)
def test_arguments(kind):
    """Each is passed to f as it is, and covers calls on any address inside."""
    a, b, c = (matrix() for _ in range(3))
    da, dc = matrix(), matrix()
    start_a, g = da.copy(), dc.copy()
    given = []

    def f(*primals: object) -> str:
        given.extend(primals)
        multiply(c, a, b)
        multiply(c[:, 1:], a, b, m=2, n=1, k=1)
        return "result"

    (pc, size), (pdc, _), (pa, _), (pda, _), (pb, _) = (kind(x) for x in (c, dc, a, da, b))
    arguments = Duplicated(pc, pdc, **size), Duplicated(pa, pda, **size), Const(pb, **size)
    assert autodiff(Reverse, f, *arguments) == "result"
    assert [x is y for x, y in zip(given, (pc, pa, pb), strict=True)] == [True] * 3
    assert np.allclose(c, np.column_stack([a @ b[:, 0], a[:, 0] * b[0, 0]]))
    # the first column by the first call, the second by the second
    expected = start_a + np.outer(g[:, 0], b[:, 0])
    expected[:, 0] += g[:, 1] * b[0, 0]
    assert np.allclose(da, expected)
    assert not dc.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "layout",
    ["F", "C", "rows of a larger one", "reversed", "every second column", "three axes", "transposed", "one element"],
)
def test_strides(layout, dtype):
    """Any strides but 0: shadow() makes the same, and a call on the memory finds its elements in them."""
    parent = RNG.uniform(0.1, 0.9, (8, 6)).astype(dtype)
    x = {
        "F": np.asfortranarray(parent),
        "C": parent,
        "rows of a larger one": parent[2:5],
        "reversed": parent[::-1, ::-1],
        "every second column": parent[:, ::2],
        "three axes": parent.reshape(2, 4, 6)[:, 1:3, ::-2],
        "transposed": parent.T,
        "one element": parent[3:4, 2:3],
    }[layout]
    dx = blasad.shadow(x)
    assert (dx.dtype, dx.shape, dx.strides) == (x.dtype, x.shape, x.strides)
    assert not dx.any()
    corner = x[(0,) * x.ndim].copy()
    one, dy, y = np.ones(1, dtype), np.full(1, 0.5, dtype), np.zeros(1, dtype)
    with Tape() as tape:
        tape.duplicated(x, dx)
        tape.duplicated(y, dy)
        tape.const(one)
        gemm({"x": x[(slice(0, 1),) * x.ndim].ravel("K"), "one": one, "y": y}, "y", "x", "one", order=1)
    assert y[0] == corner
    assert tape[0].operands[0].activity == "duplicated"
    tape.reverse()
    assert dx[(0,) * x.ndim] == 0.5
    assert np.count_nonzero(dx) == 1


def test_shadow_is_memory_of_its_own():
    x = np.ones((4, 4))[::-2, 1:]
    dx = blasad.shadow(x)
    assert not np.shares_memory(x, dx)
    dx[:] = 1
    assert x.base is not dx.base
    assert blasad.shadow(np.ones((0, 3))).shape == (0, 3)
    assert blasad.shadow(np.ones(())).shape == ()
    with pytest.raises(TypeError, match="int64"):
        blasad.shadow(np.arange(3))
    with pytest.raises(ValueError, match="stride 0"):
        blasad.shadow(np.broadcast_to(1.0, 3))
    with pytest.raises(TypeError, match="list"):
        blasad.shadow([1.0])


def test_strides_of_axes_of_length_1_do_not_count():
    x = np.ones((4, 1), order="C")
    dx = np.zeros((1, 4)).T
    dx = np.lib.stride_tricks.as_strided(dx, (4, 1), (8, 1000))
    with Tape() as tape:
        tape.duplicated(x, dx)
        tape.const(np.lib.stride_tricks.as_strided(x + 1, (4, 1), (8, 0)))


def test_interleaved_columns_are_separate_annotations():
    """An annotation covers its elements, not the bytes between them (1): each with a shadow of its own."""
    parent = np.asfortranarray(RNG.uniform(0.1, 0.9, (2, 4)))
    a, c = parent[:, ::2], parent[:, 1::2]
    da, dc = blasad.shadow(a), blasad.shadow(c)
    b, db = matrix(), np.zeros((2, 2), order="F")
    dc[:] = g = RNG.uniform(size=(2, 2))
    with Tape() as tape:
        tape.duplicated(a, da)
        tape.duplicated(c, dc)
        tape.duplicated(b, db)
        flat = parent.ravel("K")
        gemm({"P": flat, "Q": flat[2:], "B": b.ravel("K")}, "Q", "P", "B", lda=4, ldc=4)
    tape.reverse()
    assert np.allclose(c, a @ b)
    assert np.allclose(da, g @ b.T)
    assert np.allclose(db, a.T @ g)
    assert not dc.any()


def test_real_and_imaginary_parts_are_separate_annotations():
    z = matrix(np.complex128)
    dre, dim = blasad.shadow(z.real), blasad.shadow(z.imag)
    dre[:], dim[:] = 1, 2
    b, db, r, dr = np.ones(1), np.zeros(1), np.zeros(1), np.full(1, 0.5)
    with Tape() as tape:
        tape.duplicated(z.real, dre)
        tape.duplicated(z.imag, dim)
        tape.duplicated(b, db)
        tape.duplicated(r, dr)
        # real products of a real and of an imaginary part
        parts = z.ravel("K").view(np.float64)
        gemm({"z": parts, "b": b, "r": r}, "r", "z[2]", "b", order=1)
        gemm({"z": parts, "b": b, "r": r}, "r", "z[5]", "b", order=1, beta=1.0)
    tape.reverse()
    assert r[0] == z[1, 0].real + z[0, 1].imag
    assert dre.tolist() == [[1, 1], [1.5, 1]]
    assert dim.tolist() == [[2, 2.5], [2, 2]]
    assert db[0] == 0.5 * r[0]


def test_complex_memory_as_pairs_of_reals():
    """A shadow maps bytes (1): real routines may work on complex memory, and complex ones on reals."""
    z, dz = np.array([1 + 2j, 3 - 1j]), np.array([0j, 0j])
    y, dy = np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0])
    with Tape() as tape:
        tape.duplicated(z, dz)
        tape.duplicated(y, dy)
        gemm({"z": z.view(float), "two": np.array([2.0, 2.0]), "y": y}, "y", "z", "z", alpha=2.0)
    tape.reverse()
    a, g = z.view(float).reshape(2, 2).T, 2 * np.array([[1.0, 3.0], [2.0, 4.0]])
    assert np.allclose(dz.view(float).reshape(2, 2).T, g @ a.T + a.T @ g)
    x, dx = np.array([1.0, 2.0, 3.0, -1.0]), np.zeros(4)
    w, dw = np.zeros(1, complex), np.array([1 - 1j])
    with Tape() as tape:
        tape.duplicated(x, dx)
        tape.duplicated(w, dw)
        pair = x.view(complex)
        gemm({"x": pair, "w": w}, "w", "x", "x[1]", order=1)
    tape.reverse()
    assert np.allclose(dx.view(complex), (1 - 1j) * np.conj(pair[::-1]))


def test_other_objects_pass():
    """f gets what is no memory as it is: numbers, strings, pivots, None, functions; a Const of them too."""
    pivots = np.arange(3)
    got = autodiff(Reverse, lambda *a, **k: (a, k), 3, "N", None, len, Const(pivots), Const("x"), [1.0], key=pivots)
    assert got == ((3, "N", None, len, pivots, "x", [1.0]), {"key": pivots})
    assert got[0][4] is pivots


def test_keywords():
    """Options of the tape go to the tape, others to f."""
    a, c = matrix(), matrix()
    dc = np.ones((2, 2), order="F")

    def f(x: np.ndarray, *, scale: float, nothing: object = None) -> float:
        multiply(c, a, a, alpha=scale)
        c[0, 0] = 3
        return scale

    arguments = (Duplicated(c, dc),)
    with pytest.raises(blasad.UnseenWriteError):
        autodiff(Reverse, f, *arguments, scale=0.5, undeclared="constant")
    assert dc.all()
    assert autodiff(Reverse, f, *arguments, scale=0.5, undeclared="constant", verify=False) == 0.5
    assert not dc.any()
    with pytest.raises(TypeError, match="unexpected keyword"):
        autodiff(Reverse, f, *arguments, scale=0.5, shape=3)


def test_autodiff_returns_what_f_returned():
    result = object()
    for mode in (Reverse, Forward):
        assert autodiff(mode, lambda: result) is result
        assert autodiff(mode, lambda: result, Const) is result


def test_forward_and_reverse_agree():
    """<w, J v> = <J' w, v> through the main call."""
    a, b, c = (matrix() for _ in range(3))
    v = [matrix() for _ in range(3)]
    w = matrix()
    tangent = [x.copy(order="K") for x in v]

    def f(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        multiply(c, a, b, beta=0.5)

    start = c.copy()
    autodiff(Forward, f, *(Duplicated(x, dx) for x, dx in zip((c, a, b), tangent, strict=True)))
    assert all(bits(tangent[i]) == bits(v[i]) for i in (1, 2))
    c[:] = start
    adjoint = [w.copy(order="K"), *(np.zeros((2, 2), order="F") for _ in range(2))]
    autodiff(Reverse, f, *(Duplicated(x, dx) for x, dx in zip((c, a, b), adjoint, strict=True)))
    assert np.isclose(np.vdot(w, tangent[0]), sum(np.vdot(x, y) for x, y in zip(adjoint, v, strict=True)), rtol=1e-13)


def test_activities_print():
    assert repr(Reverse) == "Reverse"
    assert repr(Forward) == "Forward"
    assert repr(Const(np.ones(2))) == "Const(ndarray)"
    assert repr(Duplicated(np.ones(2), np.ones(2))) == "Duplicated(ndarray)"


# ---------------------------------------------------------------- looking at a tape


def recorded(**options: Any) -> tuple[Tape, dict[str, np.ndarray]]:
    x = {n: RNG.uniform(0.1, 0.9, 12) for n in "ABCDs"}
    with Tape(undeclared="constant", **options) as tape:
        for n in "ACs":
            tape.duplicated(x[n], np.zeros(12), name=n)
        tape.const(x["D"], name="D")
        gemm(x, "C", "A", "B", m=2, n=3, k=4, transa="t", alpha=0.5, lda=4, ldb=4, ldc=3, beta="s[1]")
        gemm(x, "C", "D", "A", road=CBLAS[0], layout="row", transb="T", m=2, n=3, k=4, lda=4, ldb=4, ldc=5)
        gemm(x, "C", "C", "C", m=0)
        gemm(x, "C", "A", "B", alpha=0.0, beta=2.0)
    return tape, x


def test_calls():
    tape, x = recorded()
    assert len(tape) == 4
    first, second, third, fourth = tape
    assert (first.index, first.routine, first.symbol, first.row_major) == (0, "dgemm", "dgemm_", False)
    assert first.flags == {"transa": "T", "transb": "N"}
    assert first.dims == {"m": 2, "n": 3, "k": 4}
    assert first.scalars == {"alpha": 0.5, "beta": x["s"][1]}
    assert first.active_scalars == ("beta",)
    a, b, c = first.operands
    assert [(o.name, o.address, o.shape, o.ld, o.role, o.activity, o.assumed) for o in (a, b, c)] == [
        ("a", x["A"].ctypes.data, (4, 2), 4, "in", "duplicated", False),
        ("b", x["B"].ctypes.data, (4, 3), 4, "in", "undeclared", True),
        ("c", x["C"].ctypes.data, (2, 3), 3, "inout", "duplicated", False),
    ]
    assert first.flops == 2 * 2 * 3 * 4
    assert first.bytes == 8 * (8 + 12 + 6)
    assert first.seconds is None
    assert first.saved_bytes == 8 * (12 + 6)  # B's copy, and C for the adjoint of beta
    assert "blasad" in first.caller

    assert (second.symbol, second.row_major) == ("cblas_dgemm", True)
    assert second.flags == {"transa": "N", "transb": "T"}
    assert second.dims == {"m": 2, "n": 3, "k": 4}
    assert [(o.name, o.shape, o.ld, o.role, o.activity) for o in second.operands] == [
        ("a", (2, 4), 4, "in", "const"),
        ("b", (3, 4), 4, "in", "duplicated"),
        ("c", (2, 3), 5, "out", "duplicated"),
    ]
    assert second.operands[0].address == x["D"].ctypes.data
    assert [o.role for o in third.operands] == ["unused"] * 2 + ["out"]
    assert [o.role for o in fourth.operands] == ["unused", "unused", "inout"]
    assert tape.saved_bytes == sum(c.saved_bytes for c in tape)


def test_call_of_complex_numbers():
    x = {n: matrix(np.complex64).ravel("K") for n in "ABC"}
    with Tape(undeclared="constant") as tape:
        gemm(x, "C", "A", "B", alpha="0.5-2j", beta=0.0, transb="c")
    (call,) = tape
    assert call.routine == "cgemm"
    assert call.scalars == {"alpha": 0.5 - 2j, "beta": 0}
    assert call.flags["transb"] == "C"
    assert call.flops == 4 * 2 * 8
    assert call.bytes == 8 * 12


def test_indexing():
    tape, _ = recorded()
    assert tape[-1] == tape[3] == list(tape)[3]
    assert tape[0] != tape[1]
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"call {index} of a tape of 4"):
            tape[index]


def test_seconds_of_long_calls():
    n = 128
    x = {name: np.ones(n * n) for name in "ABC"}
    with Tape(undeclared="constant", verify=False) as tape:
        gemm(x, "C", "A", "B", order=n)
    assert 0 < tape[0].seconds < 10


def test_printing():
    tape, _ = recorded()
    head, *rows, legend = str(tape).splitlines()
    assert head.split() == ["#", "routine", "flags", "sizes", "operands", "scalars", "saved", "through"]
    assert [row.split()[:2] for row in rows] == [[str(i), "dgemm"] for i in range(4)]
    assert "b:assumed" in rows[0]
    assert re.search(r"beta=0\.\d+\*", rows[0])  # active
    assert "144 B" in rows[0]
    assert "row-major" in rows[1]
    assert "cblas_dgemm" in rows[1]
    assert "assumed" in legend
    html = tape._repr_html_()
    assert html.count("<tr>") == 5
    assert "<td>cblas_dgemm</td>" in html
    assert repr(tape) == f"<Tape(Reverse) of 4 calls, {tape.saved_bytes} bytes saved>"
    assert str(tape[0]) == "call 0: dgemm(TN, m=2 n=3 k=4)"


def test_empty_tape():
    with Tape() as tape:
        pass
    tape.reverse()
    assert (len(tape), list(tape), tape.saved_bytes, tape.assumptions) == (0, [], 0, [])
    assert len(str(tape).splitlines()) == 2


def test_bool_and_length_while_recording():
    x = {n: np.ones(4) for n in "ABC"}
    with Tape(undeclared="constant") as tape:
        for i in range(3):
            assert len(tape) == i
            gemm(x, "C", "A", "B")


# ---------------------------------------------------------------- lives


def test_a_tape_keeps_what_was_annotated():
    x, dx = np.ones(4), np.zeros(4)
    alive = weakref.ref(dx)
    tape = Tape()
    tape.duplicated(x, dx)
    del dx
    gc.collect()
    assert alive() is not None
    tape.close()
    del tape
    gc.collect()
    assert alive() is None


def test_garbage_is_closed():
    """Also one that still records: the thread is free again."""
    x = np.ones(4)
    tape = Tape()
    tape.__enter__()
    tape.const(x)
    alive = weakref.ref(tape)
    del tape
    gc.collect()
    assert alive() is None
    with Tape() as other:
        pass
    assert len(other) == 0


def test_close_while_recording():
    x = {n: np.ones(4) for n in "ABC"}
    tape = Tape()
    tape.__enter__()
    tape.close()
    gemm(x, "C", "A", "B")
    with Tape() as other:
        pass
    assert len(other) == 0


def test_many_tapes():
    """The memory of one serves the next."""
    x = {n: np.full(4, 0.5) for n in "ABC"}
    dx = {n: np.zeros(4) for n in "ABC"}
    for i in range(300):
        with Tape() as tape:
            for n in x:
                tape.duplicated(x[n], dx[n])
            for _ in range(i % 7):
                gemm(x, "C", "A", "B")
        dx["C"][:] = 1
        dx["A"][:] = 0
        tape.reverse()
        assert dx["A"].tolist() == ([1.0] * 4 if i % 7 else [0.0] * 4)
        tape.close()


def test_a_long_tape():
    """More records than one block of memory holds."""
    x = {"A": np.full(1, 0.5), "C": np.ones(1)}
    dx = {n: np.zeros(1) for n in x}
    count = 70_000
    with Tape(verify=False) as tape:
        for n in x:
            tape.duplicated(x[n], dx[n])
        call = gemm_of_one(x)
        for _ in range(count):
            call()
    assert len(tape) == count
    assert tape[count - 1].index == count - 1
    dx["C"][0] = 1
    tape.reverse()
    # C <- A A + C, count times
    assert dx["A"][0] == 2 * 0.5 * count
    assert dx["C"][0] == 1


def gemm_of_one(x: dict[str, np.ndarray]) -> Any:
    n, one, flag = ffi.new("int32_t *", 1), ffi.new("double *", 1.0), ffi.new("char[]", b"N")
    a, c = (ffi.cast("double *", x[name].ctypes.data) for name in "AC")
    return lambda: blasad.lib.dgemm_(flag, flag, n, n, n, one, a, n, a, n, one, c, n)


def test_two_tapes_on_two_threads():
    """Each records its own thread, whatever happens on the other (9)."""
    barrier, failures = threading.Barrier(2), []

    def work(value: float) -> None:
        try:
            x = {n: np.full(4, value) for n in "ABC"}
            dx = {n: np.zeros(4) for n in "ABC"}
            with Tape() as tape:
                for n in x:
                    tape.duplicated(x[n], dx[n])
                for _ in range(50):
                    barrier.wait()
                    gemm(x, "C", "A", "B", road=FORTRAN[2])
            assert len(tape) == 50
            dx["C"][:] = 1
            barrier.wait()
            tape.reverse()
            assert dx["A"].tolist() == [2 * value] * 4
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(v,)) for v in (0.5, 0.25)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_nothing_is_recorded_outside_a_block():
    x = {n: np.ones(4) for n in "ABC"}
    tape = Tape()
    tape.const(x["A"])
    gemm(x, "C", "A", "B")
    with tape:
        gemm(x, "C", "A", "A")
    gemm(x, "C", "A", "B")
    assert len(tape) == 1


# ---------------------------------------------------------------- check_gradients


def checked(dtype: object, body: Any = multiply) -> None:
    c, a, b = (matrix(dtype) for _ in range(3))
    kept = [x.copy() for x in (c, a, b)]
    shadows = [np.full_like(x, 7) for x in (c, a)]
    blasad.check_gradients(body, Duplicated(c, shadows[0]), Duplicated(a, shadows[1]), Const(b))
    assert all(bits(x) == bits(y) for x, y in zip((c, a, b), kept, strict=True))
    assert all((dx == 7).all() for dx in shadows)


@pytest.mark.parametrize("dtype", DTYPES)
def test_check_gradients(dtype):
    """Passes on what is right; the memory behind the arguments is as before."""
    checked(dtype)
    checked(dtype, lambda c, a, b: (multiply(c, a, b), multiply(c, b, a, beta=0.5)))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_check_gradients_finds_what_is_wrong(dtype, mode):
    """Work that no hook sees, taken for constant, is a wrong derivative: the entry, both numbers, the call."""
    c, a, b = (matrix(dtype) for _ in range(3))

    def f(c: np.ndarray, a: np.ndarray) -> None:
        hidden = np.asfortranarray(a * a)
        multiply(c, hidden, b)

    with pytest.raises(blasad.GradientError, match=r"argument [12]\[\d, \d\].*differences"):
        blasad.check_gradients(
            f, Duplicated(c, np.zeros_like(c, order="F")), Duplicated(a, np.zeros_like(a, order="F")), modes=(mode,)
        )


def test_check_gradients_of_what_it_does_not_know():
    with pytest.raises(ValueError, match="mode"):
        blasad.check_gradients(lambda: None, modes=("sideways",))
    with pytest.raises(blasad.UnsupportedError, match="order=3"):
        blasad.check_gradients(lambda: None, order=3)
    blasad.check_gradients(lambda: None, order=2)
    assert issubclass(blasad.UnsupportedError, NotImplementedError)


@pytest.mark.parametrize("dtype", DTYPES)
def test_check_gradients_of_second_order(dtype):
    """Through scratch and with an active scalar; Const arguments stay what they are."""

    def body(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        t = np.zeros_like(c)
        multiply(t, a, b)
        memory = {"T": t.ravel("K"), "A": a.ravel("K"), "C": c.ravel("K")}
        gemm(memory, "C", "T", "A", alpha="A[1]", beta="A[2]")

    c, a, b = (matrix(dtype) for _ in range(3))
    kept = [x.copy() for x in (c, a, b)]
    arguments = [Duplicated(x, np.full_like(x, 7)) for x in (c, a, b)]
    blasad.check_gradients(body, *arguments, order=2)
    blasad.check_gradients(body, *arguments[:2], Const(b), order=2, modes=())
    assert all(bits(x) == bits(y) for x, y in zip((c, a, b), kept, strict=True))
    assert all((x.shadow == 7).all() for x in arguments)


def test_check_gradients_of_second_order_finds_what_is_wrong():
    """The gradient is right, and the vjp it is made with has a derivative that is not its own."""
    x, y = np.arange(1.0, 5.0), np.zeros(4)

    def f(y: np.ndarray, x: np.ndarray) -> None:
        tape = blasad.current_tape()
        with tape.record(x, y, vjp, lambda i, _o, d: 2 * i[0] * d[0]) if tape else contextlib.nullcontext():
            y[:] = x**2

    def vjp(inputs: tuple[np.ndarray], _o: object, shadows: tuple[np.ndarray]) -> np.ndarray:
        factor, out = np.diag(2 * inputs[0]).ravel(), np.empty(4)
        memory = {"F": factor, "G": shadows[0], "out": out}
        gemm(memory, "out", "F", "G", m=4, n=1, k=4, lda=4, ldb=4, ldc=4)
        return out

    arguments = Duplicated(y, np.zeros(4)), Duplicated(x, np.zeros(4))
    blasad.check_gradients(f, *arguments)
    with pytest.raises(blasad.GradientError, match=r"forward over reverse.*argument 2\[\d\].*differences"):
        blasad.check_gradients(f, *arguments, order=2)


def test_operands_of_several_annotations():
    """Side by side, in part, interleaved, scalars too (1): each element has the derivative that it has alone."""
    whole = {n: RNG.uniform(0.1, 0.9, 6) for n in "ABCs"}
    seeds = {n: RNG.uniform(0.1, 0.9, 6) for n in "ABCs"}

    def gradient(*parts: slice) -> np.ndarray:
        x, dx = ({n: v.copy() for n, v in values.items()} for values in (whole, seeds))
        with Tape(undeclared="constant") as tape:
            for n in "Cs":
                tape.duplicated(x[n], dx[n], name=n)
            for part in parts:
                tape.duplicated(x["A"][part], dx["A"][part], name="A")
            gemm(x, "C", "A", "B", alpha="A[2]", beta="s")
        tape.reverse()
        return dx["A"]

    together = gradient(slice(None))
    assert not np.isclose(together[:4], seeds["A"][:4]).any()
    assert np.allclose(gradient(slice(3), slice(3, None)), together)
    for part in (slice(3), slice(None, None, 2), slice(1, None)):
        expected = seeds["A"].copy()
        expected[part] = together[part]
        assert np.allclose(gradient(part), expected)


def test_part_of_a_complex_scalar():
    z, dz = np.array([0.5, 2.0]), np.array([3.0, 4.0])
    x = {n: matrix(complex).ravel("K") for n in "ABC"}
    dc = matrix(complex).ravel("K")
    product = (x["A"].reshape(2, 2).T @ x["B"].reshape(2, 2).T).T.ravel()
    expected = 3 + np.vdot(product, dc).real
    with Tape(undeclared="constant") as tape:
        tape.duplicated(z[:1], dz[:1], name="z")
        tape.duplicated(x["C"], dc, name="C")
        step = {"call": "zgemm", "transa": "N", "transb": "N", "m": 2, "n": 2, "k": 2, "alpha": "z"}
        step |= {"a": "A", "lda": 2, "b": "B", "ldb": 2, "beta": 0.0, "c": "C", "ldc": 2}
        FORTRAN[0].call(step, place({**x, "z": z}))
    tape.reverse()
    assert np.isclose(dz[0], expected)
    assert dz[1] == 4


def test_const_takes_what_is_no_memory():
    """api: other objects pass through, also as Const: sizes, flags, arrays of integers."""
    seen: list[object] = []
    pivots = np.arange(3)
    blasad.autodiff(blasad.Reverse, lambda *a: seen.extend(a), Const(1), Const(np.int64(2)), Const("N"), Const(pivots))
    assert seen[:3] == [1, 2, "N"]
    assert seen[3] is pivots
